/* core/work/local.h - what a client does for a round, from the model and its
 * own rows to the values of an update: train, evaluate or calibrate. No files,
 * no network: the client, the simulator and tests call the same function. One
 * thread a call; calls share nothing. */
#ifndef TB_WORK_LOCAL_H
#define TB_WORK_LOCAL_H

#include <stdatomic.h>

#include "base/buf.h"
#include "data/dataset.h"
#include "wire/config.h"

typedef struct tb_local_work {
    const tb_round_config *config; /* borrowed */
    const char *client;            /* seeds its streams */
    const tb_buf *model; /* ONNX, as the configuration names it; NULL: it is */
    int model_fd;        /* this file, of any size */
    const tb_dataset *data;
    const atomic_bool *stop; /* true: give up (CANCELLED); may be NULL */
    /* For jobs with bn: local: the running statistics that this client has kept
     * since its last accepted round of this run (float32le, borrowed; NULL or
     * empty: none), and where those after training go, which count once this
     * round is accepted (may be NULL). */
    const tb_buf *own;
    tb_buf *own_next;
} tb_local_work;

/* Does the round's task on all rows of data. values: all sections one after the
 * other [tb_round_config_values]; *weight: rows, at most config->max_weight.
 *   train:     parameters minus those of the model | mean loss | running
 *              statistics minus those of the model, divided by
 *              TB_STATISTICS_SCALE, unless bn: local
 *   evaluate:  mean loss | share of right answers
 *   calibrate: smallest | largest of each observed value
 * Errors: MALFORMED, UNSUPPORTED (job text), MISMATCH (model against data or
 * against the configuration), REFUSED (training diverged, or a value is over
 * config->max_abs: a smaller learning rate may help), CANCELLED, NOMEM. */
tb_rc tb_local_run(const tb_local_work *work, float *values, uint32_t *weight,
                   tb_err *err) TB_NONNULL(1, 2, 3) TB_MUST_CHECK;

#endif
