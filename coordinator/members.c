/* Requests about members: each becomes a row of the journal, and is answered
 * once that row is durable. */
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/text.h"
#include "crypto/crypto.h"
#include "daemon.h"
#include "invites.h"

#define DEFAULT_INVITE_S (24u * 3600)

static const char *arg_of(const tb_control_request *r, const char *key)
{
    const char *text = tb_control_arg_get(r, key);
    return text != NULL ? text : "";
}

tb_rc tb_daemon_record(tb_daemon *d, uint64_t id, const tb_record *record,
                       const char *key, const char *text, tb_err *err)
{
    tb_err why = {0};
    tb_event event = {.kind = TB_EV_RECORD, .record = record};
    tb_rc rc = tb_daemon_event(d, &event, &why);
    if (rc != TB_OK) {
        return tb_daemon_answer_failed(d, id, rc, &why, err);
    }
    rc = tb_daemon_flush(d, err);
    if (rc != TB_OK) {
        return rc;
    }
    tb_json *reply = NULL;
    tb_rc done = TB_OK;
    if (d->stalled) {
        done = record->kind == TB_REC_INVITED
                   ? tb_fail(&why, TB_E_FULL,
                             "the coordinator's disk is full: invite %s again "
                             "when there is room",
                             record->u.invited.client.text)
                   : tb_daemon_say_full(&why, "this is done");
    } else {
        reply = tb_json_object();
        done = tb_json_put_text(reply, key, text, &why);
    }
    tb_daemon_answer(d, id, done, &reply, &why);
    return TB_OK;
}

static tb_rc client_of(const tb_control_request *r, tb_name *out, tb_err *err)
{
    const char *client = arg_of(r, "client");
    return tb_name_set(out, client)
               ? TB_OK
               : tb_fail(err, TB_E_USAGE, "\"%.64s\" is not a client's name",
                         client);
}

tb_rc tb_daemon_invite(tb_daemon *d, const tb_control_request *r, tb_err *err)
{
    tb_err why = {0};
    tb_record record;
    char text[TB_INVITE_TEXT_BYTES];
    const char *valid = tb_control_arg_get(r, "valid_s");
    tb_invite_wish wish = {.client = arg_of(r, "client"),
                           .endpoint = d->enrol_endpoint,
                           .valid_s = DEFAULT_INVITE_S,
                           .labels = arg_of(r, "labels")};
    tb_rc rc = valid != NULL ? tb_text_u64(valid, &wish.valid_s, &why) : TB_OK;
    if (rc == TB_OK) {
        rc = tb_invite_make(text, &record, &d->keys, &wish, &why);
    }
    rc = rc == TB_OK ? tb_daemon_record(d, r->id, &record, "invite", text, err)
                     : tb_daemon_answer_failed(d, r->id, rc, &why, err);
    tb_wipe(text, sizeof text);
    return rc;
}

tb_rc tb_daemon_label(tb_daemon *d, const tb_control_request *r, tb_err *err)
{
    tb_err why = {0};
    tb_member member;
    tb_record record = {.kind = TB_REC_LABELLED};
    tb_rec_labelled *l = &record.u.labelled;
    tb_rc rc = client_of(r, &l->client, &why);
    if (rc == TB_OK &&
        !tb_coordinator_find(d->state.machine, &l->client, &member)) {
        rc = tb_fail(&why, TB_E_NOT_FOUND, "there is no member %s",
                     l->client.text);
    }
    if (rc == TB_OK) {
        l->labels = member.labels;
        rc = tb_labels_change(&l->labels, arg_of(r, "labels"), &why);
    }
    return rc == TB_OK ? tb_daemon_record(d, r->id, &record, "labels",
                                          l->labels.text, err)
                       : tb_daemon_answer_failed(d, r->id, rc, &why, err);
}

tb_rc tb_daemon_revoke(tb_daemon *d, const tb_control_request *r, tb_err *err)
{
    tb_err why = {0};
    tb_record record = {.kind = TB_REC_REVOKED};
    tb_rec_revoked *v = &record.u.revoked;
    const char *reason = arg_of(r, "why");
    (void)snprintf(v->why, sizeof v->why, "%.*s", (int)sizeof v->why - 1,
                   reason[0] != '\0' ? reason : "by the operator");
    tb_rc rc = client_of(r, &v->client, &why);
    if (rc != TB_OK) {
        return tb_daemon_answer_failed(d, r->id, rc, &why, err);
    }
    const char *key = "revoked";
    if (strcmp(arg_of(r, "purge"), "true") == 0) {
        tb_event event = {.kind = TB_EV_PURGE, .client = v->client};
        rc = tb_daemon_event(d, &event, &why);
        key = rc == TB_OK ? "purged" : key;
        rc = rc == TB_E_NOT_FOUND ? TB_OK : rc; /* there is nothing to purge */
    }
    if (rc != TB_OK) {
        return tb_daemon_answer_failed(d, r->id, rc, &why, err);
    }
    tb_log(TB_LOG_INFO, "event=revoke client=%s purged=%d", v->client.text,
           strcmp(key, "purged") == 0);
    return tb_daemon_record(d, r->id, &record, key, v->client.text, err);
}
