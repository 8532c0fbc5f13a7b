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
                 int32_t *sums, size_t rows, size_t vecs, size_t cols)
{
    (void)cols;
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

/* 8 sums to 8 numbers of 32 bits, zero added; rounding is that of the control
 * register: half to even, as everywhere. */
INLINE __m256i finish_8(const int32_t *sum, const panel_finish *p, size_t j)
{
    const __m256i *from = (const __m256i *)(const void *)(sum + j);
    const __m256i *bias = (const __m256i *)(const void *)(p->bias + j);
    __m256i s =
        _mm256_add_epi32(_mm256_load_si256(from), _mm256_load_si256(bias));
    __m256 x =
        _mm256_mul_ps(_mm256_cvtepi32_ps(s), _mm256_load_ps(p->scale + j));
    x = _mm256_max_ps(x, _mm256_set1_ps(p->low));
    x = _mm256_min_ps(x, _mm256_set1_ps(p->high));
    return _mm256_add_epi32(_mm256_cvtps_epi32(x), _mm256_set1_epi32(p->zero));
}

static void finish_bytes(uint8_t *c, size_t c_step, const int32_t *sum,
                         size_t step, const panel_finish *p, size_t n_rows)
{
    const __m256i byte = _mm256_set1_epi32(0xff);
    for (size_t r = 0; r < n_rows; r++, c += c_step, sum += step) {
        __m256i a = _mm256_and_si256(finish_8(sum, p, 0), byte);
        __m256i b = _mm256_and_si256(finish_8(sum, p, 8), byte);
        __m256i words = _mm256_packus_epi32(a, b); /* in halves of 128 bits */
        words = _mm256_permute4x64_epi64(words, 0xd8);
        __m128i bytes = _mm_packus_epi16(_mm256_castsi256_si128(words),
                                         _mm256_extracti128_si256(words, 1));
        _mm_storeu_si128((__m128i *)(void *)c, bytes);
    }
}

/* A product of two bytes fits 16 bits. */
static void depth_tile(const tb_int8_shape *s, const uint8_t *a,
                       const int16_t *w, int32_t *sums, size_t rows)
{
    for (size_t i = 0; i < rows; i++, a += s->a_step, sums += PANEL) {
        __m256i low = _mm256_setzero_si256();
        __m256i high = _mm256_setzero_si256();
        for (size_t g = 0; g < s->n_segments; g++) {
            const uint8_t *at = a + s->segment[g];
            __m256i x = _mm256_cvtepu8_epi16(
                _mm_loadu_si128((const __m128i *)(const void *)at));
            __m256i y = _mm256_loadu_si256(
                (const __m256i *)(const void *)(w + g * PANEL));
            x = _mm256_mullo_epi16(x, y);
            low = _mm256_add_epi32(
                low, _mm256_cvtepi16_epi32(_mm256_castsi256_si128(x)));
            high = _mm256_add_epi32(
                high, _mm256_cvtepi16_epi32(_mm256_extracti128_si256(x, 1)));
        }
        _mm256_store_si256((__m256i *)(void *)sums, low);
        _mm256_store_si256((__m256i *)(void *)(sums + 8), high);
    }
}
