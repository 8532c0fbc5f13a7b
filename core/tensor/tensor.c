#include "tensor/tensor.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "tensor/half.h"

tb_rc tb_tensor_init(tb_tensor *out, tb_dtype dtype, const tb_shape *shape,
                     tb_err *err)
{
    size_t n = 0;
    *out = (tb_tensor){0};
    if (tb_dtype_bytes(dtype) == 0) {
        return tb_fail(err, TB_E_UNSUPPORTED, "tensor: element type %s (%d)",
                       tb_dtype_name(dtype), (int)dtype);
    }
    tb_rc rc = tb_shape_count(&n, shape, err);
    if (rc != TB_OK) {
        return rc;
    }
    void *data = tb_mem_aligned(n, tb_dtype_bytes(dtype));
    if (data == NULL) {
        return tb_fail(err, TB_E_NOMEM, "tensor: %zu elements of %s", n,
                       tb_dtype_name(dtype));
    }
    *out = tb_tensor_view(dtype, shape, data);
    out->owns = true;
    return TB_OK;
}

tb_rc tb_tensor_init_from(tb_tensor *out, tb_dtype dtype, const tb_shape *shape,
                          const void *data, tb_err *err)
{
    tb_rc rc = tb_tensor_init(out, dtype, shape, err);
    if (rc == TB_OK && tb_tensor_bytes(out) > 0) {
        memcpy(out->data, data, tb_tensor_bytes(out));
    }
    return rc;
}

tb_rc tb_tensor_map(tb_tensor *out, tb_dtype dtype, const tb_shape *shape,
                    int fd, uint64_t offset, tb_err *err)
{
    size_t n = 0;
    size_t bytes = 0;
    *out = (tb_tensor){0};
    tb_rc rc = tb_shape_count(&n, shape, err);
    if (rc == TB_OK && tb_mem_mul(&bytes, n, tb_dtype_bytes(dtype)) != 0) {
        rc = tb_fail(err, TB_E_LIMIT, "tensor: %zu elements", n);
    }
    void *data = rc == TB_OK ? tb_mem_map(fd, offset, bytes) : NULL;
    if (rc == TB_OK && data == NULL) {
        rc = tb_fail(err, TB_E_NOMEM, "tensor: %zu elements of a file", n);
    }
    if (rc == TB_OK) {
        *out = tb_tensor_view(dtype, shape, data);
        out->owns = true;
        out->mapped = true;
    }
    return rc;
}

tb_rc tb_tensor_copy(tb_tensor *out, const tb_tensor *from, tb_err *err)
{
    if (from->data == NULL) {
        *out = tb_tensor_view(from->dtype, &from->shape, NULL);
        return TB_OK;
    }
    return tb_tensor_init_from(out, from->dtype, &from->shape, from->data, err);
}

tb_tensor tb_tensor_view(tb_dtype dtype, const tb_shape *shape, void *data)
{
    return (tb_tensor){.dtype = dtype, .shape = *shape, .data = data};
}

void tb_tensor_release(tb_tensor *t)
{
    if (t->owns && t->mapped) {
        tb_mem_unmap(t->data, tb_tensor_bytes(t));
    } else if (t->owns) {
        tb_mem_free(t->data);
    }
    *t = (tb_tensor){0};
}

size_t tb_tensor_count(const tb_tensor *t)
{
    return t->dtype == TB_DTYPE_NONE
               ? 0
               : tb_shape_product(&t->shape, 0, t->shape.rank);
}

size_t tb_tensor_bytes(const tb_tensor *t)
{
    return tb_tensor_count(t) * tb_dtype_bytes(t->dtype);
}

double tb_tensor_f64_at(const tb_tensor *t, size_t i)
{
    switch ((int)t->dtype) {
    case TB_F32:
        return (double)((const float *)t->data)[i];
    case TB_F64:
        return ((const double *)t->data)[i];
    case TB_F16:
        return (double)tb_half_to_f32(((const uint16_t *)t->data)[i]);
    case TB_BF16:
        return (double)tb_bf16_to_f32(((const uint16_t *)t->data)[i]);
    case TB_U64:
        return (double)((const uint64_t *)t->data)[i];
    default:
        return (double)tb_tensor_i64_at(t, i);
    }
}

static int64_t truncated(double x)
{
    if (isnan(x)) {
        return 0;
    }
    if (x >= 0x1p63) {
        return INT64_MAX;
    }
    return x < -0x1p63 ? INT64_MIN : (int64_t)x;
}

int64_t tb_tensor_i64_at(const tb_tensor *t, size_t i)
{
    switch ((int)t->dtype) {
    case TB_F32:
    case TB_F64:
    case TB_F16:
    case TB_BF16:
        return truncated(tb_tensor_f64_at(t, i));
    case TB_I8:
        return ((const int8_t *)t->data)[i];
    case TB_I16:
        return ((const int16_t *)t->data)[i];
    case TB_I32:
        return ((const int32_t *)t->data)[i];
    case TB_I64:
        return ((const int64_t *)t->data)[i];
    case TB_U16:
        return ((const uint16_t *)t->data)[i];
    case TB_U32:
        return ((const uint32_t *)t->data)[i];
    case TB_U64:
        return (int64_t)((const uint64_t *)t->data)[i];
    default: /* U8 and BOOL */
        return ((const uint8_t *)t->data)[i];
    }
}

void tb_tensor_put_f64(const tb_tensor *t, size_t i, double x)
{
    switch ((int)t->dtype) {
    case TB_F32:
        ((float *)t->data)[i] = (float)x;
        break;
    case TB_F64:
        ((double *)t->data)[i] = x;
        break;
    case TB_F16:
        ((uint16_t *)t->data)[i] = tb_half_from_f64(x);
        break;
    case TB_BF16:
        ((uint16_t *)t->data)[i] = tb_bf16_from_f32((float)x);
        break;
    case TB_BOOL:
        ((uint8_t *)t->data)[i] = x != 0; /* NaN is true */
        break;
    case TB_U64:
        ((uint64_t *)t->data)[i] =
            x >= 0x1p63 && x < 0x1p64 ? (uint64_t)x : (uint64_t)truncated(x);
        break;
    default:
        tb_tensor_put_i64(t, i, truncated(x));
        break;
    }
}

void tb_tensor_put_i64(const tb_tensor *t, size_t i, int64_t whole)
{
    switch ((int)t->dtype) {
    case TB_I64:
        ((int64_t *)t->data)[i] = whole;
        break;
    case TB_U64:
        ((uint64_t *)t->data)[i] = (uint64_t)whole;
        break;
    case TB_I32:
    case TB_U32:
        ((uint32_t *)t->data)[i] = (uint32_t)whole;
        break;
    case TB_I16:
    case TB_U16:
        ((uint16_t *)t->data)[i] = (uint16_t)whole;
        break;
    case TB_I8:
    case TB_U8:
        ((uint8_t *)t->data)[i] = (uint8_t)whole;
        break;
    case TB_BOOL:
        ((uint8_t *)t->data)[i] = whole != 0;
        break;
    default:
        tb_tensor_put_f64(t, i, (double)whole);
        break;
    }
}
