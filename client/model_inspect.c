#include <stdio.h>

#include "base/mem.h"
#include "base/text.h"
#include "files.h"
#include "host/json.h"
#include "model/params.h"
#include "model/preprocess.h"
#include "model/text.h"
#include "verbs.h"

enum { TEXT_BYTES_MAX = 1 << 24 };

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

static tb_rc put_nodes(tb_json *object, const tb_graph *graph, tb_err *err)
{
    tb_json *list = tb_json_array();
    tb_node_id *order = NULL;
    size_t n = 0;
    tb_rc rc = tb_graph_order(&order, &n, graph, err);
    for (size_t i = 0; rc == TB_OK && i < n; i++) {
        const tb_node *node = tb_graph_node(graph, order[i]);
        tb_json *one = tb_json_object();
        rc = tb_json_put_text(one, "op", node->op, err);
        if (rc == TB_OK) {
            rc = tb_json_put_text(one, "name", node->name, err);
        }
        if (rc == TB_OK) {
            rc = tb_json_append(list, &one, err);
        }
        tb_json_free(&one);
    }
    if (rc == TB_OK) {
        rc = tb_json_put(object, "nodes", &list, err);
    }
    tb_mem_free(order);
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

static tb_rc print_json(const tb_graph *graph, const tb_buf *bytes, tb_err *err)
{
    char hex[TB_HASH_HEX_BYTES];
    tb_hash hash = tb_hash_of(bytes->data, bytes->len);
    tb_hash_hex(&hash, hex);
    tb_json *o = tb_json_object();
    tb_rc rc = tb_json_put_text(o, "hash", hex, err);
    if (rc == TB_OK) {
        rc = tb_json_put_int(o, "bytes", (int64_t)bytes->len, err);
    }
    if (rc == TB_OK) {
        rc = tb_json_put_int(o, "opset", graph->opset, err);
    }
    if (rc == TB_OK) {
        rc = tb_json_put_int(o, "parameters", (int64_t)tb_params_count(graph),
                             err);
    }
    if (rc == TB_OK) {
        rc =
            put_values(o, "inputs", graph, graph->inputs, graph->n_inputs, err);
    }
    if (rc == TB_OK) {
        rc = put_values(o, "outputs", graph, graph->outputs, graph->n_outputs,
                        err);
    }
    if (rc == TB_OK) {
        rc = put_nodes(o, graph, err);
    }
    if (rc == TB_OK) {
        rc = put_classes(o, graph, err);
    }
    if (rc == TB_OK) {
        rc = tb_json_print(o, err);
    }
    tb_json_free(&o);
    return rc;
}

static tb_rc print_text(const tb_graph *graph, const tb_buf *bytes, tb_err *err)
{
    char hex[TB_HASH_HEX_BYTES];
    char size[32];
    tb_hash hash = tb_hash_of(bytes->data, bytes->len);
    tb_buf text;
    tb_buf_init(&text, TEXT_BYTES_MAX);
    tb_rc rc = tb_model_text(&text, graph, err);
    if (rc == TB_OK) {
        tb_hash_hex(&hash, hex);
        tb_text_bytes(bytes->len, size, sizeof size);
        (void)printf("%.*s%s, hash %s\n", (int)text.len,
                     (const char *)text.data, size, hex);
    }
    tb_buf_release(&text);
    return rc;
}

static tb_rc run(tb_cli_call *call, tb_err *err)
{
    tb_graph *graph = NULL;
    tb_buf bytes;
    tb_buf_init(&bytes, MODEL_BYTES_MAX);
    tb_rc rc = read_model(&graph, call->args[0], &bytes, err);
    if (rc == TB_OK) {
        rc = call->json ? print_json(graph, &bytes, err)
                        : print_text(graph, &bytes, err);
    }
    tb_graph_free(&graph);
    tb_buf_release(&bytes);
    return rc;
}

const tb_verb verb_model_inspect = {
    .name = "model inspect",
    .args = "FILE",
    .min_args = 1,
    .max_args = 1,
    .help = "show inputs, nodes, parameters and hash of an ONNX file",
    .examples = "tributary model inspect model.onnx\n"
                "tributary model inspect model.onnx --json\n",
    .json = true,
    .run = run,
};
