/* coordinator/check.h - looks at every file of a coordinator's folder and says
 * what was altered or lost, what that means, and what can be recovered. Changes
 * nothing; the daemon may be at work. */
#ifndef TB_COORDINATOR_CHECK_H
#define TB_COORDINATOR_CHECK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

typedef enum tb_finding_kind {
    TB_FINDING_DAMAGED, /* altered, or cut */
    TB_FINDING_LOST,    /* gone, and not on purpose */
    TB_FINDING_HARMLESS /* mended by the next start */
} tb_finding_kind;

/* "damaged", "lost", "harmless". */
const char *tb_finding_kind_name(tb_finding_kind kind);

typedef struct tb_finding {
    tb_finding_kind kind;
    char what[TB_ERR_TEXT_BYTES]; /* names the file */
    char means[256];
    char mend[256];
} tb_finding;

typedef struct tb_check {
    tb_finding *at; /* owned */
    size_t n, cap;
    /* what was looked at, and held up */
    uint64_t n_rows, n_blobs, blob_bytes, n_keys, n_run_files;
    uint64_t n_segments, n_updates, n_sums;
    uint64_t n_loose;    /* files of blobs that nothing names */
    uint64_t n_receipts; /* of clients */
    uint64_t n_outdated; /* receipts of a time that a restore gave up */
} tb_check;

typedef enum tb_check_part {
    TB_CHECK_JOURNAL = 1,
    TB_CHECK_KEYS = 2,
    TB_CHECK_RUNS = 4,
    TB_CHECK_BLOBS = 8,
    TB_CHECK_SPOOL = 16,
    TB_CHECK_SUMS = 32, /* checkpoints; not without the master key */
    TB_CHECK_ALL = 63
} tb_check_part;

typedef struct tb_check_options {
    const char *dir;
    const char *master_key; /* NULL: beside the folder */
    bool no_master;         /* run keys are not opened, and that is fine */
    unsigned parts;         /* tb_check_part; the journal is always read */
    /* A client's folder, a folder of such folders, or a client's file `state`:
     * their receipts are compared with the journal. NULL: none. */
    const char *receipts;
} tb_check_options;

/* Looks; what is wrong with the folder is a finding, not an error. On TB_OK the
 * caller releases *out. Errors: as tb_folder_open, NOT_FOUND (there is no
 * receipt), NOMEM. */
tb_rc tb_check_run(tb_check *out, const tb_check_options *options, tb_err *err)
    TB_NONNULL(1, 2) TB_MUST_CHECK;

void tb_check_release(tb_check *check) TB_NONNULL(1);

#endif
