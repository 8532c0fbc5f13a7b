/* Several runs over one fleet, message by message. Orders are answered at once;
 * a client that has no time declines, which ends its part in a round. */
#include "fed/coordinator.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "small_run.h"

#define CLIENTS 4

typedef struct bench {
    tb_coordinator *co;
    tb_coordinator *twin; /* fed with the rows only */
    tb_coordinator_params params;
    tb_actions out;          /* of all steps since the last event of the test */
    tb_hash offers[CLIENTS]; /* the round that each client was offered last */
    bool offered[CLIENTS];
    uint32_t n_ended;
    int64_t now;
} bench;

static const char *const clients[CLIENTS] = {"anna", "bert", "carl", "dora"};

static size_t number_of(const tb_name *client)
{
    size_t i = 0;
    while (i < CLIENTS && strcmp(clients[i], client->text) != 0) {
        i++;
    }
    CHECK(i < CLIENTS);
    return i;
}

/* Every row goes to the twin, as it would after a restart. */
static void take_row(bench *b, const tb_action *action)
{
    tb_record record;
    tb_err err = {0};
    const tb_buf *body = &action->u.journal.body;
    CHECK_OK(tb_record_decode(&record, action->u.journal.kind, body->data,
                              body->len, &err),
             err);
    CHECK_OK(
        tb_coordinator_replay(b->twin, &record, action->u.journal.seq, &err),
        err);
    tb_record_release(&record);
}

static void step(bench *b, const tb_event *event);

static void take_action(bench *b, const tb_action *action)
{
    if (action->kind == TB_ACT_JOURNAL) {
        take_row(b, action);
    } else if (action->kind == TB_ACT_SEND &&
               action->u.msg->kind == TB_MSG_OFFER) {
        size_t i = number_of(&action->client);
        b->offered[i] = true;
        b->offers[i] = action->config;
    } else if (action->kind == TB_ACT_RUN_ENDED) {
        b->n_ended++;
    } else if (action->kind == TB_ACT_ORDER) {
        tb_verdict verdict = {.order = action->u.order->id};
        tb_event event = {.kind = TB_EV_VERDICT, .verdict = &verdict};
        step(b, &event);
    }
}

static tb_rc try(bench *b, const tb_event *event, tb_err *err)
{
    tb_actions out = {0};
    tb_rc rc = tb_coordinator_step(b->co, event, b->now, &out, err);
    for (size_t i = 0; i < out.n; i++) {
        take_action(b, &out.at[i]);
    }
    tb_actions_release(&out);
    return rc;
}

static void step(bench *b, const tb_event *event)
{
    tb_err err = {0};
    CHECK_OK(try(b, event, &err), err);
}

static void say(bench *b, size_t client, const tb_msg *msg)
{
    tb_event event = {
        .kind = TB_EV_MESSAGE, .client = named(clients[client]), .msg = msg};
    step(b, &event);
}

static void check_in(bench *b, size_t client)
{
    tb_msg msg = {.kind = TB_MSG_CHECK_IN};
    say(b, client, &msg);
}

static void decline(bench *b, size_t client)
{
    tb_msg msg = {.kind = TB_MSG_DECLINE,
                  .u.answer = {.config = b->offers[client]}};
    CHECK(b->offered[client]);
    b->offered[client] = false;
    say(b, client, &msg);
}

/* Its update has a wrong size: a strike. */
static void misbehave(bench *b, size_t client)
{
    tb_msg msg = {
        .kind = TB_MSG_UPLOAD_BEGIN,
        .u.upload_begin = {.config = b->offers[client], .n_blocks = 99}};
    CHECK(b->offered[client]);
    b->offered[client] = false;
    say(b, client, &msg);
}

static void enrol(bench *b, size_t client)
{
    tb_record invited = {.kind = TB_REC_INVITED};
    tb_record enrolled = {.kind = TB_REC_ENROLLED};
    tb_event event = {.kind = TB_EV_RECORD, .record = &invited};
    invited.u.invited.client = named(clients[client]);
    memcpy(invited.u.invited.invite, clients[client], 4);
    enrolled.u.enrolled.client = named(clients[client]);
    memcpy(enrolled.u.enrolled.invite, clients[client], 4);
    step(b, &event);
    event.record = &enrolled;
    step(b, &event);
}

static void hello(bench *b, size_t client)
{
    tb_msg msg = {.kind = TB_MSG_HELLO,
                  .u.hello = {.protocol_min = 1,
                              .protocol_max = 1,
                              .client = named(clients[client]),
                              .n_data_sets = 1}};
    msg.u.hello.data_sets[0] = named("numbers");
    say(b, client, &msg);
}

static void set_up(bench *b, uint32_t running)
{
    tb_err err = {0};
    memset(b, 0, sizeof *b);
    b->params = tb_coordinator_defaults();
    b->params.running = running;
    CHECK_OK(tb_coordinator_new(&b->co, &b->params, &err), err);
    CHECK_OK(tb_coordinator_new(&b->twin, &b->params, &err), err);
    CHECK_OK(tb_coordinator_resume(b->co, 0, &b->out, &err), err);
    for (size_t i = 0; i < CLIENTS; i++) {
        enrol(b, i);
        hello(b, i);
    }
}

static void tear_down(bench *b)
{
    tb_actions_release(&b->out);
    tb_coordinator_free(&b->co);
    tb_coordinator_free(&b->twin);
    CHECK(tb_mem_live() == 0);
}

static tb_run_id id_of(uint8_t n)
{
    return (tb_run_id){{n}};
}

static tb_rc try_start(bench *b, uint8_t n, const char *name, uint32_t target,
                       tb_err *err)
{
    static tb_run_params p; /* large */
    small_run(&p, target);
    p.run = id_of(n);
    p.name = named(name);
    p.max_attempts = 100;
    tb_event event = {.kind = TB_EV_START, .params = &p};
    return try(b, &event, err);
}

static void start(bench *b, uint8_t n, const char *name, uint32_t target)
{
    tb_err err = {0};
    CHECK_OK(try_start(b, n, name, target, &err), err);
}

static tb_rc change(bench *b, tb_event_kind kind, uint8_t n, tb_err *err)
{
    tb_event event = {.kind = kind,
                      .run = id_of(n),
                      .unix_s = 1700000000, /* 2023-11-14 22:13:20 UTC */
                      .why = "new disks"};
    return try(b, &event, err);
}

static void change_ok(bench *b, tb_event_kind kind, uint8_t n)
{
    tb_err err = {0};
    CHECK_OK(change(b, kind, n, &err), err);
}

/* Where the run of this name stands; fails the test when it does not live. */
static tb_run_status status_in(const tb_coordinator *co, const char *name)
{
    tb_run_status s;
    for (size_t i = 0; tb_coordinator_run_status(co, i, &s); i++) {
        if (strcmp(s.name.text, name) == 0) {
            return s;
        }
    }
    fail_msg("no run of %s", name);
    return s;
}

static tb_run_status status_of(const bench *b, const char *name)
{
    return status_in(b->co, name);
}

static void waits_for(const bench *b, const char *name, const char *text)
{
    tb_run_status s = status_of(b, name);
    if (strstr(s.waits_for, text) == NULL) {
        fail_msg("%s: no \"%s\" in: %s", name, text, s.waits_for);
    }
}

/* Whether the client was asked by the round that the run has open. */
static bool is_in(const bench *b, size_t client, const char *name)
{
    tb_run_status s = status_of(b, name);
    return s.open && b->offered[client] &&
           tb_hash_equal(&s.config, &b->offers[client]);
}

static void two_runs_share_the_fleet(void **state)
{
    bench b;
    (void)state;
    set_up(&b, 4);
    start(&b, 1, "one", 2);
    start(&b, 2, "two", 2);
    for (size_t i = 0; i < CLIENTS; i++) {
        check_in(&b, i);
    }
    CHECK(status_of(&b, "one").phase == TB_PHASE_TRAINING);
    CHECK(status_of(&b, "two").phase == TB_PHASE_TRAINING);
    /* the oldest took the first two; no client is in both */
    CHECK(is_in(&b, 0, "one") && is_in(&b, 1, "one"));
    CHECK(is_in(&b, 2, "two") && is_in(&b, 3, "two"));
    tear_down(&b);
}

static void one_run_more_than_may_run_is_queued(void **state)
{
    bench b;
    (void)state;
    set_up(&b, 2);
    start(&b, 1, "one", 1);
    start(&b, 2, "two", 1);
    start(&b, 3, "three", 1);
    start(&b, 4, "four", 1);
    for (size_t i = 0; i < CLIENTS; i++) {
        check_in(&b, i);
    }
    CHECK(status_of(&b, "three").queued == 1);
    CHECK(status_of(&b, "four").queued == 2);
    CHECK(status_of(&b, "two").queued == 0);
    CHECK(!status_of(&b, "three").open && !b.offered[2]);
    waits_for(&b, "four", "number 2 in the queue");
    waits_for(&b, "four", "jobs.running");
    change_ok(&b, TB_EV_CANCEL, 1);
    CHECK(b.n_ended == 1);
    CHECK(status_of(&b, "three").phase == TB_PHASE_TRAINING);
    CHECK(status_of(&b, "four").queued == 1);
    tear_down(&b);
}

static void a_second_run_of_one_model_is_refused(void **state)
{
    bench b;
    tb_err err = {0};
    (void)state;
    set_up(&b, 4);
    start(&b, 1, "one", 1);
    CHECK_ERR(try_start(&b, 2, "one", 1, &err), TB_E_BUSY, err,
              "a run of model one is not over");
    CHECK(tb_coordinator_runs(b.co) == 1);
    change_ok(&b, TB_EV_CANCEL, 1);
    start(&b, 2, "one", 1); /* the name is free again */
    tear_down(&b);
}

static void there_is_an_end_to_the_queue(void **state)
{
    bench b;
    tb_err err = {0};
    char name[16];
    (void)state;
    set_up(&b, 1);
    for (uint8_t i = 0; i < TB_RUNS_MAX; i++) {
        (void)snprintf(name, sizeof name, "job-%u", i);
        start(&b, (uint8_t)(i + 1), name, 1);
    }
    CHECK_ERR(try_start(&b, 200, "more", 1, &err), TB_E_BUSY, err,
              "64 jobs are queued or running");
    change_ok(&b, TB_EV_CANCEL, 64);
    start(&b, 200, "more", 1);
    CHECK(status_of(&b, "more").queued == TB_RUNS_MAX - 1);
    tear_down(&b);
}

static void a_paused_run_ends_its_round_and_opens_no_other(void **state)
{
    bench b;
    (void)state;
    set_up(&b, 4);
    start(&b, 1, "one", 1);
    check_in(&b, 0);
    change_ok(&b, TB_EV_PAUSE, 1);
    CHECK(status_of(&b, "one").phase == TB_PHASE_TRAINING);
    decline(&b, 0);
    CHECK(status_of(&b, "one").attempt == 2);
    CHECK(!status_of(&b, "one").open);
    for (size_t i = 0; i < CLIENTS; i++) {
        check_in(&b, i);
    }
    CHECK(!status_of(&b, "one").open);
    waits_for(&b, "one",
              "the operator, who paused it at 2023-11-14 22:13:20 UTC, new "
              "disks: tributaryd resume one");
    CHECK(status_in(b.twin, "one").paused);
    change_ok(&b, TB_EV_RESUME, 1);
    CHECK(status_of(&b, "one").open && !status_in(b.twin, "one").paused);
    tear_down(&b);
}

static void a_paused_run_gives_its_place_to_the_queue(void **state)
{
    bench b;
    (void)state;
    set_up(&b, 1);
    start(&b, 1, "one", 1);
    start(&b, 2, "two", 1);
    CHECK(status_of(&b, "two").queued == 1);
    change_ok(&b, TB_EV_PAUSE, 1);
    CHECK(status_of(&b, "two").queued == 0);
    check_in(&b, 0);
    CHECK(is_in(&b, 0, "two"));
    change_ok(&b, TB_EV_RESUME, 1);
    check_in(&b, 1);
    CHECK(is_in(&b, 1, "one")); /* it is the older one */
    CHECK(is_in(&b, 0, "two")); /* and this one's round goes on to its end */
    decline(&b, 0);
    check_in(&b, 2);
    CHECK(!status_of(&b, "two").open);
    CHECK(status_of(&b, "two").queued == 1);
    tear_down(&b);
}

static void what_cannot_be_changed_is_said(void **state)
{
    bench b;
    tb_err err = {0};
    (void)state;
    set_up(&b, 4);
    start(&b, 1, "one", 1);
    CHECK_ERR(change(&b, TB_EV_RESUME, 1, &err), TB_E_EXISTS, err,
              "the run of one is not paused");
    change_ok(&b, TB_EV_PAUSE, 1);
    CHECK_ERR(change(&b, TB_EV_PAUSE, 1, &err), TB_E_EXISTS, err,
              "the run of one is paused already");
    CHECK_ERR(change(&b, TB_EV_PAUSE, 9, &err), TB_E_NOT_FOUND, err,
              "no such run");
    CHECK_ERR(change(&b, TB_EV_CANCEL, 9, &err), TB_E_NOT_FOUND, err,
              "no such run");
    change_ok(&b, TB_EV_CANCEL, 1); /* a paused one too */
    CHECK(b.n_ended == 1 && tb_coordinator_runs(b.co) == 0);
    CHECK(tb_coordinator_runs(b.twin) == 0);
    tear_down(&b);
}

static void a_cancelled_run_leaves_the_others_alone(void **state)
{
    bench b;
    (void)state;
    set_up(&b, 4);
    start(&b, 1, "one", 2);
    start(&b, 2, "two", 2);
    for (size_t i = 0; i < CLIENTS; i++) {
        check_in(&b, i);
    }
    tb_run_status before = status_of(&b, "two");
    change_ok(&b, TB_EV_CANCEL, 1);
    tb_run_status after = status_of(&b, "two");
    CHECK(tb_coordinator_runs(b.co) == 1 && b.n_ended == 1);
    CHECK(after.open && tb_hash_equal(&after.config, &before.config));
    CHECK(after.phase == TB_PHASE_TRAINING && after.n_asked == 2);
    decline(&b, 2);
    CHECK(status_of(&b, "two").open); /* dora can still send */
    tear_down(&b);
}

/* A restart between the row and the end of its last order. */
static void a_cancelled_run_ends_after_a_restart(void **state)
{
    bench b;
    tb_err err = {0};
    tb_actions out = {0};
    tb_record cancelled = {.kind = TB_REC_RUN_CANCELLED,
                           .u.run_cancelled = {.run = {{1}}, .why = "wrong"}};
    (void)state;
    set_up(&b, 4);
    start(&b, 1, "one", 1);
    start(&b, 2, "two", 1);
    check_in(&b, 0);
    check_in(&b, 1);
    tb_coordinator *twin = b.twin;
    uint64_t seq = 0;
    for (seq = 1; tb_coordinator_replay(twin, &cancelled, seq, &err) != TB_OK;
         seq++) {
        CHECK(seq < 100);
    }
    CHECK_OK(tb_coordinator_resume(twin, 0, &out, &err), err);
    bool ended = false;
    for (size_t i = 0; i < out.n; i++) {
        ended = ended || (out.at[i].kind == TB_ACT_RUN_ENDED &&
                          out.at[i].u.run.bytes[0] == 1);
    }
    CHECK(ended && tb_coordinator_runs(twin) == 1);
    CHECK(status_in(twin, "two").phase == TB_PHASE_TRAINING);
    tb_actions_release(&out);
    tear_down(&b);
}

static void strikes_count_in_their_own_run(void **state)
{
    bench b;
    (void)state;
    set_up(&b, 4);
    start(&b, 1, "one", 1);
    for (int i = 0; i < 3; i++) {
        check_in(&b, 0);
        CHECK(is_in(&b, 0, "one"));
        misbehave(&b, 0);
    }
    check_in(&b, 0);
    CHECK(!b.offered[0]); /* quarantined there */
    waits_for(&b, "one", "3 of 4 connected clients are eligible");
    start(&b, 2, "two", 1);
    CHECK(is_in(&b, 0, "two"));
    tear_down(&b);
}

/* While one run opens a round of a single client whenever one is free, another
 * needs three of them at once. */
static void no_run_starves_behind_one_of_small_rounds(void **state)
{
    bench b;
    (void)state;
    set_up(&b, 4);
    start(&b, 1, "small", 1);
    start(&b, 2, "large", 3);
    check_in(&b, 0);
    CHECK(is_in(&b, 0, "small"));
    check_in(&b, 1);
    check_in(&b, 2); /* both wait for the large one's third */
    decline(&b, 0);
    CHECK(status_of(&b, "small").attempt == 2);
    CHECK(!status_of(&b, "small").open && !status_of(&b, "large").open);
    waits_for(&b, "small", "held by other jobs");
    check_in(&b, 0);
    CHECK(is_in(&b, 0, "large") && is_in(&b, 1, "large") &&
          is_in(&b, 2, "large"));
    check_in(&b, 3);
    CHECK(is_in(&b, 3, "small"));
    tear_down(&b);
}

/* One that cannot get its minimum at all holds nobody back. */
static void a_run_that_cannot_open_holds_no_client(void **state)
{
    bench b;
    (void)state;
    set_up(&b, 4);
    start(&b, 1, "huge", 40);
    start(&b, 2, "small", 1);
    check_in(&b, 0);
    CHECK(is_in(&b, 0, "small"));
    waits_for(&b, "huge", "cohort.minimum: 40");
    tear_down(&b);
}

static void turns_go_round(void **state)
{
    bench b;
    static const char *const names[] = {"one", "two", "three"};
    (void)state;
    set_up(&b, 4);
    for (uint8_t i = 0; i < 3; i++) {
        start(&b, (uint8_t)(i + 1), names[i], 1);
    }
    /* a single client, three times each in turn */
    for (size_t i = 0; i < 9; i++) {
        check_in(&b, 0);
        CHECK(is_in(&b, 0, names[i % 3]));
        decline(&b, 0);
    }
    tear_down(&b);
}

static void each_failed_allocation_leaves_what_was(void **state)
{
    bench b;
    tb_err err = {0};
    (void)state;
    set_up(&b, 4);
    start(&b, 1, "one", 1);
    tb_rc rc = TB_E_NOMEM;
    for (long k = 0; rc == TB_E_NOMEM; k++) {
        static tb_run_params p;
        p = *tb_coordinator_run(b.co, 0);
        p.run = id_of(2);
        p.name = named("two");
        tb_record record = {.kind = TB_REC_RUN_STARTED, .u.run_started = &p};
        tb_mem_fail_after(k);
        rc = tb_coordinator_replay(b.twin, &record, 10, &err);
        tb_mem_fail_after(-1);
        CHECK(tb_coordinator_runs(b.twin) == (rc == TB_OK ? 2 : 1));
    }
    CHECK_OK(rc, err);
    tear_down(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(two_runs_share_the_fleet),
        cmocka_unit_test(one_run_more_than_may_run_is_queued),
        cmocka_unit_test(a_second_run_of_one_model_is_refused),
        cmocka_unit_test(there_is_an_end_to_the_queue),
        cmocka_unit_test(a_paused_run_ends_its_round_and_opens_no_other),
        cmocka_unit_test(a_paused_run_gives_its_place_to_the_queue),
        cmocka_unit_test(what_cannot_be_changed_is_said),
        cmocka_unit_test(a_cancelled_run_leaves_the_others_alone),
        cmocka_unit_test(a_cancelled_run_ends_after_a_restart),
        cmocka_unit_test(strikes_count_in_their_own_run),
        cmocka_unit_test(no_run_starves_behind_one_of_small_rounds),
        cmocka_unit_test(a_run_that_cannot_open_holds_no_client),
        cmocka_unit_test(turns_go_round),
        cmocka_unit_test(each_failed_allocation_leaves_what_was),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
