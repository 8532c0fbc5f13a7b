#include "fed/run.h"

#include <math.h>

#include "fed/codec.h"
#include "fed/select.h"
#include "fed/strategy.h"

tb_metrics tb_metrics_none(void)
{
    return (tb_metrics){.train_loss = (double)NAN,
                        .loss = (double)NAN,
                        .accuracy = (double)NAN};
}

const char *tb_outcome_name(tb_outcome outcome)
{
    static const char *const names[] = {"none", "done", "refused", "failed",
                                        "cancelled"};
    return outcome < TB_OUTCOME_END ? names[outcome] : "unknown";
}

uint32_t tb_run_wanted(const tb_run_params *params)
{
    return params->mode == TB_MODE_ASYNC ? params->buffer : params->target;
}

static bool buffered(const tb_run_params *params, tb_task task)
{
    return params->mode == TB_MODE_ASYNC && task == TB_TASK_TRAIN;
}

static uint32_t base(const tb_run_params *params, tb_task task,
                     uint32_t samples)
{
    bool alike = params->weights == TB_WEIGHTS_UNIFORM && task == TB_TASK_TRAIN;
    return alike ? 1 : samples;
}

tb_weights tb_run_weights(const tb_run_params *params, tb_task task,
                          uint32_t samples, uint32_t staleness)
{
    uint32_t w = base(params, task, samples);
    return buffered(params, task)
               ? (tb_weights){w * tb_stale_factor(staleness), w * TB_STALE_ONE}
               : (tb_weights){w, w};
}

uint32_t tb_run_weight_max(const tb_run_params *params, tb_task task)
{
    return tb_run_weights(params, task, params->max_weight, 0).full;
}

uint32_t tb_run_updates_max(const tb_run_params *params, tb_task task)
{
    return buffered(params, task) ? params->buffer
                                  : tb_select_wanted(tb_run_wanted(params),
                                                     params->over_selection);
}

static tb_rc check_names(const tb_run_params *p, tb_err *err)
{
    if (!tb_name_valid(p->name.text) || !tb_name_valid(p->data_set.text)) {
        return tb_fail(err, TB_E_USAGE,
                       "run: name \"%s\" and data set \"%s\" must be names",
                       p->name.text, p->data_set.text);
    }
    if (tb_codec_find(p->codec.text) == NULL) {
        return tb_fail(err, TB_E_USAGE, "run: there is no codec \"%s\"",
                       p->codec.text);
    }
    if (tb_strategy_find(p->strategy.text) == NULL) {
        return tb_fail(err, TB_E_USAGE, "run: there is no strategy \"%s\"",
                       p->strategy.text);
    }
    return TB_OK;
}

static tb_rc check_counts(const tb_run_params *p, tb_err *err)
{
    if (p->rounds == 0 || p->rounds > TB_ROUNDS_MAX) {
        return tb_fail(err, TB_E_USAGE, "run: rounds %u is not in 1 to %u",
                       p->rounds, TB_ROUNDS_MAX);
    }
    if (p->minimum == 0 || p->minimum > tb_run_wanted(p) ||
        tb_run_wanted(p) > TB_COHORT_MAX) {
        return tb_fail(err, TB_E_USAGE,
                       "run: 1 <= minimum %u <= %s %u <= %u does not hold",
                       p->minimum,
                       p->mode == TB_MODE_ASYNC ? "buffer" : "target",
                       tb_run_wanted(p), TB_COHORT_MAX);
    }
    if (!(p->over_selection >= 1.0 && p->over_selection <= 10.0)) {
        return tb_fail(err, TB_E_USAGE,
                       "run: over_selection %g is not in 1 to 10",
                       p->over_selection);
    }
    if (p->max_attempts == 0 || p->max_attempts > TB_ATTEMPTS_MAX) {
        return tb_fail(err, TB_E_USAGE,
                       "run: max_attempts %u is not in 1 to %u",
                       p->max_attempts, TB_ATTEMPTS_MAX);
    }
    if (p->deadline_ms == 0 || p->deadline_ms > TB_DEADLINE_MS_MAX ||
        p->select_ms > TB_DEADLINE_MS_MAX || p->lost_ms > TB_DEADLINE_MS_MAX) {
        return tb_fail(err, TB_E_USAGE,
                       "run: a deadline is 0 ms or over %llu ms",
                       (unsigned long long)TB_DEADLINE_MS_MAX);
    }
    if (p->n_job >= sizeof p->job_text) {
        return tb_fail(err, TB_E_LIMIT, "run: the job text has %zu bytes",
                       p->n_job);
    }
    return TB_OK;
}

/* What only an asynchronous run has; weights fit 32 bits. */
static tb_rc check_mode(const tb_run_params *p, tb_err *err)
{
    if (p->mode >= TB_MODE_COUNT || p->weights >= TB_WEIGHTS_COUNT) {
        return tb_fail(err, TB_E_USAGE, "run: mode or weights");
    }
    if (p->mode == TB_MODE_SYNC) {
        return TB_OK;
    }
    if (p->target == 0 || p->target > TB_COHORT_MAX ||
        p->max_staleness > TB_STALENESS_MAX) {
        return tb_fail(err, TB_E_USAGE,
                       "run: target %u is not in 1 to %u, or max_staleness %u "
                       "over %u",
                       p->target, TB_COHORT_MAX, p->max_staleness,
                       TB_STALENESS_MAX);
    }
    if ((uint64_t)p->buffer * (p->max_staleness + 2) > TB_STALE_WAIT_MAX) {
        return tb_fail(err, TB_E_LIMIT,
                       "run: buffer %u * (max_staleness %u + 2) is over %u: "
                       "lower one of them",
                       p->buffer, p->max_staleness, TB_STALE_WAIT_MAX);
    }
    if (p->weights == TB_WEIGHTS_SAMPLES && p->max_weight > TB_STALE_SAMPLES) {
        return tb_fail(err, TB_E_LIMIT,
                       "run: max_weight %u is over %u, the most that an "
                       "asynchronous run takes: lower it, or weights: uniform",
                       p->max_weight, TB_STALE_SAMPLES);
    }
    return TB_OK;
}

/* All sections of a task, as one round of it sums them. */
static tb_rc check_sum(const tb_run_params *p, tb_task task, float max_abs,
                       tb_err *err)
{
    uint32_t f = 0;
    tb_rc rc = tb_sum_fraction_bits(&f, tb_run_updates_max(p, task),
                                    tb_run_weight_max(p, task), max_abs, err);
    uint64_t n = task == TB_TASK_CALIBRATE ? p->n_observed : p->n_params;
    n = p->n_statistics > n && n > 0 ? p->n_statistics : n;
    if (rc == TB_OK && (n == 0 || n > TB_SECTION_VALUES)) {
        rc = tb_fail(err, TB_E_LIMIT, "run: %llu values in a section",
                     (unsigned long long)n);
    }
    return rc;
}

static tb_rc check_ends(const tb_run_params *p, tb_err *err)
{
    if (p->evaluate >= TB_WHERE_COUNT || p->calibrate >= TB_WHERE_COUNT ||
        p->publish >= TB_PUBLISH_COUNT) {
        return tb_fail(err, TB_E_USAGE, "run: evaluate, calibrate or publish");
    }
    if (p->evaluate == TB_WHERE_NOWHERE &&
        (p->publish != TB_PUBLISH_LAST || p->patience > 0)) {
        return tb_fail(err, TB_E_USAGE,
                       "run: the best model and early stopping need an "
                       "evaluation: set evaluate, or publish: last");
    }
    if (!isfinite(p->min_delta) || p->min_delta < 0.0 ||
        !(p->server_lr > 0.0 && p->server_lr <= 1000.0)) {
        return tb_fail(err, TB_E_USAGE, "run: min_delta %g or server_lr %g",
                       p->min_delta, p->server_lr);
    }
    return TB_OK;
}

tb_rc tb_run_params_check(const tb_run_params *params, tb_err *err)
{
    tb_rc rc = check_names(params, err);
    if (rc == TB_OK) {
        rc = check_counts(params, err);
    }
    if (rc == TB_OK) {
        rc = check_mode(params, err);
    }
    if (rc == TB_OK) {
        rc = check_ends(params, err);
    }
    if (rc == TB_OK) {
        rc = check_sum(params, TB_TASK_TRAIN, params->max_abs, err);
    }
    if (rc == TB_OK && params->calibrate == TB_WHERE_CLIENTS) {
        rc = check_sum(params, TB_TASK_CALIBRATE, params->calibrate_max_abs,
                       err);
    }
    return rc;
}
