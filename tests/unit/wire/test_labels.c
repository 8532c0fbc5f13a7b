#include <stdio.h>
#include <string.h>

#include "support/check.h"
#include "wire/labels.h"

/* Labels from a text that is right. */
static tb_labels labels(const char *text)
{
    tb_labels out = {""};
    tb_err err = {0};
    CHECK_OK(tb_labels_change(&out, text, &err), err);
    CHECK(tb_labels_valid(out.text));
    return out;
}

static void labels_have_one_form(void **state)
{
    (void)state;
    static const struct {
        const char *in, *out;
    } cases[] = {
        {"", ""},
        {"site=lyon", "site=lyon"},
        {"  tag=b   site=lyon tag=a ", "site=lyon tag=a tag=b"},
        {"a=1 a=1", "a=1"},
        {"b=2 a=1 c=3", "a=1 b=2 c=3"},
        {"at=12:30+01:00 of=x/y@z", "at=12:30+01:00 of=x/y@z"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_string_equal(labels(cases[i].in).text, cases[i].out);
    }
}

static void a_change_replaces_all_values_of_its_keys(void **state)
{
    (void)state;
    static const struct {
        const char *before, *change, *after;
    } cases[] = {
        {"site=lyon tag=a tag=b", "tag=c", "site=lyon tag=c"},
        {"site=lyon tag=a", "tag=", "site=lyon"},
        {"site=lyon", "site=", ""},
        {"site=lyon", "tag=b tag=a", "site=lyon tag=a tag=b"},
        {"site=lyon site2=x", "site=paris", "site2=x site=paris"},
        {"a=1", "", "a=1"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        tb_err err = {0};
        tb_labels l = labels(cases[i].before);
        CHECK_OK(tb_labels_change(&l, cases[i].change, &err), err);
        assert_string_equal(l.text, cases[i].after);
    }
}

static void what_is_no_label_is_refused_and_changes_nothing(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "site",     "=lyon",       "site lyon=", "si te=x=y", "site==x",
        "site=a b", "s\xc3\xa9=x", "site=a,b",   "site=a|b",  "-x=1",
        ".x=1",     "site=\"a\"",  "site=a\n",   "a=1 b"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        tb_err err = {0};
        tb_labels l = labels("keep=this");
        CHECK(tb_labels_change(&l, bad[i], &err) == TB_E_USAGE);
        assert_non_null(strstr(err.text, "KEY=VALUE"));
        assert_string_equal(l.text, "keep=this");
    }
    CHECK(tb_label_check("site=lyon", NULL) == TB_OK);
    CHECK(tb_label_check("site=", NULL) == TB_E_USAGE);
}

static void labels_end_at_their_limit(void **state)
{
    (void)state;
    char text[400] = "";
    tb_labels l = {""};
    for (int i = 0; i < 32; i++) { /* 32 pairs of 7 bytes and 31 blanks: 255 */
        char pair[16];
        (void)snprintf(pair, sizeof pair, "k%02d=abc ", i);
        (void)snprintf(text + strlen(text), sizeof text - strlen(text), "%s",
                       pair);
    }
    CHECK(tb_labels_change(&l, text, NULL) == TB_OK);
    CHECK(strlen(l.text) == 255 && tb_labels_valid(l.text));
    CHECK(tb_labels_change(&l, "x=1", NULL) == TB_E_LIMIT);
    CHECK(strlen(l.text) == 255);
}

static void other_forms_are_not_valid(void **state)
{
    (void)state;
    static const char *const bad[] = {"b=1 a=1",  "a=1 a=1", " a=1", "a=1 ",
                                      "a=1  b=1", "a=",      "a",    "=1"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        CHECK(!tb_labels_valid(bad[i]));
    }
    CHECK(tb_labels_valid("") && tb_labels_valid("a=1 a=2 b=1"));
}

static void conditions_choose_clients(void **state)
{
    (void)state;
    static const struct {
        const char *condition, *given, *reported;
        bool fits;
    } cases[] = {
        {"site=lyon", "site=lyon", "", true},
        {"site=lyon", "site=paris", "", false},
        {"site=lyon", "", "", false},
        {"site=lyon|paris", "site=paris", "", true},
        {"site=ly|on", "site=lyon", "", false},
        {"tag=b", "tag=a tag=b", "", true},
        {"tag!=b", "tag=a tag=b", "", false},
        {"tag!=b|c", "tag=a", "", true},
        {"tag!=b", "", "", true},
        {"memory>=512MB", "memory=512MB", "", true},
        {"memory>=512MB", "memory=511.9MB", "", false},
        {"memory>=512MB", "memory=1GB", "", true},
        {"memory>=512MB", "memory=500MiB", "", true}, /* 524,288,000 */
        {"memory>=1KiB", "memory=1000B", "", false},
        {"memory<=512MB", "memory=1GB", "", false},
        {"memory<=1GB", "memory=1GB", "", true},
        {"memory>=512", "memory=1GB", "", false}, /* of another kind */
        {"memory>=512MB", "memory=much", "", false},
        {"memory>=512MB", "", "", false},
        {"cpus>=4", "cpus=16", "", true}, /* not by its letters */
        {"cpus>=4", "cpus=3.99", "", false},
        {"up>=90m", "up=1.5h", "", true},
        {"up>=90m", "up=1d", "", true},
        {"up<=1s", "up=1500ms", "", false},
        /* The operator's word counts, for keys that he gave. */
        {"memory>=1GB", "memory=512MB", "memory=64GB", false},
        {"memory>=1GB", "site=lyon", "memory=64GB", true},
        {"site=lyon", "site=paris", "site=lyon", false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        tb_err err = {0};
        tb_eligible e = {0};
        tb_labels given = labels(cases[i].given);
        tb_labels reported = labels(cases[i].reported);
        CHECK_OK(tb_eligible_add(&e, cases[i].condition, &err), err);
        if (tb_eligible_fits(&e, &given, &reported) != cases[i].fits) {
            fail_msg("%s on %s / %s", cases[i].condition, cases[i].given,
                     cases[i].reported);
        }
    }
}

static void all_conditions_must_hold(void **state)
{
    (void)state;
    tb_eligible e = {0};
    tb_labels none = {""};
    tb_labels both = labels("memory=1GB site=lyon");
    tb_labels one = labels("site=lyon");
    CHECK(tb_eligible_fits(&e, &none, &none)); /* no condition: everybody */
    CHECK(tb_eligible_add(&e, " site = lyon | paris ", NULL) == TB_OK);
    CHECK(tb_eligible_add(&e, "memory >= 512MB", NULL) == TB_OK);
    assert_string_equal(e.text, "site=lyon|paris, memory>=512MB");
    CHECK(tb_eligible_fits(&e, &both, &none));
    CHECK(!tb_eligible_fits(&e, &one, &none));
    CHECK(!tb_eligible_fits(&e, &none, &none));
}

static void a_canonical_text_reads_back(void **state)
{
    (void)state;
    static const char text[] = "site=lyon|paris, tag!=old, memory>=512MB, a<=1";
    tb_eligible e;
    tb_err err = {0};
    CHECK_OK(tb_eligible_read(&e, text, &err), err);
    CHECK(e.n == 4);
    assert_string_equal(e.text, text);
    static const char *const bad[] = {"site = lyon", "site=lyon,tag=a",
                                      "site=lyon, ", ", site=lyon",
                                      "x",           "site=lyon tag=a"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        CHECK(tb_eligible_read(&e, bad[i], NULL) == TB_E_MALFORMED);
        CHECK(e.n == 0 && e.text[0] == '\0');
    }
    CHECK(tb_eligible_read(&e, "", NULL) == TB_OK && e.n == 0);
}

static void an_error_says_at_which_column(void **state)
{
    (void)state;
    static const struct {
        const char *text, *column;
    } cases[] = {
        {"", "column 1:"},
        {"=lyon", "column 1:"},
        {"site", "column 5:"},
        {"site lyon", "column 6:"},
        {"site > 3", "column 6:"},
        {"site=", "column 6:"},
        {"site=a|", "column 8:"},
        {"site=a b", "column 8:"},
        {"memory>=lots", "column 9:"},
        {"memory>=5XB", "column 9:"},
        {"memory>=1MB|2MB", "column 12:"},
        {"memory >= 1.", "column 11:"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        tb_err err = {0};
        tb_eligible e = {0};
        CHECK(tb_eligible_add(&e, cases[i].text, &err) == TB_E_USAGE);
        if (strstr(err.text, cases[i].column) == NULL) {
            fail_msg("%s: %s", cases[i].text, err.text);
        }
        CHECK(e.n == 0 && e.text[0] == '\0');
        CHECK(tb_condition_check(cases[i].text, NULL) == TB_E_USAGE);
    }
}

static void conditions_end_at_their_limits(void **state)
{
    (void)state;
    tb_eligible e = {0};
    for (uint32_t i = 0; i < TB_CONDITIONS_MAX; i++) {
        CHECK(tb_eligible_add(&e, "a=1", NULL) == TB_OK);
    }
    CHECK(tb_eligible_add(&e, "a=1", NULL) == TB_E_LIMIT);
    tb_eligible wide = {0};
    static const char sixty[] =
        "k=0123456789012345678901234567890123456789012345678901234567";
    int n = 0;
    while (tb_eligible_add(&wide, sixty, NULL) == TB_OK) {
        n++;
    }
    CHECK(n == 8 && strlen(wide.text) == 8 * 60 + 7 * 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(labels_have_one_form),
        cmocka_unit_test(a_change_replaces_all_values_of_its_keys),
        cmocka_unit_test(what_is_no_label_is_refused_and_changes_nothing),
        cmocka_unit_test(labels_end_at_their_limit),
        cmocka_unit_test(other_forms_are_not_valid),
        cmocka_unit_test(conditions_choose_clients),
        cmocka_unit_test(all_conditions_must_hold),
        cmocka_unit_test(a_canonical_text_reads_back),
        cmocka_unit_test(an_error_says_at_which_column),
        cmocka_unit_test(conditions_end_at_their_limits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
