/* core/train/losses/huber.c - d = out - y of a row of n (Huber 1964): loss =
 * sum h(d) / n with h = d^2 / 2 where |d| <= delta, else
 * delta (|d| - delta / 2); d loss / d out = min(max(d, -delta), delta) / n. */
#include <math.h>

#include "train/loss_priv.h"

static void run(const tb_loss_batch *b, tb_score *score)
{
    const float *y = b->y;
    const tb_loss_options *o = tb_loss_options_of(b);
    size_t n_cols = b->layout.n_cols;
    double weight = tb_loss_weight(&tb_loss_huber, b) * (double)n_cols;
    double delta = o->delta > 0.0 ? o->delta : 1.0;
    for (size_t r = 0; r < b->n_rows; r++) {
        double sum = 0.0;
        for (size_t i = r * n_cols; i < (r + 1) * n_cols; i++) {
            double d = (double)b->out[i] - (double)y[i];
            double size = fabs(d);
            bool inside = size <= delta;
            double slope = inside || isnan(d) ? d : copysign(delta, d);
            sum += inside ? 0.5 * d * d : delta * (size - 0.5 * delta);
            b->grad[i] = (float)(slope / weight);
        }
        score->loss_sum += sum / (double)n_cols;
    }
    score->weight += (double)b->n_rows;
    score->n_rows += b->n_rows;
    tb_loss_clear_padding(b, n_cols);
}

const tb_loss tb_loss_huber = {
    .name = "huber",
    .target = TB_TARGET_VALUE,
    .check = tb_loss_check_values,
    .weigh = tb_loss_weigh_rows,
    .run = run,
};
