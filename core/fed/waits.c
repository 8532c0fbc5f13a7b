/* Time: what it brings to open rounds, when to look again, and for what a run
 * waits in words. */
#include <stdio.h>

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
    tb_co_text(run->host_why, verdict->why);
    return tb_co_later(co->now, co->params.retry_ms);
}

/* Grants that were not used go back; so do clients that went silent. */
static void take_back(tb_coordinator *co, tb_run *run)
{
    for (uint32_t i = 0; i < run->round.n_seats; i++) {
        tb_upload *upload = &run->round.seats[i].upload;
        if (upload->live &&
            co->now >= tb_co_later(upload->moved_ms, co->params.stall_ms)) {
            tb_co_ungrant(co, upload);
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

static void sweep(tb_coordinator *co, tb_run *run)
{
    const tb_round *round = &run->round;
    if (!round->open || co->now < run->sweep_ms) {
        return;
    }
    tb_co_sweep_later(co, run);
    take_back(co, run);
    if (run->phase == TB_PHASE_TRAINING) {
        tick_clock(co, round);
    }
    if (!round->sum_open && round->order == 0 && !round->doomed &&
        co->now >= round->retry_ms) {
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
    int64_t due = run->round.open ? run->sweep_ms : INT64_MAX;
    if (run->phase == TB_PHASE_SELECTING) {
        int64_t over = tb_co_later(run->since_ms, run->params->select_ms);
        due = co->now < over ? over : due;
    }
    if (run->phase == TB_PHASE_TRAINING) {
        due = earlier(due, run->round.deadline_ms);
    }
    bool again = run->phase == TB_PHASE_AGGREGATING ||
                 run->phase == TB_PHASE_EVALUATING ||
                 run->phase == TB_PHASE_FINISHING;
    if (again && run->round.order == 0) {
        due = earlier(due, run->round.retry_ms);
    }
    return due;
}

int64_t tb_co_due(const tb_coordinator *co)
{
    int64_t due = INT64_MAX;
    for (size_t i = 0; i < co->n_runs; i++) {
        due = earlier(due, due_of(co, co->runs[i]));
    }
    return due;
}

static void waits_for_clients(const tb_coordinator *co, const tb_run *run,
                              char out[static TB_TEXT_BYTES])
{
    const tb_run_params *p = run->params;
    const char *labels = p->eligible.n > 0 ? p->eligible.text : "any";
    uint32_t n_connected = 0;
    uint32_t n_eligible = 0;
    uint32_t n_ready = 0;
    for (size_t i = 0; i < co->n_rows; i++) {
        const tb_row *row = co->rows[i];
        bool eligible = tb_co_eligible(run, row);
        n_connected += row->connected && !row->revoked;
        n_eligible += eligible;
        n_ready += eligible && row->ready;
    }
    (void)snprintf(out, TB_TEXT_BYTES,
                   "%u of %u connected clients are eligible (data.set: %s; "
                   "eligible: %.60s), %u of them ready; cohort.minimum: %u",
                   n_eligible, n_connected, p->data_set.text, labels, n_ready,
                   p->minimum);
}

void tb_co_waits(const tb_coordinator *co, const tb_run *run,
                 char out[static TB_TEXT_BYTES])
{
    const tb_run_params *p = run->params;
    const char *what = "nothing";
    if (run->host_why[0] != '\0') {
        (void)snprintf(out, TB_TEXT_BYTES, "the host: %.200s", run->host_why);
        return;
    }
    if (run->phase == TB_PHASE_SELECTING) {
        waits_for_clients(co, run, out);
        return;
    }
    if (run->phase == TB_PHASE_TRAINING) {
        (void)snprintf(out, TB_TEXT_BYTES,
                       "updates: %u of %u are in, %u clients can still send "
                       "(round.deadline)",
                       run->round.n_accepted, p->target,
                       tb_co_hopeful(co, run));
        return;
    }
    if (run->phase == TB_PHASE_CLOSING) {
        what = "half updates to be taken out of the sum";
    } else if (run->phase == TB_PHASE_AGGREGATING) {
        what = "the new model";
    } else if (run->phase == TB_PHASE_EVALUATING) {
        what = "the evaluation of the new model";
    } else if (run->phase == TB_PHASE_FINISHING) {
        what = "the finished model: compression, guard, registry";
    }
    (void)snprintf(out, TB_TEXT_BYTES, "%s", what);
}
