/* core/tensor/tensor.h - a dense row-major array: dtype, shape, bytes. It owns
 * its bytes (64-byte aligned) or borrows someone's. A plain value without
 * hidden sharing; not thread-safe while it is written. */
#ifndef TB_TENSOR_TENSOR_H
#define TB_TENSOR_TENSOR_H

#include "tensor/dtype.h"
#include "tensor/shape.h"

typedef struct tb_tensor {
    tb_dtype dtype; /* NONE: no tensor at all */
    tb_shape shape;
    void *data;  /* NULL: only dtype and shape are known */
    bool owns;   /* tb_tensor_release frees data */
    bool mapped; /* and it came from tb_mem_map */
} tb_tensor;

/* A zeroed tensor with its own memory. Errors: UNSUPPORTED (dtype without a
 * size), LIMIT (overflow), NOMEM; *out is empty then. */
tb_rc tb_tensor_init(tb_tensor *out, tb_dtype dtype, const tb_shape *shape,
                     tb_err *err) TB_NONNULL(1, 3) TB_MUST_CHECK;

/* The same with elements copied from data. */
tb_rc tb_tensor_init_from(tb_tensor *out, tb_dtype dtype, const tb_shape *shape,
                          const void *data, tb_err *err)
    TB_NONNULL(1, 3) TB_MUST_CHECK;

/* A tensor whose elements lie in a file from offset on, and are read when they
 * are looked at; what is written stays in memory. Nobody may cut the file
 * meanwhile. fd -1: zeros. Errors: as above; NOMEM also when the file cannot be
 * mapped. At least one element. */
tb_rc tb_tensor_map(tb_tensor *out, tb_dtype dtype, const tb_shape *shape,
                    int fd, uint64_t offset, tb_err *err)
    TB_NONNULL(1, 3) TB_MUST_CHECK;

/* A copy with its own memory; data may be NULL in both. */
tb_rc tb_tensor_copy(tb_tensor *out, const tb_tensor *from, tb_err *err)
    TB_NONNULL(1, 2) TB_MUST_CHECK;

/* A borrowed view of data, which must outlive it (data NULL: none yet). The
 * count must have been checked by tb_shape_count. */
tb_tensor tb_tensor_view(tb_dtype dtype, const tb_shape *shape, void *data)
    TB_NONNULL(2);

/* Frees what it owns; the tensor is empty again. Safe twice. */
void tb_tensor_release(tb_tensor *t) TB_NONNULL(1);

/* Elements and bytes of a tensor (dtype NONE: 0). */
size_t tb_tensor_count(const tb_tensor *t) TB_NONNULL(1);
size_t tb_tensor_bytes(const tb_tensor *t) TB_NONNULL(1);

/* Element i as a double, and as an int64 (floats are truncated toward zero,
 * saturating; NaN is 0; a u64 over 2^63 wraps); data must be there and i <
 * count. For small tensors (axes, shapes, scales) and rare types. */
double tb_tensor_f64_at(const tb_tensor *t, size_t i) TB_NONNULL(1);
int64_t tb_tensor_i64_at(const tb_tensor *t, size_t i) TB_NONNULL(1);

/* Stores a number as element i of any type: x rounded to a float type (half to
 * even), or truncated toward zero and then taken modulo 2^bits; whole is taken
 * modulo 2^bits, or rounded to a float type. A bool is x != 0. */
void tb_tensor_put_f64(const tb_tensor *t, size_t i, double x) TB_NONNULL(1);
void tb_tensor_put_i64(const tb_tensor *t, size_t i, int64_t whole)
    TB_NONNULL(1);

#endif
