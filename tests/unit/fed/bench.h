/* tests/unit/fed/bench.h - the coordinator machine on a bench: its driver is
 * the test, which answers orders by hand. anna, bert and carl are members. */
#ifndef TB_TESTS_UNIT_FED_BENCH_H
#define TB_TESTS_UNIT_FED_BENCH_H

#include <string.h>

#include "base/mem.h"
#include "crypto/seal.h"
#include "fed/coordinator.h"
#include "fed/update.h"
#include "small_run.h"

#define N_PARAMS 70000 /* head and two blocks */
#define BLOCKS   3
#define ROWS_MAX 64

typedef struct bench {
    tb_coordinator_params params;
    tb_coordinator *co;
    tb_actions out; /* of the last step */
    int64_t now;
    uint64_t discarded; /* payloads */
    uint64_t rows;      /* of the journal: */
    tb_record_kind kinds[ROWS_MAX];
    tb_buf journal[ROWS_MAX]; /* owned */
} bench;

/* Rows are durable at once. */
static inline void keep_row(bench *b, const tb_action *action)
{
    tb_err err;
    const tb_buf *body = &action->u.journal.body;
    tb_buf *row = &b->journal[b->rows];
    CHECK(b->rows < ROWS_MAX && action->u.journal.seq == b->rows + 1);
    b->kinds[b->rows++] = action->u.journal.kind;
    tb_buf_init(row, body->len);
    CHECK_OK(tb_buf_put(row, body->data, body->len, &err), err);
}

static inline tb_rc step(bench *b, const tb_event *event, tb_err *err)
{
    tb_actions_release(&b->out);
    tb_rc rc = tb_coordinator_step(b->co, event, b->now, &b->out, err);
    for (size_t i = 0; i < b->out.n; i++) {
        b->discarded += b->out.at[i].kind == TB_ACT_DISCARD;
        if (b->out.at[i].kind == TB_ACT_JOURNAL) {
            keep_row(b, &b->out.at[i]);
        }
    }
    return rc;
}

static inline void step_ok(bench *b, const tb_event *event)
{
    tb_err err = {0};
    CHECK_OK(step(b, event, &err), err);
}

static inline void say(bench *b, const char *client, const tb_msg *msg,
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
static inline const tb_action *sent(const bench *b, const char *client)
{
    for (size_t i = 0; i < b->out.n; i++) {
        if (b->out.at[i].kind == TB_ACT_SEND &&
            strcmp(b->out.at[i].client.text, client) == 0) {
            return &b->out.at[i];
        }
    }
    return NULL;
}

static inline void check_sent(const bench *b, const char *client,
                              tb_msg_kind kind)
{
    const tb_action *action = sent(b, client);
    CHECK(action != NULL);
    if (action != NULL) {
        assert_int_equal(action->u.msg->kind, kind);
    }
}

static inline void check_refused(const bench *b, const char *client,
                                 tb_refusal code)
{
    check_sent(b, client, TB_MSG_REFUSE);
    const tb_action *action = sent(b, client);
    if (action != NULL) {
        assert_int_equal(action->u.msg->u.refuse.code, code);
    }
}

static inline void check_until(const bench *b, const char *client,
                               uint32_t until)
{
    check_sent(b, client, TB_MSG_CREDIT);
    const tb_action *action = sent(b, client);
    if (action != NULL) {
        assert_int_equal(action->u.msg->u.credit.until, until);
    }
}

/* The only order of the last step. */
static inline const tb_order *the_order(const bench *b, tb_order_kind kind)
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

static inline bool has_order(const bench *b)
{
    for (size_t i = 0; i < b->out.n; i++) {
        if (b->out.at[i].kind == TB_ACT_ORDER) {
            return true;
        }
    }
    return false;
}

static inline void answer(bench *b, tb_verdict verdict)
{
    tb_event event = {.kind = TB_EV_VERDICT, .verdict = &verdict};
    step_ok(b, &event);
}

static inline void enrol(bench *b, const char *client)
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

static inline void hello(bench *b, const char *client)
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

static inline void check_in(bench *b, const char *client)
{
    tb_msg msg = {.kind = TB_MSG_CHECK_IN};
    say(b, client, &msg, 0, 0);
}

static inline void set_up_with(bench *b, const tb_coordinator_params *params)
{
    tb_err err = {0};
    memset(b, 0, sizeof *b);
    b->params = *params;
    CHECK_OK(tb_coordinator_new(&b->co, params, &err), err);
    CHECK_OK(tb_coordinator_resume(b->co, 0, &b->out, &err), err);
    static const char *const names[] = {"anna", "bert", "carl"};
    for (size_t i = 0; i < 3; i++) {
        enrol(b, names[i]);
        hello(b, names[i]);
    }
}

static inline void set_up(bench *b)
{
    tb_coordinator_params params = tb_coordinator_defaults();
    set_up_with(b, &params);
}

/* The process dies, and another one takes up its journal. */
static inline void restart(bench *b)
{
    tb_err err = {0};
    tb_actions_release(&b->out);
    tb_coordinator_free(&b->co);
    CHECK_OK(tb_coordinator_new(&b->co, &b->params, &err), err);
    for (uint64_t i = 0; i < b->rows; i++) {
        tb_record record;
        CHECK_OK(tb_record_decode(&record, b->kinds[i], b->journal[i].data,
                                  b->journal[i].len, &err),
                 err);
        CHECK_OK(tb_coordinator_replay(b->co, &record, i + 1, &err), err);
        tb_record_release(&record);
    }
    CHECK_OK(tb_coordinator_resume(b->co, b->now, &b->out, &err), err);
}

static inline void tear_down(bench *b)
{
    tb_actions_release(&b->out);
    for (uint64_t i = 0; i < b->rows; i++) {
        tb_buf_release(&b->journal[i]);
    }
    tb_coordinator_free(&b->co);
    CHECK(tb_mem_live() == 0);
}

static inline tb_run_params run_of_two(void)
{
    static tb_run_params p; /* large */
    small_run(&p, 2);
    p.n_params = N_PARAMS;
    p.minimum = 1;
    return p;
}

/* anna and bert in a round whose sum is open. */
static inline void open_round(bench *b)
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

static inline tb_hash open_hash(const bench *b)
{
    tb_run_status status;
    CHECK(tb_coordinator_run_status(b->co, 0, &status) && status.open);
    return status.config;
}

static inline tb_msg begin_of(const bench *b, uint8_t id)
{
    tb_msg msg = {.kind = TB_MSG_UPLOAD_BEGIN,
                  .u.upload_begin = {.config = open_hash(b),
                                     .upload = {.bytes = {id}},
                                     .n_blocks = BLOCKS}};
    return msg;
}

static inline size_t sealed_bytes(const bench *b, uint32_t index)
{
    tb_open open;
    tb_hash hash = open_hash(b);
    CHECK(tb_coordinator_round(b->co, &hash, &open));
    return tb_update_block_bytes(open.config, index) + TB_SEAL_TAG_BYTES;
}

static inline void send_block(bench *b, const char *client, uint8_t id,
                              uint32_t index)
{
    tb_msg msg = {.kind = TB_MSG_BLOCK,
                  .u.block = {.upload = {.bytes = {id}}, .index = index}};
    say(b, client, &msg, 100 + index, sealed_bytes(b, index));
}

static inline void send_end(bench *b, const char *client, uint8_t id,
                            uint8_t hash)
{
    tb_msg msg = {.kind = TB_MSG_UPLOAD_END,
                  .u.upload_end = {.upload = {.bytes = {id}},
                                   .update = {.bytes = {hash}}}};
    say(b, client, &msg, 0, 0);
}

/* A whole upload up to its END order. */
static inline void upload(bench *b, const char *client, uint8_t id)
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

static inline void accept(bench *b, const char *client, uint8_t id)
{
    upload(b, client, id);
    const tb_order *o = the_order(b, TB_ORDER_END_UPLOAD);
    CHECK(o->update.bytes[0] == id && o->weight == 77);
    answer(b, (tb_verdict){.order = o->id});
    check_sent(b, client, TB_MSG_RECEIPT);
}

static inline void tick(bench *b, int64_t now)
{
    tb_event event = {.kind = TB_EV_TICK};
    b->now = now;
    step_ok(b, &event);
}

#endif
