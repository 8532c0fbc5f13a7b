/* core/work/patch.h - a round's new model without a model in memory. All models
 * of a run are written from one graph, so each parameter lies at the same place
 * in each file: the new model is the old file with its values moved, tile by
 * tile. The same bytes as tb_work_aggregate gives, for jobs that tb_patch_fits.
 * Immutable once made: any thread may use it. */
#ifndef TB_WORK_PATCH_H
#define TB_WORK_PATCH_H

#include "work/round.h"

typedef struct tb_patch tb_patch;

/* Finds out where the parameters and the averaged statistics lie in the models
 * of this job, of which the file fd is one as tb_work_prepare or
 * tb_work_aggregate wrote it. Errors: UNSUPPORTED (they do not lie there as
 * they are), NOMEM, and those of tb_work_read_fd. */
tb_rc tb_patch_new(tb_patch **out, const tb_job *job, int fd, tb_err *err)
    TB_NONNULL(1, 2) TB_MUST_CHECK;

/* Frees and nulls. NULL is fine. */
void tb_patch_free(tb_patch **patch) TB_NONNULL(1);

/* Whether the job's rounds come to no more than moving values: no pruning while
 * training, and a strategy without state. */
bool tb_patch_fits(const tb_job *job, const tb_run_params *params)
    TB_NONNULL(1, 2);

/* Turns the round's model, the bytes of file fd, into the next one in place.
 * Errors: MISMATCH, IO, FULL, NOMEM. */
tb_rc tb_patch_apply(const tb_patch *patch, int fd, const tb_work_round *round,
                     tb_metrics *metrics, tb_err *err)
    TB_NONNULL(1, 3, 4) TB_MUST_CHECK;

#endif
