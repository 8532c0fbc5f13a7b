#include "ask.h"

#include <string.h>

#include "report.h"

#define TIMEOUT_MS 60000 /* of a reply */
#define NO_LIMIT   -1

static tb_rc take_reply(void *arg, tb_rc rc, const char *json, bool more,
                        tb_err *err)
{
    tb_asker *asker = arg;
    tb_json *reply = NULL;
    (void)more;
    asker->answered = true;
    tb_rc parsed = tb_json_parse(&reply, json, strlen(json), err);
    if (parsed != TB_OK) {
        return parsed;
    }
    if (rc != TB_OK) {
        rc = tb_fail(err, rc, "%s", tb_json_text(reply, "error", "refused"));
    } else {
        rc = asker->fn(asker->arg, reply, err);
    }
    tb_json_free(&reply);
    return rc;
}

tb_rc tb_ask(const tb_dir_settings *at, const tb_control_request *request,
             int timeout_ms, tb_asker *asker, tb_err *err)
{
    tb_folder *folder = NULL;
    asker->answered = false;
    tb_rc rc = tb_folder_open(&folder, at->dir, TB_FOLDER_COORDINATOR,
                              TB_FOLDER_READ, err);
    if (rc != TB_OK) {
        asker->answered = true; /* there is no folder to read either */
        return rc;
    }
    rc = tb_control_call(tb_folder_path(folder, TB_ITEM_CONTROL), request,
                         timeout_ms, take_reply, asker, err);
    if (rc == TB_E_NOT_FOUND && !asker->answered) {
        rc = tb_fail(err, rc,
                     "no daemon runs in %s: start it with `tributaryd run "
                     "--dir %s`",
                     at->dir, at->dir);
    }
    tb_folder_close(&folder);
    return rc;
}

/* Keeps a copy of the one reply. */
static tb_rc keep(void *arg, const tb_json *reply, tb_err *err)
{
    tb_json **out = arg;
    tb_buf text;
    tb_buf_init(&text, TB_JSON_BYTES_MAX);
    tb_rc rc = tb_json_write(reply, false, &text, err);
    if (rc == TB_OK) {
        rc = tb_json_parse(out, (const char *)text.data, text.len, err);
    }
    tb_buf_release(&text);
    return rc;
}

static tb_rc ask_keep(tb_json **out, const tb_dir_settings *at,
                      const tb_control_request *request, int timeout_ms,
                      bool *answered, tb_err *err)
{
    tb_asker asker = {.fn = keep, .arg = out};
    *out = NULL;
    tb_rc rc = tb_ask(at, request, timeout_ms, &asker, err);
    *answered = asker.answered;
    if (rc == TB_OK && *out == NULL) {
        rc = tb_fail(err, TB_E_MALFORMED, "the daemon gave no answer");
    }
    return rc;
}

tb_rc tb_ask_once(tb_json **out, const tb_dir_settings *at,
                  const tb_control_request *request, tb_err *err)
{
    bool answered = false;
    return ask_keep(out, at, request, TIMEOUT_MS, &answered, err);
}

tb_rc tb_ask_long(tb_json **out, const tb_dir_settings *at,
                  const tb_control_request *request, tb_err *err)
{
    bool answered = false;
    return ask_keep(out, at, request, NO_LIMIT, &answered, err);
}

tb_rc tb_ask_labels(tb_control_request *request, const char *const *labels,
                    size_t n, tb_err *err)
{
    tb_buf text;
    tb_buf_init(&text, TB_CONTROL_JSON_BYTES_MAX / 2);
    tb_rc rc = TB_OK;
    for (size_t i = 0; rc == TB_OK && i < n; i++) {
        rc = tb_buf_put(&text, labels[i], strlen(labels[i]), err);
        if (rc == TB_OK) {
            rc = tb_buf_put_u8(&text, ' ', err);
        }
    }
    if (rc == TB_OK) {
        rc = tb_buf_put_u8(&text, 0, err);
    }
    if (rc == TB_OK) {
        rc =
            tb_control_arg_add(request, "labels", (const char *)text.data, err);
    }
    tb_buf_release(&text);
    return rc;
}

static tb_rc read_folder(tb_json **out, const tb_dir_settings *at,
                         const char *what, tb_err *err)
{
    tb_state state;
    tb_report_live none = {0};
    tb_rc rc = tb_state_open(&state, at->dir, TB_FOLDER_READ, err);
    if (rc != TB_OK) {
        return rc;
    }
    if (strcmp(what, "status") == 0) {
        rc = tb_report_status(out, &state, &none, err);
    } else if (strcmp(what, "clients") == 0) {
        rc = tb_report_clients(out, &state, err);
    } else if (strcmp(what, "jobs") == 0) {
        rc = tb_report_jobs(out, &state, false, err);
    } else {
        rc = tb_report_models(out, &state, err);
    }
    tb_state_close(&state);
    return rc;
}

tb_rc tb_ask_report(tb_json **out, const tb_dir_settings *at, const char *what,
                    tb_err *err)
{
    bool answered = false;
    tb_control_request request;
    tb_rc rc = tb_control_request_init(&request, what, err);
    if (rc == TB_OK) {
        rc = ask_keep(out, at, &request, TIMEOUT_MS, &answered, err);
        tb_control_request_release(&request);
    }
    return rc == TB_E_NOT_FOUND && !answered ? read_folder(out, at, what, err)
                                             : rc;
}
