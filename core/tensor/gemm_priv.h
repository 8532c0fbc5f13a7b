/* core/tensor/gemm_priv.h - what gemm.c and the kernels of each instruction set
 * agree on; for them and the tests only. */
#ifndef TB_TENSOR_GEMM_PRIV_H
#define TB_TENSOR_GEMM_PRIV_H

#include "tensor/gemm.h"

/* As tb_gemm_with, with m, n > 0 and tail->from set. */
typedef void tb_gemm_fn(const tb_gemm_shape *shape, float alpha, const float *a,
                        const float *b, float beta, float *c,
                        const tb_gemm_tail *tail);

/* Only where the CPU has the instructions, as tb_k_chosen() tells. */
tb_gemm_fn tb_gemm_avx512, tb_gemm_avx2;

/* Of tb_gemm_avx512, for few columns; any will do. */
tb_gemm_fn tb_gemm_avx512_narrow;

/* Everywhere. */
tb_gemm_fn tb_gemm_cblas;

#endif
