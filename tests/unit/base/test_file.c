#include "base/file.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "support/check.h"
#include "support/folder.h"

static size_t entries(const char *folder)
{
    size_t n = 0;
    DIR *dir = opendir(folder);
    CHECK(dir != NULL);
    while (readdir(dir) != NULL) {
        n++;
    }
    CHECK(closedir(dir) == 0);
    return n - 2; /* . and .. */
}

static void check_holds(const char *path, const void *bytes, size_t len)
{
    tb_buf buf;
    tb_err err = {0};
    tb_buf_init(&buf, len);
    CHECK_OK(tb_file_read(&buf, path, &err), err);
    CHECK(buf.len == len && (len == 0 || memcmp(buf.data, bytes, len) == 0));
    tb_buf_release(&buf);
}

static void what_is_written_is_read_back(void **state)
{
    static uint8_t bytes[100001];
    memset(bytes, 'x', sizeof bytes);
    static const size_t sizes[] = {0, 1, 4095, 4096, 4097, sizeof bytes};
    const char *path = tb_test_folder_path(*state, "a");
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        tb_err err = {0};
        CHECK_OK(tb_file_write(path, bytes, sizes[i], 0600, &err), err);
        check_holds(path, bytes, sizes[i]);
    }
    CHECK(entries(*state) == 1); /* no temporary file is left */
    CHECK(tb_file_exists(path));
    CHECK(!tb_file_exists(tb_test_folder_path(*state, "b")));
}

static void pieces_lie_one_behind_the_other_and_none_are_zeros(void **state)
{
    uint8_t want[5003] = "ab";
    const tb_file_part parts[] = {{"ab", 2}, {NULL, 5000}, {"z", 1}, {NULL, 0}};
    const char *path = tb_test_folder_path(*state, "parts");
    tb_err err = {0};
    want[5002] = 'z';
    CHECK_OK(tb_file_write_parts(path, parts, 4, 0600, &err), err);
    check_holds(path, want, sizeof want);
}

static void the_mode_is_the_one_asked_for(void **state)
{
    const char *path = tb_test_folder_path(*state, "key");
    tb_err err = {0};
    struct stat st;
    mode_t was = umask(0077);
    CHECK_OK(tb_file_write(path, "k", 1, 0644, &err), err);
    CHECK(stat(path, &st) == 0 && (st.st_mode & 0777) == 0644);
    (void)umask(0);
    CHECK_OK(tb_file_write(path, "k", 1, 0600, &err), err);
    CHECK(stat(path, &st) == 0 && (st.st_mode & 0777) == 0600);
    (void)umask(was);
}

static void a_file_over_the_maximum_is_refused_and_nothing_kept(void **state)
{
    const char *path = tb_test_folder_write(*state, "a", "0123456789", 10);
    tb_buf buf;
    tb_err err = {0};
    tb_buf_init(&buf, 12);
    CHECK_OK(tb_buf_put(&buf, "abc", 3, &err), err);
    CHECK_ERR(tb_file_read(&buf, path, &err), TB_E_LIMIT, err, path);
    CHECK(strstr(err.text, "10 bytes, at most 9") != NULL);
    CHECK(buf.len == 3 && memcmp(buf.data, "abc", 3) == 0);
    tb_buf_release(&buf);
}

static void a_file_without_a_size_is_read_under_the_same_maximum(void **state)
{
    (void)state;
    tb_buf buf;
    tb_err err = {0};
    tb_buf_init(&buf, 1 << 20);
    CHECK_OK(tb_file_read(&buf, "/proc/self/status", &err), err);
    CHECK(buf.len > 100);
    tb_buf_release(&buf);
    tb_buf_init(&buf, 10000);
    CHECK_ERR(tb_file_read(&buf, "/dev/zero", &err), TB_E_LIMIT, err,
              "/dev/zero: over 10000 bytes");
    CHECK(buf.len == 0);
    tb_buf_release(&buf);
}

static void a_large_file_costs_its_own_size(void **state)
{
    static uint8_t bytes[100001];
    const char *path = tb_test_folder_write(*state, "a", bytes, sizeof bytes);
    tb_buf buf;
    tb_err err = {0};
    tb_buf_init(&buf, SIZE_MAX);
    CHECK_OK(tb_file_read(&buf, path, &err), err);
    CHECK(buf.len == sizeof bytes && buf.cap == sizeof bytes + 1);
    tb_buf_release(&buf);
}

static void what_is_no_file_is_named(void **state)
{
    tb_buf buf;
    tb_err err = {0};
    tb_buf_init(&buf, 10);
    const char *path = tb_test_folder_path(*state, "none");
    CHECK_ERR(tb_file_read(&buf, path, &err), TB_E_NOT_FOUND, err, path);
    CHECK_ERR(tb_file_read(&buf, *state, &err), TB_E_USAGE, err, "is a folder");
    CHECK_ERR(
        tb_file_write(tb_test_folder_path(*state, "no/x"), "", 0, 0600, &err),
        TB_E_NOT_FOUND, err, "no/x");
    CHECK_ERR(tb_file_sync_dir(path, &err), TB_E_NOT_FOUND, err, path);
}

static void a_failed_write_leaves_the_old_file(void **state)
{
    const char *path = tb_test_folder_write(*state, "a", "old", 3);
    struct rlimit was;
    CHECK(getrlimit(RLIMIT_FSIZE, &was) == 0);
    struct rlimit small = {.rlim_cur = 1000, .rlim_max = was.rlim_max};
    static const uint8_t bytes[5000];
    CHECK(signal(SIGXFSZ, SIG_IGN) != SIG_ERR);
    CHECK(setrlimit(RLIMIT_FSIZE, &small) == 0);
    tb_err err = {0};
    tb_rc rc = tb_file_write(path, bytes, sizeof bytes, 0600, &err);
    CHECK(setrlimit(RLIMIT_FSIZE, &was) == 0);
    CHECK_ERR(rc, TB_E_IO, err, path);
    check_holds(path, "old", 3);
    CHECK(entries(*state) == 1);
}

static void a_full_disk_has_its_own_code(void **state)
{
    (void)state;
    int fd = open("/dev/full", O_WRONLY | O_CLOEXEC);
    tb_err err = {0};
    CHECK(fd >= 0);
    CHECK_ERR(tb_file_write_fd(fd, "x", 1, &err), TB_E_FULL, err, "1 bytes");
    CHECK(close(fd) == 0);
}

static void a_write_replaces_a_link_and_leaves_its_target(void **state)
{
    const char *target = tb_test_folder_write(*state, "target", "t", 1);
    const char *path = tb_test_folder_path(*state, "link");
    CHECK(symlink(target, path) == 0);
    tb_err err = {0};
    CHECK_OK(tb_file_write(path, "new", 3, 0600, &err), err);
    check_holds(target, "t", 1); /* the link was replaced */
    check_holds(path, "new", 3);
}

static void folders_are_made_with_their_parents(void **state)
{
    tb_err err = {0};
    const char *path = tb_test_folder_path(*state, "a/b//c/");
    CHECK_OK(tb_file_make_dir(path, 0700, &err), err);
    CHECK_OK(tb_file_make_dir(path, 0700, &err), err);
    CHECK(tb_file_exists(path));
    CHECK_OK(tb_file_make_dir("/", 0700, &err), err);
    CHECK_ERR(tb_file_make_dir("", 0700, &err), TB_E_USAGE, err, "empty");
    const char *file = tb_test_folder_write(*state, "file", "", 0);
    CHECK_ERR(tb_file_make_dir(file, 0700, &err), TB_E_IO, err,
              "is not a folder");
    CHECK_ERR(
        tb_file_make_dir(tb_test_folder_path(*state, "file/x"), 0700, &err),
        TB_E_IO, err, "file/x");
}

static tb_rc each_call(void *arg, tb_err *err)
{
    const char *path = tb_test_folder_path(arg, "file");
    tb_buf buf;
    tb_buf_init(&buf, 100);
    tb_rc rc = tb_file_write(path, "x", 1, 0600, err);
    if (rc == TB_OK) {
        rc = tb_file_read(&buf, path, err);
    }
    if (rc == TB_OK) {
        rc = tb_file_make_dir(tb_test_folder_path(arg, "x/y"), 0700, err);
    }
    char *joined = NULL;
    if (rc == TB_OK && (joined = tb_file_join("a", "b")) == NULL) {
        rc = tb_fail(err, TB_E_NOMEM, "join");
    }
    if (rc == TB_OK) {
        assert_string_equal(joined, "a/b");
    }
    tb_mem_free(joined);
    tb_buf_release(&buf);
    return rc;
}

static void it_survives_each_allocation_failing(void **state)
{
    CHECK(tb_check_each_allocation(each_call, *state) >= 5);
}

static void the_folder_of_a_path_is_told(void **state)
{
    static const struct {
        const char *path, *folder, *beside;
    } cases[] = {{"m.onnx", ".", "./d"},
                 {"/m.onnx", "/", "//d"},
                 {"a/m.onnx", "a", "a/d"},
                 {"../a/b/m.onnx", "../a/b", "../a/b/d"}};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *folder = tb_file_folder(cases[i].path);
        char *beside = tb_file_beside(cases[i].path, "d");
        CHECK(folder != NULL && beside != NULL);
        assert_string_equal(folder, cases[i].folder);
        assert_string_equal(beside, cases[i].beside);
        tb_mem_free(folder);
        tb_mem_free(beside);
    }
}

#define IN_FOLDER(test)                                                        \
    cmocka_unit_test_setup_teardown(test, tb_test_folder_setup,                \
                                    tb_test_folder_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_FOLDER(what_is_written_is_read_back),
        IN_FOLDER(pieces_lie_one_behind_the_other_and_none_are_zeros),
        IN_FOLDER(the_mode_is_the_one_asked_for),
        IN_FOLDER(a_file_over_the_maximum_is_refused_and_nothing_kept),
        IN_FOLDER(a_file_without_a_size_is_read_under_the_same_maximum),
        IN_FOLDER(a_large_file_costs_its_own_size),
        IN_FOLDER(what_is_no_file_is_named),
        IN_FOLDER(a_failed_write_leaves_the_old_file),
        IN_FOLDER(a_full_disk_has_its_own_code),
        IN_FOLDER(a_write_replaces_a_link_and_leaves_its_target),
        IN_FOLDER(folders_are_made_with_their_parents),
        cmocka_unit_test(the_folder_of_a_path_is_told),
        IN_FOLDER(it_survives_each_allocation_failing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
