/* core/model/ops/arithmetic.c - Add, Sub, Mul, Div with broadcasting over any
 * number type, and the sum that undoes broadcasting in the backward pass.
 * Integers wrap around; they divide toward zero, and by zero to 0. */
#include <string.h>

#include "model/ops/op_priv.h"

/* --- forward -------------------------------------------------------------- */

#define RUN(name, loop)                                                        \
    static void name##_run(const tb_call *call)                                \
    {                                                                          \
        static const tb_op_binary f = {loop, name##_real, name##_whole,        \
                                       name##_natural};                        \
        tb_op_run_binary(call, &f);                                            \
    }

/* In two's complement a sign changes no bits of these three. */
#define BINARY(name, loop, op)                                                 \
    static double name##_real(double a, double b)                              \
    {                                                                          \
        return a op b;                                                         \
    }                                                                          \
    static uint64_t name##_natural(uint64_t a, uint64_t b)                     \
    {                                                                          \
        return a op b;                                                         \
    }                                                                          \
    static int64_t name##_whole(int64_t a, int64_t b)                          \
    {                                                                          \
        return (int64_t)((uint64_t)a op(uint64_t) b);                          \
    }                                                                          \
    RUN(name, loop)

BINARY(add, TB_K_ADD, +)
BINARY(sub, TB_K_SUB, -)
BINARY(mul, TB_K_MUL, *)

static double div_real(double a, double b)
{
    return a / b;
}

static uint64_t div_natural(uint64_t a, uint64_t b)
{
    return b == 0 ? 0 : a / b;
}

/* The least number over -1 is itself: it wraps around. */
static int64_t div_whole(int64_t a, int64_t b)
{
    if (b == 0) {
        return 0;
    }
    return b == -1 ? sub_whole(0, a) : a / b;
}

RUN(div, TB_K_DIV)

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
                              .types = TB_TYPES_NUMBER,                        \
                              .flops_each = 1,                                 \
                              .infer = tb_op_infer_binary,                     \
                              .run = op##_run,                                 \
                              .backward = op##_backward}

ARITHMETIC(add, "Add");
ARITHMETIC(sub, "Sub");
ARITHMETIC(mul, "Mul");
ARITHMETIC(div, "Div");

/* --- ReduceToLike --------------------------------------------------------- */

typedef struct reduce_state {
    tb_walk walk; /* of (output, input) over the input */
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
    const tb_shape *const operands[2] = {to, from};
    tb_shape both;
    tb_rc rc = tb_shape_broadcast(&both, from, to, err);
    if (rc != TB_OK) {
        return rc;
    }
    if (!tb_shape_equal(&both, from)) {
        return tb_fail(err, TB_E_MISMATCH, "cannot sum down to a larger shape");
    }
    tb_walk_plan(&state->walk, operands, 2, from);
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
    call->out[0] = tb_tensor_view(call->in[0].dtype, to, NULL);
    return TB_OK;
}

/* Any float type, one by one: y keeps the sums so far. */
static void reduce_any(const tb_call *call, const reduce_state *state)
{
    const tb_walk *walk = &state->walk;
    const tb_tensor *y = &call->out[0];
    tb_walk_at at = {0};
    memset(y->data, 0, tb_tensor_bytes(y));
    for (size_t i = 0; i < walk->n_outer; i++) {
        for (size_t j = 0; j < walk->n; j++) {
            size_t k = at.at[0] + j * walk->step[0];
            double x = tb_tensor_f64_at(&call->in[0], at.at[1] + j);
            tb_tensor_put_f64(
                y, k, tb_tensor_f64_at(y, k) + (double)state->scale * x);
        }
        tb_walk_next(&at, walk);
    }
}

static void reduce_f32(const tb_call *call, const reduce_state *state)
{
    const tb_walk *walk = &state->walk;
    const float *x = tb_op_f32(call, 0);
    float *y = tb_op_f32_out(call);
    size_t n_to = tb_tensor_count(&call->out[0]);
    tb_walk_at at = {0};
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
        tb_walk_next(&at, walk);
    }
}

static void reduce_run(const tb_call *call)
{
    const reduce_state *state = TB_OP_CONST_STATE(reduce_state, call);
    if (call->view_of == 0) {
        tb_op_run_view(call);
    } else if (call->in[0].dtype == TB_F32) {
        reduce_f32(call, state);
    } else {
        reduce_any(call, state);
    }
}

static double reduce_flops(const tb_call *call)
{
    return call->view_of == 0 ? 0 : (double)tb_tensor_count(&call->in[0]);
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
                                    .types = TB_TYPES_FLOAT,
                                    .flops = reduce_flops,
                                    .infer = reduce_infer,
                                    .run = reduce_run};
