#include <stdio.h>

#include "files.h"
#include "host/json.h"
#include "train/evaluate.h"
#include "verbs.h"

typedef struct options {
    data_options data;
    char loss[WORD_BYTES];
} options;

static const tb_setting rows[] = {
    DATA_ROWS(options),
    {.key = "loss",
     .help = "softmax_cross_entropy or mse",
     .value = "NAME",
     .preset = "softmax_cross_entropy",
     .type = TB_SETTING_TEXT,
     TB_FIELD(options, loss)},
};

static const tb_setting_table table = {.env = "TRIBUTARY_",
                                       .rows = rows,
                                       .n_rows = sizeof rows / sizeof rows[0],
                                       .bytes = sizeof(options)};

static tb_rc print(const tb_score *score, const tb_loss *loss, bool json,
                   tb_err *err)
{
    double mean = score->loss_sum / (double)score->n_rows;
    double accuracy = (double)score->n_correct / (double)score->n_rows;
    bool has_accuracy = loss->target == TB_TARGET_CLASS;
    if (!json) {
        (void)printf("loss      %.6f\n", mean);
        if (has_accuracy) {
            (void)printf("accuracy  %.4f\n", accuracy);
        }
        (void)printf("rows      %zu\n", score->n_rows);
        return TB_OK;
    }
    tb_json *o = tb_json_object();
    tb_rc rc = tb_json_put_float(o, "loss", mean, err);
    if (rc == TB_OK && has_accuracy) {
        rc = tb_json_put_float(o, "accuracy", accuracy, err);
    }
    if (rc == TB_OK) {
        rc = tb_json_put_int(o, "rows", (int64_t)score->n_rows, err);
    }
    if (rc == TB_OK) {
        rc = tb_json_print(o, err);
    }
    tb_json_free(&o);
    return rc;
}

static tb_rc run(tb_cli_call *call, tb_err *err)
{
    const options *o = call->values[0];
    const tb_loss *loss = tb_loss_find(o->loss);
    tb_graph *graph = NULL;
    tb_dataset *data = NULL;
    tb_evaluator *e = NULL;
    tb_score score = {0};
    if (loss == NULL) {
        return tb_fail(err, TB_E_USAGE,
                       "--loss %s: use softmax_cross_entropy or mse", o->loss);
    }
    tb_rc rc = read_model(&graph, call->args[0], NULL, err);
    if (rc == TB_OK) {
        rc = read_data(&data, &o->data, err);
    }
    if (rc == TB_OK) {
        rc = tb_evaluator_new(&e, graph, &(tb_evaluator_options){.loss = loss},
                              err);
    }
    if (rc == TB_OK) {
        rc = tb_evaluate(e, NULL, data, 0, tb_dataset_rows(data), &score, err);
    }
    if (rc == TB_OK) {
        rc = print(&score, loss, call->json, err);
    }
    tb_evaluator_free(&e);
    tb_dataset_free(&data);
    tb_graph_free(&graph);
    return rc;
}

const tb_verb verb_model_eval = {
    .name = "model eval",
    .args = "FILE",
    .min_args = 1,
    .max_args = 1,
    .help = "measure loss and accuracy of a model on data of this machine",
    .examples = "tributary model eval model.onnx --data test/\n",
    .json = true,
    .tables = {&table},
    .run = run,
};
