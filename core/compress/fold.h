/* core/compress/fold.h - takes BatchNormalization into the convolution before
 * it, as inference allows: w' = w s and b' = (b - mean) s + shift, with s =
 * scale / sqrt(variance + epsilon) of each filter. Quantising wants it: one
 * layer, one range. */
#ifndef TB_COMPRESS_FOLD_H
#define TB_COMPRESS_FOLD_H

#include "model/graph.h"

/* Changes graph: every Conv by a float32 initialiser whose only reader is a
 * BatchNormalization by float32 initialisers. The output of the normalisation
 * keeps its id. Errors: NOMEM. */
tb_rc tb_fold_normalisations(tb_graph *graph, tb_err *err)
    TB_NONNULL(1) TB_MUST_CHECK;

#endif
