#include "model/text.h"

#include <inttypes.h>
#include <string.h>

#include "base/mem.h"
#include "model/bind.h"
#include "model/params.h"

/* What the listing is made of. */
typedef struct listing {
    tb_buf *out;
    const tb_graph *graph;
    const tb_value_type *types; /* by value id */
} listing;

static tb_rc put_type(tb_buf *out, tb_dtype dtype, const tb_dims *dims,
                      tb_err *err)
{
    tb_rc rc = tb_buf_printf(out, err, "%s ", tb_dtype_name(dtype));
    if (rc == TB_OK && dims->rank == TB_RANK_UNKNOWN) {
        return tb_buf_printf(out, err, "[?]");
    }
    for (int i = 0; rc == TB_OK && i < dims->rank; i++) {
        const char *before = i == 0 ? "[" : ", ";
        rc = dims->dim[i] == TB_DIM_ANY
                 ? tb_buf_printf(out, err, "%sN", before)
                 : tb_buf_printf(out, err, "%s%" PRId64, before, dims->dim[i]);
    }
    if (rc == TB_OK) {
        rc = tb_buf_printf(out, err, "%s", dims->rank == 0 ? "[]" : "]");
    }
    return rc;
}

static tb_rc put_value(const listing *to, tb_value_id id, tb_err *err)
{
    const tb_value *value = to->graph->values[id];
    const tb_value_type *type = &to->types[id];
    bool known = type->dtype != TB_DTYPE_NONE;
    tb_rc rc = tb_buf_printf(to->out, err, "%s ", value->name);
    return rc == TB_OK ? put_type(to->out, known ? type->dtype : value->dtype,
                                  known ? &type->dims : &value->dims, err)
                       : rc;
}

static tb_rc put_attr(tb_buf *out, const tb_attr *attr, tb_err *err)
{
    tb_rc rc = tb_buf_printf(out, err, " %s=", attr->name);
    if (rc != TB_OK) {
        return rc;
    }
    switch (attr->kind) {
    case TB_ATTR_FLOAT:
        return tb_buf_printf(out, err, "%g", (double)attr->f);
    case TB_ATTR_INT:
        return tb_buf_printf(out, err, "%" PRId64, attr->i);
    case TB_ATTR_STRING:
        return tb_buf_printf(out, err, "\"%s\"", attr->s);
    case TB_ATTR_INTS:
        for (size_t i = 0; rc == TB_OK && i < attr->n; i++) {
            rc = tb_buf_printf(out, err, "%s%" PRId64, i > 0 ? "," : "",
                               attr->ints[i]);
        }
        return rc;
    case TB_ATTR_TENSOR:
    case TB_ATTR_FLOATS:
    case TB_ATTR_STRINGS:
    case TB_ATTR_KIND_COUNT:
    default:
        return tb_buf_printf(out, err, "...");
    }
}

static tb_rc put_node(const listing *to, const tb_node *node, tb_err *err)
{
    tb_buf *out = to->out;
    tb_rc rc = tb_buf_printf(out, err, "  %-16s ", node->op);
    for (size_t i = 0; rc == TB_OK && i < node->n_in; i++) {
        const tb_value *in = tb_graph_value(to->graph, node->in[i]);
        rc = tb_buf_printf(out, err, "%s%s", i > 0 ? ", " : "",
                           in != NULL ? in->name : "-");
    }
    for (size_t i = 0; rc == TB_OK && i < node->n_attrs; i++) {
        rc = put_attr(out, &node->attrs[i], err);
    }
    for (size_t i = 0; rc == TB_OK && i < node->n_out; i++) {
        if (node->out[i] == TB_ID_NONE) {
            continue;
        }
        rc = tb_buf_printf(out, err, "%s", i > 0 ? ", " : " -> ");
        if (rc == TB_OK) {
            rc = put_value(to, node->out[i], err);
        }
    }
    return rc == TB_OK ? tb_buf_printf(out, err, "\n") : rc;
}

static tb_rc put_list(const listing *to, const char *what,
                      const tb_value_id *ids, size_t n, tb_err *err)
{
    tb_rc rc = TB_OK;
    for (size_t i = 0; rc == TB_OK && i < n; i++) {
        rc = tb_buf_printf(to->out, err, "%s ", what);
        if (rc == TB_OK) {
            rc = put_value(to, ids[i], err);
        }
        if (rc == TB_OK) {
            rc = tb_buf_printf(to->out, err, "\n");
        }
    }
    return rc;
}

static tb_rc put_nodes(const listing *to, tb_err *err)
{
    tb_node_id *order = NULL;
    size_t n = 0;
    tb_rc rc = tb_graph_order(&order, &n, to->graph, err);
    if (rc == TB_OK) {
        rc = tb_buf_printf(to->out, err, "nodes: %zu\n", n);
    }
    for (size_t i = 0; rc == TB_OK && i < n; i++) {
        rc = put_node(to, to->graph->nodes[order[i]], err);
    }
    tb_mem_free(order);
    return rc;
}

/* Initialisers of one kind, with their numbers of elements. */
static tb_rc put_data(tb_buf *out, const tb_graph *graph, bool param,
                      tb_err *err)
{
    size_t n = 0;
    size_t n_elements = 0;
    for (size_t i = 0; i < graph->n_values; i++) {
        const tb_value *value = graph->values[i];
        if (value != NULL && value->data.data != NULL &&
            (value->role == TB_ROLE_PARAM) == param) {
            n++;
            n_elements += tb_tensor_count(&value->data);
        }
    }
    tb_rc rc = tb_buf_printf(out, err, "%s: %zu, %zu numbers\n",
                             param ? "parameters" : "constants", n, n_elements);
    for (size_t i = 0; rc == TB_OK && i < graph->n_values; i++) {
        const tb_value *value = graph->values[i];
        if (value == NULL || value->data.data == NULL ||
            (value->role == TB_ROLE_PARAM) != param) {
            continue;
        }
        rc = tb_buf_printf(out, err, "  %s ", value->name);
        if (rc == TB_OK) {
            rc = put_type(out, value->dtype, &value->dims, err);
        }
        if (rc == TB_OK) {
            rc = tb_buf_printf(out, err, "\n");
        }
    }
    return rc;
}

tb_rc tb_model_text(tb_buf *out, const tb_graph *graph, tb_err *err)
{
    tb_value_type *types = NULL;
    size_t start = out->len;
    tb_rc rc = tb_bind_types(&types, graph, err);
    const listing to = {out, graph, types};
    if (rc == TB_OK) {
        rc = tb_buf_printf(out, err, "model \"%s\", opset %d\n", graph->name,
                           graph->opset);
    }
    if (rc == TB_OK) {
        rc = put_list(&to, "input", graph->inputs, graph->n_inputs, err);
    }
    if (rc == TB_OK) {
        rc = put_list(&to, "output", graph->outputs, graph->n_outputs, err);
    }
    if (rc == TB_OK) {
        rc = put_nodes(&to, err);
    }
    if (rc == TB_OK) {
        rc = put_data(out, graph, true, err);
    }
    if (rc == TB_OK) {
        rc = put_data(out, graph, false, err);
    }
    if (rc != TB_OK) {
        out->len = start;
    }
    tb_mem_free(types);
    return rc;
}
