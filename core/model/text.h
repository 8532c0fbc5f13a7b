/* core/model/text.h - a model for a person's eyes: inputs, nodes with shapes,
 * parameters. */
#ifndef TB_MODEL_TEXT_H
#define TB_MODEL_TEXT_H

#include "model/graph.h"

/* Appends a readable listing to out; N stands for dimensions that follow the
 * batch. Errors: as tb_bind_new, and LIMIT (out->max); out is as it was. */
tb_rc tb_model_text(tb_buf *out, const tb_graph *graph, tb_err *err)
    TB_NONNULL(1, 2) TB_MUST_CHECK;

#endif
