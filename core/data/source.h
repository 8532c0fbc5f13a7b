/* core/data/source.h - bytes to read in order, from a file or from memory,
 * unpacked on the way (gzip is seen by its magic). Knows nothing of what the
 * bytes mean. Every error text begins with the source's name. One owner. */
#ifndef TB_DATA_SOURCE_H
#define TB_DATA_SOURCE_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define TB_SOURCE_MAX_FILE_BYTES ((uint64_t)1 << 34) /* as it lies on disk */

typedef struct tb_source tb_source;

typedef enum tb_packing {
    TB_PACKING_AUTO,   /* gzip when it begins with 1f 8b, else as it is */
    TB_PACKING_NONE,   /* as it is */
    TB_PACKING_DEFLATE /* a bare deflate stream (RFC 1951) */
} tb_packing;

/* Opens a regular file. Errors: NOT_FOUND, LIMIT (its size), UNSUPPORTED (a
 * folder, a pipe), NOMEM, IO. */
tb_rc tb_source_open(tb_source **out, const char *path, tb_err *err)
    TB_NONNULL(1, 2) TB_MUST_CHECK;

/* Reads bytes[len], which must outlive the source. name: for errors; copied. */
tb_rc tb_source_open_bytes(tb_source **out, const char *name,
                           const uint8_t *bytes, size_t len, tb_packing packing,
                           tb_err *err) TB_NONNULL(1, 2) TB_MUST_CHECK;

/* Closes it and nulls *s. NULL is fine. */
void tb_source_close(tb_source **s) TB_NONNULL(1);

/* The path, or the name it was opened with. */
const char *tb_source_name(const tb_source *s) TB_NONNULL(1);

/* Reads exactly n bytes. Errors: MALFORMED (the bytes end before, or are badly
 * packed), IO. */
tb_rc tb_source_read(tb_source *s, void *to, size_t n, tb_err *err)
    TB_NONNULL(1) TB_MUST_CHECK;

/* Reads up to n bytes; *got < n only at the end. */
tb_rc tb_source_read_some(tb_source *s, void *to, size_t n, size_t *got,
                          tb_err *err) TB_NONNULL(1, 4) TB_MUST_CHECK;

/* Fails unless all bytes were read and a packed stream closed well. */
tb_rc tb_source_end(tb_source *s, tb_err *err) TB_NONNULL(1) TB_MUST_CHECK;

/* No more than this many bytes can still come: deflate expands 1032 times at
 * most (zlib's technical note), so a small file cannot promise a large one. */
uint64_t tb_source_most(const tb_source *s) TB_NONNULL(1);

/* CRC-32 (as in gzip and zip) of all bytes read so far. */
uint32_t tb_source_crc32(const tb_source *s) TB_NONNULL(1);

#endif
