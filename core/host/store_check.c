/* What a look at a journal takes beyond its rows, and copies of it. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/spare.h"
#include "host/store_priv.h"

/* The one row of a query: its first column as a number, or as text. */
static tb_rc ask(tb_store *s, const char *query, int64_t *number, char *text,
                 size_t size, tb_err *err)
{
    sqlite3_stmt *q = NULL;
    tb_rc rc = TB_OK;
    if (sqlite3_prepare_v2(s->db, query, -1, &q, NULL) != SQLITE_OK ||
        sqlite3_step(q) != SQLITE_ROW) {
        rc = tb_store_fail(s, err);
    } else if (number != NULL) {
        *number = sqlite3_column_int64(q, 0);
    } else {
        const unsigned char *found = sqlite3_column_text(q, 0);
        (void)snprintf(text, size, "%s",
                       found != NULL ? (const char *)found : "");
    }
    (void)sqlite3_finalize(q);
    return rc;
}

static tb_rc check_number(tb_store *s, const char *query, int64_t want,
                          const char *what, tb_err *err)
{
    int64_t found = 0;
    tb_rc rc = ask(s, query, &found, NULL, 0, err);
    if (rc == TB_OK && found != want) {
        rc = tb_fail(err, TB_E_MISMATCH, "%s: %lld %s instead of %lld", s->path,
                     (long long)found, what, (long long)want);
    }
    return rc;
}

static tb_rc check_table(tb_store *s, const char *query, const char *want,
                         tb_err *err)
{
    char found[512];
    tb_rc rc = ask(s, query, NULL, found, sizeof found, err);
    if (rc == TB_OK && strcmp(found, want) != 0) {
        rc = tb_fail(err, TB_E_MALFORMED, "%s: a table is not as it was made",
                     s->path);
    }
    return rc;
}

tb_rc tb_store_examine(tb_store *store, uint64_t n_acceptances, tb_err *err)
{
    char text[256];
    tb_rc rc =
        ask(store, "PRAGMA integrity_check(1)", NULL, text, sizeof text, err);
    if (rc == TB_OK && strcmp(text, "ok") != 0) {
        rc = tb_fail(err, TB_E_MALFORMED, "%s: %s", store->path, text);
    }
    if (rc == TB_OK) {
        rc = check_number(store, "PRAGMA application_id",
                          TB_STORE_APPLICATION_ID, "as application id", err);
    }
    if (rc == TB_OK) {
        rc = check_number(store, "PRAGMA user_version", TB_STORE_USER_VERSION,
                          "as version", err);
    }
    if (rc == TB_OK) {
        rc = check_number(store, "SELECT count(*) FROM sqlite_schema", 2,
                          "tables", err);
    }
    if (rc == TB_OK) {
        rc = check_table(store,
                         "SELECT sql FROM sqlite_schema WHERE name = 'journal'",
                         "CREATE TABLE " TB_STORE_JOURNAL_SQL, err);
    }
    if (rc == TB_OK) {
        rc = check_table(
            store, "SELECT sql FROM sqlite_schema WHERE name = 'acceptance'",
            "CREATE TABLE " TB_STORE_ACCEPTANCE_SQL, err);
    }
    return rc == TB_OK
               ? check_number(store, "SELECT count(*) FROM acceptance",
                              (int64_t)n_acceptances, "acceptances", err)
               : rc;
}

/* --- copies --------------------------------------------------------------- */

static tb_rc sync_file(const char *path, tb_err *err)
{
    int fd = tb_spare_open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW, 0);
    if (fd < 0) {
        return tb_fail_errno(err, errno, "%s", path);
    }
    tb_rc rc = fsync(fd) == 0 ? TB_OK : tb_fail_errno(err, errno, "%s", path);
    (void)close(fd);
    return rc;
}

/* All pages in one step: what others append meanwhile is not seen. */
static tb_rc copy_pages(tb_store *s, sqlite3 *to, tb_err *err)
{
    sqlite3_backup *b = sqlite3_backup_init(to, "main", s->db, "main");
    int code = b != NULL ? sqlite3_backup_step(b, -1) : sqlite3_errcode(to);
    int end = sqlite3_backup_finish(b);
    code = code == SQLITE_DONE ? end : code;
    if (code == SQLITE_OK) {
        return TB_OK;
    }
    return tb_fail(err,
                   (code & 0xff) == SQLITE_FULL    ? TB_E_FULL
                   : (code & 0xff) == SQLITE_NOMEM ? TB_E_NOMEM
                                                   : TB_E_IO,
                   "copying %s: %s", s->path, sqlite3_errstr(code));
}

static tb_rc write_copy(tb_store *s, const char *path, tb_err *err)
{
    sqlite3 *to = NULL;
    int fd = tb_spare_open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0) {
        return tb_fail_errno(err, errno, "%s", path);
    }
    (void)close(fd);
    tb_rc rc = TB_OK;
    if (sqlite3_open_v2(path, &to, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX,
                        NULL) != SQLITE_OK) {
        rc = tb_fail(err, to == NULL ? TB_E_NOMEM : TB_E_IO, "%s: cannot open",
                     path);
    }
    if (rc == TB_OK) {
        rc = copy_pages(s, to, err);
    }
    (void)sqlite3_close(to);
    if (rc == TB_OK) {
        rc = sync_file(path, err);
    }
    if (rc != TB_OK) {
        (void)unlink(path);
    }
    return rc;
}

tb_rc tb_store_hold(tb_store *store, tb_err *err)
{
    return sqlite3_exec(store->db, "BEGIN", NULL, NULL, NULL) == SQLITE_OK
               ? TB_OK
               : tb_store_fail(store, err);
}

void tb_store_let_go(tb_store *store)
{
    (void)sqlite3_exec(store->db, "COMMIT", NULL, NULL, NULL);
}

/* Passes rows on and remembers the last one. */
typedef struct last {
    tb_row_fn *fn;
    void *arg;
    uint64_t seq;
} last;

static tb_rc pass(void *arg, const tb_row *row, tb_err *err)
{
    last *l = arg;
    l->seq = row->seq;
    return l->fn != NULL ? l->fn(l->arg, row, err) : TB_OK;
}

tb_rc tb_store_copy(tb_store *store, const tb_folder *to, tb_row_fn *fn,
                    void *arg, tb_err *err)
{
    tb_hash chain = {0};
    last l = {.fn = fn, .arg = arg};
    tb_rc rc = tb_store_hold(store, err);
    if (rc != TB_OK) {
        return rc;
    }
    rc = tb_store_read(store, 1, pass, &l, err);
    if (rc == TB_OK && l.seq > 0) {
        rc = tb_store_chain(store, l.seq, &chain, err);
    }
    if (rc == TB_OK) {
        rc = write_copy(store, tb_folder_path(to, TB_ITEM_JOURNAL), err);
    }
    if (rc == TB_OK) {
        rc = tb_head_create(tb_folder_path(to, TB_ITEM_HEAD), l.seq, &chain,
                            err);
    }
    tb_store_let_go(store);
    return rc;
}

tb_rc tb_store_check_head(const tb_folder *folder, tb_err *err)
{
    return tb_head_check(tb_folder_path(folder, TB_ITEM_HEAD), err);
}
