/* core/data/read.h - datasets from files and back: one table of formats. Every
 * size a file claims is bounded before it sizes memory; an error names the
 * file, the place and what to do. */
#ifndef TB_DATA_READ_H
#define TB_DATA_READ_H

#include <stdbool.h>

#include "data/dataset.h"

/* Limits of what is read. */
#define TB_READ_MAX_FILE_BYTES ((size_t)1 << 34) /* a file as it lies on disk */
#define TB_READ_MAX_COLUMNS    ((size_t)1 << 16)
#define TB_READ_MAX_LINE_BYTES ((size_t)1 << 24)

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
    tb_target target; /* csv: CLASS or VALUE; npy, npz: CLASS with float y
                         is an error */
} tb_read_options;

/* One format. */
typedef struct tb_reader {
    const char *name;  /* as a job says it: "idx" */
    const char *takes; /* what a path may be, for help and errors */
    /* Whether path looks like this format: by names only. */
    bool (*probe)(const char *path);
    tb_rc (*read)(tb_dataset **out, const char *path,
                  const tb_read_options *options, tb_err *err);
    /* Writes ds as files of this format into the existing folder dir, such
     * that read finds them there; NULL: it cannot. */
    tb_rc (*write)(const tb_dataset *ds, const char *dir,
                   const tb_read_options *options, tb_err *err);
} tb_reader;

/* The formats: idx, csv, npy, npz; *n is their number. */
const tb_reader *const *tb_readers(size_t *n) TB_NONNULL(1);

/* Reads path (a file or a folder) whole into memory, and checks it. options
 * may be NULL. Errors: NOT_FOUND, MALFORMED, LIMIT, MISMATCH (counts that
 * disagree), UNSUPPORTED, USAGE (a column or reader name), NOMEM, IO. */
tb_rc tb_dataset_read(tb_dataset **out, const char *path,
                      const tb_read_options *options, tb_err *err)
    TB_NONNULL(1, 2) TB_MUST_CHECK;

/* Writes ds into the folder dir, which is made, in the named format. Errors:
 * USAGE, UNSUPPORTED (the format cannot hold these types), FULL, IO, NOMEM. */
tb_rc tb_dataset_write(const tb_dataset *ds, const char *dir,
                       const char *format, const tb_read_options *options,
                       tb_err *err) TB_NONNULL(1, 2, 3) TB_MUST_CHECK;

#endif
