/* coordinator/disk.h - how much room a run may take on the coordinator's disk,
 * told before it starts. Counts; touches no file but for the free room. */
#ifndef TB_COORDINATOR_DISK_H
#define TB_COORDINATOR_DISK_H

#include "fed/run.h"
#include "settings.h"

typedef struct tb_disk_need {
    uint64_t models;  /* of rounds, and what is published */
    uint64_t updates; /* sealed, of all that a round takes */
    uint64_t journal;
} tb_disk_need;

/* What a run takes at most under these settings: models as large as raw,
 * updates of a full round (or, with keep_updates, of all rounds). Saturates. */
tb_disk_need tb_disk_need_of(const tb_run_params *params,
                             const tb_daemon_settings *settings) TB_NONNULL(1);

/* Whether these bytes of room on dir's disk suffice for it, for the updates of
 * others that live (bytes), and for settings->keep_free beside. Errors: FULL
 * (says need, have and how to mend). */
tb_rc tb_disk_fits(const char *dir, uint64_t room, const tb_disk_need *need,
                   uint64_t others, const tb_daemon_settings *settings,
                   tb_err *err) TB_NONNULL(1, 3, 5) TB_MUST_CHECK;

/* The same with the room that dir has now. Errors: also NOT_FOUND, IO. */
tb_rc tb_disk_check(const char *dir, const tb_disk_need *need, uint64_t others,
                    const tb_daemon_settings *settings, tb_err *err)
    TB_NONNULL(1, 2, 4) TB_MUST_CHECK;

#endif
