/* core/model/ops/power.c - Pow, whose two operands may have different types,
 * and its gradients. */
#include <math.h>

#include "model/ops/op_priv.h"

/* --- forward -------------------------------------------------------------- */

static tb_rc infer(tb_call *call, tb_err *err)
{
    tb_shape shape;
    if (!tb_dtype_in(call->in[1].dtype, TB_TYPES_NUMBER)) {
        return tb_fail(err, TB_E_UNSUPPORTED, "an exponent of type %s",
                       tb_dtype_name(call->in[1].dtype));
    }
    tb_rc rc = tb_op_plan_walk(TB_OP_STATE(tb_walk, call), &shape, call, err);
    if (rc == TB_OK) {
        call->out[0] = tb_tensor_view(call->in[0].dtype, &shape, NULL);
    }
    return rc;
}

/* a^n, modulo 2^64; below 0 only 1 and -1 have whole powers, the others are
 * cut to 0. */
static int64_t whole_power(int64_t a, int64_t n)
{
    uint64_t y = 1;
    if (n < 0) {
        bool odd = (n & 1) != 0;
        return a == 1 ? 1 : (a == -1 ? (odd ? -1 : 1) : 0);
    }
    for (uint64_t square = (uint64_t)a; n > 0; n >>= 1, square *= square) {
        y *= (n & 1) != 0 ? square : 1;
    }
    return (int64_t)y;
}

static double real_power(const double x[TB_WALK_MAX], double p)
{
    (void)p;
    return pow(x[0], x[1]);
}

static void run_whole(const tb_call *call, const tb_walk *walk)
{
    tb_walk_at at = {0};
    for (size_t i = 0; i < walk->n_outer; i++) {
        for (size_t j = 0; j < walk->n; j++) {
            int64_t a =
                tb_tensor_i64_at(&call->in[0], at.at[0] + j * walk->step[0]);
            int64_t n =
                tb_tensor_i64_at(&call->in[1], at.at[1] + j * walk->step[1]);
            tb_tensor_put_i64(&call->out[0], i * walk->n + j,
                              whole_power(a, n));
        }
        tb_walk_next(&at, walk);
    }
}

/* The powers of float32 that need no pow: x^2 in a normalisation, and its kin.
 * Whether e was one of them. */
static bool run_simple(const tb_call *call, double e)
{
    const float *x = tb_op_f32(call, 0);
    float *y = tb_op_f32_out(call);
    size_t n = tb_tensor_count(&call->out[0]);
    if (e == 2) {
        tb_k_mul(y, x, x, n);
    } else if (e == 1) {
        tb_k_affine(y, x, n, 1.0f, 0.0f);
    } else if (e == 0.5) {
        tb_k_map(TB_K_SQRT, y, x, n, 0, 0);
    } else if (e == -1) {
        tb_k_map(TB_K_RECIPROCAL, y, x, n, 0, 0);
    } else if (e == -0.5) {
        tb_k_map(TB_K_SQRT, y, x, n, 0, 0);
        tb_k_map(TB_K_RECIPROCAL, y, y, n, 0, 0);
    } else {
        return false;
    }
    return true;
}

static void run(const tb_call *call)
{
    const tb_walk *walk = TB_OP_CONST_STATE(tb_walk, call);
    const tb_tensor *e = &call->in[1];
    if (!tb_dtype_in(call->in[0].dtype, TB_TYPES_FLOAT) &&
        !tb_dtype_in(e->dtype, TB_TYPES_FLOAT)) {
        run_whole(call, walk);
        return;
    }
    if (call->in[0].dtype == TB_F32 && tb_tensor_count(e) == 1 &&
        run_simple(call, tb_tensor_f64_at(e, 0))) {
        return;
    }
    tb_op_walk_each(call, walk, real_power, 0);
}

/* --- backward ------------------------------------------------------------- */

/* dy, x, e -> the gradient of x (of: 0) or of e (of: 1), before it is summed
 * down to that operand's shape */
static void backward(tb_grad *g)
{
    const tb_value_id *in = g->node->in;
    const tb_value_id ends[3] = {g->dy[0], in[0], in[1]};
    for (size_t i = 0; i < 2; i++) {
        const tb_attr of = TB_ATTR_I("of", (int64_t)i);
        if (g->wants[i]) {
            tb_value_id d =
                tb_grad_emit(g, &(tb_node_spec){.domain = TB_DOMAIN_GRAD,
                                                .op = "PowGrad",
                                                .attrs = &of,
                                                .n_attrs = 1,
                                                .in = ends,
                                                .n_in = 3});
            g->dx[i] = tb_grad_reduce(g, d, ends[1 + i], 1.0f);
        }
    }
}

typedef struct grad_state {
    tb_walk walk;
    bool of_exponent;
} grad_state;

static tb_rc grad_infer(tb_call *call, tb_err *err)
{
    grad_state *state = TB_OP_STATE(grad_state, call);
    tb_shape shape;
    tb_rc rc = tb_op_need_same_type(call, 0, 2, err);
    if (rc == TB_OK) {
        rc = tb_op_plan_walk(&state->walk, &shape, call, err);
    }
    if (rc == TB_OK && !tb_shape_equal(&shape, &call->in[0].shape)) {
        rc = tb_fail(err, TB_E_MISMATCH, "operands larger than the gradient");
    }
    state->of_exponent = tb_node_int(call->node, "of", 0) != 0;
    call->out[0] = tb_tensor_view(call->in[0].dtype, &shape, NULL);
    return rc;
}

/* dx = dy e x^(e - 1) */
static double grad_of_base(const double x[TB_WALK_MAX], double p)
{
    (void)p;
    return x[2] == 0 ? 0 : x[0] * (x[2] * pow(x[1], x[2] - 1));
}

/* de = dy x^e log(x), which is 0 at x = 0, e >= 0 */
static double grad_of_exponent(const double x[TB_WALK_MAX], double p)
{
    (void)p;
    if (x[1] == 0 && x[2] >= 0) {
        return 0;
    }
    return x[0] * (pow(x[1], x[2]) * log(x[1]));
}

static void grad_run(const tb_call *call)
{
    const grad_state *state = TB_OP_CONST_STATE(grad_state, call);
    const tb_tensor *e = &call->in[2];
    size_t n = tb_tensor_count(&call->out[0]);
    bool square = tb_tensor_count(e) == 1 && tb_tensor_f64_at(e, 0) == 2;
    if (square && !state->of_exponent && call->in[0].dtype == TB_F32 &&
        tb_tensor_count(&call->in[1]) == n) { /* dx = dy 2 x */
        float *dx = tb_op_f32_out(call);
        tb_k_mul(dx, tb_op_f32(call, 0), tb_op_f32(call, 1), n);
        tb_k_affine(dx, dx, n, 2.0f, 0.0f);
        return;
    }
    tb_op_walk_each(call, &state->walk,
                    state->of_exponent ? grad_of_exponent : grad_of_base, 0);
}

/* --- the table ------------------------------------------------------------ */

static const tb_attr_decl grad_attrs[] = {{"of", TB_ATTR_INT, true}};

const tb_op tb_op_pow = {.domain = TB_DOMAIN_ONNX,
                         .name = "Pow",
                         .since = 7,
                         .until = TB_OPSET_ANY,
                         .in_min = 2,
                         .in_max = 2,
                         .out_min = 1,
                         .out_max = 1,
                         .in_place = 1,
                         .types = TB_TYPES_FLOAT | TB_TYPES_INDEX,
                         .flops_each = 1,
                         .infer = infer,
                         .run = run,
                         .backward = backward};

const tb_op tb_op_pow_grad = {.domain = TB_DOMAIN_GRAD,
                              .name = "PowGrad",
                              .since = 1,
                              .until = TB_OPSET_ANY,
                              .in_min = 3,
                              .in_max = 3,
                              .out_min = 1,
                              .out_max = 1,
                              .attrs = grad_attrs,
                              .n_attrs = TB_COUNT(grad_attrs),
                              .in_place = 1,
                              .types = TB_TYPES_FLOAT,
                              .flops_each = 2,
                              .infer = grad_infer,
                              .run = grad_run};
