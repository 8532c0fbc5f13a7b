/* core/work/checkpoint.h - the sum of an open round on disk, sealed under the
 * master key, so that a restart need not open and add every update again. It
 * names the updates that it holds and the journal's row up to which it is true;
 * one that does not fit is not used, and the spool is read instead.
 *
 * File: records of length u32le and wrapped bytes (crypto/wrap.h). The first,
 * of context "checkpoint RUN CONFIG": version u8 = 1 | row u64le | chain hash
 * of that row | n_values u64le | n u32le | n times: length u8 and client |
 * upload id | update hash | weight u32le | full u32le. Then the sum's values,
 * int64le, in records of at most 131,072, of contexts "checkpoint RUN CONFIG
 * ROW INDEX" from index 0. */
#ifndef TB_WORK_CHECKPOINT_H
#define TB_WORK_CHECKPOINT_H

#include "crypto/wrap.h"
#include "work/intake.h"

typedef struct tb_checkpoint {
    const char *path;
    const tb_master_key *master;
    tb_run_id run;
    tb_hash config;
    uint64_t row;  /* last one of the journal */
    tb_hash chain; /* of that row */
} tb_checkpoint;

/* Writes the sum of an intake that is settled (tb_intake_settle), atomically
 * and synced. deadline_ms: up-time (base/clock.h) at which to give up. Errors:
 * TIMEOUT, FULL, IO, NOMEM; then there is no file. */
tb_rc tb_checkpoint_write(const tb_checkpoint *c, tb_intake *intake,
                          int64_t deadline_ms, tb_err *err)
    TB_NONNULL(1, 2) TB_MUST_CHECK;

/* Whether what a file names fits all else that is known. */
typedef tb_rc tb_checkpoint_fits_fn(void *arg, const tb_checkpoint *c,
                                    const tb_counted *counted, size_t n,
                                    tb_err *err);

/* Reads the file into an intake whose sum is empty; row and chain are filled
 * before fits is asked. On failure the sum is empty. Errors: NOT_FOUND (no
 * file), DENIED, MALFORMED, MISMATCH (another sum), UNSUPPORTED, those of fits,
 * LIMIT, IO, NOMEM. */
tb_rc tb_checkpoint_read(tb_checkpoint *c, tb_intake *intake,
                         tb_checkpoint_fits_fn *fits, void *arg, tb_err *err)
    TB_NONNULL(1, 2, 3) TB_MUST_CHECK;

/* Reads the file to its end and keeps nothing of it but row and chain. Errors:
 * NOT_FOUND, DENIED, MALFORMED, UNSUPPORTED, LIMIT, IO, NOMEM. */
tb_rc tb_checkpoint_look(tb_checkpoint *c, tb_err *err)
    TB_NONNULL(1) TB_MUST_CHECK;

#endif
