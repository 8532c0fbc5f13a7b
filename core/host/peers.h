/* core/host/peers.h - the clients that may connect, found by name and by CURVE
 * key, with the connection that each has now and what waits for it. Of
 * transport.c only, under its lock. */
#ifndef TB_HOST_PEERS_H
#define TB_HOST_PEERS_H

#include "host/link.h"

/* Connections of one client that have said nothing yet: while it connects again
 * and again some may be under way, but they must not fill the house. */
#define TB_PEER_SILENT 4

typedef struct tb_peer {
    tb_name name;
    uint8_t key[TB_CURVE_PUBLIC_BYTES];
    uint8_t old_key[TB_CURVE_PUBLIC_BYTES]; /* let in, too, if has_old */
    bool has_old;
    bool allowed;
    bool cut;     /* its connections are to be ended */
    bool waiting; /* in the list of those that have something to send */
    int64_t held_until_ms; /* it broke a rule: not let in before */
    int64_t cleared_ms;    /* its address was told to be known */
    uint64_t connection;   /* 0: not connected */
    tb_link *own;          /* that connection; of the thread only */
    tb_link
        *silent[TB_PEER_SILENT]; /* said nothing yet, oldest first; as own */
    tb_outbox out;
    tb_transport_stats stats;
    struct tb_peer *next_waiting;
} tb_peer;

typedef struct tb_peers {
    tb_peer **peers; /* in the order of their first allowance; never removed */
    size_t n, cap;
    size_t n_old;               /* of those with an old key */
    uint32_t *by_name, *by_key; /* open addressing: index + 1; 0: empty */
    size_t n_slots;             /* a power of two, at least 2 (n + n_old) */
    tb_peer *waiting;           /* those with a message to send */
} tb_peers;

/* Frees all of them. */
void tb_peers_release(tb_peers *peers) TB_NONNULL(1);

/* Allows a key for a name. A name keeps its tb_peer for ever. Errors: EXISTS,
 * NOMEM. */
tb_rc tb_peers_allow(tb_peers *peers, const tb_name *name, const uint8_t *key,
                     tb_err *err) TB_NONNULL(1, 2, 3) TB_MUST_CHECK;

/* The name's key becomes its old one, which stays allowed, and key its new one.
 * Errors: NOT_FOUND, EXISTS, NOMEM. */
tb_rc tb_peers_rotate(tb_peers *peers, const tb_name *name, const uint8_t *key,
                      tb_err *err) TB_NONNULL(1, 2, 3) TB_MUST_CHECK;

/* The name's old key is not allowed any more. */
void tb_peers_forget_old(tb_peers *peers, tb_peer *peer) TB_NONNULL(1, 2);

/* NULL: not known; by key: not allowed. */
tb_peer *tb_peers_by_name(const tb_peers *peers, const tb_name *name)
    TB_NONNULL(1, 2);
tb_peer *tb_peers_by_key(const tb_peers *peers, const uint8_t *key)
    TB_NONNULL(1, 2);

/* One more silent connection. Returns the oldest when that is one too many: it
 * must end. */
tb_link *tb_peers_add_silent(tb_peer *peer, tb_link *link)
    TB_NONNULL(1, 2) TB_MUST_CHECK;

/* It has spoken, or ended. One that is not among them is fine. */
void tb_peers_remove_silent(tb_peer *peer, const tb_link *link)
    TB_NONNULL(1, 2);

/* Whether the key is one of the peer's two. */
bool tb_peers_has_key(const tb_peer *peer, const uint8_t *key) TB_NONNULL(1, 2);

/* Puts it into the list of those that wait, once. */
void tb_peers_wait(tb_peers *peers, tb_peer *peer) TB_NONNULL(1, 2);

#endif
