/* core/tensor/pool_priv.h - the loops that each instruction set fills; for
 * pool.c and the tests only. */
#ifndef TB_TENSOR_POOL_PRIV_H
#define TB_TENSOR_POOL_PRIV_H

#include "tensor/kernels_priv.h"
#include "tensor/pool.h"

#define TB_POOL_RUN 4

/* Windows of 2 x 2 side by side, at least TB_POOL_RUN in a row; no padding
 * before. */
typedef struct tb_pool_set {
    const tb_k_set *loops; /* usable where these are */
    void (*max_2x2)(const tb_pool *, const float *x, float *y, uint8_t *taps);
    void (*max_2x2_grad)(const tb_pool *, const float *dy, const uint8_t *taps,
                         float *dx);
    void (*average_2x2)(const tb_pool *, const float *x, float *y);
    void (*average_2x2_grad)(const tb_pool *, const float *dy, float *dx);
} tb_pool_set;

extern const tb_pool_set tb_pool_avx512, tb_pool_avx2, tb_pool_portable;

/* Fastest first; *n is how many were built in. */
const tb_pool_set *const *tb_pool_sets(size_t *n);

#endif
