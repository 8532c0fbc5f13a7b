/* Asynchronous runs as a person would tell them, and killed at every row. */
#include <string.h>

#include "base/mem.h"
#include "buffers.h"

/* One client may be slower than the others. */
typedef struct slowest {
    size_t client;
    uint32_t factor;
} slowest;
static slowest slow;

/* n clients that train all the time, in buffers of k. */
static void async_init(fleet *f, size_t n, uint32_t buffer, uint32_t rounds)
{
    fleet_init(f, n, rounds, 1);
    f->run.mode = TB_MODE_ASYNC;
    f->run.weights = TB_WEIGHTS_UNIFORM;
    f->run.target = (uint32_t)n;
    f->run.buffer = buffer;
    f->run.minimum = buffer;
    f->run.max_staleness = 5;
    f->run.lost_ms = 3000;
    slow = (slowest){0, 1};
}

static void make(fleet *f)
{
    tb_err err = {0};
    CHECK_OK(tb_sim_new(&f->sim, &f->params, &err), err);
    tb_sim_slow(f->sim, slow.client, slow.factor);
}

static void start(fleet *f)
{
    tb_err err = {0};
    make(f);
    CHECK_OK(tb_sim_start(f->sim, &f->run, &err), err);
}

static uint32_t refused(const fleet *f, tb_refusal code)
{
    tb_status status;
    tb_coordinator_status(tb_sim_coordinator(f->sim), &status);
    return status.n_refused[code];
}

static uint32_t stalest(const fleet *f)
{
    uint32_t most = 0;
    for (size_t i = 0; i < f->n_updates; i++) {
        uint32_t s = f->updates[i].staleness;
        most = s > most ? s : most;
    }
    return most;
}

static void each_buffer_takes_as_many_updates_as_the_job_says(void **state)
{
    fleet f;
    (void)state;
    async_init(&f, 5, 2, 6);
    start(&f);
    fleet_finish(&f, 60000);
    CHECK(f.ended.outcome == TB_OUTCOME_DONE);
    CHECK(f.n_rounds == 6 && f.kinds[TB_REC_ABANDONED] == 0);
    for (size_t i = 0; i < f.n_rounds; i++) {
        CHECK(f.rounds[i].n_in == 2);
    }
    CHECK(stalest(&f) > 0); /* five train, two make a round */
    fleet_release(&f);
}

static void a_slow_client_counts_less_and_holds_nobody_up(void **state)
{
    fleet f;
    size_t from_slow = 0;
    (void)state;
    async_init(&f, 4, 3, 8);
    slow = (slowest){3, 6};
    start(&f);
    fleet_finish(&f, 60000);
    for (size_t i = 0; i < f.n_updates; i++) {
        if (f.updates[i].client == 3) {
            from_slow++;
            CHECK(f.updates[i].staleness > 0);
        }
    }
    CHECK(from_slow > 0);
    /* a synchronous round would have waited for the slow one, 120 ms each */
    CHECK(tb_sim_now(f.sim) < 8 * 120);
    fleet_release(&f);
}

static bool told_too_old(const fleet *f)
{
    tb_client_status status;
    tb_client_status_get(tb_sim_client(f->sim, 3), &status);
    return status.last_refusal == TB_REFUSE_LATE &&
           strstr(status.last_why, "max_staleness") != NULL;
}

static void an_update_that_is_too_stale_is_refused_with_the_reason(void **state)
{
    fleet f;
    (void)state;
    async_init(&f, 4, 2, 20);
    f.run.max_staleness = 1;
    slow = (slowest){3, 12};
    start(&f);
    fleet_until(&f, told_too_old, 60000);
    fleet_finish(&f, 60000);
    CHECK(f.ended.outcome == TB_OUTCOME_DONE);
    for (size_t i = 0; i < f.n_updates; i++) {
        CHECK(f.updates[i].client != 3 && f.updates[i].staleness <= 1);
    }
    CHECK(refused(&f, TB_REFUSE_LATE) > 0);
    fleet_release(&f);
}

static void no_more_clients_train_at_a_time_than_the_target(void **state)
{
    fleet f;
    (void)state;
    async_init(&f, 8, 2, 10);
    f.run.target = 3;
    uint32_t most = 0;
    start(&f);
    while (f.ended.outcome == 0) {
        fleet_pass(&f, 1);
        tb_run_status s;
        if (tb_coordinator_run_status(tb_sim_coordinator(f.sim), 0, &s)) {
            CHECK(s.n_asked <= 3);
            most = s.n_asked > most ? s.n_asked : most;
        }
    }
    fleet_check(&f);
    CHECK(most == 3);
    bool took_part[8] = {false};
    size_t n = 0;
    for (size_t i = 0; i < f.n_updates; i++) {
        n += !took_part[f.updates[i].client];
        took_part[f.updates[i].client] = true;
    }
    CHECK(n == 8); /* who waits longest is asked first */
    fleet_release(&f);
}

static void a_buffer_that_nobody_else_can_fill_closes_early(void **state)
{
    fleet f;
    (void)state;
    async_init(&f, 3, 5, 2);
    f.run.minimum = 2;
    f.run.select_ms = 500;
    start(&f);
    fleet_finish(&f, 20000);
    CHECK(f.ended.outcome == TB_OUTCOME_DONE);
    CHECK(f.rounds[0].n_in == 3 && f.rounds[1].n_in == 3);
    CHECK(tb_sim_now(f.sim) < 5000); /* long before the deadline */
    fleet_release(&f);
}

static void too_few_clients_are_waited_for_and_named(void **state)
{
    fleet f;
    (void)state;
    async_init(&f, 2, 3, 1);
    start(&f);
    fleet_pass(&f, 20000);
    tb_run_status status = fleet_status(&f);
    CHECK(status.phase == TB_PHASE_SELECTING && f.n_rounds == 0);
    CHECK(strstr(status.waits_for, "cohort.minimum: 3") != NULL);
    fleet_release(&f);
}

static void an_abandoned_buffer_is_journalled_and_the_run_goes_on(void **state)
{
    fleet f;
    tb_err err = {0};
    (void)state;
    async_init(&f, 3, 3, 2);
    f.run.deadline_ms = 2000;
    f.run.lost_ms = 500;
    start(&f);
    fleet_pass(&f, 12);
    CHECK_OK(tb_sim_kill_client(f.sim, 2, 6000, &err), err);
    fleet_finish(&f, 60000);
    CHECK(f.ended.outcome == TB_OUTCOME_DONE);
    CHECK(f.kinds[TB_REC_ABANDONED] >= 1);
    CHECK(strstr(f.rounds[0].why, "2 of at least 3") != NULL);
    fleet_release(&f);
}

static void
clients_evaluate_between_buffers_and_calibrate_at_the_end(void **state)
{
    fleet f;
    (void)state;
    async_init(&f, 5, 2, 4);
    slow = (slowest){4, 5};
    f.run.evaluate = TB_WHERE_CLIENTS;
    f.run.calibrate = TB_WHERE_CLIENTS;
    f.run.publish = TB_PUBLISH_BEST_LOSS;
    start(&f);
    fleet_finish(&f, 60000);
    CHECK(f.ended.outcome == TB_OUTCOME_DONE);
    const tb_task want[] = {
        TB_TASK_TRAIN,    TB_TASK_EVALUATE, TB_TASK_TRAIN,
        TB_TASK_EVALUATE, TB_TASK_TRAIN,    TB_TASK_EVALUATE,
        TB_TASK_TRAIN,    TB_TASK_EVALUATE, TB_TASK_CALIBRATE};
    CHECK(f.n_rounds == 9);
    for (size_t i = 0; i < 9; i++) {
        CHECK(f.rounds[i].config.task == want[i] && f.rounds[i].n_in >= 2);
    }
    fleet_release(&f);
}

static void what_waits_when_the_run_ends_is_told(void **state)
{
    fleet f;
    tb_err err = {0};
    uint32_t n_left = 0;
    (void)state;
    for (int64_t at = 40; at < 200; at++) {
        async_init(&f, 6, 2, 50);
        f.params.world.order_ms = 9; /* summing up takes a while */
        start(&f);
        fleet_pass(&f, at);
        CHECK_OK(tb_sim_cancel(f.sim, &f.run.run, "wrong job", &err), err);
        fleet_finish(&f, 60000);
        CHECK(f.ended.outcome == TB_OUTCOME_CANCELLED);
        n_left += f.kinds[TB_REC_LEFT_OVER];
        fleet_release(&f);
    }
    CHECK(n_left > 0);
}

static void a_client_whose_updates_are_bad_is_not_asked_again(void **state)
{
    fleet f;
    (void)state;
    async_init(&f, 4, 2, 10);
    f.flip_bit_of = 2;
    f.flip_from_block = 1;
    start(&f);
    fleet_finish(&f, 60000);
    CHECK(f.ended.outcome == TB_OUTCOME_DONE);
    CHECK(f.kinds[TB_REC_EXPELLED] == 3);
    for (size_t i = 0; i < f.n_updates; i++) {
        CHECK(f.updates[i].client != 2);
    }
    fleet_release(&f);
}

static void
a_client_that_dies_in_mid_upload_resumes_or_trains_again(void **state)
{
    (void)state;
    for (int64_t at = 20; at < 60; at += 3) {
        fleet f;
        tb_err err = {0};
        async_init(&f, 3, 2, 5);
        start(&f);
        fleet_pass(&f, at);
        CHECK_OK(tb_sim_kill_client(f.sim, 1, 40, &err), err);
        fleet_finish(&f, 60000);
        CHECK(f.ended.outcome == TB_OUTCOME_DONE);
        CHECK(f.kinds[TB_REC_ABANDONED] == 0);
        fleet_release(&f);
    }
}

/* Revoked at each millisecond: what it has in the open buffer, or for the next
 * one, is taken out, and the models are as if it had never come. */
static void a_purged_member_leaves_the_open_buffer_to_the_bit(void **state)
{
    uint32_t n_purged = 0;
    (void)state;
    for (int64_t at = 25; at < 105; at++) {
        fleet f;
        tb_err err = {0};
        async_init(&f, 5, 4, 4);
        f.params.world.order_ms = 6;
        start(&f);
        fleet_pass(&f, at);
        tb_rc rc = tb_sim_revoke(f.sim, 1, true, &err);
        CHECK(rc == TB_OK || rc == TB_E_NOT_FOUND);
        if (rc == TB_E_NOT_FOUND) {
            CHECK_OK(tb_sim_revoke(f.sim, 1, false, &err), err);
        }
        fleet_finish(&f, 60000);
        CHECK(f.ended.outcome == TB_OUTCOME_DONE);
        CHECK(f.kinds[TB_REC_ABANDONED] == 0);
        n_purged += f.kinds[TB_REC_PURGED];
        fleet_release(&f);
    }
    print_message("%u updates purged\n", n_purged);
    CHECK(n_purged > 5);
}

/* kills */

static void set_up(fleet *f)
{
    async_init(f, 4, 2, 4);
    slow = (slowest){3, 4};
    f->run.evaluate = TB_WHERE_CLIENTS;
}

/* Orders of acceptance that were seen, and the model that each led to. */
typedef struct seen {
    tb_hash order[512], model[512];
    size_t n, n_again;
} seen;

/* The same order of acceptance must have led to the same bits. */
static void see(seen *s, const fleet *f)
{
    tb_hash order = buffers_order(f);
    for (size_t i = 0; i < s->n; i++) {
        if (tb_hash_equal(&s->order[i], &order)) {
            CHECK(tb_hash_equal(&s->model[i], &f->ended.model.raw));
            s->n_again++;
            return;
        }
    }
    CHECK(s->n < 512);
    s->order[s->n] = order;
    s->model[s->n++] = f->ended.model.raw;
}

static void tell(const seen *s)
{
    print_message("%zu orders of acceptance, %zu runs had one of before\n",
                  s->n, s->n_again);
    CHECK(s->n_again > 0);
}

static uint64_t reference(seen *s)
{
    fleet f;
    set_up(&f);
    start(&f);
    fleet_finish(&f, 60000);
    uint64_t n = f.n_rows;
    CHECK(stalest(&f) > 0);
    see(s, &f);
    fleet_release(&f);
    return n;
}

static void kill_at_each_row(bool durable)
{
    uint64_t first = 9; /* 8 rows enrol four clients, before the start */
    seen s = {.n = 0};
    uint64_t n = reference(&s);
    for (uint64_t row = first; row < n; row++) {
        fleet f;
        tb_err err = {0};
        set_up(&f);
        make(&f);
        fleet_pass(&f, 10);
        tb_sim_kill_at_row(f.sim, row, durable);
        CHECK_OK(tb_sim_start(f.sim, &f.run, &err), err);
        if (!durable) {
            fleet_pass(&f, 5);
            if (tb_coordinator_runs(tb_sim_coordinator(f.sim)) == 0) {
                CHECK_OK(tb_sim_start(f.sim, &f.run, &err), err);
            }
        }
        fleet_finish(&f, 120000);
        CHECK(f.ended.outcome == TB_OUTCOME_DONE);
        CHECK(f.kinds[TB_REC_ABANDONED] == 0);
        see(&s, &f);
        fleet_release(&f);
    }
    tell(&s);
}

static void
killed_with_each_row_durable_it_counts_each_update_once(void **state)
{
    (void)state;
    kill_at_each_row(true);
}

static void killed_with_each_row_lost_it_counts_each_update_once(void **state)
{
    (void)state;
    kill_at_each_row(false);
}

static void killed_at_each_millisecond_it_counts_each_update_once(void **state)
{
    seen s = {.n = 0};
    (void)state;
    (void)reference(&s);
    for (int64_t at = 11; at < 300; at += 3) {
        fleet f;
        tb_err err = {0};
        set_up(&f);
        make(&f);
        fleet_pass(&f, 10);
        CHECK_OK(tb_sim_start(f.sim, &f.run, &err), err);
        fleet_pass(&f, at - 10);
        if (f.ended.outcome == 0) {
            CHECK_OK(tb_sim_kill_coordinator(f.sim, 3, &err), err);
            fleet_finish(&f, 120000);
        }
        CHECK(f.kinds[TB_REC_ABANDONED] == 0);
        see(&s, &f);
        fleet_release(&f);
    }
    tell(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_buffer_takes_as_many_updates_as_the_job_says),
        cmocka_unit_test(a_slow_client_counts_less_and_holds_nobody_up),
        cmocka_unit_test(
            an_update_that_is_too_stale_is_refused_with_the_reason),
        cmocka_unit_test(no_more_clients_train_at_a_time_than_the_target),
        cmocka_unit_test(a_buffer_that_nobody_else_can_fill_closes_early),
        cmocka_unit_test(too_few_clients_are_waited_for_and_named),
        cmocka_unit_test(an_abandoned_buffer_is_journalled_and_the_run_goes_on),
        cmocka_unit_test(
            clients_evaluate_between_buffers_and_calibrate_at_the_end),
        cmocka_unit_test(what_waits_when_the_run_ends_is_told),
        cmocka_unit_test(a_client_whose_updates_are_bad_is_not_asked_again),
        cmocka_unit_test(
            a_client_that_dies_in_mid_upload_resumes_or_trains_again),
        cmocka_unit_test(a_purged_member_leaves_the_open_buffer_to_the_bit),
        cmocka_unit_test(
            killed_with_each_row_durable_it_counts_each_update_once),
        cmocka_unit_test(killed_with_each_row_lost_it_counts_each_update_once),
        cmocka_unit_test(killed_at_each_millisecond_it_counts_each_update_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
