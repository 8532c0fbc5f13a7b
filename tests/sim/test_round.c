/* Rounds as a person would tell them. */
#include "fleet.h"

#include <string.h>

static uint32_t refused(const fleet *f, tb_refusal code)
{
    tb_status status;
    tb_coordinator_status(tb_sim_coordinator(f->sim), &status);
    return status.n_refused[code];
}

static void three_clients_finish_three_rounds(void **state)
{
    fleet f;
    (void)state;
    fleet_init(&f, 3, 3, 1);
    fleet_start(&f);
    fleet_finish(&f, 60000);
    CHECK(f.ended.outcome == TB_OUTCOME_DONE);
    CHECK(f.n_rounds == 3 && f.kinds[TB_REC_ACCEPTED] == 9);
    CHECK(f.kinds[TB_REC_ABANDONED] == 0 && f.kinds[TB_REC_VERSION] == 1);
    fleet_release(&f);
}

static tb_hash final_hash(size_t n, uint64_t world_seed, size_t workers,
                          uint64_t jitter)
{
    fleet f;
    fleet_init(&f, n, 3, 5);
    f.params.world.seed = world_seed;
    f.params.world.jitter_ms = jitter;
    f.params.n_workers = workers;
    fleet_start(&f);
    fleet_finish(&f, 60000);
    tb_hash hash = f.ended.model.raw;
    fleet_release(&f);
    return hash;
}

static void arrival_order_and_workers_do_not_change_the_model(void **state)
{
    (void)state;
    tb_hash first = final_hash(5, 1, 1, 0);
    for (uint64_t seed = 2; seed < 8; seed++) {
        tb_hash again = final_hash(5, seed, seed % 2 + 1, 40);
        CHECK(tb_hash_equal(&first, &again));
    }
}

static bool uploading(const fleet *f)
{
    tb_client_status status;
    tb_client_status_get(tb_sim_client(f->sim, 1), &status);
    return status.phase == TB_CPHASE_UPLOADING;
}

static void a_client_that_dies_in_mid_upload_is_left_out(void **state)
{
    fleet f;
    tb_err err = {0};
    (void)state;
    fleet_init(&f, 3, 1, 1);
    f.run.deadline_ms = 3000;
    fleet_start(&f);
    fleet_until(&f, uploading, 1000);
    CHECK_OK(tb_sim_kill_client(f.sim, 1, UINT64_MAX, &err), err);
    fleet_finish(&f, 60000);
    CHECK(f.ended.outcome == TB_OUTCOME_DONE);
    CHECK(f.rounds[0].in[0] && !f.rounds[0].in[1] && f.rounds[0].in[2]);
    CHECK(tb_sim_now(f.sim) >= 3000); /* the round waited for its deadline */
    fleet_release(&f);
}

static void a_client_away_for_lost_ms_is_not_waited_for(void **state)
{
    fleet f;
    tb_err err = {0};
    (void)state;
    fleet_init(&f, 3, 1, 1);
    f.run.lost_ms = 500;
    fleet_start(&f);
    fleet_until(&f, uploading, 1000);
    CHECK_OK(tb_sim_kill_client(f.sim, 1, UINT64_MAX, &err), err);
    fleet_finish(&f, 60000);
    CHECK(f.rounds[0].n_in == 2);
    CHECK(tb_sim_now(f.sim) < 5000);
    fleet_release(&f);
}

static void a_client_that_comes_back_resumes_its_upload(void **state)
{
    fleet f;
    tb_err err = {0};
    (void)state;
    fleet_init(&f, 3, 1, 1);
    fleet_start(&f);
    fleet_until(&f, uploading, 1000);
    CHECK_OK(tb_sim_kill_client(f.sim, 1, 100, &err), err);
    fleet_finish(&f, 20000);
    CHECK(f.rounds[0].n_in == 3);
    tb_client_status status;
    tb_client_status_get(tb_sim_client(f.sim, 1), &status);
    CHECK(status.n_receipts == 1);
    CHECK(status.blocks_sent <= 3); /* of 3: what the coordinator lacked */
    fleet_release(&f);
}

static void a_cut_connection_costs_nothing(void **state)
{
    fleet f;
    tb_err err = {0};
    (void)state;
    fleet_init(&f, 3, 2, 1);
    fleet_start(&f);
    for (int64_t i = 0; i < 6; i++) {
        fleet_pass(&f, 9);
        CHECK_OK(tb_sim_cut(f.sim, (size_t)i % 3, &err), err);
    }
    fleet_finish(&f, 60000);
    CHECK(f.rounds[0].n_in == 3 && f.rounds[1].n_in == 3);
    fleet_release(&f);
}

static void a_flipped_bit_expels_its_sender_and_the_round_goes_on(void **state)
{
    (void)state;
    for (uint32_t block = 0; block < 3; block++) {
        fleet f;
        fleet_init(&f, 3, 1, 1);
        f.flip_bit_of = 2;
        f.flip_from_block = block;
        fleet_start(&f);
        fleet_finish(&f, 20000);
        CHECK(f.ended.outcome == TB_OUTCOME_DONE);
        CHECK(f.rounds[0].n_in == 2 && !f.rounds[0].in[2]);
        CHECK(f.rounds[0].n_expelled == 1);
        CHECK(refused(&f, TB_REFUSE_SEAL) == 1);
        fleet_release(&f);
    }
}

static void a_client_that_spoils_three_rounds_is_not_asked_again(void **state)
{
    fleet f;
    (void)state;
    fleet_init(&f, 4, 6, 1);
    f.run.target = 3;
    f.run.over_selection = 1.4;
    f.flip_bit_of = 2;
    fleet_start(&f);
    fleet_finish(&f, 200000);
    CHECK(f.ended.outcome == TB_OUTCOME_DONE);
    CHECK(f.kinds[TB_REC_EXPELLED] == 3);
    fleet_release(&f);
}

static void a_client_that_cannot_train_declines(void **state)
{
    fleet f;
    (void)state;
    fleet_init(&f, 3, 1, 1);
    f.decline_of = 0;
    fleet_start(&f);
    fleet_finish(&f, 20000);
    CHECK(f.rounds[0].n_in == 2 && !f.rounds[0].in[0]);
    tb_client_status status;
    tb_client_status_get(tb_sim_client(f.sim, 0), &status);
    CHECK(strstr(status.last_why, "no memory") != NULL);
    fleet_release(&f);
}

static void clients_without_the_data_set_are_not_asked(void **state)
{
    fleet f;
    (void)state;
    fleet_init(&f, 2, 1, 1);
    CHECK(tb_name_set(&f.params.client.data_sets[0], "letters"));
    fleet_start(&f);
    fleet_pass(&f, 20000);
    tb_run_status status = fleet_status(&f);
    CHECK(status.phase == TB_PHASE_SELECTING && f.n_rounds == 0);
    CHECK(strstr(status.waits_for, "numbers") != NULL);
    fleet_release(&f);
}

static void too_few_updates_abandon_the_round_and_then_the_run(void **state)
{
    fleet f;
    (void)state;
    fleet_init(&f, 3, 1, 1);
    f.run.minimum = 3;
    f.run.max_attempts = 2;
    f.flip_bit_of = 1;
    fleet_start(&f);
    fleet_finish(&f, 200000);
    CHECK(f.ended.outcome == TB_OUTCOME_FAILED);
    CHECK(f.kinds[TB_REC_ABANDONED] == 2 && f.kinds[TB_REC_COMMITTED] == 0);
    CHECK(strstr(f.rounds[0].why, "2 of at least 3") != NULL);
    CHECK(f.rounds[1].config.attempt == 2);
    fleet_release(&f);
}

static void a_full_disk_stops_the_round_until_there_is_room(void **state)
{
    fleet f;
    (void)state;
    fleet_init(&f, 3, 1, 1);
    fleet_start(&f);
    tb_sim_disk_full(f.sim, 15000);
    fleet_pass(&f, 10000);
    tb_run_status status = fleet_status(&f);
    CHECK(status.phase == TB_PHASE_TRAINING && status.n_accepted == 0);
    CHECK(strstr(status.waits_for, "the disk is full") != NULL);
    fleet_finish(&f, 60000);
    CHECK(f.rounds[0].n_in == 3);
    CHECK(refused(&f, TB_REFUSE_FULL) > 0);
    fleet_release(&f);
}

static void a_full_disk_under_the_new_model_waits_too(void **state)
{
    fleet f;
    (void)state;
    fleet_init(&f, 2, 1, 1);
    f.fail_aggregates = 2;
    fleet_start(&f);
    fleet_finish(&f, 60000);
    CHECK(f.ended.outcome == TB_OUTCOME_DONE);
    CHECK(tb_sim_now(f.sim) >= 4000); /* it tried again, twice */
    fleet_release(&f);
}

static void a_guard_that_says_no_registers_nothing(void **state)
{
    fleet f;
    (void)state;
    fleet_init(&f, 2, 1, 1);
    f.fail_finish = TB_E_REFUSED;
    fleet_start(&f);
    fleet_finish(&f, 60000);
    CHECK(f.ended.outcome == TB_OUTCOME_REFUSED);
    CHECK(f.kinds[TB_REC_VERSION] == 0);
    CHECK(strstr(f.ended.why, "0.2") != NULL);
    fleet_release(&f);
}

static void a_cancelled_run_ends_with_the_operators_reason(void **state)
{
    fleet f;
    tb_err err = {0};
    (void)state;
    fleet_init(&f, 3, 5, 1);
    fleet_start(&f);
    fleet_until(&f, uploading, 1000);
    CHECK_OK(tb_sim_cancel(f.sim, &f.run.run, "wrong job", &err), err);
    fleet_finish(&f, 60000);
    CHECK(f.ended.outcome == TB_OUTCOME_CANCELLED);
    CHECK(strcmp(f.ended.why, "wrong job") == 0);
    CHECK_ERR(tb_sim_cancel(f.sim, &f.run.run, "twice", &err), TB_E_NOT_FOUND,
              err, "run");
    fleet_release(&f);
}

static void a_second_run_is_refused_while_one_lives(void **state)
{
    fleet f;
    tb_err err = {0};
    (void)state;
    fleet_init(&f, 2, 1, 1);
    fleet_start(&f);
    CHECK_ERR(tb_sim_start(f.sim, &f.run, &err), TB_E_BUSY, err, "demo");
    fleet_finish(&f, 60000);
    fleet_release(&f);
}

static void training_stops_early_and_the_best_model_is_published(void **state)
{
    fleet f;
    (void)state;
    fleet_init(&f, 2, 20, 1);
    f.run.evaluate = TB_WHERE_COORDINATOR;
    f.run.publish = TB_PUBLISH_BEST_ACCURACY;
    f.run.patience = 3;
    f.run.min_delta = 0.01;
    f.accuracy[1] = 0.5;
    f.accuracy[2] = 0.7;
    f.accuracy[3] = 0.705; /* better, but no gain of 0.01 */
    f.accuracy[4] = 0.6;
    f.accuracy[5] = 0.6;
    fleet_start(&f);
    fleet_finish(&f, 60000);
    CHECK(f.n_rounds == 5);
    CHECK(tb_hash_equal(&f.ended.model.raw, &f.rounds[2].result.raw));
    fleet_release(&f);
}

static void small_steps_that_add_up_to_a_gain_do_not_stop_it(void **state)
{
    fleet f;
    (void)state;
    fleet_init(&f, 2, 9, 1);
    f.run.evaluate = TB_WHERE_COORDINATOR;
    f.run.patience = 3;
    f.run.min_delta = 0.01;
    for (size_t i = 1; i <= 9; i++) { /* a gain in every second round */
        f.accuracy[i] = 0.5 + 0.006 * (double)i;
    }
    fleet_start(&f);
    fleet_finish(&f, 60000);
    CHECK(f.n_rounds == 9);
    fleet_release(&f);
}

static void clients_evaluate_each_round_and_calibrate_at_the_end(void **state)
{
    fleet f;
    (void)state;
    fleet_init(&f, 3, 2, 1);
    f.run.evaluate = TB_WHERE_CLIENTS;
    f.run.calibrate = TB_WHERE_CLIENTS;
    f.run.publish = TB_PUBLISH_BEST_LOSS;
    fleet_start(&f);
    fleet_finish(&f, 60000);
    const tb_task want[] = {TB_TASK_TRAIN, TB_TASK_EVALUATE, TB_TASK_TRAIN,
                            TB_TASK_EVALUATE, TB_TASK_CALIBRATE};
    CHECK(f.n_rounds == 5);
    for (size_t i = 0; i < 5; i++) {
        CHECK(f.rounds[i].config.task == want[i] && f.rounds[i].n_in == 3);
    }
    CHECK(f.rounds[4].config.n_sections == 2);
    CHECK(f.rounds[4].config.sections[0].n_values == 3);
    fleet_release(&f);
}

static void more_are_asked_than_needed_and_late_ones_are_refused(void **state)
{
    fleet f;
    (void)state;
    fleet_init(&f, 8, 4, 3);
    f.run.target = 4;
    f.run.minimum = 2;
    f.run.over_selection = 1.5;
    f.params.world.work_ms = 500; /* up to twice that: some are late */
    fleet_start(&f);
    fleet_finish(&f, 100000);
    for (size_t i = 0; i < f.n_rounds; i++) {
        CHECK(f.rounds[i].n_in >= 4 && f.rounds[i].n_in <= 6);
    }
    CHECK(refused(&f, TB_REFUSE_LATE) > 0);
    fleet_release(&f);
}

static void many_clients_share_a_small_pool(void **state)
{
    fleet f;
    (void)state;
    fleet_init(&f, 16, 2, 3);
    f.params.coordinator.pool_bytes = 2 * TB_PAYLOAD_BYTES_MAX;
    f.params.world.work_ms = 0;
    fleet_start(&f);
    fleet_finish(&f, 100000);
    CHECK(f.rounds[0].n_in == 16 && f.rounds[1].n_in == 16);
    fleet_release(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(three_clients_finish_three_rounds),
        cmocka_unit_test(arrival_order_and_workers_do_not_change_the_model),
        cmocka_unit_test(a_client_that_dies_in_mid_upload_is_left_out),
        cmocka_unit_test(a_client_away_for_lost_ms_is_not_waited_for),
        cmocka_unit_test(a_client_that_comes_back_resumes_its_upload),
        cmocka_unit_test(a_cut_connection_costs_nothing),
        cmocka_unit_test(a_flipped_bit_expels_its_sender_and_the_round_goes_on),
        cmocka_unit_test(a_client_that_spoils_three_rounds_is_not_asked_again),
        cmocka_unit_test(a_client_that_cannot_train_declines),
        cmocka_unit_test(clients_without_the_data_set_are_not_asked),
        cmocka_unit_test(too_few_updates_abandon_the_round_and_then_the_run),
        cmocka_unit_test(a_full_disk_stops_the_round_until_there_is_room),
        cmocka_unit_test(a_full_disk_under_the_new_model_waits_too),
        cmocka_unit_test(a_guard_that_says_no_registers_nothing),
        cmocka_unit_test(a_cancelled_run_ends_with_the_operators_reason),
        cmocka_unit_test(a_second_run_is_refused_while_one_lives),
        cmocka_unit_test(training_stops_early_and_the_best_model_is_published),
        cmocka_unit_test(small_steps_that_add_up_to_a_gain_do_not_stop_it),
        cmocka_unit_test(clients_evaluate_each_round_and_calibrate_at_the_end),
        cmocka_unit_test(more_are_asked_than_needed_and_late_ones_are_refused),
        cmocka_unit_test(many_clients_share_a_small_pool),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
