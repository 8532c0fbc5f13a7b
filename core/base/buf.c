#include "base/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"

#define FIRST_CAP_BYTES 256

void tb_buf_init(tb_buf *buf, size_t max)
{
    *buf = (tb_buf){.max = max};
}

void tb_buf_release(tb_buf *buf)
{
    tb_mem_free(buf->data);
    tb_buf_init(buf, buf->max);
}

/* Room for n more bytes and for tail bytes behind them that never count. */
static tb_rc grow(tb_buf *buf, size_t n, size_t tail, tb_err *err)
{
    size_t want = 0;
    if (n > buf->max - buf->len || tb_mem_add(&want, buf->len + n, tail) != 0) {
        return tb_fail(err, TB_E_LIMIT, "buffer: %zu + %zu bytes over %zu",
                       buf->len, n, buf->max);
    }
    if (want <= buf->cap) {
        return TB_OK;
    }
    size_t cap = buf->cap > buf->max / 2 ? buf->max : buf->cap * 2;
    cap = cap > FIRST_CAP_BYTES ? cap : FIRST_CAP_BYTES;
    cap = cap > want ? cap : want;
    uint8_t *data = tb_mem_resize(buf->data, cap, 1);
    if (data == NULL) {
        return tb_fail(err, TB_E_NOMEM, "buffer: %zu bytes", cap);
    }
    buf->data = data;
    buf->cap = cap;
    return TB_OK;
}

tb_rc tb_buf_reserve(tb_buf *buf, size_t n, tb_err *err)
{
    return grow(buf, n, 0, err);
}

tb_rc tb_buf_put(tb_buf *buf, const void *bytes, size_t n, tb_err *err)
{
    tb_rc rc = tb_buf_reserve(buf, n, err);
    if (rc == TB_OK && n > 0) {
        memcpy(buf->data + buf->len, bytes, n);
        buf->len += n;
    }
    return rc;
}

tb_rc tb_buf_put_u8(tb_buf *buf, uint8_t v, tb_err *err)
{
    return tb_buf_put(buf, &v, 1, err);
}

tb_rc tb_buf_put_u32(tb_buf *buf, uint32_t v, tb_err *err)
{
    uint8_t bytes[4];
    tb_le32_put(bytes, v);
    return tb_buf_put(buf, bytes, sizeof bytes, err);
}

tb_rc tb_buf_put_u64(tb_buf *buf, uint64_t v, tb_err *err)
{
    uint8_t bytes[8];
    tb_le64_put(bytes, v);
    return tb_buf_put(buf, bytes, sizeof bytes, err);
}

tb_rc tb_buf_printf(tb_buf *buf, tb_err *err, const char *fmt, ...)
{
    va_list args, again;
    va_start(args, fmt);
    va_copy(again, args);
    tb_rc rc = TB_E_BUG;
    int n = vsnprintf(NULL, 0, fmt, args);
    if (n < 0) {
        rc = tb_fail(err, TB_E_BUG, "buffer: bad format \"%s\"", fmt);
        goto done;
    }
    rc = grow(buf, (size_t)n, 1, err); /* vsnprintf writes a NUL */
    if (rc == TB_OK) {
        (void)vsnprintf((char *)buf->data + buf->len, (size_t)n + 1, fmt,
                        again);
        buf->len += (size_t)n;
    }
done:
    va_end(again);
    va_end(args);
    return rc;
}

void tb_le32_put(uint8_t *at, uint32_t v)
{
    for (int i = 0; i < 4; i++) {
        at[i] = (uint8_t)(v >> (8 * i));
    }
}

void tb_le64_put(uint8_t *at, uint64_t v)
{
    for (int i = 0; i < 8; i++) {
        at[i] = (uint8_t)(v >> (8 * i));
    }
}

uint32_t tb_le32_get(const uint8_t *at)
{
    uint32_t v = 0;
    for (int i = 3; i >= 0; i--) {
        v = v << 8 | at[i];
    }
    return v;
}

uint64_t tb_le64_get(const uint8_t *at)
{
    uint64_t v = 0;
    for (int i = 7; i >= 0; i--) {
        v = v << 8 | at[i];
    }
    return v;
}

tb_rc tb_cursor_take(tb_cursor *c, const uint8_t **out, size_t n, tb_err *err)
{
    if (n > c->left) {
        return tb_fail(err, TB_E_MALFORMED, "%zu bytes wanted, %zu left", n,
                       c->left);
    }
    *out = c->at;
    c->at += n;
    c->left -= n;
    return TB_OK;
}

tb_rc tb_cursor_u8(tb_cursor *c, uint8_t *out, tb_err *err)
{
    const uint8_t *at = NULL;
    tb_rc rc = tb_cursor_take(c, &at, 1, err);
    if (rc == TB_OK) {
        *out = *at;
    }
    return rc;
}

tb_rc tb_cursor_u32(tb_cursor *c, uint32_t *out, tb_err *err)
{
    const uint8_t *at = NULL;
    tb_rc rc = tb_cursor_take(c, &at, 4, err);
    if (rc == TB_OK) {
        *out = tb_le32_get(at);
    }
    return rc;
}

tb_rc tb_cursor_u64(tb_cursor *c, uint64_t *out, tb_err *err)
{
    const uint8_t *at = NULL;
    tb_rc rc = tb_cursor_take(c, &at, 8, err);
    if (rc == TB_OK) {
        *out = tb_le64_get(at);
    }
    return rc;
}
