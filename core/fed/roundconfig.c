/* The configuration of the next exchange, from the run and where it stands. */
#include <string.h>

#include "fed/coordinator_priv.h"
#include "fed/strategy.h"

tb_rc tb_co_configure(const tb_coordinator *co, const tb_run *run,
                      tb_round_config *out, tb_err *err)
{
    const tb_run_params *p = run->params;
    bool calibrate = run->task == TB_TASK_CALIBRATE;
    const tb_model_ref *model = calibrate ? tb_co_chosen(run) : &run->model;
    memset(out, 0, sizeof *out);
    out->protocol = TB_PROTOCOL_MAX;
    out->federation = p->federation;
    out->job = p->job;
    out->run = p->run;
    out->round = run->number;
    out->attempt = run->attempt;
    out->task = run->task;
    out->model = model->raw;
    out->model_bytes = model->raw_bytes;
    out->model_stored = model->stored;
    out->model_stored_bytes = model->stored_bytes;
    memcpy(out->aggregation_key, p->aggregation_key,
           sizeof out->aggregation_key);
    out->codec = p->codec;
    out->max_abs = calibrate ? p->calibrate_max_abs : p->max_abs;
    out->max_weight = p->max_weight;
    out->seed = p->seed;
    out->deadline_ms = p->deadline_ms;
    out->data_set = p->data_set;
    out->masked = run->task == TB_TASK_TRAIN && p->masked_from > 0 &&
                  run->number >= p->masked_from;
    const tb_strategy_sizes sizes = {.n_params = (size_t)p->n_params,
                                     .n_statistics = (size_t)p->n_statistics,
                                     .n_observed = (size_t)p->n_observed};
    out->n_sections = tb_strategy_sections(tb_strategy_find(p->strategy.text),
                                           run->task, out->sections, &sizes);
    out->epoch = co->epoch.epoch;
    memcpy(out->epoch_id, co->epoch.id, sizeof out->epoch_id);
    out->epoch_row = co->epoch_row;
    out->n_job = p->n_job;
    memcpy(out->job_text, p->job_text, p->n_job);
    if (run->task != TB_TASK_TRAIN) {
        /* metrics and ranges travel as they are, not in steps */
        (void)tb_name_set(&out->codec, "f32");
    }
    uint32_t heaviest = tb_run_weight_max(p, run->task);
    out->sum_weight = heaviest == p->max_weight ? 0 : heaviest;
    return tb_sum_fraction_bits(&out->fraction_bits,
                                tb_run_updates_max(p, run->task), heaviest,
                                out->max_abs, err);
}
