/* core/crypto/crypto.h - what every use of cryptography needs first: the start
 * of libsodium, random bytes and wiping. This room stands on base alone and
 * knows nothing of messages, rounds or sockets. */
#ifndef TB_CRYPTO_CRYPTO_H
#define TB_CRYPTO_CRYPTO_H

#include <stddef.h>

#include "base/err.h"

/* Starts libsodium; call it once before anything else of this room, safe again
 * and from any thread. Errors: IO (no random source). */
tb_rc tb_crypto_init(tb_err *err) TB_MUST_CHECK;

/* Version of libsodium that is loaded, such as "1.0.18". */
const char *tb_crypto_library(void);

/* Fills n bytes from the operating system's random source. */
void tb_random_bytes(void *out, size_t n);

/* Overwrites n bytes with zeros, and the compiler cannot leave it out. */
void tb_wipe(void *bytes, size_t n);

#endif
