/* core/model/ops/select.c - Shape, Gather, Concat: how exporters make shapes,
 * folded away when the model is bound. For any element type; without a
 * gradient so far. */
#include <string.h>

#include "base/mem.h"
#include "model/ops/op_priv.h"

/* --- Shape ---------------------------------------------------------------- */

typedef struct shape_state {
    size_t n;
    int64_t dim[TB_RANK_MAX];
} shape_state;

/* A bound of [start, end), counted from the end when below 0, cut to rank. */
static size_t bound(int64_t at, size_t rank)
{
    int64_t r = (int64_t)rank;
    at = at < 0 ? (at < -r ? 0 : at + r) : at;
    return (size_t)(at > r ? r : at);
}

static tb_rc shape_infer(tb_call *call, tb_err *err)
{
    shape_state *s = TB_OP_STATE(shape_state, call);
    const tb_shape *x = &call->in[0].shape;
    size_t from = bound(tb_node_int(call->node, "start", 0), x->rank);
    size_t to = bound(tb_node_int(call->node, "end", INT64_MAX), x->rank);
    (void)err;
    s->n = from < to ? to - from : 0;
    for (size_t i = 0; i < s->n; i++) {
        s->dim[i] = (int64_t)x->dim[from + i];
    }
    call->out[0] = tb_tensor_view(TB_I64, &TB_SHAPE(s->n), NULL);
    return TB_OK;
}

/* y = the extents of x */
static void shape_run(const tb_call *call)
{
    const shape_state *s = TB_OP_CONST_STATE(shape_state, call);
    memcpy(call->out[0].data, s->dim, s->n * sizeof s->dim[0]);
}

/* --- Gather --------------------------------------------------------------- */

typedef struct gather_state {
    size_t n_outer; /* x is [n_outer, n, bytes] */
    size_t n;
    size_t bytes;
} gather_state;

/* Constant indexes are looked at now; run could not refuse them. */
static tb_rc check_indexes(const tb_tensor *index, size_t n, tb_err *err)
{
    if ((index->dtype != TB_I64 && index->dtype != TB_I32) ||
        index->data == NULL) {
        return tb_fail(err, TB_E_UNSUPPORTED,
                       "the indexes must be constant integers");
    }
    for (size_t i = 0; i < tb_tensor_count(index); i++) {
        int64_t at = tb_tensor_i64_at(index, i);
        if (at < -(int64_t)n || at >= (int64_t)n) {
            return tb_fail(err, TB_E_MISMATCH, "index %lld of %zu",
                           (long long)at, n);
        }
    }
    return TB_OK;
}

static tb_rc gather_infer(tb_call *call, tb_err *err)
{
    gather_state *s = TB_OP_STATE(gather_state, call);
    const tb_shape *x = &call->in[0].shape;
    const tb_shape *index = &call->in[1].shape;
    tb_shape y = {0};
    size_t axis = 0;
    tb_rc rc = tb_op_axis(&axis, tb_node_int(call->node, "axis", 0), x->rank,
                          false, err);
    if (rc == TB_OK) {
        rc = check_indexes(&call->in[1], x->dim[axis], err);
    }
    if (rc == TB_OK && x->rank - 1 + index->rank > TB_RANK_MAX) {
        rc = tb_fail(err, TB_E_LIMIT, "over %d dimensions", TB_RANK_MAX);
    }
    if (rc != TB_OK) {
        return rc;
    }
    for (size_t i = 0; i < x->rank; i++) {
        if (i != axis) {
            y.dim[y.rank++] = x->dim[i];
            continue;
        }
        for (size_t k = 0; k < index->rank; k++) {
            y.dim[y.rank++] = index->dim[k];
        }
    }
    s->n_outer = tb_shape_product(x, 0, axis);
    s->n = x->dim[axis];
    s->bytes = tb_shape_product(x, axis + 1, x->rank) *
               tb_dtype_bytes(call->in[0].dtype);
    call->out[0] = tb_tensor_view(call->in[0].dtype, &y, NULL);
    return TB_OK;
}

/* y[o, i, :] = x[o, index[i], :] */
static void gather_run(const tb_call *call)
{
    const gather_state *s = TB_OP_CONST_STATE(gather_state, call);
    const uint8_t *x = call->in[0].data;
    uint8_t *y = call->out[0].data;
    size_t n_index = tb_tensor_count(&call->in[1]);
    for (size_t o = 0; o < s->n_outer; o++) {
        for (size_t i = 0; i < n_index; i++) {
            int64_t at = tb_tensor_i64_at(&call->in[1], i);
            size_t from = (size_t)(at < 0 ? at + (int64_t)s->n : at);
            memcpy(y, x + (o * s->n + from) * s->bytes, s->bytes);
            y += s->bytes;
        }
    }
}

/* --- Concat --------------------------------------------------------------- */

typedef struct concat_state {
    size_t n_outer;
    size_t axis;
} concat_state;

/* Whether input i has the first one's dtype and, but for the axis, shape. */
static tb_rc check_part(const tb_call *call, size_t i, size_t axis, tb_err *err)
{
    tb_shape a = call->in[0].shape;
    tb_shape b = call->in[i].shape;
    if (b.rank == a.rank) {
        b.dim[axis] = a.dim[axis];
    }
    if (call->in[i].dtype != call->in[0].dtype || !tb_shape_equal(&a, &b)) {
        return tb_fail(err, TB_E_MISMATCH, "input %zu does not fit the first",
                       i);
    }
    return TB_OK;
}

static tb_rc concat_infer(tb_call *call, tb_err *err)
{
    concat_state *s = TB_OP_STATE(concat_state, call);
    tb_shape y = call->in[0].shape;
    size_t axis = 0;
    tb_rc rc = tb_op_axis(&axis, tb_node_int(call->node, "axis", 0), y.rank,
                          false, err);
    for (size_t i = 1; rc == TB_OK && i < call->n_in; i++) {
        rc = check_part(call, i, axis, err);
        if (rc == TB_OK && tb_mem_add(&y.dim[axis], y.dim[axis],
                                      call->in[i].shape.dim[axis]) != 0) {
            rc = tb_fail(err, TB_E_LIMIT, "too many elements");
        }
    }
    if (rc == TB_OK) {
        s->axis = axis;
        s->n_outer = tb_shape_product(&y, 0, axis);
        call->out[0] = tb_tensor_view(call->in[0].dtype, &y, NULL);
    }
    return rc;
}

/* y = the inputs, one behind the other along the axis */
static void concat_run(const tb_call *call)
{
    const concat_state *s = TB_OP_CONST_STATE(concat_state, call);
    uint8_t *y = call->out[0].data;
    for (size_t o = 0; o < s->n_outer; o++) {
        for (size_t i = 0; i < call->n_in; i++) {
            size_t bytes = tb_tensor_bytes(&call->in[i]) / s->n_outer;
            const uint8_t *x = call->in[i].data;
            if (bytes > 0) {
                memcpy(y, x + o * bytes, bytes);
            }
            y += bytes;
        }
    }
}

/* --- the table ------------------------------------------------------------ */

static const tb_attr_decl shape_attrs[] = {{"start", TB_ATTR_INT, false},
                                           {"end", TB_ATTR_INT, false}};
static const tb_attr_decl axis_attr[] = {{"axis", TB_ATTR_INT, false}};
static const tb_attr_decl needed_axis[] = {{"axis", TB_ATTR_INT, true}};

#define SELECT(text, first, min, max, decls)                                   \
    .domain = TB_DOMAIN_ONNX, .name = text, .since = first,                    \
    .until = TB_OPSET_ANY, .in_min = min, .in_max = max, .out_min = 1,         \
    .out_max = 1, .attrs = decls, .n_attrs = TB_COUNT(decls)

const tb_op tb_op_shape = {SELECT("Shape", 1, 1, 1, shape_attrs),
                           .shape_only = 1, .infer = shape_infer,
                           .run = shape_run};
const tb_op tb_op_gather = {SELECT("Gather", 1, 2, 2, axis_attr),
                            .infer = gather_infer, .run = gather_run};
const tb_op tb_op_concat = {SELECT("Concat", 4, 1, 32, needed_axis),
                            .infer = concat_infer, .run = concat_run};
