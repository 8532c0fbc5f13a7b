/* The runs that live, in the order of their start. */
#include <string.h>

#include "base/mem.h"
#include "fed/coordinator_priv.h"

static void free_run(tb_run *run)
{
    tb_mem_free(run->round.seats);
    tb_mem_free(run->round.config);
    tb_buf_release(&run->round.bytes);
    tb_mem_free(run->params);
    tb_mem_free(run);
}

static tb_run *new_run(const tb_run_params *params)
{
    tb_run *run = tb_mem_array(1, sizeof *run);
    if (run == NULL) {
        return NULL;
    }
    tb_buf_init(&run->round.bytes, TB_CONFIG_BYTES_MAX);
    run->round.config = tb_mem_array(1, sizeof *run->round.config);
    run->params = tb_mem_array(1, sizeof *run->params);
    if (run->round.config == NULL || run->params == NULL) {
        free_run(run);
        return NULL;
    }
    *run->params = *params;
    run->number = 1;
    run->attempt = 1;
    run->task = TB_TASK_TRAIN;
    run->model = params->model;
    run->metrics = tb_metrics_none();
    run->best_metrics = tb_metrics_none();
    return run;
}

tb_rc tb_co_add_run(tb_coordinator *co, const tb_run_params *params,
                    tb_err *err)
{
    if (co->n_runs == co->cap_runs) {
        size_t cap = co->cap_runs == 0 ? 4 : 2 * co->cap_runs;
        tb_run **runs = tb_mem_resize(co->runs, cap, sizeof *runs);
        if (runs == NULL) {
            return tb_fail(err, TB_E_NOMEM, "coordinator: %zu runs", cap);
        }
        co->runs = runs;
        co->cap_runs = cap;
    }
    tb_run *run = new_run(params);
    if (run == NULL) {
        return tb_fail(err, TB_E_NOMEM, "coordinator: a run");
    }
    co->runs[co->n_runs++] = run;
    return TB_OK;
}

tb_run *tb_co_find_run(const tb_coordinator *co, const tb_run_id *id)
{
    for (size_t i = 0; i < co->n_runs; i++) {
        tb_run *run = co->runs[i];
        if (!run->ended &&
            memcmp(run->params->run.bytes, id->bytes, sizeof id->bytes) == 0) {
            return run;
        }
    }
    return NULL;
}

tb_run *tb_co_find_round(const tb_coordinator *co, const tb_hash *config)
{
    for (size_t i = 0; i < co->n_runs; i++) {
        tb_run *run = co->runs[i];
        if (run->round.open && tb_hash_equal(&run->round.hash, config)) {
            return run;
        }
    }
    return NULL;
}

void tb_co_reap(tb_coordinator *co)
{
    size_t kept = 0;
    for (size_t i = 0; i < co->n_runs; i++) {
        if (co->runs[i]->ended) {
            free_run(co->runs[i]);
        } else {
            co->runs[kept++] = co->runs[i];
        }
    }
    co->n_runs = kept;
}

void tb_co_free_runs(tb_coordinator *co)
{
    for (size_t i = 0; i < co->n_runs; i++) {
        free_run(co->runs[i]);
    }
    tb_mem_free(co->runs);
}
