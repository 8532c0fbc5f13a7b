/* core/compress/after.h - what happens to a model after training: prune, then
 * quantise, each stage measured, and a guard that refuses what lost too much.
 * Knows neither files nor registry: the caller gets each stage's graph. */
#ifndef TB_COMPRESS_AFTER_H
#define TB_COMPRESS_AFTER_H

#include "compress/pass.h"

#define TB_AFTER_STAGES_MAX 3

/* Accuracy (or any figure where more is better) of a model on the guard's data,
 * which the caller chooses. */
typedef tb_rc tb_accuracy_fn(void *arg, const tb_graph *graph, double *accuracy,
                             tb_err *err);

typedef struct tb_stage {
    const char *name; /* "fp32", "pruned", then the pass: "int8", "pow2" */
    tb_graph *graph;  /* owned */
    double accuracy;  /* NaN without a measure */
    double sparsity;  /* share of zeros among the weights of linear layers */
} tb_stage;

typedef struct tb_after_options {
    const char *prune; /* a pass of pass.h, or NULL */
    tb_prune_scope scope;
    tb_norm norm;
    double amount;
    const char *quantise;        /* a pass, or NULL */
    unsigned bits;               /* pow2 */
    const tb_dataset *calibrate; /* int8, unless ranges are given */
    double percentile;
    tb_rc (*ranges)(void *arg, tb_ranges *ranges, const tb_graph *graph,
                    tb_err *err); /* int8: fills them in; NULL: calibrate */
    tb_accuracy_fn *accuracy;     /* NULL: nothing is measured or refused */
    /* Gets each stage that the guard lets pass, before the next one is made of
     * it; then only the newest graph is kept. NULL: all are. */
    tb_rc (*stage)(void *arg, tb_stage *stage, tb_err *err);
    void *arg;       /* of all of these */
    double max_drop; /* largest loss of accuracy against fp32 */
} tb_after_options;

typedef struct tb_after {
    tb_stage stage[TB_AFTER_STAGES_MAX]; /* [0] is the model as it came */
    size_t n;
} tb_after;

/* Runs all stages on *graph_take, which becomes the first one's. On failure
 * *out is empty, but for REFUSED: then it holds the stages up to the one that
 * lost too much. Release always. Errors: REFUSED (the guard: says by how much),
 * and those of the passes, of tb_calibrate and of the accuracy function. */
tb_rc tb_after_run(tb_after *out, tb_graph **graph_take,
                   const tb_after_options *options, tb_err *err)
    TB_NONNULL(1, 2, 3) TB_MUST_CHECK;
void tb_after_release(tb_after *after) TB_NONNULL(1);

/* Share of zeros among the weights of linear layers, float or quantised; 0
 * when there are none. */
double tb_sparsity(const tb_graph *graph) TB_NONNULL(1);

#endif
