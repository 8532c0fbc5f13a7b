/* core/tensor/shape.h - the extents of a tensor, row-major (the last runs
 * fastest). Plain values of at most TB_RANK_MAX dimensions; rank 0 is a scalar.
 * Every product is checked for overflow here, and nowhere else. */
#ifndef TB_TENSOR_SHAPE_H
#define TB_TENSOR_SHAPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define TB_RANK_MAX         8
#define TB_SHAPE_TEXT_BYTES 192

typedef struct tb_shape {
    size_t rank;             /* dimensions in use */
    size_t dim[TB_RANK_MAX]; /* extents; 0 behind rank */
} tb_shape;

/* Handy literals: TB_SHAPE(n_rows, n_cols). A scalar is (tb_shape){0}. */
#define TB_SHAPE(...)                                                          \
    ((tb_shape){.rank = sizeof((size_t[]){__VA_ARGS__}) / sizeof(size_t),      \
                .dim = {__VA_ARGS__}})

/* From a file's dimensions. Errors: LIMIT (rank over TB_RANK_MAX), MALFORMED (a
 * negative extent). The product is not looked at: tb_shape_count does that. */
tb_rc tb_shape_from(tb_shape *out, const int64_t *dims, size_t rank,
                    tb_err *err) TB_NONNULL(1) TB_MUST_CHECK;

/* Elements: the product of the extents (1 for a scalar). LIMIT on overflow. */
tb_rc tb_shape_count(size_t *out, const tb_shape *shape, tb_err *err)
    TB_NONNULL(1, 2) TB_MUST_CHECK;

/* The product of extents [from, to), of a shape whose count is known good. */
size_t tb_shape_product(const tb_shape *shape, size_t from, size_t to)
    TB_NONNULL(1);

/* Same rank and same extents. */
bool tb_shape_equal(const tb_shape *a, const tb_shape *b) TB_NONNULL(1, 2);

/* Multidirectional broadcasting of ONNX and NumPy: aligned at the last
 * dimension, an extent of 1 stretches. MISMATCH names both shapes. */
tb_rc tb_shape_broadcast(tb_shape *out, const tb_shape *a, const tb_shape *b,
                         tb_err *err) TB_NONNULL(1, 2, 3) TB_MUST_CHECK;

/* Row-major strides in elements of shape, seen from the broadcast result `to`
 * (rank to->rank): 0 where shape stretches or has no such dimension. */
void tb_shape_strides(size_t stride[TB_RANK_MAX], const tb_shape *shape,
                      const tb_shape *to) TB_NONNULL(1, 2, 3);

/* "[32, 784]"; returns out. */
const char *tb_shape_text(const tb_shape *shape, char out[TB_SHAPE_TEXT_BYTES])
    TB_NONNULL(1, 2);

#endif
