/* core/train/losses/softmax_cross_entropy.c - with p = softmax(out) of a row:
 * loss = -log p[label], d loss / d out = p - onehot(label). */
#include <string.h>

#include "tensor/kernels.h"
#include "train/loss_priv.h"

static tb_rc check(const tb_loss_batch *b, tb_err *err)
{
    const int32_t *label = b->y;
    for (size_t r = 0; r < b->n_rows; r++) {
        if (label[r] < 0 || (size_t)label[r] >= b->n_cols) {
            return tb_fail(err, TB_E_MISMATCH,
                           "label %d in row %zu of the batch: the model has "
                           "classes 0 to %zu",
                           (int)label[r], r, b->n_cols - 1);
        }
    }
    return TB_OK;
}

static size_t first_largest(const float *x, size_t n)
{
    size_t best = 0;
    for (size_t i = 1; i < n; i++) {
        best = x[i] > x[best] ? i : best;
    }
    return best;
}

static void run(const tb_loss_batch *b, tb_score *score)
{
    const int32_t *label = b->y;
    size_t n = b->n_rows * b->n_cols;
    float share = 1.0f / (float)b->n_rows;
    tb_k_log_softmax(b->grad, b->out, b->n_rows, b->n_cols);
    for (size_t r = 0; r < b->n_rows; r++) {
        size_t at = r * b->n_cols;
        size_t right = (size_t)label[r];
        score->loss_sum -= (double)b->grad[at + right];
        score->n_correct += first_largest(b->out + at, b->n_cols) == right;
    }
    score->n_rows += b->n_rows;
    tb_k_exp(b->grad, b->grad, n);
    tb_k_affine(b->grad, b->grad, n, share, 0.0f);
    for (size_t r = 0; r < b->n_rows; r++) {
        b->grad[r * b->n_cols + (size_t)label[r]] -= share;
    }
    memset(b->grad + n, 0, (b->n_padded * b->n_cols - n) * sizeof(float));
}

const tb_loss tb_loss_softmax_cross_entropy = {
    .name = "softmax_cross_entropy",
    .target = TB_TARGET_CLASS,
    .on_logits = true,
    .check = check,
    .run = run,
};
