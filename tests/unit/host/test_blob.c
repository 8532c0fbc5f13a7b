#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <zstd.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/stream.h"
#include "host/blob.h"
#include "support/check.h"
#include "support/folder.h"

#define RAW_BYTES 10000

static uint8_t raw[RAW_BYTES];

static void fill_raw(void)
{
    tb_stream s;
    tb_stream_init(&s, 1, 0, "test blob", "");
    for (size_t i = 0; i < sizeof raw; i++) {
        raw[i] = (uint8_t)tb_stream_below(&s, 16);
    }
}

static tb_blobs *open_blobs(const char *dir)
{
    tb_err err;
    tb_blobs *b = NULL;
    CHECK_OK(tb_blobs_open(&b, tb_test_folder_path(dir, "blobs"), &err), err);
    return b;
}

static void a_blob_comes_back_by_both_of_its_names(void **state)
{
    tb_err err;
    tb_blob_ref ref;
    tb_blob_ref found;
    tb_buf out;
    tb_blobs *b = open_blobs(*state);
    tb_buf_init(&out, RAW_BYTES);
    CHECK_OK(tb_blobs_put(b, raw, sizeof raw, TB_BLOB_LEVEL_FAST, &ref, &err),
             err);
    tb_hash raw_hash = tb_hash_of(raw, sizeof raw);
    CHECK(tb_hash_equal(&ref.raw, &raw_hash) && ref.raw_bytes == sizeof raw);
    CHECK(ref.stored_bytes < sizeof raw);
    CHECK_OK(tb_blobs_find(b, &ref.raw, &found, &err), err);
    CHECK(memcmp(&ref, &found, sizeof ref) == 0);
    CHECK_OK(tb_blobs_load(b, &found, &out, &err), err);
    CHECK(out.len == sizeof raw && memcmp(out.data, raw, sizeof raw) == 0);
    tb_buf_release(&out);
    tb_blobs_close(&b);
}

static void the_same_bytes_twice_are_one_blob_at_any_level(void **state)
{
    tb_err err;
    tb_blob_ref one;
    tb_blob_ref two;
    tb_blobs *b = open_blobs(*state);
    CHECK_OK(tb_blobs_put(b, raw, sizeof raw, TB_BLOB_LEVEL_FAST, &one, &err),
             err);
    CHECK_OK(tb_blobs_put(b, raw, sizeof raw, TB_BLOB_LEVEL_SMALL, &two, &err),
             err);
    CHECK(memcmp(&one, &two, sizeof one) == 0);
    tb_blobs_close(&b);
}

static void an_empty_blob_is_a_blob(void **state)
{
    tb_err err;
    tb_blob_ref ref;
    tb_buf out;
    tb_blobs *b = open_blobs(*state);
    tb_buf_init(&out, 16);
    CHECK_OK(tb_blobs_put(b, NULL, 0, TB_BLOB_LEVEL_FAST, &ref, &err), err);
    CHECK_OK(tb_blobs_load(b, &ref, &out, &err), err);
    CHECK(out.len == 0);
    tb_buf_release(&out);
    tb_blobs_close(&b);
}

static void
shared_bytes_are_the_stored_file_and_outlive_its_removal(void **state)
{
    tb_err err;
    tb_blob_range all = {.len = sizeof raw};
    tb_blob_ref ref;
    tb_shared *one = NULL;
    tb_shared *two = NULL;
    tb_blobs *b = open_blobs(*state);
    CHECK_OK(tb_blobs_put(b, raw, sizeof raw, TB_BLOB_LEVEL_FAST, &ref, &err),
             err);
    CHECK_OK(tb_blobs_part(b, &ref.stored, &all, &one, &err), err);
    CHECK_OK(tb_blobs_remove(b, &ref, &err), err); /* pinned: it stays */
    CHECK_OK(tb_blobs_find(b, &ref.raw, &ref, &err), err);
    tb_blobs_settle(b, &ref.raw);
    CHECK_OK(tb_blobs_remove(b, &ref, &err), err);
    CHECK_OK(tb_blobs_remove(b, &ref, &err), err);
    CHECK_OK(tb_blobs_part(b, &ref.stored, &all, &two, &err), err);
    CHECK(one == two && tb_shared_bytes(one) == ref.stored_bytes);
    tb_hash hash = tb_hash_of(tb_shared_data(one), tb_shared_bytes(one));
    CHECK(tb_hash_equal(&hash, &ref.stored));
    tb_shared_free(&two);
    tb_blobs_close(&b);
    CHECK(tb_shared_data(one)[0] == 0x28); /* of zstd's magic, RFC 8878 */
    tb_shared_free(&one);

    b = open_blobs(*state);
    CHECK_ERR(tb_blobs_part(b, &ref.stored, &all, &one, &err), TB_E_NOT_FOUND,
              err, "blobs");
    CHECK_ERR(tb_blobs_find(b, &ref.raw, &ref, &err), TB_E_NOT_FOUND, err,
              "raw");
    tb_blobs_close(&b);
}

static void pieces_make_up_the_stored_file_whoever_asks(void **state)
{
    tb_err err;
    tb_blob_ref ref;
    tb_blob_range all = {.len = sizeof raw};
    tb_shared *whole = NULL;
    tb_blobs *b = open_blobs(*state);
    CHECK_OK(tb_blobs_put(b, raw, sizeof raw, TB_BLOB_LEVEL_FAST, &ref, &err),
             err);
    CHECK_OK(tb_blobs_part(b, &ref.stored, &all, &whole, &err), err);
    for (size_t at = 0; at < ref.stored_bytes; at += 7) {
        tb_blob_range want = {.offset = at, .len = 7};
        tb_shared *one = NULL;
        tb_shared *two = NULL;
        CHECK_OK(tb_blobs_part(b, &ref.stored, &want, &one, &err), err);
        CHECK_OK(tb_blobs_part(b, &ref.stored, &want, &two, &err), err);
        CHECK(one == two && want.total == ref.stored_bytes);
        CHECK(want.len == tb_shared_bytes(one));
        CHECK(want.len == 7 || at + want.len == ref.stored_bytes);
        CHECK(memcmp(tb_shared_data(one), tb_shared_data(whole) + at,
                     want.len) == 0);
        tb_shared_free(&one);
        tb_shared_free(&two);
    }
    tb_blob_range beyond = {.offset = ref.stored_bytes, .len = 1};
    tb_shared *none = NULL;
    CHECK_ERR(tb_blobs_part(b, &ref.stored, &beyond, &none, &err),
              TB_E_NOT_FOUND, err, "no byte there");
    tb_shared_free(&whole);
    tb_blobs_close(&b);
}

static void a_blob_is_edited_in_a_file_and_stored_as_another(void **state)
{
    tb_err err;
    tb_blob_ref ref;
    tb_blob_ref moved;
    tb_blob_ref same;
    tb_blob_edit *edit = NULL;
    tb_buf out;
    tb_blobs *b = open_blobs(*state);
    CHECK_OK(tb_blobs_put(b, raw, sizeof raw, TB_BLOB_LEVEL_FAST, &ref, &err),
             err);
    CHECK_OK(tb_blobs_edit(&edit, b, &ref, &err), err);
    CHECK_OK(tb_blobs_put_edit(b, edit, TB_BLOB_LEVEL_FAST, &same, &err), err);
    CHECK(memcmp(&same, &ref, sizeof ref) == 0); /* nothing was moved */
    CHECK(pwrite(tb_blob_edit_fd(edit), "moved", 5, 3) == 5);
    CHECK_OK(tb_blobs_put_edit(b, edit, TB_BLOB_LEVEL_FAST, &moved, &err), err);
    tb_blob_edit_free(&edit);
    tb_blob_edit_free(&edit);

    tb_buf_init(&out, sizeof raw);
    CHECK_OK(tb_blobs_load(b, &moved, &out, &err), err);
    CHECK(out.len == sizeof raw && memcmp(out.data, raw, 3) == 0);
    CHECK(memcmp(out.data + 3, "moved", 5) == 0);
    CHECK(memcmp(out.data + 8, raw + 8, sizeof raw - 8) == 0);
    tb_hash hash = tb_hash_of(out.data, out.len);
    CHECK(tb_hash_equal(&hash, &moved.raw));
    tb_buf_release(&out);

    ref.raw.bytes[0] ^= 1;
    CHECK_ERR(tb_blobs_edit(&edit, b, &ref, &err), TB_E_MISMATCH, err,
              "altered");
    ref.stored.bytes[0] ^= 1;
    CHECK_ERR(tb_blobs_edit(&edit, b, &ref, &err), TB_E_NOT_FOUND, err, "");
    tb_blobs_close(&b);
}

/* What zstd makes of raw, and its four numbers. */
static size_t pack(uint8_t *out, size_t room, tb_blob_ref *ref)
{
    size_t n = ZSTD_compress(out, room, raw, sizeof raw, 3);
    CHECK(!ZSTD_isError(n));
    *ref = (tb_blob_ref){.raw = tb_hash_of(raw, sizeof raw),
                         .raw_bytes = sizeof raw,
                         .stored = tb_hash_of(out, n),
                         .stored_bytes = n};
    return n;
}

static void each_cut_and_each_altered_byte_is_refused(void **state)
{
    static uint8_t stored[2 * RAW_BYTES];
    tb_blob_ref ref;
    tb_buf out;
    (void)state;
    size_t n = pack(stored, sizeof stored, &ref);
    tb_buf_init(&out, RAW_BYTES);
    for (size_t len = 0; len < n; len += len < 40 ? 1 : 61) {
        CHECK(tb_blob_unpack(stored, len, &ref, &out, NULL) == TB_E_MISMATCH);
        tb_blob_ref lie = ref; /* as if the cut bytes had been signed */
        lie.stored = tb_hash_of(stored, len);
        lie.stored_bytes = len;
        CHECK(tb_blob_unpack(stored, len, &lie, &out, NULL) == TB_E_MALFORMED);
    }
    for (size_t at = 0; at < n; at += at < 40 ? 1 : 61) {
        stored[at] ^= 4;
        CHECK(tb_blob_unpack(stored, n, &ref, &out, NULL) == TB_E_MISMATCH);
        tb_blob_ref lie = ref;
        lie.stored = tb_hash_of(stored, n);
        /* Not every bit of zstd's matters: but other bytes never come out. */
        tb_rc rc = tb_blob_unpack(stored, n, &lie, &out, NULL);
        CHECK(rc != TB_OK || memcmp(out.data, raw, sizeof raw) == 0);
        out.len = 0;
        stored[at] ^= 4;
    }
    CHECK(tb_blob_unpack(stored, n, &ref, &out, NULL) == TB_OK);
    tb_buf_release(&out);
}

static void a_bomb_is_refused_before_it_is_unpacked(void **state)
{
    static uint8_t zeros[1 << 20];
    static uint8_t stored[4096];
    tb_err err;
    tb_buf out;
    (void)state;
    size_t n = ZSTD_compress(stored, sizeof stored, zeros, sizeof zeros, 3);
    tb_blob_ref ref = {.raw = tb_hash_of(zeros, sizeof zeros),
                       .raw_bytes = 1000,
                       .stored = tb_hash_of(stored, n),
                       .stored_bytes = n};
    tb_buf_init(&out, 1000);
    CHECK_ERR(tb_blob_unpack(stored, n, &ref, &out, &err), TB_E_MALFORMED, err,
              "1000 bytes");
    ref.raw_bytes = sizeof zeros; /* signed so, but over what the caller has */
    CHECK_ERR(tb_blob_unpack(stored, n, &ref, &out, &err), TB_E_LIMIT, err,
              "over 1000");
    ref.raw_bytes = UINT64_MAX;
    CHECK_ERR(tb_blob_unpack(stored, n, &ref, &out, &err), TB_E_LIMIT, err,
              "raw bytes");
    CHECK(out.cap == 0);
}

static void
stored_bytes_that_were_received_are_kept_only_when_true(void **state)
{
    static uint8_t stored[2 * RAW_BYTES];
    tb_err err;
    tb_blob_ref ref;
    tb_blob_ref found;
    tb_blobs *b = open_blobs(*state);
    size_t n = pack(stored, sizeof stored, &ref);
    tb_blob_ref lie = ref;
    lie.raw.bytes[0] ^= 1;
    CHECK_ERR(tb_blobs_put_stored(b, stored, n, &lie, &err), TB_E_MISMATCH, err,
              "unpacked bytes");
    CHECK(tb_blobs_find(b, &ref.raw, &found, NULL) == TB_E_NOT_FOUND);
    CHECK_OK(tb_blobs_put_stored(b, stored, n, &ref, &err), err);
    CHECK_OK(tb_blobs_find(b, &ref.raw, &found, &err), err);
    CHECK(memcmp(&ref, &found, sizeof ref) == 0);
    tb_blobs_close(&b);
}

static void an_altered_file_is_an_error_that_names_it(void **state)
{
    tb_err err;
    tb_blob_ref ref;
    tb_buf out;
    char hex[TB_HASH_HEX_BYTES];
    char name[96];
    tb_blobs *b = open_blobs(*state);
    tb_buf_init(&out, RAW_BYTES);
    CHECK_OK(tb_blobs_put(b, raw, sizeof raw, TB_BLOB_LEVEL_FAST, &ref, &err),
             err);
    tb_hash_hex(&ref.stored, hex);
    (void)snprintf(name, sizeof name, "blobs/%.2s/%s", hex, hex);
    (void)tb_test_folder_write(*state, name, "short", 5);
    CHECK_ERR(tb_blobs_load(b, &ref, &out, &err), TB_E_MISMATCH, err, hex);
    tb_hash_hex(&ref.raw, hex);
    (void)snprintf(name, sizeof name, "blobs/raw/%.2s/%s", hex, hex);
    (void)tb_test_folder_write(*state, name, "short", 5);
    CHECK_ERR(tb_blobs_find(b, &ref.raw, &ref, &err), TB_E_MALFORMED, err, hex);
    /* Storing it again mends both. */
    CHECK_OK(tb_blobs_put(b, raw, sizeof raw, TB_BLOB_LEVEL_FAST, &ref, &err),
             err);
    CHECK_OK(tb_blobs_load(b, &ref, &out, &err), err);
    tb_buf_release(&out);
    tb_blobs_close(&b);
}

/* Exit code 0: the put failed and the store is as it was. */
static int put_on_a_full_disk(const char *dir)
{
    tb_blob_ref ref;
    tb_blobs *b = open_blobs(dir);
    struct rlimit limit = {.rlim_cur = 1000, .rlim_max = 1000};
    (void)signal(SIGXFSZ, SIG_IGN);
    (void)setrlimit(RLIMIT_FSIZE, &limit);
    tb_rc rc = tb_blobs_put(b, raw, sizeof raw, 3, &ref, NULL);
    if (rc == TB_OK || tb_blobs_find(b, &ref.raw, &ref, NULL) == TB_OK) {
        return 1;
    }
    return 0;
}

/* RLIMIT_FSIZE stands for the disk: a write fails in the middle of the file. */
static void a_write_that_fails_leaves_nothing_behind(void **state)
{
    char command[600];
    pid_t child = fork();
    if (child == 0) {
        _exit(put_on_a_full_disk(*state));
    }
    int status = -1;
    CHECK(waitpid(child, &status, 0) == child && status == 0);
    (void)snprintf(command, sizeof command, "test -z \"$(find %s -type f)\"",
                   (const char *)*state);
    CHECK(system(command) == 0);
}

/* What zstd takes does not grow with the model: 2.4 MB by its own estimate
 * (ZSTD_estimateCCtxSize), where level 19 would take 85 for 8 MB. */
static void packing_small_takes_little_beside_the_bytes(void **state)
{
    tb_err err;
    tb_blob_ref ref;
    tb_blobs *b = open_blobs(*state);
    const size_t len = (size_t)8 << 20;
    uint8_t *zeros = tb_mem_array(len, 1);
    CHECK(zeros != NULL);
    size_t before = tb_mem_bytes();
    tb_mem_peak_reset();
    CHECK_OK(tb_blobs_put(b, zeros, len, TB_BLOB_LEVEL_SMALL, &ref, &err), err);
    size_t most = ZSTD_compressBound(len) + ((size_t)4 << 20);
    CHECK(tb_mem_peak_bytes() - before < most);
    tb_mem_free(zeros);
    tb_blobs_close(&b);
}

static tb_rc put_and_load(void *arg, tb_err *err)
{
    tb_blobs *b = NULL;
    tb_blob_ref ref;
    tb_buf out;
    tb_buf_init(&out, RAW_BYTES);
    tb_rc rc = tb_blobs_open(&b, arg, err);
    if (rc == TB_OK) {
        rc = tb_blobs_put(b, raw, sizeof raw, 3, &ref, err);
    }
    if (rc == TB_OK) {
        rc = tb_blobs_load(b, &ref, &out, err);
    }
    tb_buf_release(&out);
    tb_blobs_close(&b);
    return rc;
}

static bool keep_none(const void *arg, const tb_hash *blob)
{
    (void)arg;
    (void)blob;
    return false;
}

static void no_sweep_takes_what_a_command_puts_in(void **state)
{
    tb_err err;
    tb_blob_ref ref;
    tb_blobs *daemon = open_blobs(*state);
    tb_blobs *command = open_blobs(*state);
    tb_blob_sweep sweep = {.keep = keep_none};
    CHECK_OK(tb_blobs_hold(command, &err), err);
    CHECK_OK(tb_blobs_put(command, raw, 100, 3, &ref, &err), err);
    CHECK_ERR(tb_blobs_sweep(daemon, &sweep, &err), TB_E_BUSY, err,
              "a command is putting a model there");
    CHECK_OK(tb_blobs_check(daemon, &ref, &err), err);
    tb_blobs_close(&command);
    CHECK_OK(tb_blobs_sweep(daemon, &sweep, &err), err);
    CHECK(sweep.n == 2);
    tb_blobs_close(&daemon);
}

static bool touch(const char *folder, const char *name)
{
    char path[704];
    (void)snprintf(path, sizeof path, "%s/aa/%s", folder, name);
    int fd = open(path, O_WRONLY | O_CREAT, 0600);
    return fd >= 0 && close(fd) == 0;
}

/* Threads of this process pack beside a sweep; another process that left such a
 * file is gone, or holds the folder. */
static void no_sweep_takes_what_a_thread_is_packing(void **state)
{
    tb_err err;
    char dir[600];
    char ours[64];
    char numbered[64];
    tb_blobs *blobs = open_blobs(*state);
    tb_blob_sweep sweep = {.keep = keep_none};
    (void)snprintf(dir, sizeof dir, "%s/blobs", (const char *)*state);
    (void)snprintf(ours, sizeof ours, "x.tmp-%ld", (long)getpid());
    (void)snprintf(numbered, sizeof numbered, "x.tmp-%ld-7", (long)getpid());
    char aa[640];
    (void)snprintf(aa, sizeof aa, "%s/aa", dir);
    CHECK(mkdir(aa, 0700) == 0 || errno == EEXIST);
    CHECK(touch(dir, ours) && touch(dir, numbered));
    CHECK(touch(dir, "x.tmp-1") && touch(dir, "x.tmp-1-7"));
    CHECK_OK(tb_blobs_sweep(blobs, &sweep, &err), err);
    CHECK(sweep.n == 2);
    tb_blobs_close(&blobs);
}

static void storing_survives_each_allocation_failing(void **state)
{
    CHECK(tb_check_each_allocation(put_and_load, *state) > 5);
}

#define IN_FOLDER(f)                                                           \
    cmocka_unit_test_setup_teardown(f, tb_test_folder_setup,                   \
                                    tb_test_folder_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_FOLDER(a_blob_comes_back_by_both_of_its_names),
        IN_FOLDER(the_same_bytes_twice_are_one_blob_at_any_level),
        IN_FOLDER(an_empty_blob_is_a_blob),
        IN_FOLDER(shared_bytes_are_the_stored_file_and_outlive_its_removal),
        IN_FOLDER(pieces_make_up_the_stored_file_whoever_asks),
        IN_FOLDER(a_blob_is_edited_in_a_file_and_stored_as_another),
        cmocka_unit_test(each_cut_and_each_altered_byte_is_refused),
        cmocka_unit_test(a_bomb_is_refused_before_it_is_unpacked),
        IN_FOLDER(stored_bytes_that_were_received_are_kept_only_when_true),
        IN_FOLDER(an_altered_file_is_an_error_that_names_it),
        IN_FOLDER(a_write_that_fails_leaves_nothing_behind),
        IN_FOLDER(packing_small_takes_little_beside_the_bytes),
        IN_FOLDER(no_sweep_takes_what_a_command_puts_in),
        IN_FOLDER(no_sweep_takes_what_a_thread_is_packing),
        IN_FOLDER(storing_survives_each_allocation_failing),
    };
    fill_raw();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
