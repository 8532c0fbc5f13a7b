/* core/tensor/gemm_avx512.c - 12 x 32 sums in 24 of 32 registers. */
#include <immintrin.h>

typedef __m512 vec;
typedef __mmask16 mask;

#define NAME                    tb_gemm_avx512
#define NARROW                  28
#define NARROW_NAME             tb_gemm_avx2
#define WIDTH                   ((size_t)16)
#define TILE_ROWS               12
#define ALL                     ((mask)0xffff)
#define FIRST(n)                ((mask)((1U << (n)) - 1U))
#define SPREAD(x)               _mm512_set1_ps(x)
#define MUL(x, y)               _mm512_mul_ps(x, y)
#define FMA(x, y, z)            _mm512_fmadd_ps(x, y, z)
#define LOAD(at)                _mm512_loadu_ps(at)
#define STORE(at, x)            _mm512_storeu_ps(at, x)
#define LOAD_SOME(at, some)     _mm512_maskz_loadu_ps(some, at)
#define STORE_SOME(at, some, x) _mm512_mask_storeu_ps(at, some, x)

#include "tensor/gemm_tile.h"
