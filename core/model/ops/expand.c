/* core/model/ops/expand.c - Expand and Tile, of any element type, and TileGrad,
 * which adds up the gradients of all copies. */
#include <string.h>

#include "base/mem.h"
#include "model/ops/known.h"
#include "model/ops/op_priv.h"
#include "tensor/strided.h"

/* --- Expand --------------------------------------------------------------- */

static tb_rc expand_infer(tb_call *call, tb_err *err)
{
    tb_strided *plan = TB_OP_STATE(tb_strided, call);
    const tb_shape *x = &call->in[0].shape;
    size_t from[TB_RANK_MAX];
    ptrdiff_t to[TB_RANK_MAX];
    tb_known list;
    tb_shape want;
    tb_shape y;
    tb_rc rc = tb_known_read(&list, call, "shape", 1, err);
    if (rc == TB_OK) {
        rc = tb_known_shape(&want, &list, err);
    }
    if (rc == TB_OK) {
        rc = tb_shape_broadcast(&y, x, &want, err);
    }
    if (rc != TB_OK) {
        return rc;
    }
    tb_shape_strides(from, x, &y);
    tb_strided_dense(to, &y);
    *plan = (tb_strided){0};
    for (size_t d = 0; d < y.rank; d++) {
        tb_strided_push(plan, y.dim[d], to[d], (ptrdiff_t)from[d]);
    }
    bool same =
        tb_shape_product(&y, 0, y.rank) == tb_tensor_count(&call->in[0]);
    call->view_of = same ? 0 : -1;
    call->out[0] = tb_tensor_view(call->in[0].dtype, &y, NULL);
    return TB_OK;
}

static void copy_run(const tb_call *call)
{
    if (call->view_of == 0) {
        tb_op_run_view(call);
        return;
    }
    tb_strided_copy(TB_OP_CONST_STATE(tb_strided, call),
                    tb_dtype_bytes(call->in[0].dtype), call->out[0].data,
                    call->in[0].data);
}

/* y = x stretched: dx = dy summed where it was */
static void expand_backward(tb_grad *g)
{
    if (g->wants[0]) {
        g->dx[0] = tb_grad_reduce(g, g->dy[0], g->node->in[0], 1.0f);
    }
}

/* --- Tile ----------------------------------------------------------------- */

/* Plans y = copies of x side by side, each dimension being two loops, or with
 * back set the other way round, and gives the shape of y. x is input i. */
static tb_rc tile_plan(tb_shape *y, tb_call *call, size_t i, bool back,
                       tb_err *err)
{
    tb_strided *plan = TB_OP_STATE(tb_strided, call);
    const tb_shape *x = &call->in[i].shape;
    ptrdiff_t in[TB_RANK_MAX];
    ptrdiff_t out[TB_RANK_MAX];
    tb_shape times;
    tb_known list;
    tb_rc rc = tb_known_read(&list, call, "repeats", i + 1, err);
    if (rc == TB_OK) {
        rc = tb_known_shape(&times, &list, err);
    }
    if (rc == TB_OK && times.rank != x->rank) {
        rc = tb_fail(err, TB_E_MISMATCH, "%zu repeats for %zu dimensions",
                     times.rank, x->rank);
    }
    *y = *x;
    for (size_t d = 0; rc == TB_OK && d < x->rank; d++) {
        if (tb_mem_mul(&y->dim[d], x->dim[d], times.dim[d]) != 0) {
            rc = tb_fail(err, TB_E_LIMIT, "too many elements");
        }
    }
    size_t n = 0;
    if (rc == TB_OK) {
        rc = tb_shape_count(&n, y, err);
    }
    if (rc != TB_OK) {
        return rc;
    }
    tb_strided_dense(in, x);
    tb_strided_dense(out, y);
    *plan = (tb_strided){0};
    for (size_t d = 0; d < x->rank; d++) {
        ptrdiff_t whole = (ptrdiff_t)((size_t)out[d] * x->dim[d]);
        tb_strided_push(plan, times.dim[d], back ? 0 : whole, back ? whole : 0);
        tb_strided_push(plan, x->dim[d], back ? in[d] : out[d],
                        back ? out[d] : in[d]);
    }
    return TB_OK;
}

static tb_rc tile_infer(tb_call *call, tb_err *err)
{
    tb_shape y;
    tb_rc rc = tile_plan(&y, call, 0, false, err);
    bool same = rc == TB_OK && tb_shape_equal(&y, &call->in[0].shape);
    call->view_of = same ? 0 : -1;
    call->out[0] = tb_tensor_view(call->in[0].dtype, &y, NULL);
    return rc;
}

/* y[r n + i] = x[i], in each dimension: dx[i] = sum of dy[r n + i] over r */
static void tile_backward(tb_grad *g)
{
    if (g->wants[0]) {
        g->dx[0] = tb_grad_mirror(g, "TileGrad");
    }
}

/* dy, x, repeats -> dx; the data of x is not read */
static tb_rc tile_grad_infer(tb_call *call, tb_err *err)
{
    tb_shape y;
    tb_rc rc = tb_op_need_f32(call, 1, err);
    if (rc == TB_OK) {
        rc = tile_plan(&y, call, 1, true, err);
    }
    if (rc == TB_OK && !tb_shape_equal(&y, &call->in[0].shape)) {
        rc = tb_fail(err, TB_E_MISMATCH, "gradient of another shape");
    }
    call->out[0] = tb_tensor_view(TB_F32, &call->in[1].shape, NULL);
    return rc;
}

static void tile_grad_run(const tb_call *call)
{
    size_t bytes = tb_tensor_bytes(&call->out[0]);
    if (bytes > 0) {
        memset(call->out[0].data, 0, bytes);
        tb_strided_add(TB_OP_CONST_STATE(tb_strided, call), tb_op_f32_out(call),
                       tb_op_f32(call, 0));
    }
}

/* --- the table ------------------------------------------------------------ */

#define COPIES(text, first)                                                    \
    .domain = TB_DOMAIN_ONNX, .name = text, .since = first,                    \
    .until = TB_OPSET_ANY, .in_min = 2, .in_max = 2, .out_min = 1,             \
    .out_max = 1, .types = TB_TYPES_ANY, .run = copy_run

const tb_op tb_op_expand = {COPIES("Expand", 8), .infer = expand_infer,
                            .backward = expand_backward};
const tb_op tb_op_tile = {COPIES("Tile", 6), .infer = tile_infer,
                          .backward = tile_backward};

const tb_op tb_op_tile_grad = {.domain = TB_DOMAIN_GRAD,
                               .name = "TileGrad",
                               .since = 1,
                               .until = TB_OPSET_ANY,
                               .in_min = 3,
                               .in_max = 3,
                               .out_min = 1,
                               .out_max = 1,
                               .shape_only = 2,
                               .infer = tile_grad_infer,
                               .run = tile_grad_run};
