/* Blobs that pass through in pieces, with the ones in memory as the judge. */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/stream.h"
#include "host/blob.h"
#include "support/check.h"
#include "support/folder.h"

#define RAW_BYTES ((size_t)1000003) /* several pieces, and a bit */

typedef struct fixture {
    tb_blobs *blobs;
    uint8_t *raw;
    char file[1024], to[1024];
    tb_blob_ref ref;
} fixture;

/* A file whose bytes pack to about a half, as a blob. */
static void setup(fixture *f, const char *dir, size_t n)
{
    tb_err err = {0};
    tb_stream s;
    tb_stream_init(&s, 1, 0, "test blob stream", "");
    f->raw = tb_mem_array(n + 1, 1);
    for (size_t i = 0; i < n; i++) {
        f->raw[i] = (uint8_t)tb_stream_below(&s, 16);
    }
    (void)snprintf(f->file, sizeof f->file, "%s/raw", dir);
    (void)snprintf(f->to, sizeof f->to, "%s/to", dir);
    (void)tb_test_folder_write(dir, "raw", f->raw, n);
    CHECK_OK(tb_blobs_open(&f->blobs, tb_test_folder_path(dir, "blobs"), &err),
             err);
    CHECK_OK(
        tb_blobs_put_file(f->blobs, f->file, TB_BLOB_LEVEL_FAST, &f->ref, &err),
        err);
}

static void teardown(fixture *f)
{
    tb_blobs_close(&f->blobs);
    tb_mem_free(f->raw);
}

static void stored_path(const fixture *f, const char *dir, char *out, size_t n)
{
    char hex[TB_HASH_HEX_BYTES];
    tb_hash_hex(&f->ref.stored, hex);
    (void)snprintf(out, n, "%s/blobs/%.2s/%s", dir, hex, hex);
}

static void a_file_becomes_a_blob_that_memory_reads(void **state)
{
    static const size_t sizes[] = {0, 1, 262144, 524288, RAW_BYTES};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        fixture f;
        tb_err err = {0};
        tb_buf out;
        setup(&f, *state, sizes[i]);
        tb_hash want = tb_hash_of(f.raw, sizes[i]);
        CHECK(tb_hash_equal(&f.ref.raw, &want) && f.ref.raw_bytes == sizes[i]);
        tb_buf_init(&out, RAW_BYTES);
        CHECK_OK(tb_blobs_load(f.blobs, &f.ref, &out, &err), err);
        CHECK(out.len == sizes[i] &&
              (out.len == 0 || memcmp(out.data, f.raw, out.len) == 0));
        CHECK_OK(tb_blobs_verify(f.blobs, &f.ref.stored, &err), err);
        tb_buf_release(&out);
        teardown(&f);
    }
}

static void a_blob_becomes_a_file_again(void **state)
{
    fixture f;
    tb_err err = {0};
    tb_buf out;
    tb_blob_ref ref;
    setup(&f, *state, RAW_BYTES);
    tb_buf_init(&out, RAW_BYTES);
    CHECK_OK(tb_blobs_extract(f.blobs, &f.ref.raw, f.to, 0600, &err), err);
    CHECK_OK(tb_file_read(&out, f.to, &err), err);
    CHECK(out.len == RAW_BYTES && memcmp(out.data, f.raw, out.len) == 0);
    /* one that was put from memory, as well */
    CHECK_OK(tb_blobs_put(f.blobs, f.raw, 5000, 19, &ref, &err), err);
    CHECK_OK(tb_blobs_extract(f.blobs, &ref.raw, f.to, 0600, &err), err);
    out.len = 0;
    CHECK_OK(tb_file_read(&out, f.to, &err), err);
    CHECK(out.len == 5000 && memcmp(out.data, f.raw, out.len) == 0);
    tb_buf_release(&out);
    teardown(&f);
}

static void the_same_file_twice_is_one_blob(void **state)
{
    fixture f;
    tb_err err = {0};
    tb_blob_ref again;
    setup(&f, *state, RAW_BYTES);
    CHECK_OK(tb_blobs_put_file(f.blobs, f.file, 1, &again, &err), err);
    CHECK(memcmp(&again, &f.ref, sizeof again) == 0);
    teardown(&f);
}

/* Stored bytes that were changed come to nothing. */
static void check_refused(const fixture *f, const char *stored,
                          const tb_blob_ref *ref)
{
    tb_err err = {0};
    tb_rc rc = tb_blob_unpack_file(stored, ref, f->to, 0600, &err);
    CHECK(rc == TB_E_MISMATCH || rc == TB_E_MALFORMED);
    CHECK(err.text[0] != '\0' && !tb_file_exists(f->to));
}

static void altered_and_cut_bytes_are_refused_and_leave_no_file(void **state)
{
    fixture f;
    tb_err err = {0};
    tb_buf bytes;
    char stored[1024];
    setup(&f, *state, RAW_BYTES);
    stored_path(&f, *state, stored, sizeof stored);
    tb_buf_init(&bytes, RAW_BYTES);
    CHECK_OK(tb_file_read(&bytes, stored, &err), err);
    for (size_t i = 0; i < bytes.len; i += i < 32 ? 1 : 60013) {
        bytes.data[i] ^= 0x08;
        const char *path =
            tb_test_folder_write(*state, "bad", bytes.data, bytes.len);
        check_refused(&f, path, &f.ref);
        bytes.data[i] ^= 0x08;
    }
    for (size_t n = 0; n < bytes.len; n += n < 32 ? 1 : 60013) {
        const char *path = tb_test_folder_write(*state, "bad", bytes.data, n);
        tb_blob_ref lie = f.ref; /* whose numbers fit, too */
        check_refused(&f, path, &f.ref);
        lie.stored_bytes = n;
        lie.stored = tb_hash_of(bytes.data, n);
        check_refused(&f, path, &lie);
    }
    tb_buf_release(&bytes);
    teardown(&f);
}

static void a_bomb_stops_at_the_size_that_was_named(void **state)
{
    fixture f;
    char stored[1024];
    struct rlimit old;
    setup(&f, *state, RAW_BYTES);
    stored_path(&f, *state, stored, sizeof stored);
    tb_blob_ref lie = f.ref;
    /* what is written beyond the size that was named would fail as IO */
    (void)signal(SIGXFSZ, SIG_IGN);
    CHECK(getrlimit(RLIMIT_FSIZE, &old) == 0);
    const struct rlimit small = {10, old.rlim_max};
    CHECK(setrlimit(RLIMIT_FSIZE, &small) == 0);
    lie.raw_bytes = 10;
    tb_rc rc = tb_blob_unpack_file(stored, &lie, f.to, 0600, NULL);
    CHECK(setrlimit(RLIMIT_FSIZE, &old) == 0);
    CHECK(rc == TB_E_MALFORMED);
    lie.raw_bytes = RAW_BYTES - 1;
    check_refused(&f, stored, &lie);
    lie.raw_bytes = 10;
    check_refused(&f, stored, &lie);
    lie.raw_bytes = RAW_BYTES + 1;
    check_refused(&f, stored, &lie);
    teardown(&f);
}

static void a_full_disk_leaves_nothing_behind(void **state)
{
    fixture f;
    tb_err err = {0};
    tb_blob_ref ref;
    struct rlimit old;
    setup(&f, *state, RAW_BYTES);
    (void)signal(SIGXFSZ, SIG_IGN);
    CHECK(getrlimit(RLIMIT_FSIZE, &old) == 0);
    const struct rlimit small = {100000, old.rlim_max};
    f.raw[0] ^= 1;
    (void)tb_test_folder_write(*state, "raw", f.raw, RAW_BYTES);
    CHECK(setrlimit(RLIMIT_FSIZE, &small) == 0);
    tb_rc put = tb_blobs_put_file(f.blobs, f.file, 3, &ref, &err);
    tb_rc got = tb_blobs_extract(f.blobs, &f.ref.raw, f.to, 0600, NULL);
    CHECK(setrlimit(RLIMIT_FSIZE, &old) == 0);
    CHECK(put != TB_OK && got != TB_OK);
    CHECK(!tb_file_exists(f.to));
    char part[1100];
    (void)snprintf(part, sizeof part, "%s.part", f.to);
    CHECK(!tb_file_exists(part));
    CHECK_OK(tb_blobs_extract(f.blobs, &f.ref.raw, f.to, 0600, &err), err);
    teardown(&f);
}

#define TEST(f)                                                                \
    cmocka_unit_test_setup_teardown(f, tb_test_folder_setup,                   \
                                    tb_test_folder_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_file_becomes_a_blob_that_memory_reads),
        TEST(a_blob_becomes_a_file_again),
        TEST(the_same_file_twice_is_one_blob),
        TEST(altered_and_cut_bytes_are_refused_and_leave_no_file),
        TEST(a_bomb_stops_at_the_size_that_was_named),
        TEST(a_full_disk_leaves_nothing_behind),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
