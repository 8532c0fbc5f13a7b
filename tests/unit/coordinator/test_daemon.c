/* Parts of the daemon without its loop: enrolment, what orders hold, and what
 * they put. */
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "crypto/invite.h"
#include "daemon.h"
#include "home.h"
#include "host/inbox.h"
#include "invites.h"
#include "support/check.h"

typedef struct bench {
    tb_daemon d;
    tb_daemon_settings settings;
    tb_inbox *inbox;
} bench;

static bench *setup(const char *dir)
{
    tb_err err;
    home h = make_home(dir);
    bench *b = tb_mem_array(1, sizeof *b);
    tb_daemon *d = &b->d;
    d->settings = &b->settings;
    CHECK_OK(tb_state_open(&d->state, h.dir, TB_FOLDER_LOCK, &err), err);
    CHECK_OK(tb_keys_read(&d->keys, d->state.folder, h.master, &err), err);
    CHECK_OK(tb_mailbox_new(&d->mailbox, &err), err);
    CHECK_OK(tb_pool_new(&d->pool, 1, &err), err);
    CHECK_OK(tb_inbox_new(&b->inbox, 1 << 20, &err), err);
    tb_transport_options options = {
        .endpoint = "tcp://127.0.0.1:0",
        .enrol_endpoint = "tcp://127.0.0.1:0",
        .curve_public = tb_box_key_public(d->keys.curve),
        .curve_secret = tb_box_key_secret(d->keys.curve)};
    CHECK_OK(tb_transport_start(&d->net, &options, &err), err);
    memcpy(d->endpoint, "tcp://127.0.0.1:7", 18);
    CHECK_OK(tb_coordinator_resume(d->state.machine, 0, &d->actions, &err),
             err);
    return b;
}

static void teardown(bench *b)
{
    tb_err err;
    tb_daemon *d = &b->d;
    CHECK_OK(tb_transport_stop(&d->net, 60000, &err), err);
    tb_pool_free(&d->pool);
    tb_daemon_drop_verdicts(d);
    tb_mailbox_free(&d->mailbox);
    tb_actions_release(&d->actions);
    tb_keys_release(&d->keys);
    tb_state_close(&d->state);
    tb_inbox_free(&b->inbox);
    tb_mem_free(b);
}

/* --- enrolment ------------------------------------------------------------ */

typedef struct joiner {
    tb_sign_key *sign;
    tb_box_key *curve;
} joiner;

static joiner new_joiner(void)
{
    tb_err err;
    joiner j = {0};
    CHECK_OK(tb_sign_key_new(&j.sign, &err), err);
    CHECK_OK(tb_box_key_new(&j.curve, &err), err);
    return j;
}

static void free_joiner(joiner *j)
{
    tb_sign_key_free(&j->sign);
    tb_box_key_free(&j->curve);
}

/* Makes an invite for `client`, journals it, and reads its text as the client
 * does. */
static tb_invite invite(bench *b, const char *client, uint64_t valid_s)
{
    tb_err err;
    tb_invite out;
    tb_record record;
    char text[TB_INVITE_TEXT_BYTES];
    tb_invite_wish wish = {client, "tcp://127.0.0.1:7", valid_s, "site=lyon"};
    CHECK_OK(tb_invite_make(text, &record, &b->d.keys, &wish, &err), err);
    tb_event event = {.kind = TB_EV_RECORD, .record = &record};
    CHECK_OK(tb_daemon_event(&b->d, &event, &err), err);
    CHECK_OK(tb_daemon_flush(&b->d, &err), err);
    CHECK_OK(tb_invite_decode(&out, text, &err), err);
    CHECK(strcmp(out.name, client) == 0);
    CHECK(memcmp(record.u.invited.invite, out.id, sizeof out.id) == 0);
    return out;
}

/* The joiner shows the invite. True: it is a member then. */
static bool enrols(bench *b, const joiner *j, const tb_invite *invite)
{
    tb_err err;
    tb_enrolment e = {.federation = b->d.keys.certificate.federation};
    tb_msg msg = {.kind = TB_MSG_ENROL};
    tb_buf bytes;
    zmq_msg_t envelope;
    tb_name name;
    tb_member member;
    tb_enrolment_sign(&e, invite, j->sign, tb_box_key_public(j->curve));
    tb_msg_enrol *m = &msg.u.enrol;
    memcpy(m->invite, e.invite, sizeof m->invite);
    memcpy(m->sign_key, e.sign_key, sizeof m->sign_key);
    memcpy(m->curve_key, e.curve_key, sizeof m->curve_key);
    memcpy(m->proof, e.proof, sizeof m->proof);
    memcpy(m->signature, e.signature, sizeof m->signature);
    tb_buf_init(&bytes, TB_ENVELOPE_BYTES_MAX);
    CHECK_OK(tb_msg_encode(&msg, &bytes, &err), err);
    CHECK(zmq_msg_init_size(&envelope, bytes.len) == 0);
    memcpy(zmq_msg_data(&envelope), bytes.data, bytes.len);
    tb_inbound *in = tb_inbox_event(b->inbox, TB_IN_ENROL);
    CHECK(in != NULL);
    tb_inbox_fill(in, &envelope, NULL);
    memcpy(in->curve_key, tb_box_key_public(j->curve), sizeof in->curve_key);
    CHECK_OK(tb_daemon_enrol(&b->d, in, &err), err);
    tb_inbound_free(&in);
    tb_buf_release(&bytes);
    CHECK(tb_name_set(&name, invite->name));
    return tb_coordinator_find(b->d.state.machine, &name, &member) &&
           memcmp(member.sign_key, e.sign_key, sizeof e.sign_key) == 0;
}

static void an_invite_lets_one_in_and_the_same_keys_again(void **state)
{
    bench *b = setup(*state);
    joiner a = new_joiner();
    joiner other = new_joiner();
    tb_invite i = invite(b, "anna", 60);
    CHECK(enrols(b, &a, &i));
    uint64_t rows = b->d.durable_seq;
    CHECK(enrols(b, &a, &i));
    CHECK(!enrols(b, &other, &i));
    CHECK(b->d.durable_seq == rows); /* nothing new was journalled */
    tb_invite_release(&i);
    free_joiner(&a);
    free_joiner(&other);
    teardown(b);
}

static void an_expired_or_altered_invite_lets_nobody_in(void **state)
{
    bench *b = setup(*state);
    joiner a = new_joiner();
    tb_invite expired = invite(b, "anna", 0);
    CHECK(!enrols(b, &a, &expired));
    tb_invite altered = invite(b, "anna", 60);
    altered.id[0] ^= 1;
    CHECK(!enrols(b, &a, &altered));
    tb_invite_release(&expired);
    tb_invite_release(&altered);
    free_joiner(&a);
    teardown(b);
}

/* The transport knows clients by key: a second name for a key that is in use
 * would stop the daemon, now and at each start. */
static void a_client_cannot_join_again_under_another_name(void **state)
{
    bench *b = setup(*state);
    joiner a = new_joiner();
    tb_invite first = invite(b, "anna", 60);
    tb_invite second = invite(b, "bert", 60);
    CHECK(enrols(b, &a, &first));
    CHECK(!enrols(b, &a, &second));
    joiner fresh = new_joiner();
    CHECK(enrols(b, &fresh, &second)); /* the invite is still good */
    tb_invite_release(&first);
    tb_invite_release(&second);
    free_joiner(&a);
    free_joiner(&fresh);
    teardown(b);
}

/* --- orders --------------------------------------------------------------- */

/* A round that is open in the daemon, of no machine. */
static tb_open_round *add_round(bench *b, uint8_t id)
{
    tb_open_round *r = tb_mem_array(1, sizeof *r);
    CHECK(r != NULL);
    r->config.bytes[0] = id;
    r->next = b->d.rounds;
    b->d.rounds = r;
    return r;
}

static void give_order(bench *b, tb_order_kind kind, uint8_t round)
{
    tb_err err;
    tb_order *order = tb_mem_array(1, sizeof *order);
    CHECK(order != NULL);
    order->kind = kind;
    order->id = 9;
    order->upload.config.bytes[0] = round;
    CHECK_OK(tb_daemon_order(&b->d, &order, &err), err);
    CHECK(order == NULL);
}

static void an_order_of_a_run_that_is_over_holds_nothing(void **state)
{
    bench *b = setup(*state);
    tb_open_round *r = add_round(b, 1);
    r->users = 1; /* another order works with it */
    give_order(b, TB_ORDER_DROP_UPLOAD, 1);
    give_order(b, TB_ORDER_AGGREGATE, 1);
    give_order(b, TB_ORDER_AGGREGATE, 2);
    give_order(b, TB_ORDER_EVALUATE, 0);
    tb_daemon_drop_verdicts(&b->d);
    CHECK(b->d.rounds == r && r->users == 1);
    r->users = 0;
    tb_daemon_forget(&b->d, &r->config);
    CHECK(b->d.rounds == NULL);
    teardown(b);
}

/* --- what orders put into the blobs --------------------------------------- */

/* A run that is live in the daemon, of no machine. */
static tb_live *add_live(bench *b, uint8_t id)
{
    tb_live *live = tb_mem_array(1, sizeof *live);
    CHECK(live != NULL);
    tb_live *out = live;
    live->params.run.bytes[0] = id;
    tb_daemon_add_live(&b->d, &live);
    return out;
}

/* Its last order put a blob of this text. */
static tb_hash put(bench *b, tb_live *live, const char *text)
{
    tb_err err;
    tb_blob_ref ref;
    CHECK_OK(tb_blobs_put(b->d.state.blobs, (const uint8_t *)text, strlen(text),
                          3, &ref, &err),
             err);
    live->unnamed.raw[live->unnamed.n++] = ref.raw;
    return ref.raw;
}

static bool is_there(bench *b, const tb_hash *raw)
{
    tb_err err;
    tb_blob_ref ref;
    return tb_blobs_find(b->d.state.blobs, raw, &ref, &err) == TB_OK;
}

/* What the machine says once the row of a round's or run's end is durable. */
static void act(bench *b, tb_action_kind kind, uint8_t run)
{
    tb_err err;
    CHECK_OK(tb_daemon_flush(&b->d, &err), err);
    tb_action *at = tb_mem_resize(b->d.actions.at, 1, sizeof *at);
    CHECK(at != NULL && b->d.actions.n == 0);
    memset(at, 0, sizeof *at);
    at->kind = kind;
    at->u.run.bytes[0] = run;
    b->d.actions = (tb_actions){.at = at, .n = 1, .cap = 1};
    CHECK_OK(tb_daemon_flush(&b->d, &err), err);
    CHECK_OK(tb_daemon_collect(&b->d, &err), err);
}

static void a_result_goes_when_its_round_or_run_ends_without_it(void **state)
{
    static const tb_action_kind ends[] = {TB_ACT_SUMMED, TB_ACT_FORGET,
                                          TB_ACT_RUN_ENDED};
    bench *b = setup(*state);
    tb_live *other = add_live(b, 1);
    tb_hash its = put(b, other, "of another run");
    (void)add_live(b, 2);
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        const tb_run_id two = {{2}};
        tb_live *live = tb_daemon_live(&b->d, &two);
        tb_hash one = put(b, live, "a model");
        tb_hash more = put(b, live, "its manifest");
        b->d.collect_due = b->d.leftovers_due = true;
        act(b, TB_ACT_FORGET, 9); /* of no run */
        CHECK(is_there(b, &one) && is_there(b, &more) && is_there(b, &its));
        act(b, ends[i], 2);
        CHECK(!is_there(b, &one) && !is_there(b, &more) && is_there(b, &its));
    }
    act(b, TB_ACT_RUN_ENDED, 1);
    CHECK(!is_there(b, &its));
    teardown(b);
}

/* Two runs may come to the same bits: each holds the blob for itself. */
static void a_row_takes_off_the_pin_of_one_run_alone(void **state)
{
    bench *b = setup(*state);
    tb_live *live[2] = {add_live(b, 1), add_live(b, 2)};
    tb_hash raw = put(b, live[0], "the same model");
    tb_record record = {.kind = TB_REC_COMMITTED};
    (void)put(b, live[1], "the same model");
    record.u.committed.result.raw = raw;
    tb_daemon_note_blobs(&b->d, &record);
    CHECK(live[0]->unnamed.n + live[1]->unnamed.n == 1);
    b->d.leftovers_due = true;
    act(b, TB_ACT_RUN_ENDED, 1); /* whose it was, or not */
    CHECK(is_there(b, &raw) == (live[1]->unnamed.n == 1));
    act(b, TB_ACT_RUN_ENDED, 2);
    CHECK(!is_there(b, &raw));
    teardown(b);
}

#define TEST(name)                                                             \
    cmocka_unit_test_setup_teardown(name, tb_test_folder_setup,                \
                                    tb_test_folder_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(an_invite_lets_one_in_and_the_same_keys_again),
        TEST(an_expired_or_altered_invite_lets_nobody_in),
        TEST(a_client_cannot_join_again_under_another_name),
        TEST(an_order_of_a_run_that_is_over_holds_nothing),
        TEST(a_result_goes_when_its_round_or_run_ends_without_it),
        TEST(a_row_takes_off_the_pin_of_one_run_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
