/* core/host/head.h - the head of the journal's chain in a file of its own: two
 * slots, written in turn and synced, so that a torn write leaves the other.
 * Of the store only. Format: docs/formats.md. */
#ifndef TB_HOST_HEAD_H
#define TB_HOST_HEAD_H

#include "base/err.h"
#include "base/hash.h"

typedef struct tb_head {
    int fd;        /* -1: closed */
    int slot;      /* the one that holds seq and chain */
    uint64_t seq;  /* last acknowledged row */
    tb_hash chain; /* after that row */
} tb_head;

/* Makes the file of a journal that ends in this row; 0 and zeros: an empty one.
 * Errors: FULL, IO. */
tb_rc tb_head_create(const char *path, uint64_t seq, const tb_hash *chain,
                     tb_err *err) TB_NONNULL(1, 3) TB_MUST_CHECK;

/* Looks at every byte. Errors: NOT_FOUND, MALFORMED, IO. */
tb_rc tb_head_check(const char *path, tb_err *err) TB_NONNULL(1) TB_MUST_CHECK;

/* Opens the file and takes the newer whole slot. Errors: NOT_FOUND, MALFORMED,
 * IO. */
tb_rc tb_head_open(tb_head *head, const char *path, bool writer, tb_err *err)
    TB_NONNULL(1, 2) TB_MUST_CHECK;
void tb_head_close(tb_head *head) TB_NONNULL(1);

/* Writes and syncs a new head. After a failure the file holds the old one or
 * the new one. Errors: IO. */
tb_rc tb_head_write(tb_head *head, uint64_t seq, const tb_hash *chain,
                    tb_err *err) TB_NONNULL(1, 3) TB_MUST_CHECK;

#endif
