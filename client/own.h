/* client/own.h - running statistics that never leave this client (jobs with
 * bn: local): those since its last accepted round of a run, and those of a
 * round that is not settled yet. Two files in the folder of sealed updates:
 * "TBRS" | version u32le = 1 | run 16 | hash 32 of the round's configuration |
 * float32le [n]. Written whole or not at all. */
#ifndef TB_CLIENT_OWN_H
#define TB_CLIENT_OWN_H

#include "fed/client.h"
#include "home.h"

/* Appends the statistics kept for a run; nothing when there are none, or the
 * file is of another run or damaged. Errors: IO, NOMEM, LIMIT. */
tb_rc own_read(tb_buf *values, const home *h, const tb_run_id *run,
               tb_err *err) TB_MUST_CHECK;

/* Keeps what a round came to until it is settled. Errors: FULL, IO, NOMEM. */
tb_rc own_prepare(const home *h, const tb_run_id *run, const tb_hash *config,
                  const tb_buf *values, tb_err *err) TB_MUST_CHECK;

/* The round is over: what it came to counts from now on, or is thrown away.
 * Safe to repeat. Errors: FULL, IO, NOMEM. */
tb_rc own_settle(const home *h, const tb_hash *config, bool accepted,
                 tb_err *err) TB_MUST_CHECK;

#endif
