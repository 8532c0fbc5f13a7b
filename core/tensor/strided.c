#include "tensor/strided.h"

#include <assert.h>
#include <string.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

#include "tensor/kernels.h"

void tb_strided_push(tb_strided *plan, size_t dim, ptrdiff_t to, ptrdiff_t from)
{
    if (dim == 1) {
        return;
    }
    /* unsigned, for what an empty array's other extents may be */
    if (plan->rank > 0 &&
        (size_t)plan->to[plan->rank - 1] == dim * (size_t)to &&
        (size_t)plan->from[plan->rank - 1] == dim * (size_t)from) {
        plan->rank--;
        dim *= plan->dim[plan->rank];
    }
    assert(plan->rank < TB_STRIDED_RANK_MAX);
    plan->dim[plan->rank] = dim;
    plan->to[plan->rank] = to;
    plan->from[plan->rank] = from;
    plan->rank++;
}

void tb_strided_dense(ptrdiff_t stride[TB_RANK_MAX], const tb_shape *shape)
{
    size_t step = 1;
    for (size_t d = shape->rank; d-- > 0;) {
        stride[d] = (ptrdiff_t)step;
        step *= shape->dim[d];
    }
}

/* --- two loops ------------------------------------------------------------ */

/* The two loops that a block runs itself; strides count elements. */
typedef struct block {
    size_t n_rows;
    size_t n;
    ptrdiff_t to_row;
    ptrdiff_t to;
    ptrdiff_t from_row;
    ptrdiff_t from;
} block;

/* Rows of one constant size, which the compiler copies in place. */
#define COPY_ROWS(size)                                                        \
    for (size_t r = 0; r < b->n_rows; r++) {                                   \
        memcpy(to, from, size);                                                \
        to += b->to_row * width;                                               \
        from += b->from_row * width;                                           \
    }                                                                          \
    break

/* Both arrays are dense along a row. */
static void copy_rows(uint8_t *to, const uint8_t *from, const block *b,
                      size_t bytes)
{
    ptrdiff_t width = (ptrdiff_t)bytes;
    size_t row = b->n * bytes;
    switch (row) {
    case 8:
        COPY_ROWS(8);
    case 16:
        COPY_ROWS(16);
    case 32:
        COPY_ROWS(32);
    case 64:
        COPY_ROWS(64);
    default:
        COPY_ROWS(row);
    }
}

#ifdef __SSE2__
/* Four rows of `from` become four columns of `to`. */
static inline void turn_4x4(uint32_t *to, ptrdiff_t to_row,
                            const uint32_t *from, ptrdiff_t from_row)
{
    __m128i a = _mm_loadu_si128((const __m128i *)(const void *)from);
    __m128i b =
        _mm_loadu_si128((const __m128i *)(const void *)(from + from_row));
    __m128i c =
        _mm_loadu_si128((const __m128i *)(const void *)(from + 2 * from_row));
    __m128i d =
        _mm_loadu_si128((const __m128i *)(const void *)(from + 3 * from_row));
    __m128i ab = _mm_unpacklo_epi32(a, b);
    __m128i cd = _mm_unpacklo_epi32(c, d);
    __m128i ab_high = _mm_unpackhi_epi32(a, b);
    __m128i cd_high = _mm_unpackhi_epi32(c, d);
    _mm_storeu_si128((__m128i *)(void *)to, _mm_unpacklo_epi64(ab, cd));
    _mm_storeu_si128((__m128i *)(void *)(to + to_row),
                     _mm_unpackhi_epi64(ab, cd));
    _mm_storeu_si128((__m128i *)(void *)(to + 2 * to_row),
                     _mm_unpacklo_epi64(ab_high, cd_high));
    _mm_storeu_si128((__m128i *)(void *)(to + 3 * to_row),
                     _mm_unpackhi_epi64(ab_high, cd_high));
}
#else
static inline void turn_4x4(uint32_t *to, ptrdiff_t to_row,
                            const uint32_t *from, ptrdiff_t from_row)
{
    for (ptrdiff_t r = 0; r < 4; r++) {
        for (ptrdiff_t i = 0; i < 4; i++) {
            to[r * to_row + i] = from[i * from_row + r];
        }
    }
}
#endif

#define TILE 16 /* a cache line of 4-byte elements */

static size_t until(size_t from, size_t n)
{
    return n - from < TILE ? n : from + TILE;
}

/* One tile: `to` is dense along a row, `from` along a column. */
static void turn_tile(uint32_t *to, const uint32_t *from, const block *b,
                      size_t n_rows, size_t n)
{
    size_t r = 0;
    for (; r + 4 <= n_rows; r += 4) {
        size_t i = 0;
        for (; i + 4 <= n; i += 4) {
            turn_4x4(to + (ptrdiff_t)r * b->to_row + (ptrdiff_t)i, b->to_row,
                     from + (ptrdiff_t)i * b->from + (ptrdiff_t)r, b->from);
        }
        for (size_t k = r; k < r + 4; k++) {
            for (size_t j = i; j < n; j++) {
                to[(ptrdiff_t)k * b->to_row + (ptrdiff_t)j] =
                    from[(ptrdiff_t)j * b->from + (ptrdiff_t)k];
            }
        }
    }
    for (; r < n_rows; r++) {
        for (size_t j = 0; j < n; j++) {
            to[(ptrdiff_t)r * b->to_row + (ptrdiff_t)j] =
                from[(ptrdiff_t)j * b->from + (ptrdiff_t)r];
        }
    }
}

/* Rows of a few elements, such as colours: along the rows of `from`. */
static void turn_narrow(uint32_t *to, const uint32_t *from, const block *b)
{
    for (size_t r = 0; r < b->n_rows; r += 4 * TILE) {
        size_t end = b->n_rows - r < 4 * TILE ? b->n_rows : r + 4 * TILE;
        for (size_t i = 0; i < b->n; i++) {
            const uint32_t *x = from + (ptrdiff_t)i * b->from;
            uint32_t *y = to + i;
            for (size_t k = r; k < end; k++) {
                y[(ptrdiff_t)k * b->to_row] = x[k];
            }
        }
    }
}

/* A matrix turned around, tile by tile. */
static void turn(uint32_t *to, const uint32_t *from, const block *b)
{
    if (b->n < 4) {
        turn_narrow(to, from, b);
        return;
    }
    for (size_t r = 0; r < b->n_rows; r += TILE) {
        for (size_t i = 0; i < b->n; i += TILE) {
            turn_tile(to + (ptrdiff_t)r * b->to_row + (ptrdiff_t)i,
                      from + (ptrdiff_t)i * b->from + (ptrdiff_t)r, b,
                      until(r, b->n_rows) - r, until(i, b->n) - i);
        }
    }
}

/* Any strides. Tiles, so that neither array is walked across for long. */
#define COPY_STEPS(type)                                                       \
    static void copy_##type(type *to, const type *from, const block *b)        \
    {                                                                          \
        for (size_t r0 = 0; r0 < b->n_rows; r0 += TILE) {                      \
            size_t r1 = until(r0, b->n_rows);                                  \
            for (size_t i0 = 0; i0 < b->n; i0 += TILE) {                       \
                size_t i1 = until(i0, b->n);                                   \
                for (size_t r = r0; r < r1; r++) {                             \
                    type *y = to + (ptrdiff_t)r * b->to_row;                   \
                    const type *x = from + (ptrdiff_t)r * b->from_row;         \
                    for (size_t i = i0; i < i1; i++) {                         \
                        y[(ptrdiff_t)i * b->to] = x[(ptrdiff_t)i * b->from];   \
                    }                                                          \
                }                                                              \
            }                                                                  \
        }                                                                      \
    }

COPY_STEPS(uint8_t)
COPY_STEPS(uint16_t)
COPY_STEPS(uint32_t)
COPY_STEPS(uint64_t)

/* Each row is one element, many times. */
#define FILL_ROWS(type)                                                        \
    static void fill_##type(type *to, const type *from, const block *b)        \
    {                                                                          \
        for (size_t r = 0; r < b->n_rows; r++) {                               \
            const type value = from[(ptrdiff_t)r * b->from_row];               \
            type *y = to + (ptrdiff_t)r * b->to_row;                           \
            for (size_t i = 0; i < b->n; i++) {                                \
                y[i] = value;                                                  \
            }                                                                  \
        }                                                                      \
    }

FILL_ROWS(uint8_t)
FILL_ROWS(uint16_t)
FILL_ROWS(uint32_t)
FILL_ROWS(uint64_t)

#define RUN_TYPED(how, to, from, b, bytes)                                     \
    do {                                                                       \
        if ((bytes) == 4) {                                                    \
            how##_uint32_t((void *)(to), (const void *)(from), b);             \
        } else if ((bytes) == 8) {                                             \
            how##_uint64_t((void *)(to), (const void *)(from), b);             \
        } else if ((bytes) == 2) {                                             \
            how##_uint16_t((void *)(to), (const void *)(from), b);             \
        } else {                                                               \
            how##_uint8_t((void *)(to), (const void *)(from), b);              \
        }                                                                      \
    } while (0)

static void copy_block(uint8_t *to, const uint8_t *from, const block *b,
                       size_t bytes)
{
    if (b->to == 1 && b->from == 1) {
        copy_rows(to, from, b, bytes);
    } else if (b->to == 1 && b->from == 0) {
        RUN_TYPED(fill, to, from, b, bytes);
    } else if (b->to == 1 && b->from_row == 1 && bytes == 4) {
        turn((void *)to, (const void *)from, b);
    } else {
        RUN_TYPED(copy, to, from, b, bytes);
    }
}

static void add_block(float *to, const float *from, const block *b)
{
    for (size_t r = 0; r < b->n_rows; r++) {
        if (b->to == 1 && b->from == 1) {
            tb_k_add(to, to, from, b->n);
        } else if (b->to == 0 && b->from == 1) {
            *to = *to + tb_k_sum(from, b->n);
        } else {
            for (ptrdiff_t i = 0; i < (ptrdiff_t)b->n; i++) {
                to[i * b->to] = to[i * b->to] + from[i * b->from];
            }
        }
        to += b->to_row;
        from += b->from_row;
    }
}

/* --- all loops ------------------------------------------------------------ */

/* The loop that goes with the innermost one: along which `from` is dense, if
 * it is not along the innermost, else the one around it. rank: none. */
static size_t partner(const tb_strided *plan)
{
    size_t last = plan->rank - 1;
    for (size_t d = 0; plan->from[last] != 1 && d < last; d++) {
        if (plan->from[d] == 1) {
            return d;
        }
    }
    return plan->rank > 1 ? last - 1 : plan->rank;
}

/* Takes the loops of a block out of the plan. */
static block split_off(tb_strided *plan, size_t row)
{
    size_t last = plan->rank - 1;
    block b = {.n_rows = 1,
               .n = plan->dim[last],
               .to = plan->to[last],
               .from = plan->from[last]};
    plan->rank--;
    if (row < last) {
        b.n_rows = plan->dim[row];
        b.to_row = plan->to[row];
        b.from_row = plan->from[row];
        plan->rank--;
        for (size_t d = row; d < plan->rank; d++) {
            plan->dim[d] = plan->dim[d + 1];
            plan->to[d] = plan->to[d + 1];
            plan->from[d] = plan->from[d + 1];
        }
    }
    return b;
}

/* Where both arrays stand, in elements, and the index of each loop. */
typedef struct place {
    size_t index[TB_STRIDED_RANK_MAX];
    ptrdiff_t to;
    ptrdiff_t from;
} place;

/* To the next place; false behind the last. */
static bool next(place *at, const tb_strided *plan)
{
    for (size_t d = plan->rank; d-- > 0;) {
        at->to += plan->to[d];
        at->from += plan->from[d];
        if (++at->index[d] < plan->dim[d]) {
            return true;
        }
        at->to -= plan->to[d] * (ptrdiff_t)plan->dim[d];
        at->from -= plan->from[d] * (ptrdiff_t)plan->dim[d];
        at->index[d] = 0;
    }
    return false;
}

static bool is_empty(const tb_strided *plan)
{
    bool empty = false;
    for (size_t d = 0; d < plan->rank; d++) {
        empty = empty || plan->dim[d] == 0;
    }
    return empty;
}

void tb_strided_copy(const tb_strided *plan, size_t bytes, void *to,
                     const void *from)
{
    tb_strided outer = *plan;
    ptrdiff_t width = (ptrdiff_t)bytes;
    place at = {0};
    if (is_empty(plan)) {
        return;
    }
    if (plan->rank == 0) {
        memcpy(to, from, bytes);
        return;
    }
    block b = split_off(&outer, partner(plan));
    do {
        copy_block((uint8_t *)to + at.to * width,
                   (const uint8_t *)from + at.from * width, &b, bytes);
    } while (next(&at, &outer));
}

void tb_strided_add(const tb_strided *plan, float *to, const float *from)
{
    tb_strided outer = *plan;
    place at = {0};
    if (is_empty(plan)) {
        return;
    }
    if (plan->rank == 0) {
        *to = *to + *from;
        return;
    }
    /* The loops stay in their order: it is the order of the sums. */
    block b = split_off(&outer, plan->rank > 1 ? plan->rank - 2 : plan->rank);
    do {
        add_block(to + at.to, from + at.from, &b);
    } while (next(&at, &outer));
}

void tb_strided_fill(void *to, size_t bytes, size_t n, const void *value)
{
    const block b = {.n_rows = 1, .n = n, .to = 1};
    if (n > 0) {
        RUN_TYPED(fill, to, value, &b, bytes);
    }
}
