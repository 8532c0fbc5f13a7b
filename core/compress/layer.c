#include "compress/layer.h"

#include <string.h>

#include "base/mem.h"

static const char *const keeps_neurons[] = {"Relu", "LeakyRelu", "Sigmoid",
                                            "Tanh", "Identity",  "Dropout"};
static const char *const keeps_filters[] = {
    "MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool"};
static const char *const joins_numbers[] = {"Add", "Sub", "Mul", "Div"};

#define IS_ONE_OF(node, list) is_one_of(node, list, sizeof list / sizeof *list)

static bool is_one_of(const tb_node *node, const char *const *ops, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (node->domain[0] == '\0' && strcmp(node->op, ops[i]) == 0) {
            return true;
        }
    }
    return false;
}

static const tb_tensor *float_data(const tb_graph *graph, tb_value_id id)
{
    const tb_value *v = tb_graph_value(graph, id);
    return v != NULL && v->data.data != NULL && v->data.dtype == TB_F32
               ? &v->data
               : NULL;
}

static bool as_layer(tb_layer *out, const tb_graph *graph, tb_node_id id)
{
    static const char *const products[] = {"Gemm", "MatMul"};
    static const char *const convs[] = {"Conv"};
    const tb_node *node = tb_graph_node(graph, id);
    bool conv = IS_ONE_OF(node, convs);
    if ((!conv && !IS_ONE_OF(node, products)) ||
        tb_node_int(node, "transA", 0) != 0) {
        return false;
    }
    const tb_tensor *w = float_data(graph, node->in[1]);
    int64_t groups = tb_node_int(node, "group", 1);
    if (w == NULL || tb_tensor_count(w) == 0 || groups < 1 ||
        (conv ? w->shape.rank < 3 : w->shape.rank != 2)) {
        return false;
    }
    bool has_bias = node->n_in > 2 && float_data(graph, node->in[2]) != NULL;
    size_t out_axis = conv || tb_node_int(node, "transB", 0) != 0 ? 0 : 1;
    *out = (tb_layer){.node = id,
                      .input = node->in[0],
                      .weight = node->in[1],
                      .bias = has_bias ? node->in[2] : TB_ID_NONE,
                      .output = node->out[0],
                      .out_axis = out_axis,
                      .n_in = tb_tensor_count(w) / w->shape.dim[out_axis],
                      .n_out = w->shape.dim[out_axis],
                      .conv = conv,
                      .groups = (size_t)groups};
    return true;
}

tb_rc tb_layers_find(tb_layer **out, size_t *n, const tb_graph *graph,
                     tb_err *err)
{
    tb_node_id *order = NULL;
    size_t n_order = 0;
    *out = NULL;
    *n = 0;
    tb_rc rc = tb_graph_order(&order, &n_order, graph, err);
    if (rc != TB_OK) {
        return rc;
    }
    tb_layer *layers = tb_mem_array(n_order, sizeof *layers);
    if (layers == NULL) {
        rc = tb_fail(err, TB_E_NOMEM, "%zu nodes", n_order);
        goto done;
    }
    for (size_t i = 0; i < n_order; i++) {
        *n += as_layer(&layers[*n], graph, order[i]);
    }
    if (*n == 0) {
        rc = tb_fail(err, TB_E_UNSUPPORTED,
                     "the model has no linear layer with float weights (Gemm, "
                     "MatMul or Conv by an initialiser), so there is nothing "
                     "to compress");
        goto done;
    }
    *out = layers;
    layers = NULL;
done:
    tb_mem_free(layers);
    tb_mem_free(order);
    return rc;
}

/* Whether an initialiser has one number for each of n neurons, and no other
 * reader: then it can be cut with them. */
static bool follows(const tb_graph *graph, tb_value_id id, size_t n)
{
    const tb_tensor *t = float_data(graph, id);
    return t != NULL && t->shape.rank > 0 && tb_tensor_count(t) == n &&
           t->shape.dim[t->shape.rank - 1] == n &&
           tb_graph_n_uses(graph, id) == 1 && !tb_graph_is_output(graph, id);
}

/* One number for all neurons needs no cut. */
static bool is_scalar(const tb_graph *graph, tb_value_id id)
{
    const tb_tensor *t = float_data(graph, id);
    return t != NULL && tb_tensor_count(t) == 1;
}

/* Notes an operand beside the neurons; false: it forbids to cut them. */
static bool add_operand(tb_hidden *h, const tb_graph *graph, tb_value_id id)
{
    if (follows(graph, id, h->layer.n_out) &&
        h->n_followers < TB_FOLLOWERS_MAX) {
        h->follower[h->n_followers++] = id;
        return true;
    }
    return is_scalar(graph, id) && h->layer.n_out > 1;
}

static bool only_reader(const tb_graph *graph, tb_value_id v, tb_node_id *out)
{
    *out = tb_graph_first_use(graph, v);
    return tb_graph_n_uses(graph, v) == 1 && !tb_graph_is_output(graph, v);
}

/* The numbers beside filters: scale, shift, mean and variance of each. */
static bool add_normalisation(tb_hidden *h, const tb_graph *graph,
                              const tb_node *node)
{
    if (node->n_in != 5 || h->n_followers + 4 > TB_FOLLOWERS_MAX) {
        return false;
    }
    for (size_t i = 1; i < node->n_in; i++) {
        if (!follows(graph, node->in[i], h->layer.n_out)) {
            return false;
        }
        h->follower[h->n_followers++] = node->in[i];
    }
    return true;
}

/* Whether a node between layers keeps neurons to themselves. flat: an image is
 * a row already. */
static bool keeps_apart(tb_hidden *h, const tb_graph *graph,
                        const tb_node *node, tb_value_id v, bool *flat)
{
    static const char *const normalises[] = {"BatchNormalization"};
    static const char *const flattens[] = {"Flatten"};
    bool extra = node->n_out > 1 && node->out[1] != TB_ID_NONE &&
                 (tb_graph_n_uses(graph, node->out[1]) > 0 ||
                  tb_graph_is_output(graph, node->out[1]));
    if (extra) {
        return false;
    }
    if (IS_ONE_OF(node, joins_numbers) && node->n_in == 2) {
        tb_value_id other = node->in[node->in[0] == v ? 1 : 0];
        return h->layer.conv ? is_scalar(graph, other) && h->layer.n_out > 1
                             : add_operand(h, graph, other);
    }
    if (node->in[0] != v) {
        return false;
    }
    if (h->layer.conv && !*flat && IS_ONE_OF(node, flattens)) {
        *flat = tb_node_int(node, "axis", 1) == 1;
        return *flat;
    }
    return IS_ONE_OF(node, keeps_neurons) ||
           (h->layer.conv && !*flat &&
            (IS_ONE_OF(node, keeps_filters) ||
             (IS_ONE_OF(node, normalises) &&
              add_normalisation(h, graph, node))));
}

/* Whether next reads v in blocks of one neuron each. */
static bool fits_next(tb_hidden *h, const tb_graph *graph, tb_value_id v,
                      bool flat)
{
    const tb_tensor *w = &tb_graph_value(graph, h->next.weight)->data;
    bool image = h->layer.conv && !flat;
    h->n_each = h->next.n_in / h->layer.n_out;
    return h->next.input == v && h->next.conv == image && h->next.groups == 1 &&
           h->n_each > 0 && h->next.n_in == h->layer.n_out * h->n_each &&
           (image ? w->shape.dim[1] == h->layer.n_out
                  : flat || h->n_each == 1) &&
           tb_graph_n_uses(graph, h->next.weight) == 1;
}

/* From the layer's output through such nodes to the next layer. */
static bool walk(tb_hidden *h, const tb_graph *graph)
{
    tb_value_id v = h->layer.output;
    tb_node_id id = TB_ID_NONE;
    bool flat = false;
    for (size_t steps = 0; steps < graph->n_nodes; steps++) {
        if (!only_reader(graph, v, &id)) {
            return false;
        }
        const tb_node *node = tb_graph_node(graph, id);
        if (as_layer(&h->next, graph, id)) {
            return fits_next(h, graph, v, flat);
        }
        if (!keeps_apart(h, graph, node, v, &flat)) {
            return false;
        }
        v = node->out[0];
    }
    return false;
}

static bool as_hidden(tb_hidden *h, const tb_graph *graph,
                      const tb_layer *layer)
{
    const tb_node *node = tb_graph_node(graph, layer->node);
    *h = (tb_hidden){.layer = *layer};
    if (tb_graph_n_uses(graph, layer->weight) != 1 ||
        tb_graph_is_output(graph, layer->weight) || layer->groups != 1) {
        return false;
    }
    if (node->n_in > 2 && node->in[2] != TB_ID_NONE &&
        !add_operand(h, graph, node->in[2])) {
        return false;
    }
    return walk(h, graph);
}

tb_rc tb_neurons_find(tb_neurons *out, const tb_graph *graph, tb_err *err)
{
    tb_layer *layers = NULL;
    size_t n = 0;
    *out = (tb_neurons){0};
    tb_rc rc = tb_layers_find(&layers, &n, graph, err);
    if (rc != TB_OK) {
        return rc;
    }
    out->hidden = tb_mem_array(n, sizeof *out->hidden);
    if (out->hidden == NULL) {
        rc = tb_fail(err, TB_E_NOMEM, "%zu layers", n);
        goto done;
    }
    for (size_t i = 0; i < n; i++) {
        tb_hidden *h = &out->hidden[out->n];
        if (as_hidden(h, graph, &layers[i])) {
            h->first = out->n_neurons;
            out->n_neurons += h->layer.n_out;
            out->n++;
        }
    }
    if (out->n == 0) {
        rc = tb_fail(err, TB_E_UNSUPPORTED,
                     "the model has no hidden layer whose neurons could be "
                     "taken out: one linear layer must feed the next through "
                     "operators that keep each neuron to itself");
        tb_neurons_release(out);
    }
done:
    tb_mem_free(layers);
    return rc;
}

void tb_neurons_release(tb_neurons *neurons)
{
    tb_mem_free(neurons->hidden);
    *neurons = (tb_neurons){0};
}

size_t tb_layer_at(const tb_layer *layer, size_t o, size_t i)
{
    return layer->out_axis == 0 ? o * layer->n_in + i : i * layer->n_out + o;
}
