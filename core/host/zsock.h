/* core/host/zsock.h - libzmq sockets as the client's end of the transport sets
 * them: limits, keepalive, monitors. Of dial.c only, and of the bench that
 * measures a bare ROUTER. */
#ifndef TB_HOST_ZSOCK_H
#define TB_HOST_ZSOCK_H

#include <stdbool.h>

#include <zmq.h>

#include "base/err.h"
#include "wire/msg.h"

#define TB_ZSOCK_RECEIVE_HWM 2 /* whole messages of a connection in libzmq */
#define TB_ZSOCK_SEND_HWM    32

/* One event of a socket monitor. */
typedef struct tb_zsock_event {
    uint16_t kind; /* ZMQ_EVENT_... */
    int value;     /* descriptor, or an error code */
} tb_zsock_event;

/* "what: <zmq's text>" as an error; EADDRINUSE is BUSY, EINVAL and the like
 * USAGE. */
tb_rc tb_zsock_fail(tb_err *err, const char *what) TB_NONNULL(2);

/* A socket of this type with the limits above; frame_bytes is its largest
 * frame. NULL: see zmq_errno. */
void *tb_zsock_new(void *context, int type, size_t frame_bytes)
    TB_NONNULL(1) TB_MUST_CHECK;

/* Sets one int option; 0 or -1 (zmq_errno). */
int tb_zsock_set(void *socket, int option, int value)
    TB_NONNULL(1) TB_MUST_CHECK;

/* A PAIR that receives the events of socket, or NULL. name: unique in the
 * context. */
void *tb_zsock_monitor(void *context, void *socket, const char *name,
                       int events) TB_NONNULL(1, 2, 3) TB_MUST_CHECK;

/* The next event of a monitor; false: none waits. */
bool tb_zsock_next_event(void *monitor, tb_zsock_event *out) TB_NONNULL(1, 2);

/* Receives one whole message without blocking: the first n_max frames into
 * frames (initialised here, to be closed by the caller), the rest is dropped.
 * Returns the number of frames that it had; 0: none waits; -1: failed. */
int tb_zsock_receive(void *socket, zmq_msg_t *frames, int n_max)
    TB_NONNULL(1, 2) TB_MUST_CHECK;

/* Closes the first n frames, of at most n_max. */
void tb_zsock_close_frames(zmq_msg_t *frames, int n, int n_max) TB_NONNULL(1);

#endif
