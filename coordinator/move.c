/* The coordinator's own new keys, while everything goes on:
 *   offer   new keys are drawn, a second pair of doors is opened under them
 *   commit  the root key's word has come and is journalled: the new keys sign,
 *           and every client is told where to go, on either pair of doors
 *   finish  the old doors are closed, the new keys take the place of the old
 * Killed before the row of the commit, it never was; behind it, both pairs are
 * opened again; behind the row of the finish, the files are put right. */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/text.h"
#include "daemon.h"

#define OTHER(pair) (1 - (pair))

static uint64_t now_s(void)
{
    return (uint64_t)tb_clock_unix_s();
}

static const char *arg_or(const tb_control_request *r, const char *key,
                          const char *otherwise)
{
    const char *text = tb_control_arg_get(r, key);
    return text != NULL ? text : otherwise;
}

static bool is_open(const tb_daemon *d)
{
    tb_rec_coordinator_key last;
    return tb_coordinator_key(d->state.machine, &last) &&
           last.step == TB_ROTATION_PROVEN;
}

/* --- telling clients ------------------------------------------------------ */

void tb_daemon_tell_move(tb_daemon *d, const tb_name *client)
{
    if (d->move.n_bytes > 0) {
        tb_msg msg = {.kind = TB_MSG_MOVE,
                      .u.move.move = {d->move.bytes, d->move.n_bytes}};
        tb_daemon_send(d, client, &msg, NULL);
    }
}

static void tell_all(tb_daemon *d)
{
    tb_member m;
    for (size_t i = 0; tb_coordinator_member(d->state.machine, i, &m); i++) {
        if (m.connected && !m.revoked) {
            tb_daemon_tell_move(d, &m.client);
        }
    }
}

/* --- both pairs of doors -------------------------------------------------- */

static tb_rc open_other(tb_daemon *d, const tb_box_key *curve,
                        const char *listen, const char *enrol, tb_err *err)
{
    tb_transport_options options = {.endpoint = listen,
                                    .enrol_endpoint = enrol,
                                    .curve_public = tb_box_key_public(curve),
                                    .curve_secret = tb_box_key_secret(curve)};
    return tb_transport_open_pair(d->net, OTHER(d->pair), &options, err);
}

static void drop_offer(tb_daemon *d)
{
    if (d->move.curve != NULL) {
        tb_transport_close_pair(d->net, OTHER(d->pair));
    }
    tb_sign_key_free(&d->move.sign);
    tb_box_key_free(&d->move.curve);
}

/* The keys of the offer are the coordinator's from now on. */
static tb_rc adopt(tb_daemon *d, const tb_rec_coordinator_key *r, tb_err *err)
{
    tb_keys_adopt(&d->keys, &d->move.sign, &d->move.curve,
                  &r->move.certificate);
    d->move.n_bytes = tb_move_encode(&r->move, d->move.bytes);
    d->move.until_s = r->until_s;
    d->pair = OTHER(d->pair);
    tb_shared_free(&d->offer); /* it was signed by the key before */
    d->offer_of = (tb_hash){{0}};
    return tb_daemon_advertise(d, err);
}

tb_rc tb_daemon_take_up_move(tb_daemon *d, tb_err *err)
{
    tb_rec_coordinator_key last;
    if (!is_open(d)) {
        tb_keys_drop_next(d->state.folder); /* an offer that never was */
        return TB_OK;
    }
    (void)tb_coordinator_key(d->state.machine, &last);
    tb_rc rc =
        tb_keys_read_next(&d->move.sign, &d->move.curve, d->state.folder, err);
    if (rc == TB_OK) {
        rc = open_other(d, d->move.curve, last.listen, last.enrol, err);
    }
    return rc == TB_OK ? adopt(d, &last, err) : rc;
}

/* The certificate's file is written last: until then a start does it again, the
 * doors too, or clients would look for us at doors that nobody opens. */
tb_rc tb_daemon_settle_move(tb_daemon *d, const tb_rec_coordinator_key *r,
                            tb_err *err)
{
    bool settled = false;
    const tb_certificate *certificate = &r->move.certificate;
    tb_rc rc = tb_keys_settled(&settled, d->state.folder, certificate, err);
    if (rc == TB_OK && !settled) {
        rc = tb_daemon_remember_doors(d, r->listen, r->enrol, err);
    }
    return rc == TB_OK && !settled
               ? tb_keys_settle(d->state.folder, certificate, err)
               : rc;
}

static tb_rc finished(tb_daemon *d, const tb_rec_coordinator_key *r,
                      tb_err *err)
{
    tb_transport_close_pair(d->net, OTHER(d->pair));
    d->move.n_bytes = 0;
    d->move.until_s = 0;
    tb_rc rc = tb_daemon_settle_move(d, r, err);
    tb_log(TB_LOG_INFO, "event=keys_rotated serial=%llu endpoint=%s",
           (unsigned long long)r->move.certificate.serial, d->endpoint);
    return rc;
}

tb_rc tb_daemon_note_move(tb_daemon *d, const tb_rec_coordinator_key *r,
                          tb_err *err)
{
    if (r->step == TB_ROTATION_IN_USE) {
        return finished(d, r, err);
    }
    tb_rc rc = adopt(d, r, err);
    if (rc == TB_OK) {
        tb_log(TB_LOG_INFO, "event=keys_offered serial=%llu endpoint=%s",
               (unsigned long long)r->move.certificate.serial,
               r->move.endpoint);
        tell_all(d);
    }
    return rc;
}

/* --- requests ------------------------------------------------------------- */

/* "tcp://HOST:0" of the doors as they are. */
static void same_host(char out[static TB_ENDPOINT_BYTES], const char *bound)
{
    const char *port = strrchr(bound, ':');
    int n = port != NULL ? (int)(port - bound) : 0;
    (void)snprintf(out, TB_ENDPOINT_BYTES, "%.*s:0", n, bound);
}

static tb_rc make_offer(tb_daemon *d, const tb_control_request *r, tb_err *err)
{
    char listen[TB_ENDPOINT_BYTES];
    char enrol[TB_ENDPOINT_BYTES];
    if (is_open(d)) {
        return tb_fail(err, TB_E_BUSY,
                       "the last change of keys is not finished: `tributaryd "
                       "rotate --finish` closes the old doors");
    }
    drop_offer(d);
    same_host(listen, tb_transport_pair_endpoint(d->net, d->pair));
    same_host(enrol, tb_transport_pair_enrol_endpoint(d->net, d->pair));
    tb_rc rc =
        tb_keys_draw_next(&d->move.sign, &d->move.curve, d->state.folder, err);
    if (rc == TB_OK) {
        rc = open_other(d, d->move.curve, arg_or(r, "listen", listen),
                        arg_or(r, "listen_enrol", enrol), err);
    }
    if (rc != TB_OK) {
        tb_sign_key_free(&d->move.sign);
        tb_box_key_free(&d->move.curve);
    }
    return rc;
}

static tb_rc describe_offer(const tb_daemon *d, tb_json *reply, tb_err *err)
{
    char hex[2 * 32 + 1];
    char endpoint[TB_ENDPOINT_BYTES];
    uint64_t serial = d->keys.certificate.serial + 1;
    serial = serial > now_s() ? serial : now_s();
    tb_text_hex(tb_sign_key_public(d->move.sign), 32, hex);
    tb_rc rc = tb_json_put_text(reply, "sign_key", hex, err);
    tb_text_hex(tb_box_key_public(d->move.curve), 32, hex);
    if (rc == TB_OK) {
        rc = tb_json_put_text(reply, "curve_key", hex, err);
    }
    if (rc == TB_OK) {
        rc = tb_daemon_advertised(
            d, tb_transport_pair_endpoint(d->net, OTHER(d->pair)), endpoint,
            err);
    }
    if (rc == TB_OK) {
        rc = tb_json_put_text(reply, "endpoint", endpoint, err);
    }
    if (rc == TB_OK) {
        tb_text_hex(d->keys.certificate.federation.bytes, 32, hex);
        rc = tb_json_put_text(reply, "federation", hex, err);
    }
    return rc == TB_OK ? tb_json_put_int(reply, "serial", (int64_t)serial, err)
                       : rc;
}

tb_rc tb_daemon_offer_keys(tb_daemon *d, const tb_control_request *r,
                           tb_err *err)
{
    tb_err why = {0};
    tb_json *reply = NULL;
    tb_rc rc = make_offer(d, r, &why);
    if (rc == TB_OK) {
        reply = tb_json_object();
        rc = describe_offer(d, reply, &why);
    }
    (void)err;
    tb_daemon_answer(d, r->id, rc, &reply, &why);
    tb_json_free(&reply);
    return TB_OK;
}

static tb_rc check_move(const tb_daemon *d, const tb_move *m, tb_err *err)
{
    char endpoint[TB_ENDPOINT_BYTES];
    if (d->move.curve == NULL || d->move.sign == NULL) {
        return tb_fail(err, TB_E_NOT_FOUND,
                       "no new keys were offered: say "
                       "`tributaryd rotate` again");
    }
    tb_rc rc = tb_move_verify(m, d->keys.root_public, now_s(), err);
    if (rc == TB_OK) {
        rc = tb_daemon_advertised(
            d, tb_transport_pair_endpoint(d->net, OTHER(d->pair)), endpoint,
            err);
    }
    const tb_certificate *c = &m->certificate;
    if (rc == TB_OK &&
        (memcmp(c->sign_key, tb_sign_key_public(d->move.sign), 32) != 0 ||
         memcmp(c->curve_key, tb_box_key_public(d->move.curve), 32) != 0 ||
         c->serial <= d->keys.certificate.serial ||
         strcmp(m->endpoint, endpoint) != 0)) {
        rc = tb_fail(err, TB_E_MISMATCH,
                     "the root key signed other keys than were offered: say "
                     "`tributaryd rotate` again");
    }
    return rc;
}

tb_rc tb_daemon_commit_keys(tb_daemon *d, const tb_control_request *r,
                            tb_err *err)
{
    tb_err why = {0};
    tb_record record = {.kind = TB_REC_COORDINATOR_KEY};
    tb_rec_coordinator_key *k = &record.u.coordinator_key;
    uint64_t overlap_s = 0;
    tb_rc rc = r->n_attachments == 1
                   ? tb_move_decode(&k->move, r->attachments[0].data,
                                    r->attachments[0].len, &why)
                   : tb_fail(&why, TB_E_MALFORMED, "no move came");
    if (rc == TB_OK) {
        rc = tb_text_u64(arg_or(r, "overlap_s", ""), &overlap_s, &why);
    }
    if (rc == TB_OK) {
        rc = check_move(d, &k->move, &why);
    }
    if (rc != TB_OK) {
        return tb_daemon_answer_failed(d, r->id, rc, &why, err);
    }
    k->step = TB_ROTATION_PROVEN;
    k->until_s = now_s() + overlap_s;
    (void)snprintf(k->listen, sizeof k->listen, "%s",
                   tb_transport_pair_endpoint(d->net, OTHER(d->pair)));
    (void)snprintf(k->enrol, sizeof k->enrol, "%s",
                   tb_transport_pair_enrol_endpoint(d->net, OTHER(d->pair)));
    return tb_daemon_record(d, r->id, &record, "endpoint", k->move.endpoint,
                            err);
}

tb_rc tb_daemon_finish_keys(tb_daemon *d, const tb_control_request *r,
                            tb_err *err)
{
    tb_err why = {0};
    tb_record record = {.kind = TB_REC_COORDINATOR_KEY};
    if (!is_open(d)) {
        tb_rc rc = tb_fail(&why, TB_E_NOT_FOUND,
                           "no change of keys is open: `tributaryd rotate` "
                           "begins one");
        return tb_daemon_answer_failed(d, r->id, rc, &why, err);
    }
    (void)tb_coordinator_key(d->state.machine, &record.u.coordinator_key);
    record.u.coordinator_key.step = TB_ROTATION_IN_USE;
    return tb_daemon_record(d, r->id, &record, "finished", d->endpoint, err);
}

tb_rc tb_daemon_expire_doors(tb_daemon *d, tb_err *err)
{
    if (d->move.until_s == 0 || now_s() < d->move.until_s || d->stalled) {
        return TB_OK;
    }
    tb_record record = {.kind = TB_REC_COORDINATOR_KEY};
    (void)tb_coordinator_key(d->state.machine, &record.u.coordinator_key);
    record.u.coordinator_key.step = TB_ROTATION_IN_USE;
    d->move.until_s = 0;
    tb_event event = {.kind = TB_EV_RECORD, .record = &record};
    return tb_daemon_event(d, &event, err);
}
