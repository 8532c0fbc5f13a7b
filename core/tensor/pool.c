#include "tensor/pool.h"

#include <math.h>
#include <string.h>

#include "tensor/kernels.h"
#include "tensor/pool_priv.h"

static const tb_pool_set *const sets[] = {
#ifdef TB_K_X86
    &tb_pool_avx512,
    &tb_pool_avx2,
#endif
    &tb_pool_portable,
};

#define N_SETS (sizeof sets / sizeof sets[0])

const tb_pool_set *const *tb_pool_sets(size_t *n)
{
    *n = N_SETS;
    return sets;
}

/* The set that goes with the loops of kernels.h. */
static const tb_pool_set *chosen(void)
{
    const tb_k_set *loops = tb_k_chosen();
    size_t i = 0;
    while (i + 1 < N_SETS && sets[i]->loops != loops) {
        i++;
    }
    return sets[i];
}

static size_t volume(const size_t extent[TB_POOL_DIMS])
{
    return extent[0] * extent[1] * extent[2];
}

/* --- windows -------------------------------------------------------------- */

/* The taps of a window that lie inside x, and how many lie inside x and its
 * padding. */
typedef struct window {
    size_t o[TB_POOL_DIMS];    /* which one */
    size_t at[TB_POOL_DIMS];   /* of tap 0, from the first padding element on */
    size_t from[TB_POOL_DIMS]; /* taps [from, to) lie inside */
    size_t to[TB_POOL_DIMS];
    size_t padded[TB_POOL_DIMS];
} window;

/* Taps before the element `end`. */
static size_t taps_below(const tb_pool *p, size_t d, size_t at, size_t end)
{
    size_t n = end > at ? end - at : 0;
    if (p->dilation[d] > 1) {
        n = (n + p->dilation[d] - 1) / p->dilation[d];
    }
    return n < p->kernel[d] ? n : p->kernel[d];
}

static void enter(window *w, const tb_pool *p, size_t d, size_t o)
{
    size_t at = o * p->stride[d];
    size_t end = p->pad[d] + p->in[d];
    w->o[d] = o;
    w->at[d] = at;
    w->from[d] = taps_below(p, d, at, p->pad[d]);
    w->to[d] = taps_below(p, d, at, end);
    w->padded[d] = taps_below(p, d, at, end + p->pad_end[d]);
}

static window find_window(const tb_pool *p, size_t o)
{
    window w;
    for (size_t d = TB_POOL_DIMS; d-- > 0;) {
        enter(&w, p, d, o % p->out[d]);
        o /= p->out[d];
    }
    return w;
}

/* To the next window of a plane; behind the last, to the first again. */
static void next_window(window *w, const tb_pool *p)
{
    for (size_t d = TB_POOL_DIMS; d-- > 0;) {
        bool more = w->o[d] + 1 < p->out[d];
        enter(w, p, d, more ? w->o[d] + 1 : 0);
        if (more) {
            return;
        }
    }
}

/* The element of tap (z, y, x), which lies inside. */
static size_t element_of(const tb_pool *p, const window *w, size_t z, size_t y,
                         size_t x)
{
    size_t iz = w->at[0] + z * p->dilation[0] - p->pad[0];
    size_t iy = w->at[1] + y * p->dilation[1] - p->pad[1];
    size_t ix = w->at[2] + x * p->dilation[2] - p->pad[2];
    return (iz * p->in[1] + iy) * p->in[2] + ix;
}

#define EACH_TAP(w, z, y, x)                                                   \
    for (size_t z = (w).from[0]; z < (w).to[0]; z++)                           \
        for (size_t y = (w).from[1]; y < (w).to[1]; y++)                       \
            for (size_t x = (w).from[2]; x < (w).to[2]; x++)

size_t tb_pool_index(const tb_pool *p, size_t o, size_t t, bool column_major)
{
    window w = find_window(p, o);
    size_t x = t % p->kernel[2];
    size_t y = t / p->kernel[2] % p->kernel[1];
    size_t z = t / p->kernel[2] / p->kernel[1];
    if (z < w.from[0] || z >= w.to[0] || y < w.from[1] || y >= w.to[1] ||
        x < w.from[2] || x >= w.to[2]) {
        return SIZE_MAX;
    }
    size_t i = element_of(p, &w, z, y, x);
    if (!column_major) {
        return i;
    }
    size_t ix = i % p->in[2];
    size_t iy = i / p->in[2] % p->in[1];
    size_t iz = i / p->in[2] / p->in[1];
    return (ix * p->in[1] + iy) * p->in[0] + iz;
}

/* 2 x 2 windows side by side, as most networks have them; they never meet the
 * padding behind. */
static bool is_2x2(const tb_pool *p)
{
    bool yes = p->kernel[0] == 1 && p->stride[0] == 1 &&
               p->in[0] == p->out[0] && p->out[2] >= TB_POOL_RUN;
    for (size_t d = 0; d < TB_POOL_DIMS; d++) {
        yes = yes && p->pad[d] == 0;
    }
    for (size_t d = 1; d < TB_POOL_DIMS; d++) {
        yes = yes && p->kernel[d] == 2 && p->stride[d] == 2 &&
              p->dilation[d] == 1 && p->out[d] == p->in[d] / 2;
    }
    return yes;
}

/* One window over the whole plane. */
static bool is_global(const tb_pool *p)
{
    bool yes = true;
    for (size_t d = 0; d < TB_POOL_DIMS; d++) {
        yes = yes && p->out[d] == 1 && p->pad[d] == 0 && p->pad_end[d] == 0 &&
              p->kernel[d] == p->in[d] && p->dilation[d] == 1;
    }
    return yes;
}

/* --- maximum -------------------------------------------------------------- */

size_t tb_pool_tap_bytes(const tb_pool *p)
{
    return volume(p->kernel) <= UINT8_MAX + 1 ? 1 : sizeof(uint32_t);
}

static void put_tap(void *taps, size_t i, size_t bytes, size_t tap)
{
    if (bytes == 1) {
        ((uint8_t *)taps)[i] = (uint8_t)tap;
    } else {
        ((uint32_t *)taps)[i] = (uint32_t)tap;
    }
}

static size_t get_tap(const void *taps, size_t i, size_t bytes)
{
    return bytes == 1 ? ((const uint8_t *)taps)[i]
                      : ((const uint32_t *)taps)[i];
}

/* The largest of one window; *tap is the first that has it. */
static float largest(const tb_pool *p, const window *w, const float *x,
                     size_t *tap)
{
    float best = -INFINITY;
    bool found = false;
    *tap = 0;
    EACH_TAP(*w, tz, ty, tx)
    {
        float v = x[element_of(p, w, tz, ty, tx)];
        if (!found || v > best || isnan(v)) {
            best = v;
            *tap = (tz * p->kernel[1] + ty) * p->kernel[2] + tx;
            found = true;
        }
        if (isnan(best)) {
            return best;
        }
    }
    return best;
}

void tb_pool_max(const tb_pool *p, const float *x, float *y, void *taps)
{
    size_t pixels = volume(p->out);
    size_t bytes = tb_pool_tap_bytes(p);
    if (is_2x2(p)) {
        chosen()->max_2x2(p, x, y, taps);
        return;
    }
    window w = find_window(p, 0);
    for (size_t n = 0; n < p->planes; n++, x += volume(p->in)) {
        for (size_t o = 0; o < pixels; o++, next_window(&w, p)) {
            size_t tap = 0;
            y[n * pixels + o] = largest(p, &w, x, &tap);
            if (taps != NULL) {
                put_tap(taps, n * pixels + o, bytes, tap);
            }
        }
    }
}

void tb_pool_max_grad(const tb_pool *p, const float *dy, const void *taps,
                      float *dx)
{
    size_t pixels = volume(p->out);
    size_t bytes = tb_pool_tap_bytes(p);
    if (is_2x2(p)) {
        chosen()->max_2x2_grad(p, dy, taps, dx);
        return;
    }
    memset(dx, 0, p->planes * volume(p->in) * sizeof *dx);
    for (size_t n = 0; n < p->planes; n++, dx += volume(p->in)) {
        for (size_t o = 0; o < pixels; o++) {
            size_t i = n * pixels + o;
            size_t at = tb_pool_index(p, o, get_tap(taps, i, bytes), false);
            if (at != SIZE_MAX) {
                dx[at] = dx[at] + dy[i];
            }
        }
    }
}

/* --- average -------------------------------------------------------------- */

/* 1 / what the mean of a window is over. */
static float weight_of(const tb_pool *p, const window *w)
{
    size_t n = 1;
    for (size_t d = 0; d < TB_POOL_DIMS; d++) {
        size_t inside = w->to[d] > w->from[d] ? w->to[d] - w->from[d] : 0;
        n *= p->count_pad ? w->padded[d] : inside;
    }
    return n > 0 ? 1.0f / (float)n : 0.0f;
}

void tb_pool_average(const tb_pool *p, const float *x, float *y)
{
    size_t in = volume(p->in);
    size_t pixels = volume(p->out);
    if (is_global(p)) {
        for (size_t n = 0; n < p->planes; n++, x += in) {
            y[n] = tb_k_sum(x, in) / (float)in;
        }
        return;
    }
    if (is_2x2(p)) {
        chosen()->average_2x2(p, x, y);
        return;
    }
    window w = find_window(p, 0);
    for (size_t n = 0; n < p->planes; n++, x += in) {
        for (size_t o = 0; o < pixels; o++, next_window(&w, p)) {
            float sum = 0.0f;
            EACH_TAP(w, tz, ty, tx)
            {
                sum = sum + x[element_of(p, &w, tz, ty, tx)];
            }
            y[n * pixels + o] = sum * weight_of(p, &w);
        }
    }
}

void tb_pool_average_grad(const tb_pool *p, const float *dy, float *dx)
{
    size_t in = volume(p->in);
    size_t pixels = volume(p->out);
    if (is_2x2(p)) {
        chosen()->average_2x2_grad(p, dy, dx);
        return;
    }
    if (is_global(p)) {
        for (size_t n = 0; n < p->planes; n++) {
            float share = dy[n] / (float)in;
            for (size_t i = 0; i < in; i++) {
                dx[n * in + i] = share;
            }
        }
        return;
    }
    memset(dx, 0, p->planes * in * sizeof *dx);
    window w = find_window(p, 0);
    for (size_t n = 0; n < p->planes; n++, dx += in) {
        for (size_t o = 0; o < pixels; o++, next_window(&w, p)) {
            float share = dy[n * pixels + o] * weight_of(p, &w);
            EACH_TAP(w, tz, ty, tx)
            {
                float *at = &dx[element_of(p, &w, tz, ty, tx)];
                *at = *at + share;
            }
        }
    }
}
