/* core/fed/fetch.h - download of one blob in windows, with resume: a small
 * machine for the client, and for any program that pulls a model. The driver
 * keeps the bytes; the machine counts them. */
#ifndef TB_FED_FETCH_H
#define TB_FED_FETCH_H

#include "wire/msg.h"

typedef struct tb_fetch {
    tb_hash blob;   /* hash of the stored bytes */
    uint64_t total; /* their size */
    uint64_t have;  /* bytes held from the front */
    uint64_t asked; /* bytes asked for from the front */
    uint64_t window_bytes;
} tb_fetch;

/* have: bytes already held, at most total. window_bytes: outstanding at most.*/
void tb_fetch_init(tb_fetch *fetch, const tb_hash *blob, uint64_t total,
                   uint64_t have, uint64_t window_bytes) TB_NONNULL(1, 2);

/* Fills the next FETCH to send; false when the window is full or all asked. */
bool tb_fetch_next(tb_fetch *fetch, tb_msg *out) TB_NONNULL(1, 2);

/* Takes a CHUNK: true when its payload is the next bytes, to be appended at
 * chunk->offset; false when it is not wanted (drop it). */
bool tb_fetch_take(tb_fetch *fetch, const tb_msg_chunk *chunk,
                   size_t payload_bytes) TB_NONNULL(1, 2);

/* Forgets what was asked but did not come: after a reconnect or a timeout. */
void tb_fetch_again(tb_fetch *fetch) TB_NONNULL(1);

/* Whether all bytes have come. */
bool tb_fetch_done(const tb_fetch *fetch) TB_NONNULL(1);

#endif
