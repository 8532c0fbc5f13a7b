#include "crypto/invite.h"

#include <ctype.h>
#include <sodium.h>
#include <string.h>

#include "base/buf.h"

#define PREFIX      "tributary-invite-"
#define HEAD        PREFIX "1."
#define CHECK_BYTES 8
#define FIXED_BYTES (2 + TB_INVITE_ID_BYTES + 32 + 32 + 32 + 8 + 1 + 1)
#define BODY_BYTES_MAX                                                         \
    (FIXED_BYTES + TB_INVITE_NAME_BYTES + TB_INVITE_ENDPOINT_BYTES +           \
     CHECK_BYTES)
#define ENROL_BYTES                                                            \
    (TB_HASH_BYTES + TB_INVITE_ID_BYTES + TB_SIGN_PUBLIC_BYTES +               \
     TB_CURVE_PUBLIC_BYTES)
#define VARIANT sodium_base64_VARIANT_URLSAFE_NO_PADDING

/* Characters of n bytes in base64 without padding. */
#define TEXT_BYTES(n) (((n)*4 + 2) / 3)

_Static_assert(sizeof HEAD + TEXT_BYTES(BODY_BYTES_MAX) <= TB_INVITE_TEXT_BYTES,
               "the longest invite fits its text");

tb_rc tb_invite_init(tb_invite *invite, tb_err *err)
{
    memset(invite, 0, sizeof *invite);
    randombytes_buf(invite->id, sizeof invite->id);
    return tb_sign_key_new(&invite->key, err);
}

void tb_invite_release(tb_invite *invite)
{
    tb_sign_key_free(&invite->key);
    memset(invite, 0, sizeof *invite);
}

/* Puts n bytes at *at and moves it. */
static void put(uint8_t **at, const void *bytes, size_t n)
{
    memcpy(*at, bytes, n);
    *at += n;
}

/* Puts a length byte and the text. */
static void put_text(uint8_t **at, const char *text, size_t n)
{
    *(*at)++ = (uint8_t)n;
    put(at, text, n);
}

static void put_check(uint8_t *body, size_t n)
{
    tb_hash check = tb_hash_of(body, n);
    memcpy(body + n, check.bytes, CHECK_BYTES);
}

tb_rc tb_invite_encode(const tb_invite *invite,
                       char out[static TB_INVITE_TEXT_BYTES], tb_err *err)
{
    size_t n_name = strnlen(invite->name, TB_INVITE_NAME_BYTES);
    size_t n_endpoint = strnlen(invite->endpoint, TB_INVITE_ENDPOINT_BYTES);
    if (n_name == 0 || n_name == TB_INVITE_NAME_BYTES || n_endpoint == 0 ||
        n_endpoint == TB_INVITE_ENDPOINT_BYTES) {
        return tb_fail(err, TB_E_USAGE,
                       "invite: name needs 1 to %d bytes, endpoint 1 to %d",
                       TB_INVITE_NAME_BYTES - 1, TB_INVITE_ENDPOINT_BYTES - 1);
    }
    uint8_t body[BODY_BYTES_MAX];
    size_t n = FIXED_BYTES + n_name + n_endpoint;
    size_t size = n + CHECK_BYTES;
    uint8_t *at = body;
    *at++ = (uint8_t)(size & 0xff);
    *at++ = (uint8_t)(size >> 8);
    put(&at, invite->id, sizeof invite->id);
    put(&at, tb_sign_key_secret(invite->key), TB_KEY_SEED_BYTES);
    put(&at, invite->root_public, sizeof invite->root_public);
    put(&at, invite->curve_key, sizeof invite->curve_key);
    tb_le64_put(at, invite->expires_s);
    at += 8;
    put_text(&at, invite->name, n_name);
    put_text(&at, invite->endpoint, n_endpoint);
    put_check(body, n);
    memcpy(out, HEAD, sizeof HEAD - 1);
    (void)sodium_bin2base64(out + sizeof HEAD - 1,
                            TB_INVITE_TEXT_BYTES - (sizeof HEAD - 1), body,
                            size, VARIANT);
    sodium_memzero(body, sizeof body);
    return TB_OK;
}

/* Takes prefix, version and white space away: *text [*n] is base64 then. */
static tb_rc strip(const char **text, size_t *n, tb_err *err)
{
    const char *at = *text;
    while (isspace((unsigned char)*at)) {
        at++;
    }
    size_t len = strnlen(at, 4 * TB_INVITE_TEXT_BYTES);
    while (len > 0 && isspace((unsigned char)at[len - 1])) {
        len--;
    }
    if (len < sizeof HEAD - 1 || memcmp(at, PREFIX, sizeof PREFIX - 1) != 0) {
        return tb_fail(err, TB_E_MALFORMED,
                       "invite: an invite starts with \"%s\"", HEAD);
    }
    if (memcmp(at, HEAD, sizeof HEAD - 1) != 0) {
        return tb_fail(err, TB_E_UNSUPPORTED,
                       "invite: this program reads version 1 (\"%s...\") "
                       "only; update it",
                       HEAD);
    }
    *text = at + sizeof HEAD - 1;
    *n = len - (sizeof HEAD - 1);
    return TB_OK;
}

static tb_rc decode_base64(uint8_t *out, size_t cap, size_t *n_out,
                           const char *text, size_t n, tb_err *err)
{
    const char *end = NULL;
    if (sodium_base642bin(out, cap, text, n, NULL, n_out, &end, VARIANT) != 0 ||
        end != text + n) {
        return tb_fail(err, TB_E_MALFORMED,
                       "invite: mistyped near character %zu behind \"%s\"",
                       (end != NULL ? (size_t)(end - text) : 0) + 1, HEAD);
    }
    return TB_OK;
}

/* Undoes base64: the first characters say how long all should be. */
static tb_rc unpack(uint8_t body[static BODY_BYTES_MAX], size_t *n_body,
                    const char *text, size_t n, tb_err *err)
{
    uint8_t start[3];
    size_t n_start = 0;
    if (n < 4) {
        return tb_fail(err, TB_E_MALFORMED,
                       "invite: cut short; copy the whole line");
    }
    tb_rc rc = decode_base64(start, sizeof start, &n_start, text, 4, err);
    if (rc != TB_OK) {
        return rc;
    }
    size_t size = (size_t)start[0] | (size_t)start[1] << 8;
    if (size < FIXED_BYTES + CHECK_BYTES || size > BODY_BYTES_MAX) {
        return tb_fail(err, TB_E_MALFORMED,
                       "invite: mistyped in its first characters");
    }
    if (n < TEXT_BYTES(size)) {
        return tb_fail(err, TB_E_MALFORMED,
                       "invite: cut short: %zu of %zu characters; copy the "
                       "whole line",
                       n, TEXT_BYTES(size));
    }
    if (n > TEXT_BYTES(size)) {
        return tb_fail(err, TB_E_MALFORMED,
                       "invite: %zu characters too many at its end",
                       n - TEXT_BYTES(size));
    }
    rc = decode_base64(body, BODY_BYTES_MAX, n_body, text, n, err);
    if (rc != TB_OK) {
        return rc;
    }
    tb_hash check = tb_hash_of(body, size - CHECK_BYTES);
    if (memcmp(check.bytes, body + size - CHECK_BYTES, CHECK_BYTES) != 0) {
        return tb_fail(err, TB_E_MALFORMED,
                       "invite: mistyped or altered (its check does not fit)");
    }
    return TB_OK;
}

/* Copies a text of a length byte; no NUL inside, neither empty nor too long. */
static tb_rc take_text(tb_cursor *c, char *out, size_t cap, tb_err *err)
{
    uint8_t n = 0;
    const uint8_t *at = NULL;
    tb_rc rc = tb_cursor_u8(c, &n, err);
    if (rc == TB_OK) {
        rc = tb_cursor_take(c, &at, n, err);
    }
    if (rc != TB_OK) {
        return rc;
    }
    if (n == 0 || n >= cap || memchr(at, 0, n) != NULL) {
        return tb_fail(err, TB_E_MALFORMED, "invite: a text of %u bytes", n);
    }
    memcpy(out, at, n);
    out[n] = '\0';
    return TB_OK;
}

/* The size is at least FIXED_BYTES + CHECK_BYTES. */
static tb_rc parse(tb_invite *out, const uint8_t *body, size_t size,
                   tb_err *err)
{
    const uint8_t *at = body + 2;
    memcpy(out->id, at, TB_INVITE_ID_BYTES);
    const uint8_t *seed = at + TB_INVITE_ID_BYTES;
    memcpy(out->root_public, seed + 32, 32);
    memcpy(out->curve_key, seed + 64, 32);
    out->expires_s = tb_le64_get(seed + 96);
    tb_cursor rest = {seed + 104, 0};
    rest.left = size - CHECK_BYTES - (size_t)(rest.at - body);
    tb_rc rc = take_text(&rest, out->name, sizeof out->name, err);
    if (rc == TB_OK) {
        rc = take_text(&rest, out->endpoint, sizeof out->endpoint, err);
    }
    if (rc != TB_OK) {
        return rc;
    }
    if (rest.left != 0) {
        return tb_fail(err, TB_E_MALFORMED, "invite: bytes behind its end");
    }
    return tb_sign_key_from_seed(&out->key, seed, err);
}

tb_rc tb_invite_decode(tb_invite *out, const char *text, tb_err *err)
{
    uint8_t body[BODY_BYTES_MAX];
    size_t n = 0;
    size_t size = 0;
    memset(out, 0, sizeof *out);
    tb_rc rc = strip(&text, &n, err);
    if (rc != TB_OK) {
        return rc;
    }
    rc = unpack(body, &size, text, n, err);
    if (rc == TB_OK) {
        rc = parse(out, body, size, err);
    }
    if (rc != TB_OK) {
        tb_invite_release(out);
    }
    sodium_memzero(body, sizeof body);
    return rc;
}

/* federation | invite | sign_key | curve_key. */
static void enrol_message(uint8_t out[static ENROL_BYTES],
                          const tb_enrolment *e)
{
    uint8_t *at = out;
    put(&at, e->federation.bytes, sizeof e->federation.bytes);
    put(&at, e->invite, sizeof e->invite);
    put(&at, e->sign_key, sizeof e->sign_key);
    put(&at, e->curve_key, sizeof e->curve_key);
}

void tb_enrolment_sign(tb_enrolment *out, const tb_invite *invite,
                       const tb_sign_key *key,
                       const uint8_t curve_key[static TB_CURVE_PUBLIC_BYTES])
{
    uint8_t message[ENROL_BYTES];
    out->federation = tb_federation_of(invite->root_public);
    memcpy(out->invite, invite->id, sizeof out->invite);
    memcpy(out->sign_key, tb_sign_key_public(key), sizeof out->sign_key);
    memcpy(out->curve_key, curve_key, sizeof out->curve_key);
    enrol_message(message, out);
    tb_sign(out->proof, invite->key, TB_SIGN_INVITE, message, sizeof message);
    tb_sign(out->signature, key, TB_SIGN_ENROL, message, sizeof message);
}

tb_rc tb_enrolment_verify(
    const tb_enrolment *enrolment,
    const uint8_t invite_public[static TB_SIGN_PUBLIC_BYTES], tb_err *err)
{
    uint8_t message[ENROL_BYTES];
    enrol_message(message, enrolment);
    tb_rc rc = tb_verify(enrolment->proof, invite_public, TB_SIGN_INVITE,
                         message, sizeof message, err);
    if (rc != TB_OK) {
        return tb_err_prefix(err, rc, "enrolment: proof of the invite");
    }
    rc = tb_verify(enrolment->signature, enrolment->sign_key, TB_SIGN_ENROL,
                   message, sizeof message, err);
    if (rc != TB_OK) {
        return tb_err_prefix(err, rc, "enrolment: the client's own key");
    }
    return TB_OK;
}
