/* core/model/ops/softmax.c - Softmax and LogSoftmax along one axis (opset 13)
 * or over all dimensions from the axis on (before), with their gradients. */
#include <math.h>
#include <string.h>

#include "model/ops/op_priv.h"

/* The tensor seen as [n_outer, n, n_inner]; the sums run over n. */
typedef struct softmax_state {
    size_t n_outer;
    size_t n;
    size_t n_inner;
} softmax_state;

/* flat: the meaning before opset 13. */
static tb_rc plan(tb_call *call, bool flat, tb_err *err)
{
    softmax_state *state = TB_OP_STATE(softmax_state, call);
    const tb_shape *x = &call->in[0].shape;
    size_t axis = 0;
    tb_rc rc = tb_op_axis(&axis, tb_node_int(call->node, "axis", flat ? 1 : -1),
                          x->rank, flat, err);
    if (rc != TB_OK) {
        return rc;
    }
    state->n_outer = tb_shape_product(x, 0, axis);
    state->n = flat ? tb_shape_product(x, axis, x->rank) : x->dim[axis];
    state->n_inner = flat ? 1 : tb_shape_product(x, axis + 1, x->rank);
    return TB_OK;
}

static tb_rc infer(tb_call *call, tb_err *err)
{
    tb_rc rc = tb_op_infer_same(call, err);
    return rc == TB_OK ? plan(call, call->op->until < 13, err) : rc;
}

static tb_rc grad_infer(tb_call *call, tb_err *err)
{
    tb_rc rc = tb_op_infer_grad(call, err);
    bool flat = tb_node_int(call->node, "flat", 0) != 0;
    return rc == TB_OK ? plan(call, flat, err) : rc;
}

/* --- forward -------------------------------------------------------------- */

typedef void softmax_fn(float *y, const float *x, size_t n_rows, size_t n_cols);

/* The same in double, of any float type, one column of n. */
static void any_column(const tb_call *call, size_t at, bool log_of)
{
    const softmax_state *s = TB_OP_CONST_STATE(softmax_state, call);
    const tb_tensor *x = &call->in[0];
    double max = tb_tensor_f64_at(x, at);
    double sum = 0;
    for (size_t i = 0; i < s->n; i++) {
        max = fmax(max, tb_tensor_f64_at(x, at + i * s->n_inner));
    }
    for (size_t i = 0; i < s->n; i++) {
        sum += exp(tb_tensor_f64_at(x, at + i * s->n_inner) - max);
    }
    for (size_t i = 0; i < s->n; i++) {
        size_t k = at + i * s->n_inner;
        double t = tb_tensor_f64_at(x, k) - max;
        tb_tensor_put_f64(&call->out[0], k,
                          log_of ? t - log(sum) : exp(t) / sum);
    }
}

static void run_any(const tb_call *call, bool log_of)
{
    const softmax_state *s = TB_OP_CONST_STATE(softmax_state, call);
    for (size_t o = 0; o < s->n_outer; o++) {
        for (size_t i = 0; i < s->n_inner; i++) {
            any_column(call, o * s->n * s->n_inner + i, log_of);
        }
    }
}

static void run_f32(const tb_call *call, softmax_fn *rows, softmax_fn *columns)
{
    const softmax_state *s = TB_OP_CONST_STATE(softmax_state, call);
    if (s->n_inner == 1) {
        rows(tb_op_f32_out(call), tb_op_f32(call, 0), s->n_outer, s->n);
        return;
    }
    for (size_t o = 0; o < s->n_outer; o++) {
        size_t at = o * s->n * s->n_inner;
        columns(tb_op_f32_out(call) + at, tb_op_f32(call, 0) + at, s->n,
                s->n_inner);
    }
}

/* y = exp(x - max) / sum exp(x - max) */
static void softmax_run(const tb_call *call)
{
    if (tb_tensor_count(&call->out[0]) == 0) {
        return;
    }
    if (call->in[0].dtype == TB_F32) {
        run_f32(call, tb_k_softmax, tb_k_softmax_cols);
    } else {
        run_any(call, false);
    }
}

/* y = x - max - log sum exp(x - max) */
static void log_softmax_run(const tb_call *call)
{
    if (tb_tensor_count(&call->out[0]) == 0) {
        return;
    }
    if (call->in[0].dtype == TB_F32) {
        run_f32(call, tb_k_log_softmax, tb_k_log_softmax_cols);
    } else {
        run_any(call, true);
    }
}

/* --- backward ------------------------------------------------------------- */

static void emit_grad(tb_grad *g, const char *op)
{
    /* The opset of the graph decides what an absent axis means. */
    bool flat = g->graph->opset < 13;
    const tb_value_id in[2] = {g->dy[0], g->node->out[0]};
    const tb_attr attrs[2] = {
        TB_ATTR_I("axis", tb_node_int(g->node, "axis", flat ? 1 : -1)),
        TB_ATTR_I("flat", flat)};
    g->dx[0] = tb_grad_emit(g, &(tb_node_spec){.domain = TB_DOMAIN_GRAD,
                                               .op = op,
                                               .attrs = attrs,
                                               .n_attrs = 2,
                                               .in = in,
                                               .n_in = 2});
}

static void softmax_backward(tb_grad *g)
{
    emit_grad(g, "SoftmaxGrad");
}

static void log_softmax_backward(tb_grad *g)
{
    emit_grad(g, "LogSoftmaxGrad");
}

static void any_column_grad(const tb_call *call, size_t at, bool log_of)
{
    const softmax_state *s = TB_OP_CONST_STATE(softmax_state, call);
    const tb_tensor *dy = &call->in[0];
    const tb_tensor *y = &call->in[1];
    double sum = 0;
    for (size_t i = 0; i < s->n; i++) {
        size_t k = at + i * s->n_inner;
        double weight = log_of ? 1 : tb_tensor_f64_at(y, k);
        sum += tb_tensor_f64_at(dy, k) * weight;
    }
    for (size_t i = 0; i < s->n; i++) {
        size_t k = at + i * s->n_inner;
        double d = tb_tensor_f64_at(dy, k);
        double p = tb_tensor_f64_at(y, k);
        tb_tensor_put_f64(&call->out[0], k,
                          log_of ? d - exp(p) * sum : p * (d - sum));
    }
}

typedef void grad_fn(float *dx, const float *dy, const float *y, size_t n_rows,
                     size_t n_cols);

static void run_grad(const tb_call *call, grad_fn *rows, grad_fn *columns,
                     bool log_of)
{
    const softmax_state *s = TB_OP_CONST_STATE(softmax_state, call);
    const float *dy = tb_op_f32(call, 0);
    const float *y = tb_op_f32(call, 1);
    float *dx = tb_op_f32_out(call);
    if (call->in[0].dtype == TB_F32 && s->n_inner == 1) {
        rows(dx, dy, y, s->n_outer, s->n);
        return;
    }
    for (size_t o = 0; o < s->n_outer; o++) {
        size_t at = o * s->n * s->n_inner;
        if (call->in[0].dtype == TB_F32) {
            columns(dx + at, dy + at, y + at, s->n, s->n_inner);
            continue;
        }
        for (size_t i = 0; i < s->n_inner; i++) {
            any_column_grad(call, at + i, log_of);
        }
    }
}

/* dx = y (dy - sum(dy y)) */
static void softmax_grad_run(const tb_call *call)
{
    run_grad(call, tb_k_softmax_grad, tb_k_softmax_grad_cols, false);
}

/* dx = dy - exp(y) sum(dy) */
static void log_softmax_grad_run(const tb_call *call)
{
    run_grad(call, tb_k_log_softmax_grad, tb_k_log_softmax_grad_cols, true);
}

/* --- the table ------------------------------------------------------------ */

static const tb_attr_decl attrs[] = {{"axis", TB_ATTR_INT, false},
                                     {"flat", TB_ATTR_INT, false}};

#define SOFTMAX(text, first, last)                                             \
    .domain = TB_DOMAIN_ONNX, .name = text, .since = first, .until = last,     \
    .in_min = 1, .in_max = 1, .out_min = 1, .out_max = 1, .attrs = attrs,      \
    .n_attrs = 1, .in_place = 1, .types = TB_TYPES_FLOAT, .flops_each = 24,    \
    .infer = infer

#define SOFTMAX_GRAD(text, n_flops)                                            \
    .domain = TB_DOMAIN_GRAD, .name = text, .since = 1, .until = TB_OPSET_ANY, \
    .in_min = 2, .in_max = 2, .out_min = 1, .out_max = 1, .attrs = attrs,      \
    .n_attrs = 2, .in_place = 1, .types = TB_TYPES_FLOAT,                      \
    .flops_each = n_flops, .infer = grad_infer

const tb_op tb_op_softmax = {SOFTMAX("Softmax", 13, TB_OPSET_ANY),
                             .run = softmax_run, .backward = softmax_backward};
const tb_op tb_op_softmax_1 = {SOFTMAX("Softmax", 1, 12), .run = softmax_run,
                               .backward = softmax_backward};
const tb_op tb_op_log_softmax = {SOFTMAX("LogSoftmax", 13, TB_OPSET_ANY),
                                 .run = log_softmax_run,
                                 .backward = log_softmax_backward};
const tb_op tb_op_log_softmax_1 = {SOFTMAX("LogSoftmax", 1, 12),
                                   .run = log_softmax_run,
                                   .backward = log_softmax_backward};
const tb_op tb_op_softmax_grad = {SOFTMAX_GRAD("SoftmaxGrad", 4),
                                  .run = softmax_grad_run};
const tb_op tb_op_log_softmax_grad = {SOFTMAX_GRAD("LogSoftmaxGrad", 23),
                                      .run = log_softmax_grad_run};
