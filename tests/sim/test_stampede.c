/* A fleet that loses its coordinator comes back in good order: true machines of
 * both sides, a virtual clock, and nothing else. */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "fed/client.h"
#include "fed/coordinator.h"
#include "support/check.h"

#define N         10000
#define STEP_MS   20
#define SECONDS   400
#define PEAK      325 /* HELLOs in any second: 250 a second, and chance */
#define BACK_IN_S 95  /* all are back so long after the coordinator */

typedef struct member {
    tb_name name;
    tb_client *machine;
    tb_cactions actions;
    bool connected;
} member;

typedef struct world {
    tb_coordinator *co;
    tb_actions out;
    member *members;
    int64_t now;
    bool up;
    uint32_t n_connected;
    uint32_t hellos[SECONDS], check_ins[SECONDS];
} world;

static void client_step(world *w, member *m, const tb_cevent *event);

/* --- the coordinator ------------------------------------------------------ */

static void enrol(world *w, uint32_t i)
{
    tb_err err;
    tb_record invited = {.kind = TB_REC_INVITED};
    tb_record enrolled = {.kind = TB_REC_ENROLLED};
    memcpy(invited.u.invited.invite, &i, sizeof i);
    memcpy(enrolled.u.enrolled.invite, &i, sizeof i);
    memcpy(enrolled.u.enrolled.sign_key, &i, sizeof i);
    memcpy(enrolled.u.enrolled.curve_key, &i, sizeof i);
    invited.u.invited.client = w->members[i].name;
    enrolled.u.enrolled.client = w->members[i].name;
    uint64_t seq = 2 * (uint64_t)i + 1;
    CHECK_OK(tb_coordinator_replay(w->co, &invited, seq, &err), err);
    CHECK_OK(tb_coordinator_replay(w->co, &enrolled, seq + 1, &err), err);
}

static void start_coordinator(world *w)
{
    tb_err err;
    tb_coordinator_params params = tb_coordinator_defaults();
    CHECK_OK(tb_coordinator_new(&w->co, &params, &err), err);
    for (uint32_t i = 0; i < N; i++) {
        enrol(w, i);
    }
    CHECK_OK(tb_coordinator_resume(w->co, w->now, &w->out, &err), err);
    tb_actions_release(&w->out);
    w->up = true;
}

/* Gives the coordinator a message, and the client its answers. */
static void say(world *w, member *m, const tb_msg *msg)
{
    tb_err err;
    tb_event event = {.kind = TB_EV_MESSAGE, .client = m->name, .msg = msg};
    if (!w->up || !m->connected) {
        return;
    }
    w->hellos[w->now / 1000] += msg->kind == TB_MSG_HELLO;
    w->check_ins[w->now / 1000] += msg->kind == TB_MSG_CHECK_IN;
    CHECK_OK(tb_coordinator_step(w->co, &event, w->now, &w->out, &err), err);
    tb_actions actions = w->out;
    w->out = (tb_actions){0};
    for (size_t i = 0; i < actions.n; i++) {
        if (actions.at[i].kind == TB_ACT_SEND) {
            tb_cevent answer = {.kind = TB_CEV_MESSAGE,
                                .msg = actions.at[i].u.msg,
                                .genuine = true};
            client_step(w, m, &answer);
        }
    }
    tb_actions_release(&actions);
}

/* --- the clients ---------------------------------------------------------- */

static void act(world *w, member *m, const tb_caction *action)
{
    if (action->kind == TB_CACT_CONNECT) {
        tb_cevent event = {.kind =
                               w->up ? TB_CEV_CONNECTED : TB_CEV_DISCONNECTED};
        w->n_connected += w->up && !m->connected;
        m->connected = w->up;
        client_step(w, m, &event);
    } else if (action->kind == TB_CACT_SEND) {
        say(w, m, action->msg);
    }
}

static void client_step(world *w, member *m, const tb_cevent *event)
{
    tb_err err;
    CHECK_OK(tb_client_step(m->machine, event, w->now, &m->actions, &err), err);
    tb_cactions actions = m->actions;
    m->actions = (tb_cactions){0};
    for (size_t i = 0; i < actions.n; i++) {
        act(w, m, &actions.at[i]);
    }
    tb_cactions_release(&actions);
}

static void run_until(world *w, int64_t until_ms)
{
    static const tb_cevent tick = {.kind = TB_CEV_TICK};
    for (; w->now < until_ms; w->now += STEP_MS) {
        for (uint32_t i = 0; i < N; i++) {
            if (tb_client_next_ms(w->members[i].machine) <= w->now) {
                client_step(w, &w->members[i], &tick);
            }
        }
    }
}

/* The coordinator is gone: every client finds out at the same time. */
static void kill_coordinator(world *w)
{
    static const tb_cevent lost = {.kind = TB_CEV_DISCONNECTED};
    w->up = false;
    tb_coordinator_free(&w->co);
    w->n_connected = 0;
    for (uint32_t i = 0; i < N; i++) {
        w->members[i].connected = false;
        client_step(w, &w->members[i], &lost);
    }
}

/* --- the tests ------------------------------------------------------------ */

static void open_world(world *w)
{
    tb_err err;
    *w = (world){.members = tb_mem_array(N, sizeof *w->members)};
    CHECK(w->members != NULL);
    for (uint32_t i = 0; i < N; i++) {
        member *m = &w->members[i];
        tb_client_params params = tb_client_defaults();
        (void)snprintf(m->name.text, sizeof m->name.text, "client-%05u", i);
        params.name = m->name;
        CHECK_OK(tb_client_new(&m->machine, &params, NULL, 0, &err), err);
    }
    start_coordinator(w);
}

static void close_world(world *w)
{
    for (uint32_t i = 0; i < N; i++) {
        tb_client_free(&w->members[i].machine);
        tb_cactions_release(&w->members[i].actions);
    }
    tb_mem_free(w->members);
    tb_coordinator_free(&w->co);
}

static uint32_t most(const uint32_t *counts, int64_t from_ms, int64_t until_ms)
{
    uint32_t n = 0;
    for (int64_t s = from_ms / 1000; s < until_ms / 1000; s++) {
        n = counts[s] > n ? counts[s] : n;
    }
    return n;
}

/* All are connected; the coordinator goes for some seconds and comes back. */
static void restart_after(int64_t down_ms)
{
    static world w;
    open_world(&w);
    run_until(&w, 100000);
    CHECK(w.n_connected == N);
    kill_coordinator(&w);
    int64_t back_ms = w.now + down_ms;
    run_until(&w, back_ms);
    start_coordinator(&w);
    run_until(&w, back_ms + BACK_IN_S * 1000);
    CHECK(w.n_connected == N);
    run_until(&w, w.now + 100000);
    uint32_t hellos = most(w.hellos, back_ms, w.now);
    uint32_t check_ins = most(w.check_ins, back_ms, w.now);
    (void)printf("away for %lld s: at most %u HELLO and %u CHECK_IN a second\n",
                 (long long)down_ms / 1000, hellos, check_ins);
    CHECK(hellos > 0 && hellos <= PEAK);
    CHECK(check_ins <=
          2 * PEAK); /* those that come back, and those that wait */
    close_world(&w);
}

static void
ten_thousand_come_back_from_a_quick_restart_in_good_order(void **state)
{
    (void)state;
    restart_after(1000);
}

static void
ten_thousand_come_back_from_a_long_absence_in_good_order(void **state)
{
    (void)state;
    restart_after(90000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(
            ten_thousand_come_back_from_a_quick_restart_in_good_order),
        cmocka_unit_test(
            ten_thousand_come_back_from_a_long_absence_in_good_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
