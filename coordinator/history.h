/* coordinator/history.h - the rounds of the newest run, one line each: what
 * `watch` shows. Made from the journal's rows; bytes and seconds are known only
 * for rounds that this process saw. One owner. */
#ifndef TB_COORDINATOR_HISTORY_H
#define TB_COORDINATOR_HISTORY_H

#include "fed/record.h"

typedef struct tb_round_line {
    uint32_t round;
    uint32_t n_in, n_asked;
    tb_metrics metrics;
    tb_hash model;
    bool seen; /* the next three are known */
    uint64_t bytes_up, bytes_down;
    double seconds;
} tb_round_line;

typedef struct tb_history {
    tb_run_id run;
    tb_name name;
    uint32_t rounds; /* that the job asks for; 0: no run yet */
    bool ended;
    tb_outcome outcome;
    char why[TB_TEXT_BYTES];
    uint32_t buffer;   /* of an asynchronous run; 0: it has none */
    uint32_t n_asked;  /* of the open training round; its buffer */
    tb_round_line *at; /* committed training rounds; owned */
    size_t n, cap;
} tb_history;

/* Takes the next row of the journal. Errors: NOMEM. */
tb_rc tb_history_add(tb_history *history, const tb_record *record, tb_err *err)
    TB_NONNULL(1, 2) TB_MUST_CHECK;

void tb_history_release(tb_history *history) TB_NONNULL(1);

#endif
