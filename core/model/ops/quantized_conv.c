/* core/model/ops/quantized_conv.c - ConvInteger and QLinearConv: convolution of
 * bytes with exact int32 sums, in one or two spatial dimensions. Around x lies
 * its zero point. Zero points come off behind the product, as in
 * quantized_matmul.c; what that of w costs is a convolution by ones. */
#include <math.h>
#include <string.h>

#include "model/ops/op_priv.h"
#include "model/ops/window.h"
#include "tensor/conv_int8.h"

#define TYPES_8 (TB_TYPE_BIT(TB_U8) | TB_TYPE_BIT(TB_I8))
#define ALIGN   ((size_t)64)

/* Inputs of both operators by what they are; NONE: there is none. */
typedef struct ends {
    uint8_t x, x_zero, w, w_zero;
    uint8_t x_scale, w_scale, y_scale, y_zero, bias;
} ends;

#define NONE UINT8_MAX

static const ends integer_ends = {0, 2, 1, 3, NONE, NONE, NONE, NONE, NONE};
static const ends linear_ends = {0, 2, 3, 5, 1, 4, 6, 7, 8};

typedef struct conv_state {
    tb_conv_int8 conv;
    size_t n_pixels; /* of y, of the whole batch */
    size_t n_terms;  /* of one sum */
    /* Places in work, in bytes. */
    size_t packed;   /* the weights */
    size_t raw_ones; /* weights of one, an output channel a group */
    size_t ones;     /* the same, packed */
    size_t sums;     /* int32 [n_pixels, out_c] */
    size_t windows;  /* int32 [n_pixels, groups]: sums by ones */
    size_t columns;  /* int32 [out_c] */
} conv_state;

/* --- shapes --------------------------------------------------------------- */

static bool has(const tb_call *call, uint8_t i)
{
    return i != NONE && tb_op_has(call, i);
}

/* Two spatial dimensions, of three that the leading ones do not use. */
static void take_window(tb_int8_window *to, const tb_window *from)
{
    for (size_t d = 0; d < 2; d++) {
        to->in[d] = from->in[d + 1];
        to->out[d] = from->out[d + 1];
        to->kernel[d] = from->kernel[d + 1];
        to->stride[d] = from->stride[d + 1];
        to->dilation[d] = from->dilation[d + 1];
        to->pad[d] = from->pad[d + 1];
    }
}

static tb_rc plan_shapes(tb_call *call, const ends *e, tb_window *window,
                         tb_err *err)
{
    conv_state *s = TB_OP_STATE(conv_state, call);
    const tb_shape *x = &call->in[e->x].shape;
    const tb_shape *w = &call->in[e->w].shape;
    int64_t group = tb_node_int(call->node, "group", 1);
    char t[TB_SHAPE_TEXT_BYTES];
    char u[TB_SHAPE_TEXT_BYTES];
    if (x->rank < 3 || x->rank > 4 || w->rank != x->rank) {
        return tb_fail(err, TB_E_UNSUPPORTED,
                       "x %s and w %s: one or two spatial dimensions expected",
                       tb_shape_text(x, t), tb_shape_text(w, u));
    }
    size_t groups = group > 0 ? (size_t)group : 0;
    if (groups == 0 || x->dim[1] % groups != 0 || w->dim[0] % groups != 0 ||
        w->dim[1] != x->dim[1] / groups || w->dim[0] == 0 || w->dim[1] == 0) {
        return tb_fail(err, TB_E_MISMATCH, "x %s and w %s in %lld groups",
                       tb_shape_text(x, t), tb_shape_text(w, u),
                       (long long)group);
    }
    tb_rc rc = tb_window_of(window, call->node, x, w, err);
    if (rc == TB_OK) {
        *s = (conv_state){
            .conv = {.window = {.batch = x->dim[0], .in_c = x->dim[1]},
                     .out_c = w->dim[0],
                     .groups = groups,
                     .x_planes = true,
                     .x_signed = call->in[e->x].dtype == TB_I8}};
        take_window(&s->conv.window, window);
        s->n_pixels = x->dim[0] * window->out[1] * window->out[2];
        s->n_terms = tb_shape_product(w, 1, w->rank);
    }
    return rc;
}

/* A zero point, scale or bias: one number, or (n > 1) n of them. */
static tb_rc check_side(const tb_call *call, uint8_t i, size_t n,
                        uint32_t types, tb_err *err)
{
    if (!has(call, i)) {
        return TB_OK;
    }
    const tb_tensor *t = &call->in[i];
    size_t count = tb_tensor_count(t);
    if (!tb_dtype_in(t->dtype, types)) {
        return tb_fail(err, TB_E_UNSUPPORTED, "input %u is %s", (unsigned)i,
                       tb_dtype_name(t->dtype));
    }
    return count == 1 || count == n
               ? TB_OK
               : tb_fail(err, TB_E_MISMATCH,
                         "input %u has %zu numbers, 1 or %zu expected",
                         (unsigned)i, count, n);
}

static tb_rc check_sides(const tb_call *call, const ends *e, tb_err *err)
{
    size_t n = TB_OP_CONST_STATE(conv_state, call)->conv.out_c;
    uint32_t x = TB_TYPE_BIT(call->in[e->x].dtype);
    uint32_t w = TB_TYPE_BIT(call->in[e->w].dtype);
    tb_rc rc =
        check_side(call, e->w, tb_tensor_count(&call->in[e->w]), TYPES_8, err);
    if (rc == TB_OK) {
        rc = check_side(call, e->x_zero, 1, x, err);
    }
    if (rc == TB_OK) {
        rc = check_side(call, e->w_zero, n, w, err);
    }
    if (rc == TB_OK) {
        rc = check_side(call, e->x_scale, 1, TB_TYPES_F32, err);
    }
    if (rc == TB_OK) {
        rc = check_side(call, e->w_scale, n, TB_TYPES_F32, err);
    }
    if (rc == TB_OK) {
        rc = check_side(call, e->y_scale, 1, TB_TYPES_F32, err);
    }
    if (rc == TB_OK) {
        rc = check_side(call, e->y_zero, 1, TYPES_8, err);
    }
    if (rc == TB_OK && has(call, e->bias) &&
        tb_tensor_count(&call->in[e->bias]) != n) {
        rc = tb_fail(err, TB_E_MISMATCH, "bias of %zu numbers, %zu expected",
                     tb_tensor_count(&call->in[e->bias]), n);
    }
    return rc == TB_OK ? check_side(call, e->bias, n, TB_TYPE_BIT(TB_I32), err)
                       : rc;
}

static size_t place(size_t *end, size_t bytes)
{
    size_t at = *end;
    *end += (bytes + ALIGN - 1) / ALIGN * ALIGN;
    return at;
}

/* The convolution whose sums are those of all bytes of a window. */
static tb_conv_int8 by_ones(const tb_conv_int8 *conv)
{
    tb_conv_int8 ones = *conv;
    ones.out_c = conv->groups;
    return ones;
}

static tb_rc plan(tb_call *call, const ends *e, tb_dtype to, tb_err *err)
{
    conv_state *s = TB_OP_STATE(conv_state, call);
    tb_window window;
    size_t image = 0;
    tb_rc rc = plan_shapes(call, e, &window, err);
    if (rc == TB_OK) {
        rc = check_sides(call, e, err);
    }
    if (rc == TB_OK) {
        rc = tb_conv_int8_plan(&image, &s->conv, err);
    }
    if (rc != TB_OK || image > PTRDIFF_MAX) {
        return rc == TB_OK ? tb_fail(err, TB_E_LIMIT, "windows too large") : rc;
    }
    tb_conv_int8 ones = by_ones(&s->conv);
    size_t *end = &call->work_bytes;
    (void)place(end, image);
    s->packed = place(end, tb_conv_int8_packed_bytes(&s->conv));
    s->raw_ones = place(end, s->conv.groups * s->n_terms);
    s->ones = place(end, tb_conv_int8_packed_bytes(&ones));
    s->sums = place(end, s->n_pixels * s->conv.out_c * sizeof(int32_t));
    s->windows = place(end, s->n_pixels * s->conv.groups * sizeof(int32_t));
    s->columns = place(end, s->conv.out_c * sizeof(int32_t));
    tb_shape y = tb_window_shape(&window, call->in[e->x].shape.dim[0],
                                 s->conv.out_c, window.out);
    call->out[0] = tb_tensor_view(to, &y, NULL);
    return TB_OK;
}

/* --- the product ---------------------------------------------------------- */

static void *work_at(const tb_call *call, size_t at)
{
    return (uint8_t *)call->work + at;
}

static int32_t zero_at(const tb_call *call, uint8_t i, size_t at)
{
    if (!has(call, i)) {
        return 0;
    }
    size_t one = tb_tensor_count(&call->in[i]) == 1 ? 0 : at;
    return (int32_t)tb_tensor_i64_at(&call->in[i], one);
}

/* The sums by ones, for a zero point of w. */
static void sum_windows(const tb_call *call, const ends *e,
                        const tb_conv_int8 *conv)
{
    const conv_state *s = TB_OP_CONST_STATE(conv_state, call);
    const tb_int8_finish finish = {.to = TB_INT8_TO_SUMS};
    tb_conv_int8 ones = by_ones(conv);
    uint8_t *raw = work_at(call, s->raw_ones);
    memset(raw, 1, s->conv.groups * s->n_terms);
    tb_conv_int8_pack(work_at(call, s->ones), raw, &ones, false);
    tb_conv_int8_run(&ones, call->in[e->x].data, work_at(call, s->ones),
                     &finish, work_at(call, s->windows), call->work);
}

/* Takes the zero points off the sums; wraps as int32. */
static void take_zeros(const tb_call *call, const ends *e, int64_t x_zero)
{
    const conv_state *s = TB_OP_CONST_STATE(conv_state, call);
    const int32_t *column = work_at(call, s->columns);
    const int32_t *window = work_at(call, s->windows);
    int32_t *sum = work_at(call, s->sums);
    int32_t moved = call->in[e->w].dtype == TB_U8 ? -128 : 0;
    size_t a_group = s->conv.out_c / s->conv.groups;
    for (size_t i = 0; i < s->n_pixels; i++) {
        for (size_t j = 0; j < s->conv.out_c; j++, sum++) {
            int64_t w_zero = zero_at(call, e->w_zero, j) + moved;
            int64_t of_x = window[i * s->conv.groups + j / a_group];
            int64_t off = x_zero * column[j] + w_zero * of_x -
                          (int64_t)s->n_terms * x_zero * w_zero;
            *sum = (int32_t)(uint32_t)((uint64_t)*sum - (uint64_t)off);
        }
    }
}

static void run_sums(const tb_call *call, const ends *e)
{
    const conv_state *s = TB_OP_CONST_STATE(conv_state, call);
    const tb_int8_finish finish = {.to = TB_INT8_TO_SUMS};
    tb_conv_int8 conv = s->conv;
    int32_t x_zero = zero_at(call, e->x_zero, 0);
    conv.edge = (uint8_t)x_zero;
    sum_windows(call, e, &conv);
    tb_conv_int8_pack(work_at(call, s->packed), call->in[e->w].data, &conv,
                      call->in[e->w].dtype == TB_U8);
    tb_conv_int8_weight_sums(work_at(call, s->columns),
                             work_at(call, s->packed), &conv);
    tb_conv_int8_run(&conv, call->in[e->x].data, work_at(call, s->packed),
                     &finish, work_at(call, s->sums), call->work);
    take_zeros(call, e, conv.x_signed ? x_zero + 128 : x_zero);
}

/* --- ConvInteger ---------------------------------------------------------- */

static tb_rc integer_infer(tb_call *call, tb_err *err)
{
    return plan(call, &integer_ends, TB_I32, err);
}

static void integer_run(const tb_call *call)
{
    const conv_state *s = TB_OP_CONST_STATE(conv_state, call);
    const tb_int8_window *w = &s->conv.window;
    run_sums(call, &integer_ends);
    tb_planes_from_pixels(call->out[0].data, work_at(call, s->sums), w->batch,
                          w->out[0] * w->out[1], s->conv.out_c,
                          sizeof(int32_t));
}

/* --- QLinearConv ---------------------------------------------------------- */

static tb_rc linear_infer(tb_call *call, tb_err *err)
{
    return plan(call, &linear_ends, call->in[linear_ends.y_zero].dtype, err);
}

static float scale_at(const tb_call *call, uint8_t i, size_t at)
{
    size_t one = tb_tensor_count(&call->in[i]) == 1 ? 0 : at;
    return ((const float *)call->in[i].data)[one];
}

/* y = sat(round((sum + bias) sx sw / sy) + zy), sums turned to planes */
static void linear_run(const tb_call *call)
{
    const conv_state *s = TB_OP_CONST_STATE(conv_state, call);
    const ends *e = &linear_ends;
    const int32_t *sums = work_at(call, s->sums);
    uint8_t *y = call->out[0].data;
    size_t n = s->conv.window.out[0] * s->conv.window.out[1];
    float zero = (float)zero_at(call, e->y_zero, 0);
    float low = call->out[0].dtype == TB_I8 ? -128.0f : 0.0f;
    run_sums(call, e);
    for (size_t i = 0; i < s->n_pixels; i++) {
        for (size_t j = 0; j < s->conv.out_c; j++) {
            float scale = scale_at(call, e->x_scale, 0) *
                          scale_at(call, e->w_scale, j) /
                          scale_at(call, e->y_scale, 0);
            int64_t sum = *sums++;
            if (has(call, e->bias)) {
                sum += ((const int32_t *)call->in[e->bias].data)[j];
            }
            float q = nearbyintf((float)sum * scale) + zero;
            y[(i / n * s->conv.out_c + j) * n + i % n] =
                (uint8_t)(int32_t)fminf(fmaxf(q, low), low + 255.0f);
        }
    }
}

static double flops(const tb_call *call)
{
    const conv_state *s = TB_OP_CONST_STATE(conv_state, call);
    return 2.0 * (double)s->n_pixels * (double)s->conv.out_c *
           (double)s->n_terms;
}

/* --- the table ------------------------------------------------------------ */

static const tb_attr_decl attrs[] = {TB_WINDOW_ATTRS,
                                     {"group", TB_ATTR_INT, false}};

const tb_op tb_op_conv_integer = {.domain = TB_DOMAIN_ONNX,
                                  .name = "ConvInteger",
                                  .since = 10,
                                  .until = TB_OPSET_ANY,
                                  .in_min = 2,
                                  .in_max = 4,
                                  .out_min = 1,
                                  .out_max = 1,
                                  .attrs = attrs,
                                  .n_attrs = TB_COUNT(attrs),
                                  .types = TYPES_8,
                                  .flops = flops,
                                  .infer = integer_infer,
                                  .run = integer_run};

const tb_op tb_op_qlinear_conv = {.domain = TB_DOMAIN_ONNX,
                                  .name = "QLinearConv",
                                  .since = 10,
                                  .until = TB_OPSET_ANY,
                                  .in_min = 8,
                                  .in_max = 9,
                                  .out_min = 1,
                                  .out_max = 1,
                                  .attrs = attrs,
                                  .n_attrs = TB_COUNT(attrs),
                                  .types = TYPES_8,
                                  .flops = flops,
                                  .infer = linear_infer,
                                  .run = linear_run};
