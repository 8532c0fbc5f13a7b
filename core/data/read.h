/* core/data/read.h - datasets from files and back: one table of formats. Every
 * size a file claims is bounded before it sizes memory; an error names the
 * file, the place and what to do. */
#ifndef TB_DATA_READ_H
#define TB_DATA_READ_H

#include "data/reader.h"

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
