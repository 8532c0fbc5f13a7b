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
    tb_k_arith(TB_K_DIV, y, a, 1, b, 1, N);
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
        for (size_t i = 0; i < n; i++) {
            sum += (double)a[i];
            dot += (double)a[i] * (double)b[i];
        }
        CHECK(fabs((double)tb_k_sum(a, n) - sum) < 1e-4);
        CHECK(fabs((double)tb_k_dot(a, b, n) - dot) < 1e-3);
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

/* A matrix turned around gives rows what it gave columns. */
static void softmax_down_columns_is_that_of_rows_turned_around(void **state)
{
    enum { R = 3, C = 67 }; /* over one tile of columns */
    static float at[C * R], bt[C * R], down[R * C], along[C * R];
    (void)state;
    for (size_t i = 0; i < R * C; i++) {
        at[i % C * R + i / C] = a[i];
        bt[i % C * R + i / C] = b[i];
    }
    for (int k = 0; k < 4; k++) {
        switch (k) {
        case 0:
            tb_k_softmax_cols(down, a, R, C);
            tb_k_softmax(along, at, C, R);
            break;
        case 1:
            tb_k_log_softmax_cols(down, a, R, C);
            tb_k_log_softmax(along, at, C, R);
            break;
        case 2:
            tb_k_softmax_grad_cols(down, a, b, R, C);
            tb_k_softmax_grad(along, at, bt, C, R);
            break;
        default:
            tb_k_log_softmax_grad_cols(down, a, b, R, C);
            tb_k_log_softmax_grad(along, at, bt, C, R);
            break;
        }
        for (size_t i = 0; i < R * C; i++) {
            float want = along[i % C * R + i / C];
            CHECK(fabsf(down[i] - want) <= 4e-6f * (1 + fabsf(want)));
        }
    }
}

/* The numbers of SplitMix64 from seed 0, as in its authors' page. */
static void a_mask_is_drawn_by_splitmix64(void **state)
{
    const uint32_t upper[3] = {0xe220a839u, 0x6e789e6au, 0x06c45d18u};
    const float one[3] = {1, 1, 1};
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        uint8_t mask[3];
        float out[3];
        const tb_k_drop at = {0, upper[i], 3.0f};
        const tb_k_drop over = {0, upper[i] + 1, 3.0f};
        tb_k_drop_mask(mask, 3, &at);
        tb_k_dropped(out, one, 3, &at);
        CHECK(mask[i] == 1 && out[i] == 3);
        tb_k_drop_mask(mask, 3, &over);
        tb_k_dropped(out, one, 3, &over);
        CHECK(mask[i] == 0 && out[i] == 0);
    }
}

static void bytes_become_floats(void **state)
{
    (void)state;
    const uint8_t x[3] = {0, 128, 255};
    tb_k_from_u8(y, x, 3);
    CHECK(y[0] == 0.0f && y[1] == 128.0f && y[2] == 255.0f);
}

/* Every map with parameters that it can have, at points of all sizes. */
static void maps_and_their_slopes_are_near_libm_in_double(void **state)
{
    /* ulp of the value (0: absolute, times 1 + |x|), as kernels.h promises */
    static const struct {
        tb_k_map_of f;
        float p, q;
        double ulp;
    } rows[] = {
        {TB_K_NEG, 0, 0, 0.5},
        {TB_K_ABS, 0, 0, 0.5},
        {TB_K_SQRT, 0, 0, 0.5},
        {TB_K_RECIPROCAL, 0, 0, 0.5},
        {TB_K_EXP, 0, 0, 2},
        {TB_K_LOG, 0, 0, 2},
        {TB_K_ERF, 0, 0, 6},
        {TB_K_RELU, 0.1f, 0, 1},
        {TB_K_ELU, 1, 0, 4},
        {TB_K_SELU, 1.6732632f, 1.0507010f, 4},
        {TB_K_CELU, 2, 0.5f, 4},
        {TB_K_SIGMOID, 0, 0, 4},
        {TB_K_TANH, 0, 0, 4},
        {TB_K_HARD_SIGMOID, 0.2f, 0.5f, 0},
        {TB_K_HARD_SWISH, 0, 0, 0},
        {TB_K_GELU, 0, 0, 0},
        {TB_K_GELU_TANH, 0, 0, 0},
        {TB_K_SOFTPLUS, 0, 0, 4},
        {TB_K_SOFTSIGN, 0, 0, 2},
        {TB_K_MISH, 0, 0, 8},
        {TB_K_THRESHOLDED, 0.7f, 0, 0.5},
    };
    (void)state;
    CHECK(sizeof rows / sizeof rows[0] == TB_K_MAP_COUNT);
    fill(b, 1.0f, 9);
    for (size_t r = 0; r < TB_K_MAP_COUNT; r++) {
        for (float scale = 0.001f; scale < 60.0f; scale *= 2.0f) {
            fill(a, scale, 4);
            tb_k_map(rows[r].f, y, a, N, rows[r].p, rows[r].q);
            tb_k_map_grad(rows[r].f, z, a, b, N, rows[r].p, rows[r].q);
            for (size_t i = 0; i < N; i++) {
                double x = (double)a[i], p = (double)rows[r].p;
                double f = tb_k_map_f64(rows[r].f, x, p, (double)rows[r].q);
                double df = tb_k_slope_f64(rows[r].f, x, p, (double)rows[r].q);
                bool near = rows[r].ulp > 0 ? ulps(y[i], f) <= rows[r].ulp
                                            : fabs((double)y[i] - f) <=
                                                  0x1p-21 * (1 + fabs(x));
                df *= (double)b[i];
                if (!isnan(f) && (f > 1e-34 || f < -1e-34)) {
                    CHECK(near);
                }
                CHECK(isnan(df) ||
                      fabs((double)z[i] - df) <= 2e-6 * fmax(1, fabs(df)));
            }
        }
    }
}

/* Values from tables of the functions; slopes by hand. */
static void maps_hold_at_points_known_from_elsewhere(void **state)
{
    (void)state;
    const struct {
        tb_k_map_of f;
        float p, q, x;
        double want;
    } rows[] = {
        {TB_K_ERF, 0, 0, 1.0f, 0.8427007929},      /* Abramowitz, 7.1 */
        {TB_K_ERF, 0, 0, -0.5f, -0.5204998778},    /* the same */
        {TB_K_LOG, 0, 0, 10.0f, 2.302585093},      /* ln 10 */
        {TB_K_SOFTPLUS, 0, 0, 0.0f, 0.6931471806}, /* ln 2 */
        {TB_K_GELU, 0, 0, 1.0f, 0.8413447461},     /* Phi(1) */
        {TB_K_HARD_SWISH, 0, 0, 1.0f, 0.6666666667},
        {TB_K_ELU, 2.0f, 0, -1.0f, -1.264241118}, /* 2 (1/e - 1) */
        {TB_K_SOFTSIGN, 0, 0, -3.0f, -0.75},
    };
    for (size_t r = 0; r < sizeof rows / sizeof rows[0]; r++) {
        float got = 0;
        tb_k_map(rows[r].f, &got, &rows[r].x, 1, rows[r].p, rows[r].q);
        CHECK(fabs((double)got - rows[r].want) < 3e-7);
    }
    const float edges[6] = {0.0f, -1.0f, INFINITY, NAN, 1e-40f, 1.0f};
    tb_k_map(TB_K_LOG, y, edges, 6, 0, 0);
    CHECK(isinf(y[0]) && y[0] < 0 && isnan(y[1]) && isinf(y[2]) && y[2] > 0);
    CHECK(isnan(y[3]) && fabsf(y[4] + 92.103404f) < 1e-4f && y[5] == 0.0f);
    tb_k_map(TB_K_ERF, y, edges, 6, 0, 0);
    CHECK(y[0] == 0.0f && y[2] == 1.0f && isnan(y[3]));
}

static void operands_stand_still_where_their_step_is_zero(void **state)
{
    (void)state;
    const float l[3] = {1, NAN, 5};
    const float r[3] = {4, 2, NAN};
    float out[3];
    tb_k_arith(TB_K_SUB, out, l, 0, r, 1, 2);
    CHECK(out[0] == -3 && out[1] == -1);
    tb_k_arith(TB_K_DIV, out, l, 1, r, 0, 3);
    CHECK(out[0] == 0.25f && isnan(out[1]) && out[2] == 1.25f);
    tb_k_arith(TB_K_MUL, out, r, 0, r, 0, 3);
    CHECK(out[0] == 16 && out[2] == 16);
    tb_k_arith(TB_K_MAX, out, l, 1, r, 1, 3);
    CHECK(out[0] == 4 && isnan(out[1]) && isnan(out[2]));
    tb_k_arith(TB_K_MIN, out, l, 1, r, 1, 3);
    CHECK(out[0] == 1 && isnan(out[1]) && isnan(out[2]));
    tb_k_clip(out, l, 3, 2.0f, 3.0f);
    CHECK(out[0] == 2 && isnan(out[1]) && out[2] == 3);
    tb_k_clip_grad(out, l, r, 3, 0.0f, 4.0f);
    CHECK(out[0] == 4 && out[1] == 0 && out[2] == 0);
}

/* Bit by bit, but one NaN is as good as another. */
static bool same_bits(const float *p, const float *q, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (memcmp(&p[i], &q[i], sizeof p[i]) != 0 &&
            !(isnan(p[i]) && isnan(q[i]))) {
            return false;
        }
    }
    return true;
}

enum { MAX_RESULTS = 100 * N };

/* Everything a set computes from the same numbers, one after the other. */
static size_t run_all(const tb_k_set *k, float *out, size_t n)
{
    float *o = out;
    for (size_t i = 0; i < TB_K_ARITH_COUNT; i++) {
        k->arith[i](o, a, 1, b, 1, n), o += N;
        k->arith[i](o, a, 0, b, 1, n), o += N;
        k->arith[i](o, a, 1, b, 0, n), o += N;
    }
    for (size_t i = 0; i < TB_K_MAP_COUNT; i++) {
        k->map[i](o, a, n, 0.7f, 1.3f), o += N;
        k->map_grad[i](o, a, b, n, 0.7f, 1.3f), o += N;
    }
    k->clip(o, a, n, -1.0f, 0.5f), o += N;
    k->clip_grad(o, a, b, n, -1.0f, 0.5f), o += N;
    k->affine(o, a, n, 1.1f, 0.3f), o += N;
    k->axpy(o, a, n, 0.7f), o += N;
    k->axpby(o, a, n, 0.7f, 0.9f), o += N;
    k->relu(o, a, n, 0.01f), o += N;
    k->relu_grad(o, a, b, n, 0.01f), o += N;
    k->sigmoid_grad(o, a, b, n), o += N;
    k->tanh_grad(o, a, b, n), o += N;
    k->softmax(o, a, 1, n), o += N;
    k->log_softmax(o, a, 1, n), o += N;
    k->softmax_grad(o, a, b, 1, n), o += N;
    k->drop(o, a, n, &(tb_k_drop){77, 0x80000000u, 2.0f}), o += N;
    k->drop_mask((uint8_t *)o, n, &(tb_k_drop){77, 0x80000000u, 2}), o += N;
    k->log_softmax_grad(o, a, b, 1, n), o += N;
    k->softmax_cols(o, a, 2, n / 2), o += N;
    k->log_softmax_cols(o, a, 2, n / 2), o += N;
    k->softmax_grad_cols(o, a, b, 2, n / 2), o += N;
    k->log_softmax_grad_cols(o, a, b, 2, n / 2), o += N;
    k->sum_rows(o, a, n / 4, 4, 0.7f, 0.9f), o += N;
    memcpy(o, a, n * sizeof *o);
    k->add_row(o, b, n / 4, 4), o += N;
    *o++ = k->sum(a, n);
    *o++ = k->dot(a, b, n);
    return (size_t)(o - out);
}

static void all_sets_of_instructions_give_the_same_bits(void **state)
{
    (void)state;
    static float first[MAX_RESULTS], other[MAX_RESULTS];
    size_t n_sets = 0;
    const tb_k_set *const *sets = tb_k_sets(&n_sets);
    for (size_t n = 4; n <= N; n += 27) {
        memset(first, 0, sizeof first);
        size_t used = run_all(sets[n_sets - 1], first, n);
        CHECK(used <= MAX_RESULTS);
        for (size_t i = 0; i + 1 < n_sets; i++) {
            memset(other, 0, sizeof other);
            if (sets[i]->usable()) {
                run_all(sets[i], other, n);
                CHECK(same_bits(first, other, used));
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
        TEST(softmax_down_columns_is_that_of_rows_turned_around),
        TEST(a_mask_is_drawn_by_splitmix64),
        TEST(bytes_become_floats),
        TEST(maps_and_their_slopes_are_near_libm_in_double),
        TEST(maps_hold_at_points_known_from_elsewhere),
        TEST(operands_stand_still_where_their_step_is_zero),
        TEST(all_sets_of_instructions_give_the_same_bits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
