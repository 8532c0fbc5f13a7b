/* core/tensor/pool.h - maximum and average of float32 windows over one to three
 * spatial dimensions, forward and backward, on the calling thread only. No
 * allocation, no failure; planes never mix. Safe from any thread. */
#ifndef TB_TENSOR_POOL_H
#define TB_TENSOR_POOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"

#define TB_POOL_DIMS 3

/* Windows as those of tb_conv, each on one plane alone; sizes are above 0 and
 * under 2^31. */
typedef struct tb_pool {
    size_t planes; /* batch times channels */
    size_t in[TB_POOL_DIMS];
    size_t out[TB_POOL_DIMS];
    size_t kernel[TB_POOL_DIMS];
    size_t stride[TB_POOL_DIMS];
    size_t dilation[TB_POOL_DIMS];
    size_t pad[TB_POOL_DIMS];
    size_t pad_end[TB_POOL_DIMS];
    bool count_pad; /* the average counts padding, as zeros */
} tb_pool;

/* Bytes that tell the taps of a window apart: 1 or 4. */
size_t tb_pool_tap_bytes(const tb_pool *pool) TB_NONNULL(1);

/* y [planes, out...] = the largest of x [planes, in...] in each window, NaN if
 * one is there, -infinity where a window meets padding only. taps (may be
 * NULL): which element of the kernel it was, the first of equal ones; uint8 or
 * uint32, as tb_pool_tap_bytes says. */
void tb_pool_max(const tb_pool *pool, const float *x, float *y, void *taps)
    TB_NONNULL(1, 2, 3);

/* dx [planes, in...]: each dy added where its taps say. */
void tb_pool_max_grad(const tb_pool *pool, const float *dy, const void *taps,
                      float *dx) TB_NONNULL(1, 2, 3, 4);

/* Where in a plane of x window o (a pixel of y) has tap t; SIZE_MAX: in the
 * padding. column_major: the first spatial dimension runs fastest. */
size_t tb_pool_index(const tb_pool *pool, size_t o, size_t t, bool column_major)
    TB_NONNULL(1);

/* y = the mean of x in each window, over what lies inside x, or with count_pad
 * inside x and its padding. 0 where that is nothing. */
void tb_pool_average(const tb_pool *pool, const float *x, float *y)
    TB_NONNULL(1, 2, 3);

/* dx = the sum of dy over the windows that x lies in, each divided by what its
 * mean was over. */
void tb_pool_average_grad(const tb_pool *pool, const float *dy, float *dx)
    TB_NONNULL(1, 2, 3);

#endif
