/* core/tensor/conv_depthwise.c - which geometries are convolved plane by plane,
 * and their scratch memory; conv_depthwise.h has the passes. */
#include "tensor/conv_priv.h"

#define OUT_GROUP_MAX 4

/* Groups of one input channel each, kernels that fit into registers, and
 * padding within a window. */
static bool fits(const tb_conv *c)
{
    bool yes = c->groups == c->in_channels &&
               c->out_channels / c->groups <= OUT_GROUP_MAX &&
               tb_conv_volume(c->kernel) <= TB_CONV_TAPS_MAX && c->in[0] == 1 &&
               c->out[0] == 1 && c->kernel[0] == 1 && c->pad[0] == 0;
    for (size_t d = 1; d < TB_CONV_DIMS; d++) {
        yes = yes && c->pad[d] <= (c->kernel[d] - 1) * c->dilation[d];
    }
    return yes;
}

/* Floats of a row of one phase: n of them, and room for a vector more. */
static size_t room(size_t n)
{
    return (n + 2 * TB_CONV_LANES - 1) / TB_CONV_LANES * TB_CONV_LANES;
}

size_t tb_conv_depthwise_layout(tb_conv_depthwise *q, const tb_conv *c,
                                float *work)
{
    tb_conv_space space = {0};
    size_t spread[TB_CONV_DIMS];
    for (size_t d = 0; d < TB_CONV_DIMS; d++) {
        spread[d] = c->in[d] + (c->kernel[d] - 1) * c->dilation[d];
    }
    *q = (tb_conv_depthwise){.conv = c,
                             .taps = tb_conv_volume(c->kernel),
                             .multiple = c->out_channels / c->groups,
                             .x = {tb_conv_reach(c, 1), c->stride[2],
                                   room(tb_conv_reach(c, 2) / c->stride[2] + 1),
                                   NULL},
                             .dy = {c->out[1], 1, room(c->out[2]), NULL},
                             .spread = {spread[1], 1, room(spread[2]), NULL}};
    tb_conv_plane *planes[] = {&q->x, &q->dy, &q->spread};
    for (size_t i = 0; i < sizeof planes / sizeof planes[0]; i++) {
        tb_conv_plane *p = planes[i];
        size_t at = tb_conv_take(&space, p->rows, p->phases, p->step, 1);
        p->data = work == NULL ? NULL : work + at;
    }
    size_t at =
        tb_conv_take(&space, c->out_channels, q->taps, TB_CONV_LANES, 1);
    q->sums = work == NULL ? NULL : work + at;
    return tb_conv_taken(&space);
}

static size_t plan(const tb_conv *c, unsigned parts)
{
    tb_conv_depthwise q;
    (void)parts; /* all fits into what the gradient of the weights needs */
    return tb_conv_depthwise_layout(&q, c, NULL);
}

static void forward(const tb_conv_set *set, const tb_conv *c, const float *x,
                    const float *w, const float *bias, float *y, void *work)
{
    set->depthwise_forward(c, x, w, bias, y, work);
}

static void backward(const tb_conv_set *set, const tb_conv *c,
                     const tb_conv_grads *g, void *work)
{
    set->depthwise_backward(c, g, work);
}

const tb_conv_way tb_conv_by_planes = {.name = "depthwise",
                                       .fits = fits,
                                       .plan = plan,
                                       .forward = forward,
                                       .backward = backward};
