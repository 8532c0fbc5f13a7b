#include "crypto/curve.h"

#include <assert.h>
#include <sodium.h>
#include <string.h>

#include "base/mem.h"
#include "crypto/secret.h"

#define KEY_BYTES   TB_CURVE_KEY_BYTES
#define NONCE_BYTES crypto_box_NONCEBYTES
#define TAG_BYTES   crypto_box_MACBYTES
#define SHORT_BYTES 8  /* of a nonce: a counter, behind 16 bytes of prefix */
#define LONG_BYTES  16 /* by chance, behind 8 bytes of prefix */

/* Where the parts of the commands lie; the head of curve.h shows them whole. */
#define HELLO_ZEROES    8
#define HELLO_CLIENT    80
#define HELLO_NONCE     112
#define HELLO_BOX       120
#define WELCOME_NONCE   8
#define WELCOME_BOX     24
#define COOKIE_BYTES    96
#define INITIATE_COOKIE 9
#define INITIATE_NONCE  105
#define INITIATE_BOX    113
#define READY_NONCE     6
#define READY_BOX       14
#define MESSAGE_NONCE   8
#define MESSAGE_BOX     16

/* What lies in the box of INITIATE. */
#define PROOF_VOUCH_NONCE 32
#define PROOF_VOUCH       48
#define PROOF_METADATA    128

_Static_assert(2 * KEY_BYTES == TB_SECRET_BYTES, "two keys fill a slot");
_Static_assert(crypto_box_PUBLICKEYBYTES == KEY_BYTES, "X25519");
_Static_assert(crypto_box_SECRETKEYBYTES == KEY_BYTES, "X25519");
_Static_assert(crypto_box_BEFORENMBYTES == KEY_BYTES, "a shared key");
_Static_assert(crypto_secretbox_KEYBYTES == KEY_BYTES, "the cookies' key");
_Static_assert(crypto_secretbox_NONCEBYTES == NONCE_BYTES, "of a cookie");
_Static_assert(crypto_secretbox_MACBYTES == TAG_BYTES, "of a cookie");
_Static_assert(WELCOME_BOX + TAG_BYTES + KEY_BYTES + COOKIE_BYTES ==
                   TB_CURVE_WELCOME_BYTES,
               "WELCOME");
_Static_assert(INITIATE_BOX + TAG_BYTES + PROOF_METADATA ==
                   TB_CURVE_INITIATE_BYTES_MIN,
               "INITIATE");
_Static_assert(READY_BOX + TAG_BYTES == TB_CURVE_READY_BYTES_MIN, "READY");
_Static_assert(MESSAGE_BOX + TAG_BYTES + 1 == TB_CURVE_MESSAGE_BYTES_MIN,
               "MESSAGE");

struct tb_curve_door {
    uint8_t *secret; /* a slot: s 32, then the key of the cookies */
    uint8_t public_key[KEY_BYTES];
};

tb_rc tb_curve_door_new(tb_curve_door **out,
                        const uint8_t secret[static KEY_BYTES], tb_err *err)
{
    tb_rc rc = TB_OK;
    *out = NULL;
    tb_curve_door *door = tb_mem_array(1, sizeof *door);
    if (door == NULL || (door->secret = tb_secret_new()) == NULL) {
        rc = tb_fail(err, TB_E_NOMEM, "no memory for a door's key");
        goto done;
    }
    memcpy(door->secret, secret, KEY_BYTES);
    randombytes_buf(door->secret + KEY_BYTES, KEY_BYTES);
    (void)crypto_scalarmult_base(door->public_key, secret);
    *out = door;
    door = NULL; /* the caller owns it from here */
done:
    tb_curve_door_free(&door);
    return rc;
}

void tb_curve_door_free(tb_curve_door **door)
{
    if (*door != NULL) {
        tb_secret_free(&(*door)->secret);
        tb_mem_free(*door);
        *door = NULL;
    }
}

void tb_curve_release(tb_curve_session *s)
{
    tb_secret_free(&s->secret);
    *s = (tb_curve_session){0};
}

static void put_counter(uint8_t at[static SHORT_BYTES], uint64_t v)
{
    for (size_t i = SHORT_BYTES; i-- > 0; v >>= 8) {
        at[i] = (uint8_t)v;
    }
}

static uint64_t get_counter(const uint8_t at[static SHORT_BYTES])
{
    uint64_t v = 0;
    for (size_t i = 0; i < SHORT_BYTES; i++) {
        v = v << 8 | at[i];
    }
    return v;
}

/* A nonce: the prefix, 8 or 16 characters, and what stands in the command. */
static void put_nonce(uint8_t nonce[static NONCE_BYTES], const char *prefix,
                      const uint8_t *rest)
{
    size_t n = strlen(prefix);
    memcpy(nonce, prefix, n);
    memcpy(nonce + n, rest, NONCE_BYTES - n);
}

static bool begins(const uint8_t *body, const char *name)
{
    return memcmp(body, name, strlen(name)) == 0;
}

/* The cookie: C' and a hash of s', which only its connection has. RFC 26 has
 * s' itself there; but then who took the cookies' key from memory, at any time
 * later, could open all recorded traffic. */
static void cookie_words(uint8_t out[static 2 * KEY_BYTES],
                         const uint8_t client[static KEY_BYTES],
                         const uint8_t secret[static KEY_BYTES])
{
    memcpy(out, client, KEY_BYTES);
    (void)crypto_generichash(out + KEY_BYTES, KEY_BYTES, secret, KEY_BYTES,
                             NULL, 0);
}

static void put_cookie(uint8_t out[static COOKIE_BYTES],
                       const tb_curve_door *door,
                       const uint8_t client[static KEY_BYTES],
                       const uint8_t secret[static KEY_BYTES])
{
    uint8_t nonce[NONCE_BYTES];
    uint8_t words[2 * KEY_BYTES];
    randombytes_buf(out, LONG_BYTES);
    put_nonce(nonce, "COOKIE--", out);
    cookie_words(words, client, secret);
    (void)crypto_secretbox_easy(out + LONG_BYTES, words, sizeof words, nonce,
                                door->secret + KEY_BYTES);
    sodium_memzero(words, sizeof words);
}

static bool is_our_cookie(const uint8_t cookie[static COOKIE_BYTES],
                          const tb_curve_door *door, const tb_curve_session *s)
{
    uint8_t nonce[NONCE_BYTES];
    uint8_t words[2 * KEY_BYTES];
    uint8_t want[2 * KEY_BYTES];
    put_nonce(nonce, "COOKIE--", cookie);
    cookie_words(want, s->client_short, s->secret);
    bool ours = crypto_secretbox_open_easy(words, cookie + LONG_BYTES,
                                           COOKIE_BYTES - LONG_BYTES, nonce,
                                           door->secret + KEY_BYTES) == 0 &&
                sodium_memcmp(words, want, sizeof want) == 0;
    sodium_memzero(words, sizeof words);
    sodium_memzero(want, sizeof want);
    return ours;
}

/* Whether HELLO was made for this door; shared gets the key of (C', S). */
static bool open_hello(uint8_t shared[static KEY_BYTES],
                       const tb_curve_door *door, const uint8_t *body)
{
    uint8_t nonce[NONCE_BYTES];
    uint8_t zeroes[64];
    put_nonce(nonce, "CurveZMQHELLO---", body + HELLO_NONCE);
    return crypto_box_beforenm(shared, body + HELLO_CLIENT, door->secret) ==
               0 &&
           crypto_box_open_easy_afternm(zeroes, body + HELLO_BOX,
                                        sizeof zeroes + TAG_BYTES, nonce,
                                        shared) == 0 &&
           sodium_is_zero(zeroes, sizeof zeroes);
}

/* Makes S' and s', which goes to secret, and tells the client. */
static void put_welcome(uint8_t out[static TB_CURVE_WELCOME_BYTES],
                        uint8_t secret[static KEY_BYTES],
                        const tb_curve_door *door,
                        const uint8_t client[static KEY_BYTES],
                        const uint8_t shared[static KEY_BYTES])
{
    uint8_t nonce[NONCE_BYTES];
    uint8_t *words = out + WELCOME_BOX + TAG_BYTES;
    (void)crypto_box_keypair(words, secret);
    put_cookie(words + KEY_BYTES, door, client, secret);
    memcpy(out, "\x07WELCOME", WELCOME_NONCE);
    randombytes_buf(out + WELCOME_NONCE, LONG_BYTES);
    put_nonce(nonce, "WELCOME-", out + WELCOME_NONCE);
    (void)crypto_box_easy_afternm(out + WELCOME_BOX, words,
                                  KEY_BYTES + COOKIE_BYTES, nonce, shared);
}

tb_rc tb_curve_hello(tb_curve_session *s, tb_curve_door *door,
                     const uint8_t *body, size_t n,
                     uint8_t welcome[static TB_CURVE_WELCOME_BYTES],
                     tb_err *err)
{
    assert(s->secret == NULL);
    uint8_t shared[KEY_BYTES];
    tb_rc rc = TB_OK;
    if (n != TB_CURVE_HELLO_BYTES || !begins(body, "\x05HELLO\x01") ||
        !sodium_is_zero(body + HELLO_ZEROES - 1,
                        HELLO_CLIENT - HELLO_ZEROES + 1)) {
        rc = tb_fail(err, TB_E_MALFORMED, "not a HELLO of CurveZMQ 1.0");
        goto done;
    }
    if (!open_hello(shared, door, body)) {
        rc = tb_fail(err, TB_E_MALFORMED,
                     "HELLO is for another server's key, or altered");
        goto done;
    }
    s->secret = tb_secret_new();
    if (s->secret == NULL) {
        rc = tb_fail(err, TB_E_NOMEM, "no memory for a connection's key");
        goto done;
    }
    memcpy(s->client_short, body + HELLO_CLIENT, KEY_BYTES);
    s->nonce_in = get_counter(body + HELLO_NONCE);
    s->nonce_out = 1;
    put_welcome(welcome, s->secret, door, s->client_short, shared);
done:
    sodium_memzero(shared, sizeof shared);
    return rc;
}

/* Whether the holder of the long-term key in the proof says that C' is his, and
 * meant for this door. */
static bool vouches(const uint8_t *proof, const tb_curve_session *s,
                    const tb_curve_door *door)
{
    uint8_t nonce[NONCE_BYTES];
    uint8_t shared[KEY_BYTES];
    uint8_t keys[2 * KEY_BYTES];
    put_nonce(nonce, "VOUCH---", proof + PROOF_VOUCH_NONCE);
    bool good =
        crypto_box_beforenm(shared, proof, s->secret) == 0 &&
        crypto_box_open_easy_afternm(keys, proof + PROOF_VOUCH,
                                     sizeof keys + TAG_BYTES, nonce,
                                     shared) == 0 &&
        sodium_memcmp(keys, s->client_short, KEY_BYTES) == 0 &&
        sodium_memcmp(keys + KEY_BYTES, door->public_key, KEY_BYTES) == 0;
    sodium_memzero(shared, sizeof shared);
    return good;
}

tb_rc tb_curve_initiate(tb_curve_session *s, tb_curve_door *door, uint8_t *body,
                        size_t n, tb_curve_proof *out, tb_err *err)
{
    assert(s->secret != NULL);
    uint8_t nonce[NONCE_BYTES];
    uint8_t *proof = body + INITIATE_BOX + TAG_BYTES;
    uint8_t *traffic = s->secret + KEY_BYTES;
    if (n < TB_CURVE_INITIATE_BYTES_MIN || !begins(body, "\x08INITIATE")) {
        return tb_fail(err, TB_E_MALFORMED, "not an INITIATE of CurveZMQ");
    }
    if (!is_our_cookie(body + INITIATE_COOKIE, door, s)) {
        return tb_fail(err, TB_E_MALFORMED,
                       "INITIATE has a cookie of another connection");
    }
    uint64_t counter = get_counter(body + INITIATE_NONCE);
    put_nonce(nonce, "CurveZMQINITIATE", body + INITIATE_NONCE);
    if (counter <= s->nonce_in ||
        crypto_box_beforenm(traffic, s->client_short, s->secret) != 0 ||
        crypto_box_open_easy_afternm(proof, body + INITIATE_BOX,
                                     n - INITIATE_BOX, nonce, traffic) != 0) {
        return tb_fail(err, TB_E_MALFORMED, "INITIATE is altered");
    }
    if (!vouches(proof, s, door)) {
        return tb_fail(err, TB_E_MALFORMED,
                       "INITIATE does not prove its long-term key");
    }
    s->nonce_in = counter;
    sodium_memzero(s->secret, KEY_BYTES);
    memcpy(out->key, proof, KEY_BYTES);
    out->metadata = proof + PROOF_METADATA;
    out->n_metadata = n - TB_CURVE_INITIATE_BYTES_MIN;
    return TB_OK;
}

void tb_curve_ready(tb_curve_session *s, const uint8_t *metadata, size_t n,
                    uint8_t *out)
{
    uint8_t nonce[NONCE_BYTES];
    memcpy(out, "\x05READY", READY_NONCE);
    put_counter(out + READY_NONCE, tb_curve_next_nonce(s));
    put_nonce(nonce, "CurveZMQREADY---", out + READY_NONCE);
    (void)crypto_box_easy_afternm(out + READY_BOX, metadata, n, nonce,
                                  s->secret + KEY_BYTES);
}

tb_rc tb_curve_open(tb_curve_session *s, uint8_t *body, size_t n,
                    tb_curve_words *out, tb_err *err)
{
    uint8_t nonce[NONCE_BYTES];
    uint8_t *plain = body + MESSAGE_BOX + TAG_BYTES;
    if (n < TB_CURVE_MESSAGE_BYTES_MIN || !begins(body, "\x07MESSAGE")) {
        return tb_fail(err, TB_E_MALFORMED, "not a MESSAGE of CurveZMQ");
    }
    uint64_t counter = get_counter(body + MESSAGE_NONCE);
    if (counter <= s->nonce_in) {
        return tb_fail(err, TB_E_MALFORMED, "a MESSAGE came again");
    }
    put_nonce(nonce, "CurveZMQMESSAGEC", body + MESSAGE_NONCE);
    if (crypto_box_open_easy_afternm(plain, body + MESSAGE_BOX, n - MESSAGE_BOX,
                                     nonce, s->secret + KEY_BYTES) != 0) {
        return tb_fail(err, TB_E_MALFORMED, "a MESSAGE is altered");
    }
    s->nonce_in = counter;
    *out =
        (tb_curve_words){plain[0], plain + 1, n - TB_CURVE_MESSAGE_BYTES_MIN};
    return TB_OK;
}

uint64_t tb_curve_next_nonce(tb_curve_session *s)
{
    return s->nonce_out++;
}

void tb_curve_seal(const tb_curve_session *s, uint64_t counter, uint8_t flags,
                   const uint8_t *data, size_t n, uint8_t *out)
{
    uint8_t nonce[NONCE_BYTES];
    uint8_t *plain = out + MESSAGE_BOX + TAG_BYTES;
    memcpy(out, "\x07MESSAGE", MESSAGE_NONCE);
    put_counter(out + MESSAGE_NONCE, counter);
    put_nonce(nonce, "CurveZMQMESSAGES", out + MESSAGE_NONCE);
    plain[0] = flags;
    if (n > 0) {
        memcpy(plain + 1, data, n);
    }
    (void)crypto_box_easy_afternm(out + MESSAGE_BOX, plain, n + 1, nonce,
                                  s->secret + KEY_BYTES);
}
