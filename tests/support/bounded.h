/* tests/support/bounded.h - runs a model that nobody knows: only when its plan
 * and its work, looked at before, are small. For fuzzing and hostile cases. */
#ifndef TB_TESTS_SUPPORT_BOUNDED_H
#define TB_TESTS_SUPPORT_BOUNDED_H

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "exec/exec.h"

/* Arithmetic of all calls, and bytes they touch. */
static inline double bounded_work(const tb_bound *bound)
{
    double work = 0;
    for (size_t i = 0; i < bound->n_calls; i++) {
        const tb_call *call = &bound->calls[i];
        work += tb_op_flops(call) + (double)call->work_bytes;
        for (size_t k = 0; k < call->n_in; k++) {
            work += (double)tb_tensor_bytes(&call->in[k]);
        }
        for (size_t k = 0; k < call->n_out; k++) {
            work += (double)tb_tensor_bytes(&call->out[k]);
        }
    }
    return work;
}

/* What a run may take. */
typedef struct bounds {
    size_t value_bytes; /* of one value */
    size_t plan_bytes;
    double work;
} bounds;

/* Fills every input with that byte, as far as its type can take it. */
static inline void bounded_fill(tb_exec *exec, size_t n_inputs, int byte)
{
    for (size_t i = 0; i < n_inputs; i++) {
        const tb_tensor *in = tb_exec_input(exec, i);
        memset(in->data, in->dtype == TB_BOOL ? byte & 1 : byte,
               tb_tensor_bytes(in));
    }
}

/* Runs on zeros, on the largest numbers, and on NaN and -1; a run may say only
 * that its data were wrong. */
static inline void bounded_go(tb_exec *exec, size_t n_inputs)
{
    static const int fill[] = {0, 0x7f, 0xff};
    for (size_t k = 0; k < sizeof fill / sizeof fill[0]; k++) {
        bounded_fill(exec, n_inputs, fill[k]);
        tb_exec_run(exec);
        tb_rc rc = tb_exec_fault(exec, NULL);
        if (rc != TB_OK && tb_rc_fault(rc) != TB_FAULT_PEER) {
            abort();
        }
    }
}

/* Whether a bound model may be run. */
static inline bool bounded_fits(const tb_bound *bound, const bounds *most)
{
    tb_exec_cost cost;
    return tb_exec_measure(&cost, bound, NULL, 0, NULL) == TB_OK &&
           cost.bytes <= most->plan_bytes && bounded_work(bound) <= most->work;
}

/* Binds a model as it is trained or used, and runs it if it is small: in
 * inference as users run it, fused. *run (may be NULL) counts up when it did.
 * Returns what binding said. */
static inline tb_rc bounded_try(const tb_graph *graph,
                                const tb_bind_options *how, const bounds *most,
                                size_t *run, tb_err *err)
{
    static const tb_chance chance = {.key = 1, .step = 1};
    tb_bind_options options = *how;
    tb_bound *bound = NULL;
    tb_exec *exec = NULL;
    options.max_bytes = most->value_bytes;
    tb_rc rc = tb_bind_new(&bound, graph, &options, err);
    if (rc == TB_OK && bounded_fits(bound, most)) {
        tb_rc made = how->training
                         ? tb_exec_from(&exec, &bound, NULL, 0, &chance, NULL)
                         : tb_exec_new(&exec, graph, how->batch, NULL);
        if (made == TB_OK) {
            bounded_go(exec, graph->n_inputs);
            *run += 1;
        }
    }
    tb_exec_free(&exec);
    tb_bind_free(&bound);
    return rc;
}

#endif
