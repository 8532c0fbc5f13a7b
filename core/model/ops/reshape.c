/* core/model/ops/reshape.c - the same elements in another shape: Identity,
 * Flatten, Reshape, Squeeze, Unsqueeze. All are views, of any element type. */
#include "model/ops/known.h"
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
        bool rows = n > 0 && tb_tensor_count(&call->in[0]) % n == 0;
        rc = tb_fail(err, TB_E_MISMATCH, "%s has not as many elements as %s%s",
                     tb_shape_text(shape, b),
                     tb_shape_text(&call->in[0].shape, a),
                     rows ? ": was the number of rows fixed in the export? Let "
                            "it open (dynamic_axes)"
                          : "");
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
static tb_rc wanted_shape(tb_shape *out, const tb_call *call,
                          const tb_known *want, tb_err *err)
{
    const tb_shape *x = &call->in[0].shape;
    bool zeros = tb_node_int(call->node, "allowzero", 0) != 0;
    int64_t dim[TB_RANK_MAX] = {0};
    size_t open = TB_RANK_MAX;
    for (size_t i = 0; i < want->n && i < TB_RANK_MAX; i++) {
        dim[i] = tb_known_at(want, i);
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
    tb_rc rc = tb_shape_from(out, dim, want->n, err);
    size_t n = 0;
    if (rc == TB_OK) {
        rc = tb_shape_count(&n, out, err);
    }
    if (rc == TB_OK && open < TB_RANK_MAX) {
        out->dim[open] = n > 0 ? tb_tensor_count(&call->in[0]) / n : 0;
    }
    return rc;
}

static tb_rc reshape_infer(tb_call *call, tb_err *err)
{
    tb_known want;
    tb_shape shape = {0};
    tb_rc rc = tb_known_read(&want, call, "shape", 1, err);
    if (rc == TB_OK) {
        rc = wanted_shape(&shape, call, &want, err);
    }
    return rc == TB_OK ? view_as(call, &shape, err) : rc;
}

/* dy, x -> dy in the shape of x, whose data is not read */
static tb_rc reshape_like_infer(tb_call *call, tb_err *err)
{
    return view_as(call, &call->in[1].shape, err);
}

/* --- Squeeze, Unsqueeze --------------------------------------------------- */

/* y has an extent of 1 at each axis, and those of x elsewhere. */
static tb_rc unsqueeze_infer(tb_call *call, tb_err *err)
{
    const tb_shape *x = &call->in[0].shape;
    tb_known list;
    uint32_t axes = 0;
    size_t from = 0;
    tb_shape y = {.rank = x->rank};
    tb_rc rc = tb_known_read(&list, call, "axes", 1, err);
    if (rc == TB_OK && !list.given) {
        rc = tb_fail(err, TB_E_MALFORMED, "no axes");
    }
    if (rc == TB_OK && list.n > TB_RANK_MAX - x->rank) {
        rc = tb_fail(err, TB_E_LIMIT, "over %d dimensions", TB_RANK_MAX);
    }
    if (rc == TB_OK) {
        y.rank += list.n;
        rc = tb_known_axes(&axes, &list, y.rank, err);
    }
    for (size_t i = 0; rc == TB_OK && i < y.rank; i++) {
        y.dim[i] = (axes >> i & 1) != 0 ? 1 : x->dim[from++];
    }
    return rc == TB_OK ? view_as(call, &y, err) : rc;
}

/* x without the axes, or without all extents of 1. */
static tb_rc squeeze_infer(tb_call *call, tb_err *err)
{
    const tb_shape *x = &call->in[0].shape;
    tb_known list;
    uint32_t axes = 0;
    tb_shape y = {0};
    tb_rc rc = tb_known_read(&list, call, "axes", 1, err);
    if (rc == TB_OK) {
        rc = tb_known_axes(&axes, &list, x->rank, err);
    }
    for (size_t i = 0; rc == TB_OK && i < x->rank; i++) {
        if (list.given ? (axes >> i & 1) == 0 : x->dim[i] != 1) {
            y.dim[y.rank++] = x->dim[i];
        }
    }
    /* this refuses an axis that is not 1 */
    return rc == TB_OK ? view_as(call, &y, err) : rc;
}

/* dx = dy in the shape of x */
static void view_backward(tb_grad *g)
{
    if (g->wants[0]) {
        g->dx[0] = tb_grad_binary(g, TB_DOMAIN_GRAD, "ReshapeLike", g->dy[0],
                                  g->node->in[0]);
    }
}

/* --- the table ------------------------------------------------------------ */

static const tb_attr_decl axis_attr[] = {{"axis", TB_ATTR_INT, false}};
static const tb_attr_decl zero_attr[] = {{"allowzero", TB_ATTR_INT, false}};
static const tb_attr_decl axes_attr[] = {{"axes", TB_ATTR_INTS, false}};

#define VIEW(dom, text, first, n)                                              \
    .domain = dom, .name = text, .since = first, .until = TB_OPSET_ANY,        \
    .in_min = n, .in_max = n, .out_min = 1, .out_max = 1,                      \
    .types = TB_TYPES_ANY

const tb_op tb_op_identity = {VIEW(TB_DOMAIN_ONNX, "Identity", 1, 1),
                              .infer = identity_infer, .run = tb_op_run_view,
                              .backward = view_backward};

const tb_op tb_op_flatten = {VIEW(TB_DOMAIN_ONNX, "Flatten", 1, 1),
                             .attrs = axis_attr,
                             .n_attrs = TB_COUNT(axis_attr),
                             .infer = flatten_infer,
                             .run = tb_op_run_view,
                             .backward = view_backward};

const tb_op tb_op_reshape = {VIEW(TB_DOMAIN_ONNX, "Reshape", 5, 2),
                             .attrs = zero_attr,
                             .n_attrs = TB_COUNT(zero_attr),
                             .infer = reshape_infer,
                             .run = tb_op_run_view,
                             .backward = view_backward};

const tb_op tb_op_reshape_like = {VIEW(TB_DOMAIN_GRAD, "ReshapeLike", 1, 2),
                                  .shape_only = 2, .infer = reshape_like_infer,
                                  .run = tb_op_run_view};

#define AXES(text, first, last, max)                                           \
    .domain = TB_DOMAIN_ONNX, .name = text, .since = first, .until = last,     \
    .in_min = 1, .in_max = max, .out_min = 1, .out_max = 1,                    \
    .types = TB_TYPES_ANY, .attrs = axes_attr, .n_attrs = max == 1,            \
    .run = tb_op_run_view, .backward = view_backward

const tb_op tb_op_squeeze = {AXES("Squeeze", 13, TB_OPSET_ANY, 2),
                             .infer = squeeze_infer};
const tb_op tb_op_squeeze_1 = {AXES("Squeeze", 1, 12, 1),
                               .infer = squeeze_infer};
const tb_op tb_op_unsqueeze = {AXES("Unsqueeze", 13, TB_OPSET_ANY, 2),
                               .infer = unsqueeze_infer};
const tb_op tb_op_unsqueeze_1 = {AXES("Unsqueeze", 1, 12, 1),
                                 .infer = unsqueeze_infer};
