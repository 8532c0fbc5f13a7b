/* Blocks into an open segment, out of it again, and onto the disk for good. */
#include "host/spool.h"

#include <errno.h>
#include <inttypes.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "host/spool_priv.h"

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
    if (tb_spool_index_find(spool, &upload->id) != NULL) {
        return tb_fail(err, TB_E_EXISTS, "spool: this upload is here already");
    }
    if (upload->n_blocks == 0 || upload->n_blocks > TB_BLOCKS_MAX) {
        return tb_fail(err, TB_E_LIMIT, "spool: an upload of %u blocks",
                       upload->n_blocks);
    }
    tb_rc rc = tb_spool_index_reserve(spool, upload->n_blocks, &at, err);
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
        tb_spool_index_upload(spool, upload, at);
    } else {
        tb_mem_free(at);
    }
    return rc;
}

tb_rc tb_spool_put_hashed(tb_spool *spool, const tb_upload_id *upload,
                          uint32_t index, const tb_spool_block *block,
                          tb_err *err)
{
    tb_spool_entry *u = tb_spool_index_find(spool, upload);
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
        tb_spool_index_block(u, index, offset);
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

tb_rc tb_spool_pread(const tb_spool *s, uint8_t *out, size_t len,
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
    const tb_spool_entry *u = tb_spool_index_find(spool, upload);
    return u != NULL ? &u->info : NULL;
}

uint32_t tb_spool_next(const tb_spool *spool, const tb_upload_id *upload)
{
    const tb_spool_entry *u = tb_spool_index_find(spool, upload);
    return u != NULL ? u->next : 0;
}

tb_rc tb_spool_read(const tb_spool *spool, const tb_upload_id *upload,
                    uint32_t index, tb_buf *out, tb_err *err)
{
    const tb_spool_entry *u = tb_spool_index_find(spool, upload);
    uint8_t head[TB_SPOOL_RECORD_BYTES];
    tb_spool_record r;
    if (u == NULL || index >= u->info.n_blocks || u->at[index] == 0) {
        return tb_fail(err, TB_E_NOT_FOUND, "spool: no block %u here", index);
    }
    uint64_t at = u->at[index];
    tb_rc rc = tb_spool_pread(spool, head, sizeof head, at, err);
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
    rc = tb_spool_pread(spool, body, r.body_bytes, at + sizeof head, err);
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
