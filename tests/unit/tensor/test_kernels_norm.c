/* The loops of normalisations against plain sums in double, and the sets of
 * instructions against each other, bit by bit. */
#include <math.h>
#include <string.h>

#include "base/stream.h"
#include "support/check.h"
#include "tensor/kernels.h"
#include "tensor/kernels_priv.h"

enum { N = 6000 };

static float x[N], dy[N], y[N];

static int setup(void **state)
{
    tb_stream s;
    (void)state;
    tb_stream_init(&s, 5, 0, "test", "");
    for (size_t i = 0; i < N; i++) {
        x[i] = 3.0f * (float)(2.0 * tb_stream_uniform(&s) - 1.0);
        dy[i] = (float)(2.0 * tb_stream_uniform(&s) - 1.0);
        y[i] = 0;
    }
    return 0;
}

/* Pieces of every kind: shorter than a vector, longer than a block, apart. */
static const tb_k_span spans[] = {
    {1, 1, 1},       {1, 3, 3},       {1, 16, 16},     {1, 1024, 1024},
    {1, 1025, 1025}, {1, 6000, 6000}, {40, 100, 9},    {3, 2000, 1500},
    {50, 120, 49},   {100, 60, 60},   {2, 2048, 2048},
};
enum { N_SPANS = sizeof spans / sizeof spans[0] };

static double mean_of(const tb_k_span *s)
{
    double sum = 0;
    for (size_t k = 0; k < s->n_pieces; k++) {
        for (size_t i = 0; i < s->n; i++) {
            sum += (double)x[k * s->stride + i];
        }
    }
    return sum / (double)(s->n_pieces * s->n);
}

static double variance_of(const tb_k_span *s, double mean)
{
    double sum = 0;
    for (size_t k = 0; k < s->n_pieces; k++) {
        for (size_t i = 0; i < s->n; i++) {
            double d = (double)x[k * s->stride + i] - mean;
            sum += d * d;
        }
    }
    return sum / (double)(s->n_pieces * s->n);
}

static void moments_are_those_of_double_even_far_from_zero(void **state)
{
    (void)state;
    for (int far = 0; far < 2; far++) {
        for (size_t i = 0; i < N; i++) {
            x[i] += far ? 1000.0f : 0.0f;
        }
        for (size_t k = 0; k < N_SPANS; k++) {
            double m[2];
            double mean = mean_of(&spans[k]);
            double variance = variance_of(&spans[k], mean);
            tb_k_moments(m, x, &spans[k]);
            CHECK(fabs(m[0] - mean) <= 1e-7 * (1 + sqrt(variance)));
            CHECK(fabs(m[1] - variance) <= 5e-7 * variance);
        }
    }
    double none[2] = {7, 7};
    tb_k_moments(none, x, &(tb_k_span){0, 5, 5});
    CHECK(none[0] == 0 && none[1] == 0);
}

static void sums_lines_and_planes_cover_a_span_and_nothing_else(void **state)
{
    const tb_k_line l = {0.5f, 2.0f, -1.0f};
    const tb_k_plane p = {0.5f, 2.0f, -0.25f, 3.0f};
    (void)state;
    for (size_t k = 0; k < N_SPANS; k++) {
        const tb_k_span *s = &spans[k];
        double got[2], sum = 0, product = 0;
        memset(y, 0, sizeof y);
        tb_k_grad_sums(got, dy, x, s, 0.5f);
        tb_k_line_of(y, x, s, &l);
        for (size_t i = 0; i < N; i++) {
            bool in = i / s->stride < s->n_pieces && i % s->stride < s->n;
            sum += in ? (double)dy[i] : 0;
            product += in ? (double)dy[i] * ((double)x[i] - 0.5) : 0;
            CHECK(y[i] == (in ? (x[i] - 0.5f) * 2.0f - 1.0f : 0.0f));
        }
        CHECK(fabs(got[0] - sum) < 1e-4 && fabs(got[1] - product) < 4e-4);
        tb_k_plane_of(y, dy, x, s, &p);
        CHECK(y[0] == (2.0f * dy[0] + -0.25f * (x[0] - 0.5f)) + 3.0f);
    }
}

static void rows_take_a_factor_an_element(void **state)
{
    /* by hand: (x - 1) 2 scale + bias, and so on */
    const float a[3] = {1, 2, 4}, scale[3] = {1, 10, 100}, bias[3] = {7, 8, 9};
    const float d[3] = {1, -1, 2};
    const tb_k_line l = {1, 2, 0};
    const tb_k_plane p = {1, 2, 3, 4};
    float out[3], ds[3] = {1, 1, 1}, db[3] = {0, 0, 0};
    double sums[2];
    (void)state;
    tb_k_row_line(out, a, scale, bias, 3, &l);
    CHECK(out[0] == 7 && out[1] == 28 && out[2] == 609);
    tb_k_row_line(out, a, scale, NULL, 3, &l);
    CHECK(out[0] == 0 && out[1] == 20 && out[2] == 600);
    tb_k_row_grad_sums(sums, d, a, scale, 3, 1.0f);
    CHECK(sums[0] == 191 && sums[1] == 590);
    tb_k_row_plane(out, d, a, scale, 3, &p);
    CHECK(out[0] == 6 && out[1] == -13 && out[2] == 413);
    tb_k_row_params(ds, db, d, a, 3, &l);
    CHECK(ds[0] == 1 && ds[1] == -1 && ds[2] == 13);
    CHECK(db[0] == 1 && db[1] == -1 && db[2] == 2);
}

static void columns_agree_with_spans_of_single_numbers(void **state)
{
    enum { R = 37, C = 70 }; /* over one tile */
    static float mean[C], variance[C], sums[2 * C];
    (void)state;
    tb_k_col_moments(mean, variance, x, R, C);
    tb_k_col_grad_sums(sums, dy, x, mean, R, C);
    for (size_t c = 0; c < C; c++) {
        const tb_k_span s = {R, C, 1};
        double m[2], g[2];
        tb_k_moments(m, x + c, &s);
        tb_k_grad_sums(g, dy + c, x + c, &s, mean[c]);
        CHECK(fabs((double)mean[c] - m[0]) < 1e-6);
        CHECK(fabs((double)variance[c] - m[1]) < 1e-5);
        CHECK(fabs((double)sums[c] - g[0]) < 1e-5);
        CHECK(fabs((double)sums[C + c] - g[1]) < 1e-4);
    }
    const float lines[4] = {1, 10, 2, 3};
    const float planes[8] = {1, 10, 2, 3, 4, 5, 6, 7};
    const float v[4] = {2, 20, 3, 30}, d[4] = {1, 2, 3, 4};
    float out[4];
    const float line_6[6] = {lines[0], lines[1], lines[2], lines[3], 100, 200};
    tb_k_col_line(out, v, line_6, 2, 2); /* (v - [1 10]) [2 3] + [100 200] */
    CHECK(out[0] == 102 && out[1] == 230 && out[2] == 104 && out[3] == 260);
    tb_k_col_plane(out, d, v, planes, 2, 2);
    CHECK(out[0] == 12 && out[1] == 63 && out[2] == 20 && out[3] == 119);
}

static void run_all(const tb_k_set *k, float *out, double *sums)
{
    const tb_k_line l = {0.3f, 1.7f, -0.2f};
    const tb_k_plane p = {0.3f, 1.7f, -0.2f, 0.9f};
    for (size_t i = 0; i < N_SPANS; i++) {
        k->moments(sums, x, &spans[i]), sums += 2;
        k->grad_sums(sums, dy, x, &spans[i], 0.3f), sums += 2;
    }
    k->row_grad_sums(sums, dy, x, dy + 1, 1500, 0.3f);
    k->line_of(out, x, &spans[7], &l), out += N;
    k->plane_of(out, dy, x, &spans[7], &p), out += N;
    k->row_line(out, x, dy, dy + 5, 1501, &l), out += N;
    k->row_plane(out, dy, x, dy + 5, 1501, &p), out += N;
    k->row_params(out, out + N / 2, dy, x, 1501, &l), out += N;
    k->col_moments(out, out + 100, x, 50, 70);
    k->col_grad_sums(out + 200, dy, x, dy, 50, 70), out += N;
    k->col_line(out, x, dy, 50, 70), out += N;
    k->col_plane(out, dy, x, dy, 50, 70);
}

static void all_sets_of_instructions_give_the_same_bits(void **state)
{
    static float first[8 * N], other[8 * N];
    static double sums[4 * N_SPANS + 2], others[4 * N_SPANS + 2];
    size_t n_sets = 0;
    const tb_k_set *const *sets = tb_k_sets(&n_sets);
    (void)state;
    run_all(sets[n_sets - 1], first, sums);
    for (size_t i = 0; i + 1 < n_sets; i++) {
        memset(other, 0, sizeof other);
        if (sets[i]->usable()) {
            run_all(sets[i], other, others);
            CHECK(memcmp(first, other, sizeof first) == 0);
            CHECK(memcmp(sums, others, sizeof sums) == 0);
        }
    }
}

#define TEST(name) cmocka_unit_test_setup(name, setup)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(moments_are_those_of_double_even_far_from_zero),
        TEST(sums_lines_and_planes_cover_a_span_and_nothing_else),
        TEST(rows_take_a_factor_an_element),
        TEST(columns_agree_with_spans_of_single_numbers),
        TEST(all_sets_of_instructions_give_the_same_bits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
