#include <stdio.h>

#include "base/mem.h"
#include "host/json.h"
#include "inspect.h"
#include "model/notes.h"
#include "model/params.h"
#include "model/preprocess.h"

static tb_rc put_dims(tb_json *object, const tb_dims *dims, tb_err *err)
{
    if (dims->rank == TB_RANK_UNKNOWN) {
        return TB_OK;
    }
    tb_json *shape = tb_json_array();
    tb_rc rc = TB_OK;
    for (int i = 0; rc == TB_OK && i < dims->rank; i++) {
        rc = dims->dim[i] == TB_DIM_ANY
                 ? tb_json_append_text(shape, "N", err)
                 : tb_json_append_float(shape, (double)dims->dim[i], err);
    }
    if (rc == TB_OK) {
        rc = tb_json_put(object, "shape", &shape, err);
    }
    tb_json_free(&shape);
    return rc;
}

/* [{"name", "dtype", "shape"}, ...] of values of the graph. */
static tb_rc put_values(tb_json *object, const char *key, const tb_graph *graph,
                        const tb_value_id *ids, size_t n, tb_err *err)
{
    tb_json *list = tb_json_array();
    tb_rc rc = TB_OK;
    for (size_t i = 0; rc == TB_OK && i < n; i++) {
        const tb_value *v = tb_graph_value(graph, ids[i]);
        tb_json *one = tb_json_object();
        rc = tb_json_put_text(one, "name", v->name, err);
        if (rc == TB_OK && v->dtype != TB_DTYPE_NONE) {
            rc = tb_json_put_text(one, "dtype", tb_dtype_name(v->dtype), err);
        }
        if (rc == TB_OK) {
            rc = put_dims(one, &v->dims, err);
        }
        if (rc == TB_OK) {
            rc = tb_json_append(list, &one, err);
        }
        tb_json_free(&one);
    }
    if (rc == TB_OK) {
        rc = tb_json_put(object, key, &list, err);
    }
    tb_json_free(&list);
    return rc;
}

/* One node: as JSON objects hold what the drawing shows. */
static tb_rc put_node(tb_json *list, const inspection *in,
                      const inspected_node *node, tb_err *err)
{
    const tb_node *n = in->graph->nodes[node->id];
    tb_json *one = tb_json_object();
    tb_rc rc = tb_json_put_text(one, "op", n->op, err);
    if (rc == TB_OK) {
        rc = tb_json_put_text(one, "name", n->name, err);
    }
    for (size_t i = 0; rc == TB_OK && i < n->n_out; i++) {
        if (n->out[i] != TB_ID_NONE) {
            rc = put_dims(one, &in->types[n->out[i]].dims, err);
            break;
        }
    }
    if (rc == TB_OK) {
        rc = tb_json_put_int(one, "parameters", (int64_t)node->n_own, err);
    }
    if (rc == TB_OK) {
        rc = tb_json_put_float(one, "flops", node->flops, err);
    }
    if (rc == TB_OK) {
        rc = tb_json_put_bool(one, "constant", node->folded, err);
    }
    if (rc == TB_OK) {
        rc = tb_json_append(list, &one, err);
    }
    tb_json_free(&one);
    return rc;
}

static tb_rc put_nodes(tb_json *object, const inspection *in, tb_err *err)
{
    tb_json *list = tb_json_array();
    tb_rc rc = TB_OK;
    for (size_t i = 0; rc == TB_OK && i < in->n_nodes; i++) {
        rc = put_node(list, in, &in->nodes[i], err);
    }
    if (rc == TB_OK) {
        rc = tb_json_put(object, "nodes", &list, err);
    }
    tb_json_free(&list);
    return rc;
}

static tb_rc put_initialiser(tb_json *list, const tb_value *value,
                             initialiser_kind kind, tb_err *err)
{
    tb_json *one = tb_json_object();
    tb_rc rc = tb_json_put_text(one, "name", value->name, err);
    if (rc == TB_OK) {
        rc = tb_json_put_text(one, "dtype", tb_dtype_name(value->dtype), err);
    }
    if (rc == TB_OK) {
        rc = put_dims(one, &value->dims, err);
    }
    if (rc == TB_OK) {
        rc = tb_json_put_text(one, "kind", initialiser_kind_name(kind), err);
    }
    if (rc == TB_OK) {
        rc = tb_json_append(list, &one, err);
    }
    tb_json_free(&one);
    return rc;
}

static tb_rc put_initialisers(tb_json *object, const inspection *in,
                              tb_err *err)
{
    tb_json *list = tb_json_array();
    tb_rc rc = TB_OK;
    for (size_t i = 0; rc == TB_OK && i < in->graph->n_values; i++) {
        const tb_value *value = in->graph->values[i];
        if (value != NULL && value->data.data != NULL) {
            rc = put_initialiser(list, value, (initialiser_kind)in->kinds[i],
                                 err);
        }
    }
    if (rc == TB_OK) {
        rc = tb_json_put(object, "initialisers", &list, err);
    }
    tb_json_free(&list);
    return rc;
}

static tb_rc put_classes(tb_json *object, const tb_graph *graph, tb_err *err)
{
    tb_json *list = tb_json_array();
    tb_rc rc = TB_OK;
    for (size_t i = 0; rc == TB_OK && i < tb_preprocess_n_classes(graph); i++) {
        char name[256];
        size_t len = 0;
        const char *text = tb_preprocess_class(graph, i, &len);
        (void)snprintf(name, sizeof name, "%.*s", (int)len, text);
        rc = tb_json_append_text(list, name, err);
    }
    if (rc == TB_OK) {
        rc = tb_json_put(object, "classes", &list, err);
    }
    tb_json_free(&list);
    return rc;
}

static tb_rc put_notes(tb_json *object, const tb_graph *graph, tb_err *err)
{
    tb_note notes[TB_NOTES_MAX];
    size_t n = tb_model_notes(graph, notes);
    tb_json *list = tb_json_array();
    tb_rc rc = TB_OK;
    for (size_t i = 0; rc == TB_OK && i < n; i++) {
        rc = tb_json_append_text(list, notes[i].text, err);
    }
    if (rc == TB_OK) {
        rc = tb_json_put(object, "notes", &list, err);
    }
    tb_json_free(&list);
    return rc;
}

/* --- costs ---------------------------------------------------------------- */

/* An object of whole numbers under key: names [n], NULL-terminated. */
static tb_rc put_numbers(tb_json *object, const char *key,
                         const char *const *names, const double *numbers,
                         tb_err *err)
{
    tb_json *one = tb_json_object();
    tb_rc rc = TB_OK;
    for (size_t i = 0; rc == TB_OK && names[i] != NULL; i++) {
        rc = tb_json_put_float(one, names[i], numbers[i], err);
    }
    if (rc == TB_OK) {
        rc = tb_json_put(object, key, &one, err);
    }
    tb_json_free(&one);
    return rc;
}

static tb_rc put_inference(tb_json *object, const char *key, size_t batch,
                           const tb_exec_cost *cost, tb_err *err)
{
    static const char *const names[] = {"batch", "activation_bytes", "flops",
                                        NULL};
    const double numbers[] = {(double)batch, (double)cost->bytes, cost->flops};
    return put_numbers(object, key, names, numbers, err);
}

static tb_rc put_training(tb_json *object, const char *key, size_t batch,
                          size_t piece, const tb_trainer_cost *cost,
                          tb_err *err)
{
    static const char *const names[] = {"batch",
                                        "micro_batch",
                                        "bytes",
                                        "activation_bytes",
                                        "gradient_bytes",
                                        "parameter_bytes",
                                        "constant_bytes",
                                        "state_bytes",
                                        "batch_bytes",
                                        "flops",
                                        NULL};
    const double numbers[] = {(double)batch,
                              (double)piece,
                              (double)cost->bytes,
                              (double)cost->activation_bytes,
                              (double)cost->gradient_bytes,
                              (double)cost->parameter_bytes,
                              (double)cost->constant_bytes,
                              (double)cost->state_bytes,
                              (double)cost->batch_bytes,
                              cost->flops};
    return put_numbers(object, key, names, numbers, err);
}

static tb_rc put_costs(tb_json *o, const inspection *in, tb_err *err)
{
    tb_rc rc = put_inference(o, "inference", 1, &in->one, err);
    if (rc == TB_OK) {
        rc = put_inference(o, "inference_batch", in->batch, &in->many, err);
    }
    if (rc == TB_OK) {
        rc = in->trains
                 ? put_training(o, "training", in->batch, in->batch,
                                &in->training, err)
                 : tb_json_put_text(o, "cannot_train", in->why_not.text, err);
    }
    if (rc == TB_OK && in->budget > 0) {
        rc = tb_json_put_int(o, "budget", (int64_t)in->budget, err);
    }
    if (rc == TB_OK && in->budget > 0) {
        rc = tb_json_put_int(o, "largest_batch", (int64_t)in->largest, err);
    }
    return rc == TB_OK && in->budget > 0
               ? put_training(o, "within_budget", in->batch, in->piece,
                              &in->in_pieces, err)
               : rc;
}

/* --- the whole ------------------------------------------------------------ */

static tb_rc put_head(tb_json *o, const inspection *in, tb_err *err)
{
    char hex[TB_HASH_HEX_BYTES];
    tb_hash_hex(&in->hash, hex);
    tb_rc rc = tb_json_put_text(o, "hash", hex, err);
    if (rc == TB_OK) {
        rc = tb_json_put_int(o, "bytes", (int64_t)in->n_bytes, err);
    }
    if (rc == TB_OK) {
        rc = tb_json_put_int(o, "opset", in->graph->opset, err);
    }
    return rc == TB_OK
               ? tb_json_put_int(o, "parameters",
                                 (int64_t)tb_params_count(in->graph), err)
               : rc;
}

tb_rc inspection_json(const inspection *what, tb_err *err)
{
    const tb_graph *graph = what->graph;
    tb_json *o = tb_json_object();
    tb_rc rc = put_head(o, what, err);
    if (rc == TB_OK) {
        rc =
            put_values(o, "inputs", graph, graph->inputs, graph->n_inputs, err);
    }
    if (rc == TB_OK) {
        rc = put_values(o, "outputs", graph, graph->outputs, graph->n_outputs,
                        err);
    }
    if (rc == TB_OK) {
        rc = put_nodes(o, what, err);
    }
    if (rc == TB_OK) {
        rc = put_initialisers(o, what, err);
    }
    if (rc == TB_OK) {
        rc = put_classes(o, graph, err);
    }
    if (rc == TB_OK) {
        rc = put_costs(o, what, err);
    }
    if (rc == TB_OK) {
        rc = put_notes(o, graph, err);
    }
    if (rc == TB_OK) {
        rc = tb_json_print(o, err);
    }
    tb_json_free(&o);
    return rc;
}
