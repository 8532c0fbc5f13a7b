#include <stdio.h>

#include "files.h"
#include "inspect.h"
#include "model/preprocess.h"
#include "verbs.h"

enum { TEXT_BYTES_MAX = 1 << 26 };

typedef struct options {
    uint32_t batch;
    uint64_t budget;
    char loss[WORD_BYTES];
    char optimiser[WORD_BYTES];
    double momentum;
    tb_text_list freeze, train;
} options;

static const tb_setting rows[] = {
    {.key = "batch",
     .help = "rows of a training step, and of the larger inference",
     .value = "N",
     .preset = "32",
     .min = 1,
     .max = 65536,
     .type = TB_SETTING_INT,
     TB_FIELD(options, batch)},
    {.key = "budget",
     .help = "find the largest micro-batch that trains in this memory",
     .value = "SIZE",
     .min = 1,
     .max = 1e15,
     .type = TB_SETTING_BYTES,
     TB_FIELD(options, budget)},
    {.key = "loss",
     .help = "loss to plan the training for",
     .value = "NAME",
     .preset = "softmax_cross_entropy",
     .type = TB_SETTING_TEXT,
     TB_FIELD(options, loss)},
    {.key = "optimiser",
     .help = "optimiser to plan the training for",
     .value = "NAME",
     .preset = "sgd",
     .type = TB_SETTING_TEXT,
     TB_FIELD(options, optimiser)},
    {.key = "momentum",
     .help = "momentum of sgd or rmsprop",
     .value = "X",
     .preset = "0",
     .min = 0,
     .max = 1,
     .flags = TB_SETTING_BELOW_MAX,
     .type = TB_SETTING_FLOAT,
     TB_FIELD(options, momentum)},
    {.key = "freeze",
     .help = "an initialiser, or a pattern of names such as 'features.*', that "
             "training leaves as it is; again for more",
     .value = "PATTERN",
     .type = TB_SETTING_TEXTS,
     TB_FIELD(options, freeze)},
    {.key = "train",
     .help = "a constant, or a pattern of names, that is trained though the "
             "rule takes it for one; again for more",
     .value = "PATTERN",
     .type = TB_SETTING_TEXTS,
     TB_FIELD(options, train)},
};

static const tb_setting_table table = {.env = "TRIBUTARY_",
                                       .rows = rows,
                                       .n_rows = sizeof rows / sizeof rows[0],
                                       .bytes = sizeof(options)};

static tb_rc read_options(tb_trainer_options *out, const options *o,
                          tb_err *err)
{
    *out = (tb_trainer_options){.loss = tb_loss_find(o->loss),
                                .optimiser = tb_optimiser_find(o->optimiser),
                                .batch = o->batch};
    if (out->loss == NULL) {
        return tb_fail(err, TB_E_USAGE, "--loss %s: use %s", o->loss,
                       tb_loss_names());
    }
    if (out->optimiser == NULL) {
        return tb_fail(err, TB_E_USAGE, "--optimiser %s: use %s", o->optimiser,
                       tb_optimiser_names());
    }
    out->config = out->optimiser->defaults;
    out->config.momentum = o->momentum;
    return TB_OK;
}

static tb_rc print_text(const inspection *what, tb_err *err)
{
    tb_buf text;
    tb_buf_init(&text, TEXT_BYTES_MAX);
    tb_rc rc = inspection_text(what, &text, err);
    if (rc == TB_OK) {
        (void)printf("%.*s", (int)text.len, (const char *)text.data);
    }
    tb_buf_release(&text);
    return rc;
}

static tb_rc run(tb_cli_call *call, tb_err *err)
{
    const options *o = call->values[0];
    const tb_params_rule rule = {.freeze = (const char *const *)o->freeze.at,
                                 .n_freeze = o->freeze.n,
                                 .train = (const char *const *)o->train.at,
                                 .n_train = o->train.n};
    inspect_options how = {.budget = o->budget, .rule = &rule};
    inspection what = {0};
    tb_graph *graph = NULL;
    tb_buf bytes;
    tb_buf_init(&bytes, MODEL_BYTES_MAX);
    tb_rc rc = read_options(&how.trainer, o, err);
    if (rc == TB_OK) {
        rc = read_model(&graph, call->args[0], &bytes, err);
    }
    if (rc == TB_OK) {
        rc = tb_preprocess_open_batch(graph, err);
    }
    if (rc == TB_OK) {
        rc = inspect(&what, graph, &how, err);
        if (rc != TB_OK) {
            (void)tb_err_prefix(err, rc, "%s", call->args[0]);
        }
    }
    if (rc == TB_OK) {
        what.n_bytes = bytes.len;
        what.hash = tb_hash_of(bytes.data, bytes.len);
        rc = call->json ? inspection_json(&what, err) : print_text(&what, err);
    }
    inspection_release(&what);
    tb_graph_free(&graph);
    tb_buf_release(&bytes);
    return rc;
}

const tb_verb verb_model_inspect = {
    .name = "model inspect",
    .args = "FILE",
    .min_args = 1,
    .max_args = 1,
    .help = "draw a model: nodes, shapes, parameters, FLOPs, memory",
    .examples = "tributary model inspect model.onnx\n"
                "tributary model inspect model.onnx --batch 10 --budget 8MiB\n"
                "tributary model inspect model.onnx --optimiser adam --json\n",
    .notes =
        "Each line is a node in running order: the numbers of the nodes it "
        "reads (nothing:\nthe one above; in: the model's input), its output's "
        "shape (N: the batch), the\nparameters it is the first to read, and "
        "the arithmetic operations of one row.\nMemory is what is planned: a "
        "model that trains within --budget trains in that, the\nfile's own "
        "copy of the parameters aside.\n",
    .json = true,
    .tables = {&table},
    .run = run,
};
