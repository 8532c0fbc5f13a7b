/* core/base/log.h - log lines as logfmt or JSON, on standard error or in a
 * file, one write a line. Safe from any thread, but that one thread at a time
 * chooses where they go. Never pass a secret, an update or a sample. */
#ifndef TB_BASE_LOG_H
#define TB_BASE_LOG_H

#include "base/err.h"

typedef enum tb_log_level {
    TB_LOG_DEBUG,
    TB_LOG_INFO,
    TB_LOG_WARN,
    TB_LOG_ERROR,
    TB_LOG_OFF
} tb_log_level;

typedef enum tb_log_format {
    TB_LOG_LOGFMT, /* time=... level=info event=... client="..." */
    TB_LOG_JSON    /* {"time":"...","level":"info","event":"..."} */
} tb_log_format;

/* Lines below this level are dropped. Default: INFO. */
void tb_log_set_level(tb_log_level level);

/* Default: LOGFMT. */
void tb_log_set_format(tb_log_format format);

/* Further lines are appended to this file (mode 0640); "": to standard error.
 * On failure they go where they went. Errors: LIMIT (long path), IO. */
tb_rc tb_log_open(const char *path, tb_err *err) TB_NONNULL(1) TB_MUST_CHECK;

/* Opens the file again by its path, after it was moved away; nothing to do
 * when there is none. Errors: as tb_log_open. */
tb_rc tb_log_reopen(tb_err *err) TB_MUST_CHECK;

/* Writes one line with time, level and the fields of fmt, which is logfmt
 * itself, such as "event=round run=%s why=\"%s\"": at most 24 fields, and one
 * blank between two. What the arguments hold cannot end its field, forge
 * another or steer a terminal. A line over 1 kB is cut. */
void tb_log(tb_log_level level, const char *fmt, ...) TB_NONNULL(2)
    TB_PRINTF(2, 3);

#endif
