/* The runs that live, in the order of their start. */
#include <string.h>

#include "base/mem.h"
#include "fed/coordinator_priv.h"

static void free_run(tb_run *run)
{
    tb_co_async_free(&run->async);
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
    bool async = params->mode == TB_MODE_ASYNC;
    run->async = async ? tb_co_async_new() : NULL;
    if (run->round.config == NULL || run->params == NULL ||
        (async && run->async == NULL)) {
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

/* Runs without a round yet come before those that had one. */
static void insert_turn(tb_coordinator *co, tb_run *run)
{
    size_t i = 0;
    while (i < co->n_runs && co->turns[i]->opened == 0) {
        i++;
    }
    memmove(co->turns + i + 1, co->turns + i,
            (co->n_runs - i) * sizeof co->turns[0]);
    co->turns[i] = run;
}

tb_rc tb_co_add_run(tb_coordinator *co, const tb_run_params *params,
                    tb_err *err)
{
    if (co->n_runs == TB_RUNS_MAX) {
        return tb_fail(err, TB_E_BUSY,
                       "%u jobs are queued or running, and more do not fit: "
                       "wait, or `tributaryd cancel` one",
                       TB_RUNS_MAX);
    }
    tb_run *run = new_run(params);
    if (run == NULL) {
        return tb_fail(err, TB_E_NOMEM, "coordinator: a run");
    }
    insert_turn(co, run);
    co->runs[co->n_runs++] = run;
    return TB_OK;
}

void tb_co_turn_over(tb_coordinator *co, tb_run *run)
{
    size_t i = 0;
    while (i < co->n_runs && co->turns[i] != run) {
        i++;
    }
    if (i < co->n_runs) {
        memmove(co->turns + i, co->turns + i + 1,
                (co->n_runs - i - 1) * sizeof co->turns[0]);
        co->turns[co->n_runs - 1] = run;
    }
}

void tb_co_deal_turns(tb_coordinator *co)
{
    uint32_t n = 0;
    for (size_t i = 0; i < co->n_runs; i++) {
        tb_run *run = co->runs[i];
        run->has_turn = !run->paused && !run->ended && n < co->params.running;
        n += run->has_turn;
    }
}

uint32_t tb_co_queued(const tb_coordinator *co, const tb_run *run)
{
    uint32_t n = 0;
    for (size_t i = 0; i < co->n_runs && co->runs[i] != run; i++) {
        n += !co->runs[i]->paused && !co->runs[i]->ended;
    }
    bool waits = !run->paused && !run->cancelled && n >= co->params.running;
    return waits ? n - co->params.running + 1 : 0;
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

tb_run *tb_co_find_name(const tb_coordinator *co, const tb_name *name)
{
    for (size_t i = 0; i < co->n_runs; i++) {
        tb_run *run = co->runs[i];
        if (!run->ended && tb_name_equal(&run->params->name, name)) {
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

void tb_co_forget_seats(tb_coordinator *co)
{
    memset(co->by_order, 0, TB_ORDERS_KNOWN * sizeof(tb_seat *));
    co->touched = NULL;
}

void tb_co_reap(tb_coordinator *co)
{
    size_t kept = 0;
    for (size_t i = 0; i < co->n_runs; i++) {
        if (!co->turns[i]->ended) {
            co->turns[kept++] = co->turns[i];
        }
    }
    kept = 0;
    for (size_t i = 0; i < co->n_runs; i++) {
        if (!co->runs[i]->ended) {
            co->runs[kept++] = co->runs[i];
        } else {
            tb_co_forgive(co, co->runs[i]);
            tb_co_forget_seats(co);
            free_run(co->runs[i]);
        }
    }
    co->n_runs = kept;
}

void tb_co_free_runs(tb_coordinator *co)
{
    for (size_t i = 0; i < co->n_runs; i++) {
        free_run(co->runs[i]);
    }
}
