/* core/tensor/kernels_math.h - functions of one float32 and their slopes, each
 * written out as single operations, so that the compiler can vectorise them and
 * every set of instructions gives the same bits, included by kernels_loops.h.
 * The includer defines bool. Polynomials without a source named are least
 * squares of ours at Chebyshev points. */
#include <math.h>
#include <stdint.h>
#include <string.h>

static inline float float_of_bits(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static inline uint32_t bits_of_float(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

/* --- exp, log, erf, tanh -------------------------------------------------- */

static inline float power_of_two(int32_t n)
{
    int32_t bits = (n + 127) * (1 << 23);
    float out;
    memcpy(&out, &bits, sizeof out);
    return out;
}

/* exp(r) - 1, |r| <= log(2) / 2: the polynomial of Cephes' expf. */
static inline float expm1_near(float r)
{
    float p = 1.9875691500e-4f;
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    return p * (r * r) + r;
}

/* exp(r + n log 2) = 2^n exp(r), with log 2 in two parts. */
static inline float exp_of(float x)
{
    const float shift = 12582912.0f; /* 1.5 * 2^23: rounds to an integer */
    float c = x < -87.3f ? -87.3f : x;
    c = c > 88.73f ? 88.73f : c;
    float shifted = c * 1.44269504088896341f + shift;
    float n = shifted - shift;
    float r = (c - n * 0.693359375f) + n * 2.12194440e-4f;
    float p = expm1_near(r) + 1.0f;
    int32_t bits, shift_bits;
    memcpy(&bits, &shifted, sizeof bits);
    memcpy(&shift_bits, &shift, sizeof shift_bits);
    int32_t e = bits - shift_bits;
    e = e < -126 ? -126 : e; /* bounds for NaN, whose bits are any */
    e = e > 128 ? 128 : e;
    float y = p * power_of_two(e >> 1) * power_of_two(e - (e >> 1));
    return x < -87.3f ? 0.0f : y;
}

static inline float expm1_of(float x)
{
    return fabsf(x) < 0.3465f ? expm1_near(x) : exp_of(x) - 1.0f;
}

/* log(m 2^n) = n log 2 + log(m), m in [sqrt(1/2), sqrt(2)):
 * log(1 + f) = f - f^2 / 2 + f^3 P(f). */
static inline float log_of(float x)
{
    bool tiny = x < 0x1p-126f;
    uint32_t bits = bits_of_float(tiny ? x * 0x1p23f : x);
    int32_t e = (int32_t)(bits - 0x3f3504f3u) >> 23;
    float f = float_of_bits(bits - ((uint32_t)e << 23)) - 1.0f;
    float n = (float)e - (tiny ? 23.0f : 0.0f);
    float z = f * f;
    float p = 7.1470655501e-2f;
    p = p * f - 1.1571760476e-1f;
    p = p * f + 1.1662891507e-1f;
    p = p * f - 1.2411021441e-1f;
    p = p * f + 1.4249761403e-1f;
    p = p * f - 1.6668477654e-1f;
    p = p * f + 2.0000715554e-1f;
    p = p * f - 2.4999989569e-1f;
    p = p * f + 3.3333331347e-1f;
    float low = (f * z * p - n * 2.12194440e-4f) - 0.5f * z;
    float y = (low + f) + n * 0.693359375f;
    y = x > 0.0f ? y : (x == 0.0f ? -INFINITY : NAN);
    return x > 3.4028235e38f ? INFINITY : y;
}

/* log(1 + e) = 2 artanh(s), s = e / (2 + e), 0 <= e <= 1. */
static inline float log1p_of(float e)
{
    float s = e / (2.0f + e);
    float z = s * s;
    float p = 2.817465663e-1f;
    p = p * z + 2.796141803e-1f;
    p = p * z + 4.002485275e-1f;
    p = p * z + 6.666631699e-1f;
    return (s * z) * p + 2.0f * s;
}

/* erf(x) = x P(x^2) / Q(x^2) up to 3.925, where it rounds to 1. */
static inline float erf_of(float x)
{
    float a = x > 3.925f ? 3.925f : x;
    a = a < -3.925f ? -3.925f : a;
    float z = a * a;
    float p = 2.046000873e-6f;
    p = p * z + 2.848335425e-4f;
    p = p * z + 3.772299038e-3f;
    p = p * z + 5.276846886e-2f;
    p = p * z + 1.905884147e-1f;
    p = p * z + 1.128379107f;
    float q = 3.804700464e-5f;
    q = q * z + 1.163789770e-3f;
    q = q * z + 1.498268358e-2f;
    q = q * z + 1.141804084e-1f;
    q = q * z + 5.022373199e-1f;
    q = q * z + 1.0f;
    float y = (a * p) / q;
    y = y > 1.0f ? 1.0f : y;
    return y < -1.0f ? -1.0f : y;
}

/* Cephes' tanhf: a polynomial near 0, else (1 - e) / (1 + e),
 * e = exp(-2|x|). */
static inline float tanh_near_or_far(float x)
{
    float z = x * x;
    float p = -5.70498872745e-3f;
    p = p * z + 2.06390887954e-2f;
    p = p * z - 5.37397155531e-2f;
    p = p * z + 1.33314422036e-1f;
    p = p * z - 3.33332819422e-1f;
    float near = (p * z) * x + x;
    float e = exp_of(-2.0f * fabsf(x));
    float far = copysignf((1.0f - e) / (1.0f + e), x);
    return fabsf(x) < 0.625f ? near : far;
}

static inline float logistic(float x)
{
    return 1.0f / (1.0f + exp_of(-x));
}

/* --- the maps of kernels_maps.def: f(x; p, q) and df/dx ------------------- */

#define MAP_OF(name) static inline float name##_of(float x, float p, float q)
#define MAP_SLOPE(name)                                                        \
    static inline float name##_slope(float x, float p, float q)
#define UNUSED_PQ (void)p, (void)q

MAP_OF(map_neg)
{
    UNUSED_PQ;
    return -x;
}

MAP_SLOPE(map_neg)
{
    UNUSED_PQ;
    return x != x ? x : -1.0f;
}

MAP_OF(map_abs)
{
    UNUSED_PQ;
    return fabsf(x);
}

MAP_SLOPE(map_abs)
{
    UNUSED_PQ;
    return x > 0.0f ? 1.0f : (x < 0.0f ? -1.0f : 0.0f);
}

MAP_OF(map_sqrt)
{
    UNUSED_PQ;
    return sqrtf(x);
}

MAP_SLOPE(map_sqrt)
{
    UNUSED_PQ;
    return 0.5f / sqrtf(x);
}

MAP_OF(map_reciprocal)
{
    UNUSED_PQ;
    return 1.0f / x;
}

MAP_SLOPE(map_reciprocal)
{
    UNUSED_PQ;
    float y = 1.0f / x;
    return -(y * y);
}

MAP_OF(map_exp)
{
    UNUSED_PQ;
    return exp_of(x);
}

MAP_SLOPE(map_exp)
{
    UNUSED_PQ;
    return exp_of(x);
}

MAP_OF(map_log)
{
    UNUSED_PQ;
    return log_of(x);
}

MAP_SLOPE(map_log)
{
    UNUSED_PQ;
    return 1.0f / x;
}

MAP_OF(map_erf)
{
    UNUSED_PQ;
    return erf_of(x);
}

MAP_SLOPE(map_erf)
{
    UNUSED_PQ;
    return 1.12837916709551257f * exp_of(-(x * x));
}

/* Relu and LeakyRelu; p: alpha */
MAP_OF(map_relu)
{
    (void)q;
    return x <= 0.0f ? p * x : x;
}

MAP_SLOPE(map_relu)
{
    (void)q;
    return x > 0.0f ? 1.0f : p;
}

/* p: alpha */
MAP_OF(map_elu)
{
    (void)q;
    return x > 0.0f ? x : p * expm1_of(x);
}

MAP_SLOPE(map_elu)
{
    (void)q;
    return x > 0.0f ? 1.0f : p * exp_of(x);
}

/* p: alpha, q: gamma */
MAP_OF(map_selu)
{
    return q * (x > 0.0f ? x : p * expm1_of(x));
}

MAP_SLOPE(map_selu)
{
    return q * (x > 0.0f ? 1.0f : p * exp_of(x));
}

/* p: alpha, q: 1 / alpha */
MAP_OF(map_celu)
{
    return x > 0.0f ? x : p * expm1_of(x * q);
}

MAP_SLOPE(map_celu)
{
    (void)p;
    return x > 0.0f ? 1.0f : exp_of(x * q);
}

MAP_OF(map_sigmoid)
{
    UNUSED_PQ;
    return logistic(x);
}

MAP_SLOPE(map_sigmoid)
{
    UNUSED_PQ;
    float y = logistic(x);
    return y * (1.0f - y);
}

MAP_OF(map_tanh)
{
    UNUSED_PQ;
    return tanh_near_or_far(x);
}

MAP_SLOPE(map_tanh)
{
    UNUSED_PQ;
    float y = tanh_near_or_far(x);
    return 1.0f - y * y;
}

/* p: alpha, q: beta */
MAP_OF(map_hard_sigmoid)
{
    float y = p * x + q;
    y = y < 0.0f ? 0.0f : y;
    return y > 1.0f ? 1.0f : y;
}

MAP_SLOPE(map_hard_sigmoid)
{
    float y = p * x + q;
    return y > 0.0f && y < 1.0f ? p : 0.0f;
}

/* x hardsigmoid(x), alpha 1/6, beta 1/2 */
MAP_OF(map_hard_swish)
{
    UNUSED_PQ;
    float y = x * (1.0f / 6.0f) + 0.5f;
    y = y < 0.0f ? 0.0f : y;
    return x * (y > 1.0f ? 1.0f : y);
}

MAP_SLOPE(map_hard_swish)
{
    UNUSED_PQ;
    float y = x * (1.0f / 3.0f) + 0.5f;
    y = x < -3.0f ? 0.0f : y;
    return x > 3.0f ? 1.0f : y;
}

/* x Phi(x), Phi the normal distribution */
MAP_OF(map_gelu)
{
    UNUSED_PQ;
    return 0.5f * x * (1.0f + erf_of(x * 0.70710678118654752f));
}

MAP_SLOPE(map_gelu)
{
    UNUSED_PQ;
    float density = 0.39894228040143268f * exp_of(-0.5f * (x * x));
    return 0.5f * (1.0f + erf_of(x * 0.70710678118654752f)) + x * density;
}

/* The same with Phi(x) = (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))) / 2 */
MAP_OF(map_gelu_tanh)
{
    UNUSED_PQ;
    float u = 0.79788456080286536f * (x + 0.044715f * (x * x * x));
    return 0.5f * x * (1.0f + tanh_near_or_far(u));
}

MAP_SLOPE(map_gelu_tanh)
{
    UNUSED_PQ;
    float u = 0.79788456080286536f * (x + 0.044715f * (x * x * x));
    float du = 0.79788456080286536f * (1.0f + 0.134145f * (x * x));
    float t = tanh_near_or_far(u);
    return 0.5f * (1.0f + t) + 0.5f * x * (1.0f - t * t) * du;
}

/* log(1 + exp(x)) */
MAP_OF(map_softplus)
{
    UNUSED_PQ;
    return (x > 0.0f ? x : 0.0f) + log1p_of(exp_of(-fabsf(x)));
}

MAP_SLOPE(map_softplus)
{
    UNUSED_PQ;
    return logistic(x);
}

MAP_OF(map_softsign)
{
    UNUSED_PQ;
    return x / (1.0f + fabsf(x));
}

MAP_SLOPE(map_softsign)
{
    UNUSED_PQ;
    float y = 1.0f / (1.0f + fabsf(x));
    return y * y;
}

/* x tanh(log(1 + exp(x))) */
MAP_OF(map_mish)
{
    return x * tanh_near_or_far(map_softplus_of(x, p, q));
}

MAP_SLOPE(map_mish)
{
    float t = tanh_near_or_far(map_softplus_of(x, p, q));
    return t + x * (1.0f - t * t) * logistic(x);
}

/* p: alpha */
MAP_OF(map_thresholded)
{
    (void)q;
    return x > p ? x : 0.0f;
}

MAP_SLOPE(map_thresholded)
{
    (void)q;
    return x > p ? 1.0f : 0.0f;
}

/* y[i] = f(x[i]); dx[i] = dy[i] df(x[i]). */
#define TB_K_MAP(NAME, name)                                                   \
    static void map_##name(float *y, const float *x, size_t n, float p,        \
                           float q)                                            \
    {                                                                          \
        for (size_t i = 0; i < n; i++) {                                       \
            y[i] = map_##name##_of(x[i], p, q);                                \
        }                                                                      \
    }                                                                          \
    static void map_##name##_grad(float *dx, const float *x, const float *dy,  \
                                  size_t n, float p, float q)                  \
    {                                                                          \
        for (size_t i = 0; i < n; i++) {                                       \
            dx[i] = dy[i] * map_##name##_slope(x[i], p, q);                    \
        }                                                                      \
    }
#include "tensor/kernels_maps.def"
#undef TB_K_MAP
