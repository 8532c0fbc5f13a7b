/* core/base/actor.h - one thread that owns what it works on. Start is a
 * handshake (the thread says whether it is ready), stop asks and joins, both
 * with a time limit. Others reach it only through queues and tb_actor_wake. */
#ifndef TB_BASE_ACTOR_H
#define TB_BASE_ACTOR_H

#include <stdbool.h>

#include "base/err.h"

typedef struct tb_actor tb_actor;

/* The thread's body: prepares itself, calls tb_actor_ready once, and works
 * until tb_actor_stopping. It frees what it made itself. */
typedef void tb_actor_fn(tb_actor *self, void *arg);

/* Starts fn(self, arg) and waits for its tb_actor_ready. When that says a
 * failure, the thread is joined and the failure returned. Errors: NOMEM, IO,
 * TIMEOUT (the thread is then left to itself), and the thread's own. */
tb_rc tb_actor_start(tb_actor **out, tb_actor_fn *fn, void *arg, int timeout_ms,
                     tb_err *err) TB_NONNULL(1, 2) TB_MUST_CHECK;

/* By the thread, once: ready (TB_OK), or it could not start and will return. */
void tb_actor_ready(tb_actor *self, tb_rc rc, const tb_err *why) TB_NONNULL(1);

/* By the thread: whether it was asked to stop. */
bool tb_actor_stopping(tb_actor *self) TB_NONNULL(1);

/* By the thread: a descriptor that is readable after tb_actor_wake or stop. */
int tb_actor_fd(const tb_actor *self) TB_NONNULL(1);

/* By the thread: makes tb_actor_fd unreadable again. */
void tb_actor_clear(tb_actor *self) TB_NONNULL(1);

/* From any thread: makes tb_actor_fd readable. */
void tb_actor_wake(tb_actor *self) TB_NONNULL(1);

/* Asks the thread to stop, joins it and nulls *actor. NULL is fine. Error:
 * TIMEOUT: it still runs, nothing was freed, and *actor stays. */
tb_rc tb_actor_stop(tb_actor **actor, int timeout_ms, tb_err *err)
    TB_NONNULL(1) TB_MUST_CHECK;

#endif
