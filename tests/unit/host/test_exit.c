#include "host/exit.h"

#include "support/check.h"

static void every_result_has_a_code_of_the_table(void **state)
{
    (void)state;
    size_t n = 0;
    const tb_exit *exits = tb_exits(&n);
    for (int rc = 0; rc < TB_RC_COUNT; rc++) {
        bool found = false;
        for (size_t i = 0; i < n; i++) {
            found |= exits[i].code == tb_exit_code((tb_rc)rc);
        }
        CHECK(found);
        CHECK((tb_exit_code((tb_rc)rc) == 0) == (rc == TB_OK));
    }
    for (size_t i = 1; i < n; i++) {
        CHECK(exits[i].code > exits[i - 1].code && exits[i].code < 256);
    }
    CHECK(tb_exit_code(TB_E_USAGE) == 2); /* as shells and getopt have it */
    CHECK(tb_exit_code((tb_rc)99) == tb_exit_code(TB_E_BUG));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_result_has_a_code_of_the_table),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
