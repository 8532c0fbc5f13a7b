/* The inner loops of the exact sum. The integers are exact, so each instruction
 * set gives the same bits; the compiler makes the loops of each from one text.
 */
#include <math.h>
#include <string.h>

#include "fed/sum_priv.h"

#define IN_PLACE static inline __attribute__((always_inline))

/* Adding 1.5 * 2^52 to |v| < 2^51 leaves round-half-even(v) in the low bits. */
#define ROUNDER 0x1.8p52

#define SIGN    0x80000000u

static uint32_t bits_of(float x)
{
    uint32_t bits = 0;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

/* Without their sign, floats are in the order of their bits; infinity and then
 * NaN come last. */
IN_PLACE bool fits(const float *x, size_t n, float max_abs)
{
    uint32_t top = 0;
    for (size_t i = 0; i < n; i++) {
        uint32_t bits = bits_of(x[i]) & ~SIGN;
        top = top > bits ? top : bits;
    }
    return top <= bits_of(max_abs);
}

IN_PLACE void axpy(int64_t *acc, const float *x, size_t n, double scale,
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

void tb_sum_axpy_far(int64_t *acc, const float *x, size_t n, double scale,
                     int64_t weight)
{
    for (size_t i = 0; i < n; i++) {
        uint64_t q = (uint64_t)llrint((double)x[i] * scale);
        acc[i] = (int64_t)((uint64_t)acc[i] + q * (uint64_t)weight);
    }
}

/* The two loops again, compiled for an instruction set. */
#define LOOPS(isa, attribute)                                                  \
    attribute static bool fits_##isa(const float *x, size_t n, float max_abs)  \
    {                                                                          \
        return fits(x, n, max_abs);                                            \
    }                                                                          \
    attribute static void axpy_##isa(int64_t *acc, const float *x, size_t n,   \
                                     double scale, int64_t weight)             \
    {                                                                          \
        axpy(acc, x, n, scale, weight);                                        \
    }

LOOPS(portable, )

static bool anywhere(void)
{
    return true;
}

#if defined(__x86_64__)
LOOPS(avx2, __attribute__((target("avx2"))))
LOOPS(avx512, __attribute__((target("avx512f,avx512dq,avx512vl"))))

static bool has_avx2(void)
{
    return __builtin_cpu_supports("avx2");
}

static bool has_avx512(void)
{
    return __builtin_cpu_supports("avx512f") &&
           __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512vl");
}
#endif

static const tb_sum_kernel kernels[] = {
#if defined(__x86_64__)
    {"avx512", has_avx512, fits_avx512, axpy_avx512},
    {"avx2", has_avx2, fits_avx2, axpy_avx2},
#endif
    {"portable", anywhere, fits_portable, axpy_portable},
};

const tb_sum_kernel *tb_sum_kernel_at(size_t i)
{
    return i < sizeof kernels / sizeof kernels[0] ? &kernels[i] : NULL;
}

const tb_sum_kernel *tb_sum_kernel_best(void)
{
    const tb_sum_kernel *kernel = kernels;
    while (!kernel->usable()) {
        kernel++;
    }
    return kernel;
}
