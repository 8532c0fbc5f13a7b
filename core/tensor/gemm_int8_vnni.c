/* core/tensor/gemm_int8_vnni.c - AVX-512 VNNI: one instruction adds 64 products
 * of bytes to 16 sums, exactly. 14 x 32 sums in 28 of 32 registers, or 6 x 64
 * where there are few rows. */
#include <immintrin.h>

#define NAME      tb_int8_vnni
#define NAME_TEXT "vnni"
#define USABLE                                                                 \
    (__builtin_cpu_supports("avx512f") &&                                      \
     __builtin_cpu_supports("avx512vl") &&                                     \
     __builtin_cpu_supports("avx512bw") &&                                     \
     __builtin_cpu_supports("avx512dq") &&                                     \
     __builtin_cpu_supports("avx512vnni"))
#define TILE_ROWS 14
#define WIDE_ROWS 6
#define OWN_QUANTIZE

#include "tensor/gemm_int8_tile.h"

#define INLINE static inline __attribute__((always_inline))
#ifdef __clang__
#define UNROLL _Pragma("unroll")
#else
#define UNROLL _Pragma("GCC unroll 14")
#endif

/* n < 4 bytes and zeros behind them. */
INLINE int32_t some_bytes(const uint8_t *a, size_t n)
{
    uint32_t x = 0;
    for (size_t i = 0; i < n; i++) {
        x |= (uint32_t)a[i] << 8 * i;
    }
    return (int32_t)x;
}

INLINE int32_t four_bytes(const uint8_t *a)
{
    int32_t x = 0;
    memcpy(&x, a, sizeof x);
    return x;
}

/* Four terms (some: only n of them) of rows x vecs sums. */
INLINE void quad(__m512i acc[][PANELS_MAX], const uint8_t *const *at,
                 size_t step, const int8_t *b, size_t panel, const size_t rows,
                 const size_t vecs, const bool some, size_t n)
{
    __m512i w[PANELS_MAX];
    UNROLL
    for (size_t v = 0; v < vecs; v++) {
        w[v] = _mm512_loadu_si512(b + v * panel);
    }
    UNROLL
    for (size_t i = 0; i < rows; i++) {
        const uint8_t *x = at[i / 3] + i % 3 * step;
        __m512i x4 = _mm512_set1_epi32(some ? some_bytes(x, n) : four_bytes(x));
        UNROLL
        for (size_t v = 0; v < vecs; v++) {
            acc[i][v] = _mm512_dpbusd_epi32(acc[i][v], x4, w[v]);
        }
    }
}

/* rows and vecs are constants at each call. */
INLINE void tile_of(const tb_int8_shape *s, const uint8_t *a, const int8_t *b,
                    int32_t *sums, const size_t rows, const size_t vecs)
{
    __m512i acc[TILE_ROWS][PANELS_MAX];
    const uint8_t *at[TILE_ROWS / 3 + 1]; /* every third row; x86 can add once
                                           * and twice step to an address */
    size_t step = s->a_step;
    size_t panel = panel_bytes(s);
    UNROLL
    for (size_t i = 0; i < rows; i++) {
        UNROLL
        for (size_t v = 0; v < vecs; v++) {
            acc[i][v] = _mm512_setzero_si512();
        }
    }
    for (size_t g = 0; g < s->n_segments; g++) {
        UNROLL
        for (size_t i = 0; i < rows; i += 3) {
            at[i / 3] = a + s->segment[g] + i * step;
        }
        for (size_t q = s->k / 4; q > 0; q--, b += PANEL * 4) {
            quad(acc, at, step, b, panel, rows, vecs, false, 4);
            UNROLL
            for (size_t i = 0; i < rows; i += 3) {
                at[i / 3] += 4;
            }
        }
        if (s->k % 4 != 0) {
            quad(acc, at, step, b, panel, rows, vecs, true, s->k % 4);
            b += PANEL * 4;
        }
    }
    UNROLL
    for (size_t i = 0; i < rows; i++) {
        UNROLL
        for (size_t v = 0; v < vecs; v++) {
            _mm512_store_si512(sums + (i * vecs + v) * PANEL, acc[i][v]);
        }
    }
}

/* Half a panel, 8 columns in vectors of half the width; rows is a constant at
 * each call. */
INLINE void half_of(const tb_int8_shape *s, const uint8_t *a, const int8_t *b,
                    int32_t *sums, const size_t rows)
{
    __m256i acc[TILE_ROWS];
    UNROLL
    for (size_t i = 0; i < rows; i++) {
        acc[i] = _mm256_setzero_si256();
    }
    for (size_t g = 0; g < s->n_segments; g++) {
        const uint8_t *x = a + s->segment[g];
        for (size_t p = 0; p < s->k; p += 4, x += 4, b += PANEL * 4) {
            size_t left = s->k - p;
            __m256i w = _mm256_loadu_si256((const __m256i *)(const void *)b);
            UNROLL
            for (size_t i = 0; i < rows; i++) {
                const uint8_t *at = x + i * s->a_step;
                int32_t x4 = left >= 4 ? four_bytes(at) : some_bytes(at, left);
                acc[i] = _mm256_dpbusd_epi32(acc[i], _mm256_set1_epi32(x4), w);
            }
        }
    }
    UNROLL
    for (size_t i = 0; i < rows; i++) {
        __m256i *to = (__m256i *)(void *)(sums + i * PANEL);
        _mm256_store_si256(to, acc[i]);
        _mm256_store_si256(to + 1, _mm256_setzero_si256());
    }
}

#define ROWS(n, vecs)                                                          \
    case n:                                                                    \
        tile_of(s, a, b, sums, n, vecs);                                       \
        break
#define HALF(n)                                                                \
    case n:                                                                    \
        half_of(s, a, b, sums, n);                                             \
        break
#define FEW_ROWS(vecs)                                                         \
    ROWS(1, vecs);                                                             \
    ROWS(2, vecs);                                                             \
    ROWS(3, vecs);                                                             \
    ROWS(4, vecs);                                                             \
    ROWS(5, vecs);                                                             \
    ROWS(6, vecs)
#define MANY_ROWS(vecs)                                                        \
    FEW_ROWS(vecs);                                                            \
    ROWS(7, vecs);                                                             \
    ROWS(8, vecs);                                                             \
    ROWS(9, vecs);                                                             \
    ROWS(10, vecs);                                                            \
    ROWS(11, vecs);                                                            \
    ROWS(12, vecs);                                                            \
    ROWS(13, vecs);                                                            \
    ROWS(14, vecs)

static void tile_half(const tb_int8_shape *s, const uint8_t *a, const int8_t *b,
                      int32_t *sums, size_t rows)
{
    switch (rows) {
        HALF(1);
        HALF(2);
        HALF(3);
        HALF(4);
        HALF(5);
        HALF(6);
        HALF(7);
        HALF(8);
        HALF(9);
        HALF(10);
        HALF(11);
        HALF(12);
        HALF(13);
        HALF(14);
    default:
        break;
    }
}

static void tile_1(const tb_int8_shape *s, const uint8_t *a, const int8_t *b,
                   int32_t *sums, size_t rows)
{
    switch (rows) {
        MANY_ROWS(1);
    default:
        break;
    }
}

static void tile_2(const tb_int8_shape *s, const uint8_t *a, const int8_t *b,
                   int32_t *sums, size_t rows)
{
    switch (rows) {
        MANY_ROWS(2);
    default:
        break;
    }
}

static void tile_4(const tb_int8_shape *s, const uint8_t *a, const int8_t *b,
                   int32_t *sums, size_t rows)
{
    switch (rows) {
        FEW_ROWS(4);
    default:
        break;
    }
}

static void tile(const tb_int8_shape *s, const uint8_t *a, const int8_t *b,
                 int32_t *sums, size_t rows, size_t vecs, size_t cols)
{
    switch (vecs) {
    case 1:
        if (cols <= PANEL / 2) {
            tile_half(s, a, b, sums, rows);
        } else {
            tile_1(s, a, b, sums, rows);
        }
        break;
    case 2:
        tile_2(s, a, b, sums, rows);
        break;
    default:
        tile_4(s, a, b, sums, rows);
        break;
    }
}

/* Rounding is that of the control register: half to even, as everywhere. */
static void finish_bytes(uint8_t *c, size_t c_step, const int32_t *sum,
                         size_t step, const panel_finish *p, size_t n_rows)
{
    const __m512i bias = _mm512_load_si512(p->bias);
    const __m512 scale = _mm512_load_ps(p->scale);
    const __m512 low = _mm512_set1_ps(p->low);
    const __m512 high = _mm512_set1_ps(p->high);
    const __m512i zero = _mm512_set1_epi32(p->zero);
    for (size_t r = 0; r < n_rows; r++, c += c_step, sum += step) {
        __m512i s = _mm512_add_epi32(_mm512_load_si512(sum), bias);
        __m512 x = _mm512_mul_ps(_mm512_cvtepi32_ps(s), scale);
        x = _mm512_min_ps(_mm512_max_ps(x, low), high);
        s = _mm512_add_epi32(_mm512_cvtps_epi32(x), zero);
        _mm_storeu_si128((__m128i *)(void *)c, _mm512_cvtepi32_epi8(s));
    }
}

/* 16 quotients to bytes; *worst grows to the bits of the largest distance from
 * an integer (they order as magnitudes do, and NaN is above all). */
INLINE __m128i quantize_16(__m512 q, __m512i *worst, const tb_int8_finish *f)
{
    const __m512i magnitude = _mm512_set1_epi32(INT32_MAX);
    __m512i off = _mm512_castps_si512(_mm512_reduce_ps(q, 0));
    *worst = _mm512_max_epu32(*worst, _mm512_and_si512(off, magnitude));
    q = _mm512_max_ps(q, _mm512_set1_ps(f->low));
    q = _mm512_min_ps(q, _mm512_set1_ps(f->high));
    return _mm512_cvtepi32_epi8(
        _mm512_add_epi32(_mm512_cvtps_epi32(q), _mm512_set1_epi32(f->zero)));
}

static bool quantize_quickly(uint8_t *restrict y, const float *restrict x,
                             size_t n, float inverse, const tb_int8_finish *f)
{
    const __m512 by = _mm512_set1_ps(inverse);
    const __m512i near_half = _mm512_castps_si512(_mm512_set1_ps(NEAR_HALF));
    __m512i worst = _mm512_setzero_si512();
    size_t i = 0;
    for (; i + 16 <= n; i += 16) {
        __m512 q = _mm512_mul_ps(_mm512_loadu_ps(x + i), by);
        _mm_storeu_si128((__m128i *)(void *)(y + i), quantize_16(q, &worst, f));
    }
    if (i < n) {
        __mmask16 some = (__mmask16)((1U << (n - i)) - 1U);
        __m512 q = _mm512_mul_ps(_mm512_maskz_loadu_ps(some, x + i), by);
        _mm_mask_storeu_epi8(y + i, some, quantize_16(q, &worst, f));
    }
    return _mm512_cmpge_epu32_mask(worst, near_half) == 0;
}

/* A product of two bytes fits 16 bits. */
static void depth_tile(const tb_int8_shape *s, const uint8_t *a,
                       const int16_t *w, int32_t *sums, size_t rows)
{
    for (size_t i = 0; i < rows; i++, a += s->a_step, sums += PANEL) {
        __m512i sum = _mm512_setzero_si512();
        for (size_t g = 0; g < s->n_segments; g++) {
            const uint8_t *at = a + s->segment[g];
            __m256i x = _mm256_cvtepu8_epi16(
                _mm_loadu_si128((const __m128i *)(const void *)at));
            __m256i y = _mm256_loadu_si256(
                (const __m256i *)(const void *)(w + g * PANEL));
            sum = _mm512_add_epi32(
                sum, _mm512_cvtepi16_epi32(_mm256_mullo_epi16(x, y)));
        }
        _mm512_store_si512(sums, sum);
    }
}
