/* core/host/inbox.h - the way from a network thread to its owner: received
 * messages in a bounded queue with a descriptor to poll, and the count of
 * payload bytes that the owner has not freed yet. Clients take turns: events of
 * one come in their order, but whoever sends many waits behind his own, and the
 * others do not. (The network below reads its peers in turn as well.) Of
 * transport.c and dial.c only. Safe from any thread. */
#ifndef TB_HOST_INBOX_H
#define TB_HOST_INBOX_H

#include <stdbool.h>

#include <zmq.h>

#include "host/packet.h"

#define TB_INBOX_EVENTS_MAX 1024u

typedef struct tb_inbox tb_inbox;

/* An empty queue; pool_bytes bounds what the owner may hold. Errors: NOMEM,
 * IO. */
tb_rc tb_inbox_new(tb_inbox **out, size_t pool_bytes, tb_err *err)
    TB_NONNULL(1) TB_MUST_CHECK;

/* Frees what is queued and nulls *inbox; events that the owner holds keep what
 * they need alive. NULL is fine. */
void tb_inbox_free(tb_inbox **inbox) TB_NONNULL(1);

/* Readable when an event waits for the owner. */
int tb_inbox_fd(const tb_inbox *inbox) TB_NONNULL(1);

/* Readable after the owner made room where there was none. To wait for room:
 * clear it, look, and poll when there is none. */
int tb_inbox_room_fd(const tb_inbox *inbox) TB_NONNULL(1);
void tb_inbox_room_clear(tb_inbox *inbox) TB_NONNULL(1);

/* Whether another message may be read from the network. */
bool tb_inbox_has_room(tb_inbox *inbox) TB_NONNULL(1);

/* Payload bytes that are queued or held by the owner. */
size_t tb_inbox_held(const tb_inbox *inbox) TB_NONNULL(1);

/* A new event to fill and put, or NULL (out of memory). */
tb_inbound *tb_inbox_event(tb_inbox *inbox, tb_in_kind kind)
    TB_NONNULL(1) TB_MUST_CHECK;

/* A frame that was received, within memory of base/mem. */
typedef struct tb_frame {
    uint8_t *memory; /* owned; NULL: no frame */
    const uint8_t *data;
    size_t n;
} tb_frame;

/* Moves received frames into the event, without a copy, and leaves none behind;
 * the payload may be none. */
void tb_inbox_fill_frames(tb_inbound *event, tb_frame *envelope,
                          tb_frame *payload) TB_NONNULL(1, 2, 3);

/* The same of libzmq's frames; payload may be NULL. */
void tb_inbox_fill(tb_inbound *event, zmq_msg_t *envelope, zmq_msg_t *payload)
    TB_NONNULL(1, 2);

/* Queues the event for the owner, who frees it, behind what waits of the same
 * client. NULL is fine: ignored. */
void tb_inbox_put(tb_inbox *inbox, tb_inbound **take) TB_NONNULL(1, 2);

/* The next event of the client whose turn it is, or NULL. */
tb_inbound *tb_inbox_get(tb_inbox *inbox) TB_NONNULL(1);

#endif
