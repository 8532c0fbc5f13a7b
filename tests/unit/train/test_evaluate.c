/* Evaluation of a model whose rows are large. */
#include "train/evaluate.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "support/check.h"

enum { N_ROWS = 40, N_CHANNELS = 512, N_CLASSES = 4, SIDE = 64 };

static tb_value_id data(tb_graph *g, const char *name, const tb_shape *shape,
                        float step)
{
    tb_tensor t;
    tb_err err;
    tb_value_id id = TB_ID_NONE;
    CHECK_OK(tb_tensor_init(&t, TB_F32, shape, &err), err);
    for (size_t i = 0; i < tb_tensor_count(&t); i++) {
        ((float *)t.data)[i] = step * (float)(i / N_CHANNELS);
    }
    CHECK_OK(tb_graph_add_data(g, &id, name, TB_ROLE_CONST, &t, &err), err);
    tb_tensor_release(&t);
    return id;
}

static tb_value_id apply(tb_graph *g, const char *op, tb_value_id x,
                         tb_value_id w)
{
    const tb_value_id in[2] = {x, w};
    const tb_attr trans = TB_ATTR_I("transB", 1);
    tb_value_id y = TB_ID_NONE;
    tb_err err;
    CHECK_OK(tb_graph_apply(g, &y,
                            &(tb_node_spec){.op = op,
                                            .attrs = &trans,
                                            .n_attrs = strcmp(op, "Gemm") == 0,
                                            .in = in,
                                            .n_in = w == TB_ID_NONE ? 1 : 2},
                            &err),
             err);
    return y;
}

/* A pixel to 512 channels, 8 MiB a row; their means; four classes. */
static tb_graph *wide_model(void)
{
    const tb_dims dims = {.rank = 4, .dim = {TB_DIM_ANY, 1, SIDE, SIDE}};
    tb_graph *g = NULL;
    tb_value_id x = TB_ID_NONE;
    tb_err err;
    CHECK_OK(tb_graph_new(&g, "wide", 17, &err), err);
    CHECK_OK(tb_graph_add_input(g, &x, "x", TB_F32, &dims, &err), err);
    x = apply(g, "Conv", x, data(g, "w", &TB_SHAPE(N_CHANNELS, 1, 1, 1), 0));
    x = apply(g, "GlobalAveragePool", x, TB_ID_NONE);
    x = apply(g, "Flatten", x, TB_ID_NONE);
    x = apply(g, "Gemm", x, data(g, "v", &TB_SHAPE(N_CLASSES, N_CHANNELS), 1));
    CHECK_OK(tb_graph_add_output(g, x, &err), err);
    return g;
}

static tb_dataset *new_data(void)
{
    const tb_sample_spec spec = {.x_dtype = TB_F32,
                                 .x_shape = TB_SHAPE(1, SIDE, SIDE),
                                 .target = TB_TARGET_CLASS,
                                 .n_targets = 1,
                                 .n_classes = N_CLASSES};
    tb_dataset *ds = NULL;
    tb_err err;
    CHECK_OK(tb_dataset_new(&ds, &spec, N_ROWS, &err), err);
    for (size_t i = 0; i < N_ROWS; i++) {
        ((int32_t *)tb_dataset_y(ds))[i] = (int32_t)(i % N_CLASSES);
    }
    return ds;
}

/* 256 rows would want 2 GiB. With weights of 0 all scores are 0. */
static void large_rows_are_evaluated_in_smaller_batches(void **state)
{
    const tb_evaluator_options o = {.loss =
                                        tb_loss_find("softmax_cross_entropy")};
    tb_evaluator *e = NULL;
    tb_score score;
    tb_err err;
    (void)state;
    tb_graph *g = wide_model();
    tb_dataset *ds = new_data();
    tb_mem_peak_reset();
    size_t before = tb_mem_bytes();
    CHECK_OK(tb_evaluator_new(&e, g, &o, &err), err);
    CHECK_OK(tb_evaluate(e, NULL, ds, 0, N_ROWS, &score, &err), err);
    CHECK(tb_mem_peak_bytes() - before < TB_EVAL_BYTES + ((size_t)16 << 20));
    assert_int_equal(score.n_rows, N_ROWS);
    assert_int_equal(score.n_correct, N_ROWS / N_CLASSES);
    CHECK(fabs(tb_score_loss(&score) - log(N_CLASSES)) < 1e-6);
    tb_evaluator_free(&e);
    tb_graph_free(&g);
    tb_dataset_free(&ds);
    CHECK(tb_mem_live() == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(large_rows_are_evaluated_in_smaller_batches),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
