#include "model/onnx_opset.h"

#include <string.h>

#include "model/onnx.h"

#define HALF  (TB_TYPE_BIT(TB_F16) | TB_TYPE_BIT(TB_BF16))
#define SHORT (TB_TYPE_BIT(TB_U16) | TB_TYPE_BIT(TB_I16))

/* What an operator may say from an opset on, without meaning something else
 * otherwise: an attribute (nonzero: at another value than 0; text: at this
 * one), an element type of an input or (made) of output 0, an input behind the
 * first n_in. From the changelog of ONNX's operators from opset 18 on. */
typedef struct need {
    const char *op;
    int since;
    const char *attr;
    const char *text;
    bool nonzero;
    uint32_t types;
    uint8_t input;
    uint8_t n_in;
    bool made;
} need;

static const need needs[] = {
    {"Split", 18, .attr = "num_outputs"},
    {"Pad", 18, .n_in = 3},
    {"Pad", 19, .attr = "mode", .text = "wrap"},
    {"AveragePool", 19, .attr = "dilations"},
    {"Cast", 19, .attr = "saturate"},
    {"CastLike", 19, .attr = "saturate"},
    {"Cast", 19, .types = TB_TYPE_BIT(TB_BF16), .made = true},
    {"CastLike", 19, .types = TB_TYPE_BIT(TB_BF16), .made = true},
    {"QuantizeLinear", 19, .attr = "saturate"},
    {"QuantizeLinear", 19, .types = HALF},
    {"DequantizeLinear", 19, .types = HALF, .input = 1},
    {"ReduceMax", 20, .types = TB_TYPES_BOOL},
    {"ReduceMin", 20, .types = TB_TYPES_BOOL},
    {"ConstantOfShape", 20, .types = TB_TYPE_BIT(TB_BF16), .made = true},
    {"QuantizeLinear", 21, .attr = "output_dtype"},
    {"QuantizeLinear", 21, .attr = "block_size"},
    {"QuantizeLinear", 21, .types = SHORT, .input = 2},
    {"DequantizeLinear", 21, .attr = "block_size"},
    {"DequantizeLinear", 21, .types = SHORT},
    {"QLinearMatMul", 21, .types = HALF, .input = 1},
    {"MaxPool", 22, .attr = "ceil_mode", .nonzero = true},
    {"AveragePool", 22, .attr = "ceil_mode", .nonzero = true},
    {"Conv", 22, .types = TB_TYPE_BIT(TB_BF16)},
    {"ConvTranspose", 22, .types = TB_TYPE_BIT(TB_BF16)},
    {"MaxPool", 22, .types = TB_TYPE_BIT(TB_BF16)},
    {"AveragePool", 22, .types = TB_TYPE_BIT(TB_BF16)},
    {"GlobalAveragePool", 22, .types = TB_TYPE_BIT(TB_BF16)},
    {"GlobalMaxPool", 22, .types = TB_TYPE_BIT(TB_BF16)},
    {"InstanceNormalization", 22, .types = TB_TYPE_BIT(TB_BF16)},
    {"Elu", 22, .types = TB_TYPE_BIT(TB_BF16)},
    {"HardSigmoid", 22, .types = TB_TYPE_BIT(TB_BF16)},
    {"HardSwish", 22, .types = TB_TYPE_BIT(TB_BF16)},
    {"Mish", 22, .types = TB_TYPE_BIT(TB_BF16)},
    {"Selu", 22, .types = TB_TYPE_BIT(TB_BF16)},
    {"Softplus", 22, .types = TB_TYPE_BIT(TB_BF16)},
    {"Softsign", 22, .types = TB_TYPE_BIT(TB_BF16)},
    {"ThresholdedRelu", 22, .types = TB_TYPE_BIT(TB_BF16)},
    {"Dropout", 22, .types = TB_TYPE_BIT(TB_BF16), .input = 1},
    {"LSTM", 22, .types = TB_TYPE_BIT(TB_BF16)},
    {"GRU", 22, .types = TB_TYPE_BIT(TB_BF16)},
    {"RNN", 22, .types = TB_TYPE_BIT(TB_BF16)},
    {"QuantizeLinear", 23, .attr = "precision"},
    {"DequantizeLinear", 23, .attr = "output_dtype"},
};

static bool has_need(const tb_node *node, const tb_value_type *types,
                     const need *n)
{
    if (n->attr != NULL) {
        const tb_attr *attr = tb_node_attr(node, n->attr);
        return attr != NULL &&
               (!n->nonzero || tb_node_int(node, n->attr, 0) != 0) &&
               (n->text == NULL || strcmp(attr->s, n->text) == 0);
    }
    if (n->n_in > 0) {
        return node->n_in > n->n_in;
    }
    if (n->made) {
        return node->out[0] != TB_ID_NONE &&
               tb_dtype_in(types[node->out[0]].dtype, n->types);
    }
    return n->input < node->n_in && node->in[n->input] != TB_ID_NONE &&
           tb_dtype_in(types[node->in[n->input]].dtype, n->types);
}

/* The first opset, up to the graph's own, that can say what the node says. */
static int lowest(const tb_graph *graph, const tb_node *node,
                  const tb_value_type *types)
{
    int opset = TB_GRAPH_OPSET;
    for (size_t i = 0; i < sizeof needs / sizeof needs[0]; i++) {
        const need *n = &needs[i];
        if (strcmp(n->op, node->op) == 0 && n->since <= graph->opset &&
            n->since > opset && has_need(node, types, n)) {
            opset = n->since;
        }
    }
    return opset;
}

static bool all_mean_the_same(const tb_graph *graph, int opset)
{
    for (size_t i = 0; i < graph->n_nodes; i++) {
        const tb_node *node = graph->nodes[i];
        if (node != NULL &&
            tb_op_find(node->domain, node->op, opset) !=
                tb_op_find(node->domain, node->op, graph->opset)) {
            return false;
        }
    }
    return true;
}

int tb_onnx_opset(const tb_graph *graph, const tb_value_type *types)
{
    int from = TB_GRAPH_OPSET;
    for (size_t i = 0; i < graph->n_nodes; i++) {
        if (graph->nodes[i] != NULL) {
            int opset = lowest(graph, graph->nodes[i], types);
            from = opset > from ? opset : from;
        }
    }
    for (int v = from; v <= TB_ONNX_OPSET_MAX; v++) {
        if (all_mean_the_same(graph, v)) {
            return v;
        }
    }
    return graph->opset;
}

int tb_onnx_ir(int opset)
{
    return opset <= 18 ? 8 : opset <= 20 ? 9 : opset <= 22 ? 10 : 11;
}
