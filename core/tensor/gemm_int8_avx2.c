/* core/tensor/gemm_int8_avx2.c - bytes widened to 16 bits and multiplied in
 * pairs by vpmaddwd, which is exact (vpmaddubsw would saturate). A register
 * holds two half sums of each of 4 columns: 3 x 16 columns in 12 of 16. */
#include <immintrin.h>

#define NAME      tb_int8_avx2
#define NAME_TEXT "avx2"
#define USABLE    (__builtin_cpu_supports("avx2") != 0)
#define TILE_ROWS 3
#define WIDE_ROWS 1

#include "tensor/gemm_int8_tile.h"

#define INLINE static inline __attribute__((always_inline))
#ifdef __clang__
#define UNROLL _Pragma("unroll")
#else
#define UNROLL _Pragma("GCC unroll 4")
#endif

enum { PARTS = PANEL / 4 };

INLINE const __m128i *at_128(const int8_t *b)
{
    return (const __m128i *)(const void *)b;
}

/* Four terms of rows x 16 sums; x4: of each row, its four bytes. */
INLINE void quad(__m256i acc[][PARTS], const uint32_t *x4, const int8_t *b,
                 const size_t rows)
{
    __m256i x[TILE_ROWS];
    UNROLL
    for (size_t i = 0; i < rows; i++) {
        x[i] = _mm256_cvtepu8_epi16(_mm_set1_epi32((int32_t)x4[i]));
    }
    UNROLL
    for (size_t v = 0; v < PARTS; v++) {
        __m256i w = _mm256_cvtepi8_epi16(_mm_loadu_si128(at_128(b + v * 16)));
        UNROLL
        for (size_t i = 0; i < rows; i++) {
            acc[i][v] = _mm256_add_epi32(acc[i][v], _mm256_madd_epi16(x[i], w));
        }
    }
}

/* The halves of 16 sums put together, in the order of columns. */
INLINE void store(int32_t *sums, const __m256i *acc)
{
    UNROLL
    for (size_t v = 0; v < PARTS; v += 2) {
        __m256i both = _mm256_hadd_epi32(acc[v], acc[v + 1]);
        __m256i *to = (__m256i *)(void *)(sums + v * 4);
        _mm256_storeu_si256(to, _mm256_permute4x64_epi64(both, 0xd8));
    }
}

/* One panel; rows is a constant at each call. */
INLINE void tile_of(const tb_int8_shape *s, const uint8_t *a, const int8_t *b,
                    int32_t *sums, size_t width, const size_t rows)
{
    __m256i acc[TILE_ROWS][PARTS];
    UNROLL
    for (size_t i = 0; i < rows; i++) {
        UNROLL
        for (size_t v = 0; v < PARTS; v++) {
            acc[i][v] = _mm256_setzero_si256();
        }
    }
    for (size_t g = 0; g < s->n_segments; g++) {
        const uint8_t *x = a + s->segment[g];
        for (size_t p = 0; p < s->k; p += 4, b += PANEL * 4) {
            uint32_t x4[TILE_ROWS] = {0};
            size_t left = s->k - p;
            UNROLL
            for (size_t i = 0; i < rows; i++) {
                const uint8_t *from = x + i * s->a_step + p;
                if (left >= 4) {
                    memcpy(&x4[i], from, 4);
                } else {
                    memcpy(&x4[i], from, left);
                }
            }
            quad(acc, x4, b, rows);
        }
    }
    UNROLL
    for (size_t i = 0; i < rows; i++) {
        store(sums + i * width, acc[i]);
    }
}

static void tile(const tb_int8_shape *s, const uint8_t *a, const int8_t *b,
                 int32_t *sums, size_t rows, size_t vecs)
{
    size_t width = vecs * PANEL;
    for (size_t v = 0; v < vecs; v++, b += panel_bytes(s), sums += PANEL) {
        switch (rows) {
        case 1:
            tile_of(s, a, b, sums, width, 1);
            break;
        case 2:
            tile_of(s, a, b, sums, width, 2);
            break;
        default:
            tile_of(s, a, b, sums, width, 3);
            break;
        }
    }
}
