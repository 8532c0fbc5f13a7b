/* core/tensor/conv_avx2.c - convolution for AVX2 and FMA: 6 x 16 sums in 12 of
 * 16 registers. */
#include <immintrin.h>

typedef __m256 vec;

#define CONV_SET     tb_conv_avx2
#define CONV_LOOPS   tb_k_avx2
#define WIDTH        ((size_t)8)
#define TILE_ROWS    6
#define SPREAD(x)    _mm256_set1_ps(x)
#define FMA(x, y, z) _mm256_fmadd_ps(x, y, z)
#define LOAD(at)     _mm256_loadu_ps(at)
#define STORE(at, x) _mm256_storeu_ps(at, x)

#include "tensor/conv_turn_avx.h"

#include "tensor/conv_loops.h"
