/* Every flipped bit and every lost tail of a coordinator's folder is found,
 * unless all rows read the same. */
#include <dirent.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "check.h"
#include "small_fleet.h"
#include "work/checkpoint.h"

#ifdef __SANITIZE_ADDRESS__
#define STRIDE 7 /* of what is looked at byte by byte */
#else
#define STRIDE 1
#endif

/* Looks at some parts; returns the findings, whose texts go to `said`. */
static size_t findings(const home *at, unsigned parts, char *said, size_t size)
{
    tb_err err;
    tb_check check;
    tb_check_options o = {
        .dir = at->dir, .master_key = at->master, .parts = parts};
    CHECK_OK(tb_check_run(&check, &o, &err), err);
    size_t n = check.n;
    if (said != NULL) {
        said[0] = '\0';
        for (size_t i = 0; i < n; i++) {
            size_t used = strlen(said);
            (void)snprintf(said + used, size - used, "%s: %s: %s: %s\n",
                           tb_finding_kind_name(check.at[i].kind),
                           check.at[i].what, check.at[i].means,
                           check.at[i].mend);
        }
    }
    tb_check_release(&check);
    return n;
}

static void flip_bit(int fd, off_t at, int bit)
{
    uint8_t byte = 0;
    CHECK(pread(fd, &byte, 1, at) == 1);
    byte ^= (uint8_t)(1u << bit);
    CHECK(pwrite(fd, &byte, 1, at) == 1);
}

/* Flips one bit of each byte, or all of them, and counts what is not found. */
static void flip_file(const home *at, unsigned parts, const char *path,
                      int n_bits)
{
    struct stat st;
    size_t flips = 0;
    int fd = open(path, O_RDWR);
    CHECK(fd >= 0 && fstat(fd, &st) == 0);
    for (off_t i = 0; i < st.st_size; i += STRIDE) {
        for (int b = 0; b < n_bits; b++) {
            int bit = n_bits == 8 ? b : (int)(i % 8);
            flip_bit(fd, i, bit);
            if (findings(at, parts, NULL, 0) == 0) {
                print_error("bit %d of byte %lld of %s\n", bit, (long long)i,
                            path);
                fail();
            }
            flip_bit(fd, i, bit);
            flips++;
        }
    }
    (void)close(fd);
    print_message("%zu flips in %s: all found\n", flips,
                  path + strlen(at->dir));
    CHECK(findings(at, parts, NULL, 0) == 0);
}

typedef void file_fn(const home *at, const char *path, void *arg);

static void each_file(const home *at, const char *dir, file_fn *fn, void *arg)
{
    DIR *entries = opendir(dir);
    CHECK(entries != NULL);
    for (struct dirent *e; entries != NULL && (e = readdir(entries)) != NULL;) {
        char path[1024];
        struct stat st;
        if (e->d_name[0] == '.') {
            continue;
        }
        (void)snprintf(path, sizeof path, "%s/%s", dir, e->d_name);
        CHECK(lstat(path, &st) == 0);
        if (S_ISDIR(st.st_mode)) {
            each_file(at, path, fn, arg);
        } else if (S_ISREG(st.st_mode)) {
            fn(at, path, arg);
        }
    }
    (void)closedir(entries);
}

static void make_closed(fleet *f, const char *folder)
{
    fleet_make(f, folder);
    fleet_close(f);
}

/* A checkpoint of the open round, as a clean stop leaves one. row: the one that
 * it says the head's chain is of; 0: the true one. */
static void make_sum_at(fleet *f, char path[static 1024], uint64_t row)
{
    static tb_round_config c;
    tb_err err;
    char hex[TB_HASH_HEX_BYTES];
    tb_intake *intake = NULL;
    tb_box_key *key = NULL;
    const tb_run_params *p = &f->live->params;
    tb_counted counted = {.upload = {"anna"}, .weight = 10, .full = 10};
    c = (tb_round_config){.run = p->run,
                          .codec = p->codec,
                          .fraction_bits = 30,
                          .max_abs = 8.0F,
                          .max_weight = 1000,
                          .n_sections = 1};
    c.sections[0].n_values = 53;
    CHECK(tb_name_set(&c.sections[0].name, "parameters"));
    CHECK(tb_name_set(&counted.client, "anna"));
    CHECK_OK(tb_box_key_new(&key, &err), err);
    tb_intake_options o = {
        .config = &c, .hash = f->config, .max_updates = 2, .key = key};
    CHECK_OK(tb_spool_open(&o.spool, tb_folder_path(f->folder, TB_ITEM_SPOOL),
                           &p->run, &f->config, &err),
             err);
    CHECK_OK(tb_intake_new(&intake, &o, &err), err);
    CHECK_OK(tb_intake_restore(intake, &counted, 1, &err), err);
    tb_hash_hex(&f->config, hex);
    (void)snprintf(path, 1024, "%s/%s.sum",
                   tb_folder_path(f->folder, TB_ITEM_CHECKPOINTS), hex);
    tb_checkpoint sum = {.path = path,
                         .master = f->keys.master,
                         .run = p->run,
                         .config = f->config};
    sum.row = tb_store_head(f->store, &sum.chain);
    sum.row = row != 0 ? row : sum.row;
    CHECK_OK(tb_checkpoint_write(&sum, intake, INT64_MAX, &err), err);
    tb_intake_free(&intake);
    tb_box_key_free(&key);
}

static void make_sum(fleet *f, char path[static 1024])
{
    make_sum_at(f, path, 0);
}

static void a_whole_folder_has_no_findings(void **state)
{
    fleet f;
    char said[4096];
    char sum[1024];
    fleet_make(&f, *state); /* and stays open, as a daemon would have it */
    (void)findings(&f.at, TB_CHECK_ALL, said, sizeof said);
    assert_string_equal(said, "");
    make_sum(&f, sum);
    fleet_close(&f);
    (void)findings(&f.at, TB_CHECK_ALL, said, sizeof said);
    assert_string_equal(said, "");
}

typedef struct what {
    unsigned parts;
    int n_bits;
    const char *without; /* names with this in them are not flipped */
} what;

static void flip_each(const home *at, const char *path, void *arg)
{
    const what *w = arg;
    if (w->without == NULL || strstr(path, w->without) == NULL) {
        flip_file(at, w->parts, path, w->n_bits);
    }
}

static void flip_below(const home *at, const char *name, what w)
{
    char dir[640];
    (void)snprintf(dir, sizeof dir, "%s/%s", at->dir, name);
    each_file(at, dir, flip_each, &w);
}

static void every_bit_of_keys_and_certificate_is_known(void **state)
{
    tb_err err;
    tb_sign_key *sign = NULL;
    tb_box_key *curve = NULL;
    fleet f;
    char path[640];
    make_closed(&f, *state);
    fleet_open(&f); /* a change of keys was begun */
    CHECK_OK(tb_keys_draw_next(&sign, &curve, f.folder, &err), err);
    tb_sign_key_free(&sign);
    tb_box_key_free(&curve);
    fleet_close(&f);
    flip_below(&f.at, "keys", (what){TB_CHECK_KEYS, 8, NULL});
    (void)snprintf(path, sizeof path, "%s/certificate", f.at.dir);
    flip_file(&f.at, TB_CHECK_KEYS, path, 8);
    flip_file(&f.at, TB_CHECK_KEYS, f.at.master, 8);
}

static void every_byte_of_a_runs_job_and_key_is_known(void **state)
{
    fleet f;
    make_closed(&f, *state);
    flip_below(&f.at, "runs", (what){TB_CHECK_RUNS, 1, ".kept"});
}

static void every_byte_of_a_blob_is_known(void **state)
{
    fleet f;
    make_closed(&f, *state);
    flip_below(&f.at, "blobs", (what){TB_CHECK_BLOBS, 1, NULL});
}

static void every_byte_of_the_spool_is_known(void **state)
{
    fleet f;
    make_closed(&f, *state);
    flip_below(&f.at, "spool", (what){TB_CHECK_SPOOL, 1, NULL});
}

static void every_bit_of_a_checkpoint_is_known(void **state)
{
    fleet f;
    char path[1024];
    char other[1100];
    char said[4096];
    fleet_make(&f, *state);
    make_sum(&f, path);
    fleet_close(&f);
    flip_file(&f.at, TB_CHECK_SUMS, path, 8 / STRIDE);
    CHECK(truncate(path, 600) == 0);
    CHECK(findings(&f.at, TB_CHECK_ALL, said, sizeof said) == 1);
    CHECK(strstr(said, "harmless: the checkpoint of round 1") != NULL);
    CHECK(strstr(said, "reads the spool instead") != NULL);
    (void)snprintf(other, sizeof other, "%s.sum", path);
    CHECK(rename(path, other) == 0);
    CHECK(findings(&f.at, TB_CHECK_ALL, said, sizeof said) == 1);
    CHECK(strstr(said, "not named after a round") != NULL);
}

/* One that was copied in from another time of this folder opens, but stands on
 * a row that is not there, or on another one. */
static void a_checkpoint_of_another_journal_is_known(void **state)
{
    static const uint64_t rows[] = {1000, 3};
    fleet f;
    char path[1024];
    char said[4096];
    fleet_make(&f, *state);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        make_sum_at(&f, path, rows[i]);
        CHECK(findings(&f.at, TB_CHECK_SUMS, said, sizeof said) == 1);
        CHECK(strstr(said, "another journal") != NULL);
    }
    fleet_close(&f);
}

static void every_bit_of_the_head_is_known(void **state)
{
    fleet f;
    char path[640];
    make_closed(&f, *state);
    (void)snprintf(path, sizeof path, "%s/HEAD", f.at.dir);
    flip_file(&f.at, TB_CHECK_JOURNAL, path, 1);
}

/* --- the journal ---------------------------------------------------------- */

typedef struct rows {
    tb_hasher hasher;
    uint64_t n;
} rows;

static tb_rc add_row(void *arg, const tb_row *row, tb_err *err)
{
    rows *r = arg;
    (void)err;
    tb_hasher_add(&r->hasher, &row->seq, sizeof row->seq);
    tb_hasher_add(&r->hasher, &row->kind, sizeof row->kind);
    tb_hasher_add(&r->hasher, row->body, row->body_bytes);
    r->n++;
    return TB_OK;
}

/* Hash of all that the journal says, as a reader sees it. */
static tb_rc hash_rows(const home *at, tb_hash *out)
{
    tb_err err;
    tb_folder *folder = NULL;
    tb_store *store = NULL;
    _Alignas(64) rows r = {.n = 0};
    tb_hasher_init(&r.hasher);
    CHECK_OK(tb_folder_open(&folder, at->dir, TB_FOLDER_COORDINATOR,
                            TB_FOLDER_READ, &err),
             err);
    tb_rc rc = tb_store_open(&store, folder, &err);
    if (rc == TB_OK) {
        rc = tb_store_read(store, 1, add_row, &r, &err);
    }
    tb_store_close(&store);
    tb_folder_close(&folder);
    *out = tb_hasher_end(&r.hasher);
    return rc;
}

/* What no look finds must read as it did. Returns how much was found. */
static bool found_or_same(const home *at, const tb_hash *want)
{
    tb_hash got;
    if (findings(at, TB_CHECK_JOURNAL, NULL, 0) > 0) {
        return true;
    }
    CHECK(hash_rows(at, &got) == TB_OK);
    CHECK(tb_hash_equal(&got, want));
    return false;
}

/* SQLite rewrites what lies beside the file: each try begins with the same
 * bytes. */
typedef struct image {
    char path[640];
    tb_buf bytes;
} image;

static void read_image(image *i, const home *at, const char *name)
{
    tb_err err;
    (void)snprintf(i->path, sizeof i->path, "%s/%s", at->dir, name);
    tb_buf_init(&i->bytes, (size_t)8 << 20);
    CHECK_OK(tb_file_read(&i->bytes, i->path, &err), err);
}

static void write_image(const image *i, size_t len)
{
    int fd = open(i->path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    CHECK(fd >= 0 && write(fd, i->bytes.data, len) == (ssize_t)len);
    (void)close(fd);
}

/* Closed: all is in the database. Open: the last rows are in its WAL. */
static void damage_journal(fleet *f, const char *name, size_t stride)
{
    tb_hash want;
    image i;
    size_t flips = 0, found = 0, cuts = 0, cuts_found = 0;
    CHECK(hash_rows(&f->at, &want) == TB_OK);
    read_image(&i, &f->at, name);
    int fd = open(i.path, O_RDWR);
    CHECK(fd >= 0);
    for (size_t at = 0; at < i.bytes.len; at += stride) {
        flip_bit(fd, (off_t)at, (int)(at / stride % 8));
        found += found_or_same(&f->at, &want);
        flip_bit(fd, (off_t)at, (int)(at / stride % 8));
        flips++;
    }
    (void)close(fd);
    for (size_t len = i.bytes.len; len >= 512 * STRIDE; len -= 512 * STRIDE) {
        write_image(&i, len - 1);
        cuts_found += found_or_same(&f->at, &want);
        cuts++;
    }
    write_image(&i, i.bytes.len);
    CHECK(findings(&f->at, TB_CHECK_JOURNAL, NULL, 0) == 0);
    print_message("%s: %zu flips, %zu found, rows equal after the others; %zu "
                  "cuts, %zu found\n",
                  name, flips, found, cuts, cuts_found);
    CHECK(found > 0 && cuts_found > 0);
    tb_buf_release(&i.bytes);
}

static void what_is_not_found_in_the_journal_changes_no_row(void **state)
{
    fleet f;
    make_closed(&f, *state);
    damage_journal(&f, "journal.sqlite", 3 * STRIDE);
}

static void what_is_not_found_in_the_wal_changes_no_row(void **state)
{
    fleet f;
    char copy[700];
    char command[2048];
    fleet_make(&f, *state);
    /* as kill -9 leaves it: a copy of the folder while it is open */
    (void)snprintf(copy, sizeof copy, "%s.copy", f.at.dir);
    (void)snprintf(command, sizeof command, "cp -r %s %s && rm %s/*-shm",
                   f.at.dir, copy, copy);
    CHECK(system(command) == 0);
    fleet_close(&f);
    (void)snprintf(f.at.dir, sizeof f.at.dir, "%.500s", copy);
    damage_journal(&f, "journal.sqlite-wal", 61 * STRIDE);
}

/* --- tails and losses ----------------------------------------------------- */

static void cut_each(const home *at, const char *path, void *arg)
{
    const what *w = arg;
    struct stat st;
    size_t cuts = 0;
    tb_err err;
    tb_buf bytes;
    if (w->without != NULL && strstr(path, w->without) != NULL) {
        return;
    }
    tb_buf_init(&bytes, 1u << 20);
    CHECK_OK(tb_file_read(&bytes, path, &err), err);
    for (size_t len = 0; len < bytes.len; len += STRIDE) {
        CHECK(truncate(path, (off_t)len) == 0);
        if (findings(at, w->parts, NULL, 0) == 0) {
            print_error("%zu of %zu bytes of %s\n", len, bytes.len, path);
            fail();
        }
        int fd = open(path, O_WRONLY);
        CHECK(fd >= 0 &&
              write(fd, bytes.data, bytes.len) == (ssize_t)bytes.len);
        (void)close(fd);
        cuts++;
    }
    CHECK(unlink(path) == 0);
    if (stat(at->dir, &st) == 0 && findings(at, w->parts, NULL, 0) == 0) {
        print_error("%s is gone\n", path);
        fail();
    }
    int fd = open(path, O_WRONLY | O_CREAT, 0600);
    CHECK(fd >= 0 && write(fd, bytes.data, bytes.len) == (ssize_t)bytes.len);
    (void)close(fd);
    tb_buf_release(&bytes);
    print_message("%zu lengths of %s: all found\n", cuts,
                  path + strlen(at->dir));
}

static void cut_below(const home *at, const char *name, what w)
{
    char dir[640];
    (void)snprintf(dir, sizeof dir, "%s/%s", at->dir, name);
    each_file(at, dir, cut_each, &w);
}

static void every_lost_tail_and_file_is_known(void **state)
{
    fleet f;
    char path[640];
    make_closed(&f, *state);
    cut_below(&f.at, "blobs", (what){TB_CHECK_BLOBS, 1, NULL});
    cut_below(&f.at, "spool", (what){TB_CHECK_SPOOL, 1, NULL});
    cut_below(&f.at, "runs", (what){TB_CHECK_RUNS, 1, ".kept"});
    cut_below(&f.at, "keys", (what){TB_CHECK_KEYS, 1, "root"});
    (void)snprintf(path, sizeof path, "%s/certificate", f.at.dir);
    cut_each(&f.at, path, &(what){TB_CHECK_KEYS, 1, NULL});
}

/* --- what is said --------------------------------------------------------- */

static void a_finding_says_what_it_means_and_what_can_be_recovered(void **state)
{
    fleet f;
    char said[4096];
    char path[1024];
    char run[TB_RUN_HEX_BYTES];
    char hex[TB_HASH_HEX_BYTES];
    fleet_make(&f, *state);
    tb_run_hex(&f.live->params.run, run);
    tb_hash_hex(&f.config, hex);
    (void)snprintf(path, sizeof path, "%s/spool/%s/%s", f.at.dir, run, hex);
    fleet_close(&f);
    CHECK(truncate(path, 600) == 0);
    CHECK(findings(&f.at, TB_CHECK_ALL, said, sizeof said) == 2);
    CHECK(strstr(said, "lost: spool: the update of anna in round 1") != NULL);
    CHECK(strstr(said, "round 1 will be abandoned") != NULL);
    CHECK(strstr(said, "harmless: spool:") != NULL);
}

/* Removes the segment of a configuration of the run that lives. */
static void remove_segment(const fleet *f, const tb_hash *config)
{
    char path[1024];
    char run[TB_RUN_HEX_BYTES];
    char hex[TB_HASH_HEX_BYTES];
    tb_run_hex(&f->live->params.run, run);
    tb_hash_hex(config, hex);
    (void)snprintf(path, sizeof path, "%s/spool/%s/%s", f->at.dir, run, hex);
    CHECK(unlink(path) == 0);
}

/* In an asynchronous run an update may wait for a later buffer than that of its
 * configuration; until then it is in the spool alone. */
static void what_waits_for_a_later_buffer_is_missed(void **state)
{
    fleet f;
    char said[4096];
    fleet_make(&f, *state);
    tb_hash first = f.config;
    fleet_round(&f, 2); /* its number only tells it from the first */
    tb_hash second = f.config;
    f.config = first;
    fleet_commit(&f, 1, 1, "second trained", 0.5);
    fleet_update(&f, "carl", true); /* in time for the buffer that is open */
    CHECK(findings(&f.at, TB_CHECK_SPOOL, said, sizeof said) == 0);
    remove_segment(&f, &first);
    CHECK(findings(&f.at, TB_CHECK_SPOOL, said, sizeof said) == 1);
    CHECK(strstr(said, "wait for the buffer that is open") != NULL);
    fleet_row(&f, &(tb_record){.kind = TB_REC_CLOSED,
                               .u.closed = {second, 1, "enough"}});
    CHECK(findings(&f.at, TB_CHECK_SPOOL, said, sizeof said) == 1);
    f.config = second;
    fleet_commit(&f, 2, 1, "second trained again", 0.5);
    (void)findings(&f.at, TB_CHECK_SPOOL, said, sizeof said);
    assert_string_equal(said, ""); /* it is in a model */
    fleet_close(&f);
}

/* What goes with its round, its run or its client is not missed. */
static void what_counts_nowhere_any_more_is_not_missed(void **state)
{
    char said[4096];
    for (int way = 0; way < 4; way++) {
        fleet f;
        char folder[256];
        (void)snprintf(folder, sizeof folder, "%.200s/%d", (char *)*state, way);
        CHECK(mkdir(folder, 0700) == 0);
        fleet_make(&f, folder);
        tb_hash first = f.config;
        fleet_commit(&f, 1, 1, "second trained", 0.5);
        fleet_update(&f, "carl", true);
        fleet_round(&f, 2);
        remove_segment(&f, &first);
        CHECK(findings(&f.at, TB_CHECK_SPOOL, NULL, 0) == 1);
        tb_record row = {.kind = TB_REC_ABANDONED,
                         .u.abandoned = {.config = f.config}};
        if (way == 1) {
            row = (tb_record){.kind = TB_REC_RUN_ENDED,
                              .u.run_ended = {.run = f.live->params.run,
                                              .outcome = TB_OUTCOME_CANCELLED}};
        } else if (way == 2) {
            row = (tb_record){.kind = TB_REC_PURGED,
                              .u.purged = {.config = first,
                                           .n_blocks = FLEET_BLOCKS,
                                           .weight = 10,
                                           .full = 10}};
            CHECK(tb_name_set(&row.u.purged.client, "carl"));
        } else if (way == 3) {
            row = (tb_record){.kind = TB_REC_RESTORED,
                              .u.restored = {.epoch = 1}};
        }
        fleet_row(&f, &row);
        (void)findings(&f.at, TB_CHECK_SPOOL, said, sizeof said);
        assert_string_equal(said, "");
        fleet_close(&f);
    }
}

static void a_row_of_the_table_of_acceptances_counts(void **state)
{
    fleet f;
    char said[4096];
    char path[640];
    sqlite3 *db = NULL;
    make_closed(&f, *state);
    (void)snprintf(path, sizeof path, "%s/journal.sqlite", f.at.dir);
    CHECK(sqlite3_open(path, &db) == SQLITE_OK);
    CHECK(sqlite3_exec(db, "DELETE FROM acceptance", NULL, NULL, NULL) ==
          SQLITE_OK);
    CHECK(sqlite3_close(db) == SQLITE_OK);
    CHECK(findings(&f.at, TB_CHECK_ALL, said, sizeof said) == 1);
    CHECK(strstr(said, "table of acceptances") != NULL);
}

static tb_rc attempt(void *arg, tb_err *err)
{
    const home *at = arg;
    tb_check check;
    tb_check_options o = {
        .dir = at->dir, .master_key = at->master, .parts = TB_CHECK_ALL};
    tb_rc rc = tb_check_run(&check, &o, err);
    if (rc == TB_OK) {
        CHECK(check.n == 0);
        tb_check_release(&check);
    }
    return rc;
}

static void a_look_survives_each_allocation_failing(void **state)
{
    fleet f;
    char sum[1024];
    fleet_make(&f, *state);
    make_sum(&f, sum);
    fleet_close(&f);
    CHECK(tb_check_each_allocation(attempt, &f.at) > 20);
}

#define IN_FOLDER(f)                                                           \
    cmocka_unit_test_setup_teardown(f, tb_test_folder_setup,                   \
                                    tb_test_folder_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_FOLDER(a_whole_folder_has_no_findings),
        IN_FOLDER(every_bit_of_keys_and_certificate_is_known),
        IN_FOLDER(every_byte_of_a_runs_job_and_key_is_known),
        IN_FOLDER(every_byte_of_a_blob_is_known),
        IN_FOLDER(every_byte_of_the_spool_is_known),
        IN_FOLDER(every_bit_of_a_checkpoint_is_known),
        IN_FOLDER(a_checkpoint_of_another_journal_is_known),
        IN_FOLDER(every_bit_of_the_head_is_known),
        IN_FOLDER(what_is_not_found_in_the_journal_changes_no_row),
        IN_FOLDER(what_is_not_found_in_the_wal_changes_no_row),
        IN_FOLDER(every_lost_tail_and_file_is_known),
        IN_FOLDER(a_finding_says_what_it_means_and_what_can_be_recovered),
        IN_FOLDER(what_waits_for_a_later_buffer_is_missed),
        IN_FOLDER(what_counts_nowhere_any_more_is_not_missed),
        IN_FOLDER(a_row_of_the_table_of_acceptances_counts),
        IN_FOLDER(a_look_survives_each_allocation_failing),
    };
    tb_log_set_level(TB_LOG_OFF); /* each torn tail would be a line */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
