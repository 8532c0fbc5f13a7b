/* The life of a round.
 *
 * | phase       | accepts           | waits for          | then              |
 * | ----------- | ----------------- | ------------------ | ----------------- |
 * | idle        | check-ins         | a run              | selecting         |
 * | selecting   | check-ins         | wanted or target   | training          |
 * |             |                   | clients; after     |                   |
 * |             |                   | select_ms: minimum |                   |
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
 * | finishing   | check-ins         | the published model| idle (run ended)  |
 *
 * A cancelled or failed round goes through closing to abandoned, so that no
 * order is out when it is forgotten. An evaluation or calibration by clients is
 * a round of the same phases. */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "fed/coordinator_priv.h"
#include "fed/select.h"

#define SWEEP_MS       1000
#define CLOCK_SHARE    8 /* the journal knows the deadline to 1/8 */
#define CLOCK_LEAST_MS 1000

typedef struct phase {
    const char *name;
    void (*enter)(tb_coordinator *co); /* NULL: nothing */
    /* What may be done now; returns the phase to be in. */
    tb_phase (*check)(tb_coordinator *co);
} phase;

static int64_t later(int64_t now, uint64_t ms)
{
    return now + (int64_t)ms;
}

/* idle */

static tb_phase check_idle(tb_coordinator *co)
{
    if (co->run.params == NULL) {
        return TB_PHASE_IDLE;
    }
    return co->run.finishing || co->run.cancelled ? TB_PHASE_FINISHING
                                                  : TB_PHASE_SELECTING;
}

/* selecting */

static bool is_ready(const tb_coordinator *co, const tb_row *row)
{
    return row->ready && tb_co_eligible(co, row);
}

static void ask(tb_coordinator *co, const tb_row *const *ready, uint32_t n,
                uint32_t n_ready);

/* Chooses n of those who are ready and opens the round with them. */
static void choose(tb_coordinator *co, uint32_t n_ready, uint32_t n)
{
    const tb_row **ready = tb_mem_array(n_ready, sizeof *ready);
    if (ready == NULL) {
        tb_co_fail(co, TB_E_NOMEM, "a cohort");
        return;
    }
    uint32_t k = 0;
    for (size_t i = 0; i < co->n_rows && k < n_ready; i++) {
        if (is_ready(co, co->rows[i])) {
            ready[k++] = co->rows[i];
        }
    }
    ask(co, ready, n, k);
    tb_mem_free(ready);
}

static void ask(tb_coordinator *co, const tb_row *const *ready, uint32_t n,
                uint32_t n_ready)
{
    tb_record record = {.kind = TB_REC_ROUND_OPENED};
    tb_rec_round_opened *opened = &record.u.round_opened;
    uint32_t *index = tb_mem_array(n_ready, sizeof *index);
    tb_name *names = tb_mem_array(n, sizeof *names);
    tb_round_config *config = tb_mem_array(1, sizeof *config);
    tb_buf bytes;
    tb_buf_init(&bytes, TB_CONFIG_BYTES_MAX);
    if (index == NULL || names == NULL || config == NULL) {
        tb_co_fail(co, TB_E_NOMEM, "a cohort");
        goto done;
    }
    co->rc = tb_co_configure(co, config, co->err);
    if (co->rc == TB_OK) {
        co->rc = tb_round_config_encode(config, &bytes, co->err);
    }
    if (co->rc != TB_OK) {
        goto done;
    }
    tb_select(index, n, n_ready, config->seed, config->round, config->attempt);
    for (uint32_t i = 0; i < n; i++) {
        names[i] = ready[index[i]]->name;
    }
    opened->run = config->run;
    opened->round = config->round;
    opened->attempt = config->attempt;
    opened->task = config->task;
    opened->config = (tb_span){bytes.data, bytes.len};
    opened->n_clients = n;
    opened->clients = names;
    (void)tb_co_journal(co, &record);
done:
    tb_buf_release(&bytes);
    tb_mem_free(config);
    tb_mem_free(names);
    tb_mem_free(index);
}

static tb_phase check_selecting(tb_coordinator *co)
{
    const tb_run_params *p = co->run.params;
    if (co->run.cancelled) {
        return TB_PHASE_FINISHING;
    }
    bool over = co->now >= later(co->since_ms, p->select_ms);
    if (!co->recount && !over) {
        return TB_PHASE_SELECTING;
    }
    co->recount = false;
    uint32_t n_ready = 0;
    uint32_t n_here = 0;
    for (size_t i = 0; i < co->n_rows; i++) {
        n_here += tb_co_eligible(co, co->rows[i]);
        n_ready += is_ready(co, co->rows[i]);
    }
    uint32_t wanted = tb_select_wanted(p->target, p->over_selection);
    bool all = n_ready == n_here && n_ready >= p->target;
    if (n_ready < wanted && !all && !(over && n_ready >= p->minimum)) {
        return TB_PHASE_SELECTING;
    }
    choose(co, n_ready, n_ready < wanted ? n_ready : wanted);
    return TB_PHASE_TRAINING;
}

/* training */

static void order_sum(tb_coordinator *co)
{
    co->round.order = tb_co_order(co, TB_ORDER_OPEN_ROUND, co->round.seq)->id;
}

static void enter_training(tb_coordinator *co)
{
    tb_round *round = &co->round;
    round->deadline_ms = later(co->now, round->left_ms);
    co->sweep_ms = later(co->now, SWEEP_MS);
    co->clock_ms = co->now;
    order_sum(co);
    for (uint32_t i = 0; i < round->n_seats; i++) {
        if (round->seats[i].row->connected) {
            tb_co_offer(co, round->seats[i].row);
        }
    }
}

/* Clients of the cohort from whom an update may still come. */
static uint32_t hopeful(const tb_coordinator *co)
{
    uint32_t n = 0;
    uint64_t lost_ms = co->run.params->lost_ms;
    for (uint32_t i = 0; i < co->round.n_seats; i++) {
        const tb_seat *seat = &co->round.seats[i];
        const tb_row *row = seat->row;
        bool lost = !row->connected && lost_ms > 0 && !seat->upload.has_end &&
                    co->now >= later(row->away_ms, lost_ms);
        bool asked =
            seat->state == TB_SEAT_ASKED || seat->state == TB_SEAT_TAKEN;
        n += asked && !lost && !row->revoked;
    }
    return n;
}

static tb_phase check_training(tb_coordinator *co)
{
    tb_round *round = &co->round;
    char why[TB_TEXT_BYTES];
    if (round->doomed) {
        return TB_PHASE_CLOSING;
    }
    if (round->n_accepted >= co->run.params->target) {
        (void)snprintf(why, sizeof why, "the target of %u updates is reached",
                       co->run.params->target);
    } else if (hopeful(co) == 0) {
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

static void enter_closing(tb_coordinator *co)
{
    for (uint32_t i = 0; i < co->round.n_seats; i++) {
        if (co->round.seats[i].state != TB_SEAT_DONE) {
            tb_co_drop(co, &co->round.seats[i]);
        }
    }
}

static tb_phase check_closing(tb_coordinator *co)
{
    tb_round *round = &co->round;
    if (round->order != 0 || !tb_co_quiet(co) ||
        (!round->sum_open && !round->doomed)) {
        return TB_PHASE_CLOSING;
    }
    if (!round->doomed && round->n_accepted < co->run.params->minimum) {
        char why[TB_TEXT_BYTES];
        (void)snprintf(why, sizeof why,
                       "%u of at least %u updates came: %.160s",
                       round->n_accepted, co->run.params->minimum, round->why);
        tb_co_doom(co, why);
    }
    if (round->doomed) {
        return TB_PHASE_ABANDONED;
    }
    if (!round->closed) {
        tb_record record = {.kind = TB_REC_CLOSED,
                            .u.closed = {.config = round->hash,
                                         .n_accepted = round->n_accepted}};
        memcpy(record.u.closed.why, round->why, sizeof round->why);
        (void)tb_co_journal(co, &record);
    }
    return TB_PHASE_AGGREGATING;
}

/* aggregating and evaluating: one order each */

static void order_aggregate(tb_coordinator *co)
{
    tb_order *order = tb_co_order(co, TB_ORDER_AGGREGATE, co->seq);
    order->round = co->run.round;
    order->task = co->run.task;
    order->model = co->run.task == TB_TASK_CALIBRATE ? *tb_co_chosen(&co->run)
                                                     : co->run.model;
    order->upload.config = co->round.hash;
    co->round.order = order->id;
}

static void order_evaluate(tb_coordinator *co)
{
    tb_order *order = tb_co_order(co, TB_ORDER_EVALUATE, 0);
    order->round = co->run.round;
    order->model = co->round.result;
    order->upload.config = co->round.hash;
    co->round.order = order->id;
}

/* Where a round's own order left it: stays until there is a result. */
static tb_phase wait_result(tb_coordinator *co, tb_phase here,
                            void (*again)(tb_coordinator *co))
{
    if (co->round.order != 0) {
        return here;
    }
    if (co->round.doomed) {
        return TB_PHASE_ABANDONED;
    }
    if (co->now >= co->round.retry_ms) {
        again(co);
    }
    return here;
}

static void enter_aggregating(tb_coordinator *co)
{
    co->round.retry_ms = co->now;
}

static tb_phase check_aggregating(tb_coordinator *co)
{
    return wait_result(co, TB_PHASE_AGGREGATING, order_aggregate);
}

static tb_phase check_evaluating(tb_coordinator *co)
{
    bool here = co->run.task == TB_TASK_TRAIN &&
                co->run.params->evaluate == TB_WHERE_COORDINATOR;
    if (!here) {
        return TB_PHASE_COMMITTED;
    }
    return wait_result(co, TB_PHASE_EVALUATING, order_evaluate);
}

/* committed and abandoned: journalled, then left at once */

static void forget_round(tb_coordinator *co, const tb_hash *config)
{
    tb_co_action(co, TB_ACT_FORGET, co->seq)->config = *config;
}

static void enter_committed(tb_coordinator *co)
{
    const tb_round *round = &co->round;
    tb_hash config = round->hash;
    tb_record record = {.kind = TB_REC_COMMITTED,
                        .u.committed = {.config = config,
                                        .task = co->run.task,
                                        .round = co->run.round,
                                        .result = round->result,
                                        .metrics = round->metrics,
                                        .n_clients = round->n_accepted,
                                        .weight = round->weight}};
    (void)tb_co_journal(co, &record);
    forget_round(co, &config);
}

static void enter_abandoned(tb_coordinator *co)
{
    tb_hash config = co->round.hash;
    tb_record record = {.kind = TB_REC_ABANDONED,
                        .u.abandoned = {.config = config}};
    memcpy(record.u.abandoned.why, co->round.why, sizeof co->round.why);
    (void)tb_co_journal(co, &record);
    forget_round(co, &config);
}

static tb_phase check_passing(tb_coordinator *co)
{
    (void)co;
    return TB_PHASE_IDLE;
}

/* finishing: the end of a run, good or bad */

static void end_run(tb_coordinator *co, tb_outcome outcome, const char *why)
{
    tb_run_id run = co->run.params->run;
    tb_record record = {.kind = TB_REC_RUN_ENDED,
                        .u.run_ended = {.run = run,
                                        .outcome = outcome,
                                        .model = *tb_co_chosen(&co->run)}};
    tb_co_text(record.u.run_ended.why, why);
    (void)tb_co_journal(co, &record);
    tb_co_action(co, TB_ACT_RUN_ENDED, co->seq)->u.run = run;
}

static bool failed(const tb_coordinator *co)
{
    return co->run.failures >= co->run.params->max_attempts;
}

static void order_finish(tb_coordinator *co)
{
    const tb_run *run = &co->run;
    bool best = run->params->publish != TB_PUBLISH_LAST && run->best_round > 0;
    tb_order *order = tb_co_order(co, TB_ORDER_FINISH, run->seq);
    order->round = best ? run->best_round : run->round;
    order->model = *tb_co_chosen(run);
    order->metrics = best ? run->best_metrics : run->metrics;
    order->ranges = run->ranges;
    order->sequence = tb_coordinator_version(co, &run->params->name) + 1;
    co->round.order = order->id;
}

static void enter_finishing(tb_coordinator *co)
{
    co->round.retry_ms = co->now;
}

static tb_phase check_finishing(tb_coordinator *co)
{
    if (co->run.params == NULL) {
        return TB_PHASE_IDLE;
    }
    if (co->round.order != 0) {
        return TB_PHASE_FINISHING;
    }
    if (co->run.cancelled) {
        end_run(co, TB_OUTCOME_CANCELLED, co->run.why);
        return TB_PHASE_IDLE;
    }
    if (co->now >= co->round.retry_ms) {
        order_finish(co);
    }
    return TB_PHASE_FINISHING;
}

static tb_phase check_abandoned(tb_coordinator *co)
{
    if (!co->run.cancelled && failed(co)) {
        char why[TB_TEXT_BYTES];
        (void)snprintf(why, sizeof why,
                       "round %u was abandoned %u times, last: %.160s",
                       co->run.round, co->run.failures, co->run.why);
        end_run(co, TB_OUTCOME_FAILED, why);
    }
    return TB_PHASE_IDLE;
}

static const phase phases[TB_PHASE_COUNT] = {
    [TB_PHASE_IDLE] = {"idle", NULL, check_idle},
    [TB_PHASE_SELECTING] = {"selecting", NULL, check_selecting},
    [TB_PHASE_TRAINING] = {"training", enter_training, check_training},
    [TB_PHASE_CLOSING] = {"closing", enter_closing, check_closing},
    [TB_PHASE_AGGREGATING] = {"aggregating", enter_aggregating,
                              check_aggregating},
    [TB_PHASE_EVALUATING] = {"evaluating", enter_aggregating, check_evaluating},
    [TB_PHASE_COMMITTED] = {"committed", enter_committed, check_passing},
    [TB_PHASE_ABANDONED] = {"abandoned", enter_abandoned, check_abandoned},
    [TB_PHASE_FINISHING] = {"finishing", enter_finishing, check_finishing},
};

const char *tb_phase_name(tb_phase p)
{
    return p < TB_PHASE_COUNT ? phases[p].name : "unknown";
}

static void set_phase(tb_coordinator *co, tb_phase next)
{
    co->phase = next;
    co->since_ms = co->now;
    if (next == TB_PHASE_SELECTING) {
        co->recount = true;
    }
    if (phases[next].enter != NULL) {
        phases[next].enter(co);
    }
}

void tb_co_advance(tb_coordinator *co)
{
    for (;;) {
        tb_co_pump(co);
        tb_phase next =
            co->rc == TB_OK ? phases[co->phase].check(co) : co->phase;
        if (next == co->phase || co->rc != TB_OK) {
            return;
        }
        set_phase(co, next);
    }
}

void tb_co_doom(tb_coordinator *co, const char *why)
{
    if (co->round.open && !co->round.doomed) {
        co->round.doomed = true;
        tb_co_text(co->round.why, why);
    }
}

int64_t tb_co_lack(tb_coordinator *co, const tb_verdict *verdict)
{
    tb_co_text(co->host_why, verdict->why);
    return later(co->now, co->params.retry_ms);
}

/* The run's end, as the finishing order found it. */
static void finish_verdict(tb_coordinator *co, const tb_verdict *verdict)
{
    if (verdict->rc == TB_OK) {
        tb_record record = {
            .kind = TB_REC_VERSION,
            .u.version = {
                .model = co->run.params->name,
                .sequence =
                    tb_coordinator_version(co, &co->run.params->name) + 1,
                .manifest = verdict->manifest}};
        (void)tb_co_journal(co, &record);
        end_run(co, TB_OUTCOME_DONE, "the model is registered");
    } else if (tb_rc_fault(verdict->rc) == TB_FAULT_HOST) {
        co->round.retry_ms = tb_co_lack(co, verdict);
    } else {
        end_run(co,
                verdict->rc == TB_E_REFUSED ? TB_OUTCOME_REFUSED
                                            : TB_OUTCOME_FAILED,
                verdict->why);
    }
}

static void aggregate_verdict(tb_coordinator *co, const tb_verdict *verdict)
{
    co->round.result = verdict->result;
    co->round.metrics = verdict->metrics;
    if (!co->round.doomed) {
        set_phase(co, TB_PHASE_EVALUATING);
    }
}

static void evaluate_verdict(tb_coordinator *co, const tb_verdict *verdict)
{
    co->round.metrics.loss = verdict->metrics.loss;
    co->round.metrics.accuracy = verdict->metrics.accuracy;
    co->round.metrics.samples = verdict->metrics.samples;
    if (!co->round.doomed) {
        set_phase(co, TB_PHASE_COMMITTED);
    }
}

bool tb_co_round_verdict(tb_coordinator *co, const tb_verdict *verdict)
{
    tb_round *round = &co->round;
    if (round->order == 0 || round->order != verdict->order) {
        return false;
    }
    round->order = 0;
    if (verdict->rc == TB_OK) {
        co->host_why[0] = '\0';
    }
    if (co->phase == TB_PHASE_FINISHING) {
        finish_verdict(co, verdict);
    } else if (verdict->rc == TB_OK && !round->sum_open) {
        round->sum_open = true;
    } else if (verdict->rc == TB_OK && co->phase == TB_PHASE_AGGREGATING) {
        aggregate_verdict(co, verdict);
    } else if (verdict->rc == TB_OK) {
        evaluate_verdict(co, verdict);
    } else if (tb_rc_fault(verdict->rc) == TB_FAULT_HOST) {
        round->retry_ms = tb_co_lack(co, verdict);
    } else {
        tb_co_doom(co, verdict->why);
    }
    return true;
}

/* Grants that were not used go back; so do clients that went silent. */
static void take_back(tb_coordinator *co)
{
    for (uint32_t i = 0; i < co->round.n_seats; i++) {
        tb_upload *upload = &co->round.seats[i].upload;
        if (upload->live &&
            co->now >= later(upload->moved_ms, co->params.stall_ms)) {
            tb_co_ungrant(co, upload);
        }
    }
}

static void tick_clock(tb_coordinator *co)
{
    const tb_round *round = &co->round;
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

void tb_co_sweep(tb_coordinator *co)
{
    if (!co->round.open || co->now < co->sweep_ms) {
        return;
    }
    co->sweep_ms = later(co->now, SWEEP_MS);
    take_back(co);
    if (co->phase == TB_PHASE_TRAINING) {
        tick_clock(co);
    }
    if (!co->round.sum_open && co->round.order == 0 && !co->round.doomed &&
        co->now >= co->round.retry_ms) {
        order_sum(co);
    }
}

void tb_co_resume(tb_coordinator *co)
{
    co->since_ms = co->now;
    for (size_t i = 0; i < co->n_rows; i++) {
        co->rows[i]->away_ms = co->now;
    }
    if (!co->round.open) {
        tb_co_advance(co);
        return;
    }
    bool closed = co->round.closed;
    set_phase(co, TB_PHASE_TRAINING);
    if (closed) {
        set_phase(co, TB_PHASE_CLOSING);
    }
    tb_co_advance(co);
}

int64_t tb_co_due(const tb_coordinator *co)
{
    int64_t due = INT64_MAX;
    if (co->round.open) {
        due = co->sweep_ms;
    }
    if (co->phase == TB_PHASE_SELECTING && co->run.params != NULL) {
        int64_t over = later(co->since_ms, co->run.params->select_ms);
        due = co->now < over ? over : due;
    }
    if (co->phase == TB_PHASE_TRAINING && co->round.deadline_ms < due) {
        due = co->round.deadline_ms;
    }
    bool again = co->phase == TB_PHASE_AGGREGATING ||
                 co->phase == TB_PHASE_EVALUATING ||
                 co->phase == TB_PHASE_FINISHING;
    if (again && co->round.order == 0 && co->round.retry_ms < due) {
        due = co->round.retry_ms;
    }
    return due;
}

void tb_co_waits(const tb_coordinator *co, char out[static TB_TEXT_BYTES])
{
    const tb_run_params *p = co->run.params;
    const tb_round *round = &co->round;
    const char *what = "a job: tributaryd start JOB";
    if (co->host_why[0] != '\0') {
        (void)snprintf(out, TB_TEXT_BYTES, "the host: %.200s", co->host_why);
        return;
    }
    if (co->phase == TB_PHASE_SELECTING) {
        (void)snprintf(out, TB_TEXT_BYTES,
                       "clients that offer data set %s: at least %u "
                       "(cohort.minimum)",
                       p->data_set.text, p->minimum);
        return;
    }
    if (co->phase == TB_PHASE_TRAINING) {
        (void)snprintf(out, TB_TEXT_BYTES,
                       "updates: %u of %u are in, %u clients can still send "
                       "(round.deadline)",
                       round->n_accepted, p->target, hopeful(co));
        return;
    }
    if (co->phase == TB_PHASE_CLOSING) {
        what = "half updates to be taken out of the sum";
    } else if (co->phase == TB_PHASE_AGGREGATING) {
        what = "the new model";
    } else if (co->phase == TB_PHASE_EVALUATING) {
        what = "the evaluation of the new model";
    } else if (co->phase == TB_PHASE_FINISHING) {
        what = "the finished model: compression, guard, registry";
    }
    (void)snprintf(out, TB_TEXT_BYTES, "%s", what);
}
