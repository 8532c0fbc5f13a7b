/* core/train/tally.h - counts what a model answered, batch by batch, so that
 * metrics (metric.h) can be told at the end. Targets are of one of three kinds:
 * one class of many, bits (a 0 or 1 a column), or values. One owner at a
 * time. */
#ifndef TB_TRAIN_TALLY_H
#define TB_TRAIN_TALLY_H

#include "train/loss.h"

#define TB_TALLY_CLASSES_MAX ((size_t)4096)    /* of a confusion matrix */
#define TB_TALLY_SCORES_MAX  ((size_t)1 << 28) /* floats kept for AUC */

typedef enum tb_tally_kind {
    TB_TALLY_CLASSES = 1,
    TB_TALLY_BITS = 2,
    TB_TALLY_VALUES = 4
} tb_tally_kind;

/* What is counted. Read it freely; tb_tally_add changes it. */
typedef struct tb_tally {
    tb_tally_kind kind;
    size_t n_cols;    /* classes, or columns of bits or values */
    size_t n_targets; /* counted so far: labels, or rows */
    /* CLASSES, BITS: of each class or column; [n_cols] */
    uint64_t *hits;   /* it was said, and right */
    uint64_t *said;   /* right or not */
    uint64_t *truths; /* it would have been right to say it */
    /* CLASSES */
    uint64_t *confusion; /* [n_cols, n_cols] by truth, then answer */
    uint64_t *ranks;     /* [n_cols] labels whose class came so high: 0 first */
    double nll;          /* sum of -log p of the labels */
    /* VALUES; [n_cols] each */
    double *mean, *spread;       /* of the targets: mean, sum of (y - mean)^2 */
    double *squares, *distances; /* sums of (out - y)^2 and |out - y| */
    /* Where scores are kept: log-probabilities; of two classes, and of bits,
     * what the model gave. */
    float *scores;   /* [n_max, n_cols]; NULL: not kept */
    int32_t *labels; /* CLASSES [n_max]; BITS [n_max, n_cols] */
    size_t n_max;    /* targets that there is room for */
} tb_tally;

typedef struct tb_tally_options {
    const tb_loss *loss; /* says the kind */
    size_t n_cols;
    bool scores;  /* keep them, for AUC */
    size_t n_max; /* most targets that will come, when scores are kept */
} tb_tally_options;

/* An empty tally; *out is for tb_tally_release. Errors: LIMIT (classes,
 * scores), NOMEM. */
tb_rc tb_tally_init(tb_tally *out, const tb_tally_options *options, tb_err *err)
    TB_NONNULL(1, 2) TB_MUST_CHECK;
void tb_tally_release(tb_tally *t) TB_NONNULL(1);

/* Adds a batch, which passed the loss's check. Allocates nothing. */
void tb_tally_add(tb_tally *t, const tb_loss_batch *b) TB_NONNULL(1, 2);

#endif
