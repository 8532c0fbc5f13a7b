/* core/host/gate.h - what passes between the kernel and libzmq at the
 * coordinator's doors, where libzmq itself has no bound: how many connections,
 * how many strangers of one address (sources.h), and how many bytes of a
 * message that never ends. accept4, recv and close of this file stand in place
 * of the C library's for the whole process: a program's own functions come
 * before those of its libraries. Descriptors that came by no door of a gate go
 * through unchanged. Any thread; of the coordinator only. */
#ifndef TB_HOST_GATE_H
#define TB_HOST_GATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define TB_GATE_ADDRESS_BYTES 46 /* INET6_ADDRSTRLEN */

typedef struct tb_gate tb_gate;

typedef struct tb_gate_counts {
    size_t open;      /* connections */
    size_t strangers; /* those that have not proven anything yet */
    uint64_t let_in, refused, evicted, cut; /* so far */
} tb_gate_counts;

/* A connection that was beyond its credit. */
typedef struct tb_gate_cut {
    int fd;
    uint64_t cookie; /* of the socket (SO_COOKIE) */
    uint64_t taken, delivered;
    char address[TB_GATE_ADDRESS_BYTES]; /* of the peer, as text */
} tb_gate_cut;

/* A gate for at most n_max connections. Errors: NOMEM. */
tb_rc tb_gate_new(tb_gate **out, size_t n_max, tb_err *err)
    TB_NONNULL(1) TB_MUST_CHECK;

/* Once libzmq has closed all that came by it. NULL is fine. */
void tb_gate_free(tb_gate **gate) TB_NONNULL(1);

/* Nobody is let in by any door until tb_gate_open: for the moment between a
 * door's opening and its being known here. */
void tb_gate_hold(void);

/* fd is a listening socket of this gate from now on, and lets people in (after
 * tb_gate_hold); -1: none was made. It is one until it is closed. */
void tb_gate_open(tb_gate *gate, int fd) TB_NONNULL(1);

/* A frame of this size came out of the connection. proven: with a key that we
 * know, so that it is no stranger's. */
void tb_gate_delivered(tb_gate *gate, int fd, uint64_t cookie,
                       size_t frame_bytes, bool proven) TB_NONNULL(1);

/* A key that we know came from this address (text). */
void tb_gate_known(tb_gate *gate, const char *address) TB_NONNULL(1, 2);

/* A handshake from there failed. */
void tb_gate_failed(tb_gate *gate, const char *address) TB_NONNULL(1, 2);

/* So many known clients are not connected now. */
void tb_gate_expect(tb_gate *gate, size_t n_clients) TB_NONNULL(1);

/* The next connection that was ended for its credit; false: none. Only the
 * first of many are told. */
bool tb_gate_next_cut(tb_gate *gate, tb_gate_cut *out) TB_NONNULL(1, 2);

/* What there is now, and what there was so far. To be called now and then: the
 * kernel is told here who may come again (sieve.h). */
void tb_gate_counts_get(tb_gate *gate, tb_gate_counts *out) TB_NONNULL(1, 2);

#endif
