/* SIGHUP: the settings file is read again, and the log file opened again. A
 * file that is wrong changes nothing. */
#include "base/log.h"
#include "daemon.h"

static void tell_change(void *arg, const tb_setting *row, bool taken)
{
    (void)arg;
    tb_log(taken ? TB_LOG_INFO : TB_LOG_WARN,
           "event=reload setting=%s result=%s why=\"%s\"", row->key,
           taken ? "changed" : "kept",
           taken ? "takes effect now" : "needs a restart");
}

void tb_daemon_reload(tb_daemon *d)
{
    tb_err err = {0};
    const tb_daemon_settings *s = d->settings;
    tb_notify_reloading(&d->notify);
    tb_rc rc = tb_settings_reload(d->source, tell_change, NULL, &err);
    if (rc != TB_OK) {
        tb_log(TB_LOG_ERROR,
               "event=reload result=failed why=\"%s\" settings=\"as before\"",
               err.text);
    }
    if (tb_log_settings_apply(&s->log, &err) != TB_OK) {
        tb_log(TB_LOG_ERROR, "event=reload result=failed why=\"%s\"", err.text);
        rc = err.rc;
    }
    tb_serve_limits limits = {s->predict_max_rows, s->predict_per_second};
    tb_serve_limit(d->serve, &limits);
    tb_coordinator_set_running(d->state.machine, s->jobs_running);
    if (rc == TB_OK) {
        tb_log(TB_LOG_INFO, "event=reload result=done");
    }
    tb_notify_ready(&d->notify);
}
