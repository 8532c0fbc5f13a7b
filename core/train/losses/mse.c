/* core/train/losses/mse.c - d = out - y of a row of n: loss = sum d^2 / n,
 * d loss / d out = 2 d / n. */
#include "tensor/kernels.h"
#include "train/loss_priv.h"

static void run(const tb_loss_batch *b, tb_score *score)
{
    size_t n_cols = b->layout.n_cols;
    size_t n = b->n_rows * n_cols;
    double weight = tb_loss_weight(&tb_loss_mse, b) * (double)n_cols;
    tb_k_sub(b->grad, b->out, b->y, n);
    score->loss_sum += (double)tb_k_dot(b->grad, b->grad, n) / (double)n_cols;
    score->weight += (double)b->n_rows;
    score->n_rows += b->n_rows;
    tb_k_affine(b->grad, b->grad, n, 2.0f / (float)weight, 0.0f);
    tb_loss_clear_padding(b, n_cols);
}

const tb_loss tb_loss_mse = {
    .name = "mse",
    .target = TB_TARGET_VALUE,
    .check = tb_loss_check_values,
    .weigh = tb_loss_weigh_rows,
    .run = run,
};
