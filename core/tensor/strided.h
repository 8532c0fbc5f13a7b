/* core/tensor/strided.h - copies between arrays that are walked with strides of
 * their own: what Transpose, Slice, Expand, Tile, Concat and Split come down
 * to. Elements of 1, 2, 4 or 8 bytes. A plan is a plain value, made once and
 * run often. No allocation, no failure. Safe from any thread. */
#ifndef TB_TENSOR_STRIDED_H
#define TB_TENSOR_STRIDED_H

#include "tensor/shape.h"

#define TB_STRIDED_RANK_MAX (2 * TB_RANK_MAX)

/* Loops, the outermost first; strides count elements. {0}: one element. */
typedef struct tb_strided {
    size_t rank;
    size_t dim[TB_STRIDED_RANK_MAX];
    ptrdiff_t to[TB_STRIDED_RANK_MAX];
    ptrdiff_t from[TB_STRIDED_RANK_MAX];
} tb_strided;

/* Adds a loop inside those there are, or lets the innermost take it in where
 * both arrays go on evenly. */
void tb_strided_push(tb_strided *plan, size_t dim, ptrdiff_t to, ptrdiff_t from)
    TB_NONNULL(1);

/* Row-major strides of shape. */
void tb_strided_dense(ptrdiff_t stride[TB_RANK_MAX], const tb_shape *shape)
    TB_NONNULL(1, 2);

/* to[...] = from[...] for elements of so many bytes, each aligned. The two do
 * not overlap; no element of `to` is written twice. */
void tb_strided_copy(const tb_strided *plan, size_t bytes, void *to,
                     const void *from) TB_NONNULL(1);

/* to[...] = to[...] + from[...], float32, in the order of the loops; with a
 * stride of 0 in `to`, a row is summed in the lanes of tb_k_sum first. */
void tb_strided_add(const tb_strided *plan, float *to, const float *from)
    TB_NONNULL(1);

/* n elements of so many bytes become *value. */
void tb_strided_fill(void *to, size_t bytes, size_t n, const void *value)
    TB_NONNULL(4);

#endif
