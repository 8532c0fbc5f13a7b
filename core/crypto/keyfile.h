/* core/crypto/keyfile.h - the bytes of a key file and the rules for the file
 * itself. For keys.c and its tests only; the layout stands in keys.h. */
#ifndef TB_CRYPTO_KEYFILE_H
#define TB_CRYPTO_KEYFILE_H

#include "base/err.h"
#include "crypto/secret.h"

#define TB_KEY_FILE_BYTES 80

typedef enum tb_keyfile_kind {
    TB_KEYFILE_SIGN = 1,
    TB_KEYFILE_BOX,
    TB_KEYFILE_MASTER,
    TB_KEYFILE_KIND_END
} tb_keyfile_kind;

/* Reads the secret; the caller wipes it. Errors: as tb_sign_key_read. */
tb_rc tb_keyfile_read(uint8_t secret[static TB_KEY_SEED_BYTES],
                      tb_keyfile_kind kind, const char *path, tb_err *err)
    TB_NONNULL(1, 3) TB_MUST_CHECK;

/* Writes a new file of mode 0600. Errors: EXISTS, FULL, IO. */
tb_rc tb_keyfile_write(const uint8_t secret[static TB_KEY_SEED_BYTES],
                       tb_keyfile_kind kind, const char *path, tb_err *err)
    TB_NONNULL(1, 3) TB_MUST_CHECK;

#endif
