#include "support/check.h"

#include <errno.h>
#include <string.h>

static void a_failure_carries_its_code_and_text(void **state)
{
    (void)state;
    tb_err err = {0};
    CHECK(tb_fail(&err, TB_E_LIMIT, "n=%d over %d", 9, 8) == TB_E_LIMIT);
    CHECK(err.rc == TB_E_LIMIT);
    assert_string_equal(err.text, "n=9 over 8");
}

static void no_error_object_is_fine(void **state)
{
    (void)state;
    CHECK(tb_fail(NULL, TB_E_IO, "x") == TB_E_IO);
    CHECK(tb_fail_errno(NULL, ENOSPC, "x") == TB_E_FULL);
    CHECK(tb_err_prefix(NULL, TB_E_BUSY, "x") == TB_E_BUSY);
}

static void errno_is_sorted_and_named(void **state)
{
    (void)state;
    static const struct {
        int errnum;
        tb_rc rc;
    } cases[] = {
        {ENOSPC, TB_E_FULL},      {EDQUOT, TB_E_FULL}, {ENOMEM, TB_E_NOMEM},
        {ENOENT, TB_E_NOT_FOUND}, {EACCES, TB_E_IO},   {EIO, TB_E_IO},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        tb_err err = {0};
        CHECK_ERR(tb_fail_errno(&err, cases[i].errnum, "a/%s", "b"),
                  cases[i].rc, err, "a/b: ");
        CHECK(strstr(err.text, strerror(cases[i].errnum)) != NULL);
    }
}

static void a_prefix_goes_before_the_text_and_keeps_the_code(void **state)
{
    (void)state;
    tb_err err = {0};
    tb_rc rc = tb_fail(&err, TB_E_USAGE, "unknown key");
    CHECK_ERR(tb_err_prefix(&err, rc, "job.yaml:%d:%d", 3, 7), TB_E_USAGE, err,
              "job.yaml:3:7: unknown key");
}

static void a_long_text_is_cut_and_still_ends(void **state)
{
    (void)state;
    char text[2 * TB_ERR_TEXT_BYTES];
    memset(text, 'x', sizeof text);
    text[sizeof text - 1] = '\0';
    tb_err err = {0};
    (void)tb_fail(&err, TB_E_IO, "%s", text);
    CHECK(strlen(err.text) == TB_ERR_TEXT_BYTES - 1);
    (void)tb_err_prefix(&err, TB_E_IO, "%s", text);
    CHECK(strlen(err.text) == TB_ERR_TEXT_BYTES - 1);
    (void)tb_fail_errno(&err, EIO, "%s", text);
    CHECK(strlen(err.text) == TB_ERR_TEXT_BYTES - 1);
}

static void every_code_has_a_name_and_someone_who_acts(void **state)
{
    (void)state;
    for (int i = 0; i < TB_RC_COUNT; i++) {
        const char *name = tb_rc_name((tb_rc)i);
        CHECK(name != NULL && name[0] != '\0');
        for (int j = 0; j < i; j++) {
            assert_string_not_equal(name, tb_rc_name((tb_rc)j));
        }
    }
    CHECK(tb_rc_fault(TB_OK) == TB_FAULT_NONE);
    CHECK(tb_rc_fault(TB_E_MALFORMED) == TB_FAULT_PEER);
    CHECK(tb_rc_fault(TB_E_FULL) == TB_FAULT_HOST);
    CHECK(tb_rc_fault(TB_E_BUG) == TB_FAULT_US);
    CHECK(tb_rc_fault((tb_rc)99) == TB_FAULT_US);
    assert_string_equal(tb_rc_name((tb_rc)99), "unknown");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_failure_carries_its_code_and_text),
        cmocka_unit_test(no_error_object_is_fine),
        cmocka_unit_test(errno_is_sorted_and_named),
        cmocka_unit_test(a_prefix_goes_before_the_text_and_keeps_the_code),
        cmocka_unit_test(a_long_text_is_cut_and_still_ends),
        cmocka_unit_test(every_code_has_a_name_and_someone_who_acts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
