/* core/host/spool_record.h - one record of a spool segment: the decoder of
 * spool.c, by itself so that any bytes can be thrown at it. Uses no files.
 *
 * 64 bytes: "TBSR" | kind u32le | upload id 16 | index u32le | body u32le |
 * BLAKE2b-256 of the 32 bytes before it and of BLAKE2b-256(body); then the
 * body. The body
 * of ANNOUNCE (kind 1, index 0): client 64 (NUL-padded) | config hash 32 |
 * n_blocks u32le | seal header 64. The body of BLOCK (kind 2): the sealed
 * block. */
#ifndef TB_HOST_SPOOL_RECORD_H
#define TB_HOST_SPOOL_RECORD_H

#include <stdbool.h>

#include "base/hash.h"
#include "wire/msg.h"

#define TB_SPOOL_RECORD_BYTES 64
#define TB_SPOOL_ANNOUNCE_BYTES                                                \
    (TB_NAME_BYTES + 32 + 4 + TB_UPLOAD_HEADER_BYTES)

/* An upload as it was announced. */
typedef struct tb_spool_upload {
    tb_upload_id id;
    tb_name client;
    tb_hash config;
    uint32_t n_blocks;                      /* 1 to TB_BLOCKS_MAX */
    uint8_t header[TB_UPLOAD_HEADER_BYTES]; /* of the seal */
} tb_spool_upload;

typedef enum tb_spool_kind {
    TB_SPOOL_ANNOUNCE = 1,
    TB_SPOOL_BLOCK = 2
} tb_spool_kind;

typedef struct tb_spool_record {
    tb_spool_kind kind;
    tb_upload_id id;
    uint32_t index;
    uint32_t body_bytes;
    tb_hash check;
} tb_spool_record;

/* Writes the head of a record whose check is set here; body: the hash of the
 * body, which whoever counts an update has at hand. */
void tb_spool_record_encode(tb_spool_record *record, const tb_hash *body,
                            uint8_t out[static TB_SPOOL_RECORD_BYTES])
    TB_NONNULL(1, 2, 3);

/* Reads the head of a record; the body is not seen yet. Errors: MALFORMED,
 * LIMIT. */
tb_rc tb_spool_record_decode(tb_spool_record *out,
                             const uint8_t in[static TB_SPOOL_RECORD_BYTES],
                             tb_err *err) TB_NONNULL(1, 2) TB_MUST_CHECK;

/* Whether head and body are the bytes that were written. */
bool tb_spool_record_check(const tb_spool_record *record, const uint8_t *head,
                           const uint8_t *body) TB_NONNULL(1, 2);

/* The body of an ANNOUNCE. Errors: MALFORMED, LIMIT. */
void tb_spool_announce_encode(const tb_spool_upload *upload,
                              uint8_t out[static TB_SPOOL_ANNOUNCE_BYTES])
    TB_NONNULL(1, 2);
tb_rc tb_spool_announce_decode(tb_spool_upload *out,
                               const tb_spool_record *record,
                               const uint8_t *body, tb_err *err)
    TB_NONNULL(1, 2, 3) TB_MUST_CHECK;

#endif
