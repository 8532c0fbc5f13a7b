/* core/tensor/conv_winograd.c - which geometries Winograd's algorithm takes,
 * and its scratch memory; conv_winograd.h has the passes. */
#include "tensor/conv_priv.h"

#define CHANNELS_MIN 8     /* fewer leave most of each vector empty */
#define BLOCK_FLOATS 98304 /* both sides of a block of tiles in half an L2 */
#define BLOCK_STEP   12
#define BLOCK_MAX    48
#define TOGETHER_MAX 1536 /* weights and their gradient fit into the rest */

static size_t round_up(size_t n, size_t to)
{
    return (n + to - 1) / to * to;
}

/* 3 x 3 or 5 x 5, one step at a time, and windows that reach over the whole
 * input. */
static bool fits(const tb_conv *c)
{
    bool yes = c->in_channels / c->groups >= CHANNELS_MIN &&
               c->out_channels / c->groups >= CHANNELS_MIN && c->in[0] == 1 &&
               c->out[0] == 1 && c->kernel[0] == 1 && c->pad[0] == 0 &&
               c->kernel[1] == c->kernel[2] &&
               (c->kernel[2] == 3 || c->kernel[2] == 5);
    for (size_t d = 1; d < TB_CONV_DIMS; d++) {
        yes = yes && c->stride[d] == 1 && c->dilation[d] == 1 &&
              tb_conv_reach(c, d) >= c->pad[d] + c->in[d];
    }
    return yes;
}

/* Tiles at a time: as many as stay in the cache, or where weights are so many
 * that they do not, enough to read either side as often as the other. */
static size_t choose_block(size_t points, size_t in, size_t out)
{
    size_t fit = BLOCK_FLOATS / (points * (in + out));
    size_t even = in * out / (in + out);
    size_t n = (fit > even ? fit : even) / BLOCK_STEP * BLOCK_STEP;
    n = n < BLOCK_STEP ? BLOCK_STEP : n;
    return n > BLOCK_MAX ? BLOCK_MAX : n;
}

/* a * b floats of work, NULL where that is only counted. */
static void place(float **out, tb_conv_space *space, float *work, size_t a,
                  size_t b)
{
    size_t at = tb_conv_take(space, a, b, 1, 1);
    *out = work == NULL ? NULL : work + at;
}

size_t tb_conv_winograd_layout(tb_conv_winograd *q, const tb_conv *c,
                               unsigned parts, float *work)
{
    tb_conv_space space = {0};
    bool back = (parts & (TB_CONV_DX | TB_CONV_DW)) != 0;
    *q = (tb_conv_winograd){.conv = c,
                            .r = c->kernel[2],
                            .in_group = c->in_channels / c->groups,
                            .out_group = c->out_channels / c->groups};
    q->n = c->exact && q->r == 3 ? 4 : TB_CONV_TILE;
    q->m = q->n + 1 - q->r;
    q->points = q->n * q->n;
    q->tiles_x = (c->out[2] + q->m - 1) / q->m;
    q->tiles = (c->out[1] + q->m - 1) / q->m * q->tiles_x;
    q->in_width = q->tiles_x * q->m + q->r - 1;
    q->out_width = q->tiles_x * q->m;
    q->in_lanes = round_up(q->in_group, TB_CONV_LANES);
    q->out_lanes = round_up(q->out_group, TB_CONV_LANES);
    q->block = choose_block(q->points, q->in_lanes, q->out_lanes);
    q->together = q->in_lanes * q->out_lanes <= TOGETHER_MAX;
    q->v_step = q->block * q->in_lanes + TB_CONV_LANES;
    q->m_step = q->block * q->out_lanes + TB_CONV_LANES;
    q->out_rows = q->tiles / q->tiles_x * q->m;
    q->in_rows = q->out_rows + q->r - 1;
    size_t panels = round_up(back ? q->in_lanes : q->out_lanes, TB_CONV_PANEL);
    q->u_step = (back ? q->out_lanes : q->in_lanes) * panels + TB_CONV_LANES;
    q->du_step = q->in_lanes * q->out_lanes + TB_CONV_LANES;
    place(&q->in_image, &space, work, q->in_rows * q->in_width, q->in_lanes);
    place(&q->out_image, &space, work, q->out_rows * q->out_width,
          q->out_lanes);
    place(&q->v, &space, work, q->points, q->v_step);
    place(&q->mm, &space, work, q->points, q->m_step);
    place(&q->taps, &space, work, q->r * q->r,
          q->in_lanes > q->out_lanes ? q->in_lanes : q->out_lanes);
    place(&q->u, &space, work, q->points, q->u_step);
    if (back) {
        place(&q->du, &space, work, q->points, q->du_step);
        place(&q->dx_image, &space, work, q->in_rows * q->in_width,
              q->in_lanes);
    }
    return tb_conv_taken(&space);
}

static size_t plan(const tb_conv *c, unsigned parts)
{
    tb_conv_winograd q;
    return tb_conv_winograd_layout(&q, c, parts, NULL);
}

static void forward(const tb_conv_set *set, const tb_conv *c, const float *x,
                    const float *w, const float *bias, float *y, void *work)
{
    set->winograd_forward(c, x, w, bias, y, work);
}

static void backward(const tb_conv_set *set, const tb_conv *c,
                     const tb_conv_grads *g, void *work)
{
    set->winograd_backward(c, g, work);
}

const tb_conv_way tb_conv_by_winograd = {.name = "winograd",
                                         .fits = fits,
                                         .plan = plan,
                                         .forward = forward,
                                         .backward = backward};
