#include <math.h>
#include <stdio.h>

#include "base/clock.h"
#include "files.h"
#include "host/term.h"
#include "model/preprocess.h"
#include "train/evaluate.h"
#include "train/local.h"
#include "verbs.h"

typedef struct options {
    data_options data;
    char output[PATH_BYTES];
    uint32_t epochs, batch;
    uint64_t seed;
    char loss[WORD_BYTES];
    double lr, momentum, weight_decay;
    bool nesterov;
    float scale;
    char test[PATH_BYTES];
} options;

static const tb_setting rows[] = {
    DATA_ROWS(options),
    {.key = "output",
     .help = "file to write; else FILE itself",
     .value = "FILE",
     .type = TB_SETTING_PATH,
     .letter = 'o',
     TB_FIELD(options, output)},
    {.key = "epochs",
     .help = "passes over the data",
     .value = "N",
     .preset = "1",
     .min = 1,
     .max = 1e6,
     .type = TB_SETTING_INT,
     TB_FIELD(options, epochs)},
    {.key = "batch",
     .help = "rows a step",
     .value = "N",
     .preset = "32",
     .min = 1,
     .max = 65536,
     .type = TB_SETTING_INT,
     TB_FIELD(options, batch)},
    {.key = "loss",
     .help = "softmax_cross_entropy or mse",
     .value = "NAME",
     .preset = "softmax_cross_entropy",
     .type = TB_SETTING_TEXT,
     TB_FIELD(options, loss)},
    {.key = "lr",
     .help = "learning rate of SGD",
     .value = "RATE",
     .preset = "0.1",
     .min = 0,
     .max = 1000,
     .flags = TB_SETTING_ABOVE_MIN,
     .type = TB_SETTING_FLOAT,
     TB_FIELD(options, lr)},
    {.key = "momentum",
     .help = "momentum of SGD",
     .value = "X",
     .preset = "0",
     .min = 0,
     .max = 1,
     .flags = TB_SETTING_BELOW_MAX,
     .type = TB_SETTING_FLOAT,
     TB_FIELD(options, momentum)},
    {.key = "nesterov",
     .help = "Nesterov's form of momentum",
     .type = TB_SETTING_BOOL,
     TB_FIELD(options, nesterov)},
    {.key = "weight-decay",
     .help = "L2 penalty",
     .value = "X",
     .preset = "0",
     .min = 0,
     .max = 1000,
     .type = TB_SETTING_FLOAT,
     TB_FIELD(options, weight_decay)},
    {.key = "seed",
     .help = "decides the order of rows",
     .value = "N",
     .preset = "1",
     .type = TB_SETTING_INT,
     TB_FIELD(options, seed)},
    {.key = "scale",
     .help = "let a float model take raw data times this, such as 1/255",
     .value = "X",
     .min = 0,
     .max = 1e9,
     .type = TB_SETTING_FLOAT,
     TB_FIELD(options, scale)},
    {.key = "test",
     .help = "data to measure on when training ends, of the same format",
     .value = "PATH",
     .type = TB_SETTING_PATH,
     TB_FIELD(options, test)},
};

static const tb_setting_table table = {.env = "TRIBUTARY_",
                                       .rows = rows,
                                       .n_rows = sizeof rows / sizeof rows[0],
                                       .bytes = sizeof(options)};

/* What the progress line needs. */
typedef struct progress {
    tb_term term;
    size_t per_epoch; /* steps */
    tb_score before;  /* at the start of this epoch */
    int64_t began_ms;
    bool classes; /* else accuracy says nothing */
} progress;

static bool show(void *arg, size_t done, size_t total, const tb_score *so_far)
{
    progress *p = arg;
    double rows_done = (double)(so_far->n_rows - p->before.n_rows);
    double loss = (so_far->loss_sum - p->before.loss_sum) / rows_done;
    double right =
        (double)(so_far->n_correct - p->before.n_correct) / rows_done;
    if (done % p->per_epoch != 0) {
        if (done % 64 == 0) {
            tb_term_progress(&p->term, "step %zu of %zu, loss %.4f", done,
                             total, loss);
        }
        return true;
    }
    double seconds = (double)(tb_clock_ms() - p->began_ms) / 1000.0;
    if (p->classes) {
        tb_term_line(&p->term, "epoch %zu: loss %.4f, accuracy %.4f, %.1f s",
                     done / p->per_epoch, loss, right, seconds);
    } else {
        tb_term_line(&p->term, "epoch %zu: loss %.6g, %.1f s",
                     done / p->per_epoch, loss, seconds);
    }
    p->before = *so_far;
    return true;
}

/* Scaling nodes in front, so that the model takes the data as it lies there. */
static tb_rc scale_input(tb_graph *graph, const options *o,
                         const tb_dataset *data, tb_err *err)
{
    const tb_scaling scaling = {
        .raw = tb_dataset_spec(data)->x_dtype, .scale = o->scale, .n = 1};
    if (!(o->scale > 0.0f)) {
        return TB_OK;
    }
    return tb_preprocess_scale(graph, &scaling, err);
}

static tb_rc new_trainer(tb_trainer **out, const tb_graph *graph,
                         const options *o, tb_err *err)
{
    const tb_trainer_options trainer = {
        .loss = tb_loss_find(o->loss),
        .optimiser = tb_optimiser_find("sgd"),
        .config = {.lr = o->lr,
                   .momentum = o->momentum,
                   .weight_decay = o->weight_decay,
                   .nesterov = o->nesterov},
        .batch = o->batch,
        .chance_seed = o->seed};
    if (trainer.loss == NULL) {
        return tb_fail(err, TB_E_USAGE,
                       "--loss %s: use softmax_cross_entropy or mse", o->loss);
    }
    return tb_trainer_new(out, graph, &trainer, err);
}

static tb_rc train(tb_graph *graph, const tb_dataset *data, const options *o,
                   tb_err *err)
{
    size_t n_rows = tb_dataset_rows(data);
    progress p = {.per_epoch = (n_rows + o->batch - 1) / o->batch,
                  .began_ms = tb_clock_ms(),
                  .classes = !o->data.values};
    const tb_local_options local = {.epochs = o->epochs,
                                    .seed = o->seed,
                                    .client = "",
                                    .progress = show,
                                    .arg = &p};
    tb_trainer *t = NULL;
    tb_score score = {0};
    tb_term_init(&p.term, stdout);
    tb_rc rc = new_trainer(&t, graph, o, err);
    if (rc == TB_OK) {
        rc = tb_train_local(t, data, &local, &score, err);
        tb_term_clear(&p.term);
    }
    if (rc == TB_OK && !isfinite(score.loss_sum)) {
        rc = tb_fail(err, TB_E_REFUSED,
                     "training diverged (the loss is no number any more): "
                     "lower --lr; nothing was written");
    }
    if (rc == TB_OK) {
        rc = tb_params_set(graph, tb_trainer_params(t), tb_trainer_n_params(t),
                           err);
    }
    tb_trainer_free(&t);
    return rc;
}

static tb_rc test(const tb_graph *graph, const options *o, tb_err *err)
{
    data_options where = o->data;
    tb_dataset *data = NULL;
    tb_evaluator *e = NULL;
    tb_score score = {0};
    if (o->test[0] == '\0') {
        return TB_OK;
    }
    (void)snprintf(where.path, sizeof where.path, "%s", o->test);
    where.labels[0] = '\0';
    tb_rc rc = read_data(&data, &where, err);
    if (rc == TB_OK) {
        rc = tb_evaluator_new(
            &e, graph, &(tb_evaluator_options){.loss = tb_loss_find(o->loss)},
            err);
    }
    if (rc == TB_OK) {
        rc = tb_evaluate(e, NULL, data, 0, tb_dataset_rows(data), &score, err);
    }
    if (rc == TB_OK) {
        (void)printf("test: loss %.4f", score.loss_sum / (double)score.n_rows);
        if (!o->data.values) {
            (void)printf(", accuracy %.4f",
                         (double)score.n_correct / (double)score.n_rows);
        }
        (void)printf(" on %zu rows\n", score.n_rows);
    }
    tb_evaluator_free(&e);
    tb_dataset_free(&data);
    return rc;
}

static tb_rc run(tb_cli_call *call, tb_err *err)
{
    const options *o = call->values[0];
    const char *output = o->output[0] != '\0' ? o->output : call->args[0];
    tb_graph *graph = NULL;
    tb_dataset *data = NULL;
    model_file file = {0};
    tb_rc rc = read_model(&graph, call->args[0], NULL, err);
    if (rc == TB_OK) {
        rc = read_data(&data, &o->data, err);
    }
    if (rc == TB_OK) {
        rc = scale_input(graph, o, data, err);
    }
    if (rc == TB_OK) {
        rc = train(graph, data, o, err);
    }
    if (rc == TB_OK) {
        rc = write_model(graph, output, &file, err);
    }
    if (rc == TB_OK) {
        print_written(output, &file);
        rc = test(graph, o, err);
    }
    tb_dataset_free(&data);
    tb_graph_free(&graph);
    return rc;
}

const tb_verb verb_model_train = {
    .name = "model train",
    .args = "FILE",
    .min_args = 1,
    .max_args = 1,
    .help = "train a model on data of this machine, without a coordinator",
    .examples =
        "tributary model train model.onnx --data train/ --scale 1/255 "
        "--epochs 5\n"
        "tributary model train m.onnx --data flowers.csv --classes rose "
        "--classes tulip -o trained.onnx\n",
    .notes = "--scale writes the scaling into the model, once: a model that "
             "has it takes raw data\nfrom then on, and is trained further "
             "without the flag.\n",
    .tables = {&table},
    .run = run,
};
