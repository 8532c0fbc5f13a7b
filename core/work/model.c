#include "work/model.h"

#include "base/text.h"
#include "compress/calibrate.h"
#include "data/read.h"
#include "model/build.h"
#include "model/init.h"
#include "model/onnx.h"
#include "model/params.h"
#include "model/preprocess.h"
#include "train/schedule.h"
#include "train/trainer.h"

/* The job's texts as the lists that other rooms take. */
static const char *const *list_of(const tb_job_texts *texts)
{
    return (const char *const *)texts->at;
}

static tb_rc assign(tb_graph *graph, const tb_job *job, tb_err *err)
{
    tb_params_rule rule = {.freeze = list_of(&job->model.freeze),
                           .n_freeze = job->model.freeze.n,
                           .train = list_of(&job->model.train),
                           .n_train = job->model.train.n};
    return tb_params_assign(graph, &rule, err);
}

/* The job's own graph, or its model's file or version as it is wanted. */
static tb_rc start_graph(tb_graph **graph, const tb_job *job, tb_err *err)
{
    if (job->model.make[0] != '\0') {
        return tb_build_new(graph, job->model.make, job->seed, NULL, err);
    }
    if (job->model.version[0] != '\0') {
        tb_preprocess_scores(*graph);
    }
    return job->model.fresh ? tb_init_fresh(*graph, job->seed, err) : TB_OK;
}

/* Scaling is written in front unless there is nothing to do: a model that takes
 * what the data is, unscaled, or indexes such as token ids. */
static tb_rc put_scaling(tb_graph *graph, const tb_job *job, tb_err *err)
{
    tb_dtype raw = job->data.bytes ? TB_U8 : TB_F32;
    const tb_value *input =
        graph->n_inputs > 0 ? tb_graph_value(graph, graph->inputs[0]) : NULL;
    bool plain = job->data.scale == 1.0F && job->data.mean.n == 0 &&
                 job->data.std.n == 0;
    bool numbers = input != NULL && tb_dtype_is_float(input->dtype);
    if (plain && input != NULL && (input->dtype == raw || !numbers)) {
        return TB_OK;
    }
    size_t n = job->data.mean.n > 0 ? job->data.mean.n : job->data.std.n;
    tb_scaling scaling = {.raw = raw,
                          .scale = job->data.scale,
                          .mean =
                              job->data.mean.n > 0 ? job->data.mean.at : NULL,
                          .std = job->data.std.n > 0 ? job->data.std.at : NULL,
                          .n = n > 0 ? n : 1};
    return tb_preprocess_scale(graph, &scaling, err);
}

/* A version was published with its scaling in front. */
static tb_rc check_scaling(const tb_graph *graph, const tb_job *job,
                           tb_err *err)
{
    tb_dtype raw = job->data.bytes ? TB_U8 : TB_F32;
    const tb_value *input =
        graph->n_inputs > 0 ? tb_graph_value(graph, graph->inputs[0]) : NULL;
    bool mixed = input != NULL && input->dtype != raw &&
                 (input->dtype == TB_U8 || input->dtype == TB_F32);
    return mixed ? tb_fail(err, TB_E_MISMATCH,
                           "version %s takes %s, and the job's data are %s: "
                           "set data.dtype",
                           job->model.version, tb_dtype_name(input->dtype),
                           tb_dtype_name(raw))
                 : TB_OK;
}

tb_rc tb_work_prepare(tb_graph **graph, const tb_job *job, tb_err *err)
{
    tb_rc rc = start_graph(graph, job, err);
    if (rc == TB_OK) { /* for the passes and predictions after the rounds */
        rc = tb_preprocess_open_batch(*graph, err);
    }
    if (rc == TB_OK) {
        rc = job->model.version[0] != '\0' ? check_scaling(*graph, job, err)
                                           : put_scaling(*graph, job, err);
    }
    if (rc == TB_OK && job->data.classes.n > 0) {
        rc = tb_preprocess_set_classes(*graph, list_of(&job->data.classes),
                                       job->data.classes.n, err);
    }
    return rc == TB_OK ? assign(*graph, job, err) : rc;
}

const char *tb_work_data_name(const tb_graph *graph)
{
    const char *name = tb_graph_meta(graph, TB_WORK_DATA_KEY);
    size_t bytes = 0;
    for (size_t i = 0; i < graph->n_values; i++) {
        if (graph->values[i] != NULL && graph->values[i]->data.data != NULL) {
            bytes += tb_tensor_bytes(&graph->values[i]->data);
        }
    }
    return name != NULL                 ? name
           : bytes > TB_ONNX_INLINE_MAX ? "model.data"
                                        : NULL;
}

tb_rc tb_work_note_data(tb_graph *graph, const char *name, tb_err *err)
{
    return tb_graph_set_meta(graph, TB_WORK_DATA_KEY, name, err);
}

static tb_rc assign_read(tb_graph **graph, const tb_job *job, tb_err *err)
{
    tb_rc rc = assign(*graph, job, err);
    if (rc != TB_OK) {
        tb_graph_free(graph);
    }
    return rc;
}

tb_rc tb_work_read(tb_graph **out, const tb_job *job, const tb_buf *onnx,
                   tb_err *err)
{
    tb_rc rc =
        tb_onnx_read(out, onnx->data, onnx->len, &tb_onnx_limits_local, err);
    return rc == TB_OK ? assign_read(out, job, err) : rc;
}

tb_rc tb_work_read_fd(tb_graph **out, const tb_job *job, int fd,
                      tb_onnx_values values, tb_err *err)
{
    const tb_onnx_files files = {.fd = fd};
    tb_rc rc = tb_onnx_read_files(out, &files, values, err);
    return rc == TB_OK ? assign_read(out, job, err) : rc;
}

/* The label that does not count. */
static tb_rc ignored(tb_read_options *options, const tb_job *job, tb_err *err)
{
    double label = 0.0;
    const char *text = job->loss_options.ignore;
    if (text[0] == '\0') {
        return TB_OK;
    }
    tb_rc rc = tb_text_f64(text, &label, err);
    if (rc != TB_OK || label < INT32_MIN || label > INT32_MAX ||
        label != (double)(int32_t)label) {
        return tb_fail(err, TB_E_USAGE, "ignore_index %s: not a whole number",
                       text);
    }
    options->ignores = true;
    options->ignore = (int32_t)label;
    return TB_OK;
}

tb_rc tb_work_dataset(tb_dataset **out, const tb_job *job, const char *path,
                      tb_err *err)
{
    tb_read_options options = {
        .reader = job->data.reader[0] != '\0' ? job->data.reader : NULL,
        .columns = job->data.columns.n > 0 ? list_of(&job->data.columns) : NULL,
        .n_columns = job->data.columns.n,
        .label = job->data.label[0] != '\0' ? job->data.label : NULL,
        .classes = job->data.classes.n > 0 ? list_of(&job->data.classes) : NULL,
        .n_classes = job->data.classes.n,
        .target = job->data.values ? TB_TARGET_VALUE : TB_TARGET_CLASS};
    tb_rc rc = ignored(&options, job, err);
    if (rc != TB_OK) {
        return rc;
    }
    return tb_dataset_read(out, path, &options, err);
}

tb_rc tb_work_objective(tb_evaluator_options *out, const tb_job *job,
                        const tb_sample_spec *spec, tb_err *err)
{
    const tb_job_floats *classes = &job->loss_options.class_weight;
    const tb_job_floats *ones = &job->loss_options.pos_weight;
    *out = (tb_evaluator_options){
        .loss = tb_loss_find(job->loss),
        .loss_options = {.delta = job->loss_options.delta,
                         .smoothing = job->loss_options.smoothing,
                         .ignores = spec->ignores,
                         .ignore = spec->ignore,
                         .class_weight = classes->n > 0 ? classes->at : NULL,
                         .n_class_weight = classes->n,
                         .pos_weight = ones->n > 0 ? ones->at : NULL,
                         .n_pos_weight = ones->n},
        .n_labels = spec->target == TB_TARGET_CLASS ? spec->n_targets : 1};
    return out->loss != NULL
               ? TB_OK
               : tb_fail(err, TB_E_UNSUPPORTED, "loss \"%s\" is not known here",
                         job->loss);
}

tb_rc tb_work_count(tb_run_params *params, const tb_job *job,
                    const tb_graph *graph, tb_err *err)
{
    tb_ranges ranges = {0};
    params->n_params = tb_params_count(graph);
    params->n_statistics = job->bn_local ? 0 : tb_buffers_count(graph);
    if (params->n_params == 0) {
        return tb_fail(err, TB_E_UNSUPPORTED,
                       "nothing in the model can be trained: its weights are "
                       "constants, as those of a quantised one are: start from "
                       "its fp32 form, or name them under model.train");
    }
    if (params->calibrate != TB_WHERE_CLIENTS) {
        return TB_OK;
    }
    tb_rc rc = tb_ranges_init(&ranges, graph, err);
    params->n_observed = ranges.n;
    tb_ranges_release(&ranges);
    return rc;
}

/* The rate of a round; the schedule counts rounds, so that every client of one
 * has the same. */
static tb_rc rate(double *out, const tb_job *job, uint32_t round, tb_err *err)
{
    static const tb_schedule_kind kinds[] = {
        [TB_JOB_CONSTANT] = TB_SCHEDULE_CONSTANT,
        [TB_JOB_STEP] = TB_SCHEDULE_STEP,
        [TB_JOB_COSINE] = TB_SCHEDULE_COSINE};
    const tb_schedule schedule = {.kind = kinds[job->schedule.kind],
                                  .warmup = job->schedule.warmup,
                                  .every = job->schedule.every,
                                  .gamma = job->schedule.gamma,
                                  .total = job->rounds,
                                  .floor = job->schedule.floor};
    uint64_t done = round > 0 ? round - 1 : 0;
    *out = job->optimiser.lr * tb_schedule_factor(&schedule, done);
    return tb_schedule_check(&schedule, err);
}

tb_rc tb_work_training(tb_trainer_options *out, const tb_job *job,
                       const tb_sample_spec *spec, uint32_t round, tb_err *err)
{
    tb_evaluator_options objective;
    double lr = 0.0;
    tb_rc rc = tb_work_objective(&objective, job, spec, err);
    if (rc == TB_OK) {
        rc = rate(&lr, job, round, err);
    }
    if (rc != TB_OK) {
        return rc;
    }
    *out = (tb_trainer_options){
        .loss = objective.loss,
        .loss_options = objective.loss_options,
        .n_labels = objective.n_labels,
        .optimiser = tb_optimiser_find(job->optimiser.kind),
        .config = {.lr = lr,
                   .momentum = job->optimiser.momentum,
                   .dampening = job->optimiser.dampening,
                   .weight_decay = job->optimiser.weight_decay,
                   .nesterov = job->optimiser.nesterov,
                   .beta1 = job->optimiser.beta1,
                   .beta2 = job->optimiser.beta2,
                   .alpha = job->optimiser.alpha,
                   .lr_decay = job->optimiser.lr_decay,
                   .eps = job->optimiser.eps},
        .clip = {.norm = job->clip.norm, .value = job->clip.value},
        .batch = job->batch,
        .micro_batch = job->micro_batch,
        .chance_seed = job->seed};
    if (out->optimiser == NULL) {
        return tb_fail(err, TB_E_UNSUPPORTED,
                       "optimiser \"%s\" is not known here",
                       job->optimiser.kind);
    }
    rc = out->optimiser->check(&out->config, err);
    return rc == TB_OK ? tb_clip_check(&out->clip, err) : rc;
}

tb_rc tb_work_score(tb_score *score, const tb_job *job, const tb_graph *graph,
                    const tb_dataset *data, tb_err *err)
{
    tb_evaluator_options options;
    tb_evaluator *evaluator = NULL;
    *score = (tb_score){0};
    tb_rc rc = tb_work_objective(&options, job, tb_dataset_spec(data), err);
    if (rc == TB_OK) {
        rc = tb_evaluator_new(&evaluator, graph, &options, err);
    }
    if (rc == TB_OK) {
        rc = tb_evaluate(evaluator, NULL, data, 0, tb_dataset_rows(data), score,
                         err);
    }
    tb_evaluator_free(&evaluator);
    return rc;
}

double tb_work_accuracy(const tb_score *score)
{
    return score->n_counted > 0 ? tb_score_accuracy(score) : 0.0;
}
