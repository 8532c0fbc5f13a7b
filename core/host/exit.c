#include "host/exit.h"

#include <stdio.h>

static const tb_exit exits[] = {
    {0, "done"},
    {1, "the machine failed: a disk, the network, memory"},
    {2, "a wrong command line, setting or job file"},
    {3, "input that is malformed, too large or does not fit"},
    {4, "no such file, model, run or client"},
    {5, "it exists already, with other content"},
    {6, "not allowed: a key, an invite or a permission"},
    {7, "refused by the other side or by a guard, which says why"},
    {8, "busy, or no answer in time: try again later"},
    {70, "a mistake in this program: please report it"},
    {130, "cancelled"},
};

static const int codes[TB_RC_COUNT] = {
    [TB_OK] = 0,
    [TB_E_MALFORMED] = 3,
    [TB_E_LIMIT] = 3,
    [TB_E_MISMATCH] = 3,
    [TB_E_UNSUPPORTED] = 3,
    [TB_E_DENIED] = 6,
    [TB_E_NOT_FOUND] = 4,
    [TB_E_EXISTS] = 5,
    [TB_E_USAGE] = 2,
    [TB_E_REFUSED] = 7,
    [TB_E_NOMEM] = 1,
    [TB_E_FULL] = 1,
    [TB_E_IO] = 1,
    [TB_E_BUSY] = 8,
    [TB_E_TIMEOUT] = 8,
    [TB_E_CANCELLED] = 130,
    [TB_E_BUG] = 70,
};

const tb_exit *tb_exits(size_t *n)
{
    *n = sizeof exits / sizeof *exits;
    return exits;
}

int tb_exit_code(tb_rc rc)
{
    return (unsigned)rc < TB_RC_COUNT ? codes[rc] : codes[TB_E_BUG];
}

int tb_exit_report(const char *program, tb_rc rc, const tb_err *err)
{
    if (rc != TB_OK) {
        bool told = err->rc != TB_OK && err->text[0] != '\0';
        (void)fprintf(stderr, "%s: %s\n", program,
                      told ? err->text : tb_rc_name(rc));
    }
    return tb_exit_code(rc);
}
