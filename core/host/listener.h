/* core/host/listener.h - the thread behind transport.h: its state and its loop
 * over epoll. Of transport.c only. What lies under the lock is shared with the
 * owner, the rest is the thread's once it has started. */
#ifndef TB_HOST_LISTENER_H
#define TB_HOST_LISTENER_H

#include <pthread.h>

#include "base/actor.h"
#include "host/inbox.h"
#include "host/peers.h"
#include "host/sieve.h"
#include "host/sources.h"

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
    bool open, close, let_in;                /* one of them; none: obeyed */
    size_t pair;                             /* 0 or 1 */
    const char *endpoints[TB_DOORS_OF_PAIR]; /* NULL: door stays closed */
    const uint8_t *curve_secret;             /* 32 bytes */
    tb_rc rc;
    tb_err err;
} tb_pair_order;

/* Whether it is still to be obeyed. */
static inline bool tb_pair_order_stands(const tb_pair_order *order)
{
    return order->open || order->close || order->let_in;
}

typedef struct tb_listener {
    tb_pair_order order; /* the first one is set before the start */
    size_t max_connections;
    size_t half_bytes_max; /* of messages under way, all together */
    uint32_t enrols_per_minute;
    tb_inbox *inbox;

    tb_door doors[TB_DOORS]; /* endpoints: set when a pair is opened */

    pthread_cond_t obeyed;
    pthread_mutex_t lock; /* of these, and of order once it is ready: */
    tb_peers peers;
    tb_enrol_reply replies[TB_LISTENER_REPLIES];
    size_t n_replies;
    tb_transport_totals totals;
    bool woken; /* it will look at the peers that wait */

    /* The thread's own. */
    int epoll;
    int64_t now_ms;      /* of this turn of the loop */
    uint8_t *received;   /* one buffer for all */
    uint8_t *sealed;     /* one message on its way out */
    tb_chain all, ended; /* connections; those that this turn frees */
    tb_chain strangers;  /* oldest first */
    tb_chain silent;     /* proven, and nothing said yet */
    tb_chain greeting;   /* something to read: of handshakes, */
    tb_chain readable;   /* of messages: by their turn */
    tb_chain held_back;  /* until there is room for the message under way */
    tb_chain half;       /* messages under way, longest without progress
                            * first */
    size_t half_bytes;   /* those messages together */
    size_t held_bytes;   /* of them, what is here of those held back */
    size_t rest_bytes;   /* sealed and kept, of all that are being sent */
    size_t n_sending;    /* connections with a message under way out */
    bool send_again;     /* not all had their turn to send */
    size_t n_connected;  /* clients */
    size_t n_expected;   /* clients that may come any time */
    uint64_t serial;     /* of the newest that was proven */
    int64_t no_room_ms;  /* the inbox was full then */
    int64_t resting_ms;  /* nobody is accepted until then; 0: all are. Set
                          * before the start as well: until let_in */
    int64_t swept_ms;
    tb_sources sources;
    tb_sieve sieve;
    bool told_unsieved;            /* that the kernel takes no program */
    uint64_t n_cut, n_turned_away; /* connections, so far */
    uint64_t told_away;            /* of those: told last, when: */
    int64_t told_away_ms;
    int64_t told_cuts_ms; /* begin of the second in which were told: */
    unsigned told_cuts;
    double enrol_tokens;
    int64_t enrol_filled_ms;
    uint64_t trimmed_bytes; /* bytes_in when memory was given back last */
} tb_listener;

/* The thread's body; arg is the tb_listener. */
tb_actor_fn tb_listener_run;

#endif
