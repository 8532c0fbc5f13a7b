#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "files.h"
#include "host/term.h"
#include "model/params.h"
#include "model/preprocess.h"
#include "resume.h"
#include "train/evaluate.h"
#include "train_flags.h"
#include "verbs.h"

#define SHOW_EVERY_MS 200 /* the progress line, on a terminal */

typedef struct options {
    data_options data;
    loss_flags loss;
    step_flags step;
    char output[PATH_BYTES];
    uint32_t epochs, batch, micro_batch;
    tb_text_list freeze, train;
    bool external;
    uint64_t seed;
    float scale;
    char test[PATH_BYTES];
    checkpoint_flags checkpoint;
} options;

/* LOCAL: may differ when a training is resumed. */
static const tb_setting rows[] = {
    DATA_ROWS(options),
    {.key = "output",
     .help = "file to write; else FILE itself",
     .value = "FILE",
     .flags = TB_SETTING_LOCAL,
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
    {.key = "micro-batch",
     .help = "rows at a time, for less memory; the gradients of a step add up",
     .value = "N",
     .max = 65536,
     .type = TB_SETTING_INT,
     TB_FIELD(options, micro_batch)},
    LOSS_ROWS(options),
    STEP_ROWS(options),
    {.key = "freeze",
     .help = "parameter to leave as it is; * and ? stand for any; again for "
             "more",
     .value = "PATTERN",
     .type = TB_SETTING_TEXTS,
     TB_FIELD(options, freeze)},
    {.key = "train",
     .help = "constant to train as well; again for more",
     .value = "PATTERN",
     .type = TB_SETTING_TEXTS,
     TB_FIELD(options, train)},
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
     .flags = TB_SETTING_LOCAL,
     .type = TB_SETTING_PATH,
     TB_FIELD(options, test)},
    CHECKPOINT_ROWS(options),
    EXTERNAL_ROW(options),
};

static const tb_setting_table table = {.env = "TRIBUTARY_",
                                       .rows = rows,
                                       .n_rows = sizeof rows / sizeof rows[0],
                                       .bytes = sizeof(options)};

/* All that a training works on. */
typedef struct training {
    const options *o;
    const tb_settings *settings;
    tb_graph *graph;
    tb_dataset *data;
    tb_evaluator_options objective;
    const tb_optimiser *optimiser;
    tb_opt_config config;
    tb_trainer *trainer;
    saver saver;
    /* What the progress line needs. */
    tb_term term;
    size_t per_epoch; /* steps */
    size_t first;     /* steps done before this run */
    tb_score before;  /* of this run, at the start of this epoch */
    tb_score carried; /* of this epoch, before this run */
    int64_t began_ms;
    int64_t shown_ms; /* since then: the line that stands there */
} training;

/* --- progress ------------------------------------------------------------- */

/* What this epoch has scored so far. */
static tb_score epoch_score(const training *t, const tb_score *so_far)
{
    const tb_score *a = &t->carried;
    const tb_score *b = &t->before;
    return (tb_score){
        .n_rows = a->n_rows + so_far->n_rows - b->n_rows,
        .n_counted = a->n_counted + so_far->n_counted - b->n_counted,
        .n_correct = a->n_correct + so_far->n_correct - b->n_correct,
        .weight = a->weight + (so_far->weight - b->weight),
        .loss_sum = a->loss_sum + (so_far->loss_sum - b->loss_sum)};
}

/* "1 h 02 min", "3 min 20 s", "8 s". */
static void write_time(char out[32], double seconds)
{
    unsigned long s = (unsigned long)(seconds + 0.5);
    if (s >= 3600) {
        (void)snprintf(out, 32, "%lu h %02lu min", s / 3600, s / 60 % 60);
    } else if (s >= 60) {
        (void)snprintf(out, 32, "%lu min %02lu s", s / 60, s % 60);
    } else {
        (void)snprintf(out, 32, "%lu s", s);
    }
}

static void show_step(training *t, size_t done, size_t total,
                      const tb_score *epoch, double speed)
{
    char left[32];
    double rows_left = (double)(total - done) / (double)t->per_epoch *
                       (double)tb_dataset_rows(t->data);
    write_time(left, rows_left / speed);
    tb_term_progress(&t->term,
                     "step %zu of %zu, loss %.4f, %.0f samples/s, %s left",
                     done, total, tb_score_loss(epoch), speed, left);
}

static void show_epoch(training *t, size_t done, const tb_score *epoch,
                       double speed)
{
    char took[32];
    write_time(took, (double)(tb_clock_ms() - t->began_ms) / 1000.0);
    if (epoch->n_counted > 0) {
        tb_term_line(&t->term,
                     "epoch %zu: loss %.4f, accuracy %.4f, %.0f samples/s, %s",
                     done / t->per_epoch, tb_score_loss(epoch),
                     tb_score_accuracy(epoch), speed, took);
    } else {
        tb_term_line(&t->term, "epoch %zu: loss %.6g, %.0f samples/s, %s",
                     done / t->per_epoch, tb_score_loss(epoch), speed, took);
    }
}

/* Writes a checkpoint if it is time. A full disk does not end a training: it
 * is said, and the last good checkpoint stays. */
static void keep(training *t, size_t done, const tb_score *epoch, bool now)
{
    const tb_progress progress = {.steps = done,
                                  .seed = t->o->seed,
                                  .n_rows = tb_dataset_rows(t->data),
                                  .epoch = *epoch};
    tb_err err = {0};
    if (!now && !saver_is_due(&t->saver, done, done % t->per_epoch == 0)) {
        return;
    }
    tb_rc rc = saver_write(&t->saver, t->trainer, t->graph, &progress, &err);
    if (rc != TB_OK) {
        tb_term_line(&t->term, "no checkpoint at step %zu: %s", done, err.text);
    }
}

static bool after_step(void *arg, size_t done, size_t total,
                       const tb_score *so_far)
{
    training *t = arg;
    bool stop = saver_asked_to_stop(&t->saver);
    int64_t ms = tb_clock_ms() - t->began_ms;
    double speed = (double)so_far->n_rows * 1000.0 / (double)(ms > 0 ? ms : 1);
    tb_score epoch = epoch_score(t, so_far);
    if (!isfinite(so_far->loss_sum)) {
        return false; /* it will not come back */
    }
    if (done % t->per_epoch == 0) {
        show_epoch(t, done, &epoch, speed);
        t->before = *so_far;
        t->carried = epoch = (tb_score){0};
    } else if (ms - t->shown_ms >= SHOW_EVERY_MS) {
        t->shown_ms = ms;
        show_step(t, done, total, &epoch, speed);
    }
    keep(t, done, &epoch, stop);
    return !stop;
}

/* --- training ------------------------------------------------------------- */

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

static tb_rc assign(tb_graph *graph, const options *o, tb_err *err)
{
    const tb_params_rule rule = {.freeze = (const char *const *)o->freeze.at,
                                 .n_freeze = o->freeze.n,
                                 .train = (const char *const *)o->train.at,
                                 .n_train = o->train.n};
    return tb_params_assign(graph, &rule, err);
}

static tb_rc new_trainer(training *t, tb_err *err)
{
    const options *o = t->o;
    tb_trainer_options trainer = {.loss = t->objective.loss,
                                  .loss_options = t->objective.loss_options,
                                  .n_labels = t->objective.n_labels,
                                  .optimiser = t->optimiser,
                                  .config = t->config,
                                  .clip = o->step.clip,
                                  .batch = o->batch,
                                  .micro_batch = o->micro_batch,
                                  .chance_seed = o->seed};
    return tb_trainer_new(&t->trainer, t->graph, &trainer, err);
}

/* Flags and model first: what is wrong with them is said before the data are
 * read. */
static tb_rc load(training *t, options *o, const char *path, tb_err *err)
{
    tb_rc rc = optimiser_from_flags(&t->optimiser, &t->config, &o->step,
                                    t->settings, err);
    if (rc == TB_OK) {
        rc = ignore_labels(&o->data, &o->loss, err);
    }
    if (rc == TB_OK) {
        rc = read_model(&t->graph, path, NULL, err);
    }
    if (rc == TB_OK) {
        rc = name_classes(&o->data, t->graph, err);
    }
    if (rc == TB_OK) {
        rc = read_data(&t->data, &o->data, err);
    }
    return rc == TB_OK ? loss_from_flags(&t->objective, &o->loss,
                                         tb_dataset_spec(t->data), err)
                       : rc;
}

/* The model as the file has it, or as the checkpoint has it; and what of it is
 * to be trained. */
static tb_rc prepare(training *t, tb_checkpoint *c, tb_err *err)
{
    const options *o = t->o;
    tb_rc rc = TB_OK;
    if (o->checkpoint.resume) {
        rc = saver_read(&t->saver, c, o->seed, tb_dataset_rows(t->data), err);
        if (rc == TB_OK) {
            tb_graph_free(&t->graph);
            t->graph = c->graph;
            c->graph = NULL;
        }
    } else {
        rc = scale_input(t->graph, o, t->data, err);
        if (rc == TB_OK) {
            rc = tb_preprocess_open_batch(t->graph, err);
        }
        if (rc == TB_OK && o->data.classes.n > 0 && !o->data.values) {
            rc = tb_preprocess_set_classes(
                t->graph, (const char *const *)o->data.classes.at,
                o->data.classes.n, err);
        }
    }
    return rc == TB_OK ? assign(t->graph, o, err) : rc;
}

static tb_rc run_epochs(training *t, const tb_checkpoint *c, tb_err *err)
{
    const options *o = t->o;
    tb_score score = {0};
    size_t n_rows = tb_dataset_rows(t->data);
    t->per_epoch = (n_rows - 1) / o->batch + 1;
    t->began_ms = tb_clock_ms();
    const tb_schedule schedule =
        schedule_from_flags(&o->step, (uint64_t)o->epochs * t->per_epoch);
    const tb_local_options local = {.epochs = o->epochs,
                                    .resume = o->checkpoint.resume,
                                    .done = (size_t)c->progress.steps,
                                    .lr = t->config.lr,
                                    .schedule = &schedule,
                                    .seed = o->seed,
                                    .client = "",
                                    .progress = after_step,
                                    .arg = t};
    t->carried = c->progress.epoch;
    tb_rc rc = tb_train_local(t->trainer, t->data, &local, &score, err);
    tb_term_clear(&t->term);
    if ((rc == TB_OK || rc == TB_E_CANCELLED) && !isfinite(score.loss_sum)) {
        return tb_fail(
            err, TB_E_REFUSED,
            "training diverged (the loss is no number any more): "
            "lower --lr, or give --clip-norm 1; nothing was written");
    }
    if (rc == TB_E_CANCELLED) {
        return saver_explain_stop(&t->saver, rc, err);
    }
    return rc == TB_OK ? tb_trainer_store(t->trainer, t->graph, err) : rc;
}

static tb_rc train(training *t, tb_err *err)
{
    tb_checkpoint c = {0};
    tb_rc rc = prepare(t, &c, err);
    if (rc == TB_OK) {
        rc = new_trainer(t, err);
    }
    if (rc == TB_OK && t->o->checkpoint.resume) {
        rc = tb_checkpoint_restore(&c, t->trainer, err);
    }
    if (rc == TB_OK) {
        rc = run_epochs(t, &c, err);
    }
    tb_checkpoint_release(&c);
    return rc;
}

static tb_rc test(const training *t, tb_err *err)
{
    data_options where = t->o->data;
    tb_dataset *data = NULL;
    tb_evaluator *e = NULL;
    tb_score score = {0};
    if (t->o->test[0] == '\0') {
        return TB_OK;
    }
    (void)snprintf(where.path, sizeof where.path, "%s", t->o->test);
    where.labels[0] = '\0';
    tb_rc rc = read_data(&data, &where, err);
    if (rc == TB_OK) {
        rc = tb_evaluator_new(&e, t->graph, &t->objective, err);
    }
    if (rc == TB_OK) {
        rc = tb_evaluate(e, NULL, data, 0, tb_dataset_rows(data), &score, err);
    }
    if (rc == TB_OK) {
        (void)printf("test: loss %.4f", tb_score_loss(&score));
        if (score.n_counted > 0) {
            (void)printf(", accuracy %.4f", tb_score_accuracy(&score));
        }
        (void)printf(" on %zu rows\n", score.n_rows);
    }
    tb_evaluator_free(&e);
    tb_dataset_free(&data);
    return rc;
}

static tb_rc run(tb_cli_call *call, tb_err *err)
{
    options *o = call->values[0];
    const char *output = o->output[0] != '\0' ? o->output : call->args[0];
    training t = {.o = o, .settings = &call->settings[0]};
    model_file file = {0};
    tb_term_init(&t.term, stdout);
    tb_rc rc = check_output(output, err);
    if (rc == TB_OK) {
        rc = saver_init(&t.saver, &o->checkpoint, output, t.settings, err);
    }
    if (rc == TB_OK) {
        rc = load(&t, o, call->args[0], err);
    }
    if (rc == TB_OK) {
        rc = train(&t, err);
    }
    if (rc == TB_OK) {
        rc = write_model_apart(t.graph, output, o->external, &file, err);
    }
    if (rc == TB_OK) {
        saver_done(&t.saver);
        print_written(output, &file);
        rc = test(&t, err);
    }
    saver_release(&t.saver);
    tb_trainer_free(&t.trainer);
    tb_dataset_free(&t.data);
    tb_graph_free(&t.graph);
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
        "--classes tulip -o trained.onnx\n"
        "tributary model train m.onnx --data train/ --optimiser adamw "
        "--schedule cosine --warmup-steps 100 --clip-norm 1 --epochs 20\n"
        "tributary model train m.onnx --data train/ --freeze 'features.*'\n",
    .notes = "--scale writes the scaling into the model, once: a model that "
             "has it takes raw data\nfrom then on, and is trained further "
             "without the flag.\n--classes are written into it as well: later "
             "commands know them.\n\nA training that ends before its time goes "
             "on with the same flags and --resume, and\nends in the same "
             "bits. Its checkpoint lies beside the output until then.\n",
    .tables = {&table},
    .run = run,
};
