#include "compress/choose.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

#define HALF_BITS 16
#define HALVES    ((size_t)1 << HALF_BITS)

/* Its bits order as |v| does. */
static uint32_t magnitude(float v)
{
    uint32_t bits = 0;
    memcpy(&bits, &v, sizeof bits);
    return bits & 0x7fffffffU;
}

/* The index below makes keys unique. */
static uint64_t key_of(float v, size_t index)
{
    return (uint64_t)magnitude(v) << 32 | (uint32_t)index;
}

static int by_key(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a;
    uint64_t y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

/* The keys of value[n] in ascending order, for tb_mem_free. */
static tb_rc ranked(uint64_t **out, const float *value, size_t n, tb_err *err)
{
    uint64_t *keys = tb_mem_array(n, sizeof *keys);
    if (keys == NULL) {
        return tb_fail(err, TB_E_NOMEM, "pruning %zu values", n);
    }
    for (size_t i = 0; i < n; i++) {
        keys[i] = key_of(value[i], i);
    }
    qsort(keys, n, sizeof *keys, by_key);
    *out = keys;
    return TB_OK;
}

tb_rc tb_choose_check(double amount, tb_err *err)
{
    if (!(amount >= 0.0 && amount < 1.0)) {
        return tb_fail(err, TB_E_USAGE,
                       "prune: amount %g, give a share from 0 to below 1, such "
                       "as 0.5",
                       amount);
    }
    return TB_OK;
}

size_t tb_choose_count(double amount, size_t n)
{
    size_t k = (size_t)floor(amount * (double)n + 0.5);
    return k < n ? k : n - 1;
}

/* The half that holds the value of this rank, which becomes its rank there. */
static uint32_t half_of(const size_t *count, size_t *rank)
{
    uint32_t half = 0;
    for (; *rank >= count[half]; half++) {
        *rank -= count[half];
    }
    return half;
}

/* Counts the upper halves of all magnitudes' bits. */
static void count_high(size_t *count, const tb_scores *w)
{
    for (size_t i = 0; i < w->n; i++) {
        count[magnitude(w->value[i]) >> HALF_BITS]++;
    }
}

/* Counts the lower halves of those with that upper one. */
static void count_low(size_t *count, const tb_scores *w, uint32_t high)
{
    for (size_t i = 0; i < w->n; i++) {
        uint32_t m = magnitude(w->value[i]);
        count[m & (HALVES - 1)] += m >> HALF_BITS == high;
    }
}

/* The largest magnitude among the n_drop least, and how many of those that
 * equal it are. By counting, the upper half of their bits first: for a large
 * model a sort takes four times its size. count: zeros [HALVES]. */
static uint32_t limit_of(size_t *count, const tb_scores *layers,
                         size_t n_layers, size_t n_drop, size_t *n_equal)
{
    size_t rank = n_drop - 1;
    for (size_t k = 0; k < n_layers; k++) {
        count_high(count, &layers[k]);
    }
    uint32_t high = half_of(count, &rank);
    memset(count, 0, HALVES * sizeof *count);
    for (size_t k = 0; k < n_layers; k++) {
        count_low(count, &layers[k], high);
    }
    uint32_t low = half_of(count, &rank);
    *n_equal = rank + 1;
    return high << HALF_BITS | low;
}

/* Drops what is below the limit, and *n_equal of those that equal it. */
static void drop(const tb_scores *w, uint32_t limit, size_t *n_equal)
{
    for (size_t i = 0; i < w->n; i++) {
        uint32_t m = magnitude(w->value[i]);
        bool equal = m == limit && *n_equal > 0;
        *n_equal -= equal;
        if (m < limit || equal) {
            w->keep[i] = 0;
        }
    }
}

tb_rc tb_choose_least(const tb_scores *layers, size_t n_layers, size_t n_drop,
                      tb_err *err)
{
    if (n_drop == 0) {
        return TB_OK;
    }
    size_t n_equal = 0;
    size_t *count = tb_mem_array(HALVES, sizeof *count);
    if (count == NULL) {
        return tb_fail(err, TB_E_NOMEM, "pruning %zu layers", n_layers);
    }
    uint32_t limit = limit_of(count, layers, n_layers, n_drop, &n_equal);
    for (size_t k = 0; k < n_layers; k++) {
        drop(&layers[k], limit, &n_equal);
    }
    tb_mem_free(count);
    return TB_OK;
}

/* Norm of the weights into neuron o; per_weight: over their number. */
static float norm_of(const tb_layer *layer, const float *w, size_t o,
                     tb_norm norm, bool per_weight)
{
    double sum = 0.0;
    double n = per_weight ? (double)layer->n_in : 1.0;
    for (size_t i = 0; i < layer->n_in; i++) {
        double v = (double)w[tb_layer_at(layer, o, i)];
        sum += norm == TB_NORM_L1 ? fabs(v) : v * v;
    }
    return (float)(norm == TB_NORM_L1 ? sum / n : sqrt(sum / n));
}

/* The n_drop least of all layers together, but the last of none. */
static tb_rc choose_global(uint8_t *keep, const tb_neurons *neurons,
                           const float *norms, size_t n_drop, tb_err *err)
{
    uint64_t *keys = NULL;
    size_t *left = tb_mem_array(neurons->n, sizeof *left);
    tb_rc rc = left == NULL ? tb_fail(err, TB_E_NOMEM, "pruning neurons")
                            : ranked(&keys, norms, neurons->n_neurons, err);
    if (rc != TB_OK) {
        goto done;
    }
    for (size_t h = 0; h < neurons->n; h++) {
        left[h] = neurons->hidden[h].layer.n_out;
    }
    for (size_t i = 0; n_drop > 0 && i < neurons->n_neurons; i++) {
        size_t neuron = (uint32_t)keys[i];
        size_t h = neurons->n - 1;
        while (neurons->hidden[h].first > neuron) {
            h--;
        }
        if (left[h] > 1) {
            left[h]--;
            n_drop--;
            keep[neuron] = 0;
        }
    }
done:
    tb_mem_free(keys);
    tb_mem_free(left);
    return rc;
}

tb_rc tb_choose_neurons(uint8_t *keep, const tb_neurons *neurons,
                        const float *const *weight,
                        const tb_prune_options *options, tb_err *err)
{
    bool global = options->scope == TB_PRUNE_GLOBAL;
    float *norms = tb_mem_array(neurons->n_neurons, sizeof *norms);
    if (norms == NULL) {
        return tb_fail(err, TB_E_NOMEM, "pruning neurons");
    }
    memset(keep, 1, neurons->n_neurons);
    tb_rc rc = TB_OK;
    for (size_t h = 0; rc == TB_OK && h < neurons->n; h++) {
        const tb_layer *layer = &neurons->hidden[h].layer;
        size_t first = neurons->hidden[h].first;
        for (size_t o = 0; o < layer->n_out; o++) {
            norms[first + o] =
                norm_of(layer, weight[h], o, options->norm, global);
        }
        if (!global) {
            const tb_scores own = {norms + first, keep + first, layer->n_out};
            rc = tb_choose_least(
                &own, 1, tb_choose_count(options->amount, layer->n_out), err);
        }
    }
    if (rc == TB_OK && global) {
        rc = choose_global(keep, neurons, norms,
                           tb_choose_count(options->amount, neurons->n_neurons),
                           err);
    }
    tb_mem_free(norms);
    return rc;
}
