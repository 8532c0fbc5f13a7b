/* Members' new keys. A member shows that it has both pairs; once the row is
 * durable both transport keys are let in, so that it may lose the answer and
 * come back under either. The first HELLO under the new key ends that. The old
 * sign key counts until its time is over: for updates sealed before. */
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "crypto/seal.h"
#include "daemon.h"

#define LOOK_MS 60000 /* for old keys whose time is over */

static uint64_t now_s(void)
{
    return (uint64_t)tb_clock_unix_s();
}

static bool same_key(const uint8_t a[static 32], const uint8_t b[static 32])
{
    return memcmp(a, b, 32) == 0;
}

static bool old_is_in(const tb_member *m)
{
    return m->old_curve_in && m->n_old > 0 && now_s() < m->old[0].until_s;
}

tb_rc tb_daemon_admit(tb_daemon *d, const tb_member *m, tb_err *err)
{
    bool both = old_is_in(m);
    tb_rc rc = tb_transport_allow(
        d->net, &m->client, both ? m->old[0].curve_key : m->curve_key, err);
    return rc == TB_OK && both
               ? tb_transport_rotate(d->net, &m->client, m->curve_key, err)
               : rc;
}

tb_rc tb_daemon_note_rotated(tb_daemon *d, const tb_rec_rotated *r, tb_err *err)
{
    if (r->step == TB_ROTATION_PROVEN) {
        return tb_transport_rotate(d->net, &r->client, r->curve_key, err);
    }
    tb_transport_forget_old(d->net, &r->client);
    return TB_OK;
}

void tb_daemon_expire_keys(tb_daemon *d)
{
    tb_member m;
    int64_t now = tb_clock_ms();
    if (now < d->keys_look_ms) {
        return;
    }
    d->keys_look_ms = now + LOOK_MS;
    for (size_t i = 0; tb_coordinator_member(d->state.machine, i, &m); i++) {
        if (m.old_curve_in && !old_is_in(&m)) {
            tb_transport_forget_old(d->net, &m.client);
        }
    }
}

static tb_rc record(tb_daemon *d, const tb_name *client, tb_rotation_step step,
                    const uint8_t sign_key[static 32],
                    const uint8_t curve_key[static 32], tb_err *err)
{
    tb_record record = {.kind = TB_REC_ROTATED};
    tb_rec_rotated *r = &record.u.rotated;
    r->client = *client;
    r->step = step;
    memcpy(r->sign_key, sign_key, sizeof r->sign_key);
    memcpy(r->curve_key, curve_key, sizeof r->curve_key);
    r->at_s = now_s();
    r->old_until_s = r->at_s + d->settings->key_overlap_ms / 1000;
    tb_event event = {.kind = TB_EV_RECORD, .record = &record};
    return tb_daemon_event(d, &event, err);
}

tb_rc tb_daemon_seen_key(tb_daemon *d, const tb_inbound *in, tb_err *err)
{
    tb_member m;
    if (!tb_coordinator_find(d->state.machine, &in->client, &m) || m.revoked ||
        !m.old_curve_in || !same_key(in->curve_key, m.curve_key)) {
        return TB_OK;
    }
    tb_log(TB_LOG_INFO, "event=rotated client=%s", m.client.text);
    return record(d, &m.client, TB_ROTATION_IN_USE, m.sign_key, m.curve_key,
                  err);
}

/* The transport tells clients apart by their keys, old ones too. */
static tb_rc check_new(const tb_daemon *d, const tb_msg_rotate *msg,
                       const tb_name *client, tb_err *err)
{
    tb_member m;
    for (size_t i = 0; tb_coordinator_member(d->state.machine, i, &m); i++) {
        bool taken = same_key(m.curve_key, msg->curve_key);
        for (uint32_t k = 0; k < m.n_old; k++) {
            taken = taken || same_key(m.old[k].curve_key, msg->curve_key);
        }
        if (taken && (!m.revoked || tb_name_equal(&m.client, client))) {
            return tb_fail(err, TB_E_DENIED,
                           "this key is or was in use: draw "
                           "a new one");
        }
    }
    return TB_OK;
}

static tb_rc check_proof(const tb_daemon *d, const tb_member *m,
                         const tb_msg_rotate *msg, tb_err *err)
{
    tb_rotation r = {.federation = d->keys.certificate.federation};
    memcpy(r.name, m->client.text, sizeof r.name);
    memcpy(r.old_sign_key, m->sign_key, sizeof r.old_sign_key);
    memcpy(r.sign_key, msg->sign_key, sizeof r.sign_key);
    memcpy(r.curve_key, msg->curve_key, sizeof r.curve_key);
    memcpy(r.by_old, msg->by_old, sizeof r.by_old);
    memcpy(r.by_new, msg->by_new, sizeof r.by_new);
    return tb_rotation_verify(&r, err);
}

tb_rc tb_daemon_rotate(tb_daemon *d, const tb_name *client,
                       const tb_msg_rotate *msg, tb_err *err)
{
    tb_member m;
    tb_err why = {0};
    if (!tb_coordinator_find(d->state.machine, client, &m) || m.revoked) {
        tb_daemon_refuse(d, client, TB_MSG_ROTATE, TB_REFUSE_IDENTITY,
                         "you are not a member of this federation");
        return TB_OK;
    }
    bool again = same_key(m.sign_key, msg->sign_key) &&
                 same_key(m.curve_key, msg->curve_key);
    tb_rc rc = TB_OK;
    if (!again) {
        rc = check_proof(d, &m, msg, &why);
    }
    if (!again && rc == TB_OK) {
        rc = check_new(d, msg, client, &why);
    }
    if (!again && rc == TB_OK) {
        rc = record(d, client, TB_ROTATION_PROVEN, msg->sign_key,
                    msg->curve_key, &why);
    }
    if (rc != TB_OK && tb_rc_fault(rc) == TB_FAULT_PEER) {
        tb_log(TB_LOG_DEBUG, "event=rotate client=%s result=refused why=\"%s\"",
               client->text, why.text);
        tb_daemon_refuse(d, client, TB_MSG_ROTATE, TB_REFUSE_IDENTITY,
                         why.text);
        return TB_OK;
    }
    if (rc != TB_OK) {
        return tb_fail(err, rc, "rotation: %s", why.text);
    }
    rc = tb_daemon_flush(d, err); /* the keys count once the row is durable */
    if (rc == TB_OK && !d->stalled) {
        tb_msg answer = {.kind = TB_MSG_ROTATED};
        memcpy(answer.u.rotated.sign_key, msg->sign_key, 32);
        memcpy(answer.u.rotated.curve_key, msg->curve_key, 32);
        tb_log(TB_LOG_INFO, "event=rotate client=%s again=%d", client->text,
               again);
        tb_daemon_send(d, client, &answer, NULL);
    }
    return rc;
}

const uint8_t *tb_daemon_signer(const tb_member *m, const tb_order *order)
{
    for (uint32_t i = 0; i < m->n_old; i++) {
        if (now_s() < m->old[i].until_s &&
            tb_update_verify(order->signature, m->old[i].sign_key,
                             &order->upload.config, &order->update,
                             NULL) == TB_OK) {
            return m->old[i].sign_key;
        }
    }
    return m->sign_key;
}
