#include "train/tally.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#include "base/mem.h"

static tb_rc check_limits(const tb_tally *t, bool scores, tb_err *err)
{
    size_t n = 0;
    if (t->kind == TB_TALLY_CLASSES && t->n_cols > TB_TALLY_CLASSES_MAX) {
        return tb_fail(err, TB_E_LIMIT,
                       "metrics of %zu classes: at most %zu are counted",
                       t->n_cols, TB_TALLY_CLASSES_MAX);
    }
    if (scores &&
        (tb_mem_mul(&n, t->n_max, t->n_cols) != 0 || n > TB_TALLY_SCORES_MAX)) {
        return tb_fail(err, TB_E_LIMIT,
                       "auc of %zu targets with %zu scores each: at most %zu "
                       "are kept; leave it out, or measure fewer rows",
                       t->n_max, t->n_cols, TB_TALLY_SCORES_MAX);
    }
    return TB_OK;
}

static bool make_counts(tb_tally *t)
{
    size_t n = t->n_cols;
    if (t->kind == TB_TALLY_VALUES) {
        t->mean = tb_mem_array(n, sizeof *t->mean);
        t->spread = tb_mem_array(n, sizeof *t->spread);
        t->squares = tb_mem_array(n, sizeof *t->squares);
        t->distances = tb_mem_array(n, sizeof *t->distances);
        return t->mean != NULL && t->spread != NULL && t->squares != NULL &&
               t->distances != NULL;
    }
    t->hits = tb_mem_array(n, sizeof *t->hits);
    t->said = tb_mem_array(n, sizeof *t->said);
    t->truths = tb_mem_array(n, sizeof *t->truths);
    bool ok = t->hits != NULL && t->said != NULL && t->truths != NULL;
    if (t->kind == TB_TALLY_CLASSES) {
        t->confusion = tb_mem_array(n * n, sizeof *t->confusion);
        t->ranks = tb_mem_array(n, sizeof *t->ranks);
        ok = ok && t->confusion != NULL && t->ranks != NULL;
    }
    return ok;
}

tb_rc tb_tally_init(tb_tally *out, const tb_tally_options *o, tb_err *err)
{
    *out = (tb_tally){.kind = o->loss->binary ? TB_TALLY_BITS
                              : o->loss->target == TB_TARGET_CLASS
                                  ? TB_TALLY_CLASSES
                                  : TB_TALLY_VALUES,
                      .n_cols = o->n_cols,
                      .n_max = o->n_max};
    bool scores = o->scores && out->kind != TB_TALLY_VALUES;
    tb_rc rc = check_limits(out, scores, err);
    bool ok = rc == TB_OK && make_counts(out);
    if (ok && scores) {
        size_t labels = out->kind == TB_TALLY_BITS ? o->n_cols : 1;
        out->scores = tb_mem_array(o->n_max * o->n_cols, sizeof(float));
        out->labels = tb_mem_array(o->n_max * labels, sizeof *out->labels);
        ok = out->scores != NULL && out->labels != NULL;
    }
    if (rc == TB_OK && !ok) {
        rc = tb_fail(err, TB_E_NOMEM, "metrics: %zu columns", o->n_cols);
    }
    if (rc != TB_OK) {
        tb_tally_release(out);
    }
    return rc;
}

void tb_tally_release(tb_tally *t)
{
    tb_mem_free(t->hits);
    tb_mem_free(t->said);
    tb_mem_free(t->truths);
    tb_mem_free(t->confusion);
    tb_mem_free(t->ranks);
    tb_mem_free(t->mean);
    tb_mem_free(t->spread);
    tb_mem_free(t->squares);
    tb_mem_free(t->distances);
    tb_mem_free(t->scores);
    tb_mem_free(t->labels);
    *t = (tb_tally){0};
}

/* --- adding --------------------------------------------------------------- */

/* The outputs of one label: x[c * step]. */
typedef struct answer {
    const float *x;
    size_t step;
} answer;

static answer answer_of(const tb_loss_batch *b, size_t i)
{
    const tb_loss_layout *l = &b->layout;
    size_t n_labels = l->n_labels > 0 ? l->n_labels : 1;
    if (!l->class_first) {
        return (answer){b->out + i * l->n_cols, 1};
    }
    return (answer){b->out + i / n_labels * n_labels * l->n_cols + i % n_labels,
                    n_labels};
}

/* log of the sum of exp(x). */
static double log_sum(answer a, size_t n)
{
    float top = a.x[0];
    double sum = 0.0;
    for (size_t c = 1; c < n; c++) {
        top = a.x[c * a.step] > top ? a.x[c * a.step] : top;
    }
    for (size_t c = 0; c < n; c++) {
        sum += exp((double)a.x[c * a.step] - (double)top);
    }
    return (double)top + log(sum);
}

/* One label: the class said is the first of the largest, and the rank of the
 * right one counts those that stand before it. */
static void add_label(tb_tally *t, answer a, size_t right)
{
    size_t n = t->n_cols;
    size_t said = 0;
    size_t rank = 0;
    float own = a.x[right * a.step];
    double all = log_sum(a, n);
    for (size_t c = 0; c < n; c++) {
        float v = a.x[c * a.step];
        said = v > a.x[said * a.step] ? c : said;
        rank += v > own || (v == own && c < right);
    }
    t->hits[right] += said == right;
    t->said[said]++;
    t->truths[right]++;
    t->confusion[right * n + said]++;
    t->ranks[rank]++;
    t->nll += all - (double)own;
    if (t->scores != NULL) {
        assert(t->n_targets < t->n_max);
        for (size_t c = 0; c < n; c++) { /* of two only the difference counts */
            t->scores[t->n_targets * n + c] =
                (float)((double)a.x[c * a.step] - (n == 2 ? 0.0 : all));
        }
        t->labels[t->n_targets] = (int32_t)right;
    }
    t->n_targets++;
}

static void add_labels(tb_tally *t, const tb_loss_batch *b)
{
    const int32_t *label = b->y;
    size_t n_labels = b->layout.n_labels > 0 ? b->layout.n_labels : 1;
    const tb_loss_options *o = b->options;
    for (size_t i = 0; i < b->n_rows * n_labels; i++) {
        if (o == NULL || !o->ignores || label[i] != o->ignore) {
            add_label(t, answer_of(b, i), (size_t)label[i]);
        }
    }
}

static void add_bits(tb_tally *t, const tb_loss_batch *b)
{
    const float *y = b->y;
    size_t n = t->n_cols;
    for (size_t i = 0; i < b->n_rows * n; i++) {
        bool truth = y[i] > 0.5f;
        bool said = b->out[i] > 0.0f;
        t->hits[i % n] += truth && said;
        t->said[i % n] += said;
        t->truths[i % n] += truth;
        if (t->scores != NULL) {
            size_t at = t->n_targets * n + i;
            assert(at < t->n_max * n);
            t->scores[at] = b->out[i];
            t->labels[at] = truth ? 1 : 0;
        }
    }
    t->n_targets += b->n_rows;
}

/* Mean and spread of the targets as they come (Welford 1962). */
static void add_values(tb_tally *t, const tb_loss_batch *b)
{
    const float *y = b->y;
    size_t n = t->n_cols;
    for (size_t r = 0; r < b->n_rows; r++) {
        t->n_targets++;
        for (size_t c = 0; c < n; c++) {
            double v = (double)y[r * n + c];
            double d = (double)b->out[r * n + c] - v;
            double off = v - t->mean[c];
            t->mean[c] += off / (double)t->n_targets;
            t->spread[c] += off * (v - t->mean[c]);
            t->squares[c] += d * d;
            t->distances[c] += fabs(d);
        }
    }
}

void tb_tally_add(tb_tally *t, const tb_loss_batch *b)
{
    switch (t->kind) {
    case TB_TALLY_CLASSES:
        add_labels(t, b);
        break;
    case TB_TALLY_BITS:
        add_bits(t, b);
        break;
    case TB_TALLY_VALUES:
        add_values(t, b);
        break;
    }
}
