/* core/tensor/dtype.h - element types. The numbers are those of ONNX's
 * TensorProto.DataType, so that files need no translation; the ones without a
 * size here are known by name only. */
#ifndef TB_TENSOR_DTYPE_H
#define TB_TENSOR_DTYPE_H

#include <stdbool.h>
#include <stddef.h>

typedef enum tb_dtype {
    TB_DTYPE_NONE = 0, /* absent, or not known yet */
    TB_F32 = 1,
    TB_U8 = 2,
    TB_I8 = 3,
    TB_U16 = 4,
    TB_I16 = 5,
    TB_I32 = 6,
    TB_I64 = 7,
    TB_STRING = 8,
    TB_BOOL = 9, /* one byte, 0 or 1 */
    TB_F16 = 10,
    TB_F64 = 11,
    TB_U32 = 12,
    TB_U64 = 13,
    TB_BF16 = 16
} tb_dtype;

/* Bytes of one element; 0 for a type that no tensor here can hold. */
size_t tb_dtype_bytes(tb_dtype dtype);

/* A short name such as "f32"; "?" for a number outside the enum. */
const char *tb_dtype_name(tb_dtype dtype);

/* F32 or F64: the types that gradients may have. */
bool tb_dtype_is_float(tb_dtype dtype);

#endif
