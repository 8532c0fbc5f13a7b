#include "base/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const struct {
    const char *name;
    tb_fault fault;
} codes[TB_RC_COUNT] = {
    [TB_OK] = {"ok", TB_FAULT_NONE},
    [TB_E_MALFORMED] = {"malformed", TB_FAULT_PEER},
    [TB_E_LIMIT] = {"limit", TB_FAULT_PEER},
    [TB_E_MISMATCH] = {"mismatch", TB_FAULT_PEER},
    [TB_E_UNSUPPORTED] = {"unsupported", TB_FAULT_PEER},
    [TB_E_DENIED] = {"denied", TB_FAULT_PEER},
    [TB_E_NOT_FOUND] = {"not-found", TB_FAULT_PEER},
    [TB_E_EXISTS] = {"exists", TB_FAULT_PEER},
    [TB_E_USAGE] = {"usage", TB_FAULT_PEER},
    [TB_E_REFUSED] = {"refused", TB_FAULT_PEER},
    [TB_E_NOMEM] = {"no-memory", TB_FAULT_HOST},
    [TB_E_FULL] = {"disk-full", TB_FAULT_HOST},
    [TB_E_IO] = {"io", TB_FAULT_HOST},
    [TB_E_BUSY] = {"busy", TB_FAULT_HOST},
    [TB_E_TIMEOUT] = {"timeout", TB_FAULT_HOST},
    [TB_E_CANCELLED] = {"cancelled", TB_FAULT_HOST},
    [TB_E_BUG] = {"bug", TB_FAULT_US},
};

TB_PRINTF(3, 0)
static void fill(tb_err *err, tb_rc rc, const char *fmt, va_list args)
{
    err->rc = rc;
    (void)vsnprintf(err->text, sizeof err->text, fmt, args);
}

tb_rc tb_fail(tb_err *err, tb_rc rc, const char *fmt, ...)
{
    if (err != NULL) {
        va_list args;
        va_start(args, fmt);
        fill(err, rc, fmt, args);
        va_end(args);
    }
    return rc;
}

static tb_rc rc_of_errno(int errnum)
{
    switch (errnum) {
    case ENOSPC:
    case EDQUOT:
        return TB_E_FULL;
    case ENOMEM:
        return TB_E_NOMEM;
    case ENOENT:
        return TB_E_NOT_FOUND;
    default:
        return TB_E_IO;
    }
}

tb_rc tb_fail_errno(tb_err *err, int errnum, const char *fmt, ...)
{
    tb_rc rc = rc_of_errno(errnum);
    if (err != NULL) {
        va_list args;
        va_start(args, fmt);
        fill(err, rc, fmt, args);
        va_end(args);
        size_t used = strlen(err->text);
        (void)snprintf(err->text + used, sizeof err->text - used, ": %s",
                       strerror(errnum));
    }
    return rc;
}

tb_rc tb_err_prefix(tb_err *err, tb_rc rc, const char *fmt, ...)
{
    if (err != NULL) {
        char text[TB_ERR_TEXT_BYTES];
        memcpy(text, err->text, sizeof text);
        va_list args;
        va_start(args, fmt);
        fill(err, rc, fmt, args);
        va_end(args);
        size_t used = strlen(err->text);
        (void)snprintf(err->text + used, sizeof err->text - used, ": %.*s",
                       (int)(sizeof text - 1), text);
    }
    return rc;
}

tb_fault tb_rc_fault(tb_rc rc)
{
    return (unsigned)rc < TB_RC_COUNT ? codes[rc].fault : TB_FAULT_US;
}

const char *tb_rc_name(tb_rc rc)
{
    return (unsigned)rc < TB_RC_COUNT ? codes[rc].name : "unknown";
}
