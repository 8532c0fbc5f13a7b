#include "history.h"

#include <string.h>

#include "base/mem.h"
#include "live.h"

/* --- which run ------------------------------------------------------------ */

tb_run_history *tb_history_find(const tb_history *h, const tb_run_id *run)
{
    for (size_t i = h->n; i-- > 0;) {
        if (memcmp(h->runs[i].run.bytes, run->bytes, sizeof run->bytes) == 0) {
            return &h->runs[i];
        }
    }
    return NULL;
}

tb_run_history *tb_history_round(const tb_history *h, const tb_hash *config)
{
    for (size_t i = h->n; i-- > 0;) {
        if (!h->runs[i].ended && tb_hash_equal(&h->runs[i].config, config)) {
            return &h->runs[i];
        }
    }
    return NULL;
}

tb_run_history *tb_history_newest(const tb_history *h)
{
    return h->n > 0 ? &h->runs[h->n - 1] : NULL;
}

tb_rc tb_history_named(tb_run_history **out, const tb_history *h,
                       const char *text, tb_err *err)
{
    char hex[TB_RUN_HEX_BYTES];
    size_t n = 0;
    *out = NULL;
    for (size_t i = h->n; i-- > 0;) {
        if (strcmp(h->runs[i].name.text, text) == 0) {
            *out = &h->runs[i];
            return TB_OK;
        }
    }
    for (size_t i = 0; i < h->n && text[0] != '\0'; i++) {
        tb_run_hex(&h->runs[i].run, hex);
        if (strncmp(hex, text, strlen(text)) == 0) {
            *out = &h->runs[i];
            n++;
        }
    }
    if (n > 1) {
        *out = NULL;
        return tb_fail(err, TB_E_USAGE,
                       "%zu runs begin with \"%.40s\": give more digits", n,
                       text);
    }
    return n == 1 ? TB_OK
                  : tb_fail(err, TB_E_NOT_FOUND,
                            "no run \"%.64s\": `tributaryd jobs` lists them",
                            text);
}

size_t tb_history_ready(const tb_run_history *run)
{
    bool waits = !run->ended && run->by_clients && run->n > 0 &&
                 run->at[run->n - 1].metrics.samples == 0;
    return run->n - (waits ? 1 : 0);
}

/* --- rows ----------------------------------------------------------------- */

static void forget_lines(tb_run_history *run)
{
    tb_mem_free(run->at);
    run->at = NULL;
    run->n = 0;
    run->cap = 0;
}

/* Of the runs that have ended, the last few keep their rounds. */
static void thin_out(tb_history *h)
{
    size_t n_ended = 0;
    for (size_t i = h->n; i-- > 0;) {
        n_ended += h->runs[i].ended;
        if (h->runs[i].ended && n_ended > TB_HISTORY_LINED) {
            forget_lines(&h->runs[i]);
        }
    }
}

/* Room for one more: the one that ended first goes when there are many. */
static tb_rc make_room(tb_history *h, tb_err *err)
{
    for (size_t i = 0; i < h->n && h->n >= TB_HISTORY_RUNS; i++) {
        if (h->runs[i].ended) {
            forget_lines(&h->runs[i]);
            h->n--;
            memmove(h->runs + i, h->runs + i + 1, (h->n - i) * sizeof *h->runs);
            return TB_OK;
        }
    }
    if (h->n == h->cap) {
        size_t cap = h->cap > 0 ? 2 * h->cap : 8;
        tb_run_history *runs = tb_mem_resize(h->runs, cap, sizeof *runs);
        if (runs == NULL) {
            return tb_fail(err, TB_E_NOMEM, "%zu runs", cap);
        }
        h->runs = runs;
        h->cap = cap;
    }
    return TB_OK;
}

static tb_rc start(tb_history *h, const tb_run_params *params, tb_err *err)
{
    tb_rc rc = make_room(h, err);
    if (rc == TB_OK) {
        h->runs[h->n++] = (tb_run_history){
            .run = params->run,
            .name = params->name,
            .rounds = params->rounds,
            .buffer = params->mode == TB_MODE_ASYNC ? params->buffer : 0,
            .by_clients = params->evaluate == TB_WHERE_CLIENTS};
        thin_out(h);
    }
    return rc;
}

static void open_round(tb_history *h, const tb_rec_round_opened *r)
{
    tb_run_history *run = tb_history_find(h, &r->run);
    if (run != NULL) {
        run->config = tb_hash_of(r->config.data, r->config.len);
        run->opened_ms = 0;
        if (r->task == TB_TASK_TRAIN) {
            run->n_asked = run->buffer > 0 ? run->buffer : r->n_clients;
        }
    }
}

static tb_rc add_line(tb_run_history *run, const tb_rec_committed *c,
                      tb_err *err)
{
    if (run->n == run->cap) {
        size_t cap = run->cap > 0 ? 2 * run->cap : 32;
        tb_round_line *at = tb_mem_resize(run->at, cap, sizeof *run->at);
        if (at == NULL) {
            return tb_fail(err, TB_E_NOMEM, "%zu rounds", cap);
        }
        run->at = at;
        run->cap = cap;
    }
    run->at[run->n++] = (tb_round_line){.round = c->round,
                                        .n_in = c->n_clients,
                                        .n_asked = run->n_asked,
                                        .metrics = c->metrics,
                                        .model = c->result.raw};
    return TB_OK;
}

/* Where clients evaluate, the metrics come in a row of their own. */
static void add_metrics(tb_run_history *run, const tb_rec_committed *c)
{
    if (run->n > 0) {
        tb_metrics *m = &run->at[run->n - 1].metrics;
        m->loss = c->metrics.loss;
        m->accuracy = c->metrics.accuracy;
        m->samples = c->metrics.samples;
    }
}

static tb_rc add_committed(tb_history *h, const tb_rec_committed *c,
                           tb_err *err)
{
    tb_run_history *run = tb_history_round(h, &c->config);
    if (run == NULL) {
        return TB_OK;
    }
    if (c->task == TB_TASK_TRAIN) {
        return add_line(run, c, err);
    }
    if (c->task == TB_TASK_EVALUATE) {
        add_metrics(run, c);
    }
    return TB_OK;
}

static void end_run(tb_history *h, const tb_rec_run_ended *r)
{
    tb_run_history *run = tb_history_find(h, &r->run);
    if (run != NULL) {
        run->ended = true;
        run->outcome = r->outcome;
        memcpy(run->why, r->why, sizeof run->why);
    }
}

tb_rc tb_history_add(tb_history *h, const tb_record *record, tb_err *err)
{
    if (record->kind == TB_REC_RUN_STARTED) {
        return start(h, record->u.run_started, err);
    }
    if (record->kind == TB_REC_COMMITTED) {
        return add_committed(h, &record->u.committed, err);
    }
    if (record->kind == TB_REC_ROUND_OPENED) {
        open_round(h, &record->u.round_opened);
    } else if (record->kind == TB_REC_RUN_ENDED) {
        end_run(h, &record->u.run_ended);
    }
    return TB_OK;
}

void tb_history_release(tb_history *h)
{
    for (size_t i = 0; i < h->n; i++) {
        forget_lines(&h->runs[i]);
    }
    tb_mem_free(h->runs);
    *h = (tb_history){0};
}
