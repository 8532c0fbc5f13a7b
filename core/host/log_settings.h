/* core/host/log_settings.h - what a daemon can be told about its log: rows for
 * its table of settings, and how they take effect. */
#ifndef TB_HOST_LOG_SETTINGS_H
#define TB_HOST_LOG_SETTINGS_H

#include "host/settings.h"

#define TB_LOG_FILE_BYTES 1024

typedef struct tb_log_settings {
    int level;                    /* tb_log_level */
    int format;                   /* tb_log_format */
    char file[TB_LOG_FILE_BYTES]; /* "": standard error */
} tb_log_settings;

extern const char *const tb_log_levels[];
extern const char *const tb_log_formats[];

/* The rows of a table for the member `log` of struct `owner`. */
#define TB_LOG_ROWS(owner)                                                     \
    {.key = "log_level",                                                       \
     .help = "what is logged",                                                 \
     .value = "LEVEL",                                                         \
     .preset = "info",                                                         \
     .choices = tb_log_levels,                                                 \
     .type = TB_SETTING_ENUM,                                                  \
     .flags = TB_SETTING_LIVE,                                                 \
     TB_FIELD(owner, log.level)},                                              \
        {.key = "log_format",                                                  \
         .help = "how a line of the log is written",                           \
         .value = "FORMAT",                                                    \
         .preset = "logfmt",                                                   \
         .choices = tb_log_formats,                                            \
         .type = TB_SETTING_ENUM,                                              \
         .flags = TB_SETTING_LIVE,                                             \
         TB_FIELD(owner, log.format)},                                         \
    {                                                                          \
        .key = "log_file",                                                     \
        .help = "file that the log is appended to, opened again at SIGHUP "    \
                "(default: standard error)",                                   \
        .value = "FILE", .type = TB_SETTING_PATH, .flags = TB_SETTING_LIVE,    \
        TB_FIELD(owner, log.file)                                              \
    }

/* From now on; the file is opened again, also when it is the same. Errors: as
 * tb_log_open: lines go where they went then. */
tb_rc tb_log_settings_apply(const tb_log_settings *log, tb_err *err)
    TB_NONNULL(1) TB_MUST_CHECK;

#endif
