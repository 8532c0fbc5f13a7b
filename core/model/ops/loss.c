/* core/model/ops/loss.c - NegativeLogLikelihoodLoss and SoftmaxCrossEntropyLoss
 * over scores [N, C, D...], labels [N, D...] and weights [C], with their
 * gradients. D... is seen as one extent; sums run in double, in order. */
#include <math.h>
#include <string.h>

#include "model/ops/op_priv.h"
#include "tensor/kernels.h"

enum { NONE, SUM, MEAN }; /* reductions */

typedef struct loss_state {
    size_t n_rows;
    size_t n_classes;
    size_t n_inner;
    int reduction;
    bool ignores;
    int64_t ignored; /* label that counts nothing */
} loss_state;

/* --- plan ----------------------------------------------------------------- */

static tb_rc read_attrs(loss_state *s, const tb_node *node, tb_err *err)
{
    static const char *const names[] = {
        [NONE] = "none", [SUM] = "sum", [MEAN] = "mean"};
    const tb_attr *ignore = tb_node_attr(node, "ignore_index");
    const tb_attr *attr = tb_node_attr(node, "reduction");
    const char *text = attr != NULL ? attr->s : "mean";
    s->ignores = ignore != NULL;
    s->ignored = ignore != NULL ? ignore->i : 0;
    for (int i = NONE; i <= MEAN; i++) {
        if (strcmp(text, names[i]) == 0) {
            s->reduction = i;
            return TB_OK;
        }
    }
    return tb_fail(err, TB_E_UNSUPPORTED,
                   "reduction \"%s\", not none, sum or mean", text);
}

/* Labels and weights that fit scores of shape x; they are inputs `at` and
 * `at` + 1. */
static tb_rc check_labels(const tb_call *call, const tb_shape *x, size_t at,
                          tb_err *err)
{
    const tb_tensor *labels = &call->in[at];
    tb_shape want = {.rank = x->rank - 1, .dim = {x->dim[0]}};
    for (size_t i = 2; i < x->rank; i++) {
        want.dim[i - 1] = x->dim[i];
    }
    if (!tb_dtype_in(labels->dtype, TB_TYPES_INDEX) ||
        !tb_shape_equal(&labels->shape, &want)) {
        char is[TB_SHAPE_TEXT_BYTES];
        char of[TB_SHAPE_TEXT_BYTES];
        return tb_fail(err, TB_E_MISMATCH,
                       "labels %s of %s for scores [N, C, ...] of %s",
                       tb_shape_text(&labels->shape, is),
                       tb_dtype_name(labels->dtype), tb_shape_text(x, of));
    }
    if (tb_op_has(call, at + 1) &&
        (call->in[at + 1].dtype != TB_F32 ||
         !tb_shape_equal(&call->in[at + 1].shape, &TB_SHAPE(x->dim[1])))) {
        char is[TB_SHAPE_TEXT_BYTES];
        return tb_fail(err, TB_E_MISMATCH, "weights %s of %s for %zu classes",
                       tb_shape_text(&call->in[at + 1].shape, is),
                       tb_dtype_name(call->in[at + 1].dtype), x->dim[1]);
    }
    return TB_OK;
}

static tb_rc plan(tb_call *call, const tb_shape *x, size_t labels, tb_err *err)
{
    loss_state *s = TB_OP_STATE(loss_state, call);
    if (x->rank < 2) {
        char is[TB_SHAPE_TEXT_BYTES];
        return tb_fail(err, TB_E_MISMATCH, "scores %s, not [N, C, ...]",
                       tb_shape_text(x, is));
    }
    s->n_rows = x->dim[0];
    s->n_classes = x->dim[1];
    s->n_inner = tb_shape_product(x, 2, x->rank);
    tb_rc rc = check_labels(call, x, labels, err);
    if (rc == TB_OK && s->n_classes == 0) {
        rc = tb_fail(err, TB_E_MISMATCH, "no classes");
    }
    return rc == TB_OK ? read_attrs(s, call->node, err) : rc;
}

static tb_rc infer(tb_call *call, tb_err *err)
{
    const loss_state *s = TB_OP_CONST_STATE(loss_state, call);
    tb_shape scalar = {0};
    tb_rc rc = plan(call, &call->in[0].shape, 1, err);
    if (rc == TB_OK) {
        const tb_shape *each = &call->in[1].shape;
        call->out[0] =
            tb_tensor_view(TB_F32, s->reduction == NONE ? each : &scalar, NULL);
        call->work_bytes = s->n_classes * sizeof(float);
    }
    if (rc == TB_OK && call->n_out > 1) {
        call->out[1] = tb_tensor_view(TB_F32, &call->in[0].shape, NULL);
    }
    return rc;
}

/* --- one position --------------------------------------------------------- */

/* The label of a position; false when it counts nothing. A label that is no
 * class is reported, and taken for 0. */
static bool label_of(const tb_call *call, size_t input, size_t at, size_t *out)
{
    const loss_state *s = TB_OP_CONST_STATE(loss_state, call);
    int64_t label = tb_tensor_i64_at(&call->in[input], at);
    *out = 0;
    if (s->ignores && label == s->ignored) {
        return false;
    }
    if (label < 0 || (uint64_t)label >= s->n_classes) {
        tb_op_fault(call, label, s->n_classes);
    } else {
        *out = (size_t)label;
    }
    return true;
}

static double weight_of(const tb_call *call, size_t input, size_t label)
{
    return tb_op_has(call, input) ? (double)tb_op_f32(call, input)[label] : 1;
}

/* Where class 0 of a position lies; classes are n_inner apart. */
static size_t start_of(const loss_state *s, size_t at)
{
    return at / s->n_inner * s->n_classes * s->n_inner + at % s->n_inner;
}

/* --- forward -------------------------------------------------------------- */

/* Sums of the losses and of the weights that counted. */
typedef struct total {
    double loss;
    double weight;
} total;

static void add_loss(const tb_call *call, total *sum, size_t at, size_t label,
                     float log_prob)
{
    const loss_state *s = TB_OP_CONST_STATE(loss_state, call);
    double w = weight_of(call, 2, label);
    if (s->reduction == NONE) {
        tb_op_f32_out(call)[at] = (float)(-w * (double)log_prob);
    }
    sum->loss -= w * (double)log_prob;
    sum->weight += w;
}

static void finish(const tb_call *call, const total *sum)
{
    const loss_state *s = TB_OP_CONST_STATE(loss_state, call);
    if (s->reduction != NONE) {
        double by = s->reduction == MEAN ? sum->weight : 1;
        tb_op_f32_out(call)[0] = (float)(sum->loss / by);
    }
}

/* l = -w[t] x[n, t, d]; sum: sum l; mean: sum l / sum w[t] */
static void nll_run(const tb_call *call)
{
    const loss_state *s = TB_OP_CONST_STATE(loss_state, call);
    const float *x = tb_op_f32(call, 0);
    total sum = {0};
    for (size_t at = 0; at < s->n_rows * s->n_inner; at++) {
        size_t label = 0;
        if (label_of(call, 1, at, &label)) {
            size_t from = start_of(s, at);
            add_loss(call, &sum, at, label, x[from + label * s->n_inner]);
        } else if (s->reduction == NONE) {
            tb_op_f32_out(call)[at] = 0;
        }
    }
    finish(call, &sum);
}

/* The same with x = log softmax over the classes of the scores. */
static void cross_entropy_run(const tb_call *call)
{
    const loss_state *s = TB_OP_CONST_STATE(loss_state, call);
    const float *x = tb_op_f32(call, 0);
    float *log_prob = call->n_out > 1 ? call->out[1].data : NULL;
    float *row = call->work;
    total sum = {0};
    for (size_t at = 0; at < s->n_rows * s->n_inner; at++) {
        size_t from = start_of(s, at);
        size_t label = 0;
        for (size_t c = 0; c < s->n_classes; c++) {
            row[c] = x[from + c * s->n_inner];
        }
        tb_k_log_softmax(row, row, 1, s->n_classes);
        for (size_t c = 0; log_prob != NULL && c < s->n_classes; c++) {
            log_prob[from + c * s->n_inner] = row[c];
        }
        if (label_of(call, 1, at, &label)) {
            add_loss(call, &sum, at, label, row[label]);
        } else if (s->reduction == NONE) {
            tb_op_f32_out(call)[at] = 0;
        }
    }
    finish(call, &sum);
}

/* --- backward ------------------------------------------------------------- */

/* The gradient node over (dl, x, labels, weights). */
static tb_value_id emit(tb_grad *g, const char *op, tb_value_id x)
{
    const tb_node *node = g->node;
    const tb_value_id in[4] = {g->dy[0], x, node->in[1],
                               node->n_in > 2 ? node->in[2] : TB_ID_NONE};
    return tb_grad_emit(g,
                        &(tb_node_spec){.domain = TB_DOMAIN_GRAD,
                                        .op = op,
                                        .attrs = node->attrs,
                                        .n_attrs = node->n_attrs,
                                        .in = in,
                                        .n_in = in[3] == TB_ID_NONE ? 3 : 4});
}

static void nll_backward(tb_grad *g)
{
    g->dx[0] = emit(g, "NegativeLogLikelihoodLossGrad", g->node->in[0]);
}

static void cross_entropy_backward(tb_grad *g)
{
    tb_value_id d_log_prob = g->node->n_out > 1 ? g->dy[1] : TB_ID_NONE;
    tb_value_id log_prob = tb_grad_output(g, 1);
    tb_value_id of_loss = TB_ID_NONE;
    tb_value_id of_prob = TB_ID_NONE;
    if (g->dy[0] != TB_ID_NONE) {
        of_loss = emit(g, "SoftmaxCrossEntropyLossGrad", log_prob);
    }
    if (d_log_prob != TB_ID_NONE) {
        const tb_value_id in[2] = {d_log_prob, log_prob};
        const tb_attr axis = TB_ATTR_I("axis", 1);
        of_prob = tb_grad_emit(g, &(tb_node_spec){.domain = TB_DOMAIN_GRAD,
                                                  .op = "LogSoftmaxGrad",
                                                  .attrs = &axis,
                                                  .n_attrs = 1,
                                                  .in = in,
                                                  .n_in = 2});
    }
    g->dx[0] = of_loss == TB_ID_NONE ? of_prob
               : of_prob == TB_ID_NONE
                   ? of_loss
                   : tb_grad_binary(g, TB_DOMAIN_ONNX, "Add", of_loss, of_prob);
}

static tb_rc grad_infer(tb_call *call, tb_err *err)
{
    const loss_state *s = TB_OP_CONST_STATE(loss_state, call);
    tb_rc rc = plan(call, &call->in[1].shape, 2, err);
    size_t each = s->reduction == NONE ? s->n_rows * s->n_inner : 1;
    if (rc == TB_OK && tb_tensor_count(&call->in[0]) != each) {
        rc = tb_fail(err, TB_E_MISMATCH, "a gradient of %zu losses, not %zu",
                     tb_tensor_count(&call->in[0]), each);
    }
    call->out[0] = tb_tensor_view(TB_F32, &call->in[1].shape, NULL);
    return rc;
}

/* What the losses were divided by. */
static double divisor(const tb_call *call)
{
    const loss_state *s = TB_OP_CONST_STATE(loss_state, call);
    double sum = 0;
    if (s->reduction != MEAN) {
        return 1;
    }
    for (size_t at = 0; at < s->n_rows * s->n_inner; at++) {
        size_t label = 0;
        if (label_of(call, 2, at, &label)) {
            sum += weight_of(call, 3, label);
        }
    }
    return sum;
}

/* dl/dx = [c = t] * -w[t] / by; through the softmax: (p - [c = t]) w[t] / by,
 * with p = exp(x) of the log probabilities x */
static void run_grad(const tb_call *call, bool softmax)
{
    const loss_state *s = TB_OP_CONST_STATE(loss_state, call);
    const float *dl = tb_op_f32(call, 0);
    const float *x = tb_op_f32(call, 1);
    float *dx = tb_op_f32_out(call);
    double by = divisor(call);
    for (size_t at = 0; at < s->n_rows * s->n_inner; at++) {
        size_t from = start_of(s, at);
        size_t label = 0;
        bool counts = label_of(call, 2, at, &label);
        double scale = (double)dl[s->reduction == NONE ? at : 0] / by;
        scale = counts ? scale * weight_of(call, 3, label) : 0;
        for (size_t c = 0; c < s->n_classes; c++) {
            size_t k = from + c * s->n_inner;
            double p = softmax && counts ? exp((double)x[k]) : 0;
            double d = p - (c == label && counts ? 1 : 0);
            dx[k] = counts ? (float)(d * scale) : 0.0f;
        }
    }
}

static void nll_grad_run(const tb_call *call)
{
    run_grad(call, false);
}

static void cross_entropy_grad_run(const tb_call *call)
{
    run_grad(call, true);
}

/* --- the loss of a trainer ------------------------------------------------ */

/* d loss / d out in the shape of out, from out and the labels. */
static tb_rc loss_infer(tb_call *call, tb_err *err)
{
    call->out[0] = tb_tensor_view(TB_F32, &call->in[0].shape, NULL);
    return tb_op_need_f32(call, 1, err);
}

/* Which loss it is, its owner says: he puts a run of his own here
 * (train/head.c). Alone, nothing pulls. */
static void loss_run(const tb_call *call)
{
    memset(call->out[0].data, 0, tb_tensor_bytes(&call->out[0]));
}

/* --- the table ------------------------------------------------------------ */

static const tb_attr_decl attrs[] = {{"ignore_index", TB_ATTR_INT, false},
                                     {"reduction", TB_ATTR_STRING, false}};

/* A softmax and its choice, over scores or log-probabilities. */
static double flops(const tb_call *call)
{
    double most = 0;
    for (size_t i = 0; i < call->n_in; i++) {
        double n = (double)tb_tensor_count(&call->in[i]);
        most = n > most ? n : most;
    }
    return 5.0 * most;
}

#define LOSS(text, n_outputs)                                                  \
    .domain = TB_DOMAIN_ONNX, .name = text, .since = 12,                       \
    .until = TB_OPSET_ANY, .in_min = 2, .in_max = 3, .out_min = 1,             \
    .out_max = n_outputs, .attrs = attrs, .n_attrs = TB_COUNT(attrs),          \
    .types = TB_TYPES_F32, .flops = flops, .infer = infer

#define LOSS_GRAD(text)                                                        \
    .domain = TB_DOMAIN_GRAD, .name = text, .since = 1, .until = TB_OPSET_ANY, \
    .in_min = 3, .in_max = 4, .out_min = 1, .out_max = 1, .attrs = attrs,      \
    .n_attrs = TB_COUNT(attrs), .types = TB_TYPES_F32, .flops = flops,         \
    .infer = grad_infer

const tb_op tb_op_nll_loss = {LOSS("NegativeLogLikelihoodLoss", 1),
                              .run = nll_run, .backward = nll_backward};
const tb_op tb_op_cross_entropy_loss = {LOSS("SoftmaxCrossEntropyLoss", 2),
                                        .run = cross_entropy_run,
                                        .backward = cross_entropy_backward};
const tb_op tb_op_nll_loss_grad = {LOSS_GRAD("NegativeLogLikelihoodLossGrad"),
                                   .shape_only = 1u << 1, .run = nll_grad_run};
const tb_op tb_op_cross_entropy_loss_grad = {
    LOSS_GRAD("SoftmaxCrossEntropyLossGrad"), .in_place = 1u << 1,
    .run = cross_entropy_grad_run};
const tb_op tb_op_loss = {.domain = TB_DOMAIN_GRAD,
                          .name = "Loss",
                          .since = 1,
                          .until = TB_OPSET_ANY,
                          .in_min = 2,
                          .in_max = 2,
                          .out_min = 1,
                          .out_max = 1,
                          .flops_each = 5,
                          .infer = loss_infer,
                          .run = loss_run};
