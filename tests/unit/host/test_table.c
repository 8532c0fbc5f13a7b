#include "host/table.h"

#include <string.h>

#include "support/check.h"

static const tb_column columns[] = {
    {"name", "MODEL", TB_CELL_TEXT, 0},
    {"n", "ROUNDS", TB_CELL_INT, 0},
    {"accuracy", "ACCURACY", TB_CELL_FIXED, 4},
    {"bytes", "SIZE", TB_CELL_BYTES, 0},
    {"ms", "TIME", TB_CELL_DURATION, 0},
    {"at", "WHEN", TB_CELL_TIME, 0},
};

static tb_json *parse(const char *text)
{
    tb_err err = {0};
    tb_json *json = NULL;
    CHECK_OK(tb_json_parse(&json, text, strlen(text), &err), err);
    return json;
}

static void check_table(const char *rows, const char *want)
{
    tb_err err = {0};
    tb_buf out;
    tb_json *json = parse(rows);
    tb_buf_init(&out, 4096);
    CHECK_OK(tb_table_write(columns, 6, json, NULL, &out, &err), err);
    CHECK_OK(tb_buf_put_u8(&out, 0, &err), err);
    assert_string_equal((char *)out.data, want);
    tb_buf_release(&out);
    tb_json_free(&json);
}

static void columns_are_as_wide_as_their_widest_cell(void **state)
{
    (void)state;
    check_table(
        "[{\"name\":\"fashion\",\"n\":30,\"accuracy\":0.86,"
        "\"bytes\":799000,\"ms\":1500,\"at\":1769868309},"
        "{\"name\":\"\xc3\xa9t\xc3\xa9\",\"n\":1234567,\"accuracy\":1,"
        "\"bytes\":12,\"ms\":0.25,\"at\":0}]",
        "MODEL     ROUNDS  ACCURACY    SIZE     TIME  WHEN\n"
        "fashion       30    0.8600  799 kB    1.5 s  2026-01-31 14:05:09\n"
        "\xc3\xa9t\xc3\xa9      1234567    1.0000    12 B  0.25 ms  "
        "1970-01-01 00:00:00\n");
}

static void what_is_missing_or_null_is_a_dash(void **state)
{
    (void)state;
    check_table("[{\"name\":null,\"n\":\"x\",\"bytes\":0}]",
                "MODEL  ROUNDS  ACCURACY  SIZE  TIME  WHEN\n"
                "-           -         -   0 B     -  -\n");
    check_table("[]", "MODEL  ROUNDS  ACCURACY  SIZE  TIME  WHEN\n");
}

static void a_text_cannot_steer_the_terminal(void **state)
{
    (void)state;
    check_table("[{\"name\":\"a\\u001b[31m\\nb\"}]",
                "MODEL     ROUNDS  ACCURACY  SIZE  TIME  WHEN\n"
                "a?[31m?b       -         -     -     -  -\n");
}

static void numbers_and_booleans_show_as_text_too(void **state)
{
    (void)state;
    check_table("[{\"name\":true},{\"name\":12}]",
                "MODEL  ROUNDS  ACCURACY  SIZE  TIME  WHEN\n"
                "true        -         -     -     -  -\n"
                "12          -         -     -     -  -\n");
}

static tb_rc attempt(void *arg, tb_err *err)
{
    tb_buf out;
    tb_buf_init(&out, 4096);
    tb_rc rc = tb_table_write(columns, 6, arg, NULL, &out, err);
    CHECK(rc == TB_OK || out.len == 0);
    tb_buf_release(&out);
    return rc;
}

static void it_survives_each_allocation_failing(void **state)
{
    (void)state;
    tb_json *rows = parse("[{\"name\":\"a\"},{\"name\":\"b\"}]");
    CHECK(tb_check_each_allocation(attempt, rows) >= 2);
    tb_json_free(&rows);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(columns_are_as_wide_as_their_widest_cell),
        cmocka_unit_test(what_is_missing_or_null_is_a_dash),
        cmocka_unit_test(a_text_cannot_steer_the_terminal),
        cmocka_unit_test(numbers_and_booleans_show_as_text_too),
        cmocka_unit_test(it_survives_each_allocation_failing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
