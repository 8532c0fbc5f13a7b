/* core/model/ops/quantize.c - QuantizeLinear and DequantizeLinear, per tensor
 * or per slice of an axis. The gradient passes straight through, but not where
 * quantising cut a value off (straight-through, Bengio et al. 2013). */
#include <math.h>
#include <string.h>

#include "model/ops/op_priv.h"

/* The tensor seen as [n_outer, n_slices, n_inner], one scale a slice. */
typedef struct quant_state {
    size_t n_outer;
    size_t n_slices;
    size_t n_inner;
    int32_t low; /* range of the integer type */
    int32_t high;
} quant_state;

static void set_range(quant_state *s, tb_dtype dtype)
{
    s->low = dtype == TB_I8 ? -128 : 0;
    s->high = dtype == TB_I8 ? 127 : 255;
}

/* scale: one number, or [extent of axis]. zero: like scale, or omitted. */
static tb_rc plan(tb_call *call, const tb_tensor *scale, const tb_tensor *zero,
                  tb_err *err)
{
    quant_state *s = TB_OP_STATE(quant_state, call);
    const tb_shape *x = &call->in[0].shape;
    size_t axis = 0;
    if (scale->dtype != TB_F32) {
        return tb_fail(err, TB_E_UNSUPPORTED, "scale of %s, f32 expected",
                       tb_dtype_name(scale->dtype));
    }
    if (zero != NULL && tb_tensor_count(zero) != tb_tensor_count(scale)) {
        return tb_fail(err, TB_E_MISMATCH, "%zu zero points for %zu scales",
                       tb_tensor_count(zero), tb_tensor_count(scale));
    }
    *s = (quant_state){.n_outer = 1, .n_slices = 1, .n_inner = 1};
    if (tb_tensor_count(scale) == 1) {
        s->n_inner = tb_tensor_count(&call->in[0]);
        return TB_OK;
    }
    tb_rc rc = tb_op_axis(&axis, tb_node_int(call->node, "axis", 1), x->rank,
                          false, err);
    if (rc != TB_OK) {
        return rc;
    }
    if (scale->shape.rank != 1 || scale->shape.dim[0] != x->dim[axis]) {
        return tb_fail(err, TB_E_MISMATCH,
                       "%zu scales for an axis of %zu slices",
                       tb_tensor_count(scale), x->dim[axis]);
    }
    s->n_outer = tb_shape_product(x, 0, axis);
    s->n_slices = x->dim[axis];
    s->n_inner = tb_shape_product(x, axis + 1, x->rank);
    return TB_OK;
}

static const tb_tensor *zero_point(const tb_call *call, size_t i)
{
    return tb_op_has(call, i) ? &call->in[i] : NULL;
}

static float zero_at(const tb_tensor *zero, size_t slice)
{
    return zero == NULL ? 0.0f : (float)tb_tensor_i64_at(zero, slice);
}

/* --- QuantizeLinear ------------------------------------------------------- */

static tb_rc quantize_infer(tb_call *call, tb_err *err)
{
    const tb_tensor *zero = zero_point(call, 2);
    tb_dtype dtype = zero != NULL ? zero->dtype : TB_U8;
    tb_rc rc = tb_op_need_f32(call, 1, err);
    if (rc == TB_OK && dtype != TB_U8 && dtype != TB_I8) {
        rc = tb_fail(err, TB_E_UNSUPPORTED, "to %s, u8 or i8 expected",
                     tb_dtype_name(dtype));
    }
    if (rc == TB_OK) {
        rc = plan(call, &call->in[1], zero, err);
    }
    set_range(TB_OP_STATE(quant_state, call), dtype);
    call->out[0] = tb_tensor_view(dtype, &call->in[0].shape, NULL);
    return rc;
}

/* One value on the grid, before it is cut to the range; half goes to even.
 * NaN becomes the zero point. */
static float on_grid(float x, float scale, float zero)
{
    float q = nearbyintf(x / scale);
    return (isnan(q) ? 0.0f : q) + zero;
}

static uint8_t cut(const quant_state *s, float q)
{
    float low = (float)s->low;
    float high = (float)s->high;
    float in_range = q < low ? low : (q > high ? high : q);
    return (uint8_t)(int32_t)in_range; /* the bits of an int8 as well */
}

/* y = clamp(round(x / scale) + zero) */
static void quantize_run(const tb_call *call)
{
    const quant_state *s = TB_OP_CONST_STATE(quant_state, call);
    const tb_tensor *zero = zero_point(call, 2);
    const float *x = tb_op_f32(call, 0);
    uint8_t *y = call->out[0].data;
    for (size_t o = 0; o < s->n_outer; o++) {
        for (size_t c = 0; c < s->n_slices; c++) {
            float scale = tb_op_f32(call, 1)[c];
            float z = zero_at(zero, c);
            for (size_t i = 0; i < s->n_inner; i++) {
                *y++ = cut(s, on_grid(*x++, scale, z));
            }
        }
    }
}

/* dx = dy where the value was in range */
static void quantize_backward(tb_grad *g)
{
    const tb_value_id in[4] = {g->dy[0], g->node->in[0], g->node->in[1],
                               g->node->n_in > 2 ? g->node->in[2] : TB_ID_NONE};
    const tb_attr axis = TB_ATTR_I("axis", tb_node_int(g->node, "axis", 1));
    if (g->wants[0]) {
        g->dx[0] = tb_grad_emit(g, &(tb_node_spec){.domain = TB_DOMAIN_GRAD,
                                                   .op = "QuantizeGrad",
                                                   .attrs = &axis,
                                                   .n_attrs = 1,
                                                   .in = in,
                                                   .n_in = TB_COUNT(in)});
    }
}

/* dy, x, scale, zero */
static tb_rc quantize_grad_infer(tb_call *call, tb_err *err)
{
    const tb_tensor *zero = zero_point(call, 3);
    tb_rc rc = tb_op_need_f32(call, 2, err);
    if (rc == TB_OK) {
        rc = plan(call, &call->in[2], zero, err);
    }
    set_range(TB_OP_STATE(quant_state, call),
              zero != NULL ? zero->dtype : TB_U8);
    call->out[0] = tb_tensor_view(TB_F32, &call->in[1].shape, NULL);
    return rc;
}

static void quantize_grad_run(const tb_call *call)
{
    const quant_state *s = TB_OP_CONST_STATE(quant_state, call);
    const tb_tensor *zero = zero_point(call, 3);
    const float *dy = tb_op_f32(call, 0);
    const float *x = tb_op_f32(call, 1);
    float *dx = tb_op_f32_out(call);
    for (size_t o = 0; o < s->n_outer; o++) {
        for (size_t c = 0; c < s->n_slices; c++) {
            float scale = tb_op_f32(call, 2)[c];
            float z = zero_at(zero, c);
            for (size_t i = 0; i < s->n_inner; i++) {
                float q = on_grid(*x++, scale, z);
                float d = *dy++;
                *dx++ = q < (float)s->low || q > (float)s->high ? 0.0f : d;
            }
        }
    }
}

/* --- DequantizeLinear ----------------------------------------------------- */

static tb_rc dequantize_infer(tb_call *call, tb_err *err)
{
    const tb_tensor *zero = zero_point(call, 2);
    tb_dtype dtype = call->in[0].dtype;
    if (dtype != TB_U8 && dtype != TB_I8 && dtype != TB_I32) {
        return tb_fail(err, TB_E_UNSUPPORTED, "of %s, u8, i8 or i32 expected",
                       tb_dtype_name(dtype));
    }
    if (zero != NULL && zero->dtype != dtype) {
        return tb_fail(err, TB_E_MISMATCH, "zero point of %s for %s",
                       tb_dtype_name(zero->dtype), tb_dtype_name(dtype));
    }
    call->out[0] = tb_tensor_view(TB_F32, &call->in[0].shape, NULL);
    return plan(call, &call->in[1], zero, err);
}

#define DEQUANTIZE(type)                                                       \
    do {                                                                       \
        const type *x = (const type *)call->in[0].data + at;                   \
        for (size_t i = 0; i < s->n_inner; i++) {                              \
            y[i] = ((float)x[i] - z) * scale;                                  \
        }                                                                      \
    } while (0)

/* y = (x - zero) * scale */
static void dequantize_run(const tb_call *call)
{
    const quant_state *s = TB_OP_CONST_STATE(quant_state, call);
    const tb_tensor *zero = zero_point(call, 2);
    size_t at = 0;
    for (size_t o = 0; o < s->n_outer; o++) {
        for (size_t c = 0; c < s->n_slices; c++) {
            float *y = tb_op_f32_out(call) + at;
            float scale = tb_op_f32(call, 1)[c];
            float z = zero_at(zero, c);
            if (call->in[0].dtype == TB_U8) {
                DEQUANTIZE(uint8_t);
            } else if (call->in[0].dtype == TB_I8) {
                DEQUANTIZE(int8_t);
            } else {
                DEQUANTIZE(int32_t);
            }
            at += s->n_inner;
        }
    }
}

/* dx = dy: both halves of a pair count as one identity */
static void dequantize_backward(tb_grad *g)
{
    if (g->wants[0]) {
        g->dx[0] = g->dy[0];
    }
}

/* --- the table ------------------------------------------------------------ */

static const tb_attr_decl axis_attr[] = {{"axis", TB_ATTR_INT, false}};

#define QUANT(dom, text, first, min, max)                                      \
    .domain = dom, .name = text, .since = first, .until = TB_OPSET_ANY,        \
    .in_min = min, .in_max = max, .out_min = 1, .out_max = 1,                  \
    .attrs = axis_attr, .n_attrs = TB_COUNT(axis_attr)

const tb_op tb_op_quantize = {QUANT(TB_DOMAIN_ONNX, "QuantizeLinear", 10, 2, 3),
                              .infer = quantize_infer, .run = quantize_run,
                              .backward = quantize_backward};

const tb_op tb_op_dequantize = {
    QUANT(TB_DOMAIN_ONNX, "DequantizeLinear", 10, 2, 3),
    .infer = dequantize_infer, .run = dequantize_run,
    .backward = dequantize_backward};

const tb_op tb_op_quantize_grad = {
    QUANT(TB_DOMAIN_GRAD, "QuantizeGrad", 1, 3, 4),
    .infer = quantize_grad_infer, .run = quantize_grad_run};
