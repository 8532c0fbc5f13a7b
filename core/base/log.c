#include "base/log.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/spare.h"
#include "base/text.h"

#define FORMAT_BYTES 512  /* of a line's fmt */
#define TEXT_BYTES   900  /* of all its values, before they are quoted */
#define LINE_BYTES   4096 /* each byte of them may take two, and more */
#define FIELDS_MAX   24
#define PATH_BYTES   1024

static atomic_int lowest = TB_LOG_INFO;
static atomic_int chosen_format = TB_LOG_LOGFMT;
static atomic_int to_fd = STDERR_FILENO;
static char to_path[PATH_BYTES]; /* "": standard error */

void tb_log_set_level(tb_log_level level)
{
    atomic_store(&lowest, (int)level);
}

void tb_log_set_format(tb_log_format format)
{
    atomic_store(&chosen_format, (int)format);
}

/* --- where lines go ------------------------------------------------------- */

/* The file takes the descriptor of the one before it, so that a thread that
 * writes just now writes to either. */
static tb_rc open_file(const char *path, tb_err *err)
{
    int fd = tb_spare_open(
        path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY, 0640);
    if (fd < 0) {
        return tb_fail_errno(err, errno, "log file %s", path);
    }
    int now = atomic_load(&to_fd);
    if (now == STDERR_FILENO) {
        atomic_store(&to_fd, fd);
        return TB_OK;
    }
    bool moved = dup3(fd, now, O_CLOEXEC) >= 0;
    int why = errno;
    (void)close(fd);
    return moved ? TB_OK : tb_fail_errno(err, why, "log file %s", path);
}

tb_rc tb_log_open(const char *path, tb_err *err)
{
    size_t n = strlen(path);
    if (n >= sizeof to_path) {
        return tb_fail(err, TB_E_LIMIT, "log file: a path of %zu bytes", n);
    }
    tb_rc rc = n > 0 ? open_file(path, err) : TB_OK;
    int before = atomic_load(&to_fd);
    if (n == 0 && before != STDERR_FILENO) {
        atomic_store(&to_fd, STDERR_FILENO); /* its descriptor stays open: */
    }                                        /* a thread may be writing */
    if (rc == TB_OK) {
        memcpy(to_path, path, n + 1);
    }
    return rc;
}

tb_rc tb_log_reopen(tb_err *err)
{
    return to_path[0] != '\0' ? open_file(to_path, err) : TB_OK;
}

/* --- fields --------------------------------------------------------------- */

/* One field: its key stands in fmt, its value in the formatted text. */
typedef struct field {
    const char *key;
    size_t key_bytes;
    const char *value, *end; /* NULL: a bare word */
    bool quoted;             /* by fmt */
    bool number;             /* by its conversion */
} field;

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral" /* a piece of a literal */

/* Where the formatted text stands when n bytes of fmt are done. */
static size_t reached(const char *fmt, size_t n, va_list args)
{
    char piece[FORMAT_BYTES];
    va_list copy;
    memcpy(piece, fmt, n);
    piece[n] = '\0';
    va_copy(copy, args);
    int at = vsnprintf(NULL, 0, piece, copy);
    va_end(copy);
    return at < 0 ? 0 : (at < TEXT_BYTES ? (size_t)at : TEXT_BYTES - 1);
}

#pragma GCC diagnostic pop

/* Reads one field from fmt[i]; returns behind it. */
static size_t read_field(field *f, const char *fmt, size_t i, const char *text,
                         va_list args)
{
    *f = (field){.key = fmt + i};
    f->key_bytes = strcspn(fmt + i, "= ");
    i += f->key_bytes;
    if (fmt[i] != '=') {
        f->value = text + reached(fmt, i - f->key_bytes, args);
        f->end = text + reached(fmt, i, args);
        f->key_bytes = 0;
        return i;
    }
    i++;
    f->quoted = fmt[i] == '"';
    i += f->quoted;
    f->value = text + reached(fmt, i, args);
    size_t first = i;
    i += strcspn(fmt + i, f->quoted ? "\"" : " ");
    f->end = text + reached(fmt, i, args);
    f->number = !f->quoted && fmt[first] == '%' && i > first &&
                strchr("duifg", fmt[i - 1]) != NULL && f->end > f->value &&
                isdigit((unsigned char)f->end[-1]) != 0;
    return i + f->quoted;
}

static size_t read_fields(field fields[static FIELDS_MAX], const char *fmt,
                          const char *text, va_list args)
{
    size_t n = 0;
    size_t end = strlen(fmt);
    for (size_t i = 0; i < end && n < FIELDS_MAX; i++) { /* over the blank */
        i = read_field(&fields[n++], fmt, i, text, args);
    }
    return n;
}

/* --- lines ---------------------------------------------------------------- */

typedef struct line {
    char at[LINE_BYTES];
    size_t n;
} line;

static void put(line *l, const char *text, size_t n)
{
    size_t room = sizeof l->at - 1 - l->n; /* one for the line's end */
    n = n < room ? n : room;
    memcpy(l->at + l->n, text, n);
    l->n += n;
}

static void puts_in(line *l, const char *text)
{
    put(l, text, strlen(text));
}

/* Valid UTF-8 in which nothing steers a terminal or ends the quotes. */
static void put_value(line *l, const char *at, const char *end)
{
    while (at < end) {
        const char *next = at;
        uint32_t code = tb_text_next_code(&next);
        if (code == 0 || next > end) { /* not UTF-8, or cut */
            puts_in(l, "?");
            at++;
            continue;
        }
        if (code < 0x20 || (code >= 0x7f && code < 0xa0)) {
            puts_in(l, " ");
        } else {
            if (code == '"' || code == '\\') {
                puts_in(l, "\\");
            }
            put(l, at, (size_t)(next - at));
        }
        at = next;
    }
}

static bool wants_quotes(const field *f)
{
    bool plain = f->value < f->end;
    for (const char *c = f->value; c < f->end; c++) {
        plain = plain && (unsigned char)*c > ' ' && *c != '"' && *c != '=' &&
                *c != '\\' && (unsigned char)*c < 0x7f;
    }
    return f->quoted || !plain;
}

static void put_logfmt(line *l, const field *f)
{
    puts_in(l, " ");
    if (f->key_bytes == 0) { /* a bare word */
        put_value(l, f->value, f->end);
        return;
    }
    bool quotes = wants_quotes(f);
    put(l, f->key, f->key_bytes);
    puts_in(l, quotes ? "=\"" : "=");
    put_value(l, f->value, f->end);
    puts_in(l, quotes ? "\"" : "");
}

static void put_json(line *l, const field *f)
{
    puts_in(l, ",\"");
    if (f->key_bytes == 0) {
        puts_in(l, "text");
    } else {
        put(l, f->key, f->key_bytes);
    }
    puts_in(l, f->number ? "\":" : "\":\"");
    put_value(l, f->value, f->end);
    puts_in(l, f->number ? "" : "\"");
}

static void put_head(line *l, tb_log_level level, bool json)
{
    static const char *const names[] = {"debug", "info", "warn", "error"};
    char stamp[64];
    char head[128];
    struct timespec now = {0};
    struct tm utc = {0};
    (void)clock_gettime(CLOCK_REALTIME, &now);
    (void)gmtime_r(&now.tv_sec, &utc);
    (void)strftime(stamp, sizeof stamp, "%Y-%m-%dT%H:%M:%S", &utc);
    (void)snprintf(head, sizeof head,
                   json ? "{\"time\":\"%s.%03ldZ\",\"level\":\"%s\""
                        : "time=%s.%03ldZ level=%s",
                   stamp, now.tv_nsec / 1000000, names[level]);
    puts_in(l, head);
}

void tb_log(tb_log_level level, const char *fmt, ...)
{
    if ((int)level < atomic_load(&lowest) || level >= TB_LOG_OFF ||
        strlen(fmt) >= FORMAT_BYTES) {
        return;
    }
    bool json = atomic_load(&chosen_format) == TB_LOG_JSON;
    char text[TEXT_BYTES];
    field fields[FIELDS_MAX];
    line l = {.n = 0};
    va_list args, again;
    va_start(args, fmt);
    va_copy(again, args);
    (void)vsnprintf(text, sizeof text, fmt, args);
    size_t n = read_fields(fields, fmt, text, again);
    va_end(again);
    va_end(args);
    put_head(&l, level, json);
    for (size_t i = 0; i < n; i++) {
        (json ? put_json : put_logfmt)(&l, &fields[i]);
    }
    puts_in(&l, json ? "}" : "");
    l.at[l.n++] = '\n';
    ssize_t written = write(atomic_load(&to_fd), l.at, l.n);
    (void)written; /* a log that cannot be written has nowhere to say so */
}
