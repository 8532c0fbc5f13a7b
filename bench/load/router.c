/* bench-router: a bare ROUTER with CURVE that lets anyone in, as the measure of
 * what libzmq itself can do. Prints its endpoint and public key; sends small
 * messages back, answers one with a payload by a single byte, and a request for
 * a piece of a model by one. Sockets are set as a client sets its own, memory
 * so that libzmq needs the least: each of its queues of 16,400 bytes costs the
 * pages that it has used. */
#include <malloc.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#include <zmq.h>

#include "host/zsock.h"
#include "load.h"

#define FRAMES            3
#define IO_THREADS        2
#define BACKLOG           4096
#define ZERO_COPY_RECEIVE 10         /* ZMQ_ZERO_COPY_RECV, a draft for zmq.h */
#define MAPPED_BYTES      (16 << 10) /* and more: mapped by themselves */
#define TRIM_BYTES        (1 << 30)

static uint8_t piece[TB_FETCH_BYTES_MAX];

/* A piece, whose bytes all connections share, behind an envelope. */
static void send_piece(void *s)
{
    zmq_msg_t msg;
    (void)zmq_send(s, piece, LOAD_SMALL_BYTES, ZMQ_SNDMORE | ZMQ_DONTWAIT);
    (void)zmq_msg_init_data(&msg, piece, sizeof piece, NULL, NULL);
    if (zmq_msg_send(&msg, s, ZMQ_DONTWAIT) < 0) {
        (void)zmq_msg_close(&msg);
    }
}

static void answer(void *s, zmq_msg_t *frames, int n)
{
    (void)zmq_msg_send(&frames[0], s, ZMQ_SNDMORE | ZMQ_DONTWAIT);
    if (n == FRAMES) {
        (void)zmq_send(s, "a", 1, ZMQ_DONTWAIT);
    } else if (zmq_msg_size(&frames[1]) == LOAD_FETCH_BYTES) {
        send_piece(s);
    } else {
        (void)zmq_msg_send(&frames[1], s, ZMQ_DONTWAIT);
    }
}

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
            answer(s, frames, n);
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
    (void)mallopt(M_ARENA_MAX, 1);
    (void)mallopt(M_MMAP_THRESHOLD, MAPPED_BYTES);
    (void)mallopt(M_TRIM_THRESHOLD, TRIM_BYTES);
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &files);
    }
    void *context = zmq_ctx_new();
    if (context == NULL ||
        zmq_ctx_set(context, ZMQ_IO_THREADS, IO_THREADS) != 0 ||
        zmq_ctx_set(context, ZERO_COPY_RECEIVE, 0) != 0 ||
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
