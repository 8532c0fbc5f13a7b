/* Quantised graphs: fused into calls on bytes they say what the same graph says
 * node by node in float, within one step; and what cannot be fused stays. */
#include "exec/quantized.h"

#include <math.h>
#include <string.h>

#include "base/stream.h"
#include "exec/exec.h"
#include "support/check.h"
#include "support/graph_run.h"

enum { BATCH = 3 };

/* --- building ------------------------------------------------------------- */

typedef struct builder {
    tb_graph *g;
    tb_stream s;
    tb_value_id v; /* the end so far, in float */
} builder;

static builder begin(const tb_dims *dims)
{
    builder b = {0};
    tb_err err;
    tb_stream_init(&b.s, 7, 0, "test", "");
    CHECK_OK(tb_graph_new(&b.g, "quantised", TB_GRAPH_OPSET, &err), err);
    CHECK_OK(tb_graph_add_input(b.g, &b.v, "x", TB_F32, dims, &err), err);
    return b;
}

static tb_value_id data(builder *b, tb_dtype dtype, const tb_shape *shape,
                        const void *bytes)
{
    tb_err err;
    tb_value_id id = TB_ID_NONE;
    const tb_tensor t = tb_tensor_view(dtype, shape, (void *)(uintptr_t)bytes);
    char *name = tb_graph_fresh_name(b->g, "data");
    CHECK_OK(tb_graph_add_data(b->g, &id, name, TB_ROLE_CONST, &t, &err), err);
    tb_mem_free(name);
    return id;
}

static tb_value_id node(builder *b, const char *op, const tb_attr *attrs,
                        size_t n_attrs, const tb_value_id *in, size_t n_in)
{
    tb_err err;
    tb_value_id out = TB_ID_NONE;
    CHECK_OK(tb_graph_apply(b->g, &out,
                            &(tb_node_spec){.op = op,
                                            .attrs = attrs,
                                            .n_attrs = n_attrs,
                                            .in = in,
                                            .n_in = n_in},
                            &err),
             err);
    return out;
}

static void then(builder *b, const char *op)
{
    b->v = node(b, op, NULL, 0, &b->v, 1);
}

/* QuantizeLinear and DequantizeLinear of a whole tensor. */
static void pair(builder *b, float scale, int zero, bool is_signed)
{
    const tb_shape scalar = {0};
    uint8_t byte = (uint8_t)zero;
    tb_value_id in[3] = {b->v, data(b, TB_F32, &scalar, &scale),
                         data(b, is_signed ? TB_I8 : TB_U8, &scalar, &byte)};
    in[0] = node(b, "QuantizeLinear", NULL, 0, in, 3);
    b->v = node(b, "DequantizeLinear", NULL, 0, in, 3);
}

/* Random weights of int8 (or of uint8 around 128) with a scale an output. */
static tb_value_id weights(builder *b, const tb_shape *shape, size_t axis,
                           bool is_unsigned)
{
    size_t n = tb_shape_product(shape, 0, shape->rank);
    size_t n_out = shape->dim[axis];
    uint8_t *w = tb_mem_array(n, 1);
    uint8_t *zeros = tb_mem_array(n_out, 1);
    float *scale = tb_mem_array(n_out, sizeof *scale);
    const tb_attr attr = TB_ATTR_I("axis", (int64_t)axis);
    tb_dtype dtype = is_unsigned ? TB_U8 : TB_I8;
    CHECK(w != NULL && zeros != NULL && scale != NULL);
    for (size_t i = 0; i < n; i++) {
        w[i] = (uint8_t)tb_stream_below(&b->s, 256);
    }
    memset(zeros, is_unsigned ? 128 : 0, n_out);
    for (size_t i = 0; i < n_out; i++) {
        scale[i] = 0.0005f + 0.0001f * (float)(i % 5);
    }
    const tb_value_id in[3] = {data(b, dtype, shape, w),
                               data(b, TB_F32, &TB_SHAPE(n_out), scale),
                               data(b, dtype, &TB_SHAPE(n_out), zeros)};
    tb_mem_free(w);
    tb_mem_free(zeros);
    tb_mem_free(scale);
    return node(b, "DequantizeLinear", &attr, 1, in, 3);
}

/* A bias of int32 by scales that fit the weights' and x_scale. */
static tb_value_id bias(builder *b, size_t n, float x_scale)
{
    int32_t q[64];
    float scale[64];
    const tb_attr attr = TB_ATTR_I("axis", 0);
    CHECK(n <= 64);
    for (size_t i = 0; i < n; i++) {
        q[i] = (int32_t)tb_stream_below(&b->s, 20000) - 10000;
        scale[i] = x_scale * (0.0005f + 0.0001f * (float)(i % 5));
    }
    const tb_value_id in[2] = {data(b, TB_I32, &TB_SHAPE(n), q),
                               data(b, TB_F32, &TB_SHAPE(n), scale)};
    return node(b, "DequantizeLinear", &attr, 1, in, 2);
}

static void conv(builder *b, const tb_shape *w, float x_scale, int64_t pad,
                 int64_t group)
{
    const int64_t pads[4] = {pad, pad, pad, pad};
    const tb_attr attrs[] = {
        {.name = "pads", .kind = TB_ATTR_INTS, .ints = pads, .n = 4},
        TB_ATTR_I("group", group)};
    const tb_value_id in[3] = {b->v, weights(b, w, 0, false),
                               bias(b, w->dim[0], x_scale)};
    b->v = node(b, "Conv", attrs, 2, in, 3);
}

static void pool(builder *b)
{
    const int64_t two[2] = {2, 2};
    const tb_attr attrs[] = {
        {.name = "kernel_shape", .kind = TB_ATTR_INTS, .ints = two, .n = 2},
        {.name = "strides", .kind = TB_ATTR_INTS, .ints = two, .n = 2}};
    b->v = node(b, "MaxPool", attrs, 2, &b->v, 1);
}

static void gemm(builder *b, size_t k, size_t n, float x_scale)
{
    const tb_attr attr = TB_ATTR_I("transB", 1);
    const tb_value_id in[3] = {b->v, weights(b, &TB_SHAPE(n, k), 0, false),
                               bias(b, n, x_scale)};
    b->v = node(b, "Gemm", &attr, 1, in, 3);
}

/* --- comparing ------------------------------------------------------------ */

/* Largest difference between the fused and the plain run of the graph; n_calls:
 * how many calls the fused one must have. */
static double difference(builder *b, size_t n_calls)
{
    tb_err err;
    graph_run plain;
    tb_exec *e = NULL;
    CHECK_OK(tb_graph_add_output(b->g, b->v, &err), err);
    CHECK_OK(
        graph_run_init(&plain, b->g, &(tb_bind_options){.batch = BATCH}, &err),
        err);
    CHECK_OK(tb_exec_new(&e, b->g, BATCH, &err), err);
    const tb_tensor *x = tb_exec_input(e, 0);
    float *raw = x->data;
    for (size_t i = 0; i < tb_tensor_count(x); i++) {
        raw[i] = (float)tb_stream_uniform(&b->s) * 2.0f - 0.5f;
    }
    memcpy(plain.values[b->g->inputs[0]].data, raw, tb_tensor_bytes(x));
    graph_run_go(&plain, NULL);
    tb_exec_run(e);
    const tb_tensor *y = tb_exec_output(e, 0);
    const tb_tensor *want = &plain.values[b->g->outputs[0]];
    CHECK(tb_shape_equal(&y->shape, &want->shape) && y->dtype == want->dtype);
    double worst = 0.0;
    double spread = 0.0;
    for (size_t i = 0; i < tb_tensor_count(y); i++) {
        double a = tb_tensor_f64_at(y, i);
        double c = tb_tensor_f64_at(want, i);
        worst = fmax(worst, fabs(a - c));
        spread = fmax(spread, fabs(c - tb_tensor_f64_at(want, 0)));
    }
    CHECK(spread > 10.0 * worst); /* the outputs say something */
    assert_int_equal(tb_exec_n_calls(e), n_calls);
    graph_run_release(&plain);
    tb_exec_free(&e);
    tb_graph_free(&b->g);
    return worst;
}

static const tb_dims image = {.rank = 4, .dim = {TB_DIM_ANY, 2, 12, 12}};

static void a_convolution_is_one_call_within_one_step(void **state)
{
    (void)state;
    for (int is_signed = 0; is_signed < 2; is_signed++) {
        builder b = begin(&image);
        pair(&b, 0.01f, is_signed ? -60 : 50, is_signed);
        conv(&b, &TB_SHAPE(8, 2, 3, 3), 0.01f, 1, 1);
        then(&b, "Relu");
        pair(&b, 0.004f, is_signed ? -128 : 0, is_signed);
        /* QuantizeLinear, Int8Conv, DequantizeLinear */
        CHECK(difference(&b, 3) <= 0.00401);
    }
}

static void groups_and_pools_agree(void **state)
{
    (void)state;
    builder b = begin(&image);
    pair(&b, 0.01f, 50, false);
    conv(&b, &TB_SHAPE(6, 1, 3, 3), 0.01f, 0, 2);
    pool(&b);
    pair(&b, 0.01f, 100, false);
    CHECK(difference(&b, 4) <= 0.01001);
}

/* Bytes stay bytes through the whole network: they lie as pixels, and the
 * first product takes them flat. */
static void a_whole_network_runs_on_bytes(void **state)
{
    (void)state;
    builder b = begin(&image);
    pair(&b, 0.01f, 50, false);
    conv(&b, &TB_SHAPE(8, 2, 3, 3), 0.01f, 1, 1);
    then(&b, "Relu");
    pool(&b);
    pair(&b, 0.008f, 0, false);
    conv(&b, &TB_SHAPE(5, 8, 3, 3), 0.008f, 1, 1);
    then(&b, "Relu");
    pair(&b, 0.03f, 0, false); /* the same again behind pool and Flatten */
    pool(&b);
    pair(&b, 0.03f, 0, false);
    then(&b, "Flatten");
    pair(&b, 0.03f, 0, false);
    gemm(&b, 45, 7, 0.03f);
    then(&b, "Relu");
    pair(&b, 0.05f, 0, false);
    gemm(&b, 7, 4, 0.05f);
    /* QuantizeLinear, conv, pool, conv, pool, gemm, gemm. No byte of these
     * lies so near to a half that float32 could round it another way. */
    CHECK(difference(&b, 7) <= 1e-6);
}

/* Bytes that float nodes read too lie as ONNX has them. */
static void a_branch_in_float_sees_the_right_elements(void **state)
{
    (void)state;
    builder b = begin(&image);
    pair(&b, 0.01f, 50, false);
    conv(&b, &TB_SHAPE(2, 2, 3, 3), 0.01f, 1, 1);
    pair(&b, 0.01f, 128, false);
    tb_value_id in[2] = {b.v, TB_ID_NONE};
    conv(&b, &TB_SHAPE(2, 2, 3, 3), 0.01f, 1, 1);
    in[1] = b.v;
    b.v = node(&b, "Add", NULL, 0, in, 2);
    /* QuantizeLinear, conv, DequantizeLinear, conv to float, Add */
    CHECK(difference(&b, 5) <= 18 * 0.01 * 0.1154 + 0.01);
}

static void a_product_takes_its_bias_from_an_addition(void **state)
{
    (void)state;
    const tb_dims rows = {.rank = 3, .dim = {TB_DIM_ANY, 4, 9}};
    float add[6] = {0.1f, -0.2f, 0.3f, 0.0f, 1.0f, -1.0f};
    builder b = begin(&rows);
    pair(&b, 0.01f, 50, false);
    tb_value_id in[2] = {b.v, weights(&b, &TB_SHAPE(9, 6), 1, true)};
    in[0] = node(&b, "MatMul", NULL, 0, in, 2);
    in[1] = data(&b, TB_F32, &TB_SHAPE(6), add);
    in[0] = node(&b, "Add", NULL, 0, in, 2);
    b.v = node(&b, "Relu", NULL, 0, in, 1);
    /* QuantizeLinear, Int8Gemm; half a step of the sums for the bias */
    CHECK(difference(&b, 2) <= 0.5 * 0.01 * 0.0009 + 1e-6);
}

static void nothing_is_fused_where_nothing_is_quantised(void **state)
{
    (void)state;
    tb_err err;
    tb_graph *fused = NULL;
    builder b = begin(&image);
    then(&b, "Relu");
    CHECK_OK(tb_graph_add_output(b.g, b.v, &err), err);
    CHECK_OK(tb_quantized_fuse(&fused, b.g, &err), err);
    CHECK(fused == NULL);
    tb_graph_free(&b.g);
}

/* QLinearConv of random weights: x by x_scale and 50, y by y_scale and 10. */
static void linear_conv(builder *b, const tb_shape *w, float x_scale,
                        float y_scale)
{
    const tb_shape scalar = {0};
    const float w_scale = 0.002f;
    const uint8_t zeros[3] = {50, 0, 10};
    int8_t bytes[1024];
    int32_t q[8];
    size_t n = tb_shape_product(w, 0, w->rank);
    CHECK(n <= sizeof bytes && w->dim[0] <= 8);
    for (size_t i = 0; i < n; i++) {
        bytes[i] = (int8_t)((int)tb_stream_below(&b->s, 255) - 127);
    }
    for (size_t i = 0; i < w->dim[0]; i++) {
        q[i] = (int32_t)tb_stream_below(&b->s, 20000) - 10000;
    }
    const tb_value_id in[9] = {b->v,
                               data(b, TB_F32, &scalar, &x_scale),
                               data(b, TB_U8, &scalar, &zeros[0]),
                               data(b, TB_I8, w, bytes),
                               data(b, TB_F32, &scalar, &w_scale),
                               data(b, TB_I8, &scalar, &zeros[1]),
                               data(b, TB_F32, &scalar, &y_scale),
                               data(b, TB_U8, &scalar, &zeros[2]),
                               data(b, TB_I32, &TB_SHAPE(w->dim[0]), q)};
    b->v = node(b, "QLinearConv", NULL, 0, in, 9);
}

/* Weights of QLinear operators are packed once as well. */
static void linear_operators_run_on_packed_weights(void **state)
{
    (void)state;
    const tb_shape scalar = {0};
    const float scales[3] = {0.02f, 0.01f, 0.5f};
    const uint8_t zeros[3] = {10, 0, 100};
    int8_t w[4 * 3];
    builder b = begin(&image);
    tb_value_id in[8] = {b.v, data(&b, TB_F32, &scalar, &scales[1]),
                         data(&b, TB_U8, &scalar, (uint8_t[]){50})};
    b.v = node(&b, "QuantizeLinear", NULL, 0, in, 3);
    linear_conv(&b, &TB_SHAPE(6, 2, 3, 3), 0.01f, 0.03f);
    pool(&b);
    linear_conv(&b, &TB_SHAPE(4, 6, 5, 5), 0.03f, 0.02f);
    then(&b, "Flatten");
    for (size_t i = 0; i < sizeof w; i++) {
        w[i] = (int8_t)((int)(i * 37 % 255) - 127);
    }
    in[0] = b.v;
    in[1] = data(&b, TB_F32, &scalar, &scales[0]);
    in[2] = data(&b, TB_U8, &scalar, &zeros[0]);
    in[3] = data(&b, TB_I8, &TB_SHAPE(4, 3), w);
    in[4] = data(&b, TB_F32, &scalar, &scales[1]);
    in[5] = data(&b, TB_I8, &scalar, &zeros[1]);
    in[6] = data(&b, TB_F32, &scalar, &scales[2]);
    in[7] = data(&b, TB_U8, &scalar, &zeros[2]);
    b.v = node(&b, "QLinearMatMul", NULL, 0, in, 8);
    /* QuantizeLinear, conv, pool, conv, gemm; the outputs are bytes */
    CHECK(difference(&b, 5) <= 1.0);
}

/* What training may move is never packed. */
static void a_bias_that_trains_keeps_its_layer_in_float(void **state)
{
    (void)state;
    const tb_dims rows = {.rank = 2, .dim = {TB_DIM_ANY, 3}};
    const float start[2] = {0.0f, 0.0f};
    const float later[2] = {5.0f, -7.0f};
    tb_err err;
    tb_exec *e = NULL;
    tb_graph *fused = NULL;
    builder b = begin(&rows);
    pair(&b, 0.01f, 0, false);
    const tb_tensor t =
        tb_tensor_view(TB_F32, &TB_SHAPE(2), (void *)(uintptr_t)start);
    tb_value_id in[3] = {b.v, weights(&b, &TB_SHAPE(3, 2), 1, false),
                         TB_ID_NONE};
    CHECK_OK(tb_graph_add_data(b.g, &in[2], "bias", TB_ROLE_PARAM, &t, &err),
             err);
    b.v = node(&b, "Gemm", NULL, 0, in, 3);
    CHECK_OK(tb_graph_add_output(b.g, b.v, &err), err);
    CHECK_OK(tb_quantized_fuse(&fused, b.g, &err), err);
    CHECK(fused == NULL);
    CHECK_OK(tb_exec_new(&e, b.g, 1, &err), err);
    CHECK_OK(tb_params_set(b.g, later, 2, &err), err);
    tb_exec_run(e); /* of zeros */
    CHECK(memcmp(tb_exec_output(e, 0)->data, later, sizeof later) == 0);
    tb_exec_free(&e);
    tb_graph_free(&b.g);
}

/* The copy that is bound reads the graph's own parameters. */
static void parameters_that_are_set_later_are_seen(void **state)
{
    (void)state;
    const tb_dims rows = {.rank = 2, .dim = {TB_DIM_ANY, 3}};
    const float start[2] = {0.0f, 0.0f};
    const float later[2] = {5.0f, -7.0f};
    tb_err err;
    tb_exec *e = NULL;
    builder b = begin(&rows);
    pair(&b, 0.01f, 0, false);
    const tb_tensor t =
        tb_tensor_view(TB_F32, &TB_SHAPE(2), (void *)(uintptr_t)start);
    tb_value_id in[2] = {b.v, weights(&b, &TB_SHAPE(3, 2), 1, false)};
    in[0] = node(&b, "MatMul", NULL, 0, in, 2);
    CHECK_OK(tb_graph_add_data(b.g, &in[1], "shift", TB_ROLE_PARAM, &t, &err),
             err);
    b.v = node(&b, "Add", NULL, 0, in, 2);
    CHECK_OK(tb_graph_add_output(b.g, b.v, &err), err);
    CHECK_OK(tb_exec_new(&e, b.g, 1, &err), err);
    CHECK(tb_exec_n_calls(e) == 3); /* QuantizeLinear, Int8Gemm, Add */
    CHECK_OK(tb_params_set(b.g, later, 2, &err), err);
    tb_exec_run(e); /* of zeros */
    CHECK(memcmp(tb_exec_output(e, 0)->data, later, sizeof later) == 0);
    tb_exec_set_params(e, start);
    tb_exec_run(e);
    CHECK(memcmp(tb_exec_output(e, 0)->data, start, sizeof start) == 0);
    tb_exec_free(&e);
    tb_graph_free(&b.g);
}

static void bytes_of_the_wrong_type_are_refused(void **state)
{
    (void)state;
    const tb_shape scalar = {0};
    const tb_dims rows = {.rank = 2, .dim = {TB_DIM_ANY, 3}};
    const float scale = 0.1f;
    const uint8_t zero = 0;
    tb_err err;
    tb_exec *e = NULL;
    builder b = begin(&rows);
    tb_value_id x = TB_ID_NONE;
    CHECK_OK(tb_graph_add_input(b.g, &x, "bytes", TB_I8, &rows, &err), err);
    const tb_value_id in[3] = {x, data(&b, TB_F32, &scalar, &scale),
                               data(&b, TB_U8, &scalar, &zero)};
    b.v = node(&b, "DequantizeLinear", NULL, 0, in, 3);
    gemm(&b, 3, 2, 0.1f);
    CHECK_OK(tb_graph_add_output(b.g, b.v, &err), err);
    CHECK_ERR(tb_exec_new(&e, b.g, 1, &err), TB_E_MISMATCH, err, "zero point");
    tb_graph_free(&b.g);
}

/* What no reader of files lets through, but a program may build. */
static void nodes_without_their_operands_are_left_to_binding(void **state)
{
    (void)state;
    static const char *const ops[] = {"Conv", "Gemm", "MatMul", "QLinearConv",
                                      "QLinearMatMul"};
    for (size_t i = 0; i < sizeof ops / sizeof *ops; i++) {
        for (size_t n = 1; n <= 2; n++) {
            tb_err err;
            tb_exec *e = NULL;
            builder b = begin(&image);
            pair(&b, 0.1f, 3, false);
            const tb_value_id in[2] = {b.v, b.v};
            b.v = node(&b, ops[i], NULL, 0, in, n);
            then(&b, "DequantizeLinear");
            CHECK_OK(tb_graph_add_output(b.g, b.v, &err), err);
            CHECK(tb_exec_new(&e, b.g, 1, &err) != TB_OK && e == NULL);
            tb_graph_free(&b.g);
        }
    }
}

static tb_rc make(void *arg, tb_err *err)
{
    tb_exec *e = NULL;
    tb_rc rc = tb_exec_new(&e, arg, BATCH, err);
    tb_exec_free(&e);
    return rc;
}

static void survives_each_allocation_failing(void **state)
{
    (void)state;
    tb_err err;
    builder b = begin(&image);
    pair(&b, 0.01f, 50, false);
    conv(&b, &TB_SHAPE(4, 2, 3, 3), 0.01f, 1, 1);
    pool(&b);
    pair(&b, 0.02f, 100, false);
    conv(&b, &TB_SHAPE(2, 4, 3, 3), 0.02f, 1, 1);
    CHECK_OK(tb_graph_add_output(b.g, b.v, &err), err);
    CHECK(tb_check_each_allocation(make, b.g) > 20);
    tb_graph_free(&b.g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_convolution_is_one_call_within_one_step),
        cmocka_unit_test(groups_and_pools_agree),
        cmocka_unit_test(a_whole_network_runs_on_bytes),
        cmocka_unit_test(a_branch_in_float_sees_the_right_elements),
        cmocka_unit_test(a_product_takes_its_bias_from_an_addition),
        cmocka_unit_test(nothing_is_fused_where_nothing_is_quantised),
        cmocka_unit_test(linear_operators_run_on_packed_weights),
        cmocka_unit_test(a_bias_that_trains_keeps_its_layer_in_float),
        cmocka_unit_test(parameters_that_are_set_later_are_seen),
        cmocka_unit_test(bytes_of_the_wrong_type_are_refused),
        cmocka_unit_test(nodes_without_their_operands_are_left_to_binding),
        cmocka_unit_test(survives_each_allocation_failing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
