#include "support/zmtp_talk.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

static void must(bool good)
{
    if (!good) {
        abort();
    }
}

void zmtp_talk_init(zmtp_talk *t, const tb_zmtp_limits *limits)
{
    uint8_t server[32];
    uint8_t secret[32];
    *t = (zmtp_talk){0};
    must(crypto_box_keypair(server, secret) == 0);
    must(tb_curve_door_new(&t->door, secret, NULL) == TB_OK);
    curve_client_init(&t->client, server);
    tb_zmtp_init(&t->z, t->door, limits);
}

void zmtp_talk_again(zmtp_talk *t, const tb_zmtp_limits *limits)
{
    tb_zmtp_release(&t->z);
    t->client.nonce = 1;
    tb_zmtp_init(&t->z, t->door, limits);
}

void zmtp_talk_release(zmtp_talk *t)
{
    tb_zmtp_release(&t->z);
    tb_curve_door_free(&t->door);
}

void zmtp_talk_greeting(uint8_t out[static ZMTP_GREETING_BYTES])
{
    memset(out, 0, ZMTP_GREETING_BYTES);
    out[0] = 0xff;
    out[8] = 1;
    out[9] = 0x7f;
    out[10] = 3;
    out[11] = 1;
    memcpy(out + 12, "CURVE", 5);
}

size_t zmtp_talk_frame(uint8_t *out, uint8_t flags, const uint8_t *body,
                       size_t n)
{
    size_t head = n > 255 ? 9 : 2;
    memmove(out + head, body, n);
    out[0] = (uint8_t)(flags | (n > 255 ? 2 : 0));
    for (size_t i = 1; i < head; i++) {
        out[i] = (uint8_t)((uint64_t)n >> 8 * (head - 1 - i));
    }
    return head + n;
}

/* Says n bytes; the event that they end in must be of that kind. */
static tb_zmtp_event say(zmtp_talk *t, const uint8_t *bytes, size_t n,
                         tb_zmtp_kind kind)
{
    tb_zmtp_event event = {.kind = TB_ZMTP_NOTHING};
    size_t used = 0;
    for (size_t at = 0; at < n; at += used) {
        must(tb_zmtp_read(&t->z, bytes + at, n - at, &used, &event, NULL) ==
             TB_OK);
        must(used > 0);
    }
    must(event.kind == kind);
    return event;
}

void zmtp_talk_hello(zmtp_talk *t)
{
    static const uint8_t zeroes[64];
    uint8_t bytes[ZMTP_GREETING_BYTES + ZMTP_HELLO_BYTES];
    uint8_t hello[200];
    zmtp_talk_greeting(bytes);
    curve_client_hello(&t->client, zeroes, hello);
    size_t n = ZMTP_GREETING_BYTES;
    n += zmtp_talk_frame(bytes + n, 4, hello, sizeof hello);
    tb_zmtp_event event = say(t, bytes, n, TB_ZMTP_ANSWER);
    must(event.n_answer == 170 && event.answer[0] == 4 &&
         event.answer[1] == 168);
    must(curve_client_welcome(&t->client, event.answer + 2));
}

size_t zmtp_talk_initiate(zmtp_talk *t, const uint8_t *metadata, size_t n,
                          uint8_t out[static ZMTP_INITIATE_MAX])
{
    uint8_t body[ZMTP_INITIATE_MAX];
    uint8_t proof[CURVE_PROOF_BYTES];
    must(n <= sizeof body - 300);
    if (metadata == NULL) {
        metadata = curve_client_dealer;
        n = curve_client_dealer_bytes;
    }
    curve_client_prove(&t->client, proof);
    n = curve_client_initiate(&t->client, proof, metadata, n, body);
    return zmtp_talk_frame(out, 4, body, n);
}

void zmtp_talk_meet(zmtp_talk *t)
{
    uint8_t bytes[ZMTP_INITIATE_MAX];
    uint8_t answer[TB_ZMTP_ANSWER_BYTES_MAX];
    uint8_t metadata[TB_ZMTP_ANSWER_BYTES_MAX];
    uint64_t nonce = 0;
    zmtp_talk_hello(t);
    size_t n = zmtp_talk_initiate(t, NULL, 0, bytes);
    tb_zmtp_event event = say(t, bytes, n, TB_ZMTP_KEY);
    must(memcmp(event.key, t->client.key, 32) == 0);
    n = tb_zmtp_accept(&t->z, answer);
    must(answer[0] == 4 && answer[1] + 2u == n);
    must(curve_client_ready(&t->client, answer + 2, n - 2, metadata, &nonce));
}

size_t zmtp_talk_message(zmtp_talk *t, uint8_t flags, const uint8_t *data,
                         size_t n, uint8_t *out)
{
    size_t body = 33 + n;
    curve_client_message(&t->client, flags, data, n,
                         out + (body > 255 ? 9 : 2));
    return zmtp_talk_frame(out, 0, out + (body > 255 ? 9 : 2), body);
}
