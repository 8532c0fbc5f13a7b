/* core/model/ops/gradient.c - Gradient of ONNX's training domain: dy/dxs of a
 * part of the graph, at the values that come in. The part is copied with the
 * inputs in place of xs and zs, and the reverse pass writes out its
 * gradient. */
#include <string.h>

#include "base/mem.h"
#include "model/ops/op_priv.h"
#include "model/reverse.h"

typedef struct part {
    tb_graph *graph;
    tb_node_id node;
    const tb_attr *xs;
    const tb_attr *zs;  /* or NULL */
    tb_value_id *place; /* [n_values at the start] what stands for a value */
    tb_slots slots;     /* the variables of xs */
    tb_value_id *grads; /* [xs->n] */
} part;

static tb_rc named(tb_value_id *out, const part *p, const char *name,
                   tb_err *err)
{
    *out = tb_graph_find(p->graph, name);
    return *out != TB_ID_NONE
               ? TB_OK
               : tb_fail(err, TB_E_MALFORMED,
                         "Gradient (node \"%s\"): nothing is named \"%s\"",
                         p->graph->nodes[p->node]->name, name);
}

/* Each input of the node is a variable of its own, also where two are fed the
 * same value. */
static tb_rc place_inputs(part *p, tb_err *err)
{
    size_t n_in = p->graph->nodes[p->node]->n_in;
    tb_rc rc = TB_OK;
    for (size_t i = 0; rc == TB_OK && i < n_in; i++) {
        const char *name =
            i < p->xs->n ? p->xs->strings[i] : p->zs->strings[i - p->xs->n];
        tb_value_id from = p->graph->nodes[p->node]->in[i];
        tb_value_id of = TB_ID_NONE;
        tb_value_id variable = TB_ID_NONE;
        tb_node_spec copy = {.op = "Identity", .in = &from, .n_in = 1};
        rc = named(&of, p, name, err);
        if (rc == TB_OK) {
            rc = tb_graph_apply(p->graph, &variable, &copy, err);
        }
        if (rc == TB_OK) {
            p->place[of] = variable;
        }
        if (rc == TB_OK && i < p->xs->n) {
            p->slots.slot[i].value = variable;
        }
    }
    return rc;
}

/* Copies a node that reads something placed; what it makes is placed then,
 * unless it is a variable itself. */
static tb_rc copy_node(part *p, tb_node_id id, size_t n_values, tb_err *err)
{
    const tb_node *node = p->graph->nodes[id];
    size_t n_ends = node->n_in + node->n_out;
    tb_rc rc = TB_OK;
    bool touched = false;
    tb_value_id *ends = tb_mem_array(n_ends, sizeof ends[0]);
    if (ends == NULL) {
        return tb_fail(err, TB_E_NOMEM, "gradient: %zu ends", n_ends);
    }
    for (size_t k = 0; k < node->n_in; k++) {
        tb_value_id v = node->in[k];
        ends[k] = v < n_values ? p->place[v] : v;
        touched = touched || ends[k] != v;
    }
    for (size_t k = 0; rc == TB_OK && touched && k < node->n_out; k++) {
        tb_value_id *made = &ends[node->n_in + k];
        tb_value_id v = node->out[k];
        *made = TB_ID_NONE;
        if (v != TB_ID_NONE) {
            rc = tb_graph_add_temp(p->graph, made, NULL,
                                   p->graph->values[v]->name, err);
        }
        if (rc == TB_OK && v != TB_ID_NONE && p->place[v] == v) {
            p->place[v] = *made;
        }
    }
    tb_node_spec spec = {.name = node->name,
                         .domain = node->domain,
                         .op = node->op,
                         .attrs = node->attrs,
                         .n_attrs = node->n_attrs,
                         .in = ends,
                         .n_in = node->n_in,
                         .out = ends + node->n_in,
                         .n_out = node->n_out};
    if (rc == TB_OK && touched) {
        rc = tb_graph_add_node(p->graph, NULL, &spec, err);
    }
    tb_mem_free(ends);
    return rc;
}

/* The nodes in front of y, as functions of the variables. */
static tb_rc copy_part(part *p, size_t n_values, tb_err *err)
{
    tb_node_id *order = NULL;
    size_t n = 0;
    tb_rc rc = tb_graph_order(&order, &n, p->graph, err);
    for (size_t i = 0; rc == TB_OK && i < n && order[i] != p->node; i++) {
        rc = copy_node(p, order[i], n_values, err);
    }
    tb_mem_free(order);
    return rc;
}

/* A tensor of the shape of v that holds one number everywhere. */
static tb_rc filled(part *p, tb_value_id *out, tb_value_id v, float number,
                    tb_err *err)
{
    const tb_attr value = TB_ATTR_F("value", number);
    tb_node_spec fill = {.domain = TB_DOMAIN_GRAD,
                         .op = "FillLike",
                         .attrs = &value,
                         .n_attrs = 1,
                         .in = &v,
                         .n_in = 1};
    return tb_graph_apply(p->graph, out, &fill, err);
}

/* The node's outputs are made by the gradients from now on. */
static tb_rc replace_node(part *p, tb_err *err)
{
    tb_value_id out[UINT8_MAX];
    size_t n = p->graph->nodes[p->node]->n_out;
    tb_rc rc = TB_OK;
    memcpy(out, p->graph->nodes[p->node]->out, n * sizeof out[0]);
    tb_graph_remove_node(p->graph, p->node);
    for (size_t i = 0; rc == TB_OK && i < n; i++) {
        tb_node_spec copy = {.op = "Identity",
                             .in = &p->grads[i],
                             .n_in = 1,
                             .out = &out[i],
                             .n_out = 1};
        if (p->grads[i] == TB_ID_NONE) {
            rc = filled(p, &p->grads[i], p->slots.slot[i].value, 0, err);
        }
        if (rc == TB_OK && out[i] != TB_ID_NONE) {
            rc = tb_graph_add_node(p->graph, NULL, &copy, err);
        }
    }
    return rc;
}

static tb_rc check(const part *p, tb_err *err)
{
    const tb_node *node = p->graph->nodes[p->node];
    size_t n_zs = p->zs != NULL ? p->zs->n : 0;
    if (node->n_in != p->xs->n + n_zs || node->n_out > p->xs->n) {
        return tb_fail(err, TB_E_MALFORMED,
                       "Gradient (node \"%s\"): %zu inputs and %zu outputs for "
                       "%zu xs and %zu zs",
                       node->name, node->n_in, node->n_out, p->xs->n, n_zs);
    }
    return TB_OK;
}

static tb_rc differentiate(part *p, const char *y_name, tb_err *err)
{
    size_t n_values = p->graph->n_values;
    tb_value_id y = TB_ID_NONE;
    tb_value_id dy = TB_ID_NONE;
    for (size_t v = 0; v < n_values; v++) {
        p->place[v] = (tb_value_id)v;
    }
    tb_rc rc = named(&y, p, y_name, err);
    rc = rc == TB_OK ? place_inputs(p, err) : rc;
    rc = rc == TB_OK ? copy_part(p, n_values, err) : rc;
    rc = rc == TB_OK ? filled(p, &dy, p->place[y], 1, err) : rc;
    return rc == TB_OK
               ? tb_reverse(p->graph, p->place[y], dy, &p->slots, p->grads, err)
               : rc;
}

static tb_rc expand(tb_graph *graph, tb_node_id node, tb_err *err)
{
    part p = {.graph = graph,
              .node = node,
              .xs = tb_node_attr(graph->nodes[node], "xs"),
              .zs = tb_node_attr(graph->nodes[node], "zs")};
    tb_rc rc = check(&p, err);
    if (rc != TB_OK) {
        return rc;
    }
    p.place = tb_mem_array(graph->n_values, sizeof p.place[0]);
    p.slots.n = p.xs->n;
    p.slots.slot = tb_mem_array(p.xs->n, sizeof p.slots.slot[0]);
    p.grads = tb_mem_array(p.xs->n, sizeof p.grads[0]);
    if (p.place == NULL || p.slots.slot == NULL || p.grads == NULL) {
        rc = tb_fail(err, TB_E_NOMEM, "gradient: %zu values", graph->n_values);
    }
    const char *y = tb_node_attr(graph->nodes[node], "y")->s;
    rc = rc == TB_OK ? differentiate(&p, y, err) : rc;
    rc = rc == TB_OK ? replace_node(&p, err) : rc;
    tb_mem_free(p.place);
    tb_mem_free(p.slots.slot);
    tb_mem_free(p.grads);
    return rc;
}

/* --- FillLike ------------------------------------------------------------- */

static tb_rc fill_infer(tb_call *call, tb_err *err)
{
    float *value = TB_OP_STATE(float, call);
    *value = tb_node_float(call->node, "value", 0);
    return tb_op_infer_same(call, err);
}

/* y = value, of the shape of x */
static void fill_run(const tb_call *call)
{
    const float *value = TB_OP_CONST_STATE(float, call);
    float *y = tb_op_f32_out(call);
    size_t n = tb_tensor_count(&call->out[0]);
    for (size_t i = 0; i < n; i++) {
        y[i] = *value;
    }
}

/* --- the table ------------------------------------------------------------ */

static const tb_attr_decl fill_attrs[] = {{"value", TB_ATTR_FLOAT, true}};
static const tb_attr_decl attrs[] = {{"xs", TB_ATTR_STRINGS, true},
                                     {"y", TB_ATTR_STRING, true},
                                     {"zs", TB_ATTR_STRINGS, false}};

const tb_op tb_op_gradient = {.domain = TB_DOMAIN_TRAINING,
                              .name = "Gradient",
                              .since = 1,
                              .until = TB_OPSET_ANY,
                              .in_min = 1,
                              .in_max = 255,
                              .out_min = 1,
                              .out_max = 255,
                              .attrs = attrs,
                              .n_attrs = TB_COUNT(attrs),
                              .expand = expand};

const tb_op tb_op_fill_like = {.domain = TB_DOMAIN_GRAD,
                               .name = "FillLike",
                               .since = 1,
                               .until = TB_OPSET_ANY,
                               .in_min = 1,
                               .in_max = 1,
                               .out_min = 1,
                               .out_max = 1,
                               .attrs = fill_attrs,
                               .n_attrs = TB_COUNT(fill_attrs),
                               .shape_only = 1,
                               .types = TB_TYPES_F32,
                               .infer = fill_infer,
                               .run = fill_run};
