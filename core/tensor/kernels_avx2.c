/* core/tensor/kernels_avx2.c - the loops for AVX2 and FMA. */
#define TB_K_SET  tb_k_avx2
#define TB_K_NAME "avx2"
#define TB_K_USABLE                                                            \
    (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
#include "tensor/kernels_loops.h"
