/* core/data/dataset.h - samples in memory: features in the type they came in
 * (uint8 images stay uint8), one target a row. A dataset owns its rows, or is
 * a view: a list of rows of another one. Knows nothing of files (read.h) or
 * models. Filled by one owner; after that any thread may read it. */
#ifndef TB_DATA_DATASET_H
#define TB_DATA_DATASET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "tensor/dtype.h"
#include "tensor/shape.h"

/* Limits, met before anything is allocated. */
#define TB_DATASET_MAX_ROWS    ((size_t)1 << 31)
#define TB_DATASET_MAX_BYTES   ((size_t)1 << 36)
#define TB_DATASET_MAX_CLASSES ((size_t)1 << 20)
#define TB_DATASET_MAX_TARGETS ((size_t)1 << 20)

typedef enum tb_target {
    TB_TARGET_CLASS, /* y: int32 [n, n_targets], class indexes */
    TB_TARGET_VALUE  /* y: float32 [n, n_targets] */
} tb_target;

/* What one row is. */
typedef struct tb_sample_spec {
    tb_dtype x_dtype;
    tb_shape
        x_shape; /* of one sample: [28, 28], no row axis; [] is one value */
    tb_target target;
    size_t n_targets; /* values of y a row; of classes mostly 1, but one a
                       * position for sequences and maps */
    size_t n_classes; /* labels are in [0, n_classes); 0 for values, and for
                       * classes until tb_dataset_seal counts them */
    bool ignores;     /* a label may also be `ignore`: no class */
    int32_t ignore;
} tb_sample_spec;

typedef struct tb_dataset tb_dataset;

/* A dataset of n_rows zeroed rows, to be filled through tb_dataset_x and
 * tb_dataset_y. Errors: LIMIT, USAGE (a target count that its kind forbids),
 * NOMEM. */
tb_rc tb_dataset_new(tb_dataset **out, const tb_sample_spec *spec,
                     size_t n_rows, tb_err *err) TB_NONNULL(1, 2) TB_MUST_CHECK;

/* A view: row i of it is row rows[i] of ds (any order, repeats allowed). Copies
 * the list, not the samples; ds must outlive it. Errors: USAGE (a row ds has
 * not), NOMEM. */
tb_rc tb_dataset_subset(tb_dataset **out, const tb_dataset *ds,
                        const uint32_t *rows, size_t n_rows, tb_err *err)
    TB_NONNULL(1, 2) TB_MUST_CHECK;

/* Frees a dataset or a view, nulls *ds. NULL is fine. */
void tb_dataset_free(tb_dataset **ds) TB_NONNULL(1);

/* What a sample is (borrowed), and how many there are. */
const tb_sample_spec *tb_dataset_spec(const tb_dataset *ds) TB_NONNULL(1);
size_t tb_dataset_rows(const tb_dataset *ds) TB_NONNULL(1);

/* Bytes of one row of x, and of one row of y (4 a target). */
size_t tb_dataset_x_bytes(const tb_dataset *ds) TB_NONNULL(1);
size_t tb_dataset_y_bytes(const tb_dataset *ds) TB_NONNULL(1);

/* All rows of x [n_rows, x_shape] and y [n_rows, n_targets], to fill a new
 * dataset; a BUG (assert) on a view. */
void *tb_dataset_x(tb_dataset *ds) TB_NONNULL(1);
void *tb_dataset_y(tb_dataset *ds) TB_NONNULL(1);

/* One row, borrowed. row < tb_dataset_rows(ds). */
const void *tb_dataset_x_row(const tb_dataset *ds, size_t row) TB_NONNULL(1);
const void *tb_dataset_y_row(const tb_dataset *ds, size_t row) TB_NONNULL(1);

/* Class of a row of a TB_TARGET_CLASS dataset; the first, where there are
 * more. */
int32_t tb_dataset_label(const tb_dataset *ds, size_t row) TB_NONNULL(1);

/* Gathers rows[n] into x [n, x_shape], in the dataset's own dtype, and y
 * [n, n_targets], int32 or float32 by target. Either may be NULL. Each row
 * < tb_dataset_rows(ds). Allocates nothing. */
void tb_dataset_batch(const tb_dataset *ds, const uint32_t *rows, size_t n,
                      void *x, void *y) TB_NONNULL(1);

/* Column names of a table, one a value of a sample, or NULL; a view has those
 * of its dataset. set copies them. Errors: NOMEM. */
const char *const *tb_dataset_columns(const tb_dataset *ds) TB_NONNULL(1);
tb_rc tb_dataset_set_columns(tb_dataset *ds, const char *const *names,
                             tb_err *err) TB_NONNULL(1, 2) TB_MUST_CHECK;

/* Ends filling: counts the classes from the labels when the spec said 0, then
 * checks that every label is in [0, n_classes) and every float of x and y is
 * finite: the promise of each dataset that was read. Errors: MALFORMED, naming
 * the row. */
tb_rc tb_dataset_seal(tb_dataset *ds, tb_err *err) TB_NONNULL(1) TB_MUST_CHECK;

#endif
