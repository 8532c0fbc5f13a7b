#include "host/term.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "support/check.h"

/* A terminal of our own: what is written to *out comes back from the fd. */
static int open_terminal(FILE **out, unsigned short width)
{
    int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    CHECK(master >= 0 && grantpt(master) == 0 && unlockpt(master) == 0);
    int slave = open(ptsname(master), O_RDWR | O_NOCTTY | O_CLOEXEC);
    struct winsize size = {.ws_col = width, .ws_row = 24};
    CHECK(slave >= 0 && ioctl(slave, TIOCSWINSZ, &size) == 0);
    *out = fdopen(slave, "w");
    CHECK(*out != NULL);
    return master;
}

static const char *drain(int fd)
{
    static char text[1024];
    ssize_t n = read(fd, text, sizeof text - 1);
    text[n > 0 ? n : 0] = '\0';
    return text;
}

static void on_a_terminal_progress_is_redrawn_and_cut(void **state)
{
    (void)state;
    FILE *out = NULL;
    tb_term term;
    CHECK(setenv("TERM", "xterm", 1) == 0 && unsetenv("NO_COLOR") == 0);
    int fd = open_terminal(&out, 11);
    tb_term_init(&term, out);
    CHECK(term.is_tty && term.has_color && term.width == 11);
    tb_term_progress(&term, "round %d of %d", 1, 30);
    assert_string_equal(drain(fd), "\rround 1 of\x1b[K");
    tb_term_progress(&term, "\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9"
                            "\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9");
    assert_string_equal(drain(fd),
                        "\r\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9"
                        "\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\x1b[K");
    tb_term_line(&term, "done");
    CHECK(strstr(drain(fd), "\r\x1b[K") != NULL);
    tb_term_clear(&term); /* nothing stands there now */
    CHECK(!term.drawn);
    assert_string_equal(tb_term_style(&term, TB_STYLE_BAD), "\x1b[31m");
    CHECK(fclose(out) == 0 && close(fd) == 0);
}

static void no_color_and_dumb_terminals_are_respected(void **state)
{
    (void)state;
    FILE *out = NULL;
    tb_term term;
    int fd = open_terminal(&out, 80);
    CHECK(setenv("TERM", "xterm", 1) == 0 && setenv("NO_COLOR", "1", 1) == 0);
    tb_term_init(&term, out);
    CHECK(term.is_tty && !term.has_color);
    assert_string_equal(tb_term_style(&term, TB_STYLE_BAD), "");
    CHECK(unsetenv("NO_COLOR") == 0 && setenv("TERM", "dumb", 1) == 0);
    tb_term_init(&term, out);
    CHECK(!term.is_tty && !term.has_color);
    CHECK(fclose(out) == 0 && close(fd) == 0);
}

static void in_a_pipe_only_whole_lines_are_written(void **state)
{
    (void)state;
    int fds[2];
    CHECK(pipe(fds) == 0);
    FILE *out = fdopen(fds[1], "w");
    tb_term term;
    CHECK(out != NULL);
    tb_term_init(&term, out);
    CHECK(!term.is_tty && !term.has_color && term.width == 80);
    tb_term_progress(&term, "half way");
    tb_term_line(&term, "round %d", 1);
    tb_term_clear(&term);
    assert_string_equal(drain(fds[0]), "round 1\n");
    CHECK(fclose(out) == 0 && close(fds[0]) == 0);
}

static void columns_count_characters(void **state)
{
    (void)state;
    CHECK(tb_term_columns("") == 0 && tb_term_columns("abc") == 3);
    CHECK(tb_term_columns("\xce\xb1\xe2\x86\x92") == 2);
    CHECK(tb_term_columns("a\x1b\n") == 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(on_a_terminal_progress_is_redrawn_and_cut),
        cmocka_unit_test(no_color_and_dumb_terminals_are_respected),
        cmocka_unit_test(in_a_pipe_only_whole_lines_are_written),
        cmocka_unit_test(columns_count_characters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
