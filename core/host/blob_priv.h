/* core/host/blob_priv.h - the inside of a folder of blobs, for blob.c and
 * blob_sweep.c. */
#ifndef TB_HOST_BLOB_PRIV_H
#define TB_HOST_BLOB_PRIV_H

#include <pthread.h>

#include "host/blob.h"

/* An index entry: "TBBI" | version u32le = 1 | raw hash 32 | raw bytes u64le |
 * stored hash 32 | stored bytes u64le | BLAKE2b-256 of these. */
#define TB_BLOB_INDEX_VERSION      1u
#define TB_BLOB_INDEX_SIGNED_BYTES 88
#define TB_BLOB_INDEX_BYTES        (TB_BLOB_INDEX_SIGNED_BYTES + TB_HASH_BYTES)

struct tb_blobs {
    char *dir;
    pthread_mutex_t lock; /* of what is written and removed, and of the rest */
    tb_shared *last;      /* what tb_blobs_share gave last, and its name */
    tb_hash last_hash;
    tb_hash *pins; /* raw hashes of what was put and not yet settled */
    size_t n_pins, cap_pins;
};

/* Removes both files of a blob that is not pinned; the lock is held. *removed:
 * whether there was something. Errors: IO. */
tb_rc tb_blob_remove_unpinned(tb_blobs *blobs, const tb_blob_ref *ref,
                              bool *removed, tb_err *err)
    TB_NONNULL(1, 2, 3) TB_MUST_CHECK;

/* Whether it is pinned; the lock is held. */
bool tb_blob_is_pinned(const tb_blobs *blobs, const tb_hash *raw)
    TB_NONNULL(1, 2);

#endif
