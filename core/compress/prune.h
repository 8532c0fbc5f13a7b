/* core/compress/prune.h - which parameters to set to zero, and how many of them
 * by when: for pruning step by step while rounds go on. The passes "structured"
 * and "unstructured" (pass.h) do the rest. Pure functions; any thread. */
#ifndef TB_COMPRESS_PRUNE_H
#define TB_COMPRESS_PRUNE_H

#include "compress/choose.h"

/* The share to prune after round `round` (from 1) of n_rounds, when the last
 * n_gradual rounds lead to final: final * (1 - (1 - t)^3), where t goes from
 * 1 / n_gradual to 1 (Zhu and Gupta 2017, equation 1, with s_i = 0). 0 before
 * them; n_gradual 0: 0 always, since one pass after the run does it all. */
double tb_prune_amount(double final, uint32_t round, uint32_t n_rounds,
                       uint32_t n_gradual);

/* Sets keep [n] to 0 where a parameter shall be zero, else 1. params [n]: the
 * parameter vector (tb_params_count(graph) floats in initialiser order), NULL:
 * the graph's own. UNSTRUCTURED: the weights of linear layers, not biases;
 * STRUCTURED: weights and bias that lead into a neuron, which the pass then
 * takes away without a change in what the model says (if its activation keeps
 * zero). What is zero goes first, so that a mask grows with its amount; equal
 * values go in the order of the vector. Errors: USAGE (amount), MISMATCH (n),
 * UNSUPPORTED (nothing to prune), NOMEM. */
tb_rc tb_prune_mask(uint8_t *keep, const tb_graph *graph, const float *params,
                    size_t n, const tb_prune_options *options, tb_err *err)
    TB_NONNULL(1, 2, 5) TB_MUST_CHECK;

#endif
