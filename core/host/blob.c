#include "host/blob.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

/* For contexts with memory of our own: part of zstd since 1.3, and kept. */
#define ZSTD_STATIC_LINKING_ONLY
#include <zstd.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/spare.h"
#include "host/blob_priv.h"

#define NAME_BYTES (4 + 3 + TB_HASH_HEX_BYTES) /* "raw/aa/<hash>" */

tb_rc tb_blobs_open(tb_blobs **out, const char *dir, tb_err *err)
{
    *out = NULL;
    tb_rc rc = tb_file_make_dir(dir, 0700, err);
    if (rc != TB_OK) {
        return rc;
    }
    tb_blobs *b = tb_mem_array(1, sizeof *b);
    if (b == NULL || (b->dir = tb_mem_text(dir)) == NULL) {
        tb_mem_free(b);
        return tb_fail(err, TB_E_NOMEM, "%s", dir);
    }
    b->hold = -1;
    (void)pthread_mutex_init(&b->lock, NULL);
    *out = b;
    return TB_OK;
}

tb_rc tb_blob_lock(const tb_blobs *b, int how, int *fd, tb_err *err)
{
    int got = -1;
    *fd = tb_spare_open(b->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    if (*fd >= 0) {
        do {
            got = flock(*fd, how);
        } while (got != 0 && errno == EINTR);
    }
    if (got == 0) {
        return TB_OK;
    }
    tb_rc rc = errno == EWOULDBLOCK
                   ? tb_fail(err, TB_E_BUSY,
                             "%s: a command is putting a model there: try "
                             "again when it is done",
                             b->dir)
                   : tb_fail_errno(err, errno, "%s", b->dir);
    if (*fd >= 0) {
        (void)close(*fd);
    }
    *fd = -1;
    return rc;
}

tb_rc tb_blobs_hold(tb_blobs *blobs, tb_err *err)
{
    return blobs->hold >= 0 ? TB_OK
                            : tb_blob_lock(blobs, LOCK_SH, &blobs->hold, err);
}

void tb_blobs_close(tb_blobs **blobs)
{
    tb_blobs *b = *blobs;
    *blobs = NULL;
    if (b != NULL) {
        if (b->hold >= 0) {
            (void)close(b->hold);
        }
        tb_blob_parts_release(b);
        tb_mem_free(b->pins);
        (void)pthread_mutex_destroy(&b->lock);
        tb_mem_free(b->dir);
        tb_mem_free(b);
    }
}

/* "<dir>/<kind>aa/<hash>" for the caller to free. */
static tb_rc path_of(const tb_blobs *b, const char *kind, const tb_hash *hash,
                     char **out, tb_err *err)
{
    char hex[TB_HASH_HEX_BYTES];
    char name[NAME_BYTES + 1];
    tb_hash_hex(hash, hex);
    (void)snprintf(name, sizeof name, "%s%.2s/%s", kind, hex, hex);
    *out = tb_file_join(b->dir, name);
    return *out != NULL ? TB_OK : tb_fail(err, TB_E_NOMEM, "%s", b->dir);
}

tb_rc tb_blob_stored_path(const tb_blobs *b, const tb_hash *hash, char **out,
                          tb_err *err)
{
    return path_of(b, "", hash, out, err);
}

static tb_rc index_path(const tb_blobs *b, const tb_hash *hash, char **out,
                        tb_err *err)
{
    return path_of(b, "raw/", hash, out, err);
}

tb_rc tb_blob_make_place(char *path, tb_err *err)
{
    char *slash = strrchr(path, '/');
    *slash = '\0';
    tb_rc rc = TB_OK;
    if (!tb_file_exists(path)) {
        rc = tb_file_make_dir(path, 0700, err);
        char *upper = rc == TB_OK ? strrchr(path, '/') : NULL;
        if (upper != NULL) { /* the new folder's own name must last as well */
            *upper = '\0';
            rc = tb_file_sync_dir(path, err);
            *upper = '/';
        }
    }
    *slash = '/';
    return rc;
}

/* Makes the folder of path and writes the file, both synced. */
static tb_rc write_file(char *path, const void *bytes, size_t len, tb_err *err)
{
    tb_rc rc = tb_blob_make_place(path, err);
    return rc == TB_OK ? tb_file_write(path, bytes, len, 0600, err) : rc;
}

/* --- the index --- */

static void index_encode(const tb_blob_ref *ref,
                         uint8_t out[static TB_BLOB_INDEX_BYTES])
{
    memcpy(out, "TBBI", 4);
    tb_le32_put(out + 4, TB_BLOB_INDEX_VERSION);
    memcpy(out + 8, ref->raw.bytes, TB_HASH_BYTES);
    tb_le64_put(out + 40, ref->raw_bytes);
    memcpy(out + 48, ref->stored.bytes, TB_HASH_BYTES);
    tb_le64_put(out + 80, ref->stored_bytes);
    tb_hash check = tb_hash_of(out, TB_BLOB_INDEX_SIGNED_BYTES);
    memcpy(out + TB_BLOB_INDEX_SIGNED_BYTES, check.bytes, TB_HASH_BYTES);
}

static bool index_decode(const tb_buf *in, const tb_hash *raw, tb_blob_ref *out)
{
    if (in->len != TB_BLOB_INDEX_BYTES || memcmp(in->data, "TBBI", 4) != 0 ||
        tb_le32_get(in->data + 4) != TB_BLOB_INDEX_VERSION ||
        memcmp(in->data + 8, raw->bytes, TB_HASH_BYTES) != 0) {
        return false;
    }
    tb_hash check = tb_hash_of(in->data, TB_BLOB_INDEX_SIGNED_BYTES);
    if (memcmp(in->data + TB_BLOB_INDEX_SIGNED_BYTES, check.bytes,
               TB_HASH_BYTES) != 0) {
        return false;
    }
    out->raw = *raw;
    out->raw_bytes = tb_le64_get(in->data + 40);
    memcpy(out->stored.bytes, in->data + 48, TB_HASH_BYTES);
    out->stored_bytes = tb_le64_get(in->data + 80);
    return true;
}

tb_rc tb_blobs_find(tb_blobs *blobs, const tb_hash *raw, tb_blob_ref *out,
                    tb_err *err)
{
    char *path;
    tb_buf buf;
    tb_buf_init(&buf, TB_BLOB_INDEX_BYTES);
    tb_rc rc = index_path(blobs, raw, &path, err);
    if (rc != TB_OK) {
        return rc;
    }
    rc = tb_file_read(&buf, path, err);
    if (rc == TB_OK && !index_decode(&buf, raw, out)) {
        rc = tb_fail(err, TB_E_MALFORMED, "%s: is damaged", path);
    }
    tb_buf_release(&buf);
    tb_mem_free(path);
    return rc;
}

tb_rc tb_blob_index_write(tb_blobs *b, const tb_blob_ref *ref, tb_err *err)
{
    uint8_t bytes[TB_BLOB_INDEX_BYTES];
    char *path;
    tb_rc rc = index_path(b, &ref->raw, &path, err);
    if (rc == TB_OK) {
        index_encode(ref, bytes);
        rc = write_file(path, bytes, sizeof bytes, err);
        tb_mem_free(path);
    }
    return rc;
}

/* --- stored bytes --- */

bool tb_blob_is_there(tb_blobs *b, const tb_blob_ref *ref)
{
    char *path;
    struct stat st;
    if (tb_blob_stored_path(b, &ref->stored, &path, NULL) != TB_OK) {
        return false;
    }
    bool there =
        stat(path, &st) == 0 && (uint64_t)st.st_size == ref->stored_bytes;
    tb_mem_free(path);
    return there;
}

/* --- pins --------------------------------------------------------------- */

tb_rc tb_blob_pin(tb_blobs *b, const tb_hash *raw, tb_err *err)
{
    if (b->n_pins == b->cap_pins) {
        size_t cap = b->cap_pins > 0 ? 2 * b->cap_pins : 16;
        tb_hash *pins = tb_mem_resize(b->pins, cap, sizeof *pins);
        if (pins == NULL) {
            return tb_fail(err, TB_E_NOMEM, "%zu blobs in use", cap);
        }
        b->pins = pins;
        b->cap_pins = cap;
    }
    b->pins[b->n_pins++] = *raw;
    return TB_OK;
}

bool tb_blob_is_pinned(const tb_blobs *b, const tb_hash *raw)
{
    for (size_t i = 0; i < b->n_pins; i++) {
        if (tb_hash_equal(&b->pins[i], raw)) {
            return true;
        }
    }
    return false;
}

void tb_blobs_settle(tb_blobs *blobs, const tb_hash *raw)
{
    (void)pthread_mutex_lock(&blobs->lock);
    for (size_t i = 0; i < blobs->n_pins; i++) {
        if (tb_hash_equal(&blobs->pins[i], raw)) {
            blobs->pins[i] = blobs->pins[--blobs->n_pins];
            break;
        }
    }
    (void)pthread_mutex_unlock(&blobs->lock);
}

tb_rc tb_blob_pin_old(tb_blobs *b, const tb_hash *raw, tb_blob_ref *out,
                      bool *found, tb_err *err)
{
    tb_rc rc = TB_OK;
    (void)pthread_mutex_lock(&b->lock);
    *found =
        tb_blobs_find(b, raw, out, NULL) == TB_OK && tb_blob_is_there(b, out);
    if (*found) {
        rc = tb_blob_pin(b, raw, err);
    }
    (void)pthread_mutex_unlock(&b->lock);
    return rc;
}

/* The file first, then the index entry that names it. */
static tb_rc write_both(tb_blobs *b, const uint8_t *stored,
                        const tb_blob_ref *ref, tb_err *err)
{
    char *path;
    tb_rc rc = tb_blob_stored_path(b, &ref->stored, &path, err);
    if (rc != TB_OK) {
        return rc;
    }
    (void)pthread_mutex_lock(&b->lock);
    rc = tb_blob_pin(b, &ref->raw, err);
    if (rc == TB_OK) {
        rc = write_file(path, stored, (size_t)ref->stored_bytes, err);
        if (rc == TB_OK && (rc = tb_blob_index_write(b, ref, err)) != TB_OK) {
            (void)unlink(path);
        }
        b->n_pins -= rc != TB_OK;
    }
    (void)pthread_mutex_unlock(&b->lock);
    tb_mem_free(path);
    return rc;
}

/* A file that is there already, under the name of its bytes. */
static tb_rc rename_synced(const char *from, char *path, tb_err *err)
{
    tb_rc rc = tb_blob_make_place(path, err);
    if (rc == TB_OK && rename(from, path) != 0) {
        rc = tb_fail_errno(err, errno, "%s", path);
    }
    if (rc == TB_OK) {
        char *slash = strrchr(path, '/');
        *slash = '\0';
        rc = tb_file_sync_dir(path, err);
        *slash = '/';
    }
    return rc;
}

tb_rc tb_blob_adopt(tb_blobs *b, const char *from, char *path,
                    const tb_blob_ref *ref, tb_err *err)
{
    (void)pthread_mutex_lock(&b->lock);
    tb_rc rc = tb_blob_pin(b, &ref->raw, err);
    if (rc == TB_OK) {
        rc = rename_synced(from, path, err);
        if (rc == TB_OK && (rc = tb_blob_index_write(b, ref, err)) != TB_OK) {
            (void)unlink(path);
        }
        b->n_pins -= rc != TB_OK;
    }
    (void)pthread_mutex_unlock(&b->lock);
    return rc;
}

void *tb_blob_take_memory(void *arg, size_t size)
{
    (void)arg;
    return tb_mem_array(size, 1);
}

void tb_blob_give_memory(void *arg, void *p)
{
    (void)arg;
    tb_mem_free(p);
}

static const ZSTD_customMem zstd_memory = {tb_blob_take_memory,
                                           tb_blob_give_memory, NULL};

tb_rc tb_blob_set_level(ZSTD_CCtx *context, int level, uint64_t len,
                        tb_err *err)
{
    const struct {
        ZSTD_cParameter name;
        int value;
        bool always;
    } set[] = {{ZSTD_c_compressionLevel, level, true},
               {ZSTD_c_windowLog, TB_BLOB_WINDOW_LOG, false},
               {ZSTD_c_hashLog, TB_BLOB_TABLE_LOG, false},
               {ZSTD_c_chainLog, TB_BLOB_TABLE_LOG, false}};
    size_t n = sizeof set / sizeof set[0];
    size_t code = ZSTD_CCtx_setPledgedSrcSize(context, len);
    for (size_t i = 0; i < n && !ZSTD_isError(code); i++) {
        if (set[i].always || level > TB_BLOB_LEVEL_FAST) {
            code = ZSTD_CCtx_setParameter(context, set[i].name, set[i].value);
        }
    }
    return ZSTD_isError(code)
               ? tb_fail(err, TB_E_NOMEM, "zstd: %s", ZSTD_getErrorName(code))
               : TB_OK;
}

static tb_rc pack(const uint8_t *raw, size_t len, int level, tb_buf *out,
                  tb_err *err)
{
    size_t room = ZSTD_compressBound(len);
    tb_buf_init(out, room);
    tb_rc rc = tb_buf_reserve(out, room, err);
    if (rc != TB_OK) {
        return rc;
    }
    ZSTD_CCtx *context = ZSTD_createCCtx_advanced(zstd_memory);
    rc = context != NULL ? tb_blob_set_level(context, level, len, err)
                         : tb_fail(err, TB_E_NOMEM, "zstd: no memory");
    if (rc == TB_OK) {
        size_t n = ZSTD_compress2(context, out->data, room, raw, len);
        rc = ZSTD_isError(n)
                 ? tb_fail(err, TB_E_NOMEM, "zstd: %s", ZSTD_getErrorName(n))
                 : TB_OK;
        out->len = rc == TB_OK ? n : 0;
    }
    (void)ZSTD_freeCCtx(context);
    return rc;
}

tb_rc tb_blobs_put(tb_blobs *blobs, const uint8_t *raw, size_t len, int level,
                   tb_blob_ref *out, tb_err *err)
{
    tb_buf stored;
    tb_buf_init(&stored, 0);
    if (len > TB_BLOB_BYTES_MAX) {
        return tb_fail(err, TB_E_LIMIT, "blob: %zu bytes, at most %zu", len,
                       TB_BLOB_BYTES_MAX);
    }
    tb_blob_ref ref = {.raw = tb_hash_of(raw, len), .raw_bytes = len};
    tb_blob_ref old;
    bool found = false;
    tb_rc rc = tb_blob_pin_old(blobs, &ref.raw, &old, &found, err);
    if (rc != TB_OK || found) {
        *out = found ? old : *out;
        return rc;
    }
    rc = pack(raw, len, level, &stored, err);
    if (rc == TB_OK) {
        ref.stored = tb_hash_of(stored.data, stored.len);
        ref.stored_bytes = stored.len;
        rc = write_both(blobs, stored.data, &ref, err);
    }
    if (rc == TB_OK) {
        *out = ref;
    }
    tb_buf_release(&stored);
    return rc;
}

tb_rc tb_blobs_put_stored(tb_blobs *blobs, const uint8_t *stored, size_t len,
                          const tb_blob_ref *ref, tb_err *err)
{
    tb_buf raw;
    tb_buf_init(&raw, TB_BLOB_BYTES_MAX);
    tb_rc rc = tb_blob_unpack(stored, len, ref, &raw, err);
    tb_buf_release(&raw);
    return rc == TB_OK ? write_both(blobs, stored, ref, err) : rc;
}

/* Appends the stored file to out; its hash is verified. */
static tb_rc read_stored(tb_blobs *b, const tb_hash *hash, tb_buf *out,
                         tb_err *err)
{
    char *path;
    size_t before = out->len;
    tb_rc rc = tb_blob_stored_path(b, hash, &path, err);
    if (rc != TB_OK) {
        return rc;
    }
    rc = tb_file_read(out, path, err);
    if (rc == TB_OK) {
        tb_hash found = tb_hash_of(out->data + before, out->len - before);
        if (!tb_hash_equal(&found, hash)) {
            out->len = before;
            rc = tb_fail(err, TB_E_MISMATCH,
                         "%s: was altered: its hash is not its name", path);
        }
    }
    tb_mem_free(path);
    return rc;
}

tb_rc tb_blobs_load(tb_blobs *blobs, const tb_blob_ref *ref, tb_buf *out,
                    tb_err *err)
{
    tb_buf stored;
    tb_buf_init(&stored, TB_BLOB_BYTES_MAX);
    tb_rc rc = read_stored(blobs, &ref->stored, &stored, err);
    if (rc == TB_OK) {
        rc = tb_blob_unpack(stored.data, stored.len, ref, out, err);
    }
    tb_buf_release(&stored);
    return rc;
}

/* Takes the path and frees it; *there: whether there was something. */
static tb_rc remove_file(char *path, bool *there, tb_err *err)
{
    tb_rc rc = TB_OK;
    if (unlink(path) == 0) {
        *there = true;
    } else if (errno != ENOENT) {
        rc = tb_fail_errno(err, errno, "%s", path);
    }
    tb_mem_free(path);
    return rc;
}

tb_rc tb_blob_remove_unpinned(tb_blobs *blobs, const tb_blob_ref *ref,
                              bool *removed, tb_err *err)
{
    char *path;
    *removed = false;
    if (tb_blob_is_pinned(blobs, &ref->raw)) {
        return TB_OK;
    }
    tb_rc rc = index_path(blobs, &ref->raw, &path, err);
    if (rc == TB_OK) {
        rc = remove_file(path, removed, err);
    }
    if (rc == TB_OK) {
        rc = tb_blob_stored_path(blobs, &ref->stored, &path, err);
    }
    return rc == TB_OK ? remove_file(path, removed, err) : rc;
}

tb_rc tb_blobs_remove(tb_blobs *blobs, const tb_blob_ref *ref, tb_err *err)
{
    bool removed = false;
    (void)pthread_mutex_lock(&blobs->lock);
    tb_rc rc = tb_blob_remove_unpinned(blobs, ref, &removed, err);
    (void)pthread_mutex_unlock(&blobs->lock);
    return rc;
}

/* --- unpacking --- */

static tb_rc check_stored(const uint8_t *stored, size_t len,
                          const tb_blob_ref *ref, tb_err *err)
{
    if (ref->raw_bytes > TB_BLOB_BYTES_MAX) {
        return tb_fail(err, TB_E_LIMIT, "blob: %llu raw bytes, at most %zu",
                       (unsigned long long)ref->raw_bytes, TB_BLOB_BYTES_MAX);
    }
    tb_hash found = tb_hash_of(stored, len);
    if (len != ref->stored_bytes || !tb_hash_equal(&found, &ref->stored)) {
        return tb_fail(err, TB_E_MISMATCH,
                       "blob: %zu stored bytes are not the named ones", len);
    }
    /* The frame says its size itself: a second witness before any memory. */
    if (ZSTD_getFrameContentSize(stored, len) != ref->raw_bytes ||
        ZSTD_findFrameCompressedSize(stored, len) != len) {
        return tb_fail(err, TB_E_MALFORMED,
                       "blob: is not one zstd frame of %llu bytes",
                       (unsigned long long)ref->raw_bytes);
    }
    return TB_OK;
}

tb_rc tb_blob_unpack(const uint8_t *stored, size_t len, const tb_blob_ref *ref,
                     tb_buf *out, tb_err *err)
{
    size_t before = out->len;
    tb_rc rc = check_stored(stored, len, ref, err);
    if (rc == TB_OK) {
        rc = tb_buf_reserve(out, (size_t)ref->raw_bytes, err);
    }
    if (rc != TB_OK) {
        return rc;
    }
    size_t room = (size_t)ref->raw_bytes;
    uint8_t none[1];
    uint8_t *to = room > 0 ? out->data + before : none;
    ZSTD_DCtx *context = ZSTD_createDCtx_advanced(zstd_memory);
    if (context == NULL) {
        return tb_fail(err, TB_E_NOMEM, "zstd: no memory");
    }
    size_t n = ZSTD_decompressDCtx(context, to, room, stored, len);
    (void)ZSTD_freeDCtx(context);
    if (ZSTD_isError(n) || n != room) {
        return tb_fail(err, TB_E_MALFORMED, "blob: %s",
                       ZSTD_isError(n) ? ZSTD_getErrorName(n) : "is cut");
    }
    tb_hash found = tb_hash_of(to, room);
    if (!tb_hash_equal(&found, &ref->raw)) {
        return tb_fail(err, TB_E_MISMATCH,
                       "blob: the unpacked bytes are not the named ones");
    }
    out->len = before + room;
    return TB_OK;
}
