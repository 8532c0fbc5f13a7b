/* client/chores.h - a thread for what takes long with whole files, such as
 * unpacking a model of gigabytes: the agent's loop goes on meanwhile. One chore
 * at a time, in the order they came; the agent's thread owns it. */
#ifndef TB_CLIENT_CHORES_H
#define TB_CLIENT_CHORES_H

#include "base/pool.h"

typedef struct chores chores;

/* Errors: NOMEM, IO. free runs what is queued, joins, nulls; NULL is fine. */
tb_rc chores_new(chores **out, tb_err *err) TB_MUST_CHECK;
void chores_free(chores **c);

/* Has fn(arg) run on the thread. It says itself what came of it, where the
 * agent's thread looks when the descriptor is readable. Errors: NOMEM. */
tb_rc chores_do(chores *c, tb_task_fn *fn, void *arg,
                tb_err *err) TB_MUST_CHECK;

/* Readable when chores were done since the last clear. For poll(2). */
int chores_fd(const chores *c);
void chores_clear(chores *c);

/* For the end of a chore, on its thread. */
void chores_tell(chores *c);

#endif
