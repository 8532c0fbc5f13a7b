/* The passes by hand figures; what all have in common is the contract's. */
#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "compress/after.h"
#include "exec/exec.h"
#include "model/build.h"
#include "model/params.h"
#include "support/check.h"

#define N 17

static const float start[N] = {1.0F,  -0.5F, 0.5F, 0.25F, 2.0F, -2.0F,
                               0.1F,  0.2F,  0.3F, 0.1F,  0.2F, 0.3F,
                               -1.0F, -0.4F, 0.6F, 0.5F,  -0.5F};

static tb_graph *tiny(void)
{
    tb_graph *g = NULL;
    tb_err err;
    CHECK_OK(tb_build_new(&g, "mlp:2-3-2", 1, NULL, &err), err);
    CHECK_OK(tb_params_set(g, start, N, &err), err);
    return g;
}

static const tb_pass *pass(const char *name)
{
    const tb_pass *p = NULL;
    tb_err err;
    CHECK_OK(tb_pass_find(&p, name, &err), err);
    return p;
}

static const tb_tensor *data_of(const tb_graph *g, const char *name)
{
    const tb_value *v = tb_graph_value(g, tb_graph_find(g, name));
    assert_non_null(v);
    assert_non_null(v->data.data);
    return &v->data;
}

static void run_model(const tb_graph *g, const float *x, size_t n, float *y)
{
    tb_exec *e = NULL;
    tb_err err;
    CHECK_OK(tb_exec_new(&e, g, n, &err), err);
    CHECK_OK(tb_exec_predict(e, x, n, y, &err), err);
    tb_exec_free(&e);
}

static tb_ranges ranges_of(const tb_graph *g, float low, float high)
{
    tb_ranges r;
    tb_err err;
    CHECK_OK(tb_ranges_init(&r, g, &err), err);
    for (size_t i = 0; i < r.n; i++) {
        r.low[i] = low;
        r.high[i] = high;
    }
    return r;
}

/* Range -1 to 4.1: scale 5.1 / 255 = 0.02, zero 50. Weights of neuron 0: 1 and
 * -0.5 over 1/127. Bias 0.1 over 0.02 / 127: 635. */
static void int8_scales_and_numbers_are_those_by_hand(void **state)
{
    (void)state;
    tb_err err;
    tb_graph *g = tiny();
    tb_graph *q = NULL;
    tb_ranges r = ranges_of(g, -1.0F, 4.1F);
    const tb_pass_options o = {.ranges = &r};
    CHECK_OK(tb_pass_run(&q, pass("int8"), g, &o, &err), err);
    CHECK(fabs(tb_tensor_f64_at(data_of(q, "input_scale"), 0) - 0.02) < 1e-8);
    assert_int_equal(tb_tensor_i64_at(data_of(q, "input_zero_point"), 0), 50);
    const int8_t *w = data_of(q, "fc1.weight_quantized")->data;
    const int8_t want[6] = {127, -64, 127, 64, 127, -127};
    assert_memory_equal(w, want, sizeof want);
    const float *s = data_of(q, "fc1.weight_scale")->data;
    CHECK(fabsf(s[0] - 1.0F / 127.0F) < 1e-8F);
    CHECK(fabsf(s[1] - 0.5F / 127.0F) < 1e-8F);
    const tb_tensor *b = data_of(q, "fc1.bias_quantized");
    assert_int_equal(b->dtype, TB_I32);
    assert_int_equal(tb_tensor_i64_at(b, 0), 635);
    assert_int_equal(tb_tensor_i64_at(b, 1), 2540);
    CHECK(tb_graph_find(q, "fc1.weight") == TB_ID_NONE);
    tb_graph_free(&q);
    tb_ranges_release(&r);
    tb_graph_free(&g);
    assert_int_equal(tb_mem_live(), 0);
}

static void scales_stay_above_zero_when_all_is_dead(void **state)
{
    (void)state;
    tb_err err;
    static const float dead[N] = {[6] = 1e20F, [7] = -3.0F, [15] = 1e-30F};
    tb_graph *g = tiny();
    tb_graph *q = NULL;
    CHECK_OK(tb_params_set(g, dead, N, &err), err);
    tb_ranges r = ranges_of(g, 0.0F, 0.0F);
    const tb_pass_options o = {.ranges = &r};
    CHECK_OK(tb_pass_run(&q, pass("int8"), g, &o, &err), err);
    for (size_t i = 0; i < q->n_values; i++) {
        const tb_value *v = q->values[i];
        if (v != NULL && v->data.data != NULL && v->dtype == TB_F32) {
            for (size_t k = 0; k < tb_tensor_count(&v->data); k++) {
                double s = tb_tensor_f64_at(&v->data, k);
                CHECK(s > 0.0 && isfinite(s));
            }
        }
    }
    /* The bias still says what it said: relu(1e20) * 0 + 0. */
    const float *s = data_of(q, "fc1.bias_scale")->data;
    double b = tb_tensor_f64_at(data_of(q, "fc1.bias_quantized"), 0);
    CHECK(fabs(b * (double)s[0] / 1e20 - 1.0) < 1e-6);
    tb_graph_free(&q);
    tb_ranges_release(&r);
    tb_graph_free(&g);
}

/* Each weight is off by half a step at most, each activation too: the sum of
 * such errors bounds what may come out. */
static void int8_stays_within_the_sum_of_half_steps(void **state)
{
    (void)state;
    tb_err err;
    tb_graph *g = tiny();
    tb_graph *q = NULL;
    tb_ranges r = ranges_of(g, -1.0F, 4.1F);
    const tb_pass_options o = {.ranges = &r};
    CHECK_OK(tb_pass_run(&q, pass("int8"), g, &o, &err), err);
    for (int i = 0; i < 50; i++) {
        const float x[2] = {(float)i * 0.02F - 0.5F, 0.6F - (float)i * 0.02F};
        float y[2];
        float z[2];
        run_model(g, x, 1, y);
        run_model(q, x, 1, z);
        for (int k = 0; k < 2; k++) {
            CHECK(fabsf(y[k] - z[k]) < 0.1F);
        }
    }
    tb_graph_free(&q);
    tb_ranges_release(&r);
    tb_graph_free(&g);
}

static void ranges_of_another_model_or_not_finite_are_refused(void **state)
{
    (void)state;
    tb_err err;
    tb_graph *g = tiny();
    tb_graph *other = NULL;
    tb_graph *q = NULL;
    CHECK_OK(tb_build_new(&other, "mlp:2-3-3-2", 1, NULL, &err), err);
    tb_ranges r = ranges_of(g, -1.0F, 1.0F);
    const tb_pass_options o = {.ranges = &r};
    CHECK_ERR(tb_pass_run(&q, pass("int8"), other, &o, &err), TB_E_MISMATCH,
              err, "int8: 2 ranges of another model");
    r.high[1] = (float)INFINITY;
    CHECK_ERR(tb_pass_run(&q, pass("int8"), g, &o, &err), TB_E_MALFORMED, err,
              "-1 to inf");
    r.high[1] = -2.0F;
    CHECK_ERR(tb_pass_run(&q, pass("int8"), g, &o, &err), TB_E_MALFORMED, err,
              "-1 to -2");
    CHECK_ERR(
        tb_pass_run(&q, pass("int8"), g, &(tb_pass_options){.bits = 8}, &err),
        TB_E_USAGE, err, "needs calibrated ranges");
    tb_ranges_release(&r);
    tb_graph_free(&other);
    tb_graph_free(&g);
}

/* fc1.weight: max 2, so p = 5 (2 * 32 = 64 <= 127 < 128) at 8 bits, and p = 1
 * at 4 bits (2 * 2 = 4 <= 7). fc2.weight: max 1, so p = 6. */
static void pow2_chooses_p_by_the_largest_weight(void **state)
{
    (void)state;
    tb_err err;
    tb_graph *g = tiny();
    tb_graph *q = NULL;
    tb_pass_options o = {.bits = 0};
    CHECK_OK(tb_pass_run(&q, pass("pow2"), g, &o, &err), err);
    const int8_t want[6] = {32, -16, 16, 8, 64, -64};
    assert_memory_equal(data_of(q, "fc1.weight_quantized")->data, want, 6);
    CHECK(tb_tensor_f64_at(data_of(q, "fc1.weight_scale"), 0) == 1.0 / 32);
    CHECK(tb_tensor_f64_at(data_of(q, "fc2.weight_scale"), 0) == 1.0 / 64);
    tb_graph_free(&q);
    o.bits = 4;
    CHECK_OK(tb_pass_run(&q, pass("pow2"), g, &o, &err), err);
    const int8_t four[6] = {2, -1, 1, 0, 4, -4};
    assert_memory_equal(data_of(q, "fc1.weight_quantized")->data, four, 6);
    tb_graph_free(&q);
    o.bits = 9;
    CHECK_ERR(tb_pass_run(&q, pass("pow2"), g, &o, &err), TB_E_USAGE, err,
              "9 bits");
    o.bits = 1;
    CHECK_ERR(tb_pass_run(&q, pass("pow2"), g, &o, &err), TB_E_USAGE, err,
              "1 bits");
    tb_graph_free(&g);
    assert_int_equal(tb_mem_live(), 0);
}

/* The naive twin of taking neurons out: set them to zero and leave them in. */
static void a_smaller_model_says_what_the_masked_one_says(void **state)
{
    (void)state;
    tb_err err;
    tb_graph *g = NULL;
    tb_graph *masked = NULL;
    tb_graph *small = NULL;
    CHECK_OK(tb_build_new(&g, "mlp:6-20-15-4", 5, NULL, &err), err);
    size_t n = tb_params_count(g);
    uint8_t *keep = test_malloc(n);
    float *params = test_malloc(n * sizeof *params);
    for (int scope = 0; scope < 2; scope++) {
        const tb_prune_options prune = {.kind = TB_PRUNE_STRUCTURED,
                                        .scope = (tb_prune_scope)scope,
                                        .norm = TB_NORM_L2,
                                        .amount = 0.4};
        const tb_pass_options o = {
            .scope = prune.scope, .norm = prune.norm, .amount = prune.amount};
        CHECK_OK(tb_prune_mask(keep, g, NULL, n, &prune, &err), err);
        CHECK_OK(tb_params_get(g, params, n, &err), err);
        for (size_t i = 0; i < n; i++) {
            params[i] = keep[i] != 0 ? params[i] : 0.0F;
        }
        CHECK_OK(tb_graph_clone(&masked, g, &err), err);
        CHECK_OK(tb_params_set(masked, params, n, &err), err);
        CHECK_OK(tb_pass_run(&small, pass("structured"), g, &o, &err), err);
        const tb_shape *a = &data_of(small, "fc1.weight")->shape;
        const tb_shape *b = &data_of(small, "fc2.weight")->shape;
        const tb_shape *c = &data_of(small, "fc3.weight")->shape;
        CHECK(a->dim[0] == b->dim[1] && b->dim[0] == c->dim[1]);
        CHECK(a->dim[1] == 6 && c->dim[0] == 4);
        CHECK(a->dim[0] + b->dim[0] == 21); /* 14 of 35 are gone */
        CHECK(scope == 1 || a->dim[0] == 12);
        float x[6 * 8];
        float y[2][4 * 8];
        for (int i = 0; i < 6 * 8; i++) {
            x[i] = (float)((i * 7) % 13) - 6.0F;
        }
        run_model(masked, x, 8, y[0]);
        run_model(small, x, 8, y[1]);
        for (int i = 0; i < 4 * 8; i++) {
            CHECK(fabsf(y[0][i] - y[1][i]) < 1e-5F);
        }
        tb_graph_free(&masked);
        tb_graph_free(&small);
    }
    test_free(keep);
    test_free(params);
    tb_graph_free(&g);
    assert_int_equal(tb_mem_live(), 0);
}

/* A layer whose output leaves the model, or is read twice, keeps its neurons;
 * MatMul and Add stand for Gemm with their matrix the other way round. */
static void neurons_go_only_where_nothing_else_reads_them(void **state)
{
    (void)state;
    tb_err err;
    tb_graph *g = NULL;
    tb_graph *small = NULL;
    tb_value_id v[6];
    float w1[6] = {1, 5, 3, 2, 6, 4}; /* [2, 3]: norms of columns 3, 11, 7 */
    float b1[3] = {0.1F, 0.2F, 0.3F};
    float w2[3] = {1, 2, 3};
    const tb_dims in = {2, {TB_DIM_ANY, 2}};
    const tb_tensor t1 = tb_tensor_view(TB_F32, &TB_SHAPE(2, 3), w1);
    const tb_tensor tb = tb_tensor_view(TB_F32, &TB_SHAPE(3), b1);
    const tb_tensor t2 = tb_tensor_view(TB_F32, &TB_SHAPE(3, 1), w2);
    CHECK_OK(tb_graph_new(&g, "m", 17, &err), err);
    CHECK_OK(tb_graph_add_input(g, &v[0], "x", TB_F32, &in, &err), err);
    CHECK_OK(tb_graph_add_data(g, &v[1], "w1", TB_ROLE_PARAM, &t1, &err), err);
    CHECK_OK(tb_graph_add_data(g, &v[2], "b1", TB_ROLE_PARAM, &tb, &err), err);
    CHECK_OK(tb_graph_add_data(g, &v[3], "w2", TB_ROLE_PARAM, &t2, &err), err);
    tb_value_id h = TB_ID_NONE;
    tb_value_id y = TB_ID_NONE;
#define APPLY(out, name, ...)                                                  \
    CHECK_OK(                                                                  \
        tb_graph_apply(g, &(out),                                              \
                       &(tb_node_spec){.op = name,                             \
                                       .in = (tb_value_id[]){__VA_ARGS__},     \
                                       .n_in = 2},                             \
                       &err),                                                  \
        err)
    APPLY(h, "MatMul", v[0], v[1]);
    APPLY(h, "Add", v[2], h);
    APPLY(y, "MatMul", h, v[3]);
    CHECK_OK(tb_graph_add_output(g, y, &err), err);
    const tb_pass_options o = {.amount = 0.4};
    CHECK_OK(tb_pass_run(&small, pass("structured"), g, &o, &err), err);
    const float want_w1[4] = {5, 3, 6, 4};
    const float want_b1[2] = {0.2F, 0.3F};
    const float want_w2[2] = {2, 3};
    assert_memory_equal(data_of(small, "w1")->data, want_w1, sizeof want_w1);
    assert_memory_equal(data_of(small, "b1")->data, want_b1, sizeof want_b1);
    assert_memory_equal(data_of(small, "w2")->data, want_w2, sizeof want_w2);
    tb_graph_free(&small);

    CHECK_OK(tb_graph_add_output(g, h, &err), err);
    CHECK_ERR(tb_pass_run(&small, pass("structured"), g, &o, &err),
              TB_E_UNSUPPORTED, err, "no hidden layer");
    tb_graph_free(&g);
    assert_int_equal(tb_mem_live(), 0);
}

/* Accuracy by the stage: 0.9, then less by arg's number each time. */
typedef struct fake {
    double now;
    double loss;
} fake;

static tb_rc fake_accuracy(void *arg, const tb_graph *graph, double *accuracy,
                           tb_err *err)
{
    (void)graph;
    (void)err;
    fake *f = arg;
    *accuracy = f->now;
    f->now -= f->loss;
    return TB_OK;
}

static tb_rc fake_ranges(void *arg, tb_ranges *ranges, const tb_graph *graph,
                         tb_err *err)
{
    (void)arg;
    (void)graph;
    (void)err;
    for (size_t i = 0; i < ranges->n; i++) {
        ranges->high[i] = 1.0F;
    }
    return TB_OK;
}

static void the_guard_refuses_and_says_by_how_much(void **state)
{
    (void)state;
    tb_err err;
    tb_graph *g = tiny();
    tb_after after;
    fake f = {0.9, 0.004};
    tb_after_options o = {.prune = "unstructured",
                          .amount = 0.5,
                          .quantise = "int8",
                          .ranges = fake_ranges,
                          .accuracy = fake_accuracy,
                          .arg = &f,
                          .max_drop = 0.01};
    CHECK_OK(tb_after_run(&after, &g, &o, &err), err);
    assert_int_equal(after.n, 3);
    assert_string_equal(after.stage[0].name, "fp32");
    assert_string_equal(after.stage[1].name, "pruned");
    assert_string_equal(after.stage[2].name, "int8");
    CHECK(after.stage[0].sparsity == 0.0);
    CHECK(after.stage[1].sparsity == 0.5 && after.stage[2].sparsity == 0.5);
    CHECK(g == NULL);
    tb_after_release(&after);

    g = tiny();
    f = (fake){0.9, 0.006};
    CHECK_ERR(tb_after_run(&after, &g, &o, &err), TB_E_REFUSED, err,
              "int8: accuracy fell by 0.0120, from 0.9000 to 0.8880; at most "
              "0.0100");
    assert_int_equal(after.n, 3);
    tb_after_release(&after);
    g = tiny();
    f = (fake){(double)NAN, 0.0};
    CHECK_ERR(tb_after_run(&after, &g, &o, &err), TB_E_REFUSED, err, "pruned");
    tb_after_release(&after);
    tb_graph_free(&g);
    assert_int_equal(tb_mem_live(), 0);
}

static void stages_without_data_or_of_no_name_are_refused(void **state)
{
    (void)state;
    tb_err err;
    tb_graph *g = tiny();
    tb_after after;
    CHECK_ERR(
        tb_after_run(&after, &g, &(tb_after_options){.quantise = "int8"}, &err),
        TB_E_USAGE, err, "needs data");
    CHECK(g == NULL);
    g = tiny();
    CHECK_ERR(
        tb_after_run(&after, &g, &(tb_after_options){.quantise = "int9"}, &err),
        TB_E_USAGE, err, "did you mean int8?");
    assert_int_equal(after.n, 0);
    tb_graph_free(&g);
    assert_int_equal(tb_mem_live(), 0);
}

static tb_rc attempt(void *arg, tb_err *err)
{
    tb_after after;
    const tb_after_options o = {.prune = "structured",
                                .amount = 0.4,
                                .quantise = "int8",
                                .ranges = fake_ranges};
    tb_graph *g = NULL;
    tb_rc rc = tb_graph_clone(&g, arg, err);
    if (rc == TB_OK) {
        rc = tb_after_run(&after, &g, &o, err);
        tb_after_release(&after);
    }
    tb_graph_free(&g);
    return rc;
}

static void survives_each_allocation_failing(void **state)
{
    (void)state;
    tb_graph *g = tiny();
    CHECK(tb_check_each_allocation(attempt, g) >= 100);
    tb_graph_free(&g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(int8_scales_and_numbers_are_those_by_hand),
        cmocka_unit_test(scales_stay_above_zero_when_all_is_dead),
        cmocka_unit_test(int8_stays_within_the_sum_of_half_steps),
        cmocka_unit_test(ranges_of_another_model_or_not_finite_are_refused),
        cmocka_unit_test(pow2_chooses_p_by_the_largest_weight),
        cmocka_unit_test(a_smaller_model_says_what_the_masked_one_says),
        cmocka_unit_test(neurons_go_only_where_nothing_else_reads_them),
        cmocka_unit_test(the_guard_refuses_and_says_by_how_much),
        cmocka_unit_test(stages_without_data_or_of_no_name_are_refused),
        cmocka_unit_test(survives_each_allocation_failing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
