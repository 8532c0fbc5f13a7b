/* core/tensor/conv_winograd.h - Winograd's convolution for 3 x 3 and 5 x 5
 * kernels: a tile of 6 x 6 inputs becomes 36 products per pair of channels
 * instead of 144 or 100, one of 4 x 4 becomes 16 instead of 36. Included by one
 * .c file an instruction set.
 * The includer defines vec, WIDTH, TILE_ROWS and the operations. */
#include <string.h>

#include "tensor/conv_priv.h"
#include "tensor/conv_transform.h"

#define PANEL (2 * WIDTH)
#ifdef __clang__
#define UNROLL _Pragma("unroll")
#else
#define UNROLL _Pragma("GCC unroll 12")
#endif

/* --- products ------------------------------------------------------------- */

/* c [rows, panel] = or += a [rows, k] panel [k, panel]; element (i, p) of a at
 * a + i * a_i + p * a_p. */
typedef struct product {
    const float *a;
    size_t a_i;
    size_t a_p;
    const float *panel;
    size_t panel_p;
    size_t k;
    float *c;
    size_t c_i;
} product;

INLINE void multiply(const product *q, const float *a, float *c,
                     const size_t rows, const size_t vecs, const bool add)
{
    vec acc[TILE_ROWS][2];
    const float *panel = q->panel;
    UNROLL
    for (size_t i = 0; i < rows; i++) {
        UNROLL
        for (size_t v = 0; v < vecs; v++) {
            acc[i][v] = add ? LOAD(c + i * q->c_i + v * WIDTH) : SPREAD(0.0f);
        }
    }
    for (size_t p = 0; p < q->k; p++) {
        vec b[2];
        UNROLL
        for (size_t v = 0; v < vecs; v++) {
            b[v] = LOAD(panel + v * WIDTH);
        }
        UNROLL
        for (size_t i = 0; i < rows; i++) {
            vec s = SPREAD(a[i * q->a_i]);
            UNROLL
            for (size_t v = 0; v < vecs; v++) {
                acc[i][v] = FMA(s, b[v], acc[i][v]);
            }
        }
        a += q->a_p;
        panel += q->panel_p;
    }
    UNROLL
    for (size_t i = 0; i < rows; i++) {
        UNROLL
        for (size_t v = 0; v < vecs; v++) {
            STORE(c + i * q->c_i + v * WIDTH, acc[i][v]);
        }
    }
}

INLINE void sweep(const product *q, size_t n, const size_t vecs, const bool add)
{
    const float *a = q->a;
    float *c = q->c;
    for (; n >= TILE_ROWS; n -= TILE_ROWS) {
        multiply(q, a, c, TILE_ROWS, vecs, add);
        a += TILE_ROWS * q->a_i;
        c += TILE_ROWS * q->c_i;
    }
#define ROWS(n)                                                                \
    case n:                                                                    \
        multiply(q, a, c, n, vecs, add);                                       \
        break
    switch (n) {
        ROWS(1);
        ROWS(2);
        ROWS(3);
#if TILE_ROWS > 4
        ROWS(4);
        ROWS(5);
#endif
#if TILE_ROWS > 6
        ROWS(6);
        ROWS(7);
        ROWS(8);
        ROWS(9);
        ROWS(10);
        ROWS(11);
#endif
    default:
        break;
    }
#undef ROWS
}

/* The same for n rows and `lanes` columns, panel after panel. panel_j: floats
 * from one panel to the next. */
static void multiply_all(product q, size_t n, size_t lanes, size_t panel_j)
{
    for (size_t j = 0; j < lanes; j += PANEL) {
        if (lanes - j >= PANEL) {
            sweep(&q, n, 2, false);
        } else {
            sweep(&q, n, 1, false);
        }
        q.panel += panel_j;
        q.c += PANEL;
    }
}

static void multiply_and_add(product q, size_t n, size_t lanes, size_t panel_j)
{
    for (size_t j = 0; j < lanes; j += PANEL) {
        if (lanes - j >= PANEL) {
            sweep(&q, n, 2, true);
        } else {
            sweep(&q, n, 1, true);
        }
        q.panel += panel_j;
        q.c += PANEL;
    }
}

/* --- channels side by side and apart -------------------------------------- */

/* out [n, .] = x [m, .] transposed: element (j, i) of out is (i, j) of x. */
static void turn(float *out, size_t out_step, const float *x, size_t x_step,
                 size_t m, size_t n)
{
    if (m < TURN || n < TURN) {
        for (size_t i = 0; i < m; i++) {
            for (size_t j = 0; j < n; j++) {
                out[j * out_step + i] = x[i * x_step + j];
            }
        }
        return;
    }
    /* Along the closer rows first; the last blocks overlap. */
    bool down = out_step > x_step;
    size_t outer = down ? n : m;
    size_t inner = down ? m : n;
    for (size_t k = 0; k < outer; k += TURN) {
        size_t a = k + TURN <= outer ? k : outer - TURN;
        for (size_t l = 0; l < inner; l += TURN) {
            size_t b = l + TURN <= inner ? l : inner - TURN;
            size_t i = down ? b : a;
            size_t j = down ? a : b;
            turn_block(out + j * out_step + i, out_step, x + i * x_step + j,
                       x_step);
        }
    }
}

/* Planes x [channels, rows, width] into the middle of an image of `lanes`
 * channels side by side, image_width pixels a row. */
static void interleave(float *image, size_t image_width, size_t lanes,
                       const float *x, size_t channels, size_t rows,
                       size_t width)
{
    if (image_width == width) {
        turn(image, lanes, x, rows * width, channels, rows * width);
        return;
    }
    for (size_t y = 0; y < rows; y++) {
        turn(image + y * image_width * lanes, lanes, x + y * width,
             rows * width, channels, width);
    }
}

/* And back. */
static void separate(float *x, const float *image, size_t image_width,
                     size_t lanes, size_t channels, size_t rows, size_t width)
{
    if (image_width == width) {
        turn(x, rows * width, image, lanes, rows * width, channels);
        return;
    }
    for (size_t y = 0; y < rows; y++) {
        turn(x + y * width, rows * width, image + y * image_width * lanes,
             lanes, width, channels);
    }
}

/* Where x begins in an image with its padding. */
static size_t inside(const tb_conv_winograd *q)
{
    const tb_conv *c = q->conv;
    return (c->pad[1] * q->in_width + c->pad[2]) * q->in_lanes;
}

static void load_input(const tb_conv_winograd *q, const float *x)
{
    interleave(q->in_image + inside(q), q->in_width, q->in_lanes, x,
               q->in_group, q->conv->in[1], q->conv->in[2]);
}

static void clear_images(const tb_conv_winograd *q)
{
    memset(q->in_image, 0,
           q->in_rows * q->in_width * q->in_lanes * sizeof(float));
    memset(q->out_image, 0,
           q->out_rows * q->out_width * q->out_lanes * sizeof(float));
}

/* --- tiles ---------------------------------------------------------------- */

/* Tile t of an image; lane: the first of WIDTH channels. */
static grid input_tile(const tb_conv_winograd *q, float *image, size_t t,
                       size_t lane)
{
    size_t y = t / q->tiles_x * q->m;
    size_t x = t % q->tiles_x * q->m;
    return (grid){image + (y * q->in_width + x) * q->in_lanes + lane,
                  q->in_width * q->in_lanes, q->in_lanes};
}

static grid output_tile(const tb_conv_winograd *q, size_t t, size_t lane)
{
    size_t y = t / q->tiles_x * q->m;
    size_t x = t % q->tiles_x * q->m;
    return (grid){q->out_image + (y * q->out_width + x) * q->out_lanes + lane,
                  q->out_width * q->out_lanes, q->out_lanes};
}

/* Row i of a block at all points. */
static grid in_points(const tb_conv_winograd *q, size_t i, size_t lane)
{
    return (grid){q->v + i * q->in_lanes + lane, q->n * q->v_step, q->v_step};
}

static grid out_points(const tb_conv_winograd *q, size_t i, size_t lane)
{
    return (grid){q->mm + i * q->out_lanes + lane, q->n * q->m_step, q->m_step};
}

/* --- weights -------------------------------------------------------------- */

/* u at all points for one row of the products (a channel on the side that is
 * summed over) from taps [r, r, lanes]: [points, panels, n_rows, PANEL]. */
static void put_weights(const tb_conv_winograd *q, size_t row, size_t n_rows,
                        size_t lanes)
{
    for (size_t lane = 0; lane < lanes; lane += WIDTH) {
        size_t panel = lane / PANEL * n_rows + row;
        grid from = {q->taps + lane, q->r * lanes, lanes};
        grid to = {q->u + panel * PANEL + lane % PANEL, q->n * q->u_step,
                   q->u_step};
        weights_at(&to, &from, q->r, q->n);
    }
}

/* w [out_group, in_group, r, r]: sums over the input's channels. */
static void weights_forward(const tb_conv_winograd *q, const float *w)
{
    size_t taps = q->r * q->r;
    memset(q->taps, 0, taps * q->out_lanes * sizeof(float));
    for (size_t c = 0; c < q->in_group; c++) {
        turn(q->taps, q->out_lanes, w + c * taps, q->in_group * taps,
             q->out_group, taps);
        put_weights(q, c, q->in_group, q->out_lanes);
    }
}

/* The same seen from the other side: sums over the output's channels. */
static void weights_backward(const tb_conv_winograd *q, const float *w)
{
    size_t taps = q->r * q->r;
    memset(q->taps, 0, taps * q->in_lanes * sizeof(float));
    for (size_t k = 0; k < q->out_group; k++) {
        turn(q->taps, q->in_lanes, w + k * q->in_group * taps, taps,
             q->in_group, taps);
        put_weights(q, k, q->out_group, q->in_lanes);
    }
}

/* dw = G' du G */
static void weights_gradient(const tb_conv_winograd *q, float *dw)
{
    size_t taps = q->r * q->r;
    for (size_t c = 0; c < q->in_group; c++) {
        for (size_t lane = 0; lane < q->out_lanes; lane += WIDTH) {
            grid from = {q->du + c * q->out_lanes + lane, q->n * q->du_step,
                         q->du_step};
            grid to = {q->taps + lane, q->r * q->out_lanes, q->out_lanes};
            weights_at_turned(&to, &from, q->r, q->n);
        }
        turn(dw + c * taps, q->in_group * taps, q->taps, q->out_lanes, taps,
             q->out_group);
    }
}

/* --- forward -------------------------------------------------------------- */

/* Tile t of all images of a group begins or ends image t / tiles. */
typedef struct pass {
    const tb_conv_winograd *q;
    size_t x_step; /* floats from one image of the group to the next */
    size_t y_step;
    size_t group;
    size_t from; /* first tile of the block */
    size_t n;    /* tiles of the block */
} pass;

/* v = B' d B for the tiles of a block */
static void read_inputs(const pass *p, const float *x)
{
    const tb_conv_winograd *q = p->q;
    for (size_t i = 0; i < p->n; i++) {
        size_t t = (p->from + i) % q->tiles;
        if (t == 0) {
            load_input(q, x + (p->from + i) / q->tiles * p->x_step);
        }
        for (size_t lane = 0; lane < q->in_lanes; lane += WIDTH) {
            grid from = input_tile(q, q->in_image, t, lane);
            grid to = in_points(q, i, lane);
            inputs(&to, &from, q->n);
        }
    }
}

static void write_outputs(const pass *p, const float *bias, float *y)
{
    const tb_conv_winograd *q = p->q;
    const tb_conv *c = q->conv;
    size_t pixels = c->out[1] * c->out[2];
    for (size_t i = 0; i < p->n; i++) {
        size_t t = (p->from + i) % q->tiles;
        for (size_t lane = 0; lane < q->out_lanes; lane += WIDTH) {
            grid from = out_points(q, i, lane);
            grid to = output_tile(q, t, lane);
            outputs_at_turned(&to, &from, q->m, q->n);
        }
        if (t + 1 == q->tiles) {
            float *at = y + (p->from + i) / q->tiles * p->y_step;
            separate(at, q->out_image, q->out_width, q->out_lanes, q->out_group,
                     c->out[1], c->out[2]);
            if (tb_conv_ends(c, bias)) {
                finish(c, at, p->group * q->out_group, q->out_group, pixels,
                       pixels, bias);
            }
        }
    }
}

/* All images of one group. */
static void forward_group(pass p, const float *x, const float *w,
                          const float *bias, float *y)
{
    const tb_conv_winograd *q = p.q;
    weights_forward(q, w);
    for (p.from = 0; p.from < q->tiles * q->conv->batch; p.from += p.n) {
        size_t left = q->tiles * q->conv->batch - p.from;
        p.n = left < q->block ? left : q->block;
        read_inputs(&p, x);
        for (size_t i = 0; i < q->points; i++) {
            multiply_all((product){.a = q->v + i * q->v_step,
                                   .a_i = q->in_lanes,
                                   .a_p = 1,
                                   .panel = q->u + i * q->u_step,
                                   .panel_p = PANEL,
                                   .k = q->in_group,
                                   .c = q->mm + i * q->m_step,
                                   .c_i = q->out_lanes},
                         p.n, q->out_lanes, q->in_group * PANEL);
        }
        write_outputs(&p, bias, y);
    }
}

static pass start(const tb_conv_winograd *q)
{
    const tb_conv *c = q->conv;
    return (pass){.q = q,
                  .x_step = c->in_channels * c->in[1] * c->in[2],
                  .y_step = c->out_channels * c->out[1] * c->out[2]};
}

static void winograd_forward(const tb_conv *c, const float *x, const float *w,
                             const float *bias, float *y, float *work)
{
    tb_conv_winograd q;
    tb_conv_winograd_layout(&q, c, TB_CONV_Y, work);
    clear_images(&q);
    for (size_t g = 0; g < c->groups; g++) {
        pass p = start(&q);
        p.group = g;
        forward_group(p, x + g * q.in_group * c->in[1] * c->in[2],
                      w + g * q.out_group * q.in_group * q.r * q.r, bias,
                      y + g * q.out_group * c->out[1] * c->out[2]);
    }
}

/* --- backward ------------------------------------------------------------- */

/* mm = A dy A' for the tiles of a block */
static void read_gradients(const pass *p, const float *dy)
{
    const tb_conv_winograd *q = p->q;
    const tb_conv *c = q->conv;
    for (size_t i = 0; i < p->n; i++) {
        size_t t = (p->from + i) % q->tiles;
        if (t == 0) {
            interleave(q->out_image, q->out_width, q->out_lanes,
                       dy + (p->from + i) / q->tiles * p->y_step, q->out_group,
                       c->out[1], c->out[2]);
        }
        for (size_t lane = 0; lane < q->out_lanes; lane += WIDTH) {
            grid from = output_tile(q, t, lane);
            grid to = out_points(q, i, lane);
            outputs_at(&to, &from, q->m, q->n);
        }
    }
}

/* du += v' mm, over the tiles of a block */
static void add_weights(const pass *p)
{
    const tb_conv_winograd *q = p->q;
    for (size_t i = 0; i < q->points; i++) {
        multiply_and_add((product){.a = q->v + i * q->v_step,
                                   .a_i = 1,
                                   .a_p = q->in_lanes,
                                   .panel = q->mm + i * q->m_step,
                                   .panel_p = q->out_lanes,
                                   .k = p->n,
                                   .c = q->du + i * q->du_step,
                                   .c_i = q->out_lanes},
                         q->in_group, q->out_lanes, PANEL);
    }
}

/* dx of the tiles of a block: v = mm u', then B v B' added where it lies. */
static void write_inputs(const pass *p, float *dx)
{
    const tb_conv_winograd *q = p->q;
    const tb_conv *c = q->conv;
    for (size_t i = 0; i < q->points; i++) {
        multiply_all((product){.a = q->mm + i * q->m_step,
                               .a_i = q->out_lanes,
                               .a_p = 1,
                               .panel = q->u + i * q->u_step,
                               .panel_p = PANEL,
                               .k = q->out_group,
                               .c = q->v + i * q->v_step,
                               .c_i = q->in_lanes},
                     p->n, q->in_lanes, q->out_group * PANEL);
    }
    for (size_t i = 0; i < p->n; i++) {
        size_t t = (p->from + i) % q->tiles;
        if (t == 0) {
            memset(q->dx_image, 0,
                   q->in_rows * q->in_width * q->in_lanes * sizeof(float));
        }
        for (size_t lane = 0; lane < q->in_lanes; lane += WIDTH) {
            grid from = in_points(q, i, lane);
            grid to = input_tile(q, q->dx_image, t, lane);
            inputs_turned(&to, &from, q->n);
        }
        if (t + 1 == q->tiles) {
            separate(dx + (p->from + i) / q->tiles * p->x_step,
                     q->dx_image + inside(q), q->in_width, q->in_lanes,
                     q->in_group, c->in[1], c->in[2]);
        }
    }
}

static void backward_group(pass p, const tb_conv_grads *g)
{
    const tb_conv_winograd *q = p.q;
    if (g->dx != NULL) {
        weights_backward(q, g->w);
    }
    if (g->dw != NULL) {
        memset(q->du, 0, q->points * q->du_step * sizeof(float));
    }
    for (p.from = 0; p.from < q->tiles * q->conv->batch; p.from += p.n) {
        size_t left = q->tiles * q->conv->batch - p.from;
        p.n = left < q->block ? left : q->block;
        read_gradients(&p, g->dy);
        if (g->dw != NULL) {
            read_inputs(&p, g->x);
            add_weights(&p);
        }
        if (g->dx != NULL) {
            write_inputs(&p, g->dx);
        }
    }
    if (g->dw != NULL) {
        weights_gradient(q, g->dw);
    }
}

static void winograd_backward(const tb_conv *c, const tb_conv_grads *all,
                              float *work)
{
    tb_conv_winograd q;
    tb_conv_winograd_layout(&q, c, TB_CONV_DX | TB_CONV_DW, work);
    clear_images(&q);
    for (size_t g = 0; g < c->groups; g++) {
        size_t x = g * q.in_group * c->in[1] * c->in[2];
        size_t y = g * q.out_group * c->out[1] * c->out[2];
        size_t w = g * q.out_group * q.in_group * q.r * q.r;
        tb_conv_grads one = {.dy = all->dy + y};
        if (all->dw != NULL) {
            one.x = all->x + x;
            one.dw = all->dw + w;
        }
        if (all->dx != NULL) {
            one.w = all->w + w;
            one.dx = all->dx + x;
        }
        if (q.together || one.dx == NULL || one.dw == NULL) {
            backward_group(start(&q), &one);
        } else {
            tb_conv_grads dw = {.x = one.x, .dy = one.dy, .dw = one.dw};
            tb_conv_grads dx = {.w = one.w, .dy = one.dy, .dx = one.dx};
            backward_group(start(&q), &dw);
            backward_group(start(&q), &dx);
        }
    }
}
