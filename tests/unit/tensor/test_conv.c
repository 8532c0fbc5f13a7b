/* Every way to convolve, with every set of instructions that this CPU has,
 * against the plain loops of the definition, in double. */
#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "base/stream.h"
#include "support/check.h"
#include "tensor/conv_priv.h"

/* batch, groups, in and out channels; then per dimension in, kernel, stride,
 * dilation, pad before and pad behind. */
typedef struct geometry {
    size_t batch, groups, in_channels, out_channels;
    size_t dim[TB_CONV_DIMS][6];
} geometry;

#define ONE                                                                    \
    {                                                                          \
        1, 1, 1, 1, 0, 0                                                       \
    }

/* clang-format off */
static const geometry cases[] = {
    {1, 1, 1, 1, {ONE, ONE, {1, 1, 1, 1, 0, 0}}},
    {2, 1, 3, 5, {ONE, ONE, {17, 3, 1, 1, 1, 1}}},
    {1, 1, 2, 3, {ONE, ONE, {40, 5, 3, 2, 4, 1}}},
    {2, 1, 1, 32, {ONE, {28, 5, 1, 1, 2, 2}, {28, 5, 1, 1, 2, 2}}},
    {3, 1, 16, 24, {ONE, {14, 5, 1, 1, 2, 2}, {14, 5, 1, 1, 2, 2}}},
    {2, 1, 16, 16, {ONE, {32, 3, 1, 1, 1, 1}, {32, 3, 1, 1, 1, 1}}},
    {2, 1, 16, 32, {ONE, {17, 3, 2, 1, 1, 1}, {15, 3, 2, 1, 1, 0}}},
    {2, 1, 20, 37, {ONE, {9, 3, 1, 1, 1, 1}, {11, 3, 1, 1, 0, 1}}},
    {1, 1, 48, 64, {ONE, {8, 3, 1, 1, 1, 1}, {8, 3, 1, 1, 1, 1}}},
    {2, 1, 24, 17, {ONE, {7, 1, 1, 1, 0, 0}, {9, 1, 1, 1, 0, 0}}},
    {2, 1, 8, 12, {ONE, {8, 1, 2, 1, 0, 0}, {9, 1, 2, 1, 0, 0}}},
    {2, 2, 6, 4, {ONE, {9, 3, 1, 2, 2, 1}, {8, 2, 2, 1, 1, 0}}},
    {1, 2, 16, 48, {ONE, {8, 5, 1, 1, 2, 2}, {7, 5, 1, 1, 2, 2}}},
    {2, 24, 24, 24, {ONE, {14, 3, 1, 1, 1, 1}, {14, 3, 1, 1, 1, 1}}},
    {2, 19, 19, 19, {ONE, {13, 3, 2, 1, 1, 1}, {35, 3, 2, 1, 1, 1}}},
    {1, 3, 3, 6, {ONE, {9, 5, 1, 1, 2, 2}, {21, 5, 1, 2, 2, 4}}},
    {1, 5, 5, 5, {ONE, ONE, {50, 7, 1, 1, 3, 3}}},
    {1, 1, 2, 3, {{5, 3, 1, 1, 1, 1}, {6, 2, 2, 1, 0, 0}, {7, 3, 2, 2, 2, 2}}},
    {1, 1, 2, 2, {ONE, {3, 2, 1, 1, 4, 4}, {3, 2, 5, 1, 4, 4}}},
    {5, 1, 17, 33, {ONE, {5, 2, 1, 1, 1, 0}, {6, 2, 1, 1, 0, 1}}},
    {1, 1, 33, 16, {ONE, {10, 4, 1, 1, 2, 1}, {40, 4, 1, 1, 1, 2}}},
};
/* clang-format on */

enum { N_CASES = sizeof cases / sizeof cases[0] };

static tb_conv conv_of(const geometry *g)
{
    tb_conv c = {.batch = g->batch,
                 .groups = g->groups,
                 .in_channels = g->in_channels,
                 .out_channels = g->out_channels};
    for (size_t d = 0; d < TB_CONV_DIMS; d++) {
        const size_t *v = g->dim[d];
        c.in[d] = v[0];
        c.kernel[d] = v[1];
        c.stride[d] = v[2];
        c.dilation[d] = v[3];
        c.pad[d] = v[4];
        c.out[d] = (v[0] + v[4] + v[5] - (v[1] - 1) * v[3] - 1) / v[2] + 1;
    }
    return c;
}

/* The operands of one case in memory of exactly their size, results set to
 * NaN, and what the plain loops say. */
typedef struct operands {
    tb_conv conv;
    size_t nx, nw, ny, nb;
    float *x, *w, *dy, *bias;
    float *y, *dx, *dw;
    double *want_y, *want_dx, *want_dw;
    void *work;
    size_t work_bytes;
} operands;

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

static float *empty_floats(size_t n)
{
    float *x = tb_mem_array(n, sizeof *x);
    CHECK(x != NULL);
    memset(x, 0xff, n * sizeof *x); /* NaN */
    return x;
}

static void setup_operands(operands *o, const geometry *g)
{
    tb_conv c = conv_of(g);
    *o = (operands){.conv = c,
                    .nx = c.batch * c.in_channels * tb_conv_volume(c.in),
                    .nw = c.out_channels * (c.in_channels / c.groups) *
                          tb_conv_volume(c.kernel),
                    .ny = c.batch * c.out_channels * tb_conv_volume(c.out),
                    .nb = c.out_channels};
    o->x = random_floats(o->nx, 1);
    o->w = random_floats(o->nw, 2);
    o->dy = random_floats(o->ny, 3);
    o->bias = random_floats(o->nb, 4);
    o->y = empty_floats(o->ny);
    o->dx = empty_floats(o->nx);
    o->dw = empty_floats(o->nw);
    o->want_y = tb_mem_array(o->ny, sizeof(double));
    o->want_dx = tb_mem_array(o->nx, sizeof(double));
    o->want_dw = tb_mem_array(o->nw, sizeof(double));
    CHECK(o->want_y != NULL && o->want_dx != NULL && o->want_dw != NULL);
    tb_conv_naive(&c, o->x, o->w, o->dy, o->want_y, o->want_dx, o->want_dw);
}

static void setup_work(operands *o, const tb_conv_way *way, unsigned parts)
{
    tb_mem_free(o->work);
    o->work_bytes = way->plan(&o->conv, parts);
    CHECK(o->work_bytes < SIZE_MAX);
    o->work = tb_mem_aligned(o->work_bytes, 1);
    CHECK(o->work != NULL);
    memset(o->work, 0xff, o->work_bytes);
}

static void release_operands(operands *o)
{
    float *floats[] = {o->x, o->w, o->dy, o->bias, o->y, o->dx, o->dw};
    for (size_t i = 0; i < sizeof floats / sizeof floats[0]; i++) {
        tb_mem_free(floats[i]);
    }
    tb_mem_free(o->want_y);
    tb_mem_free(o->want_dx);
    tb_mem_free(o->want_dw);
    tb_mem_free(o->work);
}

/* The norm of the difference is within 2e-6 of the norm, and no element is
 * further away than 1e-5 of the largest. */
static void check_near(const float *got, const double *want, size_t n)
{
    double diff = 0.0;
    double norm = 0.0;
    double most = 0.0;
    double largest = 0.0;
    for (size_t i = 0; i < n; i++) {
        double d = (double)got[i] - want[i];
        diff += d * d;
        norm += want[i] * want[i];
        most = fmax(most, isnan(d) ? INFINITY : fabs(d));
        largest = fmax(largest, fabs(want[i]));
    }
    CHECK(sqrt(diff) <= 2e-6 * sqrt(norm) + 1e-30);
    CHECK(most <= 1e-5 * largest + 1e-30);
}

typedef void check_fn(operands *, const tb_conv_way *, const tb_conv_set *);

/* Calls check for each way that fits and set of instructions. */
static void each_way(const geometry *g, check_fn *check)
{
    operands o;
    size_t n_sets = 0;
    size_t n_ways = 0;
    const tb_conv_set *const *sets = tb_conv_sets(&n_sets);
    const tb_conv_way *const *ways = tb_conv_ways(&n_ways);
    setup_operands(&o, g);
    for (size_t k = 0; k < 2 * n_ways * n_sets; k++) {
        const tb_conv_way *way = ways[k / n_sets / 2];
        const tb_conv_set *set = sets[k % n_sets];
        o.conv.exact = k / n_sets % 2 != 0;
        if (way->fits(&o.conv) && set->loops->usable() &&
            (!o.conv.exact || o.conv.kernel[2] == 3)) {
            check(&o, way, set);
        }
    }
    release_operands(&o);
}

static void each(check_fn *check)
{
    for (size_t i = 0; i < N_CASES; i++) {
        each_way(&cases[i], check);
    }
}

static void check_forward(operands *o, const tb_conv_way *way,
                          const tb_conv_set *set)
{
    setup_work(o, way, TB_CONV_Y);
    way->forward(set, &o->conv, o->x, o->w, NULL, o->y, o->work);
    check_near(o->y, o->want_y, o->ny);
}

static void a_forward_pass_agrees_with_plain_loops(void **state)
{
    (void)state;
    each(check_forward);
}

static void check_both_gradients(operands *o, const tb_conv_way *way,
                                 const tb_conv_set *set)
{
    setup_work(o, way, TB_CONV_DX | TB_CONV_DW);
    tb_conv_grads g = {
        .x = o->x, .w = o->w, .dy = o->dy, .dx = o->dx, .dw = o->dw};
    way->backward(set, &o->conv, &g, o->work);
    check_near(o->dx, o->want_dx, o->nx);
    check_near(o->dw, o->want_dw, o->nw);
}

static void check_dx_alone(operands *o, const tb_conv_way *way,
                           const tb_conv_set *set)
{
    setup_work(o, way, TB_CONV_DX);
    tb_conv_grads g = {.w = o->w, .dy = o->dy, .dx = o->dx};
    way->backward(set, &o->conv, &g, o->work);
    check_near(o->dx, o->want_dx, o->nx);
}

static void check_dw_alone(operands *o, const tb_conv_way *way,
                           const tb_conv_set *set)
{
    setup_work(o, way, TB_CONV_DW);
    tb_conv_grads g = {.x = o->x, .dy = o->dy, .dw = o->dw};
    way->backward(set, &o->conv, &g, o->work);
    check_near(o->dw, o->want_dw, o->nw);
}

static void gradients_agree_with_plain_loops(void **state)
{
    (void)state;
    each(check_both_gradients);
    each(check_dx_alone);
    each(check_dw_alone);
}

static size_t draw(tb_stream *s, size_t from, size_t to)
{
    return from + (size_t)(tb_stream_uniform(s) * (double)(to - from + 1));
}

/* Half of them fit Winograd's or the depthwise loops. */
static geometry draw_geometry(tb_stream *s)
{
    bool plain = draw(s, 0, 1) == 0;
    bool single = draw(s, 0, 2) == 0;
    size_t kernel = draw(s, 0, 1) == 0 ? 3 : 5;
    geometry g = {
        draw(s, 1, 3), 1, draw(s, 1, 18), draw(s, 1, 18), {ONE, ONE, ONE}};
    if (single) {
        g.groups = g.in_channels;
        g.out_channels = g.in_channels * draw(s, 1, 2);
    }
    for (size_t d = 1; d < TB_CONV_DIMS; d++) {
        size_t *v = g.dim[d];
        v[1] = plain ? kernel : draw(s, 1, 5);
        v[2] = plain ? 1 : draw(s, 1, 3);
        v[3] = plain ? 1 : draw(s, 1, 2);
        v[4] = draw(s, 0, 3);
        v[5] = draw(s, 0, 3);
        v[0] = draw(s, (v[1] - 1) * v[3] + 1, 18); /* one window at least */
    }
    return g;
}

static void geometries_drawn_by_chance_agree_too(void **state)
{
    enum { SEED = 7, N_DRAWN = 80 };
    tb_stream s;
    (void)state;
    print_message("seed %d\n", SEED);
    tb_stream_init(&s, SEED, 0, "geometry", "");
    for (size_t i = 0; i < N_DRAWN; i++) {
        geometry g = draw_geometry(&s);
        each_way(&g, check_forward);
        each_way(&g, check_both_gradients);
    }
}

static void check_end(operands *o, const tb_conv_way *way,
                      const tb_conv_set *set)
{
    size_t pixels = tb_conv_volume(o->conv.out);
    tb_conv c = o->conv;
    c.clamp = true;
    c.low = 0.0f;
    c.high = 0.75f;
    double *want = tb_mem_array(o->ny, sizeof *want);
    CHECK(want != NULL);
    for (size_t i = 0; i < o->ny; i++) {
        double v = o->want_y[i] + (double)o->bias[i / pixels % o->nb];
        want[i] = fmin(fmax(v, 0.0), 0.75);
    }
    setup_work(o, way, TB_CONV_Y);
    way->forward(set, &c, o->x, o->w, o->bias, o->y, o->work);
    for (size_t i = 0; i < o->ny; i++) {
        CHECK(fabs((double)o->y[i] - want[i]) <= 1e-4);
    }
    tb_mem_free(want);
}

static void bias_and_clamp_end_a_forward_pass(void **state)
{
    (void)state;
    each(check_end);
}

/* The promise of conv.h: same row, same bits, whatever lies beside it. */
static void check_last_row(operands *o, const tb_conv_way *way,
                           const tb_conv_set *set)
{
    tb_conv one = o->conv;
    one.batch = 1;
    size_t nx = o->nx / o->conv.batch;
    size_t ny = o->ny / o->conv.batch;
    float *y = empty_floats(ny);
    setup_work(o, way, TB_CONV_Y);
    way->forward(set, &o->conv, o->x, o->w, o->bias, o->y, o->work);
    way->forward(set, &one, o->x + o->nx - nx, o->w, o->bias, y, o->work);
    CHECK(memcmp(y, o->y + o->ny - ny, ny * sizeof *y) == 0);
    tb_mem_free(y);
}

static void a_row_has_the_same_bits_alone_and_in_a_batch(void **state)
{
    (void)state;
    each(check_last_row);
}

/* By hand: dy over two images and three pixels. */
static void the_gradient_of_the_bias_is_the_sum_over_its_channel(void **state)
{
    (void)state;
    tb_conv c =
        conv_of(&(geometry){2, 1, 1, 2, {ONE, ONE, {3, 1, 1, 1, 0, 0}}});
    const float dy[12] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12};
    float db[2];
    tb_conv_backward(&c, &(tb_conv_grads){.dy = dy, .db = db}, NULL);
    CHECK(db[0] == 30.0f && db[1] == 48.0f);
}

/* Norm of the error of a forward pass as users call it. */
static double forward_error(operands *o)
{
    size_t bytes = 0;
    double sum = 0;
    tb_err err;
    CHECK_OK(tb_conv_plan(&bytes, &o->conv, TB_CONV_Y, &err), err);
    void *work = tb_mem_aligned(bytes, 1);
    CHECK(work != NULL);
    tb_conv_forward(&o->conv, o->x, o->w, NULL, o->y, work);
    for (size_t i = 0; i < o->ny; i++) {
        double off = (double)o->y[i] - o->want_y[i];
        sum += off * off;
    }
    tb_mem_free(work);
    return sqrt(sum);
}

static void an_exact_forward_pass_rounds_half_as_much(void **state)
{
    static const geometry layer = {
        2, 1, 32, 32, {ONE, {16, 3, 1, 1, 1, 1}, {16, 3, 1, 1, 1, 1}}};
    operands o;
    (void)state;
    setup_operands(&o, &layer);
    double quick = forward_error(&o);
    o.conv.exact = true;
    double exact = forward_error(&o);
    release_operands(&o);
    print_message("error %.2g, exact %.2g\n", quick, exact);
    CHECK(exact > 0 && exact < 0.6 * quick);
}

static void extents_that_overflow_are_refused(void **state)
{
    (void)state;
    size_t bytes = 0;
    tb_conv c =
        conv_of(&(geometry){1, 1, 1, 1, {ONE, ONE, {3, 1, 1, 1, 0, 0}}});
    CHECK(tb_conv_plan(&bytes, &c, TB_CONV_Y, NULL) == TB_OK);
    tb_conv far = c;
    far.stride[2] = SIZE_MAX / 2;
    CHECK(tb_conv_plan(&bytes, &far, TB_CONV_Y, NULL) == TB_E_LIMIT);
    tb_conv wide = c;
    wide.kernel[2] = 3;
    wide.dilation[2] = SIZE_MAX - 1;
    CHECK(tb_conv_plan(&bytes, &wide, TB_CONV_Y, NULL) == TB_E_LIMIT);
    tb_conv large = c;
    large.in_channels = (size_t)1 << 20;
    large.kernel[0] = (size_t)1 << 12;
    CHECK(tb_conv_plan(&bytes, &large, TB_CONV_DW, NULL) == TB_E_LIMIT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_forward_pass_agrees_with_plain_loops),
        cmocka_unit_test(gradients_agree_with_plain_loops),
        cmocka_unit_test(geometries_drawn_by_chance_agree_too),
        cmocka_unit_test(bias_and_clamp_end_a_forward_pass),
        cmocka_unit_test(a_row_has_the_same_bits_alone_and_in_a_batch),
        cmocka_unit_test(the_gradient_of_the_bias_is_the_sum_over_its_channel),
        cmocka_unit_test(an_exact_forward_pass_rounds_half_as_much),
        cmocka_unit_test(extents_that_overflow_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
