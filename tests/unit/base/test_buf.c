#include "base/buf.h"

#include <string.h>

#include "base/mem.h"
#include "support/check.h"

static void numbers_are_little_endian(void **state)
{
    (void)state;
    static const uint8_t want[] = {0x01, 0x05, 0x04, 0x03, 0x02, 0x0d, 0x0c,
                                   0x0b, 0x0a, 0x09, 0x08, 0x07, 0x06};
    tb_buf buf;
    tb_err err = {0};
    tb_buf_init(&buf, 100);
    CHECK_OK(tb_buf_put_u8(&buf, 1, &err), err);
    CHECK_OK(tb_buf_put_u32(&buf, 0x02030405, &err), err);
    CHECK_OK(tb_buf_put_u64(&buf, 0x060708090a0b0c0d, &err), err);
    CHECK(buf.len == sizeof want && memcmp(buf.data, want, sizeof want) == 0);

    tb_cursor c = {buf.data, buf.len};
    uint8_t a = 0;
    uint32_t b = 0;
    uint64_t d = 0;
    CHECK_OK(tb_cursor_u8(&c, &a, &err), err);
    CHECK_OK(tb_cursor_u32(&c, &b, &err), err);
    CHECK_OK(tb_cursor_u64(&c, &d, &err), err);
    CHECK(a == 1 && b == 0x02030405 && d == 0x060708090a0b0c0d && c.left == 0);
    tb_buf_release(&buf);
    CHECK(buf.data == NULL && buf.len == 0 && buf.max == 100);
}

static void a_buffer_grows_to_its_maximum_and_no_further(void **state)
{
    (void)state;
    static const size_t maxima[] = {0, 1, 255, 256, 257, 1000};
    for (size_t i = 0; i < sizeof maxima / sizeof *maxima; i++) {
        tb_buf buf;
        tb_err err = {0};
        tb_buf_init(&buf, maxima[i]);
        for (size_t n = 0; n < maxima[i]; n++) {
            CHECK_OK(tb_buf_put_u8(&buf, (uint8_t)n, &err), err);
        }
        CHECK_ERR(tb_buf_put_u8(&buf, 0, &err), TB_E_LIMIT, err, "over");
        CHECK(buf.len == maxima[i]);
        for (size_t n = 0; n < maxima[i]; n++) {
            CHECK(buf.data[n] == (uint8_t)n);
        }
        CHECK_OK(tb_buf_put(&buf, NULL, 0, &err), err);
        CHECK_ERR(tb_buf_reserve(&buf, SIZE_MAX, &err), TB_E_LIMIT, err, "");
        tb_buf_release(&buf);
    }
}

static void one_large_reserve_allocates_no_more_than_asked(void **state)
{
    (void)state;
    tb_buf buf;
    tb_err err = {0};
    tb_buf_init(&buf, SIZE_MAX);
    CHECK_OK(tb_buf_reserve(&buf, 100001, &err), err);
    CHECK(buf.cap == 100001);
    tb_buf_release(&buf);
}

static void printf_may_fill_a_buffer_to_the_last_byte(void **state)
{
    (void)state;
    tb_buf buf;
    tb_err err = {0};
    tb_buf_init(&buf, 300);
    char text[301];
    memset(text, 'x', 300);
    text[300] = '\0';
    CHECK_OK(tb_buf_printf(&buf, &err, "%.150s", text), err);
    CHECK_OK(tb_buf_printf(&buf, &err, "%s", text + 150), err);
    CHECK(buf.len == 300 && memcmp(buf.data, text, 300) == 0);
    CHECK_ERR(tb_buf_printf(&buf, &err, "%d", 1), TB_E_LIMIT, err, "300");
    CHECK(buf.len == 300);
    tb_buf_release(&buf);
}

static tb_rc fill(void *arg, tb_err *err)
{
    (void)arg;
    tb_buf buf;
    tb_buf_init(&buf, 10000);
    tb_rc rc = TB_OK;
    for (int i = 0; i < 100 && rc == TB_OK; i++) {
        size_t before = buf.len;
        rc = tb_buf_printf(&buf, err, "number %d", i);
        CHECK(rc == TB_OK || buf.len == before);
    }
    tb_buf_release(&buf);
    return rc;
}

static void it_survives_each_allocation_failing(void **state)
{
    (void)state;
    CHECK(tb_check_each_allocation(fill, NULL) >= 2);
}

static void a_cursor_never_passes_its_end(void **state)
{
    (void)state;
    static const uint8_t bytes[8] = {1, 2, 3, 4, 5, 6, 7, 8};
    for (size_t n = 0; n <= sizeof bytes; n++) {
        tb_cursor c = {bytes, n};
        tb_err err = {0};
        const uint8_t *at = NULL;
        uint8_t a = 0;
        uint32_t b = 0;
        uint64_t d = 0;
        CHECK((tb_cursor_u64(&c, &d, &err) == TB_OK) == (n >= 8));
        c = (tb_cursor){bytes, n};
        CHECK((tb_cursor_u32(&c, &b, &err) == TB_OK) == (n >= 4));
        c = (tb_cursor){bytes, n};
        CHECK((tb_cursor_u8(&c, &a, &err) == TB_OK) == (n >= 1));
        c = (tb_cursor){bytes, n};
        CHECK_ERR(tb_cursor_take(&c, &at, n + 1, &err), TB_E_MALFORMED, err,
                  "left");
        CHECK(c.at == bytes && c.left == n && at == NULL);
        CHECK_OK(tb_cursor_take(&c, &at, n, &err), err);
        CHECK(at == bytes && c.left == 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_are_little_endian),
        cmocka_unit_test(a_buffer_grows_to_its_maximum_and_no_further),
        cmocka_unit_test(one_large_reserve_allocates_no_more_than_asked),
        cmocka_unit_test(printf_may_fill_a_buffer_to_the_last_byte),
        cmocka_unit_test(it_survives_each_allocation_failing),
        cmocka_unit_test(a_cursor_never_passes_its_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
