/* What bind.h promises about folding: shapes follow the batch, what trains or
 * is drawn is never folded, bounds hold before anything is allocated. */
#include "support/check.h"

#include <string.h>

#include "base/mem.h"
#include "model/bind.h"

/* --- small graphs --------------------------------------------------------- */

static tb_value_id add_data(tb_graph *graph, tb_role role, tb_dtype dtype,
                            const tb_shape *shape, const void *data)
{
    tb_value_id id = TB_ID_NONE;
    tb_tensor t = tb_tensor_view(dtype, shape, (void *)(uintptr_t)data);
    char *name = tb_graph_fresh_name(graph, "data");
    tb_err err;
    CHECK_OK(tb_graph_add_data(graph, &id, name, role, &t, &err), err);
    tb_mem_free(name);
    return id;
}

static tb_value_id add_i64(tb_graph *graph, int64_t value)
{
    return add_data(graph, TB_ROLE_CONST, TB_I64, &TB_SHAPE(1), &value);
}

static tb_value_id apply(tb_graph *graph, const char *op, tb_value_id a,
                         tb_value_id b, const tb_attr *attr)
{
    tb_value_id out = TB_ID_NONE;
    const tb_value_id in[2] = {a, b};
    tb_err err;
    CHECK_OK(tb_graph_apply(graph, &out,
                            &(tb_node_spec){.name = op,
                                            .op = op,
                                            .attrs = attr,
                                            .n_attrs = attr != NULL,
                                            .in = in,
                                            .n_in = b != TB_ID_NONE ? 2 : 1},
                            &err),
             err);
    return out;
}

static tb_graph *start(tb_value_id *x)
{
    const tb_dims dims = {.rank = 3, .dim = {TB_DIM_ANY, 4, 6}};
    tb_graph *graph = NULL;
    tb_err err;
    CHECK_OK(tb_graph_new(&graph, "test", 17, &err), err);
    CHECK_OK(tb_graph_add_input(graph, x, "x", TB_F32, &dims, &err), err);
    return graph;
}

static void end(tb_graph *graph, tb_value_id y)
{
    tb_err err;
    CHECK_OK(tb_graph_add_output(graph, y, &err), err);
}

/* --- shapes --------------------------------------------------------------- */

/* y = x reshaped to [batch, 24], as exporters say it: Shape, Gather, Concat. */
static tb_graph *make_chain(tb_value_id *y, tb_value_id *batch)
{
    tb_value_id x = TB_ID_NONE;
    tb_graph *graph = start(&x);
    const tb_attr axis = TB_ATTR_I("axis", 0);
    tb_value_id shape = apply(graph, "Shape", x, TB_ID_NONE, NULL);
    *batch = apply(graph, "Gather", shape, add_i64(graph, 0), &axis);
    tb_value_id to = apply(graph, "Concat", *batch, add_i64(graph, -1), &axis);
    *y = apply(graph, "Reshape", x, to, NULL);
    end(graph, *y);
    return graph;
}

static void a_shape_that_follows_the_batch_is_folded_at_any(void **state)
{
    tb_value_id y = TB_ID_NONE;
    tb_value_id batch = TB_ID_NONE;
    tb_graph *graph = make_chain(&y, &batch);
    (void)state;
    for (size_t n = 1; n < 70; n += 17) {
        tb_bound *bound = NULL;
        tb_err err;
        CHECK_OK(
            tb_bind_new(&bound, graph, &(tb_bind_options){.batch = n}, &err),
            err);
        CHECK(bound->n_calls == 1 &&
              strcmp(bound->calls[0].op->name, "Reshape") == 0);
        CHECK(tb_shape_equal(&bound->values[y].shape, &TB_SHAPE(n, 24)));
        /* Only folded nodes read the batch: its bytes are given back. */
        CHECK(bound->values[batch].dtype == TB_I64);
        CHECK(bound->values[batch].data == NULL);
        tb_bind_free(&bound);
    }
    tb_value_type *types = NULL;
    tb_err err;
    CHECK_OK(tb_bind_types(&types, graph, &err), err);
    CHECK(types[y].dims.rank == 2 && types[y].dims.dim[0] == TB_DIM_ANY &&
          types[y].dims.dim[1] == 24);
    tb_mem_free(types);
    tb_graph_free(&graph);
    CHECK(tb_mem_live() == 0);
}

/* A shape computed from data cannot be known: says so, names the node. */
static void a_shape_from_data_is_refused(void **state)
{
    const tb_dims dims = {.rank = 1, .dim = {2}};
    tb_value_id x = TB_ID_NONE;
    tb_value_id to = TB_ID_NONE;
    tb_graph *graph = start(&x);
    tb_bound *bound = NULL;
    tb_err err;
    (void)state;
    CHECK_OK(tb_graph_add_input(graph, &to, "to", TB_I64, &dims, &err), err);
    end(graph, apply(graph, "Reshape", x, to, NULL));
    CHECK_ERR(tb_bind_new(&bound, graph, &(tb_bind_options){.batch = 2}, &err),
              TB_E_UNSUPPORTED, err, "Reshape (node \"Reshape\")");
    CHECK(strstr(err.text, "computed from data") != NULL);
    tb_graph_free(&graph);
}

static void only_the_number_of_rows_may_be_open(void **state)
{
    const tb_dims dims = {.rank = 2, .dim = {TB_DIM_ANY, TB_DIM_ANY}};
    tb_value_id x = TB_ID_NONE;
    tb_graph *graph = NULL;
    tb_bound *bound = NULL;
    tb_err err;
    (void)state;
    CHECK_OK(tb_graph_new(&graph, "test", 17, &err), err);
    CHECK_OK(tb_graph_add_input(graph, &x, "x", TB_F32, &dims, &err), err);
    end(graph, apply(graph, "Relu", x, TB_ID_NONE, NULL));
    CHECK_ERR(tb_bind_new(&bound, graph, &(tb_bind_options){.batch = 2}, &err),
              TB_E_UNSUPPORTED, err,
              "input \"x\": dimension 1 is open; only the first may be: export "
              "the model with fixed sizes");
    tb_graph_free(&graph);
}

/* y = x of [N, 4, 6] seen as [1, 24]: an export of one row. */
static void a_fixed_number_of_rows_says_how_to_export(void **state)
{
    static const int64_t row[] = {1, 24};
    tb_value_id x = TB_ID_NONE;
    tb_graph *graph = start(&x);
    tb_bound *bound = NULL;
    tb_err err;
    (void)state;
    end(graph,
        apply(graph, "Reshape", x,
              add_data(graph, TB_ROLE_CONST, TB_I64, &TB_SHAPE(2), row), NULL));
    CHECK_ERR(tb_bind_new(&bound, graph, &(tb_bind_options){.batch = 2}, &err),
              TB_E_MISMATCH, err,
              "[1, 24] has not as many elements as [2, 4, 6]: was the number "
              "of rows fixed in the export? Let it open (dynamic_axes)");
    tb_graph_free(&graph);
}

/* --- operators ------------------------------------------------------------ */

/* Each has entries of several opsets; the newest is listed first. */
static void an_operator_that_is_too_new_names_its_first_opset(void **state)
{
    static const struct {
        const char *op;
        int opset;
        const char *first;
    } cases[] = {
        {"BatchNormalization", 6, "known from opset 7 on"},
        {"GroupNormalization", 17, "known from opset 18 on"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        tb_value_id x = TB_ID_NONE;
        tb_graph *graph = start(&x);
        tb_bound *bound = NULL;
        tb_err err;
        graph->opset = cases[i].opset;
        end(graph, apply(graph, cases[i].op, x, TB_ID_NONE, NULL));
        CHECK_ERR(
            tb_bind_new(&bound, graph, &(tb_bind_options){.batch = 2}, &err),
            TB_E_UNSUPPORTED, err, cases[i].first);
        tb_graph_free(&graph);
    }
}

/* --- what is folded ------------------------------------------------------- */

/* Calls of Transpose(w), to which x is added, when w has that role. */
static size_t n_calls_with(tb_role role)
{
    static const float w[6] = {1, 2, 3, 4, 5, 6};
    tb_value_id x = TB_ID_NONE;
    tb_graph *graph = start(&x);
    tb_value_id data = add_data(graph, role, TB_F32, &TB_SHAPE(6, 1), w);
    tb_value_id turned = apply(graph, "Transpose", data, TB_ID_NONE, NULL);
    tb_bound *bound = NULL;
    tb_err err;
    end(graph, apply(graph, "Add", x, turned, NULL));
    CHECK_OK(tb_bind_new(&bound, graph,
                         &(tb_bind_options){.batch = 1, .training = true},
                         &err),
             err);
    size_t n = bound->n_calls;
    tb_bind_free(&bound);
    tb_graph_free(&graph);
    return n;
}

static void nothing_that_trains_is_folded(void **state)
{
    (void)state;
    CHECK(n_calls_with(TB_ROLE_CONST) == 1);
    CHECK(n_calls_with(TB_ROLE_PARAM) == 2);
    CHECK(n_calls_with(TB_ROLE_BUFFER) == 2);
}

static void a_constant_index_out_of_range_names_its_node(void **state)
{
    static const float w[6] = {1, 2, 3, 4, 5, 6};
    const tb_attr axis = TB_ATTR_I("axis", 0);
    tb_value_id x = TB_ID_NONE;
    tb_graph *graph = start(&x);
    tb_bound *bound = NULL;
    tb_err err;
    (void)state;
    tb_value_id data = add_data(graph, TB_ROLE_CONST, TB_F32, &TB_SHAPE(6), w);
    tb_value_id row = apply(graph, "Gather", data, add_i64(graph, 6), &axis);
    end(graph, apply(graph, "Add", x, row, NULL));
    CHECK_ERR(tb_bind_new(&bound, graph, &(tb_bind_options){.batch = 1}, &err),
              TB_E_MISMATCH, err, "Gather (node \"Gather\"): index 6 of 6");
    tb_graph_free(&graph);
}

/* --- bounds --------------------------------------------------------------- */

/* x + ConstantOfShape([n]), n being so many floats of 0. */
static tb_graph *make_fill(tb_value_id *filled, int64_t n)
{
    tb_value_id x = TB_ID_NONE;
    tb_graph *graph = start(&x);
    tb_value_id last = add_i64(graph, -1);
    *filled =
        apply(graph, "ConstantOfShape", add_i64(graph, n), TB_ID_NONE, NULL);
    tb_value_id one = apply(graph, "Gather", *filled, last, NULL);
    end(graph, apply(graph, "Add", x, one, NULL));
    return graph;
}

static void a_promise_of_terabytes_allocates_nothing(void **state)
{
    tb_value_id filled = TB_ID_NONE;
    tb_graph *graph = make_fill(&filled, INT64_C(1) << 40);
    tb_bound *bound = NULL;
    tb_err err;
    (void)state;
    CHECK_ERR(tb_bind_new(&bound, graph, &(tb_bind_options){.batch = 1}, &err),
              TB_E_LIMIT, err, "ConstantOfShape");
    CHECK(bound == NULL);
    tb_graph_free(&graph);
    CHECK(tb_mem_live() == 0);
}

/* 1.6 GB that are zeros, and so take nothing. */
static tb_value_id add_large(tb_graph *graph)
{
    tb_err err;
    tb_tensor t;
    tb_value_id id = TB_ID_NONE;
    CHECK_OK(tb_tensor_map(&t, TB_F32, &TB_SHAPE(20000, 20000), -1, 0, &err),
             err);
    CHECK_OK(tb_graph_take_data(graph, &id, "large", TB_ROLE_PARAM, &t, &err),
             err);
    return id;
}

static void a_value_may_be_as_large_as_a_parameter_and_no_larger(void **state)
{
    (void)state;
    tb_err err;
    tb_value_id x;
    tb_bound *bound = NULL;
    const tb_bind_options options = {.batch = 1};
    const tb_attr axis = {.name = "axis", .kind = TB_ATTR_INT, .i = 0};
    tb_graph *graph = start(&x);
    tb_value_id large = add_large(graph);
    size_t before = tb_mem_bytes();
    tb_mem_peak_reset();
    tb_value_id y = apply(graph, "Neg", large, TB_ID_NONE, NULL);
    CHECK_OK(tb_graph_add_output(graph, y, &err), err);
    CHECK_OK(tb_bind_new(&bound, graph, &options, &err), err);
    tb_bind_free(&bound);
    tb_value_id twice = apply(graph, "Concat", large, large, &axis);
    CHECK_OK(tb_graph_add_output(graph, twice, &err), err);
    CHECK_ERR(tb_bind_new(&bound, graph, &options, &err), TB_E_LIMIT, err,
              "over 1600000000 bytes");
    CHECK(tb_mem_peak_bytes() - before < (size_t)1 << 20);
    tb_graph_free(&graph);
}

static void what_goes_beyond_the_bound_of_folding_stays_a_call(void **state)
{
    tb_value_id filled = TB_ID_NONE;
    tb_graph *graph = make_fill(&filled, 1000);
    tb_bind_options options = {.batch = 1};
    tb_bound *bound = NULL;
    tb_err err;
    (void)state;
    CHECK_OK(tb_bind_new(&bound, graph, &options, &err), err);
    CHECK(bound->n_calls == 1);
    CHECK(bound->values[filled].data == NULL);
    tb_bind_free(&bound);
    tb_graph_free(&graph);
    graph = make_fill(&filled, (int64_t)TB_BIND_FOLD_BYTES / 4 + 1);
    CHECK_OK(tb_bind_new(&bound, graph, &options, &err), err);
    CHECK(bound->n_calls == 3); /* nothing known to fold from */
    CHECK(bound->values[filled].data == NULL);
    tb_bind_free(&bound);
    tb_graph_free(&graph);
    CHECK(tb_mem_live() == 0);
}

/* --- memory --------------------------------------------------------------- */

static tb_rc bind_once(void *arg, tb_err *err)
{
    tb_bound *bound = NULL;
    tb_rc rc = tb_bind_new(&bound, arg, &(tb_bind_options){.batch = 3}, err);
    tb_bind_free(&bound);
    return rc;
}

static void binding_survives_each_allocation_failing(void **state)
{
    tb_value_id y = TB_ID_NONE;
    tb_value_id batch = TB_ID_NONE;
    tb_graph *graph = make_chain(&y, &batch);
    (void)state;
    /* three folded values, besides what a binding always needs */
    CHECK(tb_check_each_allocation(bind_once, graph) >= 3 + 5);
    tb_graph_free(&graph);
    CHECK(tb_mem_live() == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_shape_that_follows_the_batch_is_folded_at_any),
        cmocka_unit_test(a_shape_from_data_is_refused),
        cmocka_unit_test(only_the_number_of_rows_may_be_open),
        cmocka_unit_test(a_fixed_number_of_rows_says_how_to_export),
        cmocka_unit_test(an_operator_that_is_too_new_names_its_first_opset),
        cmocka_unit_test(nothing_that_trains_is_folded),
        cmocka_unit_test(a_constant_index_out_of_range_names_its_node),
        cmocka_unit_test(a_promise_of_terabytes_allocates_nothing),
        cmocka_unit_test(a_value_may_be_as_large_as_a_parameter_and_no_larger),
        cmocka_unit_test(what_goes_beyond_the_bound_of_folding_stays_a_call),
        cmocka_unit_test(binding_survives_each_allocation_failing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
