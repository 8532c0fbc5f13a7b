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
    if (p->minimum == 0 || p->minimum > p->target ||
        p->target > TB_COHORT_MAX) {
        return tb_fail(err, TB_E_USAGE,
                       "run: 1 <= minimum %u <= target %u <= %u does not hold",
                       p->minimum, p->target, TB_COHORT_MAX);
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

/* All sections of a task, as one round of it sums them. */
static tb_rc check_sum(const tb_run_params *p, tb_task task, float max_abs,
                       tb_err *err)
{
    uint32_t f = 0;
    tb_rc rc =
        tb_sum_fraction_bits(&f, tb_select_wanted(p->target, p->over_selection),
                             p->max_weight, max_abs, err);
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
