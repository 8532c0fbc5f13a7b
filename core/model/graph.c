#include "model/graph.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "model/graph_priv.h"

tb_rc tb_graph_room_for_one(void *array, size_t *cap, size_t n, size_t size,
                            tb_err *err)
{
    void **p = array;
    if (n < *cap) {
        return TB_OK;
    }
    size_t want = *cap == 0 ? 16 : *cap * 2;
    void *grown = want >= TB_ID_NONE ? NULL : tb_mem_resize(*p, want, size);
    if (grown == NULL) {
        return tb_fail(err, TB_E_NOMEM, "graph: %zu elements", want);
    }
    *p = grown;
    *cap = want;
    return TB_OK;
}

/* --- names ---------------------------------------------------------------- */

/* Place in by_name of the first name not before `name`. */
static size_t name_place(const tb_graph *graph, const char *name)
{
    size_t low = 0;
    size_t high = graph->n_names;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (strcmp(graph->values[graph->by_name[mid]]->name, name) < 0) {
            low = mid + 1;
        } else {
            high = mid;
        }
    }
    return low;
}

tb_value_id tb_graph_find(const tb_graph *graph, const char *name)
{
    size_t at = name_place(graph, name);
    if (at < graph->n_names &&
        strcmp(graph->values[graph->by_name[at]]->name, name) == 0) {
        return graph->by_name[at];
    }
    return TB_ID_NONE;
}

static void name_insert(tb_graph *graph, tb_value_id id)
{
    size_t at = name_place(graph, graph->values[id]->name);
    memmove(graph->by_name + at + 1, graph->by_name + at,
            (graph->n_names - at) * sizeof graph->by_name[0]);
    graph->by_name[at] = id;
    graph->n_names++;
}

static void name_remove(tb_graph *graph, tb_value_id id)
{
    size_t at = name_place(graph, graph->values[id]->name);
    graph->n_names--;
    memmove(graph->by_name + at, graph->by_name + at + 1,
            (graph->n_names - at) * sizeof graph->by_name[0]);
}

static tb_rc check_new_name(const tb_graph *graph, const char *name,
                            tb_err *err)
{
    if (name[0] == '\0') {
        return tb_fail(err, TB_E_MALFORMED, "graph: a value without a name");
    }
    if (tb_graph_find(graph, name) != TB_ID_NONE) {
        return tb_fail(err, TB_E_EXISTS, "graph: the name \"%s\" is taken",
                       name);
    }
    return TB_OK;
}

char *tb_graph_fresh_name(const tb_graph *graph, const char *hint)
{
    size_t bytes = strlen(hint) + 24;
    char *name = tb_mem_array(bytes, 1);
    if (name == NULL) {
        return NULL;
    }
    memcpy(name, hint, strlen(hint) + 1);
    for (unsigned long k = graph->fresh;
         tb_graph_find(graph, name) != TB_ID_NONE;) {
        (void)snprintf(name, bytes, "%s_%lu", hint, ++k);
    }
    return name;
}

/* --- life ----------------------------------------------------------------- */

static void value_free(tb_value *value)
{
    if (value != NULL) {
        tb_mem_free(value->name);
        tb_tensor_release(&value->data);
        tb_mem_free(value);
    }
}

tb_rc tb_graph_new(tb_graph **out, const char *name, int opset, tb_err *err)
{
    *out = NULL;
    tb_graph *graph = tb_mem_array(1, sizeof *graph);
    char *own = tb_mem_text(name);
    if (graph == NULL || own == NULL) {
        tb_mem_free(graph);
        tb_mem_free(own);
        return tb_fail(err, TB_E_NOMEM, "graph \"%s\"", name);
    }
    graph->name = own;
    graph->opset = opset;
    *out = graph;
    return TB_OK;
}

void tb_graph_free(tb_graph **graph)
{
    tb_graph *g = *graph;
    if (g == NULL) {
        return;
    }
    for (size_t i = 0; i < g->n_values; i++) {
        value_free(g->values[i]);
    }
    for (size_t i = 0; i < g->n_nodes; i++) {
        tb_mem_free(g->nodes[i]);
    }
    for (size_t i = 0; i < g->n_meta; i++) {
        tb_mem_free(g->meta[i].key);
        tb_mem_free(g->meta[i].value);
    }
    tb_mem_free(g->name);
    tb_mem_free(g->values);
    tb_mem_free(g->nodes);
    tb_mem_free(g->inputs);
    tb_mem_free(g->outputs);
    tb_mem_free(g->meta);
    tb_mem_free(g->by_name);
    tb_mem_free(g);
    *graph = NULL;
}

/* --- reading -------------------------------------------------------------- */

tb_value *tb_graph_value(const tb_graph *graph, tb_value_id id)
{
    return id < graph->n_values ? graph->values[id] : NULL;
}

tb_node *tb_graph_node(const tb_graph *graph, tb_node_id id)
{
    return id < graph->n_nodes ? graph->nodes[id] : NULL;
}

bool tb_graph_is_output(const tb_graph *graph, tb_value_id id)
{
    for (size_t i = 0; i < graph->n_outputs; i++) {
        if (graph->outputs[i] == id) {
            return true;
        }
    }
    return false;
}

const tb_attr *tb_node_attr(const tb_node *node, const char *name)
{
    for (size_t i = 0; i < node->n_attrs; i++) {
        if (strcmp(node->attrs[i].name, name) == 0) {
            return &node->attrs[i];
        }
    }
    return NULL;
}

int64_t tb_node_int(const tb_node *node, const char *name, int64_t otherwise)
{
    const tb_attr *attr = tb_node_attr(node, name);
    return attr != NULL && attr->kind == TB_ATTR_INT ? attr->i : otherwise;
}

float tb_node_float(const tb_node *node, const char *name, float otherwise)
{
    const tb_attr *attr = tb_node_attr(node, name);
    return attr != NULL && attr->kind == TB_ATTR_FLOAT ? attr->f : otherwise;
}

const char *tb_graph_meta(const tb_graph *graph, const char *key)
{
    for (size_t i = 0; i < graph->n_meta; i++) {
        if (strcmp(graph->meta[i].key, key) == 0) {
            return graph->meta[i].value;
        }
    }
    return NULL;
}

/* --- values --------------------------------------------------------------- */

/* Adds *value with a copy of name; its data, if any, belongs to the graph only
 * on TB_OK. */
static tb_rc add_value(tb_graph *graph, tb_value_id *out, const char *name,
                       const tb_value *value, tb_err *err)
{
    size_t cap = graph->cap_values;
    tb_rc rc = check_new_name(graph, name, err);
    if (rc != TB_OK) {
        return rc;
    }
    tb_value *own = tb_mem_array(1, sizeof *own);
    char *own_name = tb_mem_text(name);
    if (own == NULL || own_name == NULL) {
        rc = tb_fail(err, TB_E_NOMEM, "graph: value \"%s\"", name);
        goto done;
    }
    rc = tb_graph_room_for_one(&graph->by_name, &cap, graph->n_values,
                               sizeof graph->by_name[0], err);
    if (rc == TB_OK) {
        rc = tb_graph_room_for_one(&graph->values, &graph->cap_values,
                                   graph->n_values, sizeof graph->values[0],
                                   err);
    }
    if (rc != TB_OK) {
        goto done;
    }
    *own = *value;
    own->name = own_name;
    *out = (tb_value_id)graph->n_values;
    graph->values[graph->n_values++] = own;
    name_insert(graph, *out);
    own = NULL;
    own_name = NULL;
done:
    tb_mem_free(own);
    tb_mem_free(own_name);
    return rc;
}

tb_rc tb_graph_add_temp(tb_graph *graph, tb_value_id *out, const char *name,
                        const char *hint, tb_err *err)
{
    const tb_value value = {.role = TB_ROLE_TEMP,
                            .dims.rank = TB_RANK_UNKNOWN,
                            .producer = TB_ID_NONE};
    if (name != NULL) {
        return add_value(graph, out, name, &value, err);
    }
    char *fresh = tb_graph_fresh_name(graph, hint != NULL ? hint : "t");
    if (fresh == NULL) {
        return tb_fail(err, TB_E_NOMEM, "graph: a name");
    }
    tb_rc rc = add_value(graph, out, fresh, &value, err);
    graph->fresh += rc == TB_OK;
    tb_mem_free(fresh);
    return rc;
}

/* Appends an id to a list of inputs or outputs. */
static tb_rc append_id(tb_value_id **list, size_t *n, tb_value_id id,
                       tb_err *err)
{
    tb_value_id *grown = tb_mem_resize(*list, *n + 1, sizeof **list);
    if (grown == NULL) {
        return tb_fail(err, TB_E_NOMEM, "graph: list of %zu values", *n + 1);
    }
    *list = grown;
    grown[(*n)++] = id;
    return TB_OK;
}

tb_rc tb_graph_add_input(tb_graph *graph, tb_value_id *out, const char *name,
                         tb_dtype dtype, const tb_dims *dims, tb_err *err)
{
    const tb_value value = {.role = TB_ROLE_INPUT,
                            .dtype = dtype,
                            .dims = *dims,
                            .producer = TB_ID_NONE};
    tb_rc rc = append_id(&graph->inputs, &graph->n_inputs, TB_ID_NONE, err);
    if (rc != TB_OK) {
        return rc;
    }
    rc = add_value(graph, out, name, &value, err);
    if (rc == TB_OK) {
        graph->inputs[graph->n_inputs - 1] = *out;
    } else {
        graph->n_inputs--;
    }
    return rc;
}

/* The dims that say exactly a shape. */
static tb_dims dims_of(const tb_shape *shape)
{
    tb_dims dims = {.rank = (int)shape->rank};
    for (size_t i = 0; i < shape->rank; i++) {
        dims.dim[i] = (int64_t)shape->dim[i];
    }
    return dims;
}

tb_rc tb_graph_add_data(tb_graph *graph, tb_value_id *out, const char *name,
                        tb_role role, const tb_tensor *data, tb_err *err)
{
    tb_value value = {.role = role,
                      .dtype = data->dtype,
                      .dims = dims_of(&data->shape),
                      .producer = TB_ID_NONE};
    tb_rc rc = tb_tensor_copy(&value.data, data, err);
    if (rc != TB_OK) {
        return rc;
    }
    rc = add_value(graph, out, name, &value, err);
    if (rc != TB_OK) {
        tb_tensor_release(&value.data);
    }
    return rc;
}

tb_rc tb_graph_take_data(tb_graph *graph, tb_value_id *out, const char *name,
                         tb_role role, tb_tensor *data_take, tb_err *err)
{
    const tb_value value = {.role = role,
                            .dtype = data_take->dtype,
                            .dims = dims_of(&data_take->shape),
                            .producer = TB_ID_NONE,
                            .data = *data_take};
    tb_rc rc = add_value(graph, out, name, &value, err);
    if (rc == TB_OK) {
        *data_take = (tb_tensor){0};
    }
    return rc;
}

tb_rc tb_graph_set_data(tb_graph *graph, tb_value_id id, const tb_tensor *data,
                        tb_err *err)
{
    tb_value *value = tb_graph_value(graph, id);
    tb_tensor copy;
    if (value == NULL || value->data.data == NULL) {
        return tb_fail(err, TB_E_BUG, "graph: value %u is no initialiser", id);
    }
    tb_rc rc = tb_tensor_copy(&copy, data, err);
    if (rc == TB_OK) {
        tb_tensor_release(&value->data);
        value->data = copy;
        value->dtype = data->dtype;
        value->dims = dims_of(&data->shape);
    }
    return rc;
}

tb_rc tb_graph_fix_input(tb_graph *graph, tb_value_id id, const tb_tensor *data,
                         tb_err *err)
{
    tb_value *value = tb_graph_value(graph, id);
    size_t at = 0;
    while (at < graph->n_inputs && graph->inputs[at] != id) {
        at++;
    }
    if (value == NULL || at == graph->n_inputs) {
        return tb_fail(err, TB_E_BUG, "graph: value %u is no input", id);
    }
    if (value->dtype != data->dtype) {
        return tb_fail(err, TB_E_MISMATCH, "input \"%s\" is %s, not %s",
                       value->name, tb_dtype_name(value->dtype),
                       tb_dtype_name(data->dtype));
    }
    tb_rc rc = tb_tensor_copy(&value->data, data, err);
    if (rc == TB_OK) {
        value->role = TB_ROLE_CONST;
        value->dims = dims_of(&data->shape);
        graph->n_inputs--;
        memmove(&graph->inputs[at], &graph->inputs[at + 1],
                (graph->n_inputs - at) * sizeof graph->inputs[0]);
    }
    return rc;
}

tb_rc tb_graph_rename(tb_graph *graph, tb_value_id id, const char *name,
                      tb_err *err)
{
    tb_value *value = tb_graph_value(graph, id);
    if (value == NULL) {
        return tb_fail(err, TB_E_BUG, "graph: no value %u", id);
    }
    if (strcmp(value->name, name) == 0) {
        return TB_OK;
    }
    tb_rc rc = check_new_name(graph, name, err);
    if (rc != TB_OK) {
        return rc;
    }
    char *own = tb_mem_text(name);
    if (own == NULL) {
        return tb_fail(err, TB_E_NOMEM, "graph: name \"%s\"", name);
    }
    name_remove(graph, id);
    tb_mem_free(value->name);
    value->name = own;
    name_insert(graph, id);
    return TB_OK;
}

void tb_graph_remove_value(tb_graph *graph, tb_value_id id)
{
    if (tb_graph_value(graph, id) != NULL) {
        name_remove(graph, id);
        value_free(graph->values[id]);
        graph->values[id] = NULL;
    }
}

tb_rc tb_graph_add_output(tb_graph *graph, tb_value_id id, tb_err *err)
{
    if (tb_graph_value(graph, id) == NULL) {
        return tb_fail(err, TB_E_BUG, "graph: no value %u", id);
    }
    return append_id(&graph->outputs, &graph->n_outputs, id, err);
}

void tb_graph_set_output(tb_graph *graph, size_t at, tb_value_id id)
{
    graph->outputs[at] = id;
}

/* --- metadata ------------------------------------------------------------- */

static void drop_meta(tb_graph *graph, size_t at)
{
    tb_mem_free(graph->meta[at].key);
    tb_mem_free(graph->meta[at].value);
    graph->n_meta--;
    memmove(graph->meta + at, graph->meta + at + 1,
            (graph->n_meta - at) * sizeof graph->meta[0]);
}

tb_rc tb_graph_set_meta(tb_graph *graph, const char *key, const char *value,
                        tb_err *err)
{
    size_t at = 0;
    while (at < graph->n_meta && strcmp(graph->meta[at].key, key) != 0) {
        at++;
    }
    if (value == NULL) {
        if (at < graph->n_meta) {
            drop_meta(graph, at);
        }
        return TB_OK;
    }
    char *own = tb_mem_text(value);
    char *own_key = tb_mem_text(key);
    tb_meta *grown =
        tb_mem_resize(graph->meta, graph->n_meta + 1, sizeof graph->meta[0]);
    if (grown != NULL) {
        graph->meta = grown;
    }
    if (own == NULL || own_key == NULL || grown == NULL) {
        tb_mem_free(own);
        tb_mem_free(own_key);
        return tb_fail(err, TB_E_NOMEM, "graph: metadata \"%s\"", key);
    }
    if (at < graph->n_meta) {
        tb_mem_free(own_key);
        tb_mem_free(graph->meta[at].value);
        graph->meta[at].value = own;
    } else {
        graph->meta[graph->n_meta++] = (tb_meta){own_key, own};
    }
    return TB_OK;
}
