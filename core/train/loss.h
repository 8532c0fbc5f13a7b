/* core/train/loss.h - the table of losses. A loss stands between the forward
 * and the backward half of a step: it reads the model's output and the targets
 * and writes the gradient. Pure functions; any thread. */
#ifndef TB_TRAIN_LOSS_H
#define TB_TRAIN_LOSS_H

#include "data/dataset.h"

/* One batch. Rows behind n_rows are padding: their gradient is zero. */
typedef struct tb_loss_batch {
    const float *out; /* [n_padded, n_cols] */
    const void *y;    /* int32 [n_rows] or float32 [n_rows, n_cols] */
    size_t n_rows;
    size_t n_padded; /* >= n_rows */
    size_t n_cols;
    float *grad; /* [n_padded, n_cols]: gets d(mean over n_rows) / d out */
} tb_loss_batch;

/* Sums over samples; a caller adds batches up by adding fields. */
typedef struct tb_score {
    size_t n_rows;
    double loss_sum;  /* of each row's loss; / n_rows is the mean */
    size_t n_correct; /* rows whose largest output is the label; 0 for values */
} tb_score;

typedef struct tb_loss {
    const char *name;
    tb_target target;
    bool on_logits; /* applies softmax itself: a Softmax at the model's end is
                     * stepped over */

    /* Whether targets fit: labels in [0, n_cols). MISMATCH names the row. */
    tb_rc (*check)(const tb_loss_batch *b, tb_err *err);

    /* Adds the batch to *score, and writes grad. */
    void (*run)(const tb_loss_batch *b, tb_score *score);
} tb_loss;

/* All losses, NULL-terminated: "softmax_cross_entropy" (mean over rows of
 * logsumexp(out) - out[label]) and "mse" (mean over rows and columns of
 * (out - y)^2). */
extern const tb_loss *const tb_loss_list[];

/* By name, or NULL. */
const tb_loss *tb_loss_find(const char *name) TB_NONNULL(1);

#endif
