/* Blobs of any size, piece by piece: from a file into the folder, and back into
 * a file. Memory does not follow their size. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <zstd.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/spare.h"
#include "host/blob_priv.h"

#define PIECE_BYTES   ((size_t)1 << 18)
#define PIECES_A_SYNC 256 /* so that no single sync takes long */

/* --- a file that is written piece by piece -------------------------------- */

typedef struct sink {
    char *path; /* where it shall be; borrowed */
    char *temporary;
    int fd;
    size_t n_pieces;
    tb_hasher hasher;
    uint64_t bytes;
} sink;

static tb_rc open_sink(sink *s, char *path, mode_t mode, tb_err *err)
{
    size_t n = strlen(path) + sizeof ".part";
    *s = (sink){.path = path, .fd = -1};
    s->temporary = tb_mem_array(n, 1);
    if (s->temporary == NULL) {
        return tb_fail(err, TB_E_NOMEM, "%s", path);
    }
    (void)snprintf(s->temporary, n, "%s.part", path);
    tb_hasher_init(&s->hasher);
    s->fd = tb_spare_open(s->temporary,
                          O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW,
                          mode);
    return s->fd >= 0 ? TB_OK : tb_fail_errno(err, errno, "%s", s->temporary);
}

static tb_rc put_piece(sink *s, const void *bytes, size_t n, tb_err *err)
{
    tb_hasher_add(&s->hasher, bytes, n);
    s->bytes += n;
    if (s->fd < 0) { /* only looks */
        return TB_OK;
    }
    tb_rc rc = tb_file_write_fd(s->fd, bytes, n, err);
    if (rc == TB_OK && ++s->n_pieces % PIECES_A_SYNC == 0 &&
        fdatasync(s->fd) != 0) {
        rc = tb_fail_errno(err, errno, "%s", s->temporary);
    }
    return rc == TB_OK ? rc : tb_err_prefix(err, rc, "%s", s->temporary);
}

/* Makes what was written last, under another name when path has changed. */
static tb_rc keep_sink(sink *s, const char *path, tb_err *err)
{
    if (fsync(s->fd) != 0) {
        return tb_fail_errno(err, errno, "%s", s->temporary);
    }
    if (rename(s->temporary, path) != 0) {
        return tb_fail_errno(err, errno, "%s", path);
    }
    char *dir = tb_mem_text(path);
    if (dir == NULL) {
        return tb_fail(err, TB_E_NOMEM, "%s", path);
    }
    char *slash = strrchr(dir, '/');
    if (slash != NULL) {
        slash[slash == dir] = '\0';
    }
    tb_rc rc = tb_file_sync_dir(slash != NULL ? dir : ".", err);
    tb_mem_free(dir);
    return rc;
}

/* Closes it; what was not kept is gone. */
static void close_sink(sink *s, bool kept)
{
    if (s->fd >= 0) {
        (void)close(s->fd);
        if (!kept) {
            (void)unlink(s->temporary);
        }
    }
    tb_mem_free(s->temporary);
}

/* --- reading -------------------------------------------------------------- */

static tb_rc read_piece(int fd, const char *path, uint8_t *out, size_t *n,
                        tb_err *err)
{
    ssize_t got = 0;
    do {
        got = read(fd, out, PIECE_BYTES);
    } while (got < 0 && errno == EINTR);
    *n = got > 0 ? (size_t)got : 0;
    return got >= 0 ? TB_OK : tb_fail_errno(err, errno, "%s", path);
}

static tb_rc open_file(int *fd, uint64_t *bytes, const char *path, tb_err *err)
{
    struct stat st;
    *fd = tb_spare_open(path, O_RDONLY | O_CLOEXEC, 0);
    if (*fd < 0 || fstat(*fd, &st) != 0) {
        return tb_fail_errno(err, errno, "%s", path);
    }
    if (!S_ISREG(st.st_mode)) {
        return tb_fail(err, TB_E_USAGE, "%s is no file", path);
    }
    *bytes = (uint64_t)st.st_size;
    return TB_OK;
}

/* --- packing -------------------------------------------------------------- */

/* What a stream works with. */
typedef struct stream {
    ZSTD_CCtx *pack;
    ZSTD_DCtx *unpack;
    uint8_t *in, *out; /* [PIECE_BYTES] each */
} stream;

static tb_rc open_stream(stream *s, bool packs, tb_err *err)
{
    *s = (stream){.pack = packs ? ZSTD_createCCtx() : NULL,
                  .unpack = packs ? NULL : ZSTD_createDCtx(),
                  .in = tb_mem_array(PIECE_BYTES, 1),
                  .out = tb_mem_array(PIECE_BYTES, 1)};
    bool whole = (s->pack != NULL || s->unpack != NULL) && s->in != NULL &&
                 s->out != NULL;
    return whole ? TB_OK : tb_fail(err, TB_E_NOMEM, "zstd");
}

static void close_stream(stream *s)
{
    (void)ZSTD_freeCCtx(s->pack);
    (void)ZSTD_freeDCtx(s->unpack);
    tb_mem_free(s->in);
    tb_mem_free(s->out);
}

/* One piece through the compressor; the last one ends the frame. */
static tb_rc pack_piece(stream *s, sink *to, size_t n, bool last, tb_err *err)
{
    ZSTD_inBuffer in = {s->in, n, 0};
    size_t left = 1;
    while (left > 0 || in.pos < in.size) {
        ZSTD_outBuffer out = {s->out, PIECE_BYTES, 0};
        left = ZSTD_compressStream2(s->pack, &out, &in,
                                    last ? ZSTD_e_end : ZSTD_e_continue);
        if (ZSTD_isError(left)) {
            return tb_fail(err, TB_E_MALFORMED, "zstd: %s",
                           ZSTD_getErrorName(left));
        }
        tb_rc rc = put_piece(to, s->out, out.pos, err);
        if (rc != TB_OK) {
            return rc;
        }
        if (!last && in.pos == in.size) {
            break;
        }
    }
    return TB_OK;
}

/* The whole file through the compressor; fills ref. */
static tb_rc pack_file(sink *to, int fd, const char *path, int level,
                       tb_blob_ref *ref, tb_err *err)
{
    stream s;
    tb_hasher raw;
    uint64_t done = 0;
    tb_hasher_init(&raw);
    tb_rc rc = open_stream(&s, true, err);
    if (rc == TB_OK) {
        rc = tb_blob_set_level(s.pack, level, ref->raw_bytes, err);
    }
    for (size_t n = 1; rc == TB_OK && n > 0; done += n) {
        rc = read_piece(fd, path, s.in, &n, err);
        if (rc == TB_OK) {
            tb_hasher_add(&raw, s.in, n);
            rc = pack_piece(&s, to, n, n == 0, err);
        }
    }
    if (rc == TB_OK && done != ref->raw_bytes) {
        rc = tb_fail(err, TB_E_MISMATCH, "%s: changed while it was read", path);
    }
    close_stream(&s);
    ref->raw = tb_hasher_end(&raw);
    ref->stored = tb_hasher_end(&to->hasher);
    ref->stored_bytes = to->bytes;
    return rc;
}

/* Makes the temporary file the blob of ref, unless that is there. */
static tb_rc adopt(tb_blobs *b, sink *s, const tb_blob_ref *ref, bool *kept,
                   tb_err *err)
{
    char *path = NULL;
    tb_rc rc = tb_blob_stored_path(b, &ref->stored, &path, err);
    (void)pthread_mutex_lock(&b->lock);
    if (rc == TB_OK) {
        rc = tb_blob_pin(b, &ref->raw, err);
    }
    if (rc == TB_OK) {
        rc = tb_blob_make_place(path, err);
        if (rc == TB_OK) {
            rc = keep_sink(s, path, err);
            *kept = rc == TB_OK;
        }
        if (rc == TB_OK) {
            rc = tb_blob_index_write(b, ref, err);
        }
        b->n_pins -= rc != TB_OK;
    }
    (void)pthread_mutex_unlock(&b->lock);
    tb_mem_free(path);
    return rc;
}

tb_rc tb_blobs_put_file(tb_blobs *blobs, const char *path, int level,
                        tb_blob_ref *out, tb_err *err)
{
    int fd = -1;
    bool kept = false;
    sink s = {.fd = -1};
    tb_blob_ref ref = {0};
    tb_blob_ref old;
    char name[64];
    (void)snprintf(name, sizeof name, "incoming-%ld", (long)getpid());
    char *to = tb_file_join(blobs->dir, name);
    tb_rc rc = to != NULL ? open_file(&fd, &ref.raw_bytes, path, err)
                          : tb_fail(err, TB_E_NOMEM, "%s", path);
    if (rc == TB_OK) {
        rc = open_sink(&s, to, 0600, err);
    }
    if (rc == TB_OK) {
        rc = pack_file(&s, fd, path, level, &ref, err);
    }
    if (rc == TB_OK && tb_blobs_find(blobs, &ref.raw, &old, NULL) == TB_OK &&
        tb_blob_is_there(blobs, &old)) {
        *out = old; /* the same bytes, packed before */
    } else if (rc == TB_OK) {
        rc = adopt(blobs, &s, &ref, &kept, err);
        *out = ref;
    }
    close_sink(&s, kept);
    if (fd >= 0) {
        (void)close(fd);
    }
    tb_mem_free(to);
    return rc;
}

/* --- unpacking ------------------------------------------------------------ */

/* One piece of stored bytes through the decompressor; never more comes out
 * than was named. *end: the frame is over. */
static tb_rc unpack_piece(stream *s, sink *to, size_t n, uint64_t max,
                          bool *end, tb_err *err)
{
    ZSTD_inBuffer in = {s->in, n, 0};
    while (in.pos < in.size) {
        if (*end) {
            return tb_fail(err, TB_E_MALFORMED, "blob: more than one frame");
        }
        ZSTD_outBuffer out = {s->out, PIECE_BYTES, 0};
        size_t left = ZSTD_decompressStream(s->unpack, &out, &in);
        if (ZSTD_isError(left)) {
            return tb_fail(err, TB_E_MALFORMED, "blob: %s",
                           ZSTD_getErrorName(left));
        }
        if (out.pos > max - to->bytes) {
            return tb_fail(err, TB_E_MALFORMED,
                           "blob: unpacks to more than %llu bytes",
                           (unsigned long long)max);
        }
        *end = left == 0;
        tb_rc rc = put_piece(to, s->out, out.pos, err);
        if (rc != TB_OK) {
            return rc;
        }
    }
    return TB_OK;
}

/* What a full output buffer left inside. */
static tb_rc unpack_rest(stream *s, sink *to, uint64_t max, bool *end,
                         tb_err *err)
{
    size_t before = SIZE_MAX;
    tb_rc rc = TB_OK;
    while (rc == TB_OK && !*end && before > 0) {
        ZSTD_inBuffer none = {s->in, 0, 0};
        ZSTD_outBuffer out = {s->out, PIECE_BYTES, 0};
        size_t left = ZSTD_decompressStream(s->unpack, &out, &none);
        if (ZSTD_isError(left) || out.pos > max - to->bytes) {
            return tb_fail(err, TB_E_MALFORMED, "blob: is damaged");
        }
        *end = left == 0;
        before = out.pos;
        rc = put_piece(to, s->out, out.pos, err);
    }
    return rc;
}

static tb_rc unpack(sink *to, int fd, const char *path, const tb_blob_ref *ref,
                    tb_err *err)
{
    stream s;
    tb_hasher stored;
    bool end = false;
    tb_hasher_init(&stored);
    tb_rc rc = open_stream(&s, false, err);
    for (size_t n = 1; rc == TB_OK && n > 0;) {
        rc = read_piece(fd, path, s.in, &n, err);
        if (rc == TB_OK) {
            tb_hasher_add(&stored, s.in, n);
            rc = unpack_piece(&s, to, n, ref->raw_bytes, &end, err);
        }
    }
    if (rc == TB_OK) {
        rc = unpack_rest(&s, to, ref->raw_bytes, &end, err);
    }
    close_stream(&s);
    tb_hash hash = tb_hasher_end(&stored);
    if (rc == TB_OK && !tb_hash_equal(&hash, &ref->stored)) {
        rc = tb_fail(err, TB_E_MISMATCH,
                     "%s: the stored bytes are not the named ones", path);
    }
    hash = tb_hasher_end(&to->hasher);
    if (rc == TB_OK && (!end || to->bytes != ref->raw_bytes ||
                        !tb_hash_equal(&hash, &ref->raw))) {
        rc = tb_fail(err, TB_E_MISMATCH,
                     "%s: the unpacked bytes are not the named ones", path);
    }
    return rc;
}

tb_rc tb_blob_unpack_file(const char *stored, const tb_blob_ref *ref,
                          const char *to, unsigned mode, tb_err *err)
{
    int fd = -1;
    bool kept = false;
    uint64_t bytes = 0;
    sink s = {.fd = -1};
    char *path = tb_mem_text(to);
    tb_rc rc = path != NULL ? open_file(&fd, &bytes, stored, err)
                            : tb_fail(err, TB_E_NOMEM, "%s", to);
    if (rc == TB_OK && bytes != ref->stored_bytes) {
        rc = tb_fail(err, TB_E_MISMATCH,
                     "%s: %llu stored bytes are not the named ones", stored,
                     (unsigned long long)bytes);
    }
    if (rc == TB_OK) {
        rc = open_sink(&s, path, (mode_t)mode, err);
    }
    if (rc == TB_OK) {
        rc = unpack(&s, fd, stored, ref, err);
    }
    if (rc == TB_OK) {
        rc = keep_sink(&s, path, err);
        kept = rc == TB_OK;
    }
    close_sink(&s, kept);
    if (fd >= 0) {
        (void)close(fd);
    }
    tb_mem_free(path);
    return rc;
}

tb_rc tb_blobs_check(tb_blobs *blobs, const tb_blob_ref *ref, tb_err *err)
{
    int fd = -1;
    uint64_t bytes = 0;
    char *path = NULL;
    sink s = {.fd = -1};
    tb_hasher_init(&s.hasher);
    /* First its name: bytes that were altered need not unpack. */
    tb_rc rc = tb_blobs_verify(blobs, &ref->stored, err);
    if (rc == TB_OK) {
        rc = tb_blob_stored_path(blobs, &ref->stored, &path, err);
    }
    if (rc == TB_OK) {
        rc = open_file(&fd, &bytes, path, err);
    }
    if (rc == TB_OK) {
        rc = unpack(&s, fd, path, ref, err);
    }
    if (fd >= 0) {
        (void)close(fd);
    }
    tb_mem_free(path);
    return rc;
}

/* The stored bytes as they are; they must have their name. */
static tb_rc copy_stored(sink *to, int fd, const char *path,
                         const tb_blob_ref *ref, tb_err *err)
{
    uint8_t *piece = tb_mem_array(PIECE_BYTES, 1);
    tb_rc rc = piece != NULL ? TB_OK : tb_fail(err, TB_E_NOMEM, "%s", path);
    for (size_t n = 1; rc == TB_OK && n > 0;) {
        rc = read_piece(fd, path, piece, &n, err);
        if (rc == TB_OK) {
            rc = put_piece(to, piece, n, err);
        }
    }
    tb_mem_free(piece);
    tb_hash found = tb_hasher_end(&to->hasher);
    if (rc == TB_OK && (to->bytes != ref->stored_bytes ||
                        !tb_hash_equal(&found, &ref->stored))) {
        rc = tb_fail(err, TB_E_MISMATCH,
                     "%s: was altered: its hash is not its name", path);
    }
    return rc;
}

tb_rc tb_blobs_copy(tb_blobs *to, tb_blobs *from, const tb_blob_ref *ref,
                    tb_err *err)
{
    int fd = -1;
    bool kept = false;
    uint64_t bytes = 0;
    char *path = NULL;
    char *place = tb_file_join(to->dir, "incoming-copy");
    sink s = {.fd = -1};
    tb_rc rc = place != NULL ? tb_blobs_check(from, ref, err)
                             : tb_fail(err, TB_E_NOMEM, "%s", to->dir);
    if (rc == TB_OK) {
        rc = tb_blob_stored_path(from, &ref->stored, &path, err);
    }
    if (rc == TB_OK) {
        rc = open_file(&fd, &bytes, path, err);
    }
    if (rc == TB_OK) {
        rc = open_sink(&s, place, 0600, err);
    }
    if (rc == TB_OK) {
        rc = copy_stored(&s, fd, path, ref, err);
    }
    if (rc == TB_OK) {
        rc = adopt(to, &s, ref, &kept, err);
    }
    close_sink(&s, kept);
    if (fd >= 0) {
        (void)close(fd);
    }
    tb_mem_free(path);
    tb_mem_free(place);
    return rc;
}

tb_rc tb_blobs_extract(tb_blobs *blobs, const tb_hash *raw, const char *to,
                       unsigned mode, tb_err *err)
{
    tb_blob_ref ref;
    char *path = NULL;
    tb_rc rc = tb_blobs_find(blobs, raw, &ref, err);
    if (rc == TB_OK) {
        rc = tb_blob_stored_path(blobs, &ref.stored, &path, err);
    }
    if (rc == TB_OK) {
        rc = tb_blob_unpack_file(path, &ref, to, mode, err);
    }
    tb_mem_free(path);
    return rc;
}

/* --- hashes of files ------------------------------------------------------ */

tb_rc tb_blob_file_hash(const char *path, tb_hash *out, uint64_t *bytes,
                        tb_err *err)
{
    int fd = -1;
    uint64_t size = 0;
    tb_hasher hasher;
    uint8_t *piece = tb_mem_array(PIECE_BYTES, 1);
    tb_rc rc = piece != NULL ? open_file(&fd, &size, path, err)
                             : tb_fail(err, TB_E_NOMEM, "%s", path);
    tb_hasher_init(&hasher);
    *bytes = 0;
    for (size_t n = 1; rc == TB_OK && n > 0; *bytes += n) {
        rc = read_piece(fd, path, piece, &n, err);
        if (rc == TB_OK) {
            tb_hasher_add(&hasher, piece, n);
        }
    }
    *out = tb_hasher_end(&hasher);
    if (fd >= 0) {
        (void)close(fd);
    }
    tb_mem_free(piece);
    return rc;
}

tb_rc tb_blobs_verify(tb_blobs *blobs, const tb_hash *stored, tb_err *err)
{
    char *path = NULL;
    tb_hash found;
    uint64_t bytes = 0;
    tb_rc rc = tb_blob_stored_path(blobs, stored, &path, err);
    if (rc == TB_OK) {
        rc = tb_blob_file_hash(path, &found, &bytes, err);
    }
    if (rc == TB_OK && !tb_hash_equal(&found, stored)) {
        rc = tb_fail(err, TB_E_MISMATCH,
                     "%s: was altered: its hash is not its name", path);
    }
    tb_mem_free(path);
    return rc;
}
