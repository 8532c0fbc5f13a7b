/* The life of a round, the same for every run that lives.
 *
 * | phase       | accepts           | waits for          | then              |
 * | ----------- | ----------------- | ------------------ | ----------------- |
 * | idle        | check-ins         | a run              | selecting         |
 * | selecting   | check-ins         | wanted clients; or | training          |
 * |             |                   | target, and nobody |                   |
 * |             |                   | else is expected;  |                   |
 * |             |                   | after select_ms:   |                   |
 * |             |                   | minimum            |                   |
 * | training    | answers, uploads, | target updates, or | closing           |
 * |             | check-ins         | no client left, or |                   |
 * |             |                   | the deadline       |                   |
 * | closing     | check-ins         | orders that are    | aggregating;      |
 * |             |                   | out, half updates  | under minimum:    |
 * |             |                   | to be subtracted   | abandoned         |
 * | aggregating | check-ins         | the new model      | evaluating        |
 * | evaluating  | check-ins         | its measurement    | committed         |
 * | committed   | -                 | nothing            | idle (next round) |
 * | abandoned   | -                 | nothing            | idle (again, or   |
 * |             |                   |                    | the run fails)    |
 * | finishing   | check-ins         | the published model| - (run ended)     |
 *
 * In an asynchronous run a round of training is a buffer, and selecting and
 * training are one: it opens for nobody in particular when `buffer` eligible
 * clients are here (after select_ms: minimum), whether they are ready or not.
 *
 * | phase       | accepts           | waits for          | then              |
 * | ----------- | ----------------- | ------------------ | ----------------- |
 * | training    | the same; who is  | `buffer` updates,  | closing           |
 * |             | ready is offered  | or nobody left who |                   |
 * |             | it at once, up to | could send one, or |                   |
 * |             | `target` clients  | the deadline       |                   |
 * | closing     | check-ins, answers| accepted updates   | aggregating;      |
 * |             | and uploads, for  | that are not in    | under minimum:    |
 * |             | the next buffer   | the sum yet        | abandoned         |
 * | all others  | the same          | as above           | as above          |
 *
 * buffer.c says what counts where, flight.c who trains. An evaluation by
 * clients is between two buffers: those in flight are not asked, and what they
 * send meanwhile counts in the next buffer. Before a calibration and at the end
 * they are refused as late.
 *
 * A run that is queued (jobs.running) or paused stays idle between its rounds.
 * A cancelled or failed round goes through closing to abandoned, so that no
 * order is out when it is forgotten. An evaluation or calibration by clients is
 * a round of the same phases. */
#include <stdio.h>
#include <string.h>

#include "fed/coordinator_priv.h"

typedef struct phase {
    const char *name;
    void (*enter)(tb_coordinator *co, tb_run *run); /* NULL: nothing */
    /* What may be done now; returns the phase to be in. */
    tb_phase (*check)(tb_coordinator *co, tb_run *run);
} phase;

/* idle */

static tb_phase check_idle(tb_coordinator *co, tb_run *run)
{
    (void)co;
    if (run->ended) {
        return TB_PHASE_IDLE;
    }
    if (run->cancelled || (run->finishing && !run->paused)) {
        return TB_PHASE_FINISHING;
    }
    return run->has_turn ? TB_PHASE_SELECTING : TB_PHASE_IDLE;
}

/* selecting */

static tb_phase check_selecting(tb_coordinator *co, tb_run *run)
{
    if (run->cancelled || !run->has_turn) {
        return TB_PHASE_IDLE;
    }
    return tb_co_select(co, run) ? TB_PHASE_TRAINING : TB_PHASE_SELECTING;
}

/* training */

static void enter_training(tb_coordinator *co, tb_run *run)
{
    tb_round *round = &run->round;
    round->deadline_ms = tb_co_later(co->now, round->left_ms);
    tb_co_sweep_later(co, run);
    tb_co_order_sum(co, run);
    for (uint32_t i = 0; i < round->n_seats; i++) {
        if (round->seats[i].row->connected) {
            tb_co_offer(co, round->seats[i].row);
        }
    }
}

/* Whether an update may still come from this client of the cohort. */
static bool is_hopeful(const tb_coordinator *co, const tb_seat *seat)
{
    const tb_row *row = seat->row;
    uint64_t lost_ms = seat->run->params->lost_ms;
    bool lost = !row->connected && lost_ms > 0 && !seat->upload.has_end &&
                co->now >= tb_co_later(row->away_ms, lost_ms);
    bool asked = seat->state == TB_SEAT_ASKED || seat->state == TB_SEAT_TAKEN;
    return asked && !lost && !row->revoked;
}

uint32_t tb_co_hopeful(const tb_coordinator *co, const tb_run *run)
{
    uint32_t n = tb_co_buffered(run) ? tb_co_airborne(co, run) : 0;
    for (uint32_t i = 0; i < run->round.n_seats; i++) {
        n += is_hopeful(co, &run->round.seats[i]);
    }
    return n;
}

/* Whether there is one; asked at every event, so it looks first where there
 * was one last time. */
static bool any_hopeful(const tb_coordinator *co, tb_round *round)
{
    for (uint32_t i = 0; i < round->n_seats; i++) {
        uint32_t s = (round->hopeful_at + i) % round->n_seats;
        if (is_hopeful(co, &round->seats[s])) {
            round->hopeful_at = s;
            return true;
        }
    }
    return false;
}

static tb_phase check_training(tb_coordinator *co, tb_run *run)
{
    tb_round *round = &run->round;
    char why[TB_TEXT_BYTES];
    if (round->doomed) {
        return TB_PHASE_CLOSING;
    }
    if (tb_co_buffered(run)) {
        tb_co_launch(co, run);
    }
    if (round->n_accepted >= tb_run_wanted(run->params)) {
        (void)snprintf(why, sizeof why, "the %s of %u updates is %s",
                       tb_co_buffered(run) ? "buffer" : "target",
                       tb_run_wanted(run->params),
                       tb_co_buffered(run) ? "full" : "reached");
    } else if (tb_co_buffered(run) ? !tb_co_any_airborne(co, run)
                                   : !any_hopeful(co, round)) {
        (void)snprintf(why, sizeof why, "no other client is left to wait for");
    } else if (co->now >= round->deadline_ms) {
        (void)snprintf(why, sizeof why, "the deadline is over");
    } else {
        return TB_PHASE_TRAINING;
    }
    memcpy(round->why, why, sizeof round->why);
    return TB_PHASE_CLOSING;
}

/* closing */

static void close_round(tb_coordinator *co, tb_run *run);

/* Of a buffer it is decided at once what is in it: what is accepted from now on
 * is for the next one. */
static void enter_closing(tb_coordinator *co, tb_run *run)
{
    if (tb_co_buffered(run) && !run->round.closed) {
        close_round(co, run);
    }
    for (uint32_t i = 0; i < run->round.n_seats; i++) {
        if (run->round.seats[i].state != TB_SEAT_DONE) {
            tb_co_drop(co, &run->round.seats[i]);
        }
    }
}

/* Journals that it closes, or decides to abandon it. */
static void close_round(tb_coordinator *co, tb_run *run)
{
    const tb_round *round = &run->round;
    if (!round->doomed && round->n_accepted < run->params->minimum) {
        char why[TB_TEXT_BYTES];
        (void)snprintf(why, sizeof why,
                       "%u of at least %u updates came: %.160s",
                       round->n_accepted, run->params->minimum, round->why);
        tb_co_doom(run, why);
    }
    if (!round->doomed && !round->closed) {
        tb_record record = {.kind = TB_REC_CLOSED,
                            .u.closed = {.config = round->hash,
                                         .n_accepted = round->n_accepted}};
        memcpy(record.u.closed.why, round->why, sizeof round->why);
        (void)tb_co_journal(co, &record);
    }
}

static tb_phase check_closing(tb_coordinator *co, tb_run *run)
{
    tb_round *round = &run->round;
    if (round->order != 0 || !tb_co_quiet(run) ||
        (!round->sum_open && !round->doomed)) {
        return TB_PHASE_CLOSING;
    }
    close_round(co, run);
    return round->doomed ? TB_PHASE_ABANDONED : TB_PHASE_AGGREGATING;
}

/* aggregating and evaluating: one order each */

/* Where a round's own order left it: stays until there is a result. */
static tb_phase wait_result(tb_coordinator *co, tb_run *run,
                            void (*again)(tb_coordinator *co, tb_run *run))
{
    if (run->round.order != 0) {
        return run->phase;
    }
    if (run->round.doomed) {
        return TB_PHASE_ABANDONED;
    }
    if (co->now >= run->round.retry_ms) {
        again(co, run);
    }
    return run->phase;
}

static void enter_at_once(tb_coordinator *co, tb_run *run)
{
    run->round.retry_ms = co->now;
}

static tb_phase check_aggregating(tb_coordinator *co, tb_run *run)
{
    return wait_result(co, run, tb_co_order_aggregate);
}

static tb_phase check_evaluating(tb_coordinator *co, tb_run *run)
{
    bool here = run->task == TB_TASK_TRAIN &&
                run->params->evaluate == TB_WHERE_COORDINATOR;
    return here ? wait_result(co, run, tb_co_order_evaluate)
                : TB_PHASE_COMMITTED;
}

/* committed and abandoned: journalled, then left at once */

/* Of a buffer only the sum goes: updates of its configuration may still come,
 * until later buffers make it too old. */
static void forget_round(tb_coordinator *co, tb_run *run, const tb_hash *config,
                         bool buffer)
{
    tb_action *action =
        tb_co_action(co, buffer ? TB_ACT_SUMMED : TB_ACT_FORGET, co->seq);
    action->config = *config;
    action->u.run = run->params->run;
    for (size_t i = 0; buffer && i < run->async->n_expired; i++) {
        action = tb_co_action(co, TB_ACT_FORGET, co->seq);
        action->config = run->async->expired[i];
        action->u.run = run->params->run;
    }
    if (buffer) {
        run->async->n_expired = 0;
        tb_co_land_lost(co, run);
    }
}

static void enter_committed(tb_coordinator *co, tb_run *run)
{
    const tb_round *round = &run->round;
    tb_hash config = round->hash;
    bool buffer = tb_co_buffered(run);
    tb_record record = {.kind = TB_REC_COMMITTED,
                        .u.committed = {.config = config,
                                        .task = run->task,
                                        .round = run->number,
                                        .result = round->result,
                                        .metrics = round->metrics,
                                        .n_clients = round->n_accepted,
                                        .weight = round->weight}};
    (void)tb_co_journal(co, &record);
    forget_round(co, run, &config, buffer);
}

static void enter_abandoned(tb_coordinator *co, tb_run *run)
{
    tb_hash config = run->round.hash;
    bool buffer = tb_co_buffered(run);
    tb_record record = {.kind = TB_REC_ABANDONED,
                        .u.abandoned = {.config = config}};
    memcpy(record.u.abandoned.why, run->round.why, sizeof run->round.why);
    (void)tb_co_journal(co, &record);
    forget_round(co, run, &config, buffer);
}

static tb_phase check_passing(tb_coordinator *co, tb_run *run)
{
    (void)co;
    (void)run;
    return TB_PHASE_IDLE;
}

static tb_phase check_abandoned(tb_coordinator *co, tb_run *run)
{
    if (!run->cancelled && run->failures >= run->params->max_attempts) {
        char why[TB_TEXT_BYTES];
        (void)snprintf(why, sizeof why,
                       "round %u was abandoned %u times, last: %.160s",
                       run->number, run->failures, run->why);
        if (!tb_co_ground(co, run)) {
            return TB_PHASE_ABANDONED;
        }
        tb_co_end_run(co, run, TB_OUTCOME_FAILED, why);
    }
    return TB_PHASE_IDLE;
}

/* finishing: the end of a run, good or bad */

static tb_phase check_finishing(tb_coordinator *co, tb_run *run)
{
    if (run->ended) {
        return TB_PHASE_IDLE;
    }
    if (run->round.order != 0 || !tb_co_ground(co, run)) {
        return TB_PHASE_FINISHING;
    }
    if (run->registered) {
        tb_co_end_run(co, run, TB_OUTCOME_DONE, "the model is registered");
        return TB_PHASE_IDLE;
    }
    if (run->cancelled) {
        tb_co_end_run(co, run, TB_OUTCOME_CANCELLED, run->why);
        return TB_PHASE_IDLE;
    }
    if (co->now >= run->round.retry_ms) {
        tb_co_order_finish(co, run);
    }
    return TB_PHASE_FINISHING;
}

static const phase phases[TB_PHASE_COUNT] = {
    [TB_PHASE_IDLE] = {"idle", NULL, check_idle},
    [TB_PHASE_SELECTING] = {"selecting", NULL, check_selecting},
    [TB_PHASE_TRAINING] = {"training", enter_training, check_training},
    [TB_PHASE_CLOSING] = {"closing", enter_closing, check_closing},
    [TB_PHASE_AGGREGATING] = {"aggregating", enter_at_once, check_aggregating},
    [TB_PHASE_EVALUATING] = {"evaluating", enter_at_once, check_evaluating},
    [TB_PHASE_COMMITTED] = {"committed", enter_committed, check_passing},
    [TB_PHASE_ABANDONED] = {"abandoned", enter_abandoned, check_abandoned},
    [TB_PHASE_FINISHING] = {"finishing", enter_at_once, check_finishing},
};

const char *tb_phase_name(tb_phase p)
{
    return p < TB_PHASE_COUNT ? phases[p].name : "unknown";
}

void tb_co_set_phase(tb_coordinator *co, tb_run *run, tb_phase next)
{
    run->phase = next;
    run->since_ms = co->now;
    tb_co_look_all(run);
    run->gather_ms = co->now;
    run->census = 0; /* count anew */
    run->late = false;
    run->blocked = false;
    run->claims = false;
    if (phases[next].enter != NULL) {
        phases[next].enter(co, run);
    }
}

/* One look at one run; true when it moved. */
static bool move(tb_coordinator *co, tb_run *run)
{
    tb_phase next =
        co->rc == TB_OK ? phases[run->phase].check(co, run) : run->phase;
    if (next == run->phase || co->rc != TB_OK) {
        return false;
    }
    tb_co_set_phase(co, run, next);
    return true;
}

/* What one run does may be what another one waits for: clients, or credit. */
void tb_co_advance(tb_coordinator *co)
{
    bool moved = true;
    while (moved) {
        moved = false;
        tb_co_pump(co);
        tb_co_deal_turns(co);
        for (size_t i = 0; i < co->n_runs;) {
            tb_run *run = co->turns[i];
            moved = move(co, run) || moved;
            i += co->turns[i] == run; /* else its turn is over */
        }
        tb_co_reap(co);
    }
}

void tb_co_doom(tb_run *run, const char *why)
{
    if (run->round.open && !run->round.doomed) {
        run->round.doomed = true;
        tb_co_text(run->round.why, why);
    }
}

static void resume(tb_coordinator *co, tb_run *run)
{
    bool closed = run->round.closed;
    run->since_ms = co->now;
    if (run->round.open && !run->round.doomed) {
        tb_co_set_phase(co, run, TB_PHASE_TRAINING);
    }
    if (run->round.open && (run->round.doomed || closed)) {
        tb_co_set_phase(co, run, TB_PHASE_CLOSING);
    }
}

void tb_co_resume(tb_coordinator *co)
{
    for (size_t i = 0; i < co->n_rows; i++) {
        co->rows[i]->away_ms = co->now;
    }
    for (size_t i = 0; i < co->n_runs; i++) {
        resume(co, co->runs[i]);
    }
    tb_co_advance(co);
}
