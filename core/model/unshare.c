#include "model/unshare.h"

#include <string.h>

#include "base/mem.h"

/* The initialiser that an Identity hands on, or NULL. */
static const tb_value *source_of(const tb_graph *graph, const tb_node *node)
{
    if (node == NULL || strcmp(node->op, "Identity") != 0 ||
        strcmp(node->domain, TB_DOMAIN_ONNX) != 0 || node->n_in != 1 ||
        node->n_out != 1 || tb_graph_is_output(graph, node->out[0])) {
        return NULL;
    }
    const tb_value *value = tb_graph_value(graph, node->in[0]);
    return value != NULL && value->data.data != NULL ? value : NULL;
}

static tb_rc part(tb_graph *graph, tb_node_id id, const tb_value *source,
                  tb_err *err)
{
    tb_value_id old = graph->nodes[id]->out[0];
    tb_value_id own = TB_ID_NONE;
    char *name = tb_mem_text(graph->values[old]->name);
    char *spare = tb_graph_fresh_name(graph, "shared");
    tb_rc rc = name != NULL && spare != NULL
                   ? tb_graph_rename(graph, old, spare, err)
                   : tb_fail(err, TB_E_NOMEM, "a copy of an initialiser");
    if (rc == TB_OK) {
        rc = tb_graph_add_data(graph, &own, name, TB_ROLE_CONST, &source->data,
                               err);
    }
    if (rc == TB_OK) {
        tb_graph_replace_uses(graph, old, own, TB_ID_NONE);
        tb_graph_remove_node(graph, id);
        tb_graph_remove_value(graph, old);
    }
    tb_mem_free(name);
    tb_mem_free(spare);
    return rc;
}

tb_rc tb_graph_unshare(tb_graph *graph, tb_err *err)
{
    size_t left = TB_UNSHARE_BYTES;
    tb_rc rc = TB_OK;
    for (size_t i = 0; rc == TB_OK && i < graph->n_nodes; i++) {
        const tb_value *source = source_of(graph, graph->nodes[i]);
        size_t bytes = source != NULL ? tb_tensor_bytes(&source->data) : 0;
        if (source != NULL && bytes <= left) {
            left -= bytes;
            rc = part(graph, (tb_node_id)i, source, err);
        }
    }
    return rc;
}
