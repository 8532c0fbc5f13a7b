/* core/model/graph_edit.c - uses, order, sweeping and cloning of a graph. */
#include <string.h>

#include "base/mem.h"
#include "model/graph.h"

size_t tb_graph_n_uses(const tb_graph *graph, tb_value_id id)
{
    size_t n = 0;
    for (size_t i = 0; i < graph->n_nodes; i++) {
        const tb_node *node = graph->nodes[i];
        for (size_t k = 0; node != NULL && k < node->n_in; k++) {
            n += node->in[k] == id;
        }
    }
    return n;
}

tb_node_id tb_graph_first_use(const tb_graph *graph, tb_value_id id)
{
    for (size_t i = 0; i < graph->n_nodes; i++) {
        const tb_node *node = graph->nodes[i];
        for (size_t k = 0; node != NULL && k < node->n_in; k++) {
            if (node->in[k] == id) {
                return (tb_node_id)i;
            }
        }
    }
    return TB_ID_NONE;
}

void tb_graph_remove_node(tb_graph *graph, tb_node_id id)
{
    tb_node *node = tb_graph_node(graph, id);
    if (node == NULL) {
        return;
    }
    for (size_t i = 0; i < node->n_out; i++) {
        tb_value *value = tb_graph_value(graph, node->out[i]);
        if (value != NULL) {
            value->producer = TB_ID_NONE;
        }
    }
    tb_mem_free(node);
    graph->nodes[id] = NULL;
}

void tb_graph_set_input(tb_graph *graph, tb_node_id node, size_t at,
                        tb_value_id value)
{
    graph->nodes[node]->in[at] = value;
}

void tb_graph_replace_uses(tb_graph *graph, tb_value_id from, tb_value_id to,
                           tb_node_id except)
{
    for (size_t i = 0; i < graph->n_nodes; i++) {
        tb_node *node = i == except ? NULL : graph->nodes[i];
        for (size_t k = 0; node != NULL && k < node->n_in; k++) {
            if (node->in[k] == from) {
                node->in[k] = to;
            }
        }
    }
}

/* --- order ---------------------------------------------------------------- */

enum { UNSEEN, OPEN, DONE };

/* Depth-first search with its own stack: nodes whose producers come first. */
typedef struct tb_walk {
    uint8_t *state;    /* [n_nodes] UNSEEN, OPEN or DONE */
    tb_node_id *stack; /* [n_nodes] the path of OPEN nodes */
    size_t *next_in;   /* [n_nodes] next input of each stack level */
    size_t depth;
    tb_node_id *order; /* [n_nodes] finished nodes */
    size_t n_order;
} tb_walk;

/* A Gradient node names the value that it differentiates in an attribute. */
static tb_value_id named_by(const tb_graph *graph, const tb_node *node)
{
    const tb_attr *y = strcmp(node->domain, TB_DOMAIN_TRAINING) == 0 &&
                               strcmp(node->op, "Gradient") == 0
                           ? tb_node_attr(node, "y")
                           : NULL;
    return y != NULL && y->kind == TB_ATTR_STRING ? tb_graph_find(graph, y->s)
                                                  : TB_ID_NONE;
}

/* What a node needs: its inputs, and behind them what it names. */
static tb_value_id need_of(const tb_graph *graph, const tb_node *node, size_t k)
{
    return k < node->n_in ? node->in[k] : named_by(graph, node);
}

static void walk_open(tb_walk *walk, tb_node_id id)
{
    walk->state[id] = OPEN;
    walk->stack[walk->depth] = id;
    walk->next_in[walk->depth] = 0;
    walk->depth++;
}

/* Finishes `root` and all that it needs. */
static tb_rc walk_from(tb_walk *walk, const tb_graph *graph, tb_node_id root,
                       tb_err *err)
{
    if (walk->state[root] != UNSEEN) {
        return TB_OK;
    }
    walk_open(walk, root);
    while (walk->depth > 0) {
        tb_node_id id = walk->stack[walk->depth - 1];
        const tb_node *node = graph->nodes[id];
        size_t k = walk->next_in[walk->depth - 1]++;
        if (k > node->n_in) {
            walk->state[id] = DONE;
            walk->order[walk->n_order++] = id;
            walk->depth--;
            continue;
        }
        const tb_value *value = tb_graph_value(graph, need_of(graph, node, k));
        tb_node_id from = value != NULL ? value->producer : TB_ID_NONE;
        if (from == TB_ID_NONE || walk->state[from] == DONE) {
            continue;
        }
        if (walk->state[from] == OPEN) {
            return tb_fail(err, TB_E_MALFORMED,
                           "graph: %s \"%s\" needs its own output: a cycle "
                           "through \"%s\"",
                           graph->nodes[from]->op, graph->nodes[from]->name,
                           value->name);
        }
        walk_open(walk, from);
    }
    return TB_OK;
}

static tb_rc walk_new(tb_walk *walk, size_t n_nodes, tb_err *err)
{
    *walk = (tb_walk){
        .state = tb_mem_array(n_nodes, sizeof walk->state[0]),
        .stack = tb_mem_array(n_nodes, sizeof walk->stack[0]),
        .next_in = tb_mem_array(n_nodes, sizeof walk->next_in[0]),
        .order = tb_mem_array(n_nodes, sizeof walk->order[0]),
    };
    return walk->state != NULL && walk->stack != NULL &&
                   walk->next_in != NULL && walk->order != NULL
               ? TB_OK
               : tb_fail(err, TB_E_NOMEM, "graph: order of %zu nodes", n_nodes);
}

static void walk_free(tb_walk *walk)
{
    tb_mem_free(walk->state);
    tb_mem_free(walk->stack);
    tb_mem_free(walk->next_in);
    tb_mem_free(walk->order);
}

tb_rc tb_graph_order(tb_node_id **out, size_t *n_out, const tb_graph *graph,
                     tb_err *err)
{
    tb_walk walk;
    *out = NULL;
    tb_rc rc = walk_new(&walk, graph->n_nodes, err);
    for (size_t i = 0; rc == TB_OK && i < graph->n_nodes; i++) {
        if (graph->nodes[i] != NULL) {
            rc = walk_from(&walk, graph, (tb_node_id)i, err);
        }
    }
    if (rc == TB_OK) {
        *out = walk.order;
        *n_out = walk.n_order;
        walk.order = NULL;
    }
    walk_free(&walk);
    return rc;
}

/* --- sweeping ------------------------------------------------------------- */

/* Marks what the outputs need: needed[value id]. */
static void mark_values(const tb_graph *graph, const tb_walk *walk,
                        uint8_t *needed)
{
    for (size_t i = 0; i < graph->n_outputs; i++) {
        needed[graph->outputs[i]] = 1;
    }
    for (size_t i = 0; i < graph->n_inputs; i++) {
        needed[graph->inputs[i]] = 1;
    }
    for (size_t i = 0; i < walk->n_order; i++) {
        const tb_node *node = graph->nodes[walk->order[i]];
        for (size_t k = 0; k <= node->n_in; k++) {
            tb_value_id v = need_of(graph, node, k);
            if (v != TB_ID_NONE) {
                needed[v] = 1;
            }
        }
        for (size_t k = 0; k < node->n_out; k++) {
            if (node->out[k] != TB_ID_NONE) {
                needed[node->out[k]] = 1;
            }
        }
    }
}

tb_rc tb_graph_sweep(tb_graph *graph, tb_err *err)
{
    tb_walk walk;
    uint8_t *needed = NULL;
    tb_rc rc = walk_new(&walk, graph->n_nodes, err);
    for (size_t i = 0; rc == TB_OK && i < graph->n_outputs; i++) {
        tb_node_id from = graph->values[graph->outputs[i]]->producer;
        if (from != TB_ID_NONE) {
            rc = walk_from(&walk, graph, from, err);
        }
    }
    if (rc != TB_OK) {
        goto done;
    }
    needed = tb_mem_array(graph->n_values, 1);
    if (needed == NULL) {
        rc = tb_fail(err, TB_E_NOMEM, "graph: %zu values", graph->n_values);
        goto done;
    }
    mark_values(graph, &walk, needed);
    for (size_t i = 0; i < graph->n_nodes; i++) {
        if (walk.state[i] != DONE) {
            tb_graph_remove_node(graph, (tb_node_id)i);
        }
    }
    for (size_t i = 0; i < graph->n_values; i++) {
        if (!needed[i]) {
            tb_graph_remove_value(graph, (tb_value_id)i);
        }
    }
done:
    tb_mem_free(needed);
    walk_free(&walk);
    return rc;
}

/* --- cloning -------------------------------------------------------------- */

/* Values with the ids of `from`; a hole is made by adding and removing. */
static tb_rc clone_values(tb_graph *graph, const tb_graph *from, tb_err *err)
{
    tb_rc rc = TB_OK;
    for (size_t i = 0; rc == TB_OK && i < from->n_values; i++) {
        const tb_value *value = from->values[i];
        tb_value_id id = TB_ID_NONE;
        if (value == NULL) {
            rc = tb_graph_add_temp(graph, &id, NULL, "\x7fhole", err);
            if (rc == TB_OK) {
                tb_graph_remove_value(graph, id);
            }
        } else if (value->data.data != NULL) {
            rc = tb_graph_add_data(graph, &id, value->name, value->role,
                                   &value->data, err);
        } else if (value->role == TB_ROLE_INPUT) {
            rc = tb_graph_add_input(graph, &id, value->name, value->dtype,
                                    &value->dims, err);
        } else {
            rc = tb_graph_add_temp(graph, &id, value->name, NULL, err);
            if (rc == TB_OK) {
                graph->values[id]->dtype = value->dtype;
                graph->values[id]->dims = value->dims;
            }
        }
    }
    return rc;
}

static tb_rc clone_nodes(tb_graph *graph, const tb_graph *from, tb_err *err)
{
    tb_rc rc = TB_OK;
    for (size_t i = 0; rc == TB_OK && i < from->n_nodes; i++) {
        static const tb_node hole = {.name = "", .domain = "", .op = "hole"};
        const tb_node *node = from->nodes[i] != NULL ? from->nodes[i] : &hole;
        tb_node_id id = TB_ID_NONE;
        rc = tb_graph_add_node(graph, &id,
                               &(tb_node_spec){.name = node->name,
                                               .domain = node->domain,
                                               .op = node->op,
                                               .attrs = node->attrs,
                                               .n_attrs = node->n_attrs,
                                               .in = node->in,
                                               .n_in = node->n_in,
                                               .out = node->out,
                                               .n_out = node->n_out},
                               err);
        if (rc == TB_OK && from->nodes[i] == NULL) {
            tb_graph_remove_node(graph, id);
        }
    }
    return rc;
}

tb_rc tb_graph_clone(tb_graph **out, const tb_graph *from, tb_err *err)
{
    tb_graph *graph = NULL;
    *out = NULL;
    tb_rc rc = tb_graph_new(&graph, from->name, from->opset, err);
    if (rc == TB_OK) {
        rc = clone_values(graph, from, err);
    }
    if (rc == TB_OK) {
        rc = clone_nodes(graph, from, err);
    }
    for (size_t i = 0; rc == TB_OK && i < from->n_outputs; i++) {
        rc = tb_graph_add_output(graph, from->outputs[i], err);
    }
    for (size_t i = 0; rc == TB_OK && i < from->n_meta; i++) {
        rc = tb_graph_set_meta(graph, from->meta[i].key, from->meta[i].value,
                               err);
    }
    if (rc == TB_OK) {
        /* Inputs may have been reordered; ids are the same. */
        for (size_t i = 0; i < from->n_inputs; i++) {
            graph->inputs[i] = from->inputs[i];
        }
        graph->fresh = from->fresh;
        *out = graph;
        graph = NULL;
    }
    tb_graph_free(&graph);
    return rc;
}
