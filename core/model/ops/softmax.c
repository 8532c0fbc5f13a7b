/* core/model/ops/softmax.c - Softmax and LogSoftmax along one axis (opset 13)
 * or over all dimensions from the axis on (before), with their gradients. */
#include <math.h>
#include <string.h>

#include "model/ops/op_priv.h"
#include "tensor/kernels.h"

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
    if (state->n_inner > 1) { /* columns are gathered into rows: x, y and dy */
        call->work_bytes = 3 * state->n * sizeof(float);
    }
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

static void gather(float *row, const float *column, const softmax_state *s)
{
    for (size_t i = 0; i < s->n; i++) {
        row[i] = column[i * s->n_inner];
    }
}

static void scatter(float *column, const float *row, const softmax_state *s)
{
    for (size_t i = 0; i < s->n; i++) {
        column[i * s->n_inner] = row[i];
    }
}

typedef void rows_fn(float *y, const float *x, size_t n_rows, size_t n_cols);

static void run_rows(const tb_call *call, rows_fn *rows)
{
    const softmax_state *s = TB_OP_CONST_STATE(softmax_state, call);
    const float *x = tb_op_f32(call, 0);
    float *y = tb_op_f32_out(call);
    float *row = call->work;
    if (s->n == 0) {
        return;
    }
    if (s->n_inner == 1) {
        rows(y, x, s->n_outer, s->n);
        return;
    }
    for (size_t o = 0; o < s->n_outer; o++) {
        for (size_t i = 0; i < s->n_inner; i++) {
            size_t at = o * s->n * s->n_inner + i;
            gather(row, x + at, s);
            rows(row, row, 1, s->n);
            scatter(y + at, row, s);
        }
    }
}

/* y = exp(x - max) / sum exp(x - max) */
static void softmax_run(const tb_call *call)
{
    run_rows(call, tb_k_softmax);
}

/* y = x - max - log sum exp(x - max) */
static void log_softmax_run(const tb_call *call)
{
    run_rows(call, tb_k_log_softmax);
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

/* dx = y (dy - sum(dy y)) */
static void softmax_grad_row(float *dx, const float *dy, const float *y,
                             size_t n)
{
    float sum = tb_k_dot(dy, y, n);
    for (size_t i = 0; i < n; i++) {
        dx[i] = y[i] * (dy[i] - sum);
    }
}

/* dx = dy - exp(y) sum(dy) */
static void log_softmax_grad_row(float *dx, const float *dy, const float *y,
                                 size_t n)
{
    float sum = tb_k_sum(dy, n);
    for (size_t i = 0; i < n; i++) {
        dx[i] = dy[i] - expf(y[i]) * sum;
    }
}

typedef void grad_row_fn(float *dx, const float *dy, const float *y, size_t n);

static void run_grad(const tb_call *call, grad_row_fn *fn)
{
    const softmax_state *s = TB_OP_CONST_STATE(softmax_state, call);
    const float *dy = tb_op_f32(call, 0);
    const float *y = tb_op_f32(call, 1);
    float *dx = tb_op_f32_out(call);
    float *row = call->work;
    for (size_t o = 0; o < s->n_outer; o++) {
        for (size_t i = 0; i < s->n_inner; i++) {
            size_t at = o * s->n * s->n_inner + i;
            if (s->n_inner == 1) {
                fn(dx + at, dy + at, y + at, s->n);
                continue;
            }
            gather(row, dy + at, s);
            gather(row + s->n, y + at, s);
            fn(row + 2 * s->n, row, row + s->n, s->n);
            scatter(dx + at, row + 2 * s->n, s);
        }
    }
}

static void softmax_grad_run(const tb_call *call)
{
    run_grad(call, softmax_grad_row);
}

static void log_softmax_grad_run(const tb_call *call)
{
    run_grad(call, log_softmax_grad_row);
}

/* --- the table ------------------------------------------------------------ */

static const tb_attr_decl attrs[] = {{"axis", TB_ATTR_INT, false},
                                     {"flat", TB_ATTR_INT, false}};

#define SOFTMAX(text, first, last)                                             \
    .domain = TB_DOMAIN_ONNX, .name = text, .since = first, .until = last,     \
    .in_min = 1, .in_max = 1, .out_min = 1, .out_max = 1, .attrs = attrs,      \
    .n_attrs = 1, .in_place = 1, .infer = infer

#define SOFTMAX_GRAD(text)                                                     \
    .domain = TB_DOMAIN_GRAD, .name = text, .since = 1, .until = TB_OPSET_ANY, \
    .in_min = 2, .in_max = 2, .out_min = 1, .out_max = 1, .attrs = attrs,      \
    .n_attrs = 2, .in_place = 1, .infer = grad_infer

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
const tb_op tb_op_softmax_grad = {SOFTMAX_GRAD("SoftmaxGrad"),
                                  .run = softmax_grad_run};
const tb_op tb_op_log_softmax_grad = {SOFTMAX_GRAD("LogSoftmaxGrad"),
                                      .run = log_softmax_grad_run};
