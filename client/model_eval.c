#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/text.h"
#include "files.h"
#include "host/json.h"
#include "host/table.h"
#include "model/preprocess.h"
#include "train/evaluate.h"
#include "train/metric.h"
#include "train_flags.h"
#include "verbs.h"

#define METRICS_MAX 32

typedef struct options {
    data_options data;
    loss_flags loss;
    char metrics[256];
    uint32_t top_k;
} options;

static const tb_setting rows[] = {
    DATA_ROWS(options),
    LOSS_ROWS(options),
    {.key = "metrics",
     .help = "accuracy, top_k, precision, recall, f1, auc, perplexity, "
             "confusion; mse, mae, r2; or all",
     .value = "LIST",
     .type = TB_SETTING_TEXT,
     TB_FIELD(options, metrics)},
    {.key = "top-k",
     .help = "top_k: how many answers may hold the right one",
     .value = "K",
     .preset = "5",
     .min = 1,
     .max = 1e6,
     .type = TB_SETTING_INT,
     TB_FIELD(options, top_k)},
};

static const tb_setting_table table = {.env = "TRIBUTARY_",
                                       .rows = rows,
                                       .n_rows = sizeof rows / sizeof rows[0],
                                       .bytes = sizeof(options)};

/* What is measured, and what came out. */
typedef struct measure {
    const options *o;
    const tb_graph *graph;
    const tb_metric *metrics[METRICS_MAX];
    size_t n_metrics;
    tb_tally tally;
    tb_score score;
} measure;

/* --- which metrics -------------------------------------------------------- */

static tb_rc unknown(const char *name, tb_err *err)
{
    const char *names[METRICS_MAX];
    size_t n = 0;
    for (; tb_metric_list[n] != NULL && n < METRICS_MAX; n++) {
        names[n] = tb_metric_list[n]->name;
    }
    const char *near = tb_text_nearest(name, names, n);
    return tb_fail(err, TB_E_USAGE, "--metrics: there is no \"%s\"%s%s%s", name,
                   near != NULL ? "; did you mean \"" : "",
                   near != NULL ? near : "", near != NULL ? "\"?" : "");
}

static tb_rc take(measure *m, const char *name, tb_err *err)
{
    const tb_metric *metric = tb_metric_find(name);
    if (metric == NULL) {
        return unknown(name, err);
    }
    if ((metric->on & m->tally.kind) == 0) {
        return tb_fail(
            err, TB_E_USAGE,
            "--metrics %s: has no meaning for %s; leave it out", name,
            m->tally.kind == TB_TALLY_VALUES ? "values"
            : m->tally.kind == TB_TALLY_BITS ? "the targets of bce_with_logits"
                                             : "classes");
    }
    for (size_t i = 0; i < m->n_metrics; i++) {
        if (m->metrics[i] == metric) {
            return TB_OK;
        }
    }
    m->metrics[m->n_metrics++] = metric;
    return TB_OK;
}

/* What was asked for; else what is told of such targets. The kind is known. */
static tb_rc choose(measure *m, tb_err *err)
{
    char text[sizeof m->o->metrics];
    bool all = strcmp(m->o->metrics, "all") == 0;
    if (all || m->o->metrics[0] == '\0') {
        for (size_t i = 0; tb_metric_list[i] != NULL; i++) {
            const tb_metric *metric = tb_metric_list[i];
            if ((metric->on & m->tally.kind) != 0 && (all || metric->preset)) {
                m->metrics[m->n_metrics++] = metric;
            }
        }
        return TB_OK;
    }
    (void)snprintf(text, sizeof text, "%s", m->o->metrics);
    tb_rc rc = TB_OK;
    for (char *at = text; rc == TB_OK && at != NULL;) {
        char *comma = strchr(at, ',');
        if (comma != NULL) {
            *comma = '\0';
        }
        at += strspn(at, " ");
        rc = take(m, at, err);
        at = comma != NULL ? comma + 1 : NULL;
    }
    return rc;
}

static bool has(const measure *m, const char *name)
{
    bool found = false;
    for (size_t i = 0; i < m->n_metrics; i++) {
        found = found || strcmp(m->metrics[i]->name, name) == 0;
    }
    return found;
}

/* --- measuring ------------------------------------------------------------ */

static bool needs_scores(const measure *m)
{
    bool needed = false;
    for (size_t i = 0; i < m->n_metrics; i++) {
        needed = needed || m->metrics[i]->scores;
    }
    return needed;
}

static tb_rc run_model(measure *m, const tb_dataset *data,
                       const tb_evaluator_options *objective, tb_err *err)
{
    tb_evaluator *e = NULL;
    tb_rc rc = tb_evaluator_new(&e, m->graph, objective, err);
    if (rc != TB_OK) {
        return rc;
    }
    const tb_loss_layout *layout = tb_evaluator_layout(e);
    tb_tally_options tally = {.loss = objective->loss,
                              .n_cols = layout->n_cols,
                              .n_max =
                                  tb_dataset_rows(data) * layout->n_labels};
    rc = tb_tally_init(&m->tally, &tally, err);
    if (rc == TB_OK) {
        rc = choose(m, err);
    }
    if (rc == TB_OK && needs_scores(m)) {
        tally.scores = true;
        tb_tally_release(&m->tally);
        rc = tb_tally_init(&m->tally, &tally, err);
    }
    if (rc == TB_OK) {
        tb_evaluator_set_tally(e, &m->tally);
        rc = tb_evaluate(e, NULL, data, 0, tb_dataset_rows(data), &m->score,
                         err);
    }
    tb_evaluator_free(&e);
    return rc;
}

/* --- telling -------------------------------------------------------------- */

/* The name of a class as the model has it, or its index. */
static void name_class(const tb_graph *graph, size_t c, char out[64])
{
    size_t n = 0;
    const char *name = tb_preprocess_class(graph, c, &n);
    if (name != NULL) {
        (void)snprintf(out, 64, "%.*s", (int)(n < 63 ? n : 63), name);
    } else {
        (void)snprintf(out, 64, "%zu", c);
    }
}

static tb_rc put_row(const measure *m, size_t c, tb_json *list, tb_err *err)
{
    char name[64];
    const tb_tally *t = &m->tally;
    tb_json *row = tb_json_object();
    name_class(m->graph, c, name);
    tb_rc rc = tb_json_put_text(row, "class", name, err);
    for (size_t i = 0; rc == TB_OK && i < m->n_metrics; i++) {
        const tb_metric *metric = m->metrics[i];
        if (metric->each != NULL) {
            rc = tb_json_put_float(row, metric->name, metric->each(t, c), err);
        }
    }
    if (rc == TB_OK && t->kind != TB_TALLY_VALUES) {
        rc = tb_json_put_int(row, "targets", (int64_t)t->truths[c], err);
    }
    return rc == TB_OK ? tb_json_append(list, &row, err)
                       : (tb_json_free(&row), rc);
}

/* A row a class or column: what the metrics say of each. */
static tb_rc list_classes(tb_json **out, const measure *m, tb_err *err)
{
    *out = tb_json_array();
    tb_rc rc = TB_OK;
    for (size_t c = 0; rc == TB_OK && c < m->tally.n_cols; c++) {
        rc = put_row(m, c, *out, err);
    }
    return rc;
}

/* [[...]]: by truth, then by answer. */
static tb_rc list_confusion(tb_json **out, const measure *m, tb_err *err)
{
    size_t n = m->tally.n_cols;
    *out = tb_json_array();
    tb_rc rc = TB_OK;
    for (size_t t = 0; rc == TB_OK && t < n; t++) {
        tb_json *line = tb_json_array();
        for (size_t c = 0; rc == TB_OK && c < n; c++) {
            rc = tb_json_append_int(
                line, (int64_t)m->tally.confusion[t * n + c], err);
        }
        if (rc == TB_OK) {
            rc = tb_json_append(*out, &line, err);
        }
        tb_json_free(&line);
    }
    return rc;
}

static bool has_each(const measure *m)
{
    bool found = false;
    for (size_t i = 0; i < m->n_metrics; i++) {
        found = found || m->metrics[i]->each != NULL;
    }
    return found && m->tally.n_cols > 1;
}

static tb_rc put_numbers(const measure *m, tb_json *o, tb_err *err)
{
    tb_rc rc = tb_json_put_float(o, "loss", tb_score_loss(&m->score), err);
    for (size_t i = 0; rc == TB_OK && i < m->n_metrics; i++) {
        double value = 0.0;
        if (m->metrics[i]->value == NULL) {
            continue;
        }
        rc = m->metrics[i]->value(&value, &m->tally, m->o->top_k, err);
        if (rc == TB_OK) {
            rc = tb_json_put_float(o, m->metrics[i]->name, value, err);
        }
    }
    return rc == TB_OK
               ? tb_json_put_int(o, "rows", (int64_t)m->score.n_rows, err)
               : rc;
}

static tb_rc print_json(const measure *m, tb_err *err)
{
    tb_json *o = tb_json_object();
    tb_json *list = NULL;
    tb_rc rc = put_numbers(m, o, err);
    if (rc == TB_OK && has_each(m)) {
        rc = list_classes(&list, m, err);
        if (rc == TB_OK) {
            rc = tb_json_put(o, "per_class", &list, err);
        }
    }
    if (rc == TB_OK && has(m, "confusion")) {
        rc = list_confusion(&list, m, err);
        if (rc == TB_OK) {
            rc = tb_json_put(o, "confusion", &list, err);
        }
    }
    if (rc == TB_OK) {
        rc = tb_json_print(o, err);
    }
    tb_json_free(&list);
    tb_json_free(&o);
    return rc;
}

static tb_rc print_classes(const measure *m, tb_err *err)
{
    tb_column columns[METRICS_MAX + 2] = {
        {"class", m->tally.kind == TB_TALLY_CLASSES ? "class" : "column",
         TB_CELL_TEXT, 0}};
    size_t n = 1;
    tb_json *list = NULL;
    for (size_t i = 0; i < m->n_metrics; i++) {
        if (m->metrics[i]->each != NULL) {
            columns[n++] = (tb_column){m->metrics[i]->name, m->metrics[i]->name,
                                       TB_CELL_FIXED, 4};
        }
    }
    if (m->tally.kind != TB_TALLY_VALUES) {
        columns[n++] = (tb_column){"targets", "targets", TB_CELL_INT, 0};
    }
    tb_rc rc = list_classes(&list, m, err);
    if (rc == TB_OK) {
        (void)printf("\n");
        (void)fflush(stdout);
        rc = tb_table_print(columns, n, list, err);
    }
    tb_json_free(&list);
    return rc;
}

/* Truths down, answers across; columns as wide as the longest name or number
 * needs. */
static void print_confusion(const measure *m)
{
    char name[64];
    size_t n = m->tally.n_cols;
    int width = 6;
    for (size_t c = 0; c < n; c++) {
        name_class(m->graph, c, name);
        int w = (int)strlen(name);
        width = w > width ? w : width;
    }
    (void)printf("\ntruth down, answer across\n%*s", width, "");
    for (size_t c = 0; c < n; c++) {
        name_class(m->graph, c, name);
        (void)printf("  %*s", width, name);
    }
    for (size_t t = 0; t < n; t++) {
        name_class(m->graph, t, name);
        (void)printf("\n%*s", width, name);
        for (size_t c = 0; c < n; c++) {
            (void)printf("  %*llu", width,
                         (unsigned long long)m->tally.confusion[t * n + c]);
        }
    }
    (void)printf("\n");
}

static tb_rc print_text(const measure *m, tb_err *err)
{
    tb_rc rc = TB_OK;
    (void)printf("%-10s  %.6f\n", "loss", tb_score_loss(&m->score));
    for (size_t i = 0; rc == TB_OK && i < m->n_metrics; i++) {
        const tb_metric *metric = m->metrics[i];
        char name[32];
        double value = 0.0;
        if (metric->value == NULL) {
            continue;
        }
        (void)snprintf(name, sizeof name, "%s", metric->name);
        if (strcmp(name, "top_k") == 0) {
            (void)snprintf(name, sizeof name, "top_%u", m->o->top_k);
        }
        rc = metric->value(&value, &m->tally, m->o->top_k, err);
        (void)printf("%-10s  %.*f\n", name,
                     m->tally.kind == TB_TALLY_VALUES ? 6 : 4, value);
    }
    (void)printf("%-10s  %zu\n", "rows", m->score.n_rows);
    if (rc == TB_OK && has_each(m) && m->o->metrics[0] != '\0') {
        rc = print_classes(m, err);
    }
    if (rc == TB_OK && has(m, "confusion")) {
        print_confusion(m);
    }
    return rc;
}

static tb_rc run(tb_cli_call *call, tb_err *err)
{
    options *o = call->values[0];
    measure m = {.o = o};
    tb_graph *graph = NULL;
    tb_dataset *data = NULL;
    tb_evaluator_options objective;
    tb_rc rc = ignore_labels(&o->data, &o->loss, err);
    if (rc == TB_OK) {
        rc = read_model(&graph, call->args[0], NULL, err);
    }
    if (rc == TB_OK) {
        rc = name_classes(&o->data, graph, err);
    }
    if (rc == TB_OK) {
        rc = read_data(&data, &o->data, err);
    }
    if (rc == TB_OK) {
        rc = loss_from_flags(&objective, &o->loss, tb_dataset_spec(data), err);
    }
    if (rc == TB_OK) {
        m.graph = graph;
        rc = run_model(&m, data, &objective, err);
    }
    if (rc == TB_OK) {
        rc = call->json ? print_json(&m, err) : print_text(&m, err);
    }
    tb_tally_release(&m.tally);
    tb_dataset_free(&data);
    tb_graph_free(&graph);
    return rc;
}

const tb_verb verb_model_eval = {
    .name = "model eval",
    .args = "FILE",
    .min_args = 1,
    .max_args = 1,
    .help = "measure loss and metrics of a model on data of this machine",
    .examples = "tributary model eval model.onnx --data test/\n"
                "tributary model eval model.onnx --data test/ "
                "--metrics accuracy,f1,auc,confusion\n"
                "tributary model eval prices.onnx --data test.csv --values\n",
    .notes = "Without --metrics: accuracy and f1 of classes; mse, mae and r2 "
             "of values. Means over\nclasses are plain ones (macro); auc is "
             "that of each class against the rest.\n",
    .json = true,
    .tables = {&table},
    .run = run,
};
