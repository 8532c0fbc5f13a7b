/* coordinator/chronicle.h - what happens, as the log and the counters tell it:
 * one line a durable row, with run, round and client where there is one. Made
 * from the journal's rows; counts are since this process started. One owner. */
#ifndef TB_COORDINATOR_CHRONICLE_H
#define TB_COORDINATOR_CHRONICLE_H

#include "fed/record.h"

#define TB_CHRONICLE_ROUNDS 256 /* remembered, the oldest is forgotten first */

typedef struct tb_chronicle_round {
    tb_hash config;
    tb_run_id run;
    uint32_t round, attempt;
    int64_t opened_ms; /* up-time; 0: before this process */
} tb_chronicle_round;

typedef struct tb_chronicle {
    tb_chronicle_round *rounds; /* owned ring of TB_CHRONICLE_ROUNDS, or NULL */
    size_t n;                   /* ever remembered */
    uint64_t n_committed, n_abandoned;
    uint64_t n_accepted, n_expelled;
    uint64_t n_enrolled;
} tb_chronicle;

/* Takes any row, old or new: remembers rounds. Errors: NOMEM. */
tb_rc tb_chronicle_add(tb_chronicle *c, const tb_record *record, tb_err *err)
    TB_NONNULL(1, 2) TB_MUST_CHECK;

/* A new row is durable: logs and counts it. */
void tb_chronicle_tell(tb_chronicle *c, const tb_record *record, uint64_t seq,
                       int64_t now_ms) TB_NONNULL(1, 2);

/* The round of this configuration, or NULL when it is not remembered. */
const tb_chronicle_round *tb_chronicle_find(const tb_chronicle *c,
                                            const tb_hash *config)
    TB_NONNULL(1, 2);

void tb_chronicle_release(tb_chronicle *c) TB_NONNULL(1);

#endif
