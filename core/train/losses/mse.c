/* core/train/losses/mse.c - d = out - y of a row of n: loss = sum d^2 / n,
 * d loss / d out = 2 d / n. */
#include <string.h>

#include "tensor/kernels.h"
#include "train/loss_priv.h"

static tb_rc check(const tb_loss_batch *b, tb_err *err)
{
    (void)b; /* any number is a target */
    (void)err;
    return TB_OK;
}

static void run(const tb_loss_batch *b, tb_score *score)
{
    size_t n = b->n_rows * b->n_cols;
    tb_k_sub(b->grad, b->out, b->y, n);
    score->loss_sum +=
        (double)tb_k_dot(b->grad, b->grad, n) / (double)b->n_cols;
    score->n_rows += b->n_rows;
    tb_k_affine(b->grad, b->grad, n, 2.0f / (float)n, 0.0f);
    memset(b->grad + n, 0, (b->n_padded * b->n_cols - n) * sizeof(float));
}

const tb_loss tb_loss_mse = {
    .name = "mse",
    .target = TB_TARGET_VALUE,
    .on_logits = false,
    .check = check,
    .run = run,
};
