#include <stdio.h>

#include "api/api_priv.h"

static tributary_status status_of(tb_rc rc)
{
    switch (rc) {
    case TB_OK:
        return TRIBUTARY_OK;
    case TB_E_MALFORMED:
    case TB_E_EXISTS:
        return TRIBUTARY_INVALID;
    case TB_E_LIMIT:
        return TRIBUTARY_LIMIT;
    case TB_E_MISMATCH:
        return TRIBUTARY_MISMATCH;
    case TB_E_UNSUPPORTED:
        return TRIBUTARY_UNSUPPORTED;
    case TB_E_NOT_FOUND:
        return TRIBUTARY_NOT_FOUND;
    case TB_E_USAGE:
        return TRIBUTARY_USAGE;
    case TB_E_NOMEM:
        return TRIBUTARY_NO_MEMORY;
    case TB_E_FULL:
    case TB_E_IO:
    case TB_E_DENIED:
    case TB_E_REFUSED:
    case TB_E_BUSY:
    case TB_E_TIMEOUT:
    case TB_E_CANCELLED:
        return TRIBUTARY_IO;
    case TB_E_BUG:
    case TB_RC_COUNT:
    default:
        return TRIBUTARY_INTERNAL;
    }
}

tributary_status tb_api_status(tb_rc rc, const tb_err *err,
                               tributary_error *error)
{
    tributary_status status = status_of(rc);
    if (error != NULL) {
        error->status = status;
        (void)snprintf(error->text, sizeof error->text, "%s",
                       rc != TB_OK ? err->text : "");
    }
    return status;
}

tb_rc tb_api_need(const void *argument, const char *function, const char *name,
                  tb_err *err)
{
    return argument != NULL ? TB_OK
                            : tb_fail(err, TB_E_USAGE, "tributary_%s: no %s",
                                      function, name);
}

const char *tributary_version(void)
{
    return TB_VERSION;
}
