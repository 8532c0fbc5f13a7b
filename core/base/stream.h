/* core/base/stream.h - seeded streams: all chance that must repeat comes from
 * here. A stream is made of ChaCha20 key streams (RFC 8439, counter from 0) of
 * 512 bytes, the i-th under the nonce (0 u32 | i u64le), all under the key
 * BLAKE2b-256(seed u64le | round u32le | purpose bytes | 0 | client bytes), so
 * streams of different purposes never touch. A number that does not fit the
 * rest of a block comes from the next. Keys, nonces and privacy noise
 * must not come from here. One owner at a time. */
#ifndef TB_BASE_STREAM_H
#define TB_BASE_STREAM_H

#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"

#define TB_STREAM_BLOCK_BYTES 512

typedef struct tb_stream {
    uint8_t key[32];
    uint8_t block[TB_STREAM_BLOCK_BYTES]; /* key stream not yet used */
    uint64_t next_block;                  /* index of the next block */
    size_t used;                          /* bytes of block already given */
} tb_stream;

/* purpose and client are NUL-terminated names; client may be "". */
void tb_stream_init(tb_stream *s, uint64_t seed, uint32_t round,
                    const char *purpose, const char *client)
    TB_NONNULL(1, 4, 5);

/* The next 4 or 8 bytes of the stream, as a little-endian number. */
uint32_t tb_stream_u32(tb_stream *s) TB_NONNULL(1);
uint64_t tb_stream_u64(tb_stream *s) TB_NONNULL(1);

/* Uniform in [0, n), without modulo bias; n > 0. */
uint64_t tb_stream_below(tb_stream *s, uint64_t n) TB_NONNULL(1);

/* Uniform in [0, 1) with 53 bits. */
double tb_stream_uniform(tb_stream *s) TB_NONNULL(1);

/* Standard normal (Box and Muller 1958, the cosine half). */
double tb_stream_normal(tb_stream *s) TB_NONNULL(1);

/* Gamma(shape, 1), shape > 0 (Marsaglia and Tsang 2000). */
double tb_stream_gamma(tb_stream *s, double shape) TB_NONNULL(1);

/* Shuffles index [n] in place (Fisher and Yates). */
void tb_stream_shuffle(tb_stream *s, uint32_t *index, size_t n) TB_NONNULL(1);

#endif
