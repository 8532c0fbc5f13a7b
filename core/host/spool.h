/* core/host/spool.h - sealed updates on disk as they came: one append-only
 * segment a round configuration, an index in memory. Knows nothing of what the
 * bytes hold. One owner at a time. Formats: docs/formats.md.
 *
 * Written is not durable: tb_spool_sync makes all before it so. A tail that was
 * torn by a crash is found by length and hash and cut off when the segment is
 * opened. */
#ifndef TB_HOST_SPOOL_H
#define TB_HOST_SPOOL_H

#include "base/buf.h"
#include "host/spool_record.h"

typedef struct tb_spool tb_spool;

/* Opens the segment of one round configuration below dir, and makes it when it
 * is not there; cuts a torn tail. Errors: UNSUPPORTED (format), FULL, IO,
 * NOMEM. */
tb_rc tb_spool_open(tb_spool **out, const char *dir, const tb_run_id *run,
                    const tb_hash *config, tb_err *err)
    TB_NONNULL(1, 2, 3, 4) TB_MUST_CHECK;

/* The same for reading only; a torn tail is left and not seen. Errors:
 * NOT_FOUND, and as above. */
tb_rc tb_spool_open_read(tb_spool **out, const char *dir, const tb_run_id *run,
                         const tb_hash *config, tb_err *err)
    TB_NONNULL(1, 2, 3, 4) TB_MUST_CHECK;

/* Cuts off the record that a kill left half written at the end, without reading
 * the blocks before it: for a segment to which nobody may write for long. One
 * that is not there is fine. Errors: as above. */
tb_rc tb_spool_trim(const char *dir, const tb_run_id *run,
                    const tb_hash *config, tb_err *err)
    TB_NONNULL(1, 2, 3) TB_MUST_CHECK;

/* Closes it and nulls *spool; syncs nothing. NULL is fine. */
void tb_spool_close(tb_spool **spool) TB_NONNULL(1);

/* Announces an upload; its id is new here. Errors: EXISTS, LIMIT, FULL (the
 * segment is as before), IO, NOMEM. */
tb_rc tb_spool_begin(tb_spool *spool, const tb_spool_upload *upload,
                     tb_err *err) TB_NONNULL(1, 2) TB_MUST_CHECK;

/* Appends one sealed block of an announced upload, in any order, each index
 * once. Errors: NOT_FOUND (upload), EXISTS (index), LIMIT, FULL (the segment
 * is as before), IO, NOMEM. */
tb_rc tb_spool_put(tb_spool *spool, const tb_upload_id *upload, uint32_t index,
                   const uint8_t *sealed, size_t len, tb_err *err)
    TB_NONNULL(1, 2, 4) TB_MUST_CHECK;

/* A sealed block whose BLAKE2b-256 is known already. */
typedef struct tb_spool_block {
    const uint8_t *sealed;
    size_t len;
    tb_hash hash;
} tb_spool_block;

/* The same without hashing it again. */
tb_rc tb_spool_put_hashed(tb_spool *spool, const tb_upload_id *upload,
                          uint32_t index, const tb_spool_block *block,
                          tb_err *err) TB_NONNULL(1, 2, 4) TB_MUST_CHECK;

/* Makes all that was written durable; costs nothing when nothing was. */
tb_rc tb_spool_sync(tb_spool *spool, tb_err *err) TB_NONNULL(1) TB_MUST_CHECK;

/* The same in three parts, so that others may append while the disk works: only
 * the second may run without the spool. One at a time. */
typedef struct tb_spool_flush {
    int fd;
    uint64_t until; /* bytes that are durable when it went well */
    int error;      /* errno; 0: it went well */
} tb_spool_flush;
tb_rc tb_spool_flush_begin(const tb_spool *spool, tb_spool_flush *flush,
                           tb_err *err) TB_NONNULL(1, 2) TB_MUST_CHECK;
void tb_spool_flush_run(tb_spool_flush *flush) TB_NONNULL(1);
tb_rc tb_spool_flush_end(tb_spool *spool, const tb_spool_flush *flush,
                         tb_err *err) TB_NONNULL(1, 2) TB_MUST_CHECK;

/* Bytes of the segment that are durable. */
uint64_t tb_spool_durable(const tb_spool *spool) TB_NONNULL(1);

/* Uploads of the segment, in the order of their announcements. */
size_t tb_spool_uploads(const tb_spool *spool) TB_NONNULL(1);
const tb_spool_upload *tb_spool_upload_at(const tb_spool *spool, size_t i)
    TB_NONNULL(1);

/* The announced upload, or NULL. Valid until the next begin. */
const tb_spool_upload *tb_spool_find(const tb_spool *spool,
                                     const tb_upload_id *upload)
    TB_NONNULL(1, 2);

/* First block of the upload that is not here: what a resume starts from. */
uint32_t tb_spool_next(const tb_spool *spool, const tb_upload_id *upload)
    TB_NONNULL(1, 2);

/* Appends a block as it came to out. Errors: NOT_FOUND, MALFORMED (the disk
 * gives other bytes than were written), LIMIT, IO, NOMEM. */
tb_rc tb_spool_read(const tb_spool *spool, const tb_upload_id *upload,
                    uint32_t index, tb_buf *out, tb_err *err)
    TB_NONNULL(1, 2, 4) TB_MUST_CHECK;

/* Bytes in the segment. */
uint64_t tb_spool_bytes(const tb_spool *spool) TB_NONNULL(1);

/* Deletes one configuration's segment, or everything of a run; what is not
 * there is fine. Errors: IO. */
tb_rc tb_spool_remove(const char *dir, const tb_run_id *run,
                      const tb_hash *config, tb_err *err)
    TB_NONNULL(1, 2, 3) TB_MUST_CHECK;
tb_rc tb_spool_remove_run(const char *dir, const tb_run_id *run, tb_err *err)
    TB_NONNULL(1, 2) TB_MUST_CHECK;

#endif
