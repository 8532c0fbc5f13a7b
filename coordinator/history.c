#include "history.h"

#include <string.h>

#include "base/mem.h"

static void start(tb_history *h, const tb_run_params *params)
{
    h->run = params->run;
    h->name = params->name;
    h->rounds = params->rounds;
    h->buffer = params->mode == TB_MODE_ASYNC ? params->buffer : 0;
    h->ended = false;
    h->n = 0;
}

static tb_rc add_line(tb_history *h, const tb_rec_committed *c, tb_err *err)
{
    if (h->n == h->cap) {
        size_t cap = h->cap > 0 ? 2 * h->cap : 32;
        tb_round_line *at = tb_mem_resize(h->at, cap, sizeof *h->at);
        if (at == NULL) {
            return tb_fail(err, TB_E_NOMEM, "%zu rounds", cap);
        }
        h->at = at;
        h->cap = cap;
    }
    h->at[h->n++] = (tb_round_line){.round = c->round,
                                    .n_in = c->n_clients,
                                    .n_asked = h->n_asked,
                                    .metrics = c->metrics,
                                    .model = c->result.raw};
    return TB_OK;
}

/* Where clients evaluate, the metrics come in a row of their own. */
static void add_metrics(tb_history *h, const tb_rec_committed *c)
{
    if (h->n > 0) {
        tb_metrics *m = &h->at[h->n - 1].metrics;
        m->loss = c->metrics.loss;
        m->accuracy = c->metrics.accuracy;
        m->samples = c->metrics.samples;
    }
}

static tb_rc add_committed(tb_history *h, const tb_rec_committed *c,
                           tb_err *err)
{
    if (c->task == TB_TASK_TRAIN) {
        return add_line(h, c, err);
    }
    if (c->task == TB_TASK_EVALUATE) {
        add_metrics(h, c);
    }
    return TB_OK;
}

tb_rc tb_history_add(tb_history *h, const tb_record *record, tb_err *err)
{
    if (record->kind == TB_REC_RUN_STARTED) {
        start(h, record->u.run_started);
    } else if (record->kind == TB_REC_ROUND_OPENED &&
               record->u.round_opened.task == TB_TASK_TRAIN) {
        h->n_asked =
            h->buffer > 0 ? h->buffer : record->u.round_opened.n_clients;
    } else if (record->kind == TB_REC_COMMITTED) {
        return add_committed(h, &record->u.committed, err);
    } else if (record->kind == TB_REC_RUN_ENDED) {
        h->ended = true;
        h->outcome = record->u.run_ended.outcome;
        memcpy(h->why, record->u.run_ended.why, sizeof h->why);
    }
    return TB_OK;
}

void tb_history_release(tb_history *h)
{
    tb_mem_free(h->at);
    *h = (tb_history){0};
}
