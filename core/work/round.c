#include "work/round.h"

#include <string.h>

#include "base/mem.h"
#include "compress/prune.h"
#include "fed/strategy.h"
#include "model/onnx.h"
#include "model/params.h"
#include "work/model.h"

/* params becomes what the strategy makes of the sum; with keep, what was 0
 * stays 0. */
static tb_rc step(const tb_work_round *round, float *params, size_t n,
                  tb_err *err)
{
    const char *name = round->params->strategy.text;
    const tb_strategy *strategy = tb_strategy_find(name);
    if (strategy == NULL) {
        return tb_fail(err, TB_E_UNSUPPORTED, "strategy \"%s\" is not known",
                       name);
    }
    float *state = NULL;
    float *before = tb_mem_array(n, sizeof *before);
    size_t n_state = strategy->n_state(n);
    tb_rc rc = TB_E_NOMEM;
    if (before == NULL ||
        (n_state > 0 &&
         (state = tb_mem_array(n_state, sizeof *state)) == NULL)) {
        rc = tb_fail(err, TB_E_NOMEM, "aggregate %zu parameters", n);
        goto done;
    }
    memcpy(before, params, n * sizeof *before);
    tb_strategy_settings settings = {.server_lr = round->params->server_lr};
    rc = strategy->aggregate(&settings, round->sum, params, n, state, err);
    for (size_t i = 0; rc == TB_OK && round->config->masked && i < n; i++) {
        params[i] = before[i] == 0.0F ? 0.0F : params[i];
    }
done:
    tb_mem_free(before);
    tb_mem_free(state);
    return rc;
}

bool tb_work_is_variance(const tb_graph *graph, tb_value_id value)
{
    for (size_t i = 0; i < graph->n_nodes; i++) {
        const tb_node *node = graph->nodes[i];
        if (node != NULL && strcmp(node->op, "BatchNormalization") == 0 &&
            node->n_in >= 5 && node->in[4] == value) {
            return true;
        }
    }
    return false;
}

/* Variances that rounding took below zero, which no model bears. */
static void lift_variances(const tb_graph *graph, const tb_slots *slots,
                           float *statistics)
{
    for (size_t s = 0; s < slots->n; s++) {
        const tb_slot *slot = &slots->slot[s];
        size_t n = tb_work_is_variance(graph, slot->value) ? slot->n : 0;
        for (size_t k = slot->offset; k < slot->offset + n; k++) {
            statistics[k] = statistics[k] < 0.0F ? 0.0F : statistics[k];
        }
    }
}

/* Running statistics become those of the clients, in the mean over samples. */
static tb_rc average_statistics(const tb_work_round *round, tb_graph *graph,
                                tb_err *err)
{
    size_t at = tb_strategy_offset(round->config, TB_SECTION_STATISTICS);
    tb_slots slots = {0};
    if (at == SIZE_MAX) {
        return TB_OK;
    }
    tb_rc rc = tb_buffers_slots(&slots, graph, err);
    if (rc != TB_OK) {
        return rc;
    }
    size_t n = slots.n_floats;
    float *now = tb_mem_array(2 * n, sizeof *now);
    rc = now != NULL ? tb_buffers_get(graph, now, n, err)
                     : tb_fail(err, TB_E_NOMEM, "aggregate %zu statistics", n);
    if (rc == TB_OK) {
        rc = tb_sum_mean(round->sum, at, now + n, n, err);
    }
    for (size_t i = 0; rc == TB_OK && i < n; i++) {
        now[i] += TB_STATISTICS_SCALE * now[n + i];
    }
    if (rc == TB_OK) {
        lift_variances(graph, &slots, now);
        rc = tb_buffers_set(graph, now, n, err);
    }
    tb_mem_free(now);
    tb_slots_release(&slots);
    return rc;
}

/* Gradual pruning: zeroes what the job's schedule wants gone by this round. */
static tb_rc prune(const tb_work_round *round, const tb_graph *graph,
                   float *params, size_t n, tb_err *err)
{
    const tb_job *job = round->job;
    tb_prune_options options = {
        .kind = job->prune.kind == TB_JOB_PRUNE_STRUCTURED
                    ? TB_PRUNE_STRUCTURED
                    : TB_PRUNE_UNSTRUCTURED,
        .scope = job->prune.global ? TB_PRUNE_GLOBAL : TB_PRUNE_LAYER,
        .norm = strcmp(job->prune.norm, "l1") == 0 ? TB_NORM_L1 : TB_NORM_L2,
        .amount = tb_prune_amount(job->prune.amount, round->config->round,
                                  job->rounds, job->prune.last_rounds)};
    if (job->prune.kind == TB_JOB_PRUNE_NONE || options.amount <= 0.0) {
        return TB_OK;
    }
    uint8_t *keep = tb_mem_array(n, 1);
    if (keep == NULL) {
        return tb_fail(err, TB_E_NOMEM, "a mask of %zu parameters", n);
    }
    tb_rc rc = tb_prune_mask(keep, graph, params, n, &options, err);
    for (size_t i = 0; rc == TB_OK && i < n; i++) {
        params[i] = keep[i] != 0 ? params[i] : 0.0F;
    }
    tb_mem_free(keep);
    return rc;
}

tb_rc tb_work_aggregate(tb_buf *onnx, tb_metrics *metrics,
                        const tb_work_round *round, const tb_buf *model,
                        tb_err *err)
{
    tb_graph *graph = NULL;
    float *params = NULL;
    tb_rc rc = tb_work_read(&graph, round->job, model, err);
    if (rc != TB_OK) {
        goto done;
    }
    size_t n = tb_params_count(graph);
    params = tb_mem_array(n, sizeof *params);
    if (params == NULL) {
        rc = tb_fail(err, TB_E_NOMEM, "%zu parameters", n);
        goto done;
    }
    rc = tb_params_get(graph, params, n, err);
    if (rc == TB_OK) {
        rc = step(round, params, n, err);
    }
    if (rc == TB_OK) {
        rc = prune(round, graph, params, n, err);
    }
    if (rc == TB_OK) {
        rc = tb_params_set(graph, params, n, err);
    }
    if (rc == TB_OK) {
        rc = average_statistics(round, graph, err);
    }
    if (rc == TB_OK) {
        rc = tb_onnx_write(onnx, graph, err);
    }
    if (rc == TB_OK) {
        *metrics = tb_metrics_none();
        metrics->train_loss =
            tb_strategy_metric(round->config, round->sum, TB_SECTION_LOSS);
    }
done:
    tb_mem_free(params);
    tb_graph_free(&graph);
    return rc;
}

void tb_work_summed_metrics(tb_metrics *metrics, const tb_work_round *round)
{
    *metrics = tb_metrics_none();
    metrics->loss =
        tb_strategy_metric(round->config, round->sum, TB_SECTION_LOSS);
    metrics->accuracy =
        tb_strategy_metric(round->config, round->sum, TB_SECTION_ACCURACY);
    metrics->samples = tb_sum_weight(round->sum);
}

tb_rc tb_work_ranges(tb_buf *out, const tb_work_round *round, tb_err *err)
{
    size_t n = tb_sum_values(round->sum);
    float *ranges = tb_mem_array(n, sizeof *ranges);
    if (ranges == NULL) {
        return tb_fail(err, TB_E_NOMEM, "%zu ranges", n);
    }
    tb_rc rc = tb_sum_mean(round->sum, 0, ranges, n, err);
    for (size_t i = 0; i < n && rc == TB_OK; i++) {
        uint32_t bits = 0;
        memcpy(&bits, &ranges[i], sizeof bits);
        rc = tb_buf_put_u32(out, bits, err);
    }
    tb_mem_free(ranges);
    return rc;
}

static tb_rc evaluate(tb_metrics *metrics, const tb_job *job,
                      const tb_graph *graph, const tb_dataset *data,
                      tb_err *err)
{
    tb_score score = {0};
    tb_rc rc = tb_work_score(&score, job, graph, data, err);
    if (rc == TB_OK) {
        *metrics = tb_metrics_none();
        metrics->samples = score.n_rows;
        metrics->loss = tb_score_loss(&score);
        metrics->accuracy = tb_work_accuracy(&score);
    }
    return rc;
}

tb_rc tb_work_evaluate(tb_metrics *metrics, const tb_job *job,
                       const tb_buf *model, const tb_dataset *data, tb_err *err)
{
    tb_graph *graph = NULL;
    tb_rc rc = tb_work_read(&graph, job, model, err);
    if (rc == TB_OK) {
        rc = evaluate(metrics, job, graph, data, err);
    }
    tb_graph_free(&graph);
    return rc;
}

tb_rc tb_work_evaluate_fd(tb_metrics *metrics, const tb_job *job, int fd,
                          const tb_dataset *data, tb_err *err)
{
    tb_graph *graph = NULL;
    tb_rc rc = tb_work_read_fd(&graph, job, fd, TB_ONNX_VALUES_READ, err);
    if (rc == TB_OK) {
        rc = evaluate(metrics, job, graph, data, err);
    }
    tb_graph_free(&graph);
    return rc;
}
