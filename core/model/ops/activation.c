/* core/model/ops/activation.c - the activations whose gradient comes from their
 * output or from two inputs: Relu, LeakyRelu, Sigmoid, Tanh, PRelu. The others
 * are in function.c. */
#include "model/ops/op_priv.h"

#define LEAKY_ALPHA 0.01f /* ONNX's default */

typedef struct leaky_state {
    float slope;
} leaky_state;

/* --- forward -------------------------------------------------------------- */

static tb_rc leaky_infer(tb_call *call, tb_err *err)
{
    TB_OP_STATE(leaky_state, call)->slope =
        tb_node_float(call->node, "alpha", LEAKY_ALPHA);
    return tb_op_infer_same(call, err);
}

/* max(x, 0) of integers */
static void relu_whole(const tb_call *call)
{
    for (size_t i = 0; i < tb_tensor_count(&call->out[0]); i++) {
        int64_t x = tb_tensor_i64_at(&call->in[0], i);
        tb_tensor_put_i64(&call->out[0], i, x < 0 ? 0 : x);
    }
}

/* y = max(x, 0) */
static void relu_run(const tb_call *call)
{
    if (call->in[0].dtype == TB_F32) {
        tb_k_relu(tb_op_f32_out(call), tb_op_f32(call, 0),
                  tb_tensor_count(&call->out[0]), 0.0f);
    } else if (tb_dtype_in(call->in[0].dtype, TB_TYPES_FLOAT)) {
        tb_op_run_map(call, TB_K_RELU, 0, 0);
    } else {
        relu_whole(call);
    }
}

/* y = x < 0 ? alpha x : x */
static void leaky_run(const tb_call *call)
{
    tb_op_run_map(call, TB_K_RELU, TB_OP_CONST_STATE(leaky_state, call)->slope,
                  0);
}

/* y = 1 / (1 + exp(-x)) */
static void sigmoid_run(const tb_call *call)
{
    tb_op_run_map(call, TB_K_SIGMOID, 0, 0);
}

static void tanh_run(const tb_call *call)
{
    tb_op_run_map(call, TB_K_TANH, 0, 0);
}

/* --- backward ------------------------------------------------------------- */

/* A gradient that needs the output: dx = op(dy, y). */
static void from_output(tb_grad *g, const char *op)
{
    g->dx[0] = tb_grad_binary(g, TB_DOMAIN_GRAD, op, g->dy[0], g->node->out[0]);
}

static void relu_backward(tb_grad *g)
{
    from_output(g, "ReluGrad");
}

static void sigmoid_backward(tb_grad *g)
{
    from_output(g, "SigmoidGrad");
}

static void tanh_backward(tb_grad *g)
{
    from_output(g, "TanhGrad");
}

/* dx = x > 0 ? dy : alpha dy, from the input: alpha may be below 0. */
static void leaky_backward(tb_grad *g)
{
    const tb_value_id in[2] = {g->dy[0], g->node->in[0]};
    const tb_attr alpha =
        TB_ATTR_F("alpha", tb_node_float(g->node, "alpha", LEAKY_ALPHA));
    g->dx[0] = tb_grad_emit(g, &(tb_node_spec){.domain = TB_DOMAIN_GRAD,
                                               .op = "ReluGrad",
                                               .attrs = &alpha,
                                               .n_attrs = 1,
                                               .in = in,
                                               .n_in = 2});
}

typedef struct grad_state {
    tb_walk walk;
    float slope;   /* of Relu */
    bool of_slope; /* of PRelu: which operand's gradient it is */
} grad_state;

static tb_rc grad_infer(tb_call *call, tb_err *err)
{
    grad_state *state = TB_OP_STATE(grad_state, call);
    const tb_shape *const operands[2] = {&call->in[0].shape,
                                         &call->in[1].shape};
    tb_rc rc = tb_op_infer_grad(call, err);
    if (rc == TB_OK) {
        tb_walk_plan(&state->walk, operands, 2, operands[0]);
    }
    state->slope = tb_node_float(call->node, "alpha", 0.0f);
    return rc;
}

static double relu_slope(const double x[TB_WALK_MAX], double p)
{
    return x[1] > 0 ? x[0] : p * x[0];
}

static double sigmoid_slope(const double x[TB_WALK_MAX], double p)
{
    (void)p;
    return x[0] * x[1] * (1 - x[1]);
}

static double tanh_slope(const double x[TB_WALK_MAX], double p)
{
    (void)p;
    return x[0] * (1 - x[1] * x[1]);
}

/* dx = x > 0 ? dy : alpha dy */
static void relu_grad_run(const tb_call *call)
{
    const grad_state *state = TB_OP_CONST_STATE(grad_state, call);
    if (call->in[0].dtype == TB_F32) {
        tb_k_relu_grad(tb_op_f32_out(call), tb_op_f32(call, 1),
                       tb_op_f32(call, 0), tb_tensor_count(&call->out[0]),
                       state->slope);
    } else {
        tb_op_walk_each(call, &state->walk, relu_slope, (double)state->slope);
    }
}

/* dx = dy y (1 - y) */
static void sigmoid_grad_run(const tb_call *call)
{
    const grad_state *state = TB_OP_CONST_STATE(grad_state, call);
    if (call->in[0].dtype == TB_F32) {
        tb_k_sigmoid_grad(tb_op_f32_out(call), tb_op_f32(call, 1),
                          tb_op_f32(call, 0), tb_tensor_count(&call->out[0]));
    } else {
        tb_op_walk_each(call, &state->walk, sigmoid_slope, 0);
    }
}

/* dx = dy (1 - y^2) */
static void tanh_grad_run(const tb_call *call)
{
    const grad_state *state = TB_OP_CONST_STATE(grad_state, call);
    if (call->in[0].dtype == TB_F32) {
        tb_k_tanh_grad(tb_op_f32_out(call), tb_op_f32(call, 1),
                       tb_op_f32(call, 0), tb_tensor_count(&call->out[0]));
    } else {
        tb_op_walk_each(call, &state->walk, tanh_slope, 0);
    }
}

/* --- PRelu ---------------------------------------------------------------- */

/* x and slope, which broadcasts to x. */
static tb_rc prelu_infer(tb_call *call, tb_err *err)
{
    tb_shape shape;
    tb_rc rc = tb_op_need_same_type(call, 0, 2, err);
    if (rc == TB_OK) {
        rc = tb_op_plan_walk(TB_OP_STATE(tb_walk, call), &shape, call, err);
    }
    if (rc == TB_OK && !tb_shape_equal(&shape, &call->in[0].shape)) {
        rc = tb_fail(err, TB_E_MISMATCH, "more slopes than there are elements");
    }
    call->out[0] = tb_tensor_view(call->in[0].dtype, &shape, NULL);
    return rc;
}

/* y = x < 0 ? slope x : x, a row in which slope moves or stands. */
static void prelu_row(float *y, const float *x, const float *slope, size_t step,
                      size_t n)
{
    for (size_t i = 0; i < n; i++) {
        y[i] = x[i] < 0.0f ? slope[i * step] * x[i] : x[i];
    }
}

static double prelu_each(const double x[TB_WALK_MAX], double p)
{
    (void)p;
    return x[0] < 0 ? x[1] * x[0] : x[0];
}

static void prelu_run(const tb_call *call)
{
    const tb_walk *walk = TB_OP_CONST_STATE(tb_walk, call);
    tb_walk_at at = {0};
    if (call->in[0].dtype != TB_F32) {
        tb_op_walk_each(call, walk, prelu_each, 0);
        return;
    }
    for (size_t i = 0; i < walk->n_outer; i++) {
        prelu_row(tb_op_f32_out(call) + i * walk->n,
                  tb_op_f32(call, 0) + at.at[0], tb_op_f32(call, 1) + at.at[1],
                  walk->step[1], walk->n);
        tb_walk_next(&at, walk);
    }
}

/* dy, x, slope -> the gradient of x (of: 0) or of slope (of: 1), before it is
 * summed down */
static void prelu_backward(tb_grad *g)
{
    const tb_value_id *in = g->node->in;
    const tb_value_id ends[3] = {g->dy[0], in[0], in[1]};
    for (size_t i = 0; i < 2; i++) {
        const tb_attr of = TB_ATTR_I("of", (int64_t)i);
        if (g->wants[i]) {
            tb_value_id d =
                tb_grad_emit(g, &(tb_node_spec){.domain = TB_DOMAIN_GRAD,
                                                .op = "PReluGrad",
                                                .attrs = &of,
                                                .n_attrs = 1,
                                                .in = ends,
                                                .n_in = 3});
            g->dx[i] = tb_grad_reduce(g, d, ends[1 + i], 1.0f);
        }
    }
}

static tb_rc prelu_grad_infer(tb_call *call, tb_err *err)
{
    grad_state *state = TB_OP_STATE(grad_state, call);
    tb_shape shape;
    tb_rc rc = tb_op_need_same_type(call, 0, 3, err);
    if (rc == TB_OK) {
        rc = tb_op_plan_walk(&state->walk, &shape, call, err);
    }
    if (rc == TB_OK && !tb_shape_equal(&shape, &call->in[0].shape)) {
        rc = tb_fail(err, TB_E_MISMATCH, "operands larger than the gradient");
    }
    state->of_slope = tb_node_int(call->node, "of", 0) != 0;
    call->out[0] = tb_tensor_view(call->in[0].dtype, &shape, NULL);
    return rc;
}

/* dx = x > 0 ? dy : slope dy */
static double prelu_of_x(const double x[TB_WALK_MAX], double p)
{
    (void)p;
    return x[1] > 0 ? x[0] : x[2] * x[0];
}

/* dslope = x > 0 ? 0 : x dy */
static double prelu_of_slope(const double x[TB_WALK_MAX], double p)
{
    (void)p;
    return x[1] > 0 ? 0 : x[1] * x[0];
}

/* Both for a row of float32 in which slope moves or stands. */
static void prelu_grad_row(const tb_call *call, const tb_walk_at *at, float *dx)
{
    const grad_state *state = TB_OP_CONST_STATE(grad_state, call);
    const float *dy = tb_op_f32(call, 0) + at->at[0];
    const float *x = tb_op_f32(call, 1) + at->at[1];
    const float *slope = tb_op_f32(call, 2) + at->at[2];
    size_t step = state->walk.step[2];
    for (size_t i = 0; i < state->walk.n; i++) {
        float below = state->of_slope ? x[i] : slope[i * step];
        float above = state->of_slope ? 0.0f : 1.0f;
        dx[i] = (x[i] > 0.0f ? above : below) * dy[i];
    }
}

static void prelu_grad_run(const tb_call *call)
{
    const grad_state *state = TB_OP_CONST_STATE(grad_state, call);
    const tb_walk *walk = &state->walk;
    tb_walk_at at = {0};
    if (call->in[0].dtype != TB_F32 || walk->step[0] + walk->step[1] != 2) {
        tb_op_walk_each(call, walk,
                        state->of_slope ? prelu_of_slope : prelu_of_x, 0);
        return;
    }
    for (size_t i = 0; i < walk->n_outer; i++) {
        prelu_grad_row(call, &at, tb_op_f32_out(call) + i * walk->n);
        tb_walk_next(&at, walk);
    }
}

/* --- the table ------------------------------------------------------------ */

static const tb_attr_decl alpha_attr[] = {{"alpha", TB_ATTR_FLOAT, false}};
static const tb_attr_decl of_attr[] = {{"of", TB_ATTR_INT, true}};

#define ACTIVATION(text, mask, n_flops)                                        \
    .domain = TB_DOMAIN_ONNX, .name = text, .since = 6, .until = TB_OPSET_ANY, \
    .in_min = 1, .in_max = 1, .out_min = 1, .out_max = 1, .in_place = 1,       \
    .types = mask, .flops_each = n_flops

/* dx may lie on dy. */
#define ACTIVATION_GRAD(text)                                                  \
    .domain = TB_DOMAIN_GRAD, .name = text, .since = 1, .until = TB_OPSET_ANY, \
    .in_min = 2, .in_max = 2, .out_min = 1, .out_max = 1, .in_place = 1,       \
    .types = TB_TYPES_FLOAT, .flops_each = 3, .infer = grad_infer

const tb_op tb_op_relu = {
    ACTIVATION("Relu", TB_TYPES_FLOAT | TB_TYPES_SIGNED, 1),
    .infer = tb_op_infer_same, .run = relu_run, .backward = relu_backward};

const tb_op tb_op_leaky_relu = {ACTIVATION("LeakyRelu", TB_TYPES_FLOAT, 1),
                                .attrs = alpha_attr,
                                .n_attrs = TB_COUNT(alpha_attr),
                                .infer = leaky_infer,
                                .run = leaky_run,
                                .backward = leaky_backward};

const tb_op tb_op_sigmoid = {ACTIVATION("Sigmoid", TB_TYPES_FLOAT, 22),
                             .infer = tb_op_infer_same, .run = sigmoid_run,
                             .backward = sigmoid_backward};

const tb_op tb_op_tanh = {ACTIVATION("Tanh", TB_TYPES_FLOAT, 36),
                          .infer = tb_op_infer_same, .run = tanh_run,
                          .backward = tanh_backward};

const tb_op tb_op_relu_grad = {ACTIVATION_GRAD("ReluGrad"), .attrs = alpha_attr,
                               .n_attrs = TB_COUNT(alpha_attr),
                               .run = relu_grad_run};

const tb_op tb_op_sigmoid_grad = {ACTIVATION_GRAD("SigmoidGrad"),
                                  .run = sigmoid_grad_run};

const tb_op tb_op_tanh_grad = {ACTIVATION_GRAD("TanhGrad"),
                               .run = tanh_grad_run};

const tb_op tb_op_prelu = {.domain = TB_DOMAIN_ONNX,
                           .name = "PRelu",
                           .since = 7,
                           .until = TB_OPSET_ANY,
                           .in_min = 2,
                           .in_max = 2,
                           .out_min = 1,
                           .out_max = 1,
                           .trains = 2,
                           .in_place = 1,
                           .types = TB_TYPES_FLOAT,
                           .flops_each = 1,
                           .infer = prelu_infer,
                           .run = prelu_run,
                           .backward = prelu_backward};

const tb_op tb_op_prelu_grad = {.domain = TB_DOMAIN_GRAD,
                                .name = "PReluGrad",
                                .since = 1,
                                .until = TB_OPSET_ANY,
                                .in_min = 3,
                                .in_max = 3,
                                .out_min = 1,
                                .out_max = 1,
                                .attrs = of_attr,
                                .n_attrs = TB_COUNT(of_attr),
                                .in_place = 1,
                                .types = TB_TYPES_FLOAT,
                                .flops_each = 1,
                                .infer = prelu_grad_infer,
                                .run = prelu_grad_run};
