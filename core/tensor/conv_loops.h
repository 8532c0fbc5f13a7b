/* core/tensor/conv_loops.h - the plain loops around a convolution, included by
 * one .c file an instruction set, which the compiler vectorises for that set.
 * The includer defines CONV_SET, the table to fill, CONV_LOOPS, the set of
 * kernels.h that it goes with, and what conv_winograd.h needs. */
#include "tensor/conv_priv.h"

static float clamped(float v, float low, float high)
{
    v = v < low ? low : v; /* NaN stays */
    return v > high ? high : v;
}

/* y = (y + b - mean) scale + shift, the line being that of channel `at` */
static void normalise(float *y, size_t n, const tb_conv_norm *norm, size_t at,
                      float b)
{
    const float mean = norm->mean[at];
    const float scale = norm->scale[at];
    const float shift = norm->shift[at];
    for (size_t i = 0; i < n; i++) {
        y[i] = ((y[i] + b) - mean) * scale + shift;
    }
}

static void finish(const tb_conv *c, float *y, size_t first, size_t n_rows,
                   size_t n, size_t step, const float *bias)
{
    for (size_t r = 0; r < n_rows; r++, y += step) {
        float b = bias == NULL ? 0.0f : bias[first + r];
        if (c->norm != NULL) {
            normalise(y, n, c->norm, first + r, b);
            b = 0.0f;
        }
        if (c->clamp) {
            for (size_t i = 0; i < n; i++) {
                y[i] = clamped(y[i] + b, c->low, c->high);
            }
        } else if (c->norm == NULL) {
            for (size_t i = 0; i < n; i++) {
                y[i] = y[i] + b;
            }
        }
    }
}

#include "tensor/conv_winograd.h"

#include "tensor/conv_depthwise.h"

const tb_conv_set CONV_SET = {.loops = &CONV_LOOPS,
                              .finish = finish,
                              .winograd_forward = winograd_forward,
                              .winograd_backward = winograd_backward,
                              .depthwise_forward = depthwise_forward,
                              .depthwise_backward = depthwise_backward};
