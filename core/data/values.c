#include "data/values.h"

#include <float.h>
#include <math.h>
#include <string.h>

#include "base/mem.h"

#define CHUNK_BYTES 4096

tb_dtype tb_values_kept(tb_dtype in_file)
{
    if (in_file == TB_F64) {
        return TB_F32;
    }
    if (in_file == TB_I16) {
        return TB_I32;
    }
    return in_file == TB_BOOL ? TB_U8 : in_file;
}

/* Bytes of one number in a file; no tensor holds I16. */
static size_t file_bytes(tb_dtype dtype)
{
    return dtype == TB_I16 ? 2 : tb_dtype_bytes(dtype);
}

/* One value of a file: exact in either of the two. */
typedef struct number {
    bool is_float;
    int64_t i;
    double d;
} number;

static uint64_t load_bits(const uint8_t *at, size_t size, bool big_endian)
{
    uint64_t bits = 0;
    for (size_t b = 0; b < size; b++) {
        bits |= (uint64_t)at[big_endian ? size - 1 - b : b] << (8 * b);
    }
    return bits;
}

static number load(const uint8_t *at, tb_file_type type)
{
    size_t size = file_bytes(type.dtype);
    uint64_t bits = load_bits(at, size, type.big_endian);
    number v = {.is_float = tb_dtype_is_float(type.dtype)};
    if (type.dtype == TB_F64) {
        memcpy(&v.d, &bits, sizeof v.d);
    } else if (type.dtype == TB_F32) {
        uint32_t half = (uint32_t)bits;
        float f = 0.0F;
        memcpy(&f, &half, sizeof f);
        v.d = (double)f;
    } else if (type.dtype == TB_U8 || type.dtype == TB_BOOL) {
        v.i = (int64_t)bits;
    } else { /* two's complement: shift the sign bit up, then back */
        unsigned shift = (unsigned)(64 - 8 * size);
        v.i = (int64_t)(bits << shift) >> shift;
    }
    return v;
}

static tb_rc store_f32(uint8_t *to, number v, tb_err *err)
{
    double d = v.is_float ? v.d : (double)v.i;
    if (isfinite(d) && fabs(d) > (double)FLT_MAX) {
        return tb_fail(err, TB_E_LIMIT, "%g does not fit a float32", d);
    }
    float f = (float)d;
    memcpy(to, &f, sizeof f);
    return TB_OK;
}

static tb_rc store_i32(uint8_t *to, number v, tb_err *err)
{
    if (v.is_float) {
        return tb_fail(err, TB_E_MISMATCH,
                       "it is a float, whole numbers are expected; give class "
                       "indexes 0, 1, ... as an integer type");
    }
    if (v.i < INT32_MIN || v.i > INT32_MAX) {
        return tb_fail(err, TB_E_LIMIT, "%lld does not fit an int32",
                       (long long)v.i);
    }
    int32_t i = (int32_t)v.i;
    memcpy(to, &i, sizeof i);
    return TB_OK;
}

/* Values as they are kept already, but perhaps of the other byte order. */
static void store_same(uint8_t *to, const uint8_t *at, tb_file_type type)
{
    size_t size = file_bytes(type.dtype);
    uint64_t bits = load_bits(at, size, type.big_endian);
    for (size_t b = 0; b < size; b++) {
        to[b] = (uint8_t)(bits >> (8 * b));
    }
}

/* The host is little-endian, as every platform of the project. */
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "little-endian host");

tb_rc tb_values_read(tb_source *s, tb_file_type type, void *to, tb_dtype kept,
                     size_t n, tb_err *err)
{
    uint8_t chunk[CHUNK_BYTES];
    uint8_t *at = to;
    size_t size = file_bytes(type.dtype);
    size_t step = tb_dtype_bytes(kept);
    bool same = kept == type.dtype || (kept == TB_U8 && type.dtype == TB_BOOL);
    if (same && (!type.big_endian || size == 1)) {
        return tb_source_read(s, to, n * size, err);
    }
    tb_rc rc = TB_OK;
    size_t done = 0;
    while (rc == TB_OK && done < n) {
        size_t k =
            n - done < sizeof chunk / size ? n - done : sizeof chunk / size;
        rc = tb_source_read(s, chunk, k * size, err);
        for (size_t i = 0; rc == TB_OK && i < k; i++, done++, at += step) {
            const uint8_t *from = chunk + i * size;
            if (same) {
                store_same(at, from, type);
                continue;
            }
            rc = kept == TB_F32 ? store_f32(at, load(from, type), err)
                                : store_i32(at, load(from, type), err);
            if (rc != TB_OK) {
                rc = tb_err_prefix(err, rc, "%s: value %zu (from 0)",
                                   tb_source_name(s), done);
            }
        }
    }
    return rc;
}

/* Whether the source can hold what its head says, before memory is asked. */
static tb_rc check_promise(const tb_array_source *a, tb_err *err)
{
    char text[TB_SHAPE_TEXT_BYTES];
    size_t n = 0;
    size_t bytes = 0;
    const char *name = tb_source_name(a->source);
    if (tb_shape_count(&n, &a->head.shape, err) != TB_OK ||
        tb_mem_mul(&bytes, n, file_bytes(a->head.type.dtype)) != 0) {
        return tb_fail(err, TB_E_LIMIT, "%s: shape %s is too large", name,
                       tb_shape_text(&a->head.shape, text));
    }
    if (bytes > tb_source_most(a->source)) {
        return tb_fail(err, TB_E_MALFORMED,
                       "%s: says it holds %s values, %zu bytes, and is shorter "
                       "than that; copy the file again",
                       name, tb_shape_text(&a->head.shape, text), bytes);
    }
    return TB_OK;
}

static tb_rc check_targets(const tb_array_source *y, tb_target target,
                           tb_err *err)
{
    char text[TB_SHAPE_TEXT_BYTES];
    bool classes = target == TB_TARGET_CLASS;
    const tb_shape *shape = &y->head.shape;
    if (shape->rank == 0) {
        return tb_fail(err, TB_E_MISMATCH,
                       "%s: shape %s of the targets; %s are expected",
                       tb_source_name(y->source), tb_shape_text(shape, text),
                       classes ? "class indexes [n] or [n, positions]"
                               : "values [n] or [n, n_targets]");
    }
    if (classes && tb_dtype_is_float(y->head.type.dtype)) {
        return tb_fail(err, TB_E_MISMATCH,
                       "%s: targets are %s, class indexes must be integers; "
                       "for regression ask for values",
                       tb_source_name(y->source),
                       tb_dtype_name(y->head.type.dtype));
    }
    return TB_OK;
}

static tb_rc check_rows(const tb_array_source *x, tb_err *err)
{
    char text[TB_SHAPE_TEXT_BYTES];
    const tb_shape *shape = &x->head.shape;
    if (shape->rank == 0 || shape->dim[0] == 0) {
        return tb_fail(
            err, TB_E_MISMATCH,
            "%s: shape %s has no rows; the first axis counts samples",
            tb_source_name(x->source), tb_shape_text(shape, text));
    }
    return TB_OK;
}

static tb_rc check_pair(const tb_array_source *x, const tb_array_source *y,
                        tb_target target, tb_err *err)
{
    const tb_shape *shape = &x->head.shape;
    tb_rc rc = check_rows(x, err);
    if (rc == TB_OK) {
        rc = check_targets(y, target, err);
    }
    if (rc != TB_OK) {
        return rc;
    }
    if (shape->dim[0] != y->head.shape.dim[0]) {
        return tb_fail(err, TB_E_MISMATCH,
                       "%s has %zu samples but %s has %zu targets; they must "
                       "be of one set",
                       tb_source_name(x->source), shape->dim[0],
                       tb_source_name(y->source), y->head.shape.dim[0]);
    }
    rc = check_promise(x, err);
    return rc == TB_OK ? check_promise(y, err) : rc;
}

static tb_sample_spec spec_of(const tb_array_head *x, const tb_array_head *y,
                              const tb_read_options *o)
{
    bool classes = o->target == TB_TARGET_CLASS;
    tb_sample_spec spec = {
        .x_dtype = tb_values_kept(x->type.dtype),
        .target = o->target,
        .n_targets = y->shape.rank > 1
                         ? tb_shape_product(&y->shape, 1, y->shape.rank)
                         : 1,
        .n_classes = classes ? o->n_classes : 0,
        .ignores = classes && o->ignores,
        .ignore = o->ignore};
    spec.x_shape.rank = x->shape.rank - 1;
    memcpy(spec.x_shape.dim, x->shape.dim + 1,
           spec.x_shape.rank * sizeof *spec.x_shape.dim);
    return spec;
}

static tb_rc read_to_end(const tb_array_source *a, void *to, tb_dtype kept,
                         size_t n, tb_err *err)
{
    tb_rc rc = tb_values_read(a->source, a->head.type, to, kept, n, err);
    return rc == TB_OK ? tb_source_end(a->source, err) : rc;
}

tb_rc tb_values_read_pair(tb_dataset **out, const tb_array_source *x,
                          const tb_array_source *y,
                          const tb_read_options *options, tb_err *err)
{
    *out = NULL;
    tb_dataset *ds = NULL;
    tb_rc rc = check_pair(x, y, options->target, err);
    if (rc != TB_OK) {
        return rc;
    }
    tb_sample_spec spec = spec_of(&x->head, &y->head, options);
    size_t n = x->head.shape.dim[0];
    rc = tb_dataset_new(&ds, &spec, n, err);
    if (rc == TB_OK) {
        size_t n_values =
            tb_shape_product(&x->head.shape, 0, x->head.shape.rank);
        rc = read_to_end(x, tb_dataset_x(ds), spec.x_dtype, n_values, err);
    }
    if (rc == TB_OK) {
        rc = read_to_end(y, tb_dataset_y(ds),
                         options->target == TB_TARGET_CLASS ? TB_I32 : TB_F32,
                         n * spec.n_targets, err);
    }
    if (rc == TB_OK && (rc = tb_dataset_seal(ds, err)) != TB_OK) {
        rc = tb_err_prefix(err, rc, "%s", tb_source_name(y->source));
    }
    if (rc == TB_OK) {
        *out = ds;
        ds = NULL;
    }
    tb_dataset_free(&ds);
    return rc;
}

tb_rc tb_values_read_features(tb_dataset **out, const tb_array_source *x,
                              tb_err *err)
{
    const tb_array_head none = {0};
    tb_dataset *ds = NULL;
    *out = NULL;
    tb_rc rc = check_rows(x, err);
    if (rc == TB_OK) {
        rc = check_promise(x, err);
    }
    if (rc != TB_OK) {
        return rc;
    }
    const tb_read_options values = {.target = TB_TARGET_VALUE};
    tb_sample_spec spec = spec_of(&x->head, &none, &values);
    rc = tb_dataset_new(&ds, &spec, x->head.shape.dim[0], err);
    if (rc == TB_OK) {
        rc = read_to_end(
            x, tb_dataset_x(ds), spec.x_dtype,
            tb_shape_product(&x->head.shape, 0, x->head.shape.rank), err);
    }
    if (rc == TB_OK && (rc = tb_dataset_seal(ds, err)) != TB_OK) {
        rc = tb_err_prefix(err, rc, "%s", tb_source_name(x->source));
    }
    if (rc == TB_OK) {
        *out = ds;
        ds = NULL;
    }
    tb_dataset_free(&ds);
    return rc;
}
