/* core/model/ops/known.h - what an operator must know before it runs: axes,
 * extents, bounds. Files give them as an attribute or as an input that is
 * constant once the graph is bound. */
#ifndef TB_MODEL_OPS_KNOWN_H
#define TB_MODEL_OPS_KNOWN_H

#include "model/op.h"

/* A list of integers; borrows the node or the input. */
typedef struct tb_known {
    bool given;
    size_t n;
    const int64_t *ints; /* of an attribute, or */
    const tb_tensor *in; /* an input; both NULL: not given */
} tb_known;

/* Attribute `name` where the node has it, else input i (a scalar counts as one
 * number). Errors: MISMATCH (no list of i32 or i64), UNSUPPORTED (computed from
 * data). */
tb_rc tb_known_read(tb_known *out, const tb_call *call, const char *name,
                    size_t i, tb_err *err) TB_NONNULL(1, 2, 3) TB_MUST_CHECK;

/* Number k of a list, k < n. */
int64_t tb_known_at(const tb_known *list, size_t k) TB_NONNULL(1);

/* A set of axes of `rank` dimensions, bit d for axis d. MALFORMED when one
 * stands there twice, MISMATCH when there is no such axis. */
tb_rc tb_known_axes(uint32_t *out, const tb_known *list, size_t rank,
                    tb_err *err) TB_NONNULL(1, 2) TB_MUST_CHECK;

/* A shape given as a list. Errors: LIMIT, MALFORMED, as tb_shape_from. */
tb_rc tb_known_shape(tb_shape *out, const tb_known *list, tb_err *err)
    TB_NONNULL(1, 2) TB_MUST_CHECK;

/* Whether indexes are i32 or i64 and, where they are known now, in [-n, n).
 * Errors: UNSUPPORTED, MISMATCH. */
tb_rc tb_known_index(const tb_tensor *index, size_t n, tb_err *err)
    TB_NONNULL(1) TB_MUST_CHECK;

/* Emits `op` of gradients with the node's attributes, for dy[0] and all inputs
 * of the node: how an operator passes on what it was told. */
tb_value_id tb_grad_mirror(tb_grad *g, const char *op) TB_NONNULL(1, 2);

#endif
