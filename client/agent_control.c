#include <stdio.h>
#include <string.h>

#include "agent_priv.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/text.h"

enum { STATUS_BYTES_MAX = 65536, REPLY_BYTES_MAX = TB_CONTROL_REPLY_BYTES_MAX };

/* --- status --------------------------------------------------------------- */

static const char *or_null(const char *text)
{
    return text[0] != '\0' ? text : NULL;
}

static tb_rc put_texts(tb_json *o, const agent *a, const tb_client_status *s,
                       tb_err *err)
{
    const home *h = a->options.home;
    const struct {
        const char *key, *text;
    } texts[] = {
        {"client", h->fed.client.text},
        {"coordinator", h->fed.endpoint},
        {"phase", tb_cphase_name(s->phase)},
        {"not_connected", or_null(a->lost_why)},
        {"last_refusal",
         s->last_refusal != 0 ? tb_refusal_name(s->last_refusal) : NULL},
        {"last_refusal_why", or_null(s->last_why)},
        {"last_run", or_null(a->job)},
        {"coordinator_was", or_null(s->epoch_note)},
    };
    tb_rc rc = TB_OK;
    for (size_t i = 0; rc == TB_OK && i < sizeof texts / sizeof *texts; i++) {
        rc = tb_json_put_text(o, texts[i].key, texts[i].text, err);
    }
    return rc;
}

static tb_rc put_counts(tb_json *o, const agent *a, const tb_client_status *s,
                        tb_err *err)
{
    tb_dial_stats net = {0};
    if (a->dial != NULL) {
        tb_dial_stats_get(a->dial, &net);
    }
    const struct {
        const char *key;
        uint64_t n;
    } counts[] = {
        {"round", s->round},
        {"epoch", s->epoch},
        {"jobs", a->jobs},
        {"updates_accepted", a->accepted_before + s->n_receipts},
        {"rows_trained", a->trained_rows},
        {"refusals", a->refused_before + s->n_refused},
        {"bytes_sent", a->bytes_out + net.bytes_out},
        {"bytes_received", a->bytes_in + net.bytes_in},
    };
    tb_rc rc = TB_OK;
    for (size_t i = 0; rc == TB_OK && i < sizeof counts / sizeof *counts; i++) {
        rc = tb_json_put_int(o, counts[i].key, (int64_t)counts[i].n, err);
    }
    return rc;
}

tb_rc agent_status(const agent *a, tb_json **out, tb_err *err)
{
    tb_client_status s;
    tb_json *o = tb_json_object();
    tb_client_status_get(a->machine, &s);
    tb_rc rc = put_texts(o, a, &s, err);
    if (rc == TB_OK) {
        rc = put_counts(o, a, &s, err);
    }
    if (rc != TB_OK) {
        tb_json_free(&o);
        return rc;
    }
    *out = o;
    return TB_OK;
}

static tb_rc status_path(char **out, const home *h, tb_err *err)
{
    *out = tb_file_join(tb_folder_dir(h->folder), "status.json");
    return *out != NULL ? TB_OK : tb_fail(err, TB_E_NOMEM, "path: no memory");
}

tb_rc agent_save_status(const agent *a, tb_err *err)
{
    tb_json *status = NULL;
    char *path = NULL;
    tb_buf text;
    tb_buf_init(&text, STATUS_BYTES_MAX);
    tb_rc rc = agent_status(a, &status, err);
    if (rc == TB_OK) {
        rc = tb_json_write(status, true, &text, err);
    }
    if (rc == TB_OK) {
        rc = status_path(&path, a->options.home, err);
    }
    if (rc == TB_OK) {
        rc = tb_file_write(path, text.data, text.len, 0600, err);
    }
    tb_mem_free(path);
    tb_buf_release(&text);
    tb_json_free(&status);
    return rc;
}

tb_rc agent_saved_status(const home *h, tb_json **out, tb_err *err)
{
    char *path = NULL;
    tb_buf text;
    tb_buf_init(&text, STATUS_BYTES_MAX);
    tb_rc rc = status_path(&path, h, err);
    if (rc == TB_OK) {
        rc = tb_file_read(&text, path, err);
    }
    if (rc == TB_OK) {
        rc = tb_json_parse(out, (const char *)text.data, text.len, err);
    }
    tb_mem_free(path);
    tb_buf_release(&text);
    return rc;
}

static uint64_t counted(const tb_json *status, const char *key)
{
    int64_t n = tb_json_int(status, key, 0);
    return n > 0 ? (uint64_t)n : 0;
}

void agent_load_counts(agent *a)
{
    tb_json *s = NULL;
    if (agent_saved_status(a->options.home, &s, NULL) != TB_OK) {
        return; /* the first one here, or a file that is no use */
    }
    a->jobs = counted(s, "jobs");
    a->accepted_before = counted(s, "updates_accepted");
    a->trained_rows = counted(s, "rows_trained");
    a->refused_before = counted(s, "refusals");
    a->bytes_out = counted(s, "bytes_sent");
    a->bytes_in = counted(s, "bytes_received");
    (void)snprintf(a->job, sizeof a->job, "%s",
                   tb_json_text(s, "last_run", ""));
    tb_json_free(&s);
}

void agent_count_job(agent *a, const tb_run_id *run)
{
    char hex[sizeof a->job];
    for (size_t i = 0; i < sizeof run->bytes; i++) {
        (void)snprintf(hex + 2 * i, 3, "%02x", run->bytes[i]);
    }
    if (strcmp(hex, a->job) != 0) {
        memcpy(a->job, hex, sizeof hex);
        a->jobs++;
    }
}

/* --- requests ------------------------------------------------------------- */

/* A peer that is gone, or does not read, does not matter here. */
static tb_rc reply(agent *a, uint64_t to, tb_rc what, const tb_json *json,
                   tb_err *err)
{
    tb_buf text;
    tb_buf_init(&text, REPLY_BYTES_MAX);
    tb_rc rc = tb_json_write(json, false, &text, err);
    if (rc == TB_OK) {
        rc = tb_buf_put_u8(&text, 0, err);
    }
    if (rc == TB_OK) {
        rc = tb_control_reply(a->control, to, what, (const char *)text.data,
                              false, err);
        rc = rc == TB_E_NOT_FOUND || rc == TB_E_FULL ? TB_OK : rc;
    }
    tb_buf_release(&text);
    return rc;
}

static tb_rc reply_error(agent *a, uint64_t to, tb_rc what, const char *why,
                         tb_err *err)
{
    tb_json *o = tb_json_object();
    tb_rc rc = tb_json_put_text(o, "error", why, err);
    if (rc == TB_OK) {
        rc = reply(a, to, what, o, err);
    }
    tb_json_free(&o);
    return rc;
}

static asked *free_place(agent *a)
{
    for (size_t i = 0; i < AGENT_REQUESTS_MAX; i++) {
        if (a->asked[i].connection == 0) {
            return &a->asked[i];
        }
    }
    return NULL;
}

/* Fills a request from what the command line asked. */
static tb_rc read_request(request *r, tb_control_request *from,
                          request_kind kind, tb_err *err)
{
    const char *model = tb_control_arg_get(from, "model");
    const char *role = tb_control_arg_get(from, "role");
    const char *n_rows = tb_control_arg_get(from, "rows");
    uint64_t n = 0;
    tb_name name;
    if (model == NULL || !tb_name_set(&name, model)) {
        return tb_fail(err, TB_E_USAGE, "no model is named");
    }
    request_init(r, kind, &name);
    tb_rc rc = role != NULL ? request_set_role(r, role, err) : TB_OK;
    if (rc == TB_OK && kind == REQUEST_PREDICT) {
        if (from->n_attachments != 1 || n_rows == NULL) {
            return tb_fail(err, TB_E_USAGE, "no rows to predict");
        }
        rc = tb_text_u64(n_rows, &n, err);
        r->n_rows = (size_t)n;
        tb_buf_release(&r->rows);
        r->rows = from->attachments[0];
        tb_buf_init(&from->attachments[0], 0);
    }
    return rc;
}

static tb_rc take_request(agent *a, tb_control_request *from, tb_err *err)
{
    bool pull = strcmp(from->verb.text, "pull") == 0;
    const request_context c = {.home = a->options.home,
                               .send = agent_send,
                               .arg = a,
                               .now_ms = tb_clock_ms(),
                               .chores = a->chores};
    asked *place = free_place(a);
    tb_err why = {0};
    if (place == NULL) {
        return reply_error(a, from->id, TB_E_BUSY,
                           "too many requests at a time", err);
    }
    tb_rc rc = read_request(&place->request, from,
                            pull ? REQUEST_PULL : REQUEST_PREDICT, &why);
    if (rc != TB_OK) {
        request_release(&place->request);
        return reply_error(a, from->id, rc, why.text, err);
    }
    place->connection = from->id;
    if (agent_in_session(a)) {
        request_begin(&place->request, &c);
    }
    return TB_OK;
}

static tb_rc take_rotate(agent *a, const tb_control_request *from, tb_err *err)
{
    rotation *r = &a->rotate;
    if (r->asked_by != 0) {
        return reply_error(a, from->id, TB_E_BUSY,
                           "the keys are being rotated already", err);
    }
    if (r->phase == ROTATION_NONE || r->phase == ROTATION_DONE) {
        r->phase = ROTATION_WANTED;
    }
    r->rc = TB_OK;
    r->asked_by = from->id;
    return TB_OK;
}

/* Tells who asked for new keys what came of it. */
static tb_rc answer_rotate(agent *a, tb_err *err)
{
    rotation *r = &a->rotate;
    uint64_t to = r->asked_by;
    if (to == 0 || r->phase != ROTATION_DONE) {
        return TB_OK;
    }
    r->asked_by = 0;
    if (r->rc != TB_OK) {
        return reply_error(a, to, r->rc, r->err.text, err);
    }
    tb_json *o = tb_json_object();
    tb_rc rc =
        tb_json_put_text(o, "rotated", a->options.home->fed.client.text, err);
    if (rc == TB_OK) {
        rc = reply(a, to, TB_OK, o, err);
    }
    tb_json_free(&o);
    return rc;
}

static tb_rc serve(agent *a, tb_control_request *from, tb_err *err)
{
    const char *verb = from->verb.text;
    tb_json *status = NULL;
    if (strcmp(verb, "pull") == 0 || strcmp(verb, "predict") == 0) {
        return take_request(a, from, err);
    }
    if (strcmp(verb, "rotate") == 0) {
        return take_rotate(a, from, err);
    }
    if (strcmp(verb, "status") != 0) {
        return reply_error(a, from->id, TB_E_UNSUPPORTED, "no such request",
                           err);
    }
    tb_rc rc = agent_status(a, &status, err);
    if (rc == TB_OK) {
        rc = reply(a, from->id, TB_OK, status, err);
    }
    tb_json_free(&status);
    return rc;
}

static tb_rc answer(agent *a, const asked *p, tb_err *err)
{
    const request *r = &p->request;
    tb_json *o = NULL;
    if (r->rc != TB_OK) {
        return reply_error(a, p->connection, r->rc, r->err.text, err);
    }
    tb_rc rc = request_result(r, a->options.home, &o, err);
    if (rc == TB_OK) {
        rc = reply(a, p->connection, TB_OK, o, err);
    }
    tb_json_free(&o);
    return rc == TB_E_LIMIT
               ? reply_error(a, p->connection, rc, "too many rows", err)
               : rc;
}

tb_rc agent_serve_control(agent *a, tb_err *err)
{
    tb_control_request from;
    tb_rc rc = TB_OK;
    while (rc == TB_OK && a->control != NULL &&
           tb_control_next(a->control, &from)) {
        rc = serve(a, &from, err);
        tb_control_request_release(&from);
    }
    if (rc == TB_OK) {
        rc = answer_rotate(a, err);
    }
    for (size_t i = 0; rc == TB_OK && i < AGENT_REQUESTS_MAX; i++) {
        asked *p = &a->asked[i];
        if (p->connection != 0 && p->request.phase == REQUEST_DONE) {
            rc = answer(a, p, err);
            request_release(&p->request);
            p->connection = 0;
        }
    }
    return rc;
}
