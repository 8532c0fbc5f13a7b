/* core/exec/quantized_match.c - finds linear layers whose operands are bytes
 * and constants, and what follows them up to the next QuantizeLinear. Changes
 * nothing. */
#include <float.h>
#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "exec/quantized_priv.h"

#define BIAS_MAX 1073741824.0    /* 2^30: with the sums it stays an int32 */
#define K_MAX    ((size_t)32768) /* 2^15 * 255 * 127 < 2^30 */

bool tb_quant_is(const tb_node *node, const char *op)
{
    return node != NULL && node->domain[0] == '\0' && strcmp(node->op, op) == 0;
}

/* --- readers -------------------------------------------------------------- */

/* Counts into first[v + 2], or fills the lists through first[v + 1]. */
static void visit(tb_readers *r, const tb_node *node, tb_node_id id, bool fill)
{
    for (size_t k = 0; node != NULL && k < node->n_in; k++) {
        tb_value_id v = node->in[k];
        if (v != TB_ID_NONE && fill) {
            r->node[r->first[v + 1]++] = id;
        } else if (v != TB_ID_NONE) {
            r->first[v + 2]++;
        }
    }
}

tb_rc tb_readers_init(tb_readers *out, const tb_graph *graph, tb_err *err)
{
    size_t n = 0;
    *out = (tb_readers){0};
    for (size_t i = 0; i < graph->n_nodes; i++) {
        n += graph->nodes[i] != NULL ? graph->nodes[i]->n_in : 0;
    }
    out->first = tb_mem_array(graph->n_values + 2, sizeof *out->first);
    out->node = tb_mem_array(n, sizeof *out->node);
    if (out->first == NULL || out->node == NULL) {
        tb_readers_release(out);
        return tb_fail(err, TB_E_NOMEM, "%zu readers", n);
    }
    for (size_t i = 0; i < graph->n_nodes; i++) {
        visit(out, graph->nodes[i], (tb_node_id)i, false);
    }
    for (size_t v = 2; v < graph->n_values + 2; v++) {
        out->first[v] += out->first[v - 1];
    }
    for (size_t i = 0; i < graph->n_nodes; i++) {
        visit(out, graph->nodes[i], (tb_node_id)i, true);
    }
    return TB_OK;
}

void tb_readers_release(tb_readers *readers)
{
    tb_mem_free(readers->first);
    tb_mem_free(readers->node);
    *readers = (tb_readers){0};
}

/* The only reader of v, or NULL: it has others, or is an output. */
static const tb_node *only_reader(const tb_graph *graph,
                                  const tb_readers *readers, tb_value_id v,
                                  tb_node_id *id)
{
    if (v == TB_ID_NONE || tb_graph_is_output(graph, v)) {
        return NULL;
    }
    size_t from = readers->first[v];
    if (readers->first[v + 1] - from != 1) {
        return NULL;
    }
    *id = readers->node[from];
    return graph->nodes[*id];
}

/* --- constants ------------------------------------------------------------ */

/* The data of a constant, or NULL. */
static const tb_tensor *constant(const tb_graph *graph, tb_value_id id)
{
    const tb_value *v = tb_graph_value(graph, id);
    return v != NULL && v->role == TB_ROLE_CONST && v->data.data != NULL
               ? &v->data
               : NULL;
}

static const tb_node *maker_of(const tb_graph *graph, tb_value_id id)
{
    const tb_value *v = tb_graph_value(graph, id);
    return v != NULL && v->producer != TB_ID_NONE ? graph->nodes[v->producer]
                                                  : NULL;
}

static bool given(const tb_node *node, size_t i)
{
    return i < node->n_in && node->in[i] != TB_ID_NONE;
}

/* Positive, finite float32 scales that are constant; n: how many they may be
 * besides one. */
static const tb_tensor *scales(const tb_graph *graph, tb_value_id id, size_t n)
{
    const tb_tensor *t = constant(graph, id);
    size_t count = t != NULL ? tb_tensor_count(t) : 0;
    if (t == NULL || t->dtype != TB_F32 || (count != 1 && count != n)) {
        return NULL;
    }
    for (size_t i = 0; i < count; i++) {
        float scale = ((const float *)t->data)[i];
        if (!(scale >= FLT_MIN && scale <= FLT_MAX)) {
            return NULL;
        }
    }
    return t;
}

/* One scale and zero point for a whole tensor. */
static bool read_quant(tb_quant *out, const tb_graph *graph,
                       tb_value_id scale_id, tb_value_id zero_id)
{
    const tb_tensor *scale = scales(graph, scale_id, 1);
    const tb_tensor *zero = constant(graph, zero_id);
    if (scale == NULL || zero == NULL || tb_tensor_count(zero) != 1 ||
        (zero->dtype != TB_U8 && zero->dtype != TB_I8)) {
        return false;
    }
    *out = (tb_quant){.scale = tb_tensor_f64_at(scale, 0),
                      .zero = (int32_t)tb_tensor_i64_at(zero, 0),
                      .type = zero->dtype};
    return true;
}

/* The same of a QuantizeLinear or DequantizeLinear. */
static bool read_pair(tb_quant *out, const tb_graph *graph, const tb_node *node)
{
    return given(node, 2) && node->out[0] != TB_ID_NONE &&
           tb_node_int(node, "block_size", 0) == 0 &&
           read_quant(out, graph, node->in[1], node->in[2]);
}

static bool same_quant(const tb_quant *a, const tb_quant *b)
{
    return a->scale == b->scale && a->zero == b->zero && a->type == b->type;
}

/* Whether weights lie around their zero points: 0 of int8, 128 of uint8. */
static bool is_centred(const tb_graph *graph, tb_value_id zero_id,
                       const tb_tensor *w)
{
    if (w->dtype == TB_I8 && zero_id == TB_ID_NONE) {
        return true;
    }
    const tb_tensor *zero = constant(graph, zero_id);
    size_t n = zero != NULL ? tb_tensor_count(zero) : 0;
    for (size_t i = 0; i < n; i++) {
        if (tb_tensor_i64_at(zero, i) != (w->dtype == TB_U8 ? 128 : 0)) {
            return false;
        }
    }
    return n > 0;
}

/* --- layers --------------------------------------------------------------- */

/* Bytes w with scale and zero point, as three values: one scale, or one an
 * extent of axis out_axis. */
static bool take_weights(tb_quant_layer *l, const tb_graph *graph,
                         const tb_value_id w[3], size_t out_axis)
{
    l->w = constant(graph, w[0]);
    size_t rank = l->w != NULL ? l->w->shape.rank : 0;
    l->n = out_axis < rank ? l->w->shape.dim[out_axis] : 0;
    if (l->n == 0 || tb_tensor_count(l->w) == 0 ||
        (l->w->dtype != TB_U8 && l->w->dtype != TB_I8)) {
        return false;
    }
    l->w_scale = scales(graph, w[1], l->n);
    l->k = tb_tensor_count(l->w) / l->n;
    return l->w_scale != NULL && is_centred(graph, w[2], l->w);
}

/* The same behind a DequantizeLinear. */
static bool match_weights(tb_quant_layer *l, const tb_graph *graph,
                          tb_value_id v, size_t out_axis)
{
    const tb_node *node = maker_of(graph, v);
    if (!tb_quant_is(node, "DequantizeLinear") || node->n_in < 2 ||
        tb_node_int(node, "block_size", 0) != 0) {
        return false;
    }
    const tb_value_id w[3] = {node->in[0], node->in[1],
                              given(node, 2) ? node->in[2] : TB_ID_NONE};
    if (!take_weights(l, graph, w, out_axis)) {
        return false;
    }
    int64_t axis = tb_node_int(node, "axis", 1);
    int64_t rank = (int64_t)l->w->shape.rank;
    return tb_tensor_count(l->w_scale) == 1 ||
           (size_t)(axis < 0 ? axis + rank : axis) == out_axis;
}

double tb_quant_scale(const tb_quant_layer *l, size_t j)
{
    size_t at = tb_tensor_count(l->w_scale) == 1 ? 0 : j;
    return l->x_quant.scale * (double)((const float *)l->w_scale->data)[at];
}

double tb_quant_bias(const tb_quant_layer *l, size_t j)
{
    if (l->bias == NULL) {
        return 0.0;
    }
    double scale = 1.0;
    if (l->bias_scale == NULL && l->bias->dtype == TB_I32) {
        return tb_tensor_f64_at(l->bias, j); /* in these very steps */
    }
    if (l->bias_scale != NULL) {
        size_t at = tb_tensor_count(l->bias_scale) == 1 ? 0 : j;
        scale = (double)((const float *)l->bias_scale->data)[at];
    }
    return tb_tensor_f64_at(l->bias, j) * scale / tb_quant_scale(l, j);
}

/* Whether every bias fits the sums. */
static bool bias_fits(const tb_quant_layer *l)
{
    for (size_t j = 0; j < l->n; j++) {
        if (!(fabs(tb_quant_bias(l, j)) <= BIAS_MAX)) {
            return false;
        }
    }
    return true;
}

/* A bias [n] as float32 or behind a DequantizeLinear of int32. */
static bool match_bias(tb_quant_layer *l, const tb_graph *graph, tb_value_id v)
{
    const tb_node *node = maker_of(graph, v);
    l->bias = constant(graph, v);
    if (tb_quant_is(node, "DequantizeLinear") && given(node, 1) &&
        !given(node, 2)) {
        l->bias = constant(graph, node->in[0]);
        l->bias_scale = scales(graph, node->in[1], l->n);
    }
    const tb_tensor *b = l->bias;
    bool typed =
        b != NULL && b->dtype == (l->bias_scale != NULL ? TB_I32 : TB_F32);
    if (!typed || tb_tensor_count(b) != l->n || b->shape.rank == 0 ||
        b->shape.dim[b->shape.rank - 1] != l->n) {
        l->bias = NULL;
        return false;
    }
    if (!bias_fits(l)) {
        l->bias = NULL;
        return false;
    }
    return true;
}

/* A convolution whose weights are known. */
static bool take_conv(tb_quant_layer *l, const tb_node *node)
{
    int64_t groups = tb_node_int(node, "group", 1);
    if (l->w->shape.rank < 3 || l->w->shape.rank > 4 || groups <= 0 ||
        l->n % (size_t)groups != 0) {
        return false;
    }
    l->conv = true;
    l->groups = (size_t)groups;
    return true;
}

static bool match_product(tb_quant_layer *l, const tb_graph *graph,
                          const tb_node *node, bool gemm)
{
    bool turned = gemm && tb_node_int(node, "transB", 0) != 0;
    if (!match_weights(l, graph, node->in[1], turned ? 0 : 1) ||
        l->w->shape.rank != 2 || tb_node_int(node, "transA", 0) != 0 ||
        tb_node_float(node, "alpha", 1.0f) != 1.0f ||
        tb_node_float(node, "beta", 1.0f) != 1.0f) {
        return false;
    }
    l->n_step = turned ? l->k : 1;
    l->k_step = turned ? 1 : l->n;
    return true;
}

/* QLinearConv and QLinearMatMul: all in one node. */
static bool match_linear(tb_quant_layer *l, const tb_graph *graph,
                         const tb_node *node, bool conv)
{
    if (node->n_in < 8 ||
        !read_quant(&l->x_quant, graph, node->in[1], node->in[2]) ||
        !take_weights(l, graph, node->in + 3, conv ? 0 : 1) ||
        !read_quant(&l->y_quant, graph, node->in[6], node->in[7]) ||
        l->k > K_MAX) {
        return false;
    }
    l->x = node->in[0];
    l->linear = true;
    if (!conv) {
        l->n_step = 1;
        l->k_step = l->n;
        return l->w->shape.rank == 2;
    }
    if (given(node, 8)) {
        l->bias = constant(graph, node->in[8]);
        if (l->bias == NULL || l->bias->dtype != TB_I32 ||
            tb_tensor_count(l->bias) != l->n || !bias_fits(l)) {
            return false;
        }
    }
    return take_conv(l, node);
}

bool tb_quant_match(tb_quant_layer *out, const tb_graph *graph, tb_node_id id)
{
    const tb_node *node = tb_graph_node(graph, id);
    bool gemm = tb_quant_is(node, "Gemm");
    bool conv = tb_quant_is(node, "Conv");
    *out = (tb_quant_layer){.node = id};
    if (node == NULL || node->n_in < 2 || node->out[0] == TB_ID_NONE) {
        return false; /* binding will say what is wrong */
    }
    if (tb_quant_is(node, "QLinearConv") ||
        tb_quant_is(node, "QLinearMatMul")) {
        return match_linear(out, graph, node, node->op[7] == 'C');
    }
    if (!gemm && !conv && !tb_quant_is(node, "MatMul")) {
        return false;
    }
    const tb_node *x = maker_of(graph, node->in[0]);
    if (!tb_quant_is(x, "DequantizeLinear") ||
        !read_pair(&out->x_quant, graph, x)) {
        return false;
    }
    out->x = x->in[0];
    bool fits =
        conv ? match_weights(out, graph, node->in[1], 0) && take_conv(out, node)
             : match_product(out, graph, node, gemm);
    return fits && out->k <= K_MAX &&
           (!given(node, 2) || match_bias(out, graph, node->in[2]));
}

/* --- what follows --------------------------------------------------------- */

/* Bounds of a Clip that are constant. */
static bool read_clip(double *low, double *high, const tb_graph *graph,
                      const tb_node *node)
{
    *low = (double)tb_node_float(node, "min", -INFINITY);
    *high = (double)tb_node_float(node, "max", INFINITY);
    for (size_t i = 1; i < 3; i++) {
        if (given(node, i)) {
            const tb_tensor *t = constant(graph, node->in[i]);
            if (t == NULL || tb_tensor_count(t) != 1) {
                return false;
            }
            *(i == 1 ? low : high) = tb_tensor_f64_at(t, 0);
        }
    }
    return *low <= *high;
}

/* Relu and Clip narrow the bounds. */
static bool take_bounds(tb_quant_tail *t, const tb_graph *graph,
                        const tb_node *node)
{
    double low = 0.0;
    double high = INFINITY;
    if (!tb_quant_is(node, "Relu") &&
        (!tb_quant_is(node, "Clip") || !read_clip(&low, &high, graph, node))) {
        return false;
    }
    t->low = fmin(fmax(t->low, low), high);
    t->high = fmin(fmax(t->high, low), high);
    return true;
}

/* What chooses or moves elements, and so may as well do so with bytes. */
static bool moves(const tb_quant_layer *l, const tb_graph *graph,
                  const tb_node *node)
{
    static const char *const ops[] = {"Flatten", "Reshape", "Squeeze",
                                      "Unsqueeze", "Identity"};
    if (tb_quant_is(node, "MaxPool")) {
        return l->conv && node->n_out == 1;
    }
    for (size_t i = 1; i < node->n_in; i++) {
        if (constant(graph, node->in[i]) == NULL) {
            return false;
        }
    }
    for (size_t i = 0; i < sizeof ops / sizeof *ops; i++) {
        if (tb_quant_is(node, ops[i])) {
            return true;
        }
    }
    return false;
}

/* Walks from v to the next QuantizeLinear with constant parameters (of `want`,
 * unless it is NULL); false: there is none, and *t is of no use. */
static bool walk(tb_quant_tail *t, const tb_quant_layer *l,
                 const tb_graph *graph, const tb_readers *readers,
                 tb_value_id v, const tb_quant *want)
{
    tb_node_id id = TB_ID_NONE;
    for (size_t n = 0; n < 2 * TB_QUANT_STEPS_MAX; n++) {
        const tb_node *node = only_reader(graph, readers, v, &id);
        if (node == NULL || node->in[0] != v) {
            return false;
        }
        if (tb_quant_is(node, "QuantizeLinear")) {
            t->last = id;
            t->quantised = true;
            return read_pair(&t->y_quant, graph, node) &&
                   (want == NULL || same_quant(want, &t->y_quant));
        }
        if (moves(l, graph, node) && t->n_steps < TB_QUANT_STEPS_MAX) {
            t->step[t->n_steps++] = id;
        } else if (!take_bounds(t, graph, node)) {
            return false;
        }
        v = node->out[0];
    }
    return false;
}

/* A pair QuantizeLinear, DequantizeLinear that leads to the same bytes again
 * through what moves them changes nothing: goes on behind it. */
static void go_on(tb_quant_tail *t, const tb_quant_layer *l,
                  const tb_graph *graph, const tb_readers *readers)
{
    for (size_t n = 0; n < TB_QUANT_STEPS_MAX; n++) {
        tb_node_id id = TB_ID_NONE;
        tb_quant back;
        tb_quant_tail next = *t;
        tb_value_id bytes = graph->nodes[t->last]->out[0];
        const tb_node *node = only_reader(graph, readers, bytes, &id);
        if (!tb_quant_is(node, "DequantizeLinear") ||
            !read_pair(&back, graph, node) || !same_quant(&back, &t->y_quant) ||
            !walk(&next, l, graph, readers, node->out[0], &t->y_quant)) {
            return;
        }
        *t = next;
    }
}

/* Bounds right behind a layer whose result stays float. */
static void follow_floats(tb_quant_tail *t, const tb_graph *graph,
                          const tb_readers *readers, tb_node_id last)
{
    const tb_node *node = graph->nodes[last];
    *t = (tb_quant_tail){.low = -INFINITY, .high = INFINITY, .last = last};
    while ((node = only_reader(graph, readers, node->out[0], &last)) != NULL &&
           take_bounds(t, graph, node)) {
        t->last = last;
    }
}

/* The Add of a constant behind a MatMul without a bias, or the layer itself. */
static tb_node_id find_bias(tb_quant_layer *l, const tb_graph *graph,
                            const tb_readers *readers)
{
    tb_node_id id = TB_ID_NONE;
    tb_value_id v = graph->nodes[l->node]->out[0];
    const tb_node *node = only_reader(graph, readers, v, &id);
    if (l->conv || l->bias != NULL || !tb_quant_is(node, "Add")) {
        return l->node;
    }
    tb_value_id other = node->in[0] == v ? node->in[1] : node->in[0];
    if (match_bias(l, graph, other) && l->bias->shape.rank == 1) {
        return id;
    }
    l->bias = NULL;
    return l->node;
}

/* What chooses or moves the bytes that a layer makes by itself. */
static void follow_bytes(tb_quant_tail *t, const tb_quant_layer *l,
                         const tb_graph *graph, const tb_readers *readers)
{
    tb_node_id id = l->node;
    *t = (tb_quant_tail){.low = -INFINITY,
                         .high = INFINITY,
                         .quantised = true,
                         .y_quant = l->y_quant,
                         .last = id};
    while (t->n_steps < TB_QUANT_STEPS_MAX) {
        tb_value_id v = graph->nodes[id]->out[0];
        const tb_node *node = only_reader(graph, readers, v, &id);
        if (node == NULL || node->in[0] != v || !moves(l, graph, node)) {
            return;
        }
        t->step[t->n_steps++] = id;
        t->last = id;
    }
}

void tb_quant_follow(tb_quant_tail *out, tb_quant_layer *layer,
                     const tb_graph *graph, const tb_readers *readers)
{
    if (layer->linear) {
        follow_bytes(out, layer, graph, readers);
        return;
    }
    tb_node_id last = find_bias(layer, graph, readers);
    tb_value_id v = graph->nodes[last]->out[0];
    *out = (tb_quant_tail){.low = -INFINITY, .high = INFINITY, .last = last};
    if (walk(out, layer, graph, readers, v, NULL)) {
        go_on(out, layer, graph, readers);
    } else {
        follow_floats(out, graph, readers, last);
    }
}
