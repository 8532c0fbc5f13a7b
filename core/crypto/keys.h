/* core/crypto/keys.h - the three kinds of secret keys, each a type of its own,
 * and their files. A secret lies in guarded memory (secret.h), is wiped when
 * freed and never stands in an error text. A key object never changes after it
 * was made: any thread may use it.
 *
 * A key file (80 bytes, mode 0600): "TBKY" | version u32le = 1 | kind u32le
 * (1 sign, 2 box, 3 master) | 0 u32le | secret 32 | BLAKE2b-256 of the 48
 * bytes before it. The secret is the Ed25519 seed, the X25519 scalar or the
 * master key. */
#ifndef TB_CRYPTO_KEYS_H
#define TB_CRYPTO_KEYS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/hash.h"
#include "crypto/secret.h"

#define TB_SIGN_PUBLIC_BYTES  32 /* Ed25519 */
#define TB_CURVE_PUBLIC_BYTES 32 /* X25519, also of the transport */

/* Signs (Ed25519, RFC 8032). */
typedef struct tb_sign_key tb_sign_key;

/* Agrees on keys (X25519, RFC 7748): key of a run, and of CURVE. */
typedef struct tb_box_key tb_box_key;

/* Seals small secrets and checkpoints at rest (wrap.h); its file lies outside
 * the data folder. */
typedef struct tb_master_key tb_master_key;

/* A new random key; the caller frees it. Errors: NOMEM. */
tb_rc tb_sign_key_new(tb_sign_key **out, tb_err *err)
    TB_NONNULL(1) TB_MUST_CHECK;
tb_rc tb_box_key_new(tb_box_key **out, tb_err *err) TB_NONNULL(1) TB_MUST_CHECK;
tb_rc tb_master_key_new(tb_master_key **out, tb_err *err)
    TB_NONNULL(1) TB_MUST_CHECK;

/* The key of a given secret (Ed25519 seed, X25519 scalar), which the caller
 * wipes. Errors: NOMEM. */
tb_rc tb_sign_key_from_seed(tb_sign_key **out,
                            const uint8_t seed[static TB_KEY_SEED_BYTES],
                            tb_err *err) TB_NONNULL(1, 2) TB_MUST_CHECK;
tb_rc tb_box_key_from_seed(tb_box_key **out,
                           const uint8_t seed[static TB_KEY_SEED_BYTES],
                           tb_err *err) TB_NONNULL(1, 2) TB_MUST_CHECK;
tb_rc tb_master_key_from_seed(tb_master_key **out,
                              const uint8_t seed[static TB_KEY_SEED_BYTES],
                              tb_err *err) TB_NONNULL(1, 2) TB_MUST_CHECK;

/* Wipes and frees the key and nulls *key. NULL is fine. */
void tb_sign_key_free(tb_sign_key **key) TB_NONNULL(1);
void tb_box_key_free(tb_box_key **key) TB_NONNULL(1);
void tb_master_key_free(tb_master_key **key) TB_NONNULL(1);

/* The public half, 32 bytes; borrowed from the key. */
const uint8_t *tb_sign_key_public(const tb_sign_key *key) TB_NONNULL(1);
const uint8_t *tb_box_key_public(const tb_box_key *key) TB_NONNULL(1);

/* The secret half, 32 bytes, as ZMQ_CURVE_SECRETKEY takes it; borrowed. */
const uint8_t *tb_box_key_secret(const tb_box_key *key) TB_NONNULL(1);

/* For this room only: Ed25519 seed 32 | public key 32, and the master key's
 * 32 bytes; borrowed. */
const uint8_t *tb_sign_key_secret(const tb_sign_key *key) TB_NONNULL(1);
const uint8_t *tb_master_key_secret(const tb_master_key *key) TB_NONNULL(1);

/* Reads a key file; the caller frees *out. Errors: NOT_FOUND, DENIED (the file
 * is a symbolic link, belongs to someone else, or group or others have rights
 * to it: the text says how to mend that), MALFORMED (not a key file, cut,
 * altered), MISMATCH (a key of another kind), UNSUPPORTED (newer version), IO,
 * NOMEM. */
tb_rc tb_sign_key_read(tb_sign_key **out, const char *path, tb_err *err)
    TB_NONNULL(1, 2) TB_MUST_CHECK;
tb_rc tb_box_key_read(tb_box_key **out, const char *path, tb_err *err)
    TB_NONNULL(1, 2) TB_MUST_CHECK;
tb_rc tb_master_key_read(tb_master_key **out, const char *path, tb_err *err)
    TB_NONNULL(1, 2) TB_MUST_CHECK;

/* Writes a key file of mode 0600, atomically; never over another file.
 * Errors: EXISTS, FULL, IO. */
tb_rc tb_sign_key_write(const tb_sign_key *key, const char *path, tb_err *err)
    TB_NONNULL(1, 2) TB_MUST_CHECK;
tb_rc tb_box_key_write(const tb_box_key *key, const char *path, tb_err *err)
    TB_NONNULL(1, 2) TB_MUST_CHECK;
tb_rc tb_master_key_write(const tb_master_key *key, const char *path,
                          tb_err *err) TB_NONNULL(1, 2) TB_MUST_CHECK;

/* The name of a federation: BLAKE2b-256 of its root public key. */
tb_hash tb_federation_of(const uint8_t root_public[static TB_SIGN_PUBLIC_BYTES])
    TB_NONNULL(1);

#endif
