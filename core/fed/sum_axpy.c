/* The inner loops of the exact sum. The integers are exact, so each instruction
 * set gives the same bits; the compiler makes the loops of each from one text.
 */
#include <math.h>
#include <string.h>

#include "fed/sum_priv.h"

#if defined(__x86_64__)
#define AVX2_CODE __attribute__((target("avx2")))
#define AVX512_CODE                                                            \
    __attribute__((target("avx512f,avx512dq,avx512vl,avx512bw")))
#endif
#define IN_PLACE static inline __attribute__((always_inline))

/* Adding 1.5 * 2^52 to |v| < 2^51 leaves round-half-even(v) in the low bits. */
#define ROUNDER    0x1.8p52
#define NEAR_LIMIT 0x1p51

IN_PLACE bool fits(const float *x, size_t n, float max_abs)
{
    int bad = 0;
    for (size_t i = 0; i < n; i++) {
        bad |= !(fabsf(x[i]) <= max_abs); /* NaN compares false */
    }
    return bad == 0;
}

IN_PLACE void axpy_near(int64_t *acc, const float *x, size_t n, double scale,
                        int64_t weight)
{
    const double rounder = ROUNDER;
    uint64_t base = 0;
    memcpy(&base, &rounder, sizeof base);
    for (size_t i = 0; i < n; i++) {
        double v = (double)x[i] * scale + rounder;
        uint64_t q = 0;
        memcpy(&q, &v, sizeof q);
        acc[i] = (int64_t)((uint64_t)acc[i] + (q - base) * (uint64_t)weight);
    }
}

static void axpy_far(int64_t *acc, const float *x, size_t n, double scale,
                     int64_t weight)
{
    for (size_t i = 0; i < n; i++) {
        uint64_t q = (uint64_t)llrint((double)x[i] * scale);
        acc[i] = (int64_t)((uint64_t)acc[i] + q * (uint64_t)weight);
    }
}

#if defined(__x86_64__)
AVX2_CODE static bool fits_avx2(const float *x, size_t n, float max_abs)
{
    return fits(x, n, max_abs);
}

AVX2_CODE static void axpy_avx2(int64_t *acc, const float *x, size_t n,
                                double scale, int64_t weight)
{
    axpy_near(acc, x, n, scale, weight);
}

AVX512_CODE static bool fits_avx512(const float *x, size_t n, float max_abs)
{
    return fits(x, n, max_abs);
}

AVX512_CODE static void axpy_avx512(int64_t *acc, const float *x, size_t n,
                                    double scale, int64_t weight)
{
    axpy_near(acc, x, n, scale, weight);
}
#endif

bool tb_sum_fits(const float *x, size_t n, float max_abs)
{
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512vl") &&
        __builtin_cpu_supports("avx512bw")) {
        return fits_avx512(x, n, max_abs);
    }
    if (__builtin_cpu_supports("avx2")) {
        return fits_avx2(x, n, max_abs);
    }
#endif
    return fits(x, n, max_abs);
}

void tb_sum_axpy(int64_t *acc, const float *x, size_t n, double scale,
                 double limit, int64_t weight)
{
    if (limit >= NEAR_LIMIT) {
        axpy_far(acc, x, n, scale, weight);
        return;
    }
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512vl") &&
        __builtin_cpu_supports("avx512bw")) {
        axpy_avx512(acc, x, n, scale, weight);
        return;
    }
    if (__builtin_cpu_supports("avx2")) {
        axpy_avx2(acc, x, n, scale, weight);
        return;
    }
#endif
    axpy_near(acc, x, n, scale, weight);
}
