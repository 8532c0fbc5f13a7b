/* coordinator/state.h - a coordinator's folder, open: journal, blobs, and what
 * the journal says, replayed into the machine, the registry and the history.
 * The daemon works on it; reading verbs make one of their own when no daemon
 * runs. One owner. */
#ifndef TB_COORDINATOR_STATE_H
#define TB_COORDINATOR_STATE_H

#include "chronicle.h"
#include "fed/coordinator.h"
#include "history.h"
#include "host/blob.h"
#include "host/folder.h"
#include "host/store.h"
#include "marks.h"
#include "registry.h"

typedef struct tb_state {
    tb_folder *folder;
    tb_store *store;
    tb_coordinator *machine;
    tb_registry registry;
    tb_history history;
    tb_marks marks;
    tb_chronicle chronicle;
    tb_blobs *blobs; /* any thread */
} tb_state;

/* Opens dir and replays its journal. federation may be NULL: taken from the
 * folder's certificate file. Errors: as tb_folder_open, tb_store_open,
 * tb_coordinator_replay. */
tb_rc tb_state_open(tb_state *out, const char *dir, tb_folder_use use,
                    tb_err *err) TB_NONNULL(1, 2) TB_MUST_CHECK;

/* Safe twice. */
void tb_state_close(tb_state *state) TB_NONNULL(1);

/* What every journal row, old or new, does to registry, history and
 * chronicle. */
tb_rc tb_state_note(tb_state *state, const tb_record *record, tb_err *err)
    TB_NONNULL(1, 2) TB_MUST_CHECK;

/* Loads the blob of this raw hash. Errors: as tb_blobs_find, tb_blobs_load. */
tb_rc tb_state_blob_find(tb_state *state, const tb_hash *raw, tb_buf *out,
                         tb_err *err) TB_NONNULL(1, 2, 3) TB_MUST_CHECK;

/* A model reference of core/fed as a blob reference, and back. */
tb_blob_ref tb_state_ref(const tb_model_ref *model) TB_NONNULL(1);
tb_model_ref tb_state_model(const tb_blob_ref *blob) TB_NONNULL(1);

#endif
