/* core/tensor/gemm_avx512_narrow.c - 8 x 24 sums in 24 of 32 registers: panels
 * that would leave half of a wide vector empty. */
#include <immintrin.h>

typedef __m256 vec;
typedef __mmask8 mask;

#define NAME                    tb_gemm_avx512_narrow
#define WIDTH                   ((size_t)8)
#define VECS                    3
#define TILE_ROWS               8
#define ALL                     ((mask)0xff)
#define FIRST(n)                ((mask)((1U << (n)) - 1U))
#define SPREAD(x)               _mm256_set1_ps(x)
#define MUL(x, y)               _mm256_mul_ps(x, y)
#define FMA(x, y, z)            _mm256_fmadd_ps(x, y, z)
#define LOAD(at)                _mm256_loadu_ps(at)
#define STORE(at, x)            _mm256_storeu_ps(at, x)
#define LOAD_SOME(at, some)     _mm256_maskz_loadu_ps(some, at)
#define STORE_SOME(at, some, x) _mm256_mask_storeu_ps(at, some, x)
#define NONE                    _mm256_setzero_ps()
/* x <= 0 ? 0 : x; and g > 0 ? x : y */
#define RELU(x) _mm256_maskz_mov_ps(_mm256_cmp_ps_mask(x, NONE, _CMP_NLE_UQ), x)
#define GATE(g, x, y)                                                          \
    _mm256_mask_blend_ps(_mm256_cmp_ps_mask(g, NONE, _CMP_GT_OQ), y, x)

#include "tensor/gemm_tile.h"
