#include "work/local.h"

#include <string.h>

#include "base/mem.h"
#include "compress/calibrate.h"
#include "fed/strategy.h"
#include "host/job.h"
#include "train/local.h"
#include "work/model.h"

/* Where a section's values begin among all of them. NOT a peer's fault when it
 * is missing: the coordinator signed the configuration. */
static tb_rc find_section(const tb_round_config *config, const char *name,
                          uint64_t n_values, float **at, tb_err *err)
{
    uint64_t offset = 0;
    for (uint32_t i = 0; i < config->n_sections; i++) {
        const tb_section *s = &config->sections[i];
        if (strcmp(s->name.text, name) == 0) {
            if (s->n_values != n_values) {
                return tb_fail(err, TB_E_MISMATCH,
                               "the round wants %llu values of \"%s\", the "
                               "model has %llu",
                               (unsigned long long)s->n_values, name,
                               (unsigned long long)n_values);
            }
            *at += offset;
            return TB_OK;
        }
        offset += s->n_values;
    }
    return tb_fail(err, TB_E_UNSUPPORTED, "the round has no section \"%s\"",
                   name);
}

static tb_rc set_section(const tb_round_config *config, const char *name,
                         float *values, double x, tb_err *err)
{
    tb_rc rc = find_section(config, name, 1, &values, err);
    if (rc == TB_OK) {
        *values = (float)x;
    }
    return rc;
}

static bool go_on(void *arg, size_t done, size_t total, const tb_score *so_far)
{
    const tb_local_work *work = arg;
    (void)done;
    (void)total;
    (void)so_far;
    return work->stop == NULL || !atomic_load(work->stop);
}

/* keep[i] = 0 where the model's parameter is zero: a pruned one. */
static uint8_t *mask_of(const float *params, size_t n)
{
    uint8_t *keep = tb_mem_array(n, 1);
    for (size_t i = 0; keep != NULL && i < n; i++) {
        keep[i] = params[i] != 0.0f;
    }
    return keep;
}

static tb_rc train_epochs(const tb_local_work *work, const tb_job *job,
                          tb_trainer *t, tb_score *score, tb_err *err)
{
    const tb_local_options options = {.epochs = job->local_epochs,
                                      .seed = work->config->seed,
                                      .round = work->config->round,
                                      .client = work->client,
                                      .progress = go_on,
                                      .arg = (void *)(uintptr_t)work};
    uint8_t *keep = NULL;
    if (work->config->masked) {
        keep = mask_of(tb_trainer_params(t), tb_trainer_n_params(t));
        if (keep == NULL) {
            return tb_fail(err, TB_E_NOMEM, "mask: no memory");
        }
        tb_trainer_set_mask(t, keep);
    }
    tb_rc rc = tb_train_local(t, work->data, &options, score, err);
    tb_trainer_set_mask(t, NULL);
    tb_mem_free(keep);
    return rc;
}

/* delta [n] holds the start; it becomes end - start. */
static tb_rc difference(const tb_round_config *config, float *delta,
                        const float *end, size_t n, bool statistics,
                        tb_err *err)
{
    float unit = statistics ? TB_STATISTICS_SCALE : 1.0F;
    for (size_t i = 0; i < n; i++) {
        delta[i] = (end[i] - delta[i]) / unit;
        if (delta[i] <= config->max_abs && delta[i] >= -config->max_abs) {
            continue;
        }
        return tb_fail(err, TB_E_REFUSED,
                       "training moved %s %zu by %g, over the job's "
                       "update.max_abs, here %g: %s",
                       statistics ? "running statistic" : "parameter", i,
                       (double)(delta[i] * unit),
                       (double)(config->max_abs * unit),
                       statistics ? "scale the data, raise it, or use bn: local"
                                  : "it diverges; a smaller learning rate may "
                                    "help");
    }
    return TB_OK;
}

/* The task at hand, with what the job text gave. */
typedef struct task {
    const tb_local_work *work;
    const tb_round_config *config;
    tb_job job;
    tb_graph *model;
} task;

static tb_rc new_trainer(tb_trainer **out, const task *t, tb_err *err)
{
    tb_trainer_options options;
    tb_rc rc =
        tb_work_training(&options, &t->job, tb_dataset_spec(t->work->data),
                         t->config->round, err);
    options.chance_seed = t->config->seed;
    return rc == TB_OK ? tb_trainer_new(out, t->model, &options, err) : rc;
}

/* Running statistics after training: into the update, or for this client to
 * keep. */
static tb_rc put_statistics(const task *t, const tb_trainer *trainer,
                            float *values, tb_err *err)
{
    size_t n = tb_buffers_count(t->model);
    const tb_graph *trained = tb_trainer_graph(trainer);
    if (n == 0 || (t->job.bn_local && t->work->own_next == NULL)) {
        return TB_OK;
    }
    float *after = tb_mem_array(n, sizeof *after);
    tb_rc rc = after == NULL ? tb_fail(err, TB_E_NOMEM, "%zu statistics", n)
                             : tb_buffers_get(trained, after, n, err);
    if (rc == TB_OK && t->job.bn_local) {
        t->work->own_next->len = 0;
        rc = tb_buf_put(t->work->own_next, after, n * sizeof *after, err);
    } else if (rc == TB_OK) {
        float *delta = values;
        rc = find_section(t->config, TB_SECTION_STATISTICS, n, &delta, err);
        if (rc == TB_OK) {
            rc = tb_buffers_get(t->model, delta, n, err);
        }
        if (rc == TB_OK) {
            rc = difference(t->config, delta, after, n, true, err);
        }
    }
    tb_mem_free(after);
    return rc;
}

static tb_rc do_train(const task *t, float *values, tb_err *err)
{
    tb_trainer *trainer = NULL;
    tb_score score = {0};
    float *delta = values;
    tb_rc rc = new_trainer(&trainer, t, err);
    if (rc != TB_OK) {
        return rc;
    }
    const float *params = tb_trainer_params(trainer);
    size_t n = tb_trainer_n_params(trainer);
    rc = find_section(t->config, TB_SECTION_PARAMETERS, n, &delta, err);
    if (rc != TB_OK) {
        goto done;
    }
    memcpy(delta, params, n * sizeof *delta);
    rc = train_epochs(t->work, &t->job, trainer, &score, err);
    if (rc == TB_OK) {
        rc = difference(t->config, delta, params, n, false, err);
    }
    if (rc == TB_OK) {
        rc = put_statistics(t, trainer, values, err);
    }
    if (rc == TB_OK) {
        rc = set_section(t->config, TB_SECTION_LOSS, values,
                         tb_score_loss(&score), err);
    }
done:
    tb_trainer_free(&trainer);
    return rc;
}

static tb_rc do_evaluate(const task *t, float *values, tb_err *err)
{
    tb_score score = {0};
    tb_rc rc = tb_work_score(&score, &t->job, t->model, t->work->data, err);
    if (rc == TB_OK) {
        rc = set_section(t->config, TB_SECTION_LOSS, values,
                         tb_score_loss(&score), err);
    }
    if (rc == TB_OK) {
        rc = set_section(t->config, TB_SECTION_ACCURACY, values,
                         tb_work_accuracy(&score), err);
    }
    return rc;
}

static tb_rc do_calibrate(const task *t, float *values, tb_err *err)
{
    tb_ranges ranges;
    float *low = values;
    float *high = values;
    tb_rc rc = tb_ranges_init(&ranges, t->model, err);
    if (rc == TB_OK) {
        rc = find_section(t->config, TB_SECTION_LOW, ranges.n, &low, err);
    }
    if (rc == TB_OK) {
        rc = find_section(t->config, TB_SECTION_HIGH, ranges.n, &high, err);
    }
    if (rc == TB_OK) {
        rc = tb_calibrate(&ranges, t->model, t->work->data,
                          t->job.quantise.percentile, err);
    }
    if (rc == TB_OK) {
        memcpy(low, ranges.low, ranges.n * sizeof *low);
        memcpy(high, ranges.high, ranges.n * sizeof *high);
    }
    tb_ranges_release(&ranges);
    return rc;
}

static tb_rc do_task(const task *t, float *values, tb_err *err)
{
    switch (t->config->task) {
    case TB_TASK_TRAIN:
        return do_train(t, values, err);
    case TB_TASK_EVALUATE:
        return do_evaluate(t, values, err);
    case TB_TASK_CALIBRATE:
        return do_calibrate(t, values, err);
    case TB_TASK_COUNT:
        break;
    }
    return tb_fail(err, TB_E_UNSUPPORTED, "a task that is not known here");
}

/* With bn: local the model gets the statistics that this client has kept, but
 * begins with those of the file. */
static tb_rc take_own(const task *t, tb_err *err)
{
    const tb_buf *own = t->work->own;
    size_t n = tb_buffers_count(t->model);
    if (!t->job.bn_local || own == NULL || own->len == 0) {
        return TB_OK;
    }
    if (own->len != n * sizeof(float)) {
        return tb_fail(err, TB_E_REFUSED,
                       "%zu bytes of own statistics for a model with %zu",
                       own->len, n);
    }
    float *values = tb_mem_array(n, sizeof *values);
    if (values == NULL) {
        return tb_fail(err, TB_E_NOMEM, "%zu statistics", n);
    }
    memcpy(values, own->data, own->len);
    tb_rc rc = tb_buffers_set(t->model, values, n, err);
    tb_mem_free(values);
    return rc;
}

tb_rc tb_local_run(const tb_local_work *work, float *values, uint32_t *weight,
                   tb_err *err)
{
    const tb_round_config *config = work->config;
    size_t rows = tb_dataset_rows(work->data);
    task t = {.work = work, .config = config};
    tb_rc rc = tb_job_decode(&t.job, config->job_text, config->n_job, err);
    if (rc == TB_OK && rows == 0) {
        rc = tb_fail(err, TB_E_MISMATCH, "the data set has no rows");
    }
    if (rc == TB_OK) {
        rc = work->model != NULL
                 ? tb_work_read(&t.model, &t.job, work->model, err)
                 : tb_work_read_fd(&t.model, &t.job, work->model_fd,
                                   TB_ONNX_VALUES_READ, err);
    }
    if (rc == TB_OK) {
        rc = take_own(&t, err);
    }
    if (rc == TB_OK) {
        rc = do_task(&t, values, err);
    }
    if (rc == TB_OK) {
        *weight =
            rows < config->max_weight ? (uint32_t)rows : config->max_weight;
    }
    tb_graph_free(&t.model);
    tb_job_release(&t.job);
    return rc;
}
