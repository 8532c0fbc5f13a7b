/* Copies of a coordinator's folder: whole, or not there. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "check.h"
#include "copy.h"
#include "small_fleet.h"

typedef struct plan {
    fleet f;
    char to[640], part[700];
    tb_copied copied;
} plan;

static void set_up(plan *p, const char *folder)
{
    fleet_make(&p->f, folder); /* and stays open, as under a daemon */
    (void)snprintf(p->to, sizeof p->to, "%s/backup", folder);
    (void)snprintf(p->part, sizeof p->part, "%s.partial", p->to);
}

static tb_rc copy(void *arg, tb_err *err)
{
    plan *p = arg;
    tb_copy_options o = {
        .from = p->f.at.dir, .to = p->to, .master_key = p->f.at.master};
    tb_rc rc = tb_copy_folder(&p->copied, &o, err);
    CHECK(!tb_file_exists(p->part));
    CHECK(tb_file_exists(p->to) == (rc == TB_OK));
    return rc;
}

static void a_copy_has_every_row_blob_key_and_update(void **state)
{
    plan p;
    tb_err err;
    tb_check check;
    set_up(&p, *state);
    CHECK_OK(copy(&p, &err), err);
    CHECK(p.copied.n_rows == tb_store_head(p.f.store, NULL));
    CHECK(p.copied.n_blobs == 5);
    tb_check_options o = {
        .dir = p.to, .master_key = p.f.at.master, .parts = TB_CHECK_ALL};
    CHECK_OK(tb_check_run(&check, &o, &err), err);
    CHECK(check.n == 0 && check.n_updates == 2 && check.n_keys == 4);
    CHECK(check.n_run_files == 4 && check.n_loose == 0);
    tb_check_release(&check);
    fleet_close(&p.f);
}

/* The row that makes a copy the beginning of an epoch. */
static tb_rc begin_epoch(void *arg, const char *dir, tb_err *err)
{
    fleet to = {.store = NULL};
    (void)arg;
    tb_rc rc = tb_folder_open(&to.folder, dir, TB_FOLDER_COORDINATOR,
                              TB_FOLDER_LOCK, err);
    if (rc == TB_OK) {
        rc = tb_store_open(&to.store, to.folder, err);
    }
    if (rc == TB_OK) {
        fleet_row(&to, &(tb_record){.kind = TB_REC_RESTORED,
                                    .u.restored = {.epoch = 1}});
    }
    tb_store_close(&to.store);
    tb_folder_close(&to.folder);
    return rc;
}

static void a_restore_leaves_the_updates_of_open_rounds_behind(void **state)
{
    plan p;
    tb_err err;
    tb_check check;
    set_up(&p, *state);
    tb_copy_options o = {.from = p.f.at.dir,
                         .to = p.to,
                         .master_key = p.f.at.master,
                         .restore = true,
                         .finish = begin_epoch};
    CHECK_OK(tb_copy_folder(&p.copied, &o, &err), err);
    tb_check_options all = {
        .dir = p.to, .master_key = p.f.at.master, .parts = TB_CHECK_ALL};
    CHECK_OK(tb_check_run(&check, &all, &err), err);
    /* of the kept run, and not of the one that lives */
    CHECK(check.n == 0 && check.n_updates == 1 && check.n_segments == 1);
    tb_check_release(&check);
    fleet_close(&p.f);
}

static void what_is_damaged_is_not_copied(void **state)
{
    plan p;
    tb_err err;
    char run[TB_RUN_HEX_BYTES];
    char hex[TB_HASH_HEX_BYTES];
    char path[1024];
    set_up(&p, *state);
    tb_run_hex(&p.f.live->params.run, run);
    tb_hash_hex(&p.f.config, hex);
    (void)snprintf(path, sizeof path, "%s/spool/%s/%s", p.f.at.dir, run, hex);
    CHECK(truncate(path, 700) == 0);
    CHECK_ERR(copy(&p, &err), TB_E_MISMATCH, err, "the update of anna");
    CHECK(unlink(path) == 0);
    CHECK_ERR(copy(&p, &err), TB_E_MISMATCH, err, "spool");
    fleet_close(&p.f);
}

static void a_folder_that_is_there_is_not_touched(void **state)
{
    plan p;
    tb_err err;
    set_up(&p, *state);
    tb_copy_options o = {.from = p.f.at.dir, .to = p.f.at.dir};
    CHECK_ERR(tb_copy_folder(&p.copied, &o, &err), TB_E_EXISTS, err,
              "name a new folder");
    CHECK_OK(tb_file_make_dir(p.part, 0700, &err), err);
    o.to = p.to;
    CHECK_ERR(tb_copy_folder(&p.copied, &o, &err), TB_E_EXISTS, err,
              "left over from a copy");
    CHECK(rmdir(p.part) == 0);
    CHECK_OK(copy(&p, &err), err);
    fleet_close(&p.f);
}

/* A sample of allocations: every copy syncs some thirty files. */
static void a_copy_leaves_nothing_when_memory_runs_out(void **state)
{
    plan p;
    tb_rc rc = TB_E_NOMEM;
    long failed = 0;
    set_up(&p, *state);
    fleet_close(&p.f);
    tb_log_set_level(TB_LOG_OFF);
    for (long k = 0; rc != TB_OK; k += 1 + k / 3) {
        tb_err err;
        size_t live = tb_mem_live();
        tb_mem_fail_after(k);
        rc = copy(&p, &err);
        tb_mem_fail_after(-1);
        CHECK(rc == TB_OK || rc == TB_E_NOMEM);
        CHECK(tb_mem_live() == live);
        failed = k;
    }
    CHECK(failed > 100);
}

#define IN_FOLDER(f)                                                           \
    cmocka_unit_test_setup_teardown(f, tb_test_folder_setup,                   \
                                    tb_test_folder_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_FOLDER(a_copy_has_every_row_blob_key_and_update),
        IN_FOLDER(a_restore_leaves_the_updates_of_open_rounds_behind),
        IN_FOLDER(what_is_damaged_is_not_copied),
        IN_FOLDER(a_folder_that_is_there_is_not_touched),
        IN_FOLDER(a_copy_leaves_nothing_when_memory_runs_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
