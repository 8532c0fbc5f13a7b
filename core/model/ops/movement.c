/* core/model/ops/movement.c - operators that only move data: Identity, Flatten,
 * Reshape, Squeeze, Unsqueeze, Transpose. All but Transpose are views. */
#include <string.h>

#include "model/ops/op_priv.h"

/* --- views ---------------------------------------------------------------- */

/* The output has the input's elements in another shape. */
static tb_rc view_as(tb_call *call, const tb_shape *shape, tb_err *err)
{
    size_t n = 0;
    tb_rc rc = tb_shape_count(&n, shape, err);
    if (rc == TB_OK && n != tb_tensor_count(&call->in[0])) {
        char a[TB_SHAPE_TEXT_BYTES];
        char b[TB_SHAPE_TEXT_BYTES];
        rc = tb_fail(err, TB_E_MISMATCH, "%s has not as many elements as %s",
                     tb_shape_text(shape, b),
                     tb_shape_text(&call->in[0].shape, a));
    }
    call->view_of = 0;
    call->out[0] = tb_tensor_view(call->in[0].dtype, shape, NULL);
    return rc;
}

static tb_rc identity_infer(tb_call *call, tb_err *err)
{
    return view_as(call, &call->in[0].shape, err);
}

static tb_rc flatten_infer(tb_call *call, tb_err *err)
{
    const tb_shape *x = &call->in[0].shape;
    size_t axis = 0;
    tb_rc rc = tb_op_axis(&axis, tb_node_int(call->node, "axis", 1), x->rank,
                          true, err);
    if (rc != TB_OK) {
        return rc;
    }
    return view_as(call,
                   &TB_SHAPE(tb_shape_product(x, 0, axis),
                             tb_shape_product(x, axis, x->rank)),
                   err);
}

/* The extents a Reshape asks for: 0 copies the input's (unless allowzero), one
 * -1 takes what is left. */
static tb_rc wanted_shape(tb_shape *out, const tb_call *call, tb_err *err)
{
    const tb_tensor *want = &call->in[1];
    const tb_shape *x = &call->in[0].shape;
    bool zeros = tb_node_int(call->node, "allowzero", 0) != 0;
    int64_t dim[TB_RANK_MAX];
    size_t open = TB_RANK_MAX;
    tb_shape shape = {.rank = tb_tensor_count(want)};
    for (size_t i = 0; i < shape.rank; i++) {
        dim[i] = tb_tensor_i64_at(want, i);
        if (dim[i] == 0 && !zeros) {
            if (i >= x->rank) {
                return tb_fail(err, TB_E_MISMATCH,
                               "dimension %zu is to be copied, but the input "
                               "has %zu",
                               i, x->rank);
            }
            dim[i] = (int64_t)x->dim[i];
        } else if (dim[i] == -1 && open == TB_RANK_MAX) {
            open = i;
            dim[i] = 1;
        }
    }
    tb_rc rc = tb_shape_from(&shape, dim, shape.rank, err);
    size_t n = 0;
    if (rc == TB_OK) {
        rc = tb_shape_count(&n, &shape, err);
    }
    if (rc == TB_OK && open < TB_RANK_MAX) {
        shape.dim[open] = n > 0 ? tb_tensor_count(&call->in[0]) / n : 0;
    }
    *out = shape;
    return rc;
}

static tb_rc reshape_infer(tb_call *call, tb_err *err)
{
    const tb_tensor *want = &call->in[1];
    tb_shape shape;
    if (want->dtype != TB_I64 || want->shape.rank != 1 ||
        want->shape.dim[0] > TB_RANK_MAX) {
        return tb_fail(err, TB_E_MISMATCH,
                       "the shape must be at most %d numbers of i64",
                       TB_RANK_MAX);
    }
    if (want->data == NULL) {
        return tb_fail(err, TB_E_UNSUPPORTED,
                       "the shape is computed from data; export the model "
                       "with a constant one");
    }
    tb_rc rc = wanted_shape(&shape, call, err);
    return rc == TB_OK ? view_as(call, &shape, err) : rc;
}

/* dy, x -> dy in the shape of x, whose data is not read */
static tb_rc reshape_like_infer(tb_call *call, tb_err *err)
{
    return view_as(call, &call->in[1].shape, err);
}

/* --- Squeeze, Unsqueeze --------------------------------------------------- */

/* The axes attribute (before opset 13) or input 1, as marks over `rank`
 * dimensions. *given: whether there are any. */
static tb_rc read_axes(bool marked[TB_RANK_MAX], bool *given,
                       const tb_call *call, size_t rank, tb_err *err)
{
    const tb_attr *attr = tb_node_attr(call->node, "axes");
    const tb_tensor *in = tb_op_has(call, 1) ? &call->in[1] : NULL;
    *given = attr != NULL || in != NULL;
    if (in != NULL && (in->dtype != TB_I64 || in->data == NULL)) {
        return tb_fail(err, TB_E_UNSUPPORTED,
                       "the axes must be constant numbers of i64");
    }
    size_t n = in != NULL ? tb_tensor_count(in) : *given ? attr->n : 0;
    for (size_t i = 0; i < n; i++) {
        size_t axis = 0;
        tb_rc rc = tb_op_axis(
            &axis, in != NULL ? tb_tensor_i64_at(in, i) : attr->ints[i], rank,
            false, err);
        if (rc == TB_OK && marked[axis]) {
            rc = tb_fail(err, TB_E_MALFORMED, "axis %zu twice", axis);
        }
        if (rc != TB_OK) {
            return rc;
        }
        marked[axis] = true;
    }
    return TB_OK;
}

static size_t n_axes(const tb_call *call)
{
    const tb_attr *attr = tb_node_attr(call->node, "axes");
    return tb_op_has(call, 1) ? tb_tensor_count(&call->in[1])
           : attr != NULL     ? attr->n
                              : 0;
}

/* y has an extent of 1 at each axis, and those of x elsewhere. */
static tb_rc unsqueeze_infer(tb_call *call, tb_err *err)
{
    const tb_shape *x = &call->in[0].shape;
    bool marked[TB_RANK_MAX] = {false};
    bool given = false;
    size_t from = 0;
    tb_shape y = {.rank = x->rank};
    if (n_axes(call) > TB_RANK_MAX - x->rank) {
        return tb_fail(err, TB_E_LIMIT, "over %d dimensions", TB_RANK_MAX);
    }
    y.rank += n_axes(call);
    tb_rc rc = read_axes(marked, &given, call, y.rank, err);
    if (rc == TB_OK && !given) {
        rc = tb_fail(err, TB_E_MALFORMED, "no axes");
    }
    for (size_t i = 0; rc == TB_OK && i < y.rank; i++) {
        y.dim[i] = marked[i] ? 1 : x->dim[from++];
    }
    return rc == TB_OK ? view_as(call, &y, err) : rc;
}

/* x without the axes, or without all extents of 1. */
static tb_rc squeeze_infer(tb_call *call, tb_err *err)
{
    const tb_shape *x = &call->in[0].shape;
    bool marked[TB_RANK_MAX] = {false};
    bool given = false;
    tb_shape y = {0};
    tb_rc rc = read_axes(marked, &given, call, x->rank, err);
    if (rc != TB_OK) {
        return rc;
    }
    for (size_t i = 0; i < x->rank; i++) {
        if (given ? !marked[i] : x->dim[i] != 1) {
            y.dim[y.rank++] = x->dim[i];
        }
    }
    return view_as(call, &y, err); /* refuses an axis that is not 1 */
}

/* dx = dy in the shape of x */
static void view_backward(tb_grad *g)
{
    if (g->wants[0]) {
        g->dx[0] = tb_grad_binary(g, TB_DOMAIN_GRAD, "ReshapeLike", g->dy[0],
                                  g->node->in[0]);
    }
}

/* --- Transpose ------------------------------------------------------------ */

typedef struct transpose_state {
    size_t rank;
    size_t dim[TB_RANK_MAX];    /* of the output */
    size_t stride[TB_RANK_MAX]; /* of the input, in the output's order */
    size_t n_outer;             /* product of all but the last dimension */
} transpose_state;

/* perm [rank] from the attribute, or reversed without one. */
static tb_rc read_perm(size_t perm[TB_RANK_MAX], const tb_node *node,
                       size_t rank, tb_err *err)
{
    const tb_attr *attr = tb_node_attr(node, "perm");
    bool seen[TB_RANK_MAX] = {false};
    if (attr != NULL && attr->n != rank) {
        return tb_fail(err, TB_E_MISMATCH, "perm of %zu for %zu dimensions",
                       attr->n, rank);
    }
    for (size_t i = 0; i < rank; i++) {
        int64_t p = attr != NULL ? attr->ints[i] : (int64_t)(rank - 1 - i);
        if (p < 0 || p >= (int64_t)rank || seen[p]) {
            return tb_fail(err, TB_E_MALFORMED, "perm[%zu] is %lld", i,
                           (long long)p);
        }
        seen[p] = true;
        perm[i] = (size_t)p;
    }
    return TB_OK;
}

static tb_rc transpose_infer(tb_call *call, tb_err *err)
{
    transpose_state *state = TB_OP_STATE(transpose_state, call);
    const tb_shape *x = &call->in[0].shape;
    size_t perm[TB_RANK_MAX];
    size_t stride[TB_RANK_MAX];
    tb_shape y = {.rank = x->rank};
    tb_rc rc = read_perm(perm, call->node, x->rank, err);
    if (rc != TB_OK) {
        return rc;
    }
    *state = (transpose_state){.rank = x->rank, .n_outer = 1};
    tb_shape_strides(stride, x, x);
    bool same = true; /* as long as only extents of 1 move */
    size_t last = 0;
    for (size_t i = 0; i < x->rank; i++) {
        y.dim[i] = x->dim[perm[i]];
        state->dim[i] = y.dim[i];
        state->stride[i] = stride[perm[i]];
        if (y.dim[i] != 1) {
            same = same && perm[i] >= last;
            last = perm[i];
        }
        state->n_outer *= i + 1 < x->rank ? y.dim[i] : 1;
    }
    call->view_of = same ? 0 : -1;
    call->out[0] = tb_tensor_view(call->in[0].dtype, &y, NULL);
    return TB_OK;
}

#define COPY_STRIDED(type)                                                     \
    do {                                                                       \
        const type *from = (const type *)call->in[0].data + at;                \
        type *to = (type *)call->out[0].data + o * n;                          \
        for (size_t i = 0; i < n; i++) {                                       \
            to[i] = from[i * step];                                            \
        }                                                                      \
    } while (0)

/* y[i0, i1, ...] = x[i at perm] */
static void transpose_run(const tb_call *call)
{
    const transpose_state *s = TB_OP_CONST_STATE(transpose_state, call);
    if (call->view_of == 0 || s->rank == 0) {
        tb_op_run_view(call);
        return;
    }
    size_t n = s->dim[s->rank - 1];
    size_t step = s->stride[s->rank - 1];
    size_t bytes = tb_dtype_bytes(call->in[0].dtype);
    size_t index[TB_RANK_MAX] = {0};
    size_t at = 0;
    for (size_t o = 0; o < s->n_outer; o++) {
        if (bytes == 4) {
            COPY_STRIDED(uint32_t);
        } else if (bytes == 8) {
            COPY_STRIDED(uint64_t);
        } else {
            COPY_STRIDED(uint8_t);
        }
        for (size_t d = s->rank - 1; d-- > 0;) {
            at += s->stride[d];
            if (++index[d] < s->dim[d]) {
                break;
            }
            at -= s->stride[d] * s->dim[d];
            index[d] = 0;
        }
    }
}

/* dx = dy moved back: the inverse permutation */
static void transpose_backward(tb_grad *g)
{
    const tb_attr *perm = tb_node_attr(g->node, "perm");
    int64_t back[TB_RANK_MAX] = {0};
    tb_attr attr = {.name = "perm", .kind = TB_ATTR_INTS, .ints = back};
    if (perm != NULL) {
        attr.n = perm->n < TB_RANK_MAX ? perm->n : TB_RANK_MAX;
        for (size_t i = 0; i < attr.n; i++) {
            if (perm->ints[i] >= 0 && perm->ints[i] < (int64_t)attr.n) {
                back[perm->ints[i]] = (int64_t)i;
            }
        }
    }
    g->dx[0] = tb_grad_emit(g, &(tb_node_spec){.op = "Transpose",
                                               .attrs = &attr,
                                               .n_attrs = perm != NULL,
                                               .in = g->dy,
                                               .n_in = 1});
}

/* --- the table ------------------------------------------------------------ */

static const tb_attr_decl axis_attr[] = {{"axis", TB_ATTR_INT, false}};
static const tb_attr_decl zero_attr[] = {{"allowzero", TB_ATTR_INT, false}};
static const tb_attr_decl axes_attr[] = {{"axes", TB_ATTR_INTS, false}};
static const tb_attr_decl perm_attr[] = {{"perm", TB_ATTR_INTS, false}};

#define MOVEMENT(dom, text, first, n)                                          \
    .domain = dom, .name = text, .since = first, .until = TB_OPSET_ANY,        \
    .in_min = n, .in_max = n, .out_min = 1, .out_max = 1

const tb_op tb_op_identity = {MOVEMENT(TB_DOMAIN_ONNX, "Identity", 1, 1),
                              .infer = identity_infer, .run = tb_op_run_view,
                              .backward = view_backward};

const tb_op tb_op_flatten = {MOVEMENT(TB_DOMAIN_ONNX, "Flatten", 1, 1),
                             .attrs = axis_attr,
                             .n_attrs = TB_COUNT(axis_attr),
                             .infer = flatten_infer,
                             .run = tb_op_run_view,
                             .backward = view_backward};

const tb_op tb_op_reshape = {MOVEMENT(TB_DOMAIN_ONNX, "Reshape", 5, 2),
                             .attrs = zero_attr,
                             .n_attrs = TB_COUNT(zero_attr),
                             .infer = reshape_infer,
                             .run = tb_op_run_view,
                             .backward = view_backward};

const tb_op tb_op_reshape_like = {MOVEMENT(TB_DOMAIN_GRAD, "ReshapeLike", 1, 2),
                                  .shape_only = 2, .infer = reshape_like_infer,
                                  .run = tb_op_run_view};

const tb_op tb_op_transpose = {MOVEMENT(TB_DOMAIN_ONNX, "Transpose", 1, 1),
                               .attrs = perm_attr,
                               .n_attrs = TB_COUNT(perm_attr),
                               .infer = transpose_infer,
                               .run = transpose_run,
                               .backward = transpose_backward};

#define AXES(text, first, last, max)                                           \
    .domain = TB_DOMAIN_ONNX, .name = text, .since = first, .until = last,     \
    .in_min = 1, .in_max = max, .out_min = 1, .out_max = 1,                    \
    .attrs = axes_attr, .n_attrs = max == 1, .run = tb_op_run_view,            \
    .backward = view_backward

const tb_op tb_op_squeeze = {AXES("Squeeze", 13, TB_OPSET_ANY, 2),
                             .infer = squeeze_infer};
const tb_op tb_op_squeeze_1 = {AXES("Squeeze", 1, 12, 1),
                               .infer = squeeze_infer};
const tb_op tb_op_unsqueeze = {AXES("Unsqueeze", 13, TB_OPSET_ANY, 2),
                               .infer = unsqueeze_infer};
const tb_op tb_op_unsqueeze_1 = {AXES("Unsqueeze", 1, 12, 1),
                                 .infer = unsqueeze_infer};
