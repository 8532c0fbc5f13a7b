/* core/crypto/secret.h - small secrets in guarded memory. sodium_malloc allows
 * only about 16,000 live objects, so slots of 64 bytes are cut from slabs of
 * it: locked in memory where the host allows, left out of core dumps, between
 * guard pages. Slabs are kept and used again. Safe from any thread. */
#ifndef TB_CRYPTO_SECRET_H
#define TB_CRYPTO_SECRET_H

#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"

#define TB_SECRET_BYTES   64
#define TB_KEY_SEED_BYTES 32 /* what any key is made of */

/* A zeroed slot of TB_SECRET_BYTES bytes, or NULL when out of memory. */
uint8_t *tb_secret_new(void) TB_MUST_CHECK;

/* Wipes the slot, gives it back and nulls *secret. NULL is fine. */
void tb_secret_free(uint8_t **secret) TB_NONNULL(1);

/* Slots in use now: 0 when no secret is left behind. */
size_t tb_secret_live(void);

#endif
