/* core/host/spool_priv.h - the inside of an open segment, for its own files:
 * spool_segment.c (the file), spool_index.c (what is in it) and spool.c (its
 * blocks). */
#ifndef TB_HOST_SPOOL_PRIV_H
#define TB_HOST_SPOOL_PRIV_H

#include "host/spool.h"

typedef struct tb_spool_entry {
    tb_spool_upload info;
    uint32_t next; /* first block that is not here */
    uint64_t *at;  /* [n_blocks] offset of each block's record; 0: none */
} tb_spool_entry;

struct tb_spool {
    char *path;
    int fd; /* its position is always end */
    uint64_t end;
    tb_spool_entry *uploads;
    size_t n, cap;
    uint64_t durable; /* bytes that were synced */
    uint32_t *slots;  /* [n_slots] by id, open addressing: index + 1; 0: free */
    size_t n_slots;   /* a power of two, at least twice n */
    bool broken;      /* a sync failed: what the disk holds is not known */
    bool heads_only;  /* the scan looks at the length of a block only */
    uint8_t *body;    /* [TB_PAYLOAD_BYTES_MAX] scratch of the scan */
};

/* Bytes of the file. Errors: MALFORMED (it ends before), IO. */
tb_rc tb_spool_pread(const tb_spool *s, uint8_t *out, size_t len,
                     uint64_t offset, tb_err *err) TB_NONNULL(1) TB_MUST_CHECK;

/* The upload of this id, or NULL. */
tb_spool_entry *tb_spool_index_find(const tb_spool *s, const tb_upload_id *id)
    TB_NONNULL(1, 2);

/* Makes room for one more upload of n_blocks; on TB_OK *at is its table, which
 * the caller gives to tb_spool_index_upload or frees. Errors: NOMEM. */
tb_rc tb_spool_index_reserve(tb_spool *s, uint32_t n_blocks, uint64_t **at,
                             tb_err *err) TB_NONNULL(1, 3) TB_MUST_CHECK;
void tb_spool_index_upload(tb_spool *s, const tb_spool_upload *info,
                           uint64_t *at) TB_NONNULL(1, 2, 3);

/* The record of a block lies at this offset. */
void tb_spool_index_block(tb_spool_entry *u, uint32_t index, uint64_t offset)
    TB_NONNULL(1);

/* Frees what the index holds. */
void tb_spool_index_release(tb_spool *s) TB_NONNULL(1);

#endif
