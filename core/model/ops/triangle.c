/* core/model/ops/triangle.c - Trilu, which keeps one triangle of a matrix, in
 * any element type, and CumSum along one axis. Each is its own gradient. */
#include <string.h>

#include "model/ops/known.h"
#include "model/ops/op_priv.h"
#include "tensor/kernels.h"

/* --- Trilu ---------------------------------------------------------------- */

typedef struct trilu_state {
    bool upper;
    int64_t k;     /* the diagonal that still counts */
    size_t n_rows; /* of a matrix */
    size_t n_cols;
} trilu_state;

static tb_rc trilu_infer(tb_call *call, tb_err *err)
{
    trilu_state *s = TB_OP_STATE(trilu_state, call);
    const tb_shape *x = &call->in[0].shape;
    tb_known k;
    tb_rc rc = tb_known_read(&k, call, "k", 1, err);
    if (rc == TB_OK && (x->rank < 2 || k.n > 1)) {
        rc = tb_fail(err, TB_E_MISMATCH, "%zu dimensions, %zu diagonals",
                     x->rank, k.n);
    }
    if (rc != TB_OK) {
        return rc;
    }
    *s = (trilu_state){.upper = tb_node_int(call->node, "upper", 1) != 0,
                       .k = k.n == 1 ? tb_known_at(&k, 0) : 0,
                       .n_rows = x->dim[x->rank - 2],
                       .n_cols = x->dim[x->rank - 1]};
    call->out[0] = tb_tensor_view(call->in[0].dtype, x, NULL);
    return TB_OK;
}

/* The first column on or above diagonal k, in row r; at most n_cols. */
static size_t first_above(const trilu_state *s, size_t r, int64_t k)
{
    int64_t far = (int64_t)(s->n_rows + s->n_cols);
    k = k < -far ? -far : k > far ? far : k;
    int64_t c = (int64_t)r + k;
    return c < 0 ? 0 : (size_t)c < s->n_cols ? (size_t)c : s->n_cols;
}

/* y[..., r, c] = x[..., r, c] where c - r >= k (upper) or <= k, else 0 */
static void trilu_run(const tb_call *call)
{
    const trilu_state *s = TB_OP_CONST_STATE(trilu_state, call);
    size_t bytes = tb_dtype_bytes(call->in[0].dtype);
    size_t row = s->n_cols * bytes;
    size_t n_rows = row > 0 ? tb_tensor_bytes(&call->in[0]) / row : 0;
    const uint8_t *x = call->in[0].data;
    uint8_t *y = call->out[0].data;
    for (size_t i = 0; i < n_rows; i++, x += row, y += row) {
        int64_t k = s->k < INT64_MAX ? s->k + !s->upper : s->k;
        size_t cut = first_above(s, i % s->n_rows, k) * bytes;
        if (y != x) {
            memcpy(y, x, row);
        }
        memset(s->upper ? y : y + cut, 0, s->upper ? cut : row - cut);
    }
}

/* dx = dy in the same triangle */
static void trilu_backward(tb_grad *g)
{
    const tb_value_id in[2] = {g->dy[0],
                               g->node->n_in > 1 ? g->node->in[1] : TB_ID_NONE};
    const tb_attr attr = TB_ATTR_I("upper", tb_node_int(g->node, "upper", 1));
    if (g->wants[0]) {
        g->dx[0] = tb_grad_emit(g, &(tb_node_spec){.op = "Trilu",
                                                   .attrs = &attr,
                                                   .n_attrs = 1,
                                                   .in = in,
                                                   .n_in = g->node->n_in});
    }
}

/* --- CumSum --------------------------------------------------------------- */

typedef struct cumsum_state {
    size_t n_outer; /* x is [n_outer, n, n_inner] */
    size_t n;
    size_t n_inner;
    bool exclusive; /* y[i] is the sum before x[i] */
    bool reverse;   /* from the end */
} cumsum_state;

static tb_rc cumsum_infer(tb_call *call, tb_err *err)
{
    cumsum_state *s = TB_OP_STATE(cumsum_state, call);
    const tb_shape *x = &call->in[0].shape;
    tb_known list;
    size_t axis = 0;
    tb_rc rc = tb_known_read(&list, call, "axis", 1, err);
    if (rc == TB_OK && list.n != 1) {
        rc = tb_fail(err, TB_E_MISMATCH, "%zu axes", list.n);
    }
    if (rc == TB_OK) {
        rc = tb_op_axis(&axis, tb_known_at(&list, 0), x->rank, false, err);
    }
    if (rc != TB_OK) {
        return rc;
    }
    *s = (cumsum_state){.n_outer = tb_shape_product(x, 0, axis),
                        .n = x->dim[axis],
                        .n_inner = tb_shape_product(x, axis + 1, x->rank),
                        .exclusive =
                            tb_node_int(call->node, "exclusive", 0) != 0,
                        .reverse = tb_node_int(call->node, "reverse", 0) != 0};
    call->out[0] = tb_tensor_view(call->in[0].dtype, x, NULL);
    return TB_OK;
}

/* One line of an axis, whose elements are step apart. */
static void cumsum_line(const tb_call *call, const cumsum_state *s, size_t at)
{
    const tb_tensor *x = &call->in[0];
    const tb_tensor *y = &call->out[0];
    bool whole = !tb_dtype_in(x->dtype, TB_TYPES_FLOAT);
    double sum = 0;
    uint64_t count = 0;
    for (size_t k = 0; k < s->n; k++) {
        size_t i = at + (s->reverse ? s->n - 1 - k : k) * s->n_inner;
        double before = sum;
        uint64_t count_before = count;
        if (whole) {
            count += (uint64_t)tb_tensor_i64_at(x, i);
            tb_tensor_put_i64(y, i,
                              (int64_t)(s->exclusive ? count_before : count));
        } else {
            sum = sum + tb_tensor_f64_at(x, i);
            tb_tensor_put_f64(y, i, s->exclusive ? before : sum);
        }
    }
}

/* y[i] = sum of x[0 ... i], summed in double or in whole numbers */
static void cumsum_run(const tb_call *call)
{
    const cumsum_state *s = TB_OP_CONST_STATE(cumsum_state, call);
    for (size_t o = 0; o < s->n_outer; o++) {
        for (size_t i = 0; i < s->n_inner; i++) {
            cumsum_line(call, s, o * s->n * s->n_inner + i);
        }
    }
}

/* dx = dy summed from the other end */
static void cumsum_backward(tb_grad *g)
{
    const tb_value_id in[2] = {g->dy[0], g->node->in[1]};
    const tb_attr attrs[2] = {
        TB_ATTR_I("exclusive", tb_node_int(g->node, "exclusive", 0)),
        TB_ATTR_I("reverse", tb_node_int(g->node, "reverse", 0) == 0)};
    if (g->wants[0]) {
        g->dx[0] = tb_grad_emit(g, &(tb_node_spec){.op = "CumSum",
                                                   .attrs = attrs,
                                                   .n_attrs = 2,
                                                   .in = in,
                                                   .n_in = 2});
    }
}

/* --- the table ------------------------------------------------------------ */

static const tb_attr_decl upper_attr[] = {{"upper", TB_ATTR_INT, false}};
static const tb_attr_decl sum_attrs[] = {{"exclusive", TB_ATTR_INT, false},
                                         {"reverse", TB_ATTR_INT, false}};

const tb_op tb_op_trilu = {.domain = TB_DOMAIN_ONNX,
                           .name = "Trilu",
                           .since = 14,
                           .until = TB_OPSET_ANY,
                           .in_min = 1,
                           .in_max = 2,
                           .out_min = 1,
                           .out_max = 1,
                           .attrs = upper_attr,
                           .n_attrs = TB_COUNT(upper_attr),
                           .types = TB_TYPES_ANY,
                           .in_place = 1,
                           .infer = trilu_infer,
                           .run = trilu_run,
                           .backward = trilu_backward};

const tb_op tb_op_cumsum = {.domain = TB_DOMAIN_ONNX,
                            .name = "CumSum",
                            .since = 11,
                            .until = TB_OPSET_ANY,
                            .in_min = 2,
                            .in_max = 2,
                            .out_min = 1,
                            .out_max = 1,
                            .attrs = sum_attrs,
                            .n_attrs = TB_COUNT(sum_attrs),
                            .types = TB_TYPES_NUMBER,
                            .in_place = 1,
                            .flops_each = 1,
                            .infer = cumsum_infer,
                            .run = cumsum_run,
                            .backward = cumsum_backward};
