#include "work/finish.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "compress/after.h"
#include "model/onnx.h"
#include "model/onnx_external.h"
#include "model/preprocess.h"
#include "work/model.h"
#include "work/predict.h"

/* What the stages fill in. */
typedef struct finishing {
    const tb_work_finish *f;
    tb_manifest m;
} finishing;

/* --- measuring ------------------------------------------------------------ */

/* Where there are no classes, the smaller loss is the better: more is better
 * for its negative. */
static tb_rc measure(double *figure, tb_score *score, const tb_job *job,
                     const tb_graph *graph, const tb_dataset *data, tb_err *err)
{
    tb_rc rc = tb_work_score(score, job, graph, data, err);
    if (rc == TB_OK) {
        *figure = score->n_counted > 0 ? tb_score_accuracy(score)
                                       : -tb_score_loss(score);
    }
    return rc;
}

static const tb_dataset *guard_data(const tb_work_finish *f)
{
    return f->guard != NULL ? f->guard : f->calibrate;
}

static tb_rc guard_accuracy(void *arg, const tb_graph *graph, double *accuracy,
                            tb_err *err)
{
    const tb_work_finish *f = ((const finishing *)arg)->f;
    tb_score score;
    return measure(accuracy, &score, f->job, graph, guard_data(f), err);
}

/* --- ranges from the clients' calibration round --------------------------- */

static float float_at(const uint8_t *bytes)
{
    uint32_t bits = tb_le32_get(bytes);
    float v = 0.0F;
    memcpy(&v, &bits, sizeof v);
    return v;
}

static tb_rc take_ranges(void *arg, tb_ranges *ranges, const tb_graph *graph,
                         tb_err *err)
{
    (void)graph;
    const tb_work_finish *f = ((const finishing *)arg)->f;
    if (f->ranges->len != ranges->n * 2 * sizeof(float)) {
        return tb_fail(err, TB_E_MISMATCH,
                       "%zu bytes of calibrated ranges for %zu activations",
                       f->ranges->len, ranges->n);
    }
    for (size_t i = 0; i < ranges->n; i++) {
        const uint8_t *low = f->ranges->data + i * sizeof(float);
        ranges->low[i] = float_at(low);
        ranges->high[i] = float_at(low + ranges->n * sizeof(float));
    }
    return TB_OK;
}

_Static_assert((int)TB_INPUT_F32 == (int)TB_F32 &&
                   (int)TB_INPUT_U8 == (int)TB_U8 &&
                   (int)TB_INPUT_I32 == (int)TB_I32 &&
                   (int)TB_INPUT_I64 == (int)TB_I64,
               "one numbering of element types");

/* --- the manifest --------------------------------------------------------- */

static tb_rc put_input(tb_manifest *m, const tb_tensor *input, tb_err *err)
{
    m->input.dtype = (tb_input_dtype)input->dtype; /* both are ONNX's */
    if (tb_input_dtype_bytes(m->input.dtype) == 0) {
        return tb_fail(err, TB_E_UNSUPPORTED,
                       "a model that takes %s cannot be published: f32, u8, "
                       "i32 or i64",
                       tb_dtype_name(input->dtype));
    }
    m->input.rank = (uint32_t)(input->shape.rank - 1);
    for (uint32_t i = 0; i < m->input.rank && i < TB_DIMS_MAX; i++) {
        m->input.dims[i] = (uint32_t)input->shape.dim[i + 1];
    }
    return TB_OK;
}

static tb_rc put_classes(tb_manifest *m, const tb_graph *graph, tb_err *err)
{
    size_t n = tb_preprocess_n_classes(graph);
    if (n == 0) {
        return TB_OK;
    }
    m->output.classes = tb_mem_array(n, sizeof *m->output.classes);
    if (m->output.classes == NULL) {
        return tb_fail(err, TB_E_NOMEM, "%zu class names", n);
    }
    m->output.n_classes = (uint32_t)n;
    for (size_t i = 0; i < n; i++) {
        size_t len = 0;
        const char *name = tb_preprocess_class(graph, i, &len);
        if (len >= TB_CLASS_BYTES) {
            return tb_fail(err, TB_E_LIMIT, "class \"%.*s\": over %d bytes",
                           (int)TB_CLASS_BYTES, name, TB_CLASS_BYTES - 1);
        }
        (void)snprintf(m->output.classes[i].text, TB_CLASS_BYTES, "%.*s",
                       (int)len, name);
    }
    return TB_OK;
}

tb_rc tb_work_put_spec(tb_manifest *m, const tb_predictor *predictor,
                       tb_err *err)
{
    m->output.n_values = (uint32_t)tb_predictor_n_outputs(predictor);
    tb_rc rc = put_input(m, tb_predictor_input(predictor), err);
    return rc == TB_OK ? put_classes(m, tb_predictor_graph(predictor), err)
                       : rc;
}

/* What goes in and comes out of every artefact, read off one of them, which is
 * taken. */
static tb_rc put_spec(tb_manifest *m, tb_graph **graph_take, tb_err *err)
{
    tb_predictor *predictor = NULL;
    tb_rc rc = tb_predictor_of(&predictor, graph_take, err);
    if (rc == TB_OK) {
        rc = tb_work_put_spec(m, predictor, err);
    }
    tb_predictor_free(&predictor);
    return rc;
}

static tb_artefact_role role_of(const char *stage)
{
    for (int role = 1; role < TB_ARTEFACT_ROLE_END; role++) {
        if (strcmp(stage, tb_artefact_role_name((tb_artefact_role)role)) == 0) {
            return (tb_artefact_role)role;
        }
    }
    return TB_ARTEFACT_ROLE_END;
}

/* The next artefact of m, which put_artefact will store: what it is worth. */
static tb_rc measure_stage(tb_manifest *m, const tb_work_finish *f,
                           const tb_stage *stage, tb_err *err)
{
    tb_artefact *a = &m->artefacts[m->n_artefacts];
    tb_score score = {0};
    double figure = 0.0;
    tb_rc rc = TB_OK;
    a->role = role_of(stage->name);
    a->sparsity = (float)stage->sparsity;
    if (f->evaluate != NULL) {
        rc = measure(&figure, &score, f->job, stage->graph, f->evaluate, err);
        a->accuracy = (float)tb_work_accuracy(&score);
        m->metrics.n_samples = score.n_rows;
    } else if (a->role == TB_ARTEFACT_FP32 && isfinite(f->metrics->accuracy)) {
        a->accuracy = (float)f->metrics->accuracy;
        m->metrics.n_samples = f->metrics->samples;
    }
    return rc;
}

static tb_rc put_artefact(tb_manifest *m, const tb_work_finish *f,
                          const tb_buf *onnx, tb_err *err)
{
    tb_model_ref ref;
    tb_artefact *a = &m->artefacts[m->n_artefacts];
    tb_rc rc = f->put(f->arg, onnx, &ref, err);
    if (rc == TB_OK) {
        a->raw = ref.raw;
        a->raw_bytes = ref.raw_bytes;
        a->stored = ref.stored;
        a->stored_bytes = ref.stored_bytes;
        m->n_artefacts++;
        m->standard = a->role; /* the last stage is the one to use */
    }
    return rc;
}

static void begin_manifest(tb_manifest *m, const tb_work_finish *f)
{
    *m = (tb_manifest){.name = f->params->name,
                       .epoch = f->epoch,
                       .sequence = f->sequence,
                       .federation = f->params->federation,
                       .job = f->params->job,
                       .run = f->params->run,
                       .created_s = (uint64_t)tb_clock_unix_s(),
                       .software = "tributary " TB_VERSION,
                       .served = f->job->serve};
    m->output.softmax = f->job->softmax;
    m->metrics.loss =
        isfinite(f->metrics->loss) ? (float)f->metrics->loss : 0.0F;
}

/* --- tensor data beside it ------------------------------------------------ */

/* The model's message, whose metadata name the data and, once they are known,
 * their hash: so that its own hash is that of all of it. */
static tb_rc write_beside(tb_buf *onnx, tb_onnx_layout *layout, tb_graph *graph,
                          const tb_model_file *file, tb_err *err)
{
    char note[TB_NAME_BYTES + TB_HASH_HEX_BYTES];
    char hex[TB_HASH_HEX_BYTES];
    tb_hash_hex(&file->raw, hex);
    (void)snprintf(note, sizeof note, "%s %s", file->name.text, hex);
    tb_rc rc = tb_work_note_data(graph, note, err);
    layout->location = file->name.text;
    layout->n_parts = 0;
    layout->bytes = 0;
    onnx->len = 0;
    return rc == TB_OK ? tb_onnx_write_layout(onnx, graph, layout, err) : rc;
}

/* The fp32 model as two files: the data are stored, onnx names them. */
static tb_rc put_beside(tb_manifest *m, tb_buf *onnx, const tb_work_finish *f,
                        tb_graph *graph, tb_err *err)
{
    tb_model_ref data;
    tb_model_file *file = &m->files[0];
    tb_onnx_layout layout = {
        .parts = tb_mem_array(2 * graph->n_values, sizeof layout.parts[0])};
    tb_rc rc = TB_OK;
    if (layout.parts == NULL) {
        rc = tb_fail(err, TB_E_NOMEM, "a model's data");
    } else if (!tb_name_set(&file->name, tb_work_data_name(graph))) {
        rc = tb_fail(err, TB_E_MALFORMED, "%s: not the name of a file",
                     TB_WORK_DATA_KEY);
    } else {
        rc = write_beside(onnx, &layout, graph, file, err);
    }
    if (rc == TB_OK) {
        rc = f->put_data(f->arg, layout.parts, layout.n_parts, &data, err);
    }
    if (rc == TB_OK) {
        file->raw = data.raw;
        file->raw_bytes = data.raw_bytes;
        file->stored = data.stored;
        file->stored_bytes = data.stored_bytes;
        m->n_files = 1;
        rc = write_beside(onnx, &layout, graph, file, err);
    }
    tb_mem_free(layout.parts);
    return rc;
}

/* Every other form is whole in itself. */
static tb_rc write_whole(tb_buf *onnx, tb_graph *graph, tb_err *err)
{
    tb_rc rc = tb_work_note_data(graph, NULL, err);
    return rc == TB_OK ? tb_onnx_write(onnx, graph, err) : rc;
}

/* --- all of it ------------------------------------------------------------ */

/* Measures and stores one stage. */
static tb_rc put_stage(void *arg, tb_stage *stage, tb_err *err)
{
    finishing *e = arg;
    tb_buf onnx;
    bool first = e->m.n_artefacts == 0;
    tb_buf_init(&onnx, tb_onnx_limits_local.bytes);
    tb_rc rc = measure_stage(&e->m, e->f, stage, err);
    if (rc == TB_OK) {
        rc = first && tb_work_data_name(stage->graph) != NULL
                 ? put_beside(&e->m, &onnx, e->f, stage->graph, err)
                 : write_whole(&onnx, stage->graph, err);
    }
    if (rc == TB_OK) {
        rc = put_artefact(&e->m, e->f, &onnx, err);
    }
    tb_buf_release(&onnx);
    return rc;
}

/* --- before the run ------------------------------------------------------- */

/* A model that will be two files: the manifest gets a second one to check. What
 * compression makes of it is one file. */
static tb_rc check_beside(tb_manifest *m, const tb_job *job,
                          const tb_run_params *params, const tb_graph *graph,
                          tb_err *err)
{
    const char *name = tb_work_data_name(graph);
    size_t bytes = job->prune.kind != TB_JOB_PRUNE_NONE         ? sizeof(float)
                   : job->quantise.kind != TB_JOB_QUANTISE_NONE ? 1
                                                                : 0;
    if (name == NULL) {
        return TB_OK;
    }
    m->n_files = 1;
    m->files[0] = (tb_model_file){.raw_bytes = 1, .stored_bytes = 1};
    if (!tb_name_set(&m->files[0].name, name)) {
        return tb_fail(err, TB_E_MALFORMED, "tensor data in \"%.64s\"", name);
    }
    return bytes > 0 && params->n_params > TB_ONNX_INLINE_MAX / bytes
               ? tb_fail(err, TB_E_UNSUPPORTED,
                         "a model of %llu parameters, %s, is over the %zu "
                         "bytes of one file: leave out %s",
                         (unsigned long long)params->n_params,
                         bytes > 1 ? "pruned" : "quantised", TB_ONNX_INLINE_MAX,
                         bytes > 1 ? "after.prune" : "after.quantise")
               : TB_OK;
}

tb_rc tb_work_check_publish(const tb_job *job, const tb_run_params *params,
                            tb_graph **graph_take, tb_err *err)
{
    tb_manifest m = {.name = params->name,
                     .sequence = 1,
                     .software = "tributary " TB_VERSION,
                     .standard = TB_ARTEFACT_FP32,
                     .n_artefacts = 1};
    tb_buf bytes;
    m.artefacts[0] = (tb_artefact){
        .role = TB_ARTEFACT_FP32, .raw_bytes = 1, .stored_bytes = 1};
    tb_buf_init(&bytes, TB_MANIFEST_BYTES_MAX);
    tb_rc rc = check_beside(&m, job, params, *graph_take, err);
    if (rc == TB_OK) {
        rc = put_spec(&m, graph_take, err);
    }
    if (rc == TB_OK) {
        rc = tb_manifest_encode(&m, &bytes, err);
    }
    tb_manifest_release(&m);
    tb_buf_release(&bytes);
    return rc == TB_OK
               ? rc
               : tb_err_prefix(err, rc, "the model could not be published");
}

/* --- the stages ----------------------------------------------------------- */

static const char *prune_pass(const tb_job *job)
{
    static const char *const passes[] = {
        [TB_JOB_PRUNE_NONE] = NULL,
        [TB_JOB_PRUNE_UNSTRUCTURED] = "unstructured",
        [TB_JOB_PRUNE_STRUCTURED] = "structured"};
    return passes[job->prune.kind];
}

static const char *quantise_pass(const tb_job *job)
{
    static const char *const passes[] = {[TB_JOB_QUANTISE_NONE] = NULL,
                                         [TB_JOB_QUANTISE_INT8] = "int8",
                                         [TB_JOB_QUANTISE_POW2] = "pow2"};
    return passes[job->quantise.kind];
}

static tb_after_options stages_of(finishing *e)
{
    const tb_work_finish *f = e->f;
    const tb_job *job = f->job;
    bool more = prune_pass(job) != NULL || quantise_pass(job) != NULL;
    tb_after_options options = {
        .prune = prune_pass(job),
        .scope = job->prune.global ? TB_PRUNE_GLOBAL : TB_PRUNE_LAYER,
        .norm = strcmp(job->prune.norm, "l1") == 0 ? TB_NORM_L1 : TB_NORM_L2,
        .amount = job->prune.amount,
        .quantise = quantise_pass(job),
        .bits = job->quantise.bits,
        .calibrate = f->calibrate,
        .percentile = job->quantise.percentile,
        .ranges = f->ranges != NULL ? take_ranges : NULL,
        .accuracy = more && guard_data(f) != NULL ? guard_accuracy : NULL,
        .stage = put_stage,
        .arg = e,
        .max_drop = job->max_drop};
    return options;
}

tb_rc tb_work_finish_run(tb_buf *manifest, const tb_work_finish *finish,
                         tb_err *err)
{
    tb_graph *graph = NULL;
    tb_after after = {0};
    finishing e = {.f = finish};
    tb_after_options options = stages_of(&e);
    begin_manifest(&e.m, finish);
    tb_rc rc = finish->model != NULL
                   ? tb_work_read(&graph, finish->job, finish->model, err)
                   : tb_work_read_fd(&graph, finish->job, finish->model_fd,
                                     TB_ONNX_VALUES_READ, err);
    if (rc == TB_OK && finish->job->softmax) {
        rc = tb_preprocess_softmax(graph, err);
    }
    if (rc == TB_OK) {
        rc = tb_after_run(&after, &graph, &options, err);
    }
    if (rc == TB_OK) { /* all stages take and give the same */
        rc = put_spec(&e.m, &after.stage[after.n - 1].graph, err);
    }
    if (rc == TB_OK) {
        rc = tb_manifest_encode(&e.m, manifest, err);
    }
    tb_manifest_release(&e.m);
    tb_after_release(&after);
    tb_graph_free(&graph);
    return rc;
}
