/* core/tensor/conv_avx512.c - convolution for AVX-512: 12 x 32 sums in 24 of 32
 * registers. */
#include <immintrin.h>

typedef __m512 vec;

#define CONV_SET     tb_conv_avx512
#define CONV_LOOPS   tb_k_avx512
#define WIDTH        ((size_t)16)
#define TILE_ROWS    12
#define SPREAD(x)    _mm512_set1_ps(x)
#define FMA(x, y, z) _mm512_fmadd_ps(x, y, z)
#define LOAD(at)     _mm512_loadu_ps(at)
#define STORE(at, x) _mm512_storeu_ps(at, x)

#include "tensor/conv_turn_avx.h"

#include "tensor/conv_loops.h"
