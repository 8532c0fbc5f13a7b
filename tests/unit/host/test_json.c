#include "host/json.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "support/check.h"

static void check_text(const tb_json *json, bool indent, const char *want)
{
    tb_buf out;
    tb_err err = {0};
    tb_buf_init(&out, 4096);
    CHECK_OK(tb_json_write(json, indent, &out, &err), err);
    CHECK_OK(tb_buf_put_u8(&out, 0, &err), err);
    assert_string_equal((char *)out.data, want);
    tb_buf_release(&out);
}

static void what_is_put_is_written_in_order(void **state)
{
    (void)state;
    tb_err err = {0};
    tb_json *o = tb_json_object();
    tb_json *a = tb_json_array();
    CHECK_OK(tb_json_put_text(o, "z", "a\"b\n\xc3\xa9", &err), err);
    CHECK_OK(tb_json_put_int(o, "i", -5, &err), err);
    CHECK_OK(tb_json_put_float(o, "f", 0.1, &err), err);
    CHECK_OK(tb_json_put_float(o, "nan", NAN, &err), err);
    CHECK_OK(tb_json_put_text(o, "none", NULL, &err), err);
    CHECK_OK(tb_json_put_bool(o, "b", true, &err), err);
    CHECK_OK(tb_json_append_text(a, "x", &err), err);
    CHECK_OK(tb_json_append_float(a, 2.5, &err), err);
    CHECK_OK(tb_json_put(o, "a", &a, &err), err);
    CHECK(a == NULL);
    check_text(o, false,
               "{\"z\":\"a\\\"b\\n\xc3\xa9\",\"i\":-5,\"f\":0.1,"
               "\"nan\":null,\"none\":null,\"b\":true,\"a\":[\"x\",2.5]}");
    tb_json_free(&o);
    CHECK(o == NULL);
    tb_json_free(&o);
    o = tb_json_object();
    CHECK_OK(tb_json_put_int(o, "i", 1, &err), err);
    check_text(o, true, "{\n  \"i\": 1\n}\n");
    tb_json_free(&o);
}

static void every_float32_survives(void **state)
{
    (void)state;
    static const float values[] = {0.1f,  1.0f / 3, 3.4028235e38f, 1.4e-45f,
                                   -0.0f, 16777216, 0.86543214f};
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        tb_err err = {0};
        tb_json *o = tb_json_object();
        tb_buf out;
        tb_buf_init(&out, 100);
        CHECK_OK(tb_json_put_float(o, "v", (double)values[i], &err), err);
        CHECK_OK(tb_json_write(o, false, &out, &err), err);
        tb_json *back = NULL;
        CHECK_OK(tb_json_parse(&back, (char *)out.data, out.len, &err), err);
        float got = (float)tb_json_float(back, "v", 9);
        CHECK(memcmp(&got, &values[i], sizeof got) == 0);
        tb_json_free(&back);
        tb_json_free(&o);
        tb_buf_release(&out);
    }
}

static void a_reply_is_read_by_key_and_type(void **state)
{
    (void)state;
    static const char text[] =
        "{\"t\":\"x\",\"i\":7,\"f\":1.5,\"b\":true,\"a\":[{\"i\":1},{}]}";
    tb_err err = {0};
    tb_json *o = NULL;
    CHECK_OK(tb_json_parse(&o, text, sizeof text - 1, &err), err);
    assert_string_equal(tb_json_text(o, "t", "no"), "x");
    assert_string_equal(tb_json_text(o, "i", "no"), "no");
    CHECK(tb_json_int(o, "i", -1) == 7 && tb_json_int(o, "f", -1) == -1);
    CHECK(tb_json_float(o, "f", 0) == 1.5 && tb_json_float(o, "i", 0) == 7.0);
    CHECK(tb_json_bool(o, "b", false) && tb_json_bool(o, "no", true));
    const tb_json *a = tb_json_get(o, "a");
    CHECK(tb_json_count(a) == 2 && tb_json_count(o) == 0);
    CHECK(tb_json_int(tb_json_at(a, 0), "i", 0) == 1);
    CHECK(tb_json_at(a, 2) == NULL && tb_json_get(a, "i") == NULL);
    CHECK(tb_json_int(NULL, "i", 3) == 3);
    tb_json_free(&o);
}

static void what_is_not_json_is_refused_with_its_place(void **state)
{
    (void)state;
    static const char *const bad[] = {"",      "{",        "{\"a\":1,}",
                                      "[1,2",  "\"\xff\"", "{\"a\":1} x",
                                      "{1:2}", "nul",      "{\"a\":1,\"a\":2}"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        tb_err err = {0};
        tb_json *o = NULL;
        CHECK_ERR(tb_json_parse(&o, bad[i], strlen(bad[i]), &err),
                  TB_E_MALFORMED, err, "line 1, column");
        CHECK(o == NULL);
    }
    tb_err err = {0};
    tb_json *o = NULL;
    CHECK_ERR(tb_json_parse(&o, "", TB_JSON_BYTES_MAX + 1, &err), TB_E_LIMIT,
              err, "at most");
}

static void bad_text_and_wrong_kinds_are_refused(void **state)
{
    (void)state;
    tb_err err = {0};
    tb_json *o = tb_json_object();
    tb_json *a = tb_json_array();
    CHECK_ERR(tb_json_put_text(o, "k", "\xff", &err), TB_E_USAGE, err, "UTF-8");
    CHECK_ERR(tb_json_put_int(a, "k", 1, &err), TB_E_USAGE, err, "object");
    CHECK_ERR(tb_json_append_float(o, 1, &err), TB_E_USAGE, err, "array");
    CHECK_ERR(tb_json_put_int(NULL, "k", 1, &err), TB_E_NOMEM, err, "k");
    tb_json *child = tb_json_object();
    CHECK_ERR(tb_json_put(NULL, "k", &child, &err), TB_E_NOMEM, err, "k");
    CHECK(child == NULL); /* freed */
    tb_buf out;
    tb_buf_init(&out, 1);
    CHECK_ERR(tb_json_write(o, false, &out, &err), TB_E_LIMIT, err, "");
    CHECK(out.len == 0);
    tb_buf_release(&out);
    tb_json_free(&o);
    tb_json_free(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_put_is_written_in_order),
        cmocka_unit_test(every_float32_survives),
        cmocka_unit_test(a_reply_is_read_by_key_and_type),
        cmocka_unit_test(what_is_not_json_is_refused_with_its_place),
        cmocka_unit_test(bad_text_and_wrong_kinds_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
