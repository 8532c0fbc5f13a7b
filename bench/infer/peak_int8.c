#include "peak_int8.h"

#include "base/clock.h"

#if defined(__x86_64__)
#include <immintrin.h>

enum { CHAINS = 16, TURNS = 2000000 };

static volatile int sink;

__attribute__((target("avx512f,avx512vnni"))) static void spin(void)
{
    __m512i x[CHAINS];
    const __m512i a = _mm512_set1_epi32(0x01010101);
    for (int i = 0; i < CHAINS; i++) {
        x[i] = _mm512_set1_epi32(i);
    }
    for (int t = 0; t < TURNS / CHAINS; t++) {
        for (int i = 0; i < CHAINS; i++) {
            x[i] = _mm512_dpbusd_epi32(x[i], a, a);
        }
    }
    for (int i = 1; i < CHAINS; i++) {
        x[0] = _mm512_add_epi32(x[0], x[i]);
    }
    sink = _mm512_reduce_add_epi32(x[0]);
}

double tb_bench_peak_int8_gops(void)
{
    double best = 0.0;
    if (!__builtin_cpu_supports("avx512vnni")) {
        return 0.0;
    }
    for (int i = 0; i < 1000; i++) { /* half a second, some of it alone */
        int64_t start = tb_clock_ns();
        spin();
        double rate = 128.0 * TURNS / (double)(tb_clock_ns() - start);
        best = rate > best ? rate : best;
    }
    return best;
}
#else
double tb_bench_peak_int8_gops(void)
{
    return 0.0;
}
#endif
