/* tests/support/raw_member.h - a member that speaks ZMTP and CURVE over a plain
 * socket, byte by byte as a test wants: curve_client.h behind TCP. Calls block,
 * up to a limit that only a failure reaches. */
#ifndef TB_TESTS_SUPPORT_RAW_MEMBER_H
#define TB_TESTS_SUPPORT_RAW_MEMBER_H

#include "support/curve_client.h"

typedef struct raw_member {
    int fd;
    curve_client c;
} raw_member;

/* How raw_dial dials. */
#define RAW_LITTLE  1 /* takes in little at a time */
#define RAW_NO_WAIT 2 /* it may not be connected yet */

/* A TCP connection to "tcp://127.0.0.1:PORT" from 127.0.0.`from`; -1: none. */
int raw_dial(const char *endpoint, unsigned from, int how);

/* Whether the other side has closed, or does so in time; what it sends until
 * then is dropped. */
bool raw_is_closed(int fd);

/* New keys, for that server. */
void raw_member_init(raw_member *m, const uint8_t server[static 32]);

/* Connects and shakes hands; false: it was not let in, and is not connected. */
bool raw_member_meet(raw_member *m, const char *endpoint, bool little);

void raw_member_leave(raw_member *m);

/* One frame, sealed, with its head: at most n + 42 bytes. flags: 1: another
 * frame of this message follows. */
size_t raw_member_frame(raw_member *m, uint8_t flags, const uint8_t *data,
                        size_t n, uint8_t *out);

/* false: the other side has closed. */
bool raw_member_send(const raw_member *m, const uint8_t *bytes, size_t n);

/* Reads one frame of a message and opens it: its flags, then n - 1 bytes, into
 * out, which is as large as frames can be. 0: closed, or not as it must be. */
size_t raw_member_receive(raw_member *m, uint8_t *out);

#define RAW_FRAME_BYTES_MAX (300u << 10)

#endif
