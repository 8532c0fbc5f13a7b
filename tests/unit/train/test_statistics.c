/* Running statistics in training: BatchNormalization on one column of numbers,
 * everything by hand. */
#include <math.h>

#include "base/mem.h"
#include "model/params.h"
#include "support/check.h"
#include "train/trainer.h"

/* mean 2 and variance 1 of the batch */
static const float x[4] = {1, 3, 3, 1};
static const float target[4] = {0, 0, 0, 0};

static tb_value_id data(tb_graph *g, const char *name, tb_role role, float v)
{
    tb_tensor t = tb_tensor_view(TB_F32, &TB_SHAPE(1), &v);
    tb_value_id id = TB_ID_NONE;
    tb_err err;
    CHECK_OK(tb_graph_add_data(g, &id, name, role, &t, &err), err);
    return id;
}

/* y = batch norm of x [n, 1], momentum 0.75, running mean 8, variance 5 */
static tb_trainer *new_trainer(void)
{
    const tb_attr attrs[2] = {TB_ATTR_F("momentum", 0.75f),
                              TB_ATTR_F("epsilon", 0.0f)};
    const tb_dims dims = {.rank = 2, .dim = {TB_DIM_ANY, 1}};
    tb_trainer_options o = {.loss = tb_loss_find("mse"),
                            .optimiser = tb_optimiser_find("sgd"),
                            .config = {.lr = 0.5},
                            .batch = 4};
    tb_graph *g = NULL;
    tb_trainer *t = NULL;
    tb_value_id in[5], y = TB_ID_NONE;
    tb_err err;
    CHECK_OK(tb_graph_new(&g, "g", 17, &err), err);
    CHECK_OK(tb_graph_add_input(g, &in[0], "x", TB_F32, &dims, &err), err);
    in[1] = data(g, "scale", TB_ROLE_PARAM, 1);
    in[2] = data(g, "bias", TB_ROLE_PARAM, 3);
    in[3] = data(g, "mean", TB_ROLE_BUFFER, 8);
    in[4] = data(g, "variance", TB_ROLE_BUFFER, 5);
    CHECK_OK(tb_graph_apply(g, &y,
                            &(tb_node_spec){.op = "BatchNormalization",
                                            .attrs = attrs,
                                            .n_attrs = 2,
                                            .in = in,
                                            .n_in = 5},
                            &err),
             err);
    CHECK_OK(tb_graph_add_output(g, y, &err), err);
    CHECK_OK(tb_trainer_new(&t, g, &o, &err), err);
    tb_graph_free(&g);
    return t;
}

static void check_statistics(const tb_trainer *t, float mean, float variance)
{
    float got[2];
    tb_err err;
    CHECK_OK(tb_buffers_get(tb_trainer_graph(t), got, 2, &err), err);
    CHECK(got[0] == mean && got[1] == variance);
}

/* 0.75 * 8 + 0.25 * 2 and 0.75 * 5 + 0.25 * 1, of the population. */
static void a_step_moves_running_statistics_as_onnx_says(void **state)
{
    tb_trainer *t = new_trainer();
    tb_err err;
    (void)state;
    CHECK_OK(tb_trainer_step(t, x, target, 4, NULL, &err), err);
    check_statistics(t, 6.5f, 4.0f);
    CHECK_OK(tb_trainer_step(t, x, target, 2, NULL, &err), err); /* 1 and 3 */
    check_statistics(t, 5.375f, 3.25f);
    tb_trainer_free(&t);
    CHECK(tb_mem_live() == 0);
}

/* y = +-1 + 3 by the statistics of the batch; mse's gradient is 2 y / 4:
 * dbias = (2 + 4 + 4 + 2) / 2, dscale = (-2 + 4 + 4 - 2) / 2. */
static void a_look_at_the_gradient_moves_none(void **state)
{
    tb_trainer *t = new_trainer();
    float gradient[2];
    tb_err err;
    (void)state;
    CHECK_OK(tb_trainer_gradient(t, x, target, 4, gradient, &err), err);
    CHECK(fabsf(gradient[0] - 2) < 1e-5f && fabsf(gradient[1] - 6) < 1e-5f);
    check_statistics(t, 8, 5);
    tb_trainer_free(&t);
    CHECK(tb_mem_live() == 0);
}

/* Where the statistics have no place, the parameters stay too. */
static void a_model_of_other_statistics_is_left_as_it_was(void **state)
{
    tb_trainer *t = new_trainer();
    tb_graph *held = NULL;
    float before[2], after[2];
    tb_err err;
    (void)state;
    CHECK_OK(tb_graph_clone(&held, tb_trainer_graph(t), &err), err);
    held->values[tb_graph_find(held, "variance")]->role = TB_ROLE_CONST;
    CHECK_OK(tb_params_get(held, before, 2, &err), err);
    CHECK_OK(tb_trainer_step(t, x, target, 4, NULL, &err), err);
    CHECK_ERR(tb_trainer_store(t, held, &err), TB_E_MISMATCH, err,
              "running statistics");
    CHECK_OK(tb_params_get(held, after, 2, &err), err);
    CHECK(before[0] == after[0] && before[1] == after[1]);
    held->values[tb_graph_find(held, "variance")]->role = TB_ROLE_BUFFER;
    CHECK_OK(tb_trainer_store(t, held, &err), err);
    CHECK_OK(tb_params_get(held, after, 2, &err), err);
    CHECK(before[1] != after[1]);
    tb_graph_free(&held);
    tb_trainer_free(&t);
    CHECK(tb_mem_live() == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_step_moves_running_statistics_as_onnx_says),
        cmocka_unit_test(a_look_at_the_gradient_moves_none),
        cmocka_unit_test(a_model_of_other_statistics_is_left_as_it_was),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
