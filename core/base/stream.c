#include "base/stream.h"

#include <math.h>
#include <string.h>

#include <sodium.h>

#include "base/buf.h"
#include "base/hash.h"

#define TWO_PI 6.283185307179586476925286766559

_Static_assert(sizeof((tb_stream *)0)->key == TB_HASH_BYTES, "key is a hash");
_Static_assert(TB_STREAM_BLOCK_BYTES % crypto_stream_chacha20_KEYBYTES == 0,
               "a block is whole ChaCha20 blocks");

void tb_stream_init(tb_stream *s, uint64_t seed, uint32_t round,
                    const char *purpose, const char *client)
{
    uint8_t head[12];
    tb_le64_put(head, seed);
    tb_le32_put(head + 8, round);
    tb_hasher hasher;
    tb_hasher_init(&hasher);
    tb_hasher_add(&hasher, head, sizeof head);
    tb_hasher_add(&hasher, purpose, strlen(purpose) + 1);
    tb_hasher_add(&hasher, client, strlen(client));
    tb_hash key = tb_hasher_end(&hasher);
    memcpy(s->key, key.bytes, sizeof s->key);
    s->next_block = 0;
    s->used = sizeof s->block;
}

static void take(tb_stream *s, uint8_t *out, size_t n)
{
    if (s->used + n > sizeof s->block) {
        uint8_t nonce[crypto_stream_chacha20_NONCEBYTES];
        tb_le64_put(nonce, s->next_block);
        (void)crypto_stream_chacha20(s->block, sizeof s->block, nonce, s->key);
        s->next_block++;
        s->used = 0;
    }
    memcpy(out, s->block + s->used, n);
    s->used += n;
}

uint32_t tb_stream_u32(tb_stream *s)
{
    uint8_t bytes[4];
    take(s, bytes, sizeof bytes);
    return tb_le32_get(bytes);
}

uint64_t tb_stream_u64(tb_stream *s)
{
    uint8_t bytes[8];
    take(s, bytes, sizeof bytes);
    return tb_le64_get(bytes);
}

uint64_t tb_stream_below(tb_stream *s, uint64_t n)
{
    uint64_t first_fair = (0 - n) % n; /* 2^64 mod n values are drawn again */
    uint64_t v = tb_stream_u64(s);
    while (v < first_fair) {
        v = tb_stream_u64(s);
    }
    return v % n;
}

double tb_stream_uniform(tb_stream *s)
{
    return (double)(tb_stream_u64(s) >> 11) * 0x1.0p-53;
}

double tb_stream_normal(tb_stream *s)
{
    double u = 1.0 - tb_stream_uniform(s); /* (0, 1]: the log is finite */
    double v = tb_stream_uniform(s);
    return sqrt(-2.0 * log(u)) * cos(TWO_PI * v);
}

double tb_stream_gamma(tb_stream *s, double shape)
{
    double boost = 1.0;
    if (shape < 1.0) {
        boost = pow(1.0 - tb_stream_uniform(s), 1.0 / shape);
        shape += 1.0;
    }
    double d = shape - 1.0 / 3.0;
    double c = 1.0 / sqrt(9.0 * d);
    for (;;) {
        double x = tb_stream_normal(s);
        double v = 1.0 + c * x;
        if (v <= 0.0) {
            continue;
        }
        v = v * v * v;
        double u = 1.0 - tb_stream_uniform(s);
        if (log(u) < 0.5 * x * x + d - d * v + d * log(v)) {
            return boost * d * v;
        }
    }
}

void tb_stream_shuffle(tb_stream *s, uint32_t *index, size_t n)
{
    for (size_t i = n; i > 1; i--) {
        size_t j = (size_t)tb_stream_below(s, i);
        uint32_t swap = index[i - 1];
        index[i - 1] = index[j];
        index[j] = swap;
    }
}
