/* core/fed/codecs/q8.c - int8 steps of one scale: scale float32le | int8 [n].
 * Round half to even; the error of a value is at most scale / 2. */
#include <math.h>

#include "fed/codec_priv.h"

#define STEPS       127
#define SCALE_BYTES 4

static size_t bytes(size_t n)
{
    return SCALE_BYTES + n;
}

static tb_rc encode(const float *x, size_t n, uint8_t *out, tb_err *err)
{
    float largest = 0.0F;
    for (size_t i = 0; i < n; i++) {
        if (!isfinite(x[i])) {
            return tb_fail(err, TB_E_MALFORMED, "q8: value %zu is not finite",
                           i);
        }
        largest = fmaxf(largest, fabsf(x[i]));
    }
    float scale = largest / (float)STEPS;
    tb_codec_put_f32(out, scale);
    for (size_t i = 0; i < n; i++) {
        double q = scale > 0.0F ? rint((double)x[i] / (double)scale) : 0.0;
        q = fmin(fmax(q, -STEPS), STEPS); /* scale may have been rounded down */
        out[SCALE_BYTES + i] = (uint8_t)(int8_t)q;
    }
    return TB_OK;
}

static tb_rc decode(float *x, size_t n, const uint8_t *in, tb_err *err)
{
    float scale = tb_codec_get_f32(in);
    if (!isfinite(scale) || signbit(scale) || !isfinite(scale * (float)STEPS)) {
        return tb_fail(err, TB_E_MALFORMED, "q8: scale %g", (double)scale);
    }
    for (size_t i = 0; i < n; i++) {
        int q = in[SCALE_BYTES + i];
        q = q < 128 ? q : q - 256;
        if (q < -STEPS) {
            return tb_fail(err, TB_E_MALFORMED, "q8: value %zu is %d", i, q);
        }
        x[i] = scale * (float)q;
    }
    return TB_OK;
}

const tb_codec tb_codec_q8 = {
    .name = "q8", .bytes = bytes, .encode = encode, .decode = decode};
