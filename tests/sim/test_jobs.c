/* Several runs over one simulated fleet: side by side, in the queue, paused,
 * cancelled, and with the coordinator killed at every row of its journal. */
#include "fleet.h"

#include <string.h>

#include "base/mem.h"

enum { CLIENTS = 3, ROUNDS = 2, UNTIL_MS = 600000 };

/* Every round takes in all clients, so that the accepted sets of a run are the
 * same in any schedule. */
static void set_up(fleet *f)
{
    fleet_init(f, CLIENTS, ROUNDS, 5);
    f->run.minimum = CLIENTS;
    f->run.max_attempts = 50;
}

/* The model that a run alone ends in. */
static tb_hash alone(uint8_t n)
{
    fleet f;
    set_up(&f);
    if (n > 1) {
        f.run = fleet_run(&f, n);
    }
    fleet_start(&f);
    fleet_finish(&f, UNTIL_MS);
    CHECK(f.ended.outcome == TB_OUTCOME_DONE && f.n_rounds == ROUNDS);
    tb_hash model = f.ended.model.raw;
    fleet_release(&f);
    return model;
}

static void check_done(const fleet *f, const tb_run_params *run,
                       const tb_hash *model)
{
    tb_rec_run_ended end = fleet_end(f, run);
    CHECK(end.outcome == TB_OUTCOME_DONE);
    CHECK(tb_hash_equal(&end.model.raw, model));
}

static void check_outcome(const fleet *f, const tb_run_params *run,
                          tb_outcome outcome)
{
    CHECK(fleet_end(f, run).outcome == outcome);
}

static void start(fleet *f, const tb_run_params *run)
{
    tb_err err = {0};
    CHECK_OK(tb_sim_start(f->sim, run, &err), err);
}

/* Rounds of a run that were opened. */
static size_t rounds_of(const fleet *f, const tb_run_params *run)
{
    size_t n = 0;
    for (size_t i = 0; i < f->n_rounds; i++) {
        n += memcmp(f->rounds[i].config.run.bytes, run->run.bytes,
                    TB_RUN_ID_BYTES) == 0;
    }
    return n;
}

static void two_runs_end_in_the_bits_of_each_alone(void **state)
{
    fleet f;
    (void)state;
    tb_hash first = alone(1);
    tb_hash second = alone(2);
    set_up(&f);
    tb_run_params other = fleet_run(&f, 2);
    fleet_start(&f);
    start(&f, &other);
    fleet_finish(&f, UNTIL_MS);
    check_done(&f, &f.run, &first);
    check_done(&f, &other, &second);
    CHECK(f.kinds[TB_REC_ABANDONED] == 0);
    /* all clients are in every round: the rounds must alternate */
    CHECK(f.n_rounds == 4);
    for (size_t i = 0; i < f.n_rounds; i++) {
        const tb_run_params *run = i % 2 == 0 ? &f.run : &other;
        CHECK(memcmp(f.rounds[i].config.run.bytes, run->run.bytes,
                     TB_RUN_ID_BYTES) == 0);
    }
    fleet_release(&f);
}

static void runs_of_half_the_fleet_go_side_by_side(void **state)
{
    fleet f;
    tb_err err = {0};
    (void)state;
    fleet_init(&f, 8, 3, 5);
    f.run.target = 4;
    f.run.minimum = 4;
    tb_run_params other = fleet_run(&f, 2);
    fleet_start(&f);
    CHECK_OK(tb_sim_start(f.sim, &other, &err), err);
    bool both = false;
    while (f.n_ends == 0) {
        tb_run_status a;
        tb_run_status b;
        const tb_coordinator *co = tb_sim_coordinator(f.sim);
        both =
            both || (tb_coordinator_run_status(co, 0, &a) &&
                     tb_coordinator_run_status(co, 1, &b) && a.open && b.open);
        fleet_pass(&f, 1);
    }
    CHECK(both);
    fleet_finish(&f, UNTIL_MS);
    check_outcome(&f, &f.run, TB_OUTCOME_DONE);
    check_outcome(&f, &other, TB_OUTCOME_DONE);
    fleet_release(&f);
}

static void the_queue_is_served_in_the_order_of_start(void **state)
{
    fleet f;
    (void)state;
    set_up(&f);
    f.params.coordinator.running = 1;
    fleet_start(&f);
    tb_run_params more[3];
    for (uint8_t i = 0; i < 3; i++) {
        more[i] = fleet_run(&f, (uint8_t)(i + 2));
        start(&f, &more[i]);
    }
    fleet_finish(&f, UNTIL_MS);
    CHECK(f.n_ends == 4);
    for (uint8_t i = 0; i < 4; i++) {
        CHECK(f.ends[i].outcome == TB_OUTCOME_DONE);
        CHECK(f.ends[i].run.bytes[0] == i + 1);
        CHECK(f.rounds[2 * i].config.run.bytes[0] == i + 1);
    }
    fleet_release(&f);
}

/* The guard of one refuses; another fails for good. */
static void the_failure_of_one_leaves_the_other_alone(void **state)
{
    fleet f;
    tb_hash second = alone(2);
    (void)state;
    set_up(&f);
    tb_run_params good = fleet_run(&f, 2);
    f.run.target = 9; /* nine of three never come */
    f.run.minimum = 1;
    f.run.deadline_ms = 1; /* too short for anybody */
    f.run.max_attempts = 3;
    fleet_start(&f);
    start(&f, &good);
    fleet_finish(&f, UNTIL_MS);
    check_outcome(&f, &f.run, TB_OUTCOME_FAILED);
    check_done(&f, &good, &second);
    fleet_release(&f);
}

static bool second_has_a_round(const fleet *f)
{
    tb_run_status s;
    return tb_coordinator_run_status(tb_sim_coordinator(f->sim), 1, &s) &&
           s.open && s.n_accepted > 0;
}

static void a_cancel_in_mid_round_leaves_the_other_alone(void **state)
{
    fleet f;
    tb_err err = {0};
    tb_hash first = alone(1);
    (void)state;
    set_up(&f);
    tb_run_params other = fleet_run(&f, 2);
    fleet_start(&f);
    start(&f, &other);
    fleet_until(&f, second_has_a_round, UNTIL_MS);
    CHECK_OK(tb_sim_cancel(f.sim, &other.run, "a wrong job", &err), err);
    fleet_finish(&f, UNTIL_MS);
    check_outcome(&f, &other, TB_OUTCOME_CANCELLED);
    CHECK(strcmp(fleet_end(&f, &other).why, "a wrong job") == 0);
    check_done(&f, &f.run, &first);
    fleet_release(&f);
}

static void a_paused_run_goes_on_where_it_was(void **state)
{
    fleet f;
    tb_err err = {0};
    tb_hash first = alone(1);
    (void)state;
    set_up(&f);
    fleet_start(&f);
    fleet_pass(&f, 15);
    CHECK_OK(tb_sim_pause(f.sim, &f.run.run, &err), err);
    fleet_pass(&f, 100000);
    tb_run_status s = fleet_status(&f);
    CHECK(s.phase == TB_PHASE_IDLE && s.round == 2 && f.n_rounds == 1);
    CHECK_OK(tb_sim_resume(f.sim, &f.run.run, &err), err);
    fleet_finish(&f, UNTIL_MS);
    check_done(&f, &f.run, &first);
    CHECK(f.n_rounds == ROUNDS);
    fleet_release(&f);
}

/* --- an operator, and kills ------------------------------------------------
 */

typedef struct wish {
    tb_event_kind kind;
    uint8_t run;
} wish;

/* Runs 1 and 2 go to their ends, 3 is cancelled while it works. */
static const wish wishes[] = {
    {TB_EV_START, 1},  {TB_EV_START, 2}, {TB_EV_PAUSE, 1},  {TB_EV_START, 3},
    {TB_EV_CANCEL, 3}, {TB_EV_PAUSE, 2}, {TB_EV_RESUME, 1}, {TB_EV_RESUME, 2}};
enum { WISHES = sizeof wishes / sizeof *wishes };

/* What the operator is told: that its row is durable. */
static bool is_granted(const fleet *f, size_t i)
{
    static const tb_record_kind rows[] = {[TB_EV_START] = TB_REC_RUN_STARTED,
                                          [TB_EV_PAUSE] = TB_REC_RUN_PAUSED,
                                          [TB_EV_RESUME] = TB_REC_RUN_RESUMED,
                                          [TB_EV_CANCEL] =
                                              TB_REC_RUN_CANCELLED};
    uint32_t n = 0;
    for (size_t j = 0; j <= i; j++) {
        n += wishes[j].kind == wishes[i].kind;
    }
    return f->kinds[rows[wishes[i].kind]] >= n;
}

/* Asks until it is granted: a coordinator that died may have forgotten. */
static void ask(fleet *f, const wish *w)
{
    tb_err err = {0};
    tb_rc rc = TB_OK;
    tb_run_params run = w->run == 1 ? f->run : fleet_run(f, w->run);
    if (w->kind == TB_EV_START) {
        rc = tb_sim_start(f->sim, &run, &err);
    } else if (w->kind == TB_EV_PAUSE) {
        rc = tb_sim_pause(f->sim, &run.run, &err);
    } else if (w->kind == TB_EV_RESUME) {
        rc = tb_sim_resume(f->sim, &run.run, &err);
    } else {
        rc = tb_sim_cancel(f->sim, &run.run, "a wrong job", &err);
    }
    /* asked again before the row is durable: it is so already */
    CHECK(rc == TB_OK || rc == TB_E_EXISTS || rc == TB_E_BUSY ||
          (rc == TB_E_NOT_FOUND && w->kind == TB_EV_CANCEL));
}

static void operate(fleet *f)
{
    for (size_t i = 0; i < WISHES; i++) {
        for (int ms = 0; !is_granted(f, i); ms++) {
            CHECK(ms < 1000);
            if (tb_sim_coordinator(f->sim) != NULL) {
                ask(f, &wishes[i]);
            }
            fleet_pass(f, 1);
        }
    }
}

static void check_wishes(const fleet *f, const tb_hash model[2])
{
    tb_run_params second = fleet_run(f, 2);
    tb_run_params third = fleet_run(f, 3);
    check_done(f, &f->run, &model[0]);
    check_done(f, &second, &model[1]);
    check_outcome(f, &third, TB_OUTCOME_CANCELLED);
    CHECK(f->n_ends == 3);
    CHECK(f->kinds[TB_REC_VERSION] == 2);
    for (size_t i = 0; i < f->n_rounds; i++) {
        const fleet_round *round = &f->rounds[i];
        CHECK(round->abandoned || round->n_in == CLIENTS);
        CHECK(!round->abandoned || round->config.run.bytes[0] == 3);
    }
    CHECK(rounds_of(f, &second) == ROUNDS);
}

static uint64_t unkilled(const tb_hash model[2])
{
    fleet f;
    tb_err err = {0};
    set_up(&f);
    CHECK_OK(tb_sim_new(&f.sim, &f.params, &err), err);
    fleet_pass(&f, 10);
    operate(&f);
    fleet_finish(&f, UNTIL_MS);
    check_wishes(&f, model);
    uint64_t n = f.n_rows;
    fleet_release(&f);
    return n;
}

static void kill_at_each_row(bool durable)
{
    const tb_hash model[2] = {alone(1), alone(2)};
    uint64_t n = unkilled(model);
    for (uint64_t row = 2 * CLIENTS + 1; row < n; row++) {
        fleet f;
        tb_err err = {0};
        set_up(&f);
        CHECK_OK(tb_sim_new(&f.sim, &f.params, &err), err);
        fleet_pass(&f, 10); /* the members are durable */
        tb_sim_kill_at_row(f.sim, row, durable);
        operate(&f);
        fleet_finish(&f, UNTIL_MS);
        check_wishes(&f, model);
        fleet_release(&f);
    }
}

static void killed_with_each_row_durable_all_wishes_come_true(void **state)
{
    (void)state;
    kill_at_each_row(true);
}

static void killed_with_each_row_lost_all_wishes_come_true(void **state)
{
    (void)state;
    kill_at_each_row(false);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(two_runs_end_in_the_bits_of_each_alone),
        cmocka_unit_test(runs_of_half_the_fleet_go_side_by_side),
        cmocka_unit_test(the_queue_is_served_in_the_order_of_start),
        cmocka_unit_test(the_failure_of_one_leaves_the_other_alone),
        cmocka_unit_test(a_cancel_in_mid_round_leaves_the_other_alone),
        cmocka_unit_test(a_paused_run_goes_on_where_it_was),
        cmocka_unit_test(killed_with_each_row_durable_all_wishes_come_true),
        cmocka_unit_test(killed_with_each_row_lost_all_wishes_come_true),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
