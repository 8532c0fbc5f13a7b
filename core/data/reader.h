/* core/data/reader.h - one member of the table of data formats, and how to
 * read. The table is read.h's. */
#ifndef TB_DATA_READER_H
#define TB_DATA_READER_H

#include <stdbool.h>

#include "data/dataset.h"

/* Limits beside those of dataset.h, source.h and formats.h. */
#define TB_READ_MAX_COLUMNS ((size_t)1 << 14) /* of a CSV file */

/* How to read; all zero is fine for images and arrays. Borrowed. */
typedef struct tb_read_options {
    const char *reader; /* name of a format; NULL: by the path */
    const char *labels; /* idx: labels file; NULL: by the images' name */
    const char *const *columns; /* csv: features in this order; NULL: all but
                                   the label */
    size_t n_columns;
    const char *label;          /* csv: target column; NULL: the last one */
    const char *const *classes; /* class names in index order; NULL: labels are
                                   numbers 0, 1, ... */
    size_t n_classes;
    bool or_numbers;  /* csv: beside such a name a label may be its number */
    tb_target target; /* csv: CLASS or VALUE; npy, npz: CLASS with float y
                         is an error */
    bool ignores;     /* a label may also be `ignore`: it is no class */
    int32_t ignore;
    bool unlabelled; /* csv, npy: features only, to predict; npy may be a
                         file then. The targets are VALUE, all 0 */
} tb_read_options;

/* One format. */
typedef struct tb_reader {
    const char *name;  /* as a job says it: "idx" */
    const char *takes; /* what a path may be, for help and errors */
    /* Whether path looks like this format: by names only. Errors: NOMEM, IO. */
    tb_rc (*probe)(bool *found, const char *path, tb_err *err);
    tb_rc (*read)(tb_dataset **out, const char *path,
                  const tb_read_options *options, tb_err *err);
    /* Writes ds as files of this format into the existing folder dir, such
     * that read finds them there; NULL: it cannot. */
    tb_rc (*write)(const tb_dataset *ds, const char *dir,
                   const tb_read_options *options, tb_err *err);
} tb_reader;

#endif
