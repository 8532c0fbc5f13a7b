#include "host/term.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/text.h"

#define LINE_BYTES 1024
#define WIDTH_MAX  1000

static int width_of(int fd)
{
    struct winsize size = {0};
    if (ioctl(fd, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) {
        return size.ws_col < WIDTH_MAX ? size.ws_col : WIDTH_MAX;
    }
    const char *columns = getenv("COLUMNS");
    uint64_t n = 0;
    if (columns != NULL && tb_text_u64(columns, &n, NULL) == TB_OK && n > 0) {
        return n < WIDTH_MAX ? (int)n : WIDTH_MAX;
    }
    return TB_TERM_WIDTH_DEFAULT;
}

void tb_term_init(tb_term *term, FILE *out)
{
    const char *no_color = getenv("NO_COLOR");
    const char *kind = getenv("TERM");
    bool dumb = kind == NULL || kind[0] == '\0' || strcmp(kind, "dumb") == 0;
    *term = (tb_term){.out = out, .width = TB_TERM_WIDTH_DEFAULT};
    if (isatty(fileno(out)) == 1) {
        term->is_tty = !dumb;
        term->has_color = !dumb && (no_color == NULL || no_color[0] == '\0');
        term->width = width_of(fileno(out));
    }
}

const char *tb_term_style(const tb_term *term, tb_style style)
{
    static const char *const codes[] = {
        [TB_STYLE_PLAIN] = "\x1b[0m", [TB_STYLE_BOLD] = "\x1b[1m",
        [TB_STYLE_DIM] = "\x1b[2m",   [TB_STYLE_GOOD] = "\x1b[32m",
        [TB_STYLE_BAD] = "\x1b[31m",
    };
    return term->has_color ? codes[style] : "";
}

static bool is_follower(char c)
{
    return ((unsigned char)c & 0xc0) == 0x80;
}

int tb_term_columns(const char *text)
{
    int n = 0;
    for (; *text != '\0'; text++) {
        n +=
            !is_follower(*text) && (unsigned char)*text >= ' ' && *text != 0x7f;
    }
    return n;
}

void tb_term_clear(tb_term *term)
{
    if (term->drawn) {
        (void)fputs("\r\x1b[K", term->out);
        (void)fflush(term->out);
        term->drawn = false;
    }
}

void tb_term_progress(tb_term *term, const char *fmt, ...)
{
    if (!term->is_tty) {
        return;
    }
    char line[LINE_BYTES];
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(line, sizeof line, fmt, args);
    va_end(args);
    if (n < 0) {
        return;
    }
    /* One column is left free: a full line would wrap on some terminals. */
    char *at = line;
    for (int left = term->width - 1; *at != '\0' && left > 0; left--) {
        do {
            at++;
        } while (is_follower(*at));
    }
    *at = '\0';
    (void)fprintf(term->out, "\r%s\x1b[K", line);
    (void)fflush(term->out);
    term->drawn = true;
}

void tb_term_line(tb_term *term, const char *fmt, ...)
{
    tb_term_clear(term);
    va_list args;
    va_start(args, fmt);
    (void)vfprintf(term->out, fmt, args);
    va_end(args);
    (void)fputc('\n', term->out);
    (void)fflush(term->out);
}
