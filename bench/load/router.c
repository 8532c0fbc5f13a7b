/* bench-router: a bare ROUTER with CURVE that lets anyone in, as the measure of
 * what libzmq itself can do. Prints its endpoint and public key; sends small
 * messages back, and answers one with a payload by a single byte. Sockets are
 * set as the coordinator sets its own. */
#include <malloc.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#include <zmq.h>

#include "host/zsock.h"

#define FRAMES     3
#define IO_THREADS 2
#define BACKLOG    4096

static int serve(void *s)
{
    for (;;) {
        zmq_msg_t frames[FRAMES];
        zmq_pollitem_t item = {.socket = s, .events = ZMQ_POLLIN};
        if (zmq_poll(&item, 1, -1) < 0) {
            return 1;
        }
        int n;
        while ((n = tb_zsock_receive(s, frames, FRAMES)) > 0) {
            (void)zmq_msg_send(&frames[0], s, ZMQ_SNDMORE | ZMQ_DONTWAIT);
            if (n == FRAMES) {
                (void)zmq_send(s, "a", 1, ZMQ_DONTWAIT);
            } else {
                (void)zmq_msg_send(&frames[1], s, ZMQ_DONTWAIT);
            }
            tb_zsock_close_frames(frames, n, FRAMES);
        }
    }
}

int main(void)
{
    char public_key[41];
    char secret_key[41];
    char endpoint[256];
    size_t len = sizeof endpoint;
    struct rlimit files;
    (void)mallopt(M_MMAP_THRESHOLD, 32 << 20);
    (void)mallopt(M_TRIM_THRESHOLD, 1 << 30);
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &files);
    }
    void *context = zmq_ctx_new();
    if (context == NULL ||
        zmq_ctx_set(context, ZMQ_IO_THREADS, IO_THREADS) != 0 ||
        zmq_curve_keypair(public_key, secret_key) != 0) {
        return 1;
    }
    void *s = tb_zsock_new(context, ZMQ_ROUTER, TB_PAYLOAD_BYTES_MAX);
    if (s == NULL || tb_zsock_set(s, ZMQ_BACKLOG, BACKLOG) != 0 ||
        tb_zsock_set(s, ZMQ_CURVE_SERVER, 1) != 0 ||
        zmq_setsockopt(s, ZMQ_CURVE_SECRETKEY, secret_key, 40) != 0 ||
        zmq_bind(s, "tcp://127.0.0.1:*") != 0 ||
        zmq_getsockopt(s, ZMQ_LAST_ENDPOINT, endpoint, &len) != 0) {
        return 1;
    }
    (void)printf("%s %s\n", endpoint, public_key);
    (void)fflush(stdout);
    return serve(s);
}
