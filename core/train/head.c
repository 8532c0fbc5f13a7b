#include "train/head.h"

#include <string.h>

#include "base/mem.h"

/* The node that makes the first output, if the loss stands for it. */
static const tb_node *last_over(const tb_graph *graph, const tb_loss *loss)
{
    const tb_value *value = tb_graph_value(graph, graph->outputs[0]);
    const tb_node *node =
        value == NULL ? NULL : tb_graph_node(graph, value->producer);
    if (node == NULL || strcmp(node->domain, TB_DOMAIN_ONNX) != 0) {
        return NULL;
    }
    for (size_t i = 0; loss->over != NULL && loss->over[i] != NULL; i++) {
        if (strcmp(node->op, loss->over[i]) == 0) {
            return node;
        }
    }
    return NULL;
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
    const tb_node *over = last_over(*out, loss);
    if (over != NULL) {
        tb_graph_set_output(*out, 0, over->in[0]);
    }
    return TB_OK;
}

/* The axis over which the model's own Softmax runs, or -1: there is none. Below
 * opset 13 it ran over all axes from there on. */
static int64_t softmax_axis(const tb_graph *graph, const tb_node *over,
                            const tb_shape *shape)
{
    int64_t rank = (int64_t)shape->rank;
    if (over == NULL || strstr(over->op, "oftmax") == NULL) {
        return -1;
    }
    int64_t axis = tb_node_int(over, "axis", graph->opset < 13 ? 1 : -1);
    return axis < 0 ? axis + rank : axis;
}

/* The axis of the classes, when a row has n_labels of them; 0: none fits. */
static size_t class_axis(const tb_shape *shape, size_t n_labels,
                         int64_t softmax)
{
    size_t last = shape->rank - 1;
    bool first_fits = tb_shape_product(shape, 2, shape->rank) == n_labels;
    bool last_fits = tb_shape_product(shape, 1, last) == n_labels;
    if (first_fits && last_fits) {
        if (softmax == 1 || softmax == (int64_t)last) {
            return (size_t)softmax;
        }
        return last > 2 ? 1 : last;
    }
    return first_fits ? 1 : last_fits ? last : 0;
}

static tb_rc lay_labels(tb_loss_layout *layout, const tb_shape *shape,
                        int64_t softmax, tb_err *err)
{
    char text[TB_SHAPE_TEXT_BYTES];
    size_t axis =
        shape->rank < 3 ? 0 : class_axis(shape, layout->n_labels, softmax);
    if (axis == 0) {
        return tb_fail(err, TB_E_MISMATCH,
                       "%zu labels a row want a model that gives [batch, %zu, "
                       "classes] or [batch, classes, %zu]; it gives %s",
                       layout->n_labels, layout->n_labels, layout->n_labels,
                       tb_shape_text(shape, text));
    }
    if (softmax >= 0 && softmax != (int64_t)axis) {
        return tb_fail(err, TB_E_MISMATCH,
                       "the model's Softmax runs over axis %lld of %s, the "
                       "classes stand on axis %zu",
                       (long long)softmax, tb_shape_text(shape, text), axis);
    }
    layout->n_cols = shape->dim[axis];
    layout->class_first = axis != shape->rank - 1;
    return TB_OK;
}

tb_rc tb_head_layout(tb_loss_layout *layout, const tb_graph *graph,
                     const tb_loss *loss, size_t n_labels,
                     const tb_head_ends *ends, tb_err *err)
{
    char text[TB_SHAPE_TEXT_BYTES];
    const tb_shape *in = &ends->in->shape;
    const tb_shape *out = &ends->out->shape;
    bool rows = in->rank > 0 && out->rank > 0 && out->dim[0] == in->dim[0];
    if (ends->out->dtype != TB_F32 || !rows ||
        tb_tensor_count(ends->out) == 0) {
        return tb_fail(err, TB_E_MISMATCH,
                       "the model's output %s of %s is not f32 with one row a "
                       "sample: no loss can use it",
                       tb_shape_text(out, text),
                       tb_dtype_name(ends->out->dtype));
    }
    *layout = (tb_loss_layout){
        .n_cols = tb_tensor_count(ends->out) / out->dim[0],
        .n_labels =
            loss->target == TB_TARGET_CLASS && n_labels > 1 ? n_labels : 1};
    return layout->n_labels == 1
               ? TB_OK
               : lay_labels(layout, out,
                            softmax_axis(graph, last_over(graph, loss), out),
                            err);
}

/* --- the loss as a node --------------------------------------------------- */

tb_rc tb_head_append(tb_graph *graph, const tb_loss *loss,
                     const tb_loss_layout *layout, tb_value_id *out,
                     tb_value_id *dy, tb_err *err)
{
    bool classes = loss->target == TB_TARGET_CLASS;
    size_t cols = classes ? layout->n_labels : layout->n_cols;
    const tb_dims dims = {.rank = 2, .dim = {TB_DIM_ANY, (int64_t)cols}};
    tb_value_id in[2] = {graph->outputs[0], TB_ID_NONE};
    char *name = tb_graph_fresh_name(graph, "labels");
    tb_rc rc = name == NULL
                   ? tb_fail(err, TB_E_NOMEM, "loss: a name")
                   : tb_graph_add_input(graph, &in[1], name,
                                        classes ? TB_I32 : TB_F32, &dims, err);
    tb_mem_free(name);
    if (rc == TB_OK) {
        rc = tb_graph_apply(
            graph, dy,
            &(tb_node_spec){
                .domain = TB_DOMAIN_GRAD, .op = "Loss", .in = in, .n_in = 2},
            err);
    }
    if (rc == TB_OK) {
        *out = in[0];
        tb_graph_set_output(graph, 0, *dy);
    }
    return rc;
}

typedef struct head_state {
    const tb_head_rows *rows;
} head_state;

/* Adds the batch to the score, and makes d loss / d out. */
static void head_run(const tb_call *call)
{
    head_state s;
    memcpy(&s, call->state.bytes, sizeof s);
    const tb_loss_batch batch = {.out = call->in[0].data,
                                 .y = call->in[1].data,
                                 .n_rows = s.rows->n_rows,
                                 .n_padded = call->in[0].shape.dim[0],
                                 .layout = s.rows->layout,
                                 .options = s.rows->options,
                                 .weight = s.rows->weight,
                                 .grad = call->out[0].data};
    s.rows->loss->run(&batch, s.rows->score);
}

static const tb_op head_op = {.domain = TB_DOMAIN_GRAD,
                              .name = "Loss",
                              .in_min = 2,
                              .in_max = 2,
                              .out_min = 1,
                              .out_max = 1,
                              .run = head_run};

size_t tb_head_install(tb_bound *bound, const tb_head_rows *rows)
{
    const head_state state = {rows};
    for (size_t i = 0; i < bound->n_calls; i++) {
        tb_call *call = &bound->calls[i];
        if (strcmp(call->op->name, head_op.name) == 0 &&
            strcmp(call->op->domain, head_op.domain) == 0) {
            memcpy(call->state.bytes, &state, sizeof state);
            call->op = &head_op;
            return i;
        }
    }
    return bound->n_calls;
}
