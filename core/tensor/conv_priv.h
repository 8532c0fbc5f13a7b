/* core/tensor/conv_priv.h - what conv.c, the ways to convolve and the kernels
 * of each instruction set agree on; for them and the tests only. */
#ifndef TB_TENSOR_CONV_PRIV_H
#define TB_TENSOR_CONV_PRIV_H

#include "tensor/conv.h"
#include "tensor/kernels_priv.h"

/* The loops that each instruction set fills. */
typedef struct tb_conv_set {
    const tb_k_set *loops; /* usable where these are */
    /* y [n_rows, n], rows step floats apart: output channels first and up end
     * in bias, norm and clamp; bias [out_channels] or NULL. */
    void (*finish)(const tb_conv *, float *y, size_t first, size_t n_rows,
                   size_t n, size_t step, const float *bias);
    void (*winograd_forward)(const tb_conv *, const float *x, const float *w,
                             const float *bias, float *y, float *work);
    void (*winograd_backward)(const tb_conv *, const tb_conv_grads *,
                              float *work);
    void (*depthwise_forward)(const tb_conv *, const float *x, const float *w,
                              const float *bias, float *y, float *work);
    void (*depthwise_backward)(const tb_conv *, const tb_conv_grads *,
                               float *work);
} tb_conv_set;

extern const tb_conv_set tb_conv_avx512, tb_conv_avx2, tb_conv_portable;

/* Fastest first; *n is how many were built in. */
const tb_conv_set *const *tb_conv_sets(size_t *n);

/* The set that goes with tb_k_chosen(). */
const tb_conv_set *tb_conv_chosen(void);

/* One algorithm. */
typedef struct tb_conv_way {
    const char *name;
    bool (*fits)(const tb_conv *);
    /* Scratch memory, SIZE_MAX on overflow. */
    size_t (*plan)(const tb_conv *, unsigned parts);
    void (*forward)(const tb_conv_set *, const tb_conv *, const float *x,
                    const float *w, const float *bias, float *y, void *work);
    /* dx and dw, not db. */
    void (*backward)(const tb_conv_set *, const tb_conv *,
                     const tb_conv_grads *, void *work);
} tb_conv_way;

extern const tb_conv_way tb_conv_by_planes, tb_conv_by_winograd,
    tb_conv_columns;

/* Fastest first; the last of the *n fits all. */
const tb_conv_way *const *tb_conv_ways(size_t *n);

/* Scratch memory in the making: offsets in floats, each on a 64-byte border.
 * Behind each lie TB_CONV_SLACK floats that may be written and read, so that
 * copies may run over an end by less than a vector. */
typedef struct tb_conv_space {
    size_t floats;
    bool over; /* it does not fit into a size_t */
} tb_conv_space;

#define TB_CONV_SLACK 32

/* Takes a * b * c * d floats; returns where they start. */
size_t tb_conv_take(tb_conv_space *space, size_t a, size_t b, size_t c,
                    size_t d);

/* Bytes of all that was taken, SIZE_MAX on overflow. */
size_t tb_conv_taken(const tb_conv_space *space);

/* --- Winograd ------------------------------------------------------------- */

#define TB_CONV_TILE  6  /* a tile of the input is 6 x 6, or less */
#define TB_CONV_LANES 16 /* channels stand side by side in multiples of this */
#define TB_CONV_PANEL 32 /* the widest panel of any instruction set */

/* One pass: geometry of a group's tiles, m x m outputs each, and scratch
 * memory. Images and blocks hold their channels side by side. */
typedef struct tb_conv_winograd {
    const tb_conv *conv;
    size_t r;      /* the kernel is r x r */
    size_t n;      /* a tile of the input is n x n */
    size_t m;      /* r + m - 1 is n */
    size_t points; /* n * n products replace a tile's convolution */
    size_t in_group;
    size_t out_group;
    size_t in_lanes; /* in_group, rounded up */
    size_t out_lanes;
    size_t tiles; /* of an image */
    size_t tiles_x;
    size_t block;  /* tiles at a time */
    bool together; /* both gradients in one go over the tiles */
    size_t in_rows;
    size_t in_width;
    size_t out_rows;
    size_t out_width;
    /* Floats from one point to the next; a vector more than there is, or all
     * points would meet in the same lines of the cache. */
    size_t v_step;
    size_t m_step;
    size_t u_step;
    size_t du_step;
    float *in_image;  /* [in_rows, in_width, in_lanes], with padding */
    float *dx_image;  /* the same, for gradients */
    float *out_image; /* [out_rows, out_width, out_lanes] */
    float *v;         /* [points, block, in_lanes] */
    float *mm;        /* [points, block, out_lanes] */
    float *taps;      /* [r, r, lanes] of one channel's weights */
    float *u;         /* weights: [points, panels, channels, panel] */
    float *du;        /* their gradient: [points, in_lanes, out_lanes] */
} tb_conv_winograd;

/* Lays out work (NULL: only counts); bytes, or SIZE_MAX on overflow. */
size_t tb_conv_winograd_layout(tb_conv_winograd *q, const tb_conv *conv,
                               unsigned parts, float *work);

/* --- depthwise ------------------------------------------------------------ */

#define TB_CONV_TAPS_MAX 64

/* A copy of one plane with its padding. */
typedef struct tb_conv_plane {
    size_t rows;
    size_t phases; /* parts of a row: every phases-th element */
    size_t step;   /* floats from one part to the next, whole vectors */
    float *data;   /* [rows, phases, step] */
} tb_conv_plane;

typedef struct tb_conv_depthwise {
    const tb_conv *conv;
    size_t taps;          /* of a kernel */
    size_t multiple;      /* output channels of each input channel */
    tb_conv_plane x;      /* of the input */
    tb_conv_plane dy;     /* without padding, but for whole vectors */
    tb_conv_plane spread; /* of dy, stride apart */
    float *sums;          /* [out_channels, taps, lanes] gradients of w */
} tb_conv_depthwise;

/* Lays out work (NULL: only counts); bytes, or SIZE_MAX on overflow. */
size_t tb_conv_depthwise_layout(tb_conv_depthwise *q, const tb_conv *conv,
                                float *work);

/* Whether a forward pass has anything to finish. */
static inline bool tb_conv_ends(const tb_conv *c, const float *bias)
{
    return bias != NULL || c->norm != NULL || c->clamp;
}

/* The product of three extents. */
static inline size_t tb_conv_volume(const size_t extent[TB_CONV_DIMS])
{
    return extent[0] * extent[1] * extent[2];
}

/* How far windows reach along d, from the first padding element on. */
static inline size_t tb_conv_reach(const tb_conv *c, size_t d)
{
    return (c->out[d] - 1) * c->stride[d] +
           (c->kernel[d] - 1) * c->dilation[d] + 1;
}

#endif
