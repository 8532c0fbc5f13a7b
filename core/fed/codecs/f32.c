/* core/fed/codecs/f32.c - values as they are: float32 little-endian [n]. */
#include <math.h>
#include <string.h>

#include "base/buf.h"
#include "fed/codec_priv.h"

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

/* Index of the first value that is not finite, or n. */
static size_t first_bad(const float *x, size_t n)
{
    float zero = 0.0F; /* x * 0 is 0, or NaN when x is not finite */
    for (size_t i = 0; i < n; i++) {
        zero += x[i] * 0.0F;
    }
    if (zero == 0.0F) {
        return n;
    }
    size_t i = 0;
    while (isfinite(x[i])) {
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
    for (size_t i = 0; rc == TB_OK && i < n; i++) {
        tb_codec_put_f32(out + 4 * i, x[i]);
    }
    return rc;
}

static tb_rc decode(float *x, size_t n, const uint8_t *in, tb_err *err)
{
    for (size_t i = 0; i < n; i++) {
        x[i] = tb_codec_get_f32(in + 4 * i);
    }
    return check(x, n, err);
}

const tb_codec tb_codec_f32 = {
    .name = "f32", .bytes = bytes, .encode = encode, .decode = decode};
