#include "host/listener.h"

#include <errno.h>
#include <inttypes.h>
#include <malloc.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "crypto/guarded.h"
#include "host/zsock.h"

#define IO_THREADS        2
#define BACKLOG           4096
#define BATCH             64 /* messages read before others get a turn */
#define SWEEP_MS          20
#define SEND_AGAIN_MS     2  /* messages that found no room; */
#define SEND_MANY_MS      20 /* of many clients: each try looks at all */
#define MANY_CLIENTS      64
#define TRIM_KEEPS_BYTES  ((size_t)4 << 20)
#define IDLE_MS           1000
#define LINGER_MS         200 /* of half-sent messages at the stop */
#define ROUTING_BYTES     5 /* 0 | number u32be: libzmq's own, not the peer's */
#define ZERO_COPY_RECEIVE 10 /* ZMQ_ZERO_COPY_RECV, a draft for zmq.h */
#define ENFORCE_ZAP       93 /* ZMQ_ZAP_ENFORCE_DOMAIN, another */
#define MONITOR_EVENTS                                                         \
    (ZMQ_EVENT_LISTENING | ZMQ_EVENT_ACCEPTED | ZMQ_EVENT_DISCONNECTED)
#define CLEAR_MS 1000 /* one connection of a key in it is for free */
#define TELL_MS  60000

static const char *const domains[TB_DOORS] = {[TB_DOOR_MAIN] = "main",
                                              [TB_DOOR_ENROL] = "enrol",
                                              [TB_DOOR_MAIN_2] = "main-2",
                                              [TB_DOOR_ENROL_2] = "enrol-2"};

/* --- opening and closing --- */

/* The descriptor that a door listens on, which libzmq has just told; -1. */
static int listening_fd(void *monitor)
{
    tb_zsock_event e;
    while (tb_zsock_next_event(monitor, &e)) {
        if (e.kind == ZMQ_EVENT_LISTENING) {
            return e.value;
        }
    }
    return -1;
}

/* Nobody comes in before the gate knows the door. */
static bool bind_door(tb_listener *l, tb_door door, const char *endpoint)
{
    size_t len = sizeof l->bound[door];
    int fd = -1;
    tb_gate_hold();
    if (zmq_bind(l->router[door], endpoint) == 0) {
        fd = listening_fd(l->monitor[door]);
        errno = ENOTSUP; /* should that be the reason */
    }
    int code = errno;
    tb_gate_open(l->gate, fd);
    errno = code;
    return fd >= 0 && zmq_getsockopt(l->router[door], ZMQ_LAST_ENDPOINT,
                                     l->bound[door], &len) == 0;
}

static tb_rc open_door(tb_listener *l, tb_door door, const char *endpoint,
                       tb_err *err)
{
    size_t frame =
        tb_door_is_enrol(door) ? TB_ENROL_FRAME_BYTES : TB_PAYLOAD_BYTES_MAX;
    const char *domain = domains[door];
    void *s = tb_zsock_new(l->context, ZMQ_ROUTER, frame);
    l->router[door] = s;
    if (s == NULL || tb_zsock_set(s, ZMQ_BACKLOG, BACKLOG) != 0 ||
        tb_zsock_set(s, ZMQ_ROUTER_MANDATORY, 1) != 0 ||
        tb_zsock_set(s, ZMQ_ROUTER_HANDOVER, 0) != 0 ||
        tb_zsock_set(s, ZMQ_IPV6, strchr(endpoint, '[') != NULL) != 0 ||
        tb_zsock_set(s, ENFORCE_ZAP, 1) != 0 ||
        tb_zsock_set(s, ZMQ_CURVE_SERVER, 1) != 0 ||
        zmq_setsockopt(s, ZMQ_CURVE_SECRETKEY, l->order.curve_secret, 32) !=
            0 ||
        zmq_setsockopt(s, ZMQ_ZAP_DOMAIN, domain, strlen(domain)) != 0) {
        return tb_zsock_fail(err, "setting up a listener");
    }
    char name[32]; /* that of a door before may not be free yet */
    (void)snprintf(name, sizeof name, "%s.%u", domain, ++l->n_opened);
    l->monitor[door] = tb_zsock_monitor(l->context, s, name, MONITOR_EVENTS);
    if (l->monitor[door] == NULL) {
        return tb_zsock_fail(err, "watching a listener");
    }
    if (strncmp(endpoint, "tcp://", 6) != 0) {
        return tb_fail(err, TB_E_USAGE,
                       "listen: '%s' is not an endpoint like "
                       "tcp://0.0.0.0:7700",
                       endpoint);
    }
    return bind_door(l, door, endpoint) ? TB_OK : tb_zsock_fail(err, endpoint);
}

static void close_socket(void **socket)
{
    if (*socket != NULL) {
        (void)zmq_close(*socket);
        *socket = NULL;
    }
}

static void close_door(tb_listener *l, tb_door door)
{
    /* libzmq 4.3.4 aborts when a connection breaks while a socket that was
     * closed without linger has sent half a message (libzmq #3442). */
    int set = l->router[door] != NULL
                  ? tb_zsock_set(l->router[door], ZMQ_LINGER, LINGER_MS)
                  : 0;
    (void)set;
    close_socket(&l->router[door]);
    close_socket(&l->monitor[door]);
    l->bound[door][0] = '\0';
}

/* The pair that the order names; none of it stays open after a failure. */
static tb_rc open_pair(tb_listener *l, tb_err *err)
{
    const tb_pair_order *o = &l->order;
    tb_door first = (tb_door)(o->pair * TB_DOORS_OF_PAIR);
    tb_rc rc = TB_OK;
    for (int i = 0; i < TB_DOORS_OF_PAIR && rc == TB_OK; i++) {
        if (o->endpoints[i] != NULL) {
            rc = open_door(l, first + (tb_door)i, o->endpoints[i], err);
        }
    }
    for (int i = 0; i < TB_DOORS_OF_PAIR && rc != TB_OK; i++) {
        close_door(l, first + (tb_door)i);
    }
    return rc;
}

/* The one who says who may come in is there before any door opens. */
static tb_rc open_all(tb_listener *l, tb_err *err)
{
    tb_rc rc = tb_gate_new(&l->gate, l->max_connections, err);
    if (rc != TB_OK) {
        return rc;
    }
    tb_guarded_reuse();
    l->context = zmq_ctx_new();
    if (l->context == NULL ||
        zmq_ctx_set(l->context, ZMQ_IO_THREADS, IO_THREADS) != 0) {
        return tb_zsock_fail(err, "starting the network");
    }
    /* A receive buffer for each connection that holds no messages: 4 KB less. A
     * libzmq that cannot do that keeps them. */
    (void)!zmq_ctx_set(l->context, ZERO_COPY_RECEIVE, 0);
    rc = tb_zap_open(&l->zap, l->context, tb_clock_ms(), err);
    return rc == TB_OK ? open_pair(l, err) : rc;
}

/* Doors first; a context that is shut down lets nobody block any more. */
static void close_all(tb_listener *l)
{
    if (l->context != NULL) {
        (void)zmq_ctx_shutdown(l->context);
    }
    for (int door = 0; door < TB_DOORS; door++) {
        close_door(l, (tb_door)door);
    }
    tb_zap_close(&l->zap);
    if (l->context != NULL) {
        (void)zmq_ctx_term(l->context);
        l->context = NULL;
    }
    tb_watchdog_release(&l->dog);
    tb_gate_free(&l->gate);
}

/* --- who may come in --- */

/* A bucket of one minute's worth that fills evenly. */
static bool take_enrol_token(tb_listener *l)
{
    double full = l->enrols_per_minute;
    int64_t now = tb_clock_ms();
    l->enrol_tokens += (double)(now - l->enrol_filled_ms) * full / 60000.0;
    l->enrol_filled_ms = now;
    if (l->enrol_tokens > full) {
        l->enrol_tokens = full;
    }
    if (l->enrol_tokens < 1.0) {
        return false;
    }
    l->enrol_tokens -= 1.0;
    return true;
}

static tb_zap_verdict judge_stranger(tb_listener *l, const char *address)
{
    if (take_enrol_token(l)) {
        return TB_ZAP_ALLOW;
    }
    tb_gate_failed(l->gate, address);
    return TB_ZAP_LATER;
}

/* A key that comes again at once is let in, but not for free. */
static tb_zap_verdict judge_client(tb_listener *l, tb_peer *peer, int64_t now,
                                   const char *address)
{
    if (peer == NULL || now < peer->held_until_ms) {
        l->totals.denied += peer == NULL;
        tb_gate_failed(l->gate, address);
        return peer == NULL ? TB_ZAP_DENY : TB_ZAP_LATER;
    }
    if (peer->cleared_ms == 0 || now - peer->cleared_ms > CLEAR_MS) {
        peer->cleared_ms = now;
        tb_gate_known(l->gate, address);
    }
    return TB_ZAP_ALLOW;
}

static tb_zap_verdict judge(void *arg, const char *domain, const char *address,
                            const uint8_t key[static TB_CURVE_PUBLIC_BYTES])
{
    tb_listener *l = arg;
    if (strcmp(domain, domains[TB_DOOR_ENROL]) == 0 ||
        strcmp(domain, domains[TB_DOOR_ENROL_2]) == 0) {
        return judge_stranger(l, address);
    }
    (void)pthread_mutex_lock(&l->lock);
    tb_zap_verdict verdict = judge_client(l, tb_peers_by_key(&l->peers, key),
                                          tb_clock_ms(), address);
    (void)pthread_mutex_unlock(&l->lock);
    return verdict;
}

/* --- connections --- */

/* The client's connection is no more; the lock is held. */
static void set_gone(tb_listener *l, tb_peer *peer, const char *why)
{
    tb_inbound *event = tb_inbox_event(l->inbox, TB_IN_GONE);
    if (event != NULL) {
        event->client = peer->name;
        event->connection = peer->connection;
        (void)snprintf(event->why, sizeof event->why, "%s", why);
    }
    peer->connection = 0;
    peer->fd = -1;
    peer->stats.connected = false;
    l->n_connected--;
    tb_outbox_clear(&peer->out);
    tb_inbox_put(l->inbox, &event);
}

static void read_monitor(tb_listener *l, tb_door door)
{
    tb_zsock_event e;
    while (l->monitor[door] != NULL &&
           tb_zsock_next_event(l->monitor[door], &e)) {
        if (e.kind == ZMQ_EVENT_ACCEPTED) {
            tb_rc rc =
                tb_watchdog_accepted(&l->dog, e.value, door, tb_clock_ms());
            (void)rc; /* no memory: it was shut down */
        } else if (e.kind == ZMQ_EVENT_DISCONNECTED) {
            tb_link was = tb_watchdog_closed(&l->dog, e.value);
            (void)pthread_mutex_lock(&l->lock);
            if (was.peer != NULL && was.peer->connection == was.serial) {
                set_gone(l, was.peer, "the connection ended");
            }
            (void)pthread_mutex_unlock(&l->lock);
        }
    }
}

/* Whose connections were ended for an endless message. */
static void read_cuts(tb_listener *l)
{
    tb_gate_cut cut;
    while (tb_gate_next_cut(l->gate, &cut)) {
        const tb_link *was = tb_watchdog_was(&l->dog, cut.fd, cut.cookie);
        tb_peer *peer = was != NULL ? was->peer : NULL;
        tb_log(TB_LOG_WARN,
               "event=cut client=%s address=%s reason=credit"
               " taken_bytes=%" PRIu64 " delivered_bytes=%" PRIu64,
               peer != NULL ? peer->name.text : "", cut.address, cut.taken,
               cut.delivered);
        if (peer != NULL) {
            (void)pthread_mutex_lock(&l->lock);
            peer->held_until_ms = tb_clock_ms() + TB_LISTENER_HOLD_MS;
            (void)pthread_mutex_unlock(&l->lock);
        }
    }
}

static void read_monitors(tb_listener *l)
{
    for (int door = 0; door < TB_DOORS; door++) {
        read_monitor(l, (tb_door)door);
    }
}

/* --- messages --- */

/* A received message before it is believed. */
typedef struct arrival {
    tb_door door;
    zmq_msg_t frames[3]; /* routing id, envelope, payload */
    int n;               /* frames that it had */
    int fd;
    uint32_t routing;
    uint8_t key[TB_CURVE_PUBLIC_BYTES];
    tb_link *link;
} arrival;

/* Reads who sent it. False: it breaks a rule. */
static bool identify(arrival *a)
{
    if (a->n < 2) {
        return false;
    }
    const uint8_t *id = zmq_msg_data(&a->frames[0]);
    const char *user = zmq_msg_gets(&a->frames[1], "User-Id");
    a->fd = zmq_msg_get(&a->frames[1], ZMQ_SRCFD);
    /* No User-Id: nobody has judged this connection. */
    if (user == NULL || strlen(user) != TB_ZAP_KEY_TEXT_BYTES - 1 ||
        zmq_z85_decode(a->key, user) == NULL ||
        zmq_msg_size(&a->frames[0]) != ROUTING_BYTES || id[0] != 0) {
        return false;
    }
    a->routing = (uint32_t)id[1] << 24 | (uint32_t)id[2] << 16 |
                 (uint32_t)id[3] << 8 | id[4];
    int n_max = tb_door_is_enrol(a->door) ? 2 : 3;
    return a->n <= n_max &&
           zmq_msg_size(&a->frames[1]) <= TB_ENVELOPE_BYTES_MAX &&
           (a->n < 3 || zmq_msg_size(&a->frames[2]) <= TB_PAYLOAD_BYTES_MAX);
}

/* Routing numbers rise, and wrap. */
static bool is_newer(uint32_t a, uint32_t b)
{
    return (int32_t)(a - b) > 0;
}

/* Ties the message to its open connection. False: the connection is over, or
 * its descriptor has a newer one. */
static bool find_link(tb_listener *l, arrival *a)
{
    a->link = tb_watchdog_link(&l->dog, a->fd);
    if (a->link == NULL) {
        read_monitors(l); /* its beginning may wait there */
        tb_rc rc = tb_watchdog_accepted(&l->dog, a->fd, a->door, tb_clock_ms());
        (void)rc; /* then there is no link */
        a->link = tb_watchdog_link(&l->dog, a->fd);
    }
    tb_link *link = a->link;
    if (link == NULL || (link->routed && is_newer(link->routing, a->routing))) {
        a->link = NULL;
        return false;
    }
    if (link->routed && link->routing != a->routing) {
        /* A message of the last connection had come late and taken it. */
        (void)pthread_mutex_lock(&l->lock);
        if (link->peer != NULL && link->peer->connection == link->serial) {
            set_gone(l, link->peer, "the connection ended");
        }
        (void)pthread_mutex_unlock(&l->lock);
        link->peer = NULL;
        link->serial = ++l->dog.serial;
    }
    link->routed = true;
    link->routing = a->routing;
    for (int i = 1; i < a->n && i < 3; i++) {
        tb_gate_delivered(l->gate, a->fd, link->cookie,
                          zmq_msg_size(&a->frames[i]),
                          !tb_door_is_enrol(a->door));
    }
    return true;
}

/* Whether the message came on a later connection than the client's own. Numbers
 * of one door rise; connections of two doors are told apart by when they were
 * made. */
static bool is_later(const tb_peer *peer, const arrival *a)
{
    if (!peer->routed) {
        return true;
    }
    return peer->door == a->door ? is_newer(a->routing, peer->routing)
                                 : a->link->serial > peer->connection;
}

/* Makes the message's connection its client's own, or says that a newer one
 * is. The lock is held. */
static bool adopt(tb_listener *l, tb_peer *peer, const arrival *a)
{
    if (peer->connection == a->link->serial) {
        return true;
    }
    if (!is_later(peer, a)) {
        return false;
    }
    if (peer->connection != 0) {
        tb_watchdog_shut(&l->dog, peer->fd);
        set_gone(l, peer, "the client has connected again");
    }
    peer->routed = true;
    peer->door = a->door;
    peer->routing = a->routing;
    peer->connection = a->link->serial;
    peer->fd = a->fd;
    peer->stats.connected = true;
    l->n_connected++;
    a->link->peer = peer;
    return true;
}

/* The client that sent it, or NULL: not allowed, or not on its newest
 * connection. Counts it. */
static bool claim(tb_listener *l, const arrival *a, tb_name *client)
{
    size_t bytes = zmq_msg_size(&a->frames[1]) +
                   (a->n > 2 ? zmq_msg_size(&a->frames[2]) : 0);
    (void)pthread_mutex_lock(&l->lock);
    tb_peer *peer =
        tb_door_is_enrol(a->door) ? NULL : tb_peers_by_key(&l->peers, a->key);
    bool ok = tb_door_is_enrol(a->door) ||
              (peer != NULL && !peer->cut && adopt(l, peer, a));
    if (ok) {
        l->totals.messages_in++;
        l->totals.bytes_in += bytes;
    }
    if (ok && peer != NULL) {
        peer->stats.messages_in++;
        peer->stats.bytes_in += bytes;
        *client = peer->name;
    }
    (void)pthread_mutex_unlock(&l->lock);
    return ok;
}

static void deliver(tb_listener *l, arrival *a, const tb_name *client)
{
    tb_inbound *event = tb_inbox_event(
        l->inbox, tb_door_is_enrol(a->door) ? TB_IN_ENROL : TB_IN_MESSAGE);
    if (event == NULL) {
        tb_watchdog_shut(&l->dog, a->fd); /* the peer will try again */
        return;
    }
    event->client = *client;
    event->connection = a->link->serial;
    memcpy(event->curve_key, a->key, sizeof a->key);
    tb_inbox_fill(event, &a->frames[1], a->n > 2 ? &a->frames[2] : NULL);
    tb_inbox_put(l->inbox, &event);
}

/* broken: it broke a rule, and the client waits before it is let in again. */
static void refuse(tb_listener *l, const arrival *a, bool broken)
{
    (void)pthread_mutex_lock(&l->lock);
    l->totals.dropped++;
    tb_peer *peer = broken ? tb_peers_by_key(&l->peers, a->key) : NULL;
    if (peer != NULL) {
        peer->held_until_ms = tb_clock_ms() + TB_LISTENER_HOLD_MS;
    }
    (void)pthread_mutex_unlock(&l->lock);
    if (a->fd >= 0) {
        tb_watchdog_shut(&l->dog, a->fd);
    }
}

/* Reads some messages of one door. Errors: the socket is dead. */
static tb_rc read_door(tb_listener *l, tb_door door, tb_err *err)
{
    for (int i = 0; i < BATCH && tb_inbox_has_room(l->inbox); i++) {
        arrival a = {.door = door, .fd = -1};
        tb_name client = {{0}};
        a.n = tb_zsock_receive(l->router[door], a.frames, 3);
        if (a.n == 0) {
            break;
        }
        if (a.n < 0) {
            return tb_zsock_fail(err, "receiving");
        }
        if (!identify(&a)) {
            refuse(l, &a, true);
        } else if (find_link(l, &a)) {
            if (claim(l, &a, &client)) {
                deliver(l, &a, &client);
            } else {
                refuse(l, &a, false);
            }
        }
        tb_zsock_close_frames(a.frames, a.n, 3);
    }
    return TB_OK;
}

/* --- sending --- */

static void routing_bytes(uint8_t out[static ROUTING_BYTES], uint32_t routing)
{
    out[0] = 0;
    for (int i = 1; i < ROUTING_BYTES; i++) {
        out[i] = (uint8_t)(routing >> (32 - 8 * i));
    }
}

/* Sends what waits for one client, as far as there is room. True: some is left.
 * The lock is held. */
static bool send_to(tb_listener *l, tb_peer *peer)
{
    uint8_t routing[ROUTING_BYTES];
    size_t bytes = 0;
    tb_sent sent = TB_SENT_GONE;
    if (peer->cut) {
        peer->cut = false;
        tb_watchdog_shut(&l->dog, peer->fd);
        l->dog.n_cut++;
        tb_outbox_clear(&peer->out);
        return false;
    }
    routing_bytes(routing, peer->routing);
    void *router = l->router[peer->door];
    while (router != NULL &&
           (sent = tb_outbox_send(&peer->out, router, routing, sizeof routing,
                                  &bytes)) == TB_SENT) {
        peer->stats.messages_out++;
        peer->stats.bytes_out += bytes;
        l->totals.messages_out++;
        l->totals.bytes_out += bytes;
    }
    if (sent == TB_SENT_GONE) {
        tb_outbox_clear(&peer->out); /* the monitor will say it too */
    }
    return sent == TB_SENT_LATER;
}

static bool send_reply(tb_listener *l, tb_enrol_reply *reply)
{
    uint8_t routing[ROUTING_BYTES];
    size_t bytes = 0;
    tb_sent sent = TB_SENT_GONE;
    const tb_link *link = tb_watchdog_find(&l->dog, reply->connection);
    if (link != NULL) {
        routing_bytes(routing, link->routing);
        sent = tb_outbox_send(&reply->out, l->router[link->door], routing,
                              sizeof routing, &bytes);
    }
    if (sent == TB_SENT_LATER) {
        return true;
    }
    tb_outbox_clear(&reply->out);
    reply->connection = 0;
    return false;
}

static uint64_t turned_away(const tb_gate_counts *c)
{
    return c->refused + c->evicted;
}

static void send_all(tb_listener *l)
{
    l->n_sending = 0;
    (void)pthread_mutex_lock(&l->lock);
    tb_peer *peer = l->peers.waiting;
    l->peers.waiting = NULL;
    l->woken = false;
    while (peer != NULL) {
        tb_peer *next = peer->next_waiting;
        peer->waiting = false;
        if (send_to(l, peer)) {
            tb_peers_wait(&l->peers, peer);
            l->n_sending++;
        }
        peer = next;
    }
    for (size_t i = 0; i < TB_LISTENER_REPLIES; i++) {
        if (l->replies[i].connection != 0 && send_reply(l, &l->replies[i])) {
            l->n_sending++;
        }
    }
    tb_gate_counts at_gate;
    tb_gate_expect(l->gate, l->peers.n - l->n_connected);
    tb_gate_counts_get(l->gate, &at_gate);
    l->totals.connections = at_gate.open;
    l->totals.cut = l->dog.n_cut + at_gate.cut + turned_away(&at_gate);
    (void)pthread_mutex_unlock(&l->lock);
}

/* Tells the operator, now and then, that strangers are turned away. */
static void tell_siege(tb_listener *l, int64_t now)
{
    tb_gate_counts c;
    tb_gate_counts_get(l->gate, &c);
    uint64_t away = turned_away(&c);
    if (away != l->turned_away &&
        (l->told_away_ms == 0 || now - l->told_away_ms >= TELL_MS)) {
        tb_log(TB_LOG_WARN,
               "event=turned_away connections=%" PRIu64 " open=%zu"
               " strangers=%zu",
               away - l->turned_away, c.open, c.strangers);
        l->turned_away = away;
        l->told_away_ms = now;
    }
}

/* --- what the owner asks --- */

/* All connections of a door that was closed are over. */
static void forget_links(tb_listener *l, tb_door door)
{
    (void)pthread_mutex_lock(&l->lock);
    for (size_t fd = 0; fd < l->dog.cap; fd++) {
        const tb_link *link = tb_watchdog_link(&l->dog, (int)fd);
        if (link != NULL && link->door == door) {
            tb_link was = tb_watchdog_closed(&l->dog, (int)fd);
            if (was.peer != NULL && was.peer->connection == was.serial) {
                set_gone(l, was.peer, "this door was closed");
            }
        }
    }
    (void)pthread_mutex_unlock(&l->lock);
}

/* The owner waits for it. */
static void obey(tb_listener *l)
{
    (void)pthread_mutex_lock(&l->lock);
    tb_pair_order order = l->order;
    (void)pthread_mutex_unlock(&l->lock);
    if (!order.open && !order.close) {
        return;
    }
    tb_rc rc = TB_OK;
    if (order.open) {
        rc = open_pair(l, &order.err);
    } else {
        for (size_t i = 0; i < TB_DOORS_OF_PAIR; i++) {
            tb_door door = (tb_door)(order.pair * TB_DOORS_OF_PAIR + i);
            read_monitor(l, door);
            close_door(l, door);
            forget_links(l, door);
        }
    }
    (void)pthread_mutex_lock(&l->lock);
    l->order = (tb_pair_order){.rc = rc, .err = order.err};
    (void)pthread_cond_signal(&l->obeyed);
    (void)pthread_mutex_unlock(&l->lock);
}

/* --- the loop --- */

static void wait_for_work(tb_listener *l, tb_actor *self)
{
    zmq_pollitem_t items[4 + 2 * TB_DOORS] = {
        {.fd = tb_actor_fd(self), .events = ZMQ_POLLIN},
        {.fd = tb_inbox_room_fd(l->inbox), .events = ZMQ_POLLIN},
        {.socket = l->zap.socket, .events = ZMQ_POLLIN},
    };
    int n = 3;
    if (l->zap.old != NULL) {
        items[n++] =
            (zmq_pollitem_t){.socket = l->zap.old, .events = ZMQ_POLLIN};
    }
    tb_inbox_room_clear(l->inbox);
    bool room = tb_inbox_has_room(l->inbox);
    for (int door = 0; door < TB_DOORS; door++) {
        if (l->router[door] != NULL) {
            items[n++] = (zmq_pollitem_t){.socket = l->monitor[door],
                                          .events = ZMQ_POLLIN};
        }
        if (l->router[door] != NULL && room) {
            items[n++] = (zmq_pollitem_t){.socket = l->router[door],
                                          .events = ZMQ_POLLIN};
        }
    }
    long timeout = l->n_sending > MANY_CLIENTS ? SEND_MANY_MS
                   : l->n_sending > 0          ? SEND_AGAIN_MS
                   : l->dog.n_open > 0         ? SWEEP_MS
                                               : IDLE_MS;
    (void)zmq_poll(items, n, timeout);
    tb_actor_clear(self);
}

static tb_rc work(tb_listener *l, tb_actor *self, tb_err *err)
{
    int64_t swept_ms = 0;
    tb_rc rc = TB_OK;
    while (rc == TB_OK && !tb_actor_stopping(self)) {
        wait_for_work(l, self);
        obey(l);
        rc = tb_zap_answer(&l->zap, judge, l, err);
        read_cuts(l);
        read_monitors(l);
        for (int door = 0; door < TB_DOORS && rc == TB_OK; door++) {
            if (l->router[door] != NULL) {
                rc = read_door(l, (tb_door)door, err);
            }
        }
        send_all(l);
        int64_t now = tb_clock_ms();
        if (rc == TB_OK) {
            rc = tb_zap_turn(&l->zap, now, err);
        }
        if (now - swept_ms >= SWEEP_MS) {
            if (tb_watchdog_sweep(&l->dog, now)) {
                /* Pages that a burst of messages left between what stays. */
                (void)malloc_trim(TRIM_KEEPS_BYTES);
            }
            tell_siege(l, now);
            swept_ms = now;
        }
    }
    return rc;
}

void tb_listener_run(tb_actor *self, void *arg)
{
    tb_listener *l = arg;
    tb_err why = {0};
    /* Made now, so that the end can be told even without memory. */
    tb_inbound *last = tb_inbox_event(l->inbox, TB_IN_FAILED);
    l->enrol_tokens = l->enrols_per_minute;
    l->enrol_filled_ms = tb_clock_ms();
    tb_rc rc = last != NULL ? open_all(l, &why)
                            : tb_fail(&why, TB_E_NOMEM, "listener");
    l->order = (tb_pair_order){.rc = rc}; /* its pointers were the caller's */
    tb_actor_ready(self, rc, &why);
    if (rc == TB_OK) {
        rc = work(l, self, &why);
    }
    close_all(l);
    if (rc != TB_OK && last != NULL) {
        tb_log(TB_LOG_ERROR, "event=listener_failed reason=\"%s\"", why.text);
        (void)snprintf(last->why, sizeof last->why, "%.*s",
                       (int)sizeof last->why - 1, why.text);
        tb_inbox_put(l->inbox, &last);
    }
    tb_inbound_free(&last);
}
