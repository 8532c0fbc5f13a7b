/* core/model/reverse.h - reverse-mode differentiation: adds to a graph the
 * nodes that compute the gradient of one value for every parameter behind it,
 * and nothing that reaches no parameter. */
#ifndef TB_MODEL_REVERSE_H
#define TB_MODEL_REVERSE_H

#include "model/op.h"
#include "model/params.h"

/* y: the value whose gradient is dy. grads [slots->n] gets the gradient of each
 * slot, one value each, which no two slots share and which is no input; or
 * TB_ID_NONE where y does not depend on the slot. Errors: UNSUPPORTED (an
 * operator on the way without a gradient: named), NOMEM; the graph may then
 * hold half of the nodes: throw it away. */
tb_rc tb_reverse(tb_graph *graph, tb_value_id y, tb_value_id dy,
                 const tb_slots *slots, tb_value_id *grads, tb_err *err)
    TB_NONNULL(1, 4, 5) TB_MUST_CHECK;

#endif
