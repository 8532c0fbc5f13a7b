/* Every file of a folder of blobs, and the removal of what nobody names. */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/spare.h"
#include "host/blob_priv.h"

/* --- walking -------------------------------------------------------------- */

static int nibble(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
                                  : -1;
}

/* The hash that a file of the folder aa is named by; false: none. */
static bool hash_of_name(tb_hash *out, const char *folder, const char *name)
{
    if (strlen(name) != 2 * TB_HASH_BYTES || strncmp(name, folder, 2) != 0) {
        return false;
    }
    for (size_t i = 0; i < TB_HASH_BYTES; i++) {
        int high = nibble(name[2 * i]);
        int low = nibble(name[2 * i + 1]);
        if (high < 0 || low < 0) {
            return false;
        }
        out->bytes[i] = (uint8_t)(high * 16 + low);
    }
    return true;
}

typedef struct walk {
    tb_blob_file_kind kind;
    tb_blob_file_fn *fn;
    void *arg;
} walk;

/* Called with each name in a folder. */
typedef tb_rc entry_fn(const walk *w, const char *dir, const char *name,
                       tb_err *err);

static tb_rc each_entry(const walk *w, const char *dir, entry_fn *fn,
                        tb_err *err)
{
    DIR *entries = tb_spare_opendir(dir);
    if (entries == NULL) {
        return errno == ENOENT ? TB_OK : tb_fail_errno(err, errno, "%s", dir);
    }
    tb_rc rc = TB_OK;
    for (struct dirent *e; rc == TB_OK && (e = readdir(entries)) != NULL;) {
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0) {
            rc = fn(w, dir, e->d_name, err);
        }
    }
    (void)closedir(entries);
    return rc;
}

static tb_rc take_file(const walk *w, const char *dir, const char *name,
                       tb_err *err)
{
    char *path = tb_file_join(dir, name);
    if (path == NULL) {
        return tb_fail(err, TB_E_NOMEM, "%s", dir);
    }
    const char *slash = strrchr(dir, '/');
    tb_blob_file file = {.kind = w->kind, .path = path};
    if (!hash_of_name(&file.name, slash + 1, name)) {
        file.kind = TB_BLOB_FILE_OTHER;
    }
    tb_rc rc = w->fn(w->arg, &file, err);
    tb_mem_free(path);
    return rc;
}

/* Folders of two digits only: others are not looked into. */
static tb_rc take_folder(const walk *w, const char *dir, const char *name,
                         tb_err *err)
{
    if (strlen(name) != 2 || nibble(name[0]) < 0 || nibble(name[1]) < 0) {
        return TB_OK;
    }
    char *path = tb_file_join(dir, name);
    if (path == NULL) {
        return tb_fail(err, TB_E_NOMEM, "%s", dir);
    }
    tb_rc rc = each_entry(w, path, take_file, err);
    tb_mem_free(path);
    return rc;
}

tb_rc tb_blobs_each(const tb_blobs *blobs, tb_blob_file_fn *fn, void *arg,
                    tb_err *err)
{
    walk w = {.kind = TB_BLOB_FILE_STORED, .fn = fn, .arg = arg};
    tb_rc rc = each_entry(&w, blobs->dir, take_folder, err);
    if (rc != TB_OK) {
        return rc;
    }
    char *index = tb_file_join(blobs->dir, "raw");
    if (index == NULL) {
        return tb_fail(err, TB_E_NOMEM, "%s", blobs->dir);
    }
    w.kind = TB_BLOB_FILE_INDEX;
    rc = each_entry(&w, index, take_folder, err);
    tb_mem_free(index);
    return rc;
}

/* --- sweeping ------------------------------------------------------------- */

/* First the indices say what stays, then what does not stay is removed. */
typedef struct sweeper {
    tb_blobs *blobs;
    tb_blob_sweep *sweep;
    tb_hash *stay; /* stored hashes, sorted between the passes; owned */
    size_t n, cap;
} sweeper;

static int by_bytes(const void *a, const void *b)
{
    return memcmp(a, b, TB_HASH_BYTES);
}

static bool keeps(const sweeper *s, const tb_hash *raw)
{
    return s->sweep->keep(s->sweep->arg, raw) ||
           tb_blob_is_pinned(s->blobs, raw);
}

static tb_rc note(void *arg, const tb_blob_file *file, tb_err *err)
{
    sweeper *s = arg;
    tb_blob_ref ref;
    if (file->kind != TB_BLOB_FILE_INDEX || !keeps(s, &file->name)) {
        return TB_OK;
    }
    tb_rc rc = tb_blobs_find(s->blobs, &file->name, &ref, err);
    if (rc != TB_OK) {
        return rc;
    }
    if (s->n == s->cap) {
        size_t cap = s->cap > 0 ? 2 * s->cap : 64;
        tb_hash *stay = tb_mem_resize(s->stay, cap, sizeof *stay);
        if (stay == NULL) {
            return tb_fail(err, TB_E_NOMEM, "%zu blobs", cap);
        }
        s->stay = stay;
        s->cap = cap;
    }
    s->stay[s->n++] = ref.stored;
    return TB_OK;
}

/* Another thread is packing into it: ".tmp-<process>", or a number behind. */
static bool is_being_written(const char *path)
{
    char mark[32];
    int n = snprintf(mark, sizeof mark, ".tmp-%ld", (long)getpid());
    const char *at = strstr(path, mark);
    return at != NULL && (at[n] == '\0' || at[n] == '-');
}

static bool stays(const sweeper *s, const tb_blob_file *file)
{
    if (file->kind == TB_BLOB_FILE_OTHER && is_being_written(file->path)) {
        return true;
    }
    if (file->kind == TB_BLOB_FILE_INDEX) {
        return keeps(s, &file->name);
    }
    return file->kind == TB_BLOB_FILE_STORED && s->n > 0 &&
           bsearch(&file->name, s->stay, s->n, sizeof *s->stay, by_bytes) !=
               NULL;
}

static tb_rc sweep_file(void *arg, const tb_blob_file *file, tb_err *err)
{
    sweeper *s = arg;
    struct stat st;
    if (stays(s, file) || lstat(file->path, &st) != 0 || !S_ISREG(st.st_mode)) {
        return TB_OK;
    }
    s->sweep->n++;
    s->sweep->bytes += (uint64_t)st.st_size;
    if (!s->sweep->dry_run && unlink(file->path) != 0 && errno != ENOENT) {
        return tb_fail_errno(err, errno, "%s", file->path);
    }
    return TB_OK;
}

tb_rc tb_blobs_sweep(tb_blobs *blobs, tb_blob_sweep *sweep, tb_err *err)
{
    sweeper s = {.blobs = blobs, .sweep = sweep};
    int fd = -1;
    sweep->n = 0;
    sweep->bytes = 0;
    tb_rc rc = tb_blob_lock(blobs, LOCK_EX | LOCK_NB, &fd, err);
    if (rc != TB_OK) {
        return rc;
    }
    (void)pthread_mutex_lock(&blobs->lock);
    rc = tb_blobs_each(blobs, note, &s, err);
    if (rc == TB_OK && s.n > 0) {
        qsort(s.stay, s.n, sizeof *s.stay, by_bytes);
    }
    if (rc == TB_OK) {
        rc = tb_blobs_each(blobs, sweep_file, &s, err);
    }
    (void)pthread_mutex_unlock(&blobs->lock);
    (void)close(fd);
    tb_mem_free(s.stay);
    return rc;
}
