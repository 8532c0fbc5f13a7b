/* Who watches which run: its rounds as they are committed, and its end. */
#include <string.h>

#include "daemon.h"
#include "report.h"

static void tell_lines(tb_daemon *d, tb_watcher *w, const tb_run_history *run)
{
    tb_err err;
    size_t n = tb_history_ready(run);
    for (; w->told < n; w->told++) {
        tb_json *line = NULL;
        if (tb_report_round(&line, run, w->told, &err) == TB_OK) {
            tb_daemon_tell(d, w->id, &line);
        }
    }
}

/* True when there is no more to tell. */
static bool tell(tb_daemon *d, tb_watcher *w)
{
    tb_err err = {0};
    tb_json *end = NULL;
    const tb_run_history *run = tb_history_find(&d->state.history, &w->run);
    if (run != NULL) {
        tell_lines(d, w, run);
        if (!run->ended) {
            return false;
        }
    }
    tb_rc rc = run != NULL ? tb_report_end(&end, run, &err)
                           : tb_fail(&err, TB_E_NOT_FOUND,
                                     "the run is no longer remembered");
    tb_daemon_answer(d, w->id, rc, &end, &err);
    return true;
}

void tb_daemon_tell_watchers(tb_daemon *d)
{
    for (size_t i = 0; i < TB_WATCHERS_MAX; i++) {
        if (d->watchers[i].id != 0 && tell(d, &d->watchers[i])) {
            d->watchers[i] = (tb_watcher){0};
        }
    }
}

static tb_rc run_of(const tb_daemon *d, const tb_control_request *r,
                    tb_run_history **out, tb_err *err)
{
    const char *text = tb_control_arg_get(r, "run");
    if (text != NULL) {
        return tb_history_named(out, &d->state.history, text, err);
    }
    *out = tb_history_newest(&d->state.history);
    return *out != NULL
               ? TB_OK
               : tb_fail(err, TB_E_NOT_FOUND,
                         "no run yet: `tributaryd start JOB` starts one");
}

tb_rc tb_daemon_watch(tb_daemon *d, const tb_control_request *r, tb_err *err)
{
    tb_err why = {0};
    tb_run_history *run = NULL;
    (void)err;
    tb_rc rc = run_of(d, r, &run, &why);
    if (rc != TB_OK) {
        tb_daemon_answer(d, r->id, rc, NULL, &why);
        return TB_OK;
    }
    tb_watcher watcher = {.id = r->id, .run = run->run};
    if (tell(d, &watcher)) {
        return TB_OK;
    }
    for (size_t i = 0; i < TB_WATCHERS_MAX; i++) {
        if (!tb_control_waits(d->control, d->watchers[i].id)) {
            d->watchers[i] = watcher;
            return TB_OK;
        }
    }
    rc = tb_fail(&why, TB_E_BUSY, "%d watch already", TB_WATCHERS_MAX);
    tb_daemon_answer(d, r->id, rc, NULL, &why);
    return TB_OK;
}
