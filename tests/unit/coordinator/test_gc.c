/* What a collection removes, what it never does, and kills in between. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/log.h"
#include "check.h"
#include "gc.h"
#include "small_fleet.h"
#include "support/faults.h"

/* Three versions of two ended runs (the first is kept), and a run that lives in
 * its fourth round: the best model so far is that of its second. */
static void make(fleet *f, const char *folder)
{
    memset(f, 0, sizeof *f);
    f->at = make_home(folder);
    fleet_open(f);
    fleet_member(f, "anna");
    fleet_member(f, "bert");
    fleet_start(f, "start 1");
    fleet_round(f, 1);
    fleet_update(f, "anna", true);
    fleet_commit(f, 1, 1, "run 1 round 1", 0.5);
    fleet_version(f, 1, "published 1");
    fleet_end(f, "run 1 round 1", true);
    fleet_start(f, "start 2");
    fleet_round(f, 1);
    fleet_commit(f, 1, 0, "run 2 round 1", 0.5);
    fleet_round(f, 2);
    fleet_commit(f, 2, 0, "run 2 round 2", 0.5);
    fleet_version(f, 2, "published 2");
    fleet_version(f, 3, "published 3");
    fleet_end(f, "run 2 round 2", false);
    fleet_start(f, "start 3");
    fleet_round(f, 1);
    fleet_commit(f, 1, 0, "run 3 round 1", 0.5);
    fleet_round(f, 2);
    fleet_commit(f, 2, 0, "run 3 round 2", 0.9);
    fleet_round(f, 3);
    fleet_commit(f, 3, 0, "run 3 round 3", 0.6);
    fleet_round(f, 4);
    fleet_update(f, "anna", true);
    fleet_close(f);
}

static bool has(const fleet *f, const char *text)
{
    tb_err err;
    tb_blobs *blobs = NULL;
    tb_blob_ref ref;
    uint8_t bytes[96] = {0};
    char dir[640];
    (void)snprintf((char *)bytes, sizeof bytes, "%s", text);
    tb_hash hash = tb_hash_of(bytes, sizeof bytes);
    (void)snprintf(dir, sizeof dir, "%s/blobs", f->at.dir);
    CHECK_OK(tb_blobs_open(&blobs, dir, &err), err);
    bool there = tb_blobs_find(blobs, &hash, &ref, NULL) == TB_OK;
    tb_blobs_close(&blobs);
    return there;
}

static void check_clean(const fleet *f)
{
    tb_err err;
    tb_check check;
    tb_check_options o = {
        .dir = f->at.dir, .master_key = f->at.master, .parts = TB_CHECK_ALL};
    CHECK_OK(tb_check_run(&check, &o, &err), err);
    for (size_t i = 0; i < check.n; i++) {
        print_error("%s\n", check.at[i].what);
    }
    CHECK(check.n == 0);
    tb_check_release(&check);
}

static bool journal_fails; /* as on a full disk */

static tb_rc journal(void *arg, const tb_record *record, tb_err *err)
{
    tb_state *state = arg;
    tb_buf body;
    tb_buf_init(&body, TB_RECORD_BYTES_MAX);
    if (journal_fails) {
        return tb_fail(err, TB_E_FULL, "the disk is full");
    }
    tb_row row = {.seq = tb_store_head(state->store, NULL) + 1,
                  .kind = record->kind};
    tb_rc rc = tb_record_encode(record, &body, err);
    if (rc == TB_OK) {
        row.body = body.data;
        row.body_bytes = body.len;
        rc = tb_store_append(state->store, &row, 1, err);
    }
    if (rc == TB_OK) {
        rc = tb_state_note(state, record, err);
    }
    tb_buf_release(&body);
    return rc;
}

static tb_rc gc(const fleet *f, tb_gc_options o, tb_gc_result *out, tb_err *err)
{
    tb_state state;
    tb_rc rc = tb_state_open(&state, f->at.dir, TB_FOLDER_LOCK, err);
    o.journal = journal;
    o.arg = &state;
    if (rc == TB_OK) {
        rc = tb_gc_run(out, &state, &o, err);
        tb_state_close(&state);
    }
    return rc;
}

static const tb_gc_options one_of_each = {
    .retention = {.versions = 1, .checkpoints = 1, .spool = 1},
    .leftovers = true};

static void what_nothing_needs_goes_and_the_rest_stays(void **state)
{
    static const char *const gone[] = {"published 1", "published 2", "start 2",
                                       "run 2 round 1", "run 3 round 1"};
    static const char *const stay[] = {
        "published 3",   "start 1",       "run 1 round 1", "run 2 round 2",
        "run 3 round 2", "run 3 round 3", "start 3"};
    fleet f;
    tb_err err;
    tb_gc_result result;
    make(&f, *state);
    CHECK_OK(gc(&f, one_of_each, &result, &err), err);
    for (size_t i = 0; i < sizeof gone / sizeof *gone; i++) {
        CHECK(!has(&f, gone[i]));
    }
    for (size_t i = 0; i < sizeof stay / sizeof *stay; i++) {
        CHECK(has(&f, stay[i]));
    }
    CHECK(result.n_blobs == 7); /* and two manifests */
    CHECK(result.n_files == 2 * result.n_blobs && result.n_runs == 0);
    check_clean(&f);
    CHECK_OK(gc(&f, one_of_each, &result, &err), err);
    CHECK(result.n_blobs == 0 && result.n_files == 0);
}

static void between_rounds_only_what_rows_let_go_is_removed(void **state)
{
    fleet f;
    tb_err err;
    tb_gc_result result;
    tb_gc_options o = one_of_each;
    make(&f, *state);
    fleet_open(&f);
    (void)fleet_blob(&f, "of another program"); /* and settled */
    fleet_close(&f);
    o.leftovers = false;
    CHECK_OK(gc(&f, o, &result, &err), err);
    CHECK(result.n_blobs == 7 && result.n_files == 14);
    CHECK(has(&f, "of another program") && !has(&f, "published 1"));
    CHECK_OK(gc(&f, one_of_each, &result, &err), err);
    CHECK(result.n_files == 2 && !has(&f, "of another program"));
    check_clean(&f);
}

static void a_dry_run_tells_and_touches_nothing(void **state)
{
    fleet f;
    tb_err err;
    tb_gc_result told, done;
    tb_gc_options o = one_of_each;
    make(&f, *state);
    o.dry_run = true;
    CHECK_OK(gc(&f, o, &told, &err), err);
    CHECK(has(&f, "published 1") && told.n_blobs == 7);
    CHECK_OK(gc(&f, one_of_each, &done, &err), err);
    CHECK(memcmp(&told, &done, sizeof told) == 0);
}

static void all_stays_unless_a_retention_says_less(void **state)
{
    fleet f;
    tb_err err;
    tb_gc_result result;
    make(&f, *state);
    CHECK_OK(gc(&f, (tb_gc_options){.leftovers = true}, &result, &err), err);
    CHECK(result.n_files == 0 && result.n_blobs == 0);
    check_clean(&f);
}

/* An ended run of five rounds; another model was published. */
static void make_rounds(fleet *f, const char *folder)
{
    char text[32];
    memset(f, 0, sizeof *f);
    f->at = make_home(folder);
    fleet_open(f);
    fleet_member(f, "anna");
    fleet_member(f, "bert");
    fleet_start(f, "start");
    for (uint32_t round = 1; round <= 5; round++) {
        (void)snprintf(text, sizeof text, "round %u", round);
        fleet_round(f, round);
        fleet_commit(f, round, 0, text, 0.5);
    }
    fleet_end(f, "published", false);
    fleet_close(f);
}

static void a_run_keeps_exactly_the_number_that_was_set(void **state)
{
    for (uint32_t keep = 1; keep <= 6; keep++) {
        fleet f;
        tb_err err;
        tb_gc_result result;
        char folder[256];
        char text[32];
        (void)snprintf(folder, sizeof folder, "%.200s/%u", (char *)*state,
                       keep);
        CHECK_OK(tb_file_make_dir(folder, 0700, &err), err);
        make_rounds(&f, folder);
        CHECK_OK(gc(&f,
                    (tb_gc_options){.retention = {.checkpoints = keep},
                                    .leftovers = true},
                    &result, &err),
                 err);
        for (uint32_t round = 1; round <= 5; round++) {
            (void)snprintf(text, sizeof text, "round %u", round);
            CHECK(has(&f, text) == (round + keep > 5));
        }
        check_clean(&f);
    }
}

static void a_kept_run_goes_whole_when_newer_ones_are_kept(void **state)
{
    fleet f;
    tb_err err;
    tb_gc_result result;
    char key[700];
    char hex[TB_RUN_HEX_BYTES];
    memset(&f, 0, sizeof f);
    f.at = make_home(*state);
    fleet_open(&f);
    fleet_member(&f, "anna");
    fleet_member(&f, "bert");
    for (int i = 0; i < 2; i++) {
        fleet_start(&f, i == 0 ? "start 1" : "start 2");
        fleet_round(&f, 1);
        fleet_update(&f, "bert", true);
        fleet_commit(&f, 1, 1, "round 1", 0.5);
        fleet_end(&f, "round 1", true);
    }
    tb_run_hex(&f.live->params.run, hex);
    fleet_close(&f);
    CHECK_OK(gc(&f, one_of_each, &result, &err), err);
    CHECK(result.n_runs == 1 && !has(&f, "start 1"));
    (void)snprintf(key, sizeof key, "%s/runs/%s.key", f.at.dir, hex);
    CHECK(tb_file_exists(key)); /* the newer one */
    check_clean(&f);
}

static void nothing_is_removed_beside_damage_or_without_a_row(void **state)
{
    fleet f;
    tb_err err;
    tb_gc_result result;
    make(&f, *state);
    journal_fails = true;
    CHECK_ERR(gc(&f, one_of_each, &result, &err), TB_E_FULL, err, "full");
    journal_fails = false;
    CHECK(has(&f, "published 1"));

    uint8_t bytes[96] = "run 3 round 2"; /* the best so far */
    char path[800], hex[TB_HASH_HEX_BYTES];
    tb_hash hash = tb_hash_of(bytes, sizeof bytes);
    tb_hash_hex(&hash, hex);
    (void)snprintf(path, sizeof path, "%s/blobs/raw/%.2s/%s", f.at.dir, hex,
                   hex);
    CHECK(unlink(path) == 0);
    CHECK_ERR(gc(&f, one_of_each, &result, &err), TB_E_NOT_FOUND, err,
              "nothing was removed: the model of round 2");
    CHECK(has(&f, "published 1"));
}

static void what_was_put_and_is_not_named_yet_stays(void **state)
{
    fleet f;
    tb_err err;
    tb_state open;
    tb_gc_result result;
    tb_blob_ref ref;
    tb_gc_options o = one_of_each;
    uint8_t fresh[96] = "fresh", again[96] = "run 2 round 1";
    make(&f, *state);
    CHECK_OK(tb_state_open(&open, f.at.dir, TB_FOLDER_LOCK, &err), err);
    CHECK_OK(tb_blobs_put(open.blobs, fresh, sizeof fresh, 3, &ref, &err), err);
    CHECK_OK(tb_blobs_put(open.blobs, again, sizeof again, 3, &ref, &err), err);
    o.journal = journal;
    o.arg = &open;
    CHECK_OK(tb_gc_run(&result, &open, &o, &err), err);
    CHECK(has(&f, "fresh") && has(&f, "run 2 round 1"));
    tb_blobs_settle(open.blobs, &ref.raw);
    CHECK_OK(tb_gc_run(&result, &open, &o, &err), err);
    CHECK(has(&f, "fresh") && !has(&f, "run 2 round 1"));
    tb_state_close(&open);
    check_clean(&f);
}

/* As a kill or a failing disk at any of its calls would leave it. */
static void
an_interrupted_collection_leaves_nothing_that_looks_lost(void **state)
{
    bool fired = true;
    long n = 0;
    for (; fired; n++) {
        fleet f;
        tb_err err;
        tb_gc_result result;
        char dir[512];
        (void)snprintf(dir, sizeof dir, "%s/%ld", (const char *)*state, n);
        CHECK_OK(tb_file_make_dir(dir, 0700, &err), err);
        make(&f, dir);
        tb_faults_arm(TB_FAULT_EIO, n, true);
        tb_rc rc = gc(&f, one_of_each, &result, &err);
        fired = tb_faults_disarm();
        CHECK(rc != TB_OK || !fired || n > 0);
        check_clean(&f);
        CHECK_OK(gc(&f, one_of_each, &result, &err), err);
        CHECK(!has(&f, "published 1") && has(&f, "published 3"));
        check_clean(&f);
    }
    CHECK(n > 60);
    print_message("%ld places to stop at: nothing lost\n", n);
}

#define IN_FOLDER(f)                                                           \
    cmocka_unit_test_setup_teardown(f, tb_test_folder_setup,                   \
                                    tb_test_folder_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_FOLDER(what_nothing_needs_goes_and_the_rest_stays),
        IN_FOLDER(between_rounds_only_what_rows_let_go_is_removed),
        IN_FOLDER(a_dry_run_tells_and_touches_nothing),
        IN_FOLDER(all_stays_unless_a_retention_says_less),
        IN_FOLDER(a_run_keeps_exactly_the_number_that_was_set),
        IN_FOLDER(a_kept_run_goes_whole_when_newer_ones_are_kept),
        IN_FOLDER(nothing_is_removed_beside_damage_or_without_a_row),
        IN_FOLDER(what_was_put_and_is_not_named_yet_stays),
        IN_FOLDER(an_interrupted_collection_leaves_nothing_that_looks_lost),
    };
    if (access("/dev/shm", W_OK) == 0) { /* hundreds of small folders */
        (void)setenv("TMPDIR", "/dev/shm", 1);
    }
    tb_log_set_level(TB_LOG_OFF);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
