/* core/train/head.h - makes a copy of a model ready for a loss: rows may be
 * any number, and output 0 is what the loss reads. */
#ifndef TB_TRAIN_HEAD_H
#define TB_TRAIN_HEAD_H

#include "model/graph.h"
#include "train/loss.h"

/* Copies graph; opens the first dimension of its one input; steps over a
 * Softmax at its end when the loss works on logits. Errors: MISMATCH (not
 * exactly one input, no output), NOMEM. */
tb_rc tb_head_new(tb_graph **out, const tb_graph *graph, const tb_loss *loss,
                  tb_err *err) TB_NONNULL(1, 2, 3) TB_MUST_CHECK;

/* Columns of the output a loss can use: out float32 [batch, ...]; MISMATCH when
 * it is not that, or has no columns. */
tb_rc tb_head_columns(size_t *n_cols, const tb_tensor *in, const tb_tensor *out,
                      tb_err *err) TB_NONNULL(1, 2, 3) TB_MUST_CHECK;

#endif
