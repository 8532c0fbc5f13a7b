/* core/tensor/conv_depthwise.h - convolution plane by plane, for groups of one
 * input channel: each tap is one vector of the plane times one weight. Included
 * by one .c file an instruction set.
 * The includer defines vec, WIDTH and the operations of conv_winograd.h.
 * With stride s a row of the padded copy lies in s phases, elements 0, s, 2s
 * ... first, so that every tap reads side by side. */
#include <string.h>

#include "tensor/conv_priv.h"

/* --- padded copies -------------------------------------------------------- */

static void clear_plane(const tb_conv_plane *p)
{
    size_t n = p->rows * p->phases * p->step + TB_CONV_SLACK;
    memset(p->data, 0, n * sizeof *p->data);
}

static void copy_row(float *to, const float *from, size_t n)
{
    size_t i = 0;
    for (; i + WIDTH <= n; i += WIDTH) {
        STORE(to + i, LOAD(from + i));
    }
    if (i < n) {
        memcpy(to + i, from + i, (n - i) * sizeof *to);
    }
}

/* n elements from column `at` on, each to its phase. */
static void part_row(const tb_conv_plane *p, float *row, size_t at,
                     const float *from, size_t n)
{
    for (size_t i = 0; i < p->phases && i < n; i++) {
        float *restrict to =
            row + (at + i) % p->phases * p->step + (at + i) / p->phases;
        for (size_t j = 0; i + j * p->phases < n; j++) {
            to[j] = from[i + j * p->phases];
        }
    }
}

/* Where a plane's rows and columns go: element (y, x) to row
 * at[0] + y * apart[0] and column at[1] + x * apart[1]. */
typedef struct placing {
    size_t at[2];
    size_t apart[2];
} placing;

/* Elements [0, n) of a line that fall inside `end`. */
static size_t inside_end(size_t n, size_t at, size_t apart, size_t end)
{
    size_t most = end > at ? (end - at + apart - 1) / apart : 0;
    return n < most ? n : most;
}

/* x [rows, width] into the padded copy; the rest of that is 0 already. */
static void place(const tb_conv_plane *p, placing w, const float *x,
                  size_t rows, size_t width, size_t columns)
{
    size_t n_rows = inside_end(rows, w.at[0], w.apart[0], p->rows);
    size_t n = inside_end(width, w.at[1], w.apart[1], columns);
    for (size_t y = 0; y < n_rows; y++, x += width) {
        size_t r = w.at[0] + y * w.apart[0];
        float *row = p->data + r * p->phases * p->step;
        if (p->phases == 1 && w.apart[1] == 1) {
            copy_row(row + w.at[1], x, n);
        } else if (p->phases == 1) {
            for (size_t i = 0; i < n; i++) {
                row[w.at[1] + i * w.apart[1]] = x[i];
            }
        } else {
            part_row(p, row, w.at[1], x, n);
        }
    }
}

/* --- loops ---------------------------------------------------------------- */

/* Where each tap of a window lies, from the window's first element on. */
static void find_taps(size_t at[TB_CONV_TAPS_MAX], const tb_conv *c,
                      const tb_conv_plane *p)
{
    for (size_t t = 0; t < tb_conv_volume(c->kernel); t++) {
        size_t y = t / c->kernel[2] * c->dilation[1];
        size_t x = t % c->kernel[2] * c->dilation[2];
        at[t] = (y * p->phases + x % p->phases) * p->step + x / p->phases;
    }
}

/* What a pass over one plane needs. */
typedef struct filter {
    const float *from; /* window of the first output */
    size_t row;        /* floats to the window one row further down */
    const size_t *at;  /* [taps] */
    const float *w;    /* [taps] */
    size_t rows;       /* of outputs */
    size_t width;
    bool add;
} filter;

INLINE vec filter_at(const filter *f, const float *from, vec sum,
                     const size_t taps)
{
    for (size_t t = 0; t < taps; t++) {
        sum = FMA(SPREAD(f->w[t]), LOAD(from + f->at[t]), sum);
    }
    return sum;
}

/* y [rows, width] = or += sum of w[t] times tap t */
INLINE void filter_plane(const filter *f, float *y, const size_t taps)
{
    for (size_t r = 0; r < f->rows; r++, y += f->width) {
        const float *from = f->from + r * f->row;
        size_t i = 0;
        for (; i + WIDTH <= f->width; i += WIDTH) {
            vec old = SPREAD(0.0f);
            if (f->add) {
                old = LOAD(y + i);
            }
            STORE(y + i, filter_at(f, from + i, old, taps));
        }
        if (i < f->width) {
            float last[WIDTH] = {0};
            size_t bytes = (f->width - i) * sizeof *y;
            if (f->add) {
                memcpy(last, y + i, bytes);
            }
            STORE(last, filter_at(f, from + i, LOAD(last), taps));
            memcpy(y + i, last, bytes);
        }
    }
}

static void run_filter(const filter *f, float *y, size_t taps)
{
    if (taps == 9) {
        filter_plane(f, y, 9);
    } else if (taps == 25) {
        filter_plane(f, y, 25);
    } else {
        filter_plane(f, y, taps);
    }
}

/* sums [taps, WIDTH] += dy times each tap, lane by lane; rows of dy are whole
 * vectors that end in zeros. */
INLINE void correlate_plane(const filter *f, const tb_conv_plane *dy,
                            float *sums, const size_t taps)
{
    vec own[TB_CONV_TAPS_MAX];
    for (size_t t = 0; t < taps; t++) {
        own[t] = LOAD(sums + t * WIDTH);
    }
    for (size_t r = 0; r < f->rows; r++) {
        const float *from = f->from + r * f->row;
        const float *d = dy->data + r * dy->step;
        for (size_t i = 0; i < f->width; i += WIDTH) {
            vec v = LOAD(d + i);
            for (size_t t = 0; t < taps; t++) {
                own[t] = FMA(v, LOAD(from + i + f->at[t]), own[t]);
            }
        }
    }
    for (size_t t = 0; t < taps; t++) {
        STORE(sums + t * WIDTH, own[t]);
    }
}

static float sum_lanes(vec v)
{
    float lane[WIDTH];
    STORE(lane, v);
    for (size_t w = WIDTH / 2; w > 0; w /= 2) {
        for (size_t j = 0; j < w; j++) {
            lane[j] = lane[j] + lane[j + w];
        }
    }
    return lane[0];
}

/* --- passes --------------------------------------------------------------- */

static void place_input(const tb_conv_depthwise *q, const float *x)
{
    const tb_conv *c = q->conv;
    place(&q->x, (placing){{c->pad[1], c->pad[2]}, {1, 1}}, x, c->in[1],
          c->in[2], tb_conv_reach(c, 2));
}

/* The windows of the input. */
static filter input_filter(const tb_conv_depthwise *q, const size_t *at)
{
    const tb_conv *c = q->conv;
    return (filter){.from = q->x.data,
                    .row = c->stride[1] * q->x.phases * q->x.step,
                    .at = at,
                    .rows = c->out[1],
                    .width = c->out[2]};
}

static void depthwise_forward(const tb_conv *c, const float *x, const float *w,
                              const float *bias, float *y, float *work)
{
    tb_conv_depthwise q;
    size_t at[TB_CONV_TAPS_MAX];
    tb_conv_depthwise_layout(&q, c, work);
    clear_plane(&q.x);
    find_taps(at, c, &q.x);
    filter f = input_filter(&q, at);
    size_t pixels = f.rows * f.width;
    for (size_t i = 0; i < c->batch * c->in_channels; i++) {
        place_input(&q, x + i * c->in[1] * c->in[2]);
        for (size_t k = 0; k < q.multiple; k++, y += pixels) {
            size_t m = i % c->in_channels * q.multiple + k;
            f.w = w + m * q.taps;
            run_filter(&f, y, q.taps);
            if (tb_conv_ends(c, bias)) {
                finish(c, y, m, 1, pixels, pixels, bias);
            }
        }
    }
}

/* dx: the windows, turned round, over dy with stride - 1 zeros between. */
static void depthwise_dx(const tb_conv_depthwise *q, const tb_conv_grads *g)
{
    const tb_conv *c = q->conv;
    size_t at[TB_CONV_TAPS_MAX];
    float turned[TB_CONV_TAPS_MAX];
    size_t pixels = c->out[1] * c->out[2];
    placing where = {{(c->kernel[1] - 1) * c->dilation[1] - c->pad[1],
                      (c->kernel[2] - 1) * c->dilation[2] - c->pad[2]},
                     {c->stride[1], c->stride[2]}};
    clear_plane(&q->spread);
    find_taps(at, c, &q->spread);
    for (size_t i = 0; i < c->batch * c->out_channels; i++) {
        size_t m = i % c->out_channels;
        size_t columns = c->in[2] + (c->kernel[2] - 1) * c->dilation[2];
        filter f = {.from = q->spread.data,
                    .row = q->spread.step,
                    .at = at,
                    .w = turned,
                    .rows = c->in[1],
                    .width = c->in[2],
                    .add = i % q->multiple > 0};
        for (size_t t = 0; t < q->taps; t++) {
            turned[t] = g->w[m * q->taps + q->taps - 1 - t];
        }
        place(&q->spread, where, g->dy + i * pixels, c->out[1], c->out[2],
              columns);
        run_filter(&f, g->dx + i / q->multiple * f.rows * f.width, q->taps);
    }
}

/* Image after image; the lanes of each tap's sum wait in q->sums. */
static void depthwise_dw(const tb_conv_depthwise *q, const tb_conv_grads *g)
{
    const tb_conv *c = q->conv;
    size_t at[TB_CONV_TAPS_MAX];
    size_t in_pixels = c->in[1] * c->in[2];
    size_t pixels = c->out[1] * c->out[2];
    size_t n_sums = c->out_channels * q->taps;
    clear_plane(&q->x);
    clear_plane(&q->dy);
    memset(q->sums, 0, n_sums * WIDTH * sizeof *q->sums);
    find_taps(at, c, &q->x);
    filter f = input_filter(q, at);
    for (size_t i = 0; i < c->batch * c->out_channels; i++) {
        float *sums = q->sums + i % c->out_channels * q->taps * WIDTH;
        if (i % q->multiple == 0) {
            place_input(q, g->x + i / q->multiple * in_pixels);
        }
        place(&q->dy, (placing){{0, 0}, {1, 1}}, g->dy + i * pixels, c->out[1],
              c->out[2], c->out[2]);
        if (q->taps == 9) {
            correlate_plane(&f, &q->dy, sums, 9);
        } else {
            correlate_plane(&f, &q->dy, sums, q->taps);
        }
    }
    for (size_t i = 0; i < n_sums; i++) {
        g->dw[i] = sum_lanes(LOAD(q->sums + i * WIDTH));
    }
}

static void depthwise_backward(const tb_conv *c, const tb_conv_grads *g,
                               float *work)
{
    tb_conv_depthwise q;
    tb_conv_depthwise_layout(&q, c, work);
    if (g->dx != NULL) {
        depthwise_dx(&q, g);
    }
    if (g->dw != NULL) {
        depthwise_dw(&q, g);
    }
}
