/* core/host/spool_segment.c - segments as files: where they lie, how one is
 * made, opened and read through, and their removal.
 * A segment: "TBSP" | version u32le = 1 | run id 16 | hash of the round
 * configuration 32; then records (spool_record.h) one after the other. */
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
#include "host/spool_priv.h"

#define SEGMENT_VERSION 1u
#define SEGMENT_BYTES   56
#define RUN_HEX_BYTES   (2 * TB_RUN_ID_BYTES + 1)

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

/* --- opening --- */

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
    tb_rc rc = tb_spool_pread(s, s->body, r->body_bytes, at, err);
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
    tb_rc rc = tb_spool_pread(s, head, sizeof head, s->end, err);
    if (rc == TB_OK) {
        rc = tb_spool_record_decode(&r, head, err);
    }
    if (rc == TB_OK) {
        rc = scan_body(s, &r, head, size, err);
    }
    if (rc != TB_OK) {
        return rc;
    }
    tb_spool_entry *u = tb_spool_index_find(s, &r.id);
    if (r.kind == TB_SPOOL_ANNOUNCE) {
        tb_spool_upload info;
        uint64_t *at = NULL;
        rc = tb_spool_announce_decode(&info, &r, s->body, err);
        if (rc == TB_OK && u == NULL) {
            rc = tb_spool_index_reserve(s, info.n_blocks, &at, err);
        }
        if (rc == TB_OK && u == NULL) {
            tb_spool_index_upload(s, &info, at);
        }
    } else if (u != NULL && r.index < u->info.n_blocks) {
        tb_spool_index_block(u, r.index, s->end);
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
    tb_rc rc = tb_spool_pread(s, head, sizeof head, 0, err);
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
    tb_spool_index_release(s);
    tb_mem_free(s->body);
    tb_mem_free(s->path);
    tb_mem_free(s);
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
