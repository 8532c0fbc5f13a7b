#include "crypto/rotate.h"

#include <stdio.h>
#include <string.h>

#define ROTATION_BYTES (TB_HASH_BYTES + TB_ROTATION_NAME_BYTES + 32 + 32 + 32)
#define VERSION        1u
#define AT_CERTIFICATE 8
#define AT_LENGTH      (AT_CERTIFICATE + TB_CERTIFICATE_BYTES)
#define AT_ENDPOINT    (AT_LENGTH + 4)

_Static_assert(AT_ENDPOINT + TB_MOVE_ENDPOINT_BYTES - 1 + TB_SIGNATURE_BYTES ==
                   TB_MOVE_BYTES_MAX,
               "the layout in rotate.h");

static const char magic[4] = {'T', 'B', 'M', 'V'};

static void put(uint8_t **at, const void *bytes, size_t n)
{
    memcpy(*at, bytes, n);
    *at += n;
}

static void rotation_message(uint8_t out[static ROTATION_BYTES],
                             const tb_rotation *r)
{
    char name[TB_ROTATION_NAME_BYTES] = "";
    uint8_t *at = out;
    (void)snprintf(name, sizeof name, "%s", r->name);
    put(&at, r->federation.bytes, sizeof r->federation.bytes);
    put(&at, name, sizeof name);
    put(&at, r->old_sign_key, sizeof r->old_sign_key);
    put(&at, r->sign_key, sizeof r->sign_key);
    put(&at, r->curve_key, sizeof r->curve_key);
}

void tb_rotation_sign(tb_rotation *r, const tb_sign_key *old_key,
                      const tb_sign_key *new_key)
{
    uint8_t message[ROTATION_BYTES];
    memcpy(r->old_sign_key, tb_sign_key_public(old_key), sizeof r->sign_key);
    memcpy(r->sign_key, tb_sign_key_public(new_key), sizeof r->sign_key);
    rotation_message(message, r);
    tb_sign(r->by_old, old_key, TB_SIGN_ROTATE, message, sizeof message);
    tb_sign(r->by_new, new_key, TB_SIGN_ROTATE, message, sizeof message);
}

tb_rc tb_rotation_verify(const tb_rotation *r, tb_err *err)
{
    uint8_t message[ROTATION_BYTES];
    rotation_message(message, r);
    tb_rc rc = tb_verify(r->by_old, r->old_sign_key, TB_SIGN_ROTATE, message,
                         sizeof message, err);
    if (rc != TB_OK) {
        return tb_err_prefix(err, rc, "rotation: the key so far");
    }
    rc = tb_verify(r->by_new, r->sign_key, TB_SIGN_ROTATE, message,
                   sizeof message, err);
    return rc == TB_OK ? rc : tb_err_prefix(err, rc, "rotation: the new key");
}

/* All before the signature; returns its length. */
static size_t move_message(const tb_move *move,
                           uint8_t out[static TB_MOVE_BYTES_MAX])
{
    size_t n = strlen(move->endpoint);
    memcpy(out, magic, sizeof magic);
    tb_le32_put(out + sizeof magic, VERSION);
    tb_certificate_encode(&move->certificate, out + AT_CERTIFICATE);
    tb_le32_put(out + AT_LENGTH, (uint32_t)n);
    memcpy(out + AT_ENDPOINT, move->endpoint, n);
    return AT_ENDPOINT + n;
}

void tb_move_sign(tb_move *move, const tb_sign_key *root)
{
    uint8_t bytes[TB_MOVE_BYTES_MAX];
    size_t n = move_message(move, bytes);
    tb_sign(move->signature, root, TB_SIGN_MOVE, bytes, n);
}

size_t tb_move_encode(const tb_move *move,
                      uint8_t out[static TB_MOVE_BYTES_MAX])
{
    size_t n = move_message(move, out);
    memcpy(out + n, move->signature, TB_SIGNATURE_BYTES);
    return n + TB_SIGNATURE_BYTES;
}

tb_rc tb_move_decode(tb_move *out, const uint8_t *bytes, size_t len,
                     tb_err *err)
{
    tb_move move = {.endpoint = ""};
    if (len < AT_CERTIFICATE || memcmp(bytes, magic, sizeof magic) != 0) {
        return tb_fail(err, TB_E_MALFORMED, "move: not one");
    }
    uint32_t version = tb_le32_get(bytes + sizeof magic);
    if (version != VERSION) {
        return tb_fail(err, TB_E_UNSUPPORTED,
                       "move: version %u, this program knows %u", version,
                       VERSION);
    }
    size_t n = len > AT_ENDPOINT ? tb_le32_get(bytes + AT_LENGTH) : 0;
    if (n == 0 || n >= sizeof move.endpoint ||
        len != AT_ENDPOINT + n + TB_SIGNATURE_BYTES) {
        return tb_fail(err, TB_E_MALFORMED, "move: %zu bytes", len);
    }
    for (size_t i = 0; i < n; i++) {
        if (bytes[AT_ENDPOINT + i] <= ' ' || bytes[AT_ENDPOINT + i] > '~') {
            return tb_fail(err, TB_E_MALFORMED, "move: not an endpoint");
        }
    }
    tb_rc rc = tb_certificate_decode(&move.certificate, bytes + AT_CERTIFICATE,
                                     TB_CERTIFICATE_BYTES, err);
    if (rc != TB_OK) {
        return tb_err_prefix(err, rc, "move");
    }
    memcpy(move.endpoint, bytes + AT_ENDPOINT, n);
    memcpy(move.signature, bytes + AT_ENDPOINT + n, TB_SIGNATURE_BYTES);
    *out = move;
    return TB_OK;
}

tb_rc tb_move_verify(const tb_move *move,
                     const uint8_t root_public[static TB_SIGN_PUBLIC_BYTES],
                     uint64_t now_s, tb_err *err)
{
    uint8_t bytes[TB_MOVE_BYTES_MAX];
    tb_rc rc =
        tb_certificate_verify(&move->certificate, root_public, now_s, err);
    if (rc == TB_OK) {
        size_t n = move_message(move, bytes);
        rc = tb_verify(move->signature, root_public, TB_SIGN_MOVE, bytes, n,
                       err);
    }
    return rc == TB_OK ? rc : tb_err_prefix(err, rc, "move");
}
