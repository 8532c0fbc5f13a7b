/* What every strategy must do, and what each one computes. */
#include "fed/strategy.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "support/check.h"

#define N_PARAMS 5000

static tb_round_config round_of(const tb_strategy *strategy)
{
    tb_round_config c = {
        .fraction_bits = 30, .max_abs = 8.0F, .max_weight = 1000};
    c.n_sections =
        tb_strategy_sections(strategy, TB_TASK_TRAIN, c.sections,
                             &(tb_strategy_sizes){.n_params = N_PARAMS});
    return c;
}

static tb_sum *sum_of(const tb_round_config *config, uint32_t n_updates)
{
    tb_sum *sum = NULL;
    tb_err err = {0};
    CHECK_OK(tb_sum_new(&sum, config, 8, &err), err);
    size_t n = tb_sum_values(sum);
    float *x = tb_mem_array(n, sizeof *x);
    CHECK(x != NULL);
    for (uint32_t c = 0; x != NULL && c < n_updates; c++) {
        for (size_t i = 0; i < n; i++) {
            x[i] = (float)(c + 1) * 0.25F;
        }
        CHECK_OK(tb_sum_add(sum, 0, x, n, c + 1, &err), err);
        CHECK_OK(tb_sum_count(sum, c + 1, &err), err);
    }
    tb_mem_free(x);
    return sum;
}

static void one_strategy(const tb_strategy *s)
{
    tb_err err = {0};
    tb_strategy_settings settings = {.server_lr = 1.0};
    print_message("strategy %s\n", s->name);
    CHECK(tb_strategy_find(s->name) == s);
    tb_round_config config = round_of(s);
    CHECK(config.n_sections >= 1 && config.n_sections <= TB_SECTIONS_MAX);
    CHECK(strcmp(config.sections[0].name.text, TB_SECTION_PARAMETERS) == 0);
    CHECK(config.sections[0].n_values == N_PARAMS);
    for (uint32_t i = 0; i < config.n_sections; i++) {
        CHECK(tb_name_valid(config.sections[i].name.text));
    }
    float *once = tb_mem_array(N_PARAMS, sizeof *once);
    float *again = tb_mem_array(N_PARAMS, sizeof *again);
    float *state = tb_mem_array(2 * s->n_state(N_PARAMS), sizeof *state);
    CHECK(once != NULL && again != NULL && state != NULL);
    tb_sum *sum = sum_of(&config, 3);
    CHECK_OK(s->aggregate(&settings, sum, once, N_PARAMS, state, &err), err);
    CHECK_OK(s->aggregate(&settings, sum, again, N_PARAMS,
                          state + s->n_state(N_PARAMS), &err),
             err);
    assert_memory_equal(once, again, N_PARAMS * sizeof *once);
    CHECK_ERR(s->aggregate(&settings, sum, once, N_PARAMS + 1, state, &err),
              TB_E_MISMATCH, err, s->name);
    tb_sum_free(&sum);
    sum = sum_of(&config, 0);
    CHECK_ERR(s->aggregate(&settings, sum, once, N_PARAMS, state, &err),
              TB_E_MISMATCH, err, "0 updates");
    assert_memory_equal(once, again, N_PARAMS * sizeof *once);
    tb_sum_free(&sum);
    tb_mem_free(once);
    tb_mem_free(again);
    tb_mem_free(state);
}

static void each_strategy_is_pure_and_checks_its_sum(void **state)
{
    size_t n = 0;
    (void)state;
    for (; tb_strategy_at(n) != NULL; n++) {
        one_strategy(tb_strategy_at(n));
    }
    CHECK(n >= 1);
    CHECK(tb_strategy_find("fedsum") == NULL);
}

static void fedavg_is_the_mean_weighted_by_samples(void **state)
{
    const tb_strategy *s = tb_strategy_find("fedavg");
    tb_round_config config = round_of(s);
    float params[N_PARAMS];
    tb_err err = {0};
    (void)state;
    for (size_t i = 0; i < N_PARAMS; i++) {
        params[i] = 10.0F;
    }
    /* weights 1, 2, 3 of 0.25, 0.5, 0.75: (0.25 + 1 + 2.25) / 6 = 7/12 */
    tb_sum *sum = sum_of(&config, 3);
    tb_strategy_settings settings = {.server_lr = 0.5};
    CHECK_OK(s->aggregate(&settings, sum, params, N_PARAMS, NULL, &err), err);
    for (size_t i = 0; i < N_PARAMS; i++) {
        CHECK(fabs((double)params[i] - (10.0 + 0.5 * 7.0 / 12.0)) < 1e-6);
    }
    CHECK(fabs(tb_strategy_metric(&config, sum, TB_SECTION_LOSS) - 7.0 / 12.0) <
          1e-7);
    CHECK(isnan(tb_strategy_metric(&config, sum, TB_SECTION_ACCURACY)));
    tb_sum_free(&sum);
}

static void other_tasks_have_sections_of_their_own(void **state)
{
    const tb_strategy *s = tb_strategy_find("fedavg");
    tb_section out[TB_SECTIONS_MAX];
    (void)state;
    const tb_strategy_sizes sizes = {
        .n_params = N_PARAMS, .n_statistics = 4, .n_observed = 6};
    tb_round_config c = {0};
    c.n_sections = tb_strategy_sections(s, TB_TASK_TRAIN, c.sections, &sizes);
    CHECK(c.n_sections == 3 && c.sections[2].n_values == 4);
    CHECK(c.sections[2].weighted);
    CHECK(tb_strategy_offset(&c, TB_SECTION_STATISTICS) == N_PARAMS + 1);
    CHECK(tb_strategy_offset(&c, TB_SECTION_ACCURACY) == SIZE_MAX);
    CHECK(tb_strategy_sections(s, TB_TASK_EVALUATE, out, &sizes) == 2);
    CHECK(strcmp(out[1].name.text, TB_SECTION_ACCURACY) == 0);
    CHECK(out[0].n_values == 1 && out[0].weighted);
    CHECK(tb_strategy_sections(s, TB_TASK_CALIBRATE, out, &sizes) == 2);
    CHECK(out[0].n_values == 6 && out[1].n_values == 6);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_strategy_is_pure_and_checks_its_sum),
        cmocka_unit_test(fedavg_is_the_mean_weighted_by_samples),
        cmocka_unit_test(other_tasks_have_sections_of_their_own),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
