/* core/model/text.h - a model for a person's eyes: inputs, nodes with shapes,
 * parameters. */
#ifndef TB_MODEL_TEXT_H
#define TB_MODEL_TEXT_H

#include "model/graph.h"

/* Appends a readable listing to out; shapes are shown at a batch of 1, with N
 * for the dimensions that are bound later. Errors: LIMIT, NOMEM, MALFORMED. */
tb_rc tb_model_text(tb_buf *out, const tb_graph *graph, tb_err *err)
    TB_NONNULL(1, 2) TB_MUST_CHECK;

#endif
