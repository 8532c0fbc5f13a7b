/* models and export: what the registry holds. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ask.h"
#include "base/clock.h"
#include "base/file.h"
#include "exec/exec.h"
#include "host/table.h"
#include "model/onnx.h"
#include "state.h"
#include "verbs.h"
#include "wire/manifest.h"

#define WARM_RUNS  50
#define TIMED_RUNS 201

/* --- latency of one sample ------------------------------------------------ */

static int by_value(const void *a, const void *b)
{
    const int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

/* Median of single-row runs, in microseconds, on one thread of this machine. */
static tb_rc measure_latency(const tb_buf *onnx, double *us, tb_err *err)
{
    tb_graph *graph = NULL;
    tb_exec *exec = NULL;
    int64_t ns[TIMED_RUNS];
    tb_rc rc = tb_onnx_read(&graph, onnx->data, onnx->len, NULL, err);
    if (rc == TB_OK) {
        rc = tb_exec_new(&exec, graph, 1, err);
    }
    for (int i = 0; i < WARM_RUNS + TIMED_RUNS && rc == TB_OK; i++) {
        int64_t start = tb_clock_ns();
        tb_exec_run(exec);
        if (i >= WARM_RUNS) {
            ns[i - WARM_RUNS] = tb_clock_ns() - start;
        }
    }
    if (rc == TB_OK) {
        qsort(ns, TIMED_RUNS, sizeof *ns, by_value);
        *us = (double)ns[TIMED_RUNS / 2] / 1000.0;
    }
    tb_exec_free(&exec);
    tb_graph_free(&graph);
    return rc;
}

/* One row a stored form of the model. */
static tb_rc add_stage(tb_json *rows, tb_state *state, const tb_manifest *m,
                       const tb_artefact *a, tb_err *err)
{
    char hex[TB_HASH_HEX_BYTES];
    double us = NAN;
    tb_buf onnx;
    tb_json *row = tb_json_object();
    tb_buf_init(&onnx, TB_BLOB_BYTES_MAX);
    tb_hash_hex(&a->raw, hex);
    tb_rc rc = TB_OK;
    if (tb_manifest_n_files(m, a) == 0) { /* else it is not in one piece here */
        rc = tb_state_blob_find(state, &a->raw, &onnx, err);
        if (rc == TB_OK) {
            rc = measure_latency(&onnx, &us, err);
        }
    }
    if (rc == TB_OK) {
        rc =
            tb_json_put_text(row, "stage", tb_artefact_role_name(a->role), err);
    }
    if (rc == TB_OK) {
        rc =
            tb_json_put_int(row, "stored_bytes", (int64_t)a->stored_bytes, err);
    }
    if (rc == TB_OK) {
        rc = tb_json_put_int(row, "onnx_bytes", (int64_t)a->raw_bytes, err);
    }
    if (rc == TB_OK) {
        rc = tb_json_put_float(
            row, "accuracy",
            m->metrics.n_samples > 0 ? (double)a->accuracy : NAN, err);
    }
    if (rc == TB_OK) {
        rc = tb_json_put_float(row, "sparsity", (double)a->sparsity, err);
    }
    if (rc == TB_OK) {
        rc = tb_json_put_float(row, "latency_us", us, err);
    }
    if (rc == TB_OK) {
        rc = tb_json_put_text(row, "hash", hex, err);
    }
    if (rc == TB_OK) {
        rc = tb_json_append(rows, &row, err);
    }
    tb_json_free(&row);
    tb_buf_release(&onnx);
    return rc;
}

/* --- finding -------------------------------------------------------------- */

/* The manifest of a model's version (0: the current one). */
static tb_rc find_manifest(tb_manifest *out, tb_state *state, const char *model,
                           uint64_t sequence, tb_err *err)
{
    tb_name name;
    tb_buf bytes;
    tb_buf_init(&bytes, TB_MANIFEST_BYTES_MAX);
    const tb_rec_version *v =
        tb_name_set(&name, model)
            ? tb_registry_find(&state->registry, &name, sequence)
            : NULL;
    tb_rc rc = v != NULL
                   ? tb_state_blob_find(state, &v->manifest, &bytes, err)
                   : tb_fail(err, TB_E_NOT_FOUND,
                             "no such model or version: %.64s; `tributaryd "
                             "models` lists them",
                             model);
    if (rc == TB_OK) {
        rc = tb_manifest_decode(out, bytes.data, bytes.len, err);
    }
    tb_buf_release(&bytes);
    return rc;
}

static tb_rc print_stages(const char *dir, const char *model, bool json,
                          tb_err *err)
{
    static const tb_column columns[] = {
        {"stage", "STAGE", TB_CELL_TEXT, 0},
        {"stored_bytes", "STORED", TB_CELL_BYTES, 0},
        {"onnx_bytes", "ONNX", TB_CELL_BYTES, 0},
        {"accuracy", "ACCURACY", TB_CELL_FIXED, 4},
        {"sparsity", "ZEROS", TB_CELL_FIXED, 3},
        {"latency_us", "LATENCY us", TB_CELL_FIXED, 1}};
    tb_state state;
    tb_manifest m = {0};
    tb_json *rows = tb_json_array();
    tb_rc rc = tb_state_open(&state, dir, TB_FOLDER_READ, err);
    if (rc != TB_OK) {
        tb_json_free(&rows);
        return rc;
    }
    rc = find_manifest(&m, &state, model, 0, err);
    for (uint32_t i = 0; i < m.n_artefacts && rc == TB_OK; i++) {
        rc = add_stage(rows, &state, &m, &m.artefacts[i], err);
    }
    if (rc == TB_OK) {
        rc = json ? tb_json_print(rows, err)
                  : tb_table_print(columns, sizeof columns / sizeof *columns,
                                   rows, err);
    }
    tb_json_free(&rows);
    tb_manifest_release(&m);
    tb_state_close(&state);
    return rc;
}

static tb_rc run_models(tb_cli_call *call, tb_err *err)
{
    static const tb_column columns[] = {
        {"model", "MODEL", TB_CELL_TEXT, 0},
        {"sequence", "VERSION", TB_CELL_INT, 0},
        {"current", "CURRENT", TB_CELL_TEXT, 0},
        {"created", "CREATED (UTC)", TB_CELL_TIME, 0},
        {"standard", "STANDARD", TB_CELL_TEXT, 0},
        {"served", "SERVED", TB_CELL_TEXT, 0},
        {"run", "RUN", TB_CELL_TEXT, 0}};
    const tb_dir_settings *at = call->values[0];
    tb_json *report = NULL;
    if (call->n_args == 1) {
        return print_stages(at->dir, call->args[0], call->json, err);
    }
    tb_rc rc = tb_ask_report(&report, at, "models", err);
    if (rc == TB_OK) {
        rc = call->json
                 ? tb_json_print(report, err)
                 : tb_table_print(columns, sizeof columns / sizeof *columns,
                                  report, err);
    }
    tb_json_free(&report);
    return rc;
}

/* --- export --------------------------------------------------------------- */

typedef struct options {
    tb_dir_settings at;
    char stage[TB_NAME_BYTES];
    uint64_t sequence;
} options;

static const tb_setting rows[] = {
    {.key = "dir",
     .help = "the coordinator's folder",
     .value = "DIR",
     .preset = ".",
     .type = TB_SETTING_PATH,
     TB_FIELD(options, at.dir)},
    {.key = "stage",
     .help = "fp32, pruned, int8 or pow2 (default: the version's standard)",
     .value = "STAGE",
     .type = TB_SETTING_TEXT,
     TB_FIELD(options, stage)},
    {.key = "version",
     .help = "which version; 0: the current one",
     .value = "N",
     .preset = "0",
     .type = TB_SETTING_INT,
     TB_FIELD(options, sequence)}};

static const tb_setting_table table = {.env = "TRIBUTARY_",
                                       .rows = rows,
                                       .n_rows = sizeof rows / sizeof *rows,
                                       .bytes = sizeof(options)};

static const tb_artefact *find_stage(const tb_manifest *m, const char *stage)
{
    if (stage[0] == '\0') {
        return tb_manifest_artefact(m, m->standard);
    }
    for (uint32_t i = 0; i < m->n_artefacts; i++) {
        if (strcmp(stage, tb_artefact_role_name(m->artefacts[i].role)) == 0) {
            return &m->artefacts[i];
        }
    }
    return NULL;
}

/* A file beside the one that is written. */
static tb_rc export_file(tb_state *state, const tb_model_file *f,
                         const char *path, tb_err *err)
{
    char beside[2 * TB_PATH_BYTES];
    const char *slash = strrchr(path, '/');
    int n = snprintf(beside, sizeof beside, "%.*s%s",
                     slash != NULL ? (int)(slash + 1 - path) : 0, path,
                     f->name.text);
    return n > 0 && (size_t)n < sizeof beside
               ? tb_blobs_extract(state->blobs, &f->raw, beside, 0644, err)
               : tb_fail(err, TB_E_LIMIT, "%s: a long path", path);
}

static tb_rc export_stage(tb_state *state, const tb_manifest *m,
                          const options *o, const char *path, tb_err *err)
{
    const tb_artefact *a = find_stage(m, o->stage);
    tb_rc rc = a != NULL ? TB_OK
                         : tb_fail(err, TB_E_NOT_FOUND,
                                   "%s has no stage \"%s\": `tributaryd "
                                   "models %s` lists them",
                                   m->name.text, o->stage, m->name.text);
    uint32_t n_files = a != NULL ? tb_manifest_n_files(m, a) : 0;
    for (uint32_t i = 0; i < n_files && rc == TB_OK; i++) {
        rc = export_file(state, &m->files[i], path, err);
    }
    if (rc == TB_OK) {
        rc = tb_blobs_extract(state->blobs, &a->raw, path, 0644, err);
    }
    if (rc == TB_OK) {
        (void)printf("%s: %s version %llu, %s, %llu bytes of ONNX\n", path,
                     m->name.text, (unsigned long long)m->sequence,
                     tb_artefact_role_name(a->role),
                     (unsigned long long)a->raw_bytes);
    }
    return rc;
}

static tb_rc run_export(tb_cli_call *call, tb_err *err)
{
    const options *o = call->values[0];
    tb_state state;
    tb_manifest m = {0};
    tb_rc rc = tb_state_open(&state, o->at.dir, TB_FOLDER_READ, err);
    if (rc != TB_OK) {
        return rc;
    }
    rc = find_manifest(&m, &state, call->args[0], o->sequence, err);
    if (rc == TB_OK) {
        rc = export_stage(&state, &m, o, call->args[1], err);
    }
    tb_manifest_release(&m);
    tb_state_close(&state);
    return rc;
}

const tb_verb verb_models = {
    .name = "models",
    .args = "[MODEL]",
    .min_args = 0,
    .max_args = 1,
    .help = "list the registered versions, or the stages of one model",
    .examples = "tributaryd models --dir fleet\n"
                "tributaryd models --dir fleet fashion\n",
    .notes = "Latency: one sample on one thread of this machine, the median "
             "of 201 runs.\n",
    .json = true,
    .tables = {&tb_dir_table},
    .run = run_models,
};

const tb_verb verb_export = {
    .name = "export",
    .args = "MODEL FILE",
    .min_args = 2,
    .max_args = 2,
    .help = "write a registered model as a plain ONNX file, and what it names "
            "beside it",
    .examples = "tributaryd export --dir fleet fashion fashion.onnx\n"
                "tributaryd export --dir fleet fashion f32.onnx --stage fp32\n",
    .tables = {&table},
    .run = run_export,
};
