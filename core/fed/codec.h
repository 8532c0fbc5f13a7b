/* core/fed/codec.h - plug-in table of update codecs: a block of at most
 * TB_BLOCK_VALUES float32 values <-> bytes. Decoding is deterministic to the
 * bit. A codec knows nothing of rounds, seals or weights, and keeps no state.
 *
 *   "f32"  float32 little-endian, n times.
 *   "q8"   scale float32le, finite and >= 0 | int8 [n], -127 to 127;
 *          value = scale * q, scale = max |x| / 127. */
#ifndef TB_FED_CODEC_H
#define TB_FED_CODEC_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

typedef struct tb_codec {
    const char *name;

    /* Bytes that n values become, always the same for one n. */
    size_t (*bytes)(size_t n);

    /* Writes bytes(n) bytes. Errors: MALFORMED (a value is not finite; says
     * which). */
    tb_rc (*encode)(const float *x, size_t n, uint8_t *out, tb_err *err);

    /* Reads exactly bytes(n) untrusted bytes into x [n]. Errors: MALFORMED (a
     * value would not be finite). x is undefined after a failure. */
    tb_rc (*decode)(float *x, size_t n, const uint8_t *bytes, tb_err *err);

    /* The values where they lie, for a caller that looks at each itself: they
     * may be anything. NULL: bytes at this place must be decoded. The entry is
     * NULL for a codec of which all must be. */
    const float *(*view)(const uint8_t *bytes);
} tb_codec;

/* All codecs, in a fixed order; NULL at index n and beyond. */
const tb_codec *tb_codec_at(size_t i);

/* The codec of this name, or NULL. */
const tb_codec *tb_codec_find(const char *name) TB_NONNULL(1);

#endif
