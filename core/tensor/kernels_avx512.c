/* core/tensor/kernels_avx512.c - the loops for AVX-512 (F, VL, BW, DQ). */
#define TB_K_SET  tb_k_avx512
#define TB_K_NAME "avx512"
#define TB_K_USABLE                                                            \
    (__builtin_cpu_supports("avx512f") &&                                      \
     __builtin_cpu_supports("avx512vl") &&                                     \
     __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq"))
#include "tensor/kernels_loops.h"
