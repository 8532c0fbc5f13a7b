/* Every failure of the host at every point of what is stored: the n-th system
 * call, SQLite's n-th allocation. After each the object is as it was, or what
 * is read again holds everything that was acknowledged. */
#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "host/blob.h"
#include "host/spool.h"
#include "host/store.h"
#include "support/check.h"
#include "support/faults.h"
#include "support/folder.h"

/* --- what happens, and what must hold after it ---------------------------- */

typedef struct scene {
    char dir[512];
    uint64_t acked; /* what was acknowledged so far */
} scene;

typedef struct play {
    const char *name;
    void (*before)(scene *s);          /* without faults: what was there */
    tb_rc (*act)(scene *s, tb_err *e); /* with them; adds to acked */
    void (*after)(scene *s);           /* without: checks, and goes on */
} play;

/* One try in a folder of its own. true: a call failed. */
static bool try_once(const play *p, const char *base, long n,
                     tb_fault_call call, bool for_ever)
{
    static unsigned count;
    scene s = {.acked = 0};
    tb_err err = {0};
    size_t live = tb_mem_live();
    (void)snprintf(s.dir, sizeof s.dir, "%s/%u", base, count++);
    p->before(&s);
    tb_faults_arm(call, n, for_ever);
    tb_rc rc = p->act(&s, &err);
    bool fired = tb_faults_disarm();
    CHECK(rc == TB_OK || err.text[0] != '\0');
    CHECK(rc != TB_OK || !fired || call == TB_FAULT_EINTR ||
          call == TB_FAULT_SHORT || !for_ever || s.acked > 0);
    CHECK(tb_mem_live() == live);
    p->after(&s);
    CHECK(tb_mem_live() == live);
    return fired;
}

static void every_call(const play *p, const char *base)
{
    long tries = 0;
    for (int call = 0; call < TB_FAULT_COUNT; call++) {
        for (int for_ever = 0; for_ever < 2; for_ever++) {
            bool endless = for_ever != 0;
            if (endless && (call == TB_FAULT_EINTR || call == TB_FAULT_SHORT)) {
                continue; /* that would be a hang of the kernel */
            }
            bool fired = true;
            for (long n = 0; fired; n++, tries++) {
                fired = try_once(p, base, n, (tb_fault_call)call, endless);
            }
        }
    }
    print_message("%s: %ld failures of the host, nothing lost\n", p->name,
                  tries);
}

/* --- the journal ---------------------------------------------------------- */

static tb_folder *open_folder(const scene *s, tb_folder_use use)
{
    tb_err err;
    tb_folder *f = NULL;
    if (!tb_file_exists(s->dir)) {
        CHECK_OK(tb_folder_create(s->dir, TB_FOLDER_COORDINATOR, &err), err);
    }
    CHECK_OK(tb_folder_open(&f, s->dir, TB_FOLDER_COORDINATOR, use, &err), err);
    return f;
}

static tb_rc append(tb_store *store, uint64_t n, tb_err *err)
{
    char text[3][32];
    tb_row rows[3];
    uint64_t first = tb_store_head(store, NULL) + 1;
    for (uint64_t i = 0; i < n; i++) {
        int len = snprintf(text[i], sizeof text[i], "row %d", (int)(first + i));
        rows[i] = (tb_row){.seq = first + i,
                           .kind = 7,
                           .body = (const uint8_t *)text[i],
                           .body_bytes = (size_t)len};
    }
    return tb_store_append(store, rows, n, err);
}

static void journal_before(scene *s)
{
    tb_err err;
    tb_store *store = NULL;
    tb_folder *f = open_folder(s, TB_FOLDER_LOCK);
    CHECK_OK(tb_store_open(&store, f, &err), err);
    CHECK_OK(append(store, 2, &err), err);
    s->acked = 2;
    tb_store_close(&store);
    tb_folder_close(&f);
}

static tb_rc journal_act(scene *s, tb_err *err)
{
    tb_store *store = NULL;
    tb_folder *f = NULL;
    tb_rc rc =
        tb_folder_open(&f, s->dir, TB_FOLDER_COORDINATOR, TB_FOLDER_LOCK, err);
    if (rc == TB_OK) {
        rc = tb_store_open(&store, f, err);
    }
    for (uint64_t n = 1; n <= 3 && rc == TB_OK; n++) {
        rc = append(store, n, err);
        s->acked = rc == TB_OK ? tb_store_head(store, NULL) : s->acked;
    }
    if (rc != TB_OK && store != NULL) { /* the object is as it was, or shut */
        tb_err again = {0};
        (void)tb_faults_disarm();
        CHECK(tb_store_head(store, NULL) == s->acked);
        tb_rc second = append(store, 1, &again);
        CHECK(second == TB_OK || strstr(again.text, "sync failed") != NULL);
        s->acked += second == TB_OK;
    }
    tb_store_close(&store);
    tb_folder_close(&f);
    return rc;
}

static tb_rc check_row(void *arg, const tb_row *row, tb_err *err)
{
    char text[32];
    int len = snprintf(text, sizeof text, "row %d", (int)row->seq);
    (void)err;
    CHECK(row->kind == 7 && row->body_bytes == (size_t)len);
    CHECK(memcmp(row->body, text, row->body_bytes) == 0);
    *(uint64_t *)arg = row->seq;
    return TB_OK;
}

static void journal_after(scene *s)
{
    tb_err err;
    tb_store *store = NULL;
    uint64_t last = 0;
    tb_folder *f = open_folder(s, TB_FOLDER_LOCK);
    CHECK_OK(tb_store_open(&store, f, &err), err);
    CHECK_OK(tb_store_read(store, 1, check_row, &last, &err), err);
    CHECK(last >= s->acked && last <= s->acked + 3);
    CHECK_OK(append(store, 1, &err), err);
    CHECK_OK(tb_store_examine(store, 0, &err), err);
    tb_store_close(&store);
    tb_folder_close(&f);
}

static const play journal = {"journal", journal_before, journal_act,
                             journal_after};

/* --- the spool ------------------------------------------------------------ */

static const tb_run_id run = {{1}};
static const tb_hash config = {{2}};

static tb_rc put_upload(tb_spool *spool, uint8_t id, tb_err *err)
{
    uint8_t block[600];
    tb_spool_upload u = {.id = {{id}}, .config = config, .n_blocks = 2};
    memset(block, id, sizeof block);
    (void)tb_name_set(&u.client, "anna");
    tb_rc rc = tb_spool_find(spool, &u.id) == NULL
                   ? tb_spool_begin(spool, &u, err)
                   : TB_OK;
    for (uint32_t i = 0; i < 2 && rc == TB_OK; i++) {
        rc = tb_spool_next(spool, &u.id) > i
                 ? TB_OK
                 : tb_spool_put(spool, &u.id, i, block, sizeof block, err);
    }
    return rc == TB_OK ? tb_spool_sync(spool, err) : rc;
}

static void spool_before(scene *s)
{
    tb_err err;
    tb_spool *spool = NULL;
    CHECK_OK(tb_spool_open(&spool, s->dir, &run, &config, &err), err);
    CHECK_OK(put_upload(spool, 1, &err), err);
    s->acked = 1;
    tb_spool_close(&spool);
}

static tb_rc spool_act(scene *s, tb_err *err)
{
    tb_spool *spool = NULL;
    tb_rc rc = tb_spool_open(&spool, s->dir, &run, &config, err);
    for (uint8_t id = 2; id <= 3 && rc == TB_OK; id++) {
        rc = put_upload(spool, id, err);
        s->acked += rc == TB_OK;
    }
    if (rc != TB_OK && spool != NULL) {
        tb_err again = {0};
        (void)tb_faults_disarm();
        tb_rc second = put_upload(spool, (uint8_t)(s->acked + 1), &again);
        CHECK(second == TB_OK || strstr(again.text, "failed before") != NULL);
        s->acked += second == TB_OK;
    }
    tb_spool_close(&spool);
    return rc;
}

static void spool_after(scene *s)
{
    tb_err err;
    tb_buf block;
    tb_spool *spool = NULL;
    tb_buf_init(&block, 4096);
    CHECK_OK(tb_spool_open(&spool, s->dir, &run, &config, &err), err);
    for (uint8_t id = 1; id <= s->acked; id++) {
        const tb_upload_id upload = {{id}};
        for (uint32_t i = 0; i < 2; i++) {
            block.len = 0;
            CHECK_OK(tb_spool_read(spool, &upload, i, &block, &err), err);
            CHECK(block.len == 600 && block.data[599] == id);
        }
    }
    for (uint8_t id = 1; id <= 4; id++) {
        CHECK_OK(put_upload(spool, id, &err), err);
    }
    tb_spool_close(&spool);
    tb_buf_release(&block);
}

static const play spool = {"spool", spool_before, spool_act, spool_after};

/* --- blobs ---------------------------------------------------------------- */

static tb_hash put_blob(tb_blobs *b, uint8_t id, tb_rc *rc, tb_err *err)
{
    uint8_t raw[300];
    tb_blob_ref ref = {0};
    memset(raw, id, sizeof raw);
    *rc = tb_blobs_put(b, raw, sizeof raw, 3, &ref, err);
    return tb_hash_of(raw, sizeof raw);
}

static void blobs_before(scene *s)
{
    tb_err err;
    tb_rc rc = TB_OK;
    tb_blobs *b = NULL;
    CHECK_OK(tb_blobs_open(&b, s->dir, &err), err);
    (void)put_blob(b, 1, &rc, &err);
    CHECK_OK(rc, err);
    s->acked = 1;
    tb_blobs_close(&b);
}

static bool keep_all(const void *arg, const tb_hash *raw)
{
    (void)arg;
    (void)raw;
    return true;
}

static tb_rc blobs_act(scene *s, tb_err *err)
{
    tb_blobs *b = NULL;
    tb_blob_ref ref;
    tb_buf raw;
    tb_blob_sweep sweep = {.keep = keep_all};
    tb_buf_init(&raw, 4096);
    tb_rc rc = tb_blobs_open(&b, s->dir, err);
    for (uint8_t id = 1; id <= 3 && rc == TB_OK; id++) {
        tb_hash hash = put_blob(b, id, &rc, err);
        s->acked = rc == TB_OK ? id : s->acked;
        raw.len = 0;
        if (rc == TB_OK) {
            rc = tb_blobs_find(b, &hash, &ref, err);
        }
        if (rc == TB_OK) {
            rc = tb_blobs_load(b, &ref, &raw, err);
        }
    }
    if (rc == TB_OK) {
        rc = tb_blobs_sweep(b, &sweep, err);
    }
    tb_blobs_close(&b);
    tb_buf_release(&raw);
    return rc;
}

static void blobs_after(scene *s)
{
    tb_err err;
    tb_blobs *b = NULL;
    tb_blob_ref ref;
    tb_buf raw;
    tb_blob_sweep sweep = {.keep = keep_all};
    tb_buf_init(&raw, 4096);
    CHECK_OK(tb_blobs_open(&b, s->dir, &err), err);
    CHECK_OK(tb_blobs_sweep(b, &sweep, &err), err); /* leftovers go */
    for (uint8_t id = 1; id <= 3; id++) {
        tb_rc rc = TB_OK;
        uint8_t want[300];
        memset(want, id, sizeof want);
        tb_hash hash = tb_hash_of(want, sizeof want);
        if (id > s->acked) {
            (void)put_blob(b, id, &rc, &err);
            CHECK_OK(rc, err);
        }
        raw.len = 0;
        CHECK_OK(tb_blobs_find(b, &hash, &ref, &err), err);
        CHECK_OK(tb_blobs_load(b, &ref, &raw, &err), err);
        CHECK(raw.len == sizeof want &&
              memcmp(raw.data, want, sizeof want) == 0);
    }
    tb_blobs_close(&b);
    tb_buf_release(&raw);
}

static const play blobs = {"blobs", blobs_before, blobs_act, blobs_after};

/* --- files and folders ---------------------------------------------------- */

static void file_before(scene *s)
{
    tb_err err;
    CHECK_OK(tb_file_make_dir(s->dir, 0700, &err), err);
    CHECK_OK(
        tb_file_write(tb_test_folder_path(s->dir, "f"), "old", 3, 0600, &err),
        err);
}

static tb_rc file_act(scene *s, tb_err *err)
{
    tb_rc rc =
        tb_file_write(tb_test_folder_path(s->dir, "f"), "fresh", 5, 0600, err);
    s->acked = rc == TB_OK;
    return rc;
}

static void file_after(scene *s)
{
    tb_err err;
    tb_buf got;
    tb_buf_init(&got, 64);
    CHECK_OK(tb_file_read(&got, tb_test_folder_path(s->dir, "f"), &err), err);
    bool fresh = got.len == 5 && memcmp(got.data, "fresh", 5) == 0;
    bool old = got.len == 3 && memcmp(got.data, "old", 3) == 0;
    CHECK(fresh || (old && s->acked == 0));
    tb_buf_release(&got);
}

static const play file = {"file", file_before, file_act, file_after};

static void folder_before(scene *s)
{
    (void)s;
}

static tb_rc folder_act(scene *s, tb_err *err)
{
    tb_folder *f = NULL;
    tb_rc rc = tb_folder_create(s->dir, TB_FOLDER_COORDINATOR, err);
    if (rc == TB_OK) {
        s->acked = 1;
        rc = tb_folder_open(&f, s->dir, TB_FOLDER_COORDINATOR, TB_FOLDER_LOCK,
                            err);
    }
    tb_folder_close(&f);
    return rc;
}

static void folder_after(scene *s)
{
    tb_err err;
    tb_folder *f = NULL;
    tb_rc rc =
        tb_folder_open(&f, s->dir, TB_FOLDER_COORDINATOR, TB_FOLDER_LOCK, &err);
    if (rc != TB_OK) { /* half a folder is none, and is made again */
        CHECK(s->acked == 0);
        CHECK_OK(tb_folder_create(s->dir, TB_FOLDER_COORDINATOR, &err), err);
        CHECK_OK(tb_folder_open(&f, s->dir, TB_FOLDER_COORDINATOR,
                                TB_FOLDER_LOCK, &err),
                 err);
    }
    tb_folder_close(&f);
}

static const play folder = {"folder", folder_before, folder_act, folder_after};

static void
each_failing_call_leaves_the_journal_with_what_it_acknowledged(void **state)
{
    every_call(&journal, *state);
}

static void
each_failing_call_leaves_the_spool_with_what_it_acknowledged(void **state)
{
    every_call(&spool, *state);
}

static void each_failing_call_leaves_every_blob_that_was_put(void **state)
{
    every_call(&blobs, *state);
}

static void each_failing_call_leaves_the_old_file_or_the_new_one(void **state)
{
    every_call(&file, *state);
}

static void each_failing_call_leaves_a_folder_that_can_be_made(void **state)
{
    every_call(&folder, *state);
}

/* --- SQLite's memory ------------------------------------------------------ */

static sqlite3_mem_methods real;
static long memory_left = -1; /* allocations until one fails; -1: none does */
static bool memory_failed;

static bool no_memory(void)
{
    memory_failed = memory_failed || memory_left == 0;
    memory_left -= memory_left >= 0;
    return memory_failed;
}

static void *sick_malloc(int n)
{
    return no_memory() ? NULL : real.xMalloc(n);
}

static void *sick_realloc(void *p, int n)
{
    return no_memory() ? NULL : real.xRealloc(p, n);
}

static void each_failing_allocation_of_sqlite_loses_no_row(void **state)
{
    long tries = 0;
    bool failed = true;
    for (long n = 0; failed; n++, tries++) {
        scene s = {.acked = 0};
        tb_err err = {0};
        size_t live = tb_mem_live();
        (void)snprintf(s.dir, sizeof s.dir, "%s/sqlite-%ld",
                       (const char *)*state, n);
        journal_before(&s);
        memory_left = n;
        tb_store *store = NULL;
        tb_folder *f = open_folder(&s, TB_FOLDER_LOCK);
        tb_rc rc = tb_store_open(&store, f, &err);
        for (uint64_t k = 1; k <= 3 && rc == TB_OK; k++) {
            rc = append(store, k, &err);
            s.acked = rc == TB_OK ? tb_store_head(store, NULL) : s.acked;
        }
        failed = memory_failed;
        memory_left = -1;
        memory_failed = false;
        tb_store_close(&store);
        tb_folder_close(&f);
        CHECK(tb_mem_live() == live);
        journal_after(&s);
    }
    CHECK(tries > 50);
    print_message("%ld failures of SQLite's memory, no row lost\n", tries);
}

#define IN_FOLDER(f)                                                           \
    cmocka_unit_test_setup_teardown(f, tb_test_folder_setup,                   \
                                    tb_test_folder_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_FOLDER(
            each_failing_call_leaves_the_journal_with_what_it_acknowledged),
        IN_FOLDER(each_failing_call_leaves_the_spool_with_what_it_acknowledged),
        IN_FOLDER(each_failing_call_leaves_every_blob_that_was_put),
        IN_FOLDER(each_failing_call_leaves_the_old_file_or_the_new_one),
        IN_FOLDER(each_failing_call_leaves_a_folder_that_can_be_made),
        IN_FOLDER(each_failing_allocation_of_sqlite_loses_no_row),
    };
    sqlite3_mem_methods sick;
    if (access("/dev/shm", W_OK) == 0) { /* thousands of small folders */
        (void)setenv("TMPDIR", "/dev/shm", 1);
    }
    (void)sqlite3_config(SQLITE_CONFIG_GETMALLOC, &real);
    sick = real;
    sick.xMalloc = sick_malloc;
    sick.xRealloc = sick_realloc;
    (void)sqlite3_config(SQLITE_CONFIG_MALLOC, &sick);
    (void)sqlite3_config(SQLITE_CONFIG_LOOKASIDE, 0, 0);
    tb_log_set_level(TB_LOG_OFF);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
