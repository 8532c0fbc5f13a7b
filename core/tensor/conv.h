/* core/tensor/conv.h - convolution of float32 arrays over one to three spatial
 * dimensions, forward and backward, on the calling thread only. Winograd's
 * algorithm for small square kernels, direct loops for depthwise ones, products
 * of matrices for the rest: which one runs follows from the geometry and never
 * from the batch, so a row's bits do not depend on the rows beside it. No
 * allocation, no failure: tb_conv_plan tells the scratch memory first. Safe
 * from any thread. */
#ifndef TB_TENSOR_CONV_H
#define TB_TENSOR_CONV_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

#define TB_CONV_DIMS 3

/* A line for each output channel: y = (y - mean) scale + shift. */
typedef struct tb_conv_norm {
    const float *mean; /* [out_channels] each */
    const float *scale;
    const float *shift;
} tb_conv_norm;

/* The geometry, as ONNX's Conv has it: out[d] windows of
 * (kernel[d] - 1) * dilation[d] + 1 elements, stride[d] apart, the first one
 * pad[d] elements before the input; what lies outside the input is 0. Of fewer
 * than three spatial dimensions the leading ones are 1 (pad 0). */
typedef struct tb_conv {
    size_t batch;
    size_t groups;
    size_t in_channels; /* of all groups together */
    size_t out_channels;
    size_t in[TB_CONV_DIMS];
    size_t out[TB_CONV_DIMS];
    size_t kernel[TB_CONV_DIMS];
    size_t stride[TB_CONV_DIMS];
    size_t dilation[TB_CONV_DIMS];
    size_t pad[TB_CONV_DIMS];
    const tb_conv_norm *norm; /* what the forward pass does behind the bias;
                               * NULL: nothing */
    bool clamp; /* the forward pass ends in y = min(max(y, low), high) */
    float low;  /* 0 and infinity: Relu */
    float high;
    /* 3 x 3 kernels by Winograd's algorithm in tiles of 4, not of 6, whose
     * rounding error is more than twice as large: for training, where an error
     * moves sums over a Relu's kink and grows from layer to layer. */
    bool exact;
} tb_conv;

/* What a call computes, to be joined by |. */
enum { TB_CONV_Y = 1, TB_CONV_DX = 2, TB_CONV_DW = 4 };

/* Bytes of scratch memory that the calls of `parts` need (the largest). Sizes
 * in conv are above 0, but for the batch. Errors: LIMIT (an overflow, or an
 * extent of 2^31 or more). */
tb_rc tb_conv_plan(size_t *work_bytes, const tb_conv *conv, unsigned parts,
                   tb_err *err) TB_NONNULL(1, 2) TB_MUST_CHECK;

/* y [batch, out_channels, out...] from x [batch, in_channels, in...], w
 * [out_channels, in_channels / groups, kernel...] and bias [out_channels],
 * which may be NULL. y must not overlap the others. work: scratch memory on a
 * 64-byte border, any content; NULL where the plan said 0 bytes. */
void tb_conv_forward(const tb_conv *conv, const float *x, const float *w,
                     const float *bias, float *y, void *work)
    TB_NONNULL(1, 2, 3, 5);

/* The operands of the backward pass. */
typedef struct tb_conv_grads {
    const float *x;  /* may be NULL without dw */
    const float *w;  /* may be NULL without dx */
    const float *dy; /* gradient of y, before any clamp */
    float *dx;       /* each NULL: not wanted */
    float *dw;
    float *db;
} tb_conv_grads;

/* dx, dw and db, each overwritten, from dy: dx[i] = sum of w[k] dy[o] and
 * dw[k] = sum of x[i] dy[o] over all (i, k, o) that meet; db[c] = sum of dy. */
void tb_conv_backward(const tb_conv *conv, const tb_conv_grads *grads,
                      void *work) TB_NONNULL(1, 2);

/* db[c] = sum of dy [batch, channels, pixels] over batch and pixels. */
void tb_conv_bias_grad(float *db, const float *dy, size_t batch,
                       size_t channels, size_t pixels) TB_NONNULL(1, 2);

/* y [n_rows, n] = clamp(y + bias[r]): the end of a pass that has no line of
 * norm; bias may be NULL. */
void tb_conv_finish(const tb_conv *conv, float *y, size_t n_rows, size_t n,
                    const float *bias) TB_NONNULL(1, 2);

/* All of it by plain loops in double, without clamp and bias: slow, and the
 * oracle of the tests. y, dx, dw: each may be NULL; x, w, dy as they need. */
void tb_conv_naive(const tb_conv *conv, const float *x, const float *w,
                   const float *dy, double *y, double *dx, double *dw)
    TB_NONNULL(1);

#endif
