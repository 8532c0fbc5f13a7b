#include "compress/prune.h"

#include <string.h>

#include "base/mem.h"
#include "compress/choose.h"
#include "model/params.h"

double tb_prune_amount(double final, uint32_t round, uint32_t n_rounds,
                       uint32_t n_gradual)
{
    if (n_gradual > n_rounds) {
        n_gradual = n_rounds;
    }
    uint32_t before = n_rounds - n_gradual;
    if (round <= before || n_gradual == 0) {
        return 0.0;
    }
    uint32_t step = round < n_rounds ? round - before : n_gradual;
    double left = 1.0 - (double)step / (double)n_gradual;
    return final * (1.0 - left * left * left);
}

/* The slot of a value, or NULL: it does not train. */
static const tb_slot *slot_of(const tb_slots *slots, tb_value_id value)
{
    for (size_t i = 0; i < slots->n; i++) {
        if (slots->slot[i].value == value) {
            return &slots->slot[i];
        }
    }
    return NULL;
}

static bool is_weight(const tb_layer *layers, size_t n, tb_value_id value)
{
    for (size_t i = 0; i < n; i++) {
        if (layers[i].weight == value) {
            return true;
        }
    }
    return false;
}

/* A slot's numbers: part of the vector, or, without one, the graph's own. */
static const float *values_of(const tb_graph *graph, const float *params,
                              const tb_slot *slot)
{
    return params != NULL ? params + slot->offset
                          : tb_graph_value(graph, slot->value)->data.data;
}

/* The vector, and what becomes of each number of it. */
typedef struct vector {
    const float *params; /* NULL: the graph's own */
    uint8_t *keep;
} vector;

/* The weights that train, layer by layer: *out, for tb_mem_free, [*n]. */
static tb_rc find_weights(tb_scores **out, size_t *n, const vector *v,
                          const tb_graph *graph, const tb_slots *slots,
                          tb_err *err)
{
    tb_layer *layers = NULL;
    size_t n_layers = 0;
    tb_rc rc = tb_layers_find(&layers, &n_layers, graph, err);
    tb_scores *found =
        rc == TB_OK ? tb_mem_array(slots->n, sizeof *found) : NULL;
    if (rc == TB_OK && found == NULL) {
        rc = tb_fail(err, TB_E_NOMEM, "pruning %zu layers", slots->n);
    }
    for (size_t i = 0; rc == TB_OK && i < slots->n; i++) {
        const tb_slot *slot = &slots->slot[i];
        if (is_weight(layers, n_layers, slot->value)) {
            found[(*n)++] = (tb_scores){values_of(graph, v->params, slot),
                                        v->keep + slot->offset, slot->n};
        }
    }
    if (rc == TB_OK && *n == 0) {
        rc = tb_fail(err, TB_E_UNSUPPORTED, "prune: no weight trains");
    }
    tb_mem_free(layers);
    *out = found;
    return rc;
}

/* Drops that share of all weights of these layers. */
static tb_rc drop_share(const tb_scores *layers, size_t n_layers, double amount,
                        tb_err *err)
{
    size_t n = 0;
    for (size_t k = 0; k < n_layers; k++) {
        n += layers[k].n;
    }
    return n > 0 ? tb_choose_least(layers, n_layers, tb_choose_count(amount, n),
                                   err)
                 : TB_OK;
}

static tb_rc mask_weights(uint8_t *keep, const tb_graph *graph,
                          const tb_slots *slots, const float *params,
                          const tb_prune_options *options, tb_err *err)
{
    tb_scores *layers = NULL;
    size_t n = 0;
    const vector v = {params, keep};
    tb_rc rc = find_weights(&layers, &n, &v, graph, slots, err);
    if (rc == TB_OK && options->scope != TB_PRUNE_LAYER) {
        rc = drop_share(layers, n, options->amount, err);
    }
    for (size_t k = 0; rc == TB_OK && options->scope == TB_PRUNE_LAYER && k < n;
         k++) {
        rc = drop_share(&layers[k], 1, options->amount, err);
    }
    tb_mem_free(layers);
    return rc;
}

/* Zeroes what leads into the dropped neurons of one layer. */
static void mask_hidden(uint8_t *keep, const tb_slots *slots,
                        const tb_hidden *h, const uint8_t *neuron)
{
    const tb_slot *weight = slot_of(slots, h->layer.weight);
    for (size_t o = 0; o < h->layer.n_out; o++) {
        for (size_t i = 0; neuron[o] == 0 && i < h->layer.n_in; i++) {
            keep[weight->offset + tb_layer_at(&h->layer, o, i)] = 0;
        }
        for (size_t f = 0; neuron[o] == 0 && f < h->n_followers; f++) {
            const tb_slot *slot = slot_of(slots, h->follower[f]);
            if (slot != NULL) {
                keep[slot->offset + o] = 0;
            }
        }
    }
}

static tb_rc mask_neurons(uint8_t *keep, const tb_graph *graph,
                          const tb_slots *slots, const float *params,
                          const tb_prune_options *options, tb_err *err)
{
    tb_neurons neurons = {0};
    uint8_t *neuron = NULL;
    const float **weight = NULL;
    tb_rc rc = tb_neurons_find(&neurons, graph, err);
    if (rc != TB_OK) {
        return rc;
    }
    neuron = tb_mem_array(neurons.n_neurons, 1);
    weight = tb_mem_array(neurons.n, sizeof *weight);
    if (neuron == NULL || weight == NULL) {
        rc = tb_fail(err, TB_E_NOMEM, "pruning neurons");
        goto done;
    }
    for (size_t h = 0; h < neurons.n; h++) {
        const tb_slot *slot = slot_of(slots, neurons.hidden[h].layer.weight);
        if (slot == NULL) {
            rc = tb_fail(err, TB_E_UNSUPPORTED,
                         "prune: a hidden layer is frozen; its neurons cannot "
                         "go step by step");
            goto done;
        }
        weight[h] = values_of(graph, params, slot);
    }
    rc = tb_choose_neurons(neuron, &neurons, weight, options, err);
    for (size_t h = 0; rc == TB_OK && h < neurons.n; h++) {
        mask_hidden(keep, slots, &neurons.hidden[h],
                    neuron + neurons.hidden[h].first);
    }
done:
    tb_mem_free(neuron);
    tb_mem_free(weight);
    tb_neurons_release(&neurons);
    return rc;
}

tb_rc tb_prune_mask(uint8_t *keep, const tb_graph *graph, const float *params,
                    size_t n, const tb_prune_options *options, tb_err *err)
{
    tb_slots slots = {0};
    tb_rc rc = tb_choose_check(options->amount, err);
    if (rc == TB_OK) {
        rc = tb_params_slots(&slots, graph, err);
    }
    if (rc == TB_OK && slots.n_floats != n) {
        rc =
            tb_fail(err, TB_E_MISMATCH, "prune: %zu numbers for %zu parameters",
                    n, slots.n_floats);
    }
    if (rc == TB_OK) {
        memset(keep, 1, n);
        rc = options->kind == TB_PRUNE_STRUCTURED
                 ? mask_neurons(keep, graph, &slots, params, options, err)
                 : mask_weights(keep, graph, &slots, params, options, err);
    }
    tb_slots_release(&slots);
    return rc;
}
