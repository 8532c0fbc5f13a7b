/* core/crypto/rotate.h - keys that take the place of others.
 *
 * A client proves its new keys by two signatures (context "rotate"), by its
 * sign key so far and by the new one, over
 *   federation 32 | name 64, padded with zeros | old sign key 32 | new sign key
 *   32 | new CURVE key 32.
 *
 * The coordinator's move to new keys or another place is the root key's word:
 *   "TBMV" | version u32le = 1 | certificate 192 | n u32le, endpoint n |
 *   signature 64 (context "move", over all before it). */
#ifndef TB_CRYPTO_ROTATE_H
#define TB_CRYPTO_ROTATE_H

#include "base/buf.h"
#include "crypto/cert.h"

#define TB_ROTATION_NAME_BYTES 64  /* with the closing NUL */
#define TB_MOVE_ENDPOINT_BYTES 256 /* with the closing NUL */
#define TB_MOVE_BYTES_MAX      (8 + TB_CERTIFICATE_BYTES + 4 + 255 + 64)

/* A client's new keys. */
typedef struct tb_rotation {
    tb_hash federation;
    char name[TB_ROTATION_NAME_BYTES];          /* the client's */
    uint8_t old_sign_key[TB_SIGN_PUBLIC_BYTES]; /* that it has had */
    uint8_t sign_key[TB_SIGN_PUBLIC_BYTES];
    uint8_t curve_key[TB_CURVE_PUBLIC_BYTES];
    uint8_t by_old[TB_SIGNATURE_BYTES];
    uint8_t by_new[TB_SIGNATURE_BYTES];
} tb_rotation;

/* Sets both sign keys and the signatures; the caller filled federation, name
 * and curve_key. Same keys, same bytes. */
void tb_rotation_sign(tb_rotation *rotation, const tb_sign_key *old_key,
                      const tb_sign_key *new_key) TB_NONNULL(1, 2, 3);

/* Checks both signatures; whether old_sign_key is the client's is the caller's.
 * Errors: DENIED (says which). */
tb_rc tb_rotation_verify(const tb_rotation *rotation, tb_err *err)
    TB_NONNULL(1) TB_MUST_CHECK;

/* Where the coordinator is to be found, and under which keys. */
typedef struct tb_move {
    tb_certificate certificate;
    char endpoint[TB_MOVE_ENDPOINT_BYTES]; /* of the main listener */
    uint8_t signature[TB_SIGNATURE_BYTES];
} tb_move;

/* Signs certificate and endpoint, which the caller filled (the certificate is
 * signed already). */
void tb_move_sign(tb_move *move, const tb_sign_key *root) TB_NONNULL(1, 2);

/* Writes the bytes; returns how many. */
size_t tb_move_encode(const tb_move *move,
                      uint8_t out[static TB_MOVE_BYTES_MAX]) TB_NONNULL(1, 2);

/* Reads the layout only. On failure *out is unchanged. Errors: MALFORMED,
 * UNSUPPORTED (version). */
tb_rc tb_move_decode(tb_move *out, const uint8_t *bytes, size_t len,
                     tb_err *err) TB_NONNULL(1) TB_MUST_CHECK;

/* Whether the root key signed both, and the certificate is valid at now_s.
 * Errors: DENIED. */
tb_rc tb_move_verify(const tb_move *move,
                     const uint8_t root_public[static TB_SIGN_PUBLIC_BYTES],
                     uint64_t now_s, tb_err *err)
    TB_NONNULL(1, 2) TB_MUST_CHECK;

#endif
