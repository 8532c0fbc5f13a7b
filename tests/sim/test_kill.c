/* kill -9 of the coordinator at every row of its journal. */
#include "fleet.h"

#include <string.h>

static void set_up(fleet *f)
{
    fleet_init(f, 3, 2, 11);
    f->run.evaluate = TB_WHERE_CLIENTS;
    f->run.calibrate = TB_WHERE_CLIENTS;
}

/* The unkilled run: its rows and its model. */
static uint64_t reference(tb_hash *model)
{
    fleet f;
    set_up(&f);
    fleet_start(&f);
    fleet_finish(&f, 60000);
    *model = f.ended.model.raw;
    uint64_t n = f.n_rows;
    CHECK(f.kinds[TB_REC_ABANDONED] == 0);
    fleet_release(&f);
    return n;
}

static void kill_at_each_row(bool durable)
{
    tb_hash model;
    uint64_t n = reference(&model);
    uint64_t first = 7; /* 6 rows enrol three clients, before the start */
    for (uint64_t row = first; row < n; row++) {
        fleet f;
        set_up(&f);
        tb_err err = {0};
        CHECK_OK(tb_sim_new(&f.sim, &f.params, &err), err);
        fleet_pass(&f, 10); /* the members are durable */
        tb_sim_kill_at_row(f.sim, row, durable);
        CHECK_OK(tb_sim_start(f.sim, &f.run, &err), err);
        if (!durable) {
            fleet_pass(&f, 5);
            if (tb_coordinator_runs(tb_sim_coordinator(f.sim)) == 0) {
                /* the start was lost, and nobody was told it had worked */
                CHECK(row <= first + 1);
                CHECK_OK(tb_sim_start(f.sim, &f.run, &err), err);
            }
        }
        fleet_finish(&f, 120000);
        CHECK(f.ended.outcome == TB_OUTCOME_DONE);
        CHECK(f.kinds[TB_REC_ABANDONED] == 0);
        CHECK(tb_hash_equal(&f.ended.model.raw, &model));
        for (size_t i = 0; i < f.n_rounds; i++) {
            CHECK(f.rounds[i].n_in == 3);
        }
        fleet_release(&f);
    }
}

static void killed_with_each_row_durable_it_ends_in_the_same_bits(void **state)
{
    (void)state;
    kill_at_each_row(true);
}

static void killed_with_each_row_lost_it_ends_in_the_same_bits(void **state)
{
    (void)state;
    kill_at_each_row(false);
}

static void killed_at_each_millisecond_it_ends_in_the_same_bits(void **state)
{
    tb_hash model;
    (void)state;
    (void)reference(&model);
    for (int64_t at = 11; at < 260; at += 2) {
        fleet f;
        tb_err err = {0};
        set_up(&f);
        CHECK_OK(tb_sim_new(&f.sim, &f.params, &err), err);
        fleet_pass(&f, 10);
        CHECK_OK(tb_sim_start(f.sim, &f.run, &err), err);
        fleet_pass(&f, at - 10);
        if (f.ended.outcome == 0) {
            CHECK_OK(tb_sim_kill_coordinator(f.sim, 3, &err), err);
            fleet_finish(&f, 120000);
        }
        CHECK(f.kinds[TB_REC_ABANDONED] == 0);
        CHECK(tb_hash_equal(&f.ended.model.raw, &model));
        fleet_release(&f);
    }
}

static void a_deadline_counts_up_time_only(void **state)
{
    fleet f;
    tb_err err = {0};
    (void)state;
    fleet_init(&f, 2, 1, 1);
    f.run.deadline_ms = 16000;
    f.params.world.work_ms = 1000000; /* nobody will be in time */
    fleet_start(&f);
    fleet_pass(&f, 10000);
    CHECK_OK(tb_sim_kill_coordinator(f.sim, 50000, &err), err);
    fleet_pass(&f, 50100);
    tb_run_status status = fleet_status(&f);
    CHECK(status.phase == TB_PHASE_TRAINING);
    int64_t left = status.deadline_ms - tb_sim_now(f.sim);
    /* 6 s were left, known to an eighth of the deadline and a sweep */
    CHECK(left >= 5800 && left <= 6000 + 2000 + 1000);
    fleet_release(&f);
}

/* Two machines fed with the same rows. */
static void a_replayed_machine_knows_what_the_first_one_knew(void **state)
{
    fleet f;
    tb_err err = {0};
    (void)state;
    set_up(&f);
    fleet_start(&f);
    fleet_pass(&f, 150);
    tb_run_status before = fleet_status(&f);
    CHECK(before.phase == TB_PHASE_TRAINING);
    fleet_pass(&f, 5); /* its rows are durable */
    CHECK_OK(tb_sim_kill_coordinator(f.sim, 0, &err), err);
    fleet_pass(&f, 0);
    tb_run_status after = fleet_status(&f);
    CHECK(after.round == before.round && after.task == before.task);
    CHECK(after.n_accepted >= before.n_accepted);
    CHECK(after.n_asked == before.n_asked);
    CHECK(tb_hash_equal(&after.model.raw, &before.model.raw));
    fleet_finish(&f, 60000);
    fleet_release(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(killed_with_each_row_durable_it_ends_in_the_same_bits),
        cmocka_unit_test(killed_with_each_row_lost_it_ends_in_the_same_bits),
        cmocka_unit_test(killed_at_each_millisecond_it_ends_in_the_same_bits),
        cmocka_unit_test(a_deadline_counts_up_time_only),
        cmocka_unit_test(a_replayed_machine_knows_what_the_first_one_knew),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
