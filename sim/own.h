/* sim/own.h - what simulated clients keep for themselves: running statistics of
 * jobs with bn: local, as they were at the last accepted round and as a round
 * that is not settled left them. Any thread. */
#ifndef TB_SIM_PROGRAM_OWN_H
#define TB_SIM_PROGRAM_OWN_H

#include <stdatomic.h>

#include "base/buf.h"
#include "base/hash.h"

typedef struct own_state {
    tb_buf now;
    tb_buf next;
    tb_hash round; /* of next: hash of its configuration */
} own_state;

typedef struct own {
    atomic_flag busy;   /* held for the time of a copy */
    own_state *clients; /* [n]; owned */
    size_t n;
} own;

/* Errors: NOMEM. */
tb_rc own_open(own *o, size_t n_clients, tb_err *err) TB_MUST_CHECK;
void own_close(own *o);

/* Appends what a client has kept. Errors: NOMEM, LIMIT. */
tb_rc own_get(own *o, size_t client, tb_buf *out, tb_err *err) TB_MUST_CHECK;

/* Takes what a round left, until it is settled. */
void own_put(own *o, size_t client, const tb_hash *round, tb_buf *take);

/* The round is over: its statistics count from now on, or are forgotten. */
void own_settle(own *o, size_t client, const tb_hash *round, bool accepted);

#endif
