#include "agent.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "agent_priv.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/stop.h"
#include "wire/receipt.h"

enum { STOP_MS = 2000, STATE_FILE_MAX = 4096, LONGEST_POLL_MS = 1000 };

tb_rc agent_step(agent *a, const tb_cevent *event, tb_err *err)
{
    tb_rc rc =
        tb_client_step(a->machine, event, tb_clock_ms(), &a->actions, err);
    while (rc == TB_OK && a->at < a->actions.n) {
        /* Taken out: a step within may move the list. */
        tb_caction action = a->actions.at[a->at];
        a->actions.at[a->at].msg = NULL;
        a->at++;
        rc = agent_act(a, &action, err);
        tb_mem_free(action.msg);
    }
    if (a->at == a->actions.n) {
        tb_cactions_release(&a->actions);
        a->at = 0;
    }
    return rc;
}

void agent_each_request(agent *a, agent_request_fn *fn, void *arg)
{
    const request_context c = {.home = a->options.home,
                               .send = agent_send,
                               .arg = a,
                               .now_ms = tb_clock_ms(),
                               .chores = a->chores};
    if (a->options.request != NULL) {
        fn(a, a->options.request, &c, arg);
    }
    for (size_t i = 0; i < AGENT_REQUESTS_MAX; i++) {
        if (a->asked[i].connection != 0) {
            fn(a, &a->asked[i].request, &c, arg);
        }
    }
}

/* --- what comes in -------------------------------------------------------- */

/* A newer certificate of the same root is kept. */
static tb_rc take_certificate(agent *a, const tb_msg_welcome *welcome,
                              tb_err *err)
{
    const federation *fed = &a->options.home->fed;
    tb_certificate c;
    tb_rc rc = tb_certificate_decode(&c, welcome->certificate.data,
                                     welcome->certificate.len, err);
    if (rc == TB_OK) {
        rc = tb_certificate_verify(&c, fed->root, (uint64_t)tb_clock_unix_s(),
                                   err);
    }
    if (rc == TB_OK && c.serial < a->certificate.serial) {
        rc = tb_fail(err, TB_E_DENIED,
                     "an older certificate than the one known here");
    }
    bool same_place = memcmp(c.curve_key, fed->certificate.curve_key,
                             sizeof c.curve_key) == 0;
    if (rc == TB_OK && c.serial > fed->certificate.serial && same_place) {
        federation newer = *fed; /* else a MOVE will follow */
        newer.certificate = c;
        rc = federation_write(a->options.home->folder, &newer, err);
        a->options.home->fed = rc == TB_OK ? newer : *fed;
    }
    if (rc == TB_OK) {
        a->certificate = c;
    }
    return rc;
}

/* Whether what a message claims is signed by whom it must be. */
static bool genuine(agent *a, const tb_msg *msg)
{
    const uint8_t *key = a->certificate.sign_key;
    tb_err err = {0};
    tb_rc rc = TB_OK;
    if (msg->kind == TB_MSG_WELCOME) {
        rc = take_certificate(a, &msg->u.welcome, &err);
    } else if (msg->kind == TB_MSG_OFFER) {
        rc = tb_verify(msg->u.offer.signature, key, TB_SIGN_ROUND,
                       msg->u.offer.config.data, msg->u.offer.config.len, &err);
    } else if (msg->kind == TB_MSG_RECEIPT) {
        rc = tb_receipt_verify(&msg->u.receipt, key, &err);
    }
    if (rc != TB_OK) {
        tb_log(TB_LOG_WARN, "event=not_genuine kind=%s why=\"%s\"",
               tb_msg_kind_name(msg->kind), err.text);
    }
    return rc == TB_OK;
}

/* A message on its way to the requests. */
typedef struct offered {
    const tb_msg *msg;
    const tb_inbound *in;
    bool taken;
} offered;

static void offer_request(agent *a, request *r, const request_context *c,
                          void *arg)
{
    offered *o = arg;
    (void)a;
    if (!o->taken && r->phase != REQUEST_DONE) {
        o->taken =
            request_take(r, c, o->msg, o->in->payload, o->in->payload_bytes);
    }
}

bool agent_in_session(const agent *a)
{
    tb_client_status s;
    tb_client_status_get(a->machine, &s);
    return s.connected && s.phase != TB_CPHASE_OFFLINE &&
           s.phase != TB_CPHASE_HELLO && s.phase != TB_CPHASE_STOPPED;
}

static void begin_request(agent *a, request *r, const request_context *c,
                          void *arg)
{
    (void)a;
    (void)arg;
    request_begin(r, c);
}

static tb_rc take_message(agent *a, const tb_inbound *in, tb_err *err)
{
    tb_msg msg = {0};
    tb_err why = {0};
    offered offer = {.msg = &msg, .in = in};
    tb_rc rc = tb_msg_decode(&msg, in->envelope, in->envelope_bytes,
                             in->payload_bytes, &why);
    if (rc != TB_OK) {
        tb_log(TB_LOG_WARN, "event=bad_message why=\"%s\"", why.text);
        return TB_OK;
    }
    if (msg.kind == TB_MSG_REFUSE) {
        tb_log(TB_LOG_WARN, "event=refused about=%s code=%s why=\"%s\"",
               tb_msg_kind_name(msg.u.refuse.about),
               tb_refusal_name(msg.u.refuse.code), msg.u.refuse.why);
    }
    rc = agent_rotate_take(a, &msg, &offer.taken, err);
    if (rc == TB_OK && msg.kind == TB_MSG_MOVE) {
        rc = agent_move_take(a, &msg.u.move, err);
        offer.taken = true;
    }
    if (!offer.taken) {
        agent_each_request(a, offer_request, &offer);
    }
    if (rc == TB_OK && !offer.taken) {
        const tb_cevent event = {.kind = TB_CEV_MESSAGE,
                                 .msg = &msg,
                                 .genuine = genuine(a, &msg),
                                 .payload_bytes = in->payload_bytes};
        tb_client_status s;
        tb_client_status_get(a->machine, &s);
        uint32_t epoch = s.epoch;
        a->inbound = in;
        rc = agent_step(a, &event, err);
        a->inbound = NULL;
        tb_client_status_get(a->machine, &s);
        if (s.epoch != epoch) {
            tb_log(TB_LOG_WARN, "event=restored coordinator=\"%s\"",
                   s.epoch_note);
        }
        if (rc == TB_OK && msg.kind == TB_MSG_WELCOME && event.genuine) {
            rc = agent_move_welcomed(a, err);
            agent_each_request(a, begin_request, NULL);
        }
    }
    tb_msg_release(&msg);
    return rc;
}

static tb_rc take_inbound(agent *a, const tb_inbound *in, tb_err *err)
{
    const tb_cevent connected = {.kind = TB_CEV_CONNECTED};
    const tb_cevent lost = {.kind = TB_CEV_DISCONNECTED};
    tb_dial_options at = {.endpoint = ""};
    tb_rc rc = TB_OK;
    switch (in->kind) {
    case TB_IN_MESSAGE:
        return take_message(a, in, err);
    case TB_IN_CONNECTED:
        a->lost_why[0] = '\0';
        agent_move_dial(a, &at);
        tb_log(TB_LOG_INFO, "event=connected to=%s", at.endpoint);
        rc = agent_rotate_connected(a, err);
        return rc == TB_OK ? agent_step(a, &connected, err) : rc;
    case TB_IN_LOST:
        tb_log(TB_LOG_WARN, "event=disconnected why=\"%s\"", in->why);
        (void)snprintf(a->lost_why, sizeof a->lost_why, "%s", in->why);
        rc = agent_step(a, &lost, err);
        rc = rc == TB_OK ? agent_move_lost(a, err) : rc;
        return rc == TB_OK ? agent_rotate_lost(a, err) : rc;
    case TB_IN_FAILED:
        return tb_fail(err, TB_E_IO, "the network thread has ended: %s",
                       in->why);
    case TB_IN_ENROL:
    case TB_IN_GONE:
        break;
    }
    return TB_OK;
}

/* How long to hold still for the bandwidth: what is not taken from the network
 * gives rise to nothing that would go out, and TCP holds the other side. */
static int64_t held_ms(agent *a)
{
    int64_t now = tb_clock_ms();
    int64_t in = tb_pace_wait_ms(&a->pace_in, now);
    int64_t out = tb_pace_wait_ms(&a->pace_out, now);
    return in > out ? in : out;
}

static tb_rc drain_dial(agent *a, tb_err *err)
{
    tb_rc rc = TB_OK;
    while (rc == TB_OK && a->dial != NULL && held_ms(a) == 0) {
        tb_inbound *in = NULL;
        tb_dial_receive(a->dial, &in);
        if (in == NULL) {
            break;
        }
        tb_pace_count(&a->pace_in, in->envelope_bytes + in->payload_bytes,
                      tb_clock_ms());
        rc = take_inbound(a, in, err);
        tb_inbound_free(&in);
    }
    return rc;
}

static tb_rc drain_worker(agent *a, tb_err *err)
{
    worker_result r;
    if (a->worker == NULL || !worker_take(a->worker, &r)) {
        return TB_OK;
    }
    a->working = false;
    if (r.rc == TB_OK) {
        a->trained_rows += r.weight;
        tb_log(TB_LOG_INFO, "event=worked run=%s round=%u rows=%u seconds=%.2f",
               a->job, a->round, r.weight, r.seconds);
    } else {
        tb_log(TB_LOG_WARN,
               "event=work_failed run=%s round=%u code=%s why=\"%s\"", a->job,
               a->round, tb_rc_name(r.rc), r.err.text);
    }
    const tb_cevent event = {.kind = TB_CEV_WORKED,
                             .config = r.config,
                             .rc = r.rc,
                             .sealed = r.sealed,
                             .why = r.err.text};
    return agent_step(a, &event, err);
}

static void go_on(agent *a, request *r, const request_context *c, void *arg)
{
    (void)a;
    (void)arg;
    request_go_on(r, c);
}

static void drain_chores(agent *a)
{
    chores_clear(a->chores);
    agent_each_request(a, go_on, NULL);
}

/* --- life ----------------------------------------------------------------- */

static tb_rc stop(agent *a, tb_err *err)
{
    const tb_cevent event = {.kind = TB_CEV_STOP};
    a->stopping = true;
    return agent_step(a, &event, err);
}

static tb_rc drain_stop(agent *a, tb_err *err)
{
    uint64_t count = 0;
    if (read(a->stop_fd, &count, sizeof count) == (ssize_t)sizeof count) {
        tb_log(TB_LOG_INFO, "event=stopping");
        return stop(a, err);
    }
    return TB_OK;
}

static void tick_request(agent *a, request *r, const request_context *c,
                         void *arg)
{
    (void)a;
    (void)arg;
    request_tick(r, c->now_ms);
}

static int poll_ms(agent *a)
{
    int64_t held = held_ms(a);
    int64_t left =
        held > 0 ? held : tb_client_next_ms(a->machine) - tb_clock_ms();
    if (left <= 0) {
        return 0;
    }
    return left < LONGEST_POLL_MS ? (int)left : LONGEST_POLL_MS;
}

static tb_rc wait_for_something(agent *a, tb_err *err)
{
    struct pollfd fds[] = {
        {.fd = a->stop_fd, .events = POLLIN},
        {.fd = a->reload_fd, .events = POLLIN},
        {.fd = a->dial != NULL && held_ms(a) == 0 ? tb_dial_fd(a->dial) : -1,
         .events = POLLIN},
        {.fd = a->worker != NULL ? worker_fd(a->worker) : -1, .events = POLLIN},
        {.fd = chores_fd(a->chores), .events = POLLIN},
        {.fd = a->control != NULL ? tb_control_fd(a->control) : -1,
         .events = POLLIN}};
    if (poll(fds, sizeof fds / sizeof fds[0], poll_ms(a)) < 0 &&
        errno != EINTR) {
        return tb_fail_errno(err, errno, "poll");
    }
    return TB_OK;
}

static tb_rc tick(agent *a, tb_err *err)
{
    const tb_cevent event = {.kind = TB_CEV_TICK};
    if (held_ms(a) > 0) { /* what looks late may lie here unread */
        return TB_OK;
    }
    agent_each_request(a, tick_request, NULL);
    tb_rc rc = agent_rotate_tick(a, err);
    if (rc != TB_OK) {
        return rc;
    }
    return tb_clock_ms() >= tb_client_next_ms(a->machine)
               ? agent_step(a, &event, err)
               : TB_OK;
}

static tb_rc loop(agent *a, tb_err *err)
{
    const request *own = a->options.request;
    const tb_cevent start = {.kind = TB_CEV_TICK};
    tb_rc rc = agent_step(a, &start, err);
    if (rc == TB_OK) {
        tb_notify_ready(&a->notify);
    }
    while (rc == TB_OK && !a->stopping) {
        agent_tell_manager(a);
        rc = wait_for_something(a, err);
        if (a->reload_fd >= 0 && tb_reload_take(a->reload_fd)) {
            agent_reload(a);
        }
        rc = rc == TB_OK ? drain_dial(a, err) : rc;
        rc = rc == TB_OK ? drain_worker(a, err) : rc;
        drain_chores(a);
        rc = rc == TB_OK ? agent_serve_control(a, err) : rc;
        rc = rc == TB_OK ? tick(a, err) : rc;
        rc = rc == TB_OK ? drain_stop(a, err) : rc;
        bool done = a->options.rotate
                        ? a->rotate.phase == ROTATION_DONE
                        : own != NULL && own->phase == REQUEST_DONE;
        if (rc == TB_OK && done) {
            rc = stop(a, err);
        }
    }
    return rc;
}

/* What the coordinator is told of this machine, as labels. */
static void report_host(tb_labels *labels)
{
    char text[TB_LABELS_BYTES];
    long pages = sysconf(_SC_PHYS_PAGES);
    long page_bytes = sysconf(_SC_PAGESIZE);
    long cpus = sysconf(_SC_NPROCESSORS_ONLN);
    if (pages > 0 && page_bytes > 0 && cpus > 0) {
        (void)snprintf(text, sizeof text, "cpus=%ld memory=%lluMB", cpus,
                       (unsigned long long)pages *
                           (unsigned long long)page_bytes / 1000000);
        (void)!tb_labels_change(labels, text, NULL);
    }
}

static tb_rc new_machine(agent *a, tb_err *err)
{
    const home *h = a->options.home;
    const char *path = tb_folder_path(h->folder, TB_ITEM_STATE);
    tb_client_params params = tb_client_defaults();
    tb_buf state;
    tb_rc rc = TB_OK;
    params.name = h->fed.client;
    params.federation = tb_federation_of(h->fed.root);
    (void)snprintf(params.software, sizeof params.software, "tributary %s",
                   TB_VERSION);
    report_host(&params.labels);
    for (size_t i = 0; i < a->options.n_sets; i++) {
        params.data_sets[params.n_data_sets++] = a->options.sets[i].name;
    }
    tb_buf_init(&state, STATE_FILE_MAX);
    if (tb_file_exists(path)) {
        rc = tb_file_read(&state, path, err);
    }
    if (rc == TB_OK) {
        rc = tb_client_new(&a->machine, &params, state.data, state.len, err);
        rc = rc != TB_OK ? tb_err_prefix(err, rc, "%s", path) : TB_OK;
    }
    tb_buf_release(&state);
    return rc;
}

static tb_rc open_all(agent *a, tb_err *err)
{
    const agent_options *o = &a->options;
    tb_rc rc = tb_stop_open(&a->stop_fd, err);
    if (rc == TB_OK) {
        rc = agent_open_signals(a, err);
    }
    if (rc == TB_OK) {
        rc = new_machine(a, err);
    }
    if (rc == TB_OK) {
        rc = rotation_load(&a->rotate, o->home, err);
    }
    if (rc == TB_OK && o->rotate) {
        agent_rotate_only(a);
    }
    if (rc == TB_OK && o->n_sets > 0) {
        agent_drop_leftovers(a);
        rc = worker_new(&a->worker, o->home, o->sets, o->n_sets, err);
    }
    if (rc == TB_OK) {
        rc = chores_new(&a->chores, err);
    }
    if (rc == TB_OK && o->control) {
        rc = tb_control_open(
            &a->control, tb_folder_path(o->home->folder, TB_ITEM_CONTROL), err);
    }
    return rc;
}

static void close_all(agent *a)
{
    if (tb_dial_stop(&a->dial, STOP_MS, NULL) != TB_OK) {
        tb_log(TB_LOG_WARN, "event=network_thread_hangs");
    }
    worker_free(&a->worker);
    chores_free(&a->chores); /* before the requests that they are for */
    tb_control_close(&a->control);
    for (size_t i = 0; i < AGENT_REQUESTS_MAX; i++) {
        request_release(&a->asked[i].request);
    }
    tb_cactions_release(&a->actions);
    tb_client_free(&a->machine);
    rotation_release(&a->rotate);
}

tb_rc agent_run(const agent_options *options, tb_err *err)
{
    agent *a = tb_mem_array(1, sizeof *a);
    if (a == NULL) {
        return tb_fail(err, TB_E_NOMEM, "agent: no memory");
    }
    a->options = *options;
    a->notify.fd = -1;
    agent_set_pace(a);
    a->certificate = options->home->fed.certificate;
    if (options->n_sets > 0) {
        agent_load_counts(a);
    }
    tb_rc rc = open_all(a, err);
    if (rc == TB_OK) {
        rc = loop(a, err);
    }
    if (rc == TB_OK && options->rotate) {
        rc = a->rotate.phase != ROTATION_DONE
                 ? tb_fail(err, TB_E_CANCELLED,
                           "stopped before the answer "
                           "came")
             : a->rotate.rc != TB_OK
                 ? tb_fail(err, a->rotate.rc, "%s", a->rotate.err.text)
                 : TB_OK;
    }
    if (a->machine != NULL && options->n_sets > 0 &&
        agent_save_status(a, rc == TB_OK ? err : NULL) != TB_OK) {
        rc = rc == TB_OK ? TB_E_IO : rc;
    }
    tb_notify_stopping(&a->notify);
    close_all(a);
    tb_notify_close(&a->notify);
    tb_mem_free(a);
    return rc;
}
