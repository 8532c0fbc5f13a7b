/* core/host/transport.h - the coordinator's side of the network: one thread
 * with a CURVE listener for known clients and one for enrolment, which speaks
 * ZMTP by itself (wire/zmtp.h). Knows keys and names, nothing of messages'
 * meaning. All calls are from the owner's thread, tb_inbound_free from any.
 *
 * What a peer can cost: an unknown key fails the handshake; a frame over its
 * limit or a message of more than two frames ends its connection; a full
 * inbound queue or pool stops reading messages from all until the owner frees
 * (core/host/README.md has the whole list). Identity is the proven CURVE key;
 * of two connections with one key the newer stays. */
#ifndef TB_HOST_TRANSPORT_H
#define TB_HOST_TRANSPORT_H

#include "host/descriptors.h"
#include "host/packet.h"

#define TB_INGEST_POOL_BYTES   (8u << 20) /* payload held by the application */
#define TB_PEER_QUEUE_MESSAGES 256u       /* waiting to go to one client */
#define TB_PEER_QUEUE_BYTES    (4u << 20) /* the same, in payload bytes */

typedef struct tb_transport tb_transport;

typedef struct tb_transport_options {
    const char *endpoint;        /* "tcp://0.0.0.0:7700"; port 0: OS chooses */
    const char *enrol_endpoint;  /* NULL: nobody can enrol */
    const uint8_t *curve_public; /* 32 bytes, X25519 */
    const uint8_t *curve_secret; /* 32 bytes; copied to guarded memory */
    size_t pool_bytes;           /* 0: TB_INGEST_POOL_BYTES */
    uint32_t max_connections;    /* further ones are closed; 0: as many as file
                                  * descriptors allow */
    uint32_t enrols_per_minute;  /* 0: 60; handshakes at the enrolment door */
    bool shut; /* whoever comes waits at the door until tb_transport_let_in */
} tb_transport_options;

/* Binds, and starts the thread. Errors: USAGE (endpoint), BUSY (address in
 * use), NOMEM, IO, TIMEOUT; as tb_descriptors_prepare. */
tb_rc tb_transport_start(tb_transport **out,
                         const tb_transport_options *options, tb_err *err)
    TB_NONNULL(1, 2) TB_MUST_CHECK;

/* Closes everything and nulls *transport. Events not yet received are freed;
 * events that the owner still holds stay valid. NULL is fine. Errors:
 * TIMEOUT (the thread is left to itself). */
tb_rc tb_transport_stop(tb_transport **transport, int timeout_ms, tb_err *err)
    TB_NONNULL(1) TB_MUST_CHECK;

/* The bound endpoints, with the port that the OS chose; "" for no enrolment. */
const char *tb_transport_endpoint(const tb_transport *t) TB_NONNULL(1);
const char *tb_transport_enrol_endpoint(const tb_transport *t) TB_NONNULL(1);

/* Lets people in, once those who may come are allowed: a client that came
 * before would be told that its key is not known. Errors: TIMEOUT. */
tb_rc tb_transport_let_in(tb_transport *t, tb_err *err)
    TB_NONNULL(1) TB_MUST_CHECK;

/* What the limit of file descriptors comes to; borrowed. */
const tb_descriptors *tb_transport_descriptors(const tb_transport *t)
    TB_NONNULL(1);

/* Opens the other pair of doors (0 is the one of the start) under a key of its
 * own; clients may come in by both. Of options only endpoints and keys count.
 * Errors: as tb_transport_start. */
tb_rc tb_transport_open_pair(tb_transport *t, size_t pair,
                             const tb_transport_options *options, tb_err *err)
    TB_NONNULL(1, 3) TB_MUST_CHECK;

/* Closes a pair and ends its connections. */
void tb_transport_close_pair(tb_transport *t, size_t pair) TB_NONNULL(1);

/* The bound endpoints of a pair; "" when it is closed. */
const char *tb_transport_pair_endpoint(const tb_transport *t, size_t pair)
    TB_NONNULL(1);
const char *tb_transport_pair_enrol_endpoint(const tb_transport *t, size_t pair)
    TB_NONNULL(1);

/* Lets the holder of this CURVE key in as client, from now on. A client's new
 * key replaces its old one. Errors: EXISTS (key of another client), NOMEM. */
tb_rc tb_transport_allow(tb_transport *t, const tb_name *client,
                         const uint8_t curve_key[static TB_CURVE_PUBLIC_BYTES],
                         tb_err *err) TB_NONNULL(1, 2, 3) TB_MUST_CHECK;

/* Gives a client a new key beside the one it has: both are let in until the old
 * one is forgotten. Errors: NOT_FOUND, EXISTS (the key of another), NOMEM. */
tb_rc tb_transport_rotate(tb_transport *t, const tb_name *client,
                          const uint8_t key[static TB_CURVE_PUBLIC_BYTES],
                          tb_err *err) TB_NONNULL(1, 2, 3) TB_MUST_CHECK;

/* Refuses the client's old key from now on. */
void tb_transport_forget_old(tb_transport *t, const tb_name *client)
    TB_NONNULL(1, 2);

/* Who may come in under this key; false: nobody. */
bool tb_transport_holder(tb_transport *t,
                         const uint8_t key[static TB_CURVE_PUBLIC_BYTES],
                         tb_name *out) TB_NONNULL(1, 2, 3);

/* Takes the right back and ends the client's connection. Errors: NOT_FOUND. */
tb_rc tb_transport_revoke(tb_transport *t, const tb_name *client, tb_err *err)
    TB_NONNULL(1, 2) TB_MUST_CHECK;

/* Ends the client's connection; it may come back. false: it has none, or that
 * one is being ended already. */
bool tb_transport_cut(tb_transport *t, const tb_name *client) TB_NONNULL(1, 2);

/* Readable when tb_transport_receive has something. For poll(2). */
int tb_transport_fd(const tb_transport *t) TB_NONNULL(1);

/* The next event, or *out NULL when there is none. The caller frees it. */
void tb_transport_receive(tb_transport *t, tb_inbound **out) TB_NONNULL(1, 2);

/* Queues one message to the client's connection. Never blocks. Errors:
 * NOT_FOUND (not connected: it says HELLO when it is back), FULL (its queue is
 * full: it reads too slowly), LIMIT (over a frame limit), NOMEM. */
tb_rc tb_transport_send(tb_transport *t, const tb_name *client,
                        const tb_outbound *message, tb_err *err)
    TB_NONNULL(1, 2, 3) TB_MUST_CHECK;

/* Answers an ENROL event by its connection number. Errors: as above. */
tb_rc tb_transport_reply(tb_transport *t, uint64_t connection,
                         const tb_outbound *message, tb_err *err)
    TB_NONNULL(1, 3) TB_MUST_CHECK;

/* Counts since the start; all zero for a client that is not known. */
void tb_transport_stats_get(tb_transport *t, const tb_name *client,
                            tb_transport_stats *out) TB_NONNULL(1, 2, 3);
void tb_transport_totals_get(tb_transport *t, tb_transport_totals *out)
    TB_NONNULL(1, 2);

#endif
