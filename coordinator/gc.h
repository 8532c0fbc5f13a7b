/* coordinator/gc.h - removes what no row needs any more: old models of rounds,
 * old versions, updates and keys of runs that were kept long enough, and what
 * crashes left over. What a row names goes only after a row says so (record
 * swept), so that a kill in between leaves nothing that looks lost. */
#ifndef TB_COORDINATOR_GC_H
#define TB_COORDINATOR_GC_H

#include "host/json.h"
#include "state.h"

/* Makes one record durable and takes it into the state, or says why not. */
typedef tb_rc tb_gc_journal_fn(void *arg, const tb_record *record, tb_err *err);

typedef struct tb_gc_options {
    tb_retention retention;
    bool dry_run;
    bool leftovers; /* looks at every file, also when no row lets any go */
    tb_gc_journal_fn *journal;
    void *arg; /* of it */
} tb_gc_options;

typedef struct tb_gc_result {
    uint64_t n_blobs;        /* that rows named and let go */
    uint64_t n_runs;         /* whose key and updates went */
    uint64_t n_files, bytes; /* of blobs, leftovers too */
} tb_gc_result;

/* Collects. Blobs that were put and that no row names yet stay. Errors:
 * MISMATCH, NOT_FOUND, MALFORMED (something that must stay is damaged: nothing
 * is removed), IO, NOMEM, and those of journal. */
tb_rc tb_gc_run(tb_gc_result *out, tb_state *state,
                const tb_gc_options *options, tb_err *err)
    TB_NONNULL(1, 2, 3) TB_MUST_CHECK;

/* The result as JSON, which the caller frees. Errors: NOMEM. */
tb_rc tb_gc_report(tb_json **out, const tb_gc_result *result, tb_err *err)
    TB_NONNULL(1, 2) TB_MUST_CHECK;

#endif
