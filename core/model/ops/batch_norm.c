/* core/model/ops/batch_norm.c - BatchNormalization: by the statistics of the
 * batch in training, which also move the running ones; by the running ones
 * else, whatever the file says of training_mode. Running statistics are ONNX's:
 * the variance is the population's, of which PyTorch keeps n / (n - 1). */
#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "model/ops/op_priv.h"

#define MOMENTUM 0.9f /* ONNX's default */

enum { IN_X, IN_SCALE, IN_BIAS, IN_MEAN, IN_VAR };

/* x as [n, c, s] */
typedef struct norm_state {
    size_t n, c, s;
    float epsilon;
    float momentum;
} norm_state;

/* --- infer ---------------------------------------------------------------- */

static tb_rc check_channels(const tb_call *call, size_t from, size_t to,
                            size_t c, tb_err *err)
{
    for (size_t i = from; i < to; i++) {
        if (call->in[i].shape.rank != 1 || call->in[i].shape.dim[0] != c) {
            char text[TB_SHAPE_TEXT_BYTES];
            return tb_fail(err, TB_E_MISMATCH, "input %zu is %s, not [%zu]", i,
                           tb_shape_text(&call->in[i].shape, text), c);
        }
    }
    return TB_OK;
}

/* One dimension is a batch of one channel. */
static tb_rc plan(norm_state *state, const tb_call *call, const tb_shape *x,
                  tb_err *err)
{
    if (x->rank == 0) {
        return tb_fail(err, TB_E_MISMATCH, "a scalar has no batch");
    }
    *state = (norm_state){
        .n = x->dim[0],
        .c = x->rank > 1 ? x->dim[1] : 1,
        .s = x->rank > 1 ? tb_shape_product(x, 2, x->rank) : 1,
        .epsilon = tb_node_float(call->node, "epsilon", TB_OP_EPSILON),
        .momentum = tb_node_float(call->node, "momentum", MOMENTUM)};
    return TB_OK;
}

static tb_rc infer(tb_call *call, tb_err *err)
{
    norm_state *state = TB_OP_STATE(norm_state, call);
    tb_rc rc = tb_op_need_f32(call, call->n_in, err);
    if (rc == TB_OK && tb_node_int(call->node, "spatial", 1) != 1) {
        rc = tb_fail(err, TB_E_UNSUPPORTED, "spatial 0");
    }
    if (rc == TB_OK) {
        rc = plan(state, call, &call->in[IN_X].shape, err);
    }
    if (rc == TB_OK) {
        rc = check_channels(call, IN_SCALE, call->n_in, state->c, err);
    }
    if (rc != TB_OK) {
        return rc;
    }
    call->out[0] = tb_tensor_view(TB_F32, &call->in[IN_X].shape, NULL);
    for (size_t i = 1; i < call->n_out; i++) {
        call->out[i] = tb_tensor_view(TB_F32, &TB_SHAPE(state->c), NULL);
    }
    if (tb_mem_mul(&call->work_bytes, state->c, 5 * sizeof(float)) != 0) {
        return tb_fail(err, TB_E_LIMIT, "%zu channels", state->c);
    }
    return TB_OK;
}

/* --- forward -------------------------------------------------------------- */

/* [c] each, in the call's scratch memory */
typedef struct channel_work {
    float *mean, *a, *b; /* the lines: y = (x - mean) a + b */
    float *variance, *rstd;
} channel_work;

static channel_work work_of(const tb_call *call, size_t c)
{
    float *w = call->work;
    return (channel_work){w, w + c, w + 2 * c, w + 3 * c, w + 4 * c};
}

/* Mean and variance of a channel, of the batch or of all time. */
static void find_moments(const tb_call *call, const channel_work *w, size_t c)
{
    const norm_state *s = TB_OP_CONST_STATE(norm_state, call);
    const tb_k_span span = {s->n, s->c * s->s, s->s};
    double m[2] = {(double)tb_op_f32(call, IN_MEAN)[c],
                   (double)tb_op_f32(call, IN_VAR)[c]};
    if (call->training && s->s > 1) {
        tb_k_moments(m, tb_op_f32(call, IN_X) + c * s->s, &span);
    } else if (call->training) { /* all columns at once: see run */
        m[0] = (double)w->mean[c];
        m[1] = (double)w->variance[c];
    }
    w->mean[c] = (float)m[0];
    w->variance[c] = (float)m[1];
    w->rstd[c] = tb_op_rstd(m[1], s->epsilon);
    w->a[c] = w->rstd[c] * tb_op_f32(call, IN_SCALE)[c];
    w->b[c] = tb_op_f32(call, IN_BIAS)[c];
}

/* out = running momentum + batch (1 - momentum); they may share memory. */
static void write_running(const tb_call *call, size_t out, size_t in,
                          const float *batch)
{
    const norm_state *s = TB_OP_CONST_STATE(norm_state, call);
    if (out >= call->n_out || call->out[out].data == NULL) {
        return;
    }
    float *next = call->out[out].data;
    const float *now = tb_op_f32(call, in);
    for (size_t c = 0; c < s->c; c++) {
        next[c] = call->training
                      ? now[c] * s->momentum + batch[c] * (1.0f - s->momentum)
                      : now[c];
    }
}

static void write_copy(const tb_call *call, size_t out, const float *from)
{
    if (out < call->n_out && call->out[out].data != NULL) {
        memcpy(call->out[out].data, from, tb_tensor_bytes(&call->out[out]));
    }
}

/* Statistics as outputs: running mean and variance; before opset 14 those of
 * the batch too; and the private mean and 1 / deviation. */
static void write_statistics(const tb_call *call, const channel_work *w)
{
    write_running(call, 1, IN_MEAN, w->mean);
    write_running(call, 2, IN_VAR, w->variance);
    if (call->op->out_max == 5) {
        write_copy(call, 3, w->mean);
        write_copy(call, 4, w->variance);
    }
    write_copy(call, call->op->out_max, w->mean);
    write_copy(call, (size_t)call->op->out_max + 1, w->rstd);
}

/* y = (x - mean) / sqrt(variance + epsilon) scale + bias, a channel at a time
 * while it is near */
static void run(const tb_call *call)
{
    const norm_state *s = TB_OP_CONST_STATE(norm_state, call);
    const tb_k_span span = {s->n, s->c * s->s, s->s};
    channel_work w = work_of(call, s->c);
    const float *x = tb_op_f32(call, IN_X);
    float *y = tb_op_f32_out(call);
    bool columns = s->s == 1;
    if (s->n * s->c * s->s == 0) {
        write_copy(call, 1, tb_op_f32(call, IN_MEAN));
        write_copy(call, 2, tb_op_f32(call, IN_VAR));
        return;
    }
    if (columns && call->training) {
        tb_k_col_moments(w.mean, w.variance, x, s->n, s->c);
    }
    for (size_t c = 0; c < s->c; c++) {
        find_moments(call, &w, c);
        if (!columns) {
            const tb_k_line l = {w.mean[c], w.a[c], w.b[c]};
            tb_k_line_of(y + c * s->s, x + c * s->s, &span, &l);
        }
    }
    if (columns) {
        tb_k_col_line(y, x, w.mean, s->n, s->c);
    }
    write_statistics(call, &w);
}

/* --- backward ------------------------------------------------------------- */

/* dy, x, scale, mean, rstd -> dx, dscale, dbias; other outputs pass none */
static void backward(tb_grad *g)
{
    const tb_op *op = tb_op_find(g->node->domain, g->node->op, g->graph->opset);
    for (size_t i = 1; i < g->node->n_out; i++) {
        if (i < op->out_max && g->dy[i] != TB_ID_NONE) {
            return;
        }
    }
    tb_value_id mean = tb_grad_output(g, op->out_max);
    tb_value_id rstd = tb_grad_output(g, (size_t)op->out_max + 1);
    const tb_value_id in[5] = {g->dy[0], g->node->in[IN_X],
                               g->node->in[IN_SCALE], mean, rstd};
    tb_grad_emit_norm(g, &(tb_node_spec){.domain = TB_DOMAIN_GRAD,
                                         .op = "BatchNormalizationGrad",
                                         .in = in,
                                         .n_in = 5});
}

enum { IN_DY, IN_GRAD_X, IN_GRAD_SCALE, IN_GRAD_MEAN, IN_GRAD_RSTD };

static tb_rc grad_infer(tb_call *call, tb_err *err)
{
    norm_state *state = TB_OP_STATE(norm_state, call);
    const tb_shape *x = &call->in[IN_GRAD_X].shape;
    tb_rc rc = tb_op_need_f32(call, call->n_in, err);
    if (rc == TB_OK && !tb_shape_equal(&call->in[IN_DY].shape, x)) {
        rc = tb_fail(err, TB_E_MISMATCH, "a gradient of another shape");
    }
    if (rc == TB_OK) {
        rc = plan(state, call, x, err);
    }
    if (rc == TB_OK) {
        rc = check_channels(call, IN_GRAD_SCALE, call->n_in, state->c, err);
    }
    if (rc == TB_OK &&
        tb_mem_mul(&call->work_bytes, state->c, 6 * sizeof(float)) != 0) {
        rc = tb_fail(err, TB_E_LIMIT, "%zu channels", state->c);
    }
    call->out[0] = tb_tensor_view(TB_F32, x, NULL);
    for (size_t i = 1; i < call->n_out; i++) {
        call->out[i] = tb_tensor_view(TB_F32, &TB_SHAPE(state->c), NULL);
    }
    return rc;
}

/* dx = scale rstd (dy - sum(dy) / m - xh sum(dy xh) / m), xh = (x - mean) rstd;
 * by running statistics only the first term. sums: of dy, of dy (x - mean). */
static tb_k_plane plane_of(const tb_call *call, size_t c, const double sums[2])
{
    const norm_state *s = TB_OP_CONST_STATE(norm_state, call);
    double m = (double)(s->n * s->s);
    double rstd = (double)tb_op_f32(call, IN_GRAD_RSTD)[c];
    double p = rstd * (double)tb_op_f32(call, IN_GRAD_SCALE)[c];
    tb_k_plane plane = {tb_op_f32(call, IN_GRAD_MEAN)[c], (float)p, 0, 0};
    if (call->training) {
        plane.q = (float)(-p * rstd * rstd * sums[1] / m);
        plane.r = (float)(-p * sums[0] / m);
    }
    return plane;
}

/* dscale = sum(dy xh), dbias = sum(dy) */
static void write_params(const tb_call *call, size_t c, const double sums[2])
{
    if (call->n_out > 1 && call->out[1].data != NULL) {
        double rstd = (double)tb_op_f32(call, IN_GRAD_RSTD)[c];
        ((float *)call->out[1].data)[c] = (float)(sums[1] * rstd);
    }
    if (call->n_out > 2 && call->out[2].data != NULL) {
        ((float *)call->out[2].data)[c] = (float)sums[0];
    }
}

/* One element a channel in each row: all columns at once. */
static void grad_columns(const tb_call *call)
{
    const norm_state *s = TB_OP_CONST_STATE(norm_state, call);
    float *sums = call->work;
    float *planes = sums + 2 * s->c;
    tb_k_col_grad_sums(sums, tb_op_f32(call, IN_DY), tb_op_f32(call, IN_GRAD_X),
                       tb_op_f32(call, IN_GRAD_MEAN), s->n, s->c);
    for (size_t c = 0; c < s->c; c++) {
        const double of[2] = {(double)sums[c], (double)sums[s->c + c]};
        tb_k_plane p = plane_of(call, c, of);
        planes[c] = p.mean;
        planes[s->c + c] = p.p;
        planes[2 * s->c + c] = p.q;
        planes[3 * s->c + c] = p.r;
        write_params(call, c, of);
    }
    tb_k_col_plane(tb_op_f32_out(call), tb_op_f32(call, IN_DY),
                   tb_op_f32(call, IN_GRAD_X), planes, s->n, s->c);
}

static void grad_run(const tb_call *call)
{
    const norm_state *s = TB_OP_CONST_STATE(norm_state, call);
    const tb_k_span span = {s->n, s->c * s->s, s->s};
    const float *dy = tb_op_f32(call, IN_DY);
    const float *x = tb_op_f32(call, IN_GRAD_X);
    if (s->s == 1 && s->n > 0) {
        grad_columns(call);
        return;
    }
    for (size_t c = 0; c < s->c; c++) {
        size_t at = c * s->s;
        double sums[2] = {0, 0};
        if (s->n * s->s > 0) {
            tb_k_grad_sums(sums, dy + at, x + at, &span,
                           tb_op_f32(call, IN_GRAD_MEAN)[c]);
            tb_k_plane p = plane_of(call, c, sums);
            tb_k_plane_of(tb_op_f32_out(call) + at, dy + at, x + at, &span, &p);
        }
        write_params(call, c, sums);
    }
}

/* --- the table ------------------------------------------------------------ */

static const tb_attr_decl attrs_7[] = {{"epsilon", TB_ATTR_FLOAT, false},
                                       {"momentum", TB_ATTR_FLOAT, false},
                                       {"spatial", TB_ATTR_INT, false}};
static const tb_attr_decl attrs_9[] = {{"epsilon", TB_ATTR_FLOAT, false},
                                       {"momentum", TB_ATTR_FLOAT, false}};
static const tb_attr_decl attrs_14[] = {{"epsilon", TB_ATTR_FLOAT, false},
                                        {"momentum", TB_ATTR_FLOAT, false},
                                        {"training_mode", TB_ATTR_INT, false}};

#define BATCH_NORM(first, last, list, n_outputs)                               \
    {                                                                          \
        .domain = TB_DOMAIN_ONNX, .name = "BatchNormalization",                \
        .since = first, .until = last, .in_min = 5, .in_max = 5, .out_min = 1, \
        .out_max = n_outputs, .attrs = list, .n_attrs = TB_COUNT(list),        \
        .trains = 1u << IN_SCALE | 1u << IN_BIAS, .in_place = 1,               \
        .types = TB_TYPES_F32, .n_saved = 2, .n_carry = 2,                     \
        .carry = {{IN_MEAN, 1}, {IN_VAR, 2}}, .couples_rows = true,            \
        .flops_each = 7, .infer = infer, .run = run, .backward = backward      \
    }

const tb_op tb_op_batch_norm_7 = BATCH_NORM(7, 8, attrs_7, 5);
const tb_op tb_op_batch_norm_9 = BATCH_NORM(9, 13, attrs_9, 5);
const tb_op tb_op_batch_norm = BATCH_NORM(14, TB_OPSET_ANY, attrs_14, 3);

const tb_op tb_op_batch_norm_grad = {.domain = TB_DOMAIN_GRAD,
                                     .name = "BatchNormalizationGrad",
                                     .since = 1,
                                     .until = TB_OPSET_ANY,
                                     .in_min = 5,
                                     .in_max = 5,
                                     .out_min = 1,
                                     .out_max = 3,
                                     .in_place = 3,
                                     .types = TB_TYPES_F32,
                                     .flops_each = 9,
                                     .infer = grad_infer,
                                     .run = grad_run};
