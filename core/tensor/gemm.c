/* core/tensor/gemm.c - chooses who multiplies: our own kernels where the CPU
 * has AVX2 and FMA or AVX-512, else CBLAS. */
#include "tensor/gemm.h"

#include <assert.h>
#include <limits.h>
#include <pthread.h>

#include <cblas.h>

#include "tensor/gemm_priv.h"
#include "tensor/kernels.h"
#include "tensor/kernels_priv.h"

static void one_thread(void)
{
    openblas_set_num_threads(1);
}

static blasint blas_int(size_t n)
{
    assert(n <= INT_MAX);
    return (blasint)n;
}

tb_gemm_shape tb_gemm_dense(bool trans_a, bool trans_b, size_t m, size_t n,
                            size_t k)
{
    return (tb_gemm_shape){.trans_a = trans_a,
                           .trans_b = trans_b,
                           .m = m,
                           .n = n,
                           .k = k,
                           .a_step = trans_a ? m : k,
                           .b_step = trans_b ? k : n,
                           .c_step = n};
}

/* c = from; rows of from may be stretched. */
static void fill(const tb_gemm_shape *s, float *c, const tb_gemm_tail *tail)
{
    for (size_t i = 0; i < s->m; i++) {
        const float *from = tail->from + i * tail->from_row;
        float *to = c + i * s->c_step;
        for (size_t j = 0; j < s->n; j++) {
            to[j] = from[j * tail->from_col];
        }
    }
}

static void finish(const tb_gemm_shape *s, float *c, const tb_gemm_tail *tail)
{
    for (size_t i = 0; i < s->m; i++) {
        float *at = c + i * s->c_step;
        if (tail->relu) {
            tb_k_relu(at, at, s->n, 0.0f);
        }
        if (tail->gate != NULL) {
            tb_k_relu_grad(at, tail->gate + i * s->c_step, at, s->n, 0.0f);
        }
    }
}

void tb_gemm_cblas(const tb_gemm_shape *s, float alpha, const float *a,
                   const float *b, float beta, float *c,
                   const tb_gemm_tail *tail)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, one_thread);
    if (beta != 0.0f && tail->from != c) {
        fill(s, c, tail);
    }
    cblas_sgemm(CblasRowMajor, s->trans_a ? CblasTrans : CblasNoTrans,
                s->trans_b ? CblasTrans : CblasNoTrans, blas_int(s->m),
                blas_int(s->n), blas_int(s->k), alpha, a, blas_int(s->a_step),
                b, blas_int(s->b_step), beta, c, blas_int(s->c_step));
    finish(s, c, tail);
}

/* The kernels go with the instruction set of the loops. */
static tb_gemm_fn *choose(void)
{
#ifdef TB_K_X86
    const tb_k_set *set = tb_k_chosen();
    if (set == &tb_k_avx512) {
        return tb_gemm_avx512;
    }
    if (set == &tb_k_avx2) {
        return tb_gemm_avx2;
    }
#endif
    return tb_gemm_cblas;
}

void tb_gemm_with(const tb_gemm_shape *s, float alpha, const float *a,
                  const float *b, float beta, float *c,
                  const tb_gemm_tail *tail)
{
    tb_gemm_tail own = *tail;
    if (own.from == NULL) {
        own.from = c;
        own.from_row = s->c_step;
        own.from_col = 1;
    }
    if (s->m > 0 && s->n > 0) {
        choose()(s, alpha, a, b, beta, c, &own);
    }
}

void tb_gemm(const tb_gemm_shape *s, float alpha, const float *a,
             const float *b, float beta, float *c)
{
    tb_gemm_with(s, alpha, a, b, beta, c, &(tb_gemm_tail){0});
}

/* --- packed --------------------------------------------------------------- */

size_t tb_gemm_panel_floats(size_t n, size_t k)
{
    return (n + TB_GEMM_PANEL - 1) / TB_GEMM_PANEL * TB_GEMM_PANEL * k;
}

void tb_gemm_pack(float *panels, bool trans_b, size_t n, size_t k,
                  const float *b, size_t b_step)
{
    for (size_t j0 = 0; j0 < n; j0 += TB_GEMM_PANEL) {
        size_t left = n - j0;
        size_t cols = left < TB_GEMM_PANEL ? left : TB_GEMM_PANEL;
        float *out = panels + j0 * k;
        for (size_t p = 0; p < k; p++) {
            for (size_t j = 0; j < cols; j++) {
                out[p * TB_GEMM_PANEL + j] =
                    b[trans_b ? (j0 + j) * b_step + p : p * b_step + j0 + j];
            }
        }
    }
}

void tb_gemm_packed(const tb_gemm_shape *s, float alpha, const float *a,
                    const float *panels, float beta, float *c)
{
    tb_gemm_shape one = *s;
    one.trans_b = false;
    one.b_step = TB_GEMM_PANEL;
    for (size_t j = 0; j < s->n; j += TB_GEMM_PANEL) {
        one.n = s->n - j < TB_GEMM_PANEL ? s->n - j : TB_GEMM_PANEL;
        tb_gemm(&one, alpha, a, panels + j * s->k, beta, c + j);
    }
}

void tb_gemm_naive(const tb_gemm_shape *s, float alpha, const float *a,
                   const float *b, float beta, float *c)
{
    for (size_t i = 0; i < s->m; i++) {
        for (size_t j = 0; j < s->n; j++) {
            double sum = 0.0;
            for (size_t p = 0; p < s->k; p++) {
                size_t ia = s->trans_a ? p * s->a_step + i : i * s->a_step + p;
                size_t ib = s->trans_b ? j * s->b_step + p : p * s->b_step + j;
                sum += (double)a[ia] * (double)b[ib];
            }
            float *at = &c[i * s->c_step + j];
            float old = beta == 0.0f ? 0.0f : beta * *at;
            *at = (float)((double)alpha * sum + (double)old);
        }
    }
}
