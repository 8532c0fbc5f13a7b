#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/file.h"
#include "base/mem.h"
#include "host/store.h"
#include "support/check.h"
#include "support/folder.h"

static tb_folder *lock_folder(const char *dir)
{
    tb_err err;
    tb_folder *f = NULL;
    if (!tb_file_exists(dir)) {
        CHECK_OK(tb_folder_create(dir, TB_FOLDER_COORDINATOR, &err), err);
    }
    CHECK_OK(
        tb_folder_open(&f, dir, TB_FOLDER_COORDINATOR, TB_FOLDER_LOCK, &err),
        err);
    return f;
}

static const char *fleet(void **state)
{
    return tb_test_folder_path(*state, "fleet");
}

static tb_row text_row(uint64_t seq, const char *text)
{
    return (tb_row){.seq = seq,
                    .kind = (uint32_t)seq + 40,
                    .body = (const uint8_t *)text,
                    .body_bytes = strlen(text)};
}

/* A journal of three rows; closed again. */
static void write_three(const char *dir)
{
    tb_err err;
    tb_store *s = NULL;
    tb_folder *f = lock_folder(dir);
    tb_row rows[] = {text_row(1, "one"), text_row(2, ""), text_row(3, "three")};
    CHECK_OK(tb_store_open(&s, f, &err), err);
    CHECK_OK(tb_store_append(s, rows, 2, &err), err);
    CHECK_OK(tb_store_append(s, rows + 2, 1, &err), err);
    tb_store_close(&s);
    tb_folder_close(&f);
}

typedef struct seen {
    size_t n;
    char text[256];
} seen;

static tb_rc collect(void *arg, const tb_row *row, tb_err *err)
{
    seen *s = arg;
    size_t used = strlen(s->text);
    (void)err;
    (void)snprintf(s->text + used, sizeof s->text - used, "%u:%u:%.*s;",
                   (unsigned)row->seq, row->kind, (int)row->body_bytes,
                   row->body_bytes > 0 ? (const char *)row->body : "");
    s->n++;
    return TB_OK;
}

/* Opens dir as use says and reads all of it. */
static tb_rc read_all(const char *dir, tb_folder_use use, seen *out,
                      tb_err *err)
{
    tb_folder *f = NULL;
    tb_store *s = NULL;
    *out = (seen){0};
    tb_rc rc = tb_folder_open(&f, dir, TB_FOLDER_COORDINATOR, use, err);
    if (rc == TB_OK) {
        rc = tb_store_open(&s, f, err);
    }
    if (rc == TB_OK) {
        rc = tb_store_read(s, 1, collect, out, err);
    }
    tb_store_close(&s);
    tb_folder_close(&f);
    return rc;
}

static void rows_come_back_in_order_to_writer_and_reader(void **state)
{
    tb_err err;
    seen got;
    write_three(fleet(state));
    CHECK_OK(read_all(fleet(state), TB_FOLDER_LOCK, &got, &err), err);
    assert_string_equal(got.text, "1:41:one;2:42:;3:43:three;");
    CHECK_OK(read_all(fleet(state), TB_FOLDER_READ, &got, &err), err);
    assert_string_equal(got.text, "1:41:one;2:42:;3:43:three;");
}

static void the_chain_is_the_hash_that_the_format_says(void **state)
{
    /* python3: b2=lambda b: hashlib.blake2b(b, digest_size=32)
     * c=b2(bytes(32)+(1).to_bytes(8,'little')+(41).to_bytes(4,'little')+b'one')
     * c=b2(c.digest()+(2).to_bytes(8,'little')+(42).to_bytes(4,'little'))
     * c.hexdigest() */
    static const char want[] =
        "00386f313fd7425223d01c857e568a752ce3a39e9c4f310421543e25d69d8c9f";
    tb_err err;
    tb_store *s = NULL;
    tb_hash chain;
    char hex[TB_HASH_HEX_BYTES];
    write_three(fleet(state));
    tb_folder *f = lock_folder(fleet(state));
    CHECK_OK(tb_store_open(&s, f, &err), err);
    CHECK_OK(tb_store_chain(s, 2, &chain, &err), err);
    tb_hash_hex(&chain, hex);
    assert_string_equal(hex, want);
    CHECK_ERR(tb_store_chain(s, 4, &chain, &err), TB_E_NOT_FOUND, err, "row 4");
    tb_store_close(&s);
    tb_folder_close(&f);
}

static void a_reader_sees_what_a_living_writer_has_appended(void **state)
{
    tb_err err;
    seen got;
    tb_store *s = NULL;
    tb_folder *f = lock_folder(fleet(state));
    tb_row row = text_row(1, "alive");
    CHECK_OK(tb_store_open(&s, f, &err), err);
    CHECK_OK(tb_store_append(s, &row, 1, &err), err);
    CHECK_OK(read_all(fleet(state), TB_FOLDER_READ, &got, &err), err);
    assert_string_equal(got.text, "1:41:alive;");
    tb_store_close(&s);
    tb_folder_close(&f);
}

static void a_gap_or_a_huge_row_is_refused_and_nothing_is_written(void **state)
{
    tb_err err;
    seen got;
    static uint8_t huge[TB_STORE_BODY_BYTES_MAX + 1];
    tb_store *s = NULL;
    tb_folder *f = lock_folder(fleet(state));
    tb_row rows[] = {text_row(1, "a"), text_row(3, "b")};
    CHECK_OK(tb_store_open(&s, f, &err), err);
    CHECK_ERR(tb_store_append(s, rows, 2, &err), TB_E_BUG, err, "row 3");
    rows[0].body = huge;
    rows[0].body_bytes = sizeof huge;
    CHECK_ERR(tb_store_append(s, rows, 1, &err), TB_E_LIMIT, err, "bytes");
    CHECK(tb_store_head(s, NULL) == 0);
    CHECK_OK(tb_store_read(s, 1, collect, memset(&got, 0, sizeof got), &err),
             err);
    CHECK(got.n == 0);
    tb_store_close(&s);
    tb_folder_close(&f);
}

static void an_update_is_accepted_once_and_told_from_another(void **state)
{
    tb_err err;
    tb_store *s = NULL;
    tb_accepted verdict;
    tb_folder *f = lock_folder(fleet(state));
    tb_acceptance a = {.config = {{7}}, .update = {{1}}};
    tb_row row = text_row(1, "accepted");
    CHECK(tb_name_set(&a.client, "creek"));
    CHECK_OK(tb_store_open(&s, f, &err), err);
    CHECK_OK(tb_store_accepted(s, &a, &verdict, &err), err);
    CHECK(verdict == TB_ACCEPTED_NEW);
    row.acceptance = &a;
    CHECK_OK(tb_store_append(s, &row, 1, &err), err);
    CHECK_OK(tb_store_accepted(s, &a, &verdict, &err), err);
    CHECK(verdict == TB_ACCEPTED_SAME);

    a.update.bytes[0] = 2;
    CHECK_OK(tb_store_accepted(s, &a, &verdict, &err), err);
    CHECK(verdict == TB_ACCEPTED_OTHER);
    tb_row again[] = {text_row(2, "x"), text_row(3, "y")};
    again[1].acceptance = &a;
    CHECK_ERR(tb_store_append(s, again, 2, &err), TB_E_EXISTS, err, "creek");
    CHECK(tb_store_head(s, NULL) == 1); /* row 2 went back with row 3 */

    a.config.bytes[0] = 8;
    CHECK_OK(tb_store_append(s, again, 2, &err), err);
    CHECK(tb_store_head(s, NULL) == 3);
    tb_store_close(&s);
    tb_folder_close(&f);
}

static void flip(const char *path, long at)
{
    FILE *file = fopen(path, "r+b");
    CHECK(file != NULL && fseek(file, at, SEEK_SET) == 0);
    int c = fgetc(file);
    CHECK(fseek(file, at, SEEK_SET) == 0);
    CHECK(fputc(c ^ 1, file) != EOF && fclose(file) == 0);
}

static bool same(const seen *a, const seen *b)
{
    return a->n == b->n && strcmp(a->text, b->text) == 0;
}

/* Any flipped bit of the database either does not matter (free space, header
 * counters) or is an error: wrong rows never come out. */
static void a_flipped_bit_anywhere_never_gives_other_rows(void **state)
{
    tb_err err;
    seen want;
    seen got;
    struct stat st;
    const char *dir = fleet(state);
    char db[512];
    size_t refused = 0;
    (void)snprintf(db, sizeof db, "%s/journal.sqlite", dir);
    write_three(dir);
    CHECK_OK(read_all(dir, TB_FOLDER_LOCK, &want, &err), err);
    CHECK(stat(db, &st) == 0);
    for (long at = 0; at < st.st_size; at++) {
        if (at > 1024 && at % 4096 > 512 && at % 4096 < 3584 && at % 31 != 0) {
            continue; /* the unused middle of pages: a sample will do */
        }
        flip(db, at);
        tb_rc rc = read_all(dir, TB_FOLDER_READ, &got, &err);
        CHECK(rc != TB_OK || same(&got, &want));
        refused += rc != TB_OK;
        flip(db, at);
    }
    CHECK(refused > 100);
    CHECK_OK(read_all(dir, TB_FOLDER_LOCK, &got, &err), err);
    CHECK(same(&got, &want));
}

static void copy_file(const char *from, const char *to)
{
    tb_err err;
    tb_buf buf;
    tb_buf_init(&buf, (size_t)64 << 20);
    CHECK_OK(tb_file_read(&buf, from, &err), err);
    CHECK_OK(tb_file_write(to, buf.data, buf.len, 0600, &err), err);
    tb_buf_release(&buf);
}

static void rows_that_were_acknowledged_and_are_gone_are_named(void **state)
{
    tb_err err;
    seen got;
    char db[512];
    char old[512];
    const char *dir = fleet(state);
    (void)snprintf(db, sizeof db, "%s/journal.sqlite", dir);
    (void)snprintf(old, sizeof old, "%s/../old", dir);
    write_three(dir);
    copy_file(db, old);
    tb_store *s = NULL;
    tb_folder *f = lock_folder(dir);
    tb_row rows[] = {text_row(4, "four"), text_row(5, "five")};
    CHECK_OK(tb_store_open(&s, f, &err), err);
    CHECK_OK(tb_store_append(s, rows, 2, &err), err);
    tb_store_close(&s);
    tb_folder_close(&f);
    copy_file(old, db);
    CHECK_ERR(read_all(dir, TB_FOLDER_READ, &got, &err), TB_E_MISMATCH, err,
              "rows 4 to 5 were acknowledged and are gone");
    CHECK_ERR(read_all(dir, TB_FOLDER_LOCK, &got, &err), TB_E_MISMATCH, err,
              "rows 4 to 5");
}

static void one_damaged_slot_of_the_head_leaves_the_other(void **state)
{
    tb_err err;
    seen got;
    char head[512];
    const char *dir = fleet(state);
    (void)snprintf(head, sizeof head, "%s/HEAD", dir);
    write_three(dir); /* two appends: slots 1 and 0 were written */
    flip(head, 20);
    CHECK_OK(read_all(dir, TB_FOLDER_LOCK, &got, &err), err);
    CHECK(got.n == 3);
    flip(head, 4096 + 20);
    flip(head, 20 + 50); /* the writer has rewritten one of them */
    CHECK_ERR(read_all(dir, TB_FOLDER_READ, &got, &err), TB_E_MALFORMED, err,
              "HEAD");
    CHECK(unlink(head) == 0);
    CHECK_ERR(read_all(dir, TB_FOLDER_LOCK, &got, &err), TB_E_NOT_FOUND, err,
              "HEAD");
}

/* The child appends rows for ever and says each acknowledged one on a pipe. */
static void append_for_ever(const char *dir, int to)
{
    tb_err err;
    tb_store *s = NULL;
    tb_folder *f = lock_folder(dir);
    if (tb_store_open(&s, f, &err) != TB_OK) {
        _exit(1);
    }
    for (uint64_t seq = tb_store_head(s, NULL) + 1;; seq++) {
        tb_row row = text_row(seq, "a row of the dying child");
        if (tb_store_append(s, &row, 1, &err) != TB_OK ||
            write(to, &seq, sizeof seq) != (ssize_t)sizeof seq) {
            _exit(1);
        }
    }
}

static tb_rc count_row(void *arg, const tb_row *row, tb_err *err)
{
    (void)err;
    *(uint64_t *)arg = row->seq;
    return TB_OK;
}

static void a_killed_writer_loses_no_acknowledged_row(void **state)
{
    const char *dir = fleet(state);
    tb_err err;
    uint64_t acknowledged = 0;
    tb_folder *f = lock_folder(dir);
    tb_folder_close(&f);
    for (int kill_after = 1; kill_after < 40; kill_after += 7) {
        int ends[2];
        CHECK(pipe(ends) == 0);
        pid_t child = fork();
        if (child == 0) {
            (void)close(ends[0]);
            append_for_ever(dir, ends[1]);
        }
        (void)close(ends[1]);
        uint64_t seq;
        for (int i = 0; i < kill_after; i++) {
            CHECK(read(ends[0], &seq, sizeof seq) == (ssize_t)sizeof seq);
            acknowledged = seq;
        }
        CHECK(kill(child, SIGKILL) == 0);
        while (read(ends[0], &seq, sizeof seq) == (ssize_t)sizeof seq) {
            acknowledged = seq;
        }
        (void)close(ends[0]);
        CHECK(waitpid(child, NULL, 0) == child);
        tb_store *s = NULL;
        uint64_t last = 0;
        f = lock_folder(dir);
        CHECK_OK(tb_store_open(&s, f, &err), err);
        CHECK_OK(tb_store_read(s, 1, count_row, &last, &err), err);
        CHECK(last >= acknowledged && last <= acknowledged + 1);
        tb_store_close(&s);
        tb_folder_close(&f);
    }
}

static tb_rc append_attempt(void *arg, tb_err *err)
{
    tb_store *s = NULL;
    tb_row row = {.kind = 1};
    tb_rc rc = tb_store_open(&s, arg, err);
    if (rc == TB_OK) {
        row.seq = tb_store_head(s, NULL) + 1;
        rc = tb_store_append(s, &row, 1, err);
    }
    tb_store_close(&s);
    return rc;
}

static void opening_survives_each_allocation_failing(void **state)
{
    tb_folder *f = lock_folder(fleet(state));
    CHECK(tb_check_each_allocation(append_attempt, f) > 2);
    tb_folder_close(&f);
}

#define IN_FOLDER(f)                                                           \
    cmocka_unit_test_setup_teardown(f, tb_test_folder_setup,                   \
                                    tb_test_folder_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_FOLDER(rows_come_back_in_order_to_writer_and_reader),
        IN_FOLDER(the_chain_is_the_hash_that_the_format_says),
        IN_FOLDER(a_reader_sees_what_a_living_writer_has_appended),
        IN_FOLDER(a_gap_or_a_huge_row_is_refused_and_nothing_is_written),
        IN_FOLDER(an_update_is_accepted_once_and_told_from_another),
        IN_FOLDER(a_flipped_bit_anywhere_never_gives_other_rows),
        IN_FOLDER(rows_that_were_acknowledged_and_are_gone_are_named),
        IN_FOLDER(one_damaged_slot_of_the_head_leaves_the_other),
        IN_FOLDER(a_killed_writer_loses_no_acknowledged_row),
        IN_FOLDER(opening_survives_each_allocation_failing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
