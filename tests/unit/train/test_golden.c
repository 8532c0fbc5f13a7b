/* Training against PyTorch from the same start: curves and gradients that
 * tests/golden/train/make.py made. */
#include <math.h>

#include "base/mem.h"
#include "support/golden.h"
#include "support/mlp.h"
#include "train/trainer.h"

static const size_t linear_width[] = {10, 20, 10};
static const char *const linear_then[] = {NULL, NULL};
static const tb_test_mlp linear = {linear_width, 2, linear_then};
static const size_t mlp_width[] = {12, 16, 9, 4};
static const char *const mlp_then[] = {"Relu", "Tanh", NULL};
static const tb_test_mlp mlp = {mlp_width, 3, mlp_then};

static tb_trainer *new_trainer(const tb_test_mlp *net, const char *loss,
                               size_t batch, const tb_opt_config *config,
                               const float *start)
{
    tb_err err;
    tb_trainer *t = NULL;
    tb_graph *g = tb_test_mlp_new(net, 1);
    tb_trainer_options options = {.loss = tb_loss_find(loss),
                                  .optimiser = tb_optimiser_find("sgd"),
                                  .config = *config,
                                  .batch = batch};
    CHECK_OK(tb_trainer_new(&t, g, &options, &err), err);
    memcpy(tb_trainer_params(t), start,
           tb_trainer_n_params(t) * sizeof start[0]);
    tb_graph_free(&g);
    return t;
}

static void the_classic_linear_example_follows_pytorch(void **state)
{
    (void)state;
    enum { N_PARAMS = 430, N_X = 1000, N_Y = 1000, N_EPOCHS = 1000 };
    float *golden = tb_test_golden("linear", N_PARAMS + N_X + N_Y + N_EPOCHS);
    const float *x = golden + N_PARAMS;
    const float *y = x + N_X;
    const float *curve = y + N_Y;
    tb_trainer *t =
        new_trainer(&linear, "mse", 100, &(tb_opt_config){.lr = 0.01}, golden);
    tb_err err;
    for (size_t i = 0; i < N_EPOCHS; i++) {
        tb_score score = {0};
        CHECK_OK(tb_trainer_step(t, x, y, 100, &score, &err), err);
        double loss = score.loss_sum / (double)score.n_rows;
        double want = (double)curve[i];
        CHECK(fabs(loss - want) <= 1e-4 * want);
    }
    tb_trainer_free(&t);
    tb_mem_free(golden);
}

enum { N_PARAMS = 401, N_X = 480, N_Y = 40, N_STEPS = 90 };

static void to_labels(int32_t *out, const float *y)
{
    for (size_t i = 0; i < N_Y; i++) {
        out[i] = (int32_t)y[i];
    }
}

static void check_sgd(const char *name, const tb_opt_config *config)
{
    float *golden = tb_test_golden(name, 2 * N_PARAMS + N_X + N_Y + N_STEPS);
    const float *x = golden + N_PARAMS;
    const float *curve = x + N_X + N_Y;
    const float *end = curve + N_STEPS;
    int32_t y[N_Y];
    to_labels(y, x + N_X);
    tb_trainer *t =
        new_trainer(&mlp, "softmax_cross_entropy", 16, config, golden);
    tb_err err;
    for (size_t i = 0; i < N_STEPS; i++) {
        tb_score score = {0};
        size_t at = i % 3 * 16;
        size_t n = i % 3 == 2 ? 8 : 16;
        CHECK_OK(tb_trainer_step(t, x + at * 12, y + at, n, &score, &err), err);
        assert_int_equal(score.n_rows, n);
        double loss = score.loss_sum / (double)n;
        CHECK(fabs(loss - (double)curve[i]) <= 1e-4 * (double)curve[i]);
    }
    const float *params = tb_trainer_params(t);
    for (size_t i = 0; i < N_PARAMS; i++) {
        CHECK(fabsf(params[i] - end[i]) <= 1e-4f * (1.0f + fabsf(end[i])));
    }
    tb_trainer_free(&t);
    tb_mem_free(golden);
}

static void plain_sgd_follows_pytorch_with_a_smaller_last_batch(void **state)
{
    (void)state;
    check_sgd("sgd", &(tb_opt_config){.lr = 0.1});
}

static void weight_decay_follows_pytorch(void **state)
{
    (void)state;
    check_sgd("decay", &(tb_opt_config){.lr = 0.1, .weight_decay = 0.05});
}

static void momentum_follows_pytorch(void **state)
{
    (void)state;
    check_sgd("momentum", &(tb_opt_config){.lr = 0.05, .momentum = 0.9});
}

static void nesterov_with_decay_follows_pytorch(void **state)
{
    (void)state;
    check_sgd("nesterov", &(tb_opt_config){.lr = 0.05,
                                           .momentum = 0.9,
                                           .nesterov = true,
                                           .weight_decay = 0.01});
}

static void the_gradient_is_that_of_pytorch(void **state)
{
    (void)state;
    float *golden = tb_test_golden("gradient", 2 * N_PARAMS + N_X + N_Y + 1);
    const float *x = golden + N_PARAMS;
    const float *loss = x + N_X + N_Y;
    float grad[N_PARAMS];
    int32_t y[N_Y];
    tb_err err;
    to_labels(y, x + N_X);
    tb_trainer *t = new_trainer(&mlp, "softmax_cross_entropy", 50,
                                &(tb_opt_config){.lr = 0.1}, golden);
    CHECK_OK(tb_trainer_gradient(t, x, y, N_Y, grad, &err), err);
    for (size_t i = 0; i < N_PARAMS; i++) {
        CHECK(fabsf(grad[i] - loss[1 + i]) <= 1e-6f);
    }
    CHECK(memcmp(tb_trainer_params(t), golden, N_PARAMS * 4) == 0);
    tb_trainer_free(&t);
    tb_mem_free(golden);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_classic_linear_example_follows_pytorch),
        cmocka_unit_test(plain_sgd_follows_pytorch_with_a_smaller_last_batch),
        cmocka_unit_test(weight_decay_follows_pytorch),
        cmocka_unit_test(momentum_follows_pytorch),
        cmocka_unit_test(nesterov_with_decay_follows_pytorch),
        cmocka_unit_test(the_gradient_is_that_of_pytorch),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
