/* Time: what it brings to open rounds, when to look again, and for what a run
 * waits in words. */
#include <stdio.h>

#include "base/text.h"
#include "fed/coordinator_priv.h"

#define SWEEP_MS       1000
#define CLOCK_SHARE    8 /* the journal knows the deadline to 1/8 */
#define CLOCK_LEAST_MS 1000

void tb_co_sweep_later(const tb_coordinator *co, tb_run *run)
{
    run->sweep_ms = tb_co_later(co->now, SWEEP_MS);
}

int64_t tb_co_lack(const tb_coordinator *co, tb_run *run,
                   const tb_verdict *verdict)
{
    tb_co_text(run->host_why,
               verdict->rc == TB_E_FULL
                   ? "the disk is full: free some space and it goes on"
                   : verdict->why);
    return tb_co_later(co->now, co->params.retry_ms);
}

bool tb_co_stalled(const tb_coordinator *co, const tb_seat *seat)
{
    return co->now >= tb_co_later(seat->moved_ms, co->params.stall_ms);
}

/* A grant that was not used goes back: then true, and the seat is idle. One
 * that is idle and had no room gets its one block as soon as there is some. */
static bool take_back(tb_coordinator *co, tb_seat *seat)
{
    const tb_upload *upload = &seat->upload;
    if (!upload->live) {
        return false;
    }
    if (upload->until > upload->received && tb_co_stalled(co, seat)) {
        tb_co_ungrant(co, seat);
        seat->idle = true;
        return true;
    }
    if (seat->idle) {
        (void)tb_co_grant(co, seat);
    }
    return false;
}

/* So it goes with all uploads of a run; the next in turn come first. */
static void take_all_back(tb_coordinator *co, tb_run *run)
{
    tb_async *a = run->async;
    for (uint32_t i = 0; i < run->round.n_seats; i++) {
        if (take_back(co, &run->round.seats[i])) {
            run->grant_from = i + 1;
        }
    }
    for (size_t i = 0; a != NULL && i < a->n_flights; i++) {
        if (take_back(co, a->flights[i])) {
            a->grant_from = i + 1;
        }
    }
}

static void tick_clock(tb_coordinator *co, const tb_round *round)
{
    uint64_t left = round->deadline_ms > co->now
                        ? (uint64_t)(round->deadline_ms - co->now)
                        : 0;
    uint64_t step = round->config->deadline_ms / CLOCK_SHARE;
    if (step < CLOCK_LEAST_MS) {
        step = CLOCK_LEAST_MS;
    }
    if (round->left_ms >= left + step) {
        tb_record record = {
            .kind = TB_REC_CLOCK,
            .u.clock = {.config = round->hash, .left_ms = left}};
        (void)tb_co_journal(co, &record);
    }
}

/* Whether time may bring anything: a round is open, or clients fly. */
static bool busy(const tb_run *run)
{
    return run->round.open || (run->async != NULL && run->async->n_flights > 0);
}

static void sweep(tb_coordinator *co, tb_run *run)
{
    tb_round *round = &run->round;
    if (!busy(run) || co->now < run->sweep_ms) {
        return;
    }
    tb_co_sweep_later(co, run);
    tb_co_look_all(run); /* what was put off may be due */
    take_all_back(co, run);
    if (run->async != NULL) {
        tb_co_land_lost(co, run);
    }
    if (run->phase == TB_PHASE_TRAINING) {
        tick_clock(co, round);
    }
    if (round->open && !round->sum_open && round->order == 0 &&
        !round->doomed && co->now >= round->retry_ms) {
        tb_co_order_sum(co, run);
    }
}

void tb_co_sweep(tb_coordinator *co)
{
    for (size_t i = 0; i < co->n_runs; i++) {
        sweep(co, co->runs[i]);
    }
}

static int64_t earlier(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int64_t due_of(const tb_coordinator *co, const tb_run *run)
{
    int64_t due = busy(run) ? run->sweep_ms : INT64_MAX;
    if (run->phase == TB_PHASE_SELECTING) {
        int64_t over = tb_co_later(run->gather_ms, run->params->select_ms);
        due = co->now < over ? earlier(due, over) : due;
        due = run->claims ? earlier(due, run->count_ms) : due;
    }
    if (run->phase == TB_PHASE_TRAINING) {
        due = earlier(due, run->round.deadline_ms);
    }
    bool again = run->phase == TB_PHASE_AGGREGATING ||
                 run->phase == TB_PHASE_EVALUATING ||
                 run->phase == TB_PHASE_FINISHING;
    bool flying = run->async != NULL && run->async->n_flights > 0;
    if (again && run->round.order == 0 &&
        !(flying && run->phase == TB_PHASE_FINISHING)) {
        due = earlier(due, run->round.retry_ms);
    }
    return due;
}

int64_t tb_co_due(const tb_coordinator *co)
{
    int64_t due = co->stirred ? co->now : INT64_MAX;
    for (size_t i = 0; i < co->n_runs; i++) {
        due = earlier(due, due_of(co, co->runs[i]));
    }
    return due;
}

/* For what a run waits that opens no round now; false: it may. */
static bool waits_idle(const tb_coordinator *co, const tb_run *run,
                       char out[static TB_TEXT_BYTES])
{
    const char *name = run->params->name.text;
    uint32_t queued = tb_co_queued(co, run);
    char since[TB_UTC_BYTES];
    if (run->paused && !run->cancelled) {
        tb_text_utc(run->paused_s, since);
        (void)snprintf(out, TB_TEXT_BYTES,
                       "the operator, who paused it at %s%s%.100s: tributaryd "
                       "resume %s",
                       since, run->paused_why[0] != '\0' ? ", " : "",
                       run->paused_why, name);
        return true;
    }
    if (queued > 0) {
        (void)snprintf(out, TB_TEXT_BYTES,
                       "its turn: it is number %u in the queue behind %u "
                       "running jobs (jobs.running)",
                       queued, co->params.running);
        return true;
    }
    return false;
}

void tb_co_waits(const tb_coordinator *co, const tb_run *run,
                 char out[static TB_TEXT_BYTES])
{
    const tb_run_params *p = run->params;
    const tb_round *round = &run->round;
    bool idle = run->phase == TB_PHASE_IDLE;
    const char *what = "nothing";
    if (run->host_why[0] != '\0' && !idle) {
        (void)snprintf(out, TB_TEXT_BYTES, "the host: %.200s", run->host_why);
        return;
    }
    if (idle && waits_idle(co, run, out)) {
        return;
    }
    switch (run->phase) {
    case TB_PHASE_SELECTING:
        tb_co_waits_clients(co, run, out);
        return;
    case TB_PHASE_TRAINING:
        (void)snprintf(out, TB_TEXT_BYTES,
                       "updates: %u of %u are in, %u clients can still send "
                       "(%s, deadline)",
                       round->n_accepted, tb_run_wanted(p),
                       tb_co_hopeful(co, run),
                       tb_co_buffered(run) ? "buffer" : "cohort.target");
        return;
    case TB_PHASE_CLOSING:
        what = tb_co_buffered(run) ? "accepted updates to be summed up"
                                   : "half updates to be taken out of the sum";
        break;
    case TB_PHASE_AGGREGATING:
        what = "the new model";
        break;
    case TB_PHASE_EVALUATING:
        what = "the evaluation of the new model";
        break;
    case TB_PHASE_FINISHING:
        what = run->cancelled
                   ? "its last order, to end"
                   : "the finished model: compression, guard, registry";
        break;
    case TB_PHASE_IDLE:
    case TB_PHASE_COMMITTED:
    case TB_PHASE_ABANDONED:
    case TB_PHASE_COUNT:
        break;
    }
    (void)snprintf(out, TB_TEXT_BYTES, "%s", what);
}
