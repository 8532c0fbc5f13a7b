/* libzmq's DEALER against core/wire/zmtp.h, over TCP: the peer that clients
 * really have. */
#include "wire/zmtp.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <sodium.h>
#include <zmq.h>

#include "base/mem.h"
#include "crypto/crypto.h"
#include "crypto/secret.h"
#include "support/check.h"

#define PAYLOAD_MAX 262144
#define NET_MS      60000 /* under a hang only */

static const tb_zmtp_limits limits = {.n_frames = 2,
                                      .frame_bytes = {1024, PAYLOAD_MAX}};

/* A door, one libzmq DEALER that knows its key, and the connection of it. */
typedef struct pair {
    uint8_t client[32], client_secret[32];
    tb_curve_door *door;
    void *context, *dealer, *monitor;
    int listener, fd;
    tb_zmtp z;
    uint8_t bytes[4096]; /* received; from at to have not yet read */
    size_t at, have;
} pair;

static void set_bytes(void *socket, int option, const void *bytes, size_t n)
{
    CHECK(zmq_setsockopt(socket, option, bytes, n) == 0);
}

static void set_number(void *socket, int option, int value)
{
    set_bytes(socket, option, &value, sizeof value);
}

static void open_listener(pair *p, char endpoint[static 64])
{
    struct sockaddr_in at = {.sin_family = AF_INET,
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof at;
    struct timeval patience = {.tv_sec = NET_MS / 1000};
    p->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(p->listener >= 0);
    CHECK(setsockopt(p->listener, SOL_SOCKET, SO_RCVTIMEO, &patience,
                     sizeof patience) == 0);
    CHECK(bind(p->listener, (struct sockaddr *)&at, sizeof at) == 0);
    CHECK(listen(p->listener, 4) == 0);
    CHECK(getsockname(p->listener, (struct sockaddr *)&at, &n) == 0);
    (void)snprintf(endpoint, 64, "tcp://127.0.0.1:%d", ntohs(at.sin_port));
}

static void open_pair(pair *p)
{
    uint8_t server[32];
    uint8_t secret[32];
    char endpoint[64];
    *p = (pair){.fd = -1};
    CHECK(crypto_box_keypair(server, secret) == 0);
    CHECK(crypto_box_keypair(p->client, p->client_secret) == 0);
    CHECK(tb_curve_door_new(&p->door, secret, NULL) == TB_OK);
    open_listener(p, endpoint);
    p->context = zmq_ctx_new();
    p->dealer = zmq_socket(p->context, ZMQ_DEALER);
    p->monitor = zmq_socket(p->context, ZMQ_PAIR);
    CHECK(p->dealer != NULL && p->monitor != NULL);
    set_bytes(p->dealer, ZMQ_CURVE_SERVERKEY, server, sizeof server);
    set_bytes(p->dealer, ZMQ_CURVE_PUBLICKEY, p->client, 32);
    set_bytes(p->dealer, ZMQ_CURVE_SECRETKEY, p->client_secret, 32);
    set_number(p->dealer, ZMQ_LINGER, 0);
    set_number(p->dealer, ZMQ_RECONNECT_IVL, 1);
    set_number(p->dealer, ZMQ_RCVTIMEO, NET_MS);
    set_number(p->dealer, ZMQ_SNDTIMEO, NET_MS);
    set_number(p->monitor, ZMQ_RCVTIMEO, NET_MS);
    CHECK(zmq_socket_monitor(p->dealer, "inproc://events",
                             ZMQ_EVENT_HANDSHAKE_SUCCEEDED |
                                 ZMQ_EVENT_HANDSHAKE_FAILED_AUTH) == 0);
    CHECK(zmq_connect(p->monitor, "inproc://events") == 0);
    CHECK(zmq_connect(p->dealer, endpoint) == 0);
}

static void close_pair(pair *p)
{
    tb_zmtp_release(&p->z);
    tb_curve_door_free(&p->door);
    if (p->fd >= 0) {
        (void)close(p->fd);
    }
    (void)close(p->listener);
    CHECK(zmq_close(p->monitor) == 0);
    CHECK(zmq_close(p->dealer) == 0);
    CHECK(zmq_ctx_term(p->context) == 0);
    CHECK(tb_secret_live() == 0 && tb_mem_live() == 0);
}

static void accept_peer(pair *p)
{
    p->fd = accept(p->listener, NULL, NULL);
    CHECK(p->fd >= 0);
    p->at = p->have = 0;
    tb_zmtp_init(&p->z, p->door, &limits);
}

static void send_all(const pair *p, const uint8_t *bytes, size_t n)
{
    while (n > 0) {
        ssize_t sent = send(p->fd, bytes, n, MSG_NOSIGNAL);
        CHECK(sent > 0);
        bytes += sent;
        n -= (size_t)sent;
    }
}

/* One step: reads what is there, into a large frame itself where it may. */
static void receive_some(pair *p, tb_zmtp_event *event)
{
    tb_err err = {0};
    uint8_t *gap = NULL;
    size_t used = 0;
    size_t n_gap = tb_zmtp_gap(&p->z, &gap);
    if (p->at == p->have && n_gap > 0) {
        ssize_t n = recv(p->fd, gap, n_gap, 0);
        CHECK(n > 0);
        CHECK_OK(tb_zmtp_filled(&p->z, (size_t)n, event, &err), err);
        return;
    }
    if (p->at == p->have) {
        ssize_t n = recv(p->fd, p->bytes, sizeof p->bytes, 0);
        CHECK(n > 0);
        p->at = 0;
        p->have = (size_t)n;
    }
    CHECK_OK(tb_zmtp_read(&p->z, p->bytes + p->at, p->have - p->at, &used,
                          event, &err),
             err);
    p->at += used;
}

/* Answers the peer until a key is proven or a frame is there. */
static void next_event(pair *p, tb_zmtp_event *event)
{
    for (;;) {
        receive_some(p, event);
        if (event->kind == TB_ZMTP_ANSWER) {
            send_all(p, event->answer, event->n_answer);
        } else if (event->kind != TB_ZMTP_NOTHING) {
            return;
        }
    }
}

static void meet(pair *p)
{
    uint8_t answer[TB_ZMTP_ANSWER_BYTES_MAX];
    tb_zmtp_event event;
    accept_peer(p);
    next_event(p, &event);
    CHECK(event.kind == TB_ZMTP_KEY);
    assert_memory_equal(event.key, p->client, 32);
    CHECK(!tb_zmtp_is_ready(&p->z));
    send_all(p, answer, tb_zmtp_accept(&p->z, answer));
    CHECK(tb_zmtp_is_ready(&p->z));
}

static int next_monitored(const pair *p)
{
    uint16_t event = 0;
    zmq_msg_t frame;
    CHECK(zmq_msg_init(&frame) == 0);
    CHECK(zmq_msg_recv(&frame, p->monitor, 0) >= 6);
    memcpy(&event, zmq_msg_data(&frame), sizeof event);
    CHECK(zmq_msg_recv(&frame, p->monitor, 0) >= 0); /* the address */
    CHECK(zmq_msg_close(&frame) == 0);
    return event;
}

static void fill(uint8_t *bytes, size_t n, uint8_t seed)
{
    for (size_t i = 0; i < n; i++) {
        bytes[i] = (uint8_t)(seed + i * 7 + (i >> 8));
    }
}

static void expect_frame(pair *p, const uint8_t *want, size_t n, bool more)
{
    tb_zmtp_event event;
    next_event(p, &event);
    CHECK(event.kind == TB_ZMTP_FRAME);
    CHECK(event.n_data == n && event.more == more);
    assert_memory_equal(event.data, want, n);
    tb_mem_free(event.memory);
}

static void send_frame(pair *p, const uint8_t *data, size_t n, bool more)
{
    static uint8_t out[PAYLOAD_MAX + TB_ZMTP_SEALED_BYTES_MAX];
    send_all(
        p, out,
        tb_zmtp_seal(&p->z, tb_zmtp_next_nonce(&p->z), more, data, n, out));
}

static void expect_at_dealer(const pair *p, const uint8_t *want, size_t n,
                             bool more)
{
    static uint8_t got[PAYLOAD_MAX + 1];
    int more_now = 0;
    size_t n_more = sizeof more_now;
    CHECK(zmq_recv(p->dealer, got, sizeof got, 0) == (int)n);
    assert_memory_equal(got, want, n);
    CHECK(zmq_getsockopt(p->dealer, ZMQ_RCVMORE, &more_now, &n_more) == 0);
    CHECK((more_now != 0) == more);
}

static void messages_of_every_size_go_both_ways(void **state)
{
    static const size_t sizes[] = {0,   1,   222,   223,        255,
                                   256, 257, 32768, PAYLOAD_MAX};
    static uint8_t data[PAYLOAD_MAX];
    static const uint8_t envelope[3] = "env";
    pair p;
    (void)state;
    open_pair(&p);
    meet(&p);
    CHECK(next_monitored(&p) == ZMQ_EVENT_HANDSHAKE_SUCCEEDED);
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        size_t n = sizes[i];
        fill(data, n, (uint8_t)i);
        CHECK(zmq_send(p.dealer, envelope, 3, ZMQ_SNDMORE) == 3);
        CHECK(zmq_send(p.dealer, data, n, 0) == (int)n);
        CHECK(zmq_send(p.dealer, envelope, 2, 0) == 2); /* alone */
        expect_frame(&p, envelope, 3, true);
        expect_frame(&p, data, n, false);
        expect_frame(&p, envelope, 2, false);
        send_frame(&p, envelope, 3, true);
        send_frame(&p, data, n, false);
        send_frame(&p, envelope, 2, false);
        expect_at_dealer(&p, envelope, 3, true);
        expect_at_dealer(&p, data, n, false);
        expect_at_dealer(&p, envelope, 2, false);
    }
    close_pair(&p);
}

static void a_key_that_is_refused_hears_that_it_failed(void **state)
{
    uint8_t answer[TB_ZMTP_ANSWER_BYTES_MAX];
    tb_zmtp_event event;
    pair p;
    (void)state;
    open_pair(&p);
    accept_peer(&p);
    next_event(&p, &event);
    CHECK(event.kind == TB_ZMTP_KEY);
    size_t n = tb_zmtp_refuse(&p.z, "400", answer);
    CHECK(n > 0 && tb_secret_live() == 1); /* the door's */
    send_all(&p, answer, n);
    CHECK(next_monitored(&p) == ZMQ_EVENT_HANDSHAKE_FAILED_AUTH);
    close_pair(&p);
}

/* An ERROR would end the socket's tries for ever. */
static void a_key_that_may_come_later_comes_again_by_itself(void **state)
{
    uint8_t answer[TB_ZMTP_ANSWER_BYTES_MAX];
    tb_zmtp_event event;
    pair p;
    (void)state;
    open_pair(&p);
    accept_peer(&p);
    next_event(&p, &event);
    CHECK(event.kind == TB_ZMTP_KEY);
    CHECK(tb_zmtp_refuse(&p.z, "300", answer) == 0);
    CHECK(close(p.fd) == 0);
    meet(&p);
    CHECK(next_monitored(&p) == ZMQ_EVENT_HANDSHAKE_SUCCEEDED);
    close_pair(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(messages_of_every_size_go_both_ways),
        cmocka_unit_test(a_key_that_is_refused_hears_that_it_failed),
        cmocka_unit_test(a_key_that_may_come_later_comes_again_by_itself),
    };
    tb_err err = {0};
    return tb_crypto_init(&err) == TB_OK
               ? cmocka_run_group_tests(tests, NULL, NULL)
               : 1;
}
