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

/* All weights that train, one behind the other: values [*n] and the place of
 * each in the vector. */
typedef struct pool {
    float *value;
    uint32_t *place;
    uint8_t *keep;
    size_t n;
} pool;

static void pool_release(pool *p)
{
    tb_mem_free(p->value);
    tb_mem_free(p->place);
    tb_mem_free(p->keep);
}

static tb_rc pool_init(pool *p, size_t n_max, tb_err *err)
{
    *p = (pool){.value = tb_mem_array(n_max, sizeof *p->value),
                .place = tb_mem_array(n_max, sizeof *p->place),
                .keep = tb_mem_array(n_max, 1)};
    return p->value != NULL && p->place != NULL && p->keep != NULL
               ? TB_OK
               : tb_fail(err, TB_E_NOMEM, "pruning %zu parameters", n_max);
}

static void pool_add(pool *p, const float *params, const tb_slot *slot)
{
    for (size_t i = 0; i < slot->n; i++, p->n++) {
        p->value[p->n] = params[slot->offset + i];
        p->place[p->n] = (uint32_t)(slot->offset + i);
        p->keep[p->n] = 1;
    }
}

/* Drops amount of the pool, writes it into keep, and empties it. */
static tb_rc pool_drop(pool *p, uint8_t *keep, double amount, tb_err *err)
{
    tb_rc rc = tb_choose_least(p->keep, p->value, p->n,
                               tb_choose_count(amount, p->n), err);
    for (size_t i = 0; rc == TB_OK && i < p->n; i++) {
        keep[p->place[i]] = p->keep[i];
    }
    p->n = 0;
    return rc;
}

static tb_rc mask_weights(uint8_t *keep, const tb_graph *graph,
                          const tb_slots *slots, const float *params,
                          const tb_prune_options *options, tb_err *err)
{
    tb_layer *layers = NULL;
    size_t n_layers = 0;
    size_t n_found = 0;
    pool p = {0};
    tb_rc rc = tb_layers_find(&layers, &n_layers, graph, err);
    if (rc == TB_OK) {
        rc = pool_init(&p, slots->n_floats, err);
    }
    for (size_t i = 0; rc == TB_OK && i < slots->n; i++) {
        if (!is_weight(layers, n_layers, slots->slot[i].value)) {
            continue;
        }
        pool_add(&p, params, &slots->slot[i]);
        n_found++;
        if (options->scope == TB_PRUNE_LAYER) {
            rc = pool_drop(&p, keep, options->amount, err);
        }
    }
    if (rc == TB_OK && p.n > 0) {
        rc = pool_drop(&p, keep, options->amount, err);
    }
    if (rc == TB_OK && n_found == 0) {
        rc = tb_fail(err, TB_E_UNSUPPORTED, "prune: no weight trains");
    }
    pool_release(&p);
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
        weight[h] = params + slot->offset;
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
    float *own = NULL;
    tb_rc rc = tb_choose_check(options->amount, err);
    if (rc == TB_OK) {
        rc = tb_params_slots(&slots, graph, err);
    }
    if (rc == TB_OK && (slots.n_floats != n || n > UINT32_MAX)) {
        rc =
            tb_fail(err, TB_E_MISMATCH, "prune: %zu numbers for %zu parameters",
                    n, slots.n_floats);
    }
    if (rc == TB_OK && params == NULL) {
        own = tb_mem_array(n, sizeof *own);
        rc = own == NULL ? tb_fail(err, TB_E_NOMEM, "pruning %zu parameters", n)
                         : tb_params_get(graph, own, n, err);
        params = own;
    }
    if (rc == TB_OK) {
        memset(keep, 1, n);
        rc = options->kind == TB_PRUNE_STRUCTURED
                 ? mask_neurons(keep, graph, &slots, params, options, err)
                 : mask_weights(keep, graph, &slots, params, options, err);
    }
    tb_mem_free(own);
    tb_slots_release(&slots);
    return rc;
}
