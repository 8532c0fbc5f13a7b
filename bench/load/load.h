/* bench/load/load.h - thousands of clients in one process and one thread: real
 * sockets, CURVE and, for a coordinator, the true client machine (fed/client.h)
 * with updates of fixed values. What is missing of a client is its disk and its
 * training. */
#ifndef TB_BENCH_LOAD_LOAD_H
#define TB_BENCH_LOAD_LOAD_H

#include <stdbool.h>

#include <zmq.h>

#include "members.h"
#include "update.h"

/* To a bare ROUTER: a message that it sends back; one that asks for a piece of
 * a model. */
#define LOAD_SMALL_BYTES 100
#define LOAD_FETCH_BYTES 2

struct load;

typedef struct load_client {
    uint32_t number;
    void *socket; /* NULL: closed */
    int fd;       /* says that the socket may have something */
    bool greeted; /* the first answer has come */
    bool asked;   /* a probe waits for its answer */
    /* of the protocol */
    tb_client *machine;
    tb_cactions actions; /* of the step at hand */
    size_t at;           /* the next one to carry out */
    int64_t due_ms;
    load_update update;
    uint64_t left, unacked;  /* sink: bytes to send, frames not acknowledged */
    bool in_round;           /* sink: its update is not begun */
    uint32_t fetches, talks; /* sink: of the round, not yet begun */
} load_client;

/* One thing that all clients do once: when the first and the last did. */
typedef struct load_wave {
    const char *name;
    uint32_t n, wanted;
    int64_t from_ns, until_ns;
} load_wave;

/* How clients speak. */
typedef struct load_protocol {
    const char *name;
    /* Begins to talk over a new client. */
    tb_rc (*start)(struct load *l, load_client *c, tb_err *err);
    /* A message has come. */
    tb_rc (*hear)(struct load *l, load_client *c, zmq_msg_t *frames, int n,
                  tb_err *err);
    /* Sends what is answered at once. */
    tb_rc (*probe)(struct load *l, load_client *c, tb_err *err);
    /* Sends `bytes` in frames of a block; NULL: rounds do that. */
    tb_rc (*push)(struct load *l, load_client *c, uint64_t bytes, tb_err *err);
    /* Does with a model and an update of `bytes` what a client does in a round;
     * NULL: rounds do that. */
    tb_rc (*round)(struct load *l, load_client *c, uint64_t bytes, tb_err *err);
    tb_rc (*tick)(struct load *l, load_client *c, int64_t now_ms, tb_err *err);
    void (*end)(load_client *c);
} load_protocol;

typedef struct load {
    const load_protocol *protocol;
    load_federation fed;
    void *context;
    int epoll;
    uint32_t first, n; /* numbers of the clients */
    uint32_t n_started;
    uint32_t window; /* connections that are made at a time */
    bool fetches;    /* models are fetched; else they are taken as known */
    load_client *clients;
    load_wave connect, probe, update;
    uint64_t n_refused, n_lost;
} load;

extern const load_protocol load_tributary; /* a coordinator of ours */
extern const load_protocol load_echo;      /* a bare ROUTER (router.c) */

/* link.c: opens or closes the client's connection. Errors: IO. */
tb_rc load_connect(load *l, load_client *c, tb_err *err)
    TB_NONNULL(1, 2) TB_MUST_CHECK;
void load_close(load *l, load_client *c) TB_NONNULL(1, 2);
/* Sends one or two frames (payload_bytes 0: one). What finds no room is
 * dropped: the protocol says it again. */
void load_send(load_client *c, const tb_span *envelope, const tb_span *payload)
    TB_NONNULL(1, 2);
/* Hands over all that has come to this client. Errors: the protocol's. */
tb_rc load_drain(load *l, load_client *c, tb_err *err)
    TB_NONNULL(1, 2) TB_MUST_CHECK;

/* main.c: one more client has done it; says so when it was the last. */
void load_count(load_wave *wave) TB_NONNULL(1);

#endif
