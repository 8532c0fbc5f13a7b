/* core/tensor/gemm_avx2.c - 6 x 16 sums in 12 of 16 registers. */
#include <immintrin.h>
#include <stdint.h>

typedef __m256 vec;
typedef __m256i mask;

static const int32_t ones[16] = {-1, -1, -1, -1, -1, -1, -1, -1};

#define NAME      tb_gemm_avx2
#define WIDTH     ((size_t)8)
#define TILE_ROWS 6
#define DOT_COLS  2
#define ALL       _mm256_set1_epi32(-1)
#define FIRST(n)                                                               \
    _mm256_loadu_si256((const __m256i *)(const void *)(ones + 8 - (n)))
#define SPREAD(x)               _mm256_set1_ps(x)
#define MUL(x, y)               _mm256_mul_ps(x, y)
#define FMA(x, y, z)            _mm256_fmadd_ps(x, y, z)
#define LOAD(at)                _mm256_loadu_ps(at)
#define STORE(at, x)            _mm256_storeu_ps(at, x)
#define LOAD_SOME(at, some)     _mm256_maskload_ps(at, some)
#define STORE_SOME(at, some, x) _mm256_maskstore_ps(at, some, x)

#define NONE                    _mm256_setzero_ps()
/* x <= 0 ? 0 : x; and g > 0 ? x : y */
#define RELU(x)       _mm256_and_ps(x, _mm256_cmp_ps(x, NONE, _CMP_NLE_UQ))
#define GATE(g, x, y) _mm256_blendv_ps(y, x, _mm256_cmp_ps(g, NONE, _CMP_GT_OQ))
/* both halves of 16 lanes added */
#define HALVES(x)      _mm256_add_ps((x)[0], (x)[1])

#define IN_REGISTER(y) "+x"(y)

#include "tensor/gemm_tile.h"
