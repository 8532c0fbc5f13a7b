/* core/host/outbox.h - messages that wait to be sent over one connection:
 * copied envelopes and shared payloads, bounded by the caller. Of transport.c
 * and dial.c only, which sends them by libzmq. One owner at a time. */
#ifndef TB_HOST_OUTBOX_H
#define TB_HOST_OUTBOX_H

#include <stdbool.h>

#include "host/packet.h"

#define TB_OUTGOING_FRAMES 2

/* One message. */
typedef struct tb_outgoing tb_outgoing;

typedef struct tb_outbox {
    tb_outgoing *first, *last;
    size_t n;
    size_t payload_bytes;
} tb_outbox;

/* What sending the first message came to. */
typedef enum tb_sent {
    TB_SENT,       /* it went out */
    TB_SENT_EMPTY, /* nothing waits */
    TB_SENT_LATER, /* no room now */
    TB_SENT_GONE   /* the connection is not there */
} tb_sent;

/* Appends a copy. Errors: LIMIT (over a frame limit), NOMEM. */
tb_rc tb_outbox_put(tb_outbox *box, const tb_outbound *message, tb_err *err)
    TB_NONNULL(1, 2) TB_MUST_CHECK;

/* Frees all that waits. */
void tb_outbox_clear(tb_outbox *box) TB_NONNULL(1);

/* Takes the first message out, the caller's now; NULL: nothing waits. */
tb_outgoing *tb_outbox_take(tb_outbox *box) TB_NONNULL(1) TB_MUST_CHECK;

/* Nulls *out. NULL is fine. */
void tb_outgoing_free(tb_outgoing **out) TB_NONNULL(1);

/* The bytes of a frame, borrowed: 0 is the envelope, 1 the payload. NULL: it
 * has no such frame. */
const uint8_t *tb_outgoing_frame(const tb_outgoing *out, size_t i, size_t *n)
    TB_NONNULL(1, 3);

/* Sends the first message by libzmq without blocking, and drops it when it was
 * sent. bytes: envelope and payload. */
tb_sent tb_outbox_send(tb_outbox *box, void *socket, size_t *bytes)
    TB_NONNULL(1, 2, 3) TB_MUST_CHECK;

#endif
