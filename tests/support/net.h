/* tests/support/net.h - a coordinator's and a client's end of the network on
 * the loopback, and bare libzmq peers that obey nothing. Ports are chosen by
 * the system; waiting is always for an event, with a limit that only a failure
 * reaches. */
#ifndef TB_TESTS_SUPPORT_NET_H
#define TB_TESTS_SUPPORT_NET_H

#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <zmq.h>

#include "base/clock.h"
#include "host/dial.h"
#include "host/transport.h"
#include "support/check.h"

#define LIMIT_MS 120000

typedef struct keys {
    uint8_t public[TB_CURVE_PUBLIC_BYTES];
    uint8_t secret[TB_CURVE_PUBLIC_BYTES];
} keys;

static keys server_keys;

/* Memory of this process now. */
static inline size_t resident_bytes(void)
{
    unsigned long pages = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    CHECK(f != NULL && fscanf(f, "%*u %lu", &pages) == 1);
    (void)fclose(f);
    return pages * (size_t)sysconf(_SC_PAGESIZE);
}

static inline keys new_keys(void)
{
    keys k;
    char public[41];
    char secret[41];
    CHECK(zmq_curve_keypair(public, secret) == 0);
    CHECK(zmq_z85_decode(k.public, public) != NULL);
    CHECK(zmq_z85_decode(k.secret, secret) != NULL);
    return k;
}

static inline tb_name name_of(const char *text)
{
    tb_name name;
    CHECK(tb_name_set(&name, text));
    return name;
}

static inline tb_transport *start_server(uint32_t enrols_per_minute)
{
    tb_err err;
    tb_transport *t = NULL;
    tb_transport_options o = {.endpoint = "tcp://127.0.0.1:0",
                              .enrol_endpoint = "tcp://127.0.0.1:0",
                              .curve_public = server_keys.public,
                              .curve_secret = server_keys.secret,
                              .enrols_per_minute = enrols_per_minute};
    CHECK_OK(tb_transport_start(&t, &o, &err), err);
    return t;
}

static inline void stop_server(tb_transport **t)
{
    tb_err err;
    CHECK_OK(tb_transport_stop(t, LIMIT_MS, &err), err);
}

static inline tb_dial *start_client(const tb_transport *t, const keys *k)
{
    tb_err err;
    tb_dial *d = NULL;
    tb_dial_options o = {.endpoint = tb_transport_endpoint(t),
                         .server_key = server_keys.public,
                         .curve_public = k->public,
                         .curve_secret = k->secret};
    CHECK_OK(tb_dial_start(&d, &o, &err), err);
    return d;
}

static inline void stop_client(tb_dial **d)
{
    tb_err err;
    CHECK_OK(tb_dial_stop(d, LIMIT_MS, &err), err);
}

static inline tb_inbound *server_event(tb_transport *t)
{
    struct pollfd p = {.fd = tb_transport_fd(t), .events = POLLIN};
    tb_inbound *in = NULL;
    int64_t until = tb_clock_ms() + LIMIT_MS;
    while (in == NULL && tb_clock_ms() < until) {
        (void)poll(&p, 1, 100);
        tb_transport_receive(t, &in);
    }
    CHECK(in != NULL);
    return in;
}

static inline tb_inbound *client_event(tb_dial *d)
{
    struct pollfd p = {.fd = tb_dial_fd(d), .events = POLLIN};
    tb_inbound *in = NULL;
    int64_t until = tb_clock_ms() + LIMIT_MS;
    while (in == NULL && tb_clock_ms() < until) {
        (void)poll(&p, 1, 100);
        tb_dial_receive(d, &in);
    }
    CHECK(in != NULL);
    return in;
}

static inline void expect_client(tb_dial *d, tb_in_kind kind, const char *part)
{
    tb_inbound *in = client_event(d);
    if (in->kind != kind) {
        print_message("kind %d, why '%s'\n", in->kind, in->why);
    }
    CHECK(in->kind == kind && strstr(in->why, part) != NULL);
    tb_inbound_free(&in);
}

static inline tb_outbound text_message(const char *text)
{
    return (tb_outbound){.envelope = (const uint8_t *)text,
                         .envelope_bytes = strlen(text)};
}

static inline void say(tb_dial *d, const char *text)
{
    tb_err err;
    tb_outbound m = text_message(text);
    CHECK_OK(tb_dial_send(d, &m, &err), err);
}

static inline bool is_text(const tb_inbound *in, const char *text)
{
    return in->envelope_bytes == strlen(text) &&
           memcmp(in->envelope, text, strlen(text)) == 0;
}

/* A client that is allowed, connected and known to the server. */
static inline tb_dial *welcome(tb_transport *t, const char *text, const keys *k)
{
    tb_err err;
    tb_name name = name_of(text);
    CHECK_OK(tb_transport_allow(t, &name, k->public, &err), err);
    tb_dial *d = start_client(t, k);
    expect_client(d, TB_IN_CONNECTED, "");
    say(d, "hello");
    tb_inbound *in = server_event(t);
    CHECK(in->kind == TB_IN_MESSAGE && tb_name_equal(&in->client, &name));
    CHECK(is_text(in, "hello") && in->payload == NULL);
    CHECK(memcmp(in->curve_key, k->public, sizeof k->public) == 0);
    tb_inbound_free(&in);
    return d;
}

static inline tb_shared *shared_of(size_t len, uint8_t fill)
{
    tb_buf buf;
    tb_err err;
    tb_shared *s = NULL;
    tb_buf_init(&buf, len);
    CHECK_OK(tb_buf_reserve(&buf, len, &err), err);
    memset(buf.data, fill, len);
    buf.len = len;
    CHECK_OK(tb_shared_new(&s, &buf, &err), err);
    return s;
}

static inline void totals_reach(tb_transport *t, const uint64_t *field,
                                tb_transport_totals *totals, uint64_t want)
{
    int64_t until = tb_clock_ms() + LIMIT_MS;
    do {
        tb_transport_totals_get(t, totals);
        (void)poll(NULL, 0, 5);
    } while (*field < want && tb_clock_ms() < until);
    CHECK(*field >= want);
}

/* --- peers that obey nothing --- */

typedef struct rogue {
    void *context, *socket;
} rogue;

/* A DEALER in a context of the caller's; without keys it speaks NULL. */
static inline void *rogue_socket(void *context, const char *endpoint,
                                 const keys *k)
{
    int zero = 0;
    int linger = 200;
    void *socket = zmq_socket(context, ZMQ_DEALER);
    CHECK(zmq_setsockopt(socket, ZMQ_LINGER, &linger, sizeof linger) == 0);
    CHECK(zmq_setsockopt(socket, ZMQ_SNDHWM, &zero, sizeof zero) == 0);
    if (k != NULL) {
        CHECK(zmq_setsockopt(socket, ZMQ_CURVE_SERVERKEY, server_keys.public,
                             32) == 0);
        CHECK(zmq_setsockopt(socket, ZMQ_CURVE_PUBLICKEY, k->public, 32) == 0);
        CHECK(zmq_setsockopt(socket, ZMQ_CURVE_SECRETKEY, k->secret, 32) == 0);
    }
    CHECK(zmq_connect(socket, endpoint) == 0);
    return socket;
}

static inline rogue start_rogue(const char *endpoint, const keys *k)
{
    rogue r = {.context = zmq_ctx_new()};
    r.socket = rogue_socket(r.context, endpoint, k);
    return r;
}

static inline void stop_rogue(rogue *r)
{
    CHECK(zmq_close(r->socket) == 0);
    CHECK(zmq_ctx_term(r->context) == 0);
}

static inline void send_frames(const rogue *r, int n, size_t len, bool end)
{
    static uint8_t bytes[TB_PAYLOAD_BYTES_MAX + 100];
    for (int i = 0; i < n; i++) {
        int more = end && i == n - 1 ? 0 : ZMQ_SNDMORE;
        CHECK(zmq_send(r->socket, bytes, len, more) >= 0);
    }
}

typedef struct enrolment {
    const char *endpoint;
    const keys *k;
    int timeout_ms;
    tb_buf reply;
    tb_rc rc;
    tb_err err;
} enrolment;

static inline void *enrol(void *arg)
{
    enrolment *e = arg;
    tb_buf envelope;
    tb_buf_init(&envelope, 100);
    tb_buf_init(&e->reply, TB_ENVELOPE_BYTES_MAX);
    e->rc = tb_buf_put(&envelope, "let me in", 9, &e->err);
    if (e->rc == TB_OK) {
        tb_dial_options o = {.endpoint = e->endpoint,
                             .server_key = server_keys.public,
                             .curve_public = e->k->public,
                             .curve_secret = e->k->secret};
        e->rc = tb_dial_enrol(&o, &envelope, &e->reply, e->timeout_ms, &e->err);
    }
    tb_buf_release(&envelope);
    return NULL;
}

#endif
