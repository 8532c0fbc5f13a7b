/* An upload that a restart of the coordinator cut: the spool tells what of it
 * is there, and its client sends the rest. */
#include "bench.h"

/* anna has sent two of three blocks when the coordinator dies; the one that
 * comes up has its sum again. */
static void set_up_cut(bench *b, size_t pool_blocks)
{
    tb_coordinator_params params = tb_coordinator_defaults();
    params.pool_bytes = pool_blocks * TB_PAYLOAD_BYTES_MAX;
    set_up_with(b, &params);
    open_round(b);
    tb_msg begin = begin_of(b, 1);
    say(b, "anna", &begin, 0, 0);
    for (uint32_t i = 0; i < 2; i++) {
        send_block(b, "anna", 1, i);
        answer(b, (tb_verdict){.order = the_order(b, TB_ORDER_ADD_BLOCK)->id,
                               .weight = 77});
    }
    restart(b);
    answer(b, (tb_verdict){.order = the_order(b, TB_ORDER_OPEN_ROUND)->id});
    hello(b, "anna");
    hello(b, "bert");
}

static void begin(bench *b, const char *client, uint8_t id)
{
    tb_msg msg = begin_of(b, id);
    say(b, client, &msg, 0, 0);
}

/* The spool's answer to the order of the last step. */
static void found(bench *b, uint32_t n_blocks)
{
    const tb_order *o = the_order(b, TB_ORDER_FIND_BLOCKS);
    answer(b, (tb_verdict){.order = o->id, .n_blocks = n_blocks});
}

/* The order of the last step adds a block of the spool, or of a message. */
static void added(bench *b, uint32_t index, uint64_t payload)
{
    const tb_order *o = the_order(b, TB_ORDER_ADD_BLOCK);
    CHECK(o->index == index && o->payload == payload);
    CHECK(o->weight == (index == 0 ? 0 : 77));
    answer(b, (tb_verdict){.order = o->id, .weight = 77});
}

static void check_credit(const bench *b, const char *client, uint32_t next,
                         uint32_t until)
{
    check_until(b, client, until);
    const tb_action *action = sent(b, client);
    if (action != NULL) {
        assert_int_equal(action->u.msg->u.credit.next, next);
    }
}

static void the_client_sends_the_rest_and_is_accepted(void **state)
{
    bench b;
    (void)state;
    set_up_cut(&b, 8);
    begin(&b, "anna", 1);
    CHECK(sent(&b, "anna") == NULL); /* nothing is known yet */
    const tb_order *o = the_order(&b, TB_ORDER_FIND_BLOCKS);
    CHECK(o->upload.upload.bytes[0] == 1 && o->upload.n_blocks == BLOCKS);
    found(&b, 2);
    check_credit(&b, "anna", 2, 3);
    added(&b, 0, 0);
    uint64_t order = the_order(&b, TB_ORDER_ADD_BLOCK)->id;
    send_block(&b, "anna", 1, 2);
    CHECK(!has_order(&b)); /* one at a time, in their order */
    answer(&b, (tb_verdict){.order = order, .weight = 77});
    added(&b, 2, 102);
    send_end(&b, "anna", 1, 9);
    o = the_order(&b, TB_ORDER_END_UPLOAD);
    CHECK(o->weight == 77 && o->update.bytes[0] == 9);
    answer(&b, (tb_verdict){.order = o->id});
    check_sent(&b, "anna", TB_MSG_RECEIPT);
    CHECK(b.kinds[b.rows - 1] == TB_REC_ACCEPTED);
    tear_down(&b);
}

static void when_all_blocks_are_there_only_the_end_is_missing(void **state)
{
    bench b;
    (void)state;
    set_up_cut(&b, 8);
    begin(&b, "anna", 1);
    found(&b, BLOCKS);
    check_credit(&b, "anna", BLOCKS, BLOCKS);
    uint64_t order = the_order(&b, TB_ORDER_ADD_BLOCK)->id;
    send_end(&b, "anna", 1, 9); /* before they are in the sum */
    CHECK(!has_order(&b));
    answer(&b, (tb_verdict){.order = order, .weight = 77});
    added(&b, 1, 0);
    added(&b, 2, 0);
    order = the_order(&b, TB_ORDER_END_UPLOAD)->id;
    answer(&b, (tb_verdict){.order = order});
    check_sent(&b, "anna", TB_MSG_RECEIPT);
    tear_down(&b);
}

static void an_upload_that_is_not_there_begins_at_its_first_block(void **state)
{
    bench b;
    (void)state;
    set_up_cut(&b, 8);
    begin(&b, "anna", 2); /* sealed anew */
    found(&b, 0);
    check_credit(&b, "anna", 0, 3);
    CHECK(!has_order(&b));
    send_block(&b, "anna", 2, 0);
    added(&b, 0, 100);
    tear_down(&b);
}

static void while_it_is_looked_up_a_begin_is_put_off(void **state)
{
    bench b;
    (void)state;
    set_up_cut(&b, 8);
    begin(&b, "anna", 1);
    uint64_t order = the_order(&b, TB_ORDER_FIND_BLOCKS)->id;
    begin(&b, "anna", 1);
    check_refused(&b, "anna", TB_REFUSE_FULL);
    CHECK(!has_order(&b));
    send_block(&b, "anna", 1, 0); /* nothing was granted */
    check_refused(&b, "anna", TB_REFUSE_STATE);
    begin(&b, "anna", 2); /* another one: the first is let go */
    check_refused(&b, "anna", TB_REFUSE_FULL);
    answer(&b, (tb_verdict){.order = order, .n_blocks = 2});
    CHECK(sent(&b, "anna") == NULL && !has_order(&b));
    begin(&b, "anna", 2);
    found(&b, 0);
    check_credit(&b, "anna", 0, 3);
    tear_down(&b);
}

static void a_bad_block_of_the_spool_is_refused_as_any_other(void **state)
{
    bench b;
    (void)state;
    set_up_cut(&b, 8);
    begin(&b, "anna", 1);
    found(&b, 2);
    added(&b, 0, 0);
    tb_verdict no = {.order = the_order(&b, TB_ORDER_ADD_BLOCK)->id,
                     .rc = TB_E_DENIED,
                     .refusal = TB_REFUSE_SEAL,
                     .why = "because"};
    answer(&b, no);
    check_refused(&b, "anna", TB_REFUSE_SEAL);
    CHECK(b.kinds[b.rows - 1] == TB_REC_EXPELLED);
    CHECK(the_order(&b, TB_ORDER_DROP_UPLOAD)->index == 1);
    tear_down(&b);
}

static void a_block_that_cannot_be_read_now_is_tried_again(void **state)
{
    bench b;
    (void)state;
    set_up_cut(&b, 8);
    begin(&b, "anna", 1);
    found(&b, 2);
    tb_verdict no = {.order = the_order(&b, TB_ORDER_ADD_BLOCK)->id,
                     .rc = TB_E_IO,
                     .why = "the disk is away"};
    answer(&b, no);
    CHECK(sent(&b, "anna") == NULL && !has_order(&b));
    tick(&b, (int64_t)b.params.retry_ms + 1);
    added(&b, 0, 0);
    added(&b, 1, 0);
    send_block(&b, "anna", 1, 2);
    added(&b, 2, 102);
    tear_down(&b);
}

/* One block of credit for both: what lies in the spool takes none of it. */
static void blocks_of_the_spool_take_no_credit(void **state)
{
    bench b;
    (void)state;
    set_up_cut(&b, 1);
    begin(&b, "bert", 7);
    found(&b, 2);
    check_credit(&b, "bert", 2, 3);
    added(&b, 0, 0);
    CHECK(the_order(&b, TB_ORDER_ADD_BLOCK)->index == 1);
    uint64_t order = the_order(&b, TB_ORDER_ADD_BLOCK)->id;
    begin(&b, "anna", 1);
    found(&b, 2);
    check_credit(&b, "anna", 2, 2);
    added(&b, 0, 0);
    added(&b, 1, 0);
    CHECK(sent(&b, "anna") == NULL);
    answer(&b, (tb_verdict){.order = order, .weight = 77});
    CHECK(sent(&b, "anna") == NULL);
    send_block(&b, "bert", 7, 2);
    added(&b, 2, 102);
    check_credit(&b, "anna", 2, 3);
    tb_event gone = {.kind = TB_EV_GONE, .client = named("anna")};
    step_ok(&b, &gone);
    hello(&b, "anna");
    begin(&b, "anna", 1); /* the same one: nothing is looked up again */
    check_credit(&b, "anna", 2, 3);
    tear_down(&b);
}

/* To add blocks again costs more than to ask for it. */
static void who_sends_nothing_does_not_resume_again_and_again(void **state)
{
    bench b;
    (void)state;
    set_up_cut(&b, 8);
    begin(&b, "anna", 1);
    found(&b, 2);
    added(&b, 0, 0);
    added(&b, 1, 0);
    begin(&b, "anna", 2);
    check_refused(&b, "anna", TB_REFUSE_FULL);
    uint64_t order = the_order(&b, TB_ORDER_DROP_UPLOAD)->id;
    answer(&b, (tb_verdict){.order = order});
    begin(&b, "anna", 1);
    check_credit(&b, "anna", 0, 3);
    CHECK(!has_order(&b));
    tear_down(&b);
}

static void a_round_that_ends_meanwhile_waits_for_the_answer_only(void **state)
{
    bench b;
    (void)state;
    set_up_cut(&b, 8);
    begin(&b, "anna", 1);
    uint64_t order = the_order(&b, TB_ORDER_FIND_BLOCKS)->id;
    tb_event cancel = {.kind = TB_EV_CANCEL, .why = "enough"};
    step_ok(&b, &cancel);
    CHECK(!has_order(&b) && b.kinds[b.rows - 1] == TB_REC_RUN_CANCELLED);
    answer(&b, (tb_verdict){.order = order, .n_blocks = 2});
    CHECK(!has_order(&b) && b.kinds[b.rows - 1] == TB_REC_RUN_ENDED);
    tear_down(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_client_sends_the_rest_and_is_accepted),
        cmocka_unit_test(when_all_blocks_are_there_only_the_end_is_missing),
        cmocka_unit_test(an_upload_that_is_not_there_begins_at_its_first_block),
        cmocka_unit_test(while_it_is_looked_up_a_begin_is_put_off),
        cmocka_unit_test(a_bad_block_of_the_spool_is_refused_as_any_other),
        cmocka_unit_test(a_block_that_cannot_be_read_now_is_tried_again),
        cmocka_unit_test(blocks_of_the_spool_take_no_credit),
        cmocka_unit_test(who_sends_nothing_does_not_resume_again_and_again),
        cmocka_unit_test(a_round_that_ends_meanwhile_waits_for_the_answer_only),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
