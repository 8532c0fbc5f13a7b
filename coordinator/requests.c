/* Requests of the command line, answered in the driver's thread. */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "daemon.h"
#include "publish.h"
#include "report.h"

#define TOO_LONG                                                               \
    "{\"error\":\"the answer is too long for one reply: stop the daemon, "     \
    "then "                                                                    \
    "the same command reads the folder itself\"}"

/* --- replies -------------------------------------------------------------- */

/* One reply: rc, and on TB_OK the value (taken), else the error's text. */
static void answer(tb_daemon *d, uint64_t id, tb_rc rc, tb_json **value_take,
                   const tb_err *why, bool more)
{
    tb_err err;
    tb_buf text;
    tb_buf_init(&text, TB_CONTROL_REPLY_BYTES_MAX);
    tb_json *value = value_take != NULL ? *value_take : NULL;
    if (rc != TB_OK) {
        value = tb_json_object();
        (void)!tb_json_put_text(value, "error", why->text, &err);
    }
    tb_rc written = tb_json_write(value, false, &text, &err);
    if (written == TB_OK) {
        written = tb_buf_put_u8(&text, 0, &err);
    }
    tb_rc sent =
        written == TB_OK
            ? tb_control_reply(d->control, id, rc, (const char *)text.data,
                               more, &err)
            : tb_control_reply(d->control, id, written, TOO_LONG, false, &err);
    if (sent != TB_OK) {
        tb_log(TB_LOG_DEBUG, "event=reply error=\"%s\"", err.text);
    }
    tb_json_free(&value);
    if (value_take != NULL) {
        if (rc != TB_OK) {
            tb_json_free(value_take);
        }
        *value_take = NULL;
    }
    tb_buf_release(&text);
}

/* What failed in a request: the asker hears it, and when we cannot go on after
 * it, so does our caller. */
static tb_rc answer_failed(tb_daemon *d, uint64_t id, tb_rc rc,
                           const tb_err *why, tb_err *err)
{
    answer(d, id, rc, NULL, why, false);
    return d->broken || tb_rc_fault(rc) == TB_FAULT_US
               ? tb_fail(err, rc, "%s", why->text)
               : TB_OK;
}

void tb_daemon_answer(tb_daemon *d, uint64_t id, tb_rc rc, tb_json **value_take,
                      const tb_err *why)
{
    answer(d, id, rc, value_take, why, false);
}

tb_rc tb_daemon_say_full(tb_err *why, const char *what)
{
    return tb_fail(why, TB_E_FULL,
                   "the coordinator's disk is full: %s as soon as there is "
                   "room, unless the daemon is stopped before",
                   what);
}

void tb_daemon_tell(tb_daemon *d, uint64_t id, tb_json **value_take)
{
    answer(d, id, TB_OK, value_take, NULL, true);
}

tb_rc tb_daemon_answer_failed(tb_daemon *d, uint64_t id, tb_rc rc,
                              const tb_err *why, tb_err *err)
{
    return answer_failed(d, id, rc, why, err);
}

/* --- reading -------------------------------------------------------------- */

static tb_report_live live_of(tb_daemon *d)
{
    tb_transport_totals totals;
    tb_transport_totals_get(d->net, &totals);
    return (tb_report_live){.running = true,
                            .endpoint = d->endpoint,
                            .enrol_endpoint = d->enrol_endpoint,
                            .bytes_in = totals.bytes_in,
                            .bytes_out = totals.bytes_out,
                            .messages_in = totals.messages_in,
                            .connections = totals.connections,
                            .denied = totals.denied,
                            .dropped = totals.dropped,
                            .cut = totals.cut,
                            .now_ms = tb_clock_ms(),
                            .stalled = d->stalled};
}

static tb_rc reading(tb_daemon *d, const tb_control_request *r, tb_err *err)
{
    tb_err why = {0};
    tb_json *value = NULL;
    tb_rc rc = TB_OK;
    (void)err;
    if (strcmp(r->verb.text, "status") == 0) {
        tb_report_live live = live_of(d);
        rc = tb_report_status(&value, &d->state, &live, &why);
    } else if (strcmp(r->verb.text, "clients") == 0) {
        rc = tb_report_clients(&value, &d->state, &why);
    } else if (strcmp(r->verb.text, "jobs") == 0) {
        rc = tb_report_jobs(&value, &d->state, true, &why);
    } else {
        rc = tb_report_models(&value, &d->state, &why);
    }
    answer(d, r->id, rc, &value, &why, false);
    return TB_OK;
}

/* --- publish -------------------------------------------------------------- */

static tb_rc publish(tb_daemon *d, const tb_control_request *r, tb_err *err)
{
    tb_err why = {0};
    tb_name model;
    uint64_t sequence = 0;
    tb_rc rc =
        r->n_attachments == 1
            ? tb_daemon_publish(d, &r->attachments[0], &model, &sequence, &why)
            : tb_fail(&why, TB_E_MALFORMED, "publish: no manifest came");
    if (rc != TB_OK) {
        return answer_failed(d, r->id, rc, &why, err);
    }
    rc = tb_daemon_flush(d, err);
    if (rc == TB_OK && d->stalled) {
        rc = tb_daemon_say_full(&why, "the version counts");
        answer(d, r->id, rc, NULL, &why, false);
        rc = TB_OK;
    } else if (rc == TB_OK) {
        tb_json *reply = tb_json_object();
        tb_rc told = tb_json_put_text(reply, "model", model.text, &why);
        if (told == TB_OK) {
            told = tb_json_put_int(reply, "version", (int64_t)sequence, &why);
        }
        answer(d, r->id, told, &reply, &why, false);
    }
    return rc;
}

/* --- the table ------------------------------------------------------------ */

static const struct {
    const char *verb;
    tb_rc (*run)(tb_daemon *d, const tb_control_request *r, tb_err *err);
} requests[] = {{"status", reading},
                {"clients", reading},
                {"models", reading},
                {"jobs", reading},
                {"watch", tb_daemon_watch},
                {"pause", tb_daemon_pause},
                {"resume", tb_daemon_resume},
                {"cancel", tb_daemon_cancel},
                {"invite", tb_daemon_invite},
                {"label", tb_daemon_label},
                {"revoke", tb_daemon_revoke},
                {"gc", tb_daemon_gc},
                {"publish", publish},
                {"rotate-offer", tb_daemon_offer_keys},
                {"rotate-commit", tb_daemon_commit_keys},
                {"rotate-finish", tb_daemon_finish_keys},
                {"roster-import", tb_daemon_import}};

tb_rc tb_daemon_request(tb_daemon *d, tb_control_request *request, tb_err *err)
{
    if (strcmp(request->verb.text, "start") == 0) {
        return tb_daemon_start(d, request, err); /* it takes the model */
    }
    for (size_t i = 0; i < sizeof requests / sizeof *requests; i++) {
        if (strcmp(request->verb.text, requests[i].verb) == 0) {
            return requests[i].run(d, request, err);
        }
    }
    tb_err why;
    tb_rc rc = tb_fail(&why, TB_E_UNSUPPORTED,
                       "the daemon does not know \"%s\": is it older than the "
                       "command?",
                       request->verb.text);
    answer(d, request->id, rc, NULL, &why, false);
    return TB_OK;
}
