/* core/model/ops/pool.c - MaxPool, AveragePool, their global kin, and the
 * gradients of all. A window's maximum is remembered as the number of its tap,
 * in a private output. */
#include <string.h>

#include "base/mem.h"
#include "model/ops/op_priv.h"
#include "model/ops/window.h"
#include "tensor/pool.h"

typedef struct pool_state {
    tb_pool pool;
    bool column_major; /* Indices count the first spatial dimension fastest */
    size_t taps_at;    /* output of the taps */
    size_t taps_work;  /* scratch memory: bytes before x and y as float32 */
} pool_state;

/* --- infer ---------------------------------------------------------------- */

static tb_rc read_local(tb_pool *p, const tb_node *node, const tb_shape *x,
                        tb_shape *y, tb_err *err)
{
    tb_window w;
    tb_rc rc = tb_window_of(&w, node, x, NULL, err);
    if (rc != TB_OK) {
        return rc;
    }
    *p = (tb_pool){.planes = x->dim[0] * x->dim[1]};
    memcpy(p->in, w.in, sizeof p->in);
    memcpy(p->out, w.out, sizeof p->out);
    memcpy(p->kernel, w.kernel, sizeof p->kernel);
    memcpy(p->stride, w.stride, sizeof p->stride);
    memcpy(p->dilation, w.dilation, sizeof p->dilation);
    memcpy(p->pad, w.pad, sizeof p->pad);
    memcpy(p->pad_end, w.pad_end, sizeof p->pad_end);
    size_t taps = 0;
    if (tb_mem_mul(&taps, p->kernel[0], p->kernel[1]) != 0 ||
        tb_mem_mul(&taps, taps, p->kernel[2]) != 0 || taps > UINT32_MAX) {
        return tb_fail(err, TB_E_LIMIT, "a window of more than 2^32 elements");
    }
    p->count_pad = tb_node_int(node, "count_include_pad", 0) != 0;
    *y = tb_window_shape(&w, x->dim[0], x->dim[1], w.out);
    return TB_OK;
}

/* One window over all spatial dimensions, seen as one. */
static tb_rc read_global(tb_pool *p, const tb_shape *x, tb_shape *y,
                         tb_err *err)
{
    size_t n = x->rank < 2 ? 0 : tb_shape_product(x, 2, x->rank);
    if (n == 0 || n > (size_t)INT32_MAX) {
        char text[TB_SHAPE_TEXT_BYTES];
        return tb_fail(err, TB_E_MISMATCH, "input of shape %s",
                       tb_shape_text(x, text));
    }
    *p = (tb_pool){.planes = x->dim[0] * x->dim[1],
                   .in = {1, 1, n},
                   .out = {1, 1, 1},
                   .kernel = {1, 1, n},
                   .stride = {1, 1, 1},
                   .dilation = {1, 1, 1}};
    *y = *x;
    for (size_t i = 2; i < y->rank; i++) {
        y->dim[i] = 1;
    }
    return TB_OK;
}

/* The geometry of x at input i, and the shape of y. */
static tb_rc read_pool(tb_call *call, size_t i, bool global, tb_shape *y,
                       tb_err *err)
{
    tb_pool *p = &TB_OP_STATE(pool_state, call)->pool;
    const tb_shape *x = &call->in[i].shape;
    return global ? read_global(p, x, y, err)
                  : read_local(p, call->node, x, y, err);
}

/* Each tap of each window. */
static double pool_flops(const tb_call *call)
{
    const tb_pool *p = &TB_OP_CONST_STATE(pool_state, call)->pool;
    double n = (double)p->planes;
    for (size_t d = 0; d < TB_POOL_DIMS; d++) {
        n *= (double)p->out[d] * (double)p->kernel[d];
    }
    return n;
}

static bool is_wanted(const tb_call *call, size_t i)
{
    return i < call->n_out && call->node->out[i] != TB_ID_NONE;
}

/* Scratch memory: taps when only Indices need them, x and y as float32 when
 * they are not. */
static tb_rc plan_max(tb_call *call, const tb_shape *y, tb_err *err)
{
    pool_state *s = TB_OP_STATE(pool_state, call);
    size_t n_x = tb_tensor_count(&call->in[0]);
    size_t n_y = 0;
    tb_rc rc = tb_shape_count(&n_y, y, err);
    if (rc != TB_OK || n_y > SIZE_MAX / 16 || n_x > SIZE_MAX / 16) {
        return rc != TB_OK ? rc : tb_fail(err, TB_E_LIMIT, "%zu values", n_y);
    }
    bool taps =
        s->taps_at > 1 && is_wanted(call, 1) && !is_wanted(call, s->taps_at);
    s->taps_work =
        taps ? (n_y * tb_pool_tap_bytes(&s->pool) + 63) / 64 * 64 : 0;
    call->work_bytes = s->taps_work;
    if (call->in[0].dtype != TB_F32) {
        call->work_bytes += (n_x + n_y) * sizeof(float);
    }
    return TB_OK;
}

static tb_rc infer_max(tb_call *call, bool global, tb_err *err)
{
    pool_state *s = TB_OP_STATE(pool_state, call);
    tb_shape y;
    tb_rc rc = read_pool(call, 0, global, &y, err);
    s->taps_at = global ? 1 : 2;
    s->column_major = tb_node_int(call->node, "storage_order", 0) != 0;
    if (rc == TB_OK) {
        rc = plan_max(call, &y, err);
    }
    if (rc != TB_OK) {
        return rc;
    }
    call->out[0] = tb_tensor_view(call->in[0].dtype, &y, NULL);
    for (size_t i = 1; i < call->n_out; i++) {
        bool byte = tb_pool_tap_bytes(&s->pool) == 1;
        tb_dtype taps = byte ? TB_U8 : TB_U32;
        call->out[i] =
            tb_tensor_view(i == s->taps_at ? taps : TB_I64, &y, NULL);
    }
    return TB_OK;
}

static tb_rc max_infer(tb_call *call, tb_err *err)
{
    return infer_max(call, false, err);
}

static tb_rc global_max_infer(tb_call *call, tb_err *err)
{
    return infer_max(call, true, err);
}

static tb_rc infer_average(tb_call *call, bool global, tb_err *err)
{
    tb_shape y;
    tb_rc rc = read_pool(call, 0, global, &y, err);
    if (rc == TB_OK) {
        call->out[0] = tb_tensor_view(TB_F32, &y, NULL);
    }
    return rc;
}

static tb_rc average_infer(tb_call *call, tb_err *err)
{
    return infer_average(call, false, err);
}

static tb_rc global_average_infer(tb_call *call, tb_err *err)
{
    return infer_average(call, true, err);
}

/* --- forward -------------------------------------------------------------- */

static void *out_of(const tb_call *call, size_t i)
{
    return i < call->n_out ? call->out[i].data : NULL;
}

/* Where in x each maximum came from, counted over all of x. */
static void put_indices(const pool_state *s, int64_t *indices, const void *taps)
{
    const tb_pool *p = &s->pool;
    size_t in = p->in[0] * p->in[1] * p->in[2];
    size_t out = p->out[0] * p->out[1] * p->out[2];
    bool byte = tb_pool_tap_bytes(p) == 1;
    for (size_t i = 0; i < p->planes * out; i++) {
        size_t tap =
            byte ? ((const uint8_t *)taps)[i] : ((const uint32_t *)taps)[i];
        size_t at = tb_pool_index(p, i % out, tap, s->column_major);
        indices[i] = at == SIZE_MAX ? -1 : (int64_t)(i / out * in + at);
    }
}

/* y = max of x over each window */
static void max_run(const tb_call *call)
{
    const pool_state *s = TB_OP_CONST_STATE(pool_state, call);
    void *taps = out_of(call, s->taps_at);
    const tb_tensor *x = &call->in[0];
    const tb_tensor *y = &call->out[0];
    float *copy = NULL;
    if (s->taps_work > 0) {
        taps = call->work;
    }
    if (x->dtype == TB_F32) {
        tb_pool_max(&s->pool, x->data, y->data, taps);
    } else {
        size_t n_x = tb_tensor_count(x);
        copy = (float *)(void *)((uint8_t *)call->work + s->taps_work);
        for (size_t i = 0; i < n_x; i++) {
            copy[i] = (float)tb_tensor_f64_at(x, i);
        }
        tb_pool_max(&s->pool, copy, copy + n_x, taps);
        for (size_t i = 0; i < tb_tensor_count(y); i++) {
            tb_tensor_put_f64(y, i, (double)copy[n_x + i]);
        }
    }
    if (s->taps_at > 1 && out_of(call, 1) != NULL) {
        put_indices(s, out_of(call, 1), taps);
    }
}

/* y = mean of x over each window */
static void average_run(const tb_call *call)
{
    tb_pool_average(&TB_OP_CONST_STATE(pool_state, call)->pool,
                    tb_op_f32(call, 0), tb_op_f32_out(call));
}

/* --- backward ------------------------------------------------------------- */

static void emit_max_grad(tb_grad *g, const char *op, size_t taps_at)
{
    tb_value_id taps = tb_grad_output(g, taps_at);
    const tb_value_id in[3] = {g->dy[0], taps, g->node->in[0]};
    g->dx[0] = tb_grad_emit(g, &(tb_node_spec){.domain = TB_DOMAIN_GRAD,
                                               .op = op,
                                               .attrs = g->node->attrs,
                                               .n_attrs = g->node->n_attrs,
                                               .in = in,
                                               .n_in = 3});
}

static void max_backward(tb_grad *g)
{
    emit_max_grad(g, "MaxPoolGrad", 2);
}

static void global_max_backward(tb_grad *g)
{
    emit_max_grad(g, "GlobalMaxPoolGrad", 1);
}

static void emit_average_grad(tb_grad *g, const char *op)
{
    const tb_value_id in[2] = {g->dy[0], g->node->in[0]};
    g->dx[0] = tb_grad_emit(g, &(tb_node_spec){.domain = TB_DOMAIN_GRAD,
                                               .op = op,
                                               .attrs = g->node->attrs,
                                               .n_attrs = g->node->n_attrs,
                                               .in = in,
                                               .n_in = 2});
}

static void average_backward(tb_grad *g)
{
    emit_average_grad(g, "AveragePoolGrad");
}

static void global_average_backward(tb_grad *g)
{
    emit_average_grad(g, "GlobalAveragePoolGrad");
}

/* x, the last input, gives its shape only. */
static tb_rc infer_grad(tb_call *call, bool global, tb_err *err)
{
    tb_shape y;
    size_t x = call->n_in - 1;
    tb_rc rc = read_pool(call, x, global, &y, err);
    for (size_t i = 0; i < x && rc == TB_OK; i++) {
        if (!tb_shape_equal(&y, &call->in[i].shape)) {
            char a[TB_SHAPE_TEXT_BYTES];
            char b[TB_SHAPE_TEXT_BYTES];
            rc = tb_fail(err, TB_E_MISMATCH, "gradient %s of %s",
                         tb_shape_text(&call->in[i].shape, a),
                         tb_shape_text(&y, b));
        }
    }
    if (rc == TB_OK) {
        call->out[0] = tb_tensor_view(TB_F32, &call->in[x].shape, NULL);
    }
    return rc;
}

static tb_rc grad_infer(tb_call *call, tb_err *err)
{
    return infer_grad(call, false, err);
}

static tb_rc global_grad_infer(tb_call *call, tb_err *err)
{
    return infer_grad(call, true, err);
}

/* dx = dy at the taps */
static void max_grad_run(const tb_call *call)
{
    tb_pool_max_grad(&TB_OP_CONST_STATE(pool_state, call)->pool,
                     tb_op_f32(call, 0), call->in[1].data, tb_op_f32_out(call));
}

/* dx = dy / n over each window */
static void average_grad_run(const tb_call *call)
{
    tb_pool_average_grad(&TB_OP_CONST_STATE(pool_state, call)->pool,
                         tb_op_f32(call, 0), tb_op_f32_out(call));
}

/* --- the table ------------------------------------------------------------ */

static const tb_attr_decl max_attrs[] = {{"ceil_mode", TB_ATTR_INT, false},
                                         {"storage_order", TB_ATTR_INT, false},
                                         TB_WINDOW_ATTRS};

static const tb_attr_decl average_attrs[] = {
    {"ceil_mode", TB_ATTR_INT, false},
    {"count_include_pad", TB_ATTR_INT, false},
    TB_WINDOW_ATTRS};

/* Types whose values float32 holds exactly. */
#define MAX_TYPES                                                              \
    (TB_TYPES_F32 | TB_TYPE_BIT(TB_F16) | TB_TYPE_BIT(TB_BF16) |               \
     TB_TYPE_BIT(TB_U8) | TB_TYPE_BIT(TB_I8))

#define POOL(text)                                                             \
    .domain = TB_DOMAIN_ONNX, .name = text, .since = 1, .until = TB_OPSET_ANY, \
    .in_min = 1, .in_max = 1, .out_min = 1, .flops = pool_flops

const tb_op tb_op_max_pool = {POOL("MaxPool"),
                              .out_max = 2,
                              .n_saved = 1,
                              .attrs = max_attrs,
                              .n_attrs = TB_COUNT(max_attrs),
                              .types = MAX_TYPES,
                              .infer = max_infer,
                              .run = max_run,
                              .backward = max_backward};

const tb_op tb_op_global_max_pool = {POOL("GlobalMaxPool"),
                                     .out_max = 1,
                                     .n_saved = 1,
                                     .types = MAX_TYPES,
                                     .infer = global_max_infer,
                                     .run = max_run,
                                     .backward = global_max_backward};

const tb_op tb_op_average_pool = {
    POOL("AveragePool"),    .out_max = 1,
    .attrs = average_attrs, .n_attrs = TB_COUNT(average_attrs),
    .types = TB_TYPES_F32,  .infer = average_infer,
    .run = average_run,     .backward = average_backward};

const tb_op tb_op_global_average_pool = {
    POOL("GlobalAveragePool"), .out_max = 1,
    .types = TB_TYPES_F32,     .infer = global_average_infer,
    .run = average_run,        .backward = global_average_backward};

#define POOL_GRAD(text, n)                                                     \
    .domain = TB_DOMAIN_GRAD, .name = text, .since = 1, .until = TB_OPSET_ANY, \
    .in_min = n, .in_max = n, .out_min = 1, .out_max = 1,                      \
    .shape_only = 1 << (n - 1), .types = TB_TYPES_F32, .flops = pool_flops

const tb_op tb_op_max_pool_grad = {
    POOL_GRAD("MaxPoolGrad", 3), .attrs = max_attrs,
    .n_attrs = TB_COUNT(max_attrs), .infer = grad_infer, .run = max_grad_run};

const tb_op tb_op_global_max_pool_grad = {POOL_GRAD("GlobalMaxPoolGrad", 3),
                                          .infer = global_grad_infer,
                                          .run = max_grad_run};

const tb_op tb_op_average_pool_grad = {
    POOL_GRAD("AveragePoolGrad", 2), .attrs = average_attrs,
    .n_attrs = TB_COUNT(average_attrs), .infer = grad_infer,
    .run = average_grad_run};

const tb_op tb_op_global_average_pool_grad = {
    POOL_GRAD("GlobalAveragePoolGrad", 2), .infer = global_grad_infer,
    .run = average_grad_run};
