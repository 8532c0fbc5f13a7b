/* core/tensor/pool_loops.h - windows of 2 x 2 side by side, in vectors of four
 * that the compiler maps to whatever there is, included by one .c file an
 * instruction set. Rows end in a vector that overlaps the one before.
 * The includer defines POOL_SET, the table to fill, and POOL_LOOPS, the set of
 * kernels.h that it goes with. */
#include <string.h>

#include "tensor/pool_priv.h"

#define RUN ((size_t)TB_POOL_RUN)

typedef float vec __attribute__((vector_size(16)));
typedef int32_t mask __attribute__((vector_size(16)));

static inline vec load(const float *at)
{
    vec x;
    memcpy(&x, at, sizeof x);
    return x;
}

static inline void store(float *at, vec x)
{
    memcpy(at, &x, sizeof x);
}

/* The larger of the two and its tap; NaN is larger than all. */
static inline void take(vec *best, mask *tap, vec v, int32_t t)
{
    mask larger = (v > *best) | ((v != v) & (*best == *best));
    mask all = {t, t, t, t};
    *best = (vec)((larger & (mask)v) | (~larger & (mask)*best));
    *tap = (larger & all) | (~larger & *tap);
}

/* One vector of y from two rows of x. */
static inline void max_run(const float *a, const float *b, float *y,
                           uint8_t *taps)
{
    vec a0 = load(a);
    vec a1 = load(a + RUN);
    vec b0 = load(b);
    vec b1 = load(b + RUN);
    vec best = __builtin_shufflevector(a0, a1, 0, 2, 4, 6);
    mask tap = {0, 0, 0, 0};
    take(&best, &tap, __builtin_shufflevector(a0, a1, 1, 3, 5, 7), 1);
    take(&best, &tap, __builtin_shufflevector(b0, b1, 0, 2, 4, 6), 2);
    take(&best, &tap, __builtin_shufflevector(b0, b1, 1, 3, 5, 7), 3);
    store(y, best);
    if (taps != NULL) { /* the low byte of each lane, side by side */
        tap = tap << (mask){0, 8, 16, 24};
        tap = tap | __builtin_shufflevector(tap, tap, 2, 3, 0, 1);
        tap = tap | __builtin_shufflevector(tap, tap, 1, 0, 3, 2);
        memcpy(taps, &tap, RUN);
    }
}

/* Two rows of dx from one vector of dy. */
static inline void spread_run(float *a, float *b, const float *dy,
                              const uint8_t *taps)
{
    int32_t bytes;
    memcpy(&bytes, taps, sizeof bytes);
    mask tap = (mask){bytes, bytes, bytes, bytes} >> (mask){0, 8, 16, 24};
    mask d = (mask)load(dy);
    tap = tap & (mask){3, 3, 3, 3};
    vec a0 = (vec)(d & (tap == (mask){0, 0, 0, 0}));
    vec a1 = (vec)(d & (tap == (mask){1, 1, 1, 1}));
    vec b0 = (vec)(d & (tap == (mask){2, 2, 2, 2}));
    vec b1 = (vec)(d & (tap == (mask){3, 3, 3, 3}));
    store(a, __builtin_shufflevector(a0, a1, 0, 4, 1, 5));
    store(a + RUN, __builtin_shufflevector(a0, a1, 2, 6, 3, 7));
    store(b, __builtin_shufflevector(b0, b1, 0, 4, 1, 5));
    store(b + RUN, __builtin_shufflevector(b0, b1, 2, 6, 3, 7));
}

/* Where the vector at i of a row of n pixels begins. */
static inline size_t begin(size_t i, size_t n)
{
    return i + RUN <= n ? i : n - RUN;
}

/* The upper row of x under row r of y. */
static inline size_t top_row(const tb_pool *p, size_t r)
{
    return r / p->out[1] * p->in[1] + r % p->out[1] * 2;
}

/* With an odd extent some elements of x lie in no window. */
static void clear_rest(const tb_pool *p, float *dx)
{
    if (p->in[1] % 2 != 0 || p->in[2] % 2 != 0) {
        size_t n = p->planes * p->in[0] * p->in[1] * p->in[2];
        memset(dx, 0, n * sizeof *dx);
    }
}

/* --- maximum -------------------------------------------------------------- */

static void max_2x2(const tb_pool *p, const float *x, float *y, uint8_t *taps)
{
    size_t width = p->in[2];
    size_t n = p->out[2];
    for (size_t r = 0; r < p->planes * p->in[0] * p->out[1]; r++) {
        for (size_t i = 0; i < n; i += RUN) {
            size_t at = begin(i, n);
            const float *a = x + top_row(p, r) * width + 2 * at;
            max_run(a, a + width, y + r * n + at,
                    taps == NULL ? NULL : taps + r * n + at);
        }
    }
}

static void max_2x2_grad(const tb_pool *p, const float *dy, const uint8_t *taps,
                         float *dx)
{
    size_t width = p->in[2];
    size_t n = p->out[2];
    clear_rest(p, dx);
    for (size_t r = 0; r < p->planes * p->in[0] * p->out[1]; r++) {
        for (size_t i = 0; i < n; i += RUN) {
            size_t at = begin(i, n);
            float *a = dx + top_row(p, r) * width + 2 * at;
            spread_run(a, a + width, dy + r * n + at, taps + r * n + at);
        }
    }
}

/* --- average -------------------------------------------------------------- */

static inline vec pairs(const float *at)
{
    vec a = load(at);
    vec b = load(at + RUN);
    return __builtin_shufflevector(a, b, 0, 2, 4, 6) +
           __builtin_shufflevector(a, b, 1, 3, 5, 7);
}

static void average_2x2(const tb_pool *p, const float *x, float *y)
{
    const vec quarter = {0.25f, 0.25f, 0.25f, 0.25f};
    size_t width = p->in[2];
    size_t n = p->out[2];
    for (size_t r = 0; r < p->planes * p->in[0] * p->out[1]; r++) {
        for (size_t i = 0; i < n; i += RUN) {
            size_t at = begin(i, n);
            const float *a = x + top_row(p, r) * width + 2 * at;
            store(y + r * n + at, (pairs(a) + pairs(a + width)) * quarter);
        }
    }
}

static void average_2x2_grad(const tb_pool *p, const float *dy, float *dx)
{
    const vec quarter = {0.25f, 0.25f, 0.25f, 0.25f};
    size_t width = p->in[2];
    size_t n = p->out[2];
    clear_rest(p, dx);
    for (size_t r = 0; r < p->planes * p->in[0] * p->out[1]; r++) {
        for (size_t i = 0; i < n; i += RUN) {
            size_t at = begin(i, n);
            float *a = dx + top_row(p, r) * width + 2 * at;
            vec d = load(dy + r * n + at) * quarter;
            vec low = __builtin_shufflevector(d, d, 0, 0, 1, 1);
            vec high = __builtin_shufflevector(d, d, 2, 2, 3, 3);
            store(a, low);
            store(a + RUN, high);
            store(a + width, low);
            store(a + width + RUN, high);
        }
    }
}

const tb_pool_set POOL_SET = {.loops = &POOL_LOOPS,
                              .max_2x2 = max_2x2,
                              .max_2x2_grad = max_2x2_grad,
                              .average_2x2 = average_2x2,
                              .average_2x2_grad = average_2x2_grad};
