/* core/host/exit.h - what a program's exit code means: one table for all three
 * programs, from result codes to numbers a shell script can act on. */
#ifndef TB_HOST_EXIT_H
#define TB_HOST_EXIT_H

#include <stdbool.h>

#include "base/buf.h"

typedef struct tb_exit {
    int code;
    const char *meaning; /* one line */
} tb_exit;

/* The table in rising order of codes; *n its rows. */
const tb_exit *tb_exits(size_t *n) TB_NONNULL(1);

/* The exit code of a result: 0 for TB_OK. */
int tb_exit_code(tb_rc rc);

/* Prints "tributary: <text>" on standard error when rc is not TB_OK; returns
 * the exit code. err: the text; its code's name when it is empty. */
int tb_exit_report(const char *program, tb_rc rc, const tb_err *err)
    TB_NONNULL(1, 3);

#endif
