/* The coordinator machine, message by message. Its driver here is the test:
 * orders are answered by hand. */
#include "fed/coordinator.h"

#include <string.h>

#include "bench.h"

static void strangers_are_refused_and_cut(void **state)
{
    bench b;
    (void)state;
    set_up(&b);
    check_in(&b, "mallory");
    check_refused(&b, "mallory", TB_REFUSE_IDENTITY);
    bool cut = false;
    for (size_t i = 0; i < b.out.n; i++) {
        cut = cut || b.out.at[i].kind == TB_ACT_CUT;
    }
    CHECK(cut);
    tear_down(&b);
}

static void hello_comes_first_and_must_fit(void **state)
{
    bench b;
    (void)state;
    set_up(&b);
    tb_msg bye = {.kind = TB_MSG_BYE};
    say(&b, "anna", &bye, 0, 0);
    check_in(&b, "anna");
    check_refused(&b, "anna", TB_REFUSE_STATE);
    tb_msg msg = {.kind = TB_MSG_HELLO,
                  .u.hello = {.protocol_min = TB_PROTOCOL_MAX + 1,
                              .protocol_max = TB_PROTOCOL_MAX + 2,
                              .client = named("anna")}};
    say(&b, "anna", &msg, 0, 0);
    check_refused(&b, "anna", TB_REFUSE_PROTOCOL);
    msg.u.hello.protocol_min = 1;
    msg.u.hello.client = named("bert");
    say(&b, "anna", &msg, 0, 0);
    check_refused(&b, "anna", TB_REFUSE_IDENTITY);
    tear_down(&b);
}

static void members_enrol_once_and_can_be_revoked(void **state)
{
    bench b;
    tb_err err = {0};
    tb_record r = {.kind = TB_REC_INVITED};
    tb_event event = {.kind = TB_EV_RECORD, .record = &r};
    (void)state;
    set_up(&b);
    uint64_t rows = b.rows;
    r.u.invited.client = named("anna");
    r.u.invited.invite[0] = 1;
    CHECK_ERR(step(&b, &event, &err), TB_E_EXISTS, err, "anna");
    r.u.invited.client = named("dora");
    step_ok(&b, &event);
    CHECK_ERR(step(&b, &event, &err), TB_E_EXISTS, err, "before");
    r = (tb_record){.kind = TB_REC_ENROLLED};
    r.u.enrolled.client = named("emil");
    r.u.enrolled.invite[0] = 1;
    CHECK_ERR(step(&b, &event, &err), TB_E_MISMATCH, err, "emil");
    r.u.enrolled.client = named("dora");
    step_ok(&b, &event);
    CHECK_ERR(step(&b, &event, &err), TB_E_EXISTS, err, "used");
    r = (tb_record){.kind = TB_REC_REVOKED};
    r.u.revoked.client = named("dora");
    step_ok(&b, &event);
    CHECK_ERR(step(&b, &event, &err), TB_E_NOT_FOUND, err, "dora");
    tb_member member;
    tb_name dora = named("dora");
    CHECK(tb_coordinator_find(b.co, &dora, &member) && member.revoked);
    CHECK(b.rows == rows + 3);
    r = (tb_record){.kind = TB_REC_CLOSED};
    CHECK_ERR(step(&b, &event, &err), TB_E_USAGE, err, "outside");
    tear_down(&b);
}

static void versions_never_fall(void **state)
{
    bench b;
    tb_err err = {0};
    tb_record r = {.kind = TB_REC_VERSION};
    tb_event event = {.kind = TB_EV_RECORD, .record = &r};
    (void)state;
    set_up(&b);
    r.u.version.model = named("model");
    r.u.version.sequence = 5;
    step_ok(&b, &event);
    CHECK_ERR(step(&b, &event, &err), TB_E_EXISTS, err, "version 5");
    r.u.version.sequence = 4;
    CHECK_ERR(step(&b, &event, &err), TB_E_EXISTS, err, "fall");
    CHECK(tb_coordinator_version(b.co, &r.u.version.model) == 5);
    tear_down(&b);
}

static void a_receipt_waits_for_its_row(void **state)
{
    bench b;
    (void)state;
    set_up(&b);
    open_round(&b);
    accept(&b, "anna", 1);
    const tb_action *action = sent(&b, "anna");
    CHECK(action != NULL);
    if (action != NULL) {
        CHECK(action->after_seq == b.rows);
        CHECK(action->u.msg->u.receipt.sequence == b.rows);
    }
    tear_down(&b);
}

static void
the_same_update_gets_its_receipt_again_another_does_not(void **state)
{
    bench b;
    (void)state;
    set_up(&b);
    open_round(&b);
    accept(&b, "anna", 1);
    uint64_t rows = b.rows;
    tb_msg begin = begin_of(&b, 1);
    say(&b, "anna", &begin, 0, 0);
    check_sent(&b, "anna", TB_MSG_RECEIPT);
    send_end(&b, "anna", 1, 1);
    check_sent(&b, "anna", TB_MSG_RECEIPT);
    send_end(&b, "anna", 1, 2);
    check_refused(&b, "anna", TB_REFUSE_DUPLICATE);
    const tb_action *refusal = sent(&b, "anna");
    CHECK(refusal != NULL);
    if (refusal != NULL) { /* it names the round, so the client gives up */
        CHECK(tb_hash_equal(&refusal->u.msg->u.refuse.config,
                            &begin.u.upload_begin.config));
    }
    begin = begin_of(&b, 2);
    say(&b, "anna", &begin, 0, 0);
    check_refused(&b, "anna", TB_REFUSE_DUPLICATE);
    CHECK(b.rows == rows && !has_order(&b));
    tear_down(&b);
}

static void updates_of_no_round_or_no_part_are_refused(void **state)
{
    bench b;
    (void)state;
    set_up(&b);
    tb_msg begin = {.kind = TB_MSG_UPLOAD_BEGIN,
                    .u.upload_begin = {.n_blocks = BLOCKS}};
    say(&b, "anna", &begin, 0, 0);
    check_refused(&b, "anna", TB_REFUSE_WRONG_ROUND);
    open_round(&b);
    say(&b, "anna", &begin, 0, 0);
    check_refused(&b, "anna", TB_REFUSE_WRONG_ROUND);
    begin = begin_of(&b, 3);
    say(&b, "carl", &begin, 0, 0);
    check_refused(&b, "carl", TB_REFUSE_NOT_SELECTED);
    tb_hash old = open_hash(&b);
    tb_event cancel = {.kind = TB_EV_CANCEL, .why = "enough"};
    step_ok(&b, &cancel);
    begin.u.upload_begin.config = old;
    say(&b, "anna", &begin, 0, 0);
    check_refused(&b, "anna", TB_REFUSE_LATE);
    tear_down(&b);
}

static void a_wrong_size_expels_and_what_was_added_is_subtracted(void **state)
{
    bench b;
    (void)state;
    set_up(&b);
    open_round(&b);
    tb_msg begin = begin_of(&b, 1);
    begin.u.upload_begin.n_blocks = BLOCKS + 1;
    say(&b, "anna", &begin, 0, 0);
    check_refused(&b, "anna", TB_REFUSE_SIZE);
    begin.u.upload_begin.n_blocks = BLOCKS;
    say(&b, "anna", &begin, 0, 0);
    check_refused(&b, "anna", TB_REFUSE_SIZE); /* it had its chance */
    begin = begin_of(&b, 2);
    say(&b, "bert", &begin, 0, 0);
    for (uint32_t i = 0; i < 2; i++) {
        send_block(&b, "bert", 2, i);
        answer(&b, (tb_verdict){.order = the_order(&b, TB_ORDER_ADD_BLOCK)->id,
                                .weight = 77});
    }
    uint64_t discarded = b.discarded;
    tb_msg block = {.kind = TB_MSG_BLOCK,
                    .u.block = {.upload = {.bytes = {2}}, .index = 2}};
    say(&b, "bert", &block, 500, sealed_bytes(&b, 2) - 1);
    check_refused(&b, "bert", TB_REFUSE_SIZE);
    CHECK(b.discarded == discarded + 1);
    const tb_order *o = the_order(&b, TB_ORDER_DROP_UPLOAD);
    CHECK(o->index == 2 && o->weight == 77);
    tear_down(&b);
}

static void bad_blocks_and_hashes_expel_with_their_reason(void **state)
{
    static const tb_refusal codes[] = {TB_REFUSE_SEAL, TB_REFUSE_VALUES,
                                       TB_REFUSE_WEIGHT};
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        bench b;
        set_up(&b);
        open_round(&b);
        tb_msg begin = begin_of(&b, 1);
        say(&b, "anna", &begin, 0, 0);
        send_block(&b, "anna", 1, 0);
        tb_verdict no = {.order = the_order(&b, TB_ORDER_ADD_BLOCK)->id,
                         .rc = TB_E_DENIED,
                         .refusal = codes[i],
                         .why = "because"};
        answer(&b, no);
        check_refused(&b, "anna", codes[i]);
        send_block(&b, "anna", 1, 1); /* it was on its way */
        check_refused(&b, "anna", codes[i]);
        tear_down(&b);
    }
    bench b;
    set_up(&b);
    open_round(&b);
    upload(&b, "anna", 1);
    tb_verdict no = {.order = the_order(&b, TB_ORDER_END_UPLOAD)->id,
                     .rc = TB_E_MISMATCH,
                     .refusal = TB_REFUSE_HASH};
    answer(&b, no);
    check_refused(&b, "anna", TB_REFUSE_HASH);
    CHECK(the_order(&b, TB_ORDER_DROP_UPLOAD)->index == BLOCKS);
    tear_down(&b);
}

static void a_client_cannot_undo_what_is_about_to_be_accepted(void **state)
{
    bench b;
    (void)state;
    set_up(&b);
    open_round(&b);
    upload(&b, "anna", 1);
    uint64_t order = the_order(&b, TB_ORDER_END_UPLOAD)->id;
    tb_msg begin = begin_of(&b, 1);
    begin.u.upload_begin.n_blocks = 9;
    say(&b, "anna", &begin, 0, 0);
    check_refused(&b, "anna", TB_REFUSE_SIZE);
    tb_msg decline = {.kind = TB_MSG_DECLINE,
                      .u.answer = {.config = open_hash(&b)}};
    say(&b, "anna", &decline, 0, 0);
    begin = begin_of(&b, 2);
    say(&b, "anna", &begin, 0, 0);
    tb_record r = {.kind = TB_REC_REVOKED};
    r.u.revoked.client = named("anna");
    tb_event revoke = {.kind = TB_EV_RECORD, .record = &r};
    step_ok(&b, &revoke);
    answer(&b, (tb_verdict){.order = order});
    tb_run_status status;
    CHECK(tb_coordinator_run_status(b.co, 0, &status));
    CHECK(status.n_accepted == 1);
    tear_down(&b);
}

static void a_purge_reaches_what_is_about_to_be_accepted(void **state)
{
    bench b;
    (void)state;
    set_up(&b);
    open_round(&b);
    upload(&b, "anna", 1);
    uint64_t order = the_order(&b, TB_ORDER_END_UPLOAD)->id;
    tb_event purge = {.kind = TB_EV_PURGE, .client = named("anna")};
    step_ok(&b, &purge);
    tb_record r = {.kind = TB_REC_REVOKED};
    r.u.revoked.client = named("anna");
    tb_event revoke = {.kind = TB_EV_RECORD, .record = &r};
    step_ok(&b, &revoke);
    answer(&b, (tb_verdict){.order = order});
    const tb_order *drop = the_order(&b, TB_ORDER_DROP_STORED);
    CHECK(drop->index == BLOCKS && drop->weight == 77 && drop->full == 77);
    tb_run_status status;
    CHECK(tb_coordinator_run_status(b.co, 0, &status));
    CHECK(status.n_accepted == 0 && status.phase == TB_PHASE_TRAINING);
    answer(&b, (tb_verdict){.order = drop->id});
    accept(&b, "bert", 2); /* nobody else is waited for */
    CHECK(the_order(&b, TB_ORDER_AGGREGATE)->id != 0);
    tear_down(&b);
}

/* anna and bert in a round, and so many blocks for both. */
static void set_up_pool(bench *b, size_t blocks)
{
    tb_coordinator_params params = tb_coordinator_defaults();
    params.pool_bytes = blocks * TB_PAYLOAD_BYTES_MAX;
    set_up_with(b, &params);
    open_round(b);
}

static void credit_is_bounded_and_blocks_beyond_it_are_not_taken(void **state)
{
    bench b;
    (void)state;
    set_up_pool(&b, 1);
    tb_msg begin = begin_of(&b, 1);
    say(&b, "anna", &begin, 0, 0);
    check_sent(&b, "anna", TB_MSG_CREDIT);
    check_until(&b, "anna", 1);
    begin = begin_of(&b, 2);
    say(&b, "bert", &begin, 0, 0);
    check_until(&b, "bert", 0);
    send_block(&b, "bert", 2, 0);
    check_refused(&b, "bert", TB_REFUSE_STATE);
    CHECK(b.discarded == 1 && !has_order(&b));
    tb_event gone = {.kind = TB_EV_GONE, .client = named("anna")};
    step_ok(&b, &gone); /* her grant goes to the one who waits */
    check_sent(&b, "bert", TB_MSG_CREDIT);
    check_until(&b, "bert", 1);
    tear_down(&b);
}

/* An unused grant goes back after 30 s. */
static void beginning_again_does_not_keep_a_grant(void **state)
{
    bench b;
    (void)state;
    for (uint8_t id = 1; id <= 2; id++) { /* the same upload, and another */
        set_up_pool(&b, 1);
        tb_msg begin = begin_of(&b, 1);
        say(&b, "anna", &begin, 0, 0);
        check_until(&b, "anna", 1);
        begin = begin_of(&b, 7);
        say(&b, "bert", &begin, 0, 0);
        check_until(&b, "bert", 0);
        b.now = 20000;
        begin = begin_of(&b, id);
        say(&b, "anna", &begin, 0, 0);
        tick(&b, 29999);
        CHECK(sent(&b, "bert") == NULL);
        tick(&b, 31000);
        check_until(&b, "bert", 1);
        begin = begin_of(&b, id);
        say(&b, "anna", &begin, 0, 0);
        check_until(&b, "anna", 0);
        send_block(&b, "bert", 7, 0);
        answer(&b, (tb_verdict){.order = the_order(&b, TB_ORDER_ADD_BLOCK)->id,
                                .weight = 77});
        tear_down(&b);
    }
}

static void who_left_a_grant_unused_gets_one_block_until_it_sends(void **state)
{
    bench b;
    (void)state;
    set_up_pool(&b, 8);
    tb_msg begin = begin_of(&b, 1);
    say(&b, "anna", &begin, 0, 0);
    check_until(&b, "anna", 3);
    tick(&b, 31000);
    say(&b, "anna", &begin, 0, 0);
    check_until(&b, "anna", 1);
    send_block(&b, "anna", 1, 0);
    answer(&b, (tb_verdict){.order = the_order(&b, TB_ORDER_ADD_BLOCK)->id,
                            .weight = 77});
    check_until(&b, "anna", 3);
    tear_down(&b);
}

static uint64_t told_to_wait(const bench *b, const char *client)
{
    check_sent(b, client, TB_MSG_WAIT);
    const tb_action *action = sent(b, client);
    return action != NULL ? action->u.msg->u.wait.retry_ms : 0;
}

static void who_checks_in_too_early_is_told_the_same_time_again(void **state)
{
    bench b;
    (void)state;
    set_up(&b);
    check_in(&b, "anna");
    uint64_t ms = told_to_wait(&b, "anna");
    CHECK(ms >= b.params.wait_ms * 3 / 4);
    for (uint64_t early = 1; early < ms; early += 1000) {
        b.now = (int64_t)early;
        check_in(&b, "anna");
        CHECK(told_to_wait(&b, "anna") == ms - early);
    }
    b.now = (int64_t)ms;
    check_in(&b, "anna");
    CHECK(told_to_wait(&b, "anna") >= b.params.wait_ms * 3 / 4);
    tear_down(&b);
}

/* 16 at once, then one a second. */
static void too_many_sessions_are_refused_with_the_time_to_wait(void **state)
{
    bench b;
    (void)state;
    set_up(&b);
    check_in(&b, "anna");
    tb_msg msg = {.kind = TB_MSG_HELLO,
                  .u.hello = {.protocol_min = 1,
                              .protocol_max = 1,
                              .client = named("anna"),
                              .n_data_sets = 1}};
    msg.u.hello.data_sets[0] = named("numbers");
    for (int i = 1; i < 16; i++) {
        say(&b, "anna", &msg, 0, 0);
        check_sent(&b, "anna", TB_MSG_WELCOME);
    }
    check_in(&b, "anna");
    for (int i = 0; i < 100; i++) {
        say(&b, "anna", &msg, 0, 0);
        check_refused(&b, "anna", TB_REFUSE_RATE);
    }
    tb_status status;
    tb_coordinator_status(b.co, &status);
    CHECK(status.n_ready == 1); /* nothing has changed */
    CHECK(status.n_refused[TB_REFUSE_RATE] == 100);
    const tb_action *no = sent(&b, "anna");
    uint64_t ms = no != NULL ? no->u.msg->u.refuse.retry_ms : 0;
    CHECK(ms > 0 && ms <= 1001);
    b.now = (int64_t)ms;
    hello(&b, "anna");
    say(&b, "anna", &msg, 0, 0);
    check_refused(&b, "anna", TB_REFUSE_RATE);
    hello(&b, "bert"); /* each has his own */
    tear_down(&b);
}

static void fetches_become_chunks(void **state)
{
    bench b;
    (void)state;
    set_up(&b);
    tb_msg fetch = {.kind = TB_MSG_FETCH,
                    .u.fetch = {.offset = 7, .length = 9}};
    say(&b, "anna", &fetch, 0, 0);
    CHECK(b.out.n == 1 && b.out.at[0].kind == TB_ACT_CHUNK);
    CHECK(b.out.at[0].u.chunk.offset == 7 && b.out.at[0].u.chunk.length == 9);
    tear_down(&b);
}

static void a_payload_that_belongs_to_nothing_is_discarded(void **state)
{
    bench b;
    (void)state;
    set_up(&b);
    tb_msg block = {.kind = TB_MSG_BLOCK};
    say(&b, "anna", &block, 5, 100);
    CHECK(b.discarded == 1);
    check_refused(&b, "anna", TB_REFUSE_STATE);
    tb_msg welcome = {.kind = TB_MSG_WELCOME};
    say(&b, "anna", &welcome, 0, 0);
    check_refused(&b, "anna", TB_REFUSE_STATE);
    tear_down(&b);
}

static void the_offer_is_repeated_to_a_client_that_comes_back(void **state)
{
    bench b;
    (void)state;
    set_up(&b);
    open_round(&b);
    hello(&b, "anna");
    check_in(&b, "anna");
    check_sent(&b, "anna", TB_MSG_OFFER);
    check_in(&b, "carl"); /* no part in it */
    check_sent(&b, "carl", TB_MSG_WAIT);
    tear_down(&b);
}

static void more_are_asked_than_wanted_and_the_last_is_late(void **state)
{
    bench b;
    (void)state;
    set_up(&b);
    tb_run_params run = run_of_two();
    run.over_selection = 1.5;
    tb_event start = {.kind = TB_EV_START, .params = &run};
    step_ok(&b, &start);
    check_in(&b, "anna");
    check_in(&b, "bert");
    check_in(&b, "carl");
    static const char *const names[] = {"anna", "bert", "carl"};
    for (size_t i = 0; i < 3; i++) {
        check_sent(&b, names[i], TB_MSG_OFFER);
    }
    answer(&b, (tb_verdict){.order = the_order(&b, TB_ORDER_OPEN_ROUND)->id});
    accept(&b, "carl", 3);
    accept(&b, "anna", 1);
    the_order(&b, TB_ORDER_AGGREGATE); /* two is what was wanted */
    tb_msg begin = begin_of(&b, 2);
    say(&b, "bert", &begin, 0, 0);
    check_refused(&b, "bert", TB_REFUSE_LATE);
    tear_down(&b);
}

/* One round: anna and bert give their updates, the third does not. */
static void give_two(bench *b, uint8_t id)
{
    answer(b, (tb_verdict){.order = the_order(b, TB_ORDER_OPEN_ROUND)->id});
    accept(b, "anna", id);
    accept(b, "bert", (uint8_t)(id + 1));
    answer(b, (tb_verdict){.order = the_order(b, TB_ORDER_AGGREGATE)->id,
                           .result = {{{id}}, 9, {{id}}, 9}});
}

static void nobody_waits_for_one_that_is_here_and_never_gives(void **state)
{
    enum { MISSES = 3 };
    bench b;
    (void)state;
    set_up(&b);
    tb_run_params run = run_of_two();
    run.rounds = MISSES + 1;
    run.over_selection = 1.5;
    tb_event start = {.kind = TB_EV_START, .params = &run};
    step_ok(&b, &start);
    for (uint8_t i = 0; i < MISSES; i++) {
        check_in(&b, "anna");
        check_in(&b, "bert");
        CHECK(!has_order(&b)); /* it may still come */
        check_in(&b, "carl");
        check_sent(&b, "carl", TB_MSG_OFFER);
        give_two(&b, (uint8_t)(10 + 2 * i));
    }
    check_in(&b, "anna");
    check_in(&b, "bert");
    check_sent(&b, "bert", TB_MSG_OFFER); /* it had its chances */
    tear_down(&b);
}

static void nobody_waits_for_one_that_only_stays_connected(void **state)
{
    bench b;
    (void)state;
    set_up(&b);
    tb_run_params run = run_of_two();
    run.over_selection = 1.5;
    run.select_ms = INT32_MAX;
    tb_event start = {.kind = TB_EV_START, .params = &run};
    step_ok(&b, &start);
    check_in(&b, "anna");
    check_in(&b, "bert");
    CHECK(!has_order(&b)); /* carl has just said HELLO */
    b.now += 4 * (int64_t)b.params.wait_ms;
    check_in(&b, "anna");
    check_sent(&b, "anna", TB_MSG_OFFER);
    check_sent(&b, "bert", TB_MSG_OFFER);
    tear_down(&b);
}

static void the_deadline_cuts_off_who_is_slow(void **state)
{
    bench b;
    (void)state;
    set_up(&b);
    open_round(&b);
    accept(&b, "anna", 1);
    tb_msg begin = begin_of(&b, 2);
    say(&b, "bert", &begin, 0, 0);
    send_block(&b, "bert", 2, 0);
    answer(&b, (tb_verdict){.order = the_order(&b, TB_ORDER_ADD_BLOCK)->id,
                            .weight = 77});
    tick(&b, 59999);
    CHECK(!has_order(&b));
    tick(&b, 60000); /* what he had sent is taken out of the sum */
    const tb_order *drop = the_order(&b, TB_ORDER_DROP_UPLOAD);
    CHECK(drop->index == 1);
    answer(&b, (tb_verdict){.order = drop->id});
    the_order(&b, TB_ORDER_AGGREGATE); /* of one update: the minimum */
    send_block(&b, "bert", 2, 1);
    check_refused(&b, "bert", TB_REFUSE_STATE);
    say(&b, "bert", &begin, 0, 0);
    check_refused(&b, "bert", TB_REFUSE_LATE);
    tear_down(&b);
}

/* Whether the run waits for the host, in the words of `status`. */
static bool waits_for_host(const bench *b)
{
    tb_run_status status = {.waits_for = ""};
    CHECK(tb_coordinator_run_status(b->co, 0, &status));
    return strncmp(status.waits_for, "the host: ", 10) == 0;
}

static void what_the_host_lacked_is_told_until_it_has_it_again(void **state)
{
    bench b;
    (void)state;
    set_up(&b);
    open_round(&b);
    CHECK(!waits_for_host(&b));
    tb_msg begin = begin_of(&b, 1);
    say(&b, "anna", &begin, 0, 0);
    send_block(&b, "anna", 1, 0);
    answer(&b, (tb_verdict){.order = the_order(&b, TB_ORDER_ADD_BLOCK)->id,
                            .rc = TB_E_FULL,
                            .why = "spool: no space left"});
    check_refused(&b, "anna", TB_REFUSE_FULL);
    CHECK(waits_for_host(&b));
    b.now += 10000;
    say(&b, "anna", &begin, 0, 0);
    send_block(&b, "anna", 1, 0);
    answer(&b, (tb_verdict){.order = the_order(&b, TB_ORDER_ADD_BLOCK)->id,
                            .weight = 77});
    CHECK(!waits_for_host(&b));
    tear_down(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(strangers_are_refused_and_cut),
        cmocka_unit_test(hello_comes_first_and_must_fit),
        cmocka_unit_test(members_enrol_once_and_can_be_revoked),
        cmocka_unit_test(versions_never_fall),
        cmocka_unit_test(a_receipt_waits_for_its_row),
        cmocka_unit_test(
            the_same_update_gets_its_receipt_again_another_does_not),
        cmocka_unit_test(updates_of_no_round_or_no_part_are_refused),
        cmocka_unit_test(a_wrong_size_expels_and_what_was_added_is_subtracted),
        cmocka_unit_test(bad_blocks_and_hashes_expel_with_their_reason),
        cmocka_unit_test(a_client_cannot_undo_what_is_about_to_be_accepted),
        cmocka_unit_test(a_purge_reaches_what_is_about_to_be_accepted),
        cmocka_unit_test(credit_is_bounded_and_blocks_beyond_it_are_not_taken),
        cmocka_unit_test(beginning_again_does_not_keep_a_grant),
        cmocka_unit_test(who_left_a_grant_unused_gets_one_block_until_it_sends),
        cmocka_unit_test(who_checks_in_too_early_is_told_the_same_time_again),
        cmocka_unit_test(too_many_sessions_are_refused_with_the_time_to_wait),
        cmocka_unit_test(fetches_become_chunks),
        cmocka_unit_test(more_are_asked_than_wanted_and_the_last_is_late),
        cmocka_unit_test(nobody_waits_for_one_that_is_here_and_never_gives),
        cmocka_unit_test(nobody_waits_for_one_that_only_stays_connected),
        cmocka_unit_test(the_deadline_cuts_off_who_is_slow),
        cmocka_unit_test(what_the_host_lacked_is_told_until_it_has_it_again),
        cmocka_unit_test(a_payload_that_belongs_to_nothing_is_discarded),
        cmocka_unit_test(the_offer_is_repeated_to_a_client_that_comes_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
