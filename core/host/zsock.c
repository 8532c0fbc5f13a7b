#include "host/zsock.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define HANDSHAKE_IVL_MS 5000 /* a peer that is silent in it is closed */

/* A peer whose machine or network is gone is found by the kernel, within 30
 * seconds. Not by libzmq's own heartbeat: in 4.3.4 its timer aborts the process
 * when the peer has gone while its messages were not read (libzmq #4841). */
#define KEEPALIVE_IDLE_S  15
#define KEEPALIVE_EACH_S  5
#define KEEPALIVE_COUNT   3
#define UNANSWERED_MS     30000

#define CURVE_FRAME_BYTES 64 /* what CURVE adds to a frame, and spare */

tb_rc tb_zsock_fail(tb_err *err, const char *what)
{
    int code = zmq_errno();
    tb_rc rc = TB_E_IO;
    if (code == EADDRINUSE) {
        rc = TB_E_BUSY;
    } else if (code == EINVAL || code == EPROTONOSUPPORT || code == ENODEV ||
               code == EADDRNOTAVAIL) {
        rc = TB_E_USAGE;
    } else if (code == ENOMEM) {
        rc = TB_E_NOMEM;
    }
    return tb_fail(err, rc, "%s: %s", what, zmq_strerror(code));
}

int tb_zsock_set(void *socket, int option, int value)
{
    return zmq_setsockopt(socket, option, &value, sizeof value);
}

void *tb_zsock_new(void *context, int type, size_t frame_bytes)
{
    static const struct {
        int option, value;
    } options[] = {
        {ZMQ_LINGER, 0},
        {ZMQ_RCVHWM, TB_ZSOCK_RECEIVE_HWM},
        {ZMQ_SNDHWM, TB_ZSOCK_SEND_HWM},
        {ZMQ_HANDSHAKE_IVL, HANDSHAKE_IVL_MS},
        {ZMQ_TCP_KEEPALIVE, 1},
        {ZMQ_TCP_KEEPALIVE_IDLE, KEEPALIVE_IDLE_S},
        {ZMQ_TCP_KEEPALIVE_INTVL, KEEPALIVE_EACH_S},
        {ZMQ_TCP_KEEPALIVE_CNT, KEEPALIVE_COUNT},
        {ZMQ_TCP_MAXRT, UNANSWERED_MS},
    };
    int64_t max = (int64_t)frame_bytes + CURVE_FRAME_BYTES;
    void *socket = zmq_socket(context, type);
    if (socket == NULL) {
        return NULL;
    }
    bool bad = zmq_setsockopt(socket, ZMQ_MAXMSGSIZE, &max, sizeof max) != 0;
    for (size_t i = 0; i < sizeof options / sizeof *options && !bad; i++) {
        bad = tb_zsock_set(socket, options[i].option, options[i].value) != 0;
    }
    if (bad) {
        (void)zmq_close(socket);
        return NULL;
    }
    return socket;
}

void *tb_zsock_monitor(void *context, void *socket, const char *name,
                       int events)
{
    char endpoint[64];
    (void)snprintf(endpoint, sizeof endpoint, "inproc://monitor.%s", name);
    if (zmq_socket_monitor(socket, endpoint, events) != 0) {
        return NULL;
    }
    void *pair = zmq_socket(context, ZMQ_PAIR);
    if (pair != NULL && (tb_zsock_set(pair, ZMQ_LINGER, 0) != 0 ||
                         zmq_connect(pair, endpoint) != 0)) {
        (void)zmq_close(pair);
        pair = NULL;
    }
    return pair;
}

bool tb_zsock_next_event(void *monitor, tb_zsock_event *out)
{
    zmq_msg_t frames[2]; /* u16 event, u32 value in our byte order; endpoint */
    int n = tb_zsock_receive(monitor, frames, 2);
    if (n <= 0) {
        return false;
    }
    const uint8_t *data = zmq_msg_data(&frames[0]);
    uint32_t value = 0;
    memcpy(&out->kind, data, sizeof out->kind);
    memcpy(&value, data + sizeof out->kind, sizeof value);
    out->value = (int)value;
    tb_zsock_close_frames(frames, n, 2);
    return true;
}

int tb_zsock_receive(void *socket, zmq_msg_t *frames, int n_max)
{
    zmq_msg_t spare;
    int n = 0;
    for (bool more = true; more; n++) {
        zmq_msg_t *to = n < n_max ? &frames[n] : &spare;
        (void)zmq_msg_init(to);
        if (zmq_msg_recv(to, socket, ZMQ_DONTWAIT) < 0) {
            int code = zmq_errno();
            (void)zmq_msg_close(to);
            tb_zsock_close_frames(frames, n, n_max);
            return code == EAGAIN || code == EINTR ? 0 : -1;
        }
        more = zmq_msg_more(to) != 0;
        if (to == &spare) {
            (void)zmq_msg_close(&spare);
        }
    }
    return n;
}

void tb_zsock_close_frames(zmq_msg_t *frames, int n, int n_max)
{
    for (int i = 0; i < n && i < n_max; i++) {
        (void)zmq_msg_close(&frames[i]);
    }
}
