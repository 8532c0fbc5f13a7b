#include "data/dataset.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#include "base/mem.h"

struct tb_dataset {
    tb_sample_spec spec;
    size_t n_rows;
    size_t x_bytes;         /* of one row */
    size_t y_bytes;         /* of one row */
    const tb_dataset *base; /* borrowed: whose rows a view shows, or NULL */
    uint32_t *rows;         /* owned: a view's rows of base */
    uint8_t *x;             /* owned: [n_rows, x_bytes], NULL in a view */
    uint8_t *y;             /* owned: [n_rows, y_bytes], NULL in a view */
    char **columns;         /* owned: [values of a sample], or NULL */
};

static size_t n_columns(const tb_dataset *ds)
{
    return ds->x_bytes / tb_dtype_bytes(ds->spec.x_dtype);
}

/* Bytes of all rows of one side, under the limit. */
static tb_rc side_bytes(size_t *row_bytes, size_t n_values, size_t value_bytes,
                        size_t n_rows, tb_err *err)
{
    size_t all = 0;
    if (tb_mem_mul(row_bytes, n_values, value_bytes) != 0 ||
        tb_mem_mul(&all, *row_bytes, n_rows) != 0 ||
        all > TB_DATASET_MAX_BYTES) {
        return tb_fail(err, TB_E_LIMIT,
                       "dataset: %zu rows of %zu values pass %zu bytes", n_rows,
                       n_values, TB_DATASET_MAX_BYTES);
    }
    return TB_OK;
}

static tb_rc check_spec(const tb_sample_spec *spec, size_t n_rows, tb_err *err)
{
    if (n_rows > TB_DATASET_MAX_ROWS) {
        return tb_fail(err, TB_E_LIMIT, "dataset: %zu rows, at most %zu",
                       n_rows, TB_DATASET_MAX_ROWS);
    }
    if (spec->n_classes > TB_DATASET_MAX_CLASSES ||
        spec->n_targets > TB_DATASET_MAX_TARGETS) {
        return tb_fail(err, TB_E_LIMIT,
                       "dataset: %zu classes and %zu targets, at most %zu and "
                       "%zu",
                       spec->n_classes, spec->n_targets, TB_DATASET_MAX_CLASSES,
                       TB_DATASET_MAX_TARGETS);
    }
    bool classes = spec->target == TB_TARGET_CLASS;
    if (classes ? spec->n_targets == 0 : spec->n_classes != 0) {
        return tb_fail(err, TB_E_USAGE,
                       "dataset: classes have a target a row, values have no "
                       "classes");
    }
    return TB_OK;
}

tb_rc tb_dataset_new(tb_dataset **out, const tb_sample_spec *spec,
                     size_t n_rows, tb_err *err)
{
    *out = NULL;
    size_t x_bytes = 0;
    size_t y_bytes = 0;
    size_t n_values = 0;
    tb_rc rc = check_spec(spec, n_rows, err);
    if (rc == TB_OK) {
        rc = tb_shape_count(&n_values, &spec->x_shape, err);
    }
    if (rc == TB_OK) {
        rc = side_bytes(&x_bytes, n_values, tb_dtype_bytes(spec->x_dtype),
                        n_rows, err);
    }
    if (rc == TB_OK) {
        rc = side_bytes(&y_bytes, spec->n_targets, sizeof(float), n_rows, err);
    }
    if (rc != TB_OK) {
        return rc;
    }
    tb_dataset *ds = tb_mem_array(1, sizeof *ds);
    if (ds == NULL || (ds->x = tb_mem_array(n_rows, x_bytes)) == NULL ||
        (ds->y = tb_mem_array(n_rows, y_bytes)) == NULL) {
        rc = tb_fail(err, TB_E_NOMEM, "dataset: %zu rows of %zu bytes", n_rows,
                     x_bytes + y_bytes);
        goto done;
    }
    ds->spec = *spec;
    ds->n_rows = n_rows;
    ds->x_bytes = x_bytes;
    ds->y_bytes = y_bytes;
    *out = ds;
    ds = NULL;
done:
    tb_dataset_free(&ds);
    return rc;
}

tb_rc tb_dataset_subset(tb_dataset **out, const tb_dataset *ds,
                        const uint32_t *rows, size_t n_rows, tb_err *err)
{
    *out = NULL;
    for (size_t i = 0; i < n_rows; i++) {
        if (rows[i] >= ds->n_rows) {
            return tb_fail(err, TB_E_USAGE,
                           "dataset: no row %u among %zu (rows count from 0)",
                           rows[i], ds->n_rows);
        }
    }
    if (n_rows > TB_DATASET_MAX_ROWS) {
        return tb_fail(err, TB_E_LIMIT, "dataset: %zu rows, at most %zu",
                       n_rows, TB_DATASET_MAX_ROWS);
    }
    tb_rc rc = TB_OK;
    tb_dataset *view = tb_mem_array(1, sizeof *view);
    if (view == NULL ||
        (view->rows = tb_mem_array(n_rows, sizeof *rows)) == NULL) {
        rc = tb_fail(err, TB_E_NOMEM, "dataset: view of %zu rows", n_rows);
        goto done;
    }
    view->spec = ds->spec;
    view->n_rows = n_rows;
    view->x_bytes = ds->x_bytes;
    view->y_bytes = ds->y_bytes;
    view->base = ds->base != NULL ? ds->base : ds;
    for (size_t i = 0; i < n_rows; i++) {
        view->rows[i] = ds->rows != NULL ? ds->rows[rows[i]] : rows[i];
    }
    *out = view;
    view = NULL;
done:
    tb_dataset_free(&view);
    return rc;
}

static void free_columns(tb_dataset *ds)
{
    if (ds->columns != NULL) {
        for (size_t i = 0; i < n_columns(ds); i++) {
            tb_mem_free(ds->columns[i]);
        }
        tb_mem_free(ds->columns);
    }
}

void tb_dataset_free(tb_dataset **ds)
{
    if (*ds != NULL) {
        free_columns(*ds);
        tb_mem_free((*ds)->rows);
        tb_mem_free((*ds)->x);
        tb_mem_free((*ds)->y);
        tb_mem_free(*ds);
        *ds = NULL;
    }
}

const tb_sample_spec *tb_dataset_spec(const tb_dataset *ds)
{
    return &ds->spec;
}

size_t tb_dataset_rows(const tb_dataset *ds)
{
    return ds->n_rows;
}

size_t tb_dataset_x_bytes(const tb_dataset *ds)
{
    return ds->x_bytes;
}

size_t tb_dataset_y_bytes(const tb_dataset *ds)
{
    return ds->y_bytes;
}

void *tb_dataset_x(tb_dataset *ds)
{
    assert(ds->base == NULL);
    return ds->x;
}

void *tb_dataset_y(tb_dataset *ds)
{
    assert(ds->base == NULL);
    return ds->y;
}

const void *tb_dataset_x_row(const tb_dataset *ds, size_t row)
{
    assert(row < ds->n_rows);
    return ds->base == NULL ? ds->x + row * ds->x_bytes
                            : ds->base->x + ds->rows[row] * ds->x_bytes;
}

const void *tb_dataset_y_row(const tb_dataset *ds, size_t row)
{
    assert(row < ds->n_rows);
    return ds->base == NULL ? ds->y + row * ds->y_bytes
                            : ds->base->y + ds->rows[row] * ds->y_bytes;
}

int32_t tb_dataset_label(const tb_dataset *ds, size_t row)
{
    assert(ds->spec.target == TB_TARGET_CLASS);
    int32_t label = 0;
    memcpy(&label, tb_dataset_y_row(ds, row), sizeof label);
    return label;
}

void tb_dataset_batch(const tb_dataset *ds, const uint32_t *rows, size_t n,
                      void *x, void *y)
{
    uint8_t *to_x = x;
    uint8_t *to_y = y;
    for (size_t i = 0; i < n; i++) {
        if (to_x != NULL) {
            memcpy(to_x + i * ds->x_bytes, tb_dataset_x_row(ds, rows[i]),
                   ds->x_bytes);
        }
        if (to_y != NULL) {
            memcpy(to_y + i * ds->y_bytes, tb_dataset_y_row(ds, rows[i]),
                   ds->y_bytes);
        }
    }
}

const char *const *tb_dataset_columns(const tb_dataset *ds)
{
    const tb_dataset *owner = ds->base != NULL ? ds->base : ds;
    return (const char *const *)owner->columns;
}

tb_rc tb_dataset_set_columns(tb_dataset *ds, const char *const *names,
                             tb_err *err)
{
    size_t n = n_columns(ds);
    char **copy = tb_mem_array(n, sizeof *copy);
    size_t i = 0;
    while (copy != NULL && i < n && (copy[i] = tb_mem_text(names[i])) != NULL) {
        i++;
    }
    if (copy == NULL || i < n) {
        while (i > 0) {
            tb_mem_free(copy[--i]);
        }
        tb_mem_free(copy);
        return tb_fail(err, TB_E_NOMEM, "dataset: %zu column names", n);
    }
    free_columns(ds);
    ds->columns = copy;
    return TB_OK;
}

/* Index of the first value of v[n] that is not finite, or n. */
static size_t first_not_finite(const float *v, size_t n)
{
    size_t i = 0;
    while (i < n && isfinite(v[i])) {
        i++;
    }
    return i;
}

/* Index of the first label of a row that is none, or n_targets. */
static size_t first_bad_label(const tb_sample_spec *spec, const int32_t *y)
{
    size_t i = 0;
    while (i < spec->n_targets &&
           ((y[i] >= 0 && (size_t)y[i] < spec->n_classes) ||
            (spec->ignores && y[i] == spec->ignore))) {
        i++;
    }
    return i;
}

/* What is wrong with one row, or NULL. */
static const char *row_fault(const tb_dataset *ds, size_t row)
{
    const tb_sample_spec *spec = &ds->spec;
    size_t n_values = n_columns(ds);
    if (spec->x_dtype == TB_F32 &&
        first_not_finite(tb_dataset_x_row(ds, row), n_values) < n_values) {
        return "a feature is NaN or infinite; clean the data first";
    }
    if (spec->target == TB_TARGET_VALUE) {
        return first_not_finite(tb_dataset_y_row(ds, row), spec->n_targets) <
                       spec->n_targets
                   ? "a target is NaN or infinite; clean the data first"
                   : NULL;
    }
    size_t bad = first_bad_label(spec, tb_dataset_y_row(ds, row));
    return bad < spec->n_targets ? "its label is no class index" : NULL;
}

/* 1 + the largest label, but no more than the limit allows. */
static size_t count_classes(const tb_dataset *ds)
{
    int32_t largest = 0;
    for (size_t row = 0; row < ds->n_rows; row++) {
        const int32_t *y = tb_dataset_y_row(ds, row);
        for (size_t i = 0; i < ds->spec.n_targets; i++) {
            bool counts = !ds->spec.ignores || y[i] != ds->spec.ignore;
            largest = counts && y[i] > largest ? y[i] : largest;
        }
    }
    size_t n = (size_t)largest + 1;
    return n < TB_DATASET_MAX_CLASSES ? n : TB_DATASET_MAX_CLASSES;
}

tb_rc tb_dataset_seal(tb_dataset *ds, tb_err *err)
{
    bool classes = ds->spec.target == TB_TARGET_CLASS;
    if (classes && ds->spec.n_classes == 0) {
        ds->spec.n_classes = count_classes(ds);
    }
    for (size_t row = 0; row < ds->n_rows; row++) {
        const char *fault = row_fault(ds, row);
        if (fault != NULL && classes) {
            const int32_t *y = tb_dataset_y_row(ds, row);
            size_t bad = first_bad_label(&ds->spec, y);
            return tb_fail(err, TB_E_MALFORMED,
                           "row %zu (from 0): %s (label %d of %zu classes)",
                           row, fault, y[bad < ds->spec.n_targets ? bad : 0],
                           ds->spec.n_classes);
        }
        if (fault != NULL) {
            return tb_fail(err, TB_E_MALFORMED, "row %zu (from 0): %s", row,
                           fault);
        }
    }
    return TB_OK;
}
