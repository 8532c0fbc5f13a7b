/* core/compress/pass.h - the table of compression passes: each makes a smaller
 * model from a model, in plain ONNX. Pure functions of their arguments; any
 * thread. */
#ifndef TB_COMPRESS_PASS_H
#define TB_COMPRESS_PASS_H

#include "compress/calibrate.h"
#include "compress/prune.h"

typedef struct tb_pass_options {
    tb_prune_scope scope;    /* pruning */
    tb_norm norm;            /* structured */
    double amount;           /* pruning: in [0, 1) */
    unsigned bits;           /* pow2: 2 to 8; 0 is 8 */
    const tb_ranges *ranges; /* int8: of this very graph */
} tb_pass_options;

typedef struct tb_pass {
    const char *name; /* as a job says it */
    const char *help; /* one line */
    bool needs_ranges;

    /* *out is a new graph; graph stays as it is. */
    tb_rc (*run)(tb_graph **out, const tb_graph *graph,
                 const tb_pass_options *options, tb_err *err);
} tb_pass;

/* The passes, NULL-terminated:
 * unstructured  the weights of least magnitude become zero
 * structured    neurons of least norm are taken out of hidden layers
 * int8          QDQ: activations uint8 (asymmetric, per tensor), weights int8
 *               (symmetric, per output), biases int32 at both scales' product
 * pow2          weights and biases int8, x_int = round(x * 2^p), p per tensor,
 *               as large as max|x| allows */
extern const tb_pass *const tb_pass_list[];

/* By name. USAGE: there is none; names the nearest. */
tb_rc tb_pass_find(const tb_pass **out, const char *name, tb_err *err)
    TB_NONNULL(1, 2) TB_MUST_CHECK;

/* Runs a pass. Errors: USAGE (options), UNSUPPORTED (nothing in this model that
 * the pass can work on), MISMATCH (ranges of another graph), NOMEM. */
tb_rc tb_pass_run(tb_graph **out, const tb_pass *pass, const tb_graph *graph,
                  const tb_pass_options *options, tb_err *err)
    TB_NONNULL(1, 2, 3, 4) TB_MUST_CHECK;

#endif
