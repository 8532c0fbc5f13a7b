/* core/model/init.h - first values of the parameters of any graph, drawn from a
 * seed as PyTorch's modules draw theirs. Knows nothing of jobs or texts. */
#ifndef TB_MODEL_INIT_H
#define TB_MODEL_INIT_H

#include "model/graph.h"

/* Draws every PARAM anew, from the stream (seed, 0, "init", parameter name), by
 * what reads it, at most turned around, cut or joined on the way:
 *   - weight and bias of Gemm, MatMul (an Add behind it), Conv, ConvTranspose:
 *     uniform in +-1/sqrt(n_in), n_in numbers flowing into one output
 *     (kaiming_uniform_ with a = sqrt 5)
 *   - all of LSTM, GRU and RNN: uniform in +-1/sqrt(hidden size)
 *   - the table of a Gather: standard normal
 *   - normalisations: scales 1, shifts 0; slopes of PRelu 1/4
 * and sets running means to 0, running variances to 1. Errors: MISMATCH (no
 * parameter at all). */
tb_rc tb_init_fresh(tb_graph *graph, uint64_t seed, tb_err *err)
    TB_NONNULL(1) TB_MUST_CHECK;

#endif
