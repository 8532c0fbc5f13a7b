/* tests/support/flood.c - a member that floods the coordinator until it is
 * killed:
 *   flood HOME garbage    messages of noise
 *   flood HOME three      messages of three frames
 *   flood HOME oversized  frames over every limit
 *   flood HOME endless    messages of 100 MB in frames that are small enough
 *   flood HOME deaf       good requests, whose answers it never reads
 *   flood HOME fuzz       messages of every kind, good and altered ones, and
 *                         noise; comes back when it may
 *   flood HOME loris SET  begins an upload and never goes on with it
 * It says "cut" whenever it is disconnected, and comes back. With FLOOD_FROM in
 * the environment it comes from that address of ours. */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <zmq.h>

#include "base/buf.h"
#include "crypto/crypto.h"
#include "support/member.h"
#include "unit/wire/samples.h"

#define FRAME_BYTES     60000u
#define OVERSIZED_BYTES (TB_PAYLOAD_BYTES_MAX + 1u)
#define ENDLESS_FRAMES  1700
#define SOON_MS         5
#define PATIENT_MS      250 /* longer than one is held for a broken rule */
#define PAUSE_MS        200 /* after what our own memory has to hold whole */

static uint8_t bytes[OVERSIZED_BYTES];

typedef struct flood {
    void *context, *socket, *monitor;
} flood;

static void check(bool good)
{
    if (!good) {
        die("%s", zmq_strerror(zmq_errno()));
    }
}

static void set(void *socket, int option, const void *value, size_t n)
{
    check(zmq_setsockopt(socket, option, value, n) == 0);
}

static void connect_from(void *socket, const char *endpoint, const char *from)
{
    char text[1024];
    (void)snprintf(text, sizeof text, "tcp://%s%s%s", from != NULL ? from : "",
                   from != NULL ? ":0;" : "", endpoint + strlen("tcp://"));
    check(zmq_connect(socket, text) == 0);
}

/* soon: ms until it is back. */
static void dial(flood *f, const home *h, int soon)
{
    int few = 16;
    f->context = zmq_ctx_new();
    f->socket = zmq_socket(f->context, ZMQ_DEALER);
    f->monitor = zmq_socket(f->context, ZMQ_PAIR);
    check(f->socket != NULL && f->monitor != NULL);
    set(f->socket, ZMQ_SNDHWM, &few, sizeof few);
    set(f->socket, ZMQ_RCVHWM, &few, sizeof few);
    set(f->socket, ZMQ_RECONNECT_IVL, &soon, sizeof soon);
    set(f->socket, ZMQ_CURVE_SERVERKEY, h->fed.certificate.curve_key, 32);
    set(f->socket, ZMQ_CURVE_PUBLICKEY, tb_box_key_public(h->curve_key), 32);
    set(f->socket, ZMQ_CURVE_SECRETKEY, tb_box_key_secret(h->curve_key), 32);
    check(zmq_socket_monitor(f->socket, "inproc://flood",
                             ZMQ_EVENT_DISCONNECTED) == 0);
    check(zmq_connect(f->monitor, "inproc://flood") == 0);
    connect_from(f->socket, h->fed.endpoint, getenv("FLOOD_FROM"));
}

static void tell_cuts(flood *f)
{
    char event[512];
    while (zmq_recv(f->monitor, event, sizeof event, ZMQ_DONTWAIT) >= 0) {
        check(zmq_recv(f->monitor, event, sizeof event, 0) >= 0); /* address */
        (void)puts("cut");
    }
}

/* One message; while the coordinator does not read, cuts are told. */
static void send_frames(flood *f, const void *frame, size_t len, int n)
{
    for (int i = 0; i < n; i++) {
        int more = i < n - 1 ? ZMQ_SNDMORE : 0;
        while (zmq_send(f->socket, frame, len, more | ZMQ_DONTWAIT) < 0) {
            check(zmq_errno() == EAGAIN);
            tell_cuts(f);
            (void)poll(NULL, 0, 1);
        }
    }
}

static void send_message(flood *f, const tb_msg *msg)
{
    tb_err err;
    tb_buf envelope;
    tb_buf_init(&envelope, TB_ENVELOPE_BYTES_MAX);
    if (tb_msg_encode(msg, &envelope, &err) != TB_OK) {
        die("%s", err.text);
    }
    send_frames(f, envelope.data, envelope.len, 1);
    tb_buf_release(&envelope);
}

static void ask(flood *f, const home *h)
{
    tb_msg msg = {.kind = TB_MSG_HELLO,
                  .u.hello = {.protocol_min = TB_PROTOCOL_MIN,
                              .protocol_max = TB_PROTOCOL_MAX,
                              .client = h->fed.client,
                              .software = "flood"}};
    send_message(f, &msg);
    msg = (tb_msg){.kind = TB_MSG_FETCH, .u.fetch.length = TB_FETCH_BYTES_MAX};
    for (int i = 0; i < 1000; i++) {
        send_message(f, &msg);
    }
}

/* Answers are of no interest, but read they must be. */
static void drain(flood *f, tb_msg *last)
{
    zmq_msg_t frame;
    for (bool more = true; more;) {
        check(zmq_msg_init(&frame) == 0);
        more = zmq_msg_recv(&frame, f->socket, ZMQ_DONTWAIT) >= 0;
        if (more && last != NULL) {
            tb_msg_release(last);
            (void)!tb_msg_decode(last, zmq_msg_data(&frame),
                                 zmq_msg_size(&frame), 0, NULL);
            more = last->kind != TB_MSG_OFFER;
        }
        (void)zmq_msg_close(&frame);
    }
}

static void hello(flood *f, const home *h, const char *set_name)
{
    tb_msg msg = {.kind = TB_MSG_HELLO,
                  .u.hello = {.protocol_min = TB_PROTOCOL_MIN,
                              .protocol_max = TB_PROTOCOL_MAX,
                              .client = h->fed.client,
                              .software = "flood",
                              .n_data_sets = 1}};
    if (!tb_name_set(&msg.u.hello.data_sets[0], set_name)) {
        die("%s is no name", set_name);
    }
    send_message(f, &msg);
}

/* Two of a thousand are altered, two are noise: both end the connection, the
 * others go deeper. */
static void fuzz(flood *f, const home *h)
{
    static unsigned long n;
    uint32_t dice[4];
    tb_buf envelope;
    tb_random_bytes(dice, sizeof dice);
    if (n % 50 == 0) {
        hello(f, h, "nothing");
    }
    tb_buf_init(&envelope, TB_ENVELOPE_BYTES_MAX);
    tb_msg_kind kind = 1 + (tb_msg_kind)(dice[0] % (TB_MSG_KIND_END - 1));
    tb_msg msg = sample_msg(kind == TB_MSG_BYE ? TB_MSG_CHECK_IN : kind);
    if (tb_msg_encode(&msg, &envelope, NULL) != TB_OK) {
        die("no sample of kind %d", (int)kind);
    }
    if (dice[1] % 1000 < 4) {
        size_t at = dice[1] % 2 != 0 ? 0 : dice[2] % envelope.len;
        size_t end = dice[1] % 2 != 0 ? envelope.len : at + 1;
        tb_random_bytes(envelope.data + at, end - at);
    }
    size_t payload = sample_payload(msg.kind);
    int more = payload > 0 ? ZMQ_SNDMORE : 0;
    /* Unread answers would keep libzmq from seeing that its peer has gone. */
    while (zmq_send(f->socket, envelope.data, envelope.len,
                    more | ZMQ_DONTWAIT) < 0) {
        drain(f, NULL);
        tell_cuts(f);
        (void)poll(NULL, 0, 1);
    }
    if (payload > 0) {
        send_frames(f, bytes, payload, 1);
    }
    tb_buf_release(&envelope);
    drain(f, NULL);
    n++;
}

/* Takes a seat, begins an upload, and begins it again as long as it may. */
static void loris(flood *f, const home *h, const char *set_name)
{
    static tb_round_config config;
    tb_msg msg = {.kind = TB_MSG_CHECK_IN};
    tb_msg heard = {0};
    hello(f, h, set_name);
    send_message(f, &msg);
    for (int i = 0; i < 50 && heard.kind != TB_MSG_OFFER; i++) {
        (void)poll(NULL, 0, 20);
        drain(f, &heard);
    }
    if (heard.kind == TB_MSG_OFFER &&
        tb_round_config_decode(&config, heard.u.offer.config.data,
                               heard.u.offer.config.len, NULL) == TB_OK) {
        msg = (tb_msg){.kind = TB_MSG_UPLOAD_BEGIN};
        msg.u.upload_begin.config =
            tb_hash_of(heard.u.offer.config.data, heard.u.offer.config.len);
        msg.u.upload_begin.upload.bytes[0] = 1;
        msg.u.upload_begin.n_blocks = tb_round_config_blocks(&config);
        for (int i = 0; i < 4; i++) {
            send_message(f, &msg);
            (void)poll(NULL, 0, 50);
            drain(f, NULL);
        }
        (void)puts("loris sits");
    }
    tb_msg_release(&heard);
}

static void pour(flood *f, const home *h, const char *what)
{
    if (strcmp(what, "garbage") == 0) {
        send_frames(f, bytes, bytes[0] + 1u, 1);
        tb_random_bytes(bytes, 256);
    } else if (strcmp(what, "three") == 0) {
        send_frames(f, bytes, 100, 3);
    } else if (strcmp(what, "oversized") == 0) {
        send_frames(f, bytes, OVERSIZED_BYTES, 1);
    } else if (strcmp(what, "endless") == 0) {
        send_frames(f, bytes, FRAME_BYTES, ENDLESS_FRAMES);
        (void)poll(NULL, 0, PAUSE_MS);
    } else if (strcmp(what, "deaf") == 0) {
        ask(f, h);
    } else if (strcmp(what, "fuzz") == 0) {
        fuzz(f, h);
    } else {
        die("no flood of %s", what);
    }
}

int main(int argc, char **argv)
{
    member m;
    flood f;
    if (argc < 3) {
        die("usage: flood HOME garbage|three|oversized|endless|deaf|fuzz|loris "
            "SET");
    }
    (void)setvbuf(stdout, NULL, _IOLBF, 0);
    member_open(&m, argv[1]);
    dial(&f, &m.home, strcmp(argv[2], "fuzz") == 0 ? PATIENT_MS : SOON_MS);
    for (;;) {
        if (argc > 3) {
            loris(&f, &m.home, argv[3]);
        } else {
            pour(&f, &m.home, argv[2]);
        }
        tell_cuts(&f);
    }
}
