/* SIGHUP reads the settings file again and opens the log file again; a service
 * manager hears how we are. Neither is for an agent of one request. */
#include <stdio.h>

#include "agent_priv.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/stop.h"

enum { STOP_S = 4 }; /* after SIGTERM nothing takes longer */

tb_rc agent_open_signals(agent *a, tb_err *err)
{
    tb_err why = {0};
    a->reload_fd = -1;
    a->notify.fd = -1;
    if (a->options.settings == NULL) {
        return TB_OK;
    }
    if (tb_notify_open(&a->notify, &why) != TB_OK) {
        tb_log(TB_LOG_WARN, "event=notify error=\"%s\"", why.text);
    }
    tb_rc rc = tb_stop_within(STOP_S, err);
    return rc == TB_OK ? tb_reload_open(&a->reload_fd, err) : rc;
}

void agent_set_pace(agent *a)
{
    uint64_t rate = a->options.bandwidth != NULL ? *a->options.bandwidth : 0;
    tb_pace_init(&a->pace_in, rate, tb_clock_ms());
    tb_pace_init(&a->pace_out, rate, tb_clock_ms());
}

static void tell_change(void *arg, const tb_setting *row, bool taken)
{
    (void)arg;
    tb_log(taken ? TB_LOG_INFO : TB_LOG_WARN,
           "event=reload setting=%s result=%s why=\"%s\"", row->key,
           taken ? "changed" : "kept",
           taken ? "takes effect now" : "needs a restart");
}

void agent_reload(agent *a)
{
    tb_err err = {0};
    tb_notify_reloading(&a->notify);
    tb_rc rc = tb_settings_reload(a->options.settings, tell_change, NULL, &err);
    if (rc != TB_OK) {
        tb_log(TB_LOG_ERROR,
               "event=reload result=failed why=\"%s\" settings=\"as before\"",
               err.text);
    }
    agent_set_pace(a);
    tb_rc logged = tb_log_settings_apply(a->options.log, &err);
    if (logged != TB_OK) {
        tb_log(TB_LOG_ERROR, "event=reload result=failed why=\"%s\"", err.text);
    } else if (rc == TB_OK) {
        tb_log(TB_LOG_INFO, "event=reload result=done");
    }
    tb_notify_ready(&a->notify);
}

void agent_tell_manager(agent *a)
{
    char text[TB_NOTIFY_STATUS_BYTES];
    tb_client_status s;
    tb_notify_turn(&a->notify, tb_clock_ms());
    if (a->notify.fd >= 0) {
        tb_client_status_get(a->machine, &s);
        (void)snprintf(text, sizeof text, "%s: %s",
                       a->options.home->fed.client.text,
                       tb_cphase_name(s.phase));
        tb_notify_status(&a->notify, text);
    }
}
