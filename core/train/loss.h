/* core/train/loss.h - the table of losses. A loss stands between the forward
 * and the backward half of a step: it reads the model's output and the targets
 * and writes the gradient. The definitions are PyTorch's. Pure functions; any
 * thread. */
#ifndef TB_TRAIN_LOSS_H
#define TB_TRAIN_LOSS_H

#include "data/dataset.h"

/* The numbers of a loss; all zero is the default of each. Borrows its lists. */
typedef struct tb_loss_options {
    double delta; /* huber: where the square becomes a line; 0: 1 */
    /* Of softmax_cross_entropy: */
    double smoothing; /* share of a label given to all classes, in [0, 1) */
    bool ignores;     /* labels of the value `ignore` are not counted */
    int32_t ignore;
    const float *class_weight; /* [n_class_weight], one a class; or NULL */
    size_t n_class_weight;
    /* Of bce_with_logits: weight of targets that are 1; [1] or one a column. */
    const float *pos_weight;
    size_t n_pos_weight;
} tb_loss_options;

/* How the outputs of a row stand to its targets. */
typedef struct tb_loss_layout {
    size_t n_cols;    /* classes; or values a row */
    size_t n_labels;  /* labels a row; of values: 1. 0 is read as 1 */
    bool class_first; /* a row is [n_cols, n_labels], else
                       * [n_labels, n_cols] */
} tb_loss_layout;

/* One batch. Rows behind n_rows are padding: their gradient is zero. */
typedef struct tb_loss_batch {
    const float *out; /* [n_padded, outputs of a row] */
    const void *y;    /* int32 [n_rows, n_labels], or float32
                       * [n_rows, n_cols] */
    size_t n_rows;
    size_t n_padded; /* >= n_rows */
    tb_loss_layout layout;
    const tb_loss_options *options; /* NULL: all zero */
    double weight; /* what the gradient is divided by: the weight of all pieces
                    * of a step; 0: of this batch */
    float *grad;   /* as out: gets d(sum of losses / weight) / d out */
} tb_loss_batch;

/* Sums over samples; a caller adds batches up by adding fields. */
typedef struct tb_score {
    size_t n_rows;
    size_t n_counted; /* targets that are right or wrong: labels not ignored; 0
                       * for values */
    size_t n_correct; /* of them */
    double weight;    /* of the losses: their number, or of their weights */
    double loss_sum;  /* weighted */
} tb_score;

/* The mean loss, and the share of right answers; NaN when nothing was
 * counted. */
double tb_score_loss(const tb_score *score) TB_NONNULL(1);
double tb_score_accuracy(const tb_score *score) TB_NONNULL(1);

typedef struct tb_loss {
    const char *name;
    tb_target target;
    bool binary; /* values are 0 or 1: class labels of two classes will do */
    /* Operators at the model's end that it stands for itself and that are
     * stepped over; NULL-terminated, or NULL. */
    const char *const *over;

    /* Whether targets fit: labels in [0, n_cols). MISMATCH names the row. */
    tb_rc (*check)(const tb_loss_batch *b, tb_err *err);

    /* The weight of the batch: what its losses are counted as together. */
    double (*weigh)(const tb_loss_batch *b);

    /* Adds the batch to *score, and writes grad. */
    void (*run)(const tb_loss_batch *b, tb_score *score);
} tb_loss;

/* All losses, NULL-terminated: "softmax_cross_entropy" (of each label,
 * logsumexp(out) - out[label]), "bce_with_logits", "mse", "l1" and "huber"
 * (of each row, the mean over its columns). */
extern const tb_loss *const tb_loss_list[];

/* By name, or NULL. */
const tb_loss *tb_loss_find(const char *name) TB_NONNULL(1);

/* "bce_with_logits, huber, ..., or ...": for help and errors. */
const char *tb_loss_names(void);

/* Whether the numbers make sense for this loss over n_cols columns. USAGE says
 * which. */
tb_rc tb_loss_options_check(const tb_loss *loss, const tb_loss_options *options,
                            size_t n_cols, tb_err *err)
    TB_NONNULL(1, 2) TB_MUST_CHECK;

#endif
