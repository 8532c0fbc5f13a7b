/* core/compress/passes/structured.c - takes the neurons or filters of least
 * norm out of hidden layers (Li et al. 2017): their outputs go from one
 * layer, their inputs from the next, and a smaller dense model is left that
 * every runtime profits from. */
#include <string.h>

#include "base/mem.h"
#include "compress/choose.h"
#include "compress/pass_priv.h"

/* Replaces an initialiser by the blocks of n_each slices of axis with
 * keep[i] != 0. */
static tb_rc cut(tb_graph *graph, tb_value_id id, size_t axis, size_t n_each,
                 const uint8_t *keep, tb_err *err)
{
    const tb_tensor *from = &tb_graph_value(graph, id)->data;
    size_t n = from->shape.dim[axis] / n_each;
    size_t n_outer = tb_shape_product(&from->shape, 0, axis);
    size_t n_inner =
        n_each * tb_shape_product(&from->shape, axis + 1, from->shape.rank);
    const float *src = from->data;
    tb_shape shape = from->shape;
    tb_tensor to = {0};
    shape.dim[axis] = 0;
    for (size_t i = 0; i < n; i++) {
        shape.dim[axis] += keep[i] * n_each;
    }
    tb_rc rc = tb_tensor_init(&to, TB_F32, &shape, err);
    if (rc != TB_OK) {
        return rc;
    }
    float *dst = to.data;
    for (size_t o = 0; o < n_outer; o++) {
        for (size_t i = 0; i < n; i++, src += n_inner) {
            if (keep[i] != 0) {
                memcpy(dst, src, n_inner * sizeof *dst);
                dst += n_inner;
            }
        }
    }
    rc = tb_graph_set_data(graph, id, &to, err);
    tb_tensor_release(&to);
    return rc;
}

/* What a file declared of the values in between no longer holds. */
static void forget_shapes(tb_graph *graph)
{
    for (size_t i = 0; i < graph->n_values; i++) {
        tb_value *v = graph->values[i];
        if (v != NULL && v->role == TB_ROLE_TEMP &&
            !tb_graph_is_output(graph, (tb_value_id)i)) {
            v->dims.rank = TB_RANK_UNKNOWN;
        }
    }
}

static tb_rc narrow(tb_graph *graph, const tb_hidden *h, const uint8_t *keep,
                    tb_err *err)
{
    tb_rc rc = cut(graph, h->layer.weight, h->layer.out_axis, 1, keep, err);
    for (size_t f = 0; rc == TB_OK && f < h->n_followers; f++) {
        size_t rank = tb_graph_value(graph, h->follower[f])->data.shape.rank;
        rc = cut(graph, h->follower[f], rank - 1, 1, keep, err);
    }
    return rc == TB_OK ? cut(graph, h->next.weight, 1 - h->next.out_axis,
                             h->next.conv ? 1 : h->n_each, keep, err)
                       : rc;
}

static tb_rc choose(uint8_t *keep, const tb_neurons *neurons,
                    const tb_graph *graph, const tb_pass_options *options,
                    tb_err *err)
{
    const tb_prune_options prune = {.kind = TB_PRUNE_STRUCTURED,
                                    .scope = options->scope,
                                    .norm = options->norm,
                                    .amount = options->amount};
    const float **weight = tb_mem_array(neurons->n, sizeof *weight);
    if (weight == NULL) {
        return tb_fail(err, TB_E_NOMEM, "pruning neurons");
    }
    for (size_t h = 0; h < neurons->n; h++) {
        weight[h] =
            tb_graph_value(graph, neurons->hidden[h].layer.weight)->data.data;
    }
    tb_rc rc = tb_choose_neurons(keep, neurons, weight, &prune, err);
    tb_mem_free(weight);
    return rc;
}

static tb_rc run(tb_graph **out, const tb_graph *graph,
                 const tb_pass_options *options, tb_err *err)
{
    tb_neurons neurons = {0};
    tb_graph *small = NULL;
    uint8_t *keep = NULL;
    tb_rc rc = tb_choose_check(options->amount, err);
    if (rc == TB_OK) {
        rc = tb_neurons_find(&neurons, graph, err);
    }
    if (rc == TB_OK && (keep = tb_mem_array(neurons.n_neurons, 1)) == NULL) {
        rc = tb_fail(err, TB_E_NOMEM, "pruning neurons");
    }
    if (rc == TB_OK) {
        rc = choose(keep, &neurons, graph, options, err);
    }
    if (rc == TB_OK) {
        rc = tb_graph_clone(&small, graph, err);
    }
    for (size_t h = 0; rc == TB_OK && h < neurons.n; h++) {
        rc = narrow(small, &neurons.hidden[h], keep + neurons.hidden[h].first,
                    err);
    }
    if (rc == TB_OK) {
        forget_shapes(small);
        *out = small;
        small = NULL;
    }
    tb_graph_free(&small);
    tb_mem_free(keep);
    tb_neurons_release(&neurons);
    return rc;
}

const tb_pass tb_pass_structured = {
    .name = "structured",
    .help = "take the neurons of least norm out of hidden layers",
    .run = run,
};
