#include "work/checkpoint.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/spare.h"
#include "crypto/crypto.h"

#define VERSION        1
#define VALUES_A_PIECE ((size_t)131072)
#define PIECE_BYTES    (8 * VALUES_A_PIECE)
#define PIECES_A_SYNC  64 /* so that the last sync is short */
#define CONTEXT_BYTES  256
#define PATH_BYTES     4096
#define ENTRY_BYTES_MAX                                                        \
    (1 + TB_NAME_BYTES + TB_UPLOAD_ID_BYTES + TB_HASH_BYTES + 8)
#define ENTRIES_MAX    ((size_t)1 << 20)
#define HEAD_BYTES_MAX (64 + TB_HASH_BYTES + ENTRIES_MAX * ENTRY_BYTES_MAX)

_Static_assert(PIECE_BYTES < HEAD_BYTES_MAX, "one buffer for both");

/* "checkpoint RUN CONFIG", and for a piece of values " ROW INDEX". */
static void context_of(char out[static CONTEXT_BYTES], const tb_checkpoint *c,
                       const size_t *index)
{
    char run[2 * TB_RUN_ID_BYTES + 1];
    char config[TB_HASH_HEX_BYTES];
    for (size_t i = 0; i < TB_RUN_ID_BYTES; i++) {
        (void)snprintf(run + 2 * i, 3, "%02x", c->run.bytes[i]);
    }
    tb_hash_hex(&c->config, config);
    int n = snprintf(out, CONTEXT_BYTES, "checkpoint %s %s", run, config);
    if (index != NULL && n > 0 && n < CONTEXT_BYTES) {
        (void)snprintf(out + n, CONTEXT_BYTES - (size_t)n, " %" PRIu64 " %zu",
                       c->row, *index);
    }
}

/* The file at hand, and the two buffers that a record passes through. */
typedef struct work {
    int fd;
    char temporary[PATH_BYTES];
    tb_buf plain, wrapped;
    /* what the head says that was read */
    uint64_t n_values;
    tb_counted *counted; /* owned */
    uint32_t n;
} work;

static void begin(work *w)
{
    w->fd = -1;
    w->n_values = 0;
    w->counted = NULL;
    w->n = 0;
    tb_buf_init(&w->plain, HEAD_BYTES_MAX);
    tb_buf_init(&w->wrapped, HEAD_BYTES_MAX + TB_WRAP_OVERHEAD_BYTES + 4);
}

static void end(work *w)
{
    if (w->fd >= 0) {
        (void)close(w->fd);
    }
    if (w->plain.data != NULL) {
        tb_wipe(w->plain.data, w->plain.cap); /* earlier records were longer */
    }
    tb_buf_release(&w->plain);
    tb_buf_release(&w->wrapped);
    tb_mem_free(w->counted);
}

/* --- writing -------------------------------------------------------------- */

static tb_rc put_u32(tb_buf *out, uint32_t value, tb_err *err)
{
    uint8_t bytes[4];
    tb_le32_put(bytes, value);
    return tb_buf_put(out, bytes, sizeof bytes, err);
}

static tb_rc put_u64(tb_buf *out, uint64_t value, tb_err *err)
{
    uint8_t bytes[8];
    tb_le64_put(bytes, value);
    return tb_buf_put(out, bytes, sizeof bytes, err);
}

static tb_rc put_entry(tb_buf *out, const tb_counted *e, tb_err *err)
{
    size_t n = strlen(e->client.text);
    tb_rc rc = tb_buf_put_u8(out, (uint8_t)n, err);
    if (rc == TB_OK) {
        rc = tb_buf_put(out, e->client.text, n, err);
    }
    if (rc == TB_OK) {
        rc = tb_buf_put(out, e->upload.bytes, TB_UPLOAD_ID_BYTES, err);
    }
    if (rc == TB_OK) {
        rc = tb_buf_put(out, e->update.bytes, TB_HASH_BYTES, err);
    }
    if (rc == TB_OK) {
        rc = put_u32(out, e->weight, err);
    }
    return rc == TB_OK ? put_u32(out, e->full, err) : rc;
}

static tb_rc put_head(work *w, const tb_checkpoint *c, tb_intake *intake,
                      tb_err *err)
{
    size_t n = 0;
    const tb_counted *counted = tb_intake_counted(intake, &n);
    tb_buf *out = &w->plain;
    tb_rc rc = n <= ENTRIES_MAX
                   ? tb_buf_put_u8(out, VERSION, err)
                   : tb_fail(err, TB_E_LIMIT, "checkpoint: %zu updates", n);
    if (rc == TB_OK) {
        rc = put_u64(out, c->row, err);
    }
    if (rc == TB_OK) {
        rc = tb_buf_put(out, c->chain.bytes, TB_HASH_BYTES, err);
    }
    if (rc == TB_OK) {
        rc = put_u64(out, tb_sum_values(tb_intake_sum(intake)), err);
    }
    if (rc == TB_OK) {
        rc = put_u32(out, (uint32_t)n, err);
    }
    for (size_t i = 0; i < n && rc == TB_OK; i++) {
        rc = put_entry(out, &counted[i], err);
    }
    return rc;
}

/* Wraps what lies in plain, and writes it as a record. */
static tb_rc write_record(work *w, const tb_checkpoint *c, const size_t *index,
                          tb_err *err)
{
    char context[CONTEXT_BYTES];
    context_of(context, c, index);
    w->wrapped.len = 0;
    tb_rc rc = put_u32(&w->wrapped,
                       (uint32_t)(w->plain.len + TB_WRAP_OVERHEAD_BYTES), err);
    if (rc == TB_OK) {
        rc = tb_wrap(&w->wrapped, c->master, context, w->plain.data,
                     w->plain.len, err);
    }
    return rc == TB_OK
               ? tb_file_write_fd(w->fd, w->wrapped.data, w->wrapped.len, err)
               : rc;
}

static tb_rc sync_file(const work *w, tb_err *err)
{
    return fdatasync(w->fd) == 0
               ? TB_OK
               : tb_fail_errno(err, errno, "%s", w->temporary);
}

static tb_rc write_values(work *w, const tb_checkpoint *c, const tb_sum *sum,
                          int64_t deadline_ms, tb_err *err)
{
    size_t n_values = tb_sum_values(sum);
    tb_rc rc = TB_OK;
    for (size_t i = 0; rc == TB_OK && i * VALUES_A_PIECE < n_values; i++) {
        size_t left = n_values - i * VALUES_A_PIECE;
        size_t n = left < VALUES_A_PIECE ? left : VALUES_A_PIECE;
        if (tb_clock_ms() >= deadline_ms) {
            return tb_fail(err, TB_E_TIMEOUT,
                           "no time to seal %zu values: the restart reads the "
                           "spool",
                           n_values);
        }
        w->plain.len = 0;
        rc = tb_buf_reserve(&w->plain, 8 * n, err);
        if (rc == TB_OK) {
            rc = tb_sum_values_get(sum, i * VALUES_A_PIECE, w->plain.data, n,
                                   err);
        }
        if (rc == TB_OK) {
            w->plain.len = 8 * n;
            rc = write_record(w, c, &i, err);
        }
        if (rc == TB_OK && i % PIECES_A_SYNC == PIECES_A_SYNC - 1) {
            rc = sync_file(w, err);
        }
    }
    return rc == TB_OK ? sync_file(w, err) : rc;
}

/* In place of an older one, durably. */
static tb_rc put_in_place(const work *w, const tb_checkpoint *c, tb_err *err)
{
    char dir[PATH_BYTES];
    const char *slash = strrchr(c->path, '/');
    (void)snprintf(dir, sizeof dir, "%.*s",
                   slash != NULL ? (int)(slash - c->path) : 1,
                   slash != NULL ? c->path : ".");
    if (rename(w->temporary, c->path) != 0) {
        return tb_fail_errno(err, errno, "%s", c->path);
    }
    return tb_file_sync_dir(dir, err);
}

tb_rc tb_checkpoint_write(const tb_checkpoint *c, tb_intake *intake,
                          int64_t deadline_ms, tb_err *err)
{
    work w;
    tb_rc rc = TB_OK;
    begin(&w);
    int n = snprintf(w.temporary, sizeof w.temporary, "%s.tmp", c->path);
    if (n < 0 || (size_t)n >= sizeof w.temporary) {
        rc = tb_fail(err, TB_E_LIMIT, "checkpoint: a path of %d bytes", n);
        goto done;
    }
    w.fd = tb_spare_open(w.temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC,
                         0600);
    if (w.fd < 0) {
        rc = tb_fail_errno(err, errno, "%s", w.temporary);
        goto done;
    }
    rc = put_head(&w, c, intake, err);
    if (rc == TB_OK) {
        rc = write_record(&w, c, NULL, err);
    }
    if (rc == TB_OK) {
        rc = write_values(&w, c, tb_intake_sum(intake), deadline_ms, err);
    }
    if (rc == TB_OK) {
        rc = put_in_place(&w, c, err);
    }
    if (rc != TB_OK) {
        (void)unlink(w.temporary);
    }
done:
    end(&w);
    return rc;
}

/* --- reading -------------------------------------------------------------- */

static tb_rc cut(const tb_checkpoint *c, tb_err *err)
{
    return tb_fail(err, TB_E_MALFORMED, "%s: cut short, or no checkpoint",
                   c->path);
}

/* All of len bytes; false at the end of the file before that. */
static tb_rc read_exactly(const work *w, const tb_checkpoint *c, uint8_t *out,
                          size_t len, tb_err *err)
{
    for (size_t done = 0; done < len;) {
        ssize_t n = read(w->fd, out + done, len - done);
        if (n < 0 && errno != EINTR) {
            return tb_fail_errno(err, errno, "%s", c->path);
        }
        if (n == 0) {
            return cut(c, err);
        }
        done += n > 0 ? (size_t)n : 0;
    }
    return TB_OK;
}

/* The next record into plain. */
static tb_rc read_record(work *w, const tb_checkpoint *c, const size_t *index,
                         tb_err *err)
{
    uint8_t head[4];
    char context[CONTEXT_BYTES];
    tb_rc rc = read_exactly(w, c, head, sizeof head, err);
    if (rc != TB_OK) {
        return rc;
    }
    size_t len = tb_le32_get(head);
    size_t max = index == NULL ? HEAD_BYTES_MAX : PIECE_BYTES;
    if (len < TB_WRAP_OVERHEAD_BYTES || len > max + TB_WRAP_OVERHEAD_BYTES) {
        return cut(c, err);
    }
    context_of(context, c, index);
    w->wrapped.len = 0;
    w->plain.len = 0;
    rc = tb_buf_reserve(&w->wrapped, len, err);
    if (rc == TB_OK) {
        rc = read_exactly(w, c, w->wrapped.data, len, err);
    }
    return rc == TB_OK ? tb_unwrap(&w->plain, c->master, context,
                                   w->wrapped.data, len, err)
                       : rc;
}

/* What is left of a record. */
typedef struct reader {
    const uint8_t *at, *end;
} reader;

/* The next n bytes, or NULL. */
static const uint8_t *take(reader *r, size_t n)
{
    const uint8_t *at = r->at;
    if ((size_t)(r->end - r->at) < n) {
        return NULL;
    }
    r->at += n;
    return at;
}

static bool read_entry(reader *r, tb_counted *out)
{
    char name[TB_NAME_BYTES] = "";
    const uint8_t *length = take(r, 1);
    size_t n = length != NULL ? *length : 0;
    const uint8_t *text = n > 0 && n < sizeof name ? take(r, n) : NULL;
    const uint8_t *rest =
        text != NULL ? take(r, TB_UPLOAD_ID_BYTES + TB_HASH_BYTES + 8) : NULL;
    if (rest == NULL) {
        return false;
    }
    memcpy(name, text, n);
    memcpy(out->upload.bytes, rest, TB_UPLOAD_ID_BYTES);
    memcpy(out->update.bytes, rest + TB_UPLOAD_ID_BYTES, TB_HASH_BYTES);
    rest += TB_UPLOAD_ID_BYTES + TB_HASH_BYTES;
    out->weight = tb_le32_get(rest);
    out->full = tb_le32_get(rest + 4);
    return tb_name_set(&out->client, name);
}

/* The head in plain: fills row and chain, size and list of updates. */
static tb_rc read_head(work *w, tb_checkpoint *c, tb_err *err)
{
    reader r = {w->plain.data, w->plain.data + w->plain.len};
    const uint8_t *version = take(&r, 1);
    const uint8_t *fixed = take(&r, 8 + TB_HASH_BYTES + 8 + 4);
    if (version != NULL && *version != VERSION) {
        return tb_fail(err, TB_E_UNSUPPORTED, "%s: version %u", c->path,
                       *version);
    }
    if (fixed == NULL) {
        return cut(c, err);
    }
    c->row = tb_le64_get(fixed);
    memcpy(c->chain.bytes, fixed + 8, TB_HASH_BYTES);
    w->n_values = tb_le64_get(fixed + 8 + TB_HASH_BYTES);
    w->n = tb_le32_get(fixed + 16 + TB_HASH_BYTES);
    if (w->n > ENTRIES_MAX) {
        return cut(c, err);
    }
    w->counted = tb_mem_array(w->n > 0 ? w->n : 1, sizeof *w->counted);
    if (w->counted == NULL) {
        return tb_fail(err, TB_E_NOMEM, "checkpoint: %u updates", w->n);
    }
    for (uint32_t i = 0; i < w->n; i++) {
        if (!read_entry(&r, &w->counted[i])) {
            return cut(c, err);
        }
    }
    return r.at == r.end ? TB_OK : cut(c, err);
}

/* To the end of the file; sum NULL: they are only looked at. */
static tb_rc read_values(work *w, const tb_checkpoint *c, tb_sum *sum,
                         tb_err *err)
{
    uint8_t more = 0;
    tb_rc rc = TB_OK;
    for (size_t i = 0; rc == TB_OK && i * VALUES_A_PIECE < w->n_values; i++) {
        size_t left = w->n_values - i * VALUES_A_PIECE;
        size_t n = left < VALUES_A_PIECE ? left : VALUES_A_PIECE;
        rc = read_record(w, c, &i, err);
        if (rc == TB_OK && w->plain.len != 8 * n) {
            rc = cut(c, err);
        }
        if (rc == TB_OK && sum != NULL) {
            rc = tb_sum_values_put(sum, i * VALUES_A_PIECE, w->plain.data, n,
                                   err);
        }
    }
    if (rc == TB_OK && read(w->fd, &more, 1) != 0) {
        rc =
            tb_fail(err, TB_E_MALFORMED, "%s: more than a checkpoint", c->path);
    }
    return rc;
}

/* Opens the file and reads its head. */
static tb_rc open_head(work *w, tb_checkpoint *c, tb_err *err)
{
    w->fd = tb_spare_open(c->path, O_RDONLY | O_CLOEXEC, 0);
    tb_rc rc = w->fd >= 0 ? read_record(w, c, NULL, err)
                          : tb_fail_errno(err, errno, "%s", c->path);
    return rc == TB_OK ? read_head(w, c, err) : rc;
}

tb_rc tb_checkpoint_read(tb_checkpoint *c, tb_intake *intake,
                         tb_checkpoint_fits_fn *fits, void *arg, tb_err *err)
{
    work w;
    tb_sum *sum = tb_intake_sum_edit(intake);
    begin(&w);
    tb_rc rc = open_head(&w, c, err);
    if (rc == TB_OK && w.n_values != tb_sum_values(sum)) {
        rc =
            tb_fail(err, TB_E_MISMATCH, "%s: %" PRIu64 " values instead of %zu",
                    c->path, w.n_values, tb_sum_values(sum));
    }
    if (rc == TB_OK) {
        rc = fits(arg, c, w.counted, w.n, err);
    }
    if (rc == TB_OK) {
        rc = read_values(&w, c, sum, err);
        if (rc == TB_OK) {
            rc = tb_intake_restore(intake, w.counted, w.n, err);
        }
        if (rc != TB_OK) {
            tb_sum_clear(sum);
        }
    }
    end(&w);
    return rc;
}

tb_rc tb_checkpoint_look(tb_checkpoint *c, tb_err *err)
{
    work w;
    begin(&w);
    tb_rc rc = open_head(&w, c, err);
    if (rc == TB_OK) {
        rc = read_values(&w, c, NULL, err);
    }
    end(&w);
    return rc;
}
