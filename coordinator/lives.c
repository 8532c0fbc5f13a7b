/* The runs that live, and the rounds whose updates come together: both stay
 * until the last order that works with them is back. */
#include <string.h>

#include "base/mem.h"
#include "orders_priv.h"

tb_open_round *tb_daemon_round(tb_daemon *d, const tb_hash *config)
{
    tb_open_round *r = d->rounds;
    while (r != NULL && !tb_hash_equal(&r->config, config)) {
        r = r->next;
    }
    return r;
}

static void free_round(tb_open_round *r)
{
    tb_intake_free(&r->intake);
    tb_mem_free(r);
}

void tb_daemon_forget(tb_daemon *d, const tb_hash *config)
{
    tb_open_round **at = &d->rounds;
    while (*at != NULL && !tb_hash_equal(&(*at)->config, config)) {
        at = &(*at)->next;
    }
    tb_open_round *r = *at;
    if (r == NULL) {
        return;
    }
    *at = r->next;
    r->forgotten = true;
    if (r->users == 0) {
        free_round(r);
    }
}

void tb_daemon_summed(tb_daemon *d, const tb_hash *config)
{
    tb_open_round *r = tb_daemon_round(d, config);
    if (r != NULL) {
        tb_intake_close_sum(r->intake);
    }
}

static tb_live **place_of(tb_daemon *d, const tb_run_id *run)
{
    tb_live **at = &d->lives;
    while (*at != NULL && memcmp((*at)->params.run.bytes, run->bytes,
                                 sizeof run->bytes) != 0) {
        at = &(*at)->next;
    }
    return at;
}

tb_live *tb_daemon_live(const tb_daemon *d, const tb_run_id *run)
{
    tb_live *live = d->lives;
    while (live != NULL &&
           memcmp(live->params.run.bytes, run->bytes, sizeof run->bytes) != 0) {
        live = live->next;
    }
    return live;
}

void tb_daemon_add_live(tb_daemon *d, tb_live **live_take)
{
    tb_live **at = &d->lives;
    while (*at != NULL) {
        at = &(*at)->next;
    }
    *at = *live_take;
    *live_take = NULL;
}

void tb_daemon_end_run(tb_daemon *d, const tb_run_id *run)
{
    tb_live **at = place_of(d, run);
    tb_live *live = *at;
    if (live != NULL) {
        *at = live->next;
        tb_daemon_let_go(d, live);
        live->ended = true;
        if (live->users == 0) {
            tb_live_free(&live);
        }
    }
}

tb_rc tb_daemon_know_round(tb_daemon *d, const tb_order *order,
                           const tb_hash *config, tb_open_round **out,
                           tb_err *err)
{
    tb_open open;
    tb_spool *spool = NULL;
    const tb_live *live = tb_daemon_live(d, &order->run);
    *out = tb_daemon_round(d, config);
    if (*out != NULL) {
        return TB_OK;
    }
    if (live == NULL ||
        !tb_coordinator_known(d->state.machine, config, &open)) {
        return tb_fail(err, TB_E_CANCELLED, "the round is over");
    }
    tb_open_round *r = tb_mem_array(1, sizeof *r);
    if (r == NULL) {
        return tb_fail(err, TB_E_NOMEM, "a round");
    }
    tb_rc rc =
        tb_spool_open(&spool, tb_folder_path(d->state.folder, TB_ITEM_SPOOL),
                      &order->run, &open.hash, err);
    if (rc == TB_OK) {
        tb_intake_options options = {.config = open.config,
                                     .hash = open.hash,
                                     .key = live->key,
                                     .spool = spool};
        rc = tb_intake_new(&r->intake, &options, err);
    }
    if (rc != TB_OK) {
        tb_spool_close(&spool);
        tb_mem_free(r);
        return rc;
    }
    r->config = open.hash;
    r->next = d->rounds;
    d->rounds = r;
    *out = r;
    return TB_OK;
}

tb_rc tb_daemon_open_round(tb_daemon *d, const tb_order *order, tb_err *err)
{
    tb_open open;
    tb_open_round *r = NULL;
    if (!tb_coordinator_round(d->state.machine, &order->upload.config, &open)) {
        return tb_fail(err, TB_E_BUG, "the round is not open");
    }
    tb_rc rc = tb_daemon_know_round(d, order, &order->upload.config, &r, err);
    if (rc == TB_OK) {
        rc = tb_intake_open_sum(
            r->intake, tb_run_updates_max(open.run, open.config->task), err);
    }
    if (rc == TB_OK) {
        tb_daemon_unseal(d, r);
    }
    return rc;
}

void tb_daemon_leave_round(tb_open_round *round)
{
    if (round != NULL && --round->users == 0 && round->forgotten) {
        free_round(round);
    }
}
