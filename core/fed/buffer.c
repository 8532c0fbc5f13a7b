/* The buffers of an asynchronous run (FedBuff, see stale.h). Updates come when
 * they come: each is bound to the configuration that its client trained from,
 * lies in that one's spool, and counts in the first training round, a buffer of
 * `buffer` updates, that is open at its acceptance or after it. So nobody waits
 * for a buffer to be summed up.
 *
 *   WAITS -> (ADD_STORED into the open sum) -> CLOSED -> OVER
 *
 * A configuration is known until an update of it would be older than
 * max_staleness: so long its spool and its acceptances are kept. */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "fed/coordinator_priv.h"

/* known configurations */

static const tb_known *known_of(const tb_run *run, const tb_hash *config)
{
    const tb_async *a = run->async;
    for (size_t i = a == NULL ? 0 : a->n_known; i > 0; i--) {
        if (tb_hash_equal(&a->known[i - 1].config, config)) {
            return &a->known[i - 1];
        }
    }
    return NULL;
}

tb_run *tb_co_find_known(const tb_coordinator *co, const tb_hash *config)
{
    for (size_t i = 0; i < co->n_runs; i++) {
        if (known_of(co->runs[i], config) != NULL) {
            return co->runs[i];
        }
    }
    return NULL;
}

bool tb_co_buffered(const tb_run *run)
{
    return run->async != NULL && run->task == TB_TASK_TRAIN;
}

tb_gate tb_co_gate(const tb_run *run, uint32_t *round)
{
    bool last = run->number >= run->params->rounds;
    bool train = run->task == TB_TASK_TRAIN;
    *round = run->number;
    if (run->cancelled || run->finishing || run->ended ||
        run->task == TB_TASK_CALIBRATE || (!train && last)) {
        return TB_GATE_OVER;
    }
    if (train && run->round.doomed) {
        return TB_GATE_HELD;
    }
    if (train && !run->round.closed) {
        return TB_GATE_OPEN;
    }
    *round = run->number + 1;
    return last ? TB_GATE_HELD : TB_GATE_OPEN;
}

uint32_t tb_co_waiting(const tb_run *run)
{
    return run->async->n_waiting;
}

/* acceptance */

static const char too_old[] =
    "its model is more than max_staleness rounds old: check in for a new one";

/* Why it does not count, or NULL. */
static const char *late(const tb_run *run, const tb_seat *seat,
                        uint32_t *staleness)
{
    uint32_t round = 0;
    const tb_known *known = known_of(run, &seat->config);
    if (tb_co_gate(run, &round) == TB_GATE_OVER) {
        return "the training of this run is over";
    }
    if (known == NULL || round - known->round > run->params->max_staleness) {
        return too_old;
    }
    *staleness = round - known->round;
    return NULL;
}

void tb_co_count(tb_coordinator *co, tb_seat *seat)
{
    tb_run *run = seat->run;
    tb_upload *upload = &seat->upload;
    uint32_t staleness = 0;
    uint32_t round = 0;
    const char *why = late(run, seat, &staleness);
    if (why != NULL) {
        tb_co_refuse_seat(co, seat, TB_MSG_UPLOAD_END, TB_REFUSE_LATE, why);
        tb_co_forget_upload(upload);
        tb_co_land(co, seat);
        return;
    }
    if (tb_co_gate(run, &round) != TB_GATE_OPEN ||
        tb_co_waiting(run) >= run->params->buffer) {
        return;
    }
    tb_weights w =
        tb_run_weights(run->params, TB_TASK_TRAIN, upload->samples, staleness);
    tb_record record = {.kind = TB_REC_ACCEPTED,
                        .u.accepted = {.config = seat->config,
                                       .client = seat->row->name,
                                       .upload = upload->ref.upload,
                                       .update = upload->update,
                                       .n_blocks = upload->ref.n_blocks,
                                       .weight = w.weight,
                                       .full = w.full,
                                       .staleness = staleness}};
    uint64_t seq = tb_co_journal(co, &record);
    tb_co_forget_upload(upload);
    tb_co_receipt(co, &record.u.accepted, seq);
    tb_co_land(co, seat);
}

/* the open sum */

/* Whether it belongs into the sum of the open buffer. */
static bool belongs(const tb_run *run, const tb_taken *c)
{
    return c->state == (run->round.closed ? TB_TAKEN_CLOSED : TB_TAKEN_WAITS);
}

bool tb_co_buffer_counts(const tb_run *run, const tb_name *client,
                         const tb_hash *update)
{
    tb_async *a = run->async;
    for (size_t i = 0; i < a->n_taken; i++) {
        size_t at = (a->counts_at + i) % a->n_taken;
        const tb_taken *c = &a->taken[at];
        if (belongs(run, c) && tb_hash_equal(&c->record.update, update) &&
            tb_name_equal(&c->record.client, client)) {
            a->counts_at = at + 1; /* a sum names them about as they came */
            return true;
        }
    }
    return false;
}

static void order_add(tb_coordinator *co, tb_run *run, tb_taken *c)
{
    const tb_rec_accepted *r = &c->record;
    tb_order *o = tb_co_order(co, run, TB_ORDER_ADD_STORED, 0);
    o->upload = (tb_upload_ref){.key = ++co->next_key,
                                .config = r->config,
                                .client = r->client,
                                .upload = r->upload,
                                .n_blocks = r->n_blocks};
    o->into = run->round.hash;
    o->weight = r->weight;
    o->full = r->full;
    o->update = r->update;
    c->order = o->id;
}

/* Takes a purged one out again, once its row is durable. */
static void order_drop(tb_coordinator *co, tb_run *run, tb_taken *c)
{
    const tb_rec_accepted *r = &c->record;
    tb_order *o = tb_co_order(co, run, TB_ORDER_DROP_STORED, c->seq);
    o->upload = (tb_upload_ref){.key = ++co->next_key,
                                .config = r->config,
                                .client = r->client,
                                .upload = r->upload,
                                .n_blocks = r->n_blocks};
    o->into = run->round.hash;
    o->weight = r->weight;
    o->full = r->full;
    c->order = o->id;
}

void tb_co_pump_buffer(tb_coordinator *co, tb_run *run)
{
    const tb_round *round = &run->round;
    if (!tb_co_buffered(run) || !round->open || !round->sum_open ||
        round->doomed) {
        return;
    }
    tb_async *a = run->async;
    for (size_t i = a->look_from; i < a->n_taken; i++) {
        tb_taken *c = &a->taken[i];
        if (c->order != 0 || co->now < c->retry_ms) {
            continue;
        }
        /* A purged one leaves before another takes its place. */
        if (belongs(run, c) && !c->added && a->n_in_sum < run->params->buffer) {
            order_add(co, run, c);
            a->n_in_sum++;
        } else if (c->state == TB_TAKEN_REFUSED && c->added) {
            order_drop(co, run, c);
        }
    }
    a->look_from = a->n_taken;
}

bool tb_co_buffer_verdict(tb_coordinator *co, const tb_verdict *verdict)
{
    tb_run *run = NULL;
    tb_taken *c = NULL;
    for (size_t r = 0; verdict->order != 0 && c == NULL && r < co->n_runs;
         r++) {
        run = co->runs[r];
        c = run->async != NULL
                ? tb_co_taken_by_order(run->async, verdict->order)
                : NULL;
    }
    if (c == NULL) {
        return false;
    }
    tb_async *a = run->async;
    c->order = 0;
    tb_co_taken_look(a, c); /* it may have been purged meanwhile */
    if (verdict->rc == TB_OK) {
        c->added = !c->added; /* summed, or taken out again */
        run->host_why[0] = '\0';
    } else if (tb_rc_fault(verdict->rc) == TB_FAULT_HOST) {
        c->retry_ms = tb_co_lack(co, run, verdict);
    } else {
        tb_co_doom(run, verdict->why);
    }
    if (!c->added) {
        a->n_in_sum--;
        a->look_from = 0; /* there is room for another one */
    }
    return true;
}

bool tb_co_buffer_quiet(const tb_run *run)
{
    tb_async *a = run->async;
    for (size_t i = 0; i < a->n_taken; i++) {
        size_t at = (a->quiet_at + i) % a->n_taken;
        const tb_taken *c = &a->taken[at];
        bool wrong = belongs(run, c) ? !c->added
                                     : c->state == TB_TAKEN_REFUSED && c->added;
        if (c->order != 0 || (wrong && !run->round.doomed)) {
            a->quiet_at = at; /* asked again, it answers at once */
            return false;
        }
    }
    return true;
}

/* what records do */

tb_async *tb_co_async_new(void)
{
    tb_async *a = tb_mem_array(1, sizeof *a);
    if (a != NULL) {
        a->config = tb_mem_array(1, sizeof *a->config);
        if (a->config == NULL) {
            tb_mem_free(a);
            a = NULL;
        }
    }
    return a;
}

void tb_co_async_free(tb_async **async)
{
    tb_async *a = *async;
    if (a != NULL) {
        tb_mem_free(a->config);
        tb_mem_free(a->known);
        tb_mem_free(a->expired);
        tb_mem_free(a->queue);
        tb_mem_free(a->taken);
        tb_mem_free(a->slots);
        for (size_t i = 0; i < a->n_made; i++) {
            tb_mem_free(a->flights[i]);
        }
        tb_mem_free(a->flights);
        tb_mem_free(a);
        *async = NULL;
    }
}

static tb_rc reserve_known(tb_async *a, tb_err *err)
{
    if (a->n_known < a->cap_known) {
        return TB_OK;
    }
    size_t cap = a->cap_known == 0 ? 8 : 2 * a->cap_known;
    tb_hash *expired = tb_mem_resize(a->expired, cap, sizeof *expired);
    if (expired != NULL) {
        a->expired = expired;
    }
    tb_known *known =
        expired == NULL ? NULL : tb_mem_resize(a->known, cap, sizeof *known);
    if (known == NULL) {
        return tb_fail(err, TB_E_NOMEM, "coordinator: %zu buffers", cap);
    }
    a->known = known;
    a->cap_known = cap;
    return TB_OK;
}

tb_rc tb_co_buffer_opened(tb_run *run, const tb_round_config *config,
                          const tb_hash *hash, tb_err *err)
{
    tb_async *a = run->async;
    tb_rc rc = reserve_known(a, err);
    if (rc != TB_OK) {
        return rc;
    }
    *a->config = *config;
    a->known[a->n_known++] = (tb_known){*hash, config->round};
    for (size_t i = 0; i < a->n_taken; i++) {
        if (a->taken[i].state == TB_TAKEN_WAITS) {
            run->round.n_accepted++;
            run->round.weight += a->taken[i].record.weight;
        }
    }
    return TB_OK;
}

tb_rc tb_co_buffer_accepted(const tb_coordinator *co, tb_run *run,
                            const tb_rec_accepted *record, uint64_t seq,
                            tb_err *err)
{
    tb_async *a = run->async;
    const tb_known *known = known_of(run, &record->config);
    tb_row *row = tb_co_find(co, &record->client);
    uint32_t round = 0;
    if (row == NULL || known == NULL ||
        tb_co_gate(run, &round) != TB_GATE_OPEN ||
        record->staleness != round - known->round ||
        record->staleness > run->params->max_staleness ||
        tb_co_taken(run, &record->config, &record->client) != NULL ||
        tb_co_waiting(run) >= run->params->buffer) {
        return tb_fail(err, TB_E_MALFORMED,
                       "journal: an update of %s cannot count here",
                       record->client.text);
    }
    tb_rc rc = tb_co_taken_reserve(a, err);
    if (rc != TB_OK) {
        return rc;
    }
    tb_co_taken_add(a, &(tb_taken){.record = *record, .seq = seq});
    row->last = *record;
    row->last_seq = seq;
    row->n_accepted++;
    if (tb_co_buffered(run) && run->round.open && !run->round.closed) {
        run->round.n_accepted++;
        run->round.weight += record->weight;
    }
    return TB_OK;
}

tb_rc tb_co_buffer_expelled(const tb_coordinator *co, tb_run *run,
                            const tb_rec_expelled *record, tb_err *err)
{
    tb_async *a = run->async;
    tb_row *row = tb_co_find(co, &record->client);
    if (row == NULL ||
        tb_co_taken(run, &record->config, &record->client) != NULL) {
        return tb_fail(err, TB_E_MALFORMED, "journal: %s cannot be expelled",
                       record->client.text);
    }
    tb_rc rc = tb_co_taken_reserve(a, err);
    if (rc == TB_OK) {
        rc = tb_co_strike(row, run, err);
    }
    if (rc == TB_OK) {
        tb_co_taken_add(a, &(tb_taken){.record = {.config = record->config,
                                                  .client = record->client},
                                       .state = TB_TAKEN_REFUSED,
                                       .code = record->code});
        row->passed = record->config;
        row->n_expelled++;
    }
    return rc;
}

/* Every update in `from` is now in `to`. */
static void pass_on(tb_async *a, tb_taken_state from, tb_taken_state to)
{
    for (size_t i = 0; i < a->n_taken; i++) {
        tb_taken *c = &a->taken[i];
        c->state = c->state == from ? to : c->state;
    }
    tb_co_taken_recount(a);
}

void tb_co_buffer_closed(tb_run *run)
{
    pass_on(run->async, TB_TAKEN_WAITS, TB_TAKEN_CLOSED);
}

static bool expired(const tb_async *a, const tb_hash *config)
{
    for (size_t i = 0; i < a->n_expired; i++) {
        if (tb_hash_equal(&a->expired[i], config)) {
            return true;
        }
    }
    return false;
}

/* Forgets configurations whose updates would be too old for this round: one, as
 * a rule. */
static void expire(tb_coordinator *co, tb_run *run, uint32_t round)
{
    tb_async *a = run->async;
    size_t kept = 0;
    a->n_expired = 0;
    for (size_t i = 0; i < a->n_known; i++) {
        const tb_known *k = &a->known[i];
        if (round - k->round > run->params->max_staleness) {
            a->expired[a->n_expired++] = k->config;
            co->aged[co->n_past % TB_PAST_ROUNDS] = true;
            co->past[co->n_past++ % TB_PAST_ROUNDS] = k->config;
        } else {
            a->known[kept++] = *k;
        }
    }
    a->n_known = kept;
    kept = 0;
    for (size_t i = 0; i < a->n_taken; i++) {
        if (!expired(a, &a->taken[i].record.config)) {
            a->taken[kept++] = a->taken[i];
        }
    }
    a->n_taken = kept;
    tb_co_taken_recount(a);
}

void tb_co_buffer_over(tb_coordinator *co, tb_run *run, bool committed)
{
    tb_async *a = run->async;
    bool closed = run->round.closed;
    pass_on(a, closed ? TB_TAKEN_CLOSED : TB_TAKEN_WAITS, TB_TAKEN_OVER);
    for (size_t i = 0; i < a->n_taken; i++) {
        a->taken[i].added = false; /* the sum goes */
    }
    tb_co_taken_recount(a);
    if (committed) {
        expire(co, run, run->number + 1);
    }
}

bool tb_co_buffer_purge(tb_coordinator *co, tb_run *run, const tb_name *client)
{
    bool found = false;
    for (size_t i = 0; run->async != NULL && i < run->async->n_taken; i++) {
        const tb_taken *c = &run->async->taken[i];
        if (c->state == TB_TAKEN_WAITS &&
            tb_name_equal(&c->record.client, client)) {
            tb_record record = {.kind = TB_REC_PURGED, .u.purged = c->record};
            (void)tb_co_journal(co, &record);
            found = true;
        }
    }
    return found;
}

tb_rc tb_co_buffer_purged(const tb_coordinator *co, tb_run *run,
                          const tb_rec_accepted *record, uint64_t seq,
                          tb_err *err)
{
    tb_taken *c = tb_co_taken(run, &record->config, &record->client);
    tb_row *row = tb_co_find(co, &record->client);
    if (row == NULL || c == NULL || c->state != TB_TAKEN_WAITS ||
        !tb_hash_equal(&c->record.update, &record->update)) {
        return tb_fail(err, TB_E_MALFORMED, "journal: %s cannot be purged here",
                       record->client.text);
    }
    c->state = TB_TAKEN_REFUSED;
    c->code = TB_REFUSE_IDENTITY;
    c->seq = seq;
    run->async->n_waiting--;
    tb_co_taken_look(run->async, c);
    row->n_accepted--;
    if (tb_hash_equal(&row->last.update, &record->update)) {
        row->last = (tb_rec_accepted){0};
        row->last_seq = 0;
    }
    if (tb_co_buffered(run) && run->round.open && !run->round.closed) {
        run->round.n_accepted--;
        run->round.weight -= record->weight;
    }
    return TB_OK;
}

tb_rc tb_co_buffer_left_over(const tb_coordinator *co,
                             const tb_rec_left_over *record, tb_err *err)
{
    tb_run *run = tb_co_find_run(co, &record->run);
    if (run == NULL || run->async == NULL || run->round.open ||
        tb_co_waiting(run) != record->n_updates) {
        return tb_fail(err, TB_E_MALFORMED,
                       "journal: %u updates cannot be left over here",
                       record->n_updates);
    }
    pass_on(run->async, TB_TAKEN_WAITS, TB_TAKEN_OVER);
    return TB_OK;
}

void tb_co_buffer_forgotten(tb_run *run)
{
    run->async->n_known = 0;
    run->async->n_taken = 0;
    tb_co_taken_recount(run->async);
}
