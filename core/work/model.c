#include "work/model.h"

#include "data/read.h"
#include "model/build.h"
#include "model/onnx.h"
#include "model/params.h"
#include "model/preprocess.h"

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

static tb_rc start_graph(tb_graph **out, const tb_job *job, const uint8_t *file,
                         size_t n, tb_err *err)
{
    if (job->model.make[0] != '\0') {
        return tb_build_new(out, job->model.make, job->seed, NULL, err);
    }
    tb_rc rc = tb_onnx_read(out, file, n, NULL, err);
    if (rc != TB_OK) {
        return tb_err_prefix(err, rc, "%s", job->model.file);
    }
    if (job->model.fresh) {
        rc = tb_build_init(*out, job->seed, err);
    }
    return rc;
}

/* Scaling is written in front unless there is nothing to do: a model that takes
 * what the data is, unscaled. */
static tb_rc put_scaling(tb_graph *graph, const tb_job *job, tb_err *err)
{
    tb_dtype raw = job->data.bytes ? TB_U8 : TB_F32;
    const tb_value *input =
        graph->n_inputs > 0 ? tb_graph_value(graph, graph->inputs[0]) : NULL;
    bool plain = job->data.scale == 1.0F && job->data.mean.n == 0 &&
                 job->data.std.n == 0;
    if (plain && input != NULL && input->dtype == raw) {
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

tb_rc tb_work_prepare(tb_buf *onnx, const tb_job *job, const uint8_t *file,
                      size_t n, tb_err *err)
{
    tb_graph *graph = NULL;
    tb_rc rc = start_graph(&graph, job, file, n, err);
    if (rc == TB_OK) {
        rc = put_scaling(graph, job, err);
    }
    if (rc == TB_OK && job->data.classes.n > 0) {
        rc = tb_preprocess_set_classes(graph, list_of(&job->data.classes),
                                       job->data.classes.n, err);
    }
    if (rc == TB_OK) {
        rc = assign(graph, job, err);
    }
    if (rc == TB_OK) {
        rc = tb_onnx_write(onnx, graph, err);
    }
    tb_graph_free(&graph);
    return rc;
}

tb_rc tb_work_read(tb_graph **out, const tb_job *job, const tb_buf *onnx,
                   tb_err *err)
{
    tb_rc rc = tb_onnx_read(out, onnx->data, onnx->len, NULL, err);
    if (rc == TB_OK) {
        rc = assign(*out, job, err);
        if (rc != TB_OK) {
            tb_graph_free(out);
        }
    }
    return rc;
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
    return tb_dataset_read(out, path, &options, err);
}

tb_rc tb_work_objective(tb_evaluator_options *out, const tb_job *job,
                        const tb_sample_spec *spec, tb_err *err)
{
    *out = (tb_evaluator_options){.loss = tb_loss_find(job->loss),
                                  .n_labels = spec->n_targets};
    return out->loss != NULL
               ? TB_OK
               : tb_fail(err, TB_E_UNSUPPORTED, "loss \"%s\" is not known here",
                         job->loss);
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
