#include "support/curve_client.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

const uint8_t curve_client_dealer[] = "\x0bSocket-Type\0\0\0\x06"
                                      "DEALER\x08Identity\0\0\0";
const size_t curve_client_dealer_bytes = sizeof curve_client_dealer;

void curve_client_init(curve_client *c, const uint8_t server[static 32])
{
    *c = (curve_client){.nonce = 1};
    memcpy(c->server, server, 32);
    (void)crypto_box_keypair(c->key, c->secret);
    (void)crypto_box_keypair(c->short_key, c->short_secret);
}

static void seal(uint8_t *out, const uint8_t *words, size_t n,
                 const uint8_t nonce[static 24], const uint8_t to[static 32],
                 const uint8_t from[static 32])
{
    if (crypto_box_easy(out, words, n, nonce, to, from) != 0) {
        abort(); /* a test's own key is no key */
    }
}

static void put64(uint8_t *at, uint64_t v)
{
    for (int i = 0; i < 8; i++) {
        at[i] = (uint8_t)(v >> (56 - 8 * i));
    }
}

static uint64_t get64(const uint8_t *at)
{
    uint64_t v = 0;
    for (int i = 0; i < 8; i++) {
        v |= (uint64_t)at[i] << (56 - 8 * i);
    }
    return v;
}

/* prefix 16 | counter 8, which also goes to at. */
static void next_nonce(curve_client *c, const char *prefix, uint8_t *at,
                       uint8_t nonce[static 24])
{
    put64(at, c->nonce++);
    memcpy(nonce, prefix, 16);
    memcpy(nonce + 16, at, 8);
}

void curve_client_hello(curve_client *c, const uint8_t words[static 64],
                        uint8_t out[static 200])
{
    uint8_t nonce[24];
    memset(out, 0, 200);
    memcpy(out, "\x05HELLO\x01", 7);
    memcpy(out + 80, c->short_key, 32);
    next_nonce(c, "CurveZMQHELLO---", out + 112, nonce);
    seal(out + 120, words, 64, nonce, c->server, c->short_secret);
}

bool curve_client_welcome(curve_client *c, const uint8_t body[static 168])
{
    uint8_t nonce[24];
    uint8_t words[128];
    memcpy(nonce, "WELCOME-", 8);
    memcpy(nonce + 8, body + 8, 16);
    if (memcmp(body, "\x07WELCOME", 8) != 0 ||
        crypto_box_open_easy(words, body + 24, 144, nonce, c->server,
                             c->short_secret) != 0) {
        return false;
    }
    memcpy(c->server_short, words, 32);
    memcpy(c->cookie, words + 32, 96);
    return true;
}

void curve_client_prove(const curve_client *c,
                        uint8_t proof[static CURVE_PROOF_BYTES])
{
    uint8_t nonce[24];
    uint8_t keys[64];
    memcpy(proof, c->key, 32);
    randombytes_buf(proof + 32, 16);
    memcpy(nonce, "VOUCH---", 8);
    memcpy(nonce + 8, proof + 32, 16);
    memcpy(keys, c->short_key, 32);
    memcpy(keys + 32, c->server, 32);
    seal(proof + 48, keys, 64, nonce, c->server_short, c->secret);
}

size_t curve_client_initiate(curve_client *c,
                             const uint8_t proof[static CURVE_PROOF_BYTES],
                             const uint8_t *metadata, size_t n, uint8_t *out)
{
    uint8_t nonce[24];
    uint8_t *plain = out + 129;
    memcpy(out, "\x08INITIATE", 9);
    memcpy(out + 9, c->cookie, 96);
    next_nonce(c, "CurveZMQINITIATE", out + 105, nonce);
    memcpy(plain, proof, CURVE_PROOF_BYTES);
    if (n > 0) {
        memcpy(plain + CURVE_PROOF_BYTES, metadata, n);
    }
    seal(out + 113, plain, CURVE_PROOF_BYTES + n, nonce, c->server_short,
         c->short_secret);
    return 257 + n;
}

/* Opens the box of a command whose nonce lies before it. */
static bool open_after(const curve_client *c, const char *prefix,
                       const uint8_t *at, size_t n, uint8_t *out,
                       uint64_t *counter)
{
    uint8_t nonce[24];
    memcpy(nonce, prefix, 16);
    memcpy(nonce + 16, at, 8);
    *counter = get64(at);
    return crypto_box_open_easy(out, at + 8, n - 8, nonce, c->server_short,
                                c->short_secret) == 0;
}

bool curve_client_ready(const curve_client *c, const uint8_t *body, size_t n,
                        uint8_t *out, uint64_t *nonce)
{
    return n >= 30 && memcmp(body, "\x05READY", 6) == 0 &&
           open_after(c, "CurveZMQREADY---", body + 6, n - 6, out, nonce);
}

void curve_client_message(curve_client *c, uint8_t flags, const uint8_t *data,
                          size_t n, uint8_t *out)
{
    uint8_t nonce[24];
    uint8_t *plain = out + 32;
    memcpy(out, "\x07MESSAGE", 8);
    next_nonce(c, "CurveZMQMESSAGEC", out + 8, nonce);
    plain[0] = flags;
    if (n > 0) {
        memcpy(plain + 1, data, n);
    }
    seal(out + 16, plain, n + 1, nonce, c->server_short, c->short_secret);
}

bool curve_client_open(const curve_client *c, const uint8_t *body, size_t n,
                       uint8_t *out, uint64_t *nonce)
{
    return n >= 33 && memcmp(body, "\x07MESSAGE", 8) == 0 &&
           open_after(c, "CurveZMQMESSAGES", body + 8, n - 8, out, nonce);
}
