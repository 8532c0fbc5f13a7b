/* What the coordinator knows, as records make it: the same code takes a record
 * when it is written and when it is replayed. Emits nothing. */
#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "fed/coordinator_priv.h"

const tb_model_ref *tb_co_chosen(const tb_run *run)
{
    bool best = run->params->publish != TB_PUBLISH_LAST && run->best_round > 0;
    return best ? &run->best : &run->model;
}

static tb_rc run_started(tb_coordinator *co, const tb_run_params *params,
                         tb_err *err)
{
    if (tb_co_find_name(co, &params->name) != NULL ||
        tb_co_find_run(co, &params->run) != NULL) {
        return tb_fail(err, TB_E_BUSY,
                       "a run of model %s is not over: wait, `tributaryd "
                       "cancel %s`, or give the job another name",
                       params->name.text, params->name.text);
    }
    if (!tb_hash_equal(&params->federation, &co->params.federation)) {
        return tb_fail(err, TB_E_MISMATCH, "the run is of another federation");
    }
    tb_rc rc = tb_co_add_run(co, params, err);
    co->census++;
    for (size_t i = 0; i < co->n_runs; i++) {
        co->runs[i]->census = 0; /* all count anew: they are not alone */
    }
    return rc;
}

/* Seats for the cohort; a name that is no member is a broken journal. */
static tb_rc make_seats(const tb_coordinator *co, tb_run *run,
                        const tb_rec_round_opened *r, tb_seat **out,
                        tb_err *err)
{
    tb_seat *seats = tb_mem_array(r->n_clients, sizeof *seats);
    if (seats == NULL) {
        return tb_fail(err, TB_E_NOMEM, "coordinator: %u seats", r->n_clients);
    }
    for (uint32_t i = 0; i < r->n_clients; i++) {
        tb_row *row = tb_co_find(co, &r->clients[i]);
        if (row == NULL || row->seat != NULL) {
            tb_mem_free(seats);
            return tb_fail(err, TB_E_MALFORMED,
                           "journal: %s is no member, or in another round",
                           r->clients[i].text);
        }
        seats[i].row = row;
        seats[i].run = run;
        seats[i].config = tb_hash_of(r->config.data, r->config.len);
    }
    *out = seats;
    return TB_OK;
}

static tb_rc round_opened(tb_coordinator *co, const tb_rec_round_opened *r,
                          uint64_t seq, tb_err *err)
{
    tb_run *run = tb_co_find_run(co, &r->run);
    if (run == NULL || run->round.open || run->finishing ||
        r->round != run->number || r->attempt != run->attempt ||
        r->task != run->task || (tb_co_buffered(run) && r->n_clients > 0)) {
        return tb_fail(err, TB_E_MALFORMED,
                       "journal: round %u cannot open here", r->round);
    }
    tb_round *round = &run->round;
    tb_seat *seats = NULL;
    tb_rc rc = tb_round_config_decode(round->config, r->config.data,
                                      r->config.len, err);
    if (rc == TB_OK) {
        round->bytes.len = 0;
        rc = tb_buf_put(&round->bytes, r->config.data, r->config.len, err);
    }
    if (rc == TB_OK) {
        rc = make_seats(co, run, r, &seats, err);
    }
    if (rc != TB_OK) {
        return rc;
    }
    for (uint32_t i = 0; i < r->n_clients; i++) {
        seats[i].row->seat = &seats[i];
        seats[i].row->ready = false;
    }
    tb_hash hash = tb_hash_of(r->config.data, r->config.len);
    if (tb_co_buffered(run)) {
        round->n_accepted = 0;
        round->weight = 0;
        rc = tb_co_buffer_opened(run, round->config, &hash, err);
    }
    if (rc != TB_OK) {
        tb_mem_free(seats);
        return rc;
    }
    run->round = (tb_round){.open = true,
                            .config = round->config,
                            .bytes = round->bytes,
                            .hash = hash,
                            .n_accepted = round->n_accepted,
                            .weight = round->weight,
                            .seq = seq,
                            .seats = seats,
                            .n_seats = r->n_clients,
                            .left_ms = round->config->deadline_ms,
                            .metrics = tb_metrics_none()};
    run->opened = seq;
    tb_co_turn_over(co, run);
    co->census++;
    return TB_OK;
}

/* The run whose open round the record is about, or NULL. */
static tb_run *run_of(const tb_coordinator *co, const tb_hash *config,
                      tb_err *err)
{
    tb_run *run = tb_co_find_round(co, config);
    if (run == NULL) {
        (void)tb_fail(err, TB_E_MALFORMED,
                      "journal: a record of a round that is not open");
    }
    return run;
}

static tb_seat *find_seat(const tb_coordinator *co, const tb_run *run,
                          const tb_name *client)
{
    const tb_row *row = tb_co_find(co, client);
    return row == NULL || row->seat == NULL || row->seat->run != run
               ? NULL
               : row->seat;
}

static tb_rc accepted(tb_coordinator *co, const tb_rec_accepted *r,
                      uint64_t seq, tb_err *err)
{
    tb_run *run = tb_co_find_known(co, &r->config);
    if (run != NULL) {
        return tb_co_buffer_accepted(co, run, r, seq, err);
    }
    run = run_of(co, &r->config, err);
    if (run == NULL) {
        return TB_E_MALFORMED;
    }
    tb_seat *seat = find_seat(co, run, &r->client);
    if (seat == NULL || seat->state == TB_SEAT_DONE ||
        seat->state == TB_SEAT_OUT || run->round.closed) {
        return tb_fail(err, TB_E_MALFORMED,
                       "journal: an update of %s cannot count here",
                       r->client.text);
    }
    seat->state = TB_SEAT_DONE;
    seat->stored = true; /* the live machine knows that it is summed */
    seat->row->last = *r;
    seat->row->last_seq = seq;
    seat->row->n_accepted++;
    run->round.n_accepted++;
    run->round.weight += r->weight;
    return TB_OK;
}

static tb_rc expelled(tb_coordinator *co, const tb_rec_expelled *r, tb_err *err)
{
    tb_run *run = tb_co_find_known(co, &r->config);
    if (run != NULL) {
        return tb_co_buffer_expelled(co, run, r, err);
    }
    run = run_of(co, &r->config, err);
    if (run == NULL) {
        return TB_E_MALFORMED;
    }
    tb_seat *seat = find_seat(co, run, &r->client);
    if (seat == NULL || seat->state == TB_SEAT_DONE) {
        return tb_fail(err, TB_E_MALFORMED, "journal: %s cannot be expelled",
                       r->client.text);
    }
    tb_rc rc = tb_co_strike(seat->row, run, err);
    if (rc != TB_OK) {
        return rc;
    }
    seat->state = TB_SEAT_OUT;
    seat->code = r->code;
    seat->row->n_expelled++;
    return TB_OK;
}

static tb_rc purged(tb_coordinator *co, const tb_rec_accepted *r, uint64_t seq,
                    tb_err *err)
{
    tb_run *run = tb_co_find_known(co, &r->config);
    if (run != NULL) {
        return tb_co_buffer_purged(co, run, r, seq, err);
    }
    run = run_of(co, &r->config, err);
    if (run == NULL) {
        return TB_E_MALFORMED;
    }
    tb_seat *seat = find_seat(co, run, &r->client);
    if (seat == NULL || seat->state != TB_SEAT_DONE || run->round.closed ||
        !tb_hash_equal(&seat->row->last.update, &r->update)) {
        return tb_fail(err, TB_E_MALFORMED, "journal: %s cannot be purged here",
                       r->client.text);
    }
    tb_row *row = seat->row;
    run->round.n_accepted--;
    run->round.weight -= row->last.weight;
    row->n_accepted--;
    row->last = (tb_rec_accepted){0};
    row->last_seq = 0;
    seat->state = TB_SEAT_OUT;
    seat->stored = false; /* a live machine subtracts what is summed */
    return TB_OK;
}

/* The round is over: its seats go, its hash is kept. That of a buffer is known
 * for longer. */
static void leave_round(tb_coordinator *co, tb_run *run, bool committed)
{
    tb_round *round = &run->round;
    for (uint32_t i = 0; i < round->n_seats; i++) {
        tb_row *row = round->seats[i].row;
        row->seat = NULL;
        row->active_ms = co->now;
        if (committed) {
            bool gave = round->seats[i].state == TB_SEAT_DONE;
            row->n_missed = gave ? 0 : row->n_missed + 1;
        }
    }
    tb_mem_free(round->seats);
    tb_co_forget_seats(co);
    co->census += 1 + (uint64_t)round->n_seats; /* so many more may be ready */
    if (tb_co_buffered(run)) {
        tb_co_buffer_over(co, run, committed);
    } else {
        co->aged[co->n_past % TB_PAST_ROUNDS] = false;
        co->past[co->n_past++ % TB_PAST_ROUNDS] = round->hash;
    }
    run->round = (tb_round){.config = round->config, .bytes = round->bytes};
}

/* Takes an evaluation of run->model into account: better than the best? */
static void judge(tb_run *run)
{
    const tb_run_params *p = run->params;
    bool by_loss =
        p->publish == TB_PUBLISH_BEST_LOSS || !isfinite(run->metrics.accuracy);
    double now = by_loss ? -run->metrics.loss : run->metrics.accuracy;
    double best =
        by_loss ? -run->best_metrics.loss : run->best_metrics.accuracy;
    bool first = run->best_round == 0;
    bool better = isfinite(now) && (first || !isfinite(best) || now > best);
    bool gain =
        better && (first || !isfinite(best) || now > run->mark + p->min_delta);
    run->without_gain = gain ? 0 : run->without_gain + 1;
    run->mark = gain ? now : run->mark; /* small steps add up */
    if (better) {
        run->best = run->model;
        run->best_metrics = run->metrics;
        run->best_round = run->number;
    }
}

/* A training round, and its evaluation if any, are over. */
static void next_round(tb_run *run)
{
    const tb_run_params *p = run->params;
    bool stop = p->patience > 0 && run->without_gain >= p->patience;
    if (run->number < p->rounds && !stop) {
        run->number++;
        run->task = TB_TASK_TRAIN;
    } else if (p->calibrate == TB_WHERE_CLIENTS) {
        run->task = TB_TASK_CALIBRATE;
    } else {
        run->finishing = true;
    }
}

static tb_rc committed(tb_coordinator *co, const tb_rec_committed *r,
                       uint64_t seq, tb_err *err)
{
    tb_run *run = run_of(co, &r->config, err);
    if (run == NULL) {
        return TB_E_MALFORMED;
    }
    if (r->task != run->task || r->round != run->number || !run->round.closed) {
        return tb_fail(err, TB_E_MALFORMED,
                       "journal: round %u cannot be committed here", r->round);
    }
    leave_round(co, run, true);
    run->attempt = 1;
    run->failures = 0;
    run->seq = seq;
    switch (r->task) {
    case TB_TASK_TRAIN:
        run->model = r->result;
        run->metrics = r->metrics;
        if (run->params->evaluate == TB_WHERE_CLIENTS) {
            run->task = TB_TASK_EVALUATE;
            break;
        }
        if (run->params->evaluate == TB_WHERE_COORDINATOR) {
            judge(run);
        }
        next_round(run);
        break;
    case TB_TASK_EVALUATE:
        run->metrics.loss = r->metrics.loss;
        run->metrics.accuracy = r->metrics.accuracy;
        run->metrics.samples = r->weight;
        judge(run);
        next_round(run);
        break;
    case TB_TASK_CALIBRATE:
    case TB_TASK_COUNT:
        run->ranges = r->result;
        run->finishing = true;
        break;
    }
    return TB_OK;
}

static tb_rc abandoned(tb_coordinator *co, const tb_rec_abandoned *r,
                       uint64_t seq, tb_err *err)
{
    tb_run *run = run_of(co, &r->config, err);
    if (run == NULL) {
        return TB_E_MALFORMED;
    }
    leave_round(co, run, false);
    run->attempt++;
    run->failures++;
    run->seq = seq;
    memcpy(run->why, r->why, sizeof run->why);
    return TB_OK;
}

/* No update of this round counts any more: none is told so again. */
static void forget_acceptances(tb_coordinator *co, const tb_hash *config)
{
    for (size_t i = 0; i < co->n_rows; i++) {
        if (tb_hash_equal(&co->rows[i]->last.config, config)) {
            co->rows[i]->last = (tb_rec_accepted){0};
            co->rows[i]->last_seq = 0;
        }
    }
}

static tb_rc closed(tb_coordinator *co, const tb_rec_closed *r, tb_err *err)
{
    tb_run *run = run_of(co, &r->config, err);
    if (run == NULL) {
        return TB_E_MALFORMED;
    }
    if (run->round.closed || r->n_accepted != run->round.n_accepted) {
        return tb_fail(err, TB_E_MALFORMED,
                       "journal: the round closes with %u updates, %u were "
                       "accepted",
                       r->n_accepted, run->round.n_accepted);
    }
    if (tb_co_buffered(run)) {
        tb_co_buffer_closed(run);
    }
    run->round.closed = true;
    memcpy(run->round.why, r->why, sizeof run->round.why);
    return TB_OK;
}

static tb_rc clock_left(tb_coordinator *co, const tb_rec_clock *r, tb_err *err)
{
    tb_run *run = run_of(co, &r->config, err);
    if (run == NULL) {
        return TB_E_MALFORMED;
    }
    run->round.left_ms = r->left_ms;
    return TB_OK;
}

/* It stays in the list, as one that has ended, until the step is over. */
static tb_rc run_ended(tb_coordinator *co, const tb_rec_run_ended *r,
                       tb_err *err)
{
    tb_run *run = tb_co_find_run(co, &r->run);
    if (run == NULL || run->round.open) {
        return tb_fail(err, TB_E_MALFORMED, "journal: a run cannot end here");
    }
    run->ended = true;
    return TB_OK;
}

/* The run that an operator wants to change, unless it ends anyway. */
static tb_rc find_to_change(tb_run **out, const tb_coordinator *co,
                            const tb_run_id *id, tb_err *err)
{
    *out = tb_co_find_run(co, id);
    if (*out == NULL) {
        return tb_fail(err, TB_E_NOT_FOUND, "there is no such run");
    }
    if ((*out)->cancelled) {
        return tb_fail(err, TB_E_EXISTS, "the run of %s is cancelled already",
                       (*out)->params->name.text);
    }
    return TB_OK;
}

static tb_rc run_paused(tb_coordinator *co, const tb_rec_run_paused *r,
                        tb_err *err)
{
    tb_run *run = NULL;
    tb_rc rc = find_to_change(&run, co, &r->run, err);
    if (rc != TB_OK) {
        return rc;
    }
    if (run->paused) {
        return tb_fail(err, TB_E_EXISTS, "the run of %s is paused already",
                       run->params->name.text);
    }
    run->paused = true;
    run->paused_s = r->paused_s;
    memcpy(run->paused_why, r->why, sizeof run->paused_why);
    co->census++;
    return TB_OK;
}

static tb_rc run_resumed(tb_coordinator *co, const tb_rec_run_resumed *r,
                         tb_err *err)
{
    tb_run *run = NULL;
    tb_rc rc = find_to_change(&run, co, &r->run, err);
    if (rc != TB_OK) {
        return rc;
    }
    if (!run->paused) {
        return tb_fail(err, TB_E_EXISTS, "the run of %s is not paused",
                       run->params->name.text);
    }
    run->paused = false;
    co->census++;
    return TB_OK;
}

static tb_rc run_cancelled(tb_coordinator *co, const tb_rec_run_cancelled *r,
                           tb_err *err)
{
    tb_run *run = NULL;
    tb_rc rc = find_to_change(&run, co, &r->run, err);
    if (rc != TB_OK) {
        return rc;
    }
    run->cancelled = true;
    memcpy(run->why, r->why, sizeof run->why);
    tb_co_doom(run, r->why);
    co->census++;
    return TB_OK;
}

/* Nothing that a client was told after the backup is known here: what was open
 * then begins anew, under the new epoch, and what was over then is no more than
 * another round. */
static tb_rc restored(tb_coordinator *co, const tb_rec_restored *r,
                      uint64_t seq, tb_err *err)
{
    if (r->epoch <= co->epoch.epoch) {
        return tb_fail(err, TB_E_MALFORMED, "journal: epoch %u after epoch %u",
                       r->epoch, co->epoch.epoch);
    }
    co->epoch = *r;
    co->epoch_row = seq;
    for (size_t i = 0; i < co->n_runs; i++) {
        tb_run *run = co->runs[i];
        size_t n_known = run->async == NULL ? 0 : run->async->n_known;
        for (size_t k = 0; k < n_known; k++) {
            forget_acceptances(co, &run->async->known[k].config);
        }
        if (run->round.open) {
            forget_acceptances(co, &run->round.hash);
            leave_round(co, run, false);
            run->attempt++;
            run->seq = seq;
        }
        if (run->async != NULL) {
            tb_co_buffer_forgotten(run);
        }
    }
    co->n_past = 0;
    return TB_OK;
}

/* A run registers its model once, also when its end is not durable. */
static tb_rc version(tb_coordinator *co, const tb_record *record, tb_err *err)
{
    tb_run *run = tb_co_find_run(co, &record->u.version.run);
    if (run != NULL && (!run->finishing || run->registered)) {
        return tb_fail(err, TB_E_MALFORMED,
                       "journal: the run of %s registers no model here",
                       run->params->name.text);
    }
    tb_rc rc = tb_co_apply_member(co, record, err);
    if (rc == TB_OK && run != NULL) {
        run->registered = true;
    }
    return rc;
}

static tb_rc apply(tb_coordinator *co, const tb_record *record, uint64_t seq,
                   tb_err *err)
{
    switch (record->kind) {
    case TB_REC_INVITED:
    case TB_REC_ENROLLED:
    case TB_REC_REVOKED:
    case TB_REC_LABELLED:
    case TB_REC_ROTATED:
    case TB_REC_COORDINATOR_KEY:
        return tb_co_apply_member(co, record, err);
    case TB_REC_VERSION:
        return version(co, record, err);
    case TB_REC_RUN_STARTED:
        return run_started(co, record->u.run_started, err);
    case TB_REC_ROUND_OPENED:
        return round_opened(co, &record->u.round_opened, seq, err);
    case TB_REC_CLOCK:
        return clock_left(co, &record->u.clock, err);
    case TB_REC_ACCEPTED:
        return accepted(co, &record->u.accepted, seq, err);
    case TB_REC_EXPELLED:
        return expelled(co, &record->u.expelled, err);
    case TB_REC_PURGED:
        return purged(co, &record->u.purged, seq, err);
    case TB_REC_CLOSED:
        return closed(co, &record->u.closed, err);
    case TB_REC_COMMITTED:
        return committed(co, &record->u.committed, seq, err);
    case TB_REC_ABANDONED:
        return abandoned(co, &record->u.abandoned, seq, err);
    case TB_REC_RUN_ENDED:
        return run_ended(co, &record->u.run_ended, err);
    case TB_REC_RUN_PAUSED:
        return run_paused(co, &record->u.run_paused, err);
    case TB_REC_RUN_RESUMED:
        return run_resumed(co, &record->u.run_resumed, err);
    case TB_REC_RUN_CANCELLED:
        return run_cancelled(co, &record->u.run_cancelled, err);
    case TB_REC_LEFT_OVER:
        return tb_co_buffer_left_over(co, &record->u.left_over, err);
    case TB_REC_RESTORED:
        return restored(co, &record->u.restored, seq, err);
    case TB_REC_SWEPT:
        return TB_OK; /* of files only */
    case TB_REC_KIND_END:
        break;
    }
    return tb_fail(err, TB_E_MALFORMED, "journal: kind %d", (int)record->kind);
}

tb_rc tb_co_apply(tb_coordinator *co, const tb_record *record, uint64_t seq,
                  tb_err *err)
{
    if (seq != co->seq + 1) {
        return tb_fail(err, TB_E_MALFORMED, "journal: row %llu after row %llu",
                       (unsigned long long)seq, (unsigned long long)co->seq);
    }
    tb_rc rc = apply(co, record, seq, err);
    if (rc == TB_OK) {
        co->seq = seq;
    }
    return rc;
}
