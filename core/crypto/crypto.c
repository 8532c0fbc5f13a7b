#include "crypto/crypto.h"

#include <sodium.h>

tb_rc tb_crypto_init(tb_err *err)
{
    if (sodium_init() < 0) {
        return tb_fail(err, TB_E_IO,
                       "libsodium: the system gives no random "
                       "bytes (is /dev/urandom there?)");
    }
    return TB_OK;
}

void tb_random_bytes(void *out, size_t n)
{
    randombytes_buf(out, n);
}

void tb_wipe(void *bytes, size_t n)
{
    sodium_memzero(bytes, n);
}

const char *tb_crypto_library(void)
{
    return sodium_version_string();
}
