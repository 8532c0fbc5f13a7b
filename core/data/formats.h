/* core/data/formats.h - the decoders under the reader table, on sources and
 * bytes instead of paths: for the readers, their tests and the fuzzers. Every
 * failure leaves *out NULL. */
#ifndef TB_DATA_FORMATS_H
#define TB_DATA_FORMATS_H

#include "base/buf.h"
#include "data/reader.h"
#include "data/values.h"

#define TB_NPY_MAX_HEADER_BYTES ((size_t)1 << 16)
#define TB_NPZ_MAX_MEMBERS      ((size_t)4096)

/* Members of the table, one file each. */
extern const tb_reader tb_reader_idx;
extern const tb_reader tb_reader_csv;
extern const tb_reader tb_reader_npy;
extern const tb_reader tb_reader_npz;

/* IDX (the MNIST page): 0 0 type rank | extent u32 big-endian [rank] | values,
 * big-endian. Reads the head; the values follow in s. */
tb_rc tb_idx_head(tb_array_head *out, tb_source *s, tb_err *err)
    TB_NONNULL(1, 2) TB_MUST_CHECK;

/* NPY (NumPy's format.py): "\x93NUMPY" | version u8 u8 | header length u16le
 * (version 1) or u32le (2, 3) | a Python dictionary as text | values,
 * little-endian, row-major. Reads up to the values. */
tb_rc tb_npy_head(tb_array_head *out, tb_source *s, tb_err *err)
    TB_NONNULL(1, 2) TB_MUST_CHECK;

/* Appends the head of an array of that type and shape, version 1.0, padded with
 * blanks so that the values begin at a multiple of 64 bytes from its start.
 * Errors: UNSUPPORTED (type), LIMIT, NOMEM. */
tb_rc tb_npy_put_head(tb_buf *buf, tb_dtype dtype, const tb_shape *shape,
                      tb_err *err) TB_NONNULL(1, 3) TB_MUST_CHECK;

/* Two sources that each hold one array of the format. */
tb_rc tb_idx_decode(tb_dataset **out, tb_source *x, tb_source *y,
                    const tb_read_options *options, tb_err *err)
    TB_NONNULL(1, 2, 3, 4) TB_MUST_CHECK;
tb_rc tb_npy_decode(tb_dataset **out, tb_source *x, tb_source *y,
                    const tb_read_options *options, tb_err *err)
    TB_NONNULL(1, 2, 3, 4) TB_MUST_CHECK;

/* A zip archive (APPNOTE 6.3) of x.npy and y.npy, stored or deflated, each
 * checked by its CRC-32. name: for errors. */
tb_rc tb_npz_decode(tb_dataset **out, const char *name, const uint8_t *bytes,
                    size_t len, const tb_read_options *options, tb_err *err)
    TB_NONNULL(1, 2, 5) TB_MUST_CHECK;

/* CSV (RFC 4180): a header line of names, then one sample a line. Fields may
 * be quoted, not over lines. text must be NUL-free; it is not changed. */
tb_rc tb_csv_decode(tb_dataset **out, const char *name, const char *text,
                    size_t len, const tb_read_options *options, tb_err *err)
    TB_NONNULL(1, 2, 5) TB_MUST_CHECK;

#endif
