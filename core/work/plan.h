/* core/work/plan.h - a job file's settings as the plain parameters that the
 * coordinator's machine takes. Pure; any thread. */
#ifndef TB_WORK_PLAN_H
#define TB_WORK_PLAN_H

#include "fed/run.h"
#include "host/job.h"

/* Fills *out but for what only a start knows: run, federation, aggregation_key,
 * model, and what tb_work_count knows. Errors: USAGE (a number of
 * loss, optimiser or schedule), LIMIT (the clients' part of the job is
 * too long), NOMEM. */
tb_rc tb_work_plan(tb_run_params *out, const tb_job *job, tb_err *err)
    TB_NONNULL(1, 2) TB_MUST_CHECK;

#endif
