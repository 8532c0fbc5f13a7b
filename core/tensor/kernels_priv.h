/* core/tensor/kernels_priv.h - the table that each instruction set fills; for
 * kernels.c and the tests, which compare the sets with each other. */
#ifndef TB_TENSOR_KERNELS_PRIV_H
#define TB_TENSOR_KERNELS_PRIV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tensor/kernels.h"

typedef struct tb_k_set {
    const char *name;
    bool (*usable)(void); /* does this CPU know the instructions? */
    void (*arith[TB_K_ARITH_COUNT])(float *, const float *, size_t,
                                    const float *, size_t, size_t);
    void (*affine)(float *, const float *, size_t, float, float);
    void (*axpy)(float *, const float *, size_t, float);
    void (*axpby)(float *, const float *, size_t, float, float);
    void (*add_row)(float *, const float *, size_t, size_t);
    void (*sum_rows)(float *, const float *, size_t, size_t, float, float);
    void (*relu)(float *, const float *, size_t, float);
    void (*relu_grad)(float *, const float *, const float *, size_t, float);
    void (*map[TB_K_MAP_COUNT])(float *, const float *, size_t, float, float);
    void (*map_grad[TB_K_MAP_COUNT])(float *, const float *, const float *,
                                     size_t, float, float);
    void (*clip)(float *, const float *, size_t, float, float);
    void (*clip_grad)(float *, const float *, const float *, size_t, float,
                      float);
    void (*sigmoid_grad)(float *, const float *, const float *, size_t);
    void (*tanh_grad)(float *, const float *, const float *, size_t);
    float (*sum)(const float *, size_t);
    float (*dot)(const float *, const float *, size_t);
    void (*softmax)(float *, const float *, size_t, size_t);
    void (*log_softmax)(float *, const float *, size_t, size_t);
    void (*softmax_cols)(float *, const float *, size_t, size_t);
    void (*log_softmax_cols)(float *, const float *, size_t, size_t);
    void (*softmax_grad)(float *, const float *, const float *, size_t, size_t);
    void (*log_softmax_grad)(float *, const float *, const float *, size_t,
                             size_t);
    void (*softmax_grad_cols)(float *, const float *, const float *, size_t,
                              size_t);
    void (*log_softmax_grad_cols)(float *, const float *, const float *, size_t,
                                  size_t);
    void (*from_u8)(float *, const uint8_t *, size_t);
    void (*drop)(float *, const float *, size_t, const tb_k_drop *);
    void (*drop_mask)(uint8_t *, size_t, const tb_k_drop *);
    void (*moments)(double out[2], const float *x, const tb_k_span *span);
    void (*grad_sums)(double out[2], const float *dy, const float *x,
                      const tb_k_span *span, float mean);
    void (*line_of)(float *y, const float *x, const tb_k_span *span,
                    const tb_k_line *l);
    void (*plane_of)(float *dx, const float *dy, const float *x,
                     const tb_k_span *span, const tb_k_plane *c);
    void (*row_line)(float *y, const float *x, const float *scale,
                     const float *bias, size_t n, const tb_k_line *l);
    void (*row_grad_sums)(double out[2], const float *dy, const float *x,
                          const float *scale, size_t n, float mean);
    void (*row_plane)(float *dx, const float *dy, const float *x,
                      const float *scale, size_t n, const tb_k_plane *c);
    void (*row_params)(float *dscale, float *dbias, const float *dy,
                       const float *x, size_t n, const tb_k_line *l);
    void (*col_moments)(float *mean, float *variance, const float *x,
                        size_t n_rows, size_t n_cols);
    void (*col_grad_sums)(float *sums, const float *dy, const float *x,
                          const float *mean, size_t n_rows, size_t n_cols);
    void (*col_line)(float *y, const float *x, const float *lines,
                     size_t n_rows, size_t n_cols);
    void (*col_plane)(float *dx, const float *dy, const float *x,
                      const float *planes, size_t n_rows, size_t n_cols);
} tb_k_set;

extern const tb_k_set tb_k_avx512, tb_k_avx2, tb_k_portable;

/* Fastest first; *n is how many were built in. */
const tb_k_set *const *tb_k_sets(size_t *n);

/* The first usable one, found once. */
const tb_k_set *tb_k_chosen(void);

#endif
