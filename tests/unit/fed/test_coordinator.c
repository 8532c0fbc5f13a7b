/* The coordinator machine, message by message. Its driver here is the test:
 * orders are answered by hand. */
#include "fed/coordinator.h"

#include <string.h>

#include "base/mem.h"
#include "crypto/seal.h"
#include "fed/update.h"
#include "round_config.h"

#define N_PARAMS 70000 /* head and two blocks */
#define BLOCKS   3

typedef struct bench {
    tb_coordinator *co;
    tb_actions out; /* of the last step */
    int64_t now;
    uint64_t discarded; /* payloads */
    uint64_t rows;      /* of the journal */
} bench;

static tb_name named(const char *text)
{
    tb_name name;
    CHECK(tb_name_set(&name, text));
    return name;
}

static tb_rc step(bench *b, const tb_event *event, tb_err *err)
{
    tb_actions_release(&b->out);
    tb_rc rc = tb_coordinator_step(b->co, event, b->now, &b->out, err);
    for (size_t i = 0; i < b->out.n; i++) {
        b->discarded += b->out.at[i].kind == TB_ACT_DISCARD;
        if (b->out.at[i].kind == TB_ACT_JOURNAL) {
            b->rows = b->out.at[i].u.journal.seq;
        }
    }
    return rc;
}

static void step_ok(bench *b, const tb_event *event)
{
    tb_err err = {0};
    CHECK_OK(step(b, event, &err), err);
}

static void say(bench *b, const char *client, const tb_msg *msg,
                uint64_t payload, size_t bytes)
{
    tb_event event = {.kind = TB_EV_MESSAGE,
                      .client = named(client),
                      .msg = msg,
                      .payload = payload,
                      .payload_bytes = bytes};
    step_ok(b, &event);
}

/* The first message that went to this client, or NULL. */
static const tb_action *sent(const bench *b, const char *client)
{
    for (size_t i = 0; i < b->out.n; i++) {
        if (b->out.at[i].kind == TB_ACT_SEND &&
            strcmp(b->out.at[i].client.text, client) == 0) {
            return &b->out.at[i];
        }
    }
    return NULL;
}

static void check_sent(const bench *b, const char *client, tb_msg_kind kind)
{
    const tb_action *action = sent(b, client);
    CHECK(action != NULL);
    if (action != NULL) {
        assert_int_equal(action->u.msg->kind, kind);
    }
}

static void check_refused(const bench *b, const char *client, tb_refusal code)
{
    check_sent(b, client, TB_MSG_REFUSE);
    const tb_action *action = sent(b, client);
    if (action != NULL) {
        assert_int_equal(action->u.msg->u.refuse.code, code);
    }
}

static void check_until(const bench *b, const char *client, uint32_t until)
{
    check_sent(b, client, TB_MSG_CREDIT);
    const tb_action *action = sent(b, client);
    if (action != NULL) {
        assert_int_equal(action->u.msg->u.credit.until, until);
    }
}

/* The only order of the last step. */
static const tb_order *the_order(const bench *b, tb_order_kind kind)
{
    static const tb_order none;
    const tb_order *found = NULL;
    for (size_t i = 0; i < b->out.n; i++) {
        if (b->out.at[i].kind == TB_ACT_ORDER) {
            CHECK(found == NULL);
            found = b->out.at[i].u.order;
        }
    }
    CHECK(found != NULL);
    found = found != NULL ? found : &none;
    assert_int_equal(found->kind, kind);
    return found;
}

static bool has_order(const bench *b)
{
    for (size_t i = 0; i < b->out.n; i++) {
        if (b->out.at[i].kind == TB_ACT_ORDER) {
            return true;
        }
    }
    return false;
}

static void answer(bench *b, tb_verdict verdict)
{
    tb_event event = {.kind = TB_EV_VERDICT, .verdict = &verdict};
    step_ok(b, &event);
}

static void enrol(bench *b, const char *client)
{
    tb_record invited = {.kind = TB_REC_INVITED};
    tb_record enrolled = {.kind = TB_REC_ENROLLED};
    tb_event event = {.kind = TB_EV_RECORD, .record = &invited};
    invited.u.invited.client = named(client);
    memcpy(invited.u.invited.invite, client, strlen(client));
    enrolled.u.enrolled.client = named(client);
    memcpy(enrolled.u.enrolled.invite, client, strlen(client));
    step_ok(b, &event);
    event.record = &enrolled;
    step_ok(b, &event);
}

static void hello(bench *b, const char *client)
{
    tb_msg msg = {.kind = TB_MSG_HELLO,
                  .u.hello = {.protocol_min = 1,
                              .protocol_max = 1,
                              .client = named(client),
                              .n_data_sets = 1}};
    msg.u.hello.data_sets[0] = named("numbers");
    say(b, client, &msg, 0, 0);
    check_sent(b, client, TB_MSG_WELCOME);
}

static void check_in(bench *b, const char *client)
{
    tb_msg msg = {.kind = TB_MSG_CHECK_IN};
    say(b, client, &msg, 0, 0);
}

static void set_up(bench *b)
{
    tb_err err = {0};
    tb_coordinator_params params = tb_coordinator_defaults();
    memset(b, 0, sizeof *b);
    CHECK_OK(tb_coordinator_new(&b->co, &params, &err), err);
    CHECK_OK(tb_coordinator_resume(b->co, 0, &b->out, &err), err);
    static const char *const names[] = {"anna", "bert", "carl"};
    for (size_t i = 0; i < 3; i++) {
        enrol(b, names[i]);
        hello(b, names[i]);
    }
}

static void tear_down(bench *b)
{
    tb_actions_release(&b->out);
    tb_coordinator_free(&b->co);
    CHECK(tb_mem_live() == 0);
}

static tb_run_params run_of_two(void)
{
    static tb_run_params p; /* large */
    memset(&p, 0, sizeof p);
    p.name = named("model");
    p.data_set = named("numbers");
    p.codec = named("f32");
    p.strategy = named("fedavg");
    p.n_params = N_PARAMS;
    p.model.raw_bytes = 5;
    p.model.stored_bytes = 5;
    p.rounds = 1;
    p.target = 2;
    p.minimum = 1;
    p.over_selection = 1.0;
    p.server_lr = 1.0;
    p.max_abs = 8.0F;
    p.max_weight = 1000;
    p.deadline_ms = 60000;
    p.select_ms = 1000;
    p.max_attempts = 2;
    return p;
}

/* anna and bert in a round whose sum is open. */
static void open_round(bench *b)
{
    tb_run_params run = run_of_two();
    tb_event start = {.kind = TB_EV_START, .params = &run};
    step_ok(b, &start);
    check_in(b, "anna");
    check_sent(b, "anna", TB_MSG_WAIT);
    check_in(b, "bert");
    check_sent(b, "anna", TB_MSG_OFFER);
    check_sent(b, "bert", TB_MSG_OFFER);
    const tb_action *offer = sent(b, "bert");
    CHECK(offer == NULL || offer->after_seq == b->rows);
    answer(b, (tb_verdict){.order = the_order(b, TB_ORDER_OPEN_ROUND)->id});
}

static tb_hash open_hash(const bench *b)
{
    tb_run_status status;
    CHECK(tb_coordinator_run_status(b->co, 0, &status) && status.open);
    return status.config;
}

static tb_msg begin_of(const bench *b, uint8_t id)
{
    tb_msg msg = {.kind = TB_MSG_UPLOAD_BEGIN,
                  .u.upload_begin = {.config = open_hash(b),
                                     .upload = {.bytes = {id}},
                                     .n_blocks = BLOCKS}};
    return msg;
}

static size_t sealed_bytes(const bench *b, uint32_t index)
{
    tb_open open;
    tb_hash hash = open_hash(b);
    CHECK(tb_coordinator_round(b->co, &hash, &open));
    return tb_update_block_bytes(open.config, index) + TB_SEAL_TAG_BYTES;
}

static void send_block(bench *b, const char *client, uint8_t id, uint32_t index)
{
    tb_msg msg = {.kind = TB_MSG_BLOCK,
                  .u.block = {.upload = {.bytes = {id}}, .index = index}};
    say(b, client, &msg, 100 + index, sealed_bytes(b, index));
}

static void send_end(bench *b, const char *client, uint8_t id, uint8_t hash)
{
    tb_msg msg = {.kind = TB_MSG_UPLOAD_END,
                  .u.upload_end = {.upload = {.bytes = {id}},
                                   .update = {.bytes = {hash}}}};
    say(b, client, &msg, 0, 0);
}

/* A whole upload up to its END order. */
static void upload(bench *b, const char *client, uint8_t id)
{
    tb_msg begin = begin_of(b, id);
    say(b, client, &begin, 0, 0);
    check_sent(b, client, TB_MSG_CREDIT);
    for (uint32_t i = 0; i < BLOCKS; i++) {
        send_block(b, client, id, i);
        const tb_order *o = the_order(b, TB_ORDER_ADD_BLOCK);
        CHECK(o->index == i && o->payload == 100 + i);
        CHECK(o->weight == (i == 0 ? 0 : 77));
        answer(b, (tb_verdict){.order = o->id, .weight = 77});
    }
    send_end(b, client, id, id);
}

static void accept(bench *b, const char *client, uint8_t id)
{
    upload(b, client, id);
    const tb_order *o = the_order(b, TB_ORDER_END_UPLOAD);
    CHECK(o->update.bytes[0] == id && o->weight == 77);
    answer(b, (tb_verdict){.order = o->id});
    check_sent(b, client, TB_MSG_RECEIPT);
}

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

/* anna and bert in a round, and so many blocks for both. */
static void set_up_pool(bench *b, size_t blocks)
{
    tb_err err = {0};
    tb_coordinator_params params = tb_coordinator_defaults();
    set_up(b);
    params.pool_bytes = blocks * TB_PAYLOAD_BYTES_MAX;
    tb_coordinator_free(&b->co);
    CHECK_OK(tb_coordinator_new(&b->co, &params, &err), err);
    enrol(b, "anna");
    enrol(b, "bert");
    hello(b, "anna");
    hello(b, "bert");
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

static void tick(bench *b, int64_t now)
{
    tb_event event = {.kind = TB_EV_TICK};
    b->now = now;
    step_ok(b, &event);
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
        cmocka_unit_test(credit_is_bounded_and_blocks_beyond_it_are_not_taken),
        cmocka_unit_test(beginning_again_does_not_keep_a_grant),
        cmocka_unit_test(who_left_a_grant_unused_gets_one_block_until_it_sends),
        cmocka_unit_test(fetches_become_chunks),
        cmocka_unit_test(a_payload_that_belongs_to_nothing_is_discarded),
        cmocka_unit_test(the_offer_is_repeated_to_a_client_that_comes_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
