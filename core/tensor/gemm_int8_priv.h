/* core/tensor/gemm_int8_priv.h - the table that each instruction set fills; for
 * gemm_int8.c and the tests, which compare the sets with each other. */
#ifndef TB_TENSOR_GEMM_INT8_PRIV_H
#define TB_TENSOR_GEMM_INT8_PRIV_H

#include "tensor/gemm_int8.h"

typedef struct tb_int8_set {
    const char *name;
    bool (*usable)(void); /* does this CPU know the instructions? */
    /* As tb_int8_gemm, with m, n > 0. */
    void (*gemm)(const tb_int8_shape *, const uint8_t *, const int8_t *,
                 const tb_int8_finish *, void *);
    void (*depthwise)(const tb_int8_shape *, const uint8_t *, const int16_t *,
                      const tb_int8_finish *, void *);
    void (*quantize)(uint8_t *, const float *, size_t, float, float, float,
                     int32_t);
} tb_int8_set;

extern const tb_int8_set tb_int8_vnni, tb_int8_avx2, tb_int8_portable;

/* Fastest first; *n is how many were built in. */
const tb_int8_set *const *tb_int8_sets(size_t *n);

#endif
