/* tests/support/check.h - what every test includes: cmocka, CHECK and its kin,
 * and one loop that makes each allocation fail in turn. */
#ifndef TB_TESTS_SUPPORT_CHECK_H
#define TB_TESTS_SUPPORT_CHECK_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/err.h"

/* Fails the test at this line unless the condition holds. */
#define CHECK(condition) assert_true(condition)

/* Fails unless the call gives TB_OK; prints the text of err, a tb_err. */
#define CHECK_OK(call, err) tb_check_ok((call), &(err), __FILE__, __LINE__)

/* Fails unless the call gives rc and its error text contains part. */
#define CHECK_ERR(call, want, err, part)                                       \
    tb_check_err((call), (want), &(err), (part), __FILE__, __LINE__)

void tb_check_ok(tb_rc rc, const tb_err *err, const char *file, int line);
void tb_check_err(tb_rc rc, tb_rc want, const tb_err *err, const char *part,
                  const char *file, int line);

/* One attempt of tb_check_each_allocation: calls what is tested, gives back
 * all that it made, and returns its code. */
typedef tb_rc tb_attempt_fn(void *arg, tb_err *err);

/* Runs attempt with the first, the second, ... allocation failing until it
 * succeeds: each failure must be NOMEM, with a text, and leak nothing. Returns
 * how many allocations were made to fail. */
size_t tb_check_each_allocation(tb_attempt_fn *attempt, void *arg);

#endif
