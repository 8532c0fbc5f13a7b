/* core/crypto/wrap.h - what lies on disk under the master key: keys of runs,
 * checkpoints. Bytes: "TBW1" | nonce 24, random | XChaCha20-Poly1305-IETF of
 * the plain bytes | tag 16; AAD = BLAKE2b-256("tributary wrap" | 0 | context),
 * so that bytes wrapped for one purpose, run or round do not open for
 * another. */
#ifndef TB_CRYPTO_WRAP_H
#define TB_CRYPTO_WRAP_H

#include "base/buf.h"
#include "crypto/keys.h"

#define TB_WRAP_OVERHEAD_BYTES (4 + 24 + 16)
#define TB_WRAPPED_KEY_BYTES   (TB_WRAP_OVERHEAD_BYTES + TB_KEY_SEED_BYTES)

/* Appends the wrapped bytes to out. context: NUL-terminated, such as
 * "checkpoint RUN ROUND". Errors: LIMIT, NOMEM. */
tb_rc tb_wrap(tb_buf *out, const tb_master_key *master, const char *context,
              const void *plain, size_t len, tb_err *err)
    TB_NONNULL(1, 2, 3) TB_MUST_CHECK;

/* Appends the plain bytes to out; on failure it is unchanged. Errors:
 * MALFORMED (not wrapped bytes), DENIED (altered, another context or another
 * master key), LIMIT, NOMEM. */
tb_rc tb_unwrap(tb_buf *out, const tb_master_key *master, const char *context,
                const uint8_t *bytes, size_t len, tb_err *err)
    TB_NONNULL(1, 2, 3, 4) TB_MUST_CHECK;

/* The same for the key of a run, which never leaves guarded memory. */
void tb_box_key_wrap(uint8_t out[static TB_WRAPPED_KEY_BYTES],
                     const tb_box_key *key, const tb_master_key *master,
                     const char *context) TB_NONNULL(1, 2, 3, 4);

/* Gives back the key; the caller frees it. Errors: MALFORMED, DENIED, NOMEM. */
tb_rc tb_box_key_unwrap(tb_box_key **out, const tb_master_key *master,
                        const char *context, const uint8_t *bytes, size_t len,
                        tb_err *err) TB_NONNULL(1, 2, 3, 4) TB_MUST_CHECK;

#endif
