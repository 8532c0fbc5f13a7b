#include "base/actor.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"

struct tb_actor {
    pthread_t thread;
    tb_actor_fn *fn;
    void *arg;
    int wake_fd;
    atomic_bool stopping;
    pthread_mutex_t lock; /* of what follows */
    pthread_cond_t changed;
    bool ready;     /* tb_actor_ready was called */
    bool ended;     /* fn has returned */
    bool abandoned; /* nobody will join it: it frees itself */
    tb_rc rc;       /* what tb_actor_ready said */
    tb_err why;
};

static void destroy(tb_actor *self)
{
    if (self->wake_fd >= 0) {
        (void)close(self->wake_fd);
    }
    (void)pthread_cond_destroy(&self->changed);
    (void)pthread_mutex_destroy(&self->lock);
    tb_mem_free(self);
}

static void *run(void *arg)
{
    tb_actor *self = arg;
    self->fn(self, self->arg);
    (void)pthread_mutex_lock(&self->lock);
    self->ended = true;
    bool abandoned = self->abandoned;
    (void)pthread_cond_broadcast(&self->changed);
    (void)pthread_mutex_unlock(&self->lock);
    if (abandoned) {
        destroy(self);
    }
    return NULL;
}

static struct timespec deadline(int timeout_ms)
{
    struct timespec at;
    (void)clock_gettime(CLOCK_MONOTONIC, &at);
    at.tv_sec += timeout_ms / 1000;
    at.tv_nsec += (long)(timeout_ms % 1000) * 1000000L;
    if (at.tv_nsec >= 1000000000L) {
        at.tv_sec++;
        at.tv_nsec -= 1000000000L;
    }
    return at;
}

/* Waits until *flag or the time is over; the lock is held. */
static bool wait_for(tb_actor *self, const bool *flag, int timeout_ms)
{
    struct timespec at = deadline(timeout_ms);
    while (!*flag &&
           pthread_cond_timedwait(&self->changed, &self->lock, &at) == 0) {
    }
    return *flag;
}

static tb_actor *make(tb_actor_fn *fn, void *arg, tb_err *err)
{
    tb_actor *self = tb_mem_array(1, sizeof *self);
    if (self == NULL) {
        (void)tb_fail(err, TB_E_NOMEM, "actor");
        return NULL;
    }
    self->fn = fn;
    self->arg = arg;
    atomic_init(&self->stopping, false);
    pthread_condattr_t attr;
    (void)pthread_condattr_init(&attr);
    (void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    (void)pthread_mutex_init(&self->lock, NULL);
    (void)pthread_cond_init(&self->changed, &attr);
    (void)pthread_condattr_destroy(&attr);
    self->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (self->wake_fd < 0) {
        (void)tb_fail_errno(err, errno, "eventfd");
        destroy(self);
        return NULL;
    }
    return self;
}

tb_rc tb_actor_start(tb_actor **out, tb_actor_fn *fn, void *arg, int timeout_ms,
                     tb_err *err)
{
    tb_err why;
    *out = NULL;
    tb_actor *self = make(fn, arg, &why);
    if (self == NULL) {
        return tb_fail(err, why.rc, "%s", why.text);
    }
    int failed = pthread_create(&self->thread, NULL, run, self);
    if (failed != 0) {
        destroy(self);
        return tb_fail_errno(err, failed, "starting a thread");
    }
    (void)pthread_mutex_lock(&self->lock);
    bool ready = wait_for(self, &self->ready, timeout_ms);
    tb_rc rc = self->rc;
    why = self->why;
    if (!ready) { /* from the unlock on it may free itself at any time */
        self->abandoned = true;
        atomic_store(&self->stopping, true);
        tb_actor_wake(self);
        (void)pthread_detach(self->thread);
    }
    (void)pthread_mutex_unlock(&self->lock);
    if (!ready) {
        return tb_fail(err, TB_E_TIMEOUT, "a thread was not ready in %d ms",
                       timeout_ms);
    }
    if (rc != TB_OK) {
        (void)pthread_join(self->thread, NULL);
        destroy(self);
        return tb_fail(err, rc, "%s", why.text);
    }
    *out = self;
    return TB_OK;
}

void tb_actor_ready(tb_actor *self, tb_rc rc, const tb_err *why)
{
    (void)pthread_mutex_lock(&self->lock);
    self->ready = true;
    self->rc = rc;
    if (why != NULL) {
        self->why = *why;
    }
    (void)pthread_cond_broadcast(&self->changed);
    (void)pthread_mutex_unlock(&self->lock);
}

bool tb_actor_stopping(tb_actor *self)
{
    return atomic_load(&self->stopping);
}

int tb_actor_fd(const tb_actor *self)
{
    return self->wake_fd;
}

void tb_actor_clear(tb_actor *self)
{
    uint64_t n;
    ssize_t got = read(self->wake_fd, &n, sizeof n);
    (void)got; /* EAGAIN: nothing was set */
}

void tb_actor_wake(tb_actor *self)
{
    uint64_t one = 1;
    ssize_t put = write(self->wake_fd, &one, sizeof one);
    (void)put; /* EAGAIN: it is readable already */
}

tb_rc tb_actor_stop(tb_actor **actor, int timeout_ms, tb_err *err)
{
    tb_actor *self = *actor;
    if (self == NULL) {
        return TB_OK;
    }
    atomic_store(&self->stopping, true);
    tb_actor_wake(self);
    (void)pthread_mutex_lock(&self->lock);
    bool ended = wait_for(self, &self->ended, timeout_ms);
    (void)pthread_mutex_unlock(&self->lock);
    if (!ended) {
        return tb_fail(err, TB_E_TIMEOUT, "a thread did not stop in %d ms",
                       timeout_ms);
    }
    (void)pthread_join(self->thread, NULL);
    destroy(self);
    *actor = NULL;
    return TB_OK;
}
