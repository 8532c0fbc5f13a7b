/* core/model/ops/elements.c - GatherElements, of any type, with its gradient,
 * and OneHot: single elements picked and marked by indexes, which may come from
 * data. */
#include <string.h>

#include "model/ops/known.h"
#include "model/ops/op_priv.h"
#include "tensor/strided.h"

/* --- GatherElements ------------------------------------------------------- */

typedef struct elements_state {
    size_t rank;
    size_t axis;
    size_t n;                    /* extent of x along the axis */
    size_t dim[TB_RANK_MAX];     /* of the indexes, and of y */
    ptrdiff_t step[TB_RANK_MAX]; /* strides of x */
} elements_state;

/* Fills the state; index may not reach over x but along the axis. */
static tb_rc plan(tb_call *call, const tb_shape *x, const tb_tensor *index,
                  tb_err *err)
{
    elements_state *s = TB_OP_STATE(elements_state, call);
    const tb_shape *y = &index->shape;
    size_t axis = 0;
    tb_rc rc = tb_op_axis(&axis, tb_node_int(call->node, "axis", 0), x->rank,
                          false, err);
    if (rc == TB_OK) {
        rc = tb_known_index(index, x->dim[axis], err);
    }
    bool fits = y->rank == x->rank;
    for (size_t d = 0; fits && d < x->rank; d++) {
        fits = d == axis || y->dim[d] <= x->dim[d];
    }
    if (rc == TB_OK && !fits) {
        rc = tb_fail(err, TB_E_MISMATCH, "indexes of another shape");
    }
    if (rc != TB_OK) {
        return rc;
    }
    *s = (elements_state){.rank = x->rank, .axis = axis, .n = x->dim[axis]};
    memcpy(s->dim, y->dim, sizeof s->dim);
    tb_strided_dense(s->step, x);
    return TB_OK;
}

/* Where in x element i of y comes from; SIZE_MAX after a fault. place[] counts
 * along. */
static size_t find(size_t place[TB_RANK_MAX], const tb_call *call,
                   const tb_tensor *index, size_t i)
{
    const elements_state *s = TB_OP_CONST_STATE(elements_state, call);
    int64_t asked = tb_tensor_i64_at(index, i);
    int64_t at = asked < 0 ? asked + (int64_t)s->n : asked;
    size_t from = 0;
    for (size_t d = 0; d < s->rank; d++) {
        size_t k = d == s->axis ? (size_t)at : place[d];
        from += k * (size_t)s->step[d];
    }
    for (size_t d = s->rank; d-- > 0;) {
        if (++place[d] < s->dim[d]) {
            break;
        }
        place[d] = 0;
    }
    if (at < 0 || at >= (int64_t)s->n) {
        tb_op_fault(call, asked, s->n);
        return SIZE_MAX;
    }
    return from;
}

static tb_rc gather_infer(tb_call *call, tb_err *err)
{
    tb_rc rc = plan(call, &call->in[0].shape, &call->in[1], err);
    call->out[0] = tb_tensor_view(call->in[0].dtype, &call->in[1].shape, NULL);
    return rc;
}

/* y[i, j, k] = x[i, index[i, j, k], k], here along axis 1 */
static void gather_run(const tb_call *call)
{
    size_t bytes = tb_dtype_bytes(call->in[0].dtype);
    size_t n = tb_tensor_count(&call->out[0]);
    const uint8_t *x = call->in[0].data;
    uint8_t *y = call->out[0].data;
    size_t place[TB_RANK_MAX] = {0};
    for (size_t i = 0; i < n; i++) {
        size_t from = find(place, call, &call->in[1], i);
        if (from != SIZE_MAX) {
            memcpy(y + i * bytes, x + from * bytes, bytes);
        } else {
            memset(y + i * bytes, 0, bytes);
        }
    }
}

/* dx[i, index[i, j, k], k] += dy[i, j, k], in the order of dy */
static void gather_backward(tb_grad *g)
{
    const tb_value_id in[3] = {g->dy[0], g->node->in[1], g->node->in[0]};
    const tb_attr attr = TB_ATTR_I("axis", tb_node_int(g->node, "axis", 0));
    if (g->wants[0]) {
        g->dx[0] = tb_grad_emit(g, &(tb_node_spec){.domain = TB_DOMAIN_GRAD,
                                                   .op = "GatherElementsGrad",
                                                   .attrs = &attr,
                                                   .n_attrs = 1,
                                                   .in = in,
                                                   .n_in = 3});
    }
}

/* dy, index, x -> dx; the data of x is not read */
static tb_rc gather_grad_infer(tb_call *call, tb_err *err)
{
    const tb_shape *x = &call->in[2].shape;
    tb_rc rc = tb_op_need_f32(call, 1, err);
    if (rc == TB_OK) {
        rc = plan(call, x, &call->in[1], err);
    }
    if (rc == TB_OK &&
        !tb_shape_equal(&call->in[0].shape, &call->in[1].shape)) {
        rc = tb_fail(err, TB_E_MISMATCH, "gradient of another shape");
    }
    call->out[0] = tb_tensor_view(TB_F32, x, NULL);
    return rc;
}

static void gather_grad_run(const tb_call *call)
{
    const float *dy = tb_op_f32(call, 0);
    float *dx = tb_op_f32_out(call);
    size_t n = tb_tensor_count(&call->in[0]);
    size_t place[TB_RANK_MAX] = {0};
    if (tb_tensor_count(&call->out[0]) == 0) {
        return;
    }
    memset(dx, 0, tb_tensor_bytes(&call->out[0]));
    for (size_t i = 0; i < n; i++) {
        size_t to = find(place, call, &call->in[1], i);
        if (to != SIZE_MAX) {
            dx[to] = dx[to] + dy[i];
        }
    }
}

/* --- OneHot --------------------------------------------------------------- */

typedef struct hot_state {
    size_t n_outer; /* y is [n_outer, depth, n_inner] */
    size_t depth;
    size_t n_inner;
} hot_state;

static tb_rc hot_infer(tb_call *call, tb_err *err)
{
    hot_state *s = TB_OP_STATE(hot_state, call);
    const tb_shape *x = &call->in[0].shape;
    const tb_tensor *depth = &call->in[1];
    tb_shape y = {0};
    size_t axis = 0;
    if (tb_tensor_count(depth) != 1 || tb_tensor_count(&call->in[2]) != 2) {
        return tb_fail(err, TB_E_MISMATCH,
                       "depth must be one number, and the values two");
    }
    if (depth->data == NULL) {
        return tb_fail(err, TB_E_UNSUPPORTED,
                       "the depth is computed from data");
    }
    int64_t n = tb_tensor_i64_at(depth, 0);
    if (n < 0 || x->rank == TB_RANK_MAX) {
        return tb_fail(err, TB_E_LIMIT, "%lld classes, %zu dimensions",
                       (long long)n, x->rank + 1);
    }
    tb_rc rc = tb_op_axis(&axis, tb_node_int(call->node, "axis", -1),
                          x->rank + 1, false, err);
    if (rc != TB_OK) {
        return rc;
    }
    for (size_t d = 0; d <= x->rank; d++) {
        y.dim[y.rank++] = d == axis ? (size_t)n : x->dim[d - (d > axis)];
    }
    *s = (hot_state){.n_outer = tb_shape_product(x, 0, axis),
                     .depth = (size_t)n,
                     .n_inner = tb_shape_product(x, axis, x->rank)};
    call->out[0] = tb_tensor_view(call->in[2].dtype, &y, NULL);
    return TB_OK;
}

/* y[o, k, i] = values[1] where x[o, i] is k (or k - depth), else values[0] */
static void hot_run(const tb_call *call)
{
    const hot_state *s = TB_OP_CONST_STATE(hot_state, call);
    size_t bytes = tb_dtype_bytes(call->out[0].dtype);
    const uint8_t *values = call->in[2].data;
    uint8_t *y = call->out[0].data;
    tb_strided_fill(y, bytes, tb_tensor_count(&call->out[0]), values);
    for (size_t o = 0; o < s->n_outer; o++) {
        for (size_t i = 0; i < s->n_inner; i++) {
            int64_t at = tb_tensor_i64_at(&call->in[0], o * s->n_inner + i);
            at = at < 0 ? at + (int64_t)s->depth : at;
            if (at >= 0 && at < (int64_t)s->depth) {
                size_t to = (o * s->depth + (size_t)at) * s->n_inner + i;
                memcpy(y + to * bytes, values + bytes, bytes);
            }
        }
    }
}

/* --- the table ------------------------------------------------------------ */

static const tb_attr_decl attrs[] = {{"axis", TB_ATTR_INT, false}};

const tb_op tb_op_gather_elements = {.domain = TB_DOMAIN_ONNX,
                                     .name = "GatherElements",
                                     .since = 11,
                                     .until = TB_OPSET_ANY,
                                     .in_min = 2,
                                     .in_max = 2,
                                     .out_min = 1,
                                     .out_max = 1,
                                     .attrs = attrs,
                                     .n_attrs = TB_COUNT(attrs),
                                     .types = TB_TYPES_ANY,
                                     .infer = gather_infer,
                                     .run = gather_run,
                                     .backward = gather_backward};

const tb_op tb_op_gather_elements_grad = {.domain = TB_DOMAIN_GRAD,
                                          .name = "GatherElementsGrad",
                                          .since = 1,
                                          .until = TB_OPSET_ANY,
                                          .in_min = 3,
                                          .in_max = 3,
                                          .out_min = 1,
                                          .out_max = 1,
                                          .attrs = attrs,
                                          .n_attrs = TB_COUNT(attrs),
                                          .shape_only = 4,
                                          .infer = gather_grad_infer,
                                          .run = gather_grad_run};

const tb_op tb_op_one_hot = {.domain = TB_DOMAIN_ONNX,
                             .name = "OneHot",
                             .since = 9,
                             .until = TB_OPSET_ANY,
                             .in_min = 3,
                             .in_max = 3,
                             .out_min = 1,
                             .out_max = 1,
                             .attrs = attrs,
                             .n_attrs = TB_COUNT(attrs),
                             .types = TB_TYPES_NUMBER,
                             .infer = hot_infer,
                             .run = hot_run};
