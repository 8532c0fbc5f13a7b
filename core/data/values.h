/* core/data/values.h - arrays of numbers as files hold them, of either byte
 * order, turned into the types a dataset keeps. Never a silent change: what
 * does not fit is an error. */
#ifndef TB_DATA_VALUES_H
#define TB_DATA_VALUES_H

#include <stdbool.h>

#include "data/reader.h"
#include "data/source.h"

/* The numbers in a file: BOOL, U8, I8, I16, I32, I64, F32 or F64. */
typedef struct tb_file_type {
    tb_dtype dtype;
    bool big_endian;
} tb_file_type;

/* The type features of a file type are kept in: itself, but F32 for F64, I32
 * for I16 and U8 for BOOL. */
tb_dtype tb_values_kept(tb_dtype in_file);

/* Reads n values into to, an array of dtype kept: the same type, or F32 or I32
 * from any type whose values fit it. Errors: MALFORMED (the source ends),
 * MISMATCH (a fraction, where I32 is asked), LIMIT (a value outside the kept
 * type; NaN goes through to F32). */
tb_rc tb_values_read(tb_source *s, tb_file_type type, void *to, tb_dtype kept,
                     size_t n, tb_err *err) TB_NONNULL(1) TB_MUST_CHECK;

/* What a file says it holds. */
typedef struct tb_array_head {
    tb_file_type type;
    tb_shape shape;
} tb_array_head;

/* A source whose head was read: the values follow. */
typedef struct tb_array_source {
    tb_source *source; /* borrowed */
    tb_array_head head;
} tb_array_source;

/* The common part of IDX, NPY and NPZ: x [n, sample shape] and y [n] or
 * [n, ...], which is n_targets values a row. Of options: target, n_classes
 * (0: counted), ignores, ignore. Checks counts against each other and against
 * the bytes that can follow, reads both to their ends, seals. Errors: as
 * tb_dataset_read. */
tb_rc tb_values_read_pair(tb_dataset **out, const tb_array_source *x,
                          const tb_array_source *y,
                          const tb_read_options *options, tb_err *err)
    TB_NONNULL(1, 2, 3, 4) TB_MUST_CHECK;

/* The same for x alone: the targets are VALUE, one a row, all 0. */
tb_rc tb_values_read_features(tb_dataset **out, const tb_array_source *x,
                              tb_err *err) TB_NONNULL(1, 2) TB_MUST_CHECK;

#endif
