/* The integer operators against their definitions, written out over the
 * unpacked tensors: (x - zero_x) (w - zero_w), summed; and scales in blocks. */
#include <math.h>
#include <string.h>

#include "base/stream.h"
#include "support/check.h"
#include "support/graph_run.h"

typedef struct bench {
    tb_graph *g;
    tb_stream s;
    tb_value_id in[9];
    size_t n_in;
    graph_run run;
} bench;

static bench begin(int opset)
{
    bench b = {0};
    tb_err err;
    tb_stream_init(&b.s, 9, 0, "test", "");
    CHECK_OK(tb_graph_new(&b.g, "ints", opset, &err), err);
    return b;
}

/* The next input of the operator, a constant. */
static void give(bench *b, tb_dtype dtype, const tb_shape *shape,
                 const void *bytes)
{
    const char name[] = {'i', (char)('0' + b->n_in), '\0'};
    const tb_tensor t = tb_tensor_view(dtype, shape, (void *)(uintptr_t)bytes);
    tb_err err;
    CHECK_OK(tb_graph_add_data(b->g, &b->in[b->n_in++], name, TB_ROLE_CONST, &t,
                               &err),
             err);
}

static void give_random(bench *b, tb_dtype dtype, const tb_shape *shape)
{
    uint8_t bytes[512];
    size_t n = tb_shape_product(shape, 0, shape->rank);
    CHECK(n <= sizeof bytes);
    for (size_t i = 0; i < n; i++) {
        bytes[i] = (uint8_t)tb_stream_below(&b->s, 256);
    }
    give(b, dtype, shape, bytes);
}

static void give_float(bench *b, float x)
{
    const tb_shape scalar = {0};
    give(b, TB_F32, &scalar, &x);
}

static void give_byte(bench *b, tb_dtype dtype, int x)
{
    const tb_shape scalar = {0};
    const uint8_t byte = (uint8_t)x;
    give(b, dtype, &scalar, &byte);
}

/* Runs the operator over what was given; its output. */
static const tb_tensor *result(bench *b, const char *op, const tb_attr *attrs,
                               size_t n_attrs)
{
    tb_err err;
    tb_value_id y = TB_ID_NONE;
    const tb_node_spec spec = {.op = op,
                               .attrs = attrs,
                               .n_attrs = n_attrs,
                               .in = b->in,
                               .n_in = b->n_in};
    CHECK_OK(tb_graph_apply(b->g, &y, &spec, &err), err);
    CHECK_OK(tb_graph_add_output(b->g, y, &err), err);
    CHECK_OK(
        graph_run_init(&b->run, b->g, &(tb_bind_options){.batch = 1}, &err),
        err);
    graph_run_go(&b->run, NULL);
    return &b->run.values[y];
}

static void end(bench *b)
{
    graph_run_release(&b->run);
    tb_graph_free(&b->g);
}

/* Element i of input k, its zero point taken off. */
static int64_t centred(const bench *b, size_t k, size_t i, size_t zero,
                       size_t zero_at)
{
    const tb_tensor *z = &tb_graph_value(b->g, b->in[zero])->data;
    size_t at = tb_tensor_count(z) == 1 ? 0 : zero_at;
    return tb_tensor_i64_at(&tb_graph_value(b->g, b->in[k])->data, i) -
           tb_tensor_i64_at(z, at);
}

static void a_product_of_bytes_is_its_definition(void **state)
{
    (void)state;
    enum { B = 2, M = 3, K = 7, N = 5 };
    for (int types = 0; types < 4; types++) {
        tb_dtype a = (types & 1) != 0 ? TB_I8 : TB_U8;
        tb_dtype w = (types & 2) != 0 ? TB_I8 : TB_U8;
        bench b = begin(17);
        give_random(&b, a, &TB_SHAPE(B, M, K));
        give_random(&b, w, &TB_SHAPE(K, N));
        give_random(&b, a, &TB_SHAPE(M)); /* a zero point a row */
        give_random(&b, w, &TB_SHAPE(N)); /* and one a column */
        const tb_tensor *y = result(&b, "MatMulInteger", NULL, 0);
        CHECK(tb_shape_equal(&y->shape, &TB_SHAPE(B, M, N)));
        for (size_t i = 0; i < (size_t)B * M * N; i++) {
            int64_t sum = 0;
            for (size_t p = 0; p < K; p++) {
                sum += centred(&b, 0, i / N * K + p, 2, i / N % M) *
                       centred(&b, 1, p * N + i % N, 3, i % N);
            }
            CHECK(tb_tensor_i64_at(y, i) == sum);
        }
        end(&b);
    }
}

static void a_scaled_product_is_rounded_once(void **state)
{
    (void)state;
    enum { M = 4, K = 6, N = 3 };
    const float w_scale[N] = {0.01f, 0.02f, 0.005f};
    bench b = begin(17);
    give_random(&b, TB_U8, &TB_SHAPE(M, K));
    give_float(&b, 0.03f);
    give_byte(&b, TB_U8, 100);
    give_random(&b, TB_I8, &TB_SHAPE(K, N));
    give(&b, TB_F32, &TB_SHAPE(N), w_scale);
    give_random(&b, TB_I8, &TB_SHAPE(N));
    give_float(&b, 0.2f);
    give_byte(&b, TB_I8, -20);
    const tb_tensor *y = result(&b, "QLinearMatMul", NULL, 0);
    CHECK(y->dtype == TB_I8);
    for (size_t i = 0; i < (size_t)M * N; i++) {
        int64_t sum = 0;
        for (size_t p = 0; p < K; p++) {
            sum += centred(&b, 0, i / N * K + p, 2, 0) *
                   centred(&b, 3, p * N + i % N, 5, i % N);
        }
        double real = (double)sum * 0.03 * (double)w_scale[i % N] / 0.2;
        double q = fmin(fmax(nearbyint(real) - 20.0, -128.0), 127.0);
        CHECK(tb_tensor_i64_at(y, i) == (int64_t)q);
    }
    end(&b);
}

/* The sum of one output of a convolution with pads of 1: x at input 0 with
 * zero point x_zero, w at input w with zero point w_zero. */
typedef struct conv_ends {
    size_t x_zero, w, w_zero;
    size_t groups, in_c, side, out_c, kernel;
} conv_ends;

static int64_t conv_sum(const bench *b, const conv_ends *e, size_t o, size_t r,
                        size_t q)
{
    size_t c = e->in_c / e->groups;
    size_t first = o / (e->out_c / e->groups) * c;
    int64_t sum = 0;
    for (size_t t = 0; t < c * e->kernel * e->kernel; t++) {
        size_t y = r + t / e->kernel % e->kernel;
        size_t x = q + t % e->kernel;
        size_t channel = first + t / e->kernel / e->kernel;
        if (y >= 1 && x >= 1 && y <= e->side && x <= e->side) {
            size_t at = (channel * e->side + y - 1) * e->side + x - 1;
            sum += centred(b, 0, at, e->x_zero, 0) *
                   centred(b, e->w, o * c * e->kernel * e->kernel + t,
                           e->w_zero, o);
        }
    }
    return sum;
}

static const int64_t pads[4] = {1, 1, 1, 1};

static void a_convolution_of_bytes_is_its_definition(void **state)
{
    (void)state;
    const conv_ends e = {2, 1, 3, 2, 4, 5, 6, 3};
    const tb_attr attrs[] = {
        {.name = "pads", .kind = TB_ATTR_INTS, .ints = pads, .n = 4},
        TB_ATTR_I("group", 2)};
    for (int types = 0; types < 4; types++) {
        tb_dtype x = (types & 1) != 0 ? TB_I8 : TB_U8;
        tb_dtype w = (types & 2) != 0 ? TB_I8 : TB_U8;
        bench b = begin(17);
        give_random(&b, x, &TB_SHAPE(1, e.in_c, e.side, e.side));
        give_random(&b, w, &TB_SHAPE(e.out_c, 2, 3, 3));
        give_byte(&b, x, 99);
        give_random(&b, w, &TB_SHAPE(e.out_c));
        const tb_tensor *y = result(&b, "ConvInteger", attrs, 2);
        CHECK(tb_shape_equal(&y->shape, &TB_SHAPE(1, 6, 5, 5)));
        for (size_t i = 0; i < 150; i++) {
            CHECK(tb_tensor_i64_at(y, i) ==
                  conv_sum(&b, &e, i / 25, i / 5 % 5, i % 5));
        }
        end(&b);
    }
}

static void a_scaled_convolution_adds_its_bias_first(void **state)
{
    (void)state;
    const conv_ends e = {2, 3, 5, 1, 2, 5, 3, 3};
    const float w_scale[3] = {0.01f, 0.02f, 0.005f};
    const int32_t bias[3] = {5000, -3000, 0};
    const tb_attr attr = {
        .name = "pads", .kind = TB_ATTR_INTS, .ints = pads, .n = 4};
    bench b = begin(17);
    give_random(&b, TB_I8, &TB_SHAPE(1, e.in_c, e.side, e.side));
    give_float(&b, 0.03f);
    give_byte(&b, TB_I8, -30);
    give_random(&b, TB_U8, &TB_SHAPE(e.out_c, 2, 3, 3));
    give(&b, TB_F32, &TB_SHAPE(3), w_scale);
    give_random(&b, TB_U8, &TB_SHAPE(e.out_c));
    give_float(&b, 0.2f);
    give_byte(&b, TB_U8, 120);
    give(&b, TB_I32, &TB_SHAPE(3), bias);
    const tb_tensor *y = result(&b, "QLinearConv", &attr, 1);
    for (size_t i = 0; i < 75; i++) {
        size_t o = i / 25;
        double sum = (double)(conv_sum(&b, &e, o, i / 5 % 5, i % 5) + bias[o]);
        double real = sum * 0.03 * (double)w_scale[o] / 0.2;
        double q = fmin(fmax(nearbyint(real) + 120.0, 0.0), 255.0);
        CHECK(tb_tensor_i64_at(y, i) == (int64_t)q);
    }
    end(&b);
}

/* The case test_quantizelinear_blocked_asymmetric of ONNX 1.16. */
static void scales_stand_for_blocks_of_an_axis(void **state)
{
    (void)state;
    const float x[12] = {6, 12, 50, 5, 50, 5, 0, 1, 5, 10, 13, 42};
    const float scale[6] = {1.5f, 2.5f, 3.0f, 4.9f, 5.1f, 6.9f};
    const uint8_t zero[6] = {0, 1, 5, 2, 7, 3};
    bench b = begin(21);
    const tb_attr attrs[] = {TB_ATTR_I("axis", 1), TB_ATTR_I("block_size", 2)};
    give(&b, TB_F32, &TB_SHAPE(3, 4), x);
    give(&b, TB_F32, &TB_SHAPE(3, 2), scale);
    give(&b, TB_U8, &TB_SHAPE(3, 2), zero);
    const tb_tensor *y = result(&b, "QuantizeLinear", attrs, 2);
    for (size_t i = 0; i < 12; i++) {
        size_t at = i / 4 * 2 + i % 4 / 2;
        double q = nearbyint((double)(x[i] / scale[at])) + zero[at];
        CHECK(tb_tensor_i64_at(y, i) == (int64_t)q);
    }
    end(&b);
}

static void sixteen_bits_and_half_floats_pass(void **state)
{
    (void)state;
    const uint16_t half[2] = {0x3800, 0x4000}; /* 0.5, 2 */
    const int16_t q[4] = {-32768, 32767, 100, -100};
    const int16_t zero[2] = {0, 10};
    const double want[4] = {-16384.0, 16384.0, 180.0, -220.0};
    const tb_attr axis = TB_ATTR_I("axis", 0);
    bench b = begin(21);
    give(&b, TB_I16, &TB_SHAPE(2, 2), q);
    give(&b, TB_F16, &TB_SHAPE(2), half);
    give(&b, TB_I16, &TB_SHAPE(2), zero);
    const tb_tensor *y = result(&b, "DequantizeLinear", &axis, 1);
    CHECK(y->dtype == TB_F16);
    for (size_t i = 0; i < 4; i++) { /* 16383.5 is no half float */
        CHECK(tb_tensor_f64_at(y, i) == want[i]);
    }
    end(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_product_of_bytes_is_its_definition),
        cmocka_unit_test(a_scaled_product_is_rounded_once),
        cmocka_unit_test(a_convolution_of_bytes_is_its_definition),
        cmocka_unit_test(a_scaled_convolution_adds_its_bias_first),
        cmocka_unit_test(scales_stand_for_blocks_of_an_axis),
        cmocka_unit_test(sixteen_bits_and_half_floats_pass),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
