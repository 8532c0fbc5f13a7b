/* Fused calls against the same graph run call by call (graph_run.h). */
#include <math.h>
#include <string.h>

#include "base/stream.h"
#include "exec/exec.h"
#include "exec/fuse.h"
#include "model/build.h"
#include "model/reverse.h"
#include "support/check.h"
#include "support/graph_run.h"

enum { BATCH = 7 };

static void draw(const tb_tensor *t, uint64_t seed)
{
    tb_stream s;
    tb_stream_init(&s, seed, 0, "test", "");
    for (size_t i = 0; i < tb_tensor_count(t); i++) {
        ((float *)t->data)[i] = (float)(2 * tb_stream_uniform(&s) - 1);
    }
}

/* Runs graph both ways; the fused one must have n_less calls fewer, and every
 * output must differ by `most` at most (0: not a bit). */
static void check_both(const tb_graph *graph, bool training, size_t n_less,
                       float most)
{
    const tb_bind_options options = {.batch = BATCH, .training = training};
    tb_bound *bound = NULL;
    tb_exec *exec = NULL;
    graph_run plain;
    tb_err err;
    CHECK_OK(graph_run_init(&plain, graph, &options, &err), err);
    CHECK_OK(tb_bind_new(&bound, graph, &options, &err), err);
    size_t n_calls = bound->n_calls;
    CHECK_OK(tb_fuse_calls(bound, &err), err);
    CHECK(bound->n_calls + n_less == n_calls);
    CHECK_OK(tb_exec_from(&exec, &bound, NULL, 0, NULL, &err), err);
    for (size_t i = 0; i < graph->n_inputs; i++) {
        draw(&plain.values[graph->inputs[i]], i + 1);
        draw(tb_exec_input(exec, i), i + 1);
    }
    graph_run_go(&plain, NULL);
    tb_exec_run(exec);
    for (size_t i = 0; i < graph->n_outputs; i++) {
        const tb_tensor *want = &plain.values[graph->outputs[i]];
        const tb_tensor *got = tb_exec_output(exec, i);
        const float *a = want->data;
        const float *b = got->data;
        CHECK(tb_shape_equal(&want->shape, &got->shape));
        CHECK(most > 0.0f || memcmp(a, b, tb_tensor_bytes(want)) == 0);
        for (size_t k = 0; k < tb_tensor_count(want); k++) {
            CHECK(fabsf(a[k] - b[k]) <= most);
        }
    }
    graph_run_release(&plain);
    tb_exec_free(&exec);
}

static void check_same(const tb_graph *graph, size_t n_less, float most)
{
    check_both(graph, true, n_less, most);
}

static tb_value_id add_input(tb_graph *g, const char *name, tb_shape shape)
{
    tb_err err;
    tb_value_id id = TB_ID_NONE;
    tb_dims dims = {.rank = (int)shape.rank};
    for (size_t i = 0; i < shape.rank; i++) {
        dims.dim[i] = (int64_t)shape.dim[i];
    }
    CHECK_OK(tb_graph_add_input(g, &id, name, TB_F32, &dims, &err), err);
    return id;
}

static tb_value_id apply(tb_graph *g, const char *op, const tb_value_id *in,
                         size_t n_in)
{
    tb_err err;
    tb_value_id out = TB_ID_NONE;
    CHECK_OK(tb_graph_apply(g, &out,
                            &(tb_node_spec){.op = op, .in = in, .n_in = n_in},
                            &err),
             err);
    return out;
}

static void end(tb_graph *g, tb_value_id v)
{
    tb_err err;
    CHECK_OK(tb_graph_add_output(g, v, &err), err);
}

static tb_graph *new_graph(void)
{
    tb_err err;
    tb_graph *g = NULL;
    CHECK_OK(tb_graph_new(&g, "fused", 17, &err), err);
    return g;
}

/* Forward two Relu, backward two gates. */
static void a_perceptron_and_its_gradient_keep_every_bit(void **state)
{
    (void)state;
    tb_graph *g = NULL;
    tb_slots slots;
    tb_err err;
    tb_value_id grads[6];
    CHECK_OK(tb_build_new(&g, "mlp:40-37-24-10", 1, NULL, &err), err);
    CHECK_OK(tb_params_slots(&slots, g, &err), err);
    CHECK(slots.n == 6);
    tb_value_id dy = add_input(g, "dy", TB_SHAPE(BATCH, 10));
    CHECK_OK(tb_reverse(g, g->outputs[0], dy, &slots, grads, &err), err);
    for (size_t i = 0; i < slots.n; i++) {
        end(g, grads[i]);
    }
    check_same(g, 4, 0.0f);
    tb_slots_release(&slots);
    tb_graph_free(&g);
}

static void a_product_takes_its_bias_and_relu(void **state)
{
    (void)state;
    for (size_t turn = 0; turn < 2; turn++) { /* which side of Add */
        tb_graph *g = new_graph();
        const tb_value_id product[2] = {add_input(g, "a", TB_SHAPE(3, 5, 130)),
                                        add_input(g, "b", TB_SHAPE(130, 9))};
        tb_value_id row = add_input(g, "row", TB_SHAPE(9));
        tb_value_id y = apply(g, "MatMul", product, 2);
        const tb_value_id sum[2] = {turn == 0 ? y : row, turn == 0 ? row : y};
        tb_value_id z = apply(g, "Add", sum, 2);
        end(g, apply(g, "Relu", &z, 1));
        check_same(g, 2, 0.0f);
        tb_graph_free(&g);
    }
}

/* Over a chunk the bias comes first instead of last. */
static void a_long_product_rounds_its_bias_elsewhere(void **state)
{
    (void)state;
    tb_graph *g = new_graph();
    const tb_value_id product[2] = {add_input(g, "a", TB_SHAPE(5, 1500)),
                                    add_input(g, "b", TB_SHAPE(1500, 9))};
    tb_value_id y = apply(g, "MatMul", product, 2);
    const tb_value_id sum[2] = {y, add_input(g, "row", TB_SHAPE(9))};
    end(g, apply(g, "Add", sum, 2));
    check_same(g, 1, 2e-5f);
    tb_graph_free(&g);
}

static void a_convolution_ends_in_relu_or_clip(void **state)
{
    (void)state;
    static float bounds[2] = {-0.25f, 0.5f};
    for (size_t clip = 0; clip < 2; clip++) {
        tb_graph *g = new_graph();
        tb_err err;
        const tb_value_id conv[3] = {
            add_input(g, "x", TB_SHAPE(BATCH, 3, 9, 8)),
            add_input(g, "w", TB_SHAPE(4, 3, 3, 3)),
            add_input(g, "bias", TB_SHAPE(4))};
        tb_value_id in[3] = {apply(g, "Conv", conv, 3)};
        for (size_t i = 0; i < 2; i++) {
            tb_tensor t = tb_tensor_view(TB_F32, &(tb_shape){0}, &bounds[i]);
            CHECK_OK(tb_graph_add_data(g, &in[i + 1], i == 0 ? "low" : "high",
                                       TB_ROLE_CONST, &t, &err),
                     err);
        }
        end(g, clip != 0 ? apply(g, "Clip", in, 3) : apply(g, "Relu", in, 1));
        check_same(g, 1, 1e-7f);
        tb_graph_free(&g);
    }
}

/* Conv, BatchNormalization and Relu over [BATCH, n, 9, 8]. */
static tb_graph *normalised(size_t n, int64_t groups, bool bias)
{
    tb_graph *g = new_graph();
    tb_err err;
    const tb_attr attr = TB_ATTR_I("group", groups);
    float variance[16];
    tb_value_id conv[3] = {
        add_input(g, "x", TB_SHAPE(BATCH, n, 9, 8)),
        add_input(g, "w", TB_SHAPE(n, n / (size_t)groups, 3, 3)),
        add_input(g, "bias", TB_SHAPE(n))};
    tb_value_id in[5] = {TB_ID_NONE, add_input(g, "scale", TB_SHAPE(n)),
                         add_input(g, "shift", TB_SHAPE(n)),
                         add_input(g, "mean", TB_SHAPE(n))};
    for (size_t i = 0; i < 16; i++) {
        variance[i] = 0.1f + 0.3f * (float)i;
    }
    tb_tensor t = tb_tensor_view(TB_F32, &TB_SHAPE(n), variance);
    CHECK_OK(tb_graph_add_data(g, &in[4], "variance", TB_ROLE_BUFFER, &t, &err),
             err);
    CHECK_OK(tb_graph_apply(g, &in[0],
                            &(tb_node_spec){.op = "Conv",
                                            .attrs = &attr,
                                            .n_attrs = 1,
                                            .in = conv,
                                            .n_in = bias ? 3 : 2},
                            &err),
             err);
    tb_value_id y = apply(g, "BatchNormalization", in, 5);
    end(g, apply(g, "Relu", &y, 1));
    return g;
}

/* By Winograd's algorithm, direct, and by columns. */
static void a_convolution_goes_on_as_its_normalisation(void **state)
{
    static const struct {
        size_t n;
        int64_t groups;
        bool bias;
    } cases[] = {{16, 1, false}, {16, 2, true}, {5, 5, false},
                 {5, 5, true},   {6, 2, true},  {3, 1, false}};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        tb_graph *g = normalised(cases[i].n, cases[i].groups, cases[i].bias);
        check_both(g, false, 2, cases[i].bias ? 0.0f : 1e-7f);
        check_both(g, true, 0, 0.0f); /* statistics of the batch */
        tb_graph_free(&g);
    }
}

/* What PyTorch exports of GroupNorm(groups, 6) over [BATCH, 6, 5, 4]; turned:
 * the operands of Mul and Add the other way round. */
static tb_graph *grouped(int64_t groups, float one, bool turned)
{
    static const int64_t back[4] = {0, 6, 5, 4};
    const int64_t there[3] = {0, groups, -1};
    const float ones[6] = {one, one, one, one, one, one};
    const float zeros[6] = {0};
    const tb_tensor data[4] = {
        tb_tensor_view(TB_I64, &TB_SHAPE(3), (void *)(uintptr_t)there),
        tb_tensor_view(TB_F32, &TB_SHAPE((size_t)groups),
                       (void *)(uintptr_t)ones),
        tb_tensor_view(TB_F32, &TB_SHAPE((size_t)groups),
                       (void *)(uintptr_t)zeros),
        tb_tensor_view(TB_I64, &TB_SHAPE(4), (void *)(uintptr_t)back)};
    tb_graph *g = new_graph();
    tb_value_id x = add_input(g, "x", TB_SHAPE(BATCH, 6, 5, 4));
    tb_value_id scale = add_input(g, "scale", TB_SHAPE(6, 1, 1));
    tb_value_id shift = add_input(g, "shift", TB_SHAPE(6, 1, 1));
    tb_value_id in[4];
    tb_err err;
    for (size_t i = 0; i < 4; i++) {
        const char name[2] = {(char)('a' + i), '\0'};
        CHECK_OK(
            tb_graph_add_data(g, &in[i], name, TB_ROLE_CONST, &data[i], &err),
            err);
    }
    tb_value_id y = apply(g, "Reshape", (const tb_value_id[2]){x, in[0]}, 2);
    y = apply(g, "InstanceNormalization",
              (const tb_value_id[3]){y, in[1], in[2]}, 3);
    y = apply(g, "Reshape", (const tb_value_id[2]){y, in[3]}, 2);
    y = apply(g, "Mul",
              (const tb_value_id[2]){turned ? scale : y, turned ? y : scale},
              2);
    end(g, apply(g, "Add",
                 (const tb_value_id[2]){turned ? shift : y, turned ? y : shift},
                 2));
    return g;
}

static void pieces_of_a_group_norm_become_one(void **state)
{
    (void)state;
    for (int64_t groups = 1; groups <= 6; groups++) {
        if (6 % groups == 0) {
            tb_graph *g = grouped(groups, 1.0f, groups > 2);
            check_both(g, false, 4, 1e-6f);
            tb_graph_free(&g);
        }
    }
    tb_graph *g = grouped(2, 0.5f, false); /* another factor a group */
    check_both(g, false, 0, 0.0f);
    tb_graph_free(&g);
}

static void what_others_read_is_not_fused(void **state)
{
    (void)state;
    tb_graph *g = new_graph();
    const tb_value_id in[2] = {add_input(g, "a", TB_SHAPE(4, 6)),
                               add_input(g, "b", TB_SHAPE(6, 3))};
    tb_value_id y = apply(g, "Gemm", in, 2);
    end(g, apply(g, "Relu", &y, 1));
    end(g, y); /* wanted itself */
    check_same(g, 0, 0.0f);
    tb_value_id x = apply(g, "Gemm", in, 2);
    const tb_value_id twice[2] = {apply(g, "Relu", &x, 1), x};
    end(g, apply(g, "Mul", twice, 2));
    check_same(g, 0, 0.0f);
    tb_graph_free(&g);
}

static void survives_each_allocation_failing(void **state)
{
    (void)state;
    tb_graph *g = NULL;
    tb_bound *bound = NULL;
    tb_err err;
    tb_rc rc = TB_E_NOMEM;
    long k = 0;
    CHECK_OK(tb_build_new(&g, "mlp:4-3-2", 1, NULL, &err), err);
    CHECK_OK(tb_bind_new(&bound, g, &(tb_bind_options){.batch = 2}, &err), err);
    size_t n_calls = bound->n_calls;
    for (; rc == TB_E_NOMEM; k++) {
        CHECK(bound->n_calls == n_calls);
        tb_mem_fail_after(k);
        rc = tb_fuse_calls(bound, &err);
        tb_mem_fail_after(-1);
    }
    CHECK(rc == TB_OK && k == 5); /* four allocations were made to fail */
    tb_bind_free(&bound);
    tb_graph_free(&g);
    CHECK(tb_mem_live() == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_perceptron_and_its_gradient_keep_every_bit),
        cmocka_unit_test(a_product_takes_its_bias_and_relu),
        cmocka_unit_test(a_long_product_rounds_its_bias_elsewhere),
        cmocka_unit_test(a_convolution_ends_in_relu_or_clip),
        cmocka_unit_test(a_convolution_goes_on_as_its_normalisation),
        cmocka_unit_test(pieces_of_a_group_norm_become_one),
        cmocka_unit_test(what_others_read_is_not_fused),
        cmocka_unit_test(survives_each_allocation_failing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
