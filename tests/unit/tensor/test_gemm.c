/* The product against three plain loops in double, in every set of
 * instructions that this CPU has. */
#include <math.h>

#include "base/mem.h"
#include "base/stream.h"
#include "support/check.h"
#include "tensor/gemm_priv.h"
#include "tensor/kernels_priv.h"

#include <string.h>

/* Edges of the tiles (6, 12 rows; 8, 16, 32 columns), of the chunk (512), and
 * the layers of the demo. */
static const size_t cases[][3] = {
    {1, 1, 1},      {1, 1, 0},     {2, 3, 4},     {5, 7, 11},    {12, 32, 8},
    {13, 33, 9},    {11, 31, 7},   {6, 16, 512},  {7, 17, 513},  {3, 40, 1030},
    {64, 64, 64},   {10, 20, 100}, {100, 20, 10}, {32, 10, 200}, {32, 200, 784},
    {200, 70, 32},  {1, 200, 784}, {60, 90, 50},  {9, 8, 1024},  {4, 15, 3},
    {32, 200, 200}, {24, 1, 1},    {1, 48, 600},  {256, 10, 30},
};

enum { N_CASES = sizeof cases / sizeof cases[0] };

typedef struct kernel {
    const char *name;
    tb_gemm_fn *run;
} kernel;

static size_t usable_kernels(kernel out[3])
{
    size_t n = 0;
    out[n++] = (kernel){"cblas", tb_gemm_cblas};
    size_t n_sets = 0;
    const tb_k_set *const *sets = tb_k_sets(&n_sets);
    for (size_t i = 0; i < n_sets; i++) {
        bool usable = sets[i]->usable();
        if (usable && strcmp(sets[i]->name, "avx512") == 0) {
            out[n++] = (kernel){"avx512", tb_gemm_avx512};
        }
        if (usable && strcmp(sets[i]->name, "avx2") == 0) {
            out[n++] = (kernel){"avx2", tb_gemm_avx2};
        }
    }
    return n;
}

/* n uniform floats in [-1, 1), in memory of exactly that size. */
static float *random_floats(size_t n, uint64_t seed)
{
    tb_stream s;
    tb_stream_init(&s, seed, 0, "test", "");
    float *x = tb_mem_array(n, sizeof *x);
    CHECK(x != NULL);
    for (size_t i = 0; i < n; i++) {
        x[i] = (float)(2.0 * tb_stream_uniform(&s) - 1.0);
    }
    return x;
}

static void check_product(tb_gemm_fn *run, const tb_gemm_shape *s, float alpha,
                          float beta)
{
    float *a = random_floats((s->trans_a ? s->k : s->m) * s->a_step, 1);
    float *b = random_floats((s->trans_b ? s->n : s->k) * s->b_step, 2);
    float *c = random_floats(s->m * s->c_step, 3);
    float *want = random_floats(s->m * s->c_step, 3);
    run(s, alpha, a, b, beta, c);
    tb_gemm_naive(s, alpha, a, b, beta, want);
    float most = 1e-6f * (float)(s->k + 2);
    for (size_t i = 0; i < s->m * s->c_step; i++) {
        CHECK(fabsf(c[i] - want[i]) <= most);
    }
    tb_mem_free(a);
    tb_mem_free(b);
    tb_mem_free(c);
    tb_mem_free(want);
}

static void every_kernel_agrees_with_plain_loops(void **state)
{
    (void)state;
    static const float factors[][2] = {
        {1.0f, 0.0f}, {1.0f, 1.0f}, {-0.25f, 0.5f}, {0.5f, 0.0f}};
    kernel kernels[3];
    size_t n = usable_kernels(kernels);
    for (size_t i = 0; i < N_CASES * n * 4; i++) {
        const size_t *c = cases[i % N_CASES];
        const kernel *k = &kernels[i / N_CASES % n];
        bool ta = (i / N_CASES / n & 1) != 0;
        bool tb = (i / N_CASES / n & 2) != 0;
        tb_gemm_shape dense = tb_gemm_dense(ta, tb, c[0], c[1], c[2]);
        tb_gemm_shape gaps = dense;
        gaps.a_step += 3;
        gaps.b_step += 1;
        gaps.c_step += 2;
        for (size_t f = 0; f < 4; f++) {
            check_product(k->run, f % 2 == 0 ? &dense : &gaps, factors[f][0],
                          factors[f][1]);
        }
    }
}

static void what_c_held_does_not_matter_when_beta_is_zero(void **state)
{
    (void)state;
    kernel kernels[3];
    size_t n = usable_kernels(kernels);
    tb_gemm_shape s = tb_gemm_dense(false, true, 3, 5, 2);
    for (size_t i = 0; i < n; i++) {
        float a[6] = {1, 2, 3, 4, 5, 6};
        float b[10] = {1, 0, 0, 1, 1, 1, 2, 0, 0, 2};
        float c[15];
        memset(c, 0xff, sizeof c); /* NaN */
        kernels[i].run(&s, 1.0f, a, b, 0.0f, c);
        const float want[15] = {1, 2, 3, 2, 4, 3, 4, 7, 6, 8, 5, 6, 11, 10, 12};
        CHECK(memcmp(c, want, sizeof c) == 0);
    }
}

/* The promise of gemm.h for our own kernels. */
static void bits_depend_on_neither_kernel_nor_neighbouring_rows(void **state)
{
    (void)state;
    kernel kernels[3];
    size_t n = usable_kernels(kernels);
    for (size_t i = 0; i < N_CASES && n == 3; i++) {
        const size_t *d = cases[i];
        tb_gemm_shape s = tb_gemm_dense(false, true, d[0], d[1], d[2]);
        float *a = random_floats(d[0] * d[2], 4);
        float *b = random_floats(d[1] * d[2], 5);
        float *c = random_floats(d[0] * d[1], 6);
        float *e = random_floats(d[0] * d[1], 6);
        kernels[1].run(&s, 0.3f, a, b, 0.7f, c);
        kernels[2].run(&s, 0.3f, a, b, 0.7f, e);
        CHECK(memcmp(c, e, d[0] * d[1] * sizeof *c) == 0);
        float *row = random_floats(d[0] * d[1], 6);
        s.m = 1; /* the last row alone */
        kernels[1].run(&s, 0.3f, a + (d[0] - 1) * d[2], b, 0.7f,
                       row + (d[0] - 1) * d[1]);
        CHECK(memcmp(row + (d[0] - 1) * d[1], c + (d[0] - 1) * d[1],
                     d[1] * sizeof *c) == 0);
        tb_mem_free(a);
        tb_mem_free(b);
        tb_mem_free(c);
        tb_mem_free(e);
        tb_mem_free(row);
    }
}

static void a_product_of_nothing_does_nothing(void **state)
{
    (void)state;
    float c[2] = {1, 2};
    tb_gemm_shape s = tb_gemm_dense(false, false, 0, 2, 3);
    tb_gemm(&s, 1.0f, c, c, 0.0f, c);
    CHECK(c[0] == 1.0f && c[1] == 2.0f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_kernel_agrees_with_plain_loops),
        cmocka_unit_test(what_c_held_does_not_matter_when_beta_is_zero),
        cmocka_unit_test(bits_depend_on_neither_kernel_nor_neighbouring_rows),
        cmocka_unit_test(a_product_of_nothing_does_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
