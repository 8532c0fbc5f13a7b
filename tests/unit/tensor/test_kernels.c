/* The loops against libm in double, and the sets of instructions against each
 * other, bit by bit. */
#include <float.h>
#include <math.h>
#include <string.h>

#include "base/stream.h"
#include "support/check.h"
#include "tensor/kernels.h"
#include "tensor/kernels_priv.h"

enum { N = 203 }; /* a few vectors of 16 and a tail */

static float a[N], b[N], y[N], z[N];

static void fill(float *x, float scale, uint64_t seed)
{
    tb_stream s;
    tb_stream_init(&s, seed, 0, "test", "");
    for (size_t i = 0; i < N; i++) {
        x[i] = scale * (float)(2.0 * tb_stream_uniform(&s) - 1.0);
    }
}

static int setup(void **state)
{
    (void)state;
    fill(a, 3.0f, 1);
    fill(b, 3.0f, 2);
    fill(y, 3.0f, 3);
    memcpy(z, y, sizeof z);
    return 0;
}

/* Distance in units of the last place of want. */
static double ulps(float got, double want)
{
    if (isnan(want) || isinf(want)) {
        bool same = isnan(want) ? isnan(got) != 0 : (double)got == want;
        return same ? 0.0 : 1e9;
    }
    double unit = ldexp(1.0, ilogb(fmax(fabs(want), FLT_MIN)) - 23);
    return fabs((double)got - want) / unit;
}

static void elementwise_loops_compute_what_they_say(void **state)
{
    (void)state;
    tb_k_add(y, a, b, N);
    CHECK(y[N - 1] == a[N - 1] + b[N - 1] && y[0] == a[0] + b[0]);
    tb_k_sub(y, a, b, N);
    CHECK(y[N - 1] == a[N - 1] - b[N - 1]);
    tb_k_mul(y, a, b, N);
    CHECK(y[N - 1] == a[N - 1] * b[N - 1]);
    tb_k_div(y, a, b, N);
    CHECK(y[N - 1] == a[N - 1] / b[N - 1]);
    tb_k_affine(y, a, N, 2.0f, 1.0f);
    CHECK(y[N - 1] == 2.0f * a[N - 1] + 1.0f);
    memcpy(y, z, sizeof y);
    tb_k_axpy(y, a, N, 0.5f);
    CHECK(y[N - 1] == z[N - 1] + 0.5f * a[N - 1]);
    memcpy(y, z, sizeof y);
    tb_k_axpby(y, a, N, 0.5f, 0.25f);
    CHECK(y[N - 1] == 0.25f * z[N - 1] + 0.5f * a[N - 1]);
}

static void rows_are_added_and_summed(void **state)
{
    (void)state;
    float m[6] = {1, 2, 3, 4, 5, 6};
    float row[3] = {10, 20, 30};
    tb_k_sum_rows(row, m, 2, 3, 2.0f, 0.5f); /* 2 * [5 7 9] + [5 10 15] */
    CHECK(row[0] == 15 && row[1] == 24 && row[2] == 33);
    row[1] = NAN;
    tb_k_sum_rows(row, m, 2, 3, 1.0f, 0.0f);
    CHECK(row[0] == 5 && row[1] == 7 && row[2] == 9);
    tb_k_add_row(m, row, 2, 3);
    CHECK(m[0] == 6 && m[2] == 12 && m[3] == 9 && m[5] == 15);
    for (size_t c = 1; c < 70; c += 7) { /* over one tile of columns */
        tb_k_sum_rows(y, a, 2, c, 1.0f, 0.0f);
        CHECK(y[c - 1] == a[c - 1] + a[2 * c - 1]);
    }
}

static void relu_and_its_gradient_keep_signs_and_nan(void **state)
{
    (void)state;
    const float x[5] = {-2.0f, 0.0f, 3.0f, NAN, -0.0f};
    const float dy[5] = {1.0f, 1.0f, 1.0f, 1.0f, 1.0f};
    float out[5];
    tb_k_relu(out, x, 5, 0.0f);
    CHECK(out[0] == 0 && out[1] == 0 && out[2] == 3 && isnan(out[3]));
    tb_k_relu(out, x, 5, 0.1f);
    CHECK(out[0] == 0.1f * -2.0f && out[2] == 3 && isnan(out[3]));
    tb_k_relu_grad(out, x, dy, 5, 0.0f);
    CHECK(out[0] == 0 && out[1] == 0 && out[2] == 1);
    tb_k_relu_grad(out, x, dy, 5, 0.1f);
    CHECK(out[0] == 0.1f && out[1] == 0.1f && out[2] == 1);
}

static void exp_and_its_kin_are_within_their_bounds_of_libm(void **state)
{
    (void)state;
    static const float edges[] = {0.0f,   -0.0f,    88.7f,     -87.2f, 100.0f,
                                  -1e30f, INFINITY, -INFINITY, NAN,    1e-20f,
                                  0.624f, 0.626f,   -0.626f,   1e-4f,  88.8f};
    enum { N_EDGES = sizeof edges / sizeof edges[0] };
    for (float scale = 0.01f; scale < 100.0f; scale *= 3.0f) {
        fill(a, scale, 4);
        memcpy(a, edges, sizeof edges);
        tb_k_exp(y, a, N);
        for (size_t i = 0; i < N; i++) {
            double want = a[i] < -87.3f ? 0.0 : exp((double)a[i]);
            CHECK(ulps(y[i], want > (double)FLT_MAX ? INFINITY : want) <= 2.0);
        }
        tb_k_tanh(y, a, N);
        for (size_t i = 0; i < N; i++) {
            CHECK(ulps(y[i], tanh((double)a[i])) <= 4.0);
        }
        tb_k_sigmoid(y, a, N);
        for (size_t i = 0; i < N; i++) {
            double want = 1.0 / (1.0 + exp(-(double)a[i]));
            CHECK(a[i] < -80.0f ? y[i] < 1e-34f : ulps(y[i], want) <= 4.0);
        }
    }
}

static void gradients_come_from_the_outputs(void **state)
{
    (void)state;
    const float out = 0.25f;
    const float dy = 2.0f;
    float dx = 0.0f;
    tb_k_sigmoid_grad(&dx, &out, &dy, 1);
    CHECK(dx == 2.0f * 0.25f * 0.75f);
    tb_k_tanh_grad(&dx, &out, &dy, 1);
    CHECK(dx == 2.0f * (1.0f - 0.0625f));
}

static void reductions_agree_with_sums_in_double(void **state)
{
    (void)state;
    for (size_t n = 1; n < N; n += 13) {
        double sum = 0.0;
        double dot = 0.0;
        float max = a[0];
        for (size_t i = 0; i < n; i++) {
            sum += (double)a[i];
            dot += (double)a[i] * (double)b[i];
            max = a[i] > max ? a[i] : max;
        }
        CHECK(fabs((double)tb_k_sum(a, n) - sum) < 1e-4);
        CHECK(fabs((double)tb_k_dot(a, b, n) - dot) < 1e-3);
        CHECK(tb_k_max(a, n) == max);
    }
}

static void softmax_rows_are_probabilities_even_of_huge_inputs(void **state)
{
    (void)state;
    /* exp of 0, 1, 2 over their sum 11.107337927: by hand */
    const float x[6] = {1000, 1001, 1002, -5, -5, -5};
    const double want[6] = {0.0900305732, 0.2447284711, 0.6652409558,
                            1.0 / 3,      1.0 / 3,      1.0 / 3};
    float p[6];
    tb_k_softmax(p, x, 2, 3);
    for (size_t i = 0; i < 6; i++) {
        CHECK(fabs((double)p[i] - want[i]) < 1e-6);
    }
    tb_k_log_softmax(p, x, 2, 3);
    for (size_t i = 0; i < 6; i++) {
        CHECK(fabs((double)p[i] - log(want[i])) < 1e-6);
    }
    tb_k_log_softmax(y, a, 1, N); /* more than one tile of columns */
    tb_k_softmax(z, a, 1, N);
    for (size_t i = 0; i < N; i++) {
        CHECK(fabs(exp((double)y[i]) - (double)z[i]) < 1e-6);
    }
}

static void bytes_become_floats(void **state)
{
    (void)state;
    const uint8_t x[3] = {0, 128, 255};
    tb_k_from_u8(y, x, 3);
    CHECK(y[0] == 0.0f && y[1] == 128.0f && y[2] == 255.0f);
}

/* Everything a set computes from the same numbers, one after the other. */
static void run_all(const tb_k_set *k, float *out, size_t n)
{
    float *o = out;
    k->add(o, a, b, n), o += N;
    k->sub(o, a, b, n), o += N;
    k->mul(o, a, b, n), o += N;
    k->div(o, a, b, n), o += N;
    k->affine(o, a, n, 1.1f, 0.3f), o += N;
    k->axpy(o, a, n, 0.7f), o += N;
    k->axpby(o, a, n, 0.7f, 0.9f), o += N;
    k->relu(o, a, n, 0.01f), o += N;
    k->relu_grad(o, a, b, n, 0.01f), o += N;
    k->exp(o, a, n), o += N;
    k->sigmoid(o, a, n), o += N;
    k->tanh(o, a, n), o += N;
    k->sigmoid_grad(o, a, b, n), o += N;
    k->tanh_grad(o, a, b, n), o += N;
    k->softmax(o, a, 1, n), o += N;
    k->log_softmax(o, a, 1, n), o += N;
    k->sum_rows(o, a, n / 4, 4, 0.7f, 0.9f), o += N;
    memcpy(o, a, n * sizeof *o);
    k->add_row(o, b, n / 4, 4), o += N;
    *o++ = k->sum(a, n);
    *o++ = k->dot(a, b, n);
    *o++ = k->max(a, n);
}

static void all_sets_of_instructions_give_the_same_bits(void **state)
{
    (void)state;
    static float first[18 * N + 3], other[18 * N + 3];
    size_t n_sets = 0;
    const tb_k_set *const *sets = tb_k_sets(&n_sets);
    for (size_t n = 4; n <= N; n += 27) {
        memset(first, 0, sizeof first);
        run_all(sets[n_sets - 1], first, n);
        for (size_t i = 0; i + 1 < n_sets; i++) {
            memset(other, 0, sizeof other);
            if (sets[i]->usable()) {
                run_all(sets[i], other, n);
                CHECK(memcmp(first, other, sizeof first) == 0);
            }
        }
    }
    assert_string_equal(sets[n_sets - 1]->name, "portable");
    CHECK(tb_k_isa() != NULL);
}

#define TEST(name) cmocka_unit_test_setup(name, setup)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(elementwise_loops_compute_what_they_say),
        TEST(rows_are_added_and_summed),
        TEST(relu_and_its_gradient_keep_signs_and_nan),
        TEST(exp_and_its_kin_are_within_their_bounds_of_libm),
        TEST(gradients_come_from_the_outputs),
        TEST(reductions_agree_with_sums_in_double),
        TEST(softmax_rows_are_probabilities_even_of_huge_inputs),
        TEST(bytes_become_floats),
        TEST(all_sets_of_instructions_give_the_same_bits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
