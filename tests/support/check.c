#include "support/check.h"

#include <string.h>

#include "base/mem.h"

void tb_check_ok(tb_rc rc, const tb_err *err, const char *file, int line)
{
    if (rc != TB_OK) {
        print_error("%s: %s\n", tb_rc_name(rc),
                    err->rc == rc ? err->text : "(no text)");
        _fail(file, line);
    }
}

void tb_check_err(tb_rc rc, tb_rc want, const tb_err *err, const char *part,
                  const char *file, int line)
{
    if (rc != want) {
        print_error("%s, not %s: %s\n", tb_rc_name(rc), tb_rc_name(want),
                    err->rc == rc ? err->text : "(no text)");
        _fail(file, line);
    }
    if (err->rc != rc || strstr(err->text, part) == NULL) {
        print_error("\"%s\" is not in: %s\n", part, err->text);
        _fail(file, line);
    }
}

size_t tb_check_each_allocation(tb_attempt_fn *attempt, void *arg)
{
    size_t live = tb_mem_live();
    for (long k = 0;; k++) {
        tb_err err = {0};
        tb_mem_fail_after(k);
        tb_rc rc = attempt(arg, &err);
        tb_mem_fail_after(-1);
        if (tb_mem_live() != live) {
            fail_msg("allocation %ld failing: %zu alive before, %zu after", k,
                     live, tb_mem_live());
        }
        if (rc == TB_OK) {
            return (size_t)k;
        }
        if (rc != TB_E_NOMEM || err.rc != rc || err.text[0] == '\0') {
            fail_msg("allocation %ld failing: %s \"%s\"", k, tb_rc_name(rc),
                     err.text);
        }
    }
}
