#include "train/head.h"

#include <string.h>

/* The value in front of a Softmax that makes the first output, or that output
 * itself. */
static tb_value_id before_softmax(const tb_graph *graph)
{
    tb_value_id y = graph->outputs[0];
    const tb_value *value = tb_graph_value(graph, y);
    const tb_node *node =
        value == NULL ? NULL : tb_graph_node(graph, value->producer);
    if (node == NULL || strcmp(node->op, "Softmax") != 0 ||
        strcmp(node->domain, TB_DOMAIN_ONNX) != 0) {
        return y;
    }
    return node->in[0];
}

tb_rc tb_head_new(tb_graph **out, const tb_graph *graph, const tb_loss *loss,
                  tb_err *err)
{
    *out = NULL;
    if (graph->n_inputs != 1 || graph->n_outputs == 0) {
        return tb_fail(err, TB_E_MISMATCH,
                       "a model with %zu inputs and %zu outputs: one input, "
                       "and an output for the loss, are needed",
                       graph->n_inputs, graph->n_outputs);
    }
    tb_rc rc = tb_graph_clone(out, graph, err);
    if (rc != TB_OK) {
        return rc;
    }
    tb_value *input = tb_graph_value(*out, (*out)->inputs[0]);
    if (input->dims.rank > 0) {
        input->dims.dim[0] = TB_DIM_ANY;
    }
    if (loss->on_logits) {
        tb_graph_set_output(*out, 0, before_softmax(*out));
    }
    return TB_OK;
}

tb_rc tb_head_columns(size_t *n_cols, const tb_tensor *in, const tb_tensor *out,
                      tb_err *err)
{
    char text[TB_SHAPE_TEXT_BYTES];
    bool rows = in->shape.rank > 0 && out->shape.rank > 0 &&
                out->shape.dim[0] == in->shape.dim[0];
    if (out->dtype != TB_F32 || !rows || tb_tensor_count(out) == 0) {
        return tb_fail(err, TB_E_MISMATCH,
                       "the model's output %s of %s is not f32 with one row a "
                       "sample: no loss can use it",
                       tb_shape_text(&out->shape, text),
                       tb_dtype_name(out->dtype));
    }
    *n_cols = tb_tensor_count(out) / out->shape.dim[0];
    return TB_OK;
}
