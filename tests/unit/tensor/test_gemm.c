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
    {1, 1, 1},       {1, 1, 0},     {2, 3, 4},      {5, 7, 11},
    {12, 32, 8},     {13, 33, 9},   {11, 31, 7},    {6, 16, 512},
    {7, 17, 513},    {3, 40, 1030}, {64, 64, 64},   {10, 20, 100},
    {100, 20, 10},   {32, 10, 200}, {32, 200, 784}, {200, 70, 32},
    {1, 200, 784},   {60, 90, 50},  {9, 8, 1024},   {4, 15, 3},
    {32, 200, 200},  {24, 1, 1},    {1, 48, 600},   {256, 10, 30},
    {10, 19, 384},   {5, 25, 1537}, {30, 3, 400},   {261, 130, 70},
    {14, 131, 1024},
};

enum { N_CASES = sizeof cases / sizeof cases[0] };

typedef struct kernel {
    const char *name;
    tb_gemm_fn *run;
} kernel;

static size_t usable_kernels(kernel out[4])
{
    size_t n = 0;
    out[n++] = (kernel){"cblas", tb_gemm_cblas};
    size_t n_sets = 0;
    const tb_k_set *const *sets = tb_k_sets(&n_sets);
    for (size_t i = 0; i < n_sets; i++) {
        bool usable = sets[i]->usable();
        if (usable && strcmp(sets[i]->name, "avx512") == 0) {
            out[n++] = (kernel){"avx512", tb_gemm_avx512};
            out[n++] = (kernel){"narrow", tb_gemm_avx512_narrow};
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

/* Without a tail. */
static void run_kernel(tb_gemm_fn *run, const tb_gemm_shape *s,
                       const float factor[2], const float *a, const float *b,
                       float *c)
{
    const tb_gemm_tail none = {.from = c, .from_row = s->c_step, .from_col = 1};
    run(s, factor[0], a, b, factor[1], c, &none);
}

static void check_product(tb_gemm_fn *run, const tb_gemm_shape *s, float alpha,
                          float beta)
{
    float *a = random_floats((s->trans_a ? s->k : s->m) * s->a_step, 1);
    float *b = random_floats((s->trans_b ? s->n : s->k) * s->b_step, 2);
    float *c = random_floats(s->m * s->c_step, 3);
    float *want = random_floats(s->m * s->c_step, 3);
    run_kernel(run, s, (float[]){alpha, beta}, a, b, c);
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
    kernel kernels[4];
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
    kernel kernels[4];
    size_t n = usable_kernels(kernels);
    tb_gemm_shape s = tb_gemm_dense(false, true, 3, 5, 2);
    for (size_t i = 0; i < n; i++) {
        float a[6] = {1, 2, 3, 4, 5, 6};
        float b[10] = {1, 0, 0, 1, 1, 1, 2, 0, 0, 2};
        float c[15];
        memset(c, 0xff, sizeof c); /* NaN */
        run_kernel(kernels[i].run, &s, (float[]){1.0f, 0.0f}, a, b, c);
        const float want[15] = {1, 2, 3, 2, 4, 3, 4, 7, 6, 8, 5, 6, 11, 10, 12};
        CHECK(memcmp(c, want, sizeof c) == 0);
    }
}

/* The promise of gemm.h for our own kernels. */
static void bits_depend_on_neither_kernel_nor_neighbouring_rows(void **state)
{
    (void)state;
    kernel kernels[4];
    size_t n = usable_kernels(kernels);
    for (size_t i = 0; i < N_CASES && n == 4; i++) {
        const size_t *d = cases[i];
        tb_gemm_shape s = tb_gemm_dense(false, true, d[0], d[1], d[2]);
        float *a = random_floats(d[0] * d[2], 4);
        float *b = random_floats(d[1] * d[2], 5);
        float *c = random_floats(d[0] * d[1], 6);
        float *e = random_floats(d[0] * d[1], 6);
        run_kernel(kernels[1].run, &s, (float[]){0.3f, 0.7f}, a, b, c);
        run_kernel(kernels[3].run, &s, (float[]){0.3f, 0.7f}, a, b, e);
        CHECK(memcmp(c, e, d[0] * d[1] * sizeof *c) == 0);
        if (d[2] < TB_GEMM_DOT) { /* it takes no others of this kind */
            float *o = random_floats(d[0] * d[1], 6);
            run_kernel(kernels[2].run, &s, (float[]){0.3f, 0.7f}, a, b, o);
            CHECK(memcmp(c, o, d[0] * d[1] * sizeof *c) == 0);
            tb_mem_free(o);
        }
        float *row = random_floats(d[0] * d[1], 6);
        s.m = 1; /* the last row alone */
        run_kernel(kernels[1].run, &s, (float[]){0.3f, 0.7f},
                   a + (d[0] - 1) * d[2], b, row + (d[0] - 1) * d[1]);
        CHECK(memcmp(row + (d[0] - 1) * d[1], c + (d[0] - 1) * d[1],
                     d[1] * sizeof *c) == 0);
        tb_mem_free(a);
        tb_mem_free(b);
        tb_mem_free(c);
        tb_mem_free(e);
        tb_mem_free(row);
    }
}

/* What a tail promises: the bits of the product alone, then the loops. */
static void check_tail(tb_gemm_fn *run, const size_t *d, bool tb, size_t kind)
{
    tb_gemm_shape s = tb_gemm_dense(false, tb, d[0], d[1], d[2]);
    size_t n = d[0] * d[1];
    float *a = random_floats(d[0] * d[2], 7);
    float *b = random_floats(d[1] * d[2], 8);
    float *bias = random_floats(d[0] + d[1], 9);
    float *gate = random_floats(n, 10);
    float *c = random_floats(n, 11);
    float *want = random_floats(n, 12);
    tb_gemm_tail tail = {.from = bias,
                         .from_row = kind == 1,
                         .from_col = kind != 1,
                         .relu = kind == 0,
                         .gate = kind > 0 ? gate : NULL};
    for (size_t i = 0; i < n; i++) {
        want[i] = bias[kind == 1 ? i / d[1] : i % d[1]];
    }
    run_kernel(run, &s, (float[]){0.5f, 0.75f}, a, b, want);
    for (size_t i = 0; i < n; i++) {
        want[i] = kind == 0 ? (want[i] <= 0.0f ? 0.0f : want[i])
                            : (gate[i] > 0.0f ? want[i] : 0.0f * want[i]);
    }
    run(&s, 0.5f, a, b, 0.75f, c, &tail);
    CHECK(memcmp(c, want, n * sizeof *c) == 0);
    tb_mem_free(a);
    tb_mem_free(b);
    tb_mem_free(bias);
    tb_mem_free(gate);
    tb_mem_free(c);
    tb_mem_free(want);
}

static void a_tail_changes_no_bit_of_the_product(void **state)
{
    (void)state;
    kernel kernels[4];
    size_t n = usable_kernels(kernels);
    for (size_t i = 0; i < N_CASES; i++) {
        for (size_t k = 0; k < n * 6; k++) {
            check_tail(kernels[k % n].run, cases[i], k / n % 2 != 0, k / n / 2);
        }
    }
}

static void a_packed_operand_gives_the_same_sums(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_CASES; i++) {
        const size_t *d = cases[i];
        tb_gemm_shape s = tb_gemm_dense(false, false, d[0], d[1], d[2]);
        float *a = random_floats(d[0] * d[2], 1);
        float *b = random_floats(d[1] * d[2], 2);
        float *turned = random_floats(d[1] * d[2], 3);
        float *c = random_floats(d[0] * d[1], 4);
        float *want = random_floats(d[0] * d[1], 4);
        float *panels =
            tb_mem_array(tb_gemm_panel_floats(d[1], d[2]), sizeof *panels);
        for (size_t p = 0; p < d[2]; p++) {
            for (size_t j = 0; j < d[1]; j++) {
                turned[j * d[2] + p] = b[p * d[1] + j];
            }
        }
        tb_gemm_naive(&s, 2.0f, a, b, 0.5f, want);
        for (size_t t = 0; t < 2; t++) {
            float *e = random_floats(d[0] * d[1], 4);
            tb_gemm_pack(panels, t != 0, d[1], d[2], t != 0 ? turned : b,
                         t != 0 ? d[2] : d[1]);
            tb_gemm_packed(&s, 2.0f, a, panels, 0.5f, e);
            for (size_t k = 0; k < d[0] * d[1]; k++) {
                CHECK(fabsf(e[k] - want[k]) <= 2e-6f * (float)(d[2] + 2));
                CHECK(t == 0 || memcmp(&e[k], &c[k], sizeof *e) == 0);
                c[k] = e[k];
            }
            tb_mem_free(e);
        }
        tb_mem_free(a);
        tb_mem_free(b);
        tb_mem_free(c);
        tb_mem_free(turned);
        tb_mem_free(panels);
        tb_mem_free(want);
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
        cmocka_unit_test(a_tail_changes_no_bit_of_the_product),
        cmocka_unit_test(a_packed_operand_gives_the_same_sums),
        cmocka_unit_test(a_product_of_nothing_does_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
