/* Parts of the daemon without its loop: enrolment, and what orders hold. */
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
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
