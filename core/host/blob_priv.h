/* core/host/blob_priv.h - the inside of a folder of blobs, for blob.c,
 * blob_part.c, blob_stream.c and blob_sweep.c. */
#ifndef TB_HOST_BLOB_PRIV_H
#define TB_HOST_BLOB_PRIV_H

#include <pthread.h>

#include <zstd.h>

#include "host/blob.h"

/* An index entry: "TBBI" | version u32le = 1 | raw hash 32 | raw bytes u64le |
 * stored hash 32 | stored bytes u64le | BLAKE2b-256 of these. */
#define TB_BLOB_INDEX_VERSION      1u
#define TB_BLOB_INDEX_SIGNED_BYTES 88
#define TB_BLOB_INDEX_BYTES        (TB_BLOB_INDEX_SIGNED_BYTES + TB_HASH_BYTES)

/* Of what is packed small, as powers of two: zstd takes 2.4 MB for it, not the
 * 85 that it wants for a model of 8 MB, and who unpacks it 256 KB. Weights
 * repeat nothing that lies farther away: fp32, pruned and quantised models come
 * out within 0.1 % as long. */
#define TB_BLOB_WINDOW_LOG 18
#define TB_BLOB_TABLE_LOG  17

#define TB_BLOB_OPEN       4
#define TB_BLOB_PIECES     32

/* A blob of which pieces are read: verified, and open. */
typedef struct tb_blob_open {
    tb_hash hash; /* of the stored bytes */
    int fd;
    uint64_t bytes;
    uint64_t used; /* rises with each use; 0: free place */
} tb_blob_open;

typedef struct tb_blob_piece {
    tb_hash hash;
    uint64_t offset;
    tb_shared *bytes; /* NULL: free place */
} tb_blob_piece;

struct tb_blobs {
    char *dir;
    pthread_mutex_t lock; /* of what is written and removed, and of the rest */
    tb_blob_open open[TB_BLOB_OPEN];
    uint64_t n_uses;
    tb_blob_piece pieces[TB_BLOB_PIECES]; /* those that were read last */
    tb_hash *pins; /* raw hashes of what was put and not yet settled */
    size_t n_pins, cap_pins;
    int hold; /* the folder, locked by tb_blobs_hold; -1: not */
};

/* flock(2) of the folder until *fd is closed. Errors: BUSY (LOCK_NB), IO. */
tb_rc tb_blob_lock(const tb_blobs *blobs, int how, int *fd, tb_err *err)
    TB_NONNULL(1, 3) TB_MUST_CHECK;

/* blob_part.c: closes and frees all of them. */
void tb_blob_parts_release(tb_blobs *blobs) TB_NONNULL(1);

/* Sets a context up to pack len bytes at this level. Errors: NOMEM. */
tb_rc tb_blob_set_level(ZSTD_CCtx *context, int level, uint64_t len,
                        tb_err *err) TB_NONNULL(1) TB_MUST_CHECK;

/* Path of the stored file of this name, for the caller to free. Errors: NOMEM.
 */
tb_rc tb_blob_stored_path(const tb_blobs *blobs, const tb_hash *stored,
                          char **out, tb_err *err)
    TB_NONNULL(1, 2, 3) TB_MUST_CHECK;

/* Makes the folder that path lies in, durably. */
tb_rc tb_blob_make_place(char *path, tb_err *err) TB_NONNULL(1) TB_MUST_CHECK;

/* Writes the index entry; the lock is held. */
tb_rc tb_blob_index_write(tb_blobs *blobs, const tb_blob_ref *ref, tb_err *err)
    TB_NONNULL(1, 2) TB_MUST_CHECK;

/* Pins the blob of this raw hash; the lock is held. Errors: NOMEM. */
tb_rc tb_blob_pin(tb_blobs *blobs, const tb_hash *raw, tb_err *err)
    TB_NONNULL(1, 2) TB_MUST_CHECK;

/* Whether the stored file is there with the size that ref names. */
bool tb_blob_is_there(tb_blobs *blobs, const tb_blob_ref *ref) TB_NONNULL(1, 2);

/* Pins the blob if both its files are there. Errors: NOMEM. */
tb_rc tb_blob_pin_old(tb_blobs *blobs, const tb_hash *raw, tb_blob_ref *out,
                      bool *found, tb_err *err)
    TB_NONNULL(1, 2, 3, 4) TB_MUST_CHECK;

/* Renames a synced file to path, where ref's stored bytes lie, writes the index
 * and pins the blob. Errors: FULL, IO, NOMEM. */
tb_rc tb_blob_adopt(tb_blobs *blobs, const char *from, char *path,
                    const tb_blob_ref *ref, tb_err *err)
    TB_NONNULL(1, 2, 3, 4) TB_MUST_CHECK;

/* zstd takes its memory where all else does. */
void *tb_blob_take_memory(void *arg, size_t size);
void tb_blob_give_memory(void *arg, void *p);

/* Removes both files of a blob that is not pinned; the lock is held. *removed:
 * whether there was something. Errors: IO. */
tb_rc tb_blob_remove_unpinned(tb_blobs *blobs, const tb_blob_ref *ref,
                              bool *removed, tb_err *err)
    TB_NONNULL(1, 2, 3) TB_MUST_CHECK;

/* Whether it is pinned; the lock is held. */
bool tb_blob_is_pinned(const tb_blobs *blobs, const tb_hash *raw)
    TB_NONNULL(1, 2);

#endif
