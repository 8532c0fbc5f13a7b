/* core/tensor/conv_columns.c - convolution as products of matrices: some output
 * pixels at a time become columns of all the input elements that they see, read
 * from a copy of the image with its padding around it. Fits every geometry; a
 * kernel of one element is a product at once. */
#include <string.h>

#include "tensor/conv_priv.h"
#include "tensor/gemm.h"

#define PIXELS_MAX  512   /* columns at a time */
#define PANEL       32    /* columns that the product takes without a copy */
#define COLUMNS_AIM 65536 /* floats: 256 KiB, half of a usual L2 cache */
#define COPY_FLOATS 16

typedef struct columns {
    const tb_conv *conv;
    size_t in_group;  /* channels */
    size_t out_group; /* channels */
    size_t taps;      /* of a kernel */
    size_t terms;     /* in_group * taps: rows of the matrix of columns */
    size_t pixels;    /* of an output plane */
    size_t reach[TB_CONV_DIMS];
    size_t covered[TB_CONV_DIMS]; /* of the input: the rest meets no window */
    size_t plane;                 /* floats of a padded plane */
    float *padded;                /* [in_group, reach...] */
    float *col;                   /* [terms, PIXELS_MAX at most] */
} columns;

/* Pixels of one output row that stand side by side in the columns. */
typedef struct run {
    size_t col; /* first column */
    size_t at;  /* where its window starts in a padded plane */
    size_t n;
} run;

typedef struct runs {
    run run[PIXELS_MAX];
    size_t n;
} runs;

static bool is_pointwise(const tb_conv *c)
{
    bool yes = true;
    for (size_t d = 0; d < TB_CONV_DIMS; d++) {
        yes = yes && c->kernel[d] == 1 && c->stride[d] == 1 && c->pad[d] == 0 &&
              c->in[d] == c->out[d];
    }
    return yes;
}

/* Columns at a time: forward, one panel of the product; backward the more the
 * better, since the weights' gradient is read and written each time. */
static size_t chunk_of(const tb_conv *c, unsigned parts)
{
    size_t pixels = tb_conv_volume(c->out);
    size_t n = PANEL;
    if ((parts & (TB_CONV_DX | TB_CONV_DW)) != 0) {
        size_t terms = c->in_channels / c->groups * tb_conv_volume(c->kernel);
        n = COLUMNS_AIM / terms / PANEL * PANEL;
        n = n < PANEL ? PANEL : n;
        n = n > PIXELS_MAX ? PIXELS_MAX : n;
    }
    return n < pixels ? n : pixels;
}

static size_t layout(columns *q, const tb_conv *c, unsigned parts, float *work)
{
    tb_conv_space space = {0};
    size_t in_group = c->in_channels / c->groups;
    *q = (columns){.conv = c,
                   .in_group = in_group,
                   .out_group = c->out_channels / c->groups,
                   .taps = tb_conv_volume(c->kernel),
                   .pixels = tb_conv_volume(c->out)};
    q->terms = in_group * q->taps;
    if (is_pointwise(c)) {
        return 0;
    }
    for (size_t d = 0; d < TB_CONV_DIMS; d++) {
        size_t reach = tb_conv_reach(c, d);
        size_t behind = reach > c->pad[d] ? reach - c->pad[d] : 0;
        q->reach[d] = reach;
        q->covered[d] = behind < c->in[d] ? behind : c->in[d];
    }
    size_t padded =
        tb_conv_take(&space, in_group, q->reach[0], q->reach[1], q->reach[2]);
    size_t col = tb_conv_take(&space, q->terms, chunk_of(c, parts), 1, 1);
    if (work != NULL) {
        q->plane = tb_conv_volume(q->reach);
        q->padded = work + padded;
        q->col = work + col;
    }
    return tb_conv_taken(&space);
}

static bool fits(const tb_conv *c)
{
    (void)c;
    return true;
}

static size_t plan(const tb_conv *c, unsigned parts)
{
    columns q;
    return layout(&q, c, parts, NULL);
}

/* --- the padded copy ------------------------------------------------------ */

static float *padded_row(const columns *q, size_t channel, size_t z, size_t y)
{
    const size_t *pad = q->conv->pad;
    size_t row = (z + pad[0]) * q->reach[1] + y + pad[1];
    return q->padded + channel * q->plane + row * q->reach[2] + pad[2];
}

/* One group's channels into the middle of the padded copy. */
static void copy_in(const columns *q, const float *x)
{
    const size_t *in = q->conv->in;
    for (size_t c = 0; c < q->in_group; c++, x += tb_conv_volume(in)) {
        for (size_t z = 0; z < q->covered[0]; z++) {
            for (size_t y = 0; y < q->covered[1]; y++) {
                memcpy(padded_row(q, c, z, y), x + (z * in[1] + y) * in[2],
                       q->covered[2] * sizeof *x);
            }
        }
    }
}

/* And back; what no window meets is 0. */
static void copy_out(const columns *q, float *x)
{
    const size_t *in = q->conv->in;
    memset(x, 0, q->in_group * tb_conv_volume(in) * sizeof *x);
    for (size_t c = 0; c < q->in_group; c++, x += tb_conv_volume(in)) {
        for (size_t z = 0; z < q->covered[0]; z++) {
            for (size_t y = 0; y < q->covered[1]; y++) {
                memcpy(x + (z * in[1] + y) * in[2], padded_row(q, c, z, y),
                       q->covered[2] * sizeof *x);
            }
        }
    }
}

static void clear_padded(const columns *q)
{
    if (q->padded != NULL) {
        memset(q->padded, 0, q->in_group * q->plane * sizeof *q->padded);
    }
}

/* --- columns -------------------------------------------------------------- */

/* The runs of output pixels [from, from + n). */
static void find_runs(const columns *q, runs *r, size_t from, size_t n)
{
    const tb_conv *c = q->conv;
    size_t col = 0;
    r->n = 0;
    while (col < n) {
        size_t x = (from + col) % c->out[2];
        size_t y = (from + col) / c->out[2] % c->out[1];
        size_t z = (from + col) / c->out[2] / c->out[1];
        size_t left = c->out[2] - x;
        size_t len = left < n - col ? left : n - col;
        size_t row = z * c->stride[0] * q->reach[1] + y * c->stride[1];
        r->run[r->n++] = (run){col, row * q->reach[2] + x * c->stride[2], len};
        col += len;
    }
}

/* Where tap k lies in a window. */
static size_t tap_at(const columns *q, size_t k)
{
    const tb_conv *c = q->conv;
    size_t x = k % c->kernel[2];
    size_t y = k / c->kernel[2] % c->kernel[1];
    size_t z = k / c->kernel[2] / c->kernel[1];
    size_t row = z * c->dilation[0] * q->reach[1] + y * c->dilation[1];
    return row * q->reach[2] + x * c->dilation[2];
}

/* col [terms, n] from the padded copy. Copies whole vectors: what one writes
 * too far is overwritten by the next, and the last hits slack. */
static void gather(const columns *q, const runs *r, size_t n)
{
    size_t stride = q->conv->stride[2];
    for (size_t t = 0; t < q->terms; t++) {
        const float *from =
            q->padded + t / q->taps * q->plane + tap_at(q, t % q->taps);
        float *to = q->col + t * n;
        for (size_t i = 0; i < r->n; i++) {
            const float *a = from + r->run[i].at;
            float *b = to + r->run[i].col;
            for (size_t j = 0; stride == 1 && j < r->run[i].n;
                 j += COPY_FLOATS) {
                memcpy(b + j, a + j, COPY_FLOATS * sizeof *b);
            }
            for (size_t j = 0; stride > 1 && j < r->run[i].n; j++) {
                b[j] = a[j * stride];
            }
        }
    }
}

/* Adds col [terms, n] to where it would have been gathered from. */
static void scatter(const columns *q, const runs *r, size_t n)
{
    size_t stride = q->conv->stride[2];
    for (size_t t = 0; t < q->terms; t++) {
        float *to = q->padded + t / q->taps * q->plane + tap_at(q, t % q->taps);
        const float *from = q->col + t * n;
        for (size_t i = 0; i < r->n; i++) {
            float *restrict a = to + r->run[i].at;
            const float *restrict b = from + r->run[i].col;
            for (size_t j = 0; stride == 1 && j < r->run[i].n; j++) {
                a[j] = a[j] + b[j];
            }
            for (size_t j = 0; stride > 1 && j < r->run[i].n; j++) {
                a[j * stride] = a[j * stride] + b[j];
            }
        }
    }
}

/* --- forward -------------------------------------------------------------- */

/* y [out_group, pixels] of one image and group = w columns(x); first: the
 * group's first output channel */
static void forward_image(const columns *q, const float *x, const float *w,
                          size_t first, const float *bias, float *y,
                          const tb_conv_set *set)
{
    runs r;
    bool direct = q->padded == NULL;
    size_t chunk = direct ? q->pixels : chunk_of(q->conv, TB_CONV_Y);
    if (!direct) {
        copy_in(q, x);
    }
    for (size_t from = 0; from < q->pixels; from += chunk) {
        size_t left = q->pixels - from;
        size_t n = left < chunk ? left : chunk;
        tb_gemm_shape s =
            tb_gemm_dense(false, false, q->out_group, n, q->terms);
        s.c_step = q->pixels;
        if (!direct) {
            find_runs(q, &r, from, n);
            gather(q, &r, n);
        }
        tb_gemm(&s, 1.0f, w, direct ? x : q->col, 0.0f, y + from);
        if (tb_conv_ends(q->conv, bias)) {
            set->finish(q->conv, y + from, first, q->out_group, n, q->pixels,
                        bias);
        }
    }
}

static void forward(const tb_conv_set *set, const tb_conv *c, const float *x,
                    const float *w, const float *bias, float *y, void *work)
{
    columns q;
    layout(&q, c, TB_CONV_Y, work);
    clear_padded(&q);
    for (size_t i = 0; i < c->batch * c->groups; i++) {
        size_t g = i % c->groups;
        forward_image(&q, x + i * q.in_group * tb_conv_volume(c->in),
                      w + g * q.out_group * q.terms, g * q.out_group, bias,
                      y + i * q.out_group * q.pixels, set);
    }
}

/* --- backward ------------------------------------------------------------- */

/* dw += dy columns(x)^T, of one image and group */
static void add_dw(const columns *q, const float *x, const float *dy, float *dw)
{
    runs r;
    bool direct = q->padded == NULL;
    size_t chunk = direct ? q->pixels : chunk_of(q->conv, TB_CONV_DW);
    if (!direct) {
        copy_in(q, x);
    }
    for (size_t from = 0; from < q->pixels; from += chunk) {
        size_t left = q->pixels - from;
        size_t n = left < chunk ? left : chunk;
        tb_gemm_shape s = tb_gemm_dense(false, true, q->out_group, q->terms, n);
        s.a_step = q->pixels;
        if (!direct) {
            find_runs(q, &r, from, n);
            gather(q, &r, n);
        }
        tb_gemm(&s, 1.0f, dy + from, direct ? x : q->col, 1.0f, dw);
    }
}

/* dx = w^T dy, each column added where it came from, of one image and group */
static void make_dx(const columns *q, const float *w, const float *dy,
                    float *dx)
{
    runs r;
    bool direct = q->padded == NULL;
    size_t chunk = direct ? q->pixels : chunk_of(q->conv, TB_CONV_DX);
    clear_padded(q);
    for (size_t from = 0; from < q->pixels; from += chunk) {
        size_t left = q->pixels - from;
        size_t n = left < chunk ? left : chunk;
        tb_gemm_shape s = tb_gemm_dense(true, false, q->terms, n, q->out_group);
        s.b_step = q->pixels;
        tb_gemm(&s, 1.0f, w, dy + from, 0.0f, direct ? dx : q->col);
        if (!direct) {
            find_runs(q, &r, from, n);
            scatter(q, &r, n);
        }
    }
    if (!direct) {
        copy_out(q, dx);
    }
}

static void backward(const tb_conv_set *set, const tb_conv *c,
                     const tb_conv_grads *g, void *work)
{
    columns q;
    (void)set;
    layout(&q, c, TB_CONV_DX, work);
    size_t x_floats = q.in_group * tb_conv_volume(c->in);
    size_t w_floats = q.out_group * q.terms;
    size_t y_floats = q.out_group * q.pixels;
    size_t n = c->batch * c->groups;
    if (g->dw != NULL) {
        memset(g->dw, 0, c->groups * w_floats * sizeof *g->dw);
        clear_padded(&q);
    }
    for (size_t i = 0; g->dw != NULL && i < n; i++) {
        add_dw(&q, g->x + i * x_floats, g->dy + i * y_floats,
               g->dw + i % c->groups * w_floats);
    }
    for (size_t i = 0; g->dx != NULL && i < n; i++) {
        make_dx(&q, g->w + i % c->groups * w_floats, g->dy + i * y_floats,
                g->dx + i * x_floats);
    }
}

const tb_conv_way tb_conv_columns = {.name = "columns",
                                     .fits = fits,
                                     .plan = plan,
                                     .forward = forward,
                                     .backward = backward};
