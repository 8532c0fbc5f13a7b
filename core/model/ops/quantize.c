/* core/model/ops/quantize.c - QuantizeLinear, DequantizeLinear and
 * DynamicQuantizeLinear: one scale for all, one a slice of an axis, or one a
 * block along it. The gradient passes straight through, but not where
 * quantising cut a value off (straight-through, Bengio et al. 2013). */
#include <math.h>
#include <string.h>

#include "model/ops/op_priv.h"
#include "tensor/gemm_int8.h"

/* The tensor seen as [n_outer, n_slices, n_inner]. A slice has one scale; or,
 * with block > 0, each of its elements has its own, shared by block slices. */
typedef struct quant_state {
    size_t n_outer;
    size_t n_slices;
    size_t n_inner;
    size_t block;
    float low; /* range of the integer type */
    float high;
} quant_state;

#define TYPES_8     (TB_TYPE_BIT(TB_U8) | TB_TYPE_BIT(TB_I8))
#define TYPES_16    (TB_TYPE_BIT(TB_U16) | TB_TYPE_BIT(TB_I16))
#define TYPES_SCALE (TB_TYPES_F32 | TB_TYPE_BIT(TB_F16) | TB_TYPE_BIT(TB_BF16))

static void set_range(quant_state *s, tb_dtype dtype)
{
    bool wide = tb_dtype_in(dtype, TYPES_16);
    float steps = wide ? 65536.0f : 256.0f;
    bool is_signed = tb_dtype_in(dtype, TB_TYPES_SIGNED);
    s->low = is_signed ? -steps / 2.0f : 0.0f;
    s->high = s->low + steps - 1.0f;
}

static const tb_tensor *zero_point(const tb_call *call, size_t i)
{
    return tb_op_has(call, i) ? &call->in[i] : NULL;
}

/* One scale for each element of a block along the axis. */
static tb_rc plan_blocks(quant_state *s, const tb_shape *x,
                         const tb_tensor *scale, size_t axis, int64_t block,
                         tb_err *err)
{
    char text[TB_SHAPE_TEXT_BYTES];
    size_t size = (size_t)block;
    tb_shape want = *x;
    want.dim[axis] = x->dim[axis] / size + (x->dim[axis] % size != 0);
    if (!tb_shape_equal(&scale->shape, &want)) {
        return tb_fail(
            err, TB_E_MISMATCH, "scales %s, %s expected for blocks of %zu",
            tb_shape_text(&scale->shape, text),
            tb_shape_text(&want, (char[TB_SHAPE_TEXT_BYTES]){0}), size);
    }
    s->block = size;
    return TB_OK;
}

/* x: the tensor that is quantised. scale: one number, [extent of axis], or one
 * a block. zero: like scale, or omitted. */
static tb_rc plan(tb_call *call, const tb_shape *x, const tb_tensor *scale,
                  const tb_tensor *zero, tb_err *err)
{
    quant_state *s = TB_OP_STATE(quant_state, call);
    int64_t block = tb_node_int(call->node, "block_size", 0);
    size_t axis = 0;
    if (!tb_dtype_in(scale->dtype, TYPES_SCALE)) {
        return tb_fail(err, TB_E_UNSUPPORTED, "scale of %s, a float expected",
                       tb_dtype_name(scale->dtype));
    }
    if (block < 0) {
        return tb_fail(err, TB_E_MALFORMED, "block_size %lld",
                       (long long)block);
    }
    if (zero != NULL && tb_tensor_count(zero) != tb_tensor_count(scale)) {
        return tb_fail(err, TB_E_MISMATCH, "%zu zero points for %zu scales",
                       tb_tensor_count(zero), tb_tensor_count(scale));
    }
    *s = (quant_state){.n_outer = 1, .n_slices = 1, .n_inner = 1};
    if (tb_tensor_count(scale) == 1 && block == 0) {
        s->n_inner = tb_shape_product(x, 0, x->rank);
        return TB_OK;
    }
    tb_rc rc = tb_op_axis(&axis, tb_node_int(call->node, "axis", 1), x->rank,
                          false, err);
    if (rc != TB_OK) {
        return rc;
    }
    s->n_outer = tb_shape_product(x, 0, axis);
    s->n_slices = x->dim[axis];
    s->n_inner = tb_shape_product(x, axis + 1, x->rank);
    if (block > 0) {
        return plan_blocks(s, x, scale, axis, block, err);
    }
    if (scale->shape.rank != 1 || scale->shape.dim[0] != x->dim[axis]) {
        rc = tb_fail(err, TB_E_MISMATCH, "%zu scales for an axis of %zu slices",
                     tb_tensor_count(scale), x->dim[axis]);
    }
    return rc;
}

/* --- the walk over runs of elements with one scale ------------------------ */

typedef struct run_of {
    size_t at; /* first element */
    size_t n;
    float scale;
    float zero;
} run_of;

static float number_at(const tb_tensor *t, size_t i)
{
    return t->dtype == TB_F32 ? ((const float *)t->data)[i]
                              : (float)tb_tensor_f64_at(t, i);
}

static size_t n_runs(const quant_state *s)
{
    size_t slices = s->n_outer * s->n_slices;
    return s->block > 0 ? slices * s->n_inner : slices;
}

/* Run i; elements of one scale lie together. */
static run_of run_at(const quant_state *s, const tb_tensor *scale,
                     const tb_tensor *zero, size_t i)
{
    size_t slice = s->block > 0 ? i / s->n_inner : i;
    size_t k = slice % s->n_slices;
    if (s->block > 0) {
        size_t n_blocks = (s->n_slices + s->block - 1) / s->block;
        k = (slice / s->n_slices * n_blocks + k / s->block) * s->n_inner +
            i % s->n_inner;
    }
    return (run_of){.at = s->block > 0 ? i : slice * s->n_inner,
                    .n = s->block > 0 ? 1 : s->n_inner,
                    .scale = number_at(scale, k),
                    .zero =
                        zero == NULL ? 0.0f : (float)tb_tensor_i64_at(zero, k)};
}

/* --- QuantizeLinear ------------------------------------------------------- */

/* The type asked for: that of zero, else output_dtype, else u8. */
static tb_dtype quantized_type(const tb_call *call, const tb_tensor *zero)
{
    int64_t asked = tb_node_int(call->node, "output_dtype", 0);
    if (zero != NULL) {
        return zero->dtype;
    }
    return asked > 0 && asked <= TB_BF16 ? (tb_dtype)asked : TB_U8;
}

static tb_rc quantize_infer(tb_call *call, tb_err *err)
{
    const tb_tensor *zero = zero_point(call, 2);
    tb_dtype dtype = quantized_type(call, zero);
    tb_rc rc = TB_OK;
    if (!tb_dtype_in(dtype, TYPES_8 | TYPES_16)) {
        rc =
            tb_fail(err, TB_E_UNSUPPORTED, "to %s, u8, i8, u16 or i16 expected",
                    tb_dtype_name(dtype));
    }
    if (rc == TB_OK) {
        rc = plan(call, &call->in[0].shape, &call->in[1], zero, err);
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

/* y = clamp(round(x / scale) + zero) of rarer types */
static void quantize_each(const tb_call *call, const quant_state *s,
                          const run_of *r)
{
    for (size_t i = r->at; i < r->at + r->n; i++) {
        float q = on_grid(number_at(&call->in[0], i), r->scale, r->zero);
        q = q < s->low ? s->low : (q > s->high ? s->high : q);
        tb_tensor_put_i64(&call->out[0], i, (int64_t)q);
    }
}

static void quantize_run(const tb_call *call)
{
    const quant_state *s = TB_OP_CONST_STATE(quant_state, call);
    const tb_tensor *zero = zero_point(call, 2);
    bool plain =
        call->in[0].dtype == TB_F32 && tb_dtype_in(call->out[0].dtype, TYPES_8);
    for (size_t i = 0; i < n_runs(s); i++) {
        run_of r = run_at(s, &call->in[1], zero, i);
        if (plain) {
            tb_int8_quantize((uint8_t *)call->out[0].data + r.at,
                             tb_op_f32(call, 0) + r.at, r.n, r.scale,
                             s->low - r.zero, s->high - r.zero,
                             (int32_t)r.zero);
        } else {
            quantize_each(call, s, &r);
        }
    }
}

/* dx = dy where the value was in range */
static void quantize_backward(tb_grad *g)
{
    const tb_node *node = g->node;
    const tb_value_id in[4] = {g->dy[0], node->in[0], node->in[1],
                               node->n_in > 2 ? node->in[2] : TB_ID_NONE};
    const tb_attr attrs[] = {
        TB_ATTR_I("axis", tb_node_int(node, "axis", 1)),
        TB_ATTR_I("block_size", tb_node_int(node, "block_size", 0)),
        TB_ATTR_I("output_dtype", tb_node_int(node, "output_dtype", 0))};
    if (g->wants[0]) {
        g->dx[0] = tb_grad_emit(g, &(tb_node_spec){.domain = TB_DOMAIN_GRAD,
                                                   .op = "QuantizeGrad",
                                                   .attrs = attrs,
                                                   .n_attrs = TB_COUNT(attrs),
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
        rc = plan(call, &call->in[1].shape, &call->in[2], zero, err);
    }
    set_range(TB_OP_STATE(quant_state, call), quantized_type(call, zero));
    call->out[0] = tb_tensor_view(TB_F32, &call->in[1].shape, NULL);
    return rc;
}

static void quantize_grad_run(const tb_call *call)
{
    const quant_state *s = TB_OP_CONST_STATE(quant_state, call);
    const tb_tensor *zero = zero_point(call, 3);
    for (size_t i = 0; i < n_runs(s); i++) {
        run_of r = run_at(s, &call->in[2], zero, i);
        const float *dy = tb_op_f32(call, 0) + r.at;
        const float *x = tb_op_f32(call, 1) + r.at;
        float *dx = tb_op_f32_out(call) + r.at;
        for (size_t k = 0; k < r.n; k++) {
            float q = on_grid(x[k], r.scale, r.zero);
            dx[k] = q < s->low || q > s->high ? 0.0f : dy[k];
        }
    }
}

/* --- DequantizeLinear ----------------------------------------------------- */

static tb_rc dequantize_infer(tb_call *call, tb_err *err)
{
    const tb_tensor *zero = zero_point(call, 2);
    tb_dtype dtype = call->in[0].dtype;
    int64_t asked = tb_node_int(call->node, "output_dtype", 0);
    if (zero != NULL && zero->dtype != dtype) {
        return tb_fail(err, TB_E_MISMATCH, "zero point of %s for %s",
                       tb_dtype_name(zero->dtype), tb_dtype_name(dtype));
    }
    tb_rc rc = plan(call, &call->in[0].shape, &call->in[1], zero, err);
    tb_dtype to =
        asked > 0 && asked <= TB_BF16 ? (tb_dtype)asked : call->in[1].dtype;
    if (rc == TB_OK && !tb_dtype_in(to, TYPES_SCALE)) {
        rc = tb_fail(err, TB_E_UNSUPPORTED, "to %s, a float expected",
                     tb_dtype_name(to));
    }
    call->out[0] = tb_tensor_view(to, &call->in[0].shape, NULL);
    return rc;
}

#define DEQUANTIZE(type)                                                       \
    do {                                                                       \
        const type *x = (const type *)call->in[0].data + r->at;                \
        float *y = tb_op_f32_out(call) + r->at;                                \
        for (size_t k = 0; k < r->n; k++) {                                    \
            y[k] = ((float)x[k] - r->zero) * r->scale;                         \
        }                                                                      \
    } while (0)

static void dequantize_each(const tb_call *call, const run_of *r)
{
    for (size_t i = r->at; i < r->at + r->n; i++) {
        float x = (float)tb_tensor_i64_at(&call->in[0], i);
        tb_tensor_put_f64(&call->out[0], i, (double)((x - r->zero) * r->scale));
    }
}

/* y = (x - zero) * scale */
static void dequantize_run(const tb_call *call)
{
    const quant_state *s = TB_OP_CONST_STATE(quant_state, call);
    const tb_tensor *zero = zero_point(call, 2);
    tb_dtype dtype = call->in[0].dtype;
    bool plain = call->out[0].dtype == TB_F32;
    for (size_t i = 0; i < n_runs(s); i++) {
        run_of run = run_at(s, &call->in[1], zero, i);
        const run_of *r = &run;
        if (plain && dtype == TB_U8) {
            DEQUANTIZE(uint8_t);
        } else if (plain && dtype == TB_I8) {
            DEQUANTIZE(int8_t);
        } else if (plain && dtype == TB_I32) {
            DEQUANTIZE(int32_t);
        } else {
            dequantize_each(call, r);
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

/* --- DynamicQuantizeLinear ------------------------------------------------ */

static tb_rc dynamic_infer(tb_call *call, tb_err *err)
{
    const tb_shape scalar = {0};
    (void)err;
    call->out[0] = tb_tensor_view(TB_U8, &call->in[0].shape, NULL);
    for (size_t i = 1; i < call->n_out; i++) {
        call->out[i] = tb_tensor_view(i == 1 ? TB_F32 : TB_U8, &scalar, NULL);
    }
    return TB_OK;
}

/* scale = (max(x, 0) - min(x, 0)) / 255, zero = round(-min / scale); all zero:
 * scale 1. */
static void dynamic_run(const tb_call *call)
{
    const float *x = tb_op_f32(call, 0);
    size_t n = tb_tensor_count(&call->in[0]);
    float low = 0.0f;
    float high = 0.0f;
    for (size_t i = 0; i < n; i++) {
        low = x[i] < low ? x[i] : low;
        high = x[i] > high ? x[i] : high;
    }
    float scale = (high - low) / 255.0f;
    scale = scale > 0.0f ? scale : 1.0f;
    float zero = nearbyintf(fminf(fmaxf(-low / scale, 0.0f), 255.0f));
    tb_int8_quantize(call->out[0].data, x, n, scale, -zero, 255.0f - zero,
                     (int32_t)zero);
    if (call->n_out > 1 && call->out[1].data != NULL) {
        *(float *)call->out[1].data = scale;
    }
    if (call->n_out > 2 && call->out[2].data != NULL) {
        *(uint8_t *)call->out[2].data = (uint8_t)zero;
    }
}

/* --- the table ------------------------------------------------------------ */

/* DequantizeLinear has the first three. */
static const tb_attr_decl quantize_attrs[] = {
    {"axis", TB_ATTR_INT, false},
    {"block_size", TB_ATTR_INT, false},
    {"output_dtype", TB_ATTR_INT, false},
    {"saturate", TB_ATTR_INT, false}, /* of 8-bit floats only */
    {"precision", TB_ATTR_INT, false}};

#define QUANT(dom, text, first, min, max, known)                               \
    .domain = dom, .name = text, .since = first, .until = TB_OPSET_ANY,        \
    .in_min = min, .in_max = max, .out_min = 1, .out_max = 1,                  \
    .attrs = quantize_attrs, .n_attrs = known

const tb_op tb_op_quantize = {
    QUANT(TB_DOMAIN_ONNX, "QuantizeLinear", 10, 2, 3, TB_COUNT(quantize_attrs)),
    .types = TYPES_SCALE | TB_TYPE_BIT(TB_I32),
    .flops_each = 3,
    .infer = quantize_infer,
    .run = quantize_run,
    .backward = quantize_backward};

const tb_op tb_op_dequantize = {
    QUANT(TB_DOMAIN_ONNX, "DequantizeLinear", 10, 2, 3, 3),
    .types = TYPES_8 | TYPES_16 | TB_TYPE_BIT(TB_I32),
    .flops_each = 2,
    .infer = dequantize_infer,
    .run = dequantize_run,
    .backward = dequantize_backward};

const tb_op tb_op_quantize_grad = {
    QUANT(TB_DOMAIN_GRAD, "QuantizeGrad", 1, 3, 4, 3), .flops_each = 3,
    .infer = quantize_grad_infer, .run = quantize_grad_run};

const tb_op tb_op_dynamic_quantize = {.domain = TB_DOMAIN_ONNX,
                                      .name = "DynamicQuantizeLinear",
                                      .since = 11,
                                      .until = TB_OPSET_ANY,
                                      .in_min = 1,
                                      .in_max = 1,
                                      .out_min = 3,
                                      .out_max = 3,
                                      .types = TB_TYPES_F32,
                                      .flops_each = 5,
                                      .infer = dynamic_infer,
                                      .run = dynamic_run};
