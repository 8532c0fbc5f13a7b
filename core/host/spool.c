/* A segment: "TBSP" | version u32le = 1 | run id 16 | hash of the
 * round configuration 32; then records (spool_record.h) one after the other. */
#include "host/spool.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/spare.h"

#define SEGMENT_VERSION 1u
#define SEGMENT_BYTES   56
#define RUN_HEX_BYTES   (2 * TB_RUN_ID_BYTES + 1)

typedef struct entry {
    tb_spool_upload info;
    uint32_t next; /* first block that is not here */
    uint64_t *at;  /* [n_blocks] offset of each block's record; 0: none */
} entry;

struct tb_spool {
    char *path;
    int fd; /* its position is always end */
    uint64_t end;
    entry *uploads;
    size_t n, cap;
    uint64_t durable; /* bytes that were synced */
    uint32_t *slots;  /* [n_slots] by id, open addressing: index + 1; 0: free */
    size_t n_slots;   /* a power of two, at least twice n */
    bool broken;      /* a sync failed: what the disk holds is not known */
    bool heads_only;  /* the scan looks at the length of a block only */
    uint8_t *body;    /* [TB_PAYLOAD_BYTES_MAX] scratch of the scan */
};

/* --- paths --- */

/* Where a segment lies. */
typedef struct place {
    const char *dir;
    const tb_run_id *run;
    const tb_hash *config;
} place;

static void run_hex(const tb_run_id *run, char out[static RUN_HEX_BYTES])
{
    for (size_t i = 0; i < TB_RUN_ID_BYTES; i++) {
        (void)snprintf(out + 2 * i, 3, "%02x", run->bytes[i]);
    }
}

static char *run_path(const char *dir, const tb_run_id *run)
{
    char hex[RUN_HEX_BYTES];
    run_hex(run, hex);
    return tb_file_join(dir, hex);
}

static char *segment_path(const place *at)
{
    char name[RUN_HEX_BYTES + TB_HASH_HEX_BYTES];
    run_hex(at->run, name);
    name[RUN_HEX_BYTES - 1] = '/';
    tb_hash_hex(at->config, name + RUN_HEX_BYTES);
    return tb_file_join(at->dir, name);
}

/* --- the index --- */

/* Ids are random: any eight bytes of one tell where to look. */
static size_t slot_of(const tb_spool *s, const tb_upload_id *id)
{
    uint64_t low;
    memcpy(&low, id->bytes, sizeof low);
    return (size_t)low & (s->n_slots - 1);
}

static entry *find(const tb_spool *s, const tb_upload_id *id)
{
    if (s->n_slots == 0) {
        return NULL;
    }
    size_t at = slot_of(s, id);
    for (; s->slots[at] != 0; at = (at + 1) & (s->n_slots - 1)) {
        entry *u = &s->uploads[s->slots[at] - 1];
        if (memcmp(u->info.id.bytes, id->bytes, TB_UPLOAD_ID_BYTES) == 0) {
            return u;
        }
    }
    return NULL;
}

static void insert(tb_spool *s, size_t index)
{
    size_t at = slot_of(s, &s->uploads[index].info.id);
    while (s->slots[at] != 0) {
        at = (at + 1) & (s->n_slots - 1);
    }
    s->slots[at] = (uint32_t)index + 1;
}

/* A larger table of slots, filled anew. */
static tb_rc spread(tb_spool *s, size_t n_slots, tb_err *err)
{
    uint32_t *slots = tb_mem_array(n_slots, sizeof *slots);
    if (slots == NULL) {
        return tb_fail(err, TB_E_NOMEM, "spool: %zu uploads", s->n);
    }
    tb_mem_free(s->slots);
    s->slots = slots;
    s->n_slots = n_slots;
    for (size_t i = 0; i < s->n; i++) {
        insert(s, i);
    }
    return TB_OK;
}

/* Makes room for one more upload of n_blocks; on TB_OK *at is its table, which
 * the caller gives to index_upload or frees. */
static tb_rc index_reserve(tb_spool *s, uint32_t n_blocks, uint64_t **at,
                           tb_err *err)
{
    if (s->n == s->cap) {
        size_t cap = s->cap > 0 ? s->cap * 2 : 16;
        entry *more = tb_mem_resize(s->uploads, cap, sizeof *more);
        if (more == NULL) {
            return tb_fail(err, TB_E_NOMEM, "spool: %zu uploads", cap);
        }
        s->uploads = more;
        s->cap = cap;
    }
    tb_rc rc = 2 * (s->n + 1) > s->n_slots ? spread(s, 4 * s->cap, err) : TB_OK;
    if (rc != TB_OK) {
        return rc;
    }
    *at = tb_mem_array(n_blocks, sizeof **at);
    return *at != NULL ? TB_OK
                       : tb_fail(err, TB_E_NOMEM, "spool: %u blocks", n_blocks);
}

static void index_upload(tb_spool *s, const tb_spool_upload *info, uint64_t *at)
{
    s->uploads[s->n] = (entry){.info = *info, .at = at};
    insert(s, s->n++);
}

static void index_block(entry *u, uint32_t index, uint64_t offset)
{
    u->at[index] = offset;
    while (u->next < u->info.n_blocks && u->at[u->next] != 0) {
        u->next++;
    }
}

/* --- opening --- */

static tb_rc pread_all(const tb_spool *s, uint8_t *out, size_t len,
                       uint64_t offset, tb_err *err)
{
    while (len > 0) {
        ssize_t n = pread(s->fd, out, len, (off_t)offset);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            return tb_fail_errno(err, errno, "%s", s->path);
        }
        if (n == 0) {
            return tb_fail(err, TB_E_MALFORMED, "%s: ends at byte %" PRIu64,
                           s->path, offset);
        }
        out += n;
        offset += (size_t)n;
        len -= (size_t)n;
    }
    return TB_OK;
}

/* Whether the record at s->end, which begins with this head, is whole. */
static tb_rc scan_body(tb_spool *s, const tb_spool_record *r,
                       const uint8_t *head, uint64_t size, tb_err *err)
{
    uint64_t at = s->end + TB_SPOOL_RECORD_BYTES;
    if (s->heads_only && r->kind == TB_SPOOL_BLOCK) {
        return r->body_bytes <= size - at
                   ? TB_OK
                   : tb_fail(err, TB_E_MALFORMED, "%s: ends in a record",
                             s->path);
    }
    tb_rc rc = pread_all(s, s->body, r->body_bytes, at, err);
    if (rc == TB_OK && !tb_spool_record_check(r, head, s->body)) {
        rc = tb_fail(err, TB_E_MALFORMED, "%s: a torn record", s->path);
    }
    return rc;
}

/* Indexes the verified record at s->end. Errors: MALFORMED, LIMIT: the tail is
 * torn from here on; others are the host's. */
static tb_rc scan_record(tb_spool *s, uint64_t size, uint64_t *next,
                         tb_err *err)
{
    uint8_t head[TB_SPOOL_RECORD_BYTES];
    tb_spool_record r;
    tb_rc rc = pread_all(s, head, sizeof head, s->end, err);
    if (rc == TB_OK) {
        rc = tb_spool_record_decode(&r, head, err);
    }
    if (rc == TB_OK) {
        rc = scan_body(s, &r, head, size, err);
    }
    if (rc != TB_OK) {
        return rc;
    }
    entry *u = find(s, &r.id);
    if (r.kind == TB_SPOOL_ANNOUNCE) {
        tb_spool_upload info;
        uint64_t *at = NULL;
        rc = tb_spool_announce_decode(&info, &r, s->body, err);
        if (rc == TB_OK && u == NULL) {
            rc = index_reserve(s, info.n_blocks, &at, err);
        }
        if (rc == TB_OK && u == NULL) {
            index_upload(s, &info, at);
        }
    } else if (u != NULL && r.index < u->info.n_blocks) {
        index_block(u, r.index, s->end);
    } else {
        rc = tb_fail(err, TB_E_MALFORMED, "%s: a block of no upload", s->path);
    }
    *next = s->end + sizeof head + r.body_bytes;
    return rc;
}

/* Indexes all whole records; s->end is then the end of the last one. */
static tb_rc scan(tb_spool *s, uint64_t size, tb_err *err)
{
    tb_rc rc = TB_OK;
    s->body = tb_mem_array(TB_PAYLOAD_BYTES_MAX, 1);
    if (s->body == NULL) {
        return tb_fail(err, TB_E_NOMEM, "%s", s->path);
    }
    while (rc == TB_OK && s->end < size) {
        uint64_t next = s->end;
        rc = scan_record(s, size, &next, err);
        s->end = rc == TB_OK ? next : s->end;
    }
    tb_mem_free(s->body);
    s->body = NULL;
    if (rc == TB_E_MALFORMED || rc == TB_E_LIMIT) {
        tb_log(TB_LOG_WARN,
               "event=spool_tail file=%s whole_bytes=%" PRIu64
               " torn_bytes=%" PRIu64,
               s->path, s->end, size - s->end);
        rc = TB_OK;
    }
    return rc;
}

static void segment_head(uint8_t out[static SEGMENT_BYTES], const place *at)
{
    memcpy(out, "TBSP", 4);
    tb_le32_put(out + 4, SEGMENT_VERSION);
    memcpy(out + 8, at->run->bytes, TB_RUN_ID_BYTES);
    memcpy(out + 24, at->config->bytes, TB_HASH_BYTES);
}

/* Reads head and records of the open file; a writer cuts what is torn. */
static tb_rc load(tb_spool *s, const uint8_t *want, bool writer, tb_err *err)
{
    uint8_t head[SEGMENT_BYTES];
    struct stat st;
    if (fstat(s->fd, &st) != 0) {
        return tb_fail_errno(err, errno, "%s", s->path);
    }
    tb_rc rc = pread_all(s, head, sizeof head, 0, err);
    if (rc == TB_OK && memcmp(head, want, sizeof head) != 0) {
        rc = tb_fail(err, TB_E_UNSUPPORTED,
                     "%s: is not the spool of this round in format %u", s->path,
                     SEGMENT_VERSION);
    }
    s->end = SEGMENT_BYTES;
    s->durable = 0; /* what a crash left may never have been synced */
    if (rc == TB_OK) {
        rc = scan(s, (uint64_t)st.st_size, err);
    }
    if (rc == TB_OK && writer &&
        (ftruncate(s->fd, (off_t)s->end) != 0 ||
         lseek(s->fd, (off_t)s->end, SEEK_SET) < 0)) {
        rc = tb_fail_errno(err, errno, "%s", s->path);
    }
    return rc;
}

/* A new segment is written whole and synced before its name appears. */
static tb_rc create(const place *at, const char *path, const uint8_t *head,
                    tb_err *err)
{
    char *folder = run_path(at->dir, at->run);
    if (folder == NULL) {
        return tb_fail(err, TB_E_NOMEM, "%s", path);
    }
    tb_rc rc = tb_file_make_dir(folder, 0700, err);
    tb_mem_free(folder);
    if (rc == TB_OK) {
        rc = tb_file_sync_dir(at->dir, err);
    }
    return rc == TB_OK ? tb_file_write(path, head, SEGMENT_BYTES, 0600, err)
                       : rc;
}

static tb_rc open_segment(tb_spool *s, const place *at, bool writer,
                          tb_err *err)
{
    uint8_t head[SEGMENT_BYTES];
    segment_head(head, at);
    if (writer && !tb_file_exists(s->path)) {
        tb_rc rc = create(at, s->path, head, err);
        if (rc != TB_OK) {
            return rc;
        }
    }
    s->fd = tb_spare_open(s->path, (writer ? O_RDWR : O_RDONLY) | O_CLOEXEC, 0);
    if (s->fd < 0) {
        return tb_fail_errno(err, errno, "%s", s->path);
    }
    return load(s, head, writer, err);
}

typedef enum purpose { TO_READ, TO_WRITE, TO_TRIM } purpose;

static tb_rc open_any(tb_spool **out, const place *at, purpose what,
                      tb_err *err)
{
    *out = NULL;
    tb_spool *s = tb_mem_array(1, sizeof *s);
    if (s == NULL) {
        return tb_fail(err, TB_E_NOMEM, "spool");
    }
    s->fd = -1;
    s->heads_only = what == TO_TRIM;
    s->path = segment_path(at);
    tb_rc rc = s->path == NULL ? tb_fail(err, TB_E_NOMEM, "spool")
               : what == TO_TRIM && !tb_file_exists(s->path)
                   ? tb_fail(err, TB_E_NOT_FOUND, "%s", s->path)
                   : open_segment(s, at, what != TO_READ, err);
    if (rc == TB_OK) {
        *out = s;
        s = NULL;
    }
    tb_spool_close(&s);
    return rc;
}

tb_rc tb_spool_open(tb_spool **out, const char *dir, const tb_run_id *run,
                    const tb_hash *config, tb_err *err)
{
    return open_any(out, &(place){dir, run, config}, TO_WRITE, err);
}

tb_rc tb_spool_open_read(tb_spool **out, const char *dir, const tb_run_id *run,
                         const tb_hash *config, tb_err *err)
{
    return open_any(out, &(place){dir, run, config}, TO_READ, err);
}

tb_rc tb_spool_trim(const char *dir, const tb_run_id *run,
                    const tb_hash *config, tb_err *err)
{
    tb_spool *s = NULL;
    tb_rc rc = open_any(&s, &(place){dir, run, config}, TO_TRIM, err);
    tb_spool_close(&s);
    return rc == TB_E_NOT_FOUND ? TB_OK : rc;
}

void tb_spool_close(tb_spool **spool)
{
    tb_spool *s = *spool;
    *spool = NULL;
    if (s == NULL) {
        return;
    }
    if (s->fd >= 0) {
        (void)close(s->fd);
    }
    for (size_t i = 0; i < s->n; i++) {
        tb_mem_free(s->uploads[i].at);
    }
    tb_mem_free(s->uploads);
    tb_mem_free(s->slots);
    tb_mem_free(s->body);
    tb_mem_free(s->path);
    tb_mem_free(s);
}

/* --- writing --- */

/* Appends one record; after a failure the segment ends where it did. */
static tb_rc append(tb_spool *s, tb_spool_record *r, const tb_spool_block *body,
                    tb_err *err)
{
    uint8_t head[TB_SPOOL_RECORD_BYTES];
    if (s->broken) {
        return tb_fail(err, TB_E_IO, "%s: a write or sync failed before",
                       s->path);
    }
    tb_spool_record_encode(r, &body->hash, head);
    tb_rc rc = tb_file_write_fd(s->fd, head, sizeof head, err);
    if (rc == TB_OK) {
        rc = tb_file_write_fd(s->fd, body->sealed, body->len, err);
    }
    if (rc == TB_OK) {
        s->end += sizeof head + body->len;
        return TB_OK;
    }
    if (ftruncate(s->fd, (off_t)s->end) != 0 ||
        lseek(s->fd, (off_t)s->end, SEEK_SET) < 0) {
        s->broken = true; /* half a record stays: nothing may follow it */
    }
    return tb_err_prefix(err, rc, "%s", s->path);
}

tb_rc tb_spool_begin(tb_spool *spool, const tb_spool_upload *upload,
                     tb_err *err)
{
    uint8_t body[TB_SPOOL_ANNOUNCE_BYTES];
    uint64_t *at;
    if (find(spool, &upload->id) != NULL) {
        return tb_fail(err, TB_E_EXISTS, "spool: this upload is here already");
    }
    if (upload->n_blocks == 0 || upload->n_blocks > TB_BLOCKS_MAX) {
        return tb_fail(err, TB_E_LIMIT, "spool: an upload of %u blocks",
                       upload->n_blocks);
    }
    tb_rc rc = index_reserve(spool, upload->n_blocks, &at, err);
    if (rc != TB_OK) {
        return rc;
    }
    tb_spool_record r = {
        .kind = TB_SPOOL_ANNOUNCE, .id = upload->id, .body_bytes = sizeof body};
    tb_spool_announce_encode(upload, body);
    rc = append(
        spool, &r,
        &(tb_spool_block){body, sizeof body, tb_hash_of(body, sizeof body)},
        err);
    if (rc == TB_OK) {
        index_upload(spool, upload, at);
    } else {
        tb_mem_free(at);
    }
    return rc;
}

tb_rc tb_spool_put_hashed(tb_spool *spool, const tb_upload_id *upload,
                          uint32_t index, const tb_spool_block *block,
                          tb_err *err)
{
    entry *u = find(spool, upload);
    if (u == NULL) {
        return tb_fail(err, TB_E_NOT_FOUND, "spool: no such upload");
    }
    if (index >= u->info.n_blocks || block->len > TB_PAYLOAD_BYTES_MAX) {
        return tb_fail(err, TB_E_LIMIT, "spool: block %u of %u, %zu bytes",
                       index, u->info.n_blocks, block->len);
    }
    if (u->at[index] != 0) {
        return tb_fail(err, TB_E_EXISTS, "spool: block %u is here already",
                       index);
    }
    tb_spool_record r = {.kind = TB_SPOOL_BLOCK,
                         .id = *upload,
                         .index = index,
                         .body_bytes = (uint32_t)block->len};
    uint64_t offset = spool->end;
    tb_rc rc = append(spool, &r, block, err);
    if (rc == TB_OK) {
        index_block(u, index, offset);
    }
    return rc;
}

tb_rc tb_spool_put(tb_spool *spool, const tb_upload_id *upload, uint32_t index,
                   const uint8_t *sealed, size_t len, tb_err *err)
{
    tb_spool_block block = {sealed, len, tb_hash_of(sealed, len)};
    return tb_spool_put_hashed(spool, upload, index, &block, err);
}

/* --- making durable --- */

tb_rc tb_spool_flush_begin(const tb_spool *spool, tb_spool_flush *flush,
                           tb_err *err)
{
    *flush = (tb_spool_flush){.fd = spool->fd, .until = spool->end};
    return !spool->broken
               ? TB_OK
               : tb_fail(err, TB_E_IO, "%s: a write or sync failed before",
                         spool->path);
}

void tb_spool_flush_run(tb_spool_flush *flush)
{
    flush->error = fdatasync(flush->fd) == 0 ? 0 : errno;
}

tb_rc tb_spool_flush_end(tb_spool *spool, const tb_spool_flush *flush,
                         tb_err *err)
{
    if (flush->error != 0) {
        spool->broken = true; /* the kernel may have dropped the pages */
        return tb_fail_errno(err, flush->error, "%s", spool->path);
    }
    spool->durable = flush->until;
    return TB_OK;
}

tb_rc tb_spool_sync(tb_spool *spool, tb_err *err)
{
    tb_spool_flush flush;
    tb_rc rc = tb_spool_flush_begin(spool, &flush, err);
    if (rc != TB_OK || spool->durable == spool->end) {
        return rc;
    }
    tb_spool_flush_run(&flush);
    return tb_spool_flush_end(spool, &flush, err);
}

uint64_t tb_spool_durable(const tb_spool *spool)
{
    return spool->durable;
}

/* --- reading --- */

size_t tb_spool_uploads(const tb_spool *spool)
{
    return spool->n;
}

const tb_spool_upload *tb_spool_upload_at(const tb_spool *spool, size_t i)
{
    return &spool->uploads[i].info;
}

const tb_spool_upload *tb_spool_find(const tb_spool *spool,
                                     const tb_upload_id *upload)
{
    const entry *u = find(spool, upload);
    return u != NULL ? &u->info : NULL;
}

uint32_t tb_spool_next(const tb_spool *spool, const tb_upload_id *upload)
{
    const entry *u = find(spool, upload);
    return u != NULL ? u->next : 0;
}

tb_rc tb_spool_read(const tb_spool *spool, const tb_upload_id *upload,
                    uint32_t index, tb_buf *out, tb_err *err)
{
    const entry *u = find(spool, upload);
    uint8_t head[TB_SPOOL_RECORD_BYTES];
    tb_spool_record r;
    if (u == NULL || index >= u->info.n_blocks || u->at[index] == 0) {
        return tb_fail(err, TB_E_NOT_FOUND, "spool: no block %u here", index);
    }
    uint64_t at = u->at[index];
    tb_rc rc = pread_all(spool, head, sizeof head, at, err);
    if (rc == TB_OK) {
        rc = tb_spool_record_decode(&r, head, err);
    }
    if (rc == TB_OK) {
        rc = tb_buf_reserve(out, r.body_bytes, err);
    }
    if (rc != TB_OK) {
        return rc;
    }
    uint8_t none[1];
    uint8_t *body = r.body_bytes > 0 ? out->data + out->len : none;
    rc = pread_all(spool, body, r.body_bytes, at + sizeof head, err);
    if (rc == TB_OK && (r.index != index || r.kind != TB_SPOOL_BLOCK ||
                        !tb_spool_record_check(&r, head, body))) {
        rc = tb_fail(err, TB_E_MALFORMED,
                     "%s: block at byte %" PRIu64 " was altered", spool->path,
                     at);
    }
    if (rc == TB_OK) {
        out->len += r.body_bytes;
    }
    return rc;
}

uint64_t tb_spool_bytes(const tb_spool *spool)
{
    return spool->end;
}

/* --- removing --- */

tb_rc tb_spool_remove(const char *dir, const tb_run_id *run,
                      const tb_hash *config, tb_err *err)
{
    char *path = segment_path(&(place){dir, run, config});
    if (path == NULL) {
        return tb_fail(err, TB_E_NOMEM, "spool");
    }
    tb_rc rc = TB_OK;
    if (unlink(path) != 0 && errno != ENOENT) {
        rc = tb_fail_errno(err, errno, "%s", path);
    }
    tb_mem_free(path);
    return rc;
}

tb_rc tb_spool_remove_run(const char *dir, const tb_run_id *run, tb_err *err)
{
    char *path = run_path(dir, run);
    if (path == NULL) {
        return tb_fail(err, TB_E_NOMEM, "spool");
    }
    tb_rc rc = TB_OK;
    DIR *entries = tb_spare_opendir(path);
    if (entries == NULL && errno != ENOENT) {
        rc = tb_fail_errno(err, errno, "%s", path);
    }
    for (struct dirent *e; entries != NULL && (e = readdir(entries)) != NULL;) {
        if (e->d_name[0] != '.' &&
            unlinkat(dirfd(entries), e->d_name, 0) != 0) {
            rc = tb_fail_errno(err, errno, "%s/%s", path, e->d_name);
        }
    }
    if (entries != NULL) {
        (void)closedir(entries);
        if (rc == TB_OK && rmdir(path) != 0) {
            rc = tb_fail_errno(err, errno, "%s", path);
        }
    }
    tb_mem_free(path);
    return rc;
}
