/* core/model/ops/concat.c - Concat and Split, each the other's gradient, of any
 * element type. The gradient of Concat is ConcatGrad, which learns the parts'
 * extents from the inputs themselves. */
#include <string.h>

#include "base/mem.h"
#include "model/ops/known.h"
#include "model/ops/op_priv.h"
#include "tensor/strided.h"

#define PARTS_MAX 254

/* --- parts of an array along an axis -------------------------------------- */

typedef struct parts_state {
    size_t n_outer; /* product of the dimensions before the axis */
} parts_state;

/* How a part lies in the whole: [n_outer] rows, of both. */
static tb_strided part_plan(const tb_call *call, const tb_tensor *part,
                            const tb_tensor *whole, bool join)
{
    const parts_state *s = TB_OP_CONST_STATE(parts_state, call);
    size_t n = s->n_outer > 0 ? tb_tensor_count(part) / s->n_outer : 0;
    size_t all = s->n_outer > 0 ? tb_tensor_count(whole) / s->n_outer : 0;
    tb_strided plan = {0};
    tb_strided_push(&plan, s->n_outer, (ptrdiff_t)(join ? all : n),
                    (ptrdiff_t)(join ? n : all));
    tb_strided_push(&plan, n, 1, 1);
    return plan;
}

/* Copies the parts out of the whole, those that somebody wants. */
static void take_apart(const tb_call *call, const tb_tensor *whole)
{
    const parts_state *s = TB_OP_CONST_STATE(parts_state, call);
    size_t bytes = tb_dtype_bytes(whole->dtype);
    const uint8_t *from = whole->data;
    for (size_t i = 0; i < call->n_out; i++) {
        const tb_tensor *part = &call->out[i];
        if (part->data != NULL && part->data != whole->data) {
            tb_strided plan = part_plan(call, part, whole, false);
            tb_strided_copy(&plan, bytes, part->data, from);
        }
        from += s->n_outer > 0 ? tb_tensor_bytes(part) / s->n_outer : 0;
    }
}

/* --- Concat --------------------------------------------------------------- */

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
    parts_state *s = TB_OP_STATE(parts_state, call);
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
        s->n_outer = tb_shape_product(&y, 0, axis);
        call->view_of = call->n_in == 1 ? 0 : -1;
        call->out[0] = tb_tensor_view(call->in[0].dtype, &y, NULL);
    }
    return rc;
}

/* y = the inputs, one behind the other along the axis */
static void concat_run(const tb_call *call)
{
    const parts_state *s = TB_OP_CONST_STATE(parts_state, call);
    uint8_t *to = call->out[0].data;
    if (call->view_of == 0) {
        tb_op_run_view(call);
        return;
    }
    for (size_t i = 0; i < call->n_in && s->n_outer > 0; i++) {
        const tb_tensor *part = &call->in[i];
        tb_strided plan = part_plan(call, part, &call->out[0], true);
        tb_strided_copy(&plan, tb_dtype_bytes(part->dtype), to, part->data);
        to += tb_tensor_bytes(part) / s->n_outer;
    }
}

/* dx[i] = the part of dy that x[i] became */
static void concat_backward(tb_grad *g)
{
    tb_value_id in[PARTS_MAX + 1] = {g->dy[0]};
    const tb_attr attr = TB_ATTR_I("axis", tb_node_int(g->node, "axis", 0));
    memcpy(in + 1, g->node->in, g->node->n_in * sizeof in[0]);
    tb_grad_emit_many(g,
                      &(tb_node_spec){.domain = TB_DOMAIN_GRAD,
                                      .op = "ConcatGrad",
                                      .attrs = &attr,
                                      .n_attrs = 1,
                                      .in = in,
                                      .n_in = g->node->n_in + 1},
                      g->dx, g->wants, g->node->n_in);
}

/* dy, x... -> dx...; the data of x is not read */
static tb_rc concat_grad_infer(tb_call *call, tb_err *err)
{
    parts_state *s = TB_OP_STATE(parts_state, call);
    const tb_shape *dy = &call->in[0].shape;
    size_t axis = 0;
    size_t n = 0;
    tb_rc rc = tb_op_axis(&axis, tb_node_int(call->node, "axis", 0), dy->rank,
                          false, err);
    for (size_t i = 0; rc == TB_OK && i + 1 < call->n_in; i++) {
        tb_shape x = call->in[i + 1].shape;
        n += x.rank == dy->rank ? x.dim[axis] : 0;
        if (i < call->n_out) {
            call->out[i] = tb_tensor_view(call->in[0].dtype, &x, NULL);
        }
        x.dim[axis] = dy->dim[axis];
        if (!tb_shape_equal(&x, dy)) {
            rc = tb_fail(err, TB_E_MISMATCH, "gradient of another shape");
        }
    }
    if (rc == TB_OK && n != dy->dim[axis]) {
        rc = tb_fail(err, TB_E_MISMATCH, "gradient of other parts");
    }
    s->n_outer = rc == TB_OK ? tb_shape_product(dy, 0, axis) : 0;
    return rc;
}

static void concat_grad_run(const tb_call *call)
{
    take_apart(call, &call->in[0]);
}

/* --- Split ---------------------------------------------------------------- */

/* The extent of part i of n: as listed, or equal ones, the last being what is
 * left (from opset 18; before, they must come out even). */
static tb_rc part_extent(size_t *out, const tb_call *call, const tb_known *list,
                         size_t n, size_t i, tb_err *err)
{
    size_t n_parts = call->n_out;
    if (list->given) {
        int64_t extent = tb_known_at(list, i);
        if (extent < 0 || (uint64_t)extent > n) {
            return tb_fail(err, TB_E_MISMATCH, "a part of %lld of %zu",
                           (long long)extent, n);
        }
        *out = (size_t)extent;
        return TB_OK;
    }
    size_t each = n / n_parts + (n % n_parts != 0);
    if (each * n_parts != n && call->op->since < 18) {
        return tb_fail(err, TB_E_MISMATCH, "%zu do not split into %zu", n,
                       n_parts);
    }
    size_t begin = each * i < n ? each * i : n;
    *out = n - begin < each ? n - begin : each;
    return TB_OK;
}

static tb_rc split_infer(tb_call *call, tb_err *err)
{
    parts_state *s = TB_OP_STATE(parts_state, call);
    tb_shape y = call->in[0].shape;
    tb_known list;
    size_t axis = 0;
    size_t total = 0;
    int64_t n_parts =
        tb_node_int(call->node, "num_outputs", (int64_t)call->n_out);
    tb_rc rc = tb_op_axis(&axis, tb_node_int(call->node, "axis", 0), y.rank,
                          false, err);
    if (rc == TB_OK) {
        rc = tb_known_read(&list, call, "split", 1, err);
    }
    if (rc == TB_OK && (n_parts != (int64_t)call->n_out ||
                        (list.given && list.n != call->n_out))) {
        rc = tb_fail(err, TB_E_MISMATCH, "not as many parts as outputs");
    }
    for (size_t i = 0; rc == TB_OK && i < call->n_out; i++) {
        rc = part_extent(&y.dim[axis], call, &list, call->in[0].shape.dim[axis],
                         i, err);
        total += y.dim[axis];
        call->out[i] = tb_tensor_view(call->in[0].dtype, &y, NULL);
    }
    if (rc == TB_OK && total != call->in[0].shape.dim[axis]) {
        rc = tb_fail(err, TB_E_MISMATCH, "parts of %zu together, not %zu",
                     total, call->in[0].shape.dim[axis]);
    }
    s->n_outer = rc == TB_OK ? tb_shape_product(&y, 0, axis) : 0;
    call->view_of = call->n_out == 1 ? 0 : -1;
    return rc;
}

/* y = the parts of x along the axis */
static void split_run(const tb_call *call)
{
    take_apart(call, &call->in[0]);
}

/* dx = the gradients of the parts, one behind the other, zeros where none
 * arrived */
static void split_backward(tb_grad *g)
{
    tb_value_id in[PARTS_MAX];
    size_t n = g->node->n_out;
    const tb_attr attr = TB_ATTR_I("axis", tb_node_int(g->node, "axis", 0));
    for (size_t i = 0; i < n; i++) {
        in[i] = g->dy[i];
        if (in[i] == TB_ID_NONE) {
            in[i] = tb_grad_unary(g, TB_DOMAIN_GRAD, "ZerosLike",
                                  tb_grad_output(g, i));
        }
    }
    g->dx[0] = tb_grad_emit(
        g,
        &(tb_node_spec){
            .op = "Concat", .attrs = &attr, .n_attrs = 1, .in = in, .n_in = n});
}

/* x -> zeros of its shape; its data is not read */
static tb_rc zeros_infer(tb_call *call, tb_err *err)
{
    (void)err;
    call->out[0] = tb_tensor_view(call->in[0].dtype, &call->in[0].shape, NULL);
    return TB_OK;
}

static void zeros_run(const tb_call *call)
{
    size_t bytes = tb_tensor_bytes(&call->out[0]);
    if (bytes > 0) {
        memset(call->out[0].data, 0, bytes);
    }
}

/* --- the table ------------------------------------------------------------ */

static const tb_attr_decl axis_needed[] = {{"axis", TB_ATTR_INT, true}};
static const tb_attr_decl axis_split[] = {{"axis", TB_ATTR_INT, false},
                                          {"split", TB_ATTR_INTS, false}};
static const tb_attr_decl axis_count[] = {{"axis", TB_ATTR_INT, false},
                                          {"num_outputs", TB_ATTR_INT, false}};

const tb_op tb_op_concat = {.domain = TB_DOMAIN_ONNX,
                            .name = "Concat",
                            .since = 4,
                            .until = TB_OPSET_ANY,
                            .in_min = 1,
                            .in_max = PARTS_MAX,
                            .out_min = 1,
                            .out_max = 1,
                            .attrs = axis_needed,
                            .n_attrs = 1,
                            .types = TB_TYPES_ANY,
                            .infer = concat_infer,
                            .run = concat_run,
                            .backward = concat_backward};

const tb_op tb_op_concat_grad = {.domain = TB_DOMAIN_GRAD,
                                 .name = "ConcatGrad",
                                 .since = 1,
                                 .until = TB_OPSET_ANY,
                                 .in_min = 2,
                                 .in_max = PARTS_MAX + 1,
                                 .out_min = 1,
                                 .out_max = PARTS_MAX,
                                 .any_output = true,
                                 .attrs = axis_needed,
                                 .n_attrs = 1,
                                 .shape_only = ~UINT32_C(1),
                                 .infer = concat_grad_infer,
                                 .run = concat_grad_run};

#define SPLIT(first, last, max, decls, n)                                      \
    {                                                                          \
        .domain = TB_DOMAIN_ONNX, .name = "Split", .since = first,             \
        .until = last, .in_min = 1, .in_max = max, .out_min = 1,               \
        .out_max = PARTS_MAX, .any_output = true, .attrs = decls,              \
        .n_attrs = n, .types = TB_TYPES_ANY, .infer = split_infer,             \
        .run = split_run, .backward = split_backward                           \
    }

const tb_op tb_op_split_2 = SPLIT(2, 12, 1, axis_split, 2);
const tb_op tb_op_split_13 = SPLIT(13, 17, 2, axis_split, 1);
const tb_op tb_op_split = SPLIT(18, TB_OPSET_ANY, 2, axis_count, 2);

const tb_op tb_op_zeros_like = {.domain = TB_DOMAIN_GRAD,
                                .name = "ZerosLike",
                                .since = 1,
                                .until = TB_OPSET_ANY,
                                .in_min = 1,
                                .in_max = 1,
                                .out_min = 1,
                                .out_max = 1,
                                .shape_only = 1,
                                .infer = zeros_infer,
                                .run = zeros_run};
