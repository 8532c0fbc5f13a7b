/* A client's round, and evaluation, over small data sets. */
#include "train/local.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "base/pool.h"
#include "support/check.h"
#include "support/mlp.h"
#include "train/evaluate.h"

static const size_t width[] = {4, 8, 3};
static const char *const then[] = {"Relu", NULL};
static const tb_test_mlp net = {width, 2, then};

enum { N_ROWS = 300, BATCH = 16, N_PARAMS = 4 * 8 + 8 + 8 * 3 + 3 };

/* Rows around three corners, labelled by corner. */
static tb_dataset *new_data(void)
{
    tb_err err;
    tb_stream s;
    tb_dataset *ds = NULL;
    tb_sample_spec spec = {.x_dtype = TB_F32,
                           .x_shape = TB_SHAPE(2, 2),
                           .target = TB_TARGET_CLASS,
                           .n_targets = 1,
                           .n_classes = 3};
    CHECK_OK(tb_dataset_new(&ds, &spec, N_ROWS, &err), err);
    float *x = tb_dataset_x(ds);
    int32_t *y = tb_dataset_y(ds);
    tb_stream_init(&s, 4, 0, "test", "");
    for (size_t i = 0; i < N_ROWS; i++) {
        y[i] = (int32_t)(i % 3);
        for (size_t j = 0; j < 4; j++) {
            x[i * 4 + j] = (float)(0.3 * tb_stream_normal(&s)) +
                           (j == i % 3 ? 2.0f : 0.0f);
        }
    }
    return ds;
}

static tb_trainer *new_trainer(void)
{
    tb_err err;
    tb_trainer *t = NULL;
    tb_graph *g = tb_test_mlp_new(&net, 7);
    tb_trainer_options o = {.loss = tb_loss_find("softmax_cross_entropy"),
                            .optimiser = tb_optimiser_find("sgd"),
                            .config = {.lr = 0.1, .momentum = 0.5},
                            .batch = BATCH};
    CHECK_OK(tb_trainer_new(&t, g, &o, &err), err);
    tb_graph_free(&g);
    return t;
}

static const tb_local_options three_epochs = {
    .epochs = 3, .seed = 11, .round = 2, .client = "client-00"};

typedef struct local_task {
    const tb_dataset *data;
    float params[2][N_PARAMS];
    tb_score score[2];
} local_task;

static void train_item(void *arg, size_t i, size_t worker)
{
    (void)worker;
    tb_err err;
    local_task *task = arg;
    tb_trainer *t = new_trainer();
    CHECK_OK(
        tb_train_local(t, task->data, &three_epochs, &task->score[i], &err),
        err);
    memcpy(task->params[i], tb_trainer_params(t), sizeof task->params[i]);
    tb_trainer_free(&t);
}

static void the_same_seed_gives_the_same_bits_on_any_thread(void **state)
{
    (void)state;
    tb_err err;
    local_task task = {.data = NULL};
    tb_dataset *data = new_data();
    tb_pool *pool = NULL;
    task.data = data;
    CHECK_OK(tb_pool_new(&pool, 2, &err), err);
    CHECK_OK(tb_pool_each(pool, train_item, &task, 2, &err), err);
    CHECK(memcmp(task.params[0], task.params[1], sizeof task.params[0]) == 0);
    CHECK(task.score[0].loss_sum == task.score[1].loss_sum);
    assert_int_equal(task.score[0].n_rows, 3 * N_ROWS);
    tb_pool_free(&pool);
    tb_dataset_free(&data);
}

static void another_client_sees_another_order(void **state)
{
    (void)state;
    tb_err err;
    float first[N_PARAMS];
    tb_dataset *data = new_data();
    tb_local_options o = three_epochs;
    tb_score score;
    for (int other = 0; other < 2; other++) {
        tb_trainer *t = new_trainer();
        o.client = other != 0 ? "client-01" : "client-00";
        CHECK_OK(tb_train_local(t, data, &o, &score, &err), err);
        if (other == 0) {
            memcpy(first, tb_trainer_params(t), sizeof first);
        }
        CHECK((memcmp(first, tb_trainer_params(t), sizeof first) == 0) ==
              (other == 0));
        tb_trainer_free(&t);
    }
    tb_dataset_free(&data);
}

static void training_learns_what_evaluation_then_finds(void **state)
{
    (void)state;
    tb_err err;
    tb_score before, after, own, half[2];
    tb_evaluator *e = NULL;
    const tb_evaluator_options objective = {
        .loss = tb_loss_find("softmax_cross_entropy")};
    tb_dataset *data = new_data();
    tb_graph *g = tb_test_mlp_new(&net, 7);
    tb_trainer *t = new_trainer();
    CHECK_OK(tb_evaluator_new(&e, g, &objective, &err), err);
    const float *params = tb_trainer_params(t);
    CHECK_OK(tb_evaluate(e, params, data, 0, N_ROWS, &before, &err), err);
    CHECK_OK(tb_train_local(t, data, &three_epochs, &own, &err), err);
    CHECK_OK(tb_evaluate(e, params, data, 0, N_ROWS, &after, &err), err);
    CHECK(before.n_rows == N_ROWS && after.n_rows == N_ROWS);
    CHECK(after.loss_sum < 0.2 * before.loss_sum);
    CHECK(after.n_correct > N_ROWS * 9 / 10);
    CHECK_OK(tb_evaluate(e, params, data, 0, 100, &half[0], &err), err);
    CHECK_OK(tb_evaluate(e, params, data, 100, N_ROWS, &half[1], &err), err);
    CHECK(half[0].n_correct + half[1].n_correct == after.n_correct);
    CHECK(fabs(half[0].loss_sum + half[1].loss_sum - after.loss_sum) < 1e-6);
    CHECK_OK(tb_evaluate(e, NULL, data, 0, N_ROWS, &own, &err), err);
    CHECK(own.loss_sum == before.loss_sum); /* the graph's own parameters */
    CHECK_ERR(tb_evaluate(e, NULL, data, 0, N_ROWS + 1, &own, &err), TB_E_USAGE,
              err, "300");
    tb_evaluator_free(&e);
    tb_trainer_free(&t);
    tb_graph_free(&g);
    tb_dataset_free(&data);
}

static bool stop_at_five(void *arg, size_t done, size_t total,
                         const tb_score *so_far)
{
    size_t *calls = arg;
    ++*calls;
    CHECK(total == 3 * 19 && so_far->n_rows == done * BATCH);
    return done < 5;
}

static void progress_may_stop_the_training(void **state)
{
    (void)state;
    tb_err err;
    tb_score score;
    size_t calls = 0;
    tb_dataset *data = new_data();
    tb_trainer *t = new_trainer();
    tb_local_options o = three_epochs;
    o.progress = stop_at_five;
    o.arg = &calls;
    CHECK_ERR(tb_train_local(t, data, &o, &score, &err), TB_E_CANCELLED, err,
              "5 of 57");
    assert_int_equal(calls, 5);
    o.epochs = 0;
    CHECK_ERR(tb_train_local(t, data, &o, &score, &err), TB_E_USAGE, err,
              "epochs");
    tb_trainer_free(&t);
    tb_dataset_free(&data);
}

static bool stop_at_25(void *arg, size_t done, size_t total,
                       const tb_score *so_far)
{
    (void)arg;
    (void)total;
    (void)so_far;
    return done < 25;
}

/* 57 steps at once; and 25, saved, then the rest by another trainer, under a
 * schedule that has warmed up by then. */
static void a_resumed_training_ends_in_the_same_bits(void **state)
{
    (void)state;
    tb_err err;
    tb_score score;
    size_t n = 0;
    const tb_schedule schedule = {
        .kind = TB_SCHEDULE_COSINE, .warmup = 10, .total = 57};
    tb_dataset *data = new_data();
    tb_trainer *whole = new_trainer();
    tb_trainer *first = new_trainer();
    tb_trainer *second = new_trainer();
    tb_local_options o = three_epochs;
    o.lr = 0.1;
    o.schedule = &schedule;
    CHECK_OK(tb_train_local(whole, data, &o, &score, &err), err);
    o.progress = stop_at_25;
    CHECK_ERR(tb_train_local(first, data, &o, &score, &err), TB_E_CANCELLED,
              err, "25 of 57");
    memcpy(tb_trainer_params(second), tb_trainer_params(first),
           N_PARAMS * sizeof(float));
    float *const *from = tb_trainer_states(first, &n);
    memcpy(tb_trainer_states(second, &n)[0], from[0], N_PARAMS * sizeof(float));
    o.progress = NULL;
    o.resume = true;
    o.done = 25;
    CHECK_OK(tb_train_local(second, data, &o, &score, &err), err);
    CHECK(memcmp(tb_trainer_params(whole), tb_trainer_params(second),
                 N_PARAMS * sizeof(float)) == 0);
    assert_int_equal(score.n_rows, 3 * N_ROWS - (19 + 6) * BATCH + 4);
    tb_trainer_free(&whole);
    tb_trainer_free(&first);
    tb_trainer_free(&second);
    tb_dataset_free(&data);
}

/* Whether data fits an input [16, 784] and so many columns. */
static tb_rc fit(const tb_sample_spec *spec, size_t n_cols, const tb_loss *loss,
                 tb_err *err)
{
    tb_tensor input = tb_tensor_view(TB_F32, &TB_SHAPE(16, 784), NULL);
    tb_loss_layout layout = {.n_cols = n_cols};
    return tb_fit_check(spec, &input, &layout, loss, err);
}

static void data_that_does_not_fit_is_refused_with_both_numbers(void **state)
{
    (void)state;
    tb_err err;
    const tb_loss *classes = tb_loss_find("softmax_cross_entropy");
    const tb_loss *values = tb_loss_find("mse");
    tb_sample_spec spec = {.x_dtype = TB_F32,
                           .x_shape = TB_SHAPE(28, 28),
                           .target = TB_TARGET_CLASS,
                           .n_targets = 1,
                           .n_classes = 10};
    CHECK_OK(fit(&spec, 10, classes, &err), err);
    CHECK_OK(fit(&spec, 12, classes, &err), err);
    CHECK_ERR(fit(&spec, 9, classes, &err), TB_E_MISMATCH, err, "9 outputs");
    CHECK_ERR(fit(&spec, 10, values, &err), TB_E_MISMATCH, err,
              "float targets");
    spec.x_dtype = TB_U8;
    CHECK_ERR(fit(&spec, 10, classes, &err), TB_E_MISMATCH, err, "u8");
    spec.x_dtype = TB_F32;
    spec.x_shape = TB_SHAPE(28, 27);
    CHECK_ERR(fit(&spec, 10, classes, &err), TB_E_MISMATCH, err, "756");
    spec = (tb_sample_spec){.x_dtype = TB_F32,
                            .x_shape = TB_SHAPE(784),
                            .target = TB_TARGET_VALUE,
                            .n_targets = 2};
    CHECK_OK(fit(&spec, 2, values, &err), err);
    CHECK_ERR(fit(&spec, 3, values, &err), TB_E_MISMATCH, err, "2 targets");
}

static tb_rc attempt(void *arg, tb_err *err)
{
    const tb_evaluator_options objective = {.loss = tb_loss_find("mse")};
    tb_evaluator *e = NULL;
    tb_rc rc = tb_evaluator_new(&e, arg, &objective, err);
    tb_evaluator_free(&e);
    return rc;
}

static void making_an_evaluator_survives_each_allocation_failing(void **state)
{
    (void)state;
    tb_graph *g = tb_test_mlp_new(&net, 7);
    CHECK(tb_check_each_allocation(attempt, g) > 10);
    tb_graph_free(&g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_same_seed_gives_the_same_bits_on_any_thread),
        cmocka_unit_test(another_client_sees_another_order),
        cmocka_unit_test(training_learns_what_evaluation_then_finds),
        cmocka_unit_test(progress_may_stop_the_training),
        cmocka_unit_test(a_resumed_training_ends_in_the_same_bits),
        cmocka_unit_test(data_that_does_not_fit_is_refused_with_both_numbers),
        cmocka_unit_test(making_an_evaluator_survives_each_allocation_failing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
