/* core/base/buf.h - bytes that grow up to a maximum given at birth, and a
 * cursor that reads bytes without ever passing their end. Numbers are
 * little-endian. Not thread-safe: one owner at a time. */
#ifndef TB_BASE_BUF_H
#define TB_BASE_BUF_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

typedef struct tb_buf {
    uint8_t *data; /* owned; NULL while empty */
    size_t len;    /* bytes in use */
    size_t cap;    /* bytes allocated */
    size_t max;    /* len never passes this */
} tb_buf;

/* An empty buffer of at most max bytes; allocates nothing. */
void tb_buf_init(tb_buf *buf, size_t max) TB_NONNULL(1);

/* Frees the bytes; the buffer is empty again and keeps its maximum. */
void tb_buf_release(tb_buf *buf) TB_NONNULL(1);

/* Makes room for n more bytes. Errors: LIMIT (over max), NOMEM. */
tb_rc tb_buf_reserve(tb_buf *buf, size_t n, tb_err *err)
    TB_NONNULL(1) TB_MUST_CHECK;

/* Appends n bytes. A failed call leaves the buffer unchanged. */
tb_rc tb_buf_put(tb_buf *buf, const void *bytes, size_t n, tb_err *err)
    TB_NONNULL(1) TB_MUST_CHECK;

/* Append one number, little-endian. */
tb_rc tb_buf_put_u8(tb_buf *buf, uint8_t v, tb_err *err) TB_MUST_CHECK;
tb_rc tb_buf_put_u32(tb_buf *buf, uint32_t v, tb_err *err) TB_MUST_CHECK;
tb_rc tb_buf_put_u64(tb_buf *buf, uint64_t v, tb_err *err) TB_MUST_CHECK;

/* Appends text as printf would make it, without the closing NUL. */
tb_rc tb_buf_printf(tb_buf *buf, tb_err *err, const char *fmt, ...)
    TB_NONNULL(1, 3) TB_MUST_CHECK TB_PRINTF(3, 4);

/* Little-endian numbers at fixed places. */
void tb_le32_put(uint8_t *at, uint32_t v) TB_NONNULL(1);
void tb_le64_put(uint8_t *at, uint64_t v) TB_NONNULL(1);
uint32_t tb_le32_get(const uint8_t *at) TB_NONNULL(1);
uint64_t tb_le64_get(const uint8_t *at) TB_NONNULL(1);

typedef struct tb_cursor {
    const uint8_t *at; /* borrowed: next byte to read */
    size_t left;       /* bytes behind it */
} tb_cursor;

/* Each takes bytes from the front; MALFORMED when too few are left, and the
 * cursor stays. tb_cursor_take gives a borrowed pointer into the bytes. */
tb_rc tb_cursor_take(tb_cursor *c, const uint8_t **out, size_t n, tb_err *err)
    TB_NONNULL(1, 2) TB_MUST_CHECK;
tb_rc tb_cursor_u8(tb_cursor *c, uint8_t *out, tb_err *err) TB_MUST_CHECK;
tb_rc tb_cursor_u32(tb_cursor *c, uint32_t *out, tb_err *err) TB_MUST_CHECK;
tb_rc tb_cursor_u64(tb_cursor *c, uint64_t *out, tb_err *err) TB_MUST_CHECK;

#endif
