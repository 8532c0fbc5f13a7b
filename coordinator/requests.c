/* Requests of the command line, answered in the driver's thread. */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "daemon.h"
#include "model/params.h"
#include "publish.h"
#include "report.h"
#include "work/finish.h"
#include "work/model.h"
#include "work/round.h"

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

/* The request was taken, but its row waits for room on the disk. */
static void answer_stalled(tb_daemon *d, uint64_t id, const char *what)
{
    tb_err why;
    tb_rc rc = tb_fail(&why, TB_E_FULL,
                       "the coordinator's disk is full: %s as soon as there is "
                       "room",
                       what);
    answer(d, id, rc, NULL, &why, false);
}

static void answer_text(tb_daemon *d, uint64_t id, const char *key,
                        const char *text)
{
    tb_err err = {0};
    tb_json *object = tb_json_object();
    tb_rc rc = tb_json_put_text(object, key, text, &err);
    answer(d, id, rc, &object, &err, false);
}

void tb_daemon_answer(tb_daemon *d, uint64_t id, tb_rc rc, tb_json **value_take,
                      const tb_err *why)
{
    answer(d, id, rc, value_take, why, false);
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
    } else {
        rc = tb_report_models(&value, &d->state, &why);
    }
    answer(d, r->id, rc, &value, &why, false);
    return TB_OK;
}

/* --- watching ------------------------------------------------------------- */

/* A line is told when nothing more will come to it: at once, unless clients
 * still evaluate the round. */
static size_t lines_ready(const tb_daemon *d)
{
    const tb_history *h = &d->state.history;
    const tb_run_params *run = tb_coordinator_run(d->state.machine, 0);
    bool waits = run != NULL && !h->ended &&
                 run->evaluate == TB_WHERE_CLIENTS && h->n > 0 &&
                 h->at[h->n - 1].metrics.samples == 0;
    return h->n - (waits ? 1 : 0);
}

static void tell_lines(tb_daemon *d, uint64_t id, size_t from)
{
    tb_err err;
    size_t n = lines_ready(d);
    for (size_t i = from; i < n; i++) {
        tb_json *line = NULL;
        if (tb_report_round(&line, &d->state.history, i, &err) == TB_OK) {
            answer(d, id, TB_OK, &line, &err, true);
        }
    }
}

static void tell_end(tb_daemon *d, uint64_t id)
{
    tb_err err = {0};
    tb_json *end = NULL;
    tb_rc rc = tb_report_end(&end, &d->state.history, &err);
    answer(d, id, rc, &end, &err, false);
}

void tb_daemon_tell_watchers(tb_daemon *d)
{
    const tb_history *h = &d->state.history;
    size_t n = lines_ready(d);
    if (n < d->lines_told) {
        d->lines_told = 0; /* another run has begun */
    }
    for (size_t i = 0; i < TB_WATCHERS_MAX; i++) {
        if (d->watchers[i] != 0) {
            tell_lines(d, d->watchers[i], d->lines_told);
            if (h->ended) {
                tell_end(d, d->watchers[i]);
                d->watchers[i] = 0;
            }
        }
    }
    d->lines_told = n;
}

static tb_rc watch(tb_daemon *d, const tb_control_request *r, tb_err *err)
{
    tb_err why;
    const tb_history *h = &d->state.history;
    (void)err;
    if (h->rounds == 0) {
        tb_rc rc = tb_fail(&why, TB_E_NOT_FOUND,
                           "no run yet: `tributaryd start JOB` starts one");
        answer(d, r->id, rc, NULL, &why, false);
        return TB_OK;
    }
    tell_lines(d, r->id, 0);
    if (h->ended) {
        tell_end(d, r->id);
        return TB_OK;
    }
    for (size_t i = 0; i < TB_WATCHERS_MAX; i++) {
        if (!tb_control_waits(d->control, d->watchers[i])) {
            d->watchers[i] = r->id;
            return TB_OK;
        }
    }
    tb_rc rc = tb_fail(&why, TB_E_BUSY, "%d watch already", TB_WATCHERS_MAX);
    answer(d, r->id, rc, NULL, &why, false);
    return TB_OK;
}

/* --- cancel ------------------------------------------------------- */

static tb_rc cancel(tb_daemon *d, const tb_control_request *r, tb_err *err)
{
    tb_err why = {0};
    tb_event event = {.kind = TB_EV_CANCEL, .why = "cancelled by the operator"};
    const tb_run_params *run = tb_coordinator_run(d->state.machine, 0);
    tb_rc rc = TB_OK;
    if (run == NULL) {
        rc = tb_fail(&why, TB_E_NOT_FOUND, "there is no run to cancel");
    } else {
        event.run = run->run;
        rc = tb_daemon_event(d, &event, &why);
    }
    if (rc != TB_OK) {
        return answer_failed(d, r->id, rc, &why, err);
    }
    rc = tb_daemon_flush(d, err);
    if (rc == TB_OK && d->stalled) {
        answer_stalled(d, r->id, "the run ends");
    } else if (rc == TB_OK) {
        answer_text(d, r->id, "cancelled", d->state.history.name.text);
    }
    return rc;
}

/* --- start ---------------------------------------------------------------- */

/* The model that the run starts from, stored; what the machine must know. */
static tb_rc put_model(tb_daemon *d, tb_live *live, const tb_control_request *r,
                       tb_err *err)
{
    tb_blob_ref ref;
    tb_graph *graph = NULL;
    tb_buf onnx;
    tb_buf_init(&onnx, TB_BLOB_BYTES_MAX);
    const tb_buf *file = r->n_attachments > 1 ? &r->attachments[1] : NULL;
    tb_rc rc =
        tb_work_prepare(&onnx, &live->job, file != NULL ? file->data : NULL,
                        file != NULL ? file->len : 0, err);
    if (rc == TB_OK) {
        rc = tb_work_check_publish(&live->params, &onnx, err);
    }
    if (rc == TB_OK) {
        rc = tb_work_read(&graph, &live->job, &onnx, err);
    }
    if (rc == TB_OK) {
        rc = tb_work_count(&live->params, &live->job, graph, err);
    }
    if (rc == TB_OK) {
        rc = tb_blobs_put(d->state.blobs, onnx.data, onnx.len,
                          TB_BLOB_LEVEL_FAST, &ref, err);
    }
    if (rc == TB_OK) {
        live->params.model = tb_state_model(&ref);
    }
    tb_graph_free(&graph);
    tb_buf_release(&onnx);
    return rc;
}

/* The model, measured once before it starts: what does not fit is said now, and
 * not by every client. */
static tb_rc check_fit(tb_daemon *d, const tb_live *live, tb_err *err)
{
    tb_metrics ignored;
    tb_buf onnx;
    const tb_dataset *data =
        live->evaluate != NULL ? live->evaluate : live->calibrate;
    if (data == NULL) {
        return TB_OK;
    }
    tb_blob_ref ref = tb_state_ref(&live->params.model);
    tb_buf_init(&onnx, TB_BLOB_BYTES_MAX);
    tb_rc rc = tb_blobs_load(d->state.blobs, &ref, &onnx, err);
    if (rc == TB_OK) {
        rc = tb_work_evaluate(&ignored, &live->job, &onnx, data, err);
    }
    tb_buf_release(&onnx);
    return rc;
}

static tb_rc begin_run(tb_daemon *d, tb_run_id *run, tb_job *job,
                       const tb_control_request *r, tb_err *why)
{
    tb_live *live = NULL;
    tb_err ignored;
    tb_rc rc = tb_live_start(&live, d->state.folder, &d->keys, job, why);
    if (rc != TB_OK) {
        return rc;
    }
    rc = put_model(d, live, r, why);
    if (rc == TB_OK) {
        rc = check_fit(d, live, why);
    }
    if (rc == TB_OK) {
        tb_event event = {.kind = TB_EV_START, .params = &live->params};
        rc = tb_daemon_event(d, &event, why);
    }
    if (rc == TB_OK) {
        *run = live->params.run;
        tb_daemon_add_live(d, &live);
    } else {
        (void)!tb_live_discard(d->state.folder, &live->params.run, &ignored);
        tb_live_free(&live);
    }
    return rc;
}

static tb_rc start(tb_daemon *d, const tb_control_request *r, tb_err *err)
{
    tb_err why = {0};
    tb_job job = {0};
    char hex[TB_RUN_HEX_BYTES];
    tb_run_id run;
    tb_rc rc = TB_OK;
    if (r->n_attachments == 0) {
        rc = tb_fail(&why, TB_E_MALFORMED, "start: no job came");
    } else if (d->lives != NULL) {
        rc = tb_fail(&why, TB_E_BUSY,
                     "job %s is running: wait, or `tributaryd cancel`",
                     d->lives->params.name.text);
    } else {
        rc = tb_job_decode(&job, (const char *)r->attachments[0].data,
                           r->attachments[0].len, &why);
    }
    if (rc == TB_OK) {
        rc = begin_run(d, &run, &job, r, &why);
        tb_job_release(&job);
    }
    if (rc != TB_OK) {
        return answer_failed(d, r->id, rc, &why, err);
    }
    tb_run_hex(&run, hex);
    tb_log(TB_LOG_INFO, "event=start job=%s run=%s",
           tb_daemon_live(d, &run)->params.name.text, hex);
    rc = tb_daemon_flush(d, err);
    if (rc == TB_OK && d->stalled) {
        answer_stalled(d, r->id, "the run begins");
    } else if (rc == TB_OK) {
        answer_text(d, r->id, "run", hex);
    }
    return rc;
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
        answer_stalled(d, r->id, "the version counts");
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
                {"watch", watch},
                {"cancel", cancel},
                {"invite", tb_daemon_invite},
                {"label", tb_daemon_label},
                {"revoke", tb_daemon_revoke},
                {"gc", tb_daemon_gc},
                {"publish", publish},
                {"start", start}};

tb_rc tb_daemon_request(tb_daemon *d, tb_control_request *request, tb_err *err)
{
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
