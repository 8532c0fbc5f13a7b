/* core/model/ops/arithmetic.c - Add, Sub, Mul, Div with broadcasting, and the
 * sum that undoes broadcasting in the backward pass. */
#include <string.h>

#include "model/ops/op_priv.h"
#include "tensor/kernels.h"

/* --- forward -------------------------------------------------------------- */

static tb_rc infer(tb_call *call, tb_err *err)
{
    tb_walk2 *walk = TB_OP_STATE(tb_walk2, call);
    tb_shape shape;
    tb_rc rc = tb_op_need_f32(call, 2, err);
    if (rc == TB_OK) {
        rc = tb_shape_broadcast(&shape, &call->in[0].shape, &call->in[1].shape,
                                err);
    }
    if (rc == TB_OK) {
        tb_walk2_plan(walk, &call->in[0].shape, &call->in[1].shape, &shape);
        call->out[0] = tb_tensor_view(TB_F32, &shape, NULL);
    }
    return rc;
}

typedef void row_fn(float *y, const float *a, const float *b, size_t n);

/* y = a op b along the walk. run is for two moving operands; stand for those
 * where one stands still. */
#define BINARY(name, run, op)                                                  \
    static void name##_stand(float *y, const float *a, size_t step_a,          \
                             const float *b, size_t step_b, size_t n)          \
    {                                                                          \
        if (step_a == 1 && step_b == 0) { /* scaling: the common case */       \
            const float b0 = b[0];                                             \
            for (size_t i = 0; i < n; i++) {                                   \
                y[i] = a[i] op b0;                                             \
            }                                                                  \
            return;                                                            \
        }                                                                      \
        for (size_t i = 0; i < n; i++) {                                       \
            y[i] = a[i * step_a] op b[i * step_b];                             \
        }                                                                      \
    }                                                                          \
    static void name##_run(const tb_call *call)                                \
    {                                                                          \
        walk_rows(call, run, name##_stand);                                    \
    }

typedef void stand_fn(float *y, const float *a, size_t step_a, const float *b,
                      size_t step_b, size_t n);

static void walk_rows(const tb_call *call, row_fn *row, stand_fn *stand)
{
    const tb_walk2 *walk = TB_OP_CONST_STATE(tb_walk2, call);
    tb_walk2_at at = {0};
    float *y = tb_op_f32_out(call);
    for (size_t i = 0; i < walk->n_outer; i++) {
        const float *a = tb_op_f32(call, 0) + at.at[0];
        const float *b = tb_op_f32(call, 1) + at.at[1];
        if (walk->step[0] == 1 && walk->step[1] == 1) {
            row(y, a, b, walk->n);
        } else {
            stand(y, a, walk->step[0], b, walk->step[1], walk->n);
        }
        y += walk->n;
        tb_walk2_next(&at, walk);
    }
}

BINARY(add, tb_k_add, +)
BINARY(sub, tb_k_sub, -)
BINARY(mul, tb_k_mul, *)
BINARY(div, tb_k_div, /)

/* --- backward ------------------------------------------------------------- */

/* y = a + b: da = dy, db = dy */
static void add_backward(tb_grad *g)
{
    for (size_t i = 0; i < 2; i++) {
        if (g->wants[i]) {
            g->dx[i] = tb_grad_reduce(g, g->dy[0], g->node->in[i], 1.0f);
        }
    }
}

/* y = a - b: da = dy, db = -dy */
static void sub_backward(tb_grad *g)
{
    for (size_t i = 0; i < 2; i++) {
        if (g->wants[i]) {
            g->dx[i] = tb_grad_reduce(g, g->dy[0], g->node->in[i],
                                      i == 0 ? 1.0f : -1.0f);
        }
    }
}

/* y = a * b: da = dy * b, db = dy * a */
static void mul_backward(tb_grad *g)
{
    for (size_t i = 0; i < 2; i++) {
        if (g->wants[i]) {
            tb_value_id d = tb_grad_binary(g, TB_DOMAIN_ONNX, "Mul", g->dy[0],
                                           g->node->in[1 - i]);
            g->dx[i] = tb_grad_reduce(g, d, g->node->in[i], 1.0f);
        }
    }
}

/* y = a / b: da = dy / b, db = -dy * y / b */
static void div_backward(tb_grad *g)
{
    const tb_value_id *in = g->node->in;
    tb_value_id d = tb_grad_binary(g, TB_DOMAIN_ONNX, "Div", g->dy[0], in[1]);
    if (g->wants[0]) {
        g->dx[0] = tb_grad_reduce(g, d, in[0], 1.0f);
    }
    if (g->wants[1]) {
        d = tb_grad_binary(g, TB_DOMAIN_ONNX, "Mul", d, g->node->out[0]);
        g->dx[1] = tb_grad_reduce(g, d, in[1], -1.0f);
    }
}

#define ARITHMETIC(op, text)                                                   \
    const tb_op tb_op_##op = {.domain = TB_DOMAIN_ONNX,                        \
                              .name = text,                                    \
                              .since = 7,                                      \
                              .until = TB_OPSET_ANY,                           \
                              .in_min = 2,                                     \
                              .in_max = 2,                                     \
                              .out_min = 1,                                    \
                              .out_max = 1,                                    \
                              .in_place = 3,                                   \
                              .infer = infer,                                  \
                              .run = op##_run,                                 \
                              .backward = op##_backward}

ARITHMETIC(add, "Add");
ARITHMETIC(sub, "Sub");
ARITHMETIC(mul, "Mul");
ARITHMETIC(div, "Div");

/* --- ReduceToLike --------------------------------------------------------- */

typedef struct reduce_state {
    tb_walk2 walk; /* of (output, input) over the input */
    float scale;
    bool same;     /* nothing to sum */
    size_t n_rows; /* > 0: the output is one row of the input, [n_rows, n] */
} reduce_state;

/* a, like -> a summed over the dimensions in which like was stretched, times
 * scale; shape of like, whose data is not read. */
static tb_rc reduce_infer(tb_call *call, tb_err *err)
{
    reduce_state *state = TB_OP_STATE(reduce_state, call);
    const tb_shape *from = &call->in[0].shape;
    const tb_shape *to = &call->in[1].shape;
    tb_shape both;
    tb_rc rc = tb_op_need_f32(call, 1, err);
    if (rc == TB_OK) {
        rc = tb_shape_broadcast(&both, from, to, err);
    }
    if (rc != TB_OK) {
        return rc;
    }
    if (!tb_shape_equal(&both, from)) {
        return tb_fail(err, TB_E_MISMATCH, "cannot sum down to a larger shape");
    }
    tb_walk2_plan(&state->walk, to, from, from);
    state->scale = tb_node_float(call->node, "scale", 1.0f);
    size_t n_from = tb_tensor_count(&call->in[0]);
    size_t n_to = tb_shape_product(to, 0, to->rank);
    state->same = n_from == n_to;
    state->n_rows = 0;
    /* The output runs along in each innermost run, and stands still outside. */
    if (!state->same && n_to > 1 && state->walk.step[0] == 1 &&
        state->walk.n == n_to) {
        state->n_rows = state->walk.n_outer;
    }
    call->view_of = state->same && state->scale == 1.0f ? 0 : -1;
    call->out[0] = tb_tensor_view(TB_F32, to, NULL);
    return TB_OK;
}

static void reduce_run(const tb_call *call)
{
    const reduce_state *state = TB_OP_CONST_STATE(reduce_state, call);
    const tb_walk2 *walk = &state->walk;
    const float *x = tb_op_f32(call, 0);
    float *y = tb_op_f32_out(call);
    size_t n_to = tb_tensor_count(&call->out[0]);
    tb_walk2_at at = {0};
    if (call->view_of == 0) {
        tb_op_run_view(call);
        return;
    }
    if (state->same) {
        tb_k_affine(y, x, n_to, state->scale, 0.0f);
        return;
    }
    if (state->n_rows > 0) {
        tb_k_sum_rows(y, x, state->n_rows, walk->n, state->scale, 0.0f);
        return;
    }
    memset(y, 0, n_to * sizeof *y);
    for (size_t i = 0; i < walk->n_outer; i++) {
        if (walk->step[0] == 1) {
            tb_k_axpy(y + at.at[0], x + at.at[1], walk->n, state->scale);
        } else {
            y[at.at[0]] += state->scale * tb_k_sum(x + at.at[1], walk->n);
        }
        tb_walk2_next(&at, walk);
    }
}

static const tb_attr_decl reduce_attrs[] = {{"scale", TB_ATTR_FLOAT, false}};

const tb_op tb_op_reduce_to_like = {.domain = TB_DOMAIN_GRAD,
                                    .name = "ReduceToLike",
                                    .since = 1,
                                    .until = TB_OPSET_ANY,
                                    .in_min = 2,
                                    .in_max = 2,
                                    .out_min = 1,
                                    .out_max = 1,
                                    .attrs = reduce_attrs,
                                    .n_attrs = TB_COUNT(reduce_attrs),
                                    .shape_only = 2,
                                    .infer = reduce_infer,
                                    .run = reduce_run};
