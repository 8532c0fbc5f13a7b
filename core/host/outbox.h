/* core/host/outbox.h - messages that wait to be sent over one connection:
 * copied envelopes and shared payloads, bounded by the caller. Of transport.c
 * and dial.c only. One owner at a time. */
#ifndef TB_HOST_OUTBOX_H
#define TB_HOST_OUTBOX_H

#include <stdbool.h>

#include "host/packet.h"

typedef struct tb_outbox {
    struct tb_outgoing *first, *last;
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

/* Sends the first message without blocking, behind a routing frame when one is
 * given (ROUTER), and drops it when it was sent. bytes: envelope and
 * payload. */
tb_sent tb_outbox_send(tb_outbox *box, void *socket, const uint8_t *routing,
                       size_t routing_bytes, size_t *bytes)
    TB_NONNULL(1, 2, 5) TB_MUST_CHECK;

#endif
