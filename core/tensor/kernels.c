/* core/tensor/kernels.c - chooses the instruction set once; each function of
 * kernels.h then goes through its table. */
#include "tensor/kernels.h"

#include <stdatomic.h>

#include "tensor/kernels_priv.h"

static const tb_k_set *const sets[] = {
#ifdef TB_K_X86
    &tb_k_avx512,
    &tb_k_avx2,
#endif
    &tb_k_portable,
};

const tb_k_set *const *tb_k_sets(size_t *n)
{
    *n = sizeof sets / sizeof sets[0];
    return sets;
}

/* Two threads may both look; they find the same. */
const tb_k_set *tb_k_chosen(void)
{
    static const tb_k_set *_Atomic chosen;
    const tb_k_set *set = atomic_load_explicit(&chosen, memory_order_relaxed);
    if (set != NULL) {
        return set;
    }
    size_t i = 0;
    while (!sets[i]->usable()) {
        i++; /* the last one always is */
    }
    atomic_store_explicit(&chosen, sets[i], memory_order_relaxed);
    return sets[i];
}

const char *tb_k_isa(void)
{
    return tb_k_chosen()->name;
}

void tb_k_add(float *y, const float *a, const float *b, size_t n)
{
    tb_k_chosen()->arith[TB_K_ADD](y, a, 1, b, 1, n);
}

void tb_k_sub(float *y, const float *a, const float *b, size_t n)
{
    tb_k_chosen()->arith[TB_K_SUB](y, a, 1, b, 1, n);
}

void tb_k_mul(float *y, const float *a, const float *b, size_t n)
{
    tb_k_chosen()->arith[TB_K_MUL](y, a, 1, b, 1, n);
}

void tb_k_arith(tb_k_arith_op op, float *y, const float *a, size_t step_a,
                const float *b, size_t step_b, size_t n)
{
    tb_k_chosen()->arith[op](y, a, step_a, b, step_b, n);
}

void tb_k_map(tb_k_map_of f, float *y, const float *x, size_t n, float p,
              float q)
{
    tb_k_chosen()->map[f](y, x, n, p, q);
}

void tb_k_map_grad(tb_k_map_of f, float *dx, const float *x, const float *dy,
                   size_t n, float p, float q)
{
    tb_k_chosen()->map_grad[f](dx, x, dy, n, p, q);
}

void tb_k_clip(float *y, const float *x, size_t n, float low, float high)
{
    tb_k_chosen()->clip(y, x, n, low, high);
}

void tb_k_clip_grad(float *dx, const float *x, const float *dy, size_t n,
                    float low, float high)
{
    tb_k_chosen()->clip_grad(dx, x, dy, n, low, high);
}

void tb_k_affine(float *y, const float *x, size_t n, float alpha, float beta)
{
    tb_k_chosen()->affine(y, x, n, alpha, beta);
}

void tb_k_axpy(float *y, const float *x, size_t n, float alpha)
{
    tb_k_chosen()->axpy(y, x, n, alpha);
}

void tb_k_axpby(float *y, const float *x, size_t n, float alpha, float beta)
{
    tb_k_chosen()->axpby(y, x, n, alpha, beta);
}

void tb_k_add_row(float *y, const float *row, size_t n_rows, size_t n_cols)
{
    tb_k_chosen()->add_row(y, row, n_rows, n_cols);
}

void tb_k_sum_rows(float *row, const float *x, size_t n_rows, size_t n_cols,
                   float alpha, float beta)
{
    tb_k_chosen()->sum_rows(row, x, n_rows, n_cols, alpha, beta);
}

void tb_k_relu(float *y, const float *x, size_t n, float slope)
{
    tb_k_chosen()->relu(y, x, n, slope);
}

void tb_k_relu_grad(float *dx, const float *x, const float *dy, size_t n,
                    float slope)
{
    tb_k_chosen()->relu_grad(dx, x, dy, n, slope);
}

void tb_k_exp(float *y, const float *x, size_t n)
{
    tb_k_chosen()->map[TB_K_EXP](y, x, n, 0.0f, 0.0f);
}

void tb_k_sigmoid(float *y, const float *x, size_t n)
{
    tb_k_chosen()->map[TB_K_SIGMOID](y, x, n, 0.0f, 0.0f);
}

void tb_k_tanh(float *y, const float *x, size_t n)
{
    tb_k_chosen()->map[TB_K_TANH](y, x, n, 0.0f, 0.0f);
}

void tb_k_sigmoid_grad(float *dx, const float *y, const float *dy, size_t n)
{
    tb_k_chosen()->sigmoid_grad(dx, y, dy, n);
}

void tb_k_tanh_grad(float *dx, const float *y, const float *dy, size_t n)
{
    tb_k_chosen()->tanh_grad(dx, y, dy, n);
}

float tb_k_sum(const float *x, size_t n)
{
    return tb_k_chosen()->sum(x, n);
}

float tb_k_dot(const float *a, const float *b, size_t n)
{
    return tb_k_chosen()->dot(a, b, n);
}

void tb_k_softmax(float *y, const float *x, size_t n_rows, size_t n_cols)
{
    tb_k_chosen()->softmax(y, x, n_rows, n_cols);
}

void tb_k_log_softmax(float *y, const float *x, size_t n_rows, size_t n_cols)
{
    tb_k_chosen()->log_softmax(y, x, n_rows, n_cols);
}

void tb_k_softmax_cols(float *y, const float *x, size_t n_rows, size_t n_cols)
{
    tb_k_chosen()->softmax_cols(y, x, n_rows, n_cols);
}

void tb_k_log_softmax_cols(float *y, const float *x, size_t n_rows,
                           size_t n_cols)
{
    tb_k_chosen()->log_softmax_cols(y, x, n_rows, n_cols);
}

void tb_k_softmax_grad(float *dx, const float *dy, const float *y,
                       size_t n_rows, size_t n_cols)
{
    tb_k_chosen()->softmax_grad(dx, dy, y, n_rows, n_cols);
}

void tb_k_log_softmax_grad(float *dx, const float *dy, const float *y,
                           size_t n_rows, size_t n_cols)
{
    tb_k_chosen()->log_softmax_grad(dx, dy, y, n_rows, n_cols);
}

void tb_k_softmax_grad_cols(float *dx, const float *dy, const float *y,
                            size_t n_rows, size_t n_cols)
{
    tb_k_chosen()->softmax_grad_cols(dx, dy, y, n_rows, n_cols);
}

void tb_k_log_softmax_grad_cols(float *dx, const float *dy, const float *y,
                                size_t n_rows, size_t n_cols)
{
    tb_k_chosen()->log_softmax_grad_cols(dx, dy, y, n_rows, n_cols);
}

void tb_k_from_u8(float *y, const uint8_t *x, size_t n)
{
    tb_k_chosen()->from_u8(y, x, n);
}

void tb_k_moments(double out[2], const float *x, const tb_k_span *span)
{
    tb_k_chosen()->moments(out, x, span);
}

void tb_k_grad_sums(double out[2], const float *dy, const float *x,
                    const tb_k_span *span, float mean)
{
    tb_k_chosen()->grad_sums(out, dy, x, span, mean);
}

void tb_k_line_of(float *y, const float *x, const tb_k_span *span,
                  const tb_k_line *l)
{
    tb_k_chosen()->line_of(y, x, span, l);
}

void tb_k_plane_of(float *dx, const float *dy, const float *x,
                   const tb_k_span *span, const tb_k_plane *c)
{
    tb_k_chosen()->plane_of(dx, dy, x, span, c);
}

void tb_k_row_line(float *y, const float *x, const float *scale,
                   const float *bias, size_t n, const tb_k_line *l)
{
    tb_k_chosen()->row_line(y, x, scale, bias, n, l);
}

void tb_k_row_grad_sums(double out[2], const float *dy, const float *x,
                        const float *scale, size_t n, float mean)
{
    tb_k_chosen()->row_grad_sums(out, dy, x, scale, n, mean);
}

void tb_k_row_plane(float *dx, const float *dy, const float *x,
                    const float *scale, size_t n, const tb_k_plane *c)
{
    tb_k_chosen()->row_plane(dx, dy, x, scale, n, c);
}

void tb_k_row_params(float *dscale, float *dbias, const float *dy,
                     const float *x, size_t n, const tb_k_line *l)
{
    tb_k_chosen()->row_params(dscale, dbias, dy, x, n, l);
}

void tb_k_col_moments(float *mean, float *variance, const float *x,
                      size_t n_rows, size_t n_cols)
{
    tb_k_chosen()->col_moments(mean, variance, x, n_rows, n_cols);
}

void tb_k_col_grad_sums(float *sums, const float *dy, const float *x,
                        const float *mean, size_t n_rows, size_t n_cols)
{
    tb_k_chosen()->col_grad_sums(sums, dy, x, mean, n_rows, n_cols);
}

void tb_k_col_line(float *y, const float *x, const float *lines, size_t n_rows,
                   size_t n_cols)
{
    tb_k_chosen()->col_line(y, x, lines, n_rows, n_cols);
}

void tb_k_col_plane(float *dx, const float *dy, const float *x,
                    const float *planes, size_t n_rows, size_t n_cols)
{
    tb_k_chosen()->col_plane(dx, dy, x, planes, n_rows, n_cols);
}

void tb_k_dropped(float *y, const float *x, size_t n, const tb_k_drop *drop)
{
    tb_k_chosen()->drop(y, x, n, drop);
}

void tb_k_drop_mask(uint8_t *mask, size_t n, const tb_k_drop *drop)
{
    tb_k_chosen()->drop_mask(mask, n, drop);
}
