/* core/train/head.h - puts a loss on a copy of a model: rows may be any number,
 * output 0 is what the loss reads, labels are an input, and the loss is a node
 * that makes the first gradient of all. */
#ifndef TB_TRAIN_HEAD_H
#define TB_TRAIN_HEAD_H

#include "model/bind.h"
#include "train/loss.h"

/* Copies graph; opens the first dimension of its one input; steps over an
 * operator at its end that the loss stands for itself: Softmax, LogSoftmax or
 * Sigmoid. Errors: MISMATCH (not exactly one input, no output), NOMEM. */
tb_rc tb_head_new(tb_graph **out, const tb_graph *graph, const tb_loss *loss,
                  tb_err *err) TB_NONNULL(1, 2, 3) TB_MUST_CHECK;

/* One end of a model that was bound. */
typedef struct tb_head_ends {
    const tb_tensor *in;  /* of input 0 */
    const tb_tensor *out; /* of output 0: float32 [batch, ...] */
} tb_head_ends;

/* How the outputs of a row stand to n_labels labels a row (0: 1; of values 1).
 * One label: all outputs are its classes. More: the model gives
 * [batch, labels..., classes], or PyTorch's [batch, classes, labels...]; where
 * both could be, the axis of a Softmax at the end of graph decides, else the
 * last axis of three has the classes, and the second one of four and more.
 * Errors: MISMATCH (not such an output). */
tb_rc tb_head_layout(tb_loss_layout *layout, const tb_graph *graph,
                     const tb_loss *loss, size_t n_labels,
                     const tb_head_ends *ends, tb_err *err)
    TB_NONNULL(1, 2, 3, 5) TB_MUST_CHECK;

/* Appends the labels as input 1, int32 [n, n_labels] or float32 [n, n_cols],
 * and the loss over output 0, whose place as an output its gradient *dy takes.
 * *out: what output 0 was. Errors: NOMEM. */
tb_rc tb_head_append(tb_graph *graph, const tb_loss *loss,
                     const tb_loss_layout *layout, tb_value_id *out,
                     tb_value_id *dy, tb_err *err)
    TB_NONNULL(1, 2, 3, 4, 5) TB_MUST_CHECK;

/* What the loss of a graph is told before each run. */
typedef struct tb_head_rows {
    const tb_loss *loss;
    const tb_loss_options *options;
    tb_loss_layout layout;
    size_t n_rows;   /* of the batch; those behind are padding */
    double weight;   /* as in tb_loss_batch */
    tb_score *score; /* is added to */
} tb_head_rows;

/* Lets the loss of a bound graph, which may have been fused, be that of rows,
 * borrowed for the life of bound. Returns which call it is; n_calls: none. */
size_t tb_head_install(tb_bound *bound, const tb_head_rows *rows)
    TB_NONNULL(1, 2);

#endif
