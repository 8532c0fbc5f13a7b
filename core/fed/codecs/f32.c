/* core/fed/codecs/f32.c - values as they are: float32 little-endian [n]. */
#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "base/buf.h"
#include "fed/codec_priv.h"

/* Our floats are the bytes of the wire: a copy is all. */
#define LITTLE_ENDIAN_HERE (__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__)

void tb_codec_put_f32(uint8_t *at, float x)
{
    uint32_t bits = 0;
    memcpy(&bits, &x, sizeof bits);
    tb_le32_put(at, bits);
}

float tb_codec_get_f32(const uint8_t *at)
{
    uint32_t bits = tb_le32_get(at);
    float x = 0.0F;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static size_t bytes(size_t n)
{
    return 4 * n;
}

#define LANES 8 /* sums side by side: each waits for itself only */

/* Index of the first value that is not finite, or n. */
static size_t first_bad(const float *x, size_t n)
{
    float zero[LANES] = {0}; /* x * 0 is 0, or NaN when x is not finite */
    size_t i = 0;
    for (; i + LANES <= n; i += LANES) {
        for (size_t k = 0; k < LANES; k++) {
            zero[k] += x[i + k] * 0.0F;
        }
    }
    for (size_t k = 1; k < LANES; k++) {
        zero[0] += zero[k];
    }
    i = zero[0] == 0.0F ? i : 0;
    while (i < n && isfinite(x[i])) {
        i++;
    }
    return i;
}

static tb_rc check(const float *x, size_t n, tb_err *err)
{
    size_t bad = first_bad(x, n);
    if (bad < n) {
        return tb_fail(err, TB_E_MALFORMED, "f32: value %zu is not finite",
                       bad);
    }
    return TB_OK;
}

static tb_rc encode(const float *x, size_t n, uint8_t *out, tb_err *err)
{
    tb_rc rc = check(x, n, err);
    if (rc == TB_OK && LITTLE_ENDIAN_HERE) {
        memcpy(out, x, 4 * n);
        return TB_OK;
    }
    for (size_t i = 0; rc == TB_OK && i < n; i++) {
        tb_codec_put_f32(out + 4 * i, x[i]);
    }
    return rc;
}

static tb_rc decode(float *x, size_t n, const uint8_t *in, tb_err *err)
{
    if (LITTLE_ENDIAN_HERE) {
        memcpy(x, in, 4 * n);
        return check(x, n, err);
    }
    for (size_t i = 0; i < n; i++) {
        x[i] = tb_codec_get_f32(in + 4 * i);
    }
    return check(x, n, err);
}

static const float *view(const uint8_t *in)
{
    bool fits = LITTLE_ENDIAN_HERE && (uintptr_t)in % _Alignof(float) == 0;
    return fits ? (const float *)(const void *)in : NULL;
}

const tb_codec tb_codec_f32 = {.name = "f32",
                               .bytes = bytes,
                               .encode = encode,
                               .decode = decode,
                               .view = view};
