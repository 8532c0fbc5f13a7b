/* core/tensor/pool_avx2.c - the loops of a pool for AVX2 and FMA. */
#define POOL_SET   tb_pool_avx2
#define POOL_LOOPS tb_k_avx2

#include "tensor/pool_loops.h"
