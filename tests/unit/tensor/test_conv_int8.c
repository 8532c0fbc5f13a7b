/* The convolution of bytes against plain loops over the unpacked weights; the
 * maximum against a search by hand. */
#include <string.h>

#include "base/mem.h"
#include "base/stream.h"
#include "support/check.h"
#include "tensor/conv_int8.h"

/* Channels in and out, groups, then down and across: in, kernel, stride,
 * dilation, pad. out follows. */
typedef struct conv_case {
    size_t in_c, out_c, groups;
    size_t in[2], kernel[2], stride[2], dilation[2], pad[2];
} conv_case;

static const conv_case cases[] = {
    {1, 1, 1, {1, 1}, {1, 1}, {1, 1}, {1, 1}, {0, 0}},
    {1, 32, 1, {28, 28}, {5, 5}, {1, 1}, {1, 1}, {2, 2}},
    {3, 20, 1, {9, 7}, {3, 3}, {2, 2}, {1, 1}, {1, 1}},
    {16, 33, 1, {6, 5}, {1, 1}, {1, 1}, {1, 1}, {0, 0}},
    {16, 33, 1, {6, 5}, {1, 1}, {2, 2}, {1, 1}, {0, 0}},
    {4, 8, 2, {8, 8}, {3, 3}, {1, 1}, {1, 1}, {1, 1}},
    {6, 6, 6, {8, 9}, {3, 3}, {1, 2}, {1, 1}, {1, 1}},
    {37, 37, 37, {6, 11}, {3, 3}, {1, 1}, {1, 2}, {1, 1}},
    {5, 7, 1, {11, 12}, {3, 2}, {1, 1}, {2, 3}, {2, 0}},
    {2, 3, 1, {1, 20}, {1, 4}, {1, 3}, {1, 1}, {0, 2}},
    {8, 5, 1, {7, 7}, {3, 3}, {1, 1}, {1, 1}, {0, 0}},
    {5, 5, 1, {7, 7}, {3, 3}, {1, 1}, {1, 1}, {0, 0}},
    {2, 4, 1, {2, 2}, {5, 5}, {1, 1}, {1, 1}, {4, 4}},
};

enum { N_CASES = sizeof cases / sizeof cases[0], BATCH = 2 };

static size_t out_of(const conv_case *c, size_t d)
{
    size_t window = (c->kernel[d] - 1) * c->dilation[d] + 1;
    return (c->in[d] + 2 * c->pad[d] - window) / c->stride[d] + 1;
}

static tb_int8_window window_of(const conv_case *c)
{
    tb_int8_window w = {.batch = BATCH, .in_c = c->in_c};
    for (size_t d = 0; d < 2; d++) {
        w.in[d] = c->in[d];
        w.out[d] = out_of(c, d);
        w.kernel[d] = c->kernel[d];
        w.stride[d] = c->stride[d];
        w.dilation[d] = c->dilation[d];
        w.pad[d] = c->pad[d];
    }
    return w;
}

static uint8_t *random_bytes(size_t n, uint64_t seed)
{
    tb_stream s;
    tb_stream_init(&s, seed, 0, "test", "");
    uint8_t *x = tb_mem_array(n, 1);
    CHECK(x != NULL);
    for (size_t i = 0; i < n; i++) {
        x[i] = (uint8_t)tb_stream_below(&s, 256);
    }
    return x;
}

static size_t work_bytes(const tb_conv_int8 *conv)
{
    size_t n = 0;
    tb_err err;
    CHECK_OK(tb_conv_int8_plan(&n, conv, &err), err);
    return n;
}

static void check_case(const tb_conv_int8 *conv)
{
    const tb_int8_window *g = &conv->window;
    size_t n_y = BATCH * g->out[0] * g->out[1] * conv->out_c;
    size_t n_w =
        conv->out_c * (g->in_c / conv->groups) * g->kernel[0] * g->kernel[1];
    uint8_t *x = random_bytes(BATCH * g->in_c * g->in[0] * g->in[1], 1);
    uint8_t *w = random_bytes(n_w, 2);
    int8_t *packed = tb_mem_array(tb_conv_int8_packed_bytes(conv), 1);
    size_t n_work = work_bytes(conv);
    void *work = tb_mem_aligned(n_work, 1);
    int32_t *y = tb_mem_array(n_y, sizeof *y);
    int32_t *want = tb_mem_array(n_y, sizeof *want);
    const tb_int8_finish f = {.to = TB_INT8_TO_SUMS};
    CHECK(packed != NULL && work != NULL && y != NULL && want != NULL);
    memset(work, 0xa5, n_work);
    tb_conv_int8_pack(packed, w, conv, false);
    tb_conv_int8_run(conv, x, packed, &f, y, work);
    tb_conv_int8_naive(conv, x, (const int8_t *)w, want);
    CHECK(memcmp(y, want, n_y * sizeof *y) == 0);
    tb_mem_free(x);
    tb_mem_free(w);
    tb_mem_free(packed);
    tb_mem_free(work);
    tb_mem_free(y);
    tb_mem_free(want);
}

static void every_window_gives_the_sums_of_plain_loops(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_CASES * 4; i++) {
        const conv_case *c = &cases[i % N_CASES];
        const tb_conv_int8 conv = {.window = window_of(c),
                                   .out_c = c->out_c,
                                   .groups = c->groups,
                                   .x_planes = (i / N_CASES & 1) != 0,
                                   .x_signed = (i / N_CASES & 2) != 0,
                                   .edge = 77};
        check_case(&conv);
    }
}

/* By hand: 2 x 2 ones over 3 x 3, edge 10, weights 1 2 3 4. */
static void edges_count_as_the_zero_point(void **state)
{
    (void)state;
    const tb_conv_int8 conv = {.window = {.batch = 1,
                                          .in_c = 1,
                                          .in = {2, 2},
                                          .out = {3, 3},
                                          .kernel = {2, 2},
                                          .stride = {1, 1},
                                          .dilation = {1, 1},
                                          .pad = {1, 1}},
                               .out_c = 1,
                               .groups = 1,
                               .edge = 10};
    const uint8_t x[4] = {1, 2, 3, 4};
    const int8_t w[4] = {1, 2, 3, 4};
    const int32_t want[9] = {64, 41, 76, 54, 30, 74, 86, 81, 94};
    const tb_int8_finish f = {.to = TB_INT8_TO_SUMS};
    int8_t packed[256];
    int32_t y[9];
    int32_t sums[1];
    _Alignas(64) uint8_t work[512];
    CHECK(tb_conv_int8_packed_bytes(&conv) <= sizeof packed);
    CHECK(work_bytes(&conv) <= sizeof work);
    tb_conv_int8_pack(packed, w, &conv, false);
    tb_conv_int8_weight_sums(sums, packed, &conv);
    tb_conv_int8_run(&conv, x, packed, &f, y, work);
    CHECK(memcmp(y, want, sizeof y) == 0 && sums[0] == 10);
}

static void bytes_and_scales_go_by_output_channel(void **state)
{
    (void)state;
    const tb_conv_int8 conv = {.window = {.batch = 2,
                                          .in_c = 2,
                                          .in = {1, 1},
                                          .out = {1, 1},
                                          .kernel = {1, 1},
                                          .stride = {1, 1},
                                          .dilation = {1, 1}},
                               .out_c = 2,
                               .groups = 2};
    const uint8_t x[4] = {10, 20, 30, 255};
    const int8_t w[2] = {2, -1};
    const int32_t bias[2] = {0, 100};
    const float scale[2] = {1.0f, 0.5f};
    const tb_int8_finish f = {.to = TB_INT8_TO_BYTES,
                              .bias = bias,
                              .scale = scale,
                              .low = -128.0f,
                              .high = 127.0f,
                              .zero = 128};
    _Alignas(64) int8_t packed[256];
    uint8_t y[4];
    _Alignas(64) uint8_t work[512];
    tb_conv_int8_pack(packed, w, &conv, false);
    tb_conv_int8_run(&conv, x, packed, &f, y, work);
    const uint8_t want[4] = {148, 168, 188, 50}; /* -77.5 goes to -78 */
    CHECK(memcmp(y, want, sizeof y) == 0);
}

static void windows_over_absurd_images_are_refused(void **state)
{
    (void)state;
    size_t n = 0;
    tb_err err;
    tb_conv_int8 conv = {.window = {.batch = 1,
                                    .in_c = 1,
                                    .in = {1, 1},
                                    .out = {1, 1},
                                    .kernel = {3, 3},
                                    .stride = {1, 1},
                                    .dilation = {SIZE_MAX / 4, 8},
                                    .pad = {SIZE_MAX / 4, 8}},
                         .out_c = 1,
                         .groups = 1};
    CHECK(tb_conv_int8_plan(&n, &conv, &err) == TB_E_LIMIT);
}

static void the_maximum_leaves_edges_out(void **state)
{
    (void)state;
    const tb_int8_window w = {.batch = 1,
                              .in_c = 2,
                              .in = {2, 3},
                              .out = {2, 2},
                              .kernel = {2, 2},
                              .stride = {1, 2},
                              .dilation = {1, 1},
                              .pad = {1, 1}};
    const uint8_t x[12] = {1, 200, 2, 100, 3, 150, 4, 255, 5, 128, 6, 127};
    uint8_t y[8];
    tb_max_int8(&w, false, x, y);
    const uint8_t unsigned_max[8] = {1, 200, 3, 150, 4, 255, 6, 150};
    CHECK(memcmp(y, unsigned_max, sizeof y) == 0);
    tb_max_int8(&w, true, x, y);
    const uint8_t signed_max[8] = {1, 200, 3, 100, 4, 255, 6, 127};
    CHECK(memcmp(y, signed_max, sizeof y) == 0);
}

static void pixels_become_planes(void **state)
{
    (void)state;
    const uint8_t x[12] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12};
    const uint8_t want[12] = {1, 4, 2, 5, 3, 6, 7, 10, 8, 11, 9, 12};
    uint8_t y[12];
    int32_t wide[12];
    int32_t turned[12];
    tb_planes_from_pixels(y, x, 2, 2, 3, 1);
    CHECK(memcmp(y, want, sizeof y) == 0);
    for (size_t i = 0; i < 12; i++) {
        wide[i] = x[i];
    }
    tb_planes_from_pixels(turned, wide, 2, 2, 3, 4);
    for (size_t i = 0; i < 12; i++) {
        CHECK(turned[i] == want[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_window_gives_the_sums_of_plain_loops),
        cmocka_unit_test(edges_count_as_the_zero_point),
        cmocka_unit_test(bytes_and_scales_go_by_output_channel),
        cmocka_unit_test(windows_over_absurd_images_are_refused),
        cmocka_unit_test(the_maximum_leaves_edges_out),
        cmocka_unit_test(pixels_become_planes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
