/* core/tensor/conv_naive.c - the convolution as its definition says, one
 * multiplication at a time. */
#include <string.h>

#include "tensor/conv.h"

/* One meeting of an input element, a weight and an output element. */
typedef struct meeting {
    size_t x;
    size_t w;
    size_t y;
} meeting;

static size_t volume(const size_t extent[TB_CONV_DIMS])
{
    return extent[0] * extent[1] * extent[2];
}

static void unfold(size_t at[TB_CONV_DIMS], size_t i,
                   const size_t extent[TB_CONV_DIMS])
{
    for (size_t d = TB_CONV_DIMS; d-- > 0;) {
        at[d] = i % extent[d];
        i /= extent[d];
    }
}

/* Where window o and tap k meet the input; false: beside it. */
static bool meet(size_t *i, const tb_conv *c, size_t o, size_t k)
{
    size_t out[TB_CONV_DIMS];
    size_t tap[TB_CONV_DIMS];
    unfold(out, o, c->out);
    unfold(tap, k, c->kernel);
    *i = 0;
    for (size_t d = 0; d < TB_CONV_DIMS; d++) {
        size_t at = out[d] * c->stride[d] + tap[d] * c->dilation[d];
        if (at < c->pad[d] || at - c->pad[d] >= c->in[d]) {
            return false;
        }
        *i = *i * c->in[d] + at - c->pad[d];
    }
    return true;
}

/* Every window o and tap k of one plane of x, one of w and one of y. */
static void plane(const tb_conv *c, meeting at, const float *x, const float *w,
                  const float *dy, double *y, double *dx, double *dw)
{
    for (size_t o = 0; o < volume(c->out); o++) {
        for (size_t k = 0; k < volume(c->kernel); k++) {
            size_t i = 0;
            if (!meet(&i, c, o, k)) {
                continue;
            }
            if (y != NULL) {
                y[at.y + o] += (double)x[at.x + i] * (double)w[at.w + k];
            }
            if (dx != NULL) {
                dx[at.x + i] += (double)dy[at.y + o] * (double)w[at.w + k];
            }
            if (dw != NULL) {
                dw[at.w + k] += (double)dy[at.y + o] * (double)x[at.x + i];
            }
        }
    }
}

static void clear(double *p, size_t n)
{
    if (p != NULL) {
        memset(p, 0, n * sizeof *p);
    }
}

void tb_conv_naive(const tb_conv *c, const float *x, const float *w,
                   const float *dy, double *y, double *dx, double *dw)
{
    size_t per_group = c->in_channels / c->groups;
    size_t out_group = c->out_channels / c->groups;
    clear(y, c->batch * c->out_channels * volume(c->out));
    clear(dx, c->batch * c->in_channels * volume(c->in));
    clear(dw, c->out_channels * per_group * volume(c->kernel));
    for (size_t n = 0; n < c->batch; n++) {
        for (size_t m = 0; m < c->out_channels; m++) {
            for (size_t k = 0; k < per_group; k++) {
                size_t channel = m / out_group * per_group + k;
                meeting at = {.x = (n * c->in_channels + channel) *
                                   volume(c->in),
                              .w = (m * per_group + k) * volume(c->kernel),
                              .y = (n * c->out_channels + m) * volume(c->out)};
                plane(c, at, x, w, dy, y, dx, dw);
            }
        }
    }
}
