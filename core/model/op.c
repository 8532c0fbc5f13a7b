#include "model/op.h"

#include <string.h>

#include "base/text.h"

const tb_op *tb_op_find(const char *domain, const char *name, int opset)
{
    for (size_t i = 0; tb_op_list[i] != NULL; i++) {
        const tb_op *op = tb_op_list[i];
        if (opset >= op->since && opset <= op->until &&
            strcmp(op->name, name) == 0 && strcmp(op->domain, domain) == 0) {
            return op;
        }
    }
    return NULL;
}

tb_rc tb_op_of(const tb_op **out, const tb_graph *graph, const tb_node *node,
               tb_err *err)
{
    *out = tb_op_find(node->domain, node->op, graph->opset);
    if (*out != NULL) {
        return TB_OK;
    }
    int first = TB_OPSET_ANY;
    for (size_t i = 0; tb_op_list[i] != NULL; i++) {
        const tb_op *op = tb_op_list[i];
        if (op->since < first && strcmp(op->name, node->op) == 0 &&
            strcmp(op->domain, node->domain) == 0) {
            first = op->since;
        }
    }
    if (first < TB_OPSET_ANY) {
        return tb_fail(err, TB_E_UNSUPPORTED,
                       "operator %s (node \"%s\") in opset %d: known from "
                       "opset %d on; export the model with that opset",
                       node->op, node->name, graph->opset, first);
    }
    return tb_fail(err, TB_E_UNSUPPORTED,
                   "operator %s%s%s (node \"%s\", opset %d) is not supported",
                   node->domain, node->domain[0] != '\0' ? "." : "", node->op,
                   node->name, graph->opset);
}

static tb_rc check_attr(const tb_op *op, const tb_node *node,
                        const tb_attr *attr, tb_err *err)
{
    for (size_t i = 0; i < op->n_attrs; i++) {
        if (strcmp(op->attrs[i].name, attr->name) == 0) {
            return op->attrs[i].kind == attr->kind
                       ? TB_OK
                       : tb_fail(err, TB_E_MALFORMED,
                                 "%s (node \"%s\"): attribute \"%s\" has the "
                                 "wrong type",
                                 node->op, node->name, attr->name);
        }
    }
    return tb_fail(err, TB_E_UNSUPPORTED,
                   "%s (node \"%s\"): attribute \"%s\" is not known", node->op,
                   node->name, attr->name);
}

/* The first output that has a value, or n_out. */
static size_t first_output(const tb_node *node)
{
    size_t i = 0;
    while (i < node->n_out && node->out[i] == TB_ID_NONE) {
        i++;
    }
    return i;
}

static tb_rc check_arity(const tb_op *op, const tb_node *node, tb_err *err)
{
    if (node->n_in < op->in_min || node->n_in > op->in_max) {
        return tb_fail(err, TB_E_MALFORMED,
                       "%s (node \"%s\"): %zu inputs, %u to %u expected",
                       node->op, node->name, node->n_in, op->in_min,
                       op->in_max);
    }
    if (node->n_out < op->out_min ||
        node->n_out > (size_t)op->out_max + op->n_saved) {
        return tb_fail(err, TB_E_MALFORMED,
                       "%s (node \"%s\"): %zu outputs, %u to %u expected",
                       node->op, node->name, node->n_out, op->out_min,
                       op->out_max);
    }
    for (size_t i = 0; i < op->in_min; i++) {
        if (node->in[i] == TB_ID_NONE) {
            return tb_fail(err, TB_E_MALFORMED,
                           "%s (node \"%s\"): input %zu is missing", node->op,
                           node->name, i);
        }
    }
    if (first_output(node) > (op->any_output ? node->n_out - 1 : 0)) {
        return tb_fail(err, TB_E_MALFORMED,
                       "%s (node \"%s\"): its first output has no name",
                       node->op, node->name);
    }
    return TB_OK;
}

tb_rc tb_op_check(const tb_op *op, const tb_node *node, tb_err *err)
{
    tb_rc rc = check_arity(op, node, err);
    for (size_t i = 0; rc == TB_OK && i < node->n_attrs; i++) {
        rc = check_attr(op, node, &node->attrs[i], err);
    }
    for (size_t i = 0; rc == TB_OK && i < op->n_attrs; i++) {
        if (op->attrs[i].required &&
            tb_node_attr(node, op->attrs[i].name) == NULL) {
            rc = tb_fail(err, TB_E_MALFORMED,
                         "%s (node \"%s\"): attribute \"%s\" is missing",
                         node->op, node->name, op->attrs[i].name);
        }
    }
    return rc;
}

/* --- gradients ------------------------------------------------------------ */

double tb_op_flops(const tb_call *call)
{
    const tb_op *op = call->op;
    return op->flops != NULL
               ? op->flops(call)
               : (double)op->flops_each * (double)tb_tensor_count(call->out);
}

tb_rc tb_op_backward(tb_grad *g, const tb_op *op)
{
    g->rc = TB_OK;
    for (size_t i = 0; i < g->node->n_in; i++) {
        g->dx[i] = TB_ID_NONE;
    }
    if (op->backward != NULL) {
        op->backward(g);
    }
    for (size_t i = 0; g->rc == TB_OK && i < g->node->n_in; i++) {
        if (g->wants[i] && g->dx[i] == TB_ID_NONE) {
            g->rc = tb_fail(g->err, TB_E_UNSUPPORTED,
                            "%s (node \"%s\"): no gradient for input %zu",
                            g->node->op, g->node->name, i);
        }
    }
    return g->rc;
}

tb_value_id tb_grad_emit(tb_grad *g, const tb_node_spec *spec)
{
    tb_value_id out = TB_ID_NONE;
    if (g->rc == TB_OK) {
        g->rc = tb_graph_apply(g->graph, &out, spec, g->err);
    }
    return out;
}

void tb_grad_emit_many(tb_grad *g, const tb_node_spec *spec, tb_value_id *out,
                       const bool *wants, size_t n)
{
    tb_node_spec own = *spec;
    for (size_t i = 0; i < n; i++) {
        out[i] = TB_ID_NONE;
        if (g->rc == TB_OK && wants[i]) {
            g->rc =
                tb_graph_add_temp(g->graph, &out[i], NULL, spec->op, g->err);
        }
    }
    own.out = out;
    own.n_out = n;
    if (g->rc == TB_OK) {
        g->rc = tb_graph_add_node(g->graph, NULL, &own, g->err);
    }
    for (size_t i = 0; i < n && g->rc != TB_OK; i++) {
        out[i] = TB_ID_NONE;
    }
}

tb_value_id tb_grad_output(tb_grad *g, size_t i)
{
    tb_value_id out = TB_ID_NONE;
    if (g->rc == TB_OK) {
        tb_value_id y = g->node->out[first_output(g->node)];
        tb_node_id id = g->graph->values[y]->producer;
        g->rc = tb_graph_want_output(g->graph, &out, id, i, g->err);
        g->node = tb_graph_node(g->graph, id);
    }
    return out;
}

tb_value_id tb_grad_unary(tb_grad *g, const char *domain, const char *op,
                          tb_value_id a)
{
    return tb_grad_emit(
        g, &(tb_node_spec){.domain = domain, .op = op, .in = &a, .n_in = 1});
}

tb_value_id tb_grad_binary(tb_grad *g, const char *domain, const char *op,
                           tb_value_id a, tb_value_id b)
{
    const tb_value_id in[2] = {a, b};
    return tb_grad_emit(
        g, &(tb_node_spec){.domain = domain, .op = op, .in = in, .n_in = 2});
}
