#include "train/metric.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

#define LABELS (TB_TALLY_CLASSES | TB_TALLY_BITS)

/* --- of counts ------------------------------------------------------------ */

static double ratio(double a, double b)
{
    return b > 0.0 ? a / b : 0.0; /* as zero_division=0 */
}

static double precision_of(const tb_tally *t, size_t c)
{
    return ratio((double)t->hits[c], (double)t->said[c]);
}

static double recall_of(const tb_tally *t, size_t c)
{
    return ratio((double)t->hits[c], (double)t->truths[c]);
}

static double f1_of(const tb_tally *t, size_t c)
{
    return ratio(2.0 * (double)t->hits[c],
                 (double)t->said[c] + (double)t->truths[c]);
}

/* Over the classes that occur as truth or answer; of bits over all columns, and
 * of one column that one. */
static double mean_of(const tb_tally *t,
                      double (*each)(const tb_tally *, size_t))
{
    double sum = 0.0;
    size_t n = 0;
    for (size_t c = 0; c < t->n_cols; c++) {
        bool occurs = t->said[c] > 0 || t->truths[c] > 0;
        if (occurs || t->kind == TB_TALLY_BITS) {
            sum += each(t, c);
            n++;
        }
    }
    return n > 0 ? sum / (double)n : (double)NAN;
}

static tb_rc precision(double *out, const tb_tally *t, size_t k, tb_err *err)
{
    (void)k;
    (void)err;
    *out = mean_of(t, precision_of);
    return TB_OK;
}

static tb_rc recall(double *out, const tb_tally *t, size_t k, tb_err *err)
{
    (void)k;
    (void)err;
    *out = mean_of(t, recall_of);
    return TB_OK;
}

static tb_rc f1(double *out, const tb_tally *t, size_t k, tb_err *err)
{
    (void)k;
    (void)err;
    *out = mean_of(t, f1_of);
    return TB_OK;
}

/* Of bits: each column of each row is an answer. */
static tb_rc accuracy(double *out, const tb_tally *t, size_t k, tb_err *err)
{
    (void)k;
    (void)err;
    double n = (double)t->n_targets;
    double right = 0.0;
    for (size_t c = 0; c < t->n_cols; c++) {
        right += t->kind == TB_TALLY_CLASSES
                     ? (double)t->hits[c]
                     : n - (double)t->said[c] - (double)t->truths[c] +
                           2.0 * (double)t->hits[c];
    }
    n *= t->kind == TB_TALLY_CLASSES ? 1.0 : (double)t->n_cols;
    *out = n > 0.0 ? right / n : (double)NAN;
    return TB_OK;
}

static tb_rc top_k(double *out, const tb_tally *t, size_t k, tb_err *err)
{
    (void)err;
    double right = 0.0;
    for (size_t rank = 0; rank < k && rank < t->n_cols; rank++) {
        right += (double)t->ranks[rank];
    }
    *out = t->n_targets > 0 ? right / (double)t->n_targets : (double)NAN;
    return TB_OK;
}

static tb_rc perplexity(double *out, const tb_tally *t, size_t k, tb_err *err)
{
    (void)k;
    (void)err;
    *out = t->n_targets > 0 ? exp(t->nll / (double)t->n_targets) : (double)NAN;
    return TB_OK;
}

/* --- of scores ------------------------------------------------------------ */

typedef struct scored {
    double score;
    bool truth;
} scored;

static int by_score(const void *a, const void *b)
{
    double x = ((const scored *)a)->score;
    double y = ((const scored *)b)->score;
    return (x > y) - (x < y);
}

/* Area under the curve of a class: the share of pairs (one of it, one not) that
 * its score puts right, ties counting half (Mann and Whitney 1947). NaN without
 * such a pair. s [n] is sorted here. */
static double area(scored *s, size_t n)
{
    double pairs = 0.0;
    double below = 0.0; /* others with a smaller score */
    double truths = 0.0;
    qsort(s, n, sizeof *s, by_score);
    for (size_t i = 0, end = 0; i < n; i = end) {
        double same[2] = {0.0, 0.0};
        for (end = i; end < n && s[end].score == s[i].score; end++) {
            same[s[end].truth ? 1 : 0] += 1.0;
        }
        pairs += same[1] * (below + 0.5 * same[0]);
        below += same[0];
        truths += same[1];
    }
    return truths > 0.0 && below > 0.0 ? pairs / (truths * below) : (double)NAN;
}

/* The score of class or column c for target i. Of two classes, how much
 * likelier the second is than the first. */
static scored scored_at(const tb_tally *t, size_t i, size_t c)
{
    const float *s = t->scores + i * t->n_cols;
    if (t->kind == TB_TALLY_BITS) {
        return (scored){(double)s[c], t->labels[i * t->n_cols + c] == 1};
    }
    double score =
        t->n_cols == 2 ? (double)s[c] - (double)s[1 - c] : (double)s[c];
    return (scored){score, t->labels[i] == (int32_t)c};
}

static tb_rc auc(double *out, const tb_tally *t, size_t k, tb_err *err)
{
    (void)k;
    double sum = 0.0;
    size_t n = 0;
    scored *s = tb_mem_array(t->n_targets, sizeof *s);
    if (s == NULL) {
        return tb_fail(err, TB_E_NOMEM, "auc of %zu targets", t->n_targets);
    }
    bool two = t->kind == TB_TALLY_CLASSES && t->n_cols == 2;
    for (size_t c = two ? 1 : 0; c < t->n_cols; c++) {
        for (size_t i = 0; i < t->n_targets; i++) {
            s[i] = scored_at(t, i, c);
        }
        double a = area(s, t->n_targets);
        sum += isnan(a) ? 0.0 : a;
        n += isnan(a) ? 0 : 1;
    }
    tb_mem_free(s);
    *out = n > 0 ? sum / (double)n : (double)NAN;
    return TB_OK;
}

/* --- of values ------------------------------------------------------------ */

static double mse_of(const tb_tally *t, size_t c)
{
    return t->squares[c] / (double)t->n_targets;
}

static double mae_of(const tb_tally *t, size_t c)
{
    return t->distances[c] / (double)t->n_targets;
}

/* 1 - sum (out - y)^2 / sum (y - mean)^2; of targets that are all the same, 1
 * when each was met, else 0. */
static double r2_of(const tb_tally *t, size_t c)
{
    if (!(t->spread[c] > 0.0)) {
        return t->squares[c] > 0.0 ? 0.0 : 1.0;
    }
    return 1.0 - t->squares[c] / t->spread[c];
}

static double over_columns(const tb_tally *t,
                           double (*each)(const tb_tally *, size_t))
{
    double sum = 0.0;
    for (size_t c = 0; c < t->n_cols; c++) {
        sum += each(t, c);
    }
    return t->n_targets > 0 ? sum / (double)t->n_cols : (double)NAN;
}

static tb_rc mse(double *out, const tb_tally *t, size_t k, tb_err *err)
{
    (void)k;
    (void)err;
    *out = over_columns(t, mse_of);
    return TB_OK;
}

static tb_rc mae(double *out, const tb_tally *t, size_t k, tb_err *err)
{
    (void)k;
    (void)err;
    *out = over_columns(t, mae_of);
    return TB_OK;
}

static tb_rc r2(double *out, const tb_tally *t, size_t k, tb_err *err)
{
    (void)k;
    (void)err;
    *out = over_columns(t, r2_of);
    return TB_OK;
}

/* --- the table ------------------------------------------------------------ */

static const tb_metric metrics[] = {
    {.name = "accuracy", .on = LABELS, .preset = true, .value = accuracy},
    {.name = "top_k", .on = TB_TALLY_CLASSES, .value = top_k},
    {.name = "precision",
     .on = LABELS,
     .value = precision,
     .each = precision_of},
    {.name = "recall", .on = LABELS, .value = recall, .each = recall_of},
    {.name = "f1", .on = LABELS, .preset = true, .value = f1, .each = f1_of},
    {.name = "auc", .on = LABELS, .scores = true, .value = auc},
    {.name = "perplexity", .on = TB_TALLY_CLASSES, .value = perplexity},
    {.name = "confusion", .on = TB_TALLY_CLASSES},
    {.name = "mse",
     .on = TB_TALLY_VALUES,
     .preset = true,
     .value = mse,
     .each = mse_of},
    {.name = "mae",
     .on = TB_TALLY_VALUES,
     .preset = true,
     .value = mae,
     .each = mae_of},
    {.name = "r2",
     .on = TB_TALLY_VALUES,
     .preset = true,
     .value = r2,
     .each = r2_of},
};

const tb_metric *const tb_metric_list[] = {
    &metrics[0], &metrics[1], &metrics[2],  &metrics[3],
    &metrics[4], &metrics[5], &metrics[6],  &metrics[7],
    &metrics[8], &metrics[9], &metrics[10], NULL,
};

_Static_assert(sizeof metrics / sizeof metrics[0] + 1 ==
                   sizeof tb_metric_list / sizeof tb_metric_list[0],
               "every metric stands in the list");

const tb_metric *tb_metric_find(const char *name)
{
    for (size_t i = 0; tb_metric_list[i] != NULL; i++) {
        if (strcmp(tb_metric_list[i]->name, name) == 0) {
            return tb_metric_list[i];
        }
    }
    return NULL;
}
