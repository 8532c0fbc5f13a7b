#include "data/source.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define ZLIB_CONST /* input bytes are not written to */
#include <zlib.h>

#include "base/mem.h"
#include "base/spare.h"

#define CHUNK_BYTES    ((size_t)1 << 16)
#define DEFLATE_MAX    1032
#define GZIP_WINDOW    (16 + MAX_WBITS)
#define GZIP_MAGIC     "\x1f\x8b"
#define SLACK_BYTES    65536             /* what inflate may hold back */
#define MOST_PER_ZCALL ((size_t)1 << 30) /* zlib counts in uInt */

struct tb_source {
    char *name;        /* owned */
    int fd;            /* -1: from memory */
    uint64_t left;     /* raw bytes not yet in at[n] */
    const uint8_t *at; /* raw bytes at hand: in chunk, or the caller's */
    size_t n;          /* how many */
    uint8_t *chunk;    /* owned [CHUNK_BYTES]; NULL when from memory */
    uint64_t given;    /* bytes read by the caller */
    uint32_t crc;      /* of those */
    bool packed;
    bool gzip;   /* members may follow each other */
    bool closed; /* the packed stream has come to its end */
    z_stream z;
};

static void *z_alloc(void *opaque, unsigned n, unsigned size)
{
    (void)opaque;
    return tb_mem_array(n, size);
}

static void z_free(void *opaque, void *p)
{
    (void)opaque;
    tb_mem_free(p);
}

/* Makes at least one raw byte be at hand, unless there are none left. */
static tb_rc refill(tb_source *s, tb_err *err)
{
    if (s->n > 0 || s->left == 0) {
        return TB_OK;
    }
    for (;;) {
        ssize_t n = read(s->fd, s->chunk, CHUNK_BYTES);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            return tb_fail_errno(err, errno, "%s", s->name);
        }
        s->at = s->chunk;
        s->n = (size_t)n;
        /* The file may have grown or shrunk since it was opened. */
        s->left = n == 0 || (uint64_t)n > s->left ? 0 : s->left - (uint64_t)n;
        return TB_OK;
    }
}

static tb_rc start_unpacking(tb_source *s, tb_packing packing, tb_err *err)
{
    s->gzip = packing == TB_PACKING_AUTO && s->n >= 2 &&
              memcmp(s->at, GZIP_MAGIC, 2) == 0;
    if (!s->gzip && packing != TB_PACKING_DEFLATE) {
        return TB_OK;
    }
    s->z.zalloc = z_alloc;
    s->z.zfree = z_free;
    if (inflateInit2(&s->z, s->gzip ? GZIP_WINDOW : -MAX_WBITS) != Z_OK) {
        return tb_fail(err, TB_E_NOMEM, "%s: unpacking", s->name);
    }
    s->packed = true;
    return TB_OK;
}

static tb_source *source_new(const char *name)
{
    tb_source *s = tb_mem_array(1, sizeof *s);
    if (s != NULL) {
        s->fd = -1;
        s->crc = (uint32_t)crc32(0, NULL, 0);
        s->name = tb_mem_text(name);
        if (s->name == NULL) {
            tb_source_close(&s);
        }
    }
    return s;
}

static tb_rc open_file(tb_source *s, tb_err *err)
{
    struct stat st;
    s->fd = tb_spare_open(s->name, O_RDONLY | O_CLOEXEC | O_NONBLOCK, 0);
    if (s->fd < 0 || fstat(s->fd, &st) != 0) {
        return tb_fail_errno(err, errno, "%s", s->name);
    }
    if (!S_ISREG(st.st_mode)) {
        return tb_fail(err, TB_E_UNSUPPORTED, "%s: is not a regular file",
                       s->name);
    }
    s->left = (uint64_t)st.st_size;
    if (s->left > TB_SOURCE_MAX_FILE_BYTES) {
        return tb_fail(err, TB_E_LIMIT, "%s: %llu bytes, at most %llu are read",
                       s->name, (unsigned long long)s->left,
                       (unsigned long long)TB_SOURCE_MAX_FILE_BYTES);
    }
    s->chunk = tb_mem_array(CHUNK_BYTES, 1);
    if (s->chunk == NULL) {
        return tb_fail(err, TB_E_NOMEM, "%s", s->name);
    }
    return refill(s, err);
}

tb_rc tb_source_open(tb_source **out, const char *path, tb_err *err)
{
    *out = NULL;
    tb_source *s = source_new(path);
    tb_rc rc =
        s == NULL ? tb_fail(err, TB_E_NOMEM, "%s", path) : open_file(s, err);
    if (rc == TB_OK) {
        rc = start_unpacking(s, TB_PACKING_AUTO, err);
    }
    if (rc == TB_OK) {
        *out = s;
        s = NULL;
    }
    tb_source_close(&s);
    return rc;
}

tb_rc tb_source_open_bytes(tb_source **out, const char *name,
                           const uint8_t *bytes, size_t len, tb_packing packing,
                           tb_err *err)
{
    *out = NULL;
    tb_source *s = source_new(name);
    if (s == NULL) {
        return tb_fail(err, TB_E_NOMEM, "%s", name);
    }
    s->at = bytes;
    s->n = len;
    tb_rc rc = start_unpacking(s, packing, err);
    if (rc == TB_OK) {
        *out = s;
        s = NULL;
    }
    tb_source_close(&s);
    return rc;
}

void tb_source_close(tb_source **s)
{
    if (*s != NULL) {
        if ((*s)->packed) {
            (void)inflateEnd(&(*s)->z);
        }
        if ((*s)->fd >= 0) {
            (void)close((*s)->fd);
        }
        tb_mem_free((*s)->chunk);
        tb_mem_free((*s)->name);
        tb_mem_free(*s);
        *s = NULL;
    }
}

const char *tb_source_name(const tb_source *s)
{
    return s->name;
}

/* One step of unpacking into to[n]; *got may be 0 before the end. */
static tb_rc unpack_step(tb_source *s, uint8_t *to, size_t n, size_t *got,
                         tb_err *err)
{
    size_t in = s->n < MOST_PER_ZCALL ? s->n : MOST_PER_ZCALL;
    size_t room = n < MOST_PER_ZCALL ? n : MOST_PER_ZCALL;
    bool dry = s->n == 0;
    s->z.next_in = s->at;
    s->z.avail_in = (uInt)in;
    s->z.next_out = to;
    s->z.avail_out = (uInt)room;
    int z = inflate(&s->z, Z_NO_FLUSH);
    s->at += in - s->z.avail_in;
    s->n -= in - s->z.avail_in;
    *got = room - s->z.avail_out;
    if (z == Z_STREAM_END) {
        s->closed = true;
        return TB_OK;
    }
    if (z == Z_MEM_ERROR) {
        return tb_fail(err, TB_E_NOMEM, "%s: unpacking", s->name);
    }
    if (z == Z_BUF_ERROR && dry) {
        return tb_fail(err, TB_E_MALFORMED,
                       "%s: the packed data is cut off after %llu bytes; copy "
                       "the file again",
                       s->name, (unsigned long long)(s->given + *got));
    }
    if (z != Z_OK && z != Z_BUF_ERROR) {
        return tb_fail(err, TB_E_MALFORMED,
                       "%s: the packed data is corrupt after %llu bytes (%s); "
                       "copy the file again",
                       s->name, (unsigned long long)(s->given + *got),
                       s->z.msg != NULL ? s->z.msg : "no reason given");
    }
    return TB_OK;
}

static tb_rc read_packed(tb_source *s, uint8_t *to, size_t n, size_t *got,
                         tb_err *err)
{
    size_t step = 0;
    for (*got = 0; *got < n; *got += step) {
        tb_rc rc = refill(s, err);
        if (rc != TB_OK) {
            return rc;
        }
        if (s->closed && (!s->gzip || s->n == 0)) {
            return TB_OK;
        }
        if (s->closed) { /* gzip files may be several members in a row */
            (void)inflateReset(&s->z);
            s->closed = false;
        }
        rc = unpack_step(s, to + *got, n - *got, &step, err);
        if (rc != TB_OK) {
            return rc;
        }
    }
    return TB_OK;
}

static tb_rc read_plain(tb_source *s, uint8_t *to, size_t n, size_t *got,
                        tb_err *err)
{
    for (*got = 0; *got < n;) {
        tb_rc rc = refill(s, err);
        if (rc != TB_OK) {
            return rc;
        }
        if (s->n == 0) {
            return TB_OK;
        }
        size_t step = s->n < n - *got ? s->n : n - *got;
        memcpy(to + *got, s->at, step);
        s->at += step;
        s->n -= step;
        *got += step;
    }
    return TB_OK;
}

tb_rc tb_source_read_some(tb_source *s, void *to, size_t n, size_t *got,
                          tb_err *err)
{
    *got = 0;
    tb_rc rc = s->packed ? read_packed(s, to, n, got, err)
                         : read_plain(s, to, n, got, err);
    if (rc == TB_OK && *got > 0) {
        s->given += *got;
        s->crc = (uint32_t)crc32_z(s->crc, to, *got);
    }
    return rc;
}

tb_rc tb_source_read(tb_source *s, void *to, size_t n, tb_err *err)
{
    size_t got = 0;
    tb_rc rc = tb_source_read_some(s, to, n, &got, err);
    if (rc == TB_OK && got < n) {
        rc = tb_fail(err, TB_E_MALFORMED,
                     "%s: ends after %llu bytes, %zu more should follow; copy "
                     "the file again",
                     s->name, (unsigned long long)s->given, n - got);
    }
    return rc;
}

tb_rc tb_source_end(tb_source *s, tb_err *err)
{
    uint8_t extra = 0;
    size_t got = 0;
    uint64_t given = s->given;
    tb_rc rc = tb_source_read_some(s, &extra, 1, &got, err);
    if (rc == TB_OK && (got > 0 || s->n > 0)) {
        rc = tb_fail(err, TB_E_MALFORMED,
                     "%s: more bytes follow where it should end, at %llu",
                     s->name, (unsigned long long)given);
    }
    return rc;
}

uint64_t tb_source_most(const tb_source *s)
{
    uint64_t raw = s->left + s->n; /* both under 2^35, or a caller's buffer */
    if (!s->packed) {
        return raw;
    }
    uint64_t most = 0;
    if (__builtin_mul_overflow(raw, DEFLATE_MAX, &most) ||
        __builtin_add_overflow(most, SLACK_BYTES, &most)) {
        return UINT64_MAX;
    }
    return most;
}

uint32_t tb_source_crc32(const tb_source *s)
{
    return s->crc;
}
