/* core/model/ops/function.c - functions of one number, element by element: Neg,
 * Abs, Sqrt, Exp, Erf and so on, and the activations that are not in
 * activation.c. What each computes stands in tensor/kernels_math.h (float32)
 * and tensor/maps.c (other float types); its gradient is dy times the slope at
 * the input. */
#include <string.h>

#include "model/ops/op_priv.h"

/* What a node computes: f with parameters. */
typedef struct map {
    tb_k_map_of f;
    float p, q;
} map;

/* By operator; p and q are attributes with a default where they have a name. */
static const struct {
    const char *op;
    tb_k_map_of f;
    const char *p_name;
    float p;
    const char *q_name;
    float q;
} functions[] = {
    {"Neg", TB_K_NEG, NULL, 0, NULL, 0},
    {"Abs", TB_K_ABS, NULL, 0, NULL, 0},
    {"Sqrt", TB_K_SQRT, NULL, 0, NULL, 0},
    {"Reciprocal", TB_K_RECIPROCAL, NULL, 0, NULL, 0},
    {"Exp", TB_K_EXP, NULL, 0, NULL, 0},
    {"Log", TB_K_LOG, NULL, 0, NULL, 0},
    {"Erf", TB_K_ERF, NULL, 0, NULL, 0},
    {"Elu", TB_K_ELU, "alpha", 1.0f, NULL, 0},
    {"Selu", TB_K_SELU, "alpha", 1.67326319217681884765625f, "gamma",
     1.05070102214813232421875f},
    {"Celu", TB_K_CELU, "alpha", 1.0f, NULL, 0},
    {"HardSigmoid", TB_K_HARD_SIGMOID, "alpha", 0.2f, "beta", 0.5f},
    {"HardSwish", TB_K_HARD_SWISH, NULL, 0, NULL, 0},
    {"Gelu", TB_K_GELU, NULL, 0, NULL, 0},
    {"Softplus", TB_K_SOFTPLUS, NULL, 0, NULL, 0},
    {"Softsign", TB_K_SOFTSIGN, NULL, 0, NULL, 0},
    {"Mish", TB_K_MISH, NULL, 0, NULL, 0},
    {"ThresholdedRelu", TB_K_THRESHOLDED, "alpha", 1.0f, NULL, 0},
};

static const char *approximate(const tb_node *node)
{
    const tb_attr *attr = tb_node_attr(node, "approximate");
    return attr != NULL ? attr->s : "none";
}

/* The function of a node whose operator stands in the table. */
static map read_map(const tb_node *node)
{
    size_t i = 0;
    while (strcmp(functions[i].op, node->op) != 0) {
        i++;
    }
    map m = {functions[i].f, functions[i].p, functions[i].q};
    if (functions[i].p_name != NULL) {
        m.p = tb_node_float(node, functions[i].p_name, m.p);
    }
    if (functions[i].q_name != NULL) {
        m.q = tb_node_float(node, functions[i].q_name, m.q);
    }
    if (m.f == TB_K_CELU) {
        m.q = 1.0f / m.p;
    }
    if (m.f == TB_K_GELU && strcmp(approximate(node), "tanh") == 0) {
        m.f = TB_K_GELU_TANH;
    }
    return m;
}

/* --- forward -------------------------------------------------------------- */

static tb_rc infer(tb_call *call, tb_err *err)
{
    map *m = TB_OP_STATE(map, call);
    *m = read_map(call->node);
    if (m->f == TB_K_CELU && m->p == 0.0f) {
        return tb_fail(err, TB_E_MALFORMED, "alpha 0");
    }
    if (m->f == TB_K_GELU && strcmp(approximate(call->node), "none") != 0) {
        return tb_fail(err, TB_E_MALFORMED, "approximate \"%s\"",
                       approximate(call->node));
    }
    return tb_op_infer_same(call, err);
}

/* Neg and Abs of integers, modulo 2^bits. */
static void run_whole(const tb_call *call, tb_k_map_of f)
{
    bool has_sign = tb_dtype_in(call->in[0].dtype, TB_TYPES_SIGNED);
    for (size_t i = 0; i < tb_tensor_count(&call->out[0]); i++) {
        int64_t x = tb_tensor_i64_at(&call->in[0], i);
        bool turn = f == TB_K_NEG || (has_sign && x < 0);
        tb_tensor_put_i64(&call->out[0], i,
                          turn ? (int64_t)(0 - (uint64_t)x) : x);
    }
}

/* y = f(x) */
static void run(const tb_call *call)
{
    const map *m = TB_OP_CONST_STATE(map, call);
    if (tb_dtype_in(call->in[0].dtype, TB_TYPES_FLOAT)) {
        tb_op_run_map(call, m->f, m->p, m->q);
    } else {
        run_whole(call, m->f);
    }
}

/* --- backward ------------------------------------------------------------- */

/* dx = dy f'(x) */
static void backward(tb_grad *g)
{
    const tb_value_id in[2] = {g->dy[0], g->node->in[0]};
    const map m = read_map(g->node);
    const tb_attr attrs[3] = {TB_ATTR_I("function", (int64_t)m.f),
                              TB_ATTR_F("p", m.p), TB_ATTR_F("q", m.q)};
    g->dx[0] = tb_grad_emit(g, &(tb_node_spec){.domain = TB_DOMAIN_GRAD,
                                               .op = "FunctionGrad",
                                               .attrs = attrs,
                                               .n_attrs = TB_COUNT(attrs),
                                               .in = in,
                                               .n_in = 2});
}

/* y = exp(x): dx = dy y */
static void exp_backward(tb_grad *g)
{
    g->dx[0] =
        tb_grad_binary(g, TB_DOMAIN_ONNX, "Mul", g->dy[0], g->node->out[0]);
}

/* y = -x: dx = -dy */
static void neg_backward(tb_grad *g)
{
    g->dx[0] = tb_grad_unary(g, TB_DOMAIN_ONNX, "Neg", g->dy[0]);
}

static tb_rc grad_infer(tb_call *call, tb_err *err)
{
    int64_t f = tb_node_int(call->node, "function", -1);
    if (f < 0 || f >= TB_K_MAP_COUNT) {
        return tb_fail(err, TB_E_MALFORMED, "function %lld", (long long)f);
    }
    *TB_OP_STATE(map, call) =
        (map){(tb_k_map_of)f, tb_node_float(call->node, "p", 0.0f),
              tb_node_float(call->node, "q", 0.0f)};
    return tb_op_infer_grad(call, err);
}

static void grad_run(const tb_call *call)
{
    const map *m = TB_OP_CONST_STATE(map, call);
    const tb_tensor *dy = &call->in[0];
    const tb_tensor *x = &call->in[1];
    size_t n = tb_tensor_count(dy);
    if (dy->dtype == TB_F32) {
        tb_k_map_grad(m->f, tb_op_f32_out(call), x->data, dy->data, n, m->p,
                      m->q);
        return;
    }
    for (size_t i = 0; i < n; i++) {
        double slope = tb_k_slope_f64(m->f, tb_tensor_f64_at(x, i),
                                      (double)m->p, (double)m->q);
        tb_tensor_put_f64(&call->out[0], i, tb_tensor_f64_at(dy, i) * slope);
    }
}

/* --- the table ------------------------------------------------------------ */

static const tb_attr_decl alpha[] = {{"alpha", TB_ATTR_FLOAT, false}};
static const tb_attr_decl alpha_beta[] = {{"alpha", TB_ATTR_FLOAT, false},
                                          {"beta", TB_ATTR_FLOAT, false}};
static const tb_attr_decl alpha_gamma[] = {{"alpha", TB_ATTR_FLOAT, false},
                                           {"gamma", TB_ATTR_FLOAT, false}};
static const tb_attr_decl gelu_attrs[] = {
    {"approximate", TB_ATTR_STRING, false}};

#define FUNCTION(text, first, mask, n_flops)                                   \
    .domain = TB_DOMAIN_ONNX, .name = text, .since = first,                    \
    .until = TB_OPSET_ANY, .in_min = 1, .in_max = 1, .out_min = 1,             \
    .out_max = 1, .in_place = 1, .types = mask, .flops_each = n_flops,         \
    .infer = infer, .run = run
#define FLOATS      TB_TYPES_FLOAT
#define ATTRS(list) .attrs = list, .n_attrs = TB_COUNT(list)

const tb_op tb_op_neg = {FUNCTION("Neg", 6, FLOATS | TB_TYPES_SIGNED, 1),
                         .backward = neg_backward};
const tb_op tb_op_abs = {FUNCTION("Abs", 6, TB_TYPES_NUMBER, 1),
                         .backward = backward};
const tb_op tb_op_sqrt = {FUNCTION("Sqrt", 6, FLOATS, 1), .backward = backward};
const tb_op tb_op_reciprocal = {FUNCTION("Reciprocal", 6, FLOATS, 1),
                                .backward = backward};
const tb_op tb_op_exp = {FUNCTION("Exp", 6, FLOATS, 20),
                         .backward = exp_backward};
const tb_op tb_op_log = {FUNCTION("Log", 6, FLOATS, 24), .backward = backward};
const tb_op tb_op_erf = {FUNCTION("Erf", 9, FLOATS, 56), .backward = backward};
const tb_op tb_op_elu = {FUNCTION("Elu", 6, FLOATS, 22), ATTRS(alpha),
                         .backward = backward};
const tb_op tb_op_selu = {FUNCTION("Selu", 6, FLOATS, 23), ATTRS(alpha_gamma),
                          .backward = backward};
const tb_op tb_op_celu = {FUNCTION("Celu", 12, FLOATS, 23), ATTRS(alpha),
                          .backward = backward};
const tb_op tb_op_hard_sigmoid = {FUNCTION("HardSigmoid", 6, FLOATS, 4),
                                  ATTRS(alpha_beta), .backward = backward};
const tb_op tb_op_hard_swish = {FUNCTION("HardSwish", 14, FLOATS, 5),
                                .backward = backward};
const tb_op tb_op_gelu = {FUNCTION("Gelu", 20, FLOATS, 60), ATTRS(gelu_attrs),
                          .backward = backward};
const tb_op tb_op_softplus = {FUNCTION("Softplus", 1, FLOATS, 50),
                              .backward = backward};
const tb_op tb_op_softsign = {FUNCTION("Softsign", 1, FLOATS, 2),
                              .backward = backward};
const tb_op tb_op_mish = {FUNCTION("Mish", 18, FLOATS, 85),
                          .backward = backward};
const tb_op tb_op_thresholded_relu = {
    FUNCTION("ThresholdedRelu", 10, FLOATS, 1), ATTRS(alpha),
    .backward = backward};

static const tb_attr_decl grad_attrs[] = {{"function", TB_ATTR_INT, true},
                                          {"p", TB_ATTR_FLOAT, false},
                                          {"q", TB_ATTR_FLOAT, false}};

const tb_op tb_op_function_grad = {.domain = TB_DOMAIN_GRAD,
                                   .name = "FunctionGrad",
                                   .since = 1,
                                   .until = TB_OPSET_ANY,
                                   .in_min = 2,
                                   .in_max = 2,
                                   .out_min = 1,
                                   .out_max = 1,
                                   ATTRS(grad_attrs),
                                   .in_place = 3,
                                   .types = FLOATS,
                                   .flops_each = 20,
                                   .infer = grad_infer,
                                   .run = grad_run};
