/* Which opset is written: by ONNX's changelog of operators. */
#include "model/onnx_opset.h"

#include "base/mem.h"
#include "support/check.h"

typedef struct written {
    int opset; /* of the graph */
    const char *op;
    tb_attr attr;
    tb_dtype in;
    int want;
} written;

static int opset_of(const written *w)
{
    tb_graph *graph = NULL;
    tb_value_id x = TB_ID_NONE;
    tb_value_id y = TB_ID_NONE;
    tb_dims dims = {.rank = 4, .dim = {1, 1, 8, 8}};
    tb_err err;
    tb_node_spec spec = {.op = w->op,
                         .attrs = &w->attr,
                         .n_attrs = w->attr.name != NULL,
                         .in = &x,
                         .n_in = 1};
    CHECK_OK(tb_graph_new(&graph, "g", w->opset, &err), err);
    CHECK_OK(tb_graph_add_input(graph, &x, "x", w->in, &dims, &err), err);
    CHECK_OK(tb_graph_apply(graph, &y, &spec, &err), err);
    tb_value_type types[2] = {{.dtype = w->in}, {.dtype = TB_F32}};
    int opset = tb_onnx_opset(graph, types);
    tb_graph_free(&graph);
    return opset;
}

static void the_lowest_opset_that_can_say_it_is_written(void **state)
{
    static const int64_t twos[] = {2, 2};
    const tb_attr wide = {
        .name = "dilations", .kind = TB_ATTR_INTS, .ints = twos, .n = 2};
    const tb_attr mode = {.name = "mode", .kind = TB_ATTR_STRING, .s = "wrap"};
    const tb_attr edge = {.name = "mode", .kind = TB_ATTR_STRING, .s = "edge"};
    const written cases[] = {
        {7, "Relu", {0}, TB_F32, 17},
        {23, "Relu", {0}, TB_F32, 17},
        {11, "Softmax", {0}, TB_F32, 11}, /* means something else from 13 on */
        {13, "Softmax", {0}, TB_F32, 17},
        {19, "AveragePool", {0}, TB_F32, 17},
        {23, "AveragePool", wide, TB_F32, 19},
        {23, "MaxPool", TB_ATTR_I("ceil_mode", 0), TB_F32, 17},
        {23, "MaxPool", TB_ATTR_I("ceil_mode", 1), TB_F32, 22},
        {13, "MaxPool", TB_ATTR_I("ceil_mode", 1), TB_F32, 17},
        {23, "Pad", mode, TB_F32, 19},
        {23, "Pad", edge, TB_F32, 18}, /* another operator than that of 17 */
        {23, "Selu", {0}, TB_BF16, 22},
        {23, "Dropout", {0}, TB_BF16, 17},
        {21, "DequantizeLinear", {0}, TB_I8, 17},
        {23, "DequantizeLinear", {0}, TB_I16, 21},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        if (opset_of(&cases[i]) != cases[i].want) {
            fail_msg("case %zu, %s: opset %d, not %d", i, cases[i].op,
                     opset_of(&cases[i]), cases[i].want);
        }
    }
    CHECK(tb_mem_live() == 0);
}

/* The table of versions in onnx/docs/Versioning.md. */
static void the_ir_version_knows_the_opset(void **state)
{
    static const int ir[][2] = {{11, 8}, {17, 8},  {18, 8},  {19, 9},
                                {20, 9}, {21, 10}, {22, 10}, {23, 11}};
    (void)state;
    for (size_t i = 0; i < sizeof ir / sizeof ir[0]; i++) {
        CHECK(tb_onnx_ir(ir[i][0]) == ir[i][1]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_lowest_opset_that_can_say_it_is_written),
        cmocka_unit_test(the_ir_version_knows_the_opset),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
