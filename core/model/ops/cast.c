/* core/model/ops/cast.c - Cast and CastLike between all element types that a
 * tensor can hold, with their gradient. */
#include <string.h>

#include "model/ops/op_priv.h"
#include "tensor/kernels.h"

/* Before opset 19, bf16 is the upper half of an f32: what the node tests of
 * those opsets say. Later it is the nearest one. */
#define ROUNDS_SINCE 19

typedef struct cast_state {
    bool cuts;
} cast_state;

static tb_rc cast_to(tb_call *call, int64_t to, tb_err *err)
{
    tb_dtype dtype = to > 0 && to <= TB_BF16 ? (tb_dtype)to : TB_DTYPE_NONE;
    if (tb_dtype_bytes(dtype) == 0) {
        return tb_fail(err, TB_E_UNSUPPORTED, "to element type %s (%lld)",
                       tb_dtype_name(dtype), (long long)to);
    }
    call->view_of = dtype == call->in[0].dtype ? 0 : -1;
    call->out[0] = tb_tensor_view(dtype, &call->in[0].shape, NULL);
    return TB_OK;
}

static tb_rc cast_infer(tb_call *call, tb_err *err)
{
    cast_state *s = TB_OP_STATE(cast_state, call);
    s->cuts = call->graph->opset < ROUNDS_SINCE;
    return cast_to(call, tb_node_int(call->node, "to", 0), err);
}

static void cut_to_bf16(const tb_call *call, size_t n)
{
    uint16_t *y = call->out[0].data;
    for (size_t i = 0; i < n; i++) {
        float x = (float)tb_tensor_f64_at(&call->in[0], i);
        uint32_t bits = 0;
        memcpy(&bits, &x, sizeof bits);
        y[i] = (uint16_t)(bits >> 16);
    }
}

/* The casts that models do at every step, in loops of their own. */
#define LOOP(x_dtype, x_type, y_dtype, y_type)                                 \
    case PAIR(x_dtype, y_dtype): {                                             \
        const x_type *from = x->data;                                          \
        y_type *to = y->data;                                                  \
        for (size_t i = 0; i < n; i++) {                                       \
            to[i] = (y_type)from[i];                                           \
        }                                                                      \
        return true;                                                           \
    }
#define PAIR(from, to) ((int)(from)*32 + (int)(to))

static bool run_loop(const tb_tensor *x, const tb_tensor *y, size_t n)
{
    switch (PAIR(x->dtype, y->dtype)) {
        LOOP(TB_F32, float, TB_F64, double)
        LOOP(TB_F64, double, TB_F32, float)
        LOOP(TB_I32, int32_t, TB_F32, float)
        LOOP(TB_I64, int64_t, TB_F32, float)
        LOOP(TB_BOOL, uint8_t, TB_F32, float)
        LOOP(TB_I32, int32_t, TB_I64, int64_t)
    default:
        return false;
    }
}

/* y = x in another type: to an integer toward zero, and then modulo 2^bits */
static void cast_run(const tb_call *call)
{
    const tb_tensor *x = &call->in[0];
    size_t n = tb_tensor_count(x);
    if (call->view_of == 0) {
        tb_op_run_view(call);
        return;
    }
    if (x->dtype == TB_U8 && call->out[0].dtype == TB_F32) {
        tb_k_from_u8(call->out[0].data, x->data, n);
        return;
    }
    const cast_state *s = TB_OP_CONST_STATE(cast_state, call);
    if (s->cuts && call->out[0].dtype == TB_BF16) {
        cut_to_bf16(call, n);
        return;
    }
    if (run_loop(x, &call->out[0], n)) {
        return;
    }
    bool whole = !tb_dtype_in(x->dtype, TB_TYPES_FLOAT) &&
                 !(x->dtype == TB_U64 &&
                   tb_dtype_in(call->out[0].dtype, TB_TYPES_FLOAT));
    for (size_t i = 0; i < n; i++) {
        if (whole) {
            tb_tensor_put_i64(&call->out[0], i, tb_tensor_i64_at(x, i));
        } else {
            tb_tensor_put_f64(&call->out[0], i, tb_tensor_f64_at(x, i));
        }
    }
}

/* dx = dy in the type of x; nothing flows into an integer */
static void cast_backward(tb_grad *g)
{
    g->dx[0] =
        tb_grad_binary(g, TB_DOMAIN_GRAD, "CastLike", g->dy[0], g->node->in[0]);
}

static tb_rc cast_like_infer(tb_call *call, tb_err *err)
{
    cast_state *s = TB_OP_STATE(cast_state, call);
    s->cuts = call->graph->opset < ROUNDS_SINCE;
    return cast_to(call, (int64_t)call->in[1].dtype, err);
}

/* saturate speaks of 8-bit floats only, of which there are none here. */
static const tb_attr_decl attrs[] = {{"saturate", TB_ATTR_INT, false},
                                     {"to", TB_ATTR_INT, true}};

const tb_op tb_op_cast = {.domain = TB_DOMAIN_ONNX,
                          .name = "Cast",
                          .since = 6,
                          .until = TB_OPSET_ANY,
                          .in_min = 1,
                          .in_max = 1,
                          .out_min = 1,
                          .out_max = 1,
                          .attrs = attrs,
                          .n_attrs = TB_COUNT(attrs),
                          .types = TB_TYPES_ANY,
                          .infer = cast_infer,
                          .run = cast_run,
                          .backward = cast_backward};

#define CAST_LIKE                                                              \
    .name = "CastLike", .until = TB_OPSET_ANY, .in_min = 2, .in_max = 2,       \
    .out_min = 1, .out_max = 1, .shape_only = 2, .types = TB_TYPES_ANY,        \
    .infer = cast_like_infer, .run = cast_run

const tb_op tb_op_cast_like_15 = {CAST_LIKE,    .domain = TB_DOMAIN_ONNX,
                                  .since = 15,  .attrs = attrs,
                                  .n_attrs = 1, .backward = cast_backward};
const tb_op tb_op_cast_like = {CAST_LIKE, .domain = TB_DOMAIN_GRAD, .since = 1};
