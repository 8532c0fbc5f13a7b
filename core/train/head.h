/* core/train/head.h - makes a copy of a model ready for a loss: rows may be
 * any number, and output 0 is what the loss reads. */
#ifndef TB_TRAIN_HEAD_H
#define TB_TRAIN_HEAD_H

#include "model/graph.h"
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

#endif
