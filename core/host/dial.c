#include "host/dial.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "base/actor.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "host/inbox.h"
#include "host/outbox.h"
#include "host/zsock.h"

#define START_TIMEOUT_MS     10000
#define POOL_BYTES           ((size_t)4 << 20)
#define BATCH                64
#define IDLE_MS              1000
#define LINGER_MS            1000 /* of what is queued at the stop */
#define RECONNECT_IVL_MS     2000
#define RECONNECT_IVL_MAX_MS 30000
#define CONNECT_TIMEOUT_MS   10000
#define MONITOR_EVENTS                                                         \
    (ZMQ_EVENT_HANDSHAKE_SUCCEEDED | ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL |    \
     ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL | ZMQ_EVENT_HANDSHAKE_FAILED_AUTH |   \
     ZMQ_EVENT_DISCONNECTED | ZMQ_EVENT_CONNECT_RETRIED)

struct tb_dial {
    tb_actor *actor;
    tb_inbox *inbox;
    tb_dial_options options; /* used only until the thread is ready */

    pthread_mutex_t lock; /* of these: */
    tb_outbox out;
    tb_dial_stats stats;

    /* The thread's own. */
    void *context;
    void *socket;
    void *monitor;
    bool connected;
    uint16_t told; /* event that the owner was told as LOST last; 0: none */
};

/* --- the socket --- */

static tb_rc connect_socket(void *context, const tb_dial_options *o,
                            void **socket, tb_err *err)
{
    if (strncmp(o->endpoint, "tcp://", 6) != 0) {
        return tb_fail(err, TB_E_USAGE,
                       "'%s' is not an endpoint like tcp://host:7700",
                       o->endpoint);
    }
    void *s = tb_zsock_new(context, ZMQ_DEALER, TB_PAYLOAD_BYTES_MAX);
    *socket = s;
    if (s == NULL || tb_zsock_set(s, ZMQ_IMMEDIATE, 1) != 0 ||
        tb_zsock_set(s, ZMQ_RECONNECT_IVL, RECONNECT_IVL_MS) != 0 ||
        tb_zsock_set(s, ZMQ_RECONNECT_IVL_MAX, RECONNECT_IVL_MAX_MS) != 0 ||
        tb_zsock_set(s, ZMQ_CONNECT_TIMEOUT, CONNECT_TIMEOUT_MS) != 0 ||
        tb_zsock_set(s, ZMQ_IPV6, strchr(o->endpoint, '[') != NULL) != 0 ||
        zmq_setsockopt(s, ZMQ_CURVE_SERVERKEY, o->server_key, 32) != 0 ||
        zmq_setsockopt(s, ZMQ_CURVE_PUBLICKEY, o->curve_public, 32) != 0 ||
        zmq_setsockopt(s, ZMQ_CURVE_SECRETKEY, o->curve_secret, 32) != 0) {
        return tb_zsock_fail(err, "setting up the connection");
    }
    return TB_OK;
}

static tb_rc open_all(tb_dial *d, tb_err *err)
{
    d->context = zmq_ctx_new();
    if (d->context == NULL) {
        return tb_zsock_fail(err, "starting the network");
    }
    tb_rc rc = connect_socket(d->context, &d->options, &d->socket, err);
    if (rc != TB_OK) {
        return rc;
    }
    d->monitor =
        tb_zsock_monitor(d->context, d->socket, "dial", MONITOR_EVENTS);
    if (d->monitor == NULL || zmq_connect(d->socket, d->options.endpoint)) {
        return tb_zsock_fail(err, d->options.endpoint);
    }
    return TB_OK;
}

static void close_all(tb_dial *d)
{
    if (d->monitor != NULL) {
        (void)zmq_socket_monitor(d->socket, NULL, 0);
        (void)zmq_close(d->monitor);
    }
    if (d->socket != NULL) {
        int linger =
            tb_zsock_set(d->socket, ZMQ_LINGER, d->connected ? LINGER_MS : 0);
        (void)linger;
        (void)zmq_close(d->socket);
    }
    if (d->context != NULL) {
        (void)zmq_ctx_term(d->context);
    }
}

/* --- the thread --- */

static const char *why_lost(uint16_t event)
{
    switch (event) {
    case ZMQ_EVENT_HANDSHAKE_FAILED_AUTH:
        return "the coordinator does not know this client's key (not "
               "enrolled, or revoked)";
    case ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL:
    case ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL:
        return "the handshake failed: another key or another program answers "
               "there, or it refuses connections now";
    case ZMQ_EVENT_CONNECT_RETRIED:
        return "nobody answers there";
    default:
        return "the connection ended";
    }
}

/* The owner is told once, until the reason or the state changes. */
static void set_lost(tb_dial *d, uint16_t event)
{
    bool news = d->connected || d->told != event;
    if (!d->connected && event == ZMQ_EVENT_DISCONNECTED) {
        return; /* a handshake that failed says so by itself */
    }
    if (!d->connected && event == ZMQ_EVENT_CONNECT_RETRIED && d->told != 0) {
        return; /* follows every failure: the first reason says more */
    }
    d->connected = false;
    d->told = event;
    (void)pthread_mutex_lock(&d->lock);
    d->stats.connected = false;
    tb_outbox_clear(&d->out);
    (void)pthread_mutex_unlock(&d->lock);
    tb_inbound *in = news ? tb_inbox_event(d->inbox, TB_IN_LOST) : NULL;
    if (in != NULL) {
        (void)snprintf(in->why, sizeof in->why, "%s", why_lost(event));
    }
    tb_inbox_put(d->inbox, &in);
}

static void set_connected(tb_dial *d)
{
    d->connected = true;
    d->told = 0;
    (void)pthread_mutex_lock(&d->lock);
    d->stats.connected = true;
    d->stats.connects++;
    uint64_t connection = d->stats.connects;
    (void)pthread_mutex_unlock(&d->lock);
    tb_inbound *in = tb_inbox_event(d->inbox, TB_IN_CONNECTED);
    if (in != NULL) {
        in->connection = connection;
    }
    tb_inbox_put(d->inbox, &in);
}

static void read_monitor(tb_dial *d)
{
    tb_zsock_event e;
    while (tb_zsock_next_event(d->monitor, &e)) {
        if (e.kind == ZMQ_EVENT_HANDSHAKE_SUCCEEDED) {
            set_connected(d);
        } else {
            set_lost(d, e.kind);
        }
    }
}

static tb_rc read_messages(tb_dial *d, tb_err *err)
{
    for (int i = 0; i < BATCH && tb_inbox_has_room(d->inbox); i++) {
        zmq_msg_t frames[2];
        int n = tb_zsock_receive(d->socket, frames, 2);
        if (n <= 0) {
            return n == 0 ? TB_OK : tb_zsock_fail(err, "receiving");
        }
        size_t bytes =
            zmq_msg_size(&frames[0]) + (n > 1 ? zmq_msg_size(&frames[1]) : 0);
        tb_inbound *in = n <= 2 ? tb_inbox_event(d->inbox, TB_IN_MESSAGE)
                                : NULL; /* not a message of ours */
        if (in != NULL) {
            tb_inbox_fill(in, &frames[0], n > 1 ? &frames[1] : NULL);
            (void)pthread_mutex_lock(&d->lock);
            d->stats.messages_in++;
            d->stats.bytes_in += bytes;
            in->connection = d->stats.connects;
            (void)pthread_mutex_unlock(&d->lock);
        }
        tb_inbox_put(d->inbox, &in);
        tb_zsock_close_frames(frames, n, 2);
    }
    return TB_OK;
}

/* Sends what waits; true: some is left for when there is room. */
static bool send_messages(tb_dial *d)
{
    tb_sent sent;
    size_t bytes = 0;
    (void)pthread_mutex_lock(&d->lock);
    while ((sent = tb_outbox_send(&d->out, d->socket, &bytes)) == TB_SENT) {
        d->stats.messages_out++;
        d->stats.bytes_out += bytes;
    }
    (void)pthread_mutex_unlock(&d->lock);
    return sent == TB_SENT_LATER;
}

static tb_rc work(tb_dial *d, tb_actor *self, tb_err *err)
{
    tb_rc rc = TB_OK;
    int64_t stop_ms = INT64_MAX; /* what is queued may leave until then */
    bool left = false;
    while (rc == TB_OK) {
        if (tb_actor_stopping(self) && stop_ms == INT64_MAX) {
            stop_ms = tb_clock_ms() + LINGER_MS;
            left = send_messages(d);
        }
        if (stop_ms != INT64_MAX &&
            (!left || !d->connected || tb_clock_ms() >= stop_ms)) {
            break;
        }
        tb_inbox_room_clear(d->inbox);
        bool room = tb_inbox_has_room(d->inbox);
        short events = (short)((room ? ZMQ_POLLIN : 0) |
                               (left && d->connected ? ZMQ_POLLOUT : 0));
        zmq_pollitem_t items[] = {
            {.fd = tb_actor_fd(self), .events = ZMQ_POLLIN},
            {.fd = tb_inbox_room_fd(d->inbox), .events = ZMQ_POLLIN},
            {.socket = d->monitor, .events = ZMQ_POLLIN},
            {.socket = d->socket, .events = events},
        };
        (void)zmq_poll(items, 4, stop_ms != INT64_MAX ? 10 : IDLE_MS);
        tb_actor_clear(self);
        read_monitor(d);
        rc = read_messages(d, err);
        left = send_messages(d);
    }
    return rc;
}

static void run(tb_actor *self, void *arg)
{
    tb_dial *d = arg;
    tb_err why = {0};
    tb_inbound *last = tb_inbox_event(d->inbox, TB_IN_FAILED);
    tb_rc rc = last != NULL ? open_all(d, &why)
                            : tb_fail(&why, TB_E_NOMEM, "connection");
    d->options = (tb_dial_options){0};
    tb_actor_ready(self, rc, &why);
    if (rc == TB_OK) {
        rc = work(d, self, &why);
    }
    close_all(d);
    if (rc != TB_OK && last != NULL) {
        tb_log(TB_LOG_ERROR, "event=dial_failed reason=\"%s\"", why.text);
        (void)snprintf(last->why, sizeof last->why, "%.*s",
                       (int)sizeof last->why - 1, why.text);
        tb_inbox_put(d->inbox, &last);
    }
    tb_inbound_free(&last);
}

/* --- the owner's side --- */

static void destroy(tb_dial **dial)
{
    tb_dial *d = *dial;
    *dial = NULL;
    if (d != NULL) {
        tb_outbox_clear(&d->out);
        tb_inbox_free(&d->inbox);
        (void)pthread_mutex_destroy(&d->lock);
        tb_mem_free(d);
    }
}

tb_rc tb_dial_start(tb_dial **out, const tb_dial_options *options, tb_err *err)
{
    *out = NULL;
    tb_dial *d = tb_mem_array(1, sizeof *d);
    if (d == NULL) {
        return tb_fail(err, TB_E_NOMEM, "connection");
    }
    d->options = *options;
    (void)pthread_mutex_init(&d->lock, NULL);
    tb_rc rc = tb_inbox_new(&d->inbox, POOL_BYTES, err);
    if (rc == TB_OK) {
        rc = tb_actor_start(&d->actor, run, d, START_TIMEOUT_MS, err);
    }
    if (rc == TB_E_TIMEOUT) {
        return rc; /* the thread still uses it: better lost than freed */
    }
    if (rc == TB_OK) {
        *out = d;
        d = NULL;
    }
    destroy(&d);
    return rc;
}

tb_rc tb_dial_stop(tb_dial **dial, int timeout_ms, tb_err *err)
{
    tb_dial *d = *dial;
    if (d == NULL) {
        return TB_OK;
    }
    tb_rc rc = tb_actor_stop(&d->actor, timeout_ms, err);
    if (rc != TB_OK) {
        *dial = NULL; /* left to the thread */
        return rc;
    }
    destroy(dial);
    return TB_OK;
}

int tb_dial_fd(const tb_dial *dial)
{
    return tb_inbox_fd(dial->inbox);
}

void tb_dial_receive(tb_dial *dial, tb_inbound **out)
{
    *out = tb_inbox_get(dial->inbox);
}

tb_rc tb_dial_send(tb_dial *dial, const tb_outbound *message, tb_err *err)
{
    (void)pthread_mutex_lock(&dial->lock);
    tb_rc rc;
    if (!dial->stats.connected) {
        rc = tb_fail(err, TB_E_BUSY, "not connected to the coordinator now");
    } else if (dial->out.n >= TB_DIAL_QUEUE_MESSAGES) {
        rc = tb_fail(err, TB_E_FULL, "the coordinator reads too slowly");
    } else {
        rc = tb_outbox_put(&dial->out, message, err);
    }
    (void)pthread_mutex_unlock(&dial->lock);
    if (rc == TB_OK) {
        tb_actor_wake(dial->actor);
    }
    return rc;
}

void tb_dial_stats_get(tb_dial *dial, tb_dial_stats *out)
{
    (void)pthread_mutex_lock(&dial->lock);
    *out = dial->stats;
    (void)pthread_mutex_unlock(&dial->lock);
}

/* --- enrolment --- */

/* Waits for events on the socket; TIMEOUT says where nobody answered. */
static tb_rc wait_on(void *socket, short events, int64_t until_ms,
                     const char *endpoint, tb_err *err)
{
    zmq_pollitem_t item = {.socket = socket, .events = events};
    int64_t left = until_ms - tb_clock_ms();
    int n = left > 0 ? zmq_poll(&item, 1, (long)left) : 0;
    if (n < 0) {
        return tb_zsock_fail(err, endpoint);
    }
    return n > 0 ? TB_OK
                 : tb_fail(err, TB_E_TIMEOUT,
                           "%s: no answer; is the coordinator running, and "
                           "does it still have the key that the invite names?",
                           endpoint);
}

static tb_rc exchange(void *socket, const char *endpoint,
                      const tb_buf *envelope, tb_buf *reply, int timeout_ms,
                      tb_err *err)
{
    int64_t until = tb_clock_ms() + timeout_ms;
    zmq_msg_t frame;
    tb_rc rc = wait_on(socket, ZMQ_POLLOUT, until, endpoint, err);
    if (rc == TB_OK &&
        zmq_send(socket, envelope->data, envelope->len, ZMQ_DONTWAIT) < 0) {
        rc = tb_zsock_fail(err, endpoint);
    }
    if (rc == TB_OK) {
        rc = wait_on(socket, ZMQ_POLLIN, until, endpoint, err);
    }
    if (rc != TB_OK) {
        return rc;
    }
    int n = tb_zsock_receive(socket, &frame, 1);
    if (n == 1) {
        rc = tb_buf_put(reply, zmq_msg_data(&frame), zmq_msg_size(&frame), err);
    } else {
        rc = tb_fail(err, TB_E_MALFORMED, "%s: not an answer to an enrolment",
                     endpoint);
    }
    tb_zsock_close_frames(&frame, n, 1);
    return rc;
}

tb_rc tb_dial_enrol(const tb_dial_options *options, const tb_buf *envelope,
                    tb_buf *reply, int timeout_ms, tb_err *err)
{
    void *socket = NULL;
    void *context = zmq_ctx_new();
    if (context == NULL) {
        return tb_zsock_fail(err, "starting the network");
    }
    tb_rc rc = connect_socket(context, options, &socket, err);
    if (rc == TB_OK && zmq_connect(socket, options->endpoint) != 0) {
        rc = tb_zsock_fail(err, options->endpoint);
    }
    if (rc == TB_OK) {
        rc = exchange(socket, options->endpoint, envelope, reply, timeout_ms,
                      err);
    }
    if (socket != NULL) {
        (void)zmq_close(socket);
    }
    (void)zmq_ctx_term(context);
    return rc;
}
