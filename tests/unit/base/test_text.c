#include "base/text.h"

#include "support/check.h"

static void whole_numbers_are_read_strictly(void **state)
{
    (void)state;
    static const char *const bad[] = {"",    " 1", "1 ",  "-1", "+1",
                                      "0x1", "1.", "1e3", "a",  "1\n"};
    tb_err err = {0};
    uint64_t v = 7;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        CHECK_ERR(tb_text_u64(bad[i], &v, &err), TB_E_USAGE, err, bad[i]);
        CHECK(v == 7);
    }
    CHECK_ERR(tb_text_u64("18446744073709551616", &v, &err), TB_E_USAGE, err,
              "too large");
    CHECK_OK(tb_text_u64("18446744073709551615", &v, &err), err);
    CHECK(v == UINT64_MAX);
    CHECK_OK(tb_text_u64("007", &v, &err), err);
    CHECK(v == 7);
}

static void real_numbers_are_read_strictly(void **state)
{
    (void)state;
    static const char *const bad[] = {"",  " 1",   "1 ",   "nan", "inf",
                                      "-", "0x10", "1e",   "e1",  "1,5",
                                      ".", "-inf", "1e999"};
    tb_err err = {0};
    double v = 7.0;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        CHECK_ERR(tb_text_f64(bad[i], &v, &err), TB_E_USAGE, err, bad[i]);
        CHECK(v == 7.0);
    }
    CHECK_OK(tb_text_f64("-2.5e-1", &v, &err), err);
    CHECK(v == -0.25);
    CHECK_OK(tb_text_f64(".5", &v, &err), err);
    CHECK(v == 0.5);
}

static void a_mistyped_name_finds_the_nearest(void **state)
{
    (void)state;
    static const char *const names[] = {"rounds", "momentum", "batch",
                                        "deadline"};
    static const struct {
        const char *text;
        const char *want;
    } cases[] = {
        {"round", "rounds"},
        {"roudns", "rounds"}, /* a swap is one step */
        {"momentun", "momentum"},
        {"bach", "batch"},
        {"deadlin", "deadline"},
        {"xyz", NULL},
        {"", NULL},
        {"rounds", "rounds"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *got = tb_text_nearest(cases[i].text, names, 4);
        if (cases[i].want == NULL) {
            CHECK(got == NULL);
        } else {
            assert_non_null(got);
            assert_string_equal(got, cases[i].want);
        }
    }
    char longest[100];
    for (size_t i = 0; i < 99; i++) {
        longest[i] = 'r';
    }
    longest[99] = '\0';
    CHECK(tb_text_nearest(longest, names, 4) == NULL);
}

static void bytes_are_written_for_people(void **state)
{
    (void)state;
    static const struct {
        uint64_t bytes;
        const char *want;
    } cases[] = {
        {0, "0 B"},
        {999, "999 B"},
        {1000, "1.0 kB"},
        {1550, "1.6 kB"},
        {99949, "99.9 kB"},
        {123456, "123 kB"},
        {999600, "1.0 MB"},
        {1500000, "1.5 MB"},
        {5000000000, "5.0 GB"},
        {UINT64_MAX, "18446744 TB"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char got[32];
        tb_text_bytes(cases[i].bytes, got, sizeof got);
        assert_string_equal(got, cases[i].want);
    }
}

static void utf8_is_read_strictly(void **state)
{
    (void)state;
    static const struct { /* RFC 3629, sections 3, 4, 7 and 10 */
        const char *text;
        uint32_t want;
    } cases[] = {
        {"A", 0x41},
        {"\x7f", 0x7f},
        {"\xc2\x80", 0x80},
        {"\xe2\x89\xa2", 0x2262},
        {"\xef\xbf\xbf", 0xffff},
        {"\xf0\xa3\x8e\xb4", 0x233b4},
        {"\xf4\x8f\xbf\xbf", 0x10ffff},
        {"", 0},
        {"\x80", 0},             /* a follower alone */
        {"\xc0\x80", 0},         /* NUL in two bytes */
        {"\xc1\xbf", 0},         /* overlong */
        {"\xe0\x9f\xbf", 0},     /* overlong */
        {"\xf0\x8f\xbf\xbf", 0}, /* overlong */
        {"\xed\xa0\x80", 0},     /* a surrogate */
        {"\xf4\x90\x80\x80", 0}, /* over U+10FFFF */
        {"\xe2\x89", 0},         /* cut */
        {"\xf8\x88\x80\x80\x80", 0},
        {"\xff", 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *at = cases[i].text;
        CHECK(tb_text_next_code(&at) == cases[i].want);
        CHECK((at == cases[i].text) == (cases[i].want == 0));
        CHECK(cases[i].want == 0 || *at == '\0');
    }
}

static void patterns_fit_what_they_say(void **state)
{
    (void)state;
    static const struct {
        const char *pattern;
        const char *text;
        bool fits;
    } rows[] = {
        {"", "", true},
        {"", "a", false},
        {"*", "", true},
        {"*", "fc1.weight", true},
        {"fc1.*", "fc1.weight", true},
        {"fc1.*", "fc10.weight", false},
        {"*.bias", "fc1.weight", false},
        {"*.bias", "a.bias.bias", true},
        {"fc?.bias", "fc2.bias", true},
        {"fc?.bias", "fc.bias", false},
        {"*a*b*c", "xxaxbxbxc", true},
        {"*a*b*c", "xxaxcxb", false},
        {"[a]", "a", false},
        {"[a]", "[a]", true},
        {"**", "x", true},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        CHECK(tb_text_fits(rows[i].pattern, rows[i].text) == rows[i].fits);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whole_numbers_are_read_strictly),
        cmocka_unit_test(real_numbers_are_read_strictly),
        cmocka_unit_test(a_mistyped_name_finds_the_nearest),
        cmocka_unit_test(bytes_are_written_for_people),
        cmocka_unit_test(utf8_is_read_strictly),
        cmocka_unit_test(patterns_fit_what_they_say),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
