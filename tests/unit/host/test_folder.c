#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "host/folder.h"
#include "support/check.h"
#include "support/folder.h"

static mode_t mode_of(const char *path)
{
    struct stat st;
    CHECK(stat(path, &st) == 0);
    return st.st_mode & 07777;
}

static void a_new_folder_is_private_and_opens_as_its_own_kind(void **state)
{
    tb_err err;
    tb_folder *f = NULL;
    const char *dir = tb_test_folder_path(*state, "fleet");
    CHECK_OK(tb_folder_create(dir, TB_FOLDER_COORDINATOR, &err), err);
    CHECK(mode_of(dir) == 0700);
    CHECK(mode_of(tb_test_folder_path(dir, "FORMAT")) == 0600);
    CHECK_OK(
        tb_folder_open(&f, dir, TB_FOLDER_COORDINATOR, TB_FOLDER_LOCK, &err),
        err);
    CHECK(tb_folder_locked(f));
    CHECK(mode_of(tb_folder_path(f, TB_ITEM_SPOOL)) == 0700);
    CHECK(tb_folder_path(f, TB_ITEM_SEALED) == NULL);
    tb_folder_close(&f);
    CHECK_ERR(tb_folder_open(&f, dir, TB_FOLDER_CLIENT, TB_FOLDER_READ, &err),
              TB_E_MISMATCH, err, "not a folder of tributary");
    CHECK(f == NULL);
}

static void a_folder_with_something_in_it_is_left_alone(void **state)
{
    tb_err err;
    (void)tb_test_folder_write(*state, "thesis.tex", "x", 1);
    CHECK_ERR(tb_folder_create(*state, TB_FOLDER_CLIENT, &err), TB_E_EXISTS,
              err, "not empty");
    CHECK(!tb_file_exists(tb_test_folder_path(*state, "keys")));
}

static void a_missing_folder_says_how_to_make_one(void **state)
{
    tb_err err;
    tb_folder *f = NULL;
    CHECK_ERR(tb_folder_open(&f, tb_test_folder_path(*state, "no"),
                             TB_FOLDER_COORDINATOR, TB_FOLDER_READ, &err),
              TB_E_NOT_FOUND, err, "tributaryd init");
}

static void a_newer_format_is_refused(void **state)
{
    tb_err err;
    tb_folder *f = NULL;
    (void)tb_test_folder_write(*state, "FORMAT", "tributary-client 2\n", 19);
    CHECK_ERR(
        tb_folder_open(&f, *state, TB_FOLDER_CLIENT, TB_FOLDER_READ, &err),
        TB_E_UNSUPPORTED, err, "another version");
}

static void a_second_process_cannot_lock_it_and_learns_who_did(void **state)
{
    tb_err err;
    tb_folder *f = NULL;
    tb_folder *second = NULL;
    char want[64];
    const char *dir = tb_test_folder_path(*state, "fleet");
    CHECK_OK(tb_folder_create(dir, TB_FOLDER_COORDINATOR, &err), err);
    CHECK_OK(
        tb_folder_open(&f, dir, TB_FOLDER_COORDINATOR, TB_FOLDER_LOCK, &err),
        err);
    (void)snprintf(want, sizeof want, "(process %ld)", (long)getpid());
    pid_t child = fork();
    if (child == 0) {
        tb_rc rc = tb_folder_open(&second, dir, TB_FOLDER_COORDINATOR,
                                  TB_FOLDER_LOCK, &err);
        _exit(rc == TB_E_BUSY && strstr(err.text, want) != NULL ? 0 : 1);
    }
    int status = -1;
    CHECK(waitpid(child, &status, 0) == child && status == 0);
    CHECK_OK(tb_folder_open(&second, dir, TB_FOLDER_COORDINATOR, TB_FOLDER_READ,
                            &err),
             err);
    tb_folder_close(&second);
    tb_folder_close(&f);
    CHECK_OK(
        tb_folder_open(&f, dir, TB_FOLDER_COORDINATOR, TB_FOLDER_LOCK, &err),
        err);
    tb_folder_close(&f);
}

/* Whoever opens it is told which program, and that it ends by itself. */
static void a_lock_says_whose_it_is_and_what_to_do(void **state)
{
    static const struct {
        const char *text, *says;
        bool serves;
    } files[] = {
        {"41 tributaryd gc\n",
         "`tributaryd gc` is at work in this folder (process 41): wait", false},
        {"42 tributaryd run\n",
         "tributaryd runs in this folder already "
         "(process 42)",
         true},
        {"43\n", "tributaryd runs in this folder already (process 43)", true},
        {"nonsense", "tributaryd runs in this folder already", true},
        {"44 tributaryd prune\n", "`tributaryd prune` is at work", false},
        {"45 a-very-long-program-that-nobody-has-ever-seen-or-heard-of run\n",
         "at work in this folder (process 45)", false},
        {"", "tributaryd runs in this folder already", true}};
    tb_err err;
    tb_folder *f = NULL;
    tb_folder *second = NULL;
    tb_folder_holder holder;
    const char *dir = tb_test_folder_path(*state, "fleet");
    CHECK_OK(tb_folder_create(dir, TB_FOLDER_COORDINATOR, &err), err);
    tb_folder_set_work("tributaryd", "gc");
    CHECK_OK(
        tb_folder_open(&f, dir, TB_FOLDER_COORDINATOR, TB_FOLDER_LOCK, &err),
        err);
    tb_folder_holder_get(f, &holder);
    CHECK(holder.pid == getpid() && !holder.serves);
    assert_string_equal(holder.work, "tributaryd gc");
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        FILE *lock = fopen(tb_test_folder_path(dir, "LOCK"), "w");
        CHECK(lock != NULL && fputs(files[i].text, lock) >= 0);
        CHECK(fclose(lock) == 0);
        CHECK_ERR(tb_folder_open(&second, dir, TB_FOLDER_COORDINATOR,
                                 TB_FOLDER_LOCK, &err),
                  TB_E_BUSY, err, files[i].says);
        tb_folder_holder_get(f, &holder);
        CHECK(holder.serves == files[i].serves);
    }
    tb_folder_close(&f);
}

static void the_master_key_lies_beside_the_folder(void **state)
{
    (void)state;
    char *path = tb_folder_master_path("/srv/fleet//");
    assert_string_equal(path, "/srv/fleet.master-key");
    tb_mem_free(path);
}

static tb_rc open_attempt(void *arg, tb_err *err)
{
    tb_folder *f = NULL;
    tb_rc rc = tb_folder_open(&f, arg, TB_FOLDER_CLIENT, TB_FOLDER_LOCK, err);
    tb_folder_close(&f);
    return rc;
}

static void opening_survives_each_allocation_failing(void **state)
{
    tb_err err;
    char dir[512];
    (void)snprintf(dir, sizeof dir, "%s/c", (const char *)*state);
    CHECK_OK(tb_folder_create(dir, TB_FOLDER_CLIENT, &err), err);
    CHECK(tb_check_each_allocation(open_attempt, dir) > 5);
}

#define IN_FOLDER(f)                                                           \
    cmocka_unit_test_setup_teardown(f, tb_test_folder_setup,                   \
                                    tb_test_folder_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_FOLDER(a_new_folder_is_private_and_opens_as_its_own_kind),
        IN_FOLDER(a_folder_with_something_in_it_is_left_alone),
        IN_FOLDER(a_missing_folder_says_how_to_make_one),
        IN_FOLDER(a_newer_format_is_refused),
        IN_FOLDER(a_second_process_cannot_lock_it_and_learns_who_did),
        IN_FOLDER(a_lock_says_whose_it_is_and_what_to_do),
        cmocka_unit_test(the_master_key_lies_beside_the_folder),
        IN_FOLDER(opening_survives_each_allocation_failing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
