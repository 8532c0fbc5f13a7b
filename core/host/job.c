#include "host/job.h"

#include <string.h>

#include "fed/run.h"

static tb_rc check_model(const tb_job *job, tb_err *err)
{
    int n = (job->model.file[0] != '\0') + (job->model.version[0] != '\0') +
            (job->model.make[0] != '\0');
    if (n == 0) {
        return tb_fail(err, TB_E_USAGE,
                       "no model: give model.file (ONNX), model.version (of "
                       "the registry) or model.new, such as "
                       "mlp:784-200-200-10");
    }
    if (n > 1) {
        return tb_fail(err, TB_E_USAGE,
                       "of model.file, model.version and model.new more than "
                       "one is given: leave one");
    }
    return TB_OK;
}

static tb_rc check_data(const tb_job *job, tb_err *err)
{
    const tb_job_texts *classes = &job->data.classes;
    size_t n_mean = job->data.mean.n;
    size_t n_std = job->data.std.n;
    bool values = strcmp(job->loss, "softmax_cross_entropy") != 0;
    bool both = strcmp(job->loss, "bce_with_logits") == 0;
    if (values != job->data.values && !both) {
        return tb_fail(err, TB_E_USAGE, "loss %s wants data.target: %s",
                       job->loss, values ? "value" : "class");
    }
    if (n_mean > 1 && n_std > 1 && n_mean != n_std) {
        return tb_fail(err, TB_E_USAGE,
                       "data.mean has %zu values and data.std %zu: give as "
                       "many, or one",
                       n_mean, n_std);
    }
    if (n_mean > TB_JOB_FEATURES_MAX || n_std > TB_JOB_FEATURES_MAX ||
        classes->n > TB_JOB_CLASSES_MAX ||
        job->data.columns.n > TB_JOB_COLUMNS_MAX) {
        return tb_fail(err, TB_E_LIMIT,
                       "data: at most %d means, %d classes and %d columns",
                       TB_JOB_FEATURES_MAX, TB_JOB_CLASSES_MAX,
                       TB_JOB_COLUMNS_MAX);
    }
    for (size_t i = 0; i < classes->n; i++) {
        for (size_t j = 0; j < i; j++) {
            if (strcmp(classes->at[i], classes->at[j]) == 0) {
                return tb_fail(err, TB_E_USAGE,
                               "data.classes: \"%.64s\" stands there twice",
                               classes->at[i]);
            }
        }
    }
    return TB_OK;
}

static tb_rc check_mode(const tb_job *job, tb_err *err)
{
    if (job->mode == TB_JOB_SYNC) {
        return job->buffer == 0
                   ? TB_OK
                   : tb_fail(err, TB_E_USAGE, "buffer wants mode: async");
    }
    if (job->buffer == 0) {
        return tb_fail(err, TB_E_USAGE,
                       "mode: async wants buffer: the updates that make a "
                       "round");
    }
    if (job->cohort.minimum > job->buffer) {
        return tb_fail(err, TB_E_USAGE, "cohort.minimum %u is over buffer %u",
                       job->cohort.minimum, job->buffer);
    }
    if (job->weights == TB_JOB_SAMPLES &&
        job->update.max_weight > TB_STALE_SAMPLES) {
        return tb_fail(err, TB_E_USAGE,
                       "update.max_weight %u is over %u, the most that mode: "
                       "async takes with weights: samples",
                       job->update.max_weight, TB_STALE_SAMPLES);
    }
    return TB_OK;
}

static tb_rc check_rounds(const tb_job *job, tb_err *err)
{
    if (job->mode == TB_JOB_SYNC && job->cohort.minimum > job->cohort.target) {
        return tb_fail(err, TB_E_USAGE,
                       "cohort.minimum %u is over cohort.target %u",
                       job->cohort.minimum, job->cohort.target);
    }
    if (job->optimiser.nesterov && job->optimiser.momentum == 0.0) {
        return tb_fail(err, TB_E_USAGE,
                       "optimiser.nesterov wants optimiser.momentum over 0");
    }
    bool best = job->publish == TB_JOB_BEST;
    if (job->evaluate.where == TB_JOB_NOWHERE &&
        (best || job->early_stop.patience > 0)) {
        return tb_fail(err, TB_E_USAGE, "%s wants evaluate: a path, or clients",
                       best ? "publish: best" : "early_stop.patience");
    }
    return TB_OK;
}

static tb_rc check_after(const tb_job *job, tb_err *err)
{
    bool smaller = job->prune.kind != TB_JOB_PRUNE_NONE ||
                   job->quantise.kind != TB_JOB_QUANTISE_NONE;
    if (job->prune.last_rounds > job->rounds) {
        return tb_fail(err, TB_E_USAGE,
                       "after.prune.last_rounds %u is over rounds %u",
                       job->prune.last_rounds, job->rounds);
    }
    if (job->quantise.kind == TB_JOB_QUANTISE_INT8 &&
        job->calibrate.where == TB_JOB_NOWHERE) {
        return tb_fail(err, TB_E_USAGE,
                       "after.quantise.kind: int8 wants calibrate: a path, or "
                       "clients");
    }
    if (smaller && job->max_drop < 1.0 &&
        job->guard_data.where == TB_JOB_NOWHERE) {
        return tb_fail(err, TB_E_USAGE,
                       "after.guard wants data: give after.guard.data, or "
                       "after.guard.max_drop: 1 to go without");
    }
    if (job->softmax && job->data.values) {
        return tb_fail(err, TB_E_USAGE,
                       "after.softmax wants data.target: class");
    }
    return TB_OK;
}

/* What an optimiser has when the job does not say: the defaults of the table in
 * train/, which this room does not see. */
static const struct {
    const char *kind;
    double lr, weight_decay, beta1, beta2, alpha, eps;
} optimisers[] = {
    {.kind = "sgd", .lr = 0.1},
    {.kind = "adam", .lr = 1e-3, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8},
    {.kind = "adamw",
     .lr = 1e-3,
     .weight_decay = 0.01,
     .beta1 = 0.9,
     .beta2 = 0.999,
     .eps = 1e-8},
    {.kind = "rmsprop", .lr = 0.01, .alpha = 0.99, .eps = 1e-8},
    {.kind = "adagrad", .lr = 0.01, .eps = 1e-10},
};

static void preset(const tb_settings *s, const char *key, double *to,
                   double value)
{
    if (tb_settings_from(s, key) == TB_FROM_NOWHERE) {
        *to = value;
    }
}

/* What one client may weigh times 65536, the factor of a fresh update in an
 * asynchronous sum, is a 32-bit number. */
static void preset_mode(const tb_settings *s, tb_job *job)
{
    bool async = job->mode == TB_JOB_ASYNC;
    if (tb_settings_from(s, "weights") == TB_FROM_NOWHERE) {
        job->weights = async ? TB_JOB_UNIFORM : TB_JOB_SAMPLES;
    }
    if (async && job->weights == TB_JOB_SAMPLES &&
        tb_settings_from(s, "update.max_weight") == TB_FROM_PRESET) {
        job->update.max_weight = TB_STALE_SAMPLES;
    }
    if (job->cohort.minimum == 0) {
        job->cohort.minimum = async ? job->buffer : job->cohort.target;
    }
}

static void preset_optimiser(const tb_settings *s, tb_job *job)
{
    for (size_t i = 0; i < sizeof optimisers / sizeof optimisers[0]; i++) {
        if (strcmp(job->optimiser.kind, optimisers[i].kind) == 0) {
            preset(s, "optimiser.lr", &job->optimiser.lr, optimisers[i].lr);
            preset(s, "optimiser.weight_decay", &job->optimiser.weight_decay,
                   optimisers[i].weight_decay);
            preset(s, "optimiser.beta1", &job->optimiser.beta1,
                   optimisers[i].beta1);
            preset(s, "optimiser.beta2", &job->optimiser.beta2,
                   optimisers[i].beta2);
            preset(s, "optimiser.alpha", &job->optimiser.alpha,
                   optimisers[i].alpha);
            preset(s, "optimiser.eps", &job->optimiser.eps, optimisers[i].eps);
        }
    }
}

/* Presets, what follows from other keys, and the checks; those that need keys
 * of the coordinator only when whole. */
static tb_rc finish(tb_settings *s, bool whole, tb_err *err)
{
    tb_job *job = s->values;
    if (tb_settings_from(s, "data.dtype") == TB_FROM_NOWHERE) {
        job->data.bytes = strcmp(job->data.reader, "idx") == 0;
    }
    tb_rc rc = tb_settings_finish(s, err);
    if (rc != TB_OK) {
        return rc;
    }
    preset_optimiser(s, job);
    preset_mode(s, job);
    if (job->model.make[0] != '\0') {
        job->model.fresh = true;
    }
    if (job->guard_data.where == TB_JOB_NOWHERE) {
        memcpy(&job->guard_data, &job->calibrate, sizeof job->guard_data);
    }
    rc = check_data(job, err);
    if (rc == TB_OK && whole) {
        rc = check_model(job, err);
    }
    if (rc == TB_OK && whole) {
        rc = check_rounds(job, err);
    }
    if (rc == TB_OK && whole) {
        rc = check_mode(job, err);
    }
    if (rc == TB_OK && whole) {
        rc = check_after(job, err);
    }
    return rc;
}

tb_rc tb_job_finish(tb_settings *s, tb_err *err)
{
    return finish(s, true, err);
}

static tb_rc read_text(tb_job *out, const char *text, size_t len,
                       const char *name, bool whole, tb_err *err)
{
    tb_settings s;
    tb_settings_init(&s, &tb_job_table, out);
    tb_rc rc = tb_settings_read_yaml(&s, text, len, name, err);
    if (rc == TB_OK) {
        rc = finish(&s, whole, err);
        rc = rc == TB_OK ? rc : tb_err_prefix(err, rc, "%s", name);
    }
    if (rc != TB_OK) {
        tb_job_release(out);
    }
    return rc;
}

tb_rc tb_job_read(tb_job *out, const char *text, size_t len, const char *file,
                  tb_err *err)
{
    return read_text(out, text, len, file, true, err);
}

tb_rc tb_job_decode(tb_job *out, const char *text, size_t len, tb_err *err)
{
    return read_text(out, text, len, "job", false, err);
}

void tb_job_release(tb_job *job)
{
    tb_settings_release(&tb_job_table, job);
}

tb_rc tb_job_encode(const tb_job *job, tb_job_part part, tb_buf *out,
                    tb_err *err)
{
    return tb_settings_encode(&tb_job_table, job,
                              part == TB_JOB_FOR_CLIENTS ? TB_SETTING_LOCAL : 0,
                              out, err);
}

tb_rc tb_job_hash(const tb_job *job, tb_hash *out, tb_err *err)
{
    tb_buf text;
    tb_buf_init(&text, (size_t)1 << 24);
    tb_rc rc = tb_job_encode(job, TB_JOB_ALL, &text, err);
    if (rc == TB_OK) {
        *out = tb_hash_of(text.data, text.len);
    }
    tb_buf_release(&text);
    return rc;
}
