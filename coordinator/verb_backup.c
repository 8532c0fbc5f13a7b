/* backup and restore: a folder's copy, and a coordinator that goes on from one
 * in a new epoch. */
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/text.h"
#include "check.h"
#include "copy.h"
#include "crypto/crypto.h"
#include "settings.h"
#include "state.h"
#include "verbs.h"

/* The master key that was named, or lies beside one of two folders; NULL: none
 * is there. For the caller to free. */
static char *find_master(const char *named, const char *first,
                         const char *second)
{
    if (named[0] != '\0') {
        return tb_mem_text(named);
    }
    char *path = tb_folder_master_path(first);
    if (path != NULL && !tb_file_exists(path) && second != NULL) {
        tb_mem_free(path);
        path = tb_folder_master_path(second);
    }
    if (path != NULL && !tb_file_exists(path)) {
        tb_mem_free(path);
        path = NULL;
    }
    return path;
}

static void print_copied(const char *to, const tb_copied *copied)
{
    char bytes[32];
    tb_text_bytes(copied->bytes, bytes, sizeof bytes);
    (void)printf("%s: %llu rows, %llu blobs, %s\n", to,
                 (unsigned long long)copied->n_rows,
                 (unsigned long long)copied->n_blobs, bytes);
}

/* --- backup --------------------------------------------------------------- */

static tb_rc run_backup(tb_cli_call *call, tb_err *err)
{
    const tb_dir_settings *at = call->values[0];
    tb_copied copied;
    tb_copy_options o = {.from = call->args[0], .to = call->args[1]};
    char *master = find_master(at->master_key, o.from, NULL);
    o.master_key = master;
    tb_rc rc = tb_copy_folder(&copied, &o, err);
    if (rc == TB_OK) {
        print_copied(o.to, &copied);
        (void)printf("keep the master key apart from it: a restore needs "
                     "both\n");
    }
    tb_mem_free(master);
    return rc;
}

/* --- restore -------------------------------------------------------------- */

typedef struct options {
    tb_dir_settings at;
    uint32_t epoch;
} options;

static const tb_setting rows[] = {
    {.key = "master_key",
     .help = "file of the key that wraps the keys of runs (default: beside "
             "the new folder, or beside the backup)",
     .value = "FILE",
     .type = TB_SETTING_PATH,
     TB_FIELD(options, at.master_key)},
    {.key = "epoch",
     .help = "number of the new epoch; 0: one more than the backup's. Clients "
             "that saw a higher one want a higher one still",
     .value = "N",
     .preset = "0",
     .max = UINT32_MAX,
     .type = TB_SETTING_INT,
     TB_FIELD(options, epoch)}};

static const tb_setting_table table = {.env = "TRIBUTARY_",
                                       .rows = rows,
                                       .n_rows = sizeof rows / sizeof *rows,
                                       .bytes = sizeof(options)};

/* The backup must be whole: half of it would be found out only by clients. */
static tb_rc check_backup(const char *from, const char *master, tb_err *err)
{
    tb_check check;
    tb_check_options o = {
        .dir = from, .master_key = master, .parts = TB_CHECK_ALL};
    tb_rc rc = tb_check_run(&check, &o, err);
    if (rc != TB_OK) {
        return rc;
    }
    size_t n = 0;
    const tb_finding *first = NULL;
    for (size_t i = 0; i < check.n; i++) {
        if (check.at[i].kind != TB_FINDING_HARMLESS) {
            first = first != NULL ? first : &check.at[i];
            n++;
        }
    }
    if (first != NULL) {
        rc = tb_fail(err, TB_E_MISMATCH,
                     "%s: %zu finding%s, nothing was restored (tributaryd "
                     "check %s says all): %.200s",
                     from, n, n == 1 ? "" : "s", from, first->what);
    }
    tb_check_release(&check);
    return rc;
}

typedef struct restore {
    uint32_t epoch; /* wanted; then the one that it became */
    uint64_t row;   /* that began it */
} restore;

static tb_rc append_restored(tb_state *state, const tb_record *record,
                             tb_err *err)
{
    tb_buf body;
    tb_buf_init(&body, TB_RECORD_BYTES_MAX);
    tb_row row = {.seq = tb_store_head(state->store, NULL) + 1,
                  .kind = record->kind};
    /* The machine first: what it refuses must never become a row. */
    tb_rc rc = tb_coordinator_replay(state->machine, record, row.seq, err);
    if (rc == TB_OK) {
        rc = tb_record_encode(record, &body, err);
    }
    if (rc == TB_OK) {
        row.body = body.data;
        row.body_bytes = body.len;
        rc = tb_store_append(state->store, &row, 1, err);
    }
    tb_buf_release(&body);
    return rc;
}

/* The first row of the new epoch. */
static tb_rc begin_epoch(void *arg, const char *dir, tb_err *err)
{
    restore *r = arg;
    tb_state state;
    tb_rc rc = tb_state_open(&state, dir, TB_FOLDER_LOCK, err);
    if (rc != TB_OK) {
        return rc;
    }
    uint32_t before = tb_coordinator_epoch(state.machine);
    tb_record record = {
        .kind = TB_REC_RESTORED,
        .u.restored = {.epoch = r->epoch != 0 ? r->epoch : before + 1,
                       .restored_s = (uint64_t)tb_clock_unix_s()}};
    if (record.u.restored.epoch <= before) {
        rc = tb_fail(err, TB_E_USAGE,
                     "--epoch %u: the backup is of epoch %u already: name a "
                     "higher one",
                     r->epoch, before);
    }
    if (rc == TB_OK) {
        tb_random_bytes(record.u.restored.id, sizeof record.u.restored.id);
        rc = append_restored(&state, &record, err);
    }
    if (rc == TB_OK) {
        r->epoch = record.u.restored.epoch;
        r->row = tb_store_head(state.store, NULL);
    }
    tb_state_close(&state);
    return rc;
}

static tb_rc run_restore(tb_cli_call *call, tb_err *err)
{
    const options *given = call->values[0];
    tb_copied copied;
    restore r = {.epoch = given->epoch};
    tb_copy_options o = {.from = call->args[0],
                         .to = call->args[1],
                         .restore = true,
                         .finish = begin_epoch,
                         .arg = &r};
    tb_folder *backup = NULL;
    tb_rc there = tb_folder_open(&backup, o.from, TB_FOLDER_COORDINATOR,
                                 TB_FOLDER_READ, err);
    tb_folder_close(&backup);
    if (there != TB_OK) {
        return there;
    }
    char *master = find_master(given->at.master_key, o.to, o.from);
    if (master == NULL) {
        return tb_fail(err, TB_E_NOT_FOUND,
                       "no master key beside %s or %s: name its file with "
                       "--master-key",
                       o.to, o.from);
    }
    o.master_key = master;
    tb_rc rc = check_backup(o.from, master, err);
    if (rc == TB_OK) {
        rc = tb_copy_folder(&copied, &o, err);
    }
    if (rc == TB_OK) {
        print_copied(o.to, &copied);
        (void)printf("epoch %u begins with row %llu: rounds that were open "
                     "begin anew, and nothing of the time after the backup "
                     "counts\nnext: tributaryd run --dir %s --master-key "
                     "%s\n",
                     r.epoch, (unsigned long long)r.row, o.to, master);
    }
    tb_mem_free(master);
    return rc;
}

static const tb_setting master_rows[] = {
    {.key = "master_key",
     .help = "file of the key that wraps the keys of runs, to check the copy "
             "with (default: beside the folder, if it is there)",
     .value = "FILE",
     .type = TB_SETTING_PATH,
     TB_FIELD(tb_dir_settings, master_key)}};

static const tb_setting_table master_table = {.env = "TRIBUTARY_",
                                              .rows = master_rows,
                                              .n_rows = sizeof master_rows /
                                                        sizeof *master_rows,
                                              .bytes = sizeof(tb_dir_settings)};

const tb_verb verb_backup = {
    .name = "backup",
    .args = "DIR TO",
    .min_args = 2,
    .max_args = 2,
    .help = "copy a coordinator's folder as it is at one row of its journal",
    .examples = "tributaryd backup fleet /backup/fleet-1\n",
    .notes = "The daemon may run. TO is a whole folder that was checked: "
             "`tributaryd check` and `restore` take it. It holds the keys of "
             "the coordinator: guard it like the folder. The master key is "
             "not in it.\n",
    .tables = {&master_table},
    .run = run_backup,
};

const tb_verb verb_restore = {
    .name = "restore",
    .args = "FROM DIR",
    .min_args = 2,
    .max_args = 2,
    .help = "make a coordinator's folder from a backup, in a new epoch",
    .examples = "tributaryd restore /backup/fleet-1 fleet-2\n"
                "tributaryd restore /backup/fleet-1 fleet-2 --master-key "
                "fleet.key\n",
    .notes = "Stop the old daemon for good first. Clients go on by "
             "themselves: what the old one acknowledged after the backup is "
             "lost, and they say so.\n",
    .tables = {&table},
    .run = run_restore,
};
