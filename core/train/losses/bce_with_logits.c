/* core/train/losses/bce_with_logits.c - with s = sigmoid(out), y in [0, 1] and
 * p the weight of positive targets, of a row of n columns:
 * loss = -sum(p y log s + (1 - y) log(1 - s)) / n, computed as
 * (1 - y) x + (1 + (p - 1) y) log(1 + exp(-x)), where that log is
 * log1p(exp(-|x|)) + max(-x, 0); d loss / d x = (1 - y) - (1 + (p - 1) y)
 * (1 - s), all over n. An answer is right when out > 0 says what y says. */
#include <math.h>

#include "train/loss_priv.h"

static const char *const over[] = {"Sigmoid", NULL};

static tb_rc check(const tb_loss_batch *b, tb_err *err)
{
    const float *y = b->y;
    for (size_t i = 0; i < b->n_rows * b->layout.n_cols; i++) {
        if (!(y[i] >= 0.0f && y[i] <= 1.0f)) {
            return tb_fail(err, TB_E_MISMATCH,
                           "target %g in row %zu of the batch: "
                           "bce_with_logits wants values from 0 to 1",
                           (double)y[i], i / b->layout.n_cols);
        }
    }
    return TB_OK;
}

static void run(const tb_loss_batch *b, tb_score *score)
{
    const float *y = b->y;
    const tb_loss_options *o = tb_loss_options_of(b);
    size_t n_cols = b->layout.n_cols;
    double weight =
        tb_loss_weight(&tb_loss_bce_with_logits, b) * (double)n_cols;
    for (size_t r = 0; r < b->n_rows; r++) {
        double sum = 0.0;
        for (size_t c = 0; c < n_cols; c++) {
            size_t i = r * n_cols + c;
            double x = (double)b->out[i];
            double t = (double)y[i];
            double p = o->pos_weight == NULL
                           ? 1.0
                           : (double)o->pos_weight[o->n_pos_weight > 1 ? c : 0];
            double both = 1.0 + (p - 1.0) * t;
            double small = exp(-fabs(x)); /* never overflows */
            double not_s =
                x > 0.0 ? small / (1.0 + small) : 1.0 / (1.0 + small);
            sum += (1.0 - t) * x + both * (log1p(small) + fmax(-x, 0.0));
            b->grad[i] = (float)(((1.0 - t) - both * not_s) / weight);
            score->n_correct += (x > 0.0) == (t > 0.5);
        }
        score->loss_sum += sum / (double)n_cols;
    }
    score->weight += (double)b->n_rows;
    score->n_counted += b->n_rows * n_cols;
    score->n_rows += b->n_rows;
    tb_loss_clear_padding(b, n_cols);
}

const tb_loss tb_loss_bce_with_logits = {
    .name = "bce_with_logits",
    .target = TB_TARGET_VALUE,
    .binary = true,
    .over = over,
    .check = check,
    .weigh = tb_loss_weigh_rows,
    .run = run,
};
