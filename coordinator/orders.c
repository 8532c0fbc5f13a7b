/* Orders: what the machine wants computed. Each becomes a task with all that it
 * needs; a thread of the pool runs it (order_work.c) and posts the verdict. The
 * driver counts who works with a round or a run (lives.c), so that neither goes
 * while it is used. */
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "orders_priv.h"

_Static_assert(offsetof(tb_order_task, errand) == 0, "an errand is its task");
_Static_assert(offsetof(tb_errand, letter) == 0, "a letter is its errand");

/* The key that the order's client signs with. */
static tb_rc take_sign_key(const tb_daemon *d, tb_order_task *t, tb_err *err)
{
    tb_member member;
    if (!tb_coordinator_find(d->state.machine, &t->order->upload.client,
                             &member)) {
        return tb_fail(err, TB_E_BUG, "an unknown client's update");
    }
    memcpy(t->sign_key, tb_daemon_signer(&member, t->order),
           sizeof t->sign_key);
    return TB_OK;
}

/* Gives the task what it works with. Errors: why it cannot have it. */
static tb_rc equip(tb_daemon *d, tb_order_task *t, tb_err *err)
{
    const tb_order *order = t->order;
    bool upload = order->kind >= TB_ORDER_FIND_BLOCKS &&
                  order->kind <= TB_ORDER_DROP_STORED;
    bool of_round = upload || order->kind == TB_ORDER_AGGREGATE;
    tb_open_round *round = NULL;
    tb_rc rc = TB_OK;
    if (order->kind == TB_ORDER_ADD_BLOCK && order->payload != 0) {
        t->payload = tb_daemon_take_payload(d, order->payload);
        if (t->payload == NULL) {
            return tb_fail(err, TB_E_BUG, "a block's bytes are not here");
        }
    }
    if (order->kind == TB_ORDER_END_UPLOAD) {
        rc = take_sign_key(d, t, err);
    }
    if (rc == TB_OK && of_round) {
        rc = tb_daemon_know_round(d, order, &order->upload.config, &round, err);
    }
    if (rc != TB_OK) {
        return rc;
    }
    if (order->kind == TB_ORDER_ADD_STORED ||
        order->kind == TB_ORDER_DROP_STORED) {
        t->into = tb_daemon_round(d, &order->into);
        if (t->into == NULL) {
            return tb_fail(err, TB_E_BUG, "no sum of this round");
        }
        t->into->users++;
    }
    tb_live *live = tb_daemon_live(d, &order->run);
    if (live == NULL) {
        return tb_fail(err, TB_E_CANCELLED, "the run is over");
    }
    t->live = live;
    t->live->users++;
    if (round != NULL) {
        t->round = round;
        t->round->users++;
    }
    return TB_OK;
}

/* What the task held: the last user of a round or run that is over frees it. */
static void release_task(tb_order_task *t)
{
    tb_daemon_leave_round(t->round);
    tb_daemon_leave_round(t->into);
    if (t->live != NULL && --t->live->users == 0 && t->live->ended) {
        tb_live_free(&t->live);
    }
    tb_inbound_free(&t->payload);
    tb_mem_free(t->order);
    tb_mem_free(t);
}

static void drop_task(tb_errand *errand)
{
    release_task((tb_order_task *)(void *)errand);
}

static tb_errand *take_errand(tb_daemon *d)
{
    return (tb_errand *)(void *)tb_mailbox_take(d->mailbox);
}

void tb_daemon_drop_verdicts(tb_daemon *d)
{
    for (tb_errand *e = take_errand(d); e != NULL; e = take_errand(d)) {
        e->drop(e);
    }
}

static uint32_t round_of(const tb_order_task *t)
{
    const tb_chronicle_round *round = tb_chronicle_find(
        &t->daemon->state.chronicle, &t->order->upload.config);
    return round != NULL ? round->round : t->order->round;
}

/* A client need not send again what the spool has of its update. */
static void log_found(const tb_order_task *t)
{
    const tb_order *order = t->order;
    char run[TB_RUN_HEX_BYTES];
    tb_run_hex(&order->run, run);
    tb_log(TB_LOG_INFO,
           "event=upload_resumed run=%s round=%u client=%s from_block=%u "
           "blocks=%u",
           run, round_of(t), order->upload.client.text, t->verdict.n_blocks,
           order->upload.n_blocks);
}

static void log_failed(const tb_order_task *t)
{
    const tb_order *order = t->order;
    const tb_verdict *v = &t->verdict;
    char run[TB_RUN_HEX_BYTES];
    tb_run_hex(&order->run, run);
    tb_log(tb_rc_fault(v->rc) == TB_FAULT_PEER ? TB_LOG_INFO : TB_LOG_WARN,
           "event=order kind=%s run=%s round=%u client=%s result=%s why=\"%s\"",
           tb_order_kind_name(order->kind), run, round_of(t),
           order->upload.client.text, tb_rc_name(v->rc), v->why);
}

/* What it put is the run's now, in place of what no row has named; nothing of
 * an order that failed will be named. */
static void hand_over_put(tb_order_task *t)
{
    tb_live *live = t->live;
    if (t->put.n > 0) {
        tb_daemon_let_go(t->daemon, live);
        live->unnamed = t->put;
        if (t->verdict.rc != TB_OK || live->ended) {
            tb_daemon_let_go(t->daemon, live);
        }
    }
}

static tb_rc take_verdict(tb_daemon *d, tb_errand *errand, tb_err *err)
{
    tb_order_task *t = (tb_order_task *)(void *)errand;
    const tb_verdict *v = &t->verdict;
    d->meters.orders_out--;
    if (t->took_ns > 0) {
        tb_prom_observe(&d->meters.orders[t->order->kind],
                        (double)t->took_ns / 1e9);
    }
    if (v->rc != TB_OK) {
        log_failed(t);
    } else if (v->n_blocks > 0) {
        log_found(t);
    } else if (t->order->kind == TB_ORDER_AGGREGATE) {
        tb_intake_close_sum(t->round->intake); /* an evaluation has its room */
    }
    hand_over_put(t);
    tb_event event = {.kind = TB_EV_VERDICT, .verdict = v};
    tb_rc rc = tb_daemon_event(d, &event, err);
    release_task(t);
    return rc;
}

tb_rc tb_daemon_verdict(tb_daemon *d, bool *took, tb_err *err)
{
    tb_errand *errand = take_errand(d);
    *took = errand != NULL;
    return errand != NULL ? errand->back(d, errand, err) : TB_OK;
}

tb_rc tb_daemon_order(tb_daemon *d, tb_order **order_take, tb_err *err)
{
    tb_err why = {0};
    if (d->stopping) {
        return TB_OK; /* the next start orders it again */
    }
    tb_order_task *t = tb_mem_array(1, sizeof *t);
    if (t == NULL) {
        return tb_fail(err, TB_E_NOMEM, "an order");
    }
    t->errand.back = take_verdict;
    t->errand.drop = drop_task;
    t->daemon = d;
    t->order = *order_take;
    *order_take = NULL;
    t->verdict.order = t->order->id;
    d->meters.orders_out++;
    tb_rc rc = t->order->kind == TB_ORDER_OPEN_ROUND
                   ? tb_daemon_open_round(d, t->order, &why)
                   : equip(d, t, &why);
    if (rc == TB_OK && t->order->kind != TB_ORDER_OPEN_ROUND) {
        rc = tb_pool_submit(d->pool, tb_order_run, t, &why);
        if (rc == TB_OK) {
            return TB_OK;
        }
    }
    tb_order_tell(&t->verdict, rc, &why);
    tb_mailbox_post(d->mailbox, &t->errand.letter);
    return TB_OK;
}
