#include "tensor/dtype.h"

#include <stdio.h>

/* Indexed by tb_dtype; bytes 0: known by name, held by no tensor yet. */
static const struct {
    const char *name;
    size_t bytes;
} table[] = {
    [TB_DTYPE_NONE] = {"none", 0}, [TB_F32] = {"f32", 4},
    [TB_U8] = {"u8", 1},           [TB_I8] = {"i8", 1},
    [TB_U16] = {"u16", 2},         [TB_I16] = {"i16", 2},
    [TB_I32] = {"i32", 4},         [TB_I64] = {"i64", 8},
    [TB_STRING] = {"string", 0},   [TB_BOOL] = {"bool", 1},
    [TB_F16] = {"f16", 2},         [TB_F64] = {"f64", 8},
    [TB_U32] = {"u32", 4},         [TB_U64] = {"u64", 8},
    [TB_BF16] = {"bf16", 2},
};

static bool known(tb_dtype dtype)
{
    return (size_t)dtype < sizeof table / sizeof table[0] &&
           table[dtype].name != NULL;
}

size_t tb_dtype_bytes(tb_dtype dtype)
{
    return known(dtype) ? table[dtype].bytes : 0;
}

const char *tb_dtype_name(tb_dtype dtype)
{
    return known(dtype) ? table[dtype].name : "?";
}

bool tb_dtype_in(tb_dtype dtype, uint32_t types)
{
    return known(dtype) && (TB_TYPE_BIT(dtype) & types) != 0;
}

const char *tb_dtype_names(uint32_t types, char out[128])
{
    size_t used = 0;
    out[0] = '\0';
    for (int d = 1; d < (int)(sizeof table / sizeof table[0]); d++) {
        if (tb_dtype_in((tb_dtype)d, types)) {
            int n = snprintf(out + used, 128 - used, "%s%s",
                             used > 0 ? ", " : "", table[d].name);
            used += (size_t)n;
        }
    }
    return out;
}

bool tb_dtype_is_float(tb_dtype dtype)
{
    return dtype == TB_F32 || dtype == TB_F64;
}
