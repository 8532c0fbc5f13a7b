/* What a stale update counts. */
#include "fed/run.h"

#include <math.h>

#include "support/check.h"

/* 65536 / sqrt(1 + s), rounded, from Python's decimal with 60 digits. */
static void the_factor_is_the_rounded_inverse_root(void **state)
{
    static const struct {
        uint32_t staleness, factor;
    } rows[] = {{0, 65536},     {1, 46341},  {2, 37837},   {3, 32768},
                {4, 29309},     {5, 26755},  {7, 23170},   {8, 21845},
                {10, 19760},    {15, 16384}, {24, 13107},  {99, 6554},
                {100, 6521},    {255, 4096}, {1000, 2071}, {65535, 256},
                {UINT32_MAX, 1}};
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        assert_int_equal(tb_stale_factor(rows[i].staleness), rows[i].factor);
    }
    for (uint32_t s = 0; s <= TB_STALENESS_MAX; s++) {
        double near = 65536.0 / sqrt(1.0 + s);
        CHECK(fabs((double)tb_stale_factor(s) - near) <= 0.5 + 1e-9);
    }
}

static void weights_follow_mode_and_task(void **state)
{
    static tb_run_params p; /* large */
    (void)state;
    p.max_weight = 65535;
    p.target = 20;
    p.buffer = 10;
    p.over_selection = 1.5;
    tb_weights w = tb_run_weights(&p, TB_TASK_TRAIN, 300, 0);
    CHECK(w.weight == 300 && w.full == 300);
    CHECK(tb_run_updates_max(&p, TB_TASK_TRAIN) == 30);
    p.weights = TB_WEIGHTS_UNIFORM;
    w = tb_run_weights(&p, TB_TASK_TRAIN, 300, 0);
    CHECK(w.weight == 1 && w.full == 1);
    w = tb_run_weights(&p, TB_TASK_EVALUATE, 300, 0);
    CHECK(w.weight == 300 && w.full == 300);
    p.mode = TB_MODE_ASYNC;
    w = tb_run_weights(&p, TB_TASK_TRAIN, 300, 3);
    CHECK(w.weight == 32768 && w.full == 65536);
    CHECK(tb_run_weight_max(&p, TB_TASK_TRAIN) == 65536);
    CHECK(tb_run_weight_max(&p, TB_TASK_EVALUATE) == 65535);
    CHECK(tb_run_updates_max(&p, TB_TASK_TRAIN) == 10);
    CHECK(tb_run_updates_max(&p, TB_TASK_EVALUATE) == 15);
    p.weights = TB_WEIGHTS_SAMPLES;
    w = tb_run_weights(&p, TB_TASK_TRAIN, 300, 3);
    CHECK(w.weight == 300 * 32768 && w.full == 300 * 65536);
    CHECK(tb_run_weight_max(&p, TB_TASK_TRAIN) == 65535u * 65536u);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_factor_is_the_rounded_inverse_root),
        cmocka_unit_test(weights_follow_mode_and_task),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
