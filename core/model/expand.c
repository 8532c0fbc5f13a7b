#include "model/expand.h"

#include "base/mem.h"
#include "model/op.h"

static const tb_op *expanding(const tb_graph *graph, tb_node_id id)
{
    const tb_node *node = tb_graph_node(graph, id);
    const tb_op *op =
        node != NULL ? tb_op_find(node->domain, node->op, graph->opset) : NULL;
    return op != NULL && op->expand != NULL ? op : NULL;
}

static bool expands(const tb_graph *graph)
{
    for (size_t i = 0; i < graph->n_nodes; i++) {
        if (expanding(graph, (tb_node_id)i) != NULL) {
            return true;
        }
    }
    return false;
}

tb_rc tb_expand(tb_graph **out, const tb_graph *graph, tb_err *err)
{
    tb_graph *copy = NULL;
    tb_node_id *order = NULL;
    size_t n = 0;
    *out = NULL;
    if (!expands(graph)) {
        return TB_OK;
    }
    tb_rc rc = tb_graph_clone(&copy, graph, err);
    if (rc == TB_OK) {
        rc = tb_graph_order(&order, &n, copy, err);
    }
    for (size_t i = 0; rc == TB_OK && i < n; i++) {
        const tb_op *op = expanding(copy, order[i]);
        rc = op != NULL ? tb_op_check(op, copy->nodes[order[i]], err) : TB_OK;
        if (rc == TB_OK && op != NULL) {
            rc = op->expand(copy, order[i], err);
        }
    }
    if (rc == TB_OK) {
        *out = copy;
        copy = NULL;
    }
    tb_mem_free(order);
    tb_graph_free(&copy);
    return rc;
}
