/* core/model/expand.h - operators that stand for other nodes (tb_op.expand),
 * such as Gradient, written out before a graph is bound. */
#ifndef TB_MODEL_EXPAND_H
#define TB_MODEL_EXPAND_H

#include "model/graph.h"

/* A copy of graph with every such node replaced, whose ids are still valid; or
 * *out NULL, when there is none. Errors: as the operators' expand, NOMEM. */
tb_rc tb_expand(tb_graph **out, const tb_graph *graph, tb_err *err)
    TB_NONNULL(1, 2) TB_MUST_CHECK;

#endif
