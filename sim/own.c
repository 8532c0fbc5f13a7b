#include "own.h"

#include <sched.h>

#include "base/mem.h"

#define BYTES_MAX ((size_t)1 << 30)

tb_rc own_open(own *o, size_t n_clients, tb_err *err)
{
    o->clients = tb_mem_array(n_clients, sizeof *o->clients);
    if (o->clients == NULL) {
        return tb_fail(err, TB_E_NOMEM, "%zu clients", n_clients);
    }
    o->n = n_clients;
    for (size_t i = 0; i < n_clients; i++) {
        tb_buf_init(&o->clients[i].now, BYTES_MAX);
        tb_buf_init(&o->clients[i].next, BYTES_MAX);
    }
    atomic_flag_clear(&o->busy);
    return TB_OK;
}

void own_close(own *o)
{
    if (o->clients == NULL) {
        return;
    }
    for (size_t i = 0; i < o->n; i++) {
        tb_buf_release(&o->clients[i].now);
        tb_buf_release(&o->clients[i].next);
    }
    tb_mem_free(o->clients);
    o->clients = NULL;
}

static void hold(own *o)
{
    while (atomic_flag_test_and_set(&o->busy)) {
        (void)sched_yield();
    }
}

tb_rc own_get(own *o, size_t client, tb_buf *out, tb_err *err)
{
    hold(o);
    const tb_buf *now = &o->clients[client].now;
    tb_rc rc = now->len > 0 ? tb_buf_put(out, now->data, now->len, err) : TB_OK;
    atomic_flag_clear(&o->busy);
    return rc;
}

void own_put(own *o, size_t client, const tb_hash *round, tb_buf *take)
{
    own_state *s = &o->clients[client];
    hold(o);
    tb_buf before = s->next;
    s->next = *take;
    s->round = *round;
    *take = before;
    atomic_flag_clear(&o->busy);
}

void own_settle(own *o, size_t client, const tb_hash *round, bool accepted)
{
    own_state *s = &o->clients[client];
    hold(o);
    if (s->next.len > 0 && tb_hash_equal(&s->round, round)) {
        if (accepted) {
            tb_buf before = s->now;
            s->now = s->next;
            s->next = before;
        }
        s->next.len = 0;
    }
    atomic_flag_clear(&o->busy);
}
