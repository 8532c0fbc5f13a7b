/* The daemon: opens everything, then one loop of wait, step, flush. */
#include "daemon.h"

#include <malloc.h>
#include <poll.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/stop.h"

#define MESSAGES_A_PASS 256
#define STOP_MS         1000
#define STOP_S          4 /* after SIGTERM nothing takes longer */
#define STATUS_MS       1000
#define LONGEST_WAIT_MS 60000
#define MAPPED_BYTES    (1 << 20)

/* Descriptors of base/stop.h. */
typedef struct signals {
    int stop;
    int reload;
} signals;

/* --- one pass ------------------------------------------------------------- */

static tb_rc take_messages(tb_daemon *d, tb_err *err)
{
    tb_rc rc = TB_OK;
    for (int i = 0; i < MESSAGES_A_PASS && !d->stalled && rc == TB_OK; i++) {
        tb_inbound *in = NULL;
        tb_transport_receive(d->net, &in);
        if (in == NULL) {
            break;
        }
        rc = tb_daemon_inbound(d, &in, err);
        tb_inbound_free(&in);
    }
    return rc;
}

static tb_rc take_verdicts(tb_daemon *d, tb_err *err)
{
    bool took = true;
    tb_rc rc = TB_OK;
    while (rc == TB_OK && took) {
        rc = tb_daemon_verdict(d, &took, err);
    }
    return rc;
}

static void send_answers(tb_daemon *d)
{
    for (tb_answer *a = tb_serve_take(d->serve); a != NULL;
         a = tb_serve_take(d->serve)) {
        if (a->values != NULL) {
            tb_part part = {a->values, 0, tb_shared_bytes(a->values)};
            tb_daemon_send(d, &a->client, &a->msg, &part);
        } else {
            tb_daemon_send(d, &a->client, &a->msg, NULL);
        }
        tb_answer_free(&a);
    }
}

static tb_rc take_requests(tb_daemon *d, tb_err *err)
{
    tb_control_request request;
    tb_rc rc = TB_OK;
    while (rc == TB_OK && tb_control_next(d->control, &request)) {
        rc = tb_daemon_request(d, &request, err);
        tb_control_request_release(&request);
    }
    return rc;
}

static tb_rc tick(tb_daemon *d, tb_err *err)
{
    tb_daemon_expire_keys(d);
    tb_rc rc = tb_daemon_expire_doors(d, err);
    if (rc != TB_OK) {
        return rc;
    }
    if (d->stalled ||
        tb_clock_ms() < tb_coordinator_next_ms(d->state.machine)) {
        return TB_OK;
    }
    tb_event event = {.kind = TB_EV_TICK};
    return tb_daemon_event(d, &event, err);
}

/* In words, for the service manager: at most once a second, since it looks at
 * every member. */
static void tell_manager(tb_daemon *d)
{
    int64_t now = tb_clock_ms();
    tb_notify_turn(&d->notify, now);
    if (d->notify.fd < 0 || now < d->told_ms + STATUS_MS) {
        return;
    }
    tb_status s;
    tb_run_status run;
    char text[TB_NOTIFY_STATUS_BYTES];
    d->told_ms = now;
    tb_coordinator_status(d->state.machine, &s);
    bool has_run = tb_coordinator_run_status(d->state.machine, 0, &run);
    int n = has_run
                ? snprintf(text, sizeof text,
                           "%s: %s round %u of %u, %u of %u updates in",
                           run.name.text, tb_phase_name(run.phase), run.round,
                           run.rounds, run.n_accepted,
                           run.buffered ? run.n_wanted : run.n_asked)
                : snprintf(text, sizeof text, "no run; %u of %u clients here",
                           s.n_connected, s.n_enrolled);
    size_t used = n > 0 && (size_t)n < sizeof text ? (size_t)n : 0;
    if (has_run && run.waits_for[0] != '\0') {
        (void)snprintf(text + used, sizeof text - used, "; waits for %.*s",
                       (int)(sizeof text / 2), run.waits_for);
    }
    tb_notify_status(&d->notify, text);
}

static int wait_ms(const tb_daemon *d)
{
    int64_t now = tb_clock_ms();
    int64_t next =
        d->stalled ? d->retry_ms : tb_coordinator_next_ms(d->state.machine);
    int64_t left = next == INT64_MAX ? LONGEST_WAIT_MS : next - now;
    int64_t sign = tb_notify_wait_ms(&d->notify, now);
    left = left < sign ? left : sign;
    int64_t page =
        d->meters.http != NULL ? tb_http_wait_ms(d->meters.http) : INT64_MAX;
    left = left < page ? left : page;
    return (int)(left < 0 ? 0
                          : (left < LONGEST_WAIT_MS ? left : LONGEST_WAIT_MS));
}

static void wait_for_work(tb_daemon *d, const signals *on)
{
    struct pollfd fds[] = {
        {.fd = d->stalled ? -1 : tb_transport_fd(d->net), .events = POLLIN},
        {.fd = tb_control_fd(d->control), .events = POLLIN},
        {.fd = tb_mailbox_fd(d->mailbox), .events = POLLIN},
        {.fd = tb_serve_fd(d->serve), .events = POLLIN},
        {.fd = on->stop, .events = POLLIN},
        {.fd = on->reload, .events = POLLIN},
        {.fd = d->meters.http != NULL ? tb_http_fd(d->meters.http) : -1,
         .events = POLLIN}};
    if (poll(fds, sizeof fds / sizeof *fds, wait_ms(d)) > 0) {
        d->stopping = fds[4].revents != 0;
        if (fds[5].revents != 0 && tb_reload_take(on->reload)) {
            tb_daemon_reload(d);
        }
    }
}

static tb_rc loop(tb_daemon *d, const signals *on, tb_err *err)
{
    tb_rc rc = tb_daemon_flush(d, err);
    while (rc == TB_OK && !d->stopping) {
        tell_manager(d);
        wait_for_work(d, on);
        rc = take_verdicts(d, err);
        if (rc == TB_OK) {
            rc = take_messages(d, err);
        }
        if (rc == TB_OK) {
            rc = tick(d, err);
        }
        if (rc == TB_OK) {
            rc = tb_daemon_flush(d, err);
        }
        if (rc == TB_OK) {
            rc = take_requests(d, err);
        }
        if (rc == TB_OK) {
            rc = tb_daemon_collect(d, err);
        }
        send_answers(d);
        if (d->meters.http != NULL) {
            tb_http_serve(d->meters.http);
        }
    }
    return rc;
}

/* --- opening and closing -------------------------------------------------- */

static tb_rc allow_members(tb_daemon *d, tb_err *err)
{
    tb_member m;
    tb_rc rc = TB_OK;
    for (size_t i = 0;
         rc == TB_OK && tb_coordinator_member(d->state.machine, i, &m); i++) {
        if (!m.revoked) {
            rc = tb_daemon_admit(d, &m, err);
        }
    }
    return rc;
}

/* The files of every run that lives; those of a lost one are not there. */
static tb_rc read_runs(tb_daemon *d, tb_err *err)
{
    tb_rc rc = TB_OK;
    const tb_run_params *run = tb_coordinator_run(d->state.machine, 0);
    for (size_t i = 0; rc == TB_OK && run != NULL; i++) {
        tb_live *live = NULL;
        if (!tb_live_lost(d->state.folder, &run->run)) {
            rc = tb_live_resume(&live, d->state.folder, &d->keys, run, err);
        }
        if (rc == TB_OK && live != NULL) {
            tb_daemon_add_live(d, &live);
        }
        run = tb_coordinator_run(d->state.machine, i + 1);
    }
    return rc;
}

/* A run without its files cannot go on: it ends, and the others do not. */
static tb_rc cancel_lost(tb_daemon *d, tb_err *err)
{
    tb_rc rc = TB_OK;
    size_t i = 0;
    const tb_run_params *run = tb_coordinator_run(d->state.machine, i);
    while (rc == TB_OK && run != NULL) {
        size_t before = tb_coordinator_runs(d->state.machine);
        if (tb_daemon_live(d, &run->run) == NULL) {
            tb_event cancel = {.kind = TB_EV_CANCEL,
                               .run = run->run,
                               .why = "the run's files in runs/ are gone"};
            tb_log(TB_LOG_ERROR, "event=resume error=\"%s\"", cancel.why);
            rc = tb_daemon_event(d, &cancel, err);
        }
        i += tb_coordinator_runs(d->state.machine) == before;
        run = tb_coordinator_run(d->state.machine, i);
    }
    return rc;
}

/* Runs that ended, but we died before their keys were kept or destroyed. */
static void settle_ended(tb_daemon *d)
{
    const tb_marks *marks = &d->state.marks;
    for (size_t i = 0; i < marks->n_runs; i++) {
        const tb_mark_run *run = &marks->runs[i];
        if (run->ended && !run->swept &&
            !tb_live_lost(d->state.folder, &run->run)) {
            tb_daemon_settle(d, &run->run);
        }
    }
}

/* What a kill tore off in a round's spool is cut when the round is opened. That
 * of a buffer that has closed may not be opened for long, or never. */
static void trim_spools(tb_daemon *d)
{
    const tb_coordinator *machine = d->state.machine;
    const char *dir = tb_folder_path(d->state.folder, TB_ITEM_SPOOL);
    for (size_t i = 0; i < tb_coordinator_runs(machine); i++) {
        const tb_run_id *run = &tb_coordinator_run(machine, i)->run;
        tb_hash config;
        tb_err why;
        for (size_t k = 0; tb_coordinator_earlier(machine, i, k, &config);
             k++) {
            if (tb_spool_trim(dir, run, &config, &why) != TB_OK) {
                tb_log(TB_LOG_WARN, "event=spool error=\"%s\"", why.text);
            }
        }
    }
}

static tb_rc resume_runs(tb_daemon *d, tb_err *err)
{
    tb_coordinator_set_running(d->state.machine, d->settings->jobs_running);
    tb_rc rc = read_runs(d, err);
    if (rc == TB_OK) {
        settle_ended(d);
        trim_spools(d);
        d->collect_due = true;
        d->leftovers_due = true;
        tb_daemon_sweep_checkpoints(d);
        d->durable_seq = tb_store_head(d->state.store, NULL);
        rc = tb_coordinator_resume(d->state.machine, tb_clock_ms(), &d->actions,
                                   err);
    }
    return rc == TB_OK ? cancel_lost(d, err) : rc;
}

static tb_rc open_folder(tb_daemon *d, tb_err *err)
{
    const tb_dir_settings *at = &d->settings->at;
    tb_rc rc = tb_state_open(&d->state, at->dir, TB_FOLDER_LOCK, err);
    if (rc != TB_OK) {
        return rc;
    }
    char *beside = NULL;
    const char *master = at->master_key;
    if (master[0] == '\0') {
        beside = tb_folder_master_path(at->dir);
        master = beside;
    }
    tb_rec_coordinator_key last;
    if (tb_coordinator_key(d->state.machine, &last) &&
        last.step == TB_ROTATION_IN_USE) {
        rc = tb_daemon_settle_move(d, &last, err);
    }
    if (rc != TB_OK) {
        tb_mem_free(beside);
        return rc;
    }
    rc = master != NULL ? tb_keys_read(&d->keys, d->state.folder, master, err)
                        : tb_fail(err, TB_E_NOMEM, "path of the master key");
    tb_mem_free(beside);
    return rc;
}

static size_t n_workers(const tb_daemon_settings *settings)
{
    long n = sysconf(_SC_NPROCESSORS_ONLN);
    return settings->workers > 0 ? settings->workers
                                 : (size_t)(n > 0 && n <= 256 ? n : 1);
}

static tb_rc open_all(tb_daemon *d, tb_err *err)
{
    tb_serve_limits limits = {d->settings->predict_max_rows,
                              d->settings->predict_per_second};
    tb_rc rc = open_folder(d, err);
    if (rc == TB_OK) {
        rc = tb_mailbox_new(&d->mailbox, err);
    }
    if (rc == TB_OK) {
        rc = tb_pool_new(&d->pool, n_workers(d->settings), err);
    }
    if (rc == TB_OK) {
        rc = tb_serve_start(&d->serve, &d->state, &limits, err);
    }
    if (rc == TB_OK) {
        rc = tb_daemon_listen(d, err);
    }
    if (rc == TB_OK) {
        rc = tb_daemon_take_up_move(d, err);
    }
    if (rc == TB_OK) {
        rc = allow_members(d, err);
    }
    if (rc == TB_OK) {
        rc = tb_transport_let_in(d->net, err);
    }
    if (rc == TB_OK) {
        rc = tb_control_open(
            &d->control, tb_folder_path(d->state.folder, TB_ITEM_CONTROL), err);
    }
    return rc == TB_OK ? resume_runs(d, err) : rc;
}

static void close_all(tb_daemon *d)
{
    tb_err err;
    tb_control_close(&d->control);
    tb_http_close(&d->meters.http);
    if (tb_transport_stop(&d->net, STOP_MS, &err) != TB_OK) {
        tb_log(TB_LOG_WARN, "event=stop error=\"%s\"", err.text);
    }
    tb_pool_free(&d->pool); /* ends what is running */
    if (d->mailbox != NULL) {
        tb_daemon_drop_verdicts(d);
    }
    tb_serve_stop(&d->serve);
    tb_mailbox_free(&d->mailbox);
    tb_actions_release(&d->actions);
    tb_shared_free(&d->offer);
    for (size_t i = 0; i < TB_PAYLOADS_MAX; i++) {
        tb_inbound_free(&d->payloads[i].in);
    }
    while (d->rounds != NULL) {
        tb_hash config = d->rounds->config;
        tb_daemon_forget(d, &config);
    }
    while (d->lives != NULL) {
        tb_run_id run = d->lives->params.run;
        tb_daemon_end_run(d, &run);
    }
    tb_sign_key_free(&d->move.sign);
    tb_box_key_free(&d->move.curve);
    tb_keys_release(&d->keys);
    tb_state_close(&d->state);
}

/* Secrets in memory stay out of core files. */
static void harden(void)
{
    struct rlimit none = {0, 0};
    (void)prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
    (void)setrlimit(RLIMIT_CORE, &none);
}

/* The way there, and a service manager that is told when we are. */
static tb_rc open_signals(tb_daemon *d, signals *on, tb_err *err)
{
    tb_err why = {0};
    tb_rc rc = tb_log_settings_apply(&d->settings->log, err);
    if (rc == TB_OK) {
        rc = tb_stop_open(&on->stop, err);
    }
    if (rc == TB_OK) {
        rc = tb_stop_within(STOP_S, err);
    }
    if (rc == TB_OK) {
        rc = tb_reload_open(&on->reload, err);
    }
    if (rc == TB_OK && tb_notify_open(&d->notify, &why) != TB_OK) {
        tb_log(TB_LOG_WARN, "event=notify error=\"%s\"", why.text);
    }
    return rc;
}

tb_rc tb_daemon_run(tb_settings *settings, tb_err *err)
{
    tb_daemon *d = tb_mem_array(1, sizeof *d);
    if (d == NULL) {
        return tb_fail(err, TB_E_NOMEM, "the daemon");
    }
    signals on = {-1, -1};
    d->source = settings;
    d->settings = settings->values;
    d->notify.fd = -1;
    d->started_s = tb_clock_unix_s();
    harden();
    /* Blocks are born in one thread and freed in another: with an arena for
     * each, the process would keep the sum of all threads' peaks. */
    (void)mallopt(M_ARENA_MAX, 1);
    /* What is as large as a model goes back to the system when it is freed;
     * left to itself malloc would keep it from the second time on. */
    (void)mallopt(M_MMAP_THRESHOLD, MAPPED_BYTES);
    tb_rc rc = open_signals(d, &on, err);
    if (rc == TB_OK) {
        rc = open_all(d, err);
    }
    if (rc == TB_OK) {
        (void)printf("listening %s\nenrolment %s\n", d->endpoint,
                     d->enrol_endpoint);
        rc = tb_daemon_open_metrics(d, err);
    }
    if (rc == TB_OK) {
        (void)fflush(stdout);
        tb_notify_ready(&d->notify);
        rc = loop(d, &on, err);
        if (rc == TB_OK) {
            rc = tb_daemon_wind_down(d, err);
        }
    }
    tb_notify_stopping(&d->notify);
    close_all(d);
    tb_notify_close(&d->notify);
    tb_mem_free(d);
    return rc;
}
