#include "base/log.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define LINE_BYTES 1024

static atomic_int lowest = TB_LOG_INFO;

void tb_log_set_level(tb_log_level level)
{
    atomic_store(&lowest, (int)level);
}

void tb_log(tb_log_level level, const char *fmt, ...)
{
    static const char *const names[] = {"debug", "info", "warn", "error"};
    if ((int)level < atomic_load(&lowest) || level >= TB_LOG_OFF) {
        return;
    }
    char line[LINE_BYTES];
    struct timespec now = {0};
    struct tm utc = {0};
    (void)clock_gettime(CLOCK_REALTIME, &now);
    (void)gmtime_r(&now.tv_sec, &utc);
    size_t used = strftime(line, sizeof line, "time=%Y-%m-%dT%H:%M:%S", &utc);
    int n = snprintf(line + used, sizeof line - used, ".%03ldZ level=%s ",
                     now.tv_nsec / 1000000, names[level]);
    used += n > 0 ? (size_t)n : 0;
    va_list args;
    va_start(args, fmt);
    n = vsnprintf(line + used, sizeof line - used - 1, fmt, args);
    va_end(args);
    size_t room = sizeof line - used - 2;
    used += n > 0 ? ((size_t)n < room ? (size_t)n : room) : 0;
    for (size_t i = 0; i < used; i++) {
        if ((unsigned char)line[i] < ' ' || line[i] == 0x7f) {
            line[i] = ' '; /* also what would steer a terminal */
        }
    }
    line[used++] = '\n';
    ssize_t written = write(STDERR_FILENO, line, used);
    (void)written; /* a log that cannot be written has nowhere to say so */
}
