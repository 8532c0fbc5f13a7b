/* core/model/graph_node.c - adding nodes to a graph. A node is one block: the
 * struct, then all that it points to. The block is laid out twice: without
 * memory to learn its size, then for good. */
#include <string.h>

#include "base/mem.h"
#include "model/graph_priv.h"

typedef struct tb_block {
    uint8_t *base; /* NULL: only counting */
    size_t used;
} tb_block;

static void *place(tb_block *block, const void *from, size_t bytes)
{
    size_t at = block->used;
    block->used += (bytes + 15) & ~(size_t)15;
    if (block->base == NULL) {
        return NULL;
    }
    if (bytes > 0) {
        memcpy(block->base + at, from, bytes);
    }
    return block->base + at;
}

static const char *place_text(tb_block *block, const char *text)
{
    return place(block, text, strlen(text) + 1);
}

static tb_attr place_attr(tb_block *block, const tb_attr *from)
{
    tb_attr attr = *from;
    attr.name = place_text(block, from->name);
    if (from->kind == TB_ATTR_STRING) {
        attr.s = place_text(block, from->s);
    } else if (from->kind == TB_ATTR_TENSOR) {
        attr.t.data = place(block, from->t.data, tb_tensor_bytes(&from->t));
        attr.t.owns = false;
    } else if (from->kind == TB_ATTR_FLOATS) {
        attr.floats = place(block, from->floats, from->n * sizeof(float));
    } else if (from->kind == TB_ATTR_INTS) {
        attr.ints = place(block, from->ints, from->n * sizeof(int64_t));
    } else if (from->kind == TB_ATTR_STRINGS) {
        const char **strings =
            place(block, from->strings, from->n * sizeof(char *));
        for (size_t i = 0; i < from->n; i++) {
            const char *s = place_text(block, from->strings[i]);
            if (strings != NULL) {
                strings[i] = s;
            }
        }
        attr.strings = strings;
    }
    return attr;
}

static void place_node(tb_block *block, const tb_node_spec *spec)
{
    tb_node node = {
        .n_attrs = spec->n_attrs, .n_in = spec->n_in, .n_out = spec->n_out};
    tb_node *own = place(block, &node, sizeof node);
    node.name = place_text(block, spec->name != NULL ? spec->name : "");
    node.domain =
        place_text(block, spec->domain != NULL ? spec->domain : TB_DOMAIN_ONNX);
    node.op = place_text(block, spec->op);
    node.in = place(block, spec->in, spec->n_in * sizeof spec->in[0]);
    node.out = place(block, spec->out, spec->n_out * sizeof spec->out[0]);
    tb_attr *attrs =
        place(block, spec->attrs, spec->n_attrs * sizeof spec->attrs[0]);
    for (size_t i = 0; i < spec->n_attrs; i++) {
        tb_attr attr = place_attr(block, &spec->attrs[i]);
        if (attrs != NULL) {
            attrs[i] = attr;
        }
    }
    node.attrs = attrs;
    if (own != NULL) {
        *own = node;
    }
}

static tb_rc check_ends(const tb_graph *graph, const tb_node_spec *spec,
                        tb_err *err)
{
    for (size_t i = 0; i < spec->n_in; i++) {
        if (spec->in[i] != TB_ID_NONE &&
            tb_graph_value(graph, spec->in[i]) == NULL) {
            return tb_fail(err, TB_E_BUG, "%s: input %zu is no value", spec->op,
                           i);
        }
    }
    for (size_t i = 0; i < spec->n_out; i++) {
        const tb_value *value = tb_graph_value(graph, spec->out[i]);
        if (spec->out[i] != TB_ID_NONE &&
            (value == NULL || value->role != TB_ROLE_TEMP ||
             value->producer != TB_ID_NONE)) {
            return tb_fail(err, TB_E_MALFORMED,
                           "%s \"%s\": output %zu (\"%s\") is made elsewhere",
                           spec->op, spec->name != NULL ? spec->name : "", i,
                           value != NULL ? value->name : "?");
        }
    }
    return TB_OK;
}

/* A node in a block of its own. NULL when out of memory. */
static tb_node *make_node(const tb_node_spec *spec)
{
    tb_block block = {0};
    place_node(&block, spec);
    block.base = tb_mem_array(block.used, 1);
    if (block.base != NULL) {
        block.used = 0;
        place_node(&block, spec);
    }
    return (tb_node *)(void *)block.base;
}

tb_rc tb_graph_add_node(tb_graph *graph, tb_node_id *out,
                        const tb_node_spec *spec, tb_err *err)
{
    tb_rc rc = check_ends(graph, spec, err);
    if (rc == TB_OK) {
        rc = tb_graph_room_for_one(&graph->nodes, &graph->cap_nodes,
                                   graph->n_nodes, sizeof graph->nodes[0], err);
    }
    if (rc != TB_OK) {
        return rc;
    }
    tb_node *node = make_node(spec);
    if (node == NULL) {
        return tb_fail(err, TB_E_NOMEM, "graph: node %s", spec->op);
    }
    tb_node_id id = (tb_node_id)graph->n_nodes++;
    graph->nodes[id] = node;
    for (size_t i = 0; i < spec->n_out; i++) {
        if (spec->out[i] != TB_ID_NONE) {
            graph->values[spec->out[i]]->producer = id;
        }
    }
    if (out != NULL) {
        *out = id;
    }
    return TB_OK;
}

/* The node again with n_out outputs; the new ones are nobody's yet. */
static tb_rc widen(tb_graph *graph, tb_node_id id, size_t n_out, tb_err *err)
{
    tb_node *node = graph->nodes[id];
    tb_value_id *ends = tb_mem_array(n_out, sizeof *ends);
    tb_node *wide = NULL;
    if (ends != NULL) {
        for (size_t i = 0; i < n_out; i++) {
            ends[i] = i < node->n_out ? node->out[i] : TB_ID_NONE;
        }
        wide = make_node(&(tb_node_spec){.name = node->name,
                                         .domain = node->domain,
                                         .op = node->op,
                                         .attrs = node->attrs,
                                         .n_attrs = node->n_attrs,
                                         .in = node->in,
                                         .n_in = node->n_in,
                                         .out = ends,
                                         .n_out = n_out});
    }
    tb_mem_free(ends);
    if (wide == NULL) {
        return tb_fail(err, TB_E_NOMEM, "graph: node %s", node->op);
    }
    tb_mem_free(node);
    graph->nodes[id] = wide;
    return TB_OK;
}

tb_rc tb_graph_want_output(tb_graph *graph, tb_value_id *out, tb_node_id node,
                           size_t i, tb_err *err)
{
    const tb_node *n = tb_graph_node(graph, node);
    *out = TB_ID_NONE;
    if (n == NULL) {
        return tb_fail(err, TB_E_BUG, "graph: no node %u", node);
    }
    tb_rc rc = i < n->n_out ? TB_OK : widen(graph, node, i + 1, err);
    if (rc == TB_OK && graph->nodes[node]->out[i] == TB_ID_NONE) {
        tb_value_id fresh = TB_ID_NONE;
        rc =
            tb_graph_add_temp(graph, &fresh, NULL, graph->nodes[node]->op, err);
        if (rc == TB_OK) {
            graph->values[fresh]->producer = node;
            graph->nodes[node]->out[i] = fresh;
        }
    }
    if (rc == TB_OK) {
        *out = graph->nodes[node]->out[i];
    }
    return rc;
}

tb_rc tb_graph_apply(tb_graph *graph, tb_value_id *out,
                     const tb_node_spec *spec, tb_err *err)
{
    tb_node_spec own = *spec;
    tb_value_id fresh = TB_ID_NONE;
    if (spec->n_out == 0) {
        tb_rc rc = tb_graph_add_temp(graph, &fresh, NULL, spec->op, err);
        if (rc != TB_OK) {
            return rc;
        }
        own.out = &fresh;
        own.n_out = 1;
    }
    tb_rc rc = tb_graph_add_node(graph, NULL, &own, err);
    if (rc == TB_OK) {
        *out = own.out[0];
    } else {
        tb_graph_remove_value(graph, fresh);
    }
    return rc;
}
