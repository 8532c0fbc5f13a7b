#include "work/patch.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "fed/strategy.h"
#include "model/onnx.h"
#include "model/params.h"
#include "work/model.h"

#define TILE 16384 /* values in memory at a time */

/* One initialiser in the file. */
typedef struct place {
    tb_value_id value;
    uint64_t at;   /* byte of the file */
    size_t n;      /* values */
    size_t offset; /* of the first, in the parameters or the statistics */
    bool statistics;
    bool variance; /* never below 0 */
} place;

struct tb_patch {
    place *places; /* [n], in the order of the file; owned */
    size_t n;
    uint64_t bytes; /* of every model's file */
};

/* --- where values lie ----------------------------------------------------- */

static int by_value(const void *a, const void *b)
{
    tb_value_id x = ((const place *)a)->value;
    tb_value_id y = ((const place *)b)->value;
    return (x > y) - (x < y);
}

static tb_rc list_places(tb_patch *p, const tb_graph *graph, tb_err *err)
{
    tb_slots params = {0};
    tb_slots buffers = {0};
    tb_rc rc = tb_params_slots(&params, graph, err);
    if (rc == TB_OK) {
        rc = tb_buffers_slots(&buffers, graph, err);
    }
    if (rc == TB_OK) {
        p->n = params.n + buffers.n;
        p->places = tb_mem_array(p->n, sizeof *p->places);
        rc = p->places != NULL ? TB_OK : tb_fail(err, TB_E_NOMEM, "a layout");
    }
    for (size_t i = 0; rc == TB_OK && i < p->n; i++) {
        bool statistics = i >= params.n;
        const tb_slot *slot =
            statistics ? &buffers.slot[i - params.n] : &params.slot[i];
        p->places[i] = (place){
            .value = slot->value,
            .n = slot->n,
            .offset = slot->offset,
            .statistics = statistics,
            .variance = statistics && tb_work_is_variance(graph, slot->value)};
    }
    if (rc == TB_OK) {
        qsort(p->places, p->n, sizeof *p->places, by_value);
    }
    tb_slots_release(&params);
    tb_slots_release(&buffers);
    return rc;
}

/* What locates them: a patch in the making, and its graph. */
typedef struct search {
    tb_patch *patch;
    const tb_graph *graph;
} search;

static tb_rc note_place(void *arg, const char *name, uint64_t offset,
                        uint64_t bytes, tb_err *err)
{
    const search *s = arg;
    const place key = {.value = tb_graph_find(s->graph, name)};
    place *at =
        bsearch(&key, s->patch->places, s->patch->n, sizeof key, by_value);
    if (at == NULL) {
        return TB_OK; /* a constant */
    }
    if (bytes != 4 * (uint64_t)at->n ||
        s->graph->values[at->value]->dtype != TB_F32) {
        return tb_fail(err, TB_E_UNSUPPORTED,
                       "the values of \"%s\" do not lie in its file as they "
                       "are",
                       name);
    }
    at->at = offset;
    return TB_OK;
}

static tb_rc locate(tb_patch *p, const tb_graph *graph, int fd, tb_err *err)
{
    search s = {p, graph};
    off_t size = lseek(fd, 0, SEEK_END);
    tb_rc rc = size >= 0 ? tb_onnx_locate(fd, note_place, &s, err)
                         : tb_fail_errno(err, errno, "a model's file");
    for (size_t i = 0; rc == TB_OK && i < p->n; i++) {
        if (p->places[i].at == 0 && p->places[i].n > 0) {
            rc = tb_fail(err, TB_E_UNSUPPORTED,
                         "a parameter does not lie in the model's file");
        }
    }
    p->bytes = (uint64_t)size;
    return rc;
}

tb_rc tb_patch_new(tb_patch **out, const tb_job *job, int fd, tb_err *err)
{
    tb_graph *graph = NULL;
    tb_patch *p = tb_mem_array(1, sizeof *p);
    *out = NULL;
    tb_rc rc = p != NULL
                   ? tb_work_read_fd(&graph, job, fd, TB_ONNX_VALUES_NONE, err)
                   : tb_fail(err, TB_E_NOMEM, "a layout");
    if (rc == TB_OK) {
        rc = list_places(p, graph, err);
    }
    if (rc == TB_OK) {
        rc = locate(p, graph, fd, err);
    }
    tb_graph_free(&graph);
    if (rc == TB_OK) {
        *out = p;
        p = NULL;
    }
    tb_patch_free(&p);
    return rc;
}

void tb_patch_free(tb_patch **patch)
{
    if (*patch != NULL) {
        tb_mem_free((*patch)->places);
        tb_mem_free(*patch);
        *patch = NULL;
    }
}

bool tb_patch_fits(const tb_job *job, const tb_run_params *params)
{
    const tb_strategy *strategy = tb_strategy_find(params->strategy.text);
    bool prunes =
        job->prune.kind != TB_JOB_PRUNE_NONE && job->prune.last_rounds > 0;
    return strategy != NULL && strategy->n_state(params->n_params) == 0 &&
           !prunes;
}

/* --- moving them ---------------------------------------------------------- */

typedef struct tiles {
    const tb_work_round *round;
    const tb_strategy *strategy;
    size_t statistics; /* where they begin in the sum; SIZE_MAX: not averaged */
    float now[TILE], other[TILE];
} tiles;

static tb_rc move_params(tiles *t, size_t at, size_t n, tb_err *err)
{
    bool masked = t->round->config->masked;
    tb_strategy_settings settings = {.server_lr = t->round->params->server_lr,
                                     .at = at};
    memcpy(t->other, t->now, n * sizeof *t->now);
    tb_rc rc =
        t->strategy->aggregate(&settings, t->round->sum, t->now, n, NULL, err);
    for (size_t i = 0; rc == TB_OK && masked && i < n; i++) {
        t->now[i] = t->other[i] == 0.0F ? 0.0F : t->now[i];
    }
    return rc;
}

static tb_rc move_statistics(tiles *t, const place *p, size_t at, size_t n,
                             tb_err *err)
{
    tb_rc rc = tb_sum_mean(t->round->sum, t->statistics + at, t->other, n, err);
    for (size_t i = 0; rc == TB_OK && i < n; i++) {
        t->now[i] += TB_STATISTICS_SCALE * t->other[i];
        if (p->variance && t->now[i] < 0.0F) {
            t->now[i] = 0.0F;
        }
    }
    return rc;
}

/* All of len bytes at an offset, one way or the other. */
static tb_rc transfer(int fd, uint8_t *bytes, size_t len, uint64_t at,
                      bool writes, tb_err *err)
{
    while (len > 0) {
        ssize_t n = writes ? pwrite(fd, bytes, len, (off_t)at)
                           : pread(fd, bytes, len, (off_t)at);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            return n < 0 ? tb_fail_errno(err, errno, "a model's file")
                         : tb_fail(err, TB_E_MISMATCH, "a model was cut");
        }
        bytes += n;
        at += (uint64_t)n;
        len -= (size_t)n;
    }
    return TB_OK;
}

static tb_rc move_place(tiles *t, const place *p, int fd, tb_err *err)
{
    tb_rc rc = TB_OK;
    if (p->statistics && t->statistics == SIZE_MAX) {
        return TB_OK;
    }
    for (size_t i = 0; rc == TB_OK && i < p->n; i += TILE) {
        size_t n = p->n - i < TILE ? p->n - i : TILE;
        uint64_t at = p->at + 4 * (uint64_t)i;
        uint8_t *bytes = (uint8_t *)(void *)t->now;
        rc = transfer(fd, bytes, 4 * n, at, false, err);
        if (rc == TB_OK) {
            rc = p->statistics ? move_statistics(t, p, p->offset + i, n, err)
                               : move_params(t, p->offset + i, n, err);
        }
        if (rc == TB_OK) {
            rc = transfer(fd, bytes, 4 * n, at, true, err);
        }
    }
    return rc;
}

tb_rc tb_patch_apply(const tb_patch *patch, int fd, const tb_work_round *round,
                     tb_metrics *metrics, tb_err *err)
{
    off_t size = lseek(fd, 0, SEEK_END);
    if (size < 0 || (uint64_t)size != patch->bytes) {
        return tb_fail(err, TB_E_MISMATCH,
                       "a model of %lld bytes instead of %llu", (long long)size,
                       (unsigned long long)patch->bytes);
    }
    tiles *t = tb_mem_array(1, sizeof *t);
    if (t == NULL) {
        return tb_fail(err, TB_E_NOMEM, "a tile of values");
    }
    t->round = round;
    t->strategy = tb_strategy_find(round->params->strategy.text);
    t->statistics = tb_strategy_offset(round->config, TB_SECTION_STATISTICS);
    tb_rc rc = t->strategy != NULL
                   ? TB_OK
                   : tb_fail(err, TB_E_UNSUPPORTED, "strategy \"%s\"",
                             round->params->strategy.text);
    for (size_t i = 0; rc == TB_OK && i < patch->n; i++) {
        rc = move_place(t, &patch->places[i], fd, err);
    }
    if (rc == TB_OK) {
        *metrics = tb_metrics_none();
        metrics->train_loss =
            tb_strategy_metric(round->config, round->sum, TB_SECTION_LOSS);
    }
    tb_mem_free(t);
    return rc;
}
