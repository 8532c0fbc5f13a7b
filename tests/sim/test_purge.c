/* A member is revoked and its accepted update purged from the open round: the
 * fleet compares each committed model, to the bit, with a naive sum over the
 * updates that the journal says are in. */
#include "fleet.h"

#include <string.h>

/* Clients whose updates come one after the other. */
static void set_up(fleet *f)
{
    fleet_init(f, 4, 2, 5);
    f->params.world.work_ms = 100; /* 100 to 200 */
}

/* The one client whose update is in the newest round, or -1. */
static int first_in(const fleet *f)
{
    const fleet_round *round = f->n_rounds > 0 ? fleet_newest(f) : NULL;
    for (size_t c = 0; round != NULL && c < f->params.n_clients; c++) {
        if (round->in[c]) {
            return (int)c;
        }
    }
    return -1;
}

static bool one_is_in(const fleet *f)
{
    return first_in(f) >= 0;
}

static bool closing(const fleet *f)
{
    tb_run_status status;
    return tb_sim_coordinator(f->sim) != NULL &&
           tb_coordinator_run_status(tb_sim_coordinator(f->sim), 0, &status) &&
           status.phase > TB_PHASE_TRAINING &&
           status.phase < TB_PHASE_COMMITTED;
}

static void purge_ok(fleet *f, int client)
{
    tb_err err = {0};
    CHECK_OK(tb_sim_revoke(f->sim, (size_t)client, true, &err), err);
}

static void the_sum_is_as_if_it_had_never_come(void **state)
{
    fleet f;
    (void)state;
    set_up(&f);
    fleet_start(&f);
    fleet_until(&f, one_is_in, 10000);
    int client = first_in(&f);
    purge_ok(&f, client);
    fleet_finish(&f, 200000);
    CHECK(f.ended.outcome == TB_OUTCOME_DONE && f.n_rounds == 2);
    CHECK(f.kinds[TB_REC_PURGED] == 1 && f.kinds[TB_REC_ABANDONED] == 0);
    CHECK(f.rounds[0].purged[client] && f.rounds[0].n_in == 3);
    CHECK(f.rounds[1].n_in == 3); /* nor is it asked again */
    fleet_release(&f);
}

static void without_purge_what_was_acknowledged_stays(void **state)
{
    fleet f;
    tb_err err = {0};
    (void)state;
    set_up(&f);
    fleet_start(&f);
    fleet_until(&f, one_is_in, 10000);
    int client = first_in(&f);
    CHECK_OK(tb_sim_revoke(f.sim, (size_t)client, false, &err), err);
    fleet_finish(&f, 200000);
    CHECK(f.kinds[TB_REC_PURGED] == 0);
    CHECK(f.rounds[0].in[client] && f.rounds[0].n_in == 4);
    CHECK(f.rounds[1].n_in == 3);
    fleet_release(&f);
}

static void there_must_be_something_to_purge(void **state)
{
    fleet f;
    tb_err err = {0};
    (void)state;
    set_up(&f);
    fleet_start(&f);
    CHECK_ERR(tb_sim_revoke(f.sim, 1, true, &err), TB_E_NOT_FOUND, err,
              "no update of client client-01 is in an open round");
    fleet_finish(&f, 200000);
    CHECK(f.rounds[0].n_in == 4 && f.rounds[1].n_in == 4);
    fleet_release(&f);
}

static void a_round_that_closes_keeps_what_it_has(void **state)
{
    fleet f;
    tb_err err = {0};
    (void)state;
    set_up(&f);
    f.params.world.order_ms = 20;
    fleet_start(&f);
    fleet_until(&f, closing, 10000);
    CHECK_ERR(tb_sim_revoke(f.sim, 1, true, &err), TB_E_REFUSED, err,
              "round 1 of demo is");
    CHECK(strstr(err.text, "revoke without --purge") != NULL);
    fleet_finish(&f, 200000);
    CHECK(f.kinds[TB_REC_PURGED] == 0 && f.kinds[TB_REC_REVOKED] == 0);
    CHECK(f.rounds[0].n_in == 4 && f.rounds[1].n_in == 4);
    fleet_release(&f);
}

/* Kills the coordinator at a row of a run in which a member is purged; the
 * first round ends with three or, when the purge itself was lost before anyone
 * heard of it, with four. Returns how many rows there were. */
static uint64_t purge_and_kill(uint64_t row, bool durable)
{
    fleet f;
    tb_err err = {0};
    set_up(&f);
    CHECK_OK(tb_sim_new(&f.sim, &f.params, &err), err);
    fleet_pass(&f, 10);
    CHECK_OK(tb_sim_start(f.sim, &f.run, &err), err);
    fleet_pass(&f, 10); /* the start is durable */
    tb_sim_kill_at_row(f.sim, row, durable);
    fleet_until(&f, one_is_in, 20000);
    while (tb_sim_coordinator(f.sim) == NULL) {
        fleet_pass(&f, 1);
    }
    int client = first_in(&f);
    purge_ok(&f, client);
    fleet_finish(&f, 200000);
    CHECK(f.ended.outcome == TB_OUTCOME_DONE);
    CHECK(f.kinds[TB_REC_ABANDONED] == 0);
    bool purged = f.kinds[TB_REC_PURGED] == 1;
    CHECK(purged || !durable);
    CHECK(f.rounds[0].purged[client] == purged);
    CHECK(f.rounds[0].n_in == (purged ? 3 : 4));
    uint64_t n = f.n_rows;
    fleet_release(&f);
    return n;
}

static void killed_at_each_row_it_stays_purged(void **state)
{
    (void)state;
    uint64_t n = purge_and_kill(0, true);
    for (uint64_t row = 11; row < n; row++) { /* after the start's row */
        (void)purge_and_kill(row, true);
        (void)purge_and_kill(row, false);
    }
}

/* After a restart the update may not be in the new sum yet, or just be on its
 * way into it. */
static void purged_while_the_sum_is_rebuilt_it_is_left_out(void **state)
{
    (void)state;
    for (int64_t wait = 0; wait < 30; wait++) {
        fleet f;
        tb_err err = {0};
        set_up(&f);
        f.params.world.order_ms = 5;
        fleet_start(&f);
        fleet_until(&f, one_is_in, 10000);
        int client = first_in(&f);
        fleet_pass(&f, 1);
        CHECK_OK(tb_sim_kill_coordinator(f.sim, 1, &err), err);
        fleet_pass(&f, 1 + wait);
        if (tb_sim_coordinator(f.sim) != NULL && !closing(&f)) {
            purge_ok(&f, client);
            fleet_finish(&f, 200000);
            CHECK(f.rounds[0].n_in == 3);
        } else {
            fleet_finish(&f, 200000);
        }
        CHECK(f.kinds[TB_REC_ABANDONED] == 0);
        fleet_release(&f);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_sum_is_as_if_it_had_never_come),
        cmocka_unit_test(without_purge_what_was_acknowledged_stays),
        cmocka_unit_test(there_must_be_something_to_purge),
        cmocka_unit_test(a_round_that_closes_keeps_what_it_has),
        cmocka_unit_test(killed_at_each_row_it_stays_purged),
        cmocka_unit_test(purged_while_the_sum_is_rebuilt_it_is_left_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
