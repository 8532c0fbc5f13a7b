/* core/tensor/gemm.h - product of two float32 matrices, row-major, on the
 * calling thread only. Our kernels (AVX2, AVX-512) make each element by one
 * chain of fused multiply-adds over k, cut every TB_GEMM_CHUNK terms: so its
 * bits depend neither on the rows beside it nor on which of the two ran. Other
 * CPUs go to CBLAS, where that is not promised. Safe from any thread. */
#ifndef TB_TENSOR_GEMM_H
#define TB_TENSOR_GEMM_H

#include <stdbool.h>
#include <stddef.h>

#include "base/attr.h"

#define TB_GEMM_CHUNK 512

typedef struct tb_gemm_shape {
    bool trans_a;  /* a is [k, m] instead of [m, k] */
    bool trans_b;  /* b is [n, k] instead of [k, n] */
    size_t m;      /* rows of c */
    size_t n;      /* columns of c */
    size_t k;      /* terms of each sum */
    size_t a_step; /* floats from one stored row of a to the next */
    size_t b_step;
    size_t c_step;
} tb_gemm_shape;

/* The shape of dense matrices, without gaps between rows. */
tb_gemm_shape tb_gemm_dense(bool trans_a, bool trans_b, size_t m, size_t n,
                            size_t k);

/* c = alpha * op(a) op(b) + beta * c. c [m, n] must not overlap a or b. With
 * beta 0, c may hold anything before; with k 0, only beta acts. Sizes stay
 * under 2^31 (a promise of our own code: model limits are far below). */
void tb_gemm(const tb_gemm_shape *shape, float alpha, const float *a,
             const float *b, float beta, float *c) TB_NONNULL(1, 3, 4, 6);

/* The same by three plain loops: slow, and the oracle of the tests. */
void tb_gemm_naive(const tb_gemm_shape *shape, float alpha, const float *a,
                   const float *b, float beta, float *c) TB_NONNULL(1, 3, 4, 6);

#endif
