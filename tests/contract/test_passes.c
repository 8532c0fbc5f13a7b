/* What every compression pass must do, on a model that has learnt
 * Fashion-MNIST for one epoch. */
#include <math.h>
#include <string.h>

#include <zstd.h>

#include "base/mem.h"
#include "compress/after.h"
#include "model/onnx.h"
#include "support/check.h"
#include "support/trained.h"

static tb_test_fashion fashion;
static tb_graph *model;
static tb_ranges ranges;
static double accuracy;

static int train_once(void **state)
{
    (void)state;
    tb_err err = {0};
    CHECK_OK(tb_test_fashion_read(&fashion, &err), err);
    CHECK_OK(tb_test_mlp(&model, "mlp:784-200-200-10", &err), err);
    CHECK_OK(tb_test_train(model, fashion.train, 1, &err), err);
    CHECK_OK(tb_test_accuracy(fashion.test, model, &accuracy, &err), err);
    CHECK_OK(tb_ranges_init(&ranges, model, &err), err);
    CHECK_OK(tb_calibrate(&ranges, model, fashion.held, 100.0, &err), err);
    return 0;
}

static int release(void **state)
{
    (void)state;
    tb_ranges_release(&ranges);
    tb_graph_free(&model);
    tb_test_fashion_release(&fashion);
    return 0;
}

/* Mild enough that no pass may lose more than one percent. */
static const tb_pass_options mild = {
    .amount = 0.1, .norm = TB_NORM_L2, .ranges = &ranges};

static tb_buf written(const tb_graph *graph)
{
    tb_err err;
    tb_buf buf;
    tb_buf_init(&buf, (size_t)1 << 24);
    CHECK_OK(tb_onnx_write(&buf, graph, &err), err);
    return buf;
}

static void each_leaves_its_input_alone_and_repeats_itself(void **state)
{
    (void)state;
    tb_buf before = written(model);
    for (const tb_pass *const *p = tb_pass_list; *p != NULL; p++) {
        tb_err err;
        tb_graph *once = NULL;
        tb_graph *twice = NULL;
        CHECK_OK(tb_pass_run(&once, *p, model, &mild, &err), err);
        CHECK_OK(tb_pass_run(&twice, *p, model, &mild, &err), err);
        tb_buf a = written(once);
        tb_buf b = written(twice);
        tb_buf after = written(model);
        CHECK(a.len == b.len && memcmp(a.data, b.data, a.len) == 0);
        CHECK(after.len == before.len &&
              memcmp(after.data, before.data, before.len) == 0);
        CHECK(a.len != before.len || memcmp(a.data, before.data, a.len) != 0);
        tb_buf_release(&a);
        tb_buf_release(&b);
        tb_buf_release(&after);
        tb_graph_free(&once);
        tb_graph_free(&twice);
    }
    tb_buf_release(&before);
}

static void each_result_is_read_back_and_keeps_its_accuracy(void **state)
{
    (void)state;
    for (const tb_pass *const *p = tb_pass_list; *p != NULL; p++) {
        tb_err err;
        double now = 0.0;
        double back = 0.0;
        tb_graph *small = NULL;
        tb_graph *again = NULL;
        CHECK_OK(tb_pass_run(&small, *p, model, &mild, &err), err);
        tb_buf onnx = written(small);
        CHECK_OK(tb_onnx_read(&again, onnx.data, onnx.len, NULL, &err), err);
        CHECK_OK(tb_test_accuracy(fashion.test, small, &now, &err), err);
        CHECK_OK(tb_test_accuracy(fashion.test, again, &back, &err), err);
        CHECK(now == back);
        CHECK(fabs(now - accuracy) < 0.01);
        CHECK((*p)->help[0] != '\0');
        tb_buf_release(&onnx);
        tb_graph_free(&small);
        tb_graph_free(&again);
    }
}

static void each_refuses_a_model_without_weights(void **state)
{
    (void)state;
    tb_err err;
    tb_graph *empty = NULL;
    tb_value_id v = TB_ID_NONE;
    const tb_dims in = {2, {TB_DIM_ANY, 2}};
    CHECK_OK(tb_graph_new(&empty, "m", 17, &err), err);
    CHECK_OK(tb_graph_add_input(empty, &v, "x", TB_F32, &in, &err), err);
    CHECK_OK(tb_graph_apply(empty, &v,
                            &(tb_node_spec){.op = "Relu", .in = &v, .n_in = 1},
                            &err),
             err);
    CHECK_OK(tb_graph_add_output(empty, v, &err), err);
    for (const tb_pass *const *p = tb_pass_list; *p != NULL; p++) {
        tb_graph *small = NULL;
        CHECK_ERR(tb_pass_run(&small, *p, empty, &mild, &err), TB_E_UNSUPPORTED,
                  err, (*p)->name);
        CHECK(small == NULL);
    }
    tb_graph_free(&empty);
}

static tb_graph *clone(void)
{
    tb_err err;
    tb_graph *g = NULL;
    CHECK_OK(tb_graph_clone(&g, model, &err), err);
    return g;
}

/* What a job does: prune half, quantise, pack: a sixth of the fp32 file, and
 * half a percent of accuracy at most. */
static void
pruned_and_quantised_takes_a_sixth_and_passes_the_guard(void **state)
{
    (void)state;
    tb_err err;
    tb_after after;
    tb_buf fp32, small;
    tb_graph *g = clone();
    const tb_after_options o = {.prune = "unstructured",
                                .scope = TB_PRUNE_GLOBAL,
                                .amount = 0.5,
                                .quantise = "int8",
                                .calibrate = fashion.held,
                                .percentile = 100.0,
                                .accuracy = tb_test_accuracy,
                                .arg = fashion.held,
                                .max_drop = 0.01};
    CHECK_OK(tb_after_run(&after, &g, &o, &err), err);
    CHECK(g == NULL);
    assert_int_equal(after.n, 3);
    CHECK(after.stage[2].sparsity >= 0.5);
    tb_buf_init(&fp32, 1 << 24);
    tb_buf_init(&small, 1 << 24);
    CHECK_OK(tb_onnx_write(&fp32, after.stage[0].graph, &err), err);
    CHECK_OK(tb_onnx_write(&small, after.stage[2].graph, &err), err);
    CHECK(small.len * 3 < fp32.len);
    size_t room = ZSTD_compressBound(small.len);
    void *packed = test_malloc(room);
    size_t n = ZSTD_compress(packed, room, small.data, small.len, 19);
    CHECK(!ZSTD_isError(n) && n * 6 <= fp32.len);
    test_free(packed);
    tb_buf_release(&small);
    tb_buf_release(&fp32);
    tb_after_release(&after);
}

static void the_guard_stops_a_model_that_was_cut_to_the_bone(void **state)
{
    (void)state;
    tb_err err;
    tb_after after;
    tb_graph *g = clone();
    const tb_after_options o = {.prune = "structured",
                                .amount = 0.98,
                                .accuracy = tb_test_accuracy,
                                .arg = fashion.held,
                                .max_drop = 0.01};
    CHECK_ERR(tb_after_run(&after, &g, &o, &err), TB_E_REFUSED, err,
              "pruned: accuracy fell by");
    tb_after_release(&after);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_leaves_its_input_alone_and_repeats_itself),
        cmocka_unit_test(each_result_is_read_back_and_keeps_its_accuracy),
        cmocka_unit_test(each_refuses_a_model_without_weights),
        cmocka_unit_test(
            pruned_and_quantised_takes_a_sixth_and_passes_the_guard),
        cmocka_unit_test(the_guard_stops_a_model_that_was_cut_to_the_bone),
    };
    return cmocka_run_group_tests(tests, train_once, release);
}
