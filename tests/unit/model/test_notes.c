/* Names as PyTorch 1.13 gives them when it exports for inference. */
#include "model/notes.h"

#include <string.h>

#include "support/check.h"

#define N_NODES 6

typedef struct node_name {
    const char *op;
    const char *name;
    const char *weight; /* NULL: none */
} node_name;

/* A chain of nodes with these names; what they compute does not matter. */
static tb_graph *chain(const node_name *nodes)
{
    static const float one = 1;
    tb_tensor data =
        tb_tensor_view(TB_F32, &TB_SHAPE(1), (void *)(uintptr_t)&one);
    tb_dims dims = {.rank = 1, .dim = {1}};
    tb_graph *graph = NULL;
    tb_value_id in[2] = {TB_ID_NONE, TB_ID_NONE};
    tb_err err;
    CHECK_OK(tb_graph_new(&graph, "g", 17, &err), err);
    CHECK_OK(tb_graph_add_input(graph, &in[0], "x", TB_F32, &dims, &err), err);
    for (size_t i = 0; i < N_NODES && nodes[i].op != NULL; i++) {
        if (nodes[i].weight != NULL) {
            CHECK_OK(tb_graph_add_data(graph, &in[1], nodes[i].weight,
                                       TB_ROLE_CONST, &data, &err),
                     err);
        }
        tb_node_spec spec = {.name = nodes[i].name,
                             .op = nodes[i].op,
                             .in = in,
                             .n_in = nodes[i].weight != NULL ? 2 : 1};
        CHECK_OK(tb_graph_apply(graph, &in[0], &spec, &err), err);
    }
    return graph;
}

static void check_notes(const node_name *nodes, const char *first,
                        const char *second)
{
    tb_note notes[TB_NOTES_MAX];
    tb_graph *graph = chain(nodes);
    size_t n = tb_model_notes(graph, notes);
    CHECK(n == (size_t)(first != NULL) + (second != NULL));
    CHECK(first == NULL || strstr(notes[0].text, first) != NULL);
    CHECK(second == NULL || strstr(notes[1].text, second) != NULL);
    for (size_t i = 0; i < n; i++) {
        CHECK(strstr(notes[i].text, "training=torch.onnx.TrainingMode.TRAINING,"
                                    " do_constant_folding=False") != NULL);
    }
    tb_graph_free(&graph);
}

static void a_dropout_that_left_no_node_is_missed(void **state)
{
    static const node_name nodes[N_NODES] = {
        {"Gemm", "/0/Gemm", "0.weight"},
        {"Relu", "/1/Relu", NULL},
        {"Gemm", "/3/Gemm", "3.weight"},
    };
    (void)state;
    check_notes(nodes, "\"/2\" left no node", NULL);
}

static void
a_folded_normalisation_is_missed_and_a_dropout_beside_it(void **state)
{
    static const node_name nodes[N_NODES] = {
        {"Conv", "/features/features.0/Conv", "onnx::Conv_19"},
        {"Relu", "/features/features.2/Relu", NULL},
        {"Flatten", "/features/features.3/Flatten", NULL},
        {"Gemm", "/features/features.4/Gemm", "features.4.weight"},
        {"Gemm", "/features/features.6/Gemm", "features.6.weight"},
    };
    (void)state;
    check_notes(nodes, "\"onnx::Conv_19\"",
                "\"/features/features.5\" left no node");
}

static void a_model_exported_for_training_misses_nothing(void **state)
{
    static const node_name nodes[N_NODES] = {
        {"Conv", "/0/Conv", "0.weight"},
        {"BatchNormalization", "/1/BatchNormalization", "1.weight"},
        {"Dropout", "/2/Dropout", NULL},
        {"Gemm", "/3/Gemm", "3.weight"},
        {"Relu", "/Relu_2", NULL},
    };
    (void)state;
    check_notes(nodes, NULL, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_dropout_that_left_no_node_is_missed),
        cmocka_unit_test(
            a_folded_normalisation_is_missed_and_a_dropout_beside_it),
        cmocka_unit_test(a_model_exported_for_training_misses_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
