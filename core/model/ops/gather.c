/* core/model/ops/gather.c - Gather along any axis, of any element type, and
 * GatherGrad, which adds rows back to where they came from: an embedding and
 * its gradient. Indexes may come from data. */
#include <string.h>

#include "model/ops/known.h"
#include "model/ops/op_priv.h"
#include "tensor/kernels.h"

typedef struct gather_state {
    size_t n_outer; /* x is [n_outer, n, width], y [n_outer, n_index, width] */
    size_t n;
    size_t width; /* in elements */
    size_t n_index;
} gather_state;

/* Fills the state for x and the shape of y. */
static tb_rc plan(tb_shape *y, tb_call *call, const tb_shape *x,
                  const tb_tensor *index, tb_err *err)
{
    gather_state *s = TB_OP_STATE(gather_state, call);
    size_t axis = 0;
    tb_rc rc = tb_op_axis(&axis, tb_node_int(call->node, "axis", 0), x->rank,
                          false, err);
    if (rc == TB_OK) {
        rc = tb_known_index(index, x->dim[axis], err);
    }
    if (rc == TB_OK && x->rank - 1 + index->shape.rank > TB_RANK_MAX) {
        rc = tb_fail(err, TB_E_LIMIT, "over %d dimensions", TB_RANK_MAX);
    }
    *y = (tb_shape){0};
    if (rc != TB_OK) {
        return rc;
    }
    for (size_t i = 0; i < x->rank; i++) {
        if (i != axis) {
            y->dim[y->rank++] = x->dim[i];
            continue;
        }
        for (size_t k = 0; k < index->shape.rank; k++) {
            y->dim[y->rank++] = index->shape.dim[k];
        }
    }
    *s = (gather_state){.n_outer = tb_shape_product(x, 0, axis),
                        .n = x->dim[axis],
                        .width = tb_shape_product(x, axis + 1, x->rank),
                        .n_index = tb_tensor_count(index)};
    return TB_OK;
}

/* Index i as a place in [0, n), or n after a fault. */
static inline size_t index_at(const tb_call *call, const gather_state *s,
                              const tb_tensor *index, size_t i)
{
    int64_t at = index->dtype == TB_I64 ? ((const int64_t *)index->data)[i]
                                        : ((const int32_t *)index->data)[i];
    int64_t place = at < 0 ? at + (int64_t)s->n : at;
    if (place < 0 || place >= (int64_t)s->n) {
        tb_op_fault(call, at, s->n);
        return s->n;
    }
    return (size_t)place;
}

/* --- Gather --------------------------------------------------------------- */

static tb_rc gather_infer(tb_call *call, tb_err *err)
{
    tb_shape y;
    tb_rc rc = plan(&y, call, &call->in[0].shape, &call->in[1], err);
    call->out[0] = tb_tensor_view(call->in[0].dtype, &y, NULL);
    return rc;
}

/* Single elements, when the axis is the last one. */
#define GATHER_ONES(type)                                                      \
    static void gather_##type(const tb_call *call, const gather_state *s)      \
    {                                                                          \
        const type *x = call->in[0].data;                                      \
        type *y = call->out[0].data;                                           \
        for (size_t i = 0; i < s->n_index; i++) {                              \
            size_t at = index_at(call, s, &call->in[1], i);                    \
            for (size_t o = 0; o < s->n_outer; o++) {                          \
                y[o * s->n_index + i] = at < s->n ? x[o * s->n + at] : 0;      \
            }                                                                  \
        }                                                                      \
    }

GATHER_ONES(uint8_t)
GATHER_ONES(uint16_t)
GATHER_ONES(uint32_t)
GATHER_ONES(uint64_t)

static void gather_rows(const tb_call *call, const gather_state *s,
                        size_t bytes)
{
    size_t row = s->width * bytes;
    uint8_t *y = call->out[0].data;
    for (size_t o = 0; o < s->n_outer; o++) {
        const uint8_t *x = (const uint8_t *)call->in[0].data + o * s->n * row;
        for (size_t i = 0; i < s->n_index; i++) {
            size_t at = index_at(call, s, &call->in[1], i);
            if (at < s->n) {
                memcpy(y, x + at * row, row);
            } else {
                memset(y, 0, row);
            }
            y += row;
        }
    }
}

/* y[o, i, :] = x[o, index[i], :] */
static void gather_run(const tb_call *call)
{
    const gather_state *s = TB_OP_CONST_STATE(gather_state, call);
    size_t bytes = tb_dtype_bytes(call->in[0].dtype);
    if (tb_tensor_count(&call->out[0]) == 0) {
        return;
    }
    if (s->width > 1) {
        gather_rows(call, s, bytes);
    } else if (bytes == 4) {
        gather_uint32_t(call, s);
    } else if (bytes == 8) {
        gather_uint64_t(call, s);
    } else if (bytes == 2) {
        gather_uint16_t(call, s);
    } else {
        gather_uint8_t(call, s);
    }
}

/* --- GatherGrad ----------------------------------------------------------- */

/* dx[o, index[i], :] += dy[o, i, :], in the order of i */
static void gather_backward(tb_grad *g)
{
    const tb_value_id in[3] = {g->dy[0], g->node->in[1], g->node->in[0]};
    const tb_attr attr = TB_ATTR_I("axis", tb_node_int(g->node, "axis", 0));
    if (g->wants[0]) {
        g->dx[0] = tb_grad_emit(g, &(tb_node_spec){.domain = TB_DOMAIN_GRAD,
                                                   .op = "GatherGrad",
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
    tb_shape y;
    tb_rc rc = tb_op_need_f32(call, 1, err);
    if (rc == TB_OK) {
        rc = plan(&y, call, x, &call->in[1], err);
    }
    if (rc == TB_OK && !tb_shape_equal(&y, &call->in[0].shape)) {
        rc = tb_fail(err, TB_E_MISMATCH, "gradient of another shape");
    }
    call->out[0] = tb_tensor_view(TB_F32, x, NULL);
    return rc;
}

static double gather_grad_flops(const tb_call *call)
{
    return (double)tb_tensor_count(&call->in[0]);
}

static void gather_grad_run(const tb_call *call)
{
    const gather_state *s = TB_OP_CONST_STATE(gather_state, call);
    const float *dy = tb_op_f32(call, 0);
    float *dx = tb_op_f32_out(call);
    size_t bytes = tb_tensor_bytes(&call->out[0]);
    if (bytes == 0) {
        return;
    }
    memset(dx, 0, bytes);
    for (size_t o = 0; o < s->n_outer; o++) {
        for (size_t i = 0; i < s->n_index; i++) {
            size_t at = index_at(call, s, &call->in[1], i);
            if (at < s->n) {
                tb_k_add(dx + at * s->width, dx + at * s->width, dy, s->width);
            }
            dy += s->width;
        }
        dx += s->n * s->width;
    }
}

/* --- the table ------------------------------------------------------------ */

static const tb_attr_decl attrs[] = {{"axis", TB_ATTR_INT, false}};

const tb_op tb_op_gather = {.domain = TB_DOMAIN_ONNX,
                            .name = "Gather",
                            .since = 1,
                            .until = TB_OPSET_ANY,
                            .in_min = 2,
                            .in_max = 2,
                            .out_min = 1,
                            .out_max = 1,
                            .attrs = attrs,
                            .n_attrs = TB_COUNT(attrs),
                            .trains = 1,
                            .types = TB_TYPES_ANY,
                            .infer = gather_infer,
                            .run = gather_run,
                            .backward = gather_backward};

const tb_op tb_op_gather_grad = {.domain = TB_DOMAIN_GRAD,
                                 .name = "GatherGrad",
                                 .since = 1,
                                 .until = TB_OPSET_ANY,
                                 .in_min = 3,
                                 .in_max = 3,
                                 .out_min = 1,
                                 .out_max = 1,
                                 .attrs = attrs,
                                 .n_attrs = TB_COUNT(attrs),
                                 .shape_only = 4,
                                 .flops = gather_grad_flops,
                                 .infer = gather_grad_infer,
                                 .run = gather_grad_run};
