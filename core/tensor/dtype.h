/* core/tensor/dtype.h - element types. The numbers are those of ONNX's
 * TensorProto.DataType, so that files need no translation; the ones without a
 * size here are known by name only. */
#ifndef TB_TENSOR_DTYPE_H
#define TB_TENSOR_DTYPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

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

/* Sets of element types, for tables: bit n stands for dtype n. */
#define TB_TYPE_BIT(dtype) (UINT32_C(1) << (dtype))
#define TB_TYPES_F32       TB_TYPE_BIT(TB_F32)
#define TB_TYPES_FLOAT                                                         \
    (TB_TYPES_F32 | TB_TYPE_BIT(TB_F64) | TB_TYPE_BIT(TB_F16) |                \
     TB_TYPE_BIT(TB_BF16))
#define TB_TYPES_SIGNED                                                        \
    (TB_TYPE_BIT(TB_I8) | TB_TYPE_BIT(TB_I16) | TB_TYPE_BIT(TB_I32) |          \
     TB_TYPE_BIT(TB_I64))
#define TB_TYPES_UNSIGNED                                                      \
    (TB_TYPE_BIT(TB_U8) | TB_TYPE_BIT(TB_U16) | TB_TYPE_BIT(TB_U32) |          \
     TB_TYPE_BIT(TB_U64))
#define TB_TYPES_NUMBER (TB_TYPES_FLOAT | TB_TYPES_SIGNED | TB_TYPES_UNSIGNED)
#define TB_TYPES_BOOL   TB_TYPE_BIT(TB_BOOL)
#define TB_TYPES_ANY    (TB_TYPES_NUMBER | TB_TYPES_BOOL)
#define TB_TYPES_INDEX  (TB_TYPE_BIT(TB_I32) | TB_TYPE_BIT(TB_I64))

/* Bytes of one element; 0 for a type that no tensor here can hold. */
size_t tb_dtype_bytes(tb_dtype dtype);

/* A short name such as "f32"; "?" for a number outside the enum. */
const char *tb_dtype_name(tb_dtype dtype);

/* Whether dtype is in a set of types, such as TB_TYPES_FLOAT. */
bool tb_dtype_in(tb_dtype dtype, uint32_t types);

/* The names of a set, "f32, f64"; returns out, which 128 bytes always hold. */
const char *tb_dtype_names(uint32_t types, char out[128]);

/* F32 or F64: the types that gradients may have. */
bool tb_dtype_is_float(tb_dtype dtype);

#endif
