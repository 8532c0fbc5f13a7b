/* What a round has computed, and what becomes of the run when it is. */
#include <string.h>

#include "fed/coordinator_priv.h"

static tb_order *order_of(tb_coordinator *co, tb_run *run, tb_order_kind kind,
                          uint64_t after)
{
    tb_order *order = tb_co_order(co, run, kind, after);
    order->round = run->number;
    order->upload.config = run->round.hash;
    run->round.order = order->id;
    return order;
}

void tb_co_order_sum(tb_coordinator *co, tb_run *run)
{
    (void)order_of(co, run, TB_ORDER_OPEN_ROUND, run->round.seq);
}

void tb_co_order_aggregate(tb_coordinator *co, tb_run *run)
{
    tb_order *order = order_of(co, run, TB_ORDER_AGGREGATE, co->seq);
    order->task = run->task;
    order->model =
        run->task == TB_TASK_CALIBRATE ? *tb_co_chosen(run) : run->model;
}

void tb_co_order_evaluate(tb_coordinator *co, tb_run *run)
{
    order_of(co, run, TB_ORDER_EVALUATE, 0)->model = run->round.result;
}

void tb_co_order_finish(tb_coordinator *co, tb_run *run)
{
    bool best = run->params->publish != TB_PUBLISH_LAST && run->best_round > 0;
    tb_order *order = order_of(co, run, TB_ORDER_FINISH, run->seq);
    order->round = best ? run->best_round : run->number;
    order->model = *tb_co_chosen(run);
    order->metrics = best ? run->best_metrics : run->metrics;
    order->ranges = run->ranges;
    order->sequence = tb_coordinator_version(co, &run->params->name) + 1;
    order->epoch = co->epoch.epoch;
    run->sequence = order->sequence;
}

void tb_co_end_run(tb_coordinator *co, tb_run *run, tb_outcome outcome,
                   const char *why)
{
    tb_run_id id = run->params->run;
    uint32_t n_waiting = run->async == NULL ? 0 : tb_co_waiting(run);
    if (n_waiting > 0) {
        tb_record left = {.kind = TB_REC_LEFT_OVER,
                          .u.left_over = {.run = id, .n_updates = n_waiting}};
        tb_co_text(left.u.left_over.why, why);
        (void)tb_co_journal(co, &left);
    }
    tb_record record = {.kind = TB_REC_RUN_ENDED,
                        .u.run_ended = {.run = id,
                                        .outcome = outcome,
                                        .model = *tb_co_chosen(run)}};
    tb_co_text(record.u.run_ended.why, why);
    (void)tb_co_journal(co, &record);
    for (size_t i = 0; run->async != NULL && i < run->async->n_known; i++) {
        tb_action *forget = tb_co_action(co, TB_ACT_FORGET, co->seq);
        forget->config = run->async->known[i].config;
        forget->u.run = id;
    }
    tb_co_action(co, TB_ACT_RUN_ENDED, co->seq)->u.run = id;
}

/* The run's end, as the finishing order found it. */
static void finish_verdict(tb_coordinator *co, tb_run *run,
                           const tb_verdict *verdict)
{
    uint64_t next = tb_coordinator_version(co, &run->params->name) + 1;
    if (run->cancelled) {
        tb_co_end_run(co, run, TB_OUTCOME_CANCELLED, run->why);
    } else if (verdict->rc == TB_OK && run->sequence != next) {
        run->round.retry_ms = co->now; /* a rollback came between */
    } else if (verdict->rc == TB_OK) {
        tb_record record = {.kind = TB_REC_VERSION,
                            .u.version = {.model = run->params->name,
                                          .sequence = next,
                                          .manifest = verdict->manifest,
                                          .run = run->params->run}};
        (void)tb_co_journal(co, &record);
        tb_co_end_run(co, run, TB_OUTCOME_DONE, "the model is registered");
    } else if (tb_rc_fault(verdict->rc) == TB_FAULT_HOST) {
        run->round.retry_ms = tb_co_lack(co, run, verdict);
    } else {
        tb_co_end_run(co, run,
                      verdict->rc == TB_E_REFUSED ? TB_OUTCOME_REFUSED
                                                  : TB_OUTCOME_FAILED,
                      verdict->why);
    }
}

static void aggregate_verdict(tb_coordinator *co, tb_run *run,
                              const tb_verdict *verdict)
{
    run->round.result = verdict->result;
    run->round.metrics = verdict->metrics;
    if (!run->round.doomed) {
        tb_co_set_phase(co, run, TB_PHASE_EVALUATING);
    }
}

static void evaluate_verdict(tb_coordinator *co, tb_run *run,
                             const tb_verdict *verdict)
{
    tb_metrics *metrics = &run->round.metrics;
    metrics->loss = verdict->metrics.loss;
    metrics->accuracy = verdict->metrics.accuracy;
    metrics->samples = verdict->metrics.samples;
    if (!run->round.doomed) {
        tb_co_set_phase(co, run, TB_PHASE_COMMITTED);
    }
}

static void round_verdict(tb_coordinator *co, tb_run *run,
                          const tb_verdict *verdict)
{
    tb_round *round = &run->round;
    round->order = 0;
    if (verdict->rc == TB_OK) {
        run->host_why[0] = '\0';
    }
    if (run->phase == TB_PHASE_FINISHING) {
        finish_verdict(co, run, verdict);
    } else if (verdict->rc == TB_OK && !round->sum_open) {
        round->sum_open = true;
        tb_co_look_all(run);
    } else if (verdict->rc == TB_OK && run->phase == TB_PHASE_AGGREGATING) {
        aggregate_verdict(co, run, verdict);
    } else if (verdict->rc == TB_OK) {
        evaluate_verdict(co, run, verdict);
    } else if (tb_rc_fault(verdict->rc) == TB_FAULT_HOST) {
        round->retry_ms = tb_co_lack(co, run, verdict);
    } else {
        tb_co_doom(run, verdict->why);
    }
}

bool tb_co_round_verdict(tb_coordinator *co, const tb_verdict *verdict)
{
    for (size_t i = 0; verdict->order != 0 && i < co->n_runs; i++) {
        if (co->runs[i]->round.order == verdict->order) {
            round_verdict(co, co->runs[i], verdict);
            return true;
        }
    }
    return false;
}
