/* core/crypto/seal.h - an update, sealed block by block to the key of its run.
 *
 * Header (64 bytes): "TBU1" | ephemeral X25519 public key 32 | upload id 16 |
 * n_blocks u32le | 0 (8 bytes). Let B = config hash 32 | client name | 0.
 *   key = BLAKE2b-256("tributary update key" | 0 | X25519(ephemeral, run key)
 *         | ephemeral public | run public | B)
 *   sealed block i = XChaCha20-Poly1305-IETF(key, nonce = i as u64le and 16
 *         zeros, AAD = B | upload id | i u32le | n_blocks u32le) | tag 16
 * A key serves one upload, so a nonce never repeats. The config hash stands
 * for federation, job, run, round and model.
 *   update hash = BLAKE2b-256(header | BLAKE2b-256(sealed block) of each)
 * The client signs (context "update") config hash | update hash. */
#ifndef TB_CRYPTO_SEAL_H
#define TB_CRYPTO_SEAL_H

#include "crypto/sign.h"

#define TB_UPLOAD_HEADER_BYTES 64
#define TB_SEAL_UPLOAD_BYTES   16
#define TB_SEAL_TAG_BYTES      16
#define TB_SEAL_CLIENT_BYTES   64 /* of a client's name, with the closing NUL */

/* What an update is bound to. */
typedef struct tb_seal_binding {
    tb_hash config;     /* hash of the canonical round configuration */
    const char *client; /* borrowed: its name, 1 to 63 bytes */
} tb_seal_binding;

/* Hash of header and sealed blocks, in order. Plain memory, no secret: it can
 * be rebuilt from a spool. */
typedef struct tb_update_hasher {
    tb_hasher hasher;
    uint32_t n_blocks; /* as the header says */
    uint32_t next;     /* index of the block to add next */
} tb_update_hasher;

/* Starts with a header, which is not checked. */
void tb_update_hasher_init(tb_update_hasher *h,
                           const uint8_t header[static TB_UPLOAD_HEADER_BYTES])
    TB_NONNULL(1, 2);

/* Adds block number h->next, or its BLAKE2b-256. */
void tb_update_hasher_add(tb_update_hasher *h, const uint8_t *sealed,
                          size_t len) TB_NONNULL(1, 2);
void tb_update_hasher_add_hash(tb_update_hasher *h, const tb_hash *sealed)
    TB_NONNULL(1, 2);

/* The update's hash. Errors: MISMATCH (not every block was added). */
tb_rc tb_update_hasher_end(tb_update_hasher *h, tb_hash *out, tb_err *err)
    TB_NONNULL(1, 2) TB_MUST_CHECK;

/* The client's signature over the configuration's and the update's hash. */
void tb_update_sign(uint8_t signature[static TB_SIGNATURE_BYTES],
                    const tb_sign_key *key, const tb_hash *config,
                    const tb_hash *update) TB_NONNULL(1, 2, 3, 4);

/* Errors: DENIED. */
tb_rc tb_update_verify(const uint8_t signature[static TB_SIGNATURE_BYTES],
                       const uint8_t public_key[static TB_SIGN_PUBLIC_BYTES],
                       const tb_hash *config, const tb_hash *update,
                       tb_err *err) TB_NONNULL(1, 2, 3, 4) TB_MUST_CHECK;

/* Seals one upload, block after block (client). One owner at a time. */
typedef struct tb_sealer tb_sealer;

/* Draws upload id and ephemeral key. run_key: public key of the run. n_blocks:
 * at least 1. Errors: DENIED (run_key is no key), USAGE, NOMEM. */
tb_rc tb_sealer_new(tb_sealer **out,
                    const uint8_t run_key[static TB_CURVE_PUBLIC_BYTES],
                    const tb_seal_binding *to, uint32_t n_blocks, tb_err *err)
    TB_NONNULL(1, 2, 3) TB_MUST_CHECK;

/* Wipes the key, frees, nulls. NULL is fine. */
void tb_sealer_free(tb_sealer **sealer) TB_NONNULL(1);

/* The header, TB_UPLOAD_HEADER_BYTES; borrowed. */
const uint8_t *tb_sealer_header(const tb_sealer *sealer) TB_NONNULL(1);

/* Seals the next block: sealed [len + TB_SEAL_TAG_BYTES] may be plain itself.
 * Errors: USAGE (more than n_blocks). */
tb_rc tb_sealer_next(tb_sealer *sealer, const uint8_t *plain, size_t len,
                     uint8_t *sealed, tb_err *err)
    TB_NONNULL(1, 2, 4) TB_MUST_CHECK;

/* The update's hash, once every block is sealed. Errors: MISMATCH. */
tb_rc tb_sealer_end(tb_sealer *sealer, tb_hash *update, tb_err *err)
    TB_NONNULL(1, 2) TB_MUST_CHECK;

/* Opens the blocks of one upload, in any order, any number of times
 * (coordinator). It does not change: any thread may use it. */
typedef struct tb_opener tb_opener;

/* Reads n_blocks of an upload header. Errors: MALFORMED. */
tb_rc tb_upload_header_check(
    const uint8_t header[static TB_UPLOAD_HEADER_BYTES], uint32_t *n_blocks,
    tb_err *err) TB_NONNULL(1, 2) TB_MUST_CHECK;

/* Derives the key of an upload from its header. Errors: MALFORMED (header),
 * DENIED (its ephemeral key is no key), NOMEM. */
tb_rc tb_opener_new(tb_opener **out, const tb_box_key *run_key,
                    const tb_seal_binding *to,
                    const uint8_t header[static TB_UPLOAD_HEADER_BYTES],
                    tb_err *err) TB_NONNULL(1, 2, 3, 4) TB_MUST_CHECK;

/* Wipes the key, frees, nulls. NULL is fine. */
void tb_opener_free(tb_opener **opener) TB_NONNULL(1);

/* Opens block index: plain [len - TB_SEAL_TAG_BYTES] may be sealed itself.
 * Errors: MALFORMED (too short, index out of range), DENIED (altered, or bound
 * to something else); plain is then undefined but holds nothing secret. */
tb_rc tb_opener_block(const tb_opener *opener, uint32_t index,
                      const uint8_t *sealed, size_t len, uint8_t *plain,
                      tb_err *err) TB_NONNULL(1, 3, 5) TB_MUST_CHECK;

#endif
