/* The pools against their definition, which asks of every element of x whether
 * it lies in a window, in every set of instructions that this CPU has. */
#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "base/stream.h"
#include "support/check.h"
#include "tensor/pool_priv.h"

/* clang-format off */
static const tb_pool cases[] = {
    {.planes = 3, .in = {1, 8, 12}, .out = {1, 4, 6}, .kernel = {1, 2, 2},
     .stride = {1, 2, 2}, .dilation = {1, 1, 1}},
    {.planes = 2, .in = {1, 5, 131}, .out = {1, 2, 65}, .kernel = {1, 2, 2},
     .stride = {1, 2, 2}, .dilation = {1, 1, 1}},
    {.planes = 2, .in = {3, 6, 11}, .out = {3, 3, 5}, .kernel = {1, 2, 2},
     .stride = {1, 2, 2}, .dilation = {1, 1, 1}},
    {.planes = 2, .in = {1, 9, 10}, .out = {1, 5, 5}, .kernel = {1, 3, 3},
     .stride = {1, 2, 2}, .dilation = {1, 1, 1}, .pad = {0, 1, 1},
     .pad_end = {0, 1, 0}},
    {.planes = 1, .in = {4, 5, 6}, .out = {2, 3, 4}, .kernel = {2, 3, 2},
     .stride = {2, 2, 2}, .dilation = {1, 2, 1}, .pad = {0, 2, 1},
     .pad_end = {0, 1, 1}, .count_pad = true},
    {.planes = 4, .in = {1, 1, 50}, .out = {1, 1, 1}, .kernel = {1, 1, 50},
     .stride = {1, 1, 1}, .dilation = {1, 1, 1}},
    {.planes = 2, .in = {1, 1, 302}, .out = {1, 1, 3}, .kernel = {1, 1, 300},
     .stride = {1, 1, 1}, .dilation = {1, 1, 1}},
    {.planes = 1, .in = {1, 1, 2}, .out = {1, 1, 6}, .kernel = {1, 1, 2},
     .stride = {1, 1, 1}, .dilation = {1, 1, 1}, .pad = {0, 0, 3},
     .pad_end = {0, 0, 2}},
};
/* clang-format on */

enum { N_CASES = sizeof cases / sizeof cases[0], MOST = 4096 };

static float x[MOST], y[MOST], dy[MOST], dx[MOST];
static double want_y[MOST], want_dx[MOST];
static union {
    uint8_t bytes[MOST];
    uint32_t words[MOST];
} taps;

/* Tap of window o over element i, or SIZE_MAX; *over: how many elements, or
 * with count_pad elements and padding, the window has in this dimension. */
static size_t tap_along(const tb_pool *p, size_t d, size_t o, size_t i,
                        size_t *over)
{
    size_t found = SIZE_MAX;
    *over = 0;
    for (size_t k = 0; k < p->kernel[d]; k++) {
        size_t at = o * p->stride[d] + k * p->dilation[d];
        bool inside = at >= p->pad[d] && at < p->pad[d] + p->in[d];
        bool padded = at < p->pad[d] + p->in[d] + p->pad_end[d];
        *over += p->count_pad ? padded : inside;
        found = inside && at - p->pad[d] == i ? k : found;
    }
    return found;
}

static size_t tap_of(const tb_pool *p, size_t o, size_t i, size_t *over)
{
    size_t tap = 0;
    size_t stride = 1;
    bool meets = true;
    *over = 1;
    for (size_t d = TB_POOL_DIMS; d-- > 0;) {
        size_t n = 0;
        size_t t = tap_along(p, d, o % p->out[d], i % p->in[d], &n);
        meets = meets && t != SIZE_MAX;
        tap += meets ? t * stride : 0;
        *over *= n;
        stride *= p->kernel[d];
        o /= p->out[d];
        i /= p->in[d];
    }
    return meets ? tap : SIZE_MAX;
}

static size_t n_in(const tb_pool *p)
{
    return p->in[0] * p->in[1] * p->in[2];
}

static size_t n_out(const tb_pool *p)
{
    return p->out[0] * p->out[1] * p->out[2];
}

/* What maximum and its gradient should be; ties do not occur. */
static void naive_max(const tb_pool *p)
{
    memset(want_dx, 0, sizeof want_dx);
    for (size_t o = 0; o < p->planes * n_out(p); o++) {
        size_t from = o / n_out(p) * n_in(p);
        size_t best = SIZE_MAX;
        size_t over = 0;
        for (size_t i = 0; i < n_in(p); i++) {
            if (tap_of(p, o % n_out(p), i, &over) != SIZE_MAX &&
                (best == SIZE_MAX || x[from + i] > x[best])) {
                best = from + i;
            }
        }
        want_y[o] = best == SIZE_MAX ? -INFINITY : (double)x[best];
        if (best != SIZE_MAX) {
            want_dx[best] += (double)dy[o];
        }
    }
}

static void naive_average(const tb_pool *p)
{
    memset(want_dx, 0, sizeof want_dx);
    for (size_t o = 0; o < p->planes * n_out(p); o++) {
        size_t from = o / n_out(p) * n_in(p);
        size_t over = 0;
        want_y[o] = 0.0;
        for (size_t i = 0; i < n_in(p); i++) {
            if (tap_of(p, o % n_out(p), i, &over) != SIZE_MAX) {
                want_y[o] += (double)x[from + i] / (double)over;
                want_dx[from + i] += (double)dy[o] / (double)over;
            }
        }
    }
}

static void draw(float *to, uint64_t seed)
{
    tb_stream s;
    tb_stream_init(&s, seed, 0, "test", "");
    for (size_t i = 0; i < MOST; i++) {
        to[i] = (float)(2.0 * tb_stream_uniform(&s) - 1.0);
    }
}

static void check_equal(const float *got, const double *want, size_t n,
                        double most)
{
    for (size_t i = 0; i < n; i++) {
        bool same = (double)got[i] == want[i]; /* infinite ones too */
        CHECK(same || fabs((double)got[i] - want[i]) <= most);
    }
}

static void a_maximum_and_its_gradient_agree_with_the_definition(void **state)
{
    (void)state;
    draw(x, 1);
    draw(dy, 2);
    for (size_t k = 0; k < N_CASES; k++) {
        const tb_pool *p = &cases[k];
        naive_max(p);
        memset(y, 0xff, sizeof y);
        memset(dx, 0xff, sizeof dx);
        memset(&taps, 0xff, sizeof taps);
        tb_pool_max(p, x, y, NULL);
        check_equal(y, want_y, p->planes * n_out(p), 0.0);
        tb_pool_max(p, x, y, &taps);
        check_equal(y, want_y, p->planes * n_out(p), 0.0);
        tb_pool_max_grad(p, dy, &taps, dx);
        check_equal(dx, want_dx, p->planes * n_in(p), 1e-6);
    }
}

static void an_average_and_its_gradient_agree_with_the_definition(void **state)
{
    (void)state;
    draw(x, 3);
    draw(dy, 4);
    for (size_t k = 0; k < N_CASES; k++) {
        const tb_pool *p = &cases[k];
        naive_average(p);
        memset(y, 0xff, sizeof y);
        memset(dx, 0xff, sizeof dx);
        tb_pool_average(p, x, y);
        check_equal(y, want_y, p->planes * n_out(p), 1e-6);
        tb_pool_average_grad(p, dy, dx);
        check_equal(dx, want_dx, p->planes * n_in(p), 1e-6);
    }
}

/* The loops for 2 x 2 windows, bit by bit. */
static void all_sets_of_instructions_agree(void **state)
{
    (void)state;
    size_t n_sets = 0;
    const tb_pool_set *const *sets = tb_pool_sets(&n_sets);
    draw(x, 5);
    x[3] = NAN;
    x[40] = NAN;
    x[26] = x[27]; /* a tie: the first counts */
    for (size_t k = 0; k < n_sets * 3; k++) {
        const tb_pool_set *set = sets[k % n_sets];
        const tb_pool *p = &cases[k / n_sets];
        static float want[2][MOST];
        static uint8_t tap[2][MOST];
        if (!set->loops->usable()) {
            continue;
        }
        memset(want, 0, sizeof want);
        memset(tap, 0, sizeof tap);
        tb_pool_portable.max_2x2(p, x, want[0], tap[0]);
        set->max_2x2(p, x, want[1], tap[1]);
        CHECK(memcmp(want[0], want[1], sizeof want[0]) == 0);
        CHECK(memcmp(tap[0], tap[1], sizeof tap[0]) == 0);
        set->average_2x2(p, dy, want[0]);
        tb_pool_portable.average_2x2(p, dy, want[1]);
        CHECK(memcmp(want[0], want[1], sizeof want[0]) == 0);
        set->average_2x2_grad(p, dy, want[0]);
        tb_pool_portable.average_2x2_grad(p, dy, want[1]);
        CHECK(memcmp(want[0], want[1], sizeof want[0]) == 0);
        set->max_2x2_grad(p, dy, tap[0], want[0]);
        tb_pool_portable.max_2x2_grad(p, dy, tap[0], want[1]);
        CHECK(memcmp(want[0], want[1], sizeof want[0]) == 0);
    }
}

/* By hand: PyTorch and numpy let NaN win, and of two equal the first. */
static void nan_wins_and_the_first_of_equals_counts(void **state)
{
    (void)state;
    const float in[16] = {1, 1, NAN, 5, 0, 2, 3, NAN, 1, 0, 9, NAN, 2, 2, 4, 9};
    const tb_pool two = {.planes = 1,
                         .in = {1, 2, 8},
                         .out = {1, 1, 4},
                         .kernel = {1, 2, 2},
                         .stride = {1, 2, 2},
                         .dilation = {1, 1, 1}};
    tb_pool slow = two;
    slow.stride[0] = 2; /* not the loops for 2 x 2 */
    for (size_t k = 0; k < 2; k++) {
        float out[4];
        uint8_t tap[4];
        tb_pool_max(k == 0 ? &two : &slow, in, out, tap);
        CHECK(out[0] == 1.0f && tap[0] == 0);
        CHECK(isnan(out[1]) && tap[1] == 0);
        CHECK(out[2] == 2.0f && tap[2] == 1);
        CHECK(isnan(out[3]) && tap[3] == 1);
    }
}

/* By hand, of x [2, 3] and windows of 2 x 2. */
static void an_index_counts_rows_or_columns_first(void **state)
{
    (void)state;
    const tb_pool p = {.planes = 1,
                       .in = {1, 2, 3},
                       .out = {1, 1, 2},
                       .kernel = {1, 2, 2},
                       .stride = {1, 1, 1},
                       .dilation = {1, 1, 1}};
    CHECK(tb_pool_index(&p, 1, 2, false) == 4); /* row 1, column 1 */
    CHECK(tb_pool_index(&p, 1, 2, true) == 3);
    CHECK(tb_pool_index(&p, 0, 1, false) == 1);
    CHECK(tb_pool_index(&p, 0, 1, true) == 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_maximum_and_its_gradient_agree_with_the_definition),
        cmocka_unit_test(an_average_and_its_gradient_agree_with_the_definition),
        cmocka_unit_test(all_sets_of_instructions_agree),
        cmocka_unit_test(nan_wins_and_the_first_of_equals_counts),
        cmocka_unit_test(an_index_counts_rows_or_columns_first),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
