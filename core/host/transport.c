#include "host/transport.h"

#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/mem.h"
#include "host/listener.h"

#define START_TIMEOUT_MS 10000
#define ENROLS_DEFAULT   60

/* A message under way fits in any case. */
#define HALF_BYTES_LEAST                                                       \
    ((size_t)2 * (TB_ENVELOPE_BYTES_MAX + TB_PAYLOAD_BYTES_MAX))

struct tb_transport {
    tb_actor *actor;
    tb_descriptors descriptors;
    tb_listener l;
};

static void destroy(tb_transport **transport)
{
    tb_transport *t = *transport;
    *transport = NULL;
    if (t == NULL) {
        return;
    }
    for (size_t i = 0; i < TB_LISTENER_REPLIES; i++) {
        tb_outbox_clear(&t->l.replies[i].out);
    }
    tb_peers_release(&t->l.peers);
    tb_inbox_free(&t->l.inbox);
    (void)pthread_cond_destroy(&t->l.obeyed);
    (void)pthread_mutex_destroy(&t->l.lock);
    tb_mem_free(t);
}

static uint32_t or_default(uint32_t value, uint32_t otherwise)
{
    return value != 0 ? value : otherwise;
}

static tb_pair_order order_of(size_t pair, const tb_transport_options *options)
{
    return (tb_pair_order){
        .open = true,
        .pair = pair,
        .endpoints = {options->endpoint, options->enrol_endpoint},
        .curve_secret = options->curve_secret};
}

tb_rc tb_transport_start(tb_transport **out,
                         const tb_transport_options *options, tb_err *err)
{
    *out = NULL;
    size_t pool =
        options->pool_bytes != 0 ? options->pool_bytes : TB_INGEST_POOL_BYTES;
    tb_transport *t = tb_mem_array(1, sizeof *t);
    if (t == NULL) {
        return tb_fail(err, TB_E_NOMEM, "transport");
    }
    (void)pthread_mutex_init(&t->l.lock, NULL);
    pthread_condattr_t attr; /* a clock that is set must not end a wait */
    (void)pthread_condattr_init(&attr);
    (void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&t->l.obeyed, &attr);
    (void)pthread_condattr_destroy(&attr);
    t->l.order = order_of(0, options);
    t->l.enrols_per_minute =
        or_default(options->enrols_per_minute, ENROLS_DEFAULT);
    t->l.resting_ms = options->shut ? INT64_MAX : 0;
    tb_rc rc =
        tb_descriptors_prepare(&t->descriptors, options->max_connections, err);
    t->l.max_connections = t->descriptors.connections;
    t->l.half_bytes_max = pool > HALF_BYTES_LEAST ? pool : HALF_BYTES_LEAST;
    if (rc == TB_OK) {
        rc = tb_inbox_new(&t->l.inbox, pool, err);
    }
    if (rc == TB_OK) {
        rc = tb_actor_start(&t->actor, tb_listener_run, &t->l, START_TIMEOUT_MS,
                            err);
    }
    if (rc == TB_E_TIMEOUT) {
        return rc; /* the thread still uses it: better lost than freed */
    }
    if (rc == TB_OK) {
        *out = t;
        t = NULL;
    }
    destroy(&t);
    return rc;
}

tb_rc tb_transport_stop(tb_transport **transport, int timeout_ms, tb_err *err)
{
    tb_transport *t = *transport;
    if (t == NULL) {
        return TB_OK;
    }
    tb_rc rc = tb_actor_stop(&t->actor, timeout_ms, err);
    if (rc != TB_OK) {
        *transport = NULL; /* left to the thread */
        return rc;
    }
    destroy(transport);
    return TB_OK;
}

static void lock(tb_transport *t)
{
    (void)pthread_mutex_lock(&t->l.lock);
}

static void unlock(tb_transport *t)
{
    (void)pthread_mutex_unlock(&t->l.lock);
}

const char *tb_transport_endpoint(const tb_transport *t)
{
    return t->l.doors[TB_DOOR_MAIN].endpoint;
}

const char *tb_transport_enrol_endpoint(const tb_transport *t)
{
    return t->l.doors[TB_DOOR_ENROL].endpoint;
}

const tb_descriptors *tb_transport_descriptors(const tb_transport *t)
{
    return &t->descriptors;
}

const char *tb_transport_pair_endpoint(const tb_transport *t, size_t pair)
{
    return t->l.doors[pair * TB_DOORS_OF_PAIR].endpoint;
}

const char *tb_transport_pair_enrol_endpoint(const tb_transport *t, size_t pair)
{
    return t->l.doors[pair * TB_DOORS_OF_PAIR + 1].endpoint;
}

/* Has the thread obey; it never takes long. */
static tb_rc ask_doors(tb_transport *t, const tb_pair_order *order, tb_err *err)
{
    struct timespec until;
    (void)clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += START_TIMEOUT_MS / 1000;
    lock(t);
    t->l.order = *order;
    tb_actor_wake(t->actor);
    int waited = 0;
    while (tb_pair_order_stands(&t->l.order) && waited == 0) {
        waited = pthread_cond_timedwait(&t->l.obeyed, &t->l.lock, &until);
    }
    tb_rc rc =
        waited == 0 ? t->l.order.rc : tb_fail(err, TB_E_TIMEOUT, "listener");
    if (waited == 0 && rc != TB_OK) {
        (void)tb_fail(err, rc, "%s", t->l.order.err.text);
    }
    unlock(t);
    return rc;
}

tb_rc tb_transport_open_pair(tb_transport *t, size_t pair,
                             const tb_transport_options *options, tb_err *err)
{
    tb_pair_order order = order_of(pair, options);
    return ask_doors(t, &order, err);
}

void tb_transport_close_pair(tb_transport *t, size_t pair)
{
    tb_pair_order order = {.close = true, .pair = pair};
    (void)!ask_doors(t, &order, NULL);
}

tb_rc tb_transport_let_in(tb_transport *t, tb_err *err)
{
    tb_pair_order order = {.let_in = true};
    return ask_doors(t, &order, err);
}

/* Has the thread end the client's connections, also those on which it has not
 * spoken. The lock is held. */
static void ask_to_cut(tb_transport *t, tb_peer *peer)
{
    peer->cut = true;
    tb_peers_wait(&t->l.peers, peer);
}

tb_rc tb_transport_allow(tb_transport *t, const tb_name *client,
                         const uint8_t curve_key[static TB_CURVE_PUBLIC_BYTES],
                         tb_err *err)
{
    lock(t);
    tb_peer *peer = tb_peers_by_name(&t->l.peers, client);
    bool other_key = peer != NULL &&
                     memcmp(peer->key, curve_key, TB_CURVE_PUBLIC_BYTES) != 0;
    tb_rc rc = tb_peers_allow(&t->l.peers, client, curve_key, err);
    if (rc == TB_OK && other_key) {
        ask_to_cut(t, peer);
    }
    unlock(t);
    tb_actor_wake(t->actor);
    return rc;
}

tb_rc tb_transport_rotate(tb_transport *t, const tb_name *client,
                          const uint8_t key[static TB_CURVE_PUBLIC_BYTES],
                          tb_err *err)
{
    lock(t);
    tb_rc rc = tb_peers_rotate(&t->l.peers, client, key, err);
    unlock(t);
    return rc;
}

void tb_transport_forget_old(tb_transport *t, const tb_name *client)
{
    lock(t);
    tb_peer *peer = tb_peers_by_name(&t->l.peers, client);
    if (peer != NULL) {
        tb_peers_forget_old(&t->l.peers, peer);
    }
    unlock(t);
}

bool tb_transport_holder(tb_transport *t,
                         const uint8_t key[static TB_CURVE_PUBLIC_BYTES],
                         tb_name *out)
{
    lock(t);
    const tb_peer *peer = tb_peers_by_key(&t->l.peers, key);
    if (peer != NULL) {
        *out = peer->name;
    }
    unlock(t);
    return peer != NULL;
}

tb_rc tb_transport_revoke(tb_transport *t, const tb_name *client, tb_err *err)
{
    lock(t);
    tb_peer *peer = tb_peers_by_name(&t->l.peers, client);
    bool known = peer != NULL && peer->allowed;
    if (known) {
        peer->allowed = false;
        ask_to_cut(t, peer);
    }
    unlock(t);
    tb_actor_wake(t->actor);
    return known ? TB_OK
                 : tb_fail(err, TB_E_NOT_FOUND, "no client %s is allowed",
                           client->text);
}

bool tb_transport_cut(tb_transport *t, const tb_name *client)
{
    lock(t);
    tb_peer *peer = tb_peers_by_name(&t->l.peers, client);
    bool live = peer != NULL && peer->connection != 0 && !peer->cut;
    if (live) {
        peer->held_until_ms = tb_clock_ms() + TB_LISTENER_HOLD_MS;
        ask_to_cut(t, peer);
    }
    unlock(t);
    if (live) {
        tb_actor_wake(t->actor);
    }
    return live;
}

int tb_transport_fd(const tb_transport *t)
{
    return tb_inbox_fd(t->l.inbox);
}

void tb_transport_receive(tb_transport *t, tb_inbound **out)
{
    *out = tb_inbox_get(t->l.inbox);
}

static tb_rc queue(tb_transport *t, tb_peer *peer, const tb_outbound *message,
                   tb_err *err)
{
    if (peer->out.n >= TB_PEER_QUEUE_MESSAGES ||
        (peer->out.n > 0 && peer->out.payload_bytes + message->payload_bytes >
                                TB_PEER_QUEUE_BYTES)) {
        return tb_fail(err, TB_E_FULL, "client %s reads too slowly",
                       peer->name.text);
    }
    tb_rc rc = tb_outbox_put(&peer->out, message, err);
    if (rc == TB_OK) {
        tb_peers_wait(&t->l.peers, peer);
    }
    return rc;
}

tb_rc tb_transport_send(tb_transport *t, const tb_name *client,
                        const tb_outbound *message, tb_err *err)
{
    lock(t);
    tb_peer *peer = tb_peers_by_name(&t->l.peers, client);
    tb_rc rc = peer != NULL && peer->connection != 0 && !peer->cut
                   ? queue(t, peer, message, err)
                   : tb_fail(err, TB_E_NOT_FOUND, "client %s is not connected",
                             client->text);
    bool wake = rc == TB_OK && !t->l.woken;
    t->l.woken = t->l.woken || wake;
    unlock(t);
    if (wake) {
        tb_actor_wake(t->actor);
    }
    return rc;
}

tb_rc tb_transport_reply(tb_transport *t, uint64_t connection,
                         const tb_outbound *message, tb_err *err)
{
    tb_rc rc = tb_fail(err, TB_E_FULL, "too many enrolments at once");
    lock(t);
    for (size_t i = 0; i < TB_LISTENER_REPLIES; i++) {
        tb_enrol_reply *reply = &t->l.replies[i];
        if (reply->connection == 0) {
            rc = tb_outbox_put(&reply->out, message, err);
            reply->connection = rc == TB_OK ? connection : 0;
            t->l.n_replies += rc == TB_OK;
            break;
        }
    }
    unlock(t);
    tb_actor_wake(t->actor);
    return rc;
}

void tb_transport_stats_get(tb_transport *t, const tb_name *client,
                            tb_transport_stats *out)
{
    lock(t);
    const tb_peer *peer = tb_peers_by_name(&t->l.peers, client);
    *out = peer != NULL ? peer->stats : (tb_transport_stats){0};
    unlock(t);
}

void tb_transport_totals_get(tb_transport *t, tb_transport_totals *out)
{
    lock(t);
    *out = t->l.totals;
    unlock(t);
    out->pool_bytes_held = tb_inbox_held(t->l.inbox);
}
