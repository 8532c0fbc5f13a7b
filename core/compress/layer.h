/* core/compress/layer.h - the linear layers of a graph, and the neurons between
 * them: what passes work on. Finds, changes nothing. */
#ifndef TB_COMPRESS_LAYER_H
#define TB_COMPRESS_LAYER_H

#include "model/graph.h"

#define TB_FOLLOWERS_MAX 8

/* A Gemm (transA 0) or MatMul whose second operand is a float32 initialiser of
 * two dimensions, or a Conv by such an initialiser, seen as the matrix [n_out,
 * channels * kernel]. An output of a Conv is a filter. */
typedef struct tb_layer {
    tb_node_id node;
    tb_value_id input;
    tb_value_id weight;
    tb_value_id bias; /* initialiser C of a Gemm, B of a Conv, or TB_ID_NONE */
    tb_value_id output;
    size_t out_axis; /* of weight: 0 with transB or of a Conv, else 1 */
    size_t n_in;     /* weights that lead into one output */
    size_t n_out;
    bool conv;
    size_t groups; /* of a Conv, else 1 */
} tb_layer;

/* A layer whose outputs can be taken away one by one: nothing but the next
 * layer reads them, through operators that keep each to itself: elementwise
 * ones, BatchNormalization, pools, and Flatten between a Conv and a Gemm. */
typedef struct tb_hidden {
    tb_layer layer;
    tb_layer next;
    size_t n_each; /* inputs of next that one neuron gives: the kernel of a
                    * Conv, the pixels of a flat image, or 1 */
    tb_value_id follower[TB_FOLLOWERS_MAX]; /* initialisers with one number a
                                             * neuron: bias, then others */
    size_t n_followers;
    size_t first; /* number of its first neuron among all */
} tb_hidden;

typedef struct tb_neurons {
    tb_hidden *hidden; /* owned [n] */
    size_t n;
    size_t n_neurons;
} tb_neurons;

/* In running order; *out is for tb_mem_free. Errors: UNSUPPORTED (none: says
 * what is needed), MALFORMED (a cycle), NOMEM. */
tb_rc tb_layers_find(tb_layer **out, size_t *n, const tb_graph *graph,
                     tb_err *err) TB_NONNULL(1, 2, 3) TB_MUST_CHECK;

/* The hidden layers. On failure *out is empty. Errors: as above, and
 * UNSUPPORTED when no layer can be narrowed. */
tb_rc tb_neurons_find(tb_neurons *out, const tb_graph *graph, tb_err *err)
    TB_NONNULL(1, 2) TB_MUST_CHECK;
void tb_neurons_release(tb_neurons *neurons) TB_NONNULL(1);

/* Weight from input i to output o of a layer, in its matrix: an index. */
size_t tb_layer_at(const tb_layer *layer, size_t o, size_t i) TB_NONNULL(1);

#endif
