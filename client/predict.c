#include <math.h>
#include <stdio.h>
#include <string.h>

#include "ask.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/text.h"
#include "crypto/crypto.h"
#include "files.h"
#include "host/table.h"
#include "model/onnx.h"
#include "model/preprocess.h"
#include "registry.h"
#include "verbs.h"
#include "work/predict.h"

typedef struct options {
    char home[HOME_BYTES];
    data_options data; /* path: of the argument */
    bool remote;
    uint32_t first, count;
    char artefact[WORD_BYTES];
} options;

static const tb_setting rows[] = {
    {.key = "remote",
     .help = "let the coordinator answer: the input leaves this device",
     .type = TB_SETTING_BOOL,
     TB_FIELD(options, remote)},
    {.key = "first",
     .help = "first row to predict",
     .value = "N",
     .preset = "0",
     .type = TB_SETTING_INT,
     TB_FIELD(options, first)},
    {.key = "count",
     .help = "rows to predict; 0: all",
     .value = "N",
     .preset = "0",
     .type = TB_SETTING_INT,
     TB_FIELD(options, count)},
    {.key = "artefact",
     .help = "form of a pulled model: fp32, pruned, int8 or pow2",
     .value = "FORM",
     .type = TB_SETTING_TEXT,
     TB_FIELD(options, artefact)},
    {.key = "unlabelled",
     .help = "csv, npy: the input is features only, without a label",
     .type = TB_SETTING_BOOL,
     TB_FIELD(options, data.unlabelled)},
    DATA_FORMAT_ROWS(options),
    HOME_ROW(options),
};

static const tb_setting_table table = {.env = "TRIBUTARY_",
                                       .rows = rows,
                                       .n_rows = sizeof rows / sizeof rows[0],
                                       .bytes = sizeof(options)};

/* Answers, and what their columns are called. */
typedef struct answers {
    size_t n_rows, n_outputs;
    float *y;               /* owned [n_rows, n_outputs] */
    tb_class_name *classes; /* owned [n_outputs], or NULL */
    bool classify;          /* name the largest output, though no labels say
                             * that outputs are classes */
} answers;

static void answers_release(answers *a)
{
    tb_mem_free(a->y);
    tb_mem_free(a->classes);
}

/* Rows [first, first + count) of the input. */
typedef struct input {
    tb_dataset *data;
    size_t first, count;
} input;

static tb_rc read_input(input *in, const char *path, const options *o,
                        tb_err *err)
{
    data_options from = o->data;
    (void)snprintf(from.path, sizeof from.path, "%s", path);
    tb_rc rc = read_data(&in->data, &from, err);
    if (rc != TB_OK) {
        return rc;
    }
    size_t n = tb_dataset_rows(in->data);
    if (o->first >= n) {
        return tb_fail(err, TB_E_USAGE, "--first %u: %s has %zu rows", o->first,
                       path, n);
    }
    in->first = o->first;
    in->count = n - o->first;
    if (o->count > 0 && o->count < in->count) {
        in->count = o->count;
    }
    return TB_OK;
}

/* The rows as they lie there, one after the other. */
static tb_rc gather(const input *in, tb_buf *out, tb_err *err)
{
    size_t bytes = tb_dataset_x_bytes(in->data);
    tb_rc rc = TB_OK;
    for (size_t i = 0; rc == TB_OK && i < in->count; i++) {
        rc = tb_buf_put(out, tb_dataset_x_row(in->data, in->first + i), bytes,
                        err);
    }
    return rc;
}

/* --- here ----------------------------------------------------------------- */

/* Where a pulled model lies, every byte of it checked; for tb_mem_free. */
static tb_rc find_pulled(char **path, const char *model, const options *o,
                         tb_err *err)
{
    tb_manifest manifest = {0};
    home h = {0};
    tb_name name;
    if (!tb_name_set(&name, model)) {
        return tb_fail(err, TB_E_NOT_FOUND, "no file %s", model);
    }
    tb_rc rc = home_open(&h, o->home, TB_FOLDER_READ, err);
    if (rc == TB_OK) {
        rc = registry_manifest(&h, &name, &manifest, err);
    }
    request wanted = {.role = manifest.standard};
    if (rc == TB_OK && o->artefact[0] != '\0') {
        rc = request_set_role(&wanted, o->artefact, err);
    }
    const tb_artefact *artefact =
        rc == TB_OK ? tb_manifest_artefact(&manifest, wanted.role) : NULL;
    if (rc == TB_OK && artefact == NULL) {
        rc = tb_fail(err, TB_E_NOT_FOUND, "%s has no %s form", model,
                     tb_artefact_role_name(wanted.role));
    }
    if (rc == TB_OK) {
        rc = registry_check(&h, &manifest, artefact, err);
    }
    if (rc == TB_OK) {
        rc = registry_path(path, &h, &manifest, artefact, err);
    }
    tb_manifest_release(&manifest);
    home_close(&h);
    return rc;
}

/* The model: a file, or one that was pulled; with its tensor data beside it. */
static tb_rc load_model(tb_predictor **out, const char *model, const options *o,
                        tb_err *err)
{
    char *pulled = NULL;
    tb_graph *graph = NULL;
    tb_rc rc = TB_OK;
    if (!tb_file_exists(model)) {
        rc = find_pulled(&pulled, model, o, err);
    }
    if (rc == TB_OK) {
        rc = tb_onnx_read_file(&graph, pulled != NULL ? pulled : model, NULL,
                               NULL, err);
    }
    if (rc == TB_OK) {
        rc = tb_predictor_of(out, &graph, err);
    }
    tb_graph_free(&graph);
    tb_mem_free(pulled);
    return rc;
}

static tb_rc check_input(const tb_predictor *p, const input *in, tb_err *err)
{
    const tb_sample_spec *spec = tb_dataset_spec(in->data);
    const tb_tensor *x = tb_predictor_input(p);
    if (spec->x_dtype == x->dtype &&
        tb_dataset_x_bytes(in->data) == tb_predictor_row_bytes(p)) {
        return TB_OK;
    }
    return tb_fail(err, TB_E_MISMATCH,
                   "the model takes %zu bytes of %s a row, the input has %zu "
                   "of %s: is this the data that it was made for?",
                   tb_predictor_row_bytes(p), tb_dtype_name(x->dtype),
                   tb_dataset_x_bytes(in->data), tb_dtype_name(spec->x_dtype));
}

static tb_rc take_classes(answers *a, const tb_graph *graph, tb_err *err)
{
    size_t n = tb_preprocess_n_classes(graph);
    if (n != a->n_outputs) {
        return TB_OK;
    }
    a->classes = tb_mem_array(n, sizeof *a->classes);
    for (size_t i = 0; a->classes != NULL && i < n; i++) {
        size_t len = 0;
        const char *text = tb_preprocess_class(graph, i, &len);
        (void)snprintf(a->classes[i].text, sizeof a->classes[i].text, "%.*s",
                       (int)len, text);
    }
    return a->classes != NULL ? TB_OK
                              : tb_fail(err, TB_E_NOMEM, "classes: no memory");
}

static tb_rc predict_here(answers *a, tb_predictor *p, const input *in,
                          tb_err *err)
{
    tb_buf x;
    tb_buf_init(&x, MODEL_BYTES_MAX);
    tb_rc rc = check_input(p, in, err);
    if (rc == TB_OK) {
        rc = gather(in, &x, err);
    }
    if (rc == TB_OK) {
        a->n_outputs = tb_predictor_n_outputs(p);
        a->y = tb_mem_array(in->count, a->n_outputs * sizeof *a->y);
        rc = a->y != NULL ? take_classes(a, tb_predictor_graph(p), err)
                          : tb_fail(err, TB_E_NOMEM, "answers: no memory");
    }
    if (rc == TB_OK) {
        rc = tb_predictor_run(p, x.data, in->count, a->y, err);
    }
    tb_buf_release(&x);
    return rc;
}

/* --- at the coordinator --------------------------------------------------- */

static tb_rc take_outputs(answers *a, const tb_json *result, tb_err *err)
{
    const tb_json *outputs = tb_json_get(result, "outputs");
    a->n_outputs = tb_json_count(tb_json_at(outputs, 0));
    if (tb_json_count(outputs) != a->n_rows || a->n_outputs == 0) {
        return tb_fail(err, TB_E_MALFORMED, "an answer without its rows");
    }
    a->y = tb_mem_array(a->n_rows, a->n_outputs * sizeof *a->y);
    if (a->y == NULL) {
        return tb_fail(err, TB_E_NOMEM, "answers: no memory");
    }
    for (size_t i = 0; i < a->n_rows; i++) {
        const tb_json *row = tb_json_at(outputs, i);
        for (size_t j = 0; j < a->n_outputs; j++) {
            a->y[i * a->n_outputs + j] =
                (float)tb_json_number(tb_json_at(row, j), NAN);
        }
    }
    return TB_OK;
}

/* Names of the outputs, from the manifest that came with the answer. */
static tb_rc known_classes(answers *a, const tb_name *model, const options *o,
                           tb_err *err)
{
    tb_manifest manifest = {0};
    home h = {0};
    tb_rc rc = home_open(&h, o->home, TB_FOLDER_READ, err);
    if (rc == TB_OK) {
        rc = registry_manifest(&h, model, &manifest, err);
    }
    if (rc == TB_OK && manifest.output.n_classes == a->n_outputs) {
        a->classes = manifest.output.classes;
        manifest.output.classes = NULL;
        manifest.output.n_classes = 0;
    }
    tb_manifest_release(&manifest);
    home_close(&h);
    return rc;
}

static tb_rc predict_there(answers *a, const char *model, const input *in,
                           const options *o, tb_err *err)
{
    tb_json *result = NULL;
    tb_name name;
    request r;
    if (!tb_name_set(&name, model)) {
        return tb_fail(err, TB_E_USAGE,
                       "--remote wants the name of a model, not \"%s\"", model);
    }
    request_init(&r, REQUEST_PREDICT, &name);
    r.n_rows = in->count;
    tb_rc rc = gather(in, &r.rows, err);
    if (rc == TB_OK) {
        rc = ask(o->home, &r, &result, err);
    }
    if (rc == TB_OK) {
        rc = take_outputs(a, result, err);
    }
    if (rc == TB_OK) {
        rc = known_classes(a, &name, o, err);
    }
    tb_json_free(&result);
    request_release(&r);
    return rc;
}

/* --- showing it ----------------------------------------------------------- */

static const char *class_text(const answers *a, size_t i, char number[32])
{
    if (a->classes != NULL) {
        return a->classes[i].text;
    }
    (void)snprintf(number, 32, "%zu", i);
    return number;
}

static tb_rc put_outputs(tb_json *row, const float *y, size_t n, tb_err *err)
{
    tb_json *list = tb_json_array();
    tb_rc rc = TB_OK;
    for (size_t j = 0; rc == TB_OK && j < n; j++) {
        rc = tb_json_append_float(list, (double)y[j], err);
    }
    if (rc == TB_OK) {
        rc = tb_json_put(row, "outputs", &list, err);
    }
    tb_json_free(&list);
    return rc;
}

/* {"row", "class", "score", "label", "outputs"} of one answer. */
static tb_rc put_row(tb_json *list, const answers *a, const input *in, size_t i,
                     tb_err *err)
{
    const float *y = a->y + i * a->n_outputs;
    const tb_sample_spec *spec = tb_dataset_spec(in->data);
    bool labels = spec->target == TB_TARGET_CLASS;
    bool classes = labels || a->classify;
    char number[32];
    size_t best = 0;
    tb_json *row = tb_json_object();
    for (size_t j = 1; j < a->n_outputs; j++) {
        best = y[j] > y[best] ? j : best;
    }
    tb_rc rc = tb_json_put_int(row, "row", (int64_t)(in->first + i), err);
    if (rc == TB_OK && classes) {
        rc = tb_json_put_text(row, "class", class_text(a, best, number), err);
    }
    if (rc == TB_OK) {
        rc = tb_json_put_float(row, "score", (double)y[best], err);
    }
    if (rc == TB_OK && labels) {
        size_t label = (size_t)tb_dataset_label(in->data, in->first + i);
        rc = tb_json_put_text(
            row, "label",
            label < a->n_outputs ? class_text(a, label, number) : NULL, err);
    }
    if (rc == TB_OK) {
        rc = put_outputs(row, y, a->n_outputs, err);
    }
    if (rc == TB_OK) {
        rc = tb_json_append(list, &row, err);
    }
    tb_json_free(&row);
    return rc;
}

static tb_rc print(const answers *a, const input *in, bool json, tb_err *err)
{
    static const tb_column columns[] = {
        {.key = "row", .title = "row", .cell = TB_CELL_INT},
        {.key = "class", .title = "answer", .cell = TB_CELL_TEXT},
        {.key = "score",
         .title = "score",
         .cell = TB_CELL_FIXED,
         .decimals = 4},
        {.key = "label", .title = "label", .cell = TB_CELL_TEXT},
    };
    tb_json *list = tb_json_array();
    tb_rc rc = TB_OK;
    for (size_t i = 0; rc == TB_OK && i < a->n_rows; i++) {
        rc = put_row(list, a, in, i, err);
    }
    if (rc == TB_OK) {
        rc = json ? tb_json_print(list, err)
                  : tb_table_print(columns, sizeof columns / sizeof columns[0],
                                   list, err);
    }
    tb_json_free(&list);
    return rc;
}

static tb_rc run(tb_cli_call *call, tb_err *err)
{
    options *o = call->values[0];
    const char *model = call->args[0];
    tb_predictor *p = NULL; /* NULL: at the coordinator */
    answers a = {0};
    input in = {0};
    tb_rc rc = tb_crypto_init(err);
    if (rc == TB_OK && !o->remote) {
        rc = load_model(&p, model, o, err);
        if (rc == TB_OK) {
            rc = name_classes(&o->data, tb_predictor_graph(p), err);
        }
    }
    if (rc == TB_OK) {
        rc = read_input(&in, call->args[1], o, err);
    }
    if (rc == TB_OK) {
        a.n_rows = in.count;
        a.classify = o->data.unlabelled && !o->data.values;
        rc = p != NULL ? predict_here(&a, p, &in, err)
                       : predict_there(&a, model, &in, o, err);
    }
    if (rc == TB_OK) {
        rc = print(&a, &in, call->json, err);
    }
    if (rc == TB_OK && o->remote && !call->json) {
        (void)printf("answered by the coordinator: %zu rows left this "
                     "device\n",
                     in.count);
    }
    answers_release(&a);
    tb_predictor_free(&p);
    tb_dataset_free(&in.data);
    return rc;
}

const tb_verb verb_predict = {
    .name = "predict",
    .args = "MODEL INPUT",
    .min_args = 2,
    .max_args = 2,
    .help = "let a model answer: here, or at the coordinator",
    .examples = "tributary predict fashion images/ --count 5\n"
                "tributary predict fashion images/ --count 5 --remote\n"
                "tributary predict model.onnx table.csv --json\n"
                "tributary predict fashion new.npy --unlabelled\n",
    .notes = "MODEL: an ONNX file, or the name of a model that was pulled. "
             "With --remote the\nrows leave this device, and the model must "
             "be served.\n",
    .json = true,
    .tables = {&table},
    .run = run,
};
