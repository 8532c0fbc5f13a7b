/* Compression of convolutions: filters that are dead leave no trace when they
 * go, and a quantised CNN says what the float one says. */
#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "base/stream.h"
#include "compress/fold.h"
#include "compress/layer.h"
#include "compress/pass.h"
#include "exec/exec.h"
#include "model/params.h"
#include "support/check.h"

enum { ROWS = 8, SIDE = 8, N_X = SIDE * SIDE, N_Y = 3 };

typedef struct builder {
    tb_graph *g;
    tb_stream s;
    tb_value_id v;
} builder;

/* An initialiser of uniform numbers in [low, high). */
static tb_value_id data(builder *b, const char *name, const tb_shape *shape,
                        double low, double high)
{
    tb_err err;
    tb_tensor t;
    tb_value_id id = TB_ID_NONE;
    CHECK_OK(tb_tensor_init(&t, TB_F32, shape, &err), err);
    for (size_t i = 0; i < tb_tensor_count(&t); i++) {
        ((float *)t.data)[i] =
            (float)(low + (high - low) * tb_stream_uniform(&b->s));
    }
    CHECK_OK(tb_graph_add_data(b->g, &id, name, TB_ROLE_PARAM, &t, &err), err);
    tb_tensor_release(&t);
    return id;
}

static void then(builder *b, const char *op, const tb_attr *attrs,
                 size_t n_attrs, const tb_value_id *in, size_t n_in)
{
    tb_err err;
    CHECK_OK(tb_graph_apply(b->g, &b->v,
                            &(tb_node_spec){.op = op,
                                            .attrs = attrs,
                                            .n_attrs = n_attrs,
                                            .in = in,
                                            .n_in = n_in},
                            &err),
             err);
}

static void conv(builder *b, const char *w, const char *bias, size_t from,
                 size_t to)
{
    const int64_t ones[4] = {1, 1, 1, 1};
    const tb_attr pads = {
        .name = "pads", .kind = TB_ATTR_INTS, .ints = ones, .n = 4};
    const tb_value_id in[3] = {b->v,
                               data(b, w, &TB_SHAPE(to, from, 3, 3), -0.5, 0.5),
                               data(b, bias, &TB_SHAPE(to), -0.2, 0.2)};
    then(b, "Conv", &pads, 1, in, 3);
    then(b, "Relu", NULL, 0, &b->v, 1);
}

static void pool(builder *b)
{
    const int64_t two[2] = {2, 2};
    const tb_attr attrs[] = {
        {.name = "kernel_shape", .kind = TB_ATTR_INTS, .ints = two, .n = 2},
        {.name = "strides", .kind = TB_ATTR_INTS, .ints = two, .n = 2}};
    then(b, "MaxPool", attrs, 2, &b->v, 1);
}

/* Conv 1-6, Relu, pool, Conv 6-5, Relu, pool, Flatten, Gemm 20-3. */
static tb_graph *cnn(void)
{
    const tb_dims image = {.rank = 4, .dim = {TB_DIM_ANY, 1, SIDE, SIDE}};
    tb_err err;
    builder b = {0};
    tb_stream_init(&b.s, 11, 0, "test", "");
    CHECK_OK(tb_graph_new(&b.g, "cnn", TB_GRAPH_OPSET, &err), err);
    CHECK_OK(tb_graph_add_input(b.g, &b.v, "x", TB_F32, &image, &err), err);
    conv(&b, "w1", "b1", 1, 6);
    pool(&b);
    conv(&b, "w2", "b2", 6, 5);
    pool(&b);
    then(&b, "Flatten", NULL, 0, &b.v, 1);
    const tb_attr turned = TB_ATTR_I("transB", 1);
    const tb_value_id in[3] = {b.v, data(&b, "w3", &TB_SHAPE(N_Y, 20), -1, 1),
                               data(&b, "b3", &TB_SHAPE(N_Y), -1, 1)};
    then(&b, "Gemm", &turned, 1, in, 3);
    CHECK_OK(tb_graph_add_output(b.g, b.v, &err), err);
    return b.g;
}

static void run_model(const tb_graph *g, float *y)
{
    float x[ROWS * N_X];
    tb_exec *e = NULL;
    tb_err err;
    tb_stream s;
    tb_stream_init(&s, 3, 0, "test", "");
    for (size_t i = 0; i < ROWS * N_X; i++) {
        x[i] = (float)tb_stream_uniform(&s);
    }
    CHECK_OK(tb_exec_new(&e, g, ROWS, &err), err);
    CHECK_OK(tb_exec_predict(e, x, ROWS, y, &err), err);
    tb_exec_free(&e);
}

static float worst(const float *a, const float *b, size_t n)
{
    float most = 0.0f;
    for (size_t i = 0; i < n; i++) {
        most = fmaxf(most, fabsf(a[i] - b[i]));
    }
    return most;
}

static const tb_pass *pass(const char *name)
{
    const tb_pass *p = NULL;
    tb_err err;
    CHECK_OK(tb_pass_find(&p, name, &err), err);
    return p;
}

static float *floats_of(tb_graph *g, const char *name)
{
    tb_value *v = tb_graph_value(g, tb_graph_find(g, name));
    assert_non_null(v);
    return v->data.data;
}

static size_t extent(const tb_graph *g, const char *name, size_t axis)
{
    return tb_graph_value(g, tb_graph_find(g, name))->data.shape.dim[axis];
}

static void kill_filter(tb_graph *g, const char *w, const char *b, size_t each,
                        size_t i)
{
    memset(floats_of(g, w) + i * each, 0, each * sizeof(float));
    floats_of(g, b)[i] = 0.0f;
}

/* One of six and one of five are dead; 0.2 of each layer is one. */
static void dead_filters_go_without_a_trace(void **state)
{
    (void)state;
    float before[ROWS * N_Y];
    float after[ROWS * N_Y];
    tb_err err;
    tb_graph *g = cnn();
    tb_graph *small = NULL;
    const tb_pass_options o = {.amount = 0.2, .scope = TB_PRUNE_LAYER};
    kill_filter(g, "w1", "b1", 9, 4);
    kill_filter(g, "w2", "b2", 54, 1);
    run_model(g, before);
    CHECK_OK(tb_pass_run(&small, pass("structured"), g, &o, &err), err);
    CHECK(extent(small, "w1", 0) == 5 && extent(small, "b1", 0) == 5);
    CHECK(extent(small, "w2", 0) == 4 && extent(small, "w2", 1) == 5);
    CHECK(extent(small, "w3", 0) == N_Y && extent(small, "w3", 1) == 16);
    run_model(small, after);
    CHECK(worst(before, after, ROWS * N_Y) < 1e-5f);
    tb_graph_free(&small);
    tb_graph_free(&g);
}

static void a_mask_zeroes_whole_filters(void **state)
{
    (void)state;
    tb_err err;
    tb_graph *g = cnn();
    size_t n = tb_params_count(g);
    uint8_t *keep = tb_mem_array(n, 1);
    const tb_prune_options o = {.kind = TB_PRUNE_STRUCTURED, .amount = 0.2};
    kill_filter(g, "w1", "b1", 9, 4);
    CHECK_OK(tb_prune_mask(keep, g, NULL, n, &o, &err), err);
    for (size_t i = 0; i < 54; i++) {
        CHECK(keep[i] == (i / 9 != 4));
    }
    for (size_t i = 0; i < 6; i++) {
        CHECK(keep[54 + i] == (i != 4));
    }
    tb_mem_free(keep);
    tb_graph_free(&g);
}

static size_t count(const tb_graph *g, const char *op)
{
    size_t n = 0;
    for (size_t i = 0; i < g->n_nodes; i++) {
        n += g->nodes[i] != NULL && strcmp(g->nodes[i]->op, op) == 0;
    }
    return n;
}

static void set_ranges(tb_ranges *r, const tb_graph *g)
{
    static const float high[3] = {1.0f, 3.0f, 6.0f};
    tb_err err;
    CHECK_OK(tb_ranges_init(r, g, &err), err);
    assert_int_equal(r->n, 3);
    memcpy(r->high, high, sizeof high);
}

static void a_quantised_cnn_says_what_it_said_and_runs_on_bytes(void **state)
{
    (void)state;
    float before[ROWS * N_Y];
    float after[ROWS * N_Y];
    tb_err err;
    tb_exec *e = NULL;
    tb_graph *g = cnn();
    tb_graph *q = NULL;
    tb_ranges r;
    set_ranges(&r, g);
    const tb_pass_options o = {.ranges = &r};
    CHECK_OK(tb_pass_run(&q, pass("int8"), g, &o, &err), err);
    /* Pairs before and behind both pools, behind Flatten, and of the input. */
    assert_int_equal(count(q, "QuantizeLinear"), 6);
    run_model(g, before);
    run_model(q, after);
    /* 20 weights below 1 times steps of 6 / 255, and half that of rounding
     * before: far above what is seen, far below the outputs. */
    CHECK(worst(before, after, ROWS * N_Y) < 20 * 6.0f / 255.0f);
    CHECK(worst(before, after, ROWS * N_Y) > 0.0f);
    CHECK_OK(tb_exec_new(&e, q, 1, &err), err);
    assert_int_equal(tb_exec_n_calls(e), 6);
    tb_exec_free(&e);
    tb_ranges_release(&r);
    tb_graph_free(&q);
    tb_graph_free(&g);
}

/* By hand: w 2, b 1; scale 3, shift 5, mean 4, variance 8.9999, epsilon 1e-4:
 * s = 1; w' = 2, b' = (1 - 4) + 5 = 2. Second filter: s = 0.5. */
static void a_normalisation_goes_into_its_convolution(void **state)
{
    (void)state;
    static const float numbers[6][2] = {{2, 4}, {1, -1}, {3, 1.5f},
                                        {5, 0}, {4, 1},  {8.9999f, 8.9999f}};
    static const char *const names[6] = {"w", "b", "s", "shift", "m", "v"};
    const tb_dims image = {.rank = 4, .dim = {TB_DIM_ANY, 1, 1, 1}};
    const tb_attr epsilon = TB_ATTR_F("epsilon", 1e-4f);
    tb_err err;
    tb_value_id id[6];
    builder b = {0};
    CHECK_OK(tb_graph_new(&b.g, "norm", TB_GRAPH_OPSET, &err), err);
    CHECK_OK(tb_graph_add_input(b.g, &b.v, "x", TB_F32, &image, &err), err);
    for (size_t i = 0; i < 6; i++) {
        const tb_shape w = TB_SHAPE(2, 1, 1, 1);
        const tb_tensor t = tb_tensor_view(TB_F32, i == 0 ? &w : &TB_SHAPE(2),
                                           (void *)(uintptr_t)numbers[i]);
        CHECK_OK(
            tb_graph_add_data(b.g, &id[i], names[i], TB_ROLE_PARAM, &t, &err),
            err);
    }
    then(&b, "Conv", NULL, 0, (tb_value_id[]){b.v, id[0], id[1]}, 3);
    then(&b, "BatchNormalization", &epsilon, 1,
         (tb_value_id[]){b.v, id[2], id[3], id[4], id[5]}, 5);
    CHECK_OK(tb_graph_add_output(b.g, b.v, &err), err);
    CHECK_OK(tb_fold_normalisations(b.g, &err), err);
    CHECK(count(b.g, "BatchNormalization") == 0 && count(b.g, "Conv") == 1);
    const tb_node *node =
        tb_graph_node(b.g, tb_graph_value(b.g, b.v)->producer);
    const float *w = tb_graph_value(b.g, node->in[1])->data.data;
    const float *bias = tb_graph_value(b.g, node->in[2])->data.data;
    CHECK(fabsf(w[0] - 2.0f) < 1e-6f && fabsf(w[1] - 2.0f) < 1e-6f);
    CHECK(fabsf(bias[0] - 2.0f) < 1e-6f && fabsf(bias[1] + 1.0f) < 1e-6f);
    tb_graph_free(&b.g);
}

/* Scale, shift, mean and variance go with their filter. */
static void filters_take_their_normalisation_along(void **state)
{
    (void)state;
    const tb_dims image = {.rank = 4, .dim = {TB_DIM_ANY, 1, 4, 4}};
    tb_err err;
    tb_neurons neurons;
    builder b = {0};
    tb_stream_init(&b.s, 5, 0, "test", "");
    CHECK_OK(tb_graph_new(&b.g, "norm", TB_GRAPH_OPSET, &err), err);
    CHECK_OK(tb_graph_add_input(b.g, &b.v, "x", TB_F32, &image, &err), err);
    conv(&b, "w1", "b1", 1, 4);
    const tb_value_id in[5] = {b.v, data(&b, "s", &TB_SHAPE(4), 1, 2),
                               data(&b, "shift", &TB_SHAPE(4), 1, 2),
                               data(&b, "m", &TB_SHAPE(4), 1, 2),
                               data(&b, "v", &TB_SHAPE(4), 1, 2)};
    then(&b, "BatchNormalization", NULL, 0, in, 5);
    conv(&b, "w2", "b2", 4, 2);
    CHECK_OK(tb_graph_add_output(b.g, b.v, &err), err);
    CHECK_OK(tb_neurons_find(&neurons, b.g, &err), err);
    assert_int_equal(neurons.n, 1);
    assert_int_equal(neurons.hidden[0].n_followers, 5);
    assert_int_equal(neurons.hidden[0].n_each, 9);
    tb_neurons_release(&neurons);
    tb_graph_free(&b.g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(dead_filters_go_without_a_trace),
        cmocka_unit_test(a_mask_zeroes_whole_filters),
        cmocka_unit_test(a_quantised_cnn_says_what_it_said_and_runs_on_bytes),
        cmocka_unit_test(a_normalisation_goes_into_its_convolution),
        cmocka_unit_test(filters_take_their_normalisation_along),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
