/* core/model/ops/activation.c - Relu, LeakyRelu, Sigmoid, Tanh and their
 * gradients, elementwise. */
#include "model/ops/op_priv.h"
#include "tensor/kernels.h"

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

/* y = max(x, 0) */
static void relu_run(const tb_call *call)
{
    tb_k_relu(tb_op_f32_out(call), tb_op_f32(call, 0),
              tb_tensor_count(&call->out[0]), 0.0f);
}

/* y = x < 0 ? alpha x : x */
static void leaky_run(const tb_call *call)
{
    tb_k_relu(tb_op_f32_out(call), tb_op_f32(call, 0),
              tb_tensor_count(&call->out[0]),
              TB_OP_CONST_STATE(leaky_state, call)->slope);
}

/* y = 1 / (1 + exp(-x)) */
static void sigmoid_run(const tb_call *call)
{
    tb_k_sigmoid(tb_op_f32_out(call), tb_op_f32(call, 0),
                 tb_tensor_count(&call->out[0]));
}

static void tanh_run(const tb_call *call)
{
    tb_k_tanh(tb_op_f32_out(call), tb_op_f32(call, 0),
              tb_tensor_count(&call->out[0]));
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

static tb_rc relu_grad_infer(tb_call *call, tb_err *err)
{
    TB_OP_STATE(leaky_state, call)->slope =
        tb_node_float(call->node, "alpha", 0.0f);
    return tb_op_infer_grad(call, err);
}

/* dx = x > 0 ? dy : alpha dy */
static void relu_grad_run(const tb_call *call)
{
    tb_k_relu_grad(tb_op_f32_out(call), tb_op_f32(call, 1), tb_op_f32(call, 0),
                   tb_tensor_count(&call->out[0]),
                   TB_OP_CONST_STATE(leaky_state, call)->slope);
}

/* dx = dy y (1 - y) */
static void sigmoid_grad_run(const tb_call *call)
{
    tb_k_sigmoid_grad(tb_op_f32_out(call), tb_op_f32(call, 1),
                      tb_op_f32(call, 0), tb_tensor_count(&call->out[0]));
}

/* dx = dy (1 - y^2) */
static void tanh_grad_run(const tb_call *call)
{
    tb_k_tanh_grad(tb_op_f32_out(call), tb_op_f32(call, 1), tb_op_f32(call, 0),
                   tb_tensor_count(&call->out[0]));
}

/* --- the table ------------------------------------------------------------ */

static const tb_attr_decl alpha_attr[] = {{"alpha", TB_ATTR_FLOAT, false}};

#define ACTIVATION(text)                                                       \
    .domain = TB_DOMAIN_ONNX, .name = text, .since = 6, .until = TB_OPSET_ANY, \
    .in_min = 1, .in_max = 1, .out_min = 1, .out_max = 1, .in_place = 1

/* dx may lie on dy. */
#define ACTIVATION_GRAD(text)                                                  \
    .domain = TB_DOMAIN_GRAD, .name = text, .since = 1, .until = TB_OPSET_ANY, \
    .in_min = 2, .in_max = 2, .out_min = 1, .out_max = 1, .in_place = 1

const tb_op tb_op_relu = {ACTIVATION("Relu"), .infer = tb_op_infer_same,
                          .run = relu_run, .backward = relu_backward};

const tb_op tb_op_leaky_relu = {ACTIVATION("LeakyRelu"),
                                .attrs = alpha_attr,
                                .n_attrs = TB_COUNT(alpha_attr),
                                .infer = leaky_infer,
                                .run = leaky_run,
                                .backward = leaky_backward};

const tb_op tb_op_sigmoid = {ACTIVATION("Sigmoid"), .infer = tb_op_infer_same,
                             .run = sigmoid_run, .backward = sigmoid_backward};

const tb_op tb_op_tanh = {ACTIVATION("Tanh"), .infer = tb_op_infer_same,
                          .run = tanh_run, .backward = tanh_backward};

const tb_op tb_op_relu_grad = {ACTIVATION_GRAD("ReluGrad"), .attrs = alpha_attr,
                               .n_attrs = TB_COUNT(alpha_attr),
                               .infer = relu_grad_infer, .run = relu_grad_run};

const tb_op tb_op_sigmoid_grad = {ACTIVATION_GRAD("SigmoidGrad"),
                                  .infer = tb_op_infer_grad,
                                  .run = sigmoid_grad_run};

const tb_op tb_op_tanh_grad = {ACTIVATION_GRAD("TanhGrad"),
                               .infer = tb_op_infer_grad, .run = tanh_grad_run};
