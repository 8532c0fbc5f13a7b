/* What a small file may ask for and never gets: each row is one operator told
 * something absurd. Binding says no, names the operator, and takes next to no
 * memory. Beside it models that grow, circle or are large in other ways. That
 * every operator stands any spoilt case: contract.hostile_ops. */
#include "support/check.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "model/bind.h"

#define E40 ((int64_t)1 << 40)
#define E60 ((int64_t)1 << 60)

enum { IN_MAX = 6, ATTRS_MAX = 4 };

typedef struct operand {
    tb_dtype dtype;
    size_t rank;
    size_t dim[5];
    const void *data; /* NULL: an input of the model */
} operand;

typedef struct absurd {
    const char *op;
    int opset; /* 0: 17 */
    tb_attr attrs[ATTRS_MAX];
    operand in[IN_MAX];
} absurd;

#define IMAGE                                                                  \
    {                                                                          \
        TB_F32, 4, {1, 4, 8, 8}, NULL                                          \
    }
#define KERNEL                                                                 \
    {                                                                          \
        TB_F32, 4, {4, 4, 3, 3}, NULL                                          \
    }
#define VECTOR                                                                 \
    {                                                                          \
        TB_F32, 1, {4}, NULL                                                   \
    }
#define NUMBERS(n, values)                                                     \
    {                                                                          \
        TB_I64, 1, {n}, values                                                 \
    }
#define INTS(nm, ...)                                                          \
    {                                                                          \
        .name = nm, .kind = TB_ATTR_INTS,                                      \
        .ints = (const int64_t[])__VA_ARGS__,                                  \
        .n = sizeof((const int64_t[])__VA_ARGS__) / sizeof(int64_t)            \
    }
#define INT(nm, v)                                                             \
    {                                                                          \
        .name = nm, .kind = TB_ATTR_INT, .i = v                                \
    }

static const int64_t huge2[] = {E40, E40};
static const int64_t huge1[] = {E60};
static const int64_t ten_gb[] = {50000, 50000};
static const int64_t ten_gb4[] = {50000, 50000, 1, 1};
static const int64_t pads_huge[] = {0, 0, E60, 0, 0, 0, 0, 0};
static const int64_t pads_small[] = {0, 0, -E60, 0, 0, 0, 0, 0};
static const int64_t repeats[] = {1, 1, E40, E40};
static const int64_t minus_two[] = {-2};
static const int64_t axis_far[] = {E40};
static const int64_t zero[] = {0};
static const int64_t one[] = {1};
static const int64_t least[] = {INT64_MIN};
static const int64_t most[] = {INT64_MAX};
static const int64_t split_huge[] = {E60, -E60 + 8};
static const float nothing[] = {0};

static const absurd table[] = {
    {"Conv", 0, {INTS("kernel_shape", {E40, E40})}, {IMAGE, KERNEL}},
    {"Conv", 0, {INTS("pads", {E60, E60, E60, E60})}, {IMAGE, KERNEL}},
    {"Conv", 0, {INTS("pads", {E40, E40, E40, E40})}, {IMAGE, KERNEL}},
    {"Conv", 0, {INTS("pads", {-9, -9, -9, -9})}, {IMAGE, KERNEL}},
    {"Conv", 0, {INTS("strides", {0, 1})}, {IMAGE, KERNEL}},
    {"Conv", 0, {INTS("strides", {-1, 1})}, {IMAGE, KERNEL}},
    {"Conv", 0, {INTS("dilations", {E60, E60})}, {IMAGE, KERNEL}},
    {"Conv", 0, {INTS("dilations", {0, 0})}, {IMAGE, KERNEL}},
    {"Conv", 0, {INT("group", 0)}, {IMAGE, KERNEL}},
    {"Conv", 0, {INT("group", -1)}, {IMAGE, KERNEL}},
    {"Conv", 0, {INT("group", INT64_MIN)}, {IMAGE, KERNEL}},
    {"Conv", 0, {INT("group", E60)}, {IMAGE, KERNEL}},
    {"ConvTranspose", 0, {INTS("strides", {E40, E40})}, {IMAGE, KERNEL}},
    {"ConvTranspose", 0, {INTS("output_shape", {E40, E40})}, {IMAGE, KERNEL}},
    {"ConvTranspose", 0, {INTS("output_padding", {E60, 0})}, {IMAGE, KERNEL}},
    {"ConvTranspose", 0, {INT("group", 0)}, {IMAGE, KERNEL}},
    {"MaxPool", 0, {INTS("kernel_shape", {E40, E40})}, {IMAGE}},
    {"MaxPool", 0, {INTS("kernel_shape", {0, 0})}, {IMAGE}},
    {"MaxPool",
     0,
     {INTS("kernel_shape", {2, 2}), INTS("pads", {E60, E60, E60, E60})},
     {IMAGE}},
    {"AveragePool",
     0,
     {INTS("kernel_shape", {2, 2}), INTS("strides", {0, 0})},
     {IMAGE}},
    {"AveragePool", 0, {INTS("kernel_shape", {E60, E60})}, {IMAGE}},
    {"Pad", 0, {{0}}, {IMAGE, NUMBERS(8, pads_huge)}},
    {"Pad", 0, {{0}}, {IMAGE, NUMBERS(8, pads_small)}},
    {"Tile", 0, {{0}}, {IMAGE, NUMBERS(4, repeats)}},
    {"Tile", 0, {{0}}, {VECTOR, NUMBERS(1, minus_two)}},
    {"Tile", 0, {{0}}, {VECTOR, NUMBERS(1, huge1)}},
    {"Expand", 0, {{0}}, {VECTOR, NUMBERS(2, huge2)}},
    {"Expand", 0, {{0}}, {{TB_F32, 0, {0}, NULL}, NUMBERS(2, ten_gb)}},
    {"Reshape", 0, {{0}}, {VECTOR, NUMBERS(2, huge2)}},
    {"Reshape", 0, {{0}}, {VECTOR, NUMBERS(1, minus_two)}},
    {"Reshape", 0, {{0}}, {VECTOR, NUMBERS(2, split_huge)}},
    {"ConstantOfShape", 0, {{0}}, {NUMBERS(2, ten_gb)}},
    {"ConstantOfShape", 0, {{0}}, {NUMBERS(4, ten_gb4)}},
    {"ConstantOfShape", 0, {{0}}, {NUMBERS(2, huge2)}},
    {"ConstantOfShape", 0, {{0}}, {NUMBERS(1, minus_two)}},
    {"Range", 0, {{0}}, {NUMBERS(0, zero), NUMBERS(0, most), NUMBERS(0, one)}},
    {"Range", 0, {{0}}, {NUMBERS(0, least), NUMBERS(0, most), NUMBERS(0, one)}},
    {"Range", 0, {{0}}, {NUMBERS(0, zero), NUMBERS(0, one), NUMBERS(0, zero)}},
    {"Concat", 0, {INT("axis", E40)}, {IMAGE, IMAGE}},
    {"Concat", 0, {INT("axis", INT64_MIN)}, {IMAGE, IMAGE}},
    {"Gather", 0, {INT("axis", E60)}, {IMAGE, NUMBERS(1, zero)}},
    {"Flatten", 0, {INT("axis", 5)}, {IMAGE}},
    {"Softmax", 0, {INT("axis", INT64_MIN)}, {IMAGE}},
    {"LogSoftmax", 0, {INT("axis", INT64_MAX)}, {IMAGE}},
    {"Transpose", 0, {INTS("perm", {0, 0, 0, 0})}, {IMAGE}},
    {"Transpose", 0, {INTS("perm", {E40, 1, 2, 3})}, {IMAGE}},
    {"Squeeze", 0, {{0}}, {IMAGE, NUMBERS(1, axis_far)}},
    {"Unsqueeze", 0, {{0}}, {IMAGE, NUMBERS(1, axis_far)}},
    {"Split", 0, {{0}}, {VECTOR, NUMBERS(2, split_huge)}},
    {"Slice",
     0,
     {{0}},
     {VECTOR, NUMBERS(1, zero), NUMBERS(1, one), NUMBERS(1, axis_far)}},
    {"Slice",
     0,
     {{0}},
     {VECTOR, NUMBERS(1, zero), NUMBERS(1, one), NUMBERS(1, zero),
      NUMBERS(1, zero)}}, /* a step of 0 */
    {"ReduceSum", 0, {{0}}, {IMAGE, NUMBERS(1, axis_far)}},
    {"ReduceMean", 0, {INTS("axes", {INT64_MIN})}, {IMAGE}},
    {"ReduceMax", 0, {INTS("axes", {E60})}, {IMAGE}},
    {"ArgMax", 0, {INT("axis", E40)}, {IMAGE}},
    {"Gemm", 0, {{0}}, {{TB_F32, 2, {2, 3}, NULL}, {TB_F32, 2, {2, 3}, NULL}}},
    {"MatMul",
     0,
     {{0}},
     {{TB_F32, 2, {60000, 1}, NULL}, {TB_F32, 2, {1, 60000}, NULL}}},
    {"Add",
     0,
     {{0}},
     {{TB_F32, 2, {60000, 1}, NULL}, {TB_F32, 2, {1, 60000}, NULL}}},
    {"Where",
     0,
     {{0}},
     {{TB_BOOL, 2, {60000, 1}, NULL}, {TB_F32, 2, {1, 60000}, NULL}, VECTOR}},
    {"BatchNormalization",
     0,
     {{0}},
     {IMAGE, {TB_F32, 1, {3}, NULL}, VECTOR, VECTOR, VECTOR}},
    {"GroupNormalization", 21, {INT("num_groups", 0)}, {IMAGE, VECTOR, VECTOR}},
    {"GroupNormalization",
     21,
     {INT("num_groups", E60)},
     {IMAGE, VECTOR, VECTOR}},
    {"LayerNormalization", 0, {INT("axis", E40)}, {IMAGE, VECTOR, VECTOR}},
    {"InstanceNormalization", 0, {{0}}, {VECTOR, VECTOR, VECTOR}},
    {"LSTM",
     0,
     {INT("hidden_size", E60)},
     {{TB_F32, 3, {5, 1, 4}, NULL},
      {TB_F32, 3, {1, 8, 4}, NULL},
      {TB_F32, 3, {1, 8, 2}, NULL}}},
    {"GRU",
     0,
     {INT("hidden_size", E40)},
     {{TB_F32, 3, {5, 1, 4}, NULL},
      {TB_F32, 3, {1, 6, 4}, NULL},
      {TB_F32, 3, {1, 6, 2}, NULL}}},
    {"RNN",
     0,
     {INT("hidden_size", -2)},
     {{TB_F32, 3, {5, 1, 4}, NULL},
      {TB_F32, 3, {1, 2, 4}, NULL},
      {TB_F32, 3, {1, 2, 2}, NULL}}},
    {"QuantizeLinear", 0, {INT("axis", E40)}, {IMAGE, VECTOR}},
    {"DequantizeLinear",
     0,
     {INT("axis", INT64_MIN)},
     {{TB_I8, 2, {4, 4}, NULL}, VECTOR}},
    {"QLinearConv",
     0,
     {INT("group", 0)},
     {{TB_U8, 4, {1, 4, 8, 8}, NULL},
      {TB_F32, 0, {0}, nothing},
      {TB_U8, 0, {0}, nothing},
      {TB_I8, 4, {4, 4, 3, 3}, NULL},
      {TB_F32, 0, {0}, nothing},
      {TB_I8, 0, {0}, nothing}}},
    {"MatMulInteger",
     0,
     {{0}},
     {{TB_U8, 2, {40000, 1}, NULL}, {TB_U8, 2, {1, 40000}, NULL}}},
    {"SoftmaxCrossEntropyLoss",
     0,
     {{0}},
     {{TB_F32, 2, {3, 4}, NULL}, {TB_I64, 2, {3, 4}, NULL}}},
};

/* --- one row -------------------------------------------------------------- */

static tb_value_id add_operand(tb_graph *graph, const operand *o, size_t i)
{
    const char name[] = {'x', (char)('0' + i), '\0'};
    tb_value_id id = TB_ID_NONE;
    tb_shape shape = {.rank = o->rank};
    tb_dims dims = {.rank = (int)o->rank};
    tb_err err;
    for (size_t k = 0; k < o->rank; k++) {
        shape.dim[k] = o->dim[k];
        dims.dim[k] = (int64_t)o->dim[k];
    }
    if (o->rank == 1 && o->dim[0] == 0) { /* NUMBERS(0, x): a scalar */
        shape.rank = 0;
    }
    if (o->data == NULL) {
        CHECK_OK(tb_graph_add_input(graph, &id, name, o->dtype, &dims, &err),
                 err);
        return id;
    }
    const tb_tensor data =
        tb_tensor_view(o->dtype, &shape, (void *)(uintptr_t)o->data);
    CHECK_OK(tb_graph_add_data(graph, &id, name, TB_ROLE_CONST, &data, &err),
             err);
    return id;
}

static tb_graph *build(const absurd *a)
{
    tb_err err;
    tb_graph *graph = NULL;
    tb_value_id in[IN_MAX];
    tb_value_id out = TB_ID_NONE;
    tb_node_spec spec = {
        .name = "node", .op = a->op, .attrs = a->attrs, .in = in};
    CHECK_OK(tb_graph_new(&graph, "g", a->opset > 0 ? a->opset : 17, &err),
             err);
    while (spec.n_attrs < ATTRS_MAX && a->attrs[spec.n_attrs].name != NULL) {
        spec.n_attrs++;
    }
    while (spec.n_in < IN_MAX && a->in[spec.n_in].dtype != TB_DTYPE_NONE) {
        in[spec.n_in] = add_operand(graph, &a->in[spec.n_in], spec.n_in);
        spec.n_in++;
    }
    CHECK_OK(tb_graph_apply(graph, &out, &spec, &err), err);
    CHECK_OK(tb_graph_add_output(graph, out, &err), err);
    return graph;
}

static void absurd_attributes_and_operands_are_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        tb_graph *graph = build(&table[i]);
        tb_bound *bound = NULL;
        tb_err err = {0};
        const tb_op *op = tb_op_find("", table[i].op, graph->opset);
        if (op == NULL) {
            fail_msg("row %zu: no operator %s", i, table[i].op);
        }
        size_t before = tb_mem_bytes();
        tb_mem_peak_reset();
        tb_rc rc =
            tb_bind_new(&bound, graph, &(tb_bind_options){.batch = 1}, &err);
        if (rc == TB_OK || tb_rc_fault(rc) != TB_FAULT_PEER ||
            strstr(err.text, table[i].op) == NULL) {
            fail_msg("row %zu, %s: %s: %s", i, table[i].op, tb_rc_name(rc),
                     err.text);
        }
        CHECK(tb_mem_peak_bytes() - before < 100000);
        tb_graph_free(&graph);
    }
    CHECK(tb_mem_live() == 0);
}

/* --- models that are large in other ways ---------------------------------- */

static tb_value_id apply(tb_graph *graph, const char *op, tb_value_id a,
                         tb_value_id b)
{
    const tb_attr axis = TB_ATTR_I("axis", 0);
    const tb_value_id in[2] = {a, b};
    tb_value_id out = TB_ID_NONE;
    tb_err err;
    tb_node_spec spec = {.op = op,
                         .attrs = &axis,
                         .n_attrs = strcmp(op, "Concat") == 0 ? 1 : 0,
                         .in = in,
                         .n_in = b == TB_ID_NONE ? 1 : 2};
    CHECK_OK(tb_graph_apply(graph, &out, &spec, &err), err);
    return out;
}

/* A graph with a constant c [rows, cols] of ones. */
static tb_graph *with_constant(tb_value_id *c, size_t rows, size_t cols)
{
    tb_graph *graph = NULL;
    tb_tensor t = {0};
    tb_err err;
    CHECK_OK(tb_graph_new(&graph, "g", 17, &err), err);
    CHECK_OK(tb_tensor_init(&t, TB_F32, &TB_SHAPE(rows, cols), &err), err);
    for (size_t i = 0; i < rows * cols; i++) {
        ((float *)t.data)[i] = 1.0F;
    }
    CHECK_OK(tb_graph_add_data(graph, c, "c", TB_ROLE_CONST, &t, &err), err);
    tb_tensor_release(&t);
    return graph;
}

/* Each node doubles what the one before made: 60 of them are 2^60 rows. */
static void a_chain_that_doubles_ends_at_the_limit(void **state)
{
    tb_value_id v = TB_ID_NONE;
    tb_graph *graph = with_constant(&v, 4, 4);
    tb_bound *bound = NULL;
    tb_err err;
    (void)state;
    for (int i = 0; i < 60; i++) {
        v = apply(graph, "Concat", v, v);
    }
    CHECK_OK(tb_graph_add_output(graph, v, &err), err);
    tb_mem_peak_reset();
    CHECK_ERR(tb_bind_new(&bound, graph, &(tb_bind_options){.batch = 1}, &err),
              TB_E_LIMIT, err, "Concat");
    CHECK(tb_mem_peak_bytes() < TB_BIND_FOLD_BYTES + (1 << 20));
    tb_graph_free(&graph);
    CHECK(tb_mem_live() == 0);
}

/* 3,000 products of constants, 33 million operations each: a minute and a half
 * of folding, if it were all done before the model is even bound. */
static void folding_stops_where_it_becomes_work(void **state)
{
    tb_value_id c = TB_ID_NONE;
    tb_value_id x = TB_ID_NONE;
    tb_graph *graph = with_constant(&c, 256, 256);
    tb_bound *bound = NULL;
    tb_err err;
    tb_dims dims = {.rank = 2, .dim = {TB_DIM_ANY, 256}};
    (void)state;
    CHECK_OK(tb_graph_add_input(graph, &x, "x", TB_F32, &dims, &err), err);
    tb_value_id v = c;
    for (int i = 0; i < 3000; i++) {
        v = apply(graph, "MatMul", v, c);
    }
    CHECK_OK(tb_graph_add_output(graph, apply(graph, "MatMul", x, v), &err),
             err);
    CHECK_OK(tb_bind_new(&bound, graph, &(tb_bind_options){.batch = 1}, &err),
             err);
    size_t folded = 3001 - bound->n_calls;
    CHECK(folded > 10 && folded < 40); /* 10^9 / (2 * 256^3 + ...) */
    tb_bind_free(&bound);
    tb_graph_free(&graph);
}

/* As deep as a file may be: nothing recurses. */
static void a_chain_as_long_as_a_file_may_hold_is_bound(void **state)
{
    tb_value_id v = TB_ID_NONE;
    tb_graph *graph = NULL;
    tb_bound *bound = NULL;
    tb_err err;
    tb_dims dims = {.rank = 2, .dim = {TB_DIM_ANY, 2}};
    (void)state;
    CHECK_OK(tb_graph_new(&graph, "g", 17, &err), err);
    CHECK_OK(tb_graph_add_input(graph, &v, "x", TB_F32, &dims, &err), err);
    for (int i = 0; i < 16384; i++) {
        v = apply(graph, "Relu", v, TB_ID_NONE);
    }
    CHECK_OK(tb_graph_add_output(graph, v, &err), err);
    CHECK_OK(tb_bind_new(&bound, graph, &(tb_bind_options){.batch = 1}, &err),
             err);
    CHECK(bound->n_calls == 16384);
    tb_bind_free(&bound);
    tb_graph_free(&graph);
}

static void a_batch_that_overflows_is_refused(void **state)
{
    static const size_t batches[] = {(size_t)1 << 40, (size_t)1 << 62,
                                     SIZE_MAX};
    tb_value_id x = TB_ID_NONE;
    tb_graph *graph = NULL;
    tb_bound *bound = NULL;
    tb_err err;
    tb_dims dims = {.rank = 2, .dim = {TB_DIM_ANY, 784}};
    (void)state;
    CHECK_OK(tb_graph_new(&graph, "g", 17, &err), err);
    CHECK_OK(tb_graph_add_input(graph, &x, "x", TB_F32, &dims, &err), err);
    CHECK_OK(
        tb_graph_add_output(graph, apply(graph, "Relu", x, TB_ID_NONE), &err),
        err);
    for (size_t i = 0; i < 3; i++) {
        CHECK_ERR(tb_bind_new(&bound, graph,
                              &(tb_bind_options){.batch = batches[i]}, &err),
                  TB_E_LIMIT, err, "input \"x\"");
    }
    tb_graph_free(&graph);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(absurd_attributes_and_operands_are_refused),
        cmocka_unit_test(a_chain_that_doubles_ends_at_the_limit),
        cmocka_unit_test(folding_stops_where_it_becomes_work),
        cmocka_unit_test(a_chain_as_long_as_a_file_may_hold_is_bound),
        cmocka_unit_test(a_batch_that_overflows_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
