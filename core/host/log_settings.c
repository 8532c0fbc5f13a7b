#include "host/log_settings.h"

#include "base/log.h"

const char *const tb_log_levels[] = {"debug", "info", "warn",
                                     "error", "off",  NULL};
const char *const tb_log_formats[] = {"logfmt", "json", NULL};

tb_rc tb_log_settings_apply(const tb_log_settings *log, tb_err *err)
{
    tb_log_set_level((tb_log_level)log->level);
    tb_log_set_format((tb_log_format)log->format);
    return tb_log_open(log->file, err);
}
