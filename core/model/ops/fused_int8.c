/* core/model/ops/fused_int8.c - what an executor makes of quantised graphs
 * (exec/quantized.h), of the domain TB_DOMAIN_FUSED: a linear layer on bytes
 * with packed weights, from the sum to the next byte in one call.
 *   Int8Gemm, Int8Conv (x, packed, bias, scale)
 *       y = clamp((sum x w + bias) * scale), rounded and zero added for bytes
 *   Int8MaxPool (x)
 * "pixels" says that a tensor is [batch, spatial..., channels], where ONNX has
 * [batch, channels, spatial...]. */
#include <string.h>

#include "model/ops/op_priv.h"
#include "model/ops/window.h"
#include "tensor/conv_int8.h"

#define TYPES_8 (TB_TYPE_BIT(TB_U8) | TB_TYPE_BIT(TB_I8))
#define ALIGN   ((size_t)64)

static size_t padded(size_t bytes)
{
    return (bytes + ALIGN - 1) / ALIGN * ALIGN;
}

/* What both layers write. */
typedef struct finish_state {
    tb_int8_finish finish; /* bias and scale are set in run */
    tb_dtype type;         /* of y */
} finish_state;

static tb_rc read_finish(finish_state *s, const tb_call *call, size_t channels,
                         tb_err *err)
{
    s->type = (tb_dtype)tb_node_int(call->node, "y_type", TB_F32);
    s->finish = (tb_int8_finish){
        .to = s->type == TB_F32 ? TB_INT8_TO_FLOATS : TB_INT8_TO_BYTES,
        .low = tb_node_float(call->node, "low", 0.0f),
        .high = tb_node_float(call->node, "high", 0.0f),
        .zero = (int32_t)tb_node_int(call->node, "y_zero", 0)};
    if (s->type != TB_F32 && !tb_dtype_in(s->type, TYPES_8)) {
        return tb_fail(err, TB_E_MALFORMED, "to %s", tb_dtype_name(s->type));
    }
    if (tb_node_int(call->node, "x_type", 0) != (int64_t)call->in[0].dtype) {
        return tb_fail(err, TB_E_MISMATCH, "input is %s, its zero point is not",
                       tb_dtype_name(call->in[0].dtype));
    }
    if (call->in[1].dtype != TB_I8 || call->in[2].dtype != TB_I32 ||
        call->in[3].dtype != TB_F32 ||
        tb_tensor_count(&call->in[2]) != channels ||
        tb_tensor_count(&call->in[3]) != channels) {
        return tb_fail(err, TB_E_MISMATCH, "weights of %zu channels expected",
                       channels);
    }
    return TB_OK;
}

static tb_int8_finish finish_of(const tb_call *call, const finish_state *s)
{
    tb_int8_finish f = s->finish;
    f.bias = call->in[2].data;
    f.scale = call->in[3].data;
    return f;
}

static tb_rc check_packed(const tb_call *call, size_t bytes, tb_err *err)
{
    size_t n = tb_tensor_bytes(&call->in[1]);
    return n == bytes
               ? TB_OK
               : tb_fail(err, TB_E_MISMATCH,
                         "%zu bytes of packed weights, %zu expected", n, bytes);
}

/* --- Int8Gemm ------------------------------------------------------------- */

typedef struct gemm_state {
    finish_state finish;
    size_t m;
    size_t n;
    size_t k;
} gemm_state;

/* x [m..., k...]: the first `axis` dimensions count rows; negative: from the
 * end. */
static tb_rc gemm_infer(tb_call *call, tb_err *err)
{
    gemm_state *s = TB_OP_STATE(gemm_state, call);
    const tb_shape *x = &call->in[0].shape;
    size_t axis = 0;
    tb_rc rc = tb_op_axis(&axis, tb_node_int(call->node, "axis", 1), x->rank,
                          true, err);
    if (rc != TB_OK) {
        return rc;
    }
    s->m = tb_shape_product(x, 0, axis);
    s->k = tb_shape_product(x, axis, x->rank);
    s->n = tb_tensor_count(&call->in[2]);
    rc = read_finish(&s->finish, call, s->n, err);
    if (rc == TB_OK) {
        rc = check_packed(call, tb_int8_packed_bytes(s->n, 1, s->k), err);
    }
    tb_shape y = *x;
    y.rank = axis;
    memset(y.dim + axis, 0, (TB_RANK_MAX - axis) * sizeof y.dim[0]);
    y.dim[y.rank++] = s->n;
    call->out[0] = tb_tensor_view(s->finish.type, &y, NULL);
    call->work_bytes = call->in[0].dtype == TB_I8 ? s->m * s->k : 0;
    return rc;
}

static void gemm_run(const tb_call *call)
{
    static const size_t at_start = 0;
    const gemm_state *s = TB_OP_CONST_STATE(gemm_state, call);
    const uint8_t *x = call->in[0].data;
    const tb_int8_shape shape = {s->m, s->n, s->k, 1, &at_start, s->k, s->n};
    tb_int8_finish finish = finish_of(call, &s->finish);
    if (call->in[0].dtype == TB_I8) {
        uint8_t *copy = call->work;
        for (size_t i = 0; i < s->m * s->k; i++) {
            copy[i] = x[i] ^ 0x80;
        }
        x = copy;
    }
    tb_int8_gemm(&shape, x, call->in[1].data, &finish, call->out[0].data);
}

static double gemm_flops(const tb_call *call)
{
    const gemm_state *s = TB_OP_CONST_STATE(gemm_state, call);
    return 2.0 * (double)s->m * (double)s->n * (double)s->k;
}

/* --- windows -------------------------------------------------------------- */

/* The shape as ONNX has it. */
static tb_shape as_planes(const tb_shape *shape, bool pixels)
{
    tb_shape s = *shape;
    if (pixels && s.rank > 2) {
        memmove(s.dim + 2, s.dim + 1, (s.rank - 2) * sizeof s.dim[0]);
        s.dim[1] = shape->dim[shape->rank - 1];
    }
    return s;
}

static tb_shape as_pixels(const tb_shape *shape, bool pixels)
{
    tb_shape s = *shape;
    if (pixels && s.rank > 2) {
        memmove(s.dim + 1, s.dim + 2, (s.rank - 2) * sizeof s.dim[0]);
        s.dim[s.rank - 1] = shape->dim[1];
    }
    return s;
}

/* The windows of a node over x, and the shape of its output with `channels`
 * channels, both as ONNX has them. Two spatial dimensions at most. */
static tb_rc read_window(tb_int8_window *w, const tb_node *node,
                         const tb_shape *x, size_t channels, tb_shape *y,
                         tb_err *err)
{
    tb_window from;
    if (x->rank < 3 || x->rank > 4) {
        return tb_fail(err, TB_E_UNSUPPORTED, "%zu dimensions", x->rank);
    }
    tb_rc rc = tb_window_of(&from, node, x, NULL, err);
    if (rc != TB_OK) {
        return rc;
    }
    *w = (tb_int8_window){.batch = x->dim[0], .in_c = x->dim[1]};
    for (size_t d = 0; d < 2; d++) {
        w->in[d] = from.in[d + 1];
        w->out[d] = from.out[d + 1];
        w->kernel[d] = from.kernel[d + 1];
        w->stride[d] = from.stride[d + 1];
        w->dilation[d] = from.dilation[d + 1];
        w->pad[d] = from.pad[d + 1];
    }
    *y = tb_window_shape(&from, x->dim[0], channels, from.out);
    return TB_OK;
}

/* --- Int8Conv ------------------------------------------------------------- */

typedef struct conv_state {
    finish_state finish;
    tb_conv_int8 conv;
    bool y_pixels;
    size_t turn; /* place in work of y as pixels */
} conv_state;

static tb_rc conv_infer(tb_call *call, tb_err *err)
{
    conv_state *s = TB_OP_STATE(conv_state, call);
    const tb_node *node = call->node;
    bool x_pixels = tb_node_int(node, "x_pixels", 0) != 0;
    tb_shape x = as_planes(&call->in[0].shape, x_pixels);
    tb_shape y = {0};
    int64_t groups = tb_node_int(node, "group", 1);
    s->y_pixels = tb_node_int(node, "y_pixels", 0) != 0;
    s->conv = (tb_conv_int8){.out_c = tb_tensor_count(&call->in[2]),
                             .groups = groups > 0 ? (size_t)groups : 1,
                             .x_planes = !x_pixels,
                             .x_signed = call->in[0].dtype == TB_I8,
                             .edge = (uint8_t)tb_node_int(node, "x_zero", 0)};
    tb_rc rc = read_window(&s->conv.window, node, &x, s->conv.out_c, &y, err);
    if (rc == TB_OK && (groups <= 0 || x.dim[1] % s->conv.groups != 0 ||
                        s->conv.out_c % s->conv.groups != 0)) {
        rc = tb_fail(err, TB_E_MISMATCH, "%zu to %zu channels in %lld groups",
                     x.dim[1], s->conv.out_c, (long long)groups);
    }
    if (rc == TB_OK) {
        rc = read_finish(&s->finish, call, s->conv.out_c, err);
    }
    if (rc == TB_OK) {
        rc = check_packed(call, tb_conv_int8_packed_bytes(&s->conv), err);
    }
    if (rc == TB_OK) {
        rc = tb_conv_int8_plan(&call->work_bytes, &s->conv, err);
    }
    if (rc != TB_OK) {
        return rc;
    }
    y = as_pixels(&y, s->y_pixels);
    call->out[0] = tb_tensor_view(s->finish.type, &y, NULL);
    if (!s->y_pixels) {
        s->turn = padded(call->work_bytes);
        call->work_bytes = s->turn + tb_tensor_bytes(&call->out[0]);
    }
    return TB_OK;
}

static void conv_run(const tb_call *call)
{
    const conv_state *s = TB_OP_CONST_STATE(conv_state, call);
    const tb_int8_window *w = &s->conv.window;
    tb_int8_finish finish = finish_of(call, &s->finish);
    void *y = s->y_pixels ? call->out[0].data : (uint8_t *)call->work + s->turn;
    tb_conv_int8_run(&s->conv, call->in[0].data, call->in[1].data, &finish, y,
                     call->work);
    if (!s->y_pixels) {
        tb_planes_from_pixels(call->out[0].data, y, w->batch,
                              w->out[0] * w->out[1], s->conv.out_c,
                              tb_dtype_bytes(s->finish.type));
    }
}

static double conv_flops(const tb_call *call)
{
    const conv_state *s = TB_OP_CONST_STATE(conv_state, call);
    const tb_int8_window *w = &s->conv.window;
    double taps = (double)w->kernel[0] * (double)w->kernel[1];
    double terms = taps * (double)w->in_c / (double)s->conv.groups;
    return 2.0 * terms * (double)tb_tensor_count(&call->out[0]);
}

/* --- Int8MaxPool ---------------------------------------------------------- */

static tb_rc pool_infer(tb_call *call, tb_err *err)
{
    tb_int8_window *w = TB_OP_STATE(tb_int8_window, call);
    bool pixels = tb_node_int(call->node, "pixels", 0) != 0;
    tb_shape x = as_planes(&call->in[0].shape, pixels);
    tb_shape y = {0};
    size_t channels = x.rank > 1 ? x.dim[1] : 0;
    tb_rc rc = read_window(w, call->node, &x, channels, &y, err);
    if (rc != TB_OK) {
        return rc;
    }
    if (!pixels) { /* planes are images of one channel */
        w->batch *= w->in_c;
        w->in_c = 1;
    }
    y = as_pixels(&y, pixels);
    call->out[0] = tb_tensor_view(call->in[0].dtype, &y, NULL);
    return TB_OK;
}

static void pool_run(const tb_call *call)
{
    tb_max_int8(TB_OP_CONST_STATE(tb_int8_window, call),
                call->in[0].dtype == TB_I8, call->in[0].data,
                call->out[0].data);
}

static double pool_flops(const tb_call *call)
{
    const tb_int8_window *w = TB_OP_CONST_STATE(tb_int8_window, call);
    return (double)w->kernel[0] * (double)w->kernel[1] *
           (double)tb_tensor_count(&call->out[0]);
}

/* --- the table ------------------------------------------------------------ */

#define FINISH_ATTRS                                                           \
    {"x_type", TB_ATTR_INT, false}, {"y_type", TB_ATTR_INT, false},            \
        {"y_zero", TB_ATTR_INT, false}, {"low", TB_ATTR_FLOAT, false},         \
    {                                                                          \
        "high", TB_ATTR_FLOAT, false                                           \
    }

static const tb_attr_decl gemm_attrs[] = {FINISH_ATTRS,
                                          {"axis", TB_ATTR_INT, false}};
static const tb_attr_decl conv_attrs[] = {FINISH_ATTRS,
                                          TB_WINDOW_ATTRS,
                                          {"group", TB_ATTR_INT, false},
                                          {"x_zero", TB_ATTR_INT, false},
                                          {"x_pixels", TB_ATTR_INT, false},
                                          {"y_pixels", TB_ATTR_INT, false}};
static const tb_attr_decl pool_attrs[] = {TB_WINDOW_ATTRS,
                                          {"ceil_mode", TB_ATTR_INT, false},
                                          {"storage_order", TB_ATTR_INT, false},
                                          {"pixels", TB_ATTR_INT, false}};

#define FUSED(text, inputs, decls)                                             \
    .domain = TB_DOMAIN_FUSED, .name = text, .since = 1,                       \
    .until = TB_OPSET_ANY, .in_min = inputs, .in_max = inputs, .out_min = 1,   \
    .out_max = 1, .attrs = decls, .n_attrs = TB_COUNT(decls), .types = TYPES_8

const tb_op tb_op_int8_gemm = {FUSED("Int8Gemm", 4, gemm_attrs),
                               .flops = gemm_flops, .infer = gemm_infer,
                               .run = gemm_run};

const tb_op tb_op_int8_conv = {FUSED("Int8Conv", 4, conv_attrs),
                               .flops = conv_flops, .infer = conv_infer,
                               .run = conv_run};

const tb_op tb_op_int8_max_pool = {FUSED("Int8MaxPool", 1, pool_attrs),
                                   .flops = pool_flops, .infer = pool_infer,
                                   .run = pool_run};
