#include "tensor/conv_int8.h"

#include <string.h>

#include "base/mem.h"

#define ALIGN    ((size_t)64)
#define CHANNELS ((size_t)32) /* of a maximum at once */
#define SLACK    ((size_t)64) /* a row's last quad may be read whole */

/* Where everything lies for one group of one image. */
typedef struct plan {
    size_t c;          /* channels of a group */
    size_t out_c;      /* the same of the output */
    size_t rows;       /* of the padded image that windows touch */
    size_t cols;       /* the same across */
    size_t k;          /* terms that lie together */
    size_t n_segments; /* of a window */
    bool across;       /* a segment is a whole row of the window */
    bool in_place;     /* x can be read where it is */
    bool depthwise;    /* a group is a channel: all are taken as one group, and
                        * a segment is a tap */
} plan;

static size_t extent(const tb_int8_window *w, size_t d)
{
    return (w->out[d] - 1) * w->stride[d] +
           (w->kernel[d] - 1) * w->dilation[d] + 1;
}

static plan plan_of(const tb_conv_int8 *conv)
{
    const tb_int8_window *w = &conv->window;
    plan p = {.c = w->in_c / conv->groups,
              .out_c = conv->out_c / conv->groups,
              .rows = w->out[0] > 0 ? extent(w, 0) : 0,
              .cols = w->out[1] > 0 ? extent(w, 1) : 0,
              .across = w->dilation[1] == 1};
    p.depthwise = conv->groups > 1 && p.c == 1 && p.out_c == 1;
    if (p.depthwise) {
        p.c = w->in_c;
        p.out_c = conv->out_c;
        p.across = false;
    }
    p.k = p.across ? w->kernel[1] * p.c : p.c;
    p.n_segments = w->kernel[0] * (p.across ? 1 : w->kernel[1]);
    p.in_place = conv->groups == 1 && !conv->x_signed &&
                 (!conv->x_planes || w->in_c == 1) && w->pad[0] == 0 &&
                 w->pad[1] == 0 && p.rows <= w->in[0] && p.cols <= w->in[1];
    return p;
}

static size_t segments_bytes(const plan *p)
{
    return (p->n_segments * sizeof(size_t) + ALIGN - 1) / ALIGN * ALIGN;
}

/* How often channels are taken: in groups, or all at once. */
static size_t n_groups(const tb_conv_int8 *conv, const plan *p)
{
    return p->depthwise ? 1 : conv->groups;
}

static size_t group_bytes(const plan *p)
{
    if (p->depthwise) {
        size_t panels = (p->c + TB_INT8_PANEL - 1) / TB_INT8_PANEL;
        return panels * p->n_segments * TB_INT8_PANEL * sizeof(int16_t);
    }
    return tb_int8_packed_bytes(p->out_c, p->n_segments, p->k);
}

tb_rc tb_conv_int8_plan(size_t *work_bytes, const tb_conv_int8 *conv,
                        tb_err *err)
{
    plan p = plan_of(conv);
    size_t image = 0;
    *work_bytes = segments_bytes(&p);
    if (p.in_place || p.rows == 0 || p.cols == 0) {
        return TB_OK;
    }
    if (tb_mem_mul(&image, p.rows, p.cols) != 0 ||
        tb_mem_mul(&image, image, p.c) != 0 ||
        tb_mem_add(work_bytes, *work_bytes, SLACK) != 0 ||
        tb_mem_add(work_bytes, *work_bytes, image) != 0) {
        return tb_fail(err, TB_E_LIMIT, "windows over %zu x %zu x %zu bytes",
                       p.rows, p.cols, p.c);
    }
    return TB_OK;
}

size_t tb_conv_int8_packed_bytes(const tb_conv_int8 *conv)
{
    plan p = plan_of(conv);
    return n_groups(conv, &p) * group_bytes(&p);
}

/* Where tap t of channel c lies, in int16. */
static size_t depthwise_at(const plan *p, size_t c, size_t t)
{
    size_t panel = c / TB_INT8_PANEL;
    return (panel * p->n_segments + t) * TB_INT8_PANEL + c % TB_INT8_PANEL;
}

static void pack_depthwise(int16_t *packed, const uint8_t *w, const plan *p,
                           bool flip)
{
    uint8_t mask = flip ? 0x80 : 0;
    memset(packed, 0, group_bytes(p));
    for (size_t c = 0; c < p->c; c++) {
        for (size_t t = 0; t < p->n_segments; t++) {
            uint8_t byte = w[c * p->n_segments + t] ^ mask;
            packed[depthwise_at(p, c, t)] = (int8_t)byte;
        }
    }
}

void tb_conv_int8_pack(int8_t *packed, const void *w, const tb_conv_int8 *conv,
                       bool flip)
{
    plan p = plan_of(conv);
    size_t taps = conv->window.kernel[0] * conv->window.kernel[1];
    const uint8_t *from = w;
    const tb_int8_shape shape = {
        .n = p.out_c, .k = p.k, .n_segments = p.n_segments};
    const tb_int8_layout layout = {.column_step = p.c * taps,
                                   .segment_step =
                                       p.across ? conv->window.kernel[1] : 1,
                                   .n_inner = p.c,
                                   .inner_step = taps,
                                   .outer_step = 1,
                                   .flip = flip};
    if (p.depthwise) {
        pack_depthwise((int16_t *)(void *)packed, w, &p, flip);
        return;
    }
    for (size_t g = 0; g < conv->groups; g++) {
        tb_int8_pack(packed + g * group_bytes(&p), from, &shape, &layout);
        from += p.out_c * p.c * taps;
    }
}

void tb_conv_int8_weight_sums(int32_t *sums, const int8_t *packed,
                              const tb_conv_int8 *conv)
{
    plan p = plan_of(conv);
    const tb_int8_shape shape = {
        .n = p.out_c, .k = p.k, .n_segments = p.n_segments};
    if (p.depthwise) {
        const int16_t *w = (const int16_t *)(const void *)packed;
        for (size_t c = 0; c < p.c; c++) {
            sums[c] = 0;
            for (size_t t = 0; t < p.n_segments; t++) {
                sums[c] += w[depthwise_at(&p, c, t)];
            }
        }
        return;
    }
    for (size_t g = 0; g < conv->groups; g++) {
        tb_int8_column_sums(sums + g * p.out_c, packed + g * group_bytes(&p),
                            &shape);
    }
}

/* --- the padded image ----------------------------------------------------- */

/* n pixels of c channels of image row y, from column 0 on. */
static void copy_row(const tb_conv_int8 *conv, uint8_t *to, const uint8_t *x,
                     size_t y, size_t first_c, size_t c, size_t n)
{
    const tb_int8_window *w = &conv->window;
    if (conv->x_planes) {
        for (size_t i = 0; i < c; i++) {
            const uint8_t *from = x + ((first_c + i) * w->in[0] + y) * w->in[1];
            for (size_t j = 0; j < n; j++) {
                to[j * c + i] = from[j];
            }
        }
        return;
    }
    const uint8_t *from = x + y * w->in[1] * w->in_c + first_c;
    if (c == w->in_c) {
        memcpy(to, from, n * c);
        return;
    }
    for (size_t j = 0; j < n; j++) {
        memcpy(to + j * c, from + j * w->in_c, c);
    }
}

/* The channels of group g of image x, with edges around. */
static void pad(const tb_conv_int8 *conv, const plan *p, uint8_t *to,
                const uint8_t *x, size_t g)
{
    const tb_int8_window *w = &conv->window;
    size_t left = w->pad[1] < p->cols ? w->pad[1] : p->cols;
    size_t room = p->cols - left;
    size_t n = room < w->in[1] ? room : w->in[1];
    uint8_t *row = to;
    for (size_t r = 0; r < p->rows; r++, row += p->cols * p->c) {
        if (r < w->pad[0] || r - w->pad[0] >= w->in[0]) {
            memset(row, conv->edge, p->cols * p->c);
            continue;
        }
        memset(row, conv->edge, left * p->c);
        copy_row(conv, row + left * p->c, x, r - w->pad[0], g * p->c, p->c, n);
        memset(row + (left + n) * p->c, conv->edge, (room - n) * p->c);
    }
    for (size_t i = 0; conv->x_signed && i < p->rows * p->cols * p->c; i++) {
        to[i] ^= 0x80;
    }
    memset(row, 0, SLACK);
}

/* --- runs ----------------------------------------------------------------- */

static void set_segments(const tb_conv_int8 *conv, const plan *p,
                         size_t *segment)
{
    const tb_int8_window *w = &conv->window;
    size_t cols = p->in_place ? w->in[1] : p->cols;
    for (size_t s = 0; s < p->n_segments; s++) {
        size_t y = p->across ? s : s / w->kernel[1];
        size_t x = p->across ? 0 : s % w->kernel[1];
        segment[s] = (y * w->dilation[0] * cols + x * w->dilation[1]) * p->c;
    }
}

static tb_int8_finish finish_from(const tb_int8_finish *f, size_t channel)
{
    tb_int8_finish from = *f;
    from.bias = f->bias != NULL ? f->bias + channel : NULL;
    from.scale = f->scale != NULL ? f->scale + channel : NULL;
    return from;
}

/* One group of one image: a product for each row of the output. */
static void run_rows(const tb_conv_int8 *conv, const plan *p,
                     tb_int8_shape *shape, const uint8_t *x,
                     const int8_t *packed, const tb_int8_finish *finish,
                     uint8_t *y)
{
    const tb_int8_window *w = &conv->window;
    size_t cols = p->in_place ? w->in[1] : p->cols;
    size_t size = finish->to == TB_INT8_TO_BYTES ? 1 : 4;
    for (size_t r = 0; r < w->out[0]; r++) {
        const uint8_t *from = x + r * w->stride[0] * cols * p->c;
        uint8_t *to = y + r * w->out[1] * conv->out_c * size;
        if (p->depthwise) {
            tb_int8_depthwise(
                shape, from, (const int16_t *)(const void *)packed, finish, to);
        } else {
            tb_int8_gemm(shape, from, packed, finish, to);
        }
    }
}

void tb_conv_int8_run(const tb_conv_int8 *conv, const uint8_t *x,
                      const int8_t *packed, const tb_int8_finish *finish,
                      void *y, void *work)
{
    const tb_int8_window *w = &conv->window;
    plan p = plan_of(conv);
    size_t *segment = work;
    uint8_t *image = (uint8_t *)work + segments_bytes(&p);
    size_t size = finish->to == TB_INT8_TO_BYTES ? 1 : 4;
    size_t pixels = w->out[0] * w->out[1];
    tb_int8_shape shape = {.m = w->out[1],
                           .n = p.out_c,
                           .k = p.in_place ? p.k : (p.k + 3) / 4 * 4,
                           .n_segments = p.n_segments,
                           .segment = segment,
                           .a_step = w->stride[1] * p.c,
                           .c_step = conv->out_c};
    set_segments(conv, &p, segment);
    if (p.in_place && !p.depthwise && p.k == p.c && p.n_segments == 1 &&
        pixels == w->in[0] * w->in[1]) {
        shape.m = w->batch * pixels; /* 1 x 1: one product for all */
        tb_int8_gemm(&shape, x, packed, finish, y);
        return;
    }
    for (size_t b = 0; b < w->batch && pixels > 0; b++) {
        const uint8_t *from = x + b * w->in_c * w->in[0] * w->in[1];
        uint8_t *to = (uint8_t *)y + b * pixels * conv->out_c * size;
        for (size_t g = 0; g < n_groups(conv, &p); g++) {
            tb_int8_finish f = finish_from(finish, g * p.out_c);
            if (!p.in_place) {
                pad(conv, &p, image, from, g);
            }
            run_rows(conv, &p, &shape, p.in_place ? from : image,
                     packed + g * group_bytes(&p), &f, to + g * p.out_c * size);
        }
    }
}

/* --- the oracle ----------------------------------------------------------- */

/* Byte of channel c at row y and column x of image b; they may lie outside. */
static int32_t byte_at(const tb_conv_int8 *conv, const uint8_t *x, size_t b,
                       size_t c, const int64_t at[2])
{
    const tb_int8_window *w = &conv->window;
    uint8_t byte = conv->edge;
    if (at[0] >= 0 && at[1] >= 0 && at[0] < (int64_t)w->in[0] &&
        at[1] < (int64_t)w->in[1]) {
        size_t r = (size_t)at[0];
        size_t q = (size_t)at[1];
        byte = conv->x_planes
                   ? x[((b * w->in_c + c) * w->in[0] + r) * w->in[1] + q]
                   : x[((b * w->in[0] + r) * w->in[1] + q) * w->in_c + c];
    }
    return conv->x_signed ? (int8_t)byte + 128 : byte;
}

static int32_t sum_naive(const tb_conv_int8 *conv, const uint8_t *x,
                         const int8_t *w, const size_t out[4])
{
    const tb_int8_window *g = &conv->window;
    size_t c = g->in_c / conv->groups;
    size_t first = out[3] / (conv->out_c / conv->groups) * c;
    int32_t sum = 0;
    for (size_t t = 0; t < c * g->kernel[0] * g->kernel[1]; t++) {
        size_t tap[2] = {t / g->kernel[1] % g->kernel[0], t % g->kernel[1]};
        int64_t at[2];
        for (size_t d = 0; d < 2; d++) {
            at[d] =
                (int64_t)(out[1 + d] * g->stride[d] + tap[d] * g->dilation[d]) -
                (int64_t)g->pad[d];
        }
        size_t channel = first + t / g->kernel[1] / g->kernel[0];
        sum += byte_at(conv, x, out[0], channel, at) *
               w[out[3] * c * g->kernel[0] * g->kernel[1] + t];
    }
    return sum;
}

void tb_conv_int8_naive(const tb_conv_int8 *conv, const uint8_t *x,
                        const int8_t *w, int32_t *sums)
{
    const tb_int8_window *g = &conv->window;
    size_t n = g->batch * g->out[0] * g->out[1] * conv->out_c;
    for (size_t i = 0; i < n; i++) {
        size_t pixel = i / conv->out_c;
        const size_t out[4] = {pixel / g->out[1] / g->out[0],
                               pixel / g->out[1] % g->out[0], pixel % g->out[1],
                               i % conv->out_c};
        sums[i] = sum_naive(conv, x, w, out);
    }
}

/* --- maximum, layout ------------------------------------------------------ */

/* The larger of two bytes; turn 0x80 makes int8 of them. */
static inline uint8_t larger(uint8_t a, uint8_t b, uint8_t turn)
{
    return (a ^ turn) > (b ^ turn) ? a : b;
}

/* Which taps of window `out` lie inside, along dimension d: [from, to). */
static void inside(const tb_int8_window *w, size_t d, size_t out, size_t *from,
                   size_t *to)
{
    size_t start = out * w->stride[d];
    *from = 0;
    while (start + *from * w->dilation[d] < w->pad[d]) {
        (*from)++;
    }
    *to = *from;
    while (*to < w->kernel[d] &&
           start + *to * w->dilation[d] - w->pad[d] < w->in[d]) {
        (*to)++;
    }
}

/* Taps of one window that lie inside. */
typedef struct taps {
    const uint8_t *x; /* the first of them */
    size_t n[2];
    size_t step[2]; /* bytes from one to the next */
} taps;

/* n channels of one window; n is a constant where it is CHANNELS. */
static inline void max_channels(const taps *t, uint8_t turn, uint8_t *y,
                                size_t n)
{
    uint8_t most[CHANNELS];
    memcpy(most, t->x, n);
    for (size_t i = 0; i < t->n[0]; i++) {
        for (size_t j = 0; j < t->n[1]; j++) {
            const uint8_t *x = t->x + i * t->step[0] + j * t->step[1];
            for (size_t c = 0; c < n; c++) {
                most[c] = larger(most[c], x[c], turn);
            }
        }
    }
    memcpy(y, most, n);
}

static void max_pixel(taps t, uint8_t turn, uint8_t *y, size_t channels)
{
    size_t c = 0;
    if (t.n[0] == 0 || t.n[1] == 0) { /* a window outside: no byte is less */
        memset(y, turn, channels);
        return;
    }
    for (; c + CHANNELS <= channels; c += CHANNELS, t.x += CHANNELS) {
        max_channels(&t, turn, y + c, CHANNELS);
    }
    if (c < channels) {
        max_channels(&t, turn, y + c, channels - c);
    }
}

/* One row of windows over image x. */
static void max_row(const tb_int8_window *w, uint8_t turn, const uint8_t *x,
                    uint8_t *y, size_t row)
{
    taps t = {.step = {w->dilation[0] * w->in[1] * w->in_c,
                       w->dilation[1] * w->in_c}};
    size_t from[2];
    size_t to[2];
    inside(w, 0, row, &from[0], &to[0]);
    t.n[0] = to[0] - from[0];
    size_t r = row * w->stride[0] + from[0] * w->dilation[0] - w->pad[0];
    for (size_t i = 0; i < w->out[1]; i++, y += w->in_c) {
        inside(w, 1, i, &from[1], &to[1]);
        t.n[1] = to[1] - from[1];
        size_t q = i * w->stride[1] + from[1] * w->dilation[1] - w->pad[1];
        t.x = x + (r * w->in[1] + q) * w->in_c;
        max_pixel(t, turn, y, w->in_c);
    }
}

void tb_max_int8(const tb_int8_window *w, bool is_signed, const uint8_t *x,
                 uint8_t *y)
{
    uint8_t turn = is_signed ? 0x80 : 0;
    for (size_t b = 0; b < w->batch; b++) {
        for (size_t i = 0; i < w->out[0]; i++, y += w->out[1] * w->in_c) {
            max_row(w, turn, x, y, i);
        }
        x += w->in[0] * w->in[1] * w->in_c;
    }
}

void tb_planes_from_pixels(void *y, const void *x, size_t batch, size_t n,
                           size_t channels, size_t bytes)
{
    for (size_t b = 0; b < batch; b++) {
        size_t at = b * n * channels;
        for (size_t c = 0; c < channels; c++) {
            for (size_t i = 0; i < n; i++) {
                size_t to = at + c * n + i;
                size_t from = at + i * channels + c;
                if (bytes == 1) {
                    ((uint8_t *)y)[to] = ((const uint8_t *)x)[from];
                } else {
                    ((uint32_t *)y)[to] = ((const uint32_t *)x)[from];
                }
            }
        }
    }
}
