/* core/model/ops/conv.c - Conv, ConvTranspose and their gradients. One is the
 * other's input gradient, so both run on one geometry (tensor/conv.h):
 *   Conv            y = conv(x, w) + b
 *   ConvTranspose   y = dx of a convolution whose dy is our x
 */
#include <string.h>

#include "base/mem.h"
#include "model/ops/conv.h"
#include "model/ops/op_priv.h"
#include "model/ops/window.h"

/* Where a gradient lies in the scratch memory while its parameter stands in
 * its place; 0: it goes to its place itself. */
typedef struct conv_step {
    size_t at; /* in floats */
    const float *keep;
    const float *rate;
} conv_step;

enum { DW, DX, DB, N_GRADS }; /* outputs of ConvGrad and ConvTransposeGrad */

typedef struct conv_state {
    tb_conv conv;
    conv_step step[N_GRADS];
    size_t norm_at; /* of the scales in the scratch memory, in floats; 0: no
                     * BatchNormalization follows */
    float epsilon;  /* of it */
} conv_state;

_Static_assert(sizeof(conv_state) <= TB_OP_STATE_BYTES, "state too large");

#define WORK_BORDER 64

/* --- infer ---------------------------------------------------------------- */

/* From the window, the two channel counts and the group attribute. */
static tb_rc set_conv(tb_conv *c, const tb_window *w, const tb_node *node,
                      size_t batch, tb_err *err)
{
    int64_t group = tb_node_int(node, "group", 1);
    c->batch = batch;
    c->groups = group > 0 ? (size_t)group : 1;
    if (group <= 0 || c->in_channels % c->groups != 0 ||
        c->out_channels % c->groups != 0) {
        return tb_fail(err, TB_E_MISMATCH,
                       "%lld groups of %zu and %zu channels", (long long)group,
                       c->in_channels, c->out_channels);
    }
    memcpy(c->in, w->in, sizeof c->in);
    memcpy(c->out, w->out, sizeof c->out);
    memcpy(c->kernel, w->kernel, sizeof c->kernel);
    memcpy(c->stride, w->stride, sizeof c->stride);
    memcpy(c->dilation, w->dilation, sizeof c->dilation);
    memcpy(c->pad, w->pad, sizeof c->pad);
    return TB_OK;
}

static tb_rc check_bias(const tb_call *call, size_t channels, tb_err *err)
{
    if (tb_op_has(call, 2) &&
        !tb_shape_equal(&call->in[2].shape, &TB_SHAPE(channels))) {
        char text[TB_SHAPE_TEXT_BYTES];
        return tb_fail(err, TB_E_MISMATCH, "bias of shape %s for %zu channels",
                       tb_shape_text(&call->in[2].shape, text), channels);
    }
    return TB_OK;
}

/* The geometry of x and w at inputs `x` and x + 1, as Conv or ConvTranspose
 * (turned) reads them, and the shape of y. */
static tb_rc read_geometry(tb_call *call, size_t x, bool turned, tb_shape *y,
                           tb_err *err)
{
    tb_conv *c = &TB_OP_STATE(conv_state, call)->conv;
    const tb_shape *xs = &call->in[x].shape;
    const tb_shape *ws = &call->in[x + 1].shape;
    tb_window w;
    tb_rc rc = tb_op_need_f32(call, call->n_in, err);
    if (rc == TB_OK) {
        rc = turned ? tb_window_transposed(&w, call->node, xs, ws, err)
                    : tb_window_of(&w, call->node, xs, ws, err);
    }
    if (rc != TB_OK) {
        return rc;
    }
    size_t groups = (size_t)tb_node_int(call->node, "group", 1);
    *c = (tb_conv){.out_channels = ws->dim[0],
                   .in_channels = turned ? ws->dim[1] * groups : xs->dim[1]};
    rc = set_conv(c, &w, call->node, xs->dim[0], err);
    bool fits = turned ? xs->dim[1] == ws->dim[0]
                       : xs->dim[1] / c->groups == ws->dim[1];
    if (rc == TB_OK && (!fits || ws->dim[0] == 0 || ws->dim[1] == 0)) {
        char a[TB_SHAPE_TEXT_BYTES];
        char b[TB_SHAPE_TEXT_BYTES];
        rc = tb_fail(err, TB_E_MISMATCH,
                     "input %s and weights %s in %zu groups do not fit",
                     tb_shape_text(xs, a), tb_shape_text(ws, b), c->groups);
    }
    if (rc == TB_OK) {
        *y = tb_window_shape(&w, xs->dim[0],
                             turned ? c->in_channels : c->out_channels,
                             turned ? c->in : c->out);
    }
    return rc;
}

static tb_rc infer_forward(tb_call *call, bool turned, tb_err *err)
{
    tb_conv *c = &TB_OP_STATE(conv_state, call)->conv;
    tb_shape y;
    tb_rc rc = read_geometry(call, 0, turned, &y, err);
    c->exact = call->training;
    if (rc == TB_OK) {
        rc = check_bias(call, y.dim[1], err);
    }
    if (rc == TB_OK) {
        rc = tb_conv_plan(&call->work_bytes, c, turned ? TB_CONV_DX : TB_CONV_Y,
                          err);
    }
    if (rc == TB_OK) {
        call->out[0] = tb_tensor_view(TB_F32, &y, NULL);
    }
    return rc;
}

/* Of one product of weights and pixels, whichever of the three is sought: a
 * multiplication and an addition for each tap of each channel of each output
 * pixel. */
static double product_flops(const tb_conv *c)
{
    double n = 2.0 * (double)c->batch * (double)c->out_channels *
               (double)(c->in_channels / c->groups);
    for (size_t d = 0; d < TB_CONV_DIMS; d++) {
        n *= (double)c->out[d] * (double)c->kernel[d];
    }
    return n;
}

static double conv_flops(const tb_call *call)
{
    return product_flops(&TB_OP_CONST_STATE(conv_state, call)->conv);
}

static tb_rc conv_infer(tb_call *call, tb_err *err)
{
    return infer_forward(call, false, err);
}

static tb_rc transpose_infer(tb_call *call, tb_err *err)
{
    return infer_forward(call, true, err);
}

bool tb_op_conv_clamp(tb_call *call, float low, float high)
{
    tb_conv *c = &TB_OP_STATE(conv_state, call)->conv;
    if (call->op != &tb_op_conv || c->clamp) {
        return false;
    }
    c->clamp = true;
    c->low = low;
    c->high = high;
    return true;
}

/* n more floats of scratch memory on a border of their own, never at 0. */
static bool take_work(tb_call *call, size_t *at, size_t n)
{
    size_t gap = WORK_BORDER + (0 - call->work_bytes) % WORK_BORDER;
    size_t from = 0;
    size_t end = 0;
    if (tb_mem_add(&from, call->work_bytes, gap) != 0 ||
        tb_mem_mul(&end, n, sizeof(float)) != 0 ||
        tb_mem_add(&end, from, end) != 0) {
        return false;
    }
    *at = from / sizeof(float);
    call->work_bytes = end;
    return true;
}

bool tb_op_conv_norm(tb_call *call, const tb_call *norm)
{
    conv_state *state = TB_OP_STATE(conv_state, call);
    if (call->op != &tb_op_conv || call->training || state->conv.clamp ||
        state->norm_at > 0 ||
        !take_work(call, &state->norm_at, state->conv.out_channels)) {
        return false;
    }
    state->epsilon = tb_node_float(norm->node, "epsilon", TB_OP_EPSILON);
    return true;
}

/* --- forward -------------------------------------------------------------- */

static const float *bias_of(const tb_call *call)
{
    return tb_op_has(call, 2) ? tb_op_f32(call, 2) : NULL;
}

enum { IN_SCALE = 3, IN_SHIFT, IN_MEAN, IN_VARIANCE, N_IN_NORM };

/* y = conv(x, w) + b; then perhaps (y - mean) / sqrt(variance + epsilon) scale
 * + shift, as it stands in this run */
static void conv_run(const tb_call *call)
{
    const conv_state *state = TB_OP_CONST_STATE(conv_state, call);
    tb_conv c = state->conv;
    tb_conv_norm norm;
    if (state->norm_at > 0) {
        float *scale = (float *)call->work + state->norm_at;
        const float *variance = tb_op_f32(call, IN_VARIANCE);
        for (size_t i = 0; i < c.out_channels; i++) {
            scale[i] = tb_op_rstd((double)variance[i], state->epsilon) *
                       tb_op_f32(call, IN_SCALE)[i];
        }
        norm = (tb_conv_norm){tb_op_f32(call, IN_MEAN), scale,
                              tb_op_f32(call, IN_SHIFT)};
        c.norm = &norm;
    }
    tb_conv_forward(&c, tb_op_f32(call, 0), tb_op_f32(call, 1), bias_of(call),
                    tb_op_f32_out(call), call->work);
}

/* y[i] = sum of w[k] x[o] over all (i, k, o) that meet, + b */
static void transpose_run(const tb_call *call)
{
    const tb_conv *c = &TB_OP_CONST_STATE(conv_state, call)->conv;
    float *y = tb_op_f32_out(call);
    size_t pixels =
        tb_shape_product(&call->out[0].shape, 2, call->out[0].shape.rank);
    tb_conv_backward(c,
                     &(tb_conv_grads){.w = tb_op_f32(call, 1),
                                      .dy = tb_op_f32(call, 0),
                                      .dx = y},
                     call->work);
    for (size_t n = 0; n < c->batch && bias_of(call) != NULL; n++) {
        tb_conv_finish(c, y + n * c->in_channels * pixels, c->in_channels,
                       pixels, bias_of(call));
    }
}

/* --- backward ------------------------------------------------------------- */

/* One node makes all that is wanted, since the pieces share their work. */
static void emit_grads(tb_grad *g, const char *op)
{
    static const size_t of_input[] = {DX, DW, DB};
    const tb_value_id in[3] = {g->dy[0], g->node->in[0], g->node->in[1]};
    tb_value_id out[N_GRADS] = {TB_ID_NONE, TB_ID_NONE, TB_ID_NONE};
    bool wants[N_GRADS] = {false};
    for (size_t i = 0; i < g->node->n_in; i++) {
        wants[of_input[i]] = g->wants[i];
    }
    tb_grad_emit_many(g,
                      &(tb_node_spec){.domain = TB_DOMAIN_GRAD,
                                      .op = op,
                                      .attrs = g->node->attrs,
                                      .n_attrs = g->node->n_attrs,
                                      .in = in,
                                      .n_in = 3},
                      out, wants, N_GRADS);
    for (size_t i = 0; i < g->node->n_in; i++) {
        g->dx[i] = out[of_input[i]];
    }
}

static void conv_backward(tb_grad *g)
{
    emit_grads(g, "ConvGrad");
}

static void transpose_backward(tb_grad *g)
{
    emit_grads(g, "ConvTransposeGrad");
}

static bool is_wanted(const tb_call *call, size_t i)
{
    return i < call->n_out && call->node->out[i] != TB_ID_NONE;
}

static tb_rc infer_grads(tb_call *call, bool turned, tb_err *err)
{
    tb_conv *c = &TB_OP_STATE(conv_state, call)->conv;
    tb_shape y;
    unsigned parts = 0;
    tb_rc rc = read_geometry(call, 1, turned, &y, err);
    if (rc == TB_OK && !tb_shape_equal(&y, &call->in[0].shape)) {
        char a[TB_SHAPE_TEXT_BYTES];
        char b[TB_SHAPE_TEXT_BYTES];
        rc =
            tb_fail(err, TB_E_MISMATCH, "gradient %s of %s",
                    tb_shape_text(&call->in[0].shape, a), tb_shape_text(&y, b));
    }
    if (rc != TB_OK) {
        return rc;
    }
    const tb_shape shapes[N_GRADS] = {[DW] = call->in[2].shape,
                                      [DX] = call->in[1].shape,
                                      [DB] = TB_SHAPE(y.dim[1])};
    for (size_t i = 0; i < call->n_out; i++) {
        call->out[i] = tb_tensor_view(TB_F32, &shapes[i], NULL);
    }
    c->exact = true;
    parts |= is_wanted(call, DW) ? TB_CONV_DW : 0;
    parts |= is_wanted(call, DX) ? (turned ? TB_CONV_Y : TB_CONV_DX) : 0;
    return tb_conv_plan(&call->work_bytes, c, parts, err);
}

static double grad_flops(const tb_call *call)
{
    double products =
        (is_wanted(call, DW) ? 1 : 0) + (is_wanted(call, DX) ? 1 : 0);
    return products * conv_flops(call);
}

static tb_rc conv_grad_infer(tb_call *call, tb_err *err)
{
    return infer_grads(call, false, err);
}

static tb_rc transpose_grad_infer(tb_call *call, tb_err *err)
{
    return infer_grads(call, true, err);
}

/* --- backward, with a step of SGD ----------------------------------------- */

bool tb_op_conv_step(tb_call *call, size_t out, const float *keep,
                     const float *rate)
{
    conv_state *state = TB_OP_STATE(conv_state, call);
    bool grad =
        call->op == &tb_op_conv_grad || call->op == &tb_op_conv_transpose_grad;
    if (!grad || (out != DW && out != DB)) {
        return false;
    }
    size_t at = 0;
    if (!take_work(call, &at, tb_tensor_count(&call->out[out]))) {
        return false;
    }
    state->step[out] = (conv_step){at, keep, rate};
    return true;
}

/* Where gradient i goes; NULL: nobody wants it. */
static float *out_of(const tb_call *call, size_t i)
{
    size_t at = TB_OP_CONST_STATE(conv_state, call)->step[i].at;
    if (at > 0) {
        return (float *)call->work + at;
    }
    return i < call->n_out ? call->out[i].data : NULL;
}

/* Moves the parameters that wait for their gradients. */
static void take_steps(const tb_call *call)
{
    const conv_state *state = TB_OP_CONST_STATE(conv_state, call);
    for (size_t i = 0; i < N_GRADS; i++) {
        const conv_step *s = &state->step[i];
        if (s->at > 0) {
            tb_k_axpby(call->out[i].data, (const float *)call->work + s->at,
                       tb_tensor_count(&call->out[i]), -*s->rate, *s->keep);
        }
    }
}

/* dw, dx, db from dy, x, w */
static void conv_grad_run(const tb_call *call)
{
    tb_conv_backward(&TB_OP_CONST_STATE(conv_state, call)->conv,
                     &(tb_conv_grads){.dy = tb_op_f32(call, 0),
                                      .x = tb_op_f32(call, 1),
                                      .w = tb_op_f32(call, 2),
                                      .dw = out_of(call, DW),
                                      .dx = out_of(call, DX),
                                      .db = out_of(call, DB)},
                     call->work);
    take_steps(call);
}

/* y = dx(w, x): dx = conv(dy, w), and dw meets dy where a convolution's meets
 * its x */
static void transpose_grad_run(const tb_call *call)
{
    const tb_conv *c = &TB_OP_CONST_STATE(conv_state, call)->conv;
    const float *dy = tb_op_f32(call, 0);
    if (out_of(call, DX) != NULL) {
        tb_conv_forward(c, dy, tb_op_f32(call, 2), NULL, out_of(call, DX),
                        call->work);
    }
    if (out_of(call, DW) != NULL) {
        tb_conv_backward(c,
                         &(tb_conv_grads){.x = dy,
                                          .dy = tb_op_f32(call, 1),
                                          .dw = out_of(call, DW)},
                         call->work);
    }
    if (out_of(call, DB) != NULL) {
        tb_conv_bias_grad(
            out_of(call, DB), dy, c->batch, c->in_channels,
            tb_shape_product(&call->in[0].shape, 2, call->in[0].shape.rank));
    }
    take_steps(call);
}

/* --- the table ------------------------------------------------------------ */

static const tb_attr_decl conv_attrs[] = {{"group", TB_ATTR_INT, false},
                                          TB_WINDOW_ATTRS};

static const tb_attr_decl transpose_attrs[] = {
    {"group", TB_ATTR_INT, false},
    {"output_padding", TB_ATTR_INTS, false},
    {"output_shape", TB_ATTR_INTS, false},
    TB_WINDOW_ATTRS};

const tb_op tb_op_conv = {.domain = TB_DOMAIN_ONNX,
                          .name = "Conv",
                          .since = 1,
                          .until = TB_OPSET_ANY,
                          .in_min = 2,
                          .in_max = 3,
                          .out_min = 1,
                          .out_max = 1,
                          .attrs = conv_attrs,
                          .n_attrs = TB_COUNT(conv_attrs),
                          .trains = 6,
                          .types = TB_TYPES_F32,
                          .flops = conv_flops,
                          .infer = conv_infer,
                          .run = conv_run,
                          .backward = conv_backward};

const tb_op tb_op_conv_transpose = {.domain = TB_DOMAIN_ONNX,
                                    .name = "ConvTranspose",
                                    .since = 1,
                                    .until = TB_OPSET_ANY,
                                    .in_min = 2,
                                    .in_max = 3,
                                    .out_min = 1,
                                    .out_max = 1,
                                    .attrs = transpose_attrs,
                                    .n_attrs = TB_COUNT(transpose_attrs),
                                    .trains = 6,
                                    .types = TB_TYPES_F32,
                                    .flops = conv_flops,
                                    .infer = transpose_infer,
                                    .run = transpose_run,
                                    .backward = transpose_backward};

#define CONV_GRAD(text)                                                        \
    .domain = TB_DOMAIN_GRAD, .name = text, .since = 1, .until = TB_OPSET_ANY, \
    .in_min = 3, .in_max = 3, .out_min = 1, .out_max = N_GRADS,                \
    .any_output = true, .flops = grad_flops

const tb_op tb_op_conv_grad = {CONV_GRAD("ConvGrad"), .attrs = conv_attrs,
                               .n_attrs = TB_COUNT(conv_attrs),
                               .infer = conv_grad_infer, .run = conv_grad_run};

const tb_op tb_op_conv_transpose_grad = {
    CONV_GRAD("ConvTransposeGrad"), .attrs = transpose_attrs,
    .n_attrs = TB_COUNT(transpose_attrs), .infer = transpose_grad_infer,
    .run = transpose_grad_run};
