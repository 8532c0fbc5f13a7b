#include "compress/calibrate.h"

#include <float.h>
#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "compress/layer.h"
#include "exec/exec.h"

/* --- ranges --------------------------------------------------------------- */

static bool is_watched(const tb_ranges *r, tb_value_id value)
{
    for (size_t i = 0; i < r->n; i++) {
        if (r->value[i] == value) {
            return true;
        }
    }
    return false;
}

tb_rc tb_ranges_init(tb_ranges *out, const tb_graph *graph, tb_err *err)
{
    tb_layer *layers = NULL;
    size_t n = 0;
    *out = (tb_ranges){0};
    tb_rc rc = tb_layers_find(&layers, &n, graph, err);
    if (rc != TB_OK) {
        return rc;
    }
    out->value = tb_mem_array(n, sizeof *out->value);
    out->low = tb_mem_array(n, sizeof *out->low);
    out->high = tb_mem_array(n, sizeof *out->high);
    if (out->value == NULL || out->low == NULL || out->high == NULL) {
        tb_ranges_release(out);
        rc = tb_fail(err, TB_E_NOMEM, "ranges of %zu layers", n);
        goto done;
    }
    for (size_t i = 0; i < n; i++) {
        if (!is_watched(out, layers[i].input)) {
            out->value[out->n++] = layers[i].input;
        }
    }
done:
    tb_mem_free(layers);
    return rc;
}

void tb_ranges_release(tb_ranges *ranges)
{
    tb_mem_free(ranges->value);
    tb_mem_free(ranges->low);
    tb_mem_free(ranges->high);
    *ranges = (tb_ranges){0};
}

/* --- a graph whose watched values are outputs ----------------------------- */

typedef struct watch {
    tb_graph *graph; /* owned copy */
    tb_exec *exec;   /* owned */
    const tb_dataset *data;
} watch;

static void watch_release(watch *w)
{
    tb_exec_free(&w->exec);
    tb_graph_free(&w->graph);
}

static tb_rc check_fit(const watch *w, tb_err *err)
{
    const tb_tensor *x = tb_exec_input(w->exec, 0);
    const tb_sample_spec *spec = tb_dataset_spec(w->data);
    size_t row_bytes = tb_tensor_bytes(x) / TB_CALIBRATE_BATCH;
    char text[TB_SHAPE_TEXT_BYTES];
    if (w->graph->n_inputs != 1 || x->dtype != spec->x_dtype ||
        row_bytes != tb_dataset_x_bytes(w->data)) {
        return tb_fail(err, TB_E_MISMATCH,
                       "calibration: samples of %zu bytes of %s do not fit the "
                       "model's input, %s of %s",
                       tb_dataset_x_bytes(w->data),
                       tb_dtype_name(spec->x_dtype),
                       tb_shape_text(&x->shape, text), tb_dtype_name(x->dtype));
    }
    return TB_OK;
}

static tb_rc watch_init(watch *w, const tb_ranges *ranges,
                        const tb_graph *graph, tb_err *err)
{
    tb_rc rc = tb_graph_clone(&w->graph, graph, err);
    for (size_t i = 0; rc == TB_OK && i < ranges->n; i++) {
        const tb_value *v = tb_graph_value(w->graph, ranges->value[i]);
        if (v == NULL) {
            return tb_fail(err, TB_E_MISMATCH,
                           "calibration: the ranges are of another model");
        }
        if (v->role == TB_ROLE_TEMP &&
            !tb_graph_is_output(w->graph, ranges->value[i])) {
            rc = tb_graph_add_output(w->graph, ranges->value[i], err);
        }
    }
    if (rc == TB_OK) {
        rc = tb_exec_new(&w->exec, w->graph, TB_CALIBRATE_BATCH, err);
    }
    return rc == TB_OK ? check_fit(w, err) : rc;
}

/* Runs rows [from, from + n): n is at most a batch. */
static tb_rc watch_run(watch *w, size_t from, size_t n, tb_err *err)
{
    uint32_t rows[TB_CALIBRATE_BATCH];
    const tb_tensor *x = tb_exec_input(w->exec, 0);
    for (size_t i = 0; i < n; i++) {
        rows[i] = (uint32_t)(from + i);
    }
    tb_dataset_batch(w->data, rows, n, x->data, NULL);
    tb_exec_run(w->exec);
    return tb_exec_fault(w->exec, err);
}

/* The numbers of one watched value for the first n rows of a run. */
static const float *watch_value(const watch *w, tb_value_id id, size_t n_rows,
                                size_t *n, tb_err *err)
{
    const tb_tensor *t = tb_exec_value(w->exec, id);
    *n = tb_tensor_count(t) / TB_CALIBRATE_BATCH * n_rows;
    if (t->data == NULL || t->dtype != TB_F32 || t->shape.rank == 0 ||
        t->shape.dim[0] != TB_CALIBRATE_BATCH) {
        (void)tb_fail(err, TB_E_UNSUPPORTED,
                      "calibration: the input \"%s\" of a linear layer is not "
                      "[rows, ...] of f32",
                      tb_graph_value(w->graph, id)->name);
        return NULL;
    }
    return t->data;
}

/* --- two walks over the data ---------------------------------------------- */

/* What is done with the numbers of watched value i. */
typedef void take_fn(void *arg, size_t i, const float *v, size_t n);

static tb_rc walk(watch *w, const tb_ranges *ranges, take_fn *take, void *arg,
                  tb_err *err)
{
    size_t n_rows = tb_dataset_rows(w->data);
    for (size_t from = 0; from < n_rows; from += TB_CALIBRATE_BATCH) {
        size_t left = n_rows - from;
        size_t rows = left < TB_CALIBRATE_BATCH ? left : TB_CALIBRATE_BATCH;
        tb_rc rc = watch_run(w, from, rows, err);
        if (rc != TB_OK) {
            return rc;
        }
        for (size_t i = 0; i < ranges->n; i++) {
            size_t n = 0;
            const float *v = watch_value(w, ranges->value[i], rows, &n, err);
            if (v == NULL) {
                return TB_E_UNSUPPORTED;
            }
            take(arg, i, v, n);
        }
    }
    return TB_OK;
}

static void take_bounds(void *arg, size_t i, const float *v, size_t n)
{
    tb_ranges *r = arg;
    for (size_t k = 0; k < n; k++) {
        r->low[i] = v[k] < r->low[i] ? v[k] : r->low[i];
        r->high[i] = v[k] > r->high[i] ? v[k] : r->high[i];
    }
}

typedef struct histogram {
    const tb_ranges *ranges; /* smallest and largest */
    uint64_t *bins;          /* [ranges->n, TB_CALIBRATE_BINS] */
    uint64_t *n;             /* [ranges->n] numbers seen */
} histogram;

static void take_bins(void *arg, size_t i, const float *v, size_t n)
{
    histogram *h = arg;
    uint64_t *bins = h->bins + i * TB_CALIBRATE_BINS;
    double low = (double)h->ranges->low[i];
    double width = (double)h->ranges->high[i] - low;
    double scale = width > 0.0 ? TB_CALIBRATE_BINS / width : 0.0;
    for (size_t k = 0; k < n; k++) {
        size_t bin = (size_t)(((double)v[k] - low) * scale);
        bins[bin < TB_CALIBRATE_BINS ? bin : TB_CALIBRATE_BINS - 1]++;
    }
    h->n[i] += n;
}

/* Moves both bounds inwards past bins that hold no more than `out` numbers. */
static void clip(tb_ranges *r, size_t i, const uint64_t *bins, double out)
{
    float low = r->low[i];
    float width = r->high[i] - low;
    size_t from = 0;
    size_t to = TB_CALIBRATE_BINS;
    double seen = (double)bins[0];
    while (from + 1 < to && seen <= out) {
        seen += (double)bins[++from];
    }
    seen = (double)bins[to - 1];
    while (to - 1 > from && seen <= out) {
        seen += (double)bins[--to - 1];
    }
    r->low[i] = low + width * (float)from / TB_CALIBRATE_BINS;
    r->high[i] = low + width * (float)to / TB_CALIBRATE_BINS;
}

static tb_rc clip_all(watch *w, tb_ranges *ranges, double percentile,
                      tb_err *err)
{
    histogram h = {
        .ranges = ranges,
        .bins = tb_mem_array(ranges->n * TB_CALIBRATE_BINS, sizeof *h.bins),
        .n = tb_mem_array(ranges->n, sizeof *h.n)};
    tb_rc rc = h.bins == NULL || h.n == NULL
                   ? tb_fail(err, TB_E_NOMEM, "calibration histograms")
                   : walk(w, ranges, take_bins, &h, err);
    for (size_t i = 0; rc == TB_OK && i < ranges->n; i++) {
        clip(ranges, i, h.bins + i * TB_CALIBRATE_BINS,
             (double)h.n[i] * (100.0 - percentile) / 200.0);
    }
    tb_mem_free(h.bins);
    tb_mem_free(h.n);
    return rc;
}

tb_rc tb_calibrate(tb_ranges *ranges, const tb_graph *graph,
                   const tb_dataset *data, double percentile, tb_err *err)
{
    watch w = {.data = data};
    if (!(percentile > 50.0 && percentile <= 100.0)) {
        return tb_fail(err, TB_E_USAGE,
                       "calibration: percentile %g, give a number over 50 and "
                       "up to 100 (100: smallest and largest)",
                       percentile);
    }
    if (tb_dataset_rows(data) == 0) {
        return tb_fail(err, TB_E_USAGE, "calibration: there are no samples");
    }
    tb_rc rc = watch_init(&w, ranges, graph, err);
    for (size_t i = 0; rc == TB_OK && i < ranges->n; i++) {
        ranges->low[i] = FLT_MAX;
        ranges->high[i] = -FLT_MAX;
    }
    if (rc == TB_OK) {
        rc = walk(&w, ranges, take_bounds, ranges, err);
    }
    if (rc == TB_OK && percentile < 100.0) {
        rc = clip_all(&w, ranges, percentile, err);
    }
    watch_release(&w);
    return rc;
}
