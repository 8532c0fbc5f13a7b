/* tests/support/member.h - an enrolled client that a test speaks through: its
 * folder (made by `tributary join`), its keys and one connection. What the
 * protocol does not foresee here ends the program with a message. */
#ifndef TB_TESTS_SUPPORT_MEMBER_H
#define TB_TESTS_SUPPORT_MEMBER_H

#include "client/home.h"
#include "host/dial.h"
#include "wire/msg.h"

typedef struct member {
    home home;
    tb_dial *dial; /* NULL until member_dial */
} member;

/* Ends the program with a message and code 1. */
void die(const char *fmt, ...) TB_PRINTF(1, 2);

/* Opens the folder of a client that has joined. */
void member_open(member *m, const char *dir);

/* Connects, and waits until both keys are proven. */
void member_dial(member *m);

/* Says goodbye, and releases everything. */
void member_close(member *m);

/* Sends a message with n bytes of payload (0: none). */
void member_say(member *m, const tb_msg *msg, const uint8_t *payload, size_t n);

/* The next message; the caller releases it. Lost connections are passed over
 * (the dial comes back by itself). false: none came for wait_ms. */
bool member_hear(member *m, tb_msg *out, int wait_ms);

#endif
