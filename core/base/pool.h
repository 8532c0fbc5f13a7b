/* core/base/pool.h - a task pool: n threads and one queue. Results never depend
 * on the number of threads: tasks share nothing, and sums are the caller's.
 * Safe from any thread. */
#ifndef TB_BASE_POOL_H
#define TB_BASE_POOL_H

#include <stddef.h>

#include "base/err.h"

typedef struct tb_pool tb_pool;

/* Runs on some thread of the pool; must not block on the pool. */
typedef void tb_task_fn(void *arg);

/* Item i of a tb_pool_each; worker is in [0, tb_pool_threads()). */
typedef void tb_item_fn(void *arg, size_t i, size_t worker);

/* Starts n_threads threads (1 to 256). Errors: USAGE, NOMEM, IO. */
tb_rc tb_pool_new(tb_pool **out, size_t n_threads, tb_err *err)
    TB_NONNULL(1) TB_MUST_CHECK;

/* Runs what is queued, joins the threads, nulls *pool. NULL is fine. */
void tb_pool_free(tb_pool **pool) TB_NONNULL(1);

/* Number of threads, as given to tb_pool_new. */
size_t tb_pool_threads(const tb_pool *pool) TB_NONNULL(1);

/* Queues fn(arg). Tasks start in the order they were queued. */
tb_rc tb_pool_submit(tb_pool *pool, tb_task_fn *fn, void *arg, tb_err *err)
    TB_NONNULL(1, 2) TB_MUST_CHECK;

/* fn(arg, i, worker) for each i < n, on all threads; returns when all are
 * done. Not from inside a task. Errors: NOMEM, and then nothing was called. */
tb_rc tb_pool_each(tb_pool *pool, tb_item_fn *fn, void *arg, size_t n,
                   tb_err *err) TB_NONNULL(1, 2) TB_MUST_CHECK;

#endif
