/* A blob that becomes another one without ever being in memory: its raw bytes
 * in a file of no name, and back into the folder, both as streams. */
#define ZSTD_STATIC_LINKING_ONLY /* customMem */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zstd.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/spare.h"
#include "host/blob_priv.h"

#define PIECE_BYTES ((size_t)128 << 10)

struct tb_blob_edit {
    int fd;
};

/* Two files and what goes from one to the other. */
typedef struct stream {
    int from, to;
    uint8_t *in, *out; /* [PIECE_BYTES] */
    tb_hasher read, written;
    uint64_t n_read, n_written;
} stream;

static tb_rc stream_init(stream *s, int from, int to, tb_err *err)
{
    *s = (stream){.from = from,
                  .to = to,
                  .in = tb_mem_array(PIECE_BYTES, 1),
                  .out = tb_mem_array(PIECE_BYTES, 1)};
    tb_hasher_init(&s->read);
    tb_hasher_init(&s->written);
    return s->in != NULL && s->out != NULL
               ? TB_OK
               : tb_fail(err, TB_E_NOMEM, "a blob in pieces");
}

static void stream_release(stream *s)
{
    tb_mem_free(s->in);
    tb_mem_free(s->out);
}

/* The next piece; 0 bytes at the end. */
static tb_rc next_piece(stream *s, size_t *n, tb_err *err)
{
    ssize_t got;
    do {
        got = pread(s->from, s->in, PIECE_BYTES, (off_t)s->n_read);
    } while (got < 0 && errno == EINTR);
    if (got < 0) {
        return tb_fail_errno(err, errno, "reading a blob");
    }
    *n = (size_t)got;
    s->n_read += *n;
    tb_hasher_add(&s->read, s->in, *n);
    return TB_OK;
}

static tb_rc put_piece(stream *s, size_t n, tb_err *err)
{
    s->n_written += n;
    tb_hasher_add(&s->written, s->out, n);
    return tb_file_write_fd(s->to, s->out, n, err);
}

static const ZSTD_customMem zstd_memory = {tb_blob_take_memory,
                                           tb_blob_give_memory, NULL};

/* --- out of the folder ---------------------------------------------------- */

static tb_rc unpack(stream *s, const tb_blob_ref *ref, tb_err *err)
{
    ZSTD_DCtx *context = ZSTD_createDCtx_advanced(zstd_memory);
    size_t n = 1;
    tb_rc rc = context != NULL ? TB_OK : tb_fail(err, TB_E_NOMEM, "zstd");
    while (rc == TB_OK && n > 0 && (rc = next_piece(s, &n, err)) == TB_OK) {
        ZSTD_inBuffer in = {s->in, n, 0};
        while (rc == TB_OK && in.pos < in.size) {
            ZSTD_outBuffer out = {s->out, PIECE_BYTES, 0};
            size_t left = ZSTD_decompressStream(context, &out, &in);
            if (ZSTD_isError(left) || out.pos > ref->raw_bytes - s->n_written) {
                rc = tb_fail(err, TB_E_MALFORMED, "a blob does not unpack");
            } else {
                rc = put_piece(s, out.pos, err);
            }
        }
    }
    (void)ZSTD_freeDCtx(context);
    return rc;
}

/* Whether what was read and written is what ref says. */
static tb_rc verify(stream *s, const tb_blob_ref *ref, tb_err *err)
{
    tb_hash stored = tb_hasher_end(&s->read);
    tb_hash raw = tb_hasher_end(&s->written);
    if (!tb_hash_equal(&stored, &ref->stored) ||
        !tb_hash_equal(&raw, &ref->raw) || s->n_read != ref->stored_bytes ||
        s->n_written != ref->raw_bytes) {
        return tb_fail(err, TB_E_MISMATCH,
                       "a blob was altered: its hash is not its name");
    }
    return TB_OK;
}

/* A file of no name in the folder of blobs. */
static tb_rc open_unnamed(const tb_blobs *b, int *fd, tb_err *err)
{
    char *path = tb_file_join(b->dir, "edit.tmp-XXXXXX");
    if (path == NULL) {
        return tb_fail(err, TB_E_NOMEM, "%s", b->dir);
    }
    *fd = tb_spare_temporary(path);
    tb_rc rc = TB_OK;
    if (*fd < 0 || unlink(path) != 0) {
        rc = tb_fail_errno(err, errno, "%s", path);
    }
    tb_mem_free(path);
    return rc;
}

tb_rc tb_blob_unpack_fd(const char *stored, const tb_blob_ref *ref, int to,
                        tb_err *err)
{
    stream s = {0};
    int from = tb_spare_open(stored, O_RDONLY | O_CLOEXEC, 0);
    if (from < 0) {
        return tb_fail_errno(err, errno, "%s", stored);
    }
    tb_rc rc = stream_init(&s, from, to, err);
    if (rc == TB_OK) {
        rc = unpack(&s, ref, err);
    }
    if (rc == TB_OK) {
        rc = verify(&s, ref, err);
    }
    stream_release(&s);
    (void)close(from);
    return rc;
}

static tb_rc unpack_blob(tb_blobs *b, const tb_blob_ref *ref, int to,
                         tb_err *err)
{
    char *path = NULL;
    tb_rc rc = tb_blob_stored_path(b, &ref->stored, &path, err);
    if (rc == TB_OK) {
        rc = tb_blob_unpack_fd(path, ref, to, err);
    }
    tb_mem_free(path);
    return rc;
}

tb_rc tb_blobs_edit_new(tb_blob_edit **out, tb_blobs *blobs, tb_err *err)
{
    *out = NULL;
    tb_blob_edit *edit = tb_mem_array(1, sizeof *edit);
    if (edit == NULL) {
        return tb_fail(err, TB_E_NOMEM, "a blob");
    }
    edit->fd = -1;
    tb_rc rc = open_unnamed(blobs, &edit->fd, err);
    if (rc != TB_OK) {
        tb_blob_edit_free(&edit);
    }
    *out = edit;
    return rc;
}

tb_rc tb_blobs_edit(tb_blob_edit **out, tb_blobs *blobs, const tb_blob_ref *ref,
                    tb_err *err)
{
    tb_rc rc = tb_blobs_edit_new(out, blobs, err);
    if (rc == TB_OK) {
        rc = unpack_blob(blobs, ref, (*out)->fd, err);
    }
    if (rc != TB_OK) {
        tb_blob_edit_free(out);
    }
    return rc;
}

int tb_blob_edit_fd(const tb_blob_edit *edit)
{
    return edit->fd;
}

void tb_blob_edit_free(tb_blob_edit **edit)
{
    if (*edit != NULL) {
        if ((*edit)->fd >= 0) {
            (void)close((*edit)->fd);
        }
        tb_mem_free(*edit);
        *edit = NULL;
    }
}

/* --- into the folder ------------------------------------------------------ */

static tb_rc pack(stream *s, uint64_t bytes, int level, tb_err *err)
{
    ZSTD_CCtx *context = ZSTD_createCCtx_advanced(zstd_memory);
    size_t n = 1;
    tb_rc rc = context != NULL ? tb_blob_set_level(context, level, bytes, err)
                               : tb_fail(err, TB_E_NOMEM, "zstd");
    while (rc == TB_OK && n > 0 && (rc = next_piece(s, &n, err)) == TB_OK) {
        ZSTD_inBuffer in = {s->in, n, 0};
        ZSTD_EndDirective mode = n == 0 ? ZSTD_e_end : ZSTD_e_continue;
        size_t left = 1;
        while (rc == TB_OK && (n == 0 ? left > 0 : in.pos < in.size)) {
            ZSTD_outBuffer out = {s->out, PIECE_BYTES, 0};
            left = ZSTD_compressStream2(context, &out, &in, mode);
            rc = ZSTD_isError(left) ? tb_fail(err, TB_E_NOMEM, "zstd: %s",
                                              ZSTD_getErrorName(left))
                                    : put_piece(s, out.pos, err);
        }
    }
    (void)ZSTD_freeCCtx(context);
    return rc;
}

static tb_rc hash_raw(int fd, tb_blob_ref *ref, tb_err *err)
{
    stream s;
    size_t n = 1;
    tb_rc rc = stream_init(&s, fd, -1, err);
    while (rc == TB_OK && n > 0) {
        rc = next_piece(&s, &n, err);
    }
    ref->raw = tb_hasher_end(&s.read);
    ref->raw_bytes = s.n_read;
    stream_release(&s);
    return rc;
}

/* Packs into a file beside where it will lie: what a crash leaves there is no
 * blob. */
static tb_rc pack_file(const tb_blob_edit *edit, const char *path, int level,
                       tb_blob_ref *ref, tb_err *err)
{
    stream s = {0};
    int to =
        tb_spare_open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (to < 0) {
        return tb_fail_errno(err, errno, "%s", path);
    }
    tb_rc rc = stream_init(&s, edit->fd, to, err);
    if (rc == TB_OK) {
        rc = pack(&s, ref->raw_bytes, level, err);
    }
    if (rc == TB_OK && fsync(to) != 0) {
        rc = tb_fail_errno(err, errno, "%s", path);
    }
    ref->stored = tb_hasher_end(&s.written);
    ref->stored_bytes = s.n_written;
    stream_release(&s);
    if (close(to) != 0 && rc == TB_OK) {
        rc = tb_fail_errno(err, errno, "%s", path);
    }
    return rc;
}

/* "<stored path of the raw hash>.tmp-<process>": in a folder that gc looks
 * into. For the caller to free. */
static tb_rc packing_path(const tb_blobs *b, const tb_hash *raw, char **out,
                          tb_err *err)
{
    char *path = NULL;
    *out = NULL;
    tb_rc rc = tb_blob_stored_path(b, raw, &path, err);
    size_t room = rc == TB_OK ? strlen(path) + 32 : 0;
    if (rc == TB_OK && (*out = tb_mem_array(room, 1)) == NULL) {
        rc = tb_fail(err, TB_E_NOMEM, "%s", path);
    }
    if (rc == TB_OK) {
        (void)snprintf(*out, room, "%s.tmp-%ld", path, (long)getpid());
        rc = tb_blob_make_place(*out, err);
    }
    tb_mem_free(path);
    return rc;
}

/* Packs the raw bytes and lets the result be the blob of ref. */
static tb_rc store(tb_blobs *b, const tb_blob_edit *edit, int level,
                   tb_blob_ref *ref, tb_err *err)
{
    char *tmp = NULL;
    char *path = NULL;
    tb_rc rc = packing_path(b, &ref->raw, &tmp, err);
    if (rc == TB_OK) {
        rc = pack_file(edit, tmp, level, ref, err);
    }
    if (rc == TB_OK) {
        rc = tb_blob_stored_path(b, &ref->stored, &path, err);
    }
    if (rc == TB_OK) {
        rc = tb_blob_adopt(b, tmp, path, ref, err);
    }
    if (rc != TB_OK && tmp != NULL) {
        (void)unlink(tmp);
    }
    tb_mem_free(tmp);
    tb_mem_free(path);
    return rc;
}

tb_rc tb_blob_edit_hash(const tb_blob_edit *edit, tb_hash *out, tb_err *err)
{
    tb_blob_ref ref;
    tb_rc rc = hash_raw(edit->fd, &ref, err);
    if (rc == TB_OK) {
        *out = ref.raw;
    }
    return rc;
}

tb_rc tb_blobs_put_edit(tb_blobs *blobs, const tb_blob_edit *edit, int level,
                        tb_blob_ref *out, tb_err *err)
{
    tb_blob_ref ref = {0};
    tb_blob_ref old;
    bool found = false;
    tb_rc rc = hash_raw(edit->fd, &ref, err);
    if (rc == TB_OK) {
        rc = tb_blob_pin_old(blobs, &ref.raw, &old, &found, err);
    }
    if (rc == TB_OK && !found) {
        rc = store(blobs, edit, level, &ref, err);
    }
    if (rc == TB_OK) {
        *out = found ? old : ref;
    }
    return rc;
}
