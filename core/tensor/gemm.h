/* core/tensor/gemm.h - product of two float32 matrices, row-major, on the
 * calling thread only. Our kernels (AVX2, AVX-512) make each element by one
 * chain of fused multiply-adds over k, cut every TB_GEMM_CHUNK terms; when both
 * operands lie along k (b transposed, a not) and k is TB_GEMM_DOT or more, by
 * 16 such chains. So its bits depend neither on the rows and columns beside it
 * nor on which of the two ran. Other CPUs go to CBLAS, where that is not
 * promised. Safe from any thread. */
#ifndef TB_TENSOR_GEMM_H
#define TB_TENSOR_GEMM_H

#include <stdbool.h>
#include <stddef.h>

#include "base/attr.h"

#define TB_GEMM_CHUNK 512 /* terms; twice as many in 16 chains */
#define TB_GEMM_DOT   384
#define TB_GEMM_PANEL 32 /* columns of a packed panel */

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

/* What else happens to c on its way out, at no cost of its own. */
typedef struct tb_gemm_tail {
    const float *from; /* where beta finds the old value of element (i, j):
                        * from[i * from_row + j * from_col]; NULL: in c */
    size_t from_row;
    size_t from_col;   /* 0 or 1 */
    bool relu;         /* at the end c = c <= 0 ? 0 : c */
    const float *gate; /* at the end c = gate > 0 ? c : 0 * c; NULL: not.
                        * gate lies like c. */
} tb_gemm_tail;

/* As tb_gemm, to the bit, with the tail done in passing. from may be c or lie
 * apart from it; gate may not overlap c. */
void tb_gemm_with(const tb_gemm_shape *shape, float alpha, const float *a,
                  const float *b, float beta, float *c,
                  const tb_gemm_tail *tail) TB_NONNULL(1, 3, 4, 6, 7);

/* Panels of op(b) [k, n], TB_GEMM_PANEL columns each and dense, for products
 * that use the same b many times: tb_gemm_panel_floats of them. */
size_t tb_gemm_panel_floats(size_t n, size_t k);
void tb_gemm_pack(float *panels, bool trans_b, size_t n, size_t k,
                  const float *b, size_t b_step) TB_NONNULL(1, 5);

/* tb_gemm with b as panels; trans_b and b_step of shape are not looked at.
 * Each element is one chain over k, whatever b was before it was packed. */
void tb_gemm_packed(const tb_gemm_shape *shape, float alpha, const float *a,
                    const float *panels, float beta, float *c)
    TB_NONNULL(1, 3, 4, 6);

/* The same by three plain loops: slow, and the oracle of the tests. */
void tb_gemm_naive(const tb_gemm_shape *shape, float alpha, const float *a,
                   const float *b, float beta, float *c) TB_NONNULL(1, 3, 4, 6);

#endif
