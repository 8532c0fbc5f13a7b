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

/* Two ways to number values, each giving every one another bit pattern. */
#define FIRST_MARK  2654435761u /* odd: no two are equal modulo 2^32 */
#define SECOND_MARK 2246822519u

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

static void mark(float *values, size_t n, uint32_t first, uint32_t step)
{
    for (size_t i = 0; i < n; i++) {
        uint32_t bits = step * (first + (uint32_t)i + 1);
        memcpy(&values[i], &bits, sizeof bits);
    }
}

/* The file of the graph with its values numbered. */
static tb_rc write_marked(tb_buf *out, tb_graph *graph, uint32_t step,
                          tb_err *err)
{
    size_t n_params = tb_params_count(graph);
    size_t n_buffers = tb_buffers_count(graph);
    size_t n = n_params > n_buffers ? n_params : n_buffers;
    float *values = tb_mem_array(n, sizeof *values);
    if (values == NULL || n_params + n_buffers >= UINT32_MAX) {
        tb_mem_free(values);
        return tb_fail(err, TB_E_NOMEM, "%zu values", n);
    }
    mark(values, n_params, 0, step);
    tb_rc rc = tb_params_set(graph, values, n_params, err);
    if (rc == TB_OK) {
        mark(values, n_buffers, (uint32_t)n_params, step);
        rc = tb_buffers_set(graph, values, n_buffers, err);
    }
    if (rc == TB_OK) {
        rc = tb_onnx_write(out, graph, err);
    }
    tb_mem_free(values);
    return rc;
}

/* Number of a place's first value. */
static uint32_t first_of(const place *at, size_t n_params)
{
    return (uint32_t)(at->offset + (at->statistics ? n_params : 0));
}

static bool is_marked(const uint8_t *bytes, const place *at, uint32_t first,
                      uint32_t step)
{
    for (size_t i = 0; i < at->n; i++) {
        uint32_t bits = 0;
        memcpy(&bits, bytes + 4 * i, sizeof bits);
        if (bits != step * (first + (uint32_t)i + 1)) {
            return false;
        }
    }
    return true;
}

/* Finds all places, one behind the other. */
static bool find_all(tb_patch *p, const tb_buf *file, size_t n_params)
{
    size_t from = 0;
    for (size_t i = 0; i < p->n; i++) {
        place *at = &p->places[i];
        uint32_t first = first_of(at, n_params);
        size_t most = file->len >= 4 * at->n ? file->len - 4 * at->n : 0;
        while (from <= most &&
               !is_marked(file->data + from, at, first, FIRST_MARK)) {
            from++;
        }
        if (from > most) {
            return false;
        }
        at->at = from;
        from += 4 * at->n;
    }
    return true;
}

/* Whether another numbering is found at the same places, and all else is the
 * same. */
static bool confirms(const tb_patch *p, const tb_buf *one, const tb_buf *two,
                     size_t n_params)
{
    size_t from = 0;
    if (one->len != two->len) {
        return false;
    }
    for (size_t i = 0; i < p->n; i++) {
        const place *at = &p->places[i];
        if (memcmp(one->data + from, two->data + from, at->at - from) != 0 ||
            !is_marked(two->data + at->at, at, first_of(at, n_params),
                       SECOND_MARK)) {
            return false;
        }
        from = (size_t)at->at + 4 * at->n;
    }
    return memcmp(one->data + from, two->data + from, one->len - from) == 0;
}

static tb_rc locate(tb_patch *p, tb_graph *graph, size_t bytes, tb_err *err)
{
    tb_buf one;
    tb_buf two;
    tb_buf_init(&one, bytes);
    tb_buf_init(&two, bytes);
    tb_rc rc = write_marked(&one, graph, FIRST_MARK, err);
    if (rc == TB_OK) {
        rc = write_marked(&two, graph, SECOND_MARK, err);
    }
    size_t n_params = tb_params_count(graph);
    if (rc == TB_E_LIMIT ||
        (rc == TB_OK && (one.len != bytes || !find_all(p, &one, n_params) ||
                         !confirms(p, &one, &two, n_params)))) {
        rc = tb_fail(err, TB_E_UNSUPPORTED,
                     "the model's values do not lie apart in its file");
    }
    tb_buf_release(&one);
    tb_buf_release(&two);
    return rc;
}

tb_rc tb_patch_new(tb_patch **out, const tb_job *job, const tb_buf *onnx,
                   tb_err *err)
{
    tb_graph *graph = NULL;
    tb_patch *p = tb_mem_array(1, sizeof *p);
    *out = NULL;
    tb_rc rc = p != NULL ? tb_work_read(&graph, job, onnx, err)
                         : tb_fail(err, TB_E_NOMEM, "a layout");
    if (rc == TB_OK) {
        p->bytes = onnx->len;
        rc = list_places(p, graph, err);
    }
    if (rc == TB_OK) {
        rc = locate(p, graph, onnx->len, err);
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
