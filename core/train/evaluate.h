/* core/train/evaluate.h - loss and accuracy of a model over a dataset. Rows run
 * in batches whose size the model alone decides, so the result never depends on
 * who evaluates. One owner at a time. */
#ifndef TB_TRAIN_EVALUATE_H
#define TB_TRAIN_EVALUATE_H

#include "model/graph.h"
#include "train/loss.h"
#include "train/tally.h"

/* A batch: as many rows, a power of two, as run within these bytes. */
#define TB_EVAL_BATCH_MAX 256
#define TB_EVAL_BYTES     ((size_t)256 << 20)

typedef struct tb_evaluator tb_evaluator;

/* What is measured. */
typedef struct tb_evaluator_options {
    const tb_loss *loss;
    tb_loss_options loss_options;
    size_t n_labels; /* labels a row of data; 0: 1 */
} tb_evaluator_options;

/* The graph is copied. Errors: as tb_trainer_new. */
tb_rc tb_evaluator_new(tb_evaluator **out, const tb_graph *graph,
                       const tb_evaluator_options *options, tb_err *err)
    TB_NONNULL(1, 2, 3) TB_MUST_CHECK;

/* How its outputs lie: for a tally. */
const tb_loss_layout *tb_evaluator_layout(const tb_evaluator *e) TB_NONNULL(1);

/* Lets every batch be added to a tally too (borrowed; NULL: none). */
void tb_evaluator_set_tally(tb_evaluator *e, tb_tally *tally) TB_NONNULL(1);

/* Frees it and nulls *e. NULL is fine. */
void tb_evaluator_free(tb_evaluator **e) TB_NONNULL(1);

/* Scores params (dense vector, borrowed for the call; NULL: the graph's own)
 * on rows [from, to) of data: pieces may run elsewhere and be added up.
 * Allocates nothing. Errors: MISMATCH (tb_fit_check, a label), USAGE (rows). */
tb_rc tb_evaluate(tb_evaluator *e, const float *params, const tb_dataset *data,
                  size_t from, size_t to, tb_score *score, tb_err *err)
    TB_NONNULL(1, 3, 6) TB_MUST_CHECK;

#endif
