#include "base/hash.h"

#include <sodium.h>

tb_hash tb_hash_of(const void *bytes, size_t len)
{
    tb_hash hash;
    (void)crypto_generichash(hash.bytes, sizeof hash.bytes, bytes, len, NULL,
                             0);
    return hash;
}

void tb_hasher_init(tb_hasher *hasher)
{
    (void)crypto_generichash_init(&hasher->state, NULL, 0, TB_HASH_BYTES);
}

void tb_hasher_add(tb_hasher *hasher, const void *bytes, size_t len)
{
    (void)crypto_generichash_update(&hasher->state, bytes, len);
}

tb_hash tb_hasher_end(tb_hasher *hasher)
{
    tb_hash hash;
    (void)crypto_generichash_final(&hasher->state, hash.bytes,
                                   sizeof hash.bytes);
    return hash;
}

bool tb_hash_equal(const tb_hash *a, const tb_hash *b)
{
    return sodium_memcmp(a->bytes, b->bytes, sizeof a->bytes) == 0;
}

void tb_hash_hex(const tb_hash *hash, char out[static TB_HASH_HEX_BYTES])
{
    (void)sodium_bin2hex(out, TB_HASH_HEX_BYTES, hash->bytes,
                         sizeof hash->bytes);
}
