/* core/model/ops/generate.c - tensors from shapes and numbers: Shape, Size,
 * ConstantOfShape, Range. With them exporters say how shapes follow the batch;
 * all are known once the graph is bound, and folded away. */
#include <math.h>
#include <string.h>

#include "model/ops/known.h"
#include "model/ops/op_priv.h"
#include "tensor/strided.h"

/* --- Shape, Size ---------------------------------------------------------- */

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

static tb_rc size_infer(tb_call *call, tb_err *err)
{
    shape_state *s = TB_OP_STATE(shape_state, call);
    (void)err;
    s->n = 1;
    s->dim[0] = (int64_t)tb_tensor_count(&call->in[0]);
    call->out[0] = tb_tensor_view(TB_I64, &(tb_shape){0}, NULL);
    return TB_OK;
}

/* y = the extents of x, or their product */
static void shape_run(const tb_call *call)
{
    const shape_state *s = TB_OP_CONST_STATE(shape_state, call);
    memcpy(call->out[0].data, s->dim, s->n * sizeof s->dim[0]);
}

/* --- ConstantOfShape ------------------------------------------------------ */

typedef struct fill_state {
    uint64_t value; /* its first bytes are the element */
} fill_state;

static tb_rc fill_infer(tb_call *call, tb_err *err)
{
    fill_state *s = TB_OP_STATE(fill_state, call);
    const tb_attr *attr = tb_node_attr(call->node, "value");
    tb_dtype dtype = attr != NULL ? attr->t.dtype : TB_F32;
    tb_known list;
    tb_shape y = {0};
    tb_rc rc = tb_known_read(&list, call, "input", 0, err);
    if (rc == TB_OK) {
        rc = tb_known_shape(&y, &list, err);
    }
    if (rc == TB_OK && attr != NULL && tb_tensor_count(&attr->t) != 1) {
        rc = tb_fail(err, TB_E_MALFORMED, "a value of %zu elements",
                     tb_tensor_count(&attr->t));
    }
    if (rc != TB_OK) {
        return rc;
    }
    s->value = 0;
    if (attr != NULL) {
        memcpy(&s->value, attr->t.data, tb_dtype_bytes(dtype));
    }
    call->out[0] = tb_tensor_view(dtype, &y, NULL);
    return TB_OK;
}

/* y[i] = value */
static void fill_run(const tb_call *call)
{
    const fill_state *s = TB_OP_CONST_STATE(fill_state, call);
    tb_strided_fill(call->out[0].data, tb_dtype_bytes(call->out[0].dtype),
                    tb_tensor_count(&call->out[0]), &s->value);
}

/* --- Range ---------------------------------------------------------------- */

/* max(ceil((limit - start) / delta), 0) in whole numbers; false when there are
 * too many. */
static bool whole_steps(size_t *out, int64_t start, int64_t limit,
                        int64_t delta)
{
    bool up = delta > 0;
    uint64_t size = up ? (uint64_t)delta : 0 - (uint64_t)delta;
    uint64_t span = up ? (uint64_t)limit - (uint64_t)start
                       : (uint64_t)start - (uint64_t)limit;
    bool some = up ? limit > start : limit < start;
    uint64_t n = some ? (span - 1) / size + 1 : 0;
    *out = (size_t)n;
    return n <= SIZE_MAX / 2;
}

static tb_rc range_infer(tb_call *call, tb_err *err)
{
    const tb_tensor *in = call->in;
    size_t n = 0;
    for (size_t i = 0; i < 3; i++) {
        if (in[i].dtype != in[0].dtype || tb_tensor_count(&in[i]) != 1) {
            return tb_fail(err, TB_E_MISMATCH,
                           "input %zu is no number of the type of the first",
                           i);
        }
        if (in[i].data == NULL) {
            return tb_fail(err, TB_E_UNSUPPORTED,
                           "input %zu is computed from data", i);
        }
    }
    double delta = tb_tensor_f64_at(&in[2], 0);
    bool fits = delta != 0 && isfinite(delta);
    if (fits && tb_dtype_in(in[0].dtype, TB_TYPES_FLOAT)) {
        double steps =
            ceil((tb_tensor_f64_at(&in[1], 0) - tb_tensor_f64_at(&in[0], 0)) /
                 delta);
        fits = steps < 0x1p62; /* no NaN either */
        n = fits && steps > 0 ? (size_t)steps : 0;
    } else if (fits) {
        fits = whole_steps(&n, tb_tensor_i64_at(&in[0], 0),
                           tb_tensor_i64_at(&in[1], 0),
                           tb_tensor_i64_at(&in[2], 0));
    }
    if (!fits) {
        return tb_fail(err, TB_E_MALFORMED, "no range in steps of %g", delta);
    }
    call->out[0] = tb_tensor_view(in[0].dtype, &TB_SHAPE(n), NULL);
    return TB_OK;
}

/* y[i] = start + i delta */
static void range_run(const tb_call *call)
{
    const tb_tensor *y = &call->out[0];
    size_t n = tb_tensor_count(y);
    if (tb_dtype_in(y->dtype, TB_TYPES_FLOAT)) {
        double start = tb_tensor_f64_at(&call->in[0], 0);
        double delta = tb_tensor_f64_at(&call->in[2], 0);
        for (size_t i = 0; i < n; i++) {
            tb_tensor_put_f64(y, i, start + (double)i * delta);
        }
        return;
    }
    uint64_t at = (uint64_t)tb_tensor_i64_at(&call->in[0], 0);
    uint64_t delta = (uint64_t)tb_tensor_i64_at(&call->in[2], 0);
    for (size_t i = 0; i < n; i++) {
        tb_tensor_put_i64(y, i, (int64_t)at);
        at += delta;
    }
}

/* --- the table ------------------------------------------------------------ */

static const tb_attr_decl shape_attrs[] = {{"start", TB_ATTR_INT, false},
                                           {"end", TB_ATTR_INT, false}};
static const tb_attr_decl value_attr[] = {{"value", TB_ATTR_TENSOR, false}};

#define GENERATE(text, first, n, mask)                                         \
    .domain = TB_DOMAIN_ONNX, .name = text, .since = first,                    \
    .until = TB_OPSET_ANY, .in_min = n, .in_max = n, .out_min = 1,             \
    .out_max = 1, .types = mask

const tb_op tb_op_shape = {GENERATE("Shape", 1, 1, TB_TYPES_ANY),
                           .attrs = shape_attrs,
                           .n_attrs = TB_COUNT(shape_attrs),
                           .shape_only = 1,
                           .infer = shape_infer,
                           .run = shape_run};
const tb_op tb_op_size = {GENERATE("Size", 1, 1, TB_TYPES_ANY), .shape_only = 1,
                          .infer = size_infer, .run = shape_run};
const tb_op tb_op_constant_of_shape = {
    GENERATE("ConstantOfShape", 9, 1, TB_TYPE_BIT(TB_I64)), .attrs = value_attr,
    .n_attrs = TB_COUNT(value_attr), .infer = fill_infer, .run = fill_run};
const tb_op tb_op_range = {GENERATE("Range", 11, 3, TB_TYPES_NUMBER),
                           .infer = range_infer, .run = range_run};
