#include "host/spool_record.h"

#include <string.h>

#include "base/buf.h"

#define CHECKED_BYTES 32 /* of the head, before its hash */

static const uint8_t magic[4] = {'T', 'B', 'S', 'R'};

static tb_hash check_of(const uint8_t *head, const tb_hash *body)
{
    tb_hasher hasher;
    tb_hasher_init(&hasher);
    tb_hasher_add(&hasher, head, CHECKED_BYTES);
    tb_hasher_add(&hasher, body->bytes, sizeof body->bytes);
    return tb_hasher_end(&hasher);
}

void tb_spool_record_encode(tb_spool_record *record, const tb_hash *body,
                            uint8_t out[static TB_SPOOL_RECORD_BYTES])
{
    memcpy(out, magic, sizeof magic);
    tb_le32_put(out + 4, (uint32_t)record->kind);
    memcpy(out + 8, record->id.bytes, TB_UPLOAD_ID_BYTES);
    tb_le32_put(out + 24, record->index);
    tb_le32_put(out + 28, record->body_bytes);
    record->check = check_of(out, body);
    memcpy(out + CHECKED_BYTES, record->check.bytes, TB_HASH_BYTES);
}

tb_rc tb_spool_record_decode(tb_spool_record *out,
                             const uint8_t in[static TB_SPOOL_RECORD_BYTES],
                             tb_err *err)
{
    uint32_t kind = tb_le32_get(in + 4);
    if (memcmp(in, magic, sizeof magic) != 0 ||
        (kind != TB_SPOOL_ANNOUNCE && kind != TB_SPOOL_BLOCK)) {
        return tb_fail(err, TB_E_MALFORMED, "spool: not a record");
    }
    tb_spool_record r = {.kind = (tb_spool_kind)kind,
                         .index = tb_le32_get(in + 24),
                         .body_bytes = tb_le32_get(in + 28)};
    memcpy(r.id.bytes, in + 8, TB_UPLOAD_ID_BYTES);
    memcpy(r.check.bytes, in + CHECKED_BYTES, TB_HASH_BYTES);
    if (r.index >= TB_BLOCKS_MAX || r.body_bytes > TB_PAYLOAD_BYTES_MAX) {
        return tb_fail(err, TB_E_LIMIT, "spool: block %u of %u bytes", r.index,
                       r.body_bytes);
    }
    if (r.kind == TB_SPOOL_ANNOUNCE &&
        (r.body_bytes != TB_SPOOL_ANNOUNCE_BYTES || r.index != 0)) {
        return tb_fail(err, TB_E_MALFORMED,
                       "spool: an announcement of %u "
                       "bytes",
                       r.body_bytes);
    }
    *out = r;
    return TB_OK;
}

bool tb_spool_record_check(const tb_spool_record *record, const uint8_t *head,
                           const uint8_t *body)
{
    tb_hash hash = tb_hash_of(body, record->body_bytes);
    tb_hash found = check_of(head, &hash);
    return tb_hash_equal(&found, &record->check);
}

void tb_spool_announce_encode(const tb_spool_upload *upload,
                              uint8_t out[static TB_SPOOL_ANNOUNCE_BYTES])
{
    uint8_t *at = out;
    memset(at, 0, TB_NAME_BYTES);
    memcpy(at, upload->client.text, strlen(upload->client.text));
    at += TB_NAME_BYTES;
    memcpy(at, upload->config.bytes, TB_HASH_BYTES);
    at += TB_HASH_BYTES;
    tb_le32_put(at, upload->n_blocks);
    at += 4;
    memcpy(at, upload->header, TB_UPLOAD_HEADER_BYTES);
}

tb_rc tb_spool_announce_decode(tb_spool_upload *out,
                               const tb_spool_record *record,
                               const uint8_t *body, tb_err *err)
{
    tb_spool_upload u = {.id = record->id};
    char client[TB_NAME_BYTES + 1] = {0};
    memcpy(client, body, TB_NAME_BYTES);
    body += TB_NAME_BYTES;
    memcpy(u.config.bytes, body, TB_HASH_BYTES);
    body += TB_HASH_BYTES;
    u.n_blocks = tb_le32_get(body);
    memcpy(u.header, body + 4, TB_UPLOAD_HEADER_BYTES);
    if (!tb_name_set(&u.client, client)) {
        return tb_fail(err, TB_E_MALFORMED, "spool: no client name");
    }
    if (u.n_blocks == 0 || u.n_blocks > TB_BLOCKS_MAX) {
        return tb_fail(err, TB_E_LIMIT, "spool: an upload of %u blocks",
                       u.n_blocks);
    }
    *out = u;
    return TB_OK;
}
