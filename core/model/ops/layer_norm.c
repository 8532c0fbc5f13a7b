/* core/model/ops/layer_norm.c - LayerNormalization: over all dimensions from
 * an axis on, with a scale and a bias an element. */
#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "model/ops/op_priv.h"

#define GATHER 32 /* rows whose parameter gradients are summed apart */

/* x as [n_rows, n] */
typedef struct layer_state {
    size_t n_rows, n;
    float epsilon;
} layer_state;

/* --- infer ---------------------------------------------------------------- */

static tb_rc check_row(const tb_call *call, size_t i, size_t n, tb_err *err)
{
    if (tb_op_has(call, i) && tb_tensor_count(&call->in[i]) != n) {
        return tb_fail(err, TB_E_MISMATCH,
                       "input %zu has %zu numbers for rows of %zu", i,
                       tb_tensor_count(&call->in[i]), n);
    }
    return TB_OK;
}

static tb_rc plan(layer_state *state, size_t *axis, const tb_call *call,
                  const tb_shape *x, tb_err *err)
{
    tb_rc rc = tb_op_axis(axis, tb_node_int(call->node, "axis", -1), x->rank,
                          false, err);
    if (rc == TB_OK) {
        *state = (layer_state){
            tb_shape_product(x, 0, *axis), tb_shape_product(x, *axis, x->rank),
            tb_node_float(call->node, "epsilon", TB_OP_EPSILON)};
    }
    return rc;
}

static tb_rc infer(tb_call *call, tb_err *err)
{
    layer_state *state = TB_OP_STATE(layer_state, call);
    tb_shape rows = call->in[0].shape;
    size_t axis = 0;
    tb_rc rc = tb_op_need_f32(call, 3, err);
    if (rc == TB_OK && tb_node_int(call->node, "stash_type", 1) != 1) {
        rc = tb_fail(err, TB_E_UNSUPPORTED, "stash_type is not float");
    }
    if (rc == TB_OK) {
        rc = plan(state, &axis, call, &call->in[0].shape, err);
    }
    for (size_t i = 1; i < 3 && rc == TB_OK; i++) {
        rc = check_row(call, i, state->n, err);
    }
    for (size_t d = axis; d < rows.rank; d++) {
        rows.dim[d] = 1;
    }
    call->out[0] = tb_tensor_view(TB_F32, &call->in[0].shape, NULL);
    for (size_t i = 1; i < call->n_out; i++) {
        call->out[i] = tb_tensor_view(TB_F32, &rows, NULL);
    }
    return rc;
}

/* --- forward -------------------------------------------------------------- */

static void write_row(const tb_call *call, size_t out, size_t row, float x)
{
    if (out < call->n_out && call->out[out].data != NULL) {
        ((float *)call->out[out].data)[row] = x;
    }
}

/* y = (x - mean) / sqrt(variance + epsilon) scale + bias, and as outputs the
 * mean and 1 / sqrt(variance + epsilon) */
static void run(const tb_call *call)
{
    const layer_state *s = TB_OP_CONST_STATE(layer_state, call);
    const tb_k_span span = {1, s->n, s->n};
    const float *bias = tb_op_has(call, 2) ? tb_op_f32(call, 2) : NULL;
    for (size_t row = 0; row < s->n_rows; row++) {
        double m[2] = {0, 0};
        tb_k_line l = {0, 0, 0};
        if (s->n > 0) {
            tb_k_moments(m, tb_op_f32(call, 0) + row * s->n, &span);
            l.mean = (float)m[0];
            l.a = tb_op_rstd(m[1], s->epsilon);
            tb_k_row_line(tb_op_f32_out(call) + row * s->n,
                          tb_op_f32(call, 0) + row * s->n, tb_op_f32(call, 1),
                          bias, s->n, &l);
        }
        write_row(call, 1, row, l.mean);
        write_row(call, 2, row, l.a);
    }
}

/* --- backward ------------------------------------------------------------- */

/* dy, x, scale, mean, rstd -> dx, dscale, dbias; the statistics pass none */
static void backward(tb_grad *g)
{
    for (size_t i = 1; i < g->node->n_out; i++) {
        if (g->dy[i] != TB_ID_NONE) {
            return;
        }
    }
    tb_value_id mean = tb_grad_output(g, 1);
    tb_value_id rstd = tb_grad_output(g, 2);
    const tb_attr axis = TB_ATTR_I("axis", tb_node_int(g->node, "axis", -1));
    const tb_value_id in[5] = {g->dy[0], g->node->in[0], g->node->in[1], mean,
                               rstd};
    tb_grad_emit_norm(g, &(tb_node_spec){.domain = TB_DOMAIN_GRAD,
                                         .op = "LayerNormalizationGrad",
                                         .attrs = &axis,
                                         .n_attrs = 1,
                                         .in = in,
                                         .n_in = 5});
}

static tb_rc grad_infer(tb_call *call, tb_err *err)
{
    layer_state *state = TB_OP_STATE(layer_state, call);
    const tb_shape *x = &call->in[1].shape;
    size_t axis = 0;
    tb_rc rc = tb_op_need_f32(call, 5, err);
    if (rc == TB_OK && !tb_shape_equal(&call->in[0].shape, x)) {
        rc = tb_fail(err, TB_E_MISMATCH, "a gradient of another shape");
    }
    if (rc == TB_OK) {
        rc = plan(state, &axis, call, x, err);
    }
    if (rc == TB_OK) {
        rc = check_row(call, 2, state->n, err);
    }
    for (size_t i = 3; i < 5 && rc == TB_OK; i++) {
        rc = check_row(call, i, state->n_rows, err);
    }
    if (rc == TB_OK &&
        tb_mem_mul(&call->work_bytes, state->n, 2 * sizeof(float)) != 0) {
        rc = tb_fail(err, TB_E_LIMIT, "rows of %zu", state->n);
    }
    call->out[0] = tb_tensor_view(TB_F32, x, NULL);
    for (size_t i = 1; i < call->n_out; i++) {
        call->out[i] = tb_tensor_view(TB_F32, &call->in[2].shape, NULL);
    }
    return rc;
}

/* With dh = dy scale, xh = (x - mean) rstd over the n numbers of a row:
 * dx = rstd (dh - sum(dh) / n - xh sum(dh xh) / n) */
static void grad_row(const tb_call *call, size_t row)
{
    const layer_state *s = TB_OP_CONST_STATE(layer_state, call);
    const float *dy = tb_op_f32(call, 0) + row * s->n;
    const float *x = tb_op_f32(call, 1) + row * s->n;
    float mean = tb_op_f32(call, 3)[row];
    double rstd = (double)tb_op_f32(call, 4)[row];
    double n = (double)s->n;
    double sums[2];
    tb_k_row_grad_sums(sums, dy, x, tb_op_f32(call, 2), s->n, mean);
    const tb_k_plane p = {mean, (float)rstd,
                          (float)(-rstd * rstd * rstd * sums[1] / n),
                          (float)(-rstd * sums[0] / n)};
    tb_k_row_plane(tb_op_f32_out(call) + row * s->n, dy, x, tb_op_f32(call, 2),
                   s->n, &p);
}

/* Adds what GATHER rows gave to dscale and dbias, and begins anew. */
static void flush_params(const tb_call *call, float *gathered, size_t n)
{
    for (size_t i = 1; i < call->n_out; i++) {
        if (call->out[i].data != NULL) {
            tb_k_axpy(call->out[i].data, gathered + (i - 1) * n, n, 1.0f);
        }
    }
    memset(gathered, 0, 2 * n * sizeof gathered[0]);
}

/* dscale = sum over rows of dy xh, dbias = of dy */
static void grad_run(const tb_call *call)
{
    const layer_state *s = TB_OP_CONST_STATE(layer_state, call);
    float *gathered = call->work;
    if (s->n == 0) {
        return;
    }
    memset(gathered, 0, 2 * s->n * sizeof gathered[0]);
    for (size_t i = 1; i < call->n_out; i++) {
        if (call->out[i].data != NULL) {
            memset(call->out[i].data, 0, s->n * sizeof(float));
        }
    }
    for (size_t row = 0; row < s->n_rows; row++) {
        if (call->n_out > 1) { /* before dx may be written over dy or x */
            const tb_k_line l = {tb_op_f32(call, 3)[row],
                                 tb_op_f32(call, 4)[row], 0};
            tb_k_row_params(gathered, gathered + s->n,
                            tb_op_f32(call, 0) + row * s->n,
                            tb_op_f32(call, 1) + row * s->n, s->n, &l);
        }
        grad_row(call, row);
        if (row % GATHER == GATHER - 1 || row + 1 == s->n_rows) {
            flush_params(call, gathered, s->n);
        }
    }
}

/* --- the table ------------------------------------------------------------ */

static const tb_attr_decl attrs[] = {{"axis", TB_ATTR_INT, false},
                                     {"epsilon", TB_ATTR_FLOAT, false},
                                     {"stash_type", TB_ATTR_INT, false}};

const tb_op tb_op_layer_norm = {.domain = TB_DOMAIN_ONNX,
                                .name = "LayerNormalization",
                                .since = 17,
                                .until = TB_OPSET_ANY,
                                .in_min = 2,
                                .in_max = 3,
                                .out_min = 1,
                                .out_max = 3,
                                .attrs = attrs,
                                .n_attrs = TB_COUNT(attrs),
                                .trains = 6,
                                .in_place = 1,
                                .types = TB_TYPES_F32,
                                .flops_each = 8,
                                .infer = infer,
                                .run = run,
                                .backward = backward};

const tb_op tb_op_layer_norm_grad = {.domain = TB_DOMAIN_GRAD,
                                     .name = "LayerNormalizationGrad",
                                     .since = 1,
                                     .until = TB_OPSET_ANY,
                                     .in_min = 5,
                                     .in_max = 5,
                                     .out_min = 1,
                                     .out_max = 3,
                                     .attrs = attrs,
                                     .n_attrs = 1,
                                     .in_place = 3,
                                     .types = TB_TYPES_F32,
                                     .flops_each = 14,
                                     .infer = grad_infer,
                                     .run = grad_run};
