/* Pieces of stored blobs, for many who fetch the same one at about the same
 * time. A blob is verified as a whole when it is first asked for, unless it is
 * very large; after that
 * its pieces are read from the open file, and the newest are kept. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/spare.h"
#include "host/blob_priv.h"

#define VERIFY_BYTES 65536
/* A larger blob is not read as a whole before the first piece goes out: who
 * fetches it verifies it anyway. */
#define VERIFY_MAX ((uint64_t)1 << 30)

static void forget(tb_blob_open *open)
{
    if (open->used != 0) {
        (void)close(open->fd);
    }
    *open = (tb_blob_open){0};
}

void tb_blob_parts_release(tb_blobs *b)
{
    for (size_t i = 0; i < TB_BLOB_OPEN; i++) {
        forget(&b->open[i]);
    }
    for (size_t i = 0; i < TB_BLOB_PIECES; i++) {
        tb_shared_free(&b->pieces[i].bytes);
    }
}

static tb_rc read_at(int fd, const char *path, uint64_t offset, uint8_t *out,
                     size_t len, tb_err *err)
{
    while (len > 0) {
        ssize_t n = pread(fd, out, len, (off_t)offset);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            return n < 0 ? tb_fail_errno(err, errno, "%s", path)
                         : tb_fail(err, TB_E_MISMATCH, "%s: was cut", path);
        }
        out += n;
        offset += (size_t)n;
        len -= (size_t)n;
    }
    return TB_OK;
}

/* Whether the file's bytes have the hash that is its name. */
static tb_rc verify(const tb_blob_open *open, const char *path, tb_err *err)
{
    tb_hasher hasher;
    tb_rc rc = TB_OK;
    uint8_t *bytes = tb_mem_array(VERIFY_BYTES, 1);
    if (bytes == NULL) {
        return tb_fail(err, TB_E_NOMEM, "%s", path);
    }
    tb_hasher_init(&hasher);
    for (uint64_t at = 0; at < open->bytes && rc == TB_OK;) {
        uint64_t left = open->bytes - at;
        size_t n = left < VERIFY_BYTES ? (size_t)left : VERIFY_BYTES;
        rc = read_at(open->fd, path, at, bytes, n, err);
        if (rc == TB_OK) {
            tb_hasher_add(&hasher, bytes, n);
        }
        at += n;
    }
    tb_mem_free(bytes);
    tb_hash found = tb_hasher_end(&hasher);
    if (rc == TB_OK && !tb_hash_equal(&found, &open->hash)) {
        rc = tb_fail(err, TB_E_MISMATCH,
                     "%s: was altered: its hash is not its name", path);
    }
    return rc;
}

static tb_rc open_blob(tb_blobs *b, const tb_hash *stored, tb_blob_open *out,
                       tb_err *err)
{
    char *path;
    struct stat st;
    tb_rc rc = tb_blob_stored_path(b, stored, &path, err);
    if (rc != TB_OK) {
        return rc;
    }
    *out = (tb_blob_open){.hash = *stored,
                          .fd = tb_spare_open(path, O_RDONLY | O_CLOEXEC, 0)};
    if (out->fd < 0 || fstat(out->fd, &st) != 0) {
        rc = tb_fail_errno(err, errno, "%s", path);
    } else {
        out->bytes = (uint64_t)st.st_size;
        rc = out->bytes <= VERIFY_MAX ? verify(out, path, err) : TB_OK;
    }
    if (rc != TB_OK && out->fd >= 0) {
        (void)close(out->fd);
    }
    tb_mem_free(path);
    return rc;
}

/* The open blob of this name, in place of that unused for longest. */
static tb_rc find_open(tb_blobs *b, const tb_hash *stored, tb_blob_open **out,
                       tb_err *err)
{
    tb_blob_open *oldest = &b->open[0];
    for (size_t i = 0; i < TB_BLOB_OPEN; i++) {
        tb_blob_open *o = &b->open[i];
        if (o->used != 0 && tb_hash_equal(&o->hash, stored)) {
            o->used = ++b->n_uses;
            *out = o;
            return TB_OK;
        }
        oldest = o->used < oldest->used ? o : oldest;
    }
    tb_blob_open fresh;
    tb_rc rc = open_blob(b, stored, &fresh, err);
    if (rc == TB_OK) {
        forget(oldest);
        *oldest = fresh;
        oldest->used = ++b->n_uses;
        *out = oldest;
    }
    return rc;
}

static tb_rc read_piece(const tb_blob_open *open, uint64_t offset, size_t len,
                        tb_shared **out, tb_err *err)
{
    tb_buf buf;
    tb_buf_init(&buf, len);
    tb_rc rc = tb_buf_reserve(&buf, len, err);
    if (rc == TB_OK) {
        rc = read_at(open->fd, "a blob", offset, buf.data, len, err);
    }
    if (rc == TB_OK) {
        buf.len = len;
        rc = tb_shared_new(out, &buf, err);
    }
    tb_buf_release(&buf);
    return rc;
}

/* The lock is held. */
static tb_rc find_piece(tb_blobs *b, const tb_blob_open *open, uint64_t offset,
                        size_t len, tb_shared **out, tb_err *err)
{
    tb_blob_piece *p = &b->pieces[(offset / len) % TB_BLOB_PIECES];
    if (p->bytes == NULL || !tb_hash_equal(&p->hash, &open->hash) ||
        p->offset != offset || tb_shared_bytes(p->bytes) != len) {
        tb_shared *fresh = NULL;
        tb_rc rc = read_piece(open, offset, len, &fresh, err);
        if (rc != TB_OK) {
            return rc;
        }
        tb_shared_free(&p->bytes);
        *p = (tb_blob_piece){
            .hash = open->hash, .offset = offset, .bytes = fresh};
    }
    *out = tb_shared_ref(p->bytes);
    return TB_OK;
}

tb_rc tb_blobs_part(tb_blobs *blobs, const tb_hash *stored, tb_blob_range *want,
                    tb_shared **out, tb_err *err)
{
    tb_blob_open *open = NULL;
    *out = NULL;
    (void)pthread_mutex_lock(&blobs->lock);
    tb_rc rc = find_open(blobs, stored, &open, err);
    if (rc == TB_OK && want->offset >= open->bytes) {
        rc = tb_fail(err, TB_E_NOT_FOUND, "a blob has no byte there");
    }
    if (rc == TB_OK) {
        uint64_t left = open->bytes - want->offset;
        want->total = open->bytes;
        want->len = want->len < left ? want->len : (size_t)left;
        rc = find_piece(blobs, open, want->offset, want->len, out, err);
    }
    (void)pthread_mutex_unlock(&blobs->lock);
    return rc;
}
