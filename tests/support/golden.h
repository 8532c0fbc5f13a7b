/* tests/support/golden.h - reads tests/golden/train/NAME.f32: little-endian
 * float32 numbers that the scripts there made. */
#ifndef TB_TESTS_SUPPORT_GOLDEN_H
#define TB_TESTS_SUPPORT_GOLDEN_H

#include <string.h>

#include "base/file.h"
#include "base/mem.h"
#include "support/check.h"

/* A file of exactly n floats, for tb_mem_free. */
static inline float *tb_test_golden(const char *name, size_t n)
{
    tb_err err;
    tb_buf path;
    tb_buf buf;
    tb_buf_init(&path, 4096);
    tb_buf_init(&buf, 1 << 20);
    CHECK_OK(tb_buf_printf(&path, &err, "%s/tests/golden/train/%s.f32%c",
                           TB_SOURCE_DIR, name, '\0'),
             err);
    CHECK_OK(tb_file_read(&buf, (const char *)path.data, &err), err);
    assert_int_equal(buf.len, n * sizeof(float));
    float *out = tb_mem_array(n, sizeof *out);
    CHECK(out != NULL);
    memcpy(out, buf.data, buf.len);
    tb_buf_release(&path);
    tb_buf_release(&buf);
    return out;
}

#endif
