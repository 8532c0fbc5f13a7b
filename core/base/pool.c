#include "base/pool.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "base/mem.h"

#define THREADS_MAX 256

typedef struct task {
    struct task *next;
    tb_task_fn *fn;
    void *arg;
} task;

struct tb_pool {
    pthread_mutex_t lock;
    pthread_cond_t wake;
    task *first; /* queue, oldest first */
    task *last;
    bool stopping;
    size_t n_threads;
    pthread_t threads[THREADS_MAX];
};

static task *next_task(tb_pool *pool)
{
    (void)pthread_mutex_lock(&pool->lock);
    while (pool->first == NULL && !pool->stopping) {
        (void)pthread_cond_wait(&pool->wake, &pool->lock);
    }
    task *t = pool->first;
    if (t != NULL) {
        pool->first = t->next;
        if (pool->first == NULL) {
            pool->last = NULL;
        }
    }
    (void)pthread_mutex_unlock(&pool->lock);
    return t;
}

static void *work(void *arg)
{
    tb_pool *pool = arg;
    for (task *t = next_task(pool); t != NULL; t = next_task(pool)) {
        t->fn(t->arg);
        tb_mem_free(t);
    }
    return NULL;
}

tb_rc tb_pool_new(tb_pool **out, size_t n_threads, tb_err *err)
{
    *out = NULL;
    if (n_threads < 1 || n_threads > THREADS_MAX) {
        return tb_fail(err, TB_E_USAGE, "threads: %zu is not in 1 to %d",
                       n_threads, THREADS_MAX);
    }
    tb_pool *pool = tb_mem_array(1, sizeof *pool);
    if (pool == NULL) {
        return tb_fail(err, TB_E_NOMEM, "task pool");
    }
    (void)pthread_mutex_init(&pool->lock, NULL);
    (void)pthread_cond_init(&pool->wake, NULL);
    for (size_t i = 0; i < n_threads; i++) {
        int rc = pthread_create(&pool->threads[i], NULL, work, pool);
        if (rc != 0) {
            tb_pool_free(&pool);
            return tb_fail_errno(err, rc, "task pool: thread %zu", i);
        }
        pool->n_threads++;
    }
    *out = pool;
    return TB_OK;
}

void tb_pool_free(tb_pool **pool)
{
    tb_pool *p = *pool;
    if (p == NULL) {
        return;
    }
    (void)pthread_mutex_lock(&p->lock);
    p->stopping = true;
    (void)pthread_cond_broadcast(&p->wake);
    (void)pthread_mutex_unlock(&p->lock);
    for (size_t i = 0; i < p->n_threads; i++) {
        (void)pthread_join(p->threads[i], NULL);
    }
    (void)pthread_cond_destroy(&p->wake);
    (void)pthread_mutex_destroy(&p->lock);
    tb_mem_free(p);
    *pool = NULL;
}

size_t tb_pool_threads(const tb_pool *pool)
{
    return pool->n_threads;
}

tb_rc tb_pool_submit(tb_pool *pool, tb_task_fn *fn, void *arg, tb_err *err)
{
    task *t = tb_mem_array(1, sizeof *t);
    if (t == NULL) {
        return tb_fail(err, TB_E_NOMEM, "task");
    }
    t->fn = fn;
    t->arg = arg;
    (void)pthread_mutex_lock(&pool->lock);
    if (pool->last != NULL) {
        pool->last->next = t;
    } else {
        pool->first = t;
    }
    pool->last = t;
    (void)pthread_cond_signal(&pool->wake);
    (void)pthread_mutex_unlock(&pool->lock);
    return TB_OK;
}

/* One tb_pool_each, shared by its workers. */
typedef struct each {
    tb_item_fn *fn;
    void *arg;
    size_t n;
    atomic_size_t next;
    atomic_size_t next_worker;
    size_t running; /* under lock */
    pthread_mutex_t lock;
    pthread_cond_t done;
} each;

static void each_work(void *arg)
{
    each *e = arg;
    size_t worker = atomic_fetch_add(&e->next_worker, 1);
    for (size_t i = atomic_fetch_add(&e->next, 1); i < e->n;
         i = atomic_fetch_add(&e->next, 1)) {
        e->fn(e->arg, i, worker);
    }
    (void)pthread_mutex_lock(&e->lock);
    e->running--;
    (void)pthread_cond_signal(&e->done);
    (void)pthread_mutex_unlock(&e->lock);
}

tb_rc tb_pool_each(tb_pool *pool, tb_item_fn *fn, void *arg, size_t n,
                   tb_err *err)
{
    each e = {.fn = fn, .arg = arg, .n = n};
    (void)pthread_mutex_init(&e.lock, NULL);
    (void)pthread_cond_init(&e.done, NULL);
    tb_rc rc = TB_OK;
    size_t workers = n < pool->n_threads ? n : pool->n_threads;
    size_t queued = 0;
    for (; queued < workers && rc == TB_OK; queued += rc == TB_OK) {
        (void)pthread_mutex_lock(&e.lock);
        e.running++;
        (void)pthread_mutex_unlock(&e.lock);
        rc = tb_pool_submit(pool, each_work, &e, err);
        if (rc != TB_OK) {
            (void)pthread_mutex_lock(&e.lock);
            e.running--;
            (void)pthread_mutex_unlock(&e.lock);
        }
    }
    (void)pthread_mutex_lock(&e.lock);
    while (e.running > 0) {
        (void)pthread_cond_wait(&e.done, &e.lock);
    }
    (void)pthread_mutex_unlock(&e.lock);
    (void)pthread_cond_destroy(&e.done);
    (void)pthread_mutex_destroy(&e.lock);
    return queued > 0 ? TB_OK : rc; /* one worker does all items as well */
}
