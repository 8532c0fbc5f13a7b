#include "fed/coordinator.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "fed/coordinator_priv.h"

tb_coordinator_params tb_coordinator_defaults(void)
{
    return (tb_coordinator_params){.pool_bytes = 8u << 20,
                                   .window_blocks = 4,
                                   .wait_ms = 30000,
                                   .per_second = 250,
                                   .stall_ms = 30000,
                                   .retry_ms = 2000,
                                   .running = 4};
}

tb_rc tb_coordinator_new(tb_coordinator **out,
                         const tb_coordinator_params *params, tb_err *err)
{
    *out = NULL;
    size_t blocks = params->pool_bytes / TB_PAYLOAD_BYTES_MAX;
    if (blocks == 0 || blocks > UINT32_MAX || params->window_blocks == 0 ||
        params->window_blocks > TB_WINDOW_MAX || params->retry_ms == 0 ||
        params->running == 0) {
        return tb_fail(err, TB_E_USAGE,
                       "coordinator: a pool of %zu bytes (a block needs %u), a "
                       "window of %u blocks (1 to %u), retry after %llu ms, "
                       "%u runs side by side",
                       params->pool_bytes, TB_PAYLOAD_BYTES_MAX,
                       params->window_blocks, TB_WINDOW_MAX,
                       (unsigned long long)params->retry_ms, params->running);
    }
    tb_coordinator *co = tb_mem_array(1, sizeof *co);
    if (co == NULL || (co->by_order = tb_mem_array(
                           TB_ORDERS_KNOWN, sizeof(tb_seat *))) == NULL) {
        tb_mem_free(co);
        return tb_fail(err, TB_E_NOMEM, "coordinator");
    }
    co->params = *params;
    co->pool_max = (uint32_t)blocks;
    co->census = 1;
    *out = co;
    return TB_OK;
}

void tb_coordinator_free(tb_coordinator **co)
{
    if (*co == NULL) {
        return;
    }
    tb_co_free_roster(*co);
    tb_co_free_runs(*co);
    tb_mem_free((*co)->by_order);
    tb_mem_free(*co);
    *co = NULL;
}

tb_rc tb_coordinator_replay(tb_coordinator *co, const tb_record *record,
                            uint64_t seq, tb_err *err)
{
    tb_rc rc = tb_co_apply(co, record, seq, err);
    tb_co_reap(co);
    return rc;
}

/* What a step works with; tb_co_end gives its result. */
static void begin(tb_coordinator *co, int64_t now_ms, tb_actions *out,
                  tb_err *err)
{
    co->now = now_ms > co->now ? now_ms : co->now;
    co->out = out;
    co->err = err;
    co->rc = TB_OK;
    co->greeted = NULL;
    co->touched = NULL;
    co->stirred = false;
}

static tb_rc end(tb_coordinator *co)
{
    co->out = NULL;
    co->err = NULL;
    return co->rc;
}

tb_rc tb_coordinator_resume(tb_coordinator *co, int64_t now_ms, tb_actions *out,
                            tb_err *err)
{
    begin(co, now_ms, out, err);
    co->now = now_ms;
    co->replayed = co->seq;
    tb_co_resume(co);
    return end(co);
}

static bool from_outside(tb_record_kind kind)
{
    return kind == TB_REC_INVITED || kind == TB_REC_ENROLLED ||
           kind == TB_REC_ROTATED || kind == TB_REC_REVOKED ||
           kind == TB_REC_LABELLED || kind == TB_REC_VERSION ||
           kind == TB_REC_COORDINATOR_KEY || kind == TB_REC_SWEPT;
}

/* Undoes nothing: a record from outside that cannot follow changes nothing. */
static void take_record(tb_coordinator *co, const tb_record *record)
{
    if (!from_outside(record->kind)) {
        tb_co_fail(co, TB_E_USAGE, "such a record does not come from outside");
        return;
    }
    uint64_t seq = tb_co_journal(co, record);
    if (co->rc == TB_OK && record->kind == TB_REC_REVOKED) {
        tb_row *row = tb_co_find(co, &record->u.revoked.client);
        if (row != NULL) {
            tb_co_gone(co, row);
            co->touched = row->seat;
            if (row->seat != NULL && row->seat->flight) {
                tb_co_land(co, row->seat);
            } else if (row->seat != NULL && row->seat->state != TB_SEAT_DONE) {
                tb_co_drop(co, row->seat);
            }
        }
        tb_co_action(co, TB_ACT_CUT, seq)->client = record->u.revoked.client;
    }
}

static void start(tb_coordinator *co, const tb_run_params *params)
{
    co->rc = tb_run_params_check(params, co->err);
    tb_run_params *copy = NULL;
    if (co->rc == TB_OK) {
        copy = tb_mem_array(1, sizeof *copy); /* a record is not const */
    }
    if (copy == NULL) {
        tb_co_fail(co, TB_E_NOMEM, "a run");
        return;
    }
    *copy = *params;
    tb_record record = {.kind = TB_REC_RUN_STARTED, .u.run_started = copy};
    (void)tb_co_journal(co, &record);
    tb_mem_free(copy);
}

static void cancel(tb_coordinator *co, const tb_event *event)
{
    tb_record record = {.kind = TB_REC_RUN_CANCELLED,
                        .u.run_cancelled = {.run = event->run}};
    tb_co_text(record.u.run_cancelled.why,
               event->why != NULL ? event->why : "cancelled");
    (void)tb_co_journal(co, &record);
}

static void pause_run(tb_coordinator *co, const tb_event *event)
{
    tb_record record = {
        .kind = TB_REC_RUN_PAUSED,
        .u.run_paused = {.run = event->run, .paused_s = event->unix_s}};
    tb_co_text(record.u.run_paused.why, event->why != NULL ? event->why : "");
    (void)tb_co_journal(co, &record);
}

static void resume_run(tb_coordinator *co, const tb_event *event)
{
    tb_record record = {.kind = TB_REC_RUN_RESUMED,
                        .u.run_resumed = {.run = event->run}};
    (void)tb_co_journal(co, &record);
}

static void take_verdict(tb_coordinator *co, const tb_verdict *verdict)
{
    if (!tb_co_round_verdict(co, verdict) &&
        !tb_co_upload_verdict(co, verdict)) {
        tb_co_fail(co, TB_E_BUG, "a verdict on no order");
    }
}

tb_rc tb_coordinator_step(tb_coordinator *co, const tb_event *event,
                          int64_t now_ms, tb_actions *out, tb_err *err)
{
    begin(co, now_ms, out, err);
    switch (event->kind) {
    case TB_EV_TICK:
        break;
    case TB_EV_MESSAGE:
        tb_co_message(co, event);
        break;
    case TB_EV_GONE: {
        tb_row *row = tb_co_find(co, &event->client);
        if (row != NULL && row->connected) {
            tb_co_gone(co, row);
        }
        break;
    }
    case TB_EV_VERDICT:
        take_verdict(co, event->verdict);
        break;
    case TB_EV_START:
        start(co, event->params);
        break;
    case TB_EV_CANCEL:
        cancel(co, event);
        break;
    case TB_EV_PAUSE:
        pause_run(co, event);
        break;
    case TB_EV_RESUME:
        resume_run(co, event);
        break;
    case TB_EV_PURGE:
        tb_co_purge(co, &event->client);
        break;
    case TB_EV_RECORD:
        take_record(co, event->record);
        break;
    case TB_EV_KIND_END:
        tb_co_fail(co, TB_E_BUG, "an event without a kind");
        break;
    }
    if (co->rc == TB_OK) {
        tb_co_sweep(co);
        tb_co_advance(co);
        tb_co_greet(co);
    }
    return end(co);
}

uint32_t tb_coordinator_epoch(const tb_coordinator *co)
{
    return co->epoch.epoch;
}

int64_t tb_coordinator_next_ms(const tb_coordinator *co)
{
    return tb_co_due(co);
}

bool tb_coordinator_round(const tb_coordinator *co, const tb_hash *config,
                          tb_open *out)
{
    const tb_run *run = tb_co_find_round(co, config);
    if (run == NULL) {
        return false;
    }
    const tb_round *round = &run->round;
    *out = (tb_open){.run = run->params,
                     .config = round->config,
                     .bytes = {round->bytes.data, round->bytes.len},
                     .hash = round->hash,
                     .n_clients = round->n_seats};
    return true;
}

bool tb_coordinator_counts(const tb_coordinator *co, const tb_hash *config,
                           const tb_name *client, const tb_hash *update)
{
    const tb_run *run = tb_co_find_round(co, config);
    const tb_row *row = tb_co_find(co, client);
    if (run != NULL && tb_co_buffered(run)) {
        return tb_co_buffer_counts(run, client, update);
    }
    return run != NULL && row != NULL && row->seat != NULL &&
           row->seat->run == run && row->seat->state == TB_SEAT_DONE &&
           tb_hash_equal(&row->last.config, config) &&
           tb_hash_equal(&row->last.update, update);
}

bool tb_coordinator_known(const tb_coordinator *co, const tb_hash *config,
                          tb_open *out)
{
    if (tb_coordinator_round(co, config, out)) {
        return true;
    }
    const tb_run *run = tb_co_find_known(co, config);
    if (run != NULL) {
        *out = (tb_open){
            .run = run->params, .config = run->async->config, .hash = *config};
    }
    return run != NULL;
}

bool tb_coordinator_earlier(const tb_coordinator *co, size_t i, size_t k,
                            tb_hash *out)
{
    const tb_async *a = i < co->n_runs ? co->runs[i]->async : NULL;
    size_t n = a != NULL ? a->n_known : 0;
    if (a == NULL || k >= n + a->n_expired) {
        return false;
    }
    *out = k < n ? a->known[k].config : a->expired[k - n];
    return true;
}

void tb_coordinator_set_running(tb_coordinator *co, uint32_t running)
{
    co->params.running = running > 0 ? running : 1;
    co->census++;
    co->stirred = true;
}

size_t tb_coordinator_runs(const tb_coordinator *co)
{
    return co->n_runs;
}

const tb_run_params *tb_coordinator_run(const tb_coordinator *co, size_t i)
{
    return i < co->n_runs ? co->runs[i]->params : NULL;
}

bool tb_coordinator_run_status(const tb_coordinator *co, size_t i,
                               tb_run_status *out)
{
    if (i >= co->n_runs) {
        return false;
    }
    const tb_run *run = co->runs[i];
    const tb_run_params *p = run->params;
    const tb_round *round = &run->round;
    *out = (tb_run_status){
        .run = p->run,
        .name = p->name,
        .phase = run->phase,
        .task = run->task,
        .round = run->number,
        .rounds = p->rounds,
        .attempt = run->attempt,
        .queued = tb_co_queued(co, run),
        .cancelled = run->cancelled,
        .paused = run->paused,
        .paused_s = run->paused_s,
        .open = round->open,
        .config = round->hash,
        .since_ms = run->since_ms,
        .deadline_ms =
            run->phase == TB_PHASE_TRAINING ? round->deadline_ms : INT64_MAX,
        .buffered = tb_co_buffered(run),
        .n_asked = tb_co_buffered(run) ? (uint32_t)run->async->n_flights
                                       : round->n_seats,
        .n_accepted = round->n_accepted,
        .n_wanted = tb_run_wanted(p),
        .n_minimum = p->minimum,
        .model = run->model,
        .metrics = run->metrics,
        .best = run->best,
        .best_metrics = run->best_metrics,
        .best_round = run->best_round};
    memcpy(out->paused_why, run->paused_why, sizeof out->paused_why);
    tb_co_waits(co, run, out->waits_for);
    return true;
}

void tb_coordinator_status(const tb_coordinator *co, tb_status *out)
{
    *out = (tb_status){.n_runs = (uint32_t)co->n_runs,
                       .bytes_in = co->bytes_in,
                       .bytes_out = co->bytes_out};
    for (size_t i = 0; i < co->n_rows; i++) {
        out->n_enrolled += !co->rows[i]->revoked;
        out->n_connected += co->rows[i]->connected;
        out->n_ready += co->rows[i]->ready;
    }
    memcpy(out->n_refused, co->n_refused, sizeof out->n_refused);
}
