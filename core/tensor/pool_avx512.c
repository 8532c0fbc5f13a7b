/* core/tensor/pool_avx512.c - the loops of a pool for AVX-512. */
#define POOL_SET   tb_pool_avx512
#define POOL_LOOPS tb_k_avx512

#include "tensor/pool_loops.h"
