#include "base/log.h"

#include <fcntl.h>
#include <math.h>
#include <regex.h>
#include <stdio.h>
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
    CHECK(strstr(text, "name=\"x level=error  [31m \"\n") != NULL);
}

static void a_value_cannot_end_its_field(void **state)
{
    const char *path = tb_test_folder_path(*state, "log");
    capture(path);
    tb_log(TB_LOG_INFO, "event=cut why=\"%s\" n=%u", "x\" level=error y=\"",
           7u);
    tb_log(TB_LOG_INFO, "why=%s n=%u", "a level=error", 7u);
    tb_log(TB_LOG_INFO, "why=%s", "");
    const char *text = captured(path);
    CHECK(strstr(text, "event=cut why=\"x\\\" level=error y=\\\"\" n=7\n"));
    CHECK(strstr(text, "level=info why=\"a level=error\" n=7\n"));
    CHECK(strstr(text, "level=info why=\"\"\n"));
}

static void json_has_the_same_fields_with_numbers_as_numbers(void **state)
{
    const char *path = tb_test_folder_path(*state, "log");
    capture(path);
    tb_log_set_format(TB_LOG_JSON);
    tb_log(TB_LOG_WARN, "event=%s n=%d s=%.2f bad=%f why=\"%s\" hex=%s", "late",
           -3, 1.5, (double)NAN, "a \"b\" \\ \xff\xc3\xa9\xc2\x9b", "12");
    tb_log_set_format(TB_LOG_LOGFMT);
    const char *text = captured(path);
    CHECK(strncmp(text, "{\"time\":\"20", 11) == 0);
    CHECK(strstr(text, "Z\",\"level\":\"warn\",\"event\":\"late\",\"n\":-3,"
                       "\"s\":1.50,\"bad\":\"nan\",\"why\":\"a \\\"b\\\" "
                       "\\\\ ?\xc3\xa9 \",\"hex\":\"12\"}\n"));
}

static void a_cut_json_line_is_whole(void **state)
{
    const char *path = tb_test_folder_path(*state, "log");
    char longest[3000];
    memset(longest, '"', sizeof longest);
    longest[sizeof longest - 1] = '\0';
    capture(path);
    tb_log_set_format(TB_LOG_JSON);
    tb_log(TB_LOG_INFO, "why=%s n=%u", longest, 5u);
    tb_log_set_format(TB_LOG_LOGFMT);
    const char *text = captured(path);
    size_t n = strlen(text);
    CHECK(n < 4096 && strcmp(text + n - 10, "\",\"n\":\"\"}\n") == 0);
}

static void lines_go_to_a_file_and_to_its_successor(void **state)
{
    tb_err err = {0};
    char moved[1024];
    const char *path = tb_test_folder_path(*state, "to");
    (void)snprintf(moved, sizeof moved, "%s.1", path);
    CHECK_OK(tb_log_open(path, &err), err);
    tb_log(TB_LOG_INFO, "event=first");
    CHECK(rename(path, moved) == 0);
    tb_log(TB_LOG_INFO, "event=second");
    CHECK_OK(tb_log_reopen(&err), err);
    tb_log(TB_LOG_INFO, "event=third");
    CHECK_ERR(tb_log_open("/nowhere/log", &err), TB_E_NOT_FOUND, err,
              "/nowhere/log");
    tb_log(TB_LOG_INFO, "event=fourth");
    CHECK_OK(tb_log_open("", &err), err);
    capture(tb_test_folder_path(*state, "log")); /* for its reader */
    const char *text = captured(moved);
    CHECK(strstr(text, "event=second\n") && strstr(text, "event=first\n"));
    CHECK(strstr(text, "third") == NULL);
    capture(tb_test_folder_path(*state, "log"));
    text = captured(path);
    CHECK(strstr(text, "event=third\n") && strstr(text, "event=fourth\n"));
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
        IN_FOLDER(a_value_cannot_end_its_field),
        IN_FOLDER(json_has_the_same_fields_with_numbers_as_numbers),
        IN_FOLDER(a_cut_json_line_is_whole),
        IN_FOLDER(lines_go_to_a_file_and_to_its_successor),
        IN_FOLDER(a_long_line_is_cut_and_still_ends),
        cmocka_unit_test(the_clock_does_not_go_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
