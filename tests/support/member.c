#include "support/member.h"

#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "crypto/crypto.h"

#define CONNECT_MS 20000
#define STOP_MS    5000

void die(const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    (void)vfprintf(stderr, fmt, args);
    va_end(args);
    (void)fputc('\n', stderr);
    exit(1);
}

void member_open(member *m, const char *dir)
{
    tb_err err;
    *m = (member){0};
    if (tb_crypto_init(&err) != TB_OK ||
        home_open(&m->home, dir, TB_FOLDER_LOCK, &err) != TB_OK) {
        die("%s", err.text);
    }
}

/* The next event, or NULL when none came for wait_ms. */
static tb_inbound *next_event(member *m, int wait_ms)
{
    tb_inbound *in = NULL;
    int64_t until = tb_clock_ms() + wait_ms;
    struct pollfd p = {.fd = tb_dial_fd(m->dial), .events = POLLIN};
    tb_dial_receive(m->dial, &in);
    for (int64_t left = wait_ms; in == NULL && left > 0;
         left = until - tb_clock_ms()) {
        (void)poll(&p, 1, (int)left);
        tb_dial_receive(m->dial, &in);
    }
    return in;
}

void member_dial(member *m)
{
    tb_err err;
    const home *h = &m->home;
    tb_dial_options options = {.endpoint = h->fed.endpoint,
                               .server_key = h->fed.certificate.curve_key,
                               .curve_public = tb_box_key_public(h->curve_key),
                               .curve_secret = tb_box_key_secret(h->curve_key)};
    if (tb_dial_start(&m->dial, &options, &err) != TB_OK) {
        die("%s", err.text);
    }
    tb_inbound *in = next_event(m, CONNECT_MS);
    if (in == NULL || in->kind != TB_IN_CONNECTED) {
        die("%s: %s", h->fed.endpoint, in != NULL ? in->why : "no answer");
    }
    tb_inbound_free(&in);
}

void member_say(member *m, const tb_msg *msg, const uint8_t *payload, size_t n)
{
    tb_err err;
    tb_buf envelope;
    tb_buf bytes;
    tb_shared *shared = NULL;
    tb_buf_init(&envelope, TB_ENVELOPE_BYTES_MAX);
    tb_buf_init(&bytes, n);
    tb_rc rc = tb_msg_encode(msg, &envelope, &err);
    if (rc == TB_OK && n > 0) {
        rc = tb_buf_put(&bytes, payload, n, &err);
        rc = rc == TB_OK ? tb_shared_new(&shared, &bytes, &err) : rc;
    }
    tb_outbound out = {.envelope = envelope.data,
                       .envelope_bytes = envelope.len,
                       .payload = shared,
                       .payload_bytes = n};
    while (rc == TB_OK &&
           (rc = tb_dial_send(m->dial, &out, &err)) == TB_E_FULL) {
        (void)poll(NULL, 0, 1);
        rc = TB_OK;
    }
    if (rc != TB_OK) {
        die("%s: %s", tb_msg_kind_name(msg->kind), err.text);
    }
    tb_shared_free(&shared);
    tb_buf_release(&bytes);
    tb_buf_release(&envelope);
}

bool member_hear(member *m, tb_msg *out, int wait_ms)
{
    tb_err err;
    tb_inbound *in = NULL;
    int64_t until = tb_clock_ms() + wait_ms;
    do {
        tb_inbound_free(&in);
        int64_t left = until - tb_clock_ms();
        in = next_event(m, left > 0 ? (int)left : 0);
    } while (in != NULL && in->kind != TB_IN_MESSAGE);
    if (in == NULL) {
        return false;
    }
    if (tb_msg_decode(out, in->envelope, in->envelope_bytes, in->payload_bytes,
                      &err) != TB_OK) {
        die("the coordinator's message: %s", err.text);
    }
    tb_inbound_free(&in);
    return true;
}

void member_close(member *m)
{
    tb_err err;
    tb_msg bye = {.kind = TB_MSG_BYE};
    if (m->dial != NULL) {
        member_say(m, &bye, NULL, 0);
        if (tb_dial_stop(&m->dial, STOP_MS, &err) != TB_OK) {
            die("%s", err.text);
        }
    }
    home_close(&m->home);
}
