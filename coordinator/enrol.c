/* Enrolment: a stranger shows an invite's proof and two keys of its own; once
 * the journal knows them, it is a client. The same keys again get the same
 * answer; other keys for a used invite get none. */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "crypto/invite.h"
#include "daemon.h"

static bool same_keys(const tb_member *member, const tb_msg_enrol *e)
{
    return memcmp(member->sign_key, e->sign_key, sizeof e->sign_key) == 0 &&
           memcmp(member->curve_key, e->curve_key, sizeof e->curve_key) == 0;
}

static tb_rc check_proof(const tb_daemon *d, const tb_msg_enrol *e,
                         const tb_rec_invited *invited, tb_err *err)
{
    tb_enrolment enrolment = {.federation = d->keys.certificate.federation};
    memcpy(enrolment.invite, e->invite, sizeof enrolment.invite);
    memcpy(enrolment.sign_key, e->sign_key, sizeof enrolment.sign_key);
    memcpy(enrolment.curve_key, e->curve_key, sizeof enrolment.curve_key);
    memcpy(enrolment.proof, e->proof, sizeof enrolment.proof);
    memcpy(enrolment.signature, e->signature, sizeof enrolment.signature);
    return tb_enrolment_verify(&enrolment, invited->public_key, err);
}

/* The transport tells clients apart by CURVE key: one key, one client. */
static tb_rc check_key_is_new(const tb_daemon *d, const tb_msg_enrol *e,
                              tb_err *err)
{
    tb_member m;
    for (size_t i = 0; tb_coordinator_member(d->state.machine, i, &m); i++) {
        if (!m.revoked &&
            memcmp(m.curve_key, e->curve_key, sizeof m.curve_key) == 0) {
            return tb_fail(err, TB_E_DENIED,
                           "these keys are those of another client: join from "
                           "a folder of its own");
        }
    }
    return TB_OK;
}

/* Whether this request may become a member. *again: it is one already. */
static tb_rc check(const tb_daemon *d, const tb_msg_enrol *e,
                   tb_rec_invited *invited, bool *again, tb_err *err)
{
    bool used = false;
    tb_member member;
    *again = false;
    if (!tb_coordinator_invite(d->state.machine, e->invite, invited, &used)) {
        return tb_fail(err, TB_E_DENIED,
                       "no such invite here: ask for a new one");
    }
    tb_rc rc = check_proof(d, e, invited, err);
    if (rc != TB_OK) {
        return rc;
    }
    if (used) {
        *again =
            tb_coordinator_find(d->state.machine, &invited->client, &member) &&
            !member.revoked && same_keys(&member, e);
        return *again ? TB_OK
                      : tb_fail(err, TB_E_DENIED,
                                "the invite was used with other keys: ask for "
                                "a new one");
    }
    if ((uint64_t)tb_clock_unix_s() >= invited->expires_s) {
        return tb_fail(err, TB_E_DENIED,
                       "the invite has expired: ask for a new one");
    }
    return check_key_is_new(d, e, err);
}

static tb_rc record_member(tb_daemon *d, const tb_msg_enrol *e,
                           const tb_rec_invited *invited, tb_err *err)
{
    tb_record record = {.kind = TB_REC_ENROLLED};
    tb_rec_enrolled *r = &record.u.enrolled;
    r->client = invited->client;
    memcpy(r->invite, e->invite, sizeof r->invite);
    memcpy(r->sign_key, e->sign_key, sizeof r->sign_key);
    memcpy(r->curve_key, e->curve_key, sizeof r->curve_key);
    r->at_s = (uint64_t)tb_clock_unix_s();
    tb_event event = {.kind = TB_EV_RECORD, .record = &record};
    return tb_daemon_event(d, &event, err);
}

static void reply(tb_daemon *d, const tb_inbound *in, const tb_msg *msg)
{
    tb_err err;
    tb_buf envelope;
    tb_buf_init(&envelope, TB_ENVELOPE_BYTES_MAX);
    tb_rc rc = tb_msg_encode(msg, &envelope, &err);
    if (rc == TB_OK) {
        tb_outbound out = {.envelope = envelope.data,
                           .envelope_bytes = envelope.len};
        rc = tb_transport_reply(d->net, in->connection, &out, &err);
    }
    if (rc != TB_OK) {
        tb_log(TB_LOG_WARN, "event=enrol error=\"%s\"", err.text);
    }
    tb_buf_release(&envelope);
}

static void reply_refused(tb_daemon *d, const tb_inbound *in, const tb_err *why)
{
    tb_log(TB_LOG_WARN, "event=enrol result=refused why=\"%s\"", why->text);
    tb_msg msg = {.kind = TB_MSG_REFUSE};
    msg.u.refuse.code = TB_REFUSE_INVITE;
    msg.u.refuse.about = TB_MSG_ENROL;
    (void)snprintf(msg.u.refuse.why, sizeof msg.u.refuse.why, "%.*s",
                   (int)sizeof msg.u.refuse.why - 1, why->text);
    reply(d, in, &msg);
}

static void reply_enrolled(tb_daemon *d, const tb_inbound *in,
                           const tb_name *client)
{
    tb_msg msg = {.kind = TB_MSG_ENROLLED};
    msg.u.enrolled.client = *client;
    (void)snprintf(msg.u.enrolled.endpoint, sizeof msg.u.enrolled.endpoint,
                   "%s", d->endpoint);
    msg.u.enrolled.certificate =
        (tb_span){d->keys.certificate_bytes, TB_CERTIFICATE_BYTES};
    reply(d, in, &msg);
}

tb_rc tb_daemon_enrol(tb_daemon *d, const tb_inbound *in, tb_err *err)
{
    tb_msg msg;
    tb_err why;
    tb_rec_invited invited;
    bool again = false;
    tb_rc rc = tb_msg_decode(&msg, in->envelope, in->envelope_bytes, 0, &why);
    if (rc == TB_OK && msg.kind != TB_MSG_ENROL) {
        rc = tb_fail(&why, TB_E_MALFORMED, "only ENROL is heard here");
    }
    if (rc == TB_OK && memcmp(msg.u.enrol.curve_key, in->curve_key,
                              sizeof in->curve_key) != 0) {
        rc = tb_fail(&why, TB_E_DENIED,
                     "the request names another key than it came under");
    }
    if (rc == TB_OK) {
        rc = check(d, &msg.u.enrol, &invited, &again, &why);
    }
    if (rc == TB_OK && !again) {
        rc = record_member(d, &msg.u.enrol, &invited, &why);
    }
    tb_msg_release(&msg);
    if (rc != TB_OK) {
        reply_refused(d, in, &why);
        return tb_rc_fault(rc) == TB_FAULT_PEER
                   ? TB_OK
                   : tb_fail(err, rc, "enrolment: %s", why.text);
    }
    rc = tb_daemon_flush(d, err); /* a member once the row is durable */
    if (rc == TB_OK && d->stalled) {
        (void)tb_fail(&why, TB_E_FULL,
                      "the coordinator's disk is full: try again later");
        reply_refused(d, in, &why);
    } else if (rc == TB_OK) {
        tb_log(TB_LOG_INFO, "event=enrol client=%s again=%d",
               invited.client.text, again);
        reply_enrolled(d, in, &invited.client);
    }
    return rc;
}
