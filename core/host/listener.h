/* core/host/listener.h - the thread behind transport.h: its state and its loop.
 * Of transport.c only. What lies under the lock is shared with the owner, the
 * rest is the thread's once it has started. */
#ifndef TB_HOST_LISTENER_H
#define TB_HOST_LISTENER_H

#include <pthread.h>

#include "base/actor.h"
#include "host/gate.h"
#include "host/inbox.h"
#include "host/peers.h"
#include "host/watchdog.h"
#include "host/zap.h"

#define TB_LISTENER_REPLIES 64
#define TB_DOORS_OF_PAIR    2
#define TB_LISTENER_HOLD_MS 200 /* who broke a rule waits so long */

/* An answer to a stranger at the enrolment door. */
typedef struct tb_enrol_reply {
    uint64_t connection; /* 0: free place */
    tb_outbox out;
} tb_enrol_reply;

/* What the owner asks of the doors; the pointers are used only until the order
 * is obeyed. */
typedef struct tb_pair_order {
    bool open, close; /* which of the two; none: obeyed */
    size_t pair;      /* 0 or 1 */
    const char *endpoints[TB_DOORS_OF_PAIR]; /* NULL: door stays closed */
    const uint8_t *curve_secret;             /* 32 bytes */
    tb_rc rc;
    tb_err err;
} tb_pair_order;

typedef struct tb_listener {
    tb_pair_order order; /* the first one is set before the start */
    size_t max_connections;
    uint32_t enrols_per_minute;
    tb_inbox *inbox;

    char bound[TB_DOORS][TB_ENDPOINT_BYTES]; /* set when a pair is opened */

    pthread_cond_t obeyed;
    pthread_mutex_t lock; /* of these, and of order once it is ready: */
    tb_peers peers;
    tb_enrol_reply replies[TB_LISTENER_REPLIES];
    tb_transport_totals totals;
    bool woken; /* it will look at the peers that wait */

    /* The thread's own. */
    void *context;
    tb_zap zap;
    void *router[TB_DOORS];
    void *monitor[TB_DOORS];
    tb_gate *gate;
    tb_watchdog dog;
    size_t n_connected;   /* clients */
    uint64_t turned_away; /* connections, when that was told last */
    int64_t told_away_ms;
    unsigned n_opened; /* doors, so far */
    double enrol_tokens;
    int64_t enrol_filled_ms;
    size_t n_sending; /* clients with a message that waits for room in libzmq */
} tb_listener;

/* The thread's body; arg is the tb_listener. */
tb_actor_fn tb_listener_run;

#endif
