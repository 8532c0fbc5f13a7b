#include <string.h>
#include <sys/epoll.h>

#include "crypto/keys.h"
#include "load.h"

#define FRAMES_MAX 2

static tb_rc fail(tb_err *err, const char *what)
{
    return tb_fail(err, TB_E_IO, "%s: %s", what, zmq_strerror(zmq_errno()));
}

static tb_rc set_keys(void *socket, const load *l, uint32_t number, tb_err *err)
{
    uint8_t seed[TB_KEY_SEED_BYTES];
    tb_box_key *key = NULL;
    load_seed(seed, number, "curve");
    tb_rc rc = tb_box_key_from_seed(&key, seed, err);
    if (rc == TB_OK && (zmq_setsockopt(socket, ZMQ_CURVE_SERVERKEY,
                                       l->fed.certificate.curve_key, 32) != 0 ||
                        zmq_setsockopt(socket, ZMQ_CURVE_PUBLICKEY,
                                       tb_box_key_public(key), 32) != 0 ||
                        zmq_setsockopt(socket, ZMQ_CURVE_SECRETKEY,
                                       tb_box_key_secret(key), 32) != 0)) {
        rc = fail(err, "keys of a connection");
    }
    tb_box_key_free(&key);
    return rc;
}

tb_rc load_connect(load *l, load_client *c, tb_err *err)
{
    static const struct {
        int option, value;
    } options[] = {{ZMQ_LINGER, 0},
                   {ZMQ_SNDHWM, 64},
                   {ZMQ_RCVHWM, 64},
                   {ZMQ_RECONNECT_IVL, 100},
                   {ZMQ_HANDSHAKE_IVL, 60000}};
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
    size_t len = sizeof c->fd;
    c->socket = zmq_socket(l->context, ZMQ_DEALER);
    bool bad = c->socket == NULL;
    for (size_t i = 0; i < sizeof options / sizeof *options && !bad; i++) {
        bad = zmq_setsockopt(c->socket, options[i].option, &options[i].value,
                             sizeof options[i].value) != 0;
    }
    if (bad) {
        return fail(err, "a socket");
    }
    tb_rc rc = set_keys(c->socket, l, c->number, err);
    if (rc == TB_OK &&
        (zmq_connect(c->socket, l->fed.endpoint) != 0 ||
         zmq_getsockopt(c->socket, ZMQ_FD, &c->fd, &len) != 0 ||
         epoll_ctl(l->epoll, EPOLL_CTL_ADD, c->fd, &event) != 0)) {
        rc = fail(err, l->fed.endpoint);
    }
    return rc;
}

void load_close(load *l, load_client *c)
{
    if (c->socket != NULL) {
        (void)epoll_ctl(l->epoll, EPOLL_CTL_DEL, c->fd, NULL);
        (void)zmq_close(c->socket);
        c->socket = NULL;
    }
}

void load_send(load_client *c, const tb_span *envelope, const tb_span *payload)
{
    int more = payload != NULL ? ZMQ_SNDMORE : 0;
    if (c->socket == NULL) {
        return;
    }
    int sent =
        zmq_send(c->socket, envelope->data, envelope->len, more | ZMQ_DONTWAIT);
    if (sent >= 0 && more != 0) {
        sent = zmq_send(c->socket, payload->data, payload->len, ZMQ_DONTWAIT);
    }
}

/* Receives one message; 0: none waits. */
static int receive(void *socket, zmq_msg_t frames[static FRAMES_MAX])
{
    int n = 0;
    for (bool more = true; more && n < FRAMES_MAX; n++) {
        (void)zmq_msg_init(&frames[n]);
        if (zmq_msg_recv(&frames[n], socket, ZMQ_DONTWAIT) < 0) {
            (void)zmq_msg_close(&frames[n]);
            break;
        }
        more = zmq_msg_more(&frames[n]) != 0;
    }
    return n;
}

tb_rc load_drain(load *l, load_client *c, tb_err *err)
{
    tb_rc rc = TB_OK;
    while (rc == TB_OK && c->socket != NULL) {
        zmq_msg_t frames[FRAMES_MAX];
        int events = 0;
        size_t len = sizeof events;
        /* Asking for them also takes what the socket's own thread has said. */
        if (zmq_getsockopt(c->socket, ZMQ_EVENTS, &events, &len) != 0 ||
            (events & ZMQ_POLLIN) == 0) {
            break;
        }
        int n = receive(c->socket, frames);
        if (n > 0) {
            rc = l->protocol->hear(l, c, frames, n, err);
        }
        for (int i = 0; i < n; i++) {
            (void)zmq_msg_close(&frames[i]);
        }
    }
    return rc;
}
