/* core/base/log.h - logfmt lines on standard error, one write a line. Safe from
 * any thread. Never pass a secret, an update or a sample. */
#ifndef TB_BASE_LOG_H
#define TB_BASE_LOG_H

#include "base/attr.h"

typedef enum tb_log_level {
    TB_LOG_DEBUG,
    TB_LOG_INFO,
    TB_LOG_WARN,
    TB_LOG_ERROR,
    TB_LOG_OFF
} tb_log_level;

/* Lines below this level are dropped. Default: INFO. */
void tb_log_set_level(tb_log_level level);

/* Writes "time=... level=info <text>". The text is logfmt itself, such as
 * "event=round run=%s round=%u"; control characters in it become spaces. */
void tb_log(tb_log_level level, const char *fmt, ...) TB_NONNULL(2)
    TB_PRINTF(2, 3);

#endif
