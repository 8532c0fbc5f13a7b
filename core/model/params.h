/* core/model/params.h - which initialisers train, and all of them as one
 * float32 vector in initialiser order: what federated learning ships. Slots
 * lie dense, without padding. */
#ifndef TB_MODEL_PARAMS_H
#define TB_MODEL_PARAMS_H

#include "model/graph.h"

typedef struct tb_slot {
    const char *name; /* borrowed from the graph */
    tb_value_id value;
    tb_shape shape;
    size_t offset; /* first element in the vector */
    size_t n;      /* elements */
} tb_slot;

typedef struct tb_slots {
    tb_slot *slot; /* [n], in initialiser order; owned */
    size_t n;
    size_t n_floats; /* length of the whole vector */
} tb_slots;

/* Names from the job, or patterns (tb_text_fits) that fit any number of them:
 * `train` wins over the rule, `freeze` over both. */
typedef struct tb_params_rule {
    const char *const *freeze;
    size_t n_freeze;
    const char *const *train;
    size_t n_train;
} tb_params_rule;

/* Gives every initialiser its role by what reads it (roles.h), then by the
 * rule; rule NULL: there is none. Errors: NOT_FOUND (a name or pattern that
 * fits no initialiser: the nearest is proposed), MISMATCH (train: of none that
 * is float32), MALFORMED (a cycle), NOMEM. */
tb_rc tb_params_assign(tb_graph *graph, const tb_params_rule *rule, tb_err *err)
    TB_NONNULL(1) TB_MUST_CHECK;

/* The slots of all PARAM values; release with tb_slots_release. Valid until
 * the graph is edited. Errors: NOMEM. */
tb_rc tb_params_slots(tb_slots *out, const tb_graph *graph, tb_err *err)
    TB_NONNULL(1, 2) TB_MUST_CHECK;
void tb_slots_release(tb_slots *slots) TB_NONNULL(1);

/* Length of the vector. */
size_t tb_params_count(const tb_graph *graph) TB_NONNULL(1);

/* Copies all parameters out of, or into, the graph. n must be exactly
 * tb_params_count: MISMATCH says both. */
tb_rc tb_params_get(const tb_graph *graph, float *out, size_t n, tb_err *err)
    TB_NONNULL(1) TB_MUST_CHECK;
tb_rc tb_params_set(tb_graph *graph, const float *from, size_t n, tb_err *err)
    TB_NONNULL(1) TB_MUST_CHECK;

/* Zeroes the parameters whose keep [n], in the order of the vector, is 0.
 * MISMATCH as above. */
tb_rc tb_params_mask(tb_graph *graph, const uint8_t *keep, size_t n,
                     tb_err *err) TB_NONNULL(1) TB_MUST_CHECK;

/* The same for running statistics: role BUFFER, moved by training without a
 * gradient (tb_op.carry). Their vector is federation's second section. */
tb_rc tb_buffers_slots(tb_slots *out, const tb_graph *graph, tb_err *err)
    TB_NONNULL(1, 2) TB_MUST_CHECK;
size_t tb_buffers_count(const tb_graph *graph) TB_NONNULL(1);
tb_rc tb_buffers_get(const tb_graph *graph, float *out, size_t n, tb_err *err)
    TB_NONNULL(1) TB_MUST_CHECK;
tb_rc tb_buffers_set(tb_graph *graph, const float *from, size_t n, tb_err *err)
    TB_NONNULL(1) TB_MUST_CHECK;

#endif
