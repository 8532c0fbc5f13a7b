/* Takes members over from a roster: what is here already stays as it is, what
 * contradicts it is refused before anything is changed. */
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "daemon.h"
#include "roster.h"

typedef struct import {
    tb_daemon *d;
    bool write; /* the second time: all of it fits */
    uint32_t n_new, n_known, n_revoked;
} import;

static bool same_keys(const tb_member *a, const tb_member *b)
{
    return memcmp(a->sign_key, b->sign_key, 32) == 0 &&
           memcmp(a->curve_key, b->curve_key, 32) == 0;
}

static tb_rc put(import *im, const tb_record *record, tb_err *err)
{
    tb_event event = {.kind = TB_EV_RECORD, .record = record};
    return tb_daemon_event(im->d, &event, err);
}

/* Keys i back: n_old is the oldest, 0 the ones of now. */
static tb_old_keys keys_of(const tb_member *m, uint32_t i)
{
    tb_old_keys k = {.since_s = m->since_s};
    memcpy(k.sign_key, m->sign_key, sizeof k.sign_key);
    memcpy(k.curve_key, m->curve_key, sizeof k.curve_key);
    return i > 0 ? m->old[i - 1] : k;
}

static tb_rc enrol(import *im, const tb_member *m, tb_err *err)
{
    tb_old_keys k = keys_of(m, m->n_old);
    tb_record record = {.kind = TB_REC_ENROLLED};
    tb_rec_enrolled *e = &record.u.enrolled;
    e->client = m->client;
    e->at_s = k.since_s;
    memcpy(e->sign_key, k.sign_key, sizeof e->sign_key);
    memcpy(e->curve_key, k.curve_key, sizeof e->curve_key);
    tb_rc rc = put(im, &record, err);
    for (uint32_t i = m->n_old; rc == TB_OK && i > 0; i--) {
        tb_record next = {.kind = TB_REC_ROTATED};
        tb_rec_rotated *r = &next.u.rotated;
        k = keys_of(m, i - 1);
        r->client = m->client;
        r->at_s = k.since_s;
        r->old_until_s = m->old[i - 1].until_s;
        memcpy(r->sign_key, k.sign_key, sizeof r->sign_key);
        memcpy(r->curve_key, k.curve_key, sizeof r->curve_key);
        r->step = TB_ROTATION_PROVEN;
        rc = put(im, &next, err);
        r->step = TB_ROTATION_IN_USE;
        rc = rc == TB_OK ? put(im, &next, err) : rc;
    }
    if (rc == TB_OK && m->labels.text[0] != '\0') {
        tb_record labels = {
            .kind = TB_REC_LABELLED,
            .u.labelled = {.client = m->client, .labels = m->labels}};
        rc = put(im, &labels, err);
    }
    return rc;
}

static tb_rc revoke(import *im, const tb_member *m, tb_err *err)
{
    tb_record record = {.kind = TB_REC_REVOKED,
                        .u.revoked = {.client = m->client,
                                      .why = "revoked where it comes from"}};
    im->n_revoked++;
    return put(im, &record, err);
}

static tb_rc take(void *arg, const tb_member *m, tb_err *err)
{
    import *im = arg;
    tb_member here;
    bool known = tb_coordinator_find(im->d->state.machine, &m->client, &here);
    if (known && !here.revoked && !same_keys(&here, m)) {
        return tb_fail(err, TB_E_EXISTS,
                       "client %s is a member here with other keys: revoke it "
                       "first, here or there",
                       m->client.text);
    }
    tb_name holder;
    if (!known && !m->revoked &&
        tb_transport_holder(im->d->net, m->curve_key, &holder)) {
        return tb_fail(err, TB_E_EXISTS,
                       "client %s has the keys of %s, a member here: revoke "
                       "one of them first",
                       m->client.text, holder.text);
    }
    if (!im->write) {
        return TB_OK;
    }
    tb_rc rc = TB_OK;
    im->n_new += !known;
    im->n_known += known;
    if (!known) {
        rc = enrol(im, m, err);
    }
    bool member = !known || !here.revoked;
    return rc == TB_OK && m->revoked && member ? revoke(im, m, err) : rc;
}

static tb_rc answer(tb_daemon *d, uint64_t id, const import *im)
{
    tb_err why = {0};
    tb_json *reply = tb_json_object();
    tb_rc rc = tb_json_put_int(reply, "new", im->n_new, &why);
    if (rc == TB_OK) {
        rc = tb_json_put_int(reply, "known", im->n_known, &why);
    }
    if (rc == TB_OK) {
        rc = tb_json_put_int(reply, "revoked", im->n_revoked, &why);
    }
    if (rc == TB_OK && d->stalled) {
        rc = tb_daemon_say_full(&why, "this is done");
    }
    tb_daemon_answer(d, id, rc, &reply, &why);
    tb_json_free(&reply);
    return TB_OK;
}

tb_rc tb_daemon_import(tb_daemon *d, const tb_control_request *r, tb_err *err)
{
    tb_err why = {0};
import im = {.d = d };
    tb_rc rc = r->n_attachments == 1
                   ? TB_OK
                   : tb_fail(&why, TB_E_MALFORMED, "no roster came");
    for (int pass = 0; rc == TB_OK && pass < 2; pass++) {
        im.write = pass == 1;
        rc = tb_roster_read((const char *)r->attachments[0].data,
                            r->attachments[0].len, d->keys.root_public, take,
                            &im, &why);
    }
    if (rc != TB_OK) {
        return tb_daemon_answer_failed(d, r->id, rc, &why, err);
    }
    tb_log(TB_LOG_INFO, "event=roster_imported new=%u known=%u revoked=%u",
           im.n_new, im.n_known, im.n_revoked);
    rc = tb_daemon_flush(d, err);
    return rc == TB_OK ? answer(d, r->id, &im) : rc;
}
