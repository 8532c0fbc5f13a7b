/* client/sealed.h - a sealed update on the client's disk, written whole before
 * the first block leaves, so that a resume sends the very same bytes.
 * File: "TBSF" | version u32le = 1 | n_blocks u32le | 0 u32le | header 64 |
 * length u32le [n_blocks] | the sealed blocks, one after the other. */
#ifndef TB_CLIENT_SEALED_H
#define TB_CLIENT_SEALED_H

#include "crypto/keys.h"
#include "fed/client.h"

typedef struct sealed_options {
    const tb_round_config *config;
    const tb_hash *hash; /* of its canonical bytes */
    const tb_name *client;
    const tb_sign_key *key;
    const float *values; /* of all sections */
    uint32_t weight;
} sealed_options;

/* Encodes, seals, signs and writes an update, synced. Errors: MALFORMED (a
 * value is not finite), LIMIT, DENIED (the run's key), FULL, IO, NOMEM. */
tb_rc sealed_write(const char *path, const sealed_options *options,
                   tb_sealed *out, tb_err *err) TB_MUST_CHECK;

/* Appends one block to out. Errors: NOT_FOUND (no such file, or of another
 * upload), MALFORMED, LIMIT, IO, NOMEM. */
tb_rc sealed_read(const char *path, const tb_upload_id *upload, uint32_t index,
                  tb_buf *out, tb_err *err) TB_MUST_CHECK;

#endif
