#include "host/store.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/spare.h"
#include "host/store_priv.h"

#define BUSY_TIMEOUT_MS      5000
#define TEXT_OF(number)      #number
#define PRAGMA(name, number) "PRAGMA " name " = " TEXT_OF(number) ";"

static const char schema[] = PRAGMA("application_id", TB_STORE_APPLICATION_ID)
    PRAGMA("user_version",
           TB_STORE_USER_VERSION) "CREATE TABLE IF NOT "
                                  "EXISTS " TB_STORE_JOURNAL_SQL ";"
                                  "CREATE TABLE IF NOT "
                                  "EXISTS " TB_STORE_ACCEPTANCE_SQL ";";

static const char *const sql[N_SQL] = {
    [BEGIN] = "BEGIN IMMEDIATE",
    [COMMIT] = "COMMIT",
    [ROLLBACK] = "ROLLBACK",
    [INSERT] = "INSERT INTO journal VALUES(?,?,?,?)",
    [ACCEPT] = "INSERT INTO acceptance VALUES(?,?,?)",
    [LOOKUP] = ("SELECT update_hash FROM acceptance"
                " WHERE config=? AND client=?"),
    [CHAIN] = "SELECT chain FROM journal WHERE seq=?",
    [ROWS] = "SELECT seq, kind, body, chain FROM journal ORDER BY seq",
};

static tb_rc rc_of_sqlite(int code)
{
    switch (code & 0xff) {
    case SQLITE_FULL:
        return TB_E_FULL;
    case SQLITE_NOMEM:
        return TB_E_NOMEM;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return TB_E_BUSY;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        return TB_E_MALFORMED;
    default:
        return TB_E_IO;
    }
}

tb_rc tb_store_fail(const tb_store *s, tb_err *err)
{
    return tb_fail(err, rc_of_sqlite(sqlite3_extended_errcode(s->db)), "%s: %s",
                   s->path, sqlite3_errmsg(s->db));
}

/* Runs a statement that gives no rows. */
static tb_rc run(tb_store *s, int which, tb_err *err)
{
    int code = sqlite3_step(s->stmt[which]);
    tb_rc rc = code == SQLITE_DONE ? TB_OK : tb_store_fail(s, err);
    (void)sqlite3_reset(s->stmt[which]);
    return rc;
}

static tb_hash next_chain(const tb_hash *before, const tb_row *row)
{
    uint8_t numbers[12];
    tb_hasher hasher;
    tb_le64_put(numbers, row->seq);
    tb_le32_put(numbers + 8, row->kind);
    tb_hasher_init(&hasher);
    tb_hasher_add(&hasher, before->bytes, TB_HASH_BYTES);
    tb_hasher_add(&hasher, numbers, sizeof numbers);
    tb_hasher_add(&hasher, row->body, row->body_bytes);
    return tb_hasher_end(&hasher);
}

/* --- reading --- */

typedef struct walk {
    const tb_head *head; /* what must be there */
    uint64_t seq;        /* rows seen */
    tb_hash chain;       /* after them */
} walk;

/* Takes the current row of ROWS into *row and checks that it continues the
 * chain. */
static tb_rc check_row(tb_store *s, walk *w, tb_row *row, tb_err *err)
{
    sqlite3_stmt *q = s->stmt[ROWS];
    uint64_t want = w->seq + 1;
    sqlite3_int64 kind = sqlite3_column_int64(q, 1);
    if (sqlite3_column_int64(q, 0) != (sqlite3_int64)want) {
        return tb_fail(err, TB_E_MALFORMED, "%s: row %" PRIu64 " is missing",
                       s->path, want);
    }
    const void *chain = sqlite3_column_blob(q, 3);
    if (kind < 0 || kind > UINT32_MAX ||
        sqlite3_column_type(q, 2) != SQLITE_BLOB ||
        sqlite3_column_type(q, 3) != SQLITE_BLOB ||
        sqlite3_column_bytes(q, 3) != TB_HASH_BYTES || chain == NULL) {
        return tb_fail(err, TB_E_MALFORMED, "%s: row %" PRIu64 " was altered",
                       s->path, want);
    }
    *row = (tb_row){.seq = want,
                    .kind = (uint32_t)kind,
                    .body = sqlite3_column_blob(q, 2),
                    .body_bytes = (size_t)sqlite3_column_bytes(q, 2)};
    w->chain = next_chain(&w->chain, row);
    w->seq = want;
    if (memcmp(chain, w->chain.bytes, TB_HASH_BYTES) != 0 ||
        (want == w->head->seq && !tb_hash_equal(&w->chain, &w->head->chain))) {
        return tb_fail(err, TB_E_MALFORMED,
                       "%s: row %" PRIu64 " was altered: its hash does not "
                       "continue the chain",
                       s->path, want);
    }
    return TB_OK;
}

/* All rows in one transaction. head was read before it: whatever it names must
 * be seen. */
static tb_rc walk_rows(tb_store *s, walk *w, uint64_t first_seq, tb_row_fn *fn,
                       void *arg, tb_err *err)
{
    int code;
    tb_rc rc = TB_OK;
    while (rc == TB_OK && (code = sqlite3_step(s->stmt[ROWS])) != SQLITE_DONE) {
        tb_row row;
        rc = code == SQLITE_ROW ? check_row(s, w, &row, err)
                                : tb_store_fail(s, err);
        if (rc == TB_OK && fn != NULL && row.seq >= first_seq) {
            rc = fn(arg, &row, err);
        }
    }
    (void)sqlite3_reset(s->stmt[ROWS]);
    if (rc == TB_OK && w->seq < w->head->seq) {
        rc = tb_fail(err, TB_E_MISMATCH,
                     "%s: rows %" PRIu64 " to %" PRIu64 " were acknowledged "
                     "and are gone; restore the folder from a copy",
                     s->path, w->seq + 1, w->head->seq);
    }
    return rc;
}

tb_rc tb_store_read(tb_store *store, uint64_t first_seq, tb_row_fn *fn,
                    void *arg, tb_err *err)
{
    tb_head head = store->head;
    if (!store->writer) { /* the daemon may have moved it on */
        tb_rc rc = tb_head_open(&head, store->head_path, false, err);
        if (rc != TB_OK) {
            return rc;
        }
        tb_head_close(&head);
    }
    walk w = {.head = &head};
    return walk_rows(store, &w, first_seq, fn, arg, err);
}

static tb_rc bind_key(tb_store *s, int which, const tb_acceptance *a)
{
    sqlite3_stmt *q = s->stmt[which];
    bool bad =
        sqlite3_bind_blob(q, 1, a->config.bytes, TB_HASH_BYTES,
                          SQLITE_STATIC) != SQLITE_OK ||
        sqlite3_bind_text(q, 2, a->client.text, -1, SQLITE_STATIC) != SQLITE_OK;
    return bad ? TB_E_NOMEM : TB_OK;
}

tb_rc tb_store_accepted(tb_store *store, const tb_acceptance *what,
                        tb_accepted *out, tb_err *err)
{
    sqlite3_stmt *q = store->stmt[LOOKUP];
    tb_rc rc = bind_key(store, LOOKUP, what);
    if (rc != TB_OK) {
        return tb_store_fail(store, err);
    }
    int code = sqlite3_step(q);
    if (code == SQLITE_DONE) {
        *out = TB_ACCEPTED_NEW;
    } else if (code == SQLITE_ROW) {
        const void *hash = sqlite3_column_blob(q, 0);
        *out = hash != NULL && sqlite3_column_bytes(q, 0) == TB_HASH_BYTES &&
                       memcmp(hash, what->update.bytes, TB_HASH_BYTES) == 0
                   ? TB_ACCEPTED_SAME
                   : TB_ACCEPTED_OTHER;
    } else {
        rc = tb_store_fail(store, err);
    }
    (void)sqlite3_reset(q);
    return rc;
}

tb_rc tb_store_chain(tb_store *store, uint64_t seq, tb_hash *out, tb_err *err)
{
    sqlite3_stmt *q = store->stmt[CHAIN];
    tb_rc rc = TB_OK;
    (void)sqlite3_bind_int64(q, 1, (sqlite3_int64)seq);
    int code = sqlite3_step(q);
    if (code == SQLITE_ROW && sqlite3_column_bytes(q, 0) == TB_HASH_BYTES) {
        memcpy(out->bytes, sqlite3_column_blob(q, 0), TB_HASH_BYTES);
    } else if (code == SQLITE_ROW || code == SQLITE_DONE) {
        rc = tb_fail(err, TB_E_NOT_FOUND, "%s: no row %" PRIu64, store->path,
                     seq);
    } else {
        rc = tb_store_fail(store, err);
    }
    (void)sqlite3_reset(q);
    return rc;
}

/* --- appending --- */

static tb_rc insert_acceptance(tb_store *s, const tb_acceptance *a, tb_err *err)
{
    sqlite3_stmt *q = s->stmt[ACCEPT];
    if (bind_key(s, ACCEPT, a) != TB_OK ||
        sqlite3_bind_blob(q, 3, a->update.bytes, TB_HASH_BYTES,
                          SQLITE_STATIC) != SQLITE_OK) {
        return tb_store_fail(s, err);
    }
    int code = sqlite3_step(q);
    tb_rc rc = TB_OK;
    if (code == SQLITE_CONSTRAINT) {
        rc = tb_fail(err, TB_E_EXISTS,
                     "this round has an update of client %s already",
                     a->client.text);
    } else if (code != SQLITE_DONE) {
        rc = tb_store_fail(s, err);
    }
    (void)sqlite3_reset(q);
    return rc;
}

static tb_rc insert_row(tb_store *s, const tb_row *row, const tb_hash *chain,
                        tb_err *err)
{
    sqlite3_stmt *q = s->stmt[INSERT];
    static const uint8_t none[1];
    const uint8_t *body = row->body != NULL ? row->body : none;
    if (sqlite3_bind_int64(q, 1, (sqlite3_int64)row->seq) != SQLITE_OK ||
        sqlite3_bind_int64(q, 2, row->kind) != SQLITE_OK ||
        sqlite3_bind_blob(q, 3, body, (int)row->body_bytes, SQLITE_STATIC) !=
            SQLITE_OK ||
        sqlite3_bind_blob(q, 4, chain->bytes, TB_HASH_BYTES, SQLITE_STATIC) !=
            SQLITE_OK) {
        return tb_store_fail(s, err);
    }
    tb_rc rc = run(s, INSERT, err);
    if (rc == TB_OK && row->acceptance != NULL) {
        rc = insert_acceptance(s, row->acceptance, err);
    }
    return rc;
}

static tb_rc check_batch(const tb_store *s, const tb_row *rows, size_t n,
                         tb_err *err)
{
    if (!s->writer || s->broken) {
        return tb_fail(err, s->broken ? TB_E_IO : TB_E_BUG,
                       s->broken ? "%s: a sync failed before; stop and start "
                                   "again"
                                 : "%s: is open for reading only",
                       s->path);
    }
    for (size_t i = 0; i < n; i++) {
        if (rows[i].seq != s->head.seq + 1 + i) {
            return tb_fail(err, TB_E_BUG,
                           "journal: row %" PRIu64 " where %" PRIu64
                           " comes next",
                           rows[i].seq, s->head.seq + 1 + i);
        }
        if (rows[i].body_bytes > TB_STORE_BODY_BYTES_MAX) {
            return tb_fail(err, TB_E_LIMIT, "journal: a row of %zu bytes",
                           rows[i].body_bytes);
        }
    }
    return TB_OK;
}

tb_rc tb_store_append(tb_store *store, const tb_row *rows, size_t n,
                      tb_err *err)
{
    tb_hash chain = store->head.chain;
    tb_rc rc = check_batch(store, rows, n, err);
    if (rc != TB_OK || n == 0) {
        return rc;
    }
    rc = run(store, BEGIN, err);
    if (rc != TB_OK) {
        return rc;
    }
    for (size_t i = 0; i < n && rc == TB_OK; i++) {
        chain = next_chain(&chain, &rows[i]);
        rc = insert_row(store, &rows[i], &chain, err);
    }
    if (rc == TB_OK) {
        rc = run(store, COMMIT, err);
        store->broken = rc == TB_E_IO;
    }
    if (rc != TB_OK) {
        (void)run(store, ROLLBACK, NULL); /* fails if SQLite did it already */
        return rc;
    }
    rc = tb_head_write(&store->head, store->head.seq + n, &chain, err);
    store->broken = rc != TB_OK;
    return rc;
}

/* --- opening --- */

/* SQLite gives its own files the mode of the database: make that 0600. */
static tb_rc create_private(const char *path, tb_err *err)
{
    int fd =
        tb_spare_open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) {
        return tb_fail_errno(err, errno, "%s", path);
    }
    (void)close(fd);
    return TB_OK;
}

static tb_rc exec(tb_store *s, const char *text, tb_err *err)
{
    return sqlite3_exec(s->db, text, NULL, NULL, NULL) == SQLITE_OK
               ? TB_OK
               : tb_store_fail(s, err);
}

static tb_rc check_version(tb_store *s, tb_err *err)
{
    sqlite3_stmt *q = NULL;
    int version = -1;
    if (sqlite3_prepare_v2(s->db, "PRAGMA user_version", -1, &q, NULL) !=
        SQLITE_OK) {
        return tb_store_fail(s, err);
    }
    if (sqlite3_step(q) == SQLITE_ROW) {
        version = sqlite3_column_int(q, 0);
    }
    tb_rc rc = version >= 0 ? TB_OK : tb_store_fail(s, err);
    (void)sqlite3_finalize(q);
    if (rc == TB_OK && version > TB_STORE_USER_VERSION) {
        rc = tb_fail(err, TB_E_UNSUPPORTED,
                     "%s: journal format %d, this program knows 1", s->path,
                     version);
    }
    return rc;
}

static int open_for_sqlite(const char *path, int flags, int mode)
{
    return tb_spare_open(path, flags, (mode_t)mode);
}

/* SQLite's own files are opened as ours are. */
static void teach_sqlite(void)
{
    sqlite3_vfs *vfs = sqlite3_vfs_find(NULL);
    if (vfs != NULL && vfs->iVersion >= 3 && vfs->xSetSystemCall != NULL) {
        (void)vfs->xSetSystemCall(vfs, "open",
                                  (sqlite3_syscall_ptr)open_for_sqlite);
    }
}

static tb_rc open_db(tb_store *s, tb_err *err)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    (void)pthread_once(&once, teach_sqlite);
    int flags = SQLITE_OPEN_NOMUTEX |
                (s->writer ? SQLITE_OPEN_READWRITE : SQLITE_OPEN_READONLY);
    tb_rc rc = s->writer ? create_private(s->path, err) : TB_OK;
    if (rc != TB_OK) {
        return rc;
    }
    if (sqlite3_open_v2(s->path, &s->db, flags, NULL) != SQLITE_OK) {
        return s->db == NULL
                   ? tb_fail(err, TB_E_NOMEM, "%s", s->path)
                   : tb_fail(err,
                             tb_file_exists(s->path) ? TB_E_IO : TB_E_NOT_FOUND,
                             "%s: %s", s->path, sqlite3_errmsg(s->db));
    }
    (void)sqlite3_busy_timeout(s->db, BUSY_TIMEOUT_MS);
    (void)sqlite3_db_config(s->db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    rc = exec(s, "PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON",
              err);
    if (rc == TB_OK) {
        rc = check_version(s, err);
    }
    if (rc == TB_OK && s->writer) {
        rc = exec(s, "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL",
                  err);
    }
    if (rc == TB_OK && s->writer) {
        rc = exec(s, schema, err);
    }
    for (int i = 0; i < N_SQL && rc == TB_OK; i++) {
        if (sqlite3_prepare_v3(s->db, sql[i], -1, SQLITE_PREPARE_PERSISTENT,
                               &s->stmt[i], NULL) != SQLITE_OK) {
            rc = tb_store_fail(s, err);
        }
    }
    return rc;
}

/* The writer starts from verified rows. Rows that were committed but whose head
 * was not written yet (a crash in between) count as durable from here on: the
 * checkpoint syncs them first. */
static tb_rc verify(tb_store *s, tb_err *err)
{
    walk w = {.head = &s->head};
    tb_rc rc = exec(s, "PRAGMA wal_checkpoint(PASSIVE)", err);
    if (rc == TB_OK) {
        rc = walk_rows(s, &w, 0, NULL, NULL, err);
    }
    if (rc == TB_OK && w.seq > s->head.seq) {
        rc = tb_head_write(&s->head, w.seq, &w.chain, err);
    }
    return rc;
}

tb_rc tb_store_open(tb_store **out, const tb_folder *folder, tb_err *err)
{
    *out = NULL;
    tb_store *s = tb_mem_array(1, sizeof *s);
    if (s == NULL) {
        return tb_fail(err, TB_E_NOMEM, "journal");
    }
    s->head.fd = -1;
    s->writer = tb_folder_locked(folder);
    s->path = tb_mem_text(tb_folder_path(folder, TB_ITEM_JOURNAL));
    s->head_path = tb_mem_text(tb_folder_path(folder, TB_ITEM_HEAD));
    tb_rc rc = TB_OK;
    if (s->path == NULL || s->head_path == NULL) {
        rc = tb_fail(err, TB_E_NOMEM, "journal");
        goto done;
    }
    if (s->writer && !tb_file_exists(s->path) &&
        !tb_file_exists(s->head_path)) {
        tb_hash zero = {0};
        rc = tb_head_create(s->head_path, 0, &zero, err);
    }
    if (rc == TB_OK) {
        rc = tb_head_open(&s->head, s->head_path, s->writer, err);
    }
    if (rc == TB_OK) {
        rc = open_db(s, err);
    }
    if (rc == TB_OK && s->writer) {
        rc = verify(s, err);
    }
    if (rc == TB_OK) {
        *out = s;
        s = NULL;
    }
done:
    tb_store_close(&s);
    return rc;
}

void tb_store_close(tb_store **store)
{
    tb_store *s = *store;
    *store = NULL;
    if (s == NULL) {
        return;
    }
    for (int i = 0; i < N_SQL; i++) {
        (void)sqlite3_finalize(s->stmt[i]);
    }
    (void)sqlite3_close(s->db);
    tb_head_close(&s->head);
    tb_mem_free(s->path);
    tb_mem_free(s->head_path);
    tb_mem_free(s);
}

uint64_t tb_store_head(const tb_store *store, tb_hash *chain)
{
    if (chain != NULL) {
        *chain = store->head.chain;
    }
    return store->head.seq;
}
