/* core/host/packet.h - what goes in and out of both ends of the transport: an
 * envelope frame and at most one payload frame, not decoded, and what happened
 * to a connection. */
#ifndef TB_HOST_PACKET_H
#define TB_HOST_PACKET_H

#include <stdbool.h>

#include "host/shared.h"
#include "wire/msg.h"
#include "wire/name.h"

#define TB_ENROL_FRAME_BYTES 4096u /* largest frame at the enrolment door */

typedef enum tb_in_kind {
    TB_IN_MESSAGE, /* envelope (and payload) from a known client or, at the
                      * client, from the coordinator */
    TB_IN_ENROL,   /* server: envelope from a stranger at the enrolment door */
    TB_IN_GONE,    /* server: the client's connection ended */
    TB_IN_CONNECTED, /* client: connected and both keys proven */
    TB_IN_LOST,      /* client: connection ended, or could not be made; it is
                      * tried again on its own. why says what is known */
    TB_IN_FAILED     /* the transport's thread has ended on an error (why): the
                      * owner must stop; nothing more comes or goes */
} tb_in_kind;

/* One event; the receiver owns it and frees it. Freeing gives the payload's
 * bytes back to the ingest pool. */
typedef struct tb_inbound {
    tb_in_kind kind;
    tb_name client;      /* MESSAGE, GONE at the server */
    uint64_t connection; /* rises with each connection; ENROL: reply to it */
    uint8_t
        curve_key[TB_CURVE_PUBLIC_BYTES]; /* proven; server's MESSAGE, ENROL */
    const uint8_t *envelope;              /* owned by this object */
    size_t envelope_bytes;
    const uint8_t *payload; /* owned by this object; NULL: none */
    size_t payload_bytes;
    char why[TB_TEXT_BYTES]; /* GONE, LOST, FAILED */
} tb_inbound;

/* Frees the event and nulls *in. NULL is fine. Any thread. */
void tb_inbound_free(tb_inbound **in) TB_NONNULL(1);

/* One message to send. Envelope bytes are copied, unless they are shared; the
 * payload is part of shared bytes. The transport becomes an owner of what is
 * shared for as long as it needs. */
typedef struct tb_outbound {
    const uint8_t *envelope; /* not read when there is: */
    tb_shared *to_many; /* the whole envelope, for many; NULL: not shared */
    size_t envelope_bytes;
    tb_shared *payload;    /* NULL: no payload frame */
    size_t payload_offset; /* into the shared bytes */
    size_t payload_bytes;
} tb_outbound;

/* Counts of one client, and of all, since the start. */
typedef struct tb_transport_stats {
    uint64_t bytes_in, bytes_out; /* envelopes and payloads */
    uint64_t messages_in, messages_out;
    bool connected; /* has spoken on a connection that is still alive */
} tb_transport_stats;

typedef struct tb_transport_totals {
    uint64_t bytes_in, bytes_out;
    uint64_t messages_in, messages_out;
    uint64_t connections;   /* accepted and alive, both listeners */
    uint64_t denied;        /* handshakes with a key that is not allowed */
    uint64_t dropped;       /* messages that broke a rule of the transport */
    uint64_t cut;           /* connections that were ended on purpose */
    size_t pool_bytes_held; /* payload that the application has not freed */
} tb_transport_totals;

#endif
