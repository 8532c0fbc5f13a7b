/* core/exec/plan.h - where each value of a bound graph lies in one block of
 * memory: values that never live at the same time share bytes. Largest first,
 * each into the tightest gap (greedy by size, Pisarchyk and Lee 2020). Uses the
 * bound graph only; allocates no activations itself. */
#ifndef TB_EXEC_PLAN_H
#define TB_EXEC_PLAN_H

#include "model/bind.h"

#define TB_PLAN_ALIGN_BYTES 64
#define TB_PLAN_NOWHERE     SIZE_MAX

typedef struct tb_plan {
    size_t n_values;
    tb_value_id *root; /* [n_values] whose bytes these are: the value itself, or
                        * the one it is a view of or was laid over */
    size_t *offset;    /* [n_values] of a root in the block, in bytes;
                        * NOWHERE: it has data of its own */
    size_t *work;      /* [n_calls] of each call's scratch memory; NOWHERE */
    size_t n_bytes;    /* of the block */
    size_t n_bytes_unshared; /* if nothing shared memory */
} tb_plan;

/* elsewhere [n_values]: values that the caller keeps himself (parameters and
 * constants are left out anyway). Inputs and outputs of the graph share with
 * nothing that would destroy them. Errors: LIMIT (over max_bytes), NOMEM. */
tb_rc tb_plan_init(tb_plan *out, const tb_bound *bound, const bool *elsewhere,
                   size_t max_bytes, tb_err *err)
    TB_NONNULL(1, 2, 3) TB_MUST_CHECK;

/* Frees what the plan owns; it is empty again. */
void tb_plan_release(tb_plan *plan) TB_NONNULL(1);

#endif
