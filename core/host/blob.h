/* core/host/blob.h - immutable blobs, addressed by content: raw bytes in, a
 * zstd file named by the hash of its stored bytes out. Any thread.
 * Formats: docs/formats.md. */
#ifndef TB_HOST_BLOB_H
#define TB_HOST_BLOB_H

#include <stdbool.h>

#include "base/hash.h"
#include "host/shared.h"

#define TB_BLOB_BYTES_MAX   ((size_t)1 << 31)
#define TB_BLOB_LEVEL_FAST  3  /* models of rounds */
#define TB_BLOB_LEVEL_SMALL 19 /* published models */

typedef struct tb_blobs tb_blobs;

/* Both names of a blob. */
typedef struct tb_blob_ref {
    tb_hash raw;
    uint64_t raw_bytes;
    tb_hash stored;
    uint64_t stored_bytes;
} tb_blob_ref;

/* Opens the folder of blobs and makes it when it is not there. */
tb_rc tb_blobs_open(tb_blobs **out, const char *dir, tb_err *err)
    TB_NONNULL(1, 2) TB_MUST_CHECK;
void tb_blobs_close(tb_blobs **blobs) TB_NONNULL(1);

/* Until it is closed, no sweep takes what nobody names yet, whatever process
 * wants it: for a command that puts blobs in which a daemon will name. Waits
 * for a sweep that is going on. Errors: IO. */
tb_rc tb_blobs_hold(tb_blobs *blobs, tb_err *err) TB_NONNULL(1) TB_MUST_CHECK;

/* Stores len raw bytes, synced; what is there already stays and is named again.
 * It is pinned: nothing removes it until it is settled as often as it was put.
 * level: of zstd. Errors: FULL, LIMIT, IO, NOMEM; nothing is left behind. */
tb_rc tb_blobs_put(tb_blobs *blobs, const uint8_t *raw, size_t len, int level,
                   tb_blob_ref *out, tb_err *err)
    TB_NONNULL(1, 5) TB_MUST_CHECK;

/* Stores bytes that were received in stored form, after verifying them against
 * all four numbers of ref. Errors: as put and tb_blob_unpack. */
tb_rc tb_blobs_put_stored(tb_blobs *blobs, const uint8_t *stored, size_t len,
                          const tb_blob_ref *ref, tb_err *err)
    TB_NONNULL(1, 4) TB_MUST_CHECK;

/* The same for the bytes of a file, whatever its size, in little memory.
 * Errors: as put, NOT_FOUND, MISMATCH (it changes meanwhile). */
tb_rc tb_blobs_put_file(tb_blobs *blobs, const char *path, int level,
                        tb_blob_ref *out, tb_err *err)
    TB_NONNULL(1, 2, 4) TB_MUST_CHECK;

/* Writes the raw bytes of a blob as a file of this mode, atomically, in little
 * memory, all of ref verified: from the folder, or from a file that holds the
 * stored bytes. Errors: NOT_FOUND, MISMATCH, MALFORMED, FULL, IO, NOMEM; then
 * there is no such file, or the one before. */
tb_rc tb_blobs_extract(tb_blobs *blobs, const tb_hash *raw, const char *to,
                       unsigned mode, tb_err *err)
    TB_NONNULL(1, 2, 3) TB_MUST_CHECK;
tb_rc tb_blob_unpack_file(const char *stored, const tb_blob_ref *ref,
                          const char *to, unsigned mode, tb_err *err)
    TB_NONNULL(1, 2, 3) TB_MUST_CHECK;

/* The same into a file that is open, from where it stands; it is not synced.
 * Errors: as above. */
tb_rc tb_blob_unpack_fd(const char *stored, const tb_blob_ref *ref, int to,
                        tb_err *err) TB_NONNULL(1, 2) TB_MUST_CHECK;

/* Whether all of ref holds, without writing anything; and a copy of a blob in
 * another folder, checked so, and pinned there. In little memory. Errors:
 * NOT_FOUND, MISMATCH, MALFORMED, IO, NOMEM; of copy also FULL. */
tb_rc tb_blobs_check(tb_blobs *blobs, const tb_blob_ref *ref, tb_err *err)
    TB_NONNULL(1, 2) TB_MUST_CHECK;
tb_rc tb_blobs_copy(tb_blobs *to, tb_blobs *from, const tb_blob_ref *ref,
                    tb_err *err) TB_NONNULL(1, 2, 3) TB_MUST_CHECK;

/* Hash and size of a file, in little memory. Errors: NOT_FOUND, USAGE (no
 * file), IO, NOMEM. */
tb_rc tb_blob_file_hash(const char *path, tb_hash *out, uint64_t *bytes,
                        tb_err *err) TB_NONNULL(1, 2, 3) TB_MUST_CHECK;

/* Finds a blob by its raw hash. Errors: NOT_FOUND, MALFORMED, IO. */
tb_rc tb_blobs_find(tb_blobs *blobs, const tb_hash *raw, tb_blob_ref *out,
                    tb_err *err) TB_NONNULL(1, 2, 3) TB_MUST_CHECK;

/* Appends the raw bytes to out, both hashes and both sizes verified. Errors:
 * NOT_FOUND, MISMATCH, MALFORMED, LIMIT, IO, NOMEM. */
tb_rc tb_blobs_load(tb_blobs *blobs, const tb_blob_ref *ref, tb_buf *out,
                    tb_err *err) TB_NONNULL(1, 2, 3) TB_MUST_CHECK;

/* The raw bytes of a blob in a file, to become those of another: for models
 * that shall not be in memory. One owner. */
typedef struct tb_blob_edit tb_blob_edit;

/* Unpacks a blob into a file of no name; both hashes and both sizes are
 * verified. Errors: NOT_FOUND, MISMATCH, MALFORMED, FULL, IO, NOMEM. */
tb_rc tb_blobs_edit(tb_blob_edit **out, tb_blobs *blobs, const tb_blob_ref *ref,
                    tb_err *err) TB_NONNULL(1, 2, 3) TB_MUST_CHECK;

/* An empty one, to be written. Errors: FULL, IO, NOMEM. */
tb_rc tb_blobs_edit_new(tb_blob_edit **out, tb_blobs *blobs, tb_err *err)
    TB_NONNULL(1, 2) TB_MUST_CHECK;

/* The file, to read and write with offsets (pread, pwrite). */
int tb_blob_edit_fd(const tb_blob_edit *edit) TB_NONNULL(1);

/* Hash of its bytes. Errors: IO, NOMEM. */
tb_rc tb_blob_edit_hash(const tb_blob_edit *edit, tb_hash *out, tb_err *err)
    TB_NONNULL(1, 2) TB_MUST_CHECK;

/* Closes it and nulls *edit: the bytes are gone. NULL is fine. */
void tb_blob_edit_free(tb_blob_edit **edit) TB_NONNULL(1);

/* Stores the file's bytes as tb_blobs_put does those in memory. */
tb_rc tb_blobs_put_edit(tb_blobs *blobs, const tb_blob_edit *edit, int level,
                        tb_blob_ref *out, tb_err *err)
    TB_NONNULL(1, 2, 4) TB_MUST_CHECK;

/* Bytes of a stored blob. */
typedef struct tb_blob_range {
    uint64_t offset;
    size_t len;     /* as many at most; then as many as there are */
    uint64_t total; /* out: of the whole blob */
} tb_blob_range;

/* A piece of the stored bytes, shared by all who ask for the same: to serve a
 * blob to many without having it in memory. The first to ask waits until the
 * whole was verified (up to 1 GB). want->len: at least 1. The caller frees
 * *out. Errors: NOT_FOUND (no such blob, or no such offset), MISMATCH, IO,
 * NOMEM. */
tb_rc tb_blobs_part(tb_blobs *blobs, const tb_hash *stored, tb_blob_range *want,
                    tb_shared **out, tb_err *err)
    TB_NONNULL(1, 2, 3, 4) TB_MUST_CHECK;

/* Somebody else's record names the blob now: takes one pin off, if there is
 * one. */
void tb_blobs_settle(tb_blobs *blobs, const tb_hash *raw) TB_NONNULL(1, 2);

/* Forgets a blob; one that is not there, or is pinned, is fine. Errors: IO. */
tb_rc tb_blobs_remove(tb_blobs *blobs, const tb_blob_ref *ref, tb_err *err)
    TB_NONNULL(1, 2) TB_MUST_CHECK;

typedef enum tb_blob_file_kind {
    TB_BLOB_FILE_STORED, /* aa/<stored hash> */
    TB_BLOB_FILE_INDEX,  /* raw/aa/<raw hash> */
    TB_BLOB_FILE_OTHER   /* left over from a crash, or not of ours */
} tb_blob_file_kind;

typedef struct tb_blob_file {
    tb_blob_file_kind kind;
    tb_hash name;     /* STORED, INDEX */
    const char *path; /* borrowed */
} tb_blob_file;

/* Called for each file, in any order. A code other than TB_OK ends it. */
typedef tb_rc tb_blob_file_fn(void *arg, const tb_blob_file *file, tb_err *err);
tb_rc tb_blobs_each(const tb_blobs *blobs, tb_blob_file_fn *fn, void *arg,
                    tb_err *err) TB_NONNULL(1, 2) TB_MUST_CHECK;

/* Whether a stored file's bytes are those of its name. Errors: NOT_FOUND,
 * MISMATCH, IO, NOMEM. */
tb_rc tb_blobs_verify(tb_blobs *blobs, const tb_hash *stored, tb_err *err)
    TB_NONNULL(1, 2) TB_MUST_CHECK;

/* What a sweep removes. */
typedef struct tb_blob_sweep {
    bool (*keep)(const void *arg, const tb_hash *raw);
    const void *arg;
    bool dry_run;      /* only counts */
    uint64_t n, bytes; /* out: files, and what they held */
} tb_blob_sweep;

/* Removes every file that belongs to no blob that is kept or pinned. Errors:
 * BUSY (somebody holds them), MALFORMED (the index of a kept blob is damaged):
 * nothing was removed; IO, NOMEM. */
tb_rc tb_blobs_sweep(tb_blobs *blobs, tb_blob_sweep *sweep, tb_err *err)
    TB_NONNULL(1, 2) TB_MUST_CHECK;

/* Appends to out the raw bytes of stored ones in memory, after checking hashes
 * and sizes; unpacks never more than ref->raw_bytes. Errors: MISMATCH,
 * MALFORMED, LIMIT (over out->max or TB_BLOB_BYTES_MAX), NOMEM. */
tb_rc tb_blob_unpack(const uint8_t *stored, size_t len, const tb_blob_ref *ref,
                     tb_buf *out, tb_err *err) TB_NONNULL(3, 4) TB_MUST_CHECK;

#endif
