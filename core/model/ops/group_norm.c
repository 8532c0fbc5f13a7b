/* core/model/ops/group_norm.c - InstanceNormalization and GroupNormalization:
 * statistics of a sample's channels, alone or by groups. */
#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "model/ops/group_norm.h"
#include "model/ops/op_priv.h"

/* x as [n, groups, in_group, s], and a scale a channel or (GroupNormalization
 * before opset 21) a group. */
typedef struct group_state {
    size_t n, groups, in_group, s;
    bool by_group;
    float epsilon;
} group_state;

static size_t n_scales(const group_state *g)
{
    return g->by_group ? g->groups : g->groups * g->in_group;
}

/* --- infer ---------------------------------------------------------------- */

/* groups 0: each channel is one. */
static tb_rc plan(group_state *state, const tb_call *call, const tb_shape *x,
                  tb_err *err)
{
    int64_t groups = tb_node_int(call->node, "num_groups", 0);
    size_t c = x->rank > 1 ? x->dim[1] : 0;
    if (x->rank < 2) {
        return tb_fail(err, TB_E_MISMATCH, "%zu dimensions have no channels",
                       x->rank);
    }
    if (tb_node_attr(call->node, "num_groups") == NULL) {
        groups = (int64_t)c;
    }
    if (groups < 0 || (groups == 0 && c > 0) ||
        (groups > 0 && c % (size_t)groups != 0)) {
        return tb_fail(err, TB_E_MISMATCH, "%zu channels in %lld groups", c,
                       (long long)groups);
    }
    *state = (group_state){
        .n = x->dim[0],
        .groups = (size_t)groups,
        .in_group = groups > 0 ? c / (size_t)groups : 0,
        .s = tb_shape_product(x, 2, x->rank),
        .by_group = tb_node_int(call->node, "by_group", 0) != 0,
        .epsilon = tb_node_float(call->node, "epsilon", TB_OP_EPSILON)};
    return TB_OK;
}

static tb_rc check_scales(const tb_call *call, size_t i, size_t n, tb_err *err)
{
    if (call->in[i].shape.rank != 1 || call->in[i].shape.dim[0] != n) {
        char text[TB_SHAPE_TEXT_BYTES];
        return tb_fail(err, TB_E_MISMATCH, "input %zu is %s, not [%zu]", i,
                       tb_shape_text(&call->in[i].shape, text), n);
    }
    return TB_OK;
}

static tb_rc infer(tb_call *call, tb_err *err)
{
    group_state *state = TB_OP_STATE(group_state, call);
    tb_rc rc = tb_op_need_f32(call, 3, err);
    if (rc == TB_OK && tb_node_int(call->node, "stash_type", 1) != 1) {
        rc = tb_fail(err, TB_E_UNSUPPORTED, "stash_type is not float");
    }
    if (rc == TB_OK) {
        rc = plan(state, call, &call->in[0].shape, err);
    }
    if (rc != TB_OK) {
        return rc;
    }
    state->by_group = call->op->since == 18;
    rc = check_scales(call, 1, n_scales(state), err);
    if (rc == TB_OK) {
        rc = check_scales(call, 2, n_scales(state), err);
    }
    call->out[0] = tb_tensor_view(TB_F32, &call->in[0].shape, NULL);
    for (size_t i = 1; i < call->n_out; i++) { /* private: mean, rstd */
        call->out[i] =
            tb_tensor_view(TB_F32, &TB_SHAPE(state->n, state->groups), NULL);
    }
    return rc;
}

/* --- forward -------------------------------------------------------------- */

/* A group lies in one piece: its statistics, then its channels. */
static void run_group(const tb_call *call, size_t row, double m[2])
{
    const group_state *g = TB_OP_CONST_STATE(group_state, call);
    size_t n = g->in_group * g->s;
    const float *x = tb_op_f32(call, 0) + row * n;
    float *y = tb_op_f32_out(call) + row * n;
    tb_k_moments(m, x, &(tb_k_span){1, n, n});
    float rstd = tb_op_rstd(m[1], g->epsilon);
    size_t parts = g->by_group ? 1 : g->in_group;
    size_t scale = row % g->groups * parts;
    const tb_k_span part = {1, n / parts, n / parts};
    for (size_t k = 0; k < parts; k++) {
        const tb_k_line line = {(float)m[0],
                                rstd * tb_op_f32(call, 1)[scale + k],
                                tb_op_f32(call, 2)[scale + k]};
        tb_k_line_of(y + k * part.n, x + k * part.n, &part, &line);
    }
    m[1] = (double)rstd;
}

/* y = (x - mean) / sqrt(variance + epsilon) scale + bias */
static void run(const tb_call *call)
{
    const group_state *g = TB_OP_CONST_STATE(group_state, call);
    for (size_t row = 0; row < g->n * g->groups; row++) {
        double m[2] = {0, 0}; /* mean and rstd */
        if (g->s > 0) {
            run_group(call, row, m);
        }
        for (size_t i = 1; i < call->n_out; i++) {
            if (call->out[i].data != NULL) {
                ((float *)call->out[i].data)[row] = (float)m[i - 1];
            }
        }
    }
}

bool tb_op_group_norm_over(tb_call *call, const tb_call *norm,
                           const tb_shape *x)
{
    group_state g = *TB_OP_CONST_STATE(group_state, norm);
    if (norm->op != &tb_op_instance_norm || x->rank < 2 || g.groups == 0 ||
        x->dim[0] != g.n || x->dim[1] % g.groups != 0) {
        return false;
    }
    g.in_group = x->dim[1] / g.groups;
    g.s = tb_shape_product(x, 2, x->rank);
    call->op = norm->op;
    memcpy(call->state.bytes, &g, sizeof g);
    call->view_of = -1;
    call->work_bytes = 0;
    return true;
}

/* --- backward ------------------------------------------------------------- */

/* dy, x, scale, mean, rstd -> dx, dscale, dbias */
static void backward(tb_grad *g)
{
    const tb_node *node = g->node;
    bool grouped = tb_node_attr(node, "num_groups") != NULL;
    const tb_attr attrs[2] = {
        TB_ATTR_I("by_group", grouped && g->graph->opset < 21),
        TB_ATTR_I("num_groups", tb_node_int(node, "num_groups", 0))};
    tb_value_id mean = tb_grad_output(g, 1);
    tb_value_id rstd = tb_grad_output(g, 2);
    const tb_value_id in[5] = {g->dy[0], g->node->in[0], g->node->in[1], mean,
                               rstd};
    tb_grad_emit_norm(g, &(tb_node_spec){.domain = TB_DOMAIN_GRAD,
                                         .op = "GroupNormalizationGrad",
                                         .attrs = attrs,
                                         .n_attrs = grouped ? 2 : 1,
                                         .in = in,
                                         .n_in = 5});
}

static tb_rc grad_infer(tb_call *call, tb_err *err)
{
    group_state *state = TB_OP_STATE(group_state, call);
    const tb_shape *x = &call->in[1].shape;
    tb_rc rc = tb_op_need_f32(call, 5, err);
    if (rc == TB_OK && !tb_shape_equal(&call->in[0].shape, x)) {
        rc = tb_fail(err, TB_E_MISMATCH, "a gradient of another shape");
    }
    if (rc == TB_OK) {
        rc = plan(state, call, x, err);
    }
    if (rc == TB_OK) {
        rc = check_scales(call, 2, n_scales(state), err);
    }
    if (rc == TB_OK &&
        (tb_tensor_count(&call->in[3]) != state->n * state->groups ||
         tb_tensor_count(&call->in[4]) != state->n * state->groups)) {
        rc = tb_fail(err, TB_E_MISMATCH, "statistics of other groups");
    }
    if (rc != TB_OK) {
        return rc;
    }
    size_t c = state->groups * state->in_group;
    size_t n = n_scales(state);
    /* sums of every scale over the batch, sums of the channels of a group */
    if (tb_mem_mul(&call->work_bytes, n + c, 2 * sizeof(double)) != 0) {
        return tb_fail(err, TB_E_LIMIT, "%zu channels", c);
    }
    call->out[0] = tb_tensor_view(TB_F32, x, NULL);
    for (size_t i = 1; i < call->n_out; i++) {
        call->out[i] = tb_tensor_view(TB_F32, &TB_SHAPE(n), NULL);
    }
    return TB_OK;
}

/* With dh = dy scale, xh = (x - mean) rstd over the m numbers of a group:
 * dx = rstd (dh - sum(dh) / m - xh sum(dh xh) / m). dscale and dbias of the
 * group's scales grow by sum(dy xh) and sum(dy). */
static void grad_group(const tb_call *call, size_t row, double *params)
{
    const group_state *g = TB_OP_CONST_STATE(group_state, call);
    size_t n = g->in_group * g->s;
    size_t parts = g->by_group ? 1 : g->in_group;
    size_t first = row % g->groups * parts;
    const float *dy = tb_op_f32(call, 0) + row * n;
    const float *x = tb_op_f32(call, 1) + row * n;
    const float *scale = tb_op_f32(call, 2) + first;
    float mean = tb_op_f32(call, 3)[row];
    double rstd = (double)tb_op_f32(call, 4)[row];
    const tb_k_span part = {1, n / parts, n / parts};
    double sum_dh = 0, sum_dhx = 0;
    for (size_t k = 0; k < parts; k++) {
        double sums[2];
        tb_k_grad_sums(sums, dy + k * part.n, x + k * part.n, &part, mean);
        sum_dh += sums[0] * (double)scale[k];
        sum_dhx += sums[1] * (double)scale[k];
        params[2 * (first + k)] += sums[1] * rstd;
        params[2 * (first + k) + 1] += sums[0];
    }
    tb_k_plane plane = {mean, 0,
                        (float)(-rstd * rstd * rstd * sum_dhx / (double)n),
                        (float)(-rstd * sum_dh / (double)n)};
    for (size_t k = 0; k < parts; k++) {
        plane.p = (float)(rstd * (double)scale[k]);
        tb_k_plane_of(tb_op_f32_out(call) + row * n + k * part.n,
                      dy + k * part.n, x + k * part.n, &part, &plane);
    }
}

static void grad_run(const tb_call *call)
{
    const group_state *g = TB_OP_CONST_STATE(group_state, call);
    double *params = call->work;
    memset(params, 0, 2 * n_scales(g) * sizeof params[0]);
    for (size_t row = 0; g->s > 0 && row < g->n * g->groups; row++) {
        grad_group(call, row, params);
    }
    for (size_t i = 1; i < call->n_out; i++) {
        float *to = call->out[i].data;
        for (size_t k = 0; to != NULL && k < n_scales(g); k++) {
            to[k] = (float)params[2 * k + i - 1];
        }
    }
}

/* --- the table ------------------------------------------------------------ */

static const tb_attr_decl instance_attrs[] = {
    {"epsilon", TB_ATTR_FLOAT, false}};
static const tb_attr_decl group_attrs[] = {{"epsilon", TB_ATTR_FLOAT, false},
                                           {"num_groups", TB_ATTR_INT, true},
                                           {"stash_type", TB_ATTR_INT, false}};
static const tb_attr_decl group_attrs_18[] = {
    {"epsilon", TB_ATTR_FLOAT, false}, {"num_groups", TB_ATTR_INT, true}};
static const tb_attr_decl grad_attrs[] = {{"by_group", TB_ATTR_INT, true},
                                          {"num_groups", TB_ATTR_INT, false}};

#define GROUP_NORM(text, first, last, list)                                    \
    {                                                                          \
        .domain = TB_DOMAIN_ONNX, .name = text, .since = first, .until = last, \
        .in_min = 3, .in_max = 3, .out_min = 1, .out_max = 1, .attrs = list,   \
        .n_attrs = TB_COUNT(list), .trains = 6, .in_place = 1,                 \
        .types = TB_TYPES_F32, .n_saved = 2, .flops_each = 7, .infer = infer,  \
        .run = run, .backward = backward                                       \
    }

const tb_op tb_op_instance_norm =
    GROUP_NORM("InstanceNormalization", 6, TB_OPSET_ANY, instance_attrs);
const tb_op tb_op_group_norm_18 =
    GROUP_NORM("GroupNormalization", 18, 20, group_attrs_18);
const tb_op tb_op_group_norm =
    GROUP_NORM("GroupNormalization", 21, TB_OPSET_ANY, group_attrs);

const tb_op tb_op_group_norm_grad = {.domain = TB_DOMAIN_GRAD,
                                     .name = "GroupNormalizationGrad",
                                     .since = 1,
                                     .until = TB_OPSET_ANY,
                                     .in_min = 5,
                                     .in_max = 5,
                                     .out_min = 1,
                                     .out_max = 3,
                                     .attrs = grad_attrs,
                                     .n_attrs = TB_COUNT(grad_attrs),
                                     .in_place = 3,
                                     .types = TB_TYPES_F32,
                                     .flops_each = 9,
                                     .infer = grad_infer,
                                     .run = grad_run};
