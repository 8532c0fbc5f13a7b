/* A client's part of a round, against the same steps done by hand. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "compress/calibrate.h"
#include "fed/strategy.h"
#include "host/job.h"
#include "model/build.h"
#include "model/onnx.h"
#include "support/check.h"
#include "train/evaluate.h"
#include "train/local.h"
#include "unit/work/prepared.h"
#include "work/local.h"
#include "work/model.h"

enum { N_ROWS = 50, N_IN = 4, N_CLASSES = 3, N_PARAMS = 4 * 5 + 5 + 5 * 3 + 3 };

static const char job_text[] = "name: j\n"
                               "model: {new: 'mlp:4-5-3'}\n"
                               "data: {set: d, reader: csv}\n"
                               "loss: softmax_cross_entropy\n"
                               "optimiser: {kind: sgd, lr: 0.2}\n"
                               "batch: 8\n"
                               "local_epochs: 2\n"
                               "rounds: 1\n"
                               "cohort: {target: 1, minimum: 1}\n"
                               "seed: 5\n";

typedef struct fixture {
    tb_job job;
    tb_round_config config;
    tb_dataset *data;
    tb_buf model;
    float values[N_PARAMS + 1];
    uint32_t weight;
} fixture;

static void make_data(fixture *f)
{
    tb_err err;
    tb_sample_spec spec = {.x_dtype = TB_F32,
                           .x_shape = TB_SHAPE(N_IN),
                           .target = TB_TARGET_CLASS,
                           .n_targets = 1,
                           .n_classes = N_CLASSES};
    CHECK_OK(tb_dataset_new(&f->data, &spec, N_ROWS, &err), err);
    float *x = tb_dataset_x(f->data);
    int32_t *y = tb_dataset_y(f->data);
    for (size_t i = 0; i < N_ROWS; i++) {
        y[i] = (int32_t)(i % N_CLASSES);
        for (size_t j = 0; j < N_IN; j++) {
            x[i * N_IN + j] =
                (float)((i * 5 + j * 3) % 13) / 13.0F + (float)y[i];
        }
    }
}

static void setup(fixture *f, tb_task task)
{
    tb_err err;
    tb_buf text;
    memset(f, 0, sizeof *f);
    tb_buf_init(&f->model, 1 << 20);
    tb_buf_init(&text, TB_JOB_BYTES_MAX);
    CHECK_OK(tb_job_read(&f->job, job_text, strlen(job_text), "job", &err),
             err);
    CHECK_OK(tb_job_encode(&f->job, TB_JOB_FOR_CLIENTS, &text, &err), err);
    memcpy(f->config.job_text, text.data, text.len);
    f->config.n_job = text.len;
    tb_buf_release(&text);
    prepare(&f->model, &f->job, NULL);
    make_data(f);
    f->config.task = task;
    f->config.round = 3;
    f->config.seed = 5;
    f->config.max_abs = 10.0F;
    f->config.max_weight = 1000;
    const tb_strategy_sizes sizes = {.n_params = N_PARAMS, .n_observed = 2};
    f->config.n_sections = tb_strategy_sections(
        tb_strategy_find("fedavg"), task, f->config.sections, &sizes);
}

static void teardown(fixture *f)
{
    tb_dataset_free(&f->data);
    tb_job_release(&f->job);
    tb_buf_release(&f->model);
}

static tb_rc run(fixture *f, const char *client, const atomic_bool *stop,
                 tb_err *err)
{
    const tb_local_work work = {.config = &f->config,
                                .client = client,
                                .model = &f->model,
                                .data = f->data,
                                .stop = stop};
    return tb_local_run(&work, f->values, &f->weight, err);
}

static void training_sends_what_the_same_steps_by_hand_give(void **state)
{
    (void)state;
    tb_err err;
    fixture f;
    tb_graph *graph = NULL;
    tb_trainer *t = NULL;
    tb_score score = {0};
    float start[N_PARAMS];
    setup(&f, TB_TASK_TRAIN);
    CHECK_OK(run(&f, "a", NULL, &err), err);
    const tb_trainer_options options = {
        .loss = tb_loss_find("softmax_cross_entropy"),
        .optimiser = tb_optimiser_find("sgd"),
        .config = {.lr = 0.2},
        .batch = 8,
        .chance_seed = 5};
    const tb_local_options local = {
        .epochs = 2, .seed = 5, .round = 3, .client = "a"};
    CHECK_OK(tb_work_read(&graph, &f.job, &f.model, &err), err);
    CHECK_OK(tb_params_get(graph, start, N_PARAMS, &err), err);
    CHECK_OK(tb_trainer_new(&t, graph, &options, &err), err);
    CHECK_OK(tb_train_local(t, f.data, &local, &score, &err), err);
    for (size_t i = 0; i < N_PARAMS; i++) {
        CHECK(f.values[i] == tb_trainer_params(t)[i] - start[i]);
    }
    CHECK(f.values[N_PARAMS] == (float)(score.loss_sum / (2.0 * N_ROWS)));
    CHECK(f.weight == N_ROWS);
    tb_trainer_free(&t);
    tb_graph_free(&graph);
    teardown(&f);
}

static void another_client_sees_its_rows_in_another_order(void **state)
{
    (void)state;
    tb_err err;
    fixture f;
    float first[N_PARAMS + 1];
    setup(&f, TB_TASK_TRAIN);
    CHECK_OK(run(&f, "a", NULL, &err), err);
    memcpy(first, f.values, sizeof first);
    CHECK_OK(run(&f, "b", NULL, &err), err);
    CHECK(memcmp(first, f.values, sizeof first) != 0);
    CHECK_OK(run(&f, "a", NULL, &err), err);
    CHECK(memcmp(first, f.values, sizeof first) == 0);
    teardown(&f);
}

static void a_weight_is_capped_as_the_round_says(void **state)
{
    (void)state;
    tb_err err;
    fixture f;
    setup(&f, TB_TASK_TRAIN);
    f.config.max_weight = N_ROWS - 1;
    CHECK_OK(run(&f, "a", NULL, &err), err);
    CHECK(f.weight == N_ROWS - 1);
    teardown(&f);
}

static void a_masked_round_leaves_zeros_alone(void **state)
{
    (void)state;
    tb_err err;
    fixture f;
    tb_graph *graph = NULL;
    float params[N_PARAMS];
    setup(&f, TB_TASK_TRAIN);
    CHECK_OK(tb_work_read(&graph, &f.job, &f.model, &err), err);
    CHECK_OK(tb_params_get(graph, params, N_PARAMS, &err), err);
    params[0] = params[7] = 0.0F;
    CHECK_OK(tb_params_set(graph, params, N_PARAMS, &err), err);
    f.model.len = 0;
    CHECK_OK(tb_onnx_write(&f.model, graph, &err), err);
    CHECK_OK(run(&f, "a", NULL, &err), err);
    CHECK(f.values[0] != 0.0F && f.values[7] != 0.0F);
    f.config.masked = true;
    CHECK_OK(run(&f, "a", NULL, &err), err);
    CHECK(f.values[0] == 0.0F && f.values[7] == 0.0F && f.values[1] != 0.0F);
    tb_graph_free(&graph);
    teardown(&f);
}

static void training_that_leaves_its_bounds_is_refused(void **state)
{
    (void)state;
    tb_err err;
    fixture f;
    setup(&f, TB_TASK_TRAIN);
    f.config.max_abs = 1e-4F;
    CHECK_ERR(run(&f, "a", NULL, &err), TB_E_REFUSED, err, "learning rate");
    teardown(&f);
}

static void a_stopped_job_is_cancelled(void **state)
{
    (void)state;
    tb_err err;
    fixture f;
    atomic_bool stop = true;
    setup(&f, TB_TASK_TRAIN);
    CHECK(run(&f, "a", &stop, &err) == TB_E_CANCELLED);
    teardown(&f);
}

static void a_round_for_another_model_does_not_fit(void **state)
{
    (void)state;
    tb_err err;
    fixture f;
    setup(&f, TB_TASK_TRAIN);
    f.config.sections[0].n_values = N_PARAMS - 1;
    CHECK_ERR(run(&f, "a", NULL, &err), TB_E_MISMATCH, err, "parameters");
    teardown(&f);
}

static void an_evaluation_sends_loss_and_accuracy(void **state)
{
    (void)state;
    tb_err err;
    fixture f;
    tb_graph *graph = NULL;
    tb_evaluator *e = NULL;
    tb_score score = {0};
    setup(&f, TB_TASK_EVALUATE);
    CHECK_OK(run(&f, "a", NULL, &err), err);
    CHECK_OK(tb_work_read(&graph, &f.job, &f.model, &err), err);
    const tb_evaluator_options options = {.loss = tb_loss_find(f.job.loss)};
    CHECK_OK(tb_evaluator_new(&e, graph, &options, &err), err);
    CHECK_OK(tb_evaluate(e, NULL, f.data, 0, N_ROWS, &score, &err), err);
    CHECK(f.values[0] == (float)(score.loss_sum / N_ROWS));
    CHECK(f.values[1] == (float)score.n_correct / N_ROWS);
    tb_evaluator_free(&e);
    tb_graph_free(&graph);
    teardown(&f);
}

static void a_calibration_sends_the_ranges_of_activations(void **state)
{
    (void)state;
    tb_err err;
    fixture f;
    setup(&f, TB_TASK_CALIBRATE);
    CHECK_OK(run(&f, "a", NULL, &err), err);
    /* The first watched value is the input itself: rows of x. */
    CHECK(f.values[0] == 0.0F);
    CHECK(f.values[2] > 2.0F && f.values[2] < 3.0F);
    CHECK(f.values[1] >= 0.0F); /* behind a Relu */
    CHECK(f.values[3] > f.values[1]);
    teardown(&f);
}

static tb_rc attempt(void *arg, tb_err *err)
{
    return run(arg, "a", NULL, err);
}

static void survives_each_allocation_failing(void **state)
{
    (void)state;
    fixture f;
    setup(&f, TB_TASK_TRAIN);
    CHECK(tb_check_each_allocation(attempt, &f) > 10);
    teardown(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(training_sends_what_the_same_steps_by_hand_give),
        cmocka_unit_test(another_client_sees_its_rows_in_another_order),
        cmocka_unit_test(a_weight_is_capped_as_the_round_says),
        cmocka_unit_test(a_masked_round_leaves_zeros_alone),
        cmocka_unit_test(training_that_leaves_its_bounds_is_refused),
        cmocka_unit_test(a_stopped_job_is_cancelled),
        cmocka_unit_test(a_round_for_another_model_does_not_fit),
        cmocka_unit_test(an_evaluation_sends_loss_and_accuracy),
        cmocka_unit_test(a_calibration_sends_the_ranges_of_activations),
        cmocka_unit_test(survives_each_allocation_failing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
