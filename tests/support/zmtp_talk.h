/* tests/support/zmtp_talk.h - a door, one connection to it without a network,
 * and the client of curve_client.h at its other end. What fails aborts. */
#ifndef TB_TESTS_SUPPORT_ZMTP_TALK_H
#define TB_TESTS_SUPPORT_ZMTP_TALK_H

#include "support/curve_client.h"
#include "wire/zmtp.h"

#define ZMTP_GREETING_BYTES 64
#define ZMTP_HELLO_BYTES    (2 + 200)
#define ZMTP_INITIATE_MAX   2048

typedef struct zmtp_talk {
    tb_curve_door *door;
    tb_zmtp z;
    curve_client client;
} zmtp_talk;

/* A fresh connection to a new door. */
void zmtp_talk_init(zmtp_talk *t, const tb_zmtp_limits *limits);

/* Another fresh connection to the same door; the first ends. */
void zmtp_talk_again(zmtp_talk *t, const tb_zmtp_limits *limits);

void zmtp_talk_release(zmtp_talk *t);

/* What a client sends first, byte by byte as RFC 37 has it. */
void zmtp_talk_greeting(uint8_t out[static ZMTP_GREETING_BYTES]);

/* A frame of that body: 2 or 9 bytes, and the body, which may lie there
 * already. Returns the bytes of all. */
size_t zmtp_talk_frame(uint8_t *out, uint8_t flags, const uint8_t *body,
                       size_t n);

/* Greeting and HELLO are said and answered. */
void zmtp_talk_hello(zmtp_talk *t);

/* An INITIATE frame with that metadata: NULL stands for a DEALER's. */
size_t zmtp_talk_initiate(zmtp_talk *t, const uint8_t *metadata, size_t n,
                          uint8_t out[static ZMTP_INITIATE_MAX]);

/* All of the handshake: messages may go both ways. */
void zmtp_talk_meet(zmtp_talk *t);

/* One frame of a message as libzmq sends it; flags are those in its box. */
size_t zmtp_talk_message(zmtp_talk *t, uint8_t flags, const uint8_t *data,
                         size_t n, uint8_t *out);

#endif
