/* core/work/predict.h - answers from a model: raw rows in, float32 outputs out.
 * Rows run in batches of one fixed size, the last one padded, here and at the
 * coordinator: so local and remote answers are equal to the last bit on the
 * same kind of CPU. One owner at a time. */
#ifndef TB_WORK_PREDICT_H
#define TB_WORK_PREDICT_H

#include "model/graph.h"

#define TB_PREDICT_BATCH 32

typedef struct tb_predictor tb_predictor;

/* Reads a model's ONNX bytes and plans it, for any number of rows where the
 * model goes along. Errors: as tb_onnx_read; MISMATCH
 * (not one input with rows in front, or an output that is not float32
 * [rows, values]), LIMIT, NOMEM. */
tb_rc tb_predictor_new(tb_predictor **out, const uint8_t *onnx, size_t len,
                       tb_err *err) TB_NONNULL(1, 2) TB_MUST_CHECK;

/* The same of a graph, which is taken. Errors: as above. */
tb_rc tb_predictor_of(tb_predictor **out, tb_graph **graph_take, tb_err *err)
    TB_NONNULL(1, 2) TB_MUST_CHECK;

/* Frees it and nulls *p. NULL is fine. */
void tb_predictor_free(tb_predictor **p) TB_NONNULL(1);

/* The model itself: class names, text. Borrowed. */
const tb_graph *tb_predictor_graph(const tb_predictor *p) TB_NONNULL(1);

/* dtype and shape [TB_PREDICT_BATCH, ...] of what it eats; bytes of one row;
 * values of one answer. */
const tb_tensor *tb_predictor_input(const tb_predictor *p) TB_NONNULL(1);
size_t tb_predictor_row_bytes(const tb_predictor *p) TB_NONNULL(1);
size_t tb_predictor_n_outputs(const tb_predictor *p) TB_NONNULL(1);

/* x [n_rows, ...] -> y [n_rows, n_outputs]. Allocates nothing. Errors: MISMATCH
 * (a token that the model's table has not); y means nothing then. */
tb_rc tb_predictor_run(tb_predictor *p, const void *x, size_t n_rows, float *y,
                       tb_err *err) TB_NONNULL(1) TB_MUST_CHECK;

#endif
