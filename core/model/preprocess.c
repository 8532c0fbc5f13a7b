#include "model/preprocess.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "model/bind.h"

/* --- scaling -------------------------------------------------------------- */

static tb_rc check_numbers(const float *x, size_t n, bool positive,
                           const char *what, tb_err *err)
{
    for (size_t i = 0; x != NULL && i < n; i++) {
        if (!isfinite(x[i]) || (positive && !(x[i] > 0))) {
            return tb_fail(err, TB_E_USAGE, "scaling: %s %g%s", what,
                           (double)x[i], positive ? ", must be above 0" : "");
        }
    }
    return TB_OK;
}

static tb_rc check_scaling(const tb_graph *graph, const tb_scaling *s,
                           tb_err *err)
{
    if (graph->n_inputs != 1) {
        return tb_fail(err, TB_E_MISMATCH,
                       "scaling: the model has %zu inputs, one expected",
                       graph->n_inputs);
    }
    const tb_value *input = graph->values[graph->inputs[0]];
    const tb_dims *dims = &input->dims;
    if (input->dtype != TB_F32) {
        return tb_fail(err, TB_E_MISMATCH,
                       "scaling: input \"%s\" is %s already, f32 expected",
                       input->name, tb_dtype_name(input->dtype));
    }
    if (tb_dtype_bytes(s->raw) == 0) {
        return tb_fail(err, TB_E_USAGE, "scaling: raw input of type %s",
                       tb_dtype_name(s->raw));
    }
    if (s->n != 1 &&
        (dims->rank < 1 || dims->dim[dims->rank - 1] != (int64_t)s->n)) {
        return tb_fail(
            err, TB_E_MISMATCH,
            "scaling: %zu means for an input of %lld features", s->n,
            (long long)(dims->rank < 1 ? 0 : dims->dim[dims->rank - 1]));
    }
    tb_rc rc = check_numbers(&s->scale, 1, true, "scale", err);
    if (rc == TB_OK) {
        rc = check_numbers(s->mean, s->n, false, "mean", err);
    }
    return rc == TB_OK ? check_numbers(s->std, s->n, true, "std", err) : rc;
}

/* x = x op constant; a lone number is a scalar. */
static tb_rc apply_constant(tb_graph *graph, tb_value_id *x, const char *op,
                            const char *name, const tb_tensor *data,
                            tb_err *err)
{
    tb_value_id in[2] = {*x, TB_ID_NONE};
    char *fresh = tb_graph_fresh_name(graph, name);
    if (fresh == NULL) {
        return tb_fail(err, TB_E_NOMEM, "scaling: \"%s\"", name);
    }
    tb_rc rc =
        tb_graph_add_data(graph, &in[1], fresh, TB_ROLE_CONST, data, err);
    if (rc == TB_OK) {
        rc = tb_graph_apply(
            graph, x,
            &(tb_node_spec){.name = fresh, .op = op, .in = in, .n_in = 2}, err);
    }
    tb_mem_free(fresh);
    return rc;
}

static tb_rc apply_cast(tb_graph *graph, tb_value_id *x, tb_err *err)
{
    const tb_attr to = TB_ATTR_I("to", TB_F32);
    return tb_graph_apply(graph, x,
                          &(tb_node_spec){.name = "input.cast",
                                          .op = "Cast",
                                          .attrs = &to,
                                          .n_attrs = 1,
                                          .in = x,
                                          .n_in = 1},
                          err);
}

/* The numbers as a tensor that borrows them. */
static tb_tensor numbers(const float *from, size_t n)
{
    tb_shape shape = {.rank = n > 1, .dim = {n > 1 ? n : 0}};
    return tb_tensor_view(TB_F32, &shape, (void *)(uintptr_t)from);
}

static bool all_are(const float *x, size_t n, float value)
{
    for (size_t i = 0; x != NULL && i < n; i++) {
        if (x[i] != value) {
            return false;
        }
    }
    return true;
}

static tb_rc add_steps(tb_graph *graph, tb_value_id *x, const tb_scaling *s,
                       tb_err *err)
{
    tb_rc rc = TB_OK;
    tb_tensor t;
    if (s->raw != TB_F32) {
        rc = apply_cast(graph, x, err);
    }
    if (rc == TB_OK && s->scale != 1.0f) {
        t = numbers(&s->scale, 1);
        rc = apply_constant(graph, x, "Mul", "input.scale", &t, err);
    }
    if (rc == TB_OK && !all_are(s->mean, s->n, 0.0f)) {
        t = numbers(s->mean, s->n);
        rc = apply_constant(graph, x, "Sub", "input.mean", &t, err);
    }
    if (rc == TB_OK && !all_are(s->std, s->n, 1.0f)) {
        t = numbers(s->std, s->n);
        rc = apply_constant(graph, x, "Div", "input.std", &t, err);
    }
    return rc;
}

tb_rc tb_preprocess_scale(tb_graph *graph, const tb_scaling *scaling,
                          tb_err *err)
{
    tb_rc rc = check_scaling(graph, scaling, err);
    if (rc != TB_OK) {
        return rc;
    }
    tb_value_id input = graph->inputs[0];
    size_t n_nodes = graph->n_nodes;
    size_t n_values = graph->n_values;
    tb_value_id x = input;
    rc = add_steps(graph, &x, scaling, err);
    if (rc != TB_OK) { /* as it was */
        for (size_t i = n_nodes; i < graph->n_nodes; i++) {
            tb_graph_remove_node(graph, (tb_node_id)i);
        }
        for (size_t i = n_values; i < graph->n_values; i++) {
            tb_graph_remove_value(graph, (tb_value_id)i);
        }
        return rc;
    }
    for (size_t i = 0; i < n_nodes; i++) { /* only those that were there */
        const tb_node *node = graph->nodes[i];
        for (size_t k = 0; node != NULL && k < node->n_in; k++) {
            if (node->in[k] == input) {
                tb_graph_set_input(graph, (tb_node_id)i, k, x);
            }
        }
    }
    graph->values[input]->dtype = scaling->raw;
    return TB_OK;
}

/* Whether n rows in are n rows out. */
static tb_rc check_rows(const tb_graph *graph, size_t n, tb_err *err)
{
    tb_bound *bound = NULL;
    tb_rc rc = tb_bind_new(&bound, graph, &(tb_bind_options){.batch = n}, err);
    if (rc == TB_OK) {
        const tb_shape *y = &bound->values[graph->outputs[0]].shape;
        rc = y->rank > 0 && y->dim[0] == n ? TB_OK : TB_E_MISMATCH;
    }
    tb_bind_free(&bound);
    return rc;
}

tb_rc tb_preprocess_open_batch(tb_graph *graph, tb_err *err)
{
    if (graph->n_inputs != 1 || graph->n_outputs == 0) {
        return TB_OK;
    }
    tb_dims *dims = &graph->values[graph->inputs[0]]->dims;
    if (dims->rank < 1 || dims->dim[0] == TB_DIM_ANY) {
        return TB_OK;
    }
    int64_t rows = dims->dim[0];
    dims->dim[0] = TB_DIM_ANY;
    tb_rc rc = check_rows(graph, rows == 2 ? 3 : 2, err);
    if (rc != TB_OK) {
        dims->dim[0] = rows;
    }
    return rc == TB_E_NOMEM ? rc : TB_OK;
}

/* --- Softmax -------------------------------------------------------------- */

tb_rc tb_preprocess_softmax(tb_graph *graph, tb_err *err)
{
    tb_value_id in = graph->outputs[0];
    tb_value_id out = TB_ID_NONE;
    const tb_node *last = tb_graph_node(graph, graph->values[in]->producer);
    /* The last axis by both meanings, before opset 13 of a matrix. */
    const tb_attr axis = TB_ATTR_I("axis", graph->opset < 13 ? 1 : -1);
    if (last != NULL && strcmp(last->op, "Softmax") == 0) {
        return TB_OK;
    }
    char *name = tb_graph_fresh_name(graph, "probabilities");
    tb_rc rc = name != NULL ? tb_graph_add_temp(graph, &out, name, NULL, err)
                            : tb_fail(err, TB_E_NOMEM, "softmax");
    tb_mem_free(name);
    if (rc != TB_OK) {
        return rc;
    }
    rc = tb_graph_apply(graph, &out,
                        &(tb_node_spec){.name = "softmax",
                                        .op = "Softmax",
                                        .attrs = &axis,
                                        .n_attrs = 1,
                                        .in = &in,
                                        .n_in = 1,
                                        .out = &out,
                                        .n_out = 1},
                        err);
    if (rc == TB_OK) {
        tb_graph_set_output(graph, 0, out);
    } else {
        tb_graph_remove_value(graph, out);
    }
    return rc;
}

void tb_preprocess_scores(tb_graph *graph)
{
    tb_node_id id = graph->values[graph->outputs[0]]->producer;
    const tb_node *last = id != TB_ID_NONE ? tb_graph_node(graph, id) : NULL;
    if (last != NULL && strcmp(last->op, "Softmax") == 0) {
        tb_value_id y = graph->outputs[0];
        tb_graph_set_output(graph, 0, last->in[0]);
        if (tb_graph_n_uses(graph, y) == 0 && !tb_graph_is_output(graph, y)) {
            tb_graph_remove_node(graph, id);
        }
    }
}

/* --- classes -------------------------------------------------------------- */

tb_rc tb_preprocess_set_classes(tb_graph *graph, const char *const *names,
                                size_t n, tb_err *err)
{
    tb_buf joined;
    tb_buf_init(&joined, (size_t)1 << 20);
    tb_rc rc = TB_OK;
    for (size_t i = 0; rc == TB_OK && i < n; i++) {
        if (names[i][0] == '\0' || strchr(names[i], '\n') != NULL) {
            rc = tb_fail(err, TB_E_USAGE,
                         "class %zu: a name must not be empty or hold a "
                         "newline",
                         i);
        } else {
            rc = tb_buf_printf(&joined, err, "%s%s", i > 0 ? "\n" : "",
                               names[i]);
        }
    }
    if (rc == TB_OK) {
        rc = tb_buf_put_u8(&joined, 0, err);
    }
    if (rc == TB_OK) {
        rc = tb_graph_set_meta(graph, TB_META_CLASSES,
                               n > 0 ? (const char *)joined.data : NULL, err);
    }
    tb_buf_release(&joined);
    return rc;
}

size_t tb_preprocess_n_classes(const tb_graph *graph)
{
    const char *at = tb_graph_meta(graph, TB_META_CLASSES);
    size_t n = at != NULL && at[0] != '\0';
    for (; n > 0 && *at != '\0'; at++) {
        n += *at == '\n';
    }
    return n;
}

const char *tb_preprocess_class(const tb_graph *graph, size_t i,
                                size_t *n_bytes)
{
    const char *at = tb_graph_meta(graph, TB_META_CLASSES);
    if (i >= tb_preprocess_n_classes(graph)) {
        return NULL;
    }
    for (; i > 0; i--) {
        at = strchr(at, '\n') + 1;
    }
    *n_bytes = strcspn(at, "\n");
    return at;
}
