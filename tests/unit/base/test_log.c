#include "base/log.h"

#include <fcntl.h>
#include <regex.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "support/check.h"
#include "support/folder.h"

/* Standard error goes to a file while this is open. */
static int saved = -1;

static void capture(const char *path)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    saved = dup(STDERR_FILENO);
    CHECK(fd >= 0 && saved >= 0 && dup2(fd, STDERR_FILENO) >= 0);
    CHECK(close(fd) == 0);
}

static const char *captured(const char *path)
{
    static char text[4096];
    CHECK(dup2(saved, STDERR_FILENO) >= 0 && close(saved) == 0);
    tb_buf buf;
    tb_err err = {0};
    tb_buf_init(&buf, sizeof text - 1);
    CHECK_OK(tb_file_read(&buf, path, &err), err);
    memcpy(text, buf.data != NULL ? (char *)buf.data : "", buf.len);
    text[buf.len] = '\0';
    tb_buf_release(&buf);
    return text;
}

static void a_line_has_time_level_and_text(void **state)
{
    const char *path = tb_test_folder_path(*state, "log");
    capture(path);
    tb_log(TB_LOG_WARN, "event=%s n=%d", "late", 3);
    const char *text = captured(path);
    regex_t want;
    CHECK(regcomp(&want,
                  "^time=20[0-9]{2}-[0-9]{2}-[0-9]{2}T[0-9:]{8}\\.[0-9]{3}Z "
                  "level=warn event=late n=3\n$",
                  REG_EXTENDED | REG_NOSUB) == 0);
    CHECK(regexec(&want, text, 0, NULL, 0) == 0);
    regfree(&want);
}

static void lines_below_the_level_are_dropped(void **state)
{
    const char *path = tb_test_folder_path(*state, "log");
    capture(path);
    tb_log(TB_LOG_DEBUG, "a");
    tb_log_set_level(TB_LOG_ERROR);
    tb_log(TB_LOG_WARN, "b");
    tb_log(TB_LOG_ERROR, "c");
    tb_log_set_level(TB_LOG_OFF);
    tb_log(TB_LOG_ERROR, "d");
    tb_log(TB_LOG_OFF, "e");
    tb_log_set_level(TB_LOG_INFO);
    const char *text = captured(path);
    CHECK(strstr(text, "level=error c\n") != NULL);
    CHECK(strchr(text, '\n') == strrchr(text, '\n')); /* one line */
}

static void a_text_cannot_forge_a_line_or_steer_a_terminal(void **state)
{
    const char *path = tb_test_folder_path(*state, "log");
    capture(path);
    tb_log(TB_LOG_INFO, "name=%s", "x\nlevel=error\r\x1b[31m\x7f");
    const char *text = captured(path);
    CHECK(strstr(text, "name=x level=error  [31m \n") != NULL);
}

static void a_long_line_is_cut_and_still_ends(void **state)
{
    const char *path = tb_test_folder_path(*state, "log");
    char longest[3000];
    memset(longest, 'x', sizeof longest);
    longest[sizeof longest - 1] = '\0';
    capture(path);
    tb_log(TB_LOG_INFO, "%s", longest);
    const char *text = captured(path);
    CHECK(strlen(text) <= 1024 && text[strlen(text) - 1] == '\n');
    CHECK(strchr(text, '\n') == text + strlen(text) - 1);
}

static void the_clock_does_not_go_back(void **state)
{
    (void)state;
    int64_t before_ns = tb_clock_ns();
    int64_t before_ms = tb_clock_ms();
    CHECK(before_ms >= before_ns / 1000000);
    CHECK(tb_clock_ns() >= before_ns && tb_clock_ms() >= before_ms);
    CHECK(tb_clock_unix_s() > 1600000000); /* after 2020 */
}

#define IN_FOLDER(test)                                                        \
    cmocka_unit_test_setup_teardown(test, tb_test_folder_setup,                \
                                    tb_test_folder_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_FOLDER(a_line_has_time_level_and_text),
        IN_FOLDER(lines_below_the_level_are_dropped),
        IN_FOLDER(a_text_cannot_forge_a_line_or_steer_a_terminal),
        IN_FOLDER(a_long_line_is_cut_and_still_ends),
        cmocka_unit_test(the_clock_does_not_go_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
