/* core/data/readers/npz.c - NumPy's archives: a zip of x.npy and y.npy. From
 * the end: 22 bytes "PK\5\6" name the central directory; its entries "PK\1\2"
 * name each member's sizes, CRC-32 and place; there "PK\3\4" and the bytes. */
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "base/mem.h"
#include "data/folder.h"
#include "data/formats.h"

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
#define NAME_BYTES    256
#define ZIP64_MARK    0xffffffffU

typedef struct member {
    bool found;
    const uint8_t *at; /* packed bytes, borrowed */
    size_t packed;
    size_t unpacked;
    uint32_t crc;
    unsigned method;
} member;

typedef struct archive {
    const char *name;
    const uint8_t *bytes;
    size_t len;
    size_t directory; /* where the central directory begins */
    size_t directory_end;
    size_t n_members;
} archive;

static unsigned le16(const uint8_t *at)
{
    return (unsigned)at[0] | (unsigned)at[1] << 8;
}

static tb_rc damaged(const archive *a, const char *what, tb_err *err)
{
    return tb_fail(err, TB_E_MALFORMED,
                   "%s: is no whole zip archive: %s; save it again with "
                   "numpy.savez(f, x=x, y=y)",
                   a->name, what);
}

static tb_rc find_directory(archive *a, tb_err *err)
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
static tb_rc locate(const archive *a, member *m, size_t local, tb_err *err)
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

static tb_rc read_entry(const archive *a, member *m, const uint8_t *e,
                        tb_err *err)
{
    *m = (member){.found = true,
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
                       "%s: a member of 4 GB or more; save x.npy and y.npy as "
                       "files of their own",
                       a->name);
    }
    return locate(a, m, tb_le32_get(e + 42), err);
}

/* Appends a member's name, printable, as far as there is room. */
static void list_name(char names[NAME_BYTES], const char *name, size_t n)
{
    size_t used = strlen(names);
    if (used > 0 && used + 3 < NAME_BYTES) {
        names[used++] = ',';
        names[used++] = ' ';
    }
    for (size_t i = 0; i < n && used + 1 < NAME_BYTES; i++) {
        names[used++] = name[i] >= ' ' && name[i] <= '~' ? name[i] : '?';
    }
    names[used] = '\0';
}

/* Walks the directory; fills x and y, and names with what is there. */
static tb_rc find_members(const archive *a, member *x, member *y,
                          char names[NAME_BYTES], tb_err *err)
{
    size_t at = a->directory;
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
        member *m = NULL;
        if (n_name == 5 && memcmp(name, "x.npy", 5) == 0) {
            m = x;
        } else if (n_name == 5 && memcmp(name, "y.npy", 5) == 0) {
            m = y;
        }
        if (m != NULL && m->found) {
            return damaged(a, "a member stands in it twice", err);
        }
        if (m != NULL) {
            rc = read_entry(a, m, e, err);
        }
        list_name(names, name, n_name);
        at += size;
    }
    return rc;
}

static tb_rc open_member(tb_source **out, const archive *a, const member *m,
                         const char *member_name, tb_err *err)
{
    char name[NAME_BYTES];
    (void)snprintf(name, sizeof name, "%.200s:%s", a->name, member_name);
    return tb_source_open_bytes(
        out, name, m->at, m->packed,
        m->method == STORED ? TB_PACKING_NONE : TB_PACKING_DEFLATE, err);
}

static tb_rc check_crc(const tb_source *s, const member *m, tb_err *err)
{
    return tb_source_crc32(s) == m->crc
               ? TB_OK
               : tb_fail(err, TB_E_MALFORMED,
                         "%s: its checksum does not match; copy the file again",
                         tb_source_name(s));
}

tb_rc tb_npz_decode(tb_dataset **out, const char *name, const uint8_t *bytes,
                    size_t len, const tb_read_options *options, tb_err *err)
{
    archive a = {.name = name, .bytes = bytes, .len = len};
    member mx = {0};
    member my = {0};
    char names[NAME_BYTES];
    tb_source *x = NULL;
    tb_source *y = NULL;
    tb_dataset *ds = NULL;
    *out = NULL;
    tb_rc rc = find_directory(&a, err);
    if (rc == TB_OK) {
        rc = find_members(&a, &mx, &my, names, err);
    }
    if (rc == TB_OK && (!mx.found || !my.found)) {
        rc = tb_fail(err, TB_E_NOT_FOUND,
                     "%s: holds %s; save it with numpy.savez(f, x=x, y=y)",
                     name, names[0] != '\0' ? names : "nothing");
    }
    if (rc == TB_OK) {
        rc = open_member(&x, &a, &mx, "x.npy", err);
    }
    if (rc == TB_OK) {
        rc = open_member(&y, &a, &my, "y.npy", err);
    }
    if (rc == TB_OK) {
        rc = tb_npy_decode(&ds, x, y, options, err);
    }
    if (rc == TB_OK) {
        rc = check_crc(x, &mx, err);
    }
    if (rc == TB_OK) {
        rc = check_crc(y, &my, err);
    }
    if (rc == TB_OK) {
        *out = ds;
        ds = NULL;
    }
    tb_dataset_free(&ds);
    tb_source_close(&x);
    tb_source_close(&y);
    return rc;
}

static tb_rc probe(bool *found, const char *path, tb_err *err)
{
    (void)err;
    *found = tb_text_ends(path, ".npz");
    return TB_OK;
}

static tb_rc read_file(tb_dataset **out, const char *path,
                       const tb_read_options *options, tb_err *err)
{
    tb_buf buf;
    tb_buf_init(&buf, TB_SOURCE_MAX_FILE_BYTES);
    *out = NULL;
    tb_rc rc = tb_file_read(&buf, path, err);
    if (rc == TB_OK) {
        rc = tb_npz_decode(out, path, buf.data, buf.len, options, err);
    }
    tb_buf_release(&buf);
    return rc;
}

const tb_reader tb_reader_npz = {
    .name = "npz",
    .takes = "a file NAME.npz with the arrays x and y",
    .probe = probe,
    .read = read_file,
};
