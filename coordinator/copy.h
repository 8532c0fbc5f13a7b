/* coordinator/copy.h - a whole copy of a coordinator's folder at one row of its
 * journal: what backup and restore have in common. The source is only read, and
 * its daemon may go on meanwhile. */
#ifndef TB_COORDINATOR_COPY_H
#define TB_COORDINATOR_COPY_H

#include <stdint.h>

#include "host/folder.h"

typedef struct tb_copy_options {
    const char *from;       /* a coordinator's folder */
    const char *to;         /* must not be there, or be empty */
    const char *master_key; /* for the last look at the copy; NULL: none */
    /* Leaves the updates of open rounds behind: they count no more. */
    bool restore;
    /* Called on the copy, which it may lock and write to, before its name
     * appears. NULL: nothing. Errors: its own. */
    tb_rc (*finish)(void *arg, const char *dir, tb_err *err);
    void *arg;
} tb_copy_options;

typedef struct tb_copied {
    uint64_t n_rows;  /* of the journal: the row that it is of */
    uint64_t n_blobs; /* and their stored bytes */
    uint64_t bytes;   /* of blobs and spool */
} tb_copied;

/* Copies; on failure nothing is left at `to`. Errors: EXISTS (to), MISMATCH
 * (something that must be there is damaged or gone: says what), FULL, IO,
 * NOMEM, and those of tb_folder_open. */
tb_rc tb_copy_folder(tb_copied *out, const tb_copy_options *options,
                     tb_err *err) TB_NONNULL(1, 2) TB_MUST_CHECK;

#endif
