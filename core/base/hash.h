/* core/base/hash.h - BLAKE2b-256 (RFC 7693, by libsodium): the one hash of the
 * project, for content addresses, chains and streams. */
#ifndef TB_BASE_HASH_H
#define TB_BASE_HASH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <sodium/crypto_generichash.h>

#include "base/attr.h"

#define TB_HASH_BYTES     32
#define TB_HASH_HEX_BYTES 65 /* with the closing NUL */

typedef struct tb_hash {
    uint8_t bytes[TB_HASH_BYTES];
} tb_hash;

/* On a 64-byte border: as part of a heap object it wants tb_mem_aligned. */
typedef struct tb_hasher {
    crypto_generichash_state state;
} tb_hasher;

/* Hash of len bytes. */
tb_hash tb_hash_of(const void *bytes, size_t len);

/* The same in pieces: init, add any number of times, then end once. */
void tb_hasher_init(tb_hasher *hasher) TB_NONNULL(1);
void tb_hasher_add(tb_hasher *hasher, const void *bytes, size_t len)
    TB_NONNULL(1);
tb_hash tb_hasher_end(tb_hasher *hasher) TB_NONNULL(1);

/* Constant time. */
bool tb_hash_equal(const tb_hash *a, const tb_hash *b) TB_NONNULL(1, 2);

/* Lower-case hexadecimal with a closing NUL. */
void tb_hash_hex(const tb_hash *hash, char out[static TB_HASH_HEX_BYTES])
    TB_NONNULL(1, 2);

#endif
