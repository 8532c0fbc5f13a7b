/* core/data/archive.h - NumPy's archives: a zip (APPNOTE 6.3) of NAME.npy
 * files, stored or deflated, each with its CRC-32. From the end: 22 bytes
 * "PK\5\6" name the central directory; its entries "PK\1\2" name each member's
 * sizes, CRC-32 and place; there "PK\3\4" and the bytes. Written: stored, no
 * dates, so that the same arrays give the same bytes. Knows nothing of what
 * arrays mean. */
#ifndef TB_DATA_ARCHIVE_H
#define TB_DATA_ARCHIVE_H

#include "base/buf.h"
#include "data/formats.h"
#include "tensor/tensor.h"

#define TB_ARCHIVE_NAMES_BYTES 256

/* An archive in memory: borrows name and bytes. */
typedef struct tb_archive {
    const char *name; /* for errors */
    const uint8_t *bytes;
    size_t len;
    size_t directory; /* where the central directory begins */
    size_t directory_end;
    size_t n_members;
} tb_archive;

/* Finds the directory. Errors: MALFORMED, LIMIT (members). */
tb_rc tb_archive_read(tb_archive *out, const char *name, const uint8_t *bytes,
                      size_t len, tb_err *err) TB_NONNULL(1, 2) TB_MUST_CHECK;

/* A member that was opened. */
typedef struct tb_archive_member {
    tb_source *source; /* owned */
    uint32_t crc;
} tb_archive_member;

/* Opens "x.npy". Errors: NOT_FOUND (says what there is), MALFORMED,
 * UNSUPPORTED, LIMIT, NOMEM. */
tb_rc tb_archive_open(tb_archive_member *out, const tb_archive *archive,
                      const char *member, tb_err *err)
    TB_NONNULL(1, 2, 3) TB_MUST_CHECK;

/* Whether what was read to its end has the right checksum. MALFORMED. */
tb_rc tb_archive_check(const tb_archive_member *member, tb_err *err)
    TB_NONNULL(1) TB_MUST_CHECK;

/* Closes the source; safe twice. */
void tb_archive_close(tb_archive_member *member) TB_NONNULL(1);

/* Values of an array of this type, no more than its bytes can hold. Errors: as
 * tb_archive_get. */
tb_rc tb_archive_count(const tb_archive *archive, const char *member,
                       tb_dtype dtype, size_t *n, tb_err *err)
    TB_NONNULL(1, 2, 4) TB_MUST_CHECK;

/* Reads one whole array of exactly this type and number of values (any shape)
 * into to, checksum and all. Errors: as tb_archive_open, and MISMATCH. */
tb_rc tb_archive_get(const tb_archive *archive, const char *member,
                     tb_dtype dtype, size_t n, void *to, tb_err *err)
    TB_NONNULL(1, 2) TB_MUST_CHECK;

/* Appends the whole of a member of bytes (U8 of one axis) to out, whose maximum
 * bounds it. Errors: as tb_archive_get, and LIMIT. */
tb_rc tb_archive_get_bytes(const tb_archive *archive, const char *member,
                           tb_buf *out, tb_err *err)
    TB_NONNULL(1, 2, 3) TB_MUST_CHECK;

/* An archive on its way into a buffer. */
typedef struct tb_archive_writer {
    tb_buf *out;      /* borrowed; empty at the start */
    tb_buf directory; /* owned */
    size_t n_members;
} tb_archive_writer;

/* Starts; appends one array under "NAME.npy"; ends with the directory. release
 * is for either end. Errors: LIMIT (4 GB, members, out's maximum), NOMEM. */
void tb_archive_start(tb_archive_writer *w, tb_buf *out) TB_NONNULL(1, 2);
tb_rc tb_archive_put(tb_archive_writer *w, const char *member,
                     const tb_tensor *array, tb_err *err)
    TB_NONNULL(1, 2, 3) TB_MUST_CHECK;
tb_rc tb_archive_finish(tb_archive_writer *w, tb_err *err)
    TB_NONNULL(1) TB_MUST_CHECK;
void tb_archive_release(tb_archive_writer *w) TB_NONNULL(1);

#endif
