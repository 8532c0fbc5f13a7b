/* core/model/roles.h - which initialisers of a graph are weights: found from
 * what reads them. Knows nothing of what a job freezes (params.h). */
#ifndef TB_MODEL_ROLES_H
#define TB_MODEL_ROLES_H

#include "model/graph.h"

/* Gives every initialiser its role: PARAM when it is float32 and reaches, at
 * most turned around, cut or joined on the way (Transpose, Slice, Concat, ...),
 *   - an operand that its operator trains (tb_op.trains),
 *   - the Add behind a MatMul,
 *   - the Mul and the Add behind a normalisation written out in parts, as
 *     PyTorch exports GroupNorm; ones and zeros of the InstanceNormalization
 *     inside are no weights then;
 * BUFFER when training carries it on; else CONST. Errors: MALFORMED (a cycle),
 * NOMEM. */
tb_rc tb_roles_assign(tb_graph *graph, tb_err *err) TB_NONNULL(1) TB_MUST_CHECK;

/* Whether a node only hands on the numbers of its first input (Concat: of all),
 * in another place or shape. */
bool tb_roles_hands_on(const tb_node *node) TB_NONNULL(1);

#endif
