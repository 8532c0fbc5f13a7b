/* coordinator/live.h - the run that lives: its job, its key, its data at the
 * coordinator, and the two files that bring it back after a restart:
 *   runs/<id>.job   canonical text of the whole job
 *   runs/<id>.key   the run's secret key, wrapped under the master key
 * and one that only has to be there:
 *   runs/<id>.kept  the key and the spool of this ended run stay, for replay
 * But for the driver's own fields, and the data that the orders of its rounds
 * read one after the other, immutable once open: any thread may read it.
 */
#ifndef TB_COORDINATOR_LIVE_H
#define TB_COORDINATOR_LIVE_H

#include "data/dataset.h"
#include "fed/run.h"
#include "host/job.h"
#include "keys.h"
#include "wire/manifest.h"
#include "work/patch.h"

/* Blobs that an order put and that no row names yet; each holds one pin. */
typedef struct tb_unnamed {
    tb_hash raw[TB_ARTEFACTS_MAX + TB_FILES_MAX + 1]; /* of a version at most */
    size_t n;
} tb_unnamed;

typedef struct tb_live {
    struct tb_live *next; /* the driver's own */
    tb_run_params params; /* a copy of the machine's */
    tb_job job;
    tb_box_key *key;
    tb_patch *patch;       /* where values lie in its models; NULL: not found
                            * out, or of no use. Of the round's own orders */
    tb_dataset *evaluate;  /* NULL: not at the coordinator, or not read yet */
    tb_dataset *calibrate; /* the same */
    tb_dataset *guard;     /* NULL: as calibrate */
    tb_unnamed unnamed; /* of its last order that put any; the driver's own */
    uint32_t users;     /* orders that work with it; the driver's own count */
    bool ended;         /* the last user frees it; the driver's own */
} tb_live;

/* A new run of this job (taken: *job is empty afterwards, on TB_OK) with its
 * data read; params is filled but for id, keys and model. Any thread. Errors:
 * as tb_work_plan, tb_work_dataset, NOMEM. */
tb_rc tb_live_prepare(tb_live **out, tb_job *job_take, tb_err *err)
    TB_NONNULL(1, 2) TB_MUST_CHECK;

/* Draws id and key of a prepared run and writes both files. Errors: FULL, IO,
 * NOMEM. */
tb_rc tb_live_start(tb_live *live, const tb_folder *folder, const tb_keys *keys,
                    tb_err *err) TB_NONNULL(1, 2, 3) TB_MUST_CHECK;

/* Reads what the run needs at the coordinator and has not read yet: after a
 * restart. By one thread at a time. Errors: as tb_work_dataset. */
tb_rc tb_live_data(tb_live *live, tb_err *err) TB_NONNULL(1) TB_MUST_CHECK;

/* The run that the journal says is alive, from its files, without its data.
 * Errors: NOT_FOUND, MISMATCH (another job), DENIED (another master key), and
 * as above. */
tb_rc tb_live_resume(tb_live **out, const tb_folder *folder,
                     const tb_keys *keys, const tb_run_params *params,
                     tb_err *err) TB_NONNULL(1, 2, 3, 4) TB_MUST_CHECK;

/* Wipes the key, frees, nulls. NULL is fine. */
void tb_live_free(tb_live **live) TB_NONNULL(1);

/* Deletes the wrapped key of a run: its sealed updates can never be opened
 * again. One that is gone is fine. Errors: IO. */
tb_rc tb_live_destroy_key(const tb_folder *folder, const tb_run_id *run,
                          tb_err *err) TB_NONNULL(1, 2) TB_MUST_CHECK;

/* Whether the job or the key that the run needs is gone for good. */
bool tb_live_lost(const tb_folder *folder, const tb_run_id *run)
    TB_NONNULL(1, 2);

/* Deletes both files of a run that never began. Errors: IO. */
tb_rc tb_live_discard(const tb_folder *folder, const tb_run_id *run,
                      tb_err *err) TB_NONNULL(1, 2) TB_MUST_CHECK;

/* Marks an ended run whose key and spool stay, and whether it is. Errors: FULL,
 * IO. */
tb_rc tb_live_keep(const tb_folder *folder, const tb_run_id *run, tb_err *err)
    TB_NONNULL(1, 2) TB_MUST_CHECK;
bool tb_live_kept(const tb_folder *folder, const tb_run_id *run)
    TB_NONNULL(1, 2);

/* Takes the mark away; one that is gone is fine. Errors: IO. */
tb_rc tb_live_unkeep(const tb_folder *folder, const tb_run_id *run, tb_err *err)
    TB_NONNULL(1, 2) TB_MUST_CHECK;

/* Reads one of the two files of a run. The job must be the canonical text.
 * Errors: NOT_FOUND, MALFORMED, USAGE; key: DENIED (another master key). */
tb_rc tb_live_read_job(tb_job *out, const tb_folder *folder,
                       const tb_run_id *run, tb_err *err)
    TB_NONNULL(1, 2, 3) TB_MUST_CHECK;
tb_rc tb_live_read_key(tb_box_key **out, const tb_folder *folder,
                       const tb_master_key *master, const tb_run_id *run,
                       tb_err *err) TB_NONNULL(1, 2, 3, 4) TB_MUST_CHECK;

/* Reads job and key of any run whose files are still there: for replay. */
tb_rc tb_live_read(tb_job *job, tb_box_key **key, const tb_folder *folder,
                   const tb_master_key *master, const tb_run_id *run,
                   tb_err *err) TB_NONNULL(1, 2, 3, 4, 5) TB_MUST_CHECK;

/* Lower-case hexadecimal of an id, with a closing NUL. */
#define TB_RUN_HEX_BYTES (2 * TB_RUN_ID_BYTES + 1)
void tb_run_hex(const tb_run_id *run, char out[static TB_RUN_HEX_BYTES])
    TB_NONNULL(1, 2);

#endif
