#include "train/evaluate.h"

#include "base/mem.h"
#include "exec/exec.h"
#include "train/head.h"
#include "train/local.h"

#include <string.h>

struct tb_evaluator {
    tb_graph *graph; /* owned */
    tb_evaluator_options options;
    tb_exec *exec;
    size_t batch; /* rows of a run */
    tb_loss_layout layout;
    tb_tally *tally; /* borrowed, or NULL */
    void *y;         /* targets of a batch; no more than outputs */
    float *scratch;  /* as the output: where the loss puts a gradient that
                     * nobody reads */
};

/* As many rows as fit, by what one takes; one row in any case. */
static tb_rc choose_batch(tb_evaluator *e, tb_err *err)
{
    tb_exec_cost one;
    tb_rc rc = tb_exec_measure_new(&one, e->graph, 1, err);
    e->batch = TB_EVAL_BATCH_MAX;
    while (e->batch > 1 && one.bytes > TB_EVAL_BYTES / e->batch) {
        e->batch /= 2;
    }
    return rc;
}

tb_rc tb_evaluator_new(tb_evaluator **out, const tb_graph *graph,
                       const tb_evaluator_options *options, tb_err *err)
{
    *out = NULL;
    const tb_loss *loss = options->loss;
    tb_evaluator *e = tb_mem_array(1, sizeof *e);
    if (e == NULL) {
        return tb_fail(err, TB_E_NOMEM, "evaluator");
    }
    e->options = *options;
    tb_rc rc = tb_head_new(&e->graph, graph, loss, err);
    if (rc == TB_OK) {
        rc = choose_batch(e, err);
    }
    if (rc == TB_OK) {
        rc = tb_exec_new(&e->exec, e->graph, e->batch, err);
    }
    if (rc == TB_OK) {
        const tb_head_ends ends = {tb_exec_input(e->exec, 0),
                                   tb_exec_output(e->exec, 0)};
        rc = tb_head_layout(&e->layout, graph, loss, options->n_labels, &ends,
                            err);
    }
    if (rc == TB_OK) {
        rc = tb_loss_options_check(loss, &options->loss_options,
                                   e->layout.n_cols, err);
    }
    if (rc != TB_OK) {
        goto done;
    }
    size_t n = tb_tensor_count(tb_exec_output(e->exec, 0));
    e->y = tb_mem_aligned(n, sizeof(float));
    e->scratch = tb_mem_aligned(n, sizeof(float));
    if (e->y == NULL || e->scratch == NULL) {
        rc = tb_fail(err, TB_E_NOMEM, "evaluator: %zu outputs", n);
        goto done;
    }
    *out = e;
    e = NULL;
done:
    tb_evaluator_free(&e);
    return rc;
}

const tb_loss_layout *tb_evaluator_layout(const tb_evaluator *e)
{
    return &e->layout;
}

void tb_evaluator_set_tally(tb_evaluator *e, tb_tally *tally)
{
    e->tally = tally;
}

void tb_evaluator_free(tb_evaluator **evaluator)
{
    tb_evaluator *e = *evaluator;
    if (e == NULL) {
        return;
    }
    tb_exec_free(&e->exec);
    tb_graph_free(&e->graph);
    tb_mem_free(e->y);
    tb_mem_free(e->scratch);
    tb_mem_free(e);
    *evaluator = NULL;
}

/* Rows [from, from + n) through the model and the loss. */
static tb_rc score_batch(tb_evaluator *e, const tb_dataset *data, size_t from,
                         size_t n, tb_score *score, tb_err *err)
{
    const tb_tensor *in = tb_exec_input(e->exec, 0);
    size_t row_bytes = tb_tensor_bytes(in) / e->batch;
    uint32_t rows[TB_EVAL_BATCH_MAX];
    for (size_t i = 0; i < n; i++) {
        rows[i] = (uint32_t)(from + i);
    }
    const tb_loss *loss = e->options.loss;
    tb_dataset_batch(data, rows, n, in->data, e->y);
    tb_fit_targets(tb_dataset_spec(data), loss, e->y, n);
    memset((uint8_t *)in->data + n * row_bytes, 0, (e->batch - n) * row_bytes);
    tb_loss_batch b = {.out = tb_exec_output(e->exec, 0)->data,
                       .y = e->y,
                       .n_rows = n,
                       .n_padded = e->batch,
                       .layout = e->layout,
                       .options = &e->options.loss_options,
                       .grad = e->scratch};
    tb_rc rc = loss->check(&b, err);
    if (rc == TB_OK) {
        tb_exec_run(e->exec);
        rc = tb_exec_fault(e->exec, err);
    }
    if (rc == TB_OK) {
        loss->run(&b, score);
        if (e->tally != NULL) {
            tb_tally_add(e->tally, &b);
        }
    }
    return rc;
}

tb_rc tb_evaluate(tb_evaluator *e, const float *params, const tb_dataset *data,
                  size_t from, size_t to, tb_score *score, tb_err *err)
{
    *score = (tb_score){0};
    tb_rc rc = tb_fit_check(tb_dataset_spec(data), tb_exec_input(e->exec, 0),
                            &e->layout, e->options.loss, err);
    if (rc != TB_OK) {
        return rc;
    }
    if (from > to || to > tb_dataset_rows(data)) {
        return tb_fail(err, TB_E_USAGE, "rows %zu to %zu of %zu", from, to,
                       tb_dataset_rows(data));
    }
    tb_exec_set_params(e->exec, params);
    for (size_t at = from; at < to && rc == TB_OK; at += e->batch) {
        size_t left = to - at;
        rc = score_batch(e, data, at, left < e->batch ? left : e->batch, score,
                         err);
    }
    return rc;
}
