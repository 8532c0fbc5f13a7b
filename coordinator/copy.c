#include "copy.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/spare.h"
#include "check.h"
#include "crypto/crypto.h"
#include "host/spool.h"
#include "host/store.h"
#include "live.h"
#include "marks.h"

#define TRIES            8 /* while a daemon deletes what we mean to copy */
#define PATH_BYTES       4096
#define PIECE_BYTES      ((size_t)1 << 20)
#define SMALL_FILE_BYTES (1 << 20) /* what else lies in the folder */

/* A round whose sealed updates are copied. */
typedef struct round_at {
    tb_run_id run;
    tb_hash config;
    bool open;
} round_at;

typedef struct copier {
    const tb_copy_options *o;
    tb_copied *out;
    tb_folder *from, *to;
    tb_store *store; /* of from */
    tb_blobs *old, *fresh;
    tb_marks marks;
    round_at *rounds; /* owned */
    size_t n_rounds, cap_rounds;
} copier;

/* --- single files --------------------------------------------------------- */

static tb_rc copy_bytes(int from, int to, uint64_t len, const char *path,
                        tb_err *err)
{
    uint8_t *piece = tb_mem_array(PIECE_BYTES, 1);
    tb_rc rc =
        piece != NULL ? TB_OK : tb_fail(err, TB_E_NOMEM, "a copy of %s", path);
    for (uint64_t done = 0; rc == TB_OK && done < len;) {
        size_t ask =
            len - done < PIECE_BYTES ? (size_t)(len - done) : PIECE_BYTES;
        ssize_t n = read(from, piece, ask);
        if (n < 0 && errno != EINTR) {
            rc = tb_fail_errno(err, errno, "%s", path);
        } else if (n == 0) {
            rc = tb_fail(err, TB_E_MISMATCH, "%s: ends at byte %llu", path,
                         (unsigned long long)done);
        } else if (n > 0) {
            rc = tb_file_write_fd(to, piece, (size_t)n, err);
            done += (uint64_t)n;
        }
    }
    tb_mem_free(piece);
    return rc;
}

/* The first len bytes of a file as a new one, synced. */
static tb_rc copy_file(const char *from, const char *to, uint64_t len,
                       tb_err *err)
{
    int in = tb_spare_open(from, O_RDONLY | O_CLOEXEC | O_NOFOLLOW, 0);
    if (in < 0) {
        return tb_fail_errno(err, errno, "%s", from);
    }
    tb_rc rc = TB_OK;
    int fd = tb_spare_open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0) {
        rc = tb_fail_errno(err, errno, "%s", to);
    } else {
        rc = copy_bytes(in, fd, len, from, err);
        if (rc == TB_OK && fsync(fd) != 0) {
            rc = tb_fail_errno(err, errno, "%s", to);
        }
        (void)close(fd);
    }
    (void)close(in);
    return rc;
}

/* A small file that may not be there. */
static tb_rc copy_small(const char *from, const char *to, tb_err *err)
{
    struct stat st;
    if (lstat(from, &st) != 0) {
        return errno == ENOENT ? TB_OK : tb_fail_errno(err, errno, "%s", from);
    }
    return S_ISREG(st.st_mode) && st.st_size <= SMALL_FILE_BYTES
               ? copy_file(from, to, (uint64_t)st.st_size, err)
               : TB_OK;
}

static tb_rc copy_of_name(const char *from, const char *to, const char *name,
                          tb_err *err)
{
    char a[PATH_BYTES], b[PATH_BYTES];
    (void)snprintf(a, sizeof a, "%s/%s", from, name);
    (void)snprintf(b, sizeof b, "%s/%s", to, name);
    return copy_small(a, b, err);
}

/* What is copied in another way, or never. */
static bool is_special(const char *name)
{
    static const char *const names[] = {"FORMAT", "LOCK", "HEAD", "control"};
    bool special = name[0] == '.' || strstr(name, ".tmp-") != NULL ||
                   strncmp(name, "journal.sqlite", 14) == 0;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        special = special || strcmp(name, names[i]) == 0;
    }
    return special;
}

/* Every small file of a folder: keys, certificate, settings, endpoints. */
static tb_rc copy_small_files(const char *from, const char *to, tb_err *err)
{
    DIR *entries = tb_spare_opendir(from);
    if (entries == NULL) {
        return tb_fail_errno(err, errno, "%s", from);
    }
    tb_rc rc = TB_OK;
    for (struct dirent *e; rc == TB_OK && (e = readdir(entries)) != NULL;) {
        if (!is_special(e->d_name)) {
            rc = copy_of_name(from, to, e->d_name, err);
        }
    }
    (void)closedir(entries);
    return rc == TB_OK ? tb_file_sync_dir(to, err) : rc;
}

static tb_rc copy_keys(const copier *c, tb_err *err)
{
    char from[PATH_BYTES], to[PATH_BYTES];
    const char *old = tb_folder_dir(c->from);
    const char *fresh = tb_folder_dir(c->to);
    tb_rc rc = copy_small_files(old, fresh, err);
    (void)snprintf(from, sizeof from, "%s/keys", old);
    (void)snprintf(to, sizeof to, "%s/keys", fresh);
    return rc == TB_OK ? copy_small_files(from, to, err) : rc;
}

/* --- the journal ---------------------------------------------------------- */

static tb_rc add_round(copier *c, const tb_rec_round_opened *o, tb_err *err)
{
    if (c->n_rounds == c->cap_rounds) {
        size_t cap = c->cap_rounds > 0 ? 2 * c->cap_rounds : 32;
        round_at *at = tb_mem_resize(c->rounds, cap, sizeof *at);
        if (at == NULL) {
            return tb_fail(err, TB_E_NOMEM, "%zu rounds", cap);
        }
        c->rounds = at;
        c->cap_rounds = cap;
    }
    c->rounds[c->n_rounds++] =
        (round_at){o->run, tb_hash_of(o->config.data, o->config.len), true};
    return TB_OK;
}

/* NULL: every one. */
static void close_rounds(copier *c, const tb_hash *config)
{
    for (size_t i = 0; i < c->n_rounds; i++) {
        if (config == NULL || tb_hash_equal(&c->rounds[i].config, config)) {
            c->rounds[i].open = false;
        }
    }
}

static tb_rc take_row(void *arg, const tb_row *row, tb_err *err)
{
    copier *c = arg;
    tb_record record;
    tb_rc rc =
        tb_record_decode(&record, row->kind, row->body, row->body_bytes, err);
    if (rc != TB_OK) {
        return rc;
    }
    rc = tb_marks_note(&c->marks, &record, err);
    if (rc == TB_OK && record.kind == TB_REC_ROUND_OPENED) {
        rc = add_round(c, &record.u.round_opened, err);
    } else if (record.kind == TB_REC_COMMITTED) {
        close_rounds(c, &record.u.committed.config);
    } else if (record.kind == TB_REC_ABANDONED) {
        close_rounds(c, &record.u.abandoned.config);
    } else if (record.kind == TB_REC_RESTORED) {
        close_rounds(c, NULL);
    }
    c->out->n_rows = row->seq;
    tb_record_release(&record);
    return rc;
}

/* --- what the rows name --------------------------------------------------- */

static tb_rc copy_blob(copier *c, const tb_hash *raw, tb_err *err)
{
    tb_blob_ref ref;
    tb_rc rc = tb_blobs_find(c->old, raw, &ref, err);
    if (rc == TB_OK) {
        rc = tb_blobs_copy(c->fresh, c->old, &ref, err);
    }
    c->out->n_blobs += rc == TB_OK;
    c->out->bytes += rc == TB_OK ? ref.stored_bytes : 0;
    return rc;
}

static tb_rc copy_blobs(copier *c, tb_err *err)
{
    static const tb_retention all;
    char text[160];
    tb_named_list list = {0};
    tb_rc rc = tb_marks_read(&c->marks, c->old, false, err);
    if (rc == TB_OK) {
        rc = tb_marks_list(&list, &c->marks, &all, err);
    }
    for (size_t i = 0; i < list.n && rc == TB_OK; i++) {
        if (i > 0 && tb_hash_equal(&list.at[i].raw, &list.at[i - 1].raw)) {
            continue;
        }
        rc = copy_blob(c, &list.at[i].raw, err);
        if (rc != TB_OK) {
            tb_mark_text(list.at[i].mark, &c->marks, text, sizeof text);
            rc = tb_err_prefix(err, rc, "%s", text);
        }
    }
    tb_named_release(&list);
    return rc;
}

/* Jobs of all runs; keys only of those that may still need them. */
static tb_rc copy_runs(const copier *c, tb_err *err)
{
    char name[TB_RUN_HEX_BYTES + 8];
    char hex[TB_RUN_HEX_BYTES];
    const char *from = tb_folder_path(c->from, TB_ITEM_RUNS);
    const char *to = tb_folder_path(c->to, TB_ITEM_RUNS);
    tb_rc rc = TB_OK;
    for (size_t i = 0; i < c->marks.n_runs && rc == TB_OK; i++) {
        const tb_mark_run *run = &c->marks.runs[i];
        tb_run_hex(&run->run, hex);
        (void)snprintf(name, sizeof name, "%s.job", hex);
        rc = copy_of_name(from, to, name, err);
        if (rc == TB_OK && (!run->ended || run->kept)) {
            (void)snprintf(name, sizeof name, "%s.key", hex);
            rc = copy_of_name(from, to, name, err);
        }
        if (rc == TB_OK && run->kept) {
            (void)snprintf(name, sizeof name, "%s.kept", hex);
            rc = copy_of_name(from, to, name, err);
        }
    }
    return rc == TB_OK ? tb_file_sync_dir(to, err) : rc;
}

/* The whole records of a segment: a write may go on behind them. */
static tb_rc copy_segment(const copier *c, const round_at *r, tb_err *err)
{
    char run[TB_RUN_HEX_BYTES];
    char config[TB_HASH_HEX_BYTES];
    char from[PATH_BYTES], to[PATH_BYTES];
    tb_spool *spool = NULL;
    tb_rc rc =
        tb_spool_open_read(&spool, tb_folder_path(c->from, TB_ITEM_SPOOL),
                           &r->run, &r->config, err);
    if (rc != TB_OK) {
        return rc == TB_E_NOT_FOUND ? TB_OK : rc; /* the check misses it */
    }
    uint64_t len = tb_spool_bytes(spool);
    tb_spool_close(&spool);
    tb_run_hex(&r->run, run);
    tb_hash_hex(&r->config, config);
    (void)snprintf(to, sizeof to, "%s/%s", tb_folder_path(c->to, TB_ITEM_SPOOL),
                   run);
    rc = tb_file_make_dir(to, 0700, err);
    (void)snprintf(from, sizeof from, "%s/%s/%s",
                   tb_folder_path(c->from, TB_ITEM_SPOOL), run, config);
    if (rc == TB_OK) {
        (void)snprintf(to, sizeof to, "%s/%s/%s",
                       tb_folder_path(c->to, TB_ITEM_SPOOL), run, config);
        rc = copy_file(from, to, len, err);
        c->out->bytes += len;
    }
    if (rc == TB_OK) {
        *strrchr(to, '/') = '\0';
        rc = tb_file_sync_dir(to, err);
    }
    return rc == TB_E_NOT_FOUND ? TB_OK : rc;
}

static tb_rc copy_spool(const copier *c, tb_err *err)
{
    tb_rc rc = TB_OK;
    for (size_t i = 0; i < c->n_rounds && rc == TB_OK; i++) {
        const round_at *r = &c->rounds[i];
        const tb_mark_run *run = tb_marks_run(&c->marks, &r->run);
        bool wanted =
            run != NULL && !run->swept &&
            (run->kept || (!run->ended && !(r->open && c->o->restore)));
        if (wanted) {
            rc = copy_segment(c, r, err);
        }
    }
    return rc;
}

/* --- the whole ------------------------------------------------------------ */

static void close_all(copier *c)
{
    tb_marks_release(&c->marks);
    tb_mem_free(c->rounds);
    tb_blobs_close(&c->old);
    tb_blobs_close(&c->fresh);
    tb_store_close(&c->store);
    tb_folder_close(&c->from);
    tb_folder_close(&c->to);
}

static tb_rc open_all(copier *c, const char *to, tb_err *err)
{
    tb_rc rc = tb_folder_open(&c->from, c->o->from, TB_FOLDER_COORDINATOR,
                              TB_FOLDER_READ, err);
    if (rc == TB_OK) {
        rc = tb_folder_create(to, TB_FOLDER_COORDINATOR, err);
    }
    if (rc == TB_OK) {
        rc = tb_folder_open(&c->to, to, TB_FOLDER_COORDINATOR, TB_FOLDER_READ,
                            err);
    }
    if (rc == TB_OK) {
        rc = tb_store_open(&c->store, c->from, err);
    }
    if (rc == TB_OK) {
        rc =
            tb_blobs_open(&c->old, tb_folder_path(c->from, TB_ITEM_BLOBS), err);
    }
    return rc == TB_OK
               ? tb_blobs_open(&c->fresh, tb_folder_path(c->to, TB_ITEM_BLOBS),
                               err)
               : rc;
}

/* Rows first: what they name was there before them. */
static tb_rc copy_into(tb_copied *out, const tb_copy_options *o, const char *to,
                       tb_err *err)
{
    copier c = {.o = o, .out = out};
    *out = (tb_copied){0};
    tb_rc rc = open_all(&c, to, err);
    if (rc == TB_OK) {
        rc = tb_store_copy(c.store, c.to, take_row, &c, err);
    }
    if (rc == TB_OK) {
        tb_marks_look(&c.marks, c.from);
        rc = copy_keys(&c, err);
    }
    if (rc == TB_OK) {
        rc = copy_runs(&c, err);
    }
    if (rc == TB_OK) {
        rc = copy_blobs(&c, err);
    }
    if (rc == TB_OK) {
        rc = copy_spool(&c, err);
    }
    close_all(&c);
    return rc;
}

/* A copy counts when a look at it finds nothing. */
static tb_rc check_copy(const tb_copy_options *o, const char *dir, tb_err *err)
{
    tb_check check;
    tb_check_options options = {.dir = dir,
                                .master_key = o->master_key,
                                .parts = TB_CHECK_ALL,
                                .no_master = o->master_key == NULL};
    tb_rc rc = tb_check_run(&check, &options, err);
    if (rc == TB_OK && check.n > 0) {
        rc = tb_fail(err, TB_E_MISMATCH, "%.400s: tributaryd check says more",
                     check.at[0].what);
    }
    tb_check_release(&check);
    return rc;
}

/* Removes a tree that we made; what cannot go stays and is named by the next
 * try. */
static void remove_tree(const char *dir)
{
    DIR *entries = tb_spare_opendir(dir);
    for (struct dirent *e; entries != NULL && (e = readdir(entries)) != NULL;) {
        char path[PATH_BYTES];
        struct stat st;
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0) {
            continue;
        }
        (void)snprintf(path, sizeof path, "%s/%s", dir, e->d_name);
        if (lstat(path, &st) == 0 && S_ISDIR(st.st_mode)) {
            remove_tree(path);
        } else {
            (void)unlink(path);
        }
    }
    if (entries != NULL) {
        (void)closedir(entries);
    }
    (void)rmdir(dir);
}

/* Copies until nothing was deleted under our eyes: each try begins with the
 * rows of its own time. */
static tb_rc copy_and_check(tb_copied *out, const tb_copy_options *o,
                            const char *part, tb_err *err)
{
    uint64_t rows = 0;
    tb_rc rc = TB_OK;
    for (int i = 0; i < TRIES; i++) {
        rc = copy_into(out, o, part, err);
        if (rc == TB_OK && o->finish != NULL) {
            rc = o->finish(o->arg, part, err);
        }
        if (rc == TB_OK) {
            rc = check_copy(o, part, err);
        }
        bool gone = rc == TB_E_NOT_FOUND || rc == TB_E_MISMATCH;
        if (!gone || out->n_rows == rows) {
            break; /* done, or wrong in a way that time does not mend */
        }
        rows = out->n_rows;
        remove_tree(part);
    }
    return rc;
}

static tb_rc check_target(const char *to, const char *part, tb_err *err)
{
    if (rmdir(to) != 0 && errno != ENOENT) { /* an empty folder is fine */
        return tb_fail(err, TB_E_EXISTS,
                       "%s: is there already: name a new folder", to);
    }
    return tb_file_exists(part)
               ? tb_fail(err, TB_E_EXISTS,
                         "%s: is left over from a copy that was cut off: "
                         "remove it",
                         part)
               : TB_OK;
}

static tb_rc give_name(const char *part, const char *to, tb_err *err)
{
    char above[PATH_BYTES];
    if (rename(part, to) != 0) {
        return tb_fail_errno(err, errno, "%s", to);
    }
    (void)snprintf(above, sizeof above, "%s", to);
    char *slash = strrchr(above, '/');
    if (slash == NULL) {
        return tb_file_sync_dir(".", err);
    }
    slash[slash == above] = '\0';
    return tb_file_sync_dir(above, err);
}

tb_rc tb_copy_folder(tb_copied *out, const tb_copy_options *options,
                     tb_err *err)
{
    char to[PATH_BYTES], part[PATH_BYTES];
    size_t len = strlen(options->to);
    while (len > 1 && options->to[len - 1] == '/') {
        len--;
    }
    if (len == 0 || len + sizeof ".partial" > sizeof part) {
        return tb_fail(err, TB_E_USAGE,
                       "the copy's folder: no name, or one "
                       "that is too long");
    }
    (void)snprintf(to, sizeof to, "%.*s", (int)len, options->to);
    (void)snprintf(part, sizeof part, "%.*s.partial", (int)len, options->to);
    tb_rc rc = tb_crypto_init(err);
    if (rc == TB_OK) {
        rc = check_target(to, part, err);
    }
    if (rc != TB_OK) {
        return rc;
    }
    rc = copy_and_check(out, options, part, err);
    if (rc == TB_OK) {
        rc = give_name(part, to, err);
    }
    if (rc != TB_OK) {
        remove_tree(part);
    }
    return rc;
}
