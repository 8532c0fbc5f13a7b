/* core/tensor/gemm_avx512.c - 12 x 32 sums in 24 of 32 registers. */
#include <immintrin.h>

typedef __m512 vec;
typedef __mmask16 mask;

#define NAME tb_gemm_avx512
/* Three half vectors cost less than two whole ones; two, no less than one. */
#define NARROW(n)               ((n) <= 8 || ((n) > 16 && (n) <= 24))
#define NARROW_NAME             tb_gemm_avx512_narrow
#define DOT_COLS                8
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
#define NONE                    _mm512_setzero_ps()
/* x <= 0 ? 0 : x; and g > 0 ? x : y */
#define RELU(x) _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(x, NONE, _CMP_NLE_UQ), x)
#define GATE(g, x, y)                                                          \
    _mm512_mask_blend_ps(_mm512_cmp_ps_mask(g, NONE, _CMP_GT_OQ), y, x)
/* x[0], upper half added to lower */
#define HALVES(x)                                                              \
    _mm256_add_ps(_mm512_castps512_ps256((x)[0]),                              \
                  _mm512_extractf32x8_ps((x)[0], 1))

#define IN_REGISTER(y) "+v"(y)

#include "tensor/gemm_tile.h"
