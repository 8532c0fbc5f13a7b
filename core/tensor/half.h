/* core/tensor/half.h - the two 16-bit float formats, one number at a time:
 * IEEE 754 binary16 (f16) and the upper half of a float32 (bf16). Rounding is
 * half to even; NaN stays NaN. Plain integer arithmetic, the same everywhere.
 */
#ifndef TB_TENSOR_HALF_H
#define TB_TENSOR_HALF_H

#include <stdint.h>
#include <string.h>

/* The value of an f16, exactly. */
static inline float tb_half_to_f32(uint16_t h)
{
    uint32_t sign = (uint32_t)(h & 0x8000u) << 16;
    uint32_t exponent = h >> 10 & 0x1fu;
    uint32_t fraction = h & 0x3ffu;
    uint32_t bits = sign | (exponent + 112) << 23 | fraction << 13;
    if (exponent == 0) { /* zero or subnormal: fraction * 2^-24 */
        float x = (float)fraction * 0x1p-24f;
        return sign != 0 ? -x : x;
    }
    if (exponent == 31) {
        bits = sign | 0x7f800000u | fraction << 13;
    }
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* The nearest f16; over 65504 and half a step it is infinite. */
static inline uint16_t tb_half_from_f64(double x)
{
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    uint16_t sign = (uint16_t)(bits >> 48 & 0x8000u);
    double size = x < 0 ? -x : x;
    if (!(size == size)) {
        return (uint16_t)(sign | 0x7e00u);
    }
    if (size >= 65520.0) {
        return (uint16_t)(sign | 0x7c00u);
    }
    if (size <
        0x1p-14) { /* subnormal steps; 1024 of them are the least normal */
        const double shift = 0x1.8p52; /* rounds to an integer, half to even */
        double steps = (size * 0x1p24 + shift) - shift;
        return (uint16_t)(sign | (uint32_t)steps);
    }
    int32_t exponent = (int32_t)(bits >> 52 & 0x7ffu) - 1023;
    uint64_t fraction = bits & 0xfffffffffffffu;
    uint64_t kept = fraction >> 42;
    uint64_t rest = fraction & 0x3ffffffffffu;
    kept +=
        rest > 0x20000000000u || (rest == 0x20000000000u && (kept & 1) != 0);
    /* A carry out of the fraction moves the exponent up by itself. */
    return (uint16_t)(sign |
                      (((uint32_t)(exponent + 15) << 10) + (uint32_t)kept));
}

/* The value of a bf16, exactly. */
static inline float tb_bf16_to_f32(uint16_t h)
{
    uint32_t bits = (uint32_t)h << 16;
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* The nearest bf16. */
static inline uint16_t tb_bf16_from_f32(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    if ((bits & 0x7fffffffu) > 0x7f800000u) {
        return (uint16_t)(bits >> 16 | 0x40u);
    }
    return (uint16_t)((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
}

#endif
