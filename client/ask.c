#include "ask.h"

#include <stdio.h>
#include <string.h>

#include "agent.h"
#include "host/control.h"

enum { CALL_MS = 60000 };

/* The one reply: its JSON, or its error. */
static tb_rc take_reply(void *arg, tb_rc rc, const char *json, bool more,
                        tb_err *err)
{
    tb_json **out = arg;
    (void)more;
    tb_json_free(out);
    tb_rc parsed = tb_json_parse(out, json, strlen(json), err);
    if (parsed != TB_OK) {
        return parsed;
    }
    return rc == TB_OK
               ? rc
               : tb_fail(err, rc, "%s", tb_json_text(*out, "error", "failed"));
}

static tb_rc call(const home *h, const tb_control_request *what, tb_json **out,
                  tb_err *err)
{
    tb_rc rc = tb_control_call(tb_folder_path(h->folder, TB_ITEM_CONTROL), what,
                               CALL_MS, take_reply, out, err);
    if (rc == TB_OK && *out == NULL) {
        rc = tb_fail(err, TB_E_MALFORMED, "the running client did not answer");
    }
    if (rc != TB_OK) {
        tb_json_free(out);
    }
    return rc;
}

tb_rc ask_status(const home *h, tb_json **out, tb_err *err)
{
    tb_control_request what;
    tb_rc rc = tb_control_request_init(&what, "status", err);
    if (rc == TB_OK) {
        rc = call(h, &what, out, err);
    }
    tb_control_request_release(&what);
    return rc;
}

/* Hands the request to the agent that holds the folder. */
static tb_rc ask_agent(const char *home_dir, const request *r, tb_json **out,
                       tb_err *err)
{
    const char *verb = r->kind == REQUEST_PULL ? "pull" : "predict";
    tb_control_request c;
    char n_rows[32];
    home h = {0};
    tb_rc rc = tb_control_request_init(&c, verb, err);
    (void)snprintf(n_rows, sizeof n_rows, "%zu", r->n_rows);
    if (rc == TB_OK) {
        rc = home_open(&h, home_dir, TB_FOLDER_READ, err);
    }
    if (rc == TB_OK) {
        rc = tb_control_arg_add(&c, "model", r->model.text, err);
    }
    if (rc == TB_OK && r->role != 0) {
        rc =
            tb_control_arg_add(&c, "role", tb_artefact_role_name(r->role), err);
    }
    if (rc == TB_OK && r->kind == REQUEST_PREDICT) {
        rc = tb_control_arg_add(&c, "rows", n_rows, err);
    }
    if (rc == TB_OK && r->kind == REQUEST_PREDICT) {
        tb_buf_init(&c.attachments[0], r->rows.max);
        c.n_attachments = 1;
        rc = tb_buf_put(&c.attachments[0], r->rows.data, r->rows.len, err);
    }
    if (rc == TB_OK) {
        rc = call(&h, &c, out, err);
    }
    tb_control_request_release(&c);
    home_close(&h);
    return rc;
}

static tb_rc ask_alone(home *h, request *r, tb_json **out, tb_err *err)
{
    const agent_options options = {
        .home = h, .request = r, .bandwidth = &r->bandwidth};
    tb_rc rc = agent_run(&options, err);
    if (rc == TB_OK && r->phase != REQUEST_DONE) {
        rc = tb_fail(err, TB_E_CANCELLED, "stopped before the answer came");
    }
    if (rc == TB_OK && r->rc != TB_OK) {
        rc = tb_fail(err, r->rc, "%s", r->err.text);
    }
    return rc == TB_OK ? request_result(r, h, out, err) : rc;
}

tb_rc ask_rotate(const char *home_dir, tb_err *err)
{
    tb_control_request c;
    tb_json *reply = NULL;
    home h = {0};
    tb_rc rc = home_open(&h, home_dir, TB_FOLDER_LOCK, err);
    if (rc != TB_E_BUSY) {
        const agent_options options = {.home = &h, .rotate = true};
        rc = rc == TB_OK ? agent_run(&options, err) : rc;
        home_close(&h);
        return rc;
    }
    rc = tb_control_request_init(&c, "rotate", err);
    if (rc == TB_OK) {
        rc = home_open(&h, home_dir, TB_FOLDER_READ, err);
    }
    if (rc == TB_OK) {
        rc = call(&h, &c, &reply, err);
    }
    tb_json_free(&reply);
    tb_control_request_release(&c);
    home_close(&h);
    return rc;
}

tb_rc ask(const char *home_dir, request *r, tb_json **out, tb_err *err)
{
    home h = {0};
    *out = NULL;
    tb_rc rc = home_open(&h, home_dir, TB_FOLDER_LOCK, err);
    if (rc == TB_E_BUSY) {
        return ask_agent(home_dir, r, out, err);
    }
    if (rc == TB_OK) {
        rc = ask_alone(&h, r, out, err);
    }
    home_close(&h);
    return rc;
}
