/* core/train/losses/l1.c - d = out - y of a row of n: loss = sum |d| / n,
 * d loss / d out = sign(d) / n; 0 where d is 0. */
#include <math.h>

#include "train/loss_priv.h"

static void run(const tb_loss_batch *b, tb_score *score)
{
    const float *y = b->y;
    size_t n_cols = b->layout.n_cols;
    double weight = tb_loss_weight(&tb_loss_l1, b) * (double)n_cols;
    float share = 1.0f / (float)weight;
    for (size_t r = 0; r < b->n_rows; r++) {
        double sum = 0.0;
        for (size_t i = r * n_cols; i < (r + 1) * n_cols; i++) {
            float d = b->out[i] - y[i];
            sum += (double)fabsf(d);
            b->grad[i] = d > 0.0f ? share : d < 0.0f ? -share : 0.0f * d;
        }
        score->loss_sum += sum / (double)n_cols;
    }
    score->weight += (double)b->n_rows;
    score->n_rows += b->n_rows;
    tb_loss_clear_padding(b, n_cols);
}

const tb_loss tb_loss_l1 = {
    .name = "l1",
    .target = TB_TARGET_VALUE,
    .check = tb_loss_check_values,
    .weigh = tb_loss_weigh_rows,
    .run = run,
};
