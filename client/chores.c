#include "chores.h"

#include <stdint.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/mem.h"

struct chores {
    tb_pool *pool; /* of one thread */
    int fd;        /* eventfd */
};

tb_rc chores_new(chores **out, tb_err *err)
{
    chores *c = tb_mem_array(1, sizeof *c);
    *out = NULL;
    if (c == NULL) {
        return tb_fail(err, TB_E_NOMEM, "chores: no memory");
    }
    c->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    tb_rc rc = c->fd >= 0 ? TB_OK : tb_fail(err, TB_E_IO, "no eventfd");
    if (rc == TB_OK) {
        rc = tb_pool_new(&c->pool, 1, err);
    }
    if (rc != TB_OK) {
        chores_free(&c);
    }
    *out = c;
    return rc;
}

void chores_free(chores **c)
{
    if (*c == NULL) {
        return;
    }
    tb_pool_free(&(*c)->pool);
    if ((*c)->fd >= 0) {
        (void)close((*c)->fd);
    }
    tb_mem_free(*c);
    *c = NULL;
}

tb_rc chores_do(chores *c, tb_task_fn *fn, void *arg, tb_err *err)
{
    return tb_pool_submit(c->pool, fn, arg, err);
}

int chores_fd(const chores *c)
{
    return c->fd;
}

void chores_clear(chores *c)
{
    uint64_t count = 0;
    (void)!read(c->fd, &count, sizeof count);
}

void chores_tell(chores *c)
{
    uint64_t one = 1;
    (void)!write(c->fd, &one, sizeof one);
}
