#include "model/onnx_tensor.h"

#include <string.h>

#include <generated/onnx.pb-c.h>

#include "base/mem.h"

const char *tb_onnx_text(const char *text)
{
    return text != NULL ? text : "";
}

bool tb_onnx_default_domain(const char *domain)
{
    return domain == NULL || domain[0] == '\0' ||
           strcmp(domain, "ai.onnx") == 0;
}

tb_dtype tb_onnx_dtype(int32_t number)
{
    return number > 0 && number <= TB_BF16 ? (tb_dtype)number : TB_DTYPE_NONE;
}

/* --- tensors -------------------------------------------------------------- */

/* The typed field that holds elements of dtype when there is no raw data. */
static void typed_field(const Onnx__TensorProto *from, tb_dtype dtype,
                        const void **data, size_t *n)
{
    switch ((int)dtype) {
    case TB_F32:
        *data = from->float_data;
        *n = from->n_float_data;
        break;
    case TB_F64:
        *data = from->double_data;
        *n = from->n_double_data;
        break;
    case TB_I64:
        *data = from->int64_data;
        *n = from->n_int64_data;
        break;
    case TB_U32:
    case TB_U64:
        *data = from->uint64_data;
        *n = from->n_uint64_data;
        break;
    default: /* I32, and narrower types one to a number */
        *data = from->int32_data;
        *n = from->n_int32_data;
        break;
    }
}

/* Whether the typed field's numbers are as wide as the elements. */
static bool same_width(tb_dtype dtype)
{
    return dtype != TB_U32 &&
           (tb_dtype_bytes(dtype) == 8 || tb_dtype_bytes(dtype) == 4);
}

/* The largest number in a typed field that an element can hold; the 16-bit
 * floats come as their bits. */
static uint64_t largest(tb_dtype dtype)
{
    switch ((int)dtype) {
    case TB_BOOL:
        return 1;
    case TB_I8:
        return INT8_MAX;
    case TB_U8:
        return UINT8_MAX;
    case TB_I16:
        return INT16_MAX;
    case TB_U32:
        return UINT32_MAX;
    default: /* U16, F16, BF16 */
        return UINT16_MAX;
    }
}

static bool fits_below_zero(tb_dtype dtype, int64_t x)
{
    return (dtype == TB_I8 && x >= INT8_MIN) ||
           (dtype == TB_I16 && x >= INT16_MIN);
}

static void put_bits(const tb_tensor *out, size_t i, int64_t x)
{
    if (tb_dtype_bytes(out->dtype) == 1) {
        ((uint8_t *)out->data)[i] = (uint8_t)x;
    } else if (tb_dtype_bytes(out->dtype) == 2) {
        ((uint16_t *)out->data)[i] = (uint16_t)x;
    } else {
        ((uint32_t *)out->data)[i] = (uint32_t)x;
    }
}

static tb_rc copy_typed(tb_tensor *out, const Onnx__TensorProto *from,
                        tb_err *err)
{
    const void *data = NULL;
    size_t n = 0;
    typed_field(from, out->dtype, &data, &n);
    if (n != tb_tensor_count(out)) {
        return tb_fail(err, TB_E_MALFORMED, "%zu elements, its shape says %zu",
                       n, tb_tensor_count(out));
    }
    if (same_width(out->dtype)) {
        if (n > 0) {
            memcpy(out->data, data, tb_tensor_bytes(out));
        }
        return TB_OK;
    }
    for (size_t i = 0; i < n; i++) {
        int64_t x = out->dtype == TB_U32 ? (int64_t)((const uint64_t *)data)[i]
                                         : ((const int32_t *)data)[i];
        if (x < 0 ? !fits_below_zero(out->dtype, x)
                  : (uint64_t)x > largest(out->dtype)) {
            return tb_fail(err, TB_E_MALFORMED, "element %zu is %lld, not %s",
                           i, (long long)x, tb_dtype_name(out->dtype));
        }
        put_bits(out, i, x);
    }
    return TB_OK;
}

/* The size the shape promises must be backed by bytes before memory is. */
static tb_rc check_raw(const Onnx__TensorProto *from, size_t bytes, tb_err *err)
{
    if (from->has_raw_data && from->raw_data.len != bytes) {
        return tb_fail(err, TB_E_MALFORMED,
                       "%zu bytes of raw data, its shape says %zu",
                       from->raw_data.len, bytes);
    }
    return TB_OK;
}

static tb_rc check_kind(const Onnx__TensorProto *from, tb_dtype dtype,
                        tb_err *err)
{
    if (from->segment != NULL) {
        return tb_fail(err, TB_E_UNSUPPORTED, "a tensor in segments");
    }
    if (tb_dtype_bytes(dtype) == 0) {
        return tb_fail(err, TB_E_UNSUPPORTED, "element type %s (%d)",
                       tb_dtype_name(dtype), (int)from->data_type);
    }
    return TB_OK;
}

/* Every element of a BOOL tensor is 0 or 1. */
static tb_rc check_flags(const tb_tensor *t, tb_err *err)
{
    const uint8_t *flag = t->data;
    size_t n = t->dtype == TB_BOOL ? tb_tensor_count(t) : 0;
    for (size_t i = 0; i < n; i++) {
        if (flag[i] > 1) {
            return tb_fail(err, TB_E_MALFORMED, "element %zu is %d, not bool",
                           i, flag[i]);
        }
    }
    return TB_OK;
}

static tb_rc copy_raw(tb_tensor *out, const Onnx__TensorProto *from,
                      tb_err *err)
{
    size_t bytes = tb_tensor_bytes(out);
    if (bytes > 0) {
        memcpy(out->data, from->raw_data.data, bytes);
    }
    return check_flags(out, err);
}

/* Large tensors need not be read: they may stay in their file, where one lies
 * as in memory, or be zeros. */
static tb_rc take_external(tb_tensor *out, const tb_tensor *type,
                           const tb_onnx_source *source,
                           const tb_onnx_range *range, tb_err *err)
{
    size_t bytes = tb_tensor_bytes(type);
    bool large = bytes >= TB_ONNX_EXTERNAL_LARGE;
    if (large && source->values == TB_ONNX_VALUES_NONE) {
        return tb_tensor_map(out, type->dtype, &type->shape, -1, 0, err);
    }
    if (large && source->values == TB_ONNX_VALUES_MAPPED &&
        range->offset % TB_ONNX_EXTERNAL_ALIGN == 0) {
        return tb_tensor_map(out, type->dtype, &type->shape,
                             source->folder->open_fd, range->offset, err);
    }
    tb_rc rc = tb_tensor_init(out, type->dtype, &type->shape, err);
    return rc == TB_OK ? tb_onnx_external_read(out->data, source->folder, range,
                                               bytes, err)
                       : rc;
}

/* Elements that lie in another file: found first, then given memory. */
static tb_rc read_external(tb_tensor *out, const Onnx__TensorProto *from,
                           const tb_tensor *type, const tb_onnx_source *source,
                           tb_err *err)
{
    tb_onnx_range range = {0};
    size_t bytes = tb_tensor_bytes(type);
    tb_rc rc = tb_onnx_external_find(&range, source->folder, from, bytes, err);
    if (rc == TB_OK) {
        rc = take_external(out, type, source, &range, err);
    }
    return rc == TB_OK ? check_flags(out, err) : rc;
}

/* Elements that lie in the message. */
static tb_rc read_inline(tb_tensor *out, const Onnx__TensorProto *from,
                         const tb_tensor *type, tb_err *err)
{
    const void *typed = NULL;
    size_t n_typed = 0;
    size_t n = tb_tensor_count(type);
    tb_rc rc = check_raw(from, tb_tensor_bytes(type), err);
    typed_field(from, type->dtype, &typed, &n_typed);
    if (rc == TB_OK && !from->has_raw_data && n_typed != n) {
        rc = tb_fail(err, TB_E_MALFORMED, "%zu elements, its shape says %zu",
                     n_typed, n);
    }
    if (rc == TB_OK) {
        rc = tb_tensor_init(out, type->dtype, &type->shape, err);
    }
    if (rc == TB_OK) {
        rc = from->has_raw_data ? copy_raw(out, from, err)
                                : copy_typed(out, from, err);
    }
    return rc;
}

tb_rc tb_onnx_tensor_read(tb_tensor *out, const Onnx__TensorProto *from,
                          const tb_onnx_source *source, tb_err *err)
{
    size_t max_bytes = source->limits->tensor_bytes;
    tb_dtype dtype = tb_onnx_dtype(from->data_type);
    tb_tensor t = {0};
    tb_shape shape;
    size_t n = 0;
    size_t bytes = 0;
    *out = t;
    tb_rc rc = check_kind(from, dtype, err);
    if (rc == TB_OK) {
        rc = tb_shape_from(&shape, from->dims, from->n_dims, err);
    }
    if (rc == TB_OK) {
        rc = tb_shape_count(&n, &shape, err);
    }
    if (rc == TB_OK && (tb_mem_mul(&bytes, n, tb_dtype_bytes(dtype)) != 0 ||
                        bytes > max_bytes)) {
        rc = tb_fail(err, TB_E_LIMIT, "%zu elements of %s, at most %zu bytes",
                     n, tb_dtype_name(dtype), max_bytes);
    }
    if (rc == TB_OK) {
        const tb_tensor type = tb_tensor_view(dtype, &shape, NULL);
        rc = tb_onnx_is_external(from)
                 ? read_external(&t, from, &type, source, err)
                 : read_inline(&t, from, &type, err);
    }
    if (rc != TB_OK) {
        tb_tensor_release(&t);
    }
    *out = t;
    return rc;
}

/* A one-dimensional or scalar tensor of numbers. */
static tb_rc numbers(tb_tensor *out, tb_dtype dtype, const tb_shape *shape,
                     const void *data, tb_err *err)
{
    return tb_tensor_init_from(out, dtype, shape, data, err);
}

tb_rc tb_onnx_constant_read(tb_tensor *out, const Onnx__AttributeProto *from,
                            const tb_onnx_source *source, tb_err *err)
{
    const char *name = tb_onnx_text(from->name);
    if (strcmp(name, "value") == 0 && from->t != NULL) {
        return tb_onnx_tensor_read(out, from->t, source, err);
    }
    if (strcmp(name, "value_float") == 0 && from->has_f) {
        return numbers(out, TB_F32, &(tb_shape){0}, &from->f, err);
    }
    if (strcmp(name, "value_int") == 0 && from->has_i) {
        return numbers(out, TB_I64, &(tb_shape){0}, &from->i, err);
    }
    if (strcmp(name, "value_floats") == 0) {
        return numbers(out, TB_F32, &TB_SHAPE(from->n_floats), from->floats,
                       err);
    }
    if (strcmp(name, "value_ints") == 0) {
        return numbers(out, TB_I64, &TB_SHAPE(from->n_ints), from->ints, err);
    }
    return tb_fail(err, TB_E_UNSUPPORTED, "attribute \"%s\"", name);
}

/* --- attributes ----------------------------------------------------------- */

/* A text out of bytes, which must not hold a NUL. */
static tb_rc text_of(const char **out, const ProtobufCBinaryData *from,
                     size_t max_bytes, tb_err *err)
{
    if (from->len > max_bytes) {
        return tb_fail(err, TB_E_LIMIT, "text of %zu bytes, at most %zu",
                       from->len, max_bytes);
    }
    if (from->len > 0 && memchr(from->data, '\0', from->len) != NULL) {
        return tb_fail(err, TB_E_MALFORMED, "a NUL in a text");
    }
    char *text = tb_mem_array(from->len + 1, 1);
    if (text == NULL) {
        return tb_fail(err, TB_E_NOMEM, "text of %zu bytes", from->len);
    }
    if (from->len > 0) {
        memcpy(text, from->data, from->len);
    }
    *out = text;
    return TB_OK;
}

static tb_rc texts_of(tb_attr *attr, const Onnx__AttributeProto *from,
                      const tb_onnx_limits *limits, tb_err *err)
{
    const char **texts = tb_mem_array(from->n_strings, sizeof *texts);
    if (texts == NULL) {
        return tb_fail(err, TB_E_NOMEM, "%zu texts", from->n_strings);
    }
    attr->strings = texts;
    attr->n = from->n_strings;
    tb_rc rc = TB_OK;
    for (size_t i = 0; rc == TB_OK && i < attr->n; i++) {
        rc = text_of(&texts[i], &from->strings[i], limits->name_bytes, err);
    }
    return rc;
}

static tb_rc read_attr(tb_attr *attr, const Onnx__AttributeProto *from,
                       const tb_onnx_source *source, tb_err *err)
{
    const tb_onnx_limits *limits = source->limits;
    switch ((int)from->type) {
    case ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__FLOAT:
        attr->kind = TB_ATTR_FLOAT;
        attr->f = from->f;
        return TB_OK;
    case ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INT:
        attr->kind = TB_ATTR_INT;
        attr->i = from->i;
        return TB_OK;
    case ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__STRING:
        attr->kind = TB_ATTR_STRING;
        return text_of(&attr->s, &from->s, limits->name_bytes, err);
    case ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__TENSOR:
        attr->kind = TB_ATTR_TENSOR;
        return from->t != NULL
                   ? tb_onnx_tensor_read(&attr->t, from->t, source, err)
                   : tb_fail(err, TB_E_MALFORMED, "no tensor");
    case ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__FLOATS:
        attr->kind = TB_ATTR_FLOATS;
        attr->n = from->n_floats;
        attr->floats = from->floats;
        return TB_OK;
    case ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INTS:
        attr->kind = TB_ATTR_INTS;
        attr->n = from->n_ints;
        attr->ints = from->ints;
        return TB_OK;
    case ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__STRINGS:
        attr->kind = TB_ATTR_STRINGS;
        return texts_of(attr, from, limits, err);
    default:
        return tb_fail(err, TB_E_UNSUPPORTED,
                       "an attribute of type %d (control flow?)",
                       (int)from->type);
    }
}

static tb_rc check_attr(const Onnx__NodeProto *node, size_t i,
                        const tb_onnx_limits *limits, tb_err *err)
{
    const Onnx__AttributeProto *from = node->attribute[i];
    const char *name = tb_onnx_text(from->name);
    if (name[0] == '\0' || strlen(name) > limits->name_bytes) {
        return tb_fail(err, TB_E_MALFORMED, "attribute %zu has no usable name",
                       i);
    }
    if (from->n_floats > limits->list || from->n_ints > limits->list ||
        from->n_strings > limits->list) {
        return tb_fail(err, TB_E_LIMIT, "attribute \"%s\": over %zu elements",
                       name, limits->list);
    }
    if (tb_onnx_text(from->ref_attr_name)[0] != '\0') {
        return tb_fail(err, TB_E_UNSUPPORTED,
                       "attribute \"%s\" refers to a function's", name);
    }
    for (size_t k = 0; k < i; k++) {
        if (strcmp(tb_onnx_text(node->attribute[k]->name), name) == 0) {
            return tb_fail(err, TB_E_MALFORMED, "attribute \"%s\" twice", name);
        }
    }
    return TB_OK;
}

tb_rc tb_onnx_attrs_read(tb_attr **out, const Onnx__NodeProto *node,
                         const tb_onnx_source *source, tb_err *err)
{
    size_t n = node->n_attribute;
    tb_rc rc = TB_OK;
    *out = NULL;
    if (n > 64) { /* no operator has as many; pairs are compared below */
        return tb_fail(err, TB_E_LIMIT, "%zu attributes", n);
    }
    tb_attr *attrs = tb_mem_array(n, sizeof *attrs);
    if (attrs == NULL) {
        return tb_fail(err, TB_E_NOMEM, "%zu attributes", n);
    }
    for (size_t i = 0; rc == TB_OK && i < n; i++) {
        rc = check_attr(node, i, source->limits, err);
        if (rc == TB_OK) {
            attrs[i].name = node->attribute[i]->name;
            rc = read_attr(&attrs[i], node->attribute[i], source, err);
        }
        if (rc != TB_OK) {
            rc = tb_err_prefix(err, rc, "attribute \"%s\"",
                               tb_onnx_text(node->attribute[i]->name));
        }
    }
    if (rc == TB_OK) {
        *out = attrs;
        attrs = NULL;
    }
    tb_onnx_attrs_free(attrs, n);
    return rc;
}

/* Frees a text that was made here and is const for everyone else. */
static void free_text(const char *text)
{
    tb_mem_free((void *)(uintptr_t)text);
}

void tb_onnx_attrs_free(tb_attr *attrs, size_t n)
{
    for (size_t i = 0; attrs != NULL && i < n; i++) {
        tb_tensor_release(&attrs[i].t);
        free_text(attrs[i].s);
        for (size_t k = 0; attrs[i].strings != NULL && k < attrs[i].n; k++) {
            free_text(attrs[i].strings[k]);
        }
        tb_mem_free((void *)(uintptr_t)attrs[i].strings);
    }
    tb_mem_free(attrs);
}
