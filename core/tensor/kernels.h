/* core/tensor/kernels.h - loops over float32 arrays: elementwise, rows,
 * reductions, exp and its kin. One source is built per instruction set and
 * chosen once; all give the same bits, because sums run in 16 fixed lanes and
 * nothing is contracted. No allocation, no failure. Safe from any thread.
 * Unless said otherwise y may be x itself, but must not overlap it else. */
#ifndef TB_TENSOR_KERNELS_H
#define TB_TENSOR_KERNELS_H

#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"

/* y[i] = a[i] op b[i], i < n. */
void tb_k_add(float *y, const float *a, const float *b, size_t n)
    TB_NONNULL(1, 2, 3);
void tb_k_sub(float *y, const float *a, const float *b, size_t n)
    TB_NONNULL(1, 2, 3);
void tb_k_mul(float *y, const float *a, const float *b, size_t n)
    TB_NONNULL(1, 2, 3);

/* The same with operands that may stand still: a moves by step_a, b by step_b,
 * each 0 or 1. Of MIN and MAX a NaN is the result. */
typedef enum tb_k_arith_op {
    TB_K_ADD,
    TB_K_SUB,
    TB_K_MUL,
    TB_K_DIV,
    TB_K_MIN,
    TB_K_MAX,
    TB_K_ARITH_COUNT
} tb_k_arith_op;
void tb_k_arith(tb_k_arith_op op, float *y, const float *a, size_t step_a,
                const float *b, size_t step_b, size_t n) TB_NONNULL(2, 3, 5);

/* Functions of one number, with parameters where they have some:
 *   RELU p: alpha   ELU p: alpha   SELU p: alpha, q: gamma
 *   CELU p: alpha, q: 1 / alpha   HARD_SIGMOID p: alpha, q: beta
 *   THRESHOLDED p: alpha   the others: none
 * Within 2 ulp of the truth (EXP, LOG), 4 ulp (SIGMOID, TANH, SOFTPLUS, ELU of
 * alpha 1) and 6 ulp (ERF); GELU within 2^-21 * (1 + |x|). EXP is 0 below -87.3
 * and infinite above 88.7; NaN stays NaN. */
typedef enum tb_k_map_of {
#define TB_K_MAP(NAME, name) TB_K_##NAME,
#include "tensor/kernels_maps.def"
#undef TB_K_MAP
    TB_K_MAP_COUNT
} tb_k_map_of;

/* y[i] = f(x[i]). */
void tb_k_map(tb_k_map_of f, float *y, const float *x, size_t n, float p,
              float q) TB_NONNULL(2, 3);

/* dx[i] = dy[i] * df/dx(x[i]). dx may be dy or x. */
void tb_k_map_grad(tb_k_map_of f, float *dx, const float *x, const float *dy,
                   size_t n, float p, float q) TB_NONNULL(2, 3, 4);

/* One number in double by libm: f and df/dx. For rare element types, and the
 * oracle of the loops. */
double tb_k_map_f64(tb_k_map_of f, double x, double p, double q);
double tb_k_slope_f64(tb_k_map_of f, double x, double p, double q);

/* y = min(max(x, low), high); NaN stays NaN. dx = dy where x lies in
 * [low, high], else 0. */
void tb_k_clip(float *y, const float *x, size_t n, float low, float high)
    TB_NONNULL(1, 2);
void tb_k_clip_grad(float *dx, const float *x, const float *dy, size_t n,
                    float low, float high) TB_NONNULL(1, 2, 3);

/* y[i] = alpha * x[i] + beta. */
void tb_k_affine(float *y, const float *x, size_t n, float alpha, float beta)
    TB_NONNULL(1, 2);

/* y[i] = y[i] + alpha * x[i]. y must not overlap x. */
void tb_k_axpy(float *y, const float *x, size_t n, float alpha)
    TB_NONNULL(1, 2);

/* y[i] = beta * y[i] + alpha * x[i]. y must not overlap x. */
void tb_k_axpby(float *y, const float *x, size_t n, float alpha, float beta)
    TB_NONNULL(1, 2);

/* y[r][c] = y[r][c] + row[c], y [n_rows, n_cols] dense. */
void tb_k_add_row(float *y, const float *row, size_t n_rows, size_t n_cols)
    TB_NONNULL(1, 2);

/* row[c] = alpha * sum over r of x[r][c] + beta * row[c], in the order of r;
 * with beta 0, row may hold anything before. */
void tb_k_sum_rows(float *row, const float *x, size_t n_rows, size_t n_cols,
                   float alpha, float beta) TB_NONNULL(1, 2);

/* y = x > 0 ? x : slope * x. slope 0 is Relu; NaN stays NaN. */
void tb_k_relu(float *y, const float *x, size_t n, float slope)
    TB_NONNULL(1, 2);

/* dx = x > 0 ? dy : slope * dy. For Relu x may be the output as well. dx may
 * be dy. */
void tb_k_relu_grad(float *dx, const float *x, const float *dy, size_t n,
                    float slope) TB_NONNULL(1, 2, 3);

/* tb_k_map of EXP, SIGMOID, TANH. */
void tb_k_exp(float *y, const float *x, size_t n) TB_NONNULL(1, 2);
void tb_k_sigmoid(float *y, const float *x, size_t n) TB_NONNULL(1, 2);
void tb_k_tanh(float *y, const float *x, size_t n) TB_NONNULL(1, 2);

/* dx from the output y: dy * y * (1 - y), dy * (1 - y * y). dx may be dy. */
void tb_k_sigmoid_grad(float *dx, const float *y, const float *dy, size_t n)
    TB_NONNULL(1, 2, 3);
void tb_k_tanh_grad(float *dx, const float *y, const float *dy, size_t n)
    TB_NONNULL(1, 2, 3);

/* Sum and dot product in 16 lanes (float32), then lane by lane. */
float tb_k_sum(const float *x, size_t n) TB_NONNULL(1);
float tb_k_dot(const float *a, const float *b, size_t n) TB_NONNULL(1, 2);

/* Softmax and log-softmax of each row: exp(x - max) / sum, and
 * x - max - log(sum). x, y [n_rows, n_cols] dense, n_cols > 0. */
void tb_k_softmax(float *y, const float *x, size_t n_rows, size_t n_cols)
    TB_NONNULL(1, 2);
void tb_k_log_softmax(float *y, const float *x, size_t n_rows, size_t n_cols)
    TB_NONNULL(1, 2);

/* The same down each column. */
void tb_k_softmax_cols(float *y, const float *x, size_t n_rows, size_t n_cols)
    TB_NONNULL(1, 2);
void tb_k_log_softmax_cols(float *y, const float *x, size_t n_rows,
                           size_t n_cols) TB_NONNULL(1, 2);

/* Their gradients from the output y, by row and by column:
 * y (dy - sum(dy y)) and dy - exp(y) sum(dy). dx may be dy. */
void tb_k_softmax_grad(float *dx, const float *dy, const float *y,
                       size_t n_rows, size_t n_cols) TB_NONNULL(1, 2, 3);
void tb_k_log_softmax_grad(float *dx, const float *dy, const float *y,
                           size_t n_rows, size_t n_cols) TB_NONNULL(1, 2, 3);
void tb_k_softmax_grad_cols(float *dx, const float *dy, const float *y,
                            size_t n_rows, size_t n_cols) TB_NONNULL(1, 2, 3);
void tb_k_log_softmax_grad_cols(float *dx, const float *dy, const float *y,
                                size_t n_rows, size_t n_cols)
    TB_NONNULL(1, 2, 3);

/* y[i] = (float)x[i]; y must not overlap x. */
void tb_k_from_u8(float *y, const uint8_t *x, size_t n) TB_NONNULL(1, 2);

/* Numbers that belong together: n_pieces runs of n, stride apart. */
typedef struct tb_k_span {
    size_t n_pieces;
    size_t stride;
    size_t n;
} tb_k_span;

/* y = (x - mean) a + b, and dx = p dy + q (x - mean) + r. */
typedef struct tb_k_line {
    float mean, a, b;
} tb_k_line;
typedef struct tb_k_plane {
    float mean, p, q, r;
} tb_k_plane;

/* out: mean and population variance of a span, as if computed in double of
 * blocks that are within 1e-7 of the truth; 0, 0 of none. */
void tb_k_moments(double out[2], const float *x, const tb_k_span *span)
    TB_NONNULL(1, 2, 3);

/* out: sum of dy, and of dy (x - mean), over a span. */
void tb_k_grad_sums(double out[2], const float *dy, const float *x,
                    const tb_k_span *span, float mean) TB_NONNULL(1, 2, 3, 4);

/* The line, and the plane, over a span. dx may be dy or x. */
void tb_k_line_of(float *y, const float *x, const tb_k_span *span,
                  const tb_k_line *l) TB_NONNULL(1, 2, 3, 4);
void tb_k_plane_of(float *dx, const float *dy, const float *x,
                   const tb_k_span *span, const tb_k_plane *c)
    TB_NONNULL(1, 2, 3, 4, 5);

/* A row with a factor an element: y = (x - mean) a scale + bias (NULL: none);
 * out: sum of dy scale, and of dy scale (x - mean); dx = p dy scale +
 * q (x - mean) + r; dscale += dy (x - mean) a and dbias += dy. */
void tb_k_row_line(float *y, const float *x, const float *scale,
                   const float *bias, size_t n, const tb_k_line *l)
    TB_NONNULL(1, 2, 3, 6);
void tb_k_row_grad_sums(double out[2], const float *dy, const float *x,
                        const float *scale, size_t n, float mean)
    TB_NONNULL(1, 2, 3, 4);
void tb_k_row_plane(float *dx, const float *dy, const float *x,
                    const float *scale, size_t n, const tb_k_plane *c)
    TB_NONNULL(1, 2, 3, 4, 6);
void tb_k_row_params(float *dscale, float *dbias, const float *dy,
                     const float *x, size_t n, const tb_k_line *l)
    TB_NONNULL(1, 2, 3, 4, 6);

/* The same of each column of x [n_rows, n_cols]: mean and variance [n_cols];
 * sums [2, n_cols] of dy and of dy (x - mean); lines [3, n_cols] of mean, a, b;
 * planes [4, n_cols] of mean, p, q, r. */
void tb_k_col_moments(float *mean, float *variance, const float *x,
                      size_t n_rows, size_t n_cols) TB_NONNULL(1, 2, 3);
void tb_k_col_grad_sums(float *sums, const float *dy, const float *x,
                        const float *mean, size_t n_rows, size_t n_cols)
    TB_NONNULL(1, 2, 3, 4);
void tb_k_col_line(float *y, const float *x, const float *lines, size_t n_rows,
                   size_t n_cols) TB_NONNULL(1, 2, 3);
void tb_k_col_plane(float *dx, const float *dy, const float *x,
                    const float *planes, size_t n_rows, size_t n_cols)
    TB_NONNULL(1, 2, 3, 4);

/* A mask as a pure function of (start, i): element i is kept where SplitMix64,
 * seeded with start, draws threshold or more in the upper half of number i. */
typedef struct tb_k_drop {
    uint64_t start;
    uint32_t threshold;
    float scale; /* of those kept */
} tb_k_drop;

/* y = kept ? x * scale : 0, and mask = kept. */
void tb_k_dropped(float *y, const float *x, size_t n, const tb_k_drop *drop)
    TB_NONNULL(1, 2, 4);
void tb_k_drop_mask(uint8_t *mask, size_t n, const tb_k_drop *drop)
    TB_NONNULL(1, 3);

/* The instruction set in use: "avx512", "avx2" or "portable". */
const char *tb_k_isa(void);

#endif
