/* The choice of a cohort. */
#include "fed/select.h"

#include "support/check.h"

static void wanted_is_the_target_times_over_selection_rounded_up(void **state)
{
    (void)state;
    CHECK(tb_select_wanted(10, 1.0) == 10);
    CHECK(tb_select_wanted(10, 1.25) == 13);
    CHECK(tb_select_wanted(1, 1.01) == 2);
    CHECK(tb_select_wanted(99999, 2.0) == TB_COHORT_MAX);
}

static void equal_arguments_choose_alike_and_others_do_not(void **state)
{
    uint32_t a[20];
    uint32_t b[20];
    (void)state;
    tb_select(a, 20, 1000, 42, 3, 1);
    tb_select(b, 20, 1000, 42, 3, 1);
    assert_memory_equal(a, b, sizeof a);
    static const uint32_t other[3][3] = {{43, 3, 1}, {42, 4, 1}, {42, 3, 2}};
    for (size_t i = 0; i < 3; i++) {
        tb_select(b, 20, 1000, other[i][0], other[i][1], other[i][2]);
        assert_memory_not_equal(a, b, sizeof a);
    }
}

static void
chosen_ones_rise_and_all_are_chosen_when_all_are_wanted(void **state)
{
    uint32_t index[50];
    (void)state;
    for (uint32_t n = 0; n <= 50; n++) {
        tb_select(index, n, 50, 7, n + 1, 1);
        for (uint32_t i = 0; i < n; i++) {
            CHECK(index[i] < 50 && (i == 0 || index[i] > index[i - 1]));
            CHECK(n < 50 || index[i] == i);
        }
    }
}

static void every_client_has_the_same_chance(void **state)
{
    uint32_t count[12] = {0};
    uint32_t index[4];
    (void)state;
    for (uint32_t round = 1; round <= 12000; round++) {
        tb_select(index, 4, 12, 1, round, 1);
        for (size_t i = 0; i < 4; i++) {
            count[index[i]]++;
        }
    }
    /* binomial(12000, 1/3): mean 4000, standard deviation 51.6 */
    for (size_t i = 0; i < 12; i++) {
        CHECK(count[i] > 4000 - 5 * 52 && count[i] < 4000 + 5 * 52);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(wanted_is_the_target_times_over_selection_rounded_up),
        cmocka_unit_test(equal_arguments_choose_alike_and_others_do_not),
        cmocka_unit_test(
            chosen_ones_rise_and_all_are_chosen_when_all_are_wanted),
        cmocka_unit_test(every_client_has_the_same_chance),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
