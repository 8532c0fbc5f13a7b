/* core/tensor/gemm_int8.h - product of bytes: activations uint8, weights int8,
 * sums int32, and what follows a sum (bias, scale, clamp, rounding) while it is
 * still near. Sums are exact and wrap as int32 does, so that every instruction
 * set gives the same bits. Weights are packed once: panels of 16 columns, each
 * [segments][k / 4 rounded up][16][4] bytes. Safe from any thread. */
#ifndef TB_TENSOR_GEMM_INT8_H
#define TB_TENSOR_GEMM_INT8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"

#define TB_INT8_PANEL 16 /* columns packed together */

/* c[i][j] = sum over segments s and p < k of
 * a[i * a_step + segment[s] + p] * b[j][s][p]. */
typedef struct tb_int8_shape {
    size_t m;              /* rows of a and c */
    size_t n;              /* columns of c */
    size_t k;              /* terms in one segment */
    size_t n_segments;     /* 1 for a matrix; for a convolution the stretches of
                            * a window that lie together */
    const size_t *segment; /* [n_segments] bytes from a row's start */
    size_t a_step;         /* bytes from one row of a to the next */
    size_t c_step;         /* elements from one row of c to the next */
} tb_int8_shape;

typedef enum tb_int8_to {
    TB_INT8_TO_SUMS,  /* c is int32: sum + bias */
    TB_INT8_TO_BYTES, /* c is uint8 or int8: see below */
    TB_INT8_TO_FLOATS /* c is float32: clamp((sum + bias) * scale) */
} tb_int8_to;

/* What becomes of a sum. BYTES: half-even(clamp((sum + bias) * scale)) + zero;
 * low and high bound it before zero is added, and lie within 2^22. */
typedef struct tb_int8_finish {
    tb_int8_to to;
    const int32_t *bias; /* [n], or NULL: none */
    const float *scale;  /* [n]; not for SUMS */
    float low;
    float high;
    int32_t zero;
} tb_int8_finish;

/* Bytes that n columns of n_segments * k terms take when packed. */
size_t tb_int8_packed_bytes(size_t n, size_t n_segments, size_t k);

/* Where a stored byte lies: term p of segment s of column j is at
 * j * column_step + s * segment_step + p / n_inner * outer_step
 * + p % n_inner * inner_step. */
typedef struct tb_int8_layout {
    size_t column_step;
    size_t segment_step;
    size_t outer_step;
    size_t n_inner;
    size_t inner_step;
    bool flip; /* bytes are uint8, and 128 is taken from each */
} tb_int8_layout;

/* Packs the n columns of n_segments * k terms of b; what is padded is zero. */
void tb_int8_pack(int8_t *packed, const void *b, const tb_int8_shape *shape,
                  const tb_int8_layout *layout) TB_NONNULL(1, 2, 3, 4);

/* sums[j] = sum of all terms of packed column j: what a zero point of a costs.
 * Wraps as int32. */
void tb_int8_column_sums(int32_t *sums, const int8_t *packed,
                         const tb_int8_shape *shape) TB_NONNULL(1, 2, 3);

/* The product. c must not overlap a or packed. */
void tb_int8_gemm(const tb_int8_shape *shape, const uint8_t *a,
                  const int8_t *packed, const tb_int8_finish *finish, void *c)
    TB_NONNULL(1, 2, 3, 4, 5);

/* Every channel by itself: c[i][j] = sum over segments s of
 * a[i * a_step + segment[s] + j] * w[s][j], for n channels; shape->k is not
 * looked at. packed: int16 [n / 16 rounded up][n_segments][16], zero behind n.
 * From each segment whole 16 bytes are read. c must not overlap a. */
void tb_int8_depthwise(const tb_int8_shape *shape, const uint8_t *a,
                       const int16_t *packed, const tb_int8_finish *finish,
                       void *c) TB_NONNULL(1, 2, 3, 4, 5);

/* The product by plain loops over the packed weights: the tests' oracle. */
void tb_int8_gemm_naive(const tb_int8_shape *shape, const uint8_t *a,
                        const int8_t *packed, const tb_int8_finish *finish,
                        void *c) TB_NONNULL(1, 2, 3, 4, 5);

/* y[i] = half-even(clamp(x[i] / scale)) + zero, as a byte; low and high bound
 * it before zero is added, and lie within 511. NaN becomes zero. */
void tb_int8_quantize(uint8_t *y, const float *x, size_t n, float scale,
                      float low, float high, int32_t zero) TB_NONNULL(1, 2);

/* The instruction set in use: "vnni", "avx2" or "portable". */
const char *tb_int8_isa(void);

#endif
