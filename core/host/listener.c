/* The life of the thread: doors open, its loop turns until it is asked to stop,
 * all ends. A turn of the loop: wait; note what epoll says of each connection;
 * accept; read some of each; send; sweep now and then; free what has ended.
 * epoll is edge-triggered for connections: `readable` and `writable` stay set
 * until a call says otherwise. */
#include "host/listener.h"

#include <errno.h>
#include <inttypes.h>
#include <malloc.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "host/listener_priv.h"

#define EVENTS           256
#define HANDSHAKE_MS     5000
#define ENROL_MS         10000
#define SWEEP_MS         50 /* while somebody could be late; */
#define IDLE_MS          1000
#define LINGER_MS        200 /* of what is queued at the stop */
#define TELL_MS          60000
#define TOLD_CUTS        10 /* in a second */
#define TRIM_EACH_BYTES  ((uint64_t)8 << 20)
#define TRIM_KEEPS_BYTES ((size_t)4 << 20)

/* --- the end of connections ---------------------------------------------- */

void tb_listener_gone(tb_listener *l, tb_peer *peer, const char *why)
{
    tb_inbound *event = tb_inbox_event(l->inbox, TB_IN_GONE);
    if (event != NULL) {
        event->client = peer->name;
        event->connection = peer->connection;
        (void)snprintf(event->why, sizeof event->why, "%s", why);
    }
    peer->connection = 0;
    peer->own = NULL;
    peer->stats.connected = false;
    l->n_connected--;
    tb_outbox_clear(&peer->out);
    tb_inbox_put(l->inbox, &event);
}

void tb_listener_end(tb_listener *l, tb_link *link, const char *why)
{
    tb_peer *peer = link->peer;
    if (link->fd < 0) {
        return;
    }
    tb_listener_uncount(l, link);
    tb_listener_unsend(l, link);
    tb_link_close(link);
    tb_chain_add(&l->ended, TB_CHAIN_ALL, link);
    if (peer != NULL) {
        tb_peers_remove_silent(peer, link);
    }
    (void)pthread_mutex_lock(&l->lock);
    if (peer != NULL && peer->own == link) {
        tb_listener_gone(l, peer, why);
    }
    (void)pthread_mutex_unlock(&l->lock);
}

/* Tells the operator, but not of each in a flood. */
static void tell_cut(tb_listener *l, const tb_link *link, const char *why)
{
    char address[TB_DOOR_ADDRESS_BYTES];
    if (l->now_ms - l->told_cuts_ms >= 1000) {
        l->told_cuts_ms = l->now_ms;
        l->told_cuts = 0;
    }
    if (link->peer != NULL && l->told_cuts++ < TOLD_CUTS) {
        tb_door_peer_address(link->fd, address);
        tb_log(TB_LOG_WARN, "event=cut client=%s address=%s reason=\"%s\"",
               link->peer->name.text, address, why);
    }
}

void tb_listener_cut(tb_listener *l, tb_link *link, const char *why)
{
    if (link->fd >= 0) {
        tell_cut(l, link, why);
        l->n_cut++;
        tb_listener_end(l, link, why);
    }
}

void tb_listener_cut_peer(tb_listener *l, tb_peer *peer)
{
    (void)pthread_mutex_lock(&l->lock);
    peer->cut = false;
    (void)pthread_mutex_unlock(&l->lock);
    if (peer->own != NULL) {
        l->n_cut++;
        tb_listener_end(l, peer->own, "the connection was ended here");
    }
    while (peer->silent[0] != NULL) {
        l->n_cut++;
        tb_listener_end(l, peer->silent[0], "");
    }
}

static void free_ended(tb_listener *l)
{
    tb_link *link;
    while ((link = l->ended.first) != NULL) {
        tb_chain_remove(TB_CHAIN_ALL, link);
        tb_link_free(&link);
    }
}

/* --- doors --------------------------------------------------------------- */

static void close_door(tb_listener *l, tb_door *door)
{
    for (tb_link *link = l->all.first, *next; link != NULL; link = next) {
        next = link->in[TB_CHAIN_ALL].after;
        if (&l->doors[link->at] == door) {
            tb_listener_end(l, link, "this door was closed");
        }
    }
    tb_door_close(door);
}

static tb_rc open_door(tb_listener *l, tb_door_at at, const char *endpoint,
                       tb_err *err)
{
    tb_door *door = &l->doors[at];
    tb_rc rc = tb_door_open(door, at % TB_DOORS_OF_PAIR != 0, endpoint,
                            l->order.curve_secret, err);
    if (rc == TB_OK &&
        !tb_listener_watch(l, door->fd, l->resting_ms == 0 ? EPOLLIN : 0,
                           door)) {
        rc = tb_fail_errno(err, errno, "watching a door");
    }
    if (rc == TB_OK && l->sieve.n_code > 0) {
        tb_listener_sieve_door(l, door);
    }
    return rc;
}

/* The pair that the order names; none of it stays open after a failure. */
static tb_rc open_pair(tb_listener *l, tb_err *err)
{
    const tb_pair_order *o = &l->order;
    size_t first = o->pair * TB_DOORS_OF_PAIR;
    tb_rc rc = TB_OK;
    for (size_t i = 0; i < TB_DOORS_OF_PAIR && rc == TB_OK; i++) {
        if (o->endpoints[i] != NULL) {
            rc = open_door(l, (tb_door_at)(first + i), o->endpoints[i], err);
        }
    }
    for (size_t i = 0; i < TB_DOORS_OF_PAIR && rc != TB_OK; i++) {
        close_door(l, &l->doors[first + i]);
    }
    return rc;
}

/* Does what the owner asks, who waits for it. */
static void obey(tb_listener *l)
{
    (void)pthread_mutex_lock(&l->lock);
    tb_pair_order order = l->order;
    (void)pthread_mutex_unlock(&l->lock);
    if (!tb_pair_order_stands(&order)) {
        return;
    }
    tb_rc rc = TB_OK;
    if (order.open) {
        rc = open_pair(l, &order.err);
    }
    for (size_t i = 0; i < TB_DOORS_OF_PAIR && order.close; i++) {
        close_door(l, &l->doors[order.pair * TB_DOORS_OF_PAIR + i]);
    }
    if (order.let_in) {
        tb_listener_rest_over(l);
    }
    (void)pthread_mutex_lock(&l->lock);
    l->order = (tb_pair_order){.rc = rc, .err = order.err};
    (void)pthread_cond_signal(&l->obeyed);
    (void)pthread_mutex_unlock(&l->lock);
}

/* --- now and then -------------------------------------------------------- */

static void end_late_ones(tb_listener *l)
{
    for (tb_link *link = l->strangers.first, *next; link != NULL; link = next) {
        int64_t age = l->now_ms - link->since_ms;
        next = link->in[TB_CHAIN_STANDING].after;
        if (age < HANDSHAKE_MS) {
            return; /* all behind it are younger */
        }
        if (link->serial == 0) {
            tb_listener_bad_handshake(l, link);
        } else if (age >= ENROL_MS) {
            l->n_cut++;
            tb_listener_end(l, link, "its enrolment takes too long");
        }
    }
}

/* Tells the operator that strangers are turned away. */
static void tell_siege(tb_listener *l)
{
    if (l->n_turned_away != l->told_away &&
        (l->told_away_ms == 0 || l->now_ms - l->told_away_ms >= TELL_MS)) {
        tb_log(TB_LOG_WARN,
               "event=turned_away connections=%" PRIu64 " open=%zu"
               " strangers=%zu",
               l->n_turned_away - l->told_away, l->all.n, l->strangers.n);
        l->told_away = l->n_turned_away;
        l->told_away_ms = l->now_ms;
    }
}

/* Pages that a burst of messages left between what stays. */
static void give_memory_back(tb_listener *l)
{
    if (l->totals.bytes_in - l->trimmed_bytes >= TRIM_EACH_BYTES) {
        l->trimmed_bytes = l->totals.bytes_in;
        (void)malloc_trim(TRIM_KEEPS_BYTES);
    }
}

static void sweep(tb_listener *l)
{
    if (l->resting_ms != 0 && l->now_ms >= l->resting_ms) {
        tb_listener_rest_over(l);
    }
    if (l->now_ms - l->swept_ms >= SWEEP_MS) {
        l->swept_ms = l->now_ms;
        end_late_ones(l);
        tb_listener_end_stalled(l);
        tb_listener_sieve(l);
        tell_siege(l);
        give_memory_back(l);
    }
}

/* --- the loop ------------------------------------------------------------ */

static void take_event(tb_listener *l, const struct epoll_event *e)
{
    tb_link *link = e->data.ptr;
    if (link->fd < 0) {
        return; /* it ended in this very turn */
    }
    link->over =
        link->over || (e->events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0;
    if ((e->events & EPOLLOUT) != 0) {
        tb_listener_writable(l, link);
    }
    if (link->fd >= 0 && ((e->events & EPOLLIN) != 0 || link->over)) {
        tb_listener_readable(l, link);
    }
}

static bool is_door(const tb_listener *l, const void *what)
{
    const tb_door *door = what;
    return door >= l->doors && door < l->doors + TB_DOORS;
}

/* Waits, and takes in what there is to say. Errors: IO. */
static tb_rc wait_for_work(tb_listener *l, tb_actor *self, int timeout,
                           tb_err *err)
{
    struct epoll_event events[EVENTS];
    int n = epoll_wait(l->epoll, events, EVENTS, timeout);
    if (n < 0 && errno != EINTR) {
        return tb_fail_errno(err, errno, "waiting for the network");
    }
    l->now_ms = tb_clock_ms();
    obey(l);
    for (int i = 0; i < n; i++) {
        void *what = events[i].data.ptr;
        if (what == self) {
            tb_actor_clear(self);
        } else if (what == l->inbox) {
            tb_inbox_room_clear(l->inbox);
        } else if (is_door(l, what)) {
            tb_listener_accept(l, what);
        } else {
            take_event(l, &events[i]);
        }
    }
    return TB_OK;
}

static int timeout_of(const tb_listener *l, bool more)
{
    return more || l->send_again ? 0
           : l->resting_ms != 0 || l->strangers.n > 0 || l->held_back.n > 0 ||
                   l->sieve.n_code > 0
               ? SWEEP_MS
               : IDLE_MS;
}

static tb_rc work(tb_listener *l, tb_actor *self, tb_err *err)
{
    bool more = false;
    tb_rc rc = TB_OK;
    while (rc == TB_OK && !tb_actor_stopping(self)) {
        rc = wait_for_work(l, self, timeout_of(l, more), err);
        more = tb_listener_read(l);
        tb_listener_send(l);
        sweep(l);
        free_ended(l);
    }
    return rc;
}

/* What is queued may leave. */
static void linger(tb_listener *l, tb_actor *self)
{
    int64_t until = l->now_ms + LINGER_MS;
    tb_rc rc = TB_OK;
    tb_listener_send(l);
    while (rc == TB_OK && (l->n_sending > 0 || l->send_again) &&
           l->now_ms < until) {
        rc = wait_for_work(l, self,
                           l->send_again ? 0 : (int)(until - l->now_ms), NULL);
        tb_listener_send(l);
    }
}

/* --- begin and end ------------------------------------------------------- */

static tb_rc prepare(tb_listener *l, tb_actor *self, tb_err *err)
{
    l->now_ms = tb_clock_ms();
    l->enrol_tokens = l->enrols_per_minute;
    l->enrol_filled_ms = l->now_ms;
    if (getrandom(&l->sources.seed, sizeof l->sources.seed, 0) < 0) {
        l->sources.seed = (uint64_t)tb_clock_ns();
    }
    l->received = tb_mem_array(TB_LISTENER_READ_BYTES, 1);
    l->sealed = tb_mem_array(tb_listener_sealed_bytes(), 1);
    if (l->received == NULL || l->sealed == NULL) {
        return tb_fail(err, TB_E_NOMEM, "listener");
    }
    l->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (l->epoll < 0 ||
        !tb_listener_watch(l, tb_actor_fd(self), EPOLLIN, self) ||
        !tb_listener_watch(l, tb_inbox_room_fd(l->inbox), EPOLLIN, l->inbox)) {
        return tb_fail_errno(err, errno, "starting the network");
    }
    return open_pair(l, err);
}

static void close_all(tb_listener *l)
{
    for (size_t i = 0; i < TB_DOORS; i++) {
        close_door(l, &l->doors[i]);
    }
    free_ended(l);
    if (l->epoll >= 0) {
        (void)close(l->epoll);
    }
    tb_mem_free(l->received);
    tb_mem_free(l->sealed);
}

void tb_listener_run(tb_actor *self, void *arg)
{
    tb_listener *l = arg;
    tb_err why = {0};
    /* Made now, so that the end can be told even without memory. */
    tb_inbound *last = tb_inbox_event(l->inbox, TB_IN_FAILED);
    l->epoll = -1;
    tb_rc rc = last != NULL ? prepare(l, self, &why)
                            : tb_fail(&why, TB_E_NOMEM, "listener");
    l->order = (tb_pair_order){.rc = rc}; /* its pointers were the caller's */
    tb_actor_ready(self, rc, &why);
    if (rc == TB_OK) {
        rc = work(l, self, &why);
    }
    if (rc == TB_OK) {
        linger(l, self);
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
