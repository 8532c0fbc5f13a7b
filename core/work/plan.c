#include "work/plan.h"

#include <string.h>

#include "base/mem.h"
#include "work/model.h"

/* A client that has been away this long counts as lost for its round. */
#define LOST_MS 30000u

/* Ranges of activations are bounded only so that their sum is exact. */
#define CALIBRATE_MAX_ABS 65536.0F

static tb_where where_of(tb_job_where where)
{
    switch (where) {
    case TB_JOB_FILE:
        return TB_WHERE_COORDINATOR;
    case TB_JOB_CLIENTS:
        return TB_WHERE_CLIENTS;
    case TB_JOB_NOWHERE:
    default:
        return TB_WHERE_NOWHERE;
    }
}

/* Best by accuracy where there are classes, else by loss. */
static tb_publish publish_of(const tb_job *job)
{
    if (job->publish == TB_JOB_LAST || job->evaluate.where == TB_JOB_NOWHERE) {
        return TB_PUBLISH_LAST;
    }
    return job->data.values ? TB_PUBLISH_BEST_LOSS : TB_PUBLISH_BEST_ACCURACY;
}

/* Gradual pruning zeroes weights after the round `rounds - last + 1` for the
 * first time; from the next one on clients keep what is zero. */
static uint32_t masked_from(const tb_job *job)
{
    uint32_t last = job->prune.last_rounds;
    if (job->prune.kind == TB_JOB_PRUNE_NONE || last == 0) {
        return 0;
    }
    return (last < job->rounds ? job->rounds - last : 0) + 2;
}

static tb_rc put_names(tb_run_params *out, const tb_job *job, tb_err *err)
{
    out->name = job->name;
    out->data_set = job->data.set;
    if (!tb_name_set(&out->codec, job->update.codec) ||
        !tb_name_set(&out->strategy, job->strategy.kind)) {
        return tb_fail(err, TB_E_USAGE,
                       "update.codec or strategy.kind: not a "
                       "name");
    }
    return TB_OK;
}

static tb_rc put_eligible(tb_run_params *out, const tb_job *job, tb_err *err)
{
    tb_rc rc = TB_OK;
    for (size_t i = 0; rc == TB_OK && i < job->eligible.n; i++) {
        rc = tb_eligible_add(&out->eligible, job->eligible.at[i], err);
    }
    return rc == TB_OK ? rc : tb_err_prefix(err, rc, "eligible");
}

static tb_rc put_job(tb_run_params *out, const tb_job *job, tb_err *err)
{
    tb_buf text;
    tb_buf_init(&text, sizeof out->job_text);
    tb_rc rc = tb_job_hash(job, &out->job, err);
    if (rc == TB_OK) {
        rc = tb_job_encode(job, TB_JOB_FOR_CLIENTS, &text, err);
    }
    if (rc == TB_E_LIMIT) {
        rc = tb_fail(err, rc,
                     "what clients must know of the job is over %zu bytes: "
                     "fewer classes, columns or means",
                     sizeof out->job_text);
    }
    if (rc == TB_OK) {
        memcpy(out->job_text, text.data, text.len);
        out->n_job = text.len;
    }
    tb_buf_release(&text);
    return rc;
}

tb_rc tb_work_plan(tb_run_params *out, const tb_job *job, tb_err *err)
{
    *out = (tb_run_params){
        .seed = job->seed,
        .rounds = job->rounds,
        .target = job->cohort.target,
        .minimum = job->cohort.minimum,
        .over_selection = job->cohort.over_selection,
        .server_lr = job->strategy.server_lr,
        .max_abs = (float)job->update.max_abs,
        .calibrate_max_abs = CALIBRATE_MAX_ABS,
        .max_weight = job->update.max_weight,
        .deadline_ms = job->deadline_ms,
        .select_ms = job->select_ms,
        .lost_ms = LOST_MS,
        .max_attempts = job->attempts,
        .evaluate = where_of(job->evaluate.where),
        .calibrate = job->quantise.kind == TB_JOB_QUANTISE_INT8
                         ? where_of(job->calibrate.where)
                         : TB_WHERE_NOWHERE,
        .publish = publish_of(job),
        .patience = job->early_stop.patience,
        .min_delta = job->early_stop.min_delta,
        .masked_from = masked_from(job),
        .mode = job->mode == TB_JOB_ASYNC ? TB_MODE_ASYNC : TB_MODE_SYNC,
        .weights = job->weights == TB_JOB_UNIFORM ? TB_WEIGHTS_UNIFORM
                                                  : TB_WEIGHTS_SAMPLES,
        .buffer = job->buffer,
        .max_staleness = job->max_staleness};
    tb_trainer_options training;
    const tb_sample_spec spec = {.target = job->data.values ? TB_TARGET_VALUE
                                                            : TB_TARGET_CLASS,
                                 .n_targets = 1};
    tb_rc rc = tb_work_training(&training, job, &spec, 1, err);
    if (rc == TB_OK) { /* the model's columns are not known yet */
        const tb_loss_options *o = &training.loss_options;
        size_t n_cols = o->n_class_weight > 0 ? o->n_class_weight
                        : o->n_pos_weight > 0 ? o->n_pos_weight
                                              : 1;
        rc = tb_loss_options_check(training.loss, o, n_cols, err);
    }
    if (rc == TB_OK) {
        rc = put_names(out, job, err);
    }
    if (rc == TB_OK) {
        rc = put_eligible(out, job, err);
    }
    return rc == TB_OK ? put_job(out, job, err) : rc;
}
