/* The executor against running each call with memory of its own. */
#include "exec/exec.h"

#include <string.h>

#include "base/mem.h"
#include "support/check.h"
#include "support/mlp.h"

static const size_t width[] = {6, 9, 9, 4};
static const char *const then[] = {"Relu", "Tanh", NULL};
static const tb_test_mlp net = {width, 3, then};

enum { N_PARAMS = 6 * 9 + 9 + 9 * 9 + 9 + 9 * 4 + 4 };

static void fill(float *x, size_t n, uint64_t seed)
{
    tb_stream s;
    tb_stream_init(&s, seed, 0, "test", "");
    for (size_t i = 0; i < n; i++) {
        x[i] = (float)(2.0 * tb_stream_uniform(&s) - 1.0);
    }
}

static tb_value_id apply(tb_graph *g, const char *op, tb_value_id a,
                         tb_value_id b)
{
    tb_err err;
    tb_value_id out = TB_ID_NONE;
    const tb_value_id in[2] = {a, b};
    tb_node_spec spec = {.op = op, .in = in, .n_in = b == TB_ID_NONE ? 1 : 2};
    CHECK_OK(tb_graph_apply(g, &out, &spec, &err), err);
    return out;
}

/* A random graph of [N, 8] values: chains, diamonds, views, unequal lives. */
static tb_graph *random_graph(uint64_t seed)
{
    static const char *const unary[] = {"Relu",     "Tanh",    "Sigmoid",
                                        "Identity", "Flatten", "Softmax"};
    static const char *const binary[] = {"Add", "Sub", "Mul"};
    enum { N_NODES = 24 };
    tb_err err;
    tb_stream s;
    tb_graph *g = NULL;
    tb_value_id v[N_NODES + 2];
    tb_dims dims = {.rank = 2, .dim = {TB_DIM_ANY, 8}};
    tb_stream_init(&s, seed, 0, "test", "");
    CHECK_OK(tb_graph_new(&g, "random", TB_GRAPH_OPSET, &err), err);
    CHECK_OK(tb_graph_add_input(g, &v[0], "x", TB_F32, &dims, &err), err);
    v[1] = tb_test_data(g, "w", &TB_SHAPE(8), &s);
    for (size_t i = 2; i < N_NODES + 2; i++) {
        tb_value_id a = v[i < 4 ? 0 : tb_stream_below(&s, i)];
        tb_value_id b = v[tb_stream_below(&s, i)];
        a = a == v[1] ? v[0] : a;
        v[i] = tb_stream_below(&s, 2) == 0
                   ? apply(g, unary[tb_stream_below(&s, 6)], a, TB_ID_NONE)
                   : apply(g, binary[tb_stream_below(&s, 3)], a, b);
    }
    CHECK_OK(tb_graph_add_output(g, v[N_NODES + 1], &err), err);
    CHECK_OK(tb_graph_add_output(g, v[N_NODES / 2], &err), err);
    return g;
}

/* Runs every call of a bound graph with separate memory for each value. */
static void run_apart(tb_bound *b, const float *x, size_t n_x)
{
    for (size_t v = 0; v < b->n_values; v++) {
        tb_tensor *t = &b->values[v];
        const tb_value *value = tb_graph_value(b->graph, (tb_value_id)v);
        if (t->dtype != TB_DTYPE_NONE && t->data == NULL) {
            t->data = value->role == TB_ROLE_PARAM
                          ? value->data.data
                          : tb_mem_array(tb_tensor_bytes(t) + 1, 1);
            CHECK(t->data != NULL);
        }
    }
    memcpy(b->values[b->graph->inputs[0]].data, x, n_x * sizeof *x);
    for (size_t i = 0; i < b->n_calls; i++) {
        const tb_node *node = b->graph->nodes[b->call_nodes[i]];
        tb_call *call = &b->calls[i];
        for (size_t j = 0; j < call->n_in; j++) {
            call->in[j].data = b->values[node->in[j]].data;
        }
        call->out[0].data = b->values[node->out[0]].data;
        call->work = tb_mem_aligned(call->work_bytes, 1);
        call->op->run(call);
        tb_mem_free(call->work);
    }
}

static void free_apart(tb_bound *b)
{
    for (size_t v = 0; v < b->n_values; v++) {
        tb_tensor *t = &b->values[v];
        const tb_value *value = tb_graph_value(b->graph, (tb_value_id)v);
        if (t->dtype != TB_DTYPE_NONE && !t->owns &&
            (value->role == TB_ROLE_TEMP || value->role == TB_ROLE_INPUT)) {
            tb_mem_free(t->data);
        }
    }
}

static void sharing_memory_changes_no_bit_of_any_output(void **state)
{
    (void)state;
    enum { BATCH = 5, N_X = BATCH * 8 };
    float x[N_X];
    size_t saved = 0;
    for (uint64_t seed = 0; seed < 200; seed++) {
        tb_err err;
        tb_bound *b = NULL;
        tb_exec *e = NULL;
        tb_graph *g = random_graph(seed);
        fill(x, N_X, seed);
        tb_bind_options options = {.batch = BATCH};
        CHECK_OK(tb_bind_new(&b, g, &options, &err), err);
        CHECK_OK(tb_exec_new(&e, g, BATCH, &err), err);
        run_apart(b, x, N_X);
        memcpy(tb_exec_input(e, 0)->data, x, sizeof x);
        tb_exec_run(e);
        for (size_t i = 0; i < 2; i++) {
            const tb_tensor *out = tb_exec_output(e, i);
            CHECK(memcmp(out->data, b->values[g->outputs[i]].data,
                         tb_tensor_bytes(out)) == 0);
        }
        CHECK(memcmp(tb_exec_input(e, 0)->data, x, sizeof x) == 0);
        saved += tb_exec_bytes(e) < tb_exec_bytes_unshared(e);
        CHECK(tb_exec_bytes(e) <= tb_exec_bytes_unshared(e));
        free_apart(b);
        tb_bind_free(&b);
        tb_exec_free(&e);
        tb_graph_free(&g);
    }
    CHECK(saved > 100);
}

static void a_chain_needs_two_buffers_besides_its_input(void **state)
{
    (void)state;
    tb_err err;
    tb_exec *e = NULL;
    static const size_t same[] = {64, 64, 64, 64, 64};
    static const char *const relu[] = {"Relu", "Relu", "Relu", "Relu"};
    static const tb_test_mlp chain = {same, 4, relu};
    tb_graph *g = tb_test_mlp_new(&chain, 1);
    CHECK_OK(tb_exec_new(&e, g, 8, &err), err);
    assert_int_equal(tb_exec_bytes(e), 3 * 8 * 64 * sizeof(float));
    tb_exec_free(&e);
    tb_graph_free(&g);
}

static void a_run_allocates_nothing(void **state)
{
    (void)state;
    tb_err err;
    tb_exec *e = NULL;
    float x[7 * 6] = {0}, y[7 * 4];
    tb_graph *g = tb_test_mlp_new(&net, 1);
    CHECK_OK(tb_exec_new(&e, g, 4, &err), err);
    size_t live = tb_mem_live();
    tb_mem_fail_after(0);
    CHECK_OK(tb_exec_predict(e, x, 7, y, &err), err);
    tb_exec_set_params(e, NULL);
    tb_mem_fail_after(-1);
    CHECK(tb_mem_live() == live);
    tb_exec_free(&e);
    tb_graph_free(&g);
}

static void a_row_has_the_same_bits_wherever_it_stands(void **state)
{
    (void)state;
    enum { N = 11, BATCH = 4 };
    tb_err err;
    tb_exec *e = NULL;
    float x[N * 6], y[N * 4], alone[4];
    fill(x, N * 6, 3);
    tb_graph *g = tb_test_mlp_new(&net, 1);
    CHECK_OK(tb_exec_new(&e, g, BATCH, &err), err);
    CHECK_OK(tb_exec_predict(e, x, N, y, &err), err);
    for (size_t i = 0; i < N; i++) {
        CHECK_OK(tb_exec_predict(e, x + i * 6, 1, alone, &err), err);
        CHECK(memcmp(alone, y + i * 4, sizeof alone) == 0);
    }
    tb_exec_free(&e);
    tb_graph_free(&g);
}

static void parameters_can_be_swapped_and_given_back(void **state)
{
    (void)state;
    tb_err err;
    tb_exec *e = NULL;
    float x[6], own[4], zero[4], again[4];
    static const float nothing[N_PARAMS];
    float params[N_PARAMS];
    fill(x, 6, 3);
    tb_graph *g = tb_test_mlp_new(&net, 1);
    CHECK_OK(tb_exec_new(&e, g, 1, &err), err);
    CHECK_OK(tb_exec_predict(e, x, 1, own, &err), err);
    tb_exec_set_params(e, nothing);
    CHECK_OK(tb_exec_predict(e, x, 1, zero, &err), err);
    CHECK(zero[0] == 0.0f && zero[3] == 0.0f && own[0] != 0.0f);
    CHECK_OK(tb_params_get(g, params, N_PARAMS, &err), err);
    tb_exec_set_params(e, params);
    CHECK_OK(tb_exec_predict(e, x, 1, again, &err), err);
    CHECK(memcmp(own, again, sizeof own) == 0);
    tb_exec_set_params(e, NULL);
    CHECK_OK(tb_exec_predict(e, x, 1, again, &err), err);
    CHECK(memcmp(own, again, sizeof own) == 0);
    tb_exec_free(&e);
    tb_graph_free(&g);
}

static void an_input_can_be_read_where_it_lies(void **state)
{
    (void)state;
    enum { N = 4 };
    tb_err err;
    tb_exec *e = NULL;
    _Alignas(16) float x[N * 6];
    float want[N * 4];
    tb_graph *g = tb_test_mlp_new(&net, 1);
    CHECK_OK(tb_exec_new(&e, g, N, &err), err);
    for (size_t i = 0; i < N * 6; i++) {
        x[i] = (float)i / 7.0f - 1.0f;
    }
    float *own = tb_exec_input(e, 0)->data;
    memcpy(own, x, sizeof x);
    tb_exec_run(e);
    memcpy(want, tb_exec_output(e, 0)->data, sizeof want);
    memset(own, 0, sizeof x);
    tb_exec_set_input(e, 0, x);
    tb_exec_run(e);
    CHECK(memcmp(want, tb_exec_output(e, 0)->data, sizeof want) == 0);
    CHECK(own[0] == 0.0f && tb_exec_input(e, 0)->data == x);
    tb_exec_set_input(e, 0, NULL);
    tb_exec_run(e);
    CHECK(memcmp(want, tb_exec_output(e, 0)->data, sizeof want) != 0);
    tb_exec_free(&e);
    tb_graph_free(&g);
}

static void bad_batches_and_models_without_rows_are_refused(void **state)
{
    (void)state;
    tb_err err;
    tb_exec *e = NULL;
    tb_value_id x = TB_ID_NONE;
    float in[4] = {0}, out[4];
    tb_graph *g = tb_test_mlp_new(&net, 1);
    CHECK(tb_exec_new(&e, g, 0, &err) != TB_OK && e == NULL);
    CHECK_ERR(tb_exec_new(&e, g, (size_t)1 << 27, &err), TB_E_LIMIT, err, "");
    tb_graph_free(&g);
    CHECK_OK(tb_graph_new(&g, "turned", TB_GRAPH_OPSET, &err), err);
    tb_dims dims = {.rank = 2, .dim = {TB_DIM_ANY, 4}};
    CHECK_OK(tb_graph_add_input(g, &x, "x", TB_F32, &dims, &err), err);
    x = apply(g, "Transpose", x, TB_ID_NONE);
    CHECK_OK(tb_graph_add_output(g, x, &err), err);
    CHECK_OK(tb_exec_new(&e, g, 1, &err), err);
    CHECK_ERR(tb_exec_predict(e, in, 1, out, &err), TB_E_MISMATCH, err,
              "first dimension");
    tb_exec_free(&e);
    tb_graph_free(&g);
}

static tb_rc attempt(void *arg, tb_err *err)
{
    tb_exec *e = NULL;
    tb_rc rc = tb_exec_new(&e, arg, 3, err);
    tb_exec_free(&e);
    return rc;
}

static void making_survives_each_allocation_failing(void **state)
{
    (void)state;
    tb_graph *g = tb_test_mlp_new(&net, 1);
    CHECK(tb_check_each_allocation(attempt, g) > 10);
    tb_graph_free(&g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sharing_memory_changes_no_bit_of_any_output),
        cmocka_unit_test(a_chain_needs_two_buffers_besides_its_input),
        cmocka_unit_test(a_run_allocates_nothing),
        cmocka_unit_test(a_row_has_the_same_bits_wherever_it_stands),
        cmocka_unit_test(parameters_can_be_swapped_and_given_back),
        cmocka_unit_test(an_input_can_be_read_where_it_lies),
        cmocka_unit_test(bad_batches_and_models_without_rows_are_refused),
        cmocka_unit_test(making_survives_each_allocation_failing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
