#include "model/roles.h"

#include <string.h>

#include "base/mem.h"
#include "model/op.h"

#define MAX_DEPTH 16 /* of a walk to the left: there may be a cycle */

/* What is known of a value from its readers, walked from the last node to the
 * first. */
enum { UNKNOWN, WEIGHT, STATISTIC, NO_WEIGHT };

typedef struct marker {
    const tb_graph *graph;
    uint8_t *is; /* [n_values] */
} marker;

static bool one_of(const char *op, const char *const *names, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (strcmp(op, names[i]) == 0) {
            return true;
        }
    }
    return false;
}

bool tb_roles_hands_on(const tb_node *node)
{
    static const char *const names[] = {
        "Identity",  "Transpose", "Reshape", "Flatten", "Squeeze",
        "Unsqueeze", "Slice",     "Concat",  "Split",   "Expand"};
    return one_of(node->op, names, sizeof names / sizeof names[0]);
}

static const tb_node *maker(const tb_graph *graph, tb_value_id id)
{
    const tb_value *value = tb_graph_value(graph, id);
    return value != NULL ? tb_graph_node(graph, value->producer) : NULL;
}

static bool made_by(const tb_graph *graph, tb_value_id id, const char *op)
{
    const tb_node *node = maker(graph, id);
    return node != NULL && strcmp(node->op, op) == 0;
}

/* The first maker of a value that does not only move numbers; *id: what that
 * made, or the value that nothing made. */
static const tb_node *real_maker(const tb_graph *graph, tb_value_id *id)
{
    const tb_node *node = maker(graph, *id);
    for (size_t i = 0; i < MAX_DEPTH && node != NULL &&
                       tb_roles_hands_on(node) && node->n_in > 0;
         i++) {
        *id = node->in[0];
        node = maker(graph, *id);
    }
    return node;
}

static bool is_data(const tb_graph *graph, tb_value_id id)
{
    const tb_node *node = real_maker(graph, &id);
    const tb_value *value = tb_graph_value(graph, id);
    return node == NULL && value != NULL && value->data.data != NULL;
}

static void mark(marker *m, tb_value_id id, uint8_t what)
{
    if (id != TB_ID_NONE && m->is[id] == UNKNOWN) {
        m->is[id] = what;
    }
}

/* --- normalisations written out in parts ---------------------------------- */

/* The InstanceNormalization behind a value, or NULL. */
static const tb_node *instance_norm(const tb_graph *graph, tb_value_id id)
{
    const tb_node *node = real_maker(graph, &id);
    return node != NULL && strcmp(node->op, "InstanceNormalization") == 0
               ? node
               : NULL;
}

/* (x - mean) / sqrt(...), or what InstanceNormalization makes of x. */
static bool is_normalised(const tb_graph *graph, tb_value_id id)
{
    const tb_node *node = maker(graph, id);
    if (node != NULL && strcmp(node->op, "Div") == 0 && node->n_in == 2) {
        return made_by(graph, node->in[0], "Sub") &&
               made_by(graph, node->in[1], "Sqrt");
    }
    return instance_norm(graph, id) != NULL;
}

/* The side of a Mul or Add at which data lie, if it scales or shifts a
 * normalised value; -1: it does not. */
static int affine_side(const tb_graph *graph, const tb_node *node, bool shift)
{
    for (int i = 0; i < 2 && node->n_in == 2; i++) {
        tb_value_id other = node->in[1 - i];
        const tb_node *scale = maker(graph, other);
        bool scaled = shift && scale != NULL && strcmp(scale->op, "Mul") == 0 &&
                      affine_side(graph, scale, false) >= 0;
        if (is_data(graph, node->in[i]) &&
            (shift ? scaled : is_normalised(graph, other))) {
            return i;
        }
    }
    return -1;
}

static void mark_affine(marker *m, const tb_node *node, bool shift)
{
    int side = affine_side(m->graph, node, shift);
    if (side < 0) {
        return;
    }
    mark(m, node->in[side], WEIGHT);
    const tb_node *norm =
        shift ? NULL : instance_norm(m->graph, node->in[1 - side]);
    for (size_t i = 1; norm != NULL && i < norm->n_in; i++) {
        mark(m, norm->in[i], NO_WEIGHT); /* the scale in front is enough */
    }
}

/* --- all nodes ------------------------------------------------------------ */

static void mark_operands(marker *m, const tb_node *node)
{
    const tb_op *op = tb_op_find(node->domain, node->op, m->graph->opset);
    uint32_t trains = op != NULL ? op->trains : 0;
    for (size_t i = 0; i < node->n_in && i < 32; i++) {
        if ((trains >> i & 1) != 0) {
            mark(m, node->in[i], WEIGHT);
        }
    }
    for (size_t i = 0; op != NULL && i < op->n_carry; i++) {
        if (op->carry[i].in < node->n_in) {
            mark(m, node->in[op->carry[i].in], STATISTIC);
        }
    }
    if (strcmp(node->op, "Mul") == 0) {
        mark_affine(m, node, false);
    } else if (strcmp(node->op, "Add") == 0 && node->n_in == 2) {
        mark_affine(m, node, true);
        for (size_t i = 0; i < 2; i++) {
            if (made_by(m->graph, node->in[1 - i], "MatMul")) {
                mark(m, node->in[i], WEIGHT);
            }
        }
    }
}

static void hand_on(marker *m, const tb_node *node)
{
    size_t n = strcmp(node->op, "Concat") == 0 ? node->n_in : 1;
    for (size_t k = 0; k < node->n_out; k++) {
        uint8_t is = node->out[k] != TB_ID_NONE ? m->is[node->out[k]] : UNKNOWN;
        for (size_t i = 0; is != UNKNOWN && i < n && i < node->n_in; i++) {
            mark(m, node->in[i], is);
        }
    }
}

static void set_roles(const marker *m)
{
    for (size_t i = 0; i < m->graph->n_values; i++) {
        tb_value *value = m->graph->values[i];
        if (value == NULL || value->data.data == NULL) {
            continue;
        }
        bool f32 = value->dtype == TB_F32;
        value->role = f32 && m->is[i] == WEIGHT      ? TB_ROLE_PARAM
                      : f32 && m->is[i] == STATISTIC ? TB_ROLE_BUFFER
                                                     : TB_ROLE_CONST;
    }
}

tb_rc tb_roles_assign(tb_graph *graph, tb_err *err)
{
    marker m = {.graph = graph, .is = tb_mem_array(graph->n_values, 1)};
    tb_node_id *order = NULL;
    size_t n = 0;
    tb_rc rc = m.is != NULL ? tb_graph_order(&order, &n, graph, err)
                            : tb_fail(err, TB_E_NOMEM, "model: %zu values",
                                      graph->n_values);
    for (size_t i = n; rc == TB_OK && i > 0; i--) {
        const tb_node *node = graph->nodes[order[i - 1]];
        mark_operands(&m, node);
        if (tb_roles_hands_on(node)) {
            hand_on(&m, node);
        }
    }
    if (rc == TB_OK) {
        set_roles(&m);
    }
    tb_mem_free(order);
    tb_mem_free(m.is);
    return rc;
}
