/* core/compress/passes/int8.c - QDQ int8 as ONNX runtimes fuse it (opset 13 and
 * later): what goes into a linear layer through QuantizeLinear and
 * DequantizeLinear as uint8, x = (q - zero) * s_x; weights int8 with one scale
 * s_w[c] an output (a filter of a Conv); bias int32 with scale s_x * s_w[c].
 * Outputs of the model stay float. (Jacob et al. 2018; scales per output:
 * Krishnamoorthi 2018.) */
#include <float.h>
#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "compress/fold.h"
#include "compress/layer.h"
#include "compress/pass_priv.h"

#define ACT_STEPS  255.0F
#define WEIGHT_MAX 127.0F
#define BIAS_MAX   1073741824.0F /* 2^30: room in int32 for rounding */

/* scale and zero point of an activation; the range always holds 0. */
static float act_scale(float low, float high, uint8_t *zero)
{
    low = fminf(low, 0.0F);
    high = fmaxf(high, 0.0F);
    float scale = high / ACT_STEPS - low / ACT_STEPS;
    *zero = 0;
    if (!(scale >= FLT_MIN)) { /* it is always zero, or nearly so */
        return 1.0F;
    }
    *zero = (uint8_t)fminf(nearbyintf(-low / scale), ACT_STEPS);
    return scale;
}

/* QuantizeLinear and DequantizeLinear of value v with the scale and zero point
 * in ends[1] and ends[2]; *out is the float again. */
static tb_rc add_pair(tb_graph *graph, tb_value_id *out, tb_value_id v,
                      const tb_value_id ends[3], tb_err *err)
{
    tb_value_id in[3] = {v, ends[1], ends[2]};
    tb_rc rc = tb_graph_apply(
        graph, &in[0],
        &(tb_node_spec){.op = "QuantizeLinear", .in = in, .n_in = 3}, err);
    return rc == TB_OK
               ? tb_graph_apply(graph, out,
                                &(tb_node_spec){.op = "DequantizeLinear",
                                                .in = in,
                                                .n_in = 3},
                                err)
               : rc;
}

/* The node that makes v, if it only chooses or moves elements of what nobody
 * else reads; else TB_ID_NONE. */
static tb_node_id mover_of(const tb_graph *graph, tb_value_id v)
{
    static const char *const ops[] = {"MaxPool", "Flatten", "Reshape",
                                      "Squeeze", "Unsqueeze"};
    const tb_value *value = tb_graph_value(graph, v);
    const tb_node *node = tb_graph_node(graph, value->producer);
    if (node == NULL || node->domain[0] != '\0' || node->n_out != 1) {
        return TB_ID_NONE;
    }
    const tb_value *from = tb_graph_value(graph, node->in[0]);
    if (from == NULL || from->role != TB_ROLE_TEMP ||
        tb_graph_n_uses(graph, node->in[0]) != 1 ||
        tb_graph_is_output(graph, node->in[0])) {
        return TB_ID_NONE;
    }
    for (size_t i = 0; i < sizeof ops / sizeof *ops; i++) {
        if (strcmp(node->op, ops[i]) == 0) {
            return value->producer;
        }
    }
    return TB_ID_NONE;
}

/* A pair behind value v, and one before each node upwards that only moves
 * elements: the numbers stay the same, and runtimes see that the layer above
 * may write bytes. *out is what the layers that read v shall read now. */
static tb_rc quantise_value(tb_graph *graph, tb_value_id *out, tb_value_id v,
                            float scale, uint8_t zero, tb_err *err)
{
    const tb_shape scalar = {0};
    const char *name = tb_graph_value(graph, v)->name;
    tb_value_id in[3] = {v, TB_ID_NONE, TB_ID_NONE};
    const tb_tensor s = tb_tensor_view(TB_F32, &scalar, &scale);
    const tb_tensor z = tb_tensor_view(TB_U8, &scalar, &zero);
    tb_rc rc = tb_pass_add_data(graph, &in[1], name, "scale", &s, err);
    if (rc == TB_OK) {
        rc = tb_pass_add_data(graph, &in[2], name, "zero_point", &z, err);
    }
    if (rc == TB_OK) {
        rc = add_pair(graph, out, v, in, err);
    }
    tb_node_id mover = TB_ID_NONE;
    while (rc == TB_OK && (mover = mover_of(graph, v)) != TB_ID_NONE) {
        tb_value_id again = TB_ID_NONE;
        v = tb_graph_node(graph, mover)->in[0];
        rc = add_pair(graph, &again, v, in, err);
        if (rc == TB_OK) {
            tb_graph_set_input(graph, mover, 0, again);
        }
    }
    return rc;
}

/* One layer's numbers while they are made. */
typedef struct packing {
    const tb_layer *layer;
    const float *w;
    const float *bias; /* [n_out] or NULL */
    float act_scale;
    float *scale;      /* owned [n_out]: of weights */
    float *bias_scale; /* owned [n_out] */
    int8_t *q;         /* owned [n_out * n_in] */
    int32_t *q_bias;   /* owned [n_out] */
} packing;

static void packing_release(packing *p)
{
    tb_mem_free(p->scale);
    tb_mem_free(p->bias_scale);
    tb_mem_free(p->q);
    tb_mem_free(p->q_bias);
}

static tb_rc packing_init(packing *p, const tb_graph *graph,
                          const tb_layer *layer, float scale, tb_err *err)
{
    size_t n = layer->n_out;
    const tb_value *bias = tb_graph_value(graph, layer->bias);
    bool fits = bias != NULL && tb_tensor_count(&bias->data) == n;
    *p = (packing){.layer = layer,
                   .w = tb_graph_value(graph, layer->weight)->data.data,
                   .bias = fits ? bias->data.data : NULL,
                   .act_scale = scale,
                   .scale = tb_mem_array(n, sizeof *p->scale),
                   .bias_scale = tb_mem_array(n, sizeof *p->bias_scale),
                   .q = tb_mem_array(n, layer->n_in),
                   .q_bias = tb_mem_array(n, sizeof *p->q_bias)};
    return p->scale != NULL && p->bias_scale != NULL && p->q != NULL &&
                   p->q_bias != NULL
               ? TB_OK
               : tb_fail(err, TB_E_NOMEM, "int8 of %zu weights",
                         n * layer->n_in);
}

/* The scale of output c: as fine as its weights allow, but coarse enough for
 * its bias to fit, and never 0. */
static float weight_scale(const packing *p, size_t c)
{
    float largest = 0.0F;
    for (size_t i = 0; i < p->layer->n_in; i++) {
        largest = fmaxf(largest, fabsf(p->w[tb_layer_at(p->layer, c, i)]));
    }
    float scale = largest / WEIGHT_MAX;
    if (p->bias != NULL) {
        scale = fmaxf(scale, fabsf(p->bias[c]) / BIAS_MAX / p->act_scale);
    }
    return scale >= FLT_MIN ? scale : 1.0F;
}

static void pack(packing *p)
{
    for (size_t c = 0; c < p->layer->n_out; c++) {
        float s = weight_scale(p, c);
        p->scale[c] = s;
        p->bias_scale[c] = fmaxf(s * p->act_scale, FLT_MIN);
        for (size_t i = 0; i < p->layer->n_in; i++) {
            size_t at = tb_layer_at(p->layer, c, i);
            float q = nearbyintf(p->w[at] / s);
            p->q[at] = (int8_t)fmaxf(fminf(q, WEIGHT_MAX), -WEIGHT_MAX);
        }
        if (p->bias != NULL) {
            float q = nearbyintf(p->bias[c] / p->bias_scale[c]);
            p->q_bias[c] = (int32_t)fmaxf(fminf(q, 2.0F * BIAS_MAX - 128.0F),
                                          -2.0F * BIAS_MAX + 128.0F);
        }
    }
}

static tb_rc unpack_weight(tb_graph *graph, const packing *p, tb_err *err)
{
    const tb_value *w = tb_graph_value(graph, p->layer->weight);
    const tb_packed packed = {
        .name = w->name,
        .data = tb_tensor_view(TB_I8, &w->data.shape, p->q),
        .scale = tb_tensor_view(TB_F32, &TB_SHAPE(p->layer->n_out), p->scale),
        .axis = p->layer->out_axis,
        .with_zero = true};
    tb_value_id float_weight = TB_ID_NONE;
    tb_rc rc = tb_pass_unpack(graph, &float_weight, &packed, err);
    if (rc == TB_OK) {
        tb_graph_set_input(graph, p->layer->node, 1, float_weight);
    }
    return rc;
}

static tb_rc unpack_bias(tb_graph *graph, const packing *p, tb_err *err)
{
    const tb_value *b = tb_graph_value(graph, p->layer->bias);
    const tb_packed packed = {
        .name = b->name,
        .data = tb_tensor_view(TB_I32, &b->data.shape, p->q_bias),
        .scale =
            tb_tensor_view(TB_F32, &TB_SHAPE(p->layer->n_out), p->bias_scale),
        .axis = b->data.shape.rank - 1};
    tb_value_id float_bias = TB_ID_NONE;
    tb_rc rc = tb_pass_unpack(graph, &float_bias, &packed, err);
    if (rc == TB_OK) {
        tb_graph_set_input(graph, p->layer->node, 2, float_bias);
    }
    return rc;
}

static tb_rc quantise_layer(tb_graph *graph, const tb_layer *layer, float scale,
                            tb_err *err)
{
    packing p = {0};
    tb_rc rc = packing_init(&p, graph, layer, scale, err);
    if (rc == TB_OK) {
        pack(&p);
        rc = unpack_weight(graph, &p, err);
    }
    if (rc == TB_OK && p.bias != NULL) {
        rc = unpack_bias(graph, &p, err);
    }
    packing_release(&p);
    return rc;
}

/* Quantises watched value i and every layer that reads it. */
static tb_rc quantise_readers(tb_graph *graph, const tb_layer *layers,
                              size_t n_layers, const tb_ranges *ranges,
                              size_t i, tb_err *err)
{
    uint8_t zero = 0;
    float scale = act_scale(ranges->low[i], ranges->high[i], &zero);
    tb_value_id read = TB_ID_NONE;
    tb_rc rc = quantise_value(graph, &read, ranges->value[i], scale, zero, err);
    for (size_t k = 0; rc == TB_OK && k < n_layers; k++) {
        if (layers[k].input == ranges->value[i]) {
            tb_graph_set_input(graph, layers[k].node, 0, read);
            rc = quantise_layer(graph, &layers[k], scale, err);
        }
    }
    return rc;
}

/* Whether the ranges are finite, ordered, and of this graph. */
static tb_rc check_ranges(const tb_ranges *ranges, const tb_graph *graph,
                          tb_err *err)
{
    tb_ranges own = {0};
    tb_rc rc = tb_ranges_init(&own, graph, err);
    if (rc != TB_OK) {
        return rc;
    }
    if (own.n != ranges->n ||
        memcmp(own.value, ranges->value, own.n * sizeof *own.value) != 0) {
        rc = tb_fail(err, TB_E_MISMATCH,
                     "%zu ranges of another model; this one has %zu values to "
                     "calibrate",
                     ranges->n, own.n);
    }
    for (size_t i = 0; rc == TB_OK && i < own.n; i++) {
        if (!isfinite(ranges->low[i]) || !isfinite(ranges->high[i]) ||
            ranges->low[i] > ranges->high[i]) {
            rc = tb_fail(err, TB_E_MALFORMED, "the range of \"%s\" is %g to %g",
                         tb_graph_value(graph, own.value[i])->name,
                         (double)ranges->low[i], (double)ranges->high[i]);
        }
    }
    tb_ranges_release(&own);
    return rc;
}

static tb_rc run(tb_graph **out, const tb_graph *graph,
                 const tb_pass_options *options, tb_err *err)
{
    tb_graph *small = NULL;
    tb_layer *layers = NULL;
    size_t n_layers = 0;
    tb_rc rc = check_ranges(options->ranges, graph, err);
    if (rc == TB_OK) {
        rc = tb_graph_clone(&small, graph, err);
    }
    if (rc == TB_OK) {
        rc = tb_fold_normalisations(small, err);
    }
    if (rc == TB_OK) {
        rc = tb_layers_find(&layers, &n_layers, small, err);
    }
    for (size_t i = 0; rc == TB_OK && i < options->ranges->n; i++) {
        rc = quantise_readers(small, layers, n_layers, options->ranges, i, err);
    }
    if (rc == TB_OK) {
        rc = tb_graph_sweep(small, err);
    }
    if (rc == TB_OK) {
        *out = small;
        small = NULL;
    }
    tb_graph_free(&small);
    tb_mem_free(layers);
    return rc;
}

const tb_pass tb_pass_int8 = {
    .name = "int8",
    .help = "activations uint8, weights int8, by calibrated ranges (QDQ)",
    .needs_ranges = true,
    .run = run,
};
