/* core/train/losses/softmax_cross_entropy.c - with p = softmax(out) over C
 * classes, y the label, w the class weights and e the label smoothing:
 * loss = -(1 - e) w[y] log p[y] - e / C sum over c of w[c] log p[c],
 * d loss / d out[c] = p[c] ((1 - e) w[y] + e / C sum w)
 *                     - (1 - e) w[y] [c = y] - e / C w[c];
 * it counts as w[y]; a label that is ignored counts as nothing. */
#include <math.h>

#include "tensor/kernels.h"
#include "train/loss_priv.h"

static const char *const over[] = {"Softmax", "LogSoftmax", NULL};

/* Where the classes of label i of the batch lie: from at on, step apart. */
typedef struct place {
    size_t at;
    size_t step;
} place;

static size_t labels_of(const tb_loss_layout *l)
{
    return l->n_labels > 0 ? l->n_labels : 1;
}

static place place_of(const tb_loss_layout *l, size_t i)
{
    size_t n_labels = labels_of(l);
    if (!l->class_first) {
        return (place){.at = i * l->n_cols, .step = 1};
    }
    return (place){.at = i / n_labels * n_labels * l->n_cols + i % n_labels,
                   .step = n_labels};
}

static bool counts(const tb_loss_options *o, int32_t label)
{
    return !o->ignores || label != o->ignore;
}

static tb_rc check(const tb_loss_batch *b, tb_err *err)
{
    const int32_t *label = b->y;
    size_t n_labels = labels_of(&b->layout);
    const tb_loss_options *o = tb_loss_options_of(b);
    for (size_t i = 0; i < b->n_rows * n_labels; i++) {
        bool fits = label[i] >= 0 && (size_t)label[i] < b->layout.n_cols;
        if (!fits && counts(o, label[i])) {
            return tb_fail(err, TB_E_MISMATCH,
                           "label %d in row %zu of the batch: the model has "
                           "classes 0 to %zu",
                           (int)label[i], i / n_labels, b->layout.n_cols - 1);
        }
    }
    return TB_OK;
}

static double weight_of(const tb_loss_options *o, size_t c)
{
    return o->class_weight != NULL ? (double)o->class_weight[c] : 1.0;
}

static double weigh(const tb_loss_batch *b)
{
    const int32_t *label = b->y;
    const tb_loss_options *o = tb_loss_options_of(b);
    double sum = 0.0;
    for (size_t i = 0; i < b->n_rows * labels_of(&b->layout); i++) {
        sum += counts(o, label[i]) ? weight_of(o, (size_t)label[i]) : 0.0;
    }
    return sum;
}

static void log_softmax_apart(float *y, const float *x, size_t n, place p)
{
    float top = x[p.at];
    double sum = 0.0;
    for (size_t c = 1; c < n; c++) {
        float v = x[p.at + c * p.step];
        top = v > top ? v : top;
    }
    for (size_t c = 0; c < n; c++) {
        sum += exp((double)x[p.at + c * p.step] - (double)top);
    }
    double log_sum = (double)top + log(sum);
    for (size_t c = 0; c < n; c++) {
        size_t i = p.at + c * p.step;
        y[i] = (float)((double)x[i] - log_sum);
    }
}

static void log_softmax(const tb_loss_batch *b, size_t n_labels)
{
    const tb_loss_layout *l = &b->layout;
    if (!l->class_first) {
        tb_k_log_softmax(b->grad, b->out, n_labels, l->n_cols);
        return;
    }
    for (size_t i = 0; i < n_labels; i++) {
        log_softmax_apart(b->grad, b->out, l->n_cols, place_of(l, i));
    }
}

static size_t first_largest(const float *x, size_t n, place p)
{
    size_t best = 0;
    for (size_t c = 1; c < n; c++) {
        best = x[p.at + c * p.step] > x[p.at + best * p.step] ? c : best;
    }
    return best;
}

/* Adds label i, whose log-softmax stands in grad. */
static void add(const tb_loss_batch *b, size_t i, tb_score *score)
{
    const tb_loss_options *o = tb_loss_options_of(b);
    size_t n_cols = b->layout.n_cols;
    size_t right = (size_t)((const int32_t *)b->y)[i];
    place p = place_of(&b->layout, i);
    double loss = -(double)b->grad[p.at + right * p.step] *
                  weight_of(o, right) * (1.0 - o->smoothing);
    if (o->smoothing > 0.0) {
        double all = 0.0;
        for (size_t c = 0; c < n_cols; c++) {
            all += weight_of(o, c) * (double)b->grad[p.at + c * p.step];
        }
        loss -= o->smoothing / (double)n_cols * all;
    }
    score->loss_sum += loss;
    score->weight += weight_of(o, right);
    score->n_counted++;
    score->n_correct += first_largest(b->out, n_cols, p) == right;
}

/* From p in grad to the gradient of label i, times share. */
static void turn(const tb_loss_batch *b, size_t i, double share)
{
    const tb_loss_options *o = tb_loss_options_of(b);
    int32_t label = ((const int32_t *)b->y)[i];
    size_t n_cols = b->layout.n_cols;
    place p = place_of(&b->layout, i);
    if (!counts(o, label)) {
        for (size_t c = 0; c < n_cols; c++) {
            b->grad[p.at + c * p.step] = 0.0f;
        }
        return;
    }
    double even = o->smoothing / (double)n_cols;
    double own = (1.0 - o->smoothing) * weight_of(o, (size_t)label);
    double all = own;
    for (size_t c = 0; even > 0.0 && c < n_cols; c++) {
        all += even * weight_of(o, c);
    }
    for (size_t c = 0; c < n_cols; c++) {
        float *g = &b->grad[p.at + c * p.step];
        double target =
            even * weight_of(o, c) + (c == (size_t)label ? own : 0.0);
        *g = (float)(share * ((double)*g * all - target));
    }
}

/* One label a row, or classes side by side, and every label counts as one. */
static void turn_plain(const tb_loss_batch *b, size_t n_labels, float share)
{
    const int32_t *label = b->y;
    tb_k_affine(b->grad, b->grad, n_labels * b->layout.n_cols, share, 0.0f);
    for (size_t i = 0; i < n_labels; i++) {
        b->grad[i * b->layout.n_cols + (size_t)label[i]] -= share;
    }
}

static void run(const tb_loss_batch *b, tb_score *score)
{
    const tb_loss_options *o = tb_loss_options_of(b);
    const int32_t *label = b->y;
    size_t row = labels_of(&b->layout);
    size_t n_labels = b->n_rows * row;
    double weight = tb_loss_weight(&tb_loss_softmax_cross_entropy, b);
    bool plain = o->smoothing == 0.0 && o->class_weight == NULL &&
                 !o->ignores && !b->layout.class_first;
    log_softmax(b, n_labels);
    for (size_t i = 0; i < n_labels; i++) {
        if (counts(o, label[i])) {
            add(b, i, score);
        }
    }
    score->n_rows += b->n_rows;
    tb_k_exp(b->grad, b->grad, n_labels * b->layout.n_cols);
    if (plain) {
        turn_plain(b, n_labels, 1.0f / (float)weight);
    } else { /* without weight nothing counts, and all becomes 0 */
        for (size_t i = 0; i < n_labels; i++) {
            turn(b, i, weight > 0.0 ? 1.0 / weight : 0.0);
        }
    }
    tb_loss_clear_padding(b, row * b->layout.n_cols);
}

const tb_loss tb_loss_softmax_cross_entropy = {
    .name = "softmax_cross_entropy",
    .target = TB_TARGET_CLASS,
    .over = over,
    .check = check,
    .weigh = weigh,
    .run = run,
};
