/* core/compress/choose.h - what to prune by, and which weights or neurons go
 * first: the ranking that masks (prune.h) and passes share. */
#ifndef TB_COMPRESS_CHOOSE_H
#define TB_COMPRESS_CHOOSE_H

#include "compress/layer.h"

typedef enum tb_prune_kind {
    TB_PRUNE_UNSTRUCTURED, /* single weights, by magnitude */
    TB_PRUNE_STRUCTURED    /* neurons of hidden layers, by norm */
} tb_prune_kind;

typedef enum tb_prune_scope {
    TB_PRUNE_LAYER, /* the same share of each layer */
    TB_PRUNE_GLOBAL /* the smallest of all layers */
} tb_prune_scope;

typedef enum tb_norm { TB_NORM_L1, TB_NORM_L2 } tb_norm;

typedef struct tb_prune_options {
    tb_prune_kind kind;
    tb_prune_scope scope;
    tb_norm norm;  /* STRUCTURED: of a neuron's incoming weights; GLOBAL: over
                    * their number (L1) or its root (L2), so that layers of
                    * different width compare */
    double amount; /* share of weights or neurons to go, in [0, 1) */
} tb_prune_options;

/* What is chosen from in one layer, its weights or the norms of its neurons,
 * where that lies; and what becomes of each. */
typedef struct tb_scores {
    const float *value; /* [n] */
    uint8_t *keep;      /* [n] */
    size_t n;
} tb_scores;

/* Sets keep to 0 for the n_drop values of least magnitude among those of all
 * n_layers; equal ones go in order, NaN goes last. The other keep stay. n_drop:
 * at most all. Needs 0.5 MB, however many they are. Errors: NOMEM. */
tb_rc tb_choose_least(const tb_scores *layers, size_t n_layers, size_t n_drop,
                      tb_err *err) TB_NONNULL(1) TB_MUST_CHECK;

/* amount of n, to the nearest; never all of them. */
size_t tb_choose_count(double amount, size_t n);

/* Sets keep [neurons->n_neurons] by the norm of each neuron's incoming weights;
 * every layer keeps one at least. weight: of each hidden layer, its matrix.
 * Errors: NOMEM. */
tb_rc tb_choose_neurons(uint8_t *keep, const tb_neurons *neurons,
                        const float *const *weight,
                        const tb_prune_options *options, tb_err *err)
    TB_NONNULL(1, 2, 3, 4) TB_MUST_CHECK;

/* Errors: USAGE (an amount that is not in [0, 1)). */
tb_rc tb_choose_check(double amount, tb_err *err) TB_MUST_CHECK;

#endif
