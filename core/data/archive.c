#include "data/archive.h"

#include <stdio.h>
#include <string.h>
#include <zlib.h>

#include "base/mem.h"

#define END_BYTES     22
#define COMMENT_MAX   65535
#define CENTRAL_BYTES 46
#define LOCAL_BYTES   30
#define END_SIGN      0x06054b50U
#define CENTRAL_SIGN  0x02014b50U
#define LOCAL_SIGN    0x04034b50U
#define FLAG_SECRET   1U
#define STORED        0U
#define DEFLATED      8U
#define ZIP64_MARK    0xffffffffU

#define VERSION       20U   /* of the format: what unpacks it */
#define DAY_ONE       0x21U /* 1 January 1980: no date */

typedef struct entry {
    bool found;
    const uint8_t *at; /* packed bytes, borrowed */
    size_t packed;
    size_t unpacked;
    uint32_t crc;
    unsigned method;
} entry;

/* --- reading -------------------------------------------------------------- */

static unsigned le16(const uint8_t *at)
{
    return (unsigned)at[0] | (unsigned)at[1] << 8;
}

static tb_rc damaged(const tb_archive *a, const char *what, tb_err *err)
{
    return tb_fail(err, TB_E_MALFORMED,
                   "%s: is no whole zip archive: %s; save it again", a->name,
                   what);
}

static tb_rc find_directory(tb_archive *a, tb_err *err)
{
    if (a->len < END_BYTES) {
        return damaged(a, "it is too short", err);
    }
    size_t last = a->len - END_BYTES;
    size_t first = last > COMMENT_MAX ? last - COMMENT_MAX : 0;
    size_t at = last; /* a comment may follow, and may look like the record */
    while (tb_le32_get(a->bytes + at) != END_SIGN ||
           at + END_BYTES + le16(a->bytes + at + 20) != a->len) {
        if (at == first) {
            return damaged(a, "its end record is missing", err);
        }
        at--;
    }
    const uint8_t *end = a->bytes + at;
    a->n_members = le16(end + 10);
    a->directory = tb_le32_get(end + 16);
    a->directory_end = a->directory + tb_le32_get(end + 12);
    if (a->directory_end > at) {
        return damaged(a, "its directory lies outside", err);
    }
    if (a->n_members > TB_NPZ_MAX_MEMBERS) {
        return tb_fail(err, TB_E_LIMIT, "%s: %zu members, at most %zu", a->name,
                       a->n_members, TB_NPZ_MAX_MEMBERS);
    }
    return TB_OK;
}

/* Where the packed bytes begin: behind the local head and its names. */
static tb_rc locate(const tb_archive *a, entry *m, size_t local, tb_err *err)
{
    if (local > a->len || a->len - local < LOCAL_BYTES ||
        tb_le32_get(a->bytes + local) != LOCAL_SIGN) {
        return damaged(a, "a member's head is missing", err);
    }
    const uint8_t *head = a->bytes + local;
    size_t begin = local + LOCAL_BYTES + le16(head + 26) + le16(head + 28);
    if (begin > a->len || a->len - begin < m->packed) {
        return damaged(a, "a member is cut off", err);
    }
    m->at = a->bytes + begin;
    return TB_OK;
}

static tb_rc read_entry(const tb_archive *a, entry *m, const uint8_t *e,
                        tb_err *err)
{
    *m = (entry){.found = true,
                 .packed = tb_le32_get(e + 20),
                 .unpacked = tb_le32_get(e + 24),
                 .crc = tb_le32_get(e + 16),
                 .method = le16(e + 10)};
    if ((le16(e + 8) & FLAG_SECRET) != 0 ||
        (m->method != STORED && m->method != DEFLATED)) {
        return tb_fail(err, TB_E_UNSUPPORTED,
                       "%s: a member is encrypted or packed by method %u; "
                       "numpy.savez and savez_compressed are read",
                       a->name, m->method);
    }
    if (m->packed == ZIP64_MARK || m->unpacked == ZIP64_MARK) {
        return tb_fail(err, TB_E_LIMIT,
                       "%s: a member of 4 GB or more; save its arrays as "
                       "files of their own",
                       a->name);
    }
    return locate(a, m, tb_le32_get(e + 42), err);
}

/* Appends a member's name, printable, as far as there is room. */
static void list_name(char names[TB_ARCHIVE_NAMES_BYTES], const char *name,
                      size_t n)
{
    size_t used = strlen(names);
    if (used > 0 && used + 3 < TB_ARCHIVE_NAMES_BYTES) {
        names[used++] = ',';
        names[used++] = ' ';
    }
    for (size_t i = 0; i < n && used + 1 < TB_ARCHIVE_NAMES_BYTES; i++) {
        names[used++] = name[i] >= ' ' && name[i] <= '~' ? name[i] : '?';
    }
    names[used] = '\0';
}

tb_rc tb_archive_read(tb_archive *out, const char *name, const uint8_t *bytes,
                      size_t len, tb_err *err)
{
    *out = (tb_archive){.name = name, .bytes = bytes, .len = len};
    return find_directory(out, err);
}

/* Walks the directory; fills m, and names with what is there. */
static tb_rc find_member(const tb_archive *a, const char *wanted, entry *m,
                         char names[TB_ARCHIVE_NAMES_BYTES], tb_err *err)
{
    size_t at = a->directory;
    size_t n_wanted = strlen(wanted);
    tb_rc rc = TB_OK;
    names[0] = '\0';
    for (size_t i = 0; rc == TB_OK && i < a->n_members; i++) {
        const uint8_t *e = a->bytes + at;
        if (a->directory_end - at < CENTRAL_BYTES ||
            tb_le32_get(e) != CENTRAL_SIGN) {
            return damaged(a, "its directory is broken", err);
        }
        size_t n_name = le16(e + 28);
        size_t size = CENTRAL_BYTES + n_name + le16(e + 30) + le16(e + 32);
        if (a->directory_end - at < size) {
            return damaged(a, "its directory is cut off", err);
        }
        const char *name = (const char *)e + CENTRAL_BYTES;
        bool same = n_name == n_wanted && memcmp(name, wanted, n_name) == 0;
        if (same && m->found) {
            return damaged(a, "a member stands in it twice", err);
        }
        if (same) {
            rc = read_entry(a, m, e, err);
        }
        list_name(names, name, n_name);
        at += size;
    }
    return rc;
}

tb_rc tb_archive_open(tb_archive_member *out, const tb_archive *a,
                      const char *wanted, tb_err *err)
{
    char names[TB_ARCHIVE_NAMES_BYTES];
    char name[TB_ARCHIVE_NAMES_BYTES];
    entry m = {0};
    *out = (tb_archive_member){0};
    tb_rc rc = find_member(a, wanted, &m, names, err);
    if (rc == TB_OK && !m.found) {
        rc = tb_fail(err, TB_E_NOT_FOUND, "%s: has no %s; it holds %s", a->name,
                     wanted, names[0] != '\0' ? names : "nothing");
    }
    if (rc == TB_OK) {
        out->crc = m.crc;
        (void)snprintf(name, sizeof name, "%.200s:%.50s", a->name, wanted);
        rc = tb_source_open_bytes(
            &out->source, name, m.at, m.packed,
            m.method == STORED ? TB_PACKING_NONE : TB_PACKING_DEFLATE, err);
    }
    return rc;
}

tb_rc tb_archive_check(const tb_archive_member *member, tb_err *err)
{
    return tb_source_crc32(member->source) == member->crc
               ? TB_OK
               : tb_fail(err, TB_E_MALFORMED,
                         "%s: its checksum does not match; copy the file again",
                         tb_source_name(member->source));
}

void tb_archive_close(tb_archive_member *member)
{
    tb_source_close(&member->source);
}

/* Opens a member and reads its head; n gets the number of its values. */
static tb_rc open_array(tb_archive_member *m, const tb_archive *a,
                        const char *wanted, tb_dtype dtype, size_t *n,
                        tb_err *err)
{
    tb_array_head head;
    char text[TB_SHAPE_TEXT_BYTES];
    tb_rc rc = tb_archive_open(m, a, wanted, err);
    if (rc == TB_OK) {
        rc = tb_npy_head(&head, m->source, err);
    }
    if (rc == TB_OK) {
        rc = tb_shape_count(n, &head.shape, err);
    }
    if (rc == TB_OK && (head.type.dtype != dtype || head.type.big_endian)) {
        rc = tb_fail(err, TB_E_MISMATCH, "%s: is %s %s, %s is expected",
                     tb_source_name(m->source), tb_dtype_name(head.type.dtype),
                     tb_shape_text(&head.shape, text), tb_dtype_name(dtype));
    }
    if (rc == TB_OK && *n > tb_source_most(m->source) / tb_dtype_bytes(dtype)) {
        rc = damaged(a, "a member is shorter than it says", err);
    }
    return rc;
}

tb_rc tb_archive_count(const tb_archive *a, const char *wanted, tb_dtype dtype,
                       size_t *n, tb_err *err)
{
    tb_archive_member m = {0};
    tb_rc rc = open_array(&m, a, wanted, dtype, n, err);
    tb_archive_close(&m);
    return rc;
}

static tb_rc read_array(const tb_archive_member *m, tb_dtype dtype, size_t n,
                        void *to, tb_err *err)
{
    tb_rc rc = tb_source_read(m->source, to, n * tb_dtype_bytes(dtype), err);
    if (rc == TB_OK) {
        rc = tb_source_end(m->source, err);
    }
    return rc == TB_OK ? tb_archive_check(m, err) : rc;
}

tb_rc tb_archive_get(const tb_archive *a, const char *wanted, tb_dtype dtype,
                     size_t n, void *to, tb_err *err)
{
    tb_archive_member m = {0};
    size_t have = 0;
    tb_rc rc = open_array(&m, a, wanted, dtype, &have, err);
    if (rc == TB_OK && have != n) {
        rc = tb_fail(err, TB_E_MISMATCH, "%s: %zu values, %zu are expected",
                     tb_source_name(m.source), have, n);
    }
    if (rc == TB_OK) {
        rc = read_array(&m, dtype, n, to, err);
    }
    tb_archive_close(&m);
    return rc;
}

tb_rc tb_archive_get_bytes(const tb_archive *a, const char *wanted, tb_buf *out,
                           tb_err *err)
{
    tb_archive_member m = {0};
    size_t n = 0;
    tb_rc rc = open_array(&m, a, wanted, TB_U8, &n, err);
    if (rc == TB_OK) {
        rc = tb_buf_reserve(out, n, err);
    }
    if (rc == TB_OK) {
        rc = read_array(&m, TB_U8, n, out->data + out->len, err);
        out->len += rc == TB_OK ? n : 0;
    }
    tb_archive_close(&m);
    return rc;
}

/* --- writing -------------------------------------------------------------- */

void tb_archive_start(tb_archive_writer *w, tb_buf *out)
{
    *w = (tb_archive_writer){.out = out};
    tb_buf_init(&w->directory, (size_t)1 << 24);
}

static void le16_put(uint8_t *at, unsigned v)
{
    at[0] = (uint8_t)v;
    at[1] = (uint8_t)(v >> 8);
}

/* Sizes, checksum and name of a stored member, as both its heads have them
 * from the version needed on. */
static void describe(uint8_t *at, uint32_t crc, size_t size, size_t n_name)
{
    le16_put(at, VERSION);
    le16_put(at + 2, 0); /* flags */
    le16_put(at + 4, STORED);
    le16_put(at + 6, 0); /* time */
    le16_put(at + 8, DAY_ONE);
    tb_le32_put(at + 10, crc);
    tb_le32_put(at + 14, (uint32_t)size);
    tb_le32_put(at + 18, (uint32_t)size);
    le16_put(at + 22, (unsigned)n_name);
}

/* The local head in front of a member that lies from `begin` on, and its entry
 * in the directory. */
static tb_rc enter(tb_archive_writer *w, const char *name, size_t begin,
                   size_t body, tb_err *err)
{
    uint8_t e[CENTRAL_BYTES] = {0};
    size_t n_name = strlen(name);
    size_t size = w->out->len - body;
    uint32_t crc = (uint32_t)crc32_z(0, w->out->data + body, size);
    uint8_t *local = w->out->data + begin;
    tb_le32_put(local, LOCAL_SIGN);
    describe(local + 4, crc, size, n_name);
    le16_put(local + 28, 0);
    memcpy(local + LOCAL_BYTES, name, n_name);
    tb_le32_put(e, CENTRAL_SIGN);
    le16_put(e + 4, VERSION);
    describe(e + 6, crc, size, n_name);
    tb_le32_put(e + 42, (uint32_t)begin);
    tb_rc rc = tb_buf_put(&w->directory, e, sizeof e, err);
    return rc == TB_OK ? tb_buf_put(&w->directory, name, n_name, err) : rc;
}

tb_rc tb_archive_put(tb_archive_writer *w, const char *name,
                     const tb_tensor *array, tb_err *err)
{
    static const uint8_t zeros[LOCAL_BYTES] = {0};
    size_t begin = w->out->len;
    size_t n_name = strlen(name);
    size_t bytes = tb_tensor_bytes(array);
    if (w->n_members == TB_NPZ_MAX_MEMBERS || begin >= ZIP64_MARK ||
        bytes >= ZIP64_MARK - begin - 65536) {
        return tb_fail(err, TB_E_LIMIT,
                       "an archive of over 4 GB or %zu members",
                       TB_NPZ_MAX_MEMBERS);
    }
    tb_rc rc = tb_buf_put(w->out, zeros, sizeof zeros, err);
    if (rc == TB_OK) {
        rc = tb_buf_put(w->out, name, n_name, err);
    }
    size_t body = w->out->len;
    if (rc == TB_OK) {
        rc = tb_npy_put_head(w->out, array->dtype, &array->shape, err);
    }
    if (rc == TB_OK) {
        rc = tb_buf_put(w->out, array->data, bytes, err);
    }
    if (rc == TB_OK) {
        rc = enter(w, name, begin, body, err);
    }
    w->n_members++;
    return rc;
}

tb_rc tb_archive_finish(tb_archive_writer *w, tb_err *err)
{
    uint8_t end[END_BYTES] = {0};
    tb_le32_put(end, END_SIGN);
    le16_put(end + 8, (unsigned)w->n_members);
    le16_put(end + 10, (unsigned)w->n_members);
    tb_le32_put(end + 12, (uint32_t)w->directory.len);
    tb_le32_put(end + 16, (uint32_t)w->out->len);
    tb_rc rc =
        w->out->len < ZIP64_MARK - w->directory.len
            ? tb_buf_put(w->out, w->directory.data, w->directory.len, err)
            : tb_fail(err, TB_E_LIMIT, "an archive of over 4 GB");
    return rc == TB_OK ? tb_buf_put(w->out, end, sizeof end, err) : rc;
}

void tb_archive_release(tb_archive_writer *w)
{
    tb_buf_release(&w->directory);
}
