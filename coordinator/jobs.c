/* Requests about runs that live: pause, resume, cancel. Each becomes a row of
 * the journal, and is answered once that row is durable. */
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "daemon.h"

/* The run that the request names; without a name, the only one that lives. */
static tb_rc run_of(const tb_daemon *d, const tb_control_request *r,
                    tb_run_history **out, tb_err *err)
{
    const char *text = tb_control_arg_get(r, "run");
    const tb_history *h = &d->state.history;
    tb_rc rc = TB_OK;
    if (text != NULL) {
        rc = tb_history_named(out, h, text, err);
    } else if (d->lives == NULL) {
        rc = tb_fail(err, TB_E_NOT_FOUND, "no run is going on");
    } else if (d->lives->next != NULL) {
        rc = tb_fail(err, TB_E_USAGE,
                     "several runs are going on: name one; `tributaryd jobs` "
                     "lists them");
    } else {
        *out = tb_history_find(h, &d->lives->params.run);
        rc = *out != NULL ? TB_OK
                          : tb_fail(err, TB_E_NOT_FOUND,
                                    "the run is not durable yet: try again");
    }
    if (rc == TB_OK && (*out)->ended) {
        rc = tb_fail(err, TB_E_NOT_FOUND, "the run of %s is over (%s)",
                     (*out)->name.text, tb_outcome_name((*out)->outcome));
    }
    return rc;
}

/* Steps the machine, and answers {done: name} when the row is durable. */
static tb_rc change(tb_daemon *d, const tb_control_request *r, tb_event *event,
                    const char *done, tb_err *err)
{
    tb_err why = {0};
    tb_run_history *run = NULL;
    tb_name name = {""};
    char hex[TB_RUN_HEX_BYTES] = "";
    tb_rc rc = run_of(d, r, &run, &why);
    if (rc == TB_OK) {
        event->run = run->run;
        name = run->name; /* a flush may move it */
        tb_run_hex(&run->run, hex);
        rc = tb_daemon_event(d, event, &why);
    }
    if (rc != TB_OK) {
        return tb_daemon_answer_failed(d, r->id, rc, &why, err);
    }
    rc = tb_daemon_flush(d, err);
    if (rc != TB_OK) {
        return rc;
    }
    tb_json *reply = NULL;
    tb_rc told = TB_OK;
    if (d->stalled) {
        told = tb_daemon_say_full(&why, "this is done");
    } else {
        reply = tb_json_object();
        told = tb_json_put_text(reply, done, name.text, &why);
        told = told == TB_OK ? tb_json_put_text(reply, "run", hex, &why) : told;
    }
    tb_daemon_answer(d, r->id, told, &reply, &why);
    return TB_OK;
}

tb_rc tb_daemon_pause(tb_daemon *d, const tb_control_request *r, tb_err *err)
{
    tb_event event = {.kind = TB_EV_PAUSE,
                      .unix_s = (uint64_t)tb_clock_unix_s(),
                      .why = tb_control_arg_get(r, "why")};
    return change(d, r, &event, "paused", err);
}

tb_rc tb_daemon_resume(tb_daemon *d, const tb_control_request *r, tb_err *err)
{
    tb_event event = {.kind = TB_EV_RESUME};
    return change(d, r, &event, "resumed", err);
}

tb_rc tb_daemon_cancel(tb_daemon *d, const tb_control_request *r, tb_err *err)
{
    const char *why = tb_control_arg_get(r, "why");
    tb_event event = {.kind = TB_EV_CANCEL,
                      .why = why != NULL ? why : "cancelled by the operator"};
    return change(d, r, &event, "cancelled", err);
}
