/* What a run may take on the disk, before it starts. */
#include <string.h>

#include "disk.h"
#include "support/check.h"

static tb_run_params params;
static tb_daemon_settings settings;

/* 131,072 values in f32: 2 blocks of values, and the head's; 10 clients, 30
 * rounds, a model of 600,000 bytes. */
static void make(void)
{
    memset(&params, 0, sizeof params);
    CHECK(tb_name_set(&params.codec, "f32"));
    params.n_params = 131072;
    params.model.raw_bytes = 600000;
    params.rounds = 30;
    params.target = 10;
    params.minimum = 5;
    params.over_selection = 1.0;
    params.max_weight = 1000;
    memset(&settings, 0, sizeof settings);
    settings.keep.checkpoints = 3;
}

static void an_update_is_its_blocks_sealed_as_records(void **state)
{
    (void)state;
    make();
    /* 3 blocks of 65,536 floats, tag 16, record 64, at least; one block more
     * at most */
    uint64_t block = 65536 * 4 + 16 + 64;
    tb_disk_need need = tb_disk_need_of(&params, &settings);
    CHECK(need.updates >= 10 * 3 * block);
    CHECK(need.updates <= 10 * 4 * block);
    CHECK(tb_name_set(&params.codec, "q8"));
    tb_disk_need q8 = tb_disk_need_of(&params, &settings);
    CHECK(q8.updates < need.updates / 3 && q8.updates > need.updates / 5);
}

static void kept_updates_are_those_of_all_rounds(void **state)
{
    (void)state;
    make();
    tb_disk_need one = tb_disk_need_of(&params, &settings);
    settings.keep_updates = true;
    tb_disk_need all = tb_disk_need_of(&params, &settings);
    CHECK(all.updates == 30 * one.updates && all.models == one.models);
}

static void models_are_those_that_the_retention_leaves(void **state)
{
    (void)state;
    make();
    tb_disk_need three = tb_disk_need_of(&params, &settings);
    settings.keep.checkpoints = 0; /* all */
    tb_disk_need all = tb_disk_need_of(&params, &settings);
    CHECK(all.models - three.models == 27 * 600000);
    /* three of rounds, that of the start, the best by either measure, the one
     * in the making; in the end fp32, pruned, int8, pow2 */
    CHECK(three.models == (3 + 4 + 4) * 600000);
}

/* Each part counts to the byte: the job's own three, what other runs may still
 * take, and the reserve. */
static void a_byte_too_few_is_refused_and_just_enough_is_not(void **state)
{
    static const struct {
        tb_disk_need need;
        uint64_t others, keep_free, sum;
    } parts[] = {{{1000, 0, 0}, 0, 0, 1000},
                 {{0, 2000, 0}, 0, 0, 2000},
                 {{0, 0, 3000}, 0, 0, 3000},
                 {{0, 0, 0}, 4000, 0, 4000},
                 {{0, 0, 0}, 0, 5000, 5000},
                 {{1, 20, 300}, 4000, 50000, 54321},
                 {{UINT64_MAX - 9, 2, 3}, 1, 3, UINT64_MAX}};
    tb_err err;
    (void)state;
    make();
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        const tb_disk_need *need = &parts[i].need;
        settings.keep_free = parts[i].keep_free;
        CHECK_OK(tb_disk_fits("fleet", parts[i].sum, need, parts[i].others,
                              &settings, &err),
                 err);
        CHECK_ERR(tb_disk_fits("fleet", parts[i].sum - 1, need, parts[i].others,
                               &settings, &err),
                  TB_E_FULL, err, "fleet has");
    }
}

static void what_does_not_fit_is_refused_with_all_figures(void **state)
{
    tb_err err;
    (void)state;
    make();
    tb_disk_need need = tb_disk_need_of(&params, &settings);
    CHECK_OK(tb_disk_check("/", &need, 0, &settings, &err), err);
    params.target = UINT32_MAX; /* nothing wraps around */
    params.n_params = UINT64_MAX / 2;
    need = tb_disk_need_of(&params, &settings);
    CHECK(need.updates == UINT64_MAX);
    CHECK_ERR(tb_disk_check("/", &need, 0, &settings, &err), TB_E_FULL, err,
              "lower cohort.target, keep.checkpoints");
    make();
    need = tb_disk_need_of(&params, &settings);
    CHECK_ERR(tb_disk_check("/", &need, UINT64_MAX, &settings, &err), TB_E_FULL,
              err, "--force");
    settings.keep_free = UINT64_MAX;
    CHECK_ERR(tb_disk_check("/", &need, 0, &settings, &err), TB_E_FULL, err,
              "keep.free");
    CHECK_ERR(tb_disk_check("/no such folder", &need, 0, &settings, &err),
              TB_E_NOT_FOUND, err, "no such folder");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_update_is_its_blocks_sealed_as_records),
        cmocka_unit_test(kept_updates_are_those_of_all_rounds),
        cmocka_unit_test(models_are_those_that_the_retention_leaves),
        cmocka_unit_test(a_byte_too_few_is_refused_and_just_enough_is_not),
        cmocka_unit_test(what_does_not_fit_is_refused_with_all_figures),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
