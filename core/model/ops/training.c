/* core/model/ops/training.c - the optimisers of ONNX's training domain as
 * operators: Momentum, Adagrad and Adam over any number of tensors. Inputs: the
 * rate R, the step T (from 0), then every X, every gradient G, every state;
 * outputs: every new X, every new state. Formulas: onnx/docs/Operators of
 * ai.onnx.preview.training, version 1. */
#include <math.h>
#include <string.h>

#include "model/ops/op_priv.h"

/* Room for the attributes of any of the three. */
typedef struct step_state {
    size_t n; /* tensors */
    size_t n_states;
    bool nesterov;
    double alpha;
    double beta;
    double epsilon;
    double decay;
    double norm;      /* pulls X toward 0 through the gradient */
    double norm_post; /* the same, after the step */
} step_state;

/* --- plan ----------------------------------------------------------------- */

static tb_rc check_scalars(const tb_call *call, tb_err *err)
{
    const tb_tensor *rate = &call->in[0];
    const tb_tensor *step = &call->in[1];
    if (!tb_dtype_in(rate->dtype, TB_TYPES_F32 | TB_TYPE_BIT(TB_F64)) ||
        tb_tensor_count(rate) != 1) {
        return tb_fail(err, TB_E_MISMATCH, "R must be one float or double");
    }
    if (step->dtype != TB_I64 || tb_tensor_count(step) != 1) {
        return tb_fail(err, TB_E_MISMATCH, "T must be one int64");
    }
    return TB_OK;
}

/* n tensors each of X, G and the states, of equal shapes; outputs as X and the
 * states. */
static tb_rc plan(tb_call *call, size_t n_states, tb_err *err)
{
    step_state *s = TB_OP_STATE(step_state, call);
    size_t n_lists = 2 + n_states;
    *s = (step_state){.n = (call->n_in - 2) / n_lists, .n_states = n_states};
    tb_rc rc = check_scalars(call, err);
    if (rc == TB_OK && (call->n_in != 2 + n_lists * s->n ||
                        call->n_out != (1 + n_states) * s->n)) {
        rc = tb_fail(err, TB_E_MALFORMED,
                     "%zu inputs and %zu outputs, not 2 + %zu n and %zu n",
                     call->n_in, call->n_out, n_lists, 1 + n_states);
    }
    for (size_t i = 2; rc == TB_OK && i < call->n_in; i++) {
        const tb_tensor *x = &call->in[2 + (i - 2) % s->n];
        if (call->in[i].dtype != TB_F32 ||
            !tb_shape_equal(&call->in[i].shape, &x->shape)) {
            char is[TB_SHAPE_TEXT_BYTES];
            char of[TB_SHAPE_TEXT_BYTES];
            rc = tb_fail(err, TB_E_MISMATCH, "input %zu: %s %s beside f32 %s",
                         i, tb_dtype_name(call->in[i].dtype),
                         tb_shape_text(&call->in[i].shape, is),
                         tb_shape_text(&x->shape, of));
        }
    }
    for (size_t i = 0; rc == TB_OK && i < call->n_out; i++) {
        call->out[i] =
            tb_tensor_view(TB_F32, &call->in[2 + i % s->n].shape, NULL);
    }
    return rc;
}

static double number(const tb_call *call, const char *name, double otherwise)
{
    return (double)tb_node_float(call->node, name, (float)otherwise);
}

static tb_rc momentum_infer(tb_call *call, tb_err *err)
{
    step_state *s = TB_OP_STATE(step_state, call);
    tb_rc rc = plan(call, 1, err);
    const char *mode = tb_node_attr(call->node, "mode")->s;
    s->nesterov = strcmp(mode, "nesterov") == 0;
    s->alpha = number(call, "alpha", 0);
    s->beta = number(call, "beta", 0);
    s->norm = number(call, "norm_coefficient", 0);
    if (rc == TB_OK && !s->nesterov && strcmp(mode, "standard") != 0) {
        rc = tb_fail(err, TB_E_UNSUPPORTED,
                     "mode \"%s\", not standard or nesterov", mode);
    }
    return rc;
}

static tb_rc adagrad_infer(tb_call *call, tb_err *err)
{
    step_state *s = TB_OP_STATE(step_state, call);
    tb_rc rc = plan(call, 1, err);
    s->decay = number(call, "decay_factor", 0);
    s->epsilon = number(call, "epsilon", 1e-6);
    s->norm = number(call, "norm_coefficient", 0);
    return rc;
}

static tb_rc adam_infer(tb_call *call, tb_err *err)
{
    step_state *s = TB_OP_STATE(step_state, call);
    tb_rc rc = plan(call, 2, err);
    s->alpha = number(call, "alpha", 0.9);
    s->beta = number(call, "beta", 0.999);
    s->epsilon = number(call, "epsilon", 1e-6);
    s->norm = number(call, "norm_coefficient", 0);
    s->norm_post = number(call, "norm_coefficient_post", 0);
    return rc;
}

/* --- a step --------------------------------------------------------------- */

/* One tensor of the step: its elements, and where the new ones go (NULL:
 * nobody asks). */
typedef struct lane {
    size_t n;
    const float *x;
    const float *g;
    const float *state[2];
    float *x_new;
    float *state_new[2];
} lane;

static lane lane_of(const tb_call *call, size_t i)
{
    const step_state *s = TB_OP_CONST_STATE(step_state, call);
    lane l = {.n = tb_tensor_count(&call->in[2 + i]),
              .x = tb_op_f32(call, 2 + i),
              .g = tb_op_f32(call, 2 + s->n + i),
              .x_new = call->out[i].data};
    for (size_t k = 0; k < s->n_states; k++) {
        l.state[k] = tb_op_f32(call, 2 + (2 + k) * s->n + i);
        l.state_new[k] = call->out[(1 + k) * s->n + i].data;
    }
    return l;
}

static void put(float *to, size_t i, double value)
{
    if (to != NULL) {
        to[i] = (float)value;
    }
}

/* g' = norm x + g;  v' = alpha v + (T > 0 ? beta : 1) g'
 * x' = x - R v', or with Nesterov x - R (g' + alpha v') */
static void momentum_run(const tb_call *call)
{
    const step_state *s = TB_OP_CONST_STATE(step_state, call);
    double rate = tb_tensor_f64_at(&call->in[0], 0);
    double beta = tb_tensor_i64_at(&call->in[1], 0) > 0 ? s->beta : 1;
    for (size_t t = 0; t < s->n; t++) {
        lane l = lane_of(call, t);
        for (size_t i = 0; i < l.n; i++) {
            double x = (double)l.x[i];
            double g = s->norm * x + (double)l.g[i];
            double v = s->alpha * (double)l.state[0][i] + beta * g;
            put(l.x_new, i, x - rate * (s->nesterov ? g + s->alpha * v : v));
            put(l.state_new[0], i, v);
        }
    }
}

/* g' = norm x + g;  h' = h + g'^2
 * x' = x - R / (1 + T decay) g' / (sqrt(h') + epsilon) */
static void adagrad_run(const tb_call *call)
{
    const step_state *s = TB_OP_CONST_STATE(step_state, call);
    double step = (double)tb_tensor_i64_at(&call->in[1], 0);
    double rate = tb_tensor_f64_at(&call->in[0], 0) / (1 + step * s->decay);
    for (size_t t = 0; t < s->n; t++) {
        lane l = lane_of(call, t);
        for (size_t i = 0; i < l.n; i++) {
            double x = (double)l.x[i];
            double g = s->norm * x + (double)l.g[i];
            double h = (double)l.state[0][i] + g * g;
            put(l.x_new, i, x - rate * g / (sqrt(h) + s->epsilon));
            put(l.state_new[0], i, h);
        }
    }
}

/* g' = norm x + g;  v' = alpha v + (1 - alpha) g'
 * h' = beta h + (1 - beta) g'^2
 * R' = T > 0 ? R sqrt(1 - beta^T) / (1 - alpha^T) : R
 * x' = (1 - norm_post) (x - R' v' / (sqrt(h') + epsilon)) */
static void adam_run(const tb_call *call)
{
    const step_state *s = TB_OP_CONST_STATE(step_state, call);
    double step = (double)tb_tensor_i64_at(&call->in[1], 0);
    double rate = tb_tensor_f64_at(&call->in[0], 0);
    if (step > 0) {
        rate *= sqrt(1 - pow(s->beta, step)) / (1 - pow(s->alpha, step));
    }
    for (size_t t = 0; t < s->n; t++) {
        lane l = lane_of(call, t);
        for (size_t i = 0; i < l.n; i++) {
            double x = (double)l.x[i];
            double g = s->norm * x + (double)l.g[i];
            double v = s->alpha * (double)l.state[0][i] + (1 - s->alpha) * g;
            double h = s->beta * (double)l.state[1][i] + (1 - s->beta) * g * g;
            double moved = x - rate * v / (sqrt(h) + s->epsilon);
            put(l.x_new, i, (1 - s->norm_post) * moved);
            put(l.state_new[0], i, v);
            put(l.state_new[1], i, h);
        }
    }
}

/* --- the table ------------------------------------------------------------ */

static const tb_attr_decl momentum_attrs[] = {
    {"alpha", TB_ATTR_FLOAT, true},
    {"beta", TB_ATTR_FLOAT, true},
    {"mode", TB_ATTR_STRING, true},
    {"norm_coefficient", TB_ATTR_FLOAT, true}};
static const tb_attr_decl adagrad_attrs[] = {
    {"decay_factor", TB_ATTR_FLOAT, false},
    {"epsilon", TB_ATTR_FLOAT, false},
    {"norm_coefficient", TB_ATTR_FLOAT, false}};
static const tb_attr_decl adam_attrs[] = {
    {"alpha", TB_ATTR_FLOAT, false},
    {"beta", TB_ATTR_FLOAT, false},
    {"epsilon", TB_ATTR_FLOAT, false},
    {"norm_coefficient", TB_ATTR_FLOAT, false},
    {"norm_coefficient_post", TB_ATTR_FLOAT, false}};

#define OPTIMISER(text, lists, decls)                                          \
    .domain = TB_DOMAIN_TRAINING, .name = text, .since = 1,                    \
    .until = TB_OPSET_ANY, .in_min = 2 + (lists), .in_max = 255,               \
    .out_min = (lists)-1, .out_max = 255, .attrs = decls,                      \
    .n_attrs = TB_COUNT(decls), .types = TB_TYPES_F32, .typed_by = 2

const tb_op tb_op_momentum = {OPTIMISER("Momentum", 3, momentum_attrs),
                              .infer = momentum_infer, .run = momentum_run};
const tb_op tb_op_adagrad = {OPTIMISER("Adagrad", 3, adagrad_attrs),
                             .infer = adagrad_infer, .run = adagrad_run};
const tb_op tb_op_adam = {OPTIMISER("Adam", 4, adam_attrs), .infer = adam_infer,
                          .run = adam_run};
