/* core/model/ops/clip.c - Clip: limits are inputs from opset 11 on, attributes
 * before. */
#include <math.h>

#include "model/ops/op_priv.h"

typedef struct clip_state {
    float low, high; /* where no input says otherwise */
} clip_state;

static tb_rc check_limit(const tb_call *call, size_t i, tb_err *err)
{
    if (tb_op_has(call, i) && tb_tensor_count(&call->in[i]) != 1) {
        return tb_fail(err, TB_E_MISMATCH, "a limit of %zu numbers",
                       tb_tensor_count(&call->in[i]));
    }
    return TB_OK;
}

/* Limits stand behind input `x`. */
static tb_rc plan(tb_call *call, size_t x, tb_err *err)
{
    *TB_OP_STATE(clip_state, call) =
        (clip_state){tb_node_float(call->node, "min", -INFINITY),
                     tb_node_float(call->node, "max", INFINITY)};
    tb_rc rc = tb_op_need_same_type(call, 0, call->n_in, err);
    for (size_t i = x + 1; i <= x + 2 && rc == TB_OK; i++) {
        rc = check_limit(call, i, err);
    }
    call->out[0] = tb_tensor_view(call->in[0].dtype, &call->in[0].shape, NULL);
    return rc;
}

/* --- forward -------------------------------------------------------------- */

static tb_rc infer(tb_call *call, tb_err *err)
{
    return plan(call, 0, err);
}

/* The number at input i, or what stands for it. */
static double limit(const tb_call *call, size_t i, float otherwise)
{
    return tb_op_has(call, i) ? tb_tensor_f64_at(&call->in[i], 0)
                              : (double)otherwise;
}

static void run_real(const tb_call *call, double low, double high)
{
    const tb_tensor *x = &call->in[0];
    for (size_t i = 0; i < tb_tensor_count(x); i++) {
        double at = tb_tensor_f64_at(x, i);
        at = at < low ? low : at;
        tb_tensor_put_f64(&call->out[0], i, at > high ? high : at);
    }
}

static void run_whole(const tb_call *call)
{
    const tb_tensor *x = &call->in[0];
    int64_t low =
        tb_op_has(call, 1) ? tb_tensor_i64_at(&call->in[1], 0) : INT64_MIN;
    int64_t high =
        tb_op_has(call, 2) ? tb_tensor_i64_at(&call->in[2], 0) : INT64_MAX;
    for (size_t i = 0; i < tb_tensor_count(x); i++) {
        int64_t at = tb_tensor_i64_at(x, i);
        at = at < low ? low : at;
        tb_tensor_put_i64(&call->out[0], i, at > high ? high : at);
    }
}

static void run_natural(const tb_call *call)
{
    const uint64_t *x = call->in[0].data;
    uint64_t *y = call->out[0].data;
    uint64_t low = tb_op_has(call, 1) ? *(const uint64_t *)call->in[1].data : 0;
    uint64_t high =
        tb_op_has(call, 2) ? *(const uint64_t *)call->in[2].data : UINT64_MAX;
    for (size_t i = 0; i < tb_tensor_count(&call->in[0]); i++) {
        uint64_t at = x[i] < low ? low : x[i];
        y[i] = at > high ? high : at;
    }
}

/* y = min(max(x, low), high) */
static void run(const tb_call *call)
{
    const clip_state *state = TB_OP_CONST_STATE(clip_state, call);
    tb_dtype dtype = call->in[0].dtype;
    double low = 0;
    double high = 0;
    if (tb_dtype_in(dtype, TB_TYPES_FLOAT)) {
        low = limit(call, 1, state->low);
        high = limit(call, 2, state->high);
    }
    if (dtype == TB_F32) {
        tb_k_clip(tb_op_f32_out(call), tb_op_f32(call, 0),
                  tb_tensor_count(&call->in[0]), (float)low, (float)high);
    } else if (dtype == TB_U64) {
        run_natural(call);
    } else if (tb_dtype_in(dtype, TB_TYPES_FLOAT)) {
        run_real(call, low, high);
    } else {
        run_whole(call);
    }
}

/* --- backward ------------------------------------------------------------- */

/* dx = low <= x <= high ? dy : 0; limits get none */
static void backward(tb_grad *g)
{
    const tb_node *node = g->node;
    tb_value_id in[4] = {g->dy[0], node->in[0], TB_ID_NONE, TB_ID_NONE};
    const tb_attr attrs[2] = {
        TB_ATTR_F("min", tb_node_float(node, "min", -INFINITY)),
        TB_ATTR_F("max", tb_node_float(node, "max", INFINITY))};
    for (size_t i = 1; i < node->n_in; i++) {
        in[1 + i] = node->in[i];
    }
    g->dx[0] = tb_grad_emit(g, &(tb_node_spec){.domain = TB_DOMAIN_GRAD,
                                               .op = "ClipGrad",
                                               .attrs = attrs,
                                               .n_attrs = TB_COUNT(attrs),
                                               .in = in,
                                               .n_in = 1 + node->n_in});
}

static tb_rc grad_infer(tb_call *call, tb_err *err)
{
    tb_rc rc = plan(call, 1, err);
    if (rc == TB_OK &&
        !tb_shape_equal(&call->in[0].shape, &call->in[1].shape)) {
        rc = tb_fail(err, TB_E_MISMATCH, "a gradient of another shape");
    }
    return rc;
}

static void grad_run(const tb_call *call)
{
    const clip_state *state = TB_OP_CONST_STATE(clip_state, call);
    const tb_tensor *dy = &call->in[0];
    size_t n = tb_tensor_count(dy);
    double low = limit(call, 2, state->low);
    double high = limit(call, 3, state->high);
    if (dy->dtype == TB_F32) {
        tb_k_clip_grad(tb_op_f32_out(call), tb_op_f32(call, 1), dy->data, n,
                       (float)low, (float)high);
        return;
    }
    for (size_t i = 0; i < n; i++) {
        double x = tb_tensor_f64_at(&call->in[1], i);
        tb_tensor_put_f64(&call->out[0], i,
                          x >= low && x <= high ? tb_tensor_f64_at(dy, i) : 0);
    }
}

/* --- the table ------------------------------------------------------------ */

static const tb_attr_decl limits[] = {{"min", TB_ATTR_FLOAT, false},
                                      {"max", TB_ATTR_FLOAT, false}};

#define CLIP(first, last, n)                                                   \
    .domain = TB_DOMAIN_ONNX, .name = "Clip", .since = first, .until = last,   \
    .in_min = 1, .in_max = n, .out_min = 1, .out_max = 1, .in_place = 1,       \
    .flops_each = 2, .infer = infer, .run = run, .backward = backward

const tb_op tb_op_clip = {CLIP(11, TB_OPSET_ANY, 3), .types = TB_TYPES_NUMBER};
const tb_op tb_op_clip_6 = {CLIP(6, 10, 1), .types = TB_TYPES_FLOAT,
                            .attrs = limits, .n_attrs = TB_COUNT(limits)};

const tb_op tb_op_clip_grad = {.domain = TB_DOMAIN_GRAD,
                               .name = "ClipGrad",
                               .since = 1,
                               .until = TB_OPSET_ANY,
                               .in_min = 2,
                               .in_max = 4,
                               .out_min = 1,
                               .out_max = 1,
                               .attrs = limits,
                               .n_attrs = TB_COUNT(limits),
                               .in_place = 1,
                               .types = TB_TYPES_FLOAT,
                               .flops_each = 2,
                               .infer = grad_infer,
                               .run = grad_run};
