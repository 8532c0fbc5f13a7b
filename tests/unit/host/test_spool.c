#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/file.h"
#include "base/log.h"
#include "host/spool.h"
#include <errno.h>

#include "support/check.h"
#include "support/folder.h"

#define ZEROS                                                                  \
    "0000000000000000000000000000000"                                          \
    "0000000000000000000000000000000" /* of a hash in hexadecimal */

static const tb_run_id run = {{0xab, 0xcd}};
static const tb_hash config = {{3}};
static const tb_hash other = {{4}};
static const tb_upload_id first = {{1}};
static const tb_upload_id second = {{2}};

static tb_spool_upload upload_of(tb_upload_id id, const char *client,
                                 uint32_t n_blocks)
{
    tb_spool_upload u = {.id = id, .config = {{7}}, .n_blocks = n_blocks};
    CHECK(tb_name_set(&u.client, client));
    memset(u.header, 0x55, sizeof u.header);
    return u;
}

static tb_spool *open_spool(const char *dir)
{
    tb_err err;
    tb_spool *s = NULL;
    CHECK_OK(tb_spool_open(&s, dir, &run, &config, &err), err);
    return s;
}

static void put_text(tb_spool *s, const tb_upload_id *id, uint32_t index,
                     const char *text)
{
    tb_err err;
    CHECK_OK(
        tb_spool_put(s, id, index, (const uint8_t *)text, strlen(text), &err),
        err);
}

static bool has_text(const tb_spool *s, const tb_upload_id *id, uint32_t index,
                     const char *text)
{
    tb_buf out;
    tb_buf_init(&out, TB_PAYLOAD_BYTES_MAX);
    bool same = tb_spool_read(s, id, index, &out, NULL) == TB_OK &&
                out.len == strlen(text) && memcmp(out.data, text, out.len) == 0;
    tb_buf_release(&out);
    return same;
}

/* Two uploads whose blocks came interleaved; the second is not whole. */
static void write_two(const char *dir)
{
    tb_err err;
    tb_spool *s = open_spool(dir);
    tb_spool_upload one = upload_of(first, "creek", 2);
    tb_spool_upload two = upload_of(second, "brook", 3);
    CHECK_OK(tb_spool_begin(s, &one, &err), err);
    put_text(s, &first, 0, "creek 0");
    CHECK_OK(tb_spool_begin(s, &two, &err), err);
    put_text(s, &second, 0, "brook 0");
    put_text(s, &first, 1, "creek 1");
    put_text(s, &second, 2, "brook 2");
    CHECK_OK(tb_spool_sync(s, &err), err);
    tb_spool_close(&s);
}

static void uploads_come_back_as_they_were_announced(void **state)
{
    write_two(*state);
    tb_err err;
    tb_spool *s = NULL;
    CHECK_OK(tb_spool_open_read(&s, *state, &run, &config, &err), err);
    CHECK(tb_spool_uploads(s) == 2);
    const tb_spool_upload *u = tb_spool_upload_at(s, 1);
    tb_spool_upload want = upload_of(second, "brook", 3);
    CHECK(memcmp(u, &want, sizeof want) == 0);
    CHECK(tb_spool_find(s, &second) == u);
    CHECK(tb_spool_next(s, &first) == 2);
    CHECK(tb_spool_next(s, &second) == 1); /* block 1 never came */
    CHECK(has_text(s, &first, 0, "creek 0"));
    CHECK(has_text(s, &first, 1, "creek 1"));
    CHECK(has_text(s, &second, 2, "brook 2"));
    CHECK(!has_text(s, &second, 1, ""));
    tb_spool_close(&s);
}

static void what_does_not_fit_an_upload_is_refused(void **state)
{
    tb_err err;
    static uint8_t big[TB_PAYLOAD_BYTES_MAX + 1];
    tb_spool *s = open_spool(*state);
    tb_spool_upload u = upload_of(first, "creek", 2);
    CHECK_OK(tb_spool_begin(s, &u, &err), err);
    CHECK_ERR(tb_spool_begin(s, &u, &err), TB_E_EXISTS, err, "here already");
    put_text(s, &first, 1, "x");
    uint64_t before = tb_spool_bytes(s);
    CHECK_ERR(tb_spool_put(s, &first, 1, big, 1, &err), TB_E_EXISTS, err,
              "block 1");
    CHECK_ERR(tb_spool_put(s, &first, 2, big, 1, &err), TB_E_LIMIT, err,
              "block 2 of 2");
    CHECK_ERR(tb_spool_put(s, &first, 0, big, sizeof big, &err), TB_E_LIMIT,
              err, "bytes");
    CHECK_ERR(tb_spool_put(s, &second, 0, big, 1, &err), TB_E_NOT_FOUND, err,
              "no such upload");
    u.id = second;
    u.n_blocks = TB_BLOCKS_MAX + 1;
    CHECK_ERR(tb_spool_begin(s, &u, &err), TB_E_LIMIT, err, "blocks");
    CHECK(tb_spool_bytes(s) == before);
    tb_spool_close(&s);
}

static void another_rounds_segment_is_not_mistaken_for_it(void **state)
{
    tb_err err;
    tb_spool *s = NULL;
    char dir[512];
    char from[600];
    char to[600];
    write_two(*state);
    (void)snprintf(dir, sizeof dir, "%s/abcd0000000000000000000000000000",
                   (const char *)*state);
    (void)snprintf(from, sizeof from, "%s/03" ZEROS, dir);
    (void)snprintf(to, sizeof to, "%s/04" ZEROS, dir);
    CHECK(rename(from, to) == 0);
    CHECK_ERR(tb_spool_open(&s, *state, &run, &other, &err), TB_E_UNSUPPORTED,
              err, "04" ZEROS);
    CHECK_ERR(tb_spool_open_read(&s, *state, &run, &config, &err),
              TB_E_NOT_FOUND, err, "03" ZEROS);
}

static const char *segment(void **state)
{
    return tb_test_folder_path(*state,
                               "abcd0000000000000000000000000000/03" ZEROS);
}

/* After a crash at any byte the whole records are there, and what follows is
 * cut so that new ones can be appended. */
static void a_tail_torn_at_any_byte_is_cut(void **state)
{
    tb_err err;
    tb_buf whole;
    char path[512];
    tb_buf_init(&whole, 1 << 20);
    write_two(*state);
    (void)snprintf(path, sizeof path, "%s", segment(state));
    CHECK_OK(tb_file_read(&whole, path, &err), err);
    size_t blocks_seen = 0;
    for (size_t len = 56; len <= whole.len; len += 3) {
        tb_spool *s = NULL;
        CHECK_OK(tb_file_write(path, whole.data, len, 0600, &err), err);
        CHECK_OK(tb_spool_open(&s, *state, &run, &config, &err), err);
        CHECK(tb_spool_bytes(s) <= len);
        size_t blocks = (size_t)has_text(s, &first, 0, "creek 0") +
                        (size_t)has_text(s, &second, 0, "brook 0") +
                        (size_t)has_text(s, &first, 1, "creek 1") +
                        (size_t)has_text(s, &second, 2, "brook 2");
        CHECK(blocks >= blocks_seen);
        blocks_seen = blocks;
        tb_upload_id third = {{3}};
        tb_spool_upload u = upload_of(third, "rill", 1);
        CHECK_OK(tb_spool_begin(s, &u, &err), err);
        put_text(s, &third, 0, "rill 0");
        tb_spool_close(&s);
        s = open_spool(*state);
        CHECK(has_text(s, &third, 0, "rill 0"));
        tb_spool_close(&s);
    }
    tb_buf_release(&whole);
}

/* Nothing is opened for writing: the same whole records are left, no more. */
static void a_trim_cuts_half_a_record_and_reads_no_block(void **state)
{
    tb_err err;
    tb_buf whole;
    char path[512];
    tb_buf_init(&whole, 1 << 20);
    write_two(*state);
    (void)snprintf(path, sizeof path, "%s", segment(state));
    CHECK_OK(tb_file_read(&whole, path, &err), err);
    for (size_t len = 56; len <= whole.len; len++) {
        tb_spool *s = NULL;
        struct stat st;
        CHECK_OK(tb_file_write(path, whole.data, len, 0600, &err), err);
        CHECK_OK(tb_spool_open_read(&s, *state, &run, &config, &err), err);
        uint64_t want = tb_spool_bytes(s);
        tb_spool_close(&s);
        CHECK_OK(tb_spool_trim(*state, &run, &config, &err), err);
        CHECK(stat(path, &st) == 0 && (uint64_t)st.st_size == want);
    }
    /* An altered block is for those who read it: it has its length. */
    whole.data[whole.len - 1] ^= 1;
    CHECK_OK(tb_file_write(path, whole.data, whole.len, 0600, &err), err);
    CHECK_OK(tb_spool_trim(*state, &run, &config, &err), err);
    struct stat st;
    CHECK(stat(path, &st) == 0 && (size_t)st.st_size == whole.len);
    CHECK_OK(tb_spool_trim(*state, &run, &other, &err), err);
    CHECK_ERR(
        tb_spool_open_read(&(tb_spool *){NULL}, *state, &run, &other, &err),
        TB_E_NOT_FOUND, err, "04" ZEROS); /* and was not made */
    tb_buf_release(&whole);
}

static void each_altered_byte_is_seen_when_read(void **state)
{
    tb_err err;
    tb_buf whole;
    char path[512];
    tb_buf_init(&whole, 1 << 20);
    write_two(*state);
    (void)snprintf(path, sizeof path, "%s", segment(state));
    CHECK_OK(tb_file_read(&whole, path, &err), err);
    size_t last = whole.len - 7 - 64; /* record of the last block */
    for (size_t at = last; at < whole.len; at++) {
        /* Under the feet of an open spool... */
        tb_spool *s = open_spool(*state);
        tb_buf out;
        tb_buf_init(&out, TB_PAYLOAD_BYTES_MAX);
        FILE *f = fopen(path, "r+b");
        CHECK(f != NULL && fseek(f, (long)at, SEEK_SET) == 0);
        CHECK(fputc(whole.data[at] ^ 0x10, f) != EOF && fclose(f) == 0);
        CHECK(tb_spool_read(s, &second, 2, &out, &err) != TB_OK);
        CHECK(out.len == 0);
        tb_spool_close(&s);
        tb_buf_release(&out);
        /* ... and when it is opened again. */
        s = open_spool(*state);
        CHECK(tb_spool_next(s, &first) == 2);
        CHECK(tb_spool_bytes(s) == last);
        tb_spool_close(&s);
        CHECK_OK(tb_file_write(path, whole.data, whole.len, 0600, &err), err);
    }
    tb_buf_release(&whole);
}

/* Puts blocks until one does not fit; exit code 0: it was refused with want,
 * what was put before is there, and after room was made putting goes on. */
static int fill_the_disk(const char *dir, tb_rc want)
{
    static uint8_t block[5000];
    static char blocker[512];
    tb_err err;
    tb_upload_id late = {{9}};
    (void)snprintf(blocker, sizeof blocker, "%s/blocker", dir);
    if (tb_file_write(blocker, block, sizeof block, 0600, &err) != TB_OK) {
        return 1;
    }
    tb_spool *s = open_spool(dir);
    tb_spool_upload u = upload_of(first, "creek", 100);
    tb_spool_upload v = upload_of(late, "late", 1);
    if (tb_spool_begin(s, &u, &err) != TB_OK) {
        return 2;
    }
    tb_rc rc = TB_OK;
    uint32_t n = 0;
    for (; rc == TB_OK && n < 100; n++) {
        block[0] = (uint8_t)n;
        rc = tb_spool_put(s, &first, n, block, sizeof block, &err);
    }
    if (rc != want || tb_spool_next(s, &first) != n - 1 || n < 3) {
        return 3;
    }
    struct rlimit all = {RLIM_INFINITY, RLIM_INFINITY};
    (void)setrlimit(RLIMIT_FSIZE, &all);
    if (unlink(blocker) != 0 || tb_spool_begin(s, &v, &err) != TB_OK ||
        tb_spool_put(s, &late, 0, block, 100, &err) != TB_OK ||
        tb_spool_sync(s, &err) != TB_OK) {
        return 4;
    }
    tb_spool_close(&s);
    s = open_spool(dir);
    return tb_spool_next(s, &first) == n - 1 && tb_spool_next(s, &late) == 1
               ? 0
               : 5;
}

static int run_child(const char *dir, bool tmpfs)
{
    if (tmpfs) {
        if (mount("none", dir, "tmpfs", 0, "size=64k") != 0) {
            return 77;
        }
        int code = fill_the_disk(dir, TB_E_FULL);
        (void)umount2(dir, MNT_DETACH);
        return code;
    }
    struct rlimit limit = {.rlim_cur = 32768, .rlim_max = RLIM_INFINITY};
    (void)signal(SIGXFSZ, SIG_IGN);
    (void)setrlimit(RLIMIT_FSIZE, &limit);
    return fill_the_disk(dir, TB_E_IO); /* EFBIG: a limit, not a full disk */
}

static int exit_code_of(const char *dir, bool tmpfs)
{
    int status = -1;
    (void)fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        _exit(run_child(dir, tmpfs));
    }
    CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void a_write_cut_by_a_limit_leaves_whole_records(void **state)
{
    CHECK(exit_code_of(*state, false) == 0);
}

/* Only root can mount a small file system; others skip. */
static void a_full_disk_leaves_whole_records_and_can_go_on(void **state)
{
    int code = exit_code_of(*state, true);
    if (code == 77) {
        skip();
    }
    CHECK(code == 0);
}

static void a_runs_segments_go_with_it(void **state)
{
    tb_err err;
    write_two(*state);
    char path[512];
    (void)snprintf(path, sizeof path, "%s", segment(state));
    CHECK_OK(tb_spool_remove(*state, &run, &config, &err), err);
    CHECK_OK(tb_spool_remove(*state, &run, &config, &err), err);
    CHECK(!tb_file_exists(path));
    write_two(*state);
    CHECK_OK(tb_spool_remove_run(*state, &run, &err), err);
    CHECK_OK(tb_spool_remove_run(*state, &run, &err), err);
    *strrchr(path, '/') = '\0';
    CHECK(!tb_file_exists(path));
}

static tb_rc spool_attempt(void *arg, tb_err *err)
{
    tb_spool *s = NULL;
    tb_spool_upload u = upload_of(first, "creek", 2);
    tb_buf out;
    tb_buf_init(&out, 100);
    CHECK(tb_spool_remove_run(arg, &run, NULL) != TB_E_IO);
    tb_rc rc = tb_spool_open(&s, arg, &run, &config, err);
    if (rc == TB_OK) {
        rc = tb_spool_begin(s, &u, err);
    }
    if (rc == TB_OK) {
        rc = tb_spool_put(s, &first, 0, u.header, 10, err);
    }
    if (rc == TB_OK) {
        rc = tb_spool_read(s, &first, 0, &out, err);
    }
    tb_buf_release(&out);
    tb_spool_close(&s);
    return rc;
}

static void spooling_survives_each_allocation_failing(void **state)
{
    CHECK(tb_check_each_allocation(spool_attempt, *state) > 5);
}

#define IN_FOLDER(f)                                                           \
    cmocka_unit_test_setup_teardown(f, tb_test_folder_setup,                   \
                                    tb_test_folder_teardown)

static void what_a_crash_left_is_synced_before_it_counts(void **state)
{
    tb_err err;
    tb_spool *s = open_spool(*state);
    tb_spool_upload one = upload_of(first, "creek", 3);
    CHECK_OK(tb_spool_begin(s, &one, &err), err);
    put_text(s, &first, 0, "head");
    CHECK(tb_spool_durable(s) < tb_spool_bytes(s));
    tb_spool_close(&s); /* not synced: killed */

    s = open_spool(*state);
    CHECK(tb_spool_next(s, &first) == 1);
    CHECK(tb_spool_durable(s) < tb_spool_bytes(s));
    CHECK_OK(tb_spool_sync(s, &err), err);
    CHECK(tb_spool_durable(s) == tb_spool_bytes(s));

    /* What comes while a flush runs is not part of it. */
    tb_spool_flush flush;
    put_text(s, &first, 1, "while");
    CHECK_OK(tb_spool_flush_begin(s, &flush, &err), err);
    put_text(s, &first, 2, "the disk works");
    tb_spool_flush_run(&flush);
    CHECK_OK(tb_spool_flush_end(s, &flush, &err), err);
    CHECK(tb_spool_durable(s) < tb_spool_bytes(s));
    CHECK_OK(tb_spool_sync(s, &err), err);
    CHECK(tb_spool_durable(s) == tb_spool_bytes(s));
    tb_spool_close(&s);
}

static void a_flush_that_fails_ends_the_segment(void **state)
{
    tb_err err;
    tb_spool *s = open_spool(*state);
    tb_spool_upload one = upload_of(first, "creek", 3);
    CHECK_OK(tb_spool_begin(s, &one, &err), err);
    tb_spool_flush flush;
    CHECK_OK(tb_spool_flush_begin(s, &flush, &err), err);
    flush.error = EIO;
    CHECK_ERR(tb_spool_flush_end(s, &flush, &err), TB_E_IO, err, "abcd");
    CHECK_ERR(tb_spool_flush_begin(s, &flush, &err), TB_E_IO, err, "before");
    CHECK_ERR(tb_spool_put(s, &first, 0, (const uint8_t *)"x", 1, &err),
              TB_E_IO, err, "before");
    tb_spool_close(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_FOLDER(uploads_come_back_as_they_were_announced),
        IN_FOLDER(what_does_not_fit_an_upload_is_refused),
        IN_FOLDER(another_rounds_segment_is_not_mistaken_for_it),
        IN_FOLDER(a_tail_torn_at_any_byte_is_cut),
        IN_FOLDER(a_trim_cuts_half_a_record_and_reads_no_block),
        IN_FOLDER(each_altered_byte_is_seen_when_read),
        IN_FOLDER(a_write_cut_by_a_limit_leaves_whole_records),
        IN_FOLDER(a_full_disk_leaves_whole_records_and_can_go_on),
        IN_FOLDER(a_runs_segments_go_with_it),
        IN_FOLDER(spooling_survives_each_allocation_failing),
        IN_FOLDER(what_a_crash_left_is_synced_before_it_counts),
        IN_FOLDER(a_flush_that_fails_ends_the_segment),
    };
    tb_log_set_level(TB_LOG_OFF); /* each torn tail is a line */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
