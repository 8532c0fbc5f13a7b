/* coordinator/history.h - the runs of a coordinator and their rounds, one line
 * a round: what `jobs` and `watch` show. Made from the rows; bytes and seconds
 * are known only for rounds that this process saw. One owner. */
#ifndef TB_COORDINATOR_HISTORY_H
#define TB_COORDINATOR_HISTORY_H

#include "fed/record.h"

#define TB_HISTORY_RUNS                                                        \
    256u /* beyond it, those that ended first are left out */
#define TB_HISTORY_LINED 16u /* so many ended runs keep their rounds */

typedef struct tb_round_line {
    uint32_t round;
    uint32_t n_in, n_asked;
    tb_metrics metrics;
    tb_hash model;
    bool seen;                     /* the next three are known */
    uint64_t bytes_up, bytes_down; /* of the whole network in that time */
    double seconds;
} tb_round_line;

typedef struct tb_run_history {
    tb_run_id run;
    tb_name name;
    uint32_t rounds; /* that the job asks for */
    bool by_clients; /* they evaluate, in a row of its own */
    bool ended;
    tb_outcome outcome;
    char why[TB_TEXT_BYTES];
    tb_hash config;    /* of the open round */
    uint32_t buffer;   /* of an asynchronous run; 0: it has none */
    uint32_t n_asked;  /* in the open training round; its buffer */
    int64_t opened_ms; /* the driver's: when this process opened it; 0: not */
    uint64_t bytes_in, bytes_out; /* the driver's: counters at that time */
    tb_round_line *at;            /* committed training rounds; owned */
    size_t n, cap;
} tb_run_history;

typedef struct tb_history {
    tb_run_history *runs; /* in the order of their start; owned */
    size_t n, cap;
} tb_history;

/* Takes the next row of the journal. Errors: NOMEM (nothing changed). */
tb_rc tb_history_add(tb_history *history, const tb_record *record, tb_err *err)
    TB_NONNULL(1, 2) TB_MUST_CHECK;

void tb_history_release(tb_history *history) TB_NONNULL(1);

/* The run of this id, the one whose newest round has this configuration, and
 * the run that was started last; borrowed until the next row; NULL: none. */
tb_run_history *tb_history_find(const tb_history *history, const tb_run_id *run)
    TB_NONNULL(1, 2);
tb_run_history *tb_history_round(const tb_history *history,
                                 const tb_hash *config) TB_NONNULL(1, 2);
tb_run_history *tb_history_newest(const tb_history *history) TB_NONNULL(1);

/* The run that a person means: by the name of its model, where the newest wins,
 * or by the first digits of its id, which must be of one run only. Errors:
 * NOT_FOUND, USAGE (several). */
tb_rc tb_history_named(tb_run_history **out, const tb_history *history,
                       const char *text, tb_err *err)
    TB_NONNULL(1, 2, 3) TB_MUST_CHECK;

/* How many lines nothing more will come to: while clients evaluate a round, its
 * line waits. */
size_t tb_history_ready(const tb_run_history *run) TB_NONNULL(1);

#endif
