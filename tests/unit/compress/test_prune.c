#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "compress/choose.h"
#include "compress/prune.h"
#include "model/build.h"
#include "model/params.h"
#include "support/check.h"

/* 2 inputs, 3 hidden neurons, 2 outputs: fc1.weight [3, 2], fc1.bias [3],
 * fc2.weight [2, 3], fc2.bias [2]. */
#define N 17

static const float start[N] = {1.0F, -5.0F, 0.5F, 0.5F, 2.0F,  -2.0F,
                               9.0F, 8.0F,  7.0F,                    /* bias */
                               0.1F, 0.2F,  0.3F, 4.0F, -0.4F, 6.0F, /* fc2 */
                               5.0F, 5.0F};

static tb_graph *tiny(void)
{
    tb_graph *g = NULL;
    tb_err err;
    CHECK_OK(tb_build_new(&g, "mlp:2-3-2", 1, NULL, &err), err);
    CHECK_OK(tb_params_set(g, start, N, &err), err);
    return g;
}

static void assert_kept(const uint8_t *keep, const char *want)
{
    for (size_t i = 0; i < N; i++) {
        assert_int_equal(keep[i], want[i] - '0');
    }
}

/* Zhu and Gupta 2017 with s_i = 0, by hand: 1 - (1 - t)^3 at t = 1/4, 1/2, 3/4,
 * 1 is 37/64, 56/64, 63/64, 1. */
static void the_schedule_is_cubic_over_the_last_rounds(void **state)
{
    (void)state;
    CHECK(tb_prune_amount(0.64, 6, 10, 4) == 0.0);
    CHECK(fabs(tb_prune_amount(0.64, 7, 10, 4) - 0.37) < 1e-12);
    CHECK(fabs(tb_prune_amount(0.64, 8, 10, 4) - 0.56) < 1e-12);
    CHECK(fabs(tb_prune_amount(0.64, 9, 10, 4) - 0.63) < 1e-12);
    CHECK(tb_prune_amount(0.64, 10, 10, 4) == 0.64);
    CHECK(tb_prune_amount(0.64, 11, 10, 4) == 0.64);
    CHECK(tb_prune_amount(0.64, 10, 10, 0) == 0.0);
    CHECK(fabs(tb_prune_amount(0.64, 1, 2, 9) - 0.56) < 1e-12);
}

static void each_layer_loses_its_smallest_weights_and_no_bias(void **state)
{
    (void)state;
    tb_err err;
    uint8_t keep[N];
    tb_graph *g = tiny();
    tb_prune_options o = {.amount = 0.5};
    CHECK_OK(tb_prune_mask(keep, g, NULL, N, &o, &err), err);
    /* Three of six go: of fc1 0.5, 0.5, 1; of fc2 0.1, 0.2, 0.3. */
    assert_kept(keep, "01001111100011111");
    o.amount = 0.0;
    CHECK_OK(tb_prune_mask(keep, g, NULL, N, &o, &err), err);
    assert_kept(keep, "11111111111111111");
    tb_graph_free(&g);
    assert_int_equal(tb_mem_live(), 0);
}

static void globally_the_smallest_of_all_layers_go(void **state)
{
    (void)state;
    tb_err err;
    uint8_t keep[N];
    tb_graph *g = tiny();
    tb_prune_options o = {.scope = TB_PRUNE_GLOBAL, .amount = 0.5};
    CHECK_OK(tb_prune_mask(keep, g, NULL, N, &o, &err), err);
    /* Six of twelve: 0.1 0.2 0.3 0.4 and both 0.5. */
    assert_kept(keep, "11001111100010111");
    tb_graph_free(&g);
}

static void equal_weights_go_in_the_order_of_the_vector(void **state)
{
    (void)state;
    tb_err err;
    uint8_t keep[N];
    float same[N];
    tb_graph *g = tiny();
    for (size_t i = 0; i < N; i++) {
        same[i] = i % 2 == 0 ? 1.0F : -1.0F;
    }
    tb_prune_options o = {.scope = TB_PRUNE_GLOBAL, .amount = 0.5};
    CHECK_OK(tb_prune_mask(keep, g, same, N, &o, &err), err);
    assert_kept(keep, "00000011111111111");
    tb_graph_free(&g);
}

/* A naive twin: who goes before i, by magnitude, NaN last, then by place. */
static bool goes_before(const float *v, size_t k, size_t i)
{
    float a = fabsf(v[k]);
    float b = fabsf(v[i]);
    if (isnan(a) || isnan(b)) {
        return isnan(a) == isnan(b) ? k < i : isnan(b);
    }
    return a != b ? a < b : k < i;
}

static void the_least_are_those_of_a_naive_ranking(void **state)
{
    static const float v[] = {
        1.0F,     -1.0F,     0.0F, -0.0F,           0x1p-149F,  -0x1p-149F,
        INFINITY, -INFINITY, NAN,  0x1.000002p0F,   -0x1p-126F, 3.0F,
        1.0F,     65536.0F,  NAN,  -0x1.fffffep-1F, 0x1.01p0F,  0x1.0101p0F};
    enum { N_ALL = sizeof v / sizeof *v, FIRST = 7 };
    (void)state;
    for (size_t n_drop = 0; n_drop <= N_ALL; n_drop++) {
        uint8_t keep[N_ALL];
        tb_err err;
        memset(keep, 1, sizeof keep);
        const tb_scores layers[] = {{v, keep, FIRST},
                                    {v + FIRST, keep + FIRST, N_ALL - FIRST}};
        CHECK_OK(tb_choose_least(layers, 2, n_drop, &err), err);
        for (size_t i = 0; i < N_ALL; i++) {
            size_t rank = 0;
            for (size_t k = 0; k < N_ALL; k++) {
                rank += k != i && goes_before(v, k, i);
            }
            assert_int_equal(keep[i], rank >= n_drop);
        }
    }
    CHECK(tb_mem_live() == 0);
}

static void a_mask_grows_with_its_amount(void **state)
{
    (void)state;
    tb_err err;
    tb_graph *g = NULL;
    CHECK_OK(tb_build_new(&g, "mlp:20-30-10-5", 3, NULL, &err), err);
    size_t n = tb_params_count(g);
    float *params = test_malloc(n * sizeof *params);
    uint8_t *keep = test_malloc(n);
    uint8_t *before = test_malloc(n);
    for (int kind = 0; kind < 2; kind++) {
        for (int scope = 0; scope < 2; scope++) {
            CHECK_OK(tb_params_get(g, params, n, &err), err);
            memset(before, 1, n);
            for (uint32_t round = 1; round <= 5; round++) {
                tb_prune_options o = {.kind = (tb_prune_kind)kind,
                                      .scope = (tb_prune_scope)scope,
                                      .amount =
                                          tb_prune_amount(0.8, round, 5, 4)};
                CHECK_OK(tb_prune_mask(keep, g, params, n, &o, &err), err);
                for (size_t i = 0; i < n; i++) {
                    CHECK(keep[i] <= before[i]);
                    /* What is left moves, as training would. */
                    params[i] = keep[i] != 0 ? params[i] * 0.9F + 0.01F : 0.0F;
                }
                memcpy(before, keep, n);
            }
        }
    }
    test_free(params);
    test_free(keep);
    test_free(before);
    tb_graph_free(&g);
}

/* L1 norms of the neurons: 6, 1, 4. L2: 5.1, 0.7, 2.8. */
static void a_neuron_goes_with_its_weights_and_bias(void **state)
{
    (void)state;
    tb_err err;
    uint8_t keep[N];
    tb_graph *g = tiny();
    for (int norm = 0; norm < 2; norm++) {
        tb_prune_options o = {
            .kind = TB_PRUNE_STRUCTURED, .norm = (tb_norm)norm, .amount = 0.34};
        CHECK_OK(tb_prune_mask(keep, g, NULL, N, &o, &err), err);
        assert_kept(keep, "11001110111111111");
        o.amount = 0.99; /* one neuron always stays */
        CHECK_OK(tb_prune_mask(keep, g, NULL, N, &o, &err), err);
        assert_kept(keep, "11000010011111111");
    }
    tb_graph_free(&g);
}

/* (3, 3) has L1 6 and L2 4.2; (0, 5) has L1 5 and L2 5. */
static void l1_and_l2_disagree_where_they_should(void **state)
{
    (void)state;
    tb_err err;
    uint8_t keep[N];
    float v[N];
    tb_graph *g = tiny();
    memcpy(v, start, sizeof v);
    const float rows[6] = {3, 3, 0, 5, 9, 9};
    memcpy(v, rows, sizeof rows);
    tb_prune_options o = {
        .kind = TB_PRUNE_STRUCTURED, .norm = TB_NORM_L1, .amount = 0.34};
    CHECK_OK(tb_prune_mask(keep, g, v, N, &o, &err), err);
    assert_kept(keep, "11001110111111111");
    o.norm = TB_NORM_L2;
    CHECK_OK(tb_prune_mask(keep, g, v, N, &o, &err), err);
    assert_kept(keep, "00111101111111111");
    tb_graph_free(&g);
}

/* fc1.weight [2, 1], fc1.bias [2], fc2.weight [2, 2], ...: both neurons of the
 * first layer are the smallest of four, but one of them stays. */
static void globally_every_layer_keeps_one_neuron(void **state)
{
    (void)state;
    tb_err err;
    static const float params[13] = {0.1F, 0.2F, 1, 1, 7, 7, 5, 5};
    static const uint8_t want[13] = {0, 1, 0, 1, 1, 1, 0, 0, 1, 0, 1, 1, 1};
    uint8_t keep[13];
    tb_graph *g = NULL;
    CHECK_OK(tb_build_new(&g, "mlp:1-2-2-1", 1, NULL, &err), err);
    tb_prune_options o = {
        .kind = TB_PRUNE_STRUCTURED, .scope = TB_PRUNE_GLOBAL, .amount = 0.5};
    CHECK_OK(tb_prune_mask(keep, g, params, 13, &o, &err), err);
    assert_memory_equal(keep, want, sizeof want);
    tb_graph_free(&g);
}

static void a_bad_amount_or_length_is_refused(void **state)
{
    (void)state;
    tb_err err;
    uint8_t keep[N];
    tb_graph *g = tiny();
    const double bad[] = {-0.1, 1.0, 2.0, (double)NAN, (double)INFINITY};
    for (size_t i = 0; i < 5; i++) {
        tb_prune_options o = {.amount = bad[i]};
        CHECK_ERR(tb_prune_mask(keep, g, NULL, N, &o, &err), TB_E_USAGE, err,
                  "below 1");
    }
    tb_prune_options o = {.amount = 0.5};
    CHECK_ERR(tb_prune_mask(keep, g, start, N - 1, &o, &err), TB_E_MISMATCH,
              err, "16 numbers for 17 parameters");
    tb_graph_free(&g);
}

static void a_model_without_hidden_layers_has_no_neurons(void **state)
{
    (void)state;
    tb_err err;
    uint8_t keep[8];
    tb_graph *g = NULL;
    CHECK_OK(tb_build_new(&g, "mlp:3-2", 1, NULL, &err), err);
    tb_prune_options o = {.kind = TB_PRUNE_STRUCTURED, .amount = 0.5};
    CHECK_ERR(tb_prune_mask(keep, g, NULL, 8, &o, &err), TB_E_UNSUPPORTED, err,
              "no hidden layer");
    o.kind = TB_PRUNE_UNSTRUCTURED;
    CHECK_OK(tb_prune_mask(keep, g, NULL, 8, &o, &err), err);
    tb_graph_free(&g);
}

static tb_rc attempt(void *arg, tb_err *err)
{
    uint8_t keep[N];
    tb_prune_options o = {
        .kind = TB_PRUNE_STRUCTURED, .scope = TB_PRUNE_GLOBAL, .amount = 0.5};
    tb_rc rc = tb_prune_mask(keep, arg, NULL, N, &o, err);
    o.kind = TB_PRUNE_UNSTRUCTURED;
    return rc == TB_OK ? tb_prune_mask(keep, arg, NULL, N, &o, err) : rc;
}

static void survives_each_allocation_failing(void **state)
{
    (void)state;
    tb_graph *g = tiny();
    CHECK(tb_check_each_allocation(attempt, g) >= 12);
    tb_graph_free(&g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_schedule_is_cubic_over_the_last_rounds),
        cmocka_unit_test(each_layer_loses_its_smallest_weights_and_no_bias),
        cmocka_unit_test(globally_the_smallest_of_all_layers_go),
        cmocka_unit_test(equal_weights_go_in_the_order_of_the_vector),
        cmocka_unit_test(the_least_are_those_of_a_naive_ranking),
        cmocka_unit_test(a_mask_grows_with_its_amount),
        cmocka_unit_test(a_neuron_goes_with_its_weights_and_bias),
        cmocka_unit_test(l1_and_l2_disagree_where_they_should),
        cmocka_unit_test(globally_every_layer_keeps_one_neuron),
        cmocka_unit_test(a_bad_amount_or_length_is_refused),
        cmocka_unit_test(a_model_without_hidden_layers_has_no_neurons),
        cmocka_unit_test(survives_each_allocation_failing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
