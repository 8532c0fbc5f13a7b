#include "model/reverse.h"

#include "base/mem.h"

#define ARITY_MAX 256 /* over what an operator's uint8 arity can say */

typedef struct reverse {
    tb_graph *graph;
    size_t n_values;   /* before anything was added */
    bool *needs;       /* [n_values] whether a parameter lies behind it */
    tb_value_id *grad; /* [n_values] its gradient so far, or TB_ID_NONE */
    tb_node_id *order; /* [n_order] */
    size_t n_order;
    tb_value_id dy[ARITY_MAX];
    tb_value_id dx[ARITY_MAX];
    bool wants[ARITY_MAX];
} reverse;

static tb_rc prepare(reverse *r, const tb_slots *slots, tb_err *err)
{
    r->needs = tb_mem_array(r->n_values, sizeof r->needs[0]);
    r->grad = tb_mem_array(r->n_values, sizeof r->grad[0]);
    if (r->needs == NULL || r->grad == NULL) {
        return tb_fail(err, TB_E_NOMEM, "gradient: %zu values", r->n_values);
    }
    for (size_t v = 0; v < r->n_values; v++) {
        r->grad[v] = TB_ID_NONE;
    }
    for (size_t s = 0; s < slots->n; s++) {
        r->needs[slots->slot[s].value] = true;
    }
    return tb_graph_order(&r->order, &r->n_order, r->graph, err);
}

/* Whether a change of input j may change what the node makes, smoothly. */
static bool passes(const tb_op *op, size_t j)
{
    return op == NULL || (!op->stops_gradient &&
                          (j >= 32 || (op->shape_only >> j & 1U) == 0));
}

static void mark_needs(reverse *r)
{
    for (size_t i = 0; i < r->n_order; i++) {
        const tb_node *node = r->graph->nodes[r->order[i]];
        const tb_op *op = tb_op_find(node->domain, node->op, r->graph->opset);
        bool needed = false;
        for (size_t j = 0; j < node->n_in; j++) {
            tb_value_id v = node->in[j];
            needed =
                needed || (v != TB_ID_NONE && r->needs[v] && passes(op, j));
        }
        for (size_t j = 0; needed && j < node->n_out; j++) {
            if (node->out[j] != TB_ID_NONE) {
                r->needs[node->out[j]] = true;
            }
        }
    }
}

/* A value used more than once: its gradients add. */
static tb_rc accumulate(reverse *r, tb_value_id v, tb_value_id dx, tb_err *err)
{
    if (r->grad[v] == TB_ID_NONE) {
        r->grad[v] = dx;
        return TB_OK;
    }
    const tb_value_id in[2] = {r->grad[v], dx};
    return tb_graph_apply(r->graph, &r->grad[v],
                          &(tb_node_spec){.op = "Add", .in = in, .n_in = 2},
                          err);
}

static tb_rc pass_node(reverse *r, const tb_node *node, tb_err *err)
{
    const tb_op *op = NULL;
    bool arrives = false;
    bool wanted = false;
    tb_rc rc = tb_op_of(&op, r->graph, node, err);
    if (rc == TB_OK) {
        rc = tb_op_check(op, node, err);
    }
    if (rc != TB_OK) {
        return rc;
    }
    for (size_t j = 0; j < node->n_out; j++) {
        tb_value_id v = node->out[j];
        r->dy[j] = v == TB_ID_NONE ? TB_ID_NONE : r->grad[v];
        arrives = arrives || r->dy[j] != TB_ID_NONE;
    }
    for (size_t j = 0; j < node->n_in; j++) {
        r->wants[j] =
            node->in[j] != TB_ID_NONE && r->needs[node->in[j]] && passes(op, j);
        wanted = wanted || r->wants[j];
    }
    if (!arrives || !wanted) {
        return TB_OK;
    }
    tb_grad g = {.graph = r->graph,
                 .node = node,
                 .dy = r->dy,
                 .wants = r->wants,
                 .dx = r->dx,
                 .err = err};
    rc = tb_op_backward(&g, op);
    node = g.node; /* it may have moved */
    for (size_t j = 0; j < node->n_in && rc == TB_OK; j++) {
        if (r->wants[j]) {
            rc = accumulate(r, node->in[j], r->dx[j], err);
        }
    }
    return rc;
}

/* Gives each slot a gradient value of its own. */
static tb_rc collect(reverse *r, const tb_slots *slots, tb_value_id *grads,
                     tb_err *err)
{
    tb_rc rc = TB_OK;
    for (size_t s = 0; s < slots->n && rc == TB_OK; s++) {
        grads[s] = r->grad[slots->slot[s].value];
        if (grads[s] == TB_ID_NONE) {
            continue;
        }
        bool own = grads[s] >= r->n_values;
        for (size_t k = 0; k < s; k++) {
            own = own && grads[k] != grads[s];
        }
        if (!own) {
            tb_value_id shared = grads[s];
            tb_node_spec copy = {.op = "Identity", .in = &shared, .n_in = 1};
            rc = tb_graph_apply(r->graph, &grads[s], &copy, err);
        }
    }
    return rc;
}

tb_rc tb_reverse(tb_graph *graph, tb_value_id y, tb_value_id dy,
                 const tb_slots *slots, tb_value_id *grads, tb_err *err)
{
    reverse r = {.graph = graph, .n_values = graph->n_values};
    tb_rc rc = prepare(&r, slots, err);
    if (rc != TB_OK) {
        goto done;
    }
    mark_needs(&r);
    r.grad[y] = dy;
    for (size_t i = r.n_order; i > 0 && rc == TB_OK; i--) {
        rc = pass_node(&r, graph->nodes[r.order[i - 1]], err);
    }
    if (rc == TB_OK) {
        rc = collect(&r, slots, grads, err);
    }
done:
    tb_mem_free(r.needs);
    tb_mem_free(r.grad);
    tb_mem_free(r.order);
    return rc;
}
