/* core/host/dial.h - the client's side of the network: one thread with one
 * CURVE connection to a coordinator whose key is pinned; until it is stopped
 * it reconnects on its own, 2 to 30 seconds apart: who wants another pace stops
 * it, and starts another. All calls are from the owner's thread,
 * tb_inbound_free from any. */
#ifndef TB_HOST_DIAL_H
#define TB_HOST_DIAL_H

#include "host/packet.h"

#define TB_DIAL_QUEUE_MESSAGES 64u

typedef struct tb_dial tb_dial;

typedef struct tb_dial_options {
    const char *endpoint;        /* "tcp://host:port" */
    const uint8_t *server_key;   /* 32 bytes: the coordinator's, pinned */
    const uint8_t *curve_public; /* 32 bytes: our own */
    const uint8_t *curve_secret; /* 32 bytes; libzmq keeps copies */
} tb_dial_options;

typedef struct tb_dial_stats {
    uint64_t bytes_in, bytes_out; /* envelopes and payloads */
    uint64_t messages_in, messages_out;
    uint64_t connects; /* times that a connection was made */
    bool connected;
} tb_dial_stats;

/* Starts the thread, which dials at once. Errors: USAGE (endpoint), NOMEM, IO,
 * TIMEOUT. */
tb_rc tb_dial_start(tb_dial **out, const tb_dial_options *options, tb_err *err)
    TB_NONNULL(1, 2) TB_MUST_CHECK;

/* Closes the connection and nulls *dial; what was queued gets up to one second
 * to leave. NULL is fine. Errors: TIMEOUT. */
tb_rc tb_dial_stop(tb_dial **dial, int timeout_ms, tb_err *err)
    TB_NONNULL(1) TB_MUST_CHECK;

/* Readable when tb_dial_receive has something. For poll(2). */
int tb_dial_fd(const tb_dial *dial) TB_NONNULL(1);

/* The next event (MESSAGE, CONNECTED, LOST, FAILED), or *out NULL. */
void tb_dial_receive(tb_dial *dial, tb_inbound **out) TB_NONNULL(1, 2);

/* Queues one message. Never blocks. Whatever is queued when the connection ends
 * is dropped. Errors: BUSY (not connected), FULL (queue full: try again after
 * some was sent), LIMIT, NOMEM. */
tb_rc tb_dial_send(tb_dial *dial, const tb_outbound *message, tb_err *err)
    TB_NONNULL(1, 2) TB_MUST_CHECK;

/* A copy of the counters. */
void tb_dial_stats_get(tb_dial *dial, tb_dial_stats *out) TB_NONNULL(1, 2);

/* One request and one answer at the enrolment door, blocking: sends the
 * envelope and appends the answering envelope to reply. Errors: TIMEOUT (nobody
 * answers there, or it has another key than the invite says), LIMIT, NOMEM,
 * IO. */
tb_rc tb_dial_enrol(const tb_dial_options *options, const tb_buf *envelope,
                    tb_buf *reply, int timeout_ms, tb_err *err)
    TB_NONNULL(1, 2, 3) TB_MUST_CHECK;

#endif
