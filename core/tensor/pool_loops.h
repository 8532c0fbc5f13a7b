/* core/tensor/pool_loops.h - windows of 2 x 2 side by side, as plain loops for
 * the compiler to vectorise, included by one .c file an instruction set.
 * The includer defines POOL_SET, the table to fill, and POOL_LOOPS, the set of
 * kernels.h that it goes with. */
#include <string.h>

#include "tensor/pool_priv.h"

#define POOL_RUN 64 /* pixels at a time */

/* The larger of the two and its tap; NaN is larger than all. */
static void take(float *best, int32_t *tap, float v, int32_t t)
{
    bool larger = (v > *best) | ((v != v) & (*best == *best));
    *best = larger ? v : *best;
    *tap = larger ? t : *tap;
}

/* n pixels of y from two rows of x. */
static void max_run(const float *restrict a, const float *restrict b,
                    float *restrict y, uint8_t *restrict taps, size_t n)
{
    int32_t tap[POOL_RUN];
    for (size_t i = 0; i < n; i++) {
        float best = a[2 * i];
        int32_t t = 0;
        take(&best, &t, a[2 * i + 1], 1);
        take(&best, &t, b[2 * i], 2);
        take(&best, &t, b[2 * i + 1], 3);
        y[i] = best;
        tap[i] = t;
    }
    for (size_t i = 0; taps != NULL && i < n; i++) {
        taps[i] = (uint8_t)tap[i];
    }
}

static void max_2x2(const tb_pool *p, const float *x, float *y, uint8_t *taps)
{
    size_t width = p->in[2];
    for (size_t n = 0; n < p->planes * p->in[0]; n++) {
        for (size_t r = 0; r < p->out[1]; r++) {
            const float *row = x + (n * p->in[1] + 2 * r) * width;
            for (size_t i = 0; i < p->out[2]; i += POOL_RUN) {
                size_t left = p->out[2] - i;
                size_t at = (n * p->out[1] + r) * p->out[2] + i;
                max_run(row + 2 * i, row + width + 2 * i, y + at,
                        taps == NULL ? NULL : taps + at,
                        left < POOL_RUN ? left : POOL_RUN);
            }
        }
    }
}

/* Two rows of dx from n pixels of dy. */
static void spread_run(float *restrict a, float *restrict b,
                       const float *restrict dy, const uint8_t *restrict taps,
                       size_t n)
{
    int32_t tap[POOL_RUN];
    for (size_t i = 0; i < n; i++) {
        tap[i] = taps[i];
    }
    for (size_t i = 0; i < n; i++) {
        a[2 * i] = tap[i] == 0 ? dy[i] : 0.0f;
        a[2 * i + 1] = tap[i] == 1 ? dy[i] : 0.0f;
        b[2 * i] = tap[i] == 2 ? dy[i] : 0.0f;
        b[2 * i + 1] = tap[i] == 3 ? dy[i] : 0.0f;
    }
}

static void max_2x2_grad(const tb_pool *p, const float *dy, const uint8_t *taps,
                         float *dx)
{
    size_t width = p->in[2];
    if (p->in[1] % 2 != 0 || width % 2 != 0) { /* some lie in no window */
        memset(dx, 0, p->planes * p->in[0] * p->in[1] * width * sizeof *dx);
    }
    for (size_t n = 0; n < p->planes * p->in[0]; n++) {
        for (size_t r = 0; r < p->out[1]; r++) {
            float *row = dx + (n * p->in[1] + 2 * r) * width;
            for (size_t i = 0; i < p->out[2]; i += POOL_RUN) {
                size_t left = p->out[2] - i;
                size_t at = (n * p->out[1] + r) * p->out[2] + i;
                spread_run(row + 2 * i, row + width + 2 * i, dy + at, taps + at,
                           left < POOL_RUN ? left : POOL_RUN);
            }
        }
    }
}

const tb_pool_set POOL_SET = {
    .loops = &POOL_LOOPS, .max_2x2 = max_2x2, .max_2x2_grad = max_2x2_grad};
