#include "peak.h"

#include <stdbool.h>

#include "base/clock.h"

#if defined(__x86_64__)
#include <immintrin.h>

enum { CHAINS = 16, TURNS = 2000000 };

static volatile float sink;

__attribute__((target("avx512f"))) static void spin_avx512(void)
{
    __m512 x[CHAINS];
    const __m512 a = _mm512_set1_ps(0.999f);
    for (int i = 0; i < CHAINS; i++) {
        x[i] = _mm512_set1_ps((float)i);
    }
    for (int t = 0; t < TURNS / CHAINS; t++) {
        for (int i = 0; i < CHAINS; i++) {
            x[i] = _mm512_fmadd_ps(x[i], a, a);
        }
    }
    for (int i = 1; i < CHAINS; i++) {
        x[0] = _mm512_add_ps(x[0], x[i]);
    }
    sink = _mm512_reduce_add_ps(x[0]);
}

__attribute__((target("avx2,fma"))) static void spin_avx2(void)
{
    __m256 x[CHAINS / 2];
    const __m256 a = _mm256_set1_ps(0.999f);
    for (int i = 0; i < CHAINS / 2; i++) {
        x[i] = _mm256_set1_ps((float)i);
    }
    for (int t = 0; t < TURNS / (CHAINS / 2); t++) {
        for (int i = 0; i < CHAINS / 2; i++) {
            x[i] = _mm256_fmadd_ps(x[i], a, a);
        }
    }
    for (int i = 1; i < CHAINS / 2; i++) {
        x[0] = _mm256_add_ps(x[0], x[i]);
    }
    sink = _mm256_cvtss_f32(x[0]);
}

double tb_bench_peak_gflops(void)
{
    double best = 0.0;
    bool wide = __builtin_cpu_supports("avx512f") != 0;
    if (!wide && !__builtin_cpu_supports("fma")) {
        return 0.0;
    }
    for (int i = 0; i < 500; i++) { /* half a second, some of it alone */
        int64_t start = tb_clock_ns();
        wide ? spin_avx512() : spin_avx2();
        double ns = (double)(tb_clock_ns() - start);
        double rate = 2.0 * TURNS * (wide ? 16 : 8) / ns;
        best = rate > best ? rate : best;
    }
    return best;
}
#else
double tb_bench_peak_gflops(void)
{
    return 0.0;
}
#endif
