/* core/model/onnx_read.c - ONNX bytes to a graph: guarded decoding, then the
 * model's parts in the order initialisers, inputs, constants and node outputs,
 * nodes, outputs. Tensors are checked and converted in onnx_tensor.c. */
#include <string.h>

#include <generated/onnx.pb-c.h>

#include "base/mem.h"
#include "model/onnx_guard.h"
#include "model/onnx_tensor.h"
#include "model/op.h"
#include "model/params.h"
#include "model/unshare.h"

const tb_onnx_limits tb_onnx_limits_default = {
    .bytes = (size_t)512 << 20,
    .nodes = 16384,
    .values = 65536,
    .tensor_bytes = (size_t)256 << 20,
    .total_bytes = (size_t)512 << 20,
    .name_bytes = 1024,
    .list = 4096,
    .depth = 16,
};

const tb_onnx_limits tb_onnx_limits_local = {
    .bytes = (size_t)1 << 31,
    .nodes = 16384,
    .values = 65536,
    .tensor_bytes = (size_t)16 << 30,
    .total_bytes = (size_t)32 << 30,
    .name_bytes = 1024,
    .list = 4096,
    .depth = 16,
};

typedef struct reader {
    const tb_onnx_source *source;
    const tb_onnx_limits *limits; /* of source */
    const Onnx__GraphProto *from;
    tb_graph *graph;
    size_t total_bytes; /* of tensors so far */
} reader;

/* --- names ---------------------------------------------------------------- */

/* A name must be there, be short, and not steer a terminal. */
static tb_rc check_name(const reader *r, const char *name, const char *what,
                        tb_err *err)
{
    if (name == NULL || name[0] == '\0') {
        return tb_fail(err, TB_E_MALFORMED, "onnx: %s without a name", what);
    }
    for (size_t i = 0; name[i] != '\0'; i++) {
        if (i >= r->limits->name_bytes) {
            return tb_fail(err, TB_E_LIMIT, "onnx: name of %s over %zu bytes",
                           what, r->limits->name_bytes);
        }
        if ((unsigned char)name[i] < 0x20 || name[i] == 0x7f) {
            return tb_fail(err, TB_E_MALFORMED,
                           "onnx: control character in the name of %s", what);
        }
    }
    return TB_OK;
}

/* A name may also be absent. */
static tb_rc check_label(const reader *r, const char *name, const char *what,
                         tb_err *err)
{
    return name == NULL || name[0] == '\0' ? TB_OK
                                           : check_name(r, name, what, err);
}

/* The graph says EXISTS, but from a file a name used twice is malformed. */
static tb_rc from_file(tb_rc rc, tb_err *err)
{
    if (rc == TB_E_EXISTS) {
        rc = TB_E_MALFORMED;
        if (err != NULL) {
            err->rc = rc;
        }
    }
    return rc == TB_OK ? rc : tb_err_prefix(err, rc, "onnx");
}

static tb_rc check_count(size_t n, size_t most, const char *what, tb_err *err)
{
    return n <= most ? TB_OK
                     : tb_fail(err, TB_E_LIMIT, "onnx: %zu %s, at most %zu", n,
                               what, most);
}

/* --- header --------------------------------------------------------------- */

/* A file may leave out the default domain when no node is of it; domains that
 * we do not know are met again where a node uses them. */
static tb_rc read_opset(int *out, const Onnx__ModelProto *model, tb_err *err)
{
    int64_t version = model->n_opset_import > 0 ? TB_GRAPH_OPSET : 0;
    for (size_t i = 0; i < model->n_opset_import; i++) {
        const Onnx__OperatorSetIdProto *set = model->opset_import[i];
        if (tb_onnx_default_domain(set->domain)) {
            version = set->version;
        } else if (strcmp(set->domain, TB_DOMAIN_TRAINING) == 0 &&
                   set->version != 1) {
            return tb_fail(err, TB_E_UNSUPPORTED,
                           "onnx: version %lld of %s, 1 can be read",
                           (long long)set->version, TB_DOMAIN_TRAINING);
        }
    }
    if (version < TB_ONNX_OPSET_MIN || version > TB_ONNX_OPSET_MAX) {
        return tb_fail(err, TB_E_UNSUPPORTED,
                       "onnx: opset %lld, %d to %d can be read; export the "
                       "model with opset %d",
                       (long long)version, TB_ONNX_OPSET_MIN, TB_ONNX_OPSET_MAX,
                       TB_GRAPH_OPSET);
    }
    *out = (int)version;
    return TB_OK;
}

static tb_rc read_header(reader *r, const Onnx__ModelProto *model, tb_err *err)
{
    int opset = 0;
    if (model->graph == NULL || !model->has_ir_version) {
        return tb_fail(err, TB_E_MALFORMED,
                       "onnx: no %s; is this an ONNX model?",
                       model->graph == NULL ? "graph" : "ir_version");
    }
    if (model->ir_version < TB_ONNX_IR_MIN ||
        model->ir_version > TB_ONNX_IR_MAX) {
        return tb_fail(err, TB_E_UNSUPPORTED,
                       "onnx: IR version %lld, %d to %d can be read",
                       (long long)model->ir_version, TB_ONNX_IR_MIN,
                       TB_ONNX_IR_MAX);
    }
    r->from = model->graph;
    const char *name = r->from->name != NULL ? r->from->name : "";
    tb_rc rc = read_opset(&opset, model, err);
    if (rc == TB_OK) {
        rc = check_label(r, name, "the graph", err);
    }
    if (rc == TB_OK) {
        rc = check_count(r->from->n_node, r->limits->nodes, "nodes", err);
    }
    if (rc == TB_OK) {
        rc = check_count(model->n_metadata_props, 256, "metadata entries", err);
    }
    if (rc == TB_OK && r->from->n_sparse_initializer > 0) {
        rc = tb_fail(err, TB_E_UNSUPPORTED, "onnx: sparse initialisers");
    }
    if (rc == TB_OK) {
        rc = tb_graph_new(&r->graph, name, opset, err);
    }
    for (size_t i = 0; rc == TB_OK && i < model->n_metadata_props; i++) {
        const Onnx__StringStringEntryProto *entry = model->metadata_props[i];
        rc = check_name(r, entry->key, "a metadata entry", err);
        if (rc == TB_OK) {
            rc = tb_graph_set_meta(r->graph, entry->key,
                                   entry->value != NULL ? entry->value : "",
                                   err);
        }
    }
    return rc;
}

/* --- inputs and initialisers ---------------------------------------------- */

static tb_rc read_dims(tb_dims *out, const Onnx__TensorShapeProto *shape,
                       tb_err *err)
{
    *out = (tb_dims){.rank = TB_RANK_UNKNOWN};
    if (shape == NULL) {
        return TB_OK;
    }
    if (shape->n_dim > TB_RANK_MAX) {
        return tb_fail(err, TB_E_LIMIT, "%zu dimensions, at most %d",
                       shape->n_dim, TB_RANK_MAX);
    }
    out->rank = (int)shape->n_dim;
    for (size_t i = 0; i < shape->n_dim; i++) {
        const Onnx__TensorShapeProto__Dimension *dim = shape->dim[i];
        bool fixed = dim->value_case ==
                     ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_VALUE;
        if (fixed && dim->dim_value < 0) {
            return tb_fail(err, TB_E_MALFORMED, "dimension %zu is below 0", i);
        }
        out->dim[i] = fixed ? dim->dim_value : TB_DIM_ANY;
    }
    return TB_OK;
}

static tb_rc read_input(reader *r, const Onnx__ValueInfoProto *info,
                        tb_err *err)
{
    tb_dims dims;
    tb_value_id id = TB_ID_NONE;
    tb_rc rc = check_name(r, info->name, "an input", err);
    const tb_value *known =
        rc == TB_OK
            ? tb_graph_value(r->graph, tb_graph_find(r->graph, info->name))
            : NULL;
    if (rc != TB_OK || (known != NULL && known->role == TB_ROLE_CONST)) {
        return rc; /* older files list initialisers as inputs too */
    }
    if (info->type == NULL ||
        info->type->value_case != ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE) {
        return tb_fail(err, TB_E_UNSUPPORTED, "onnx: input \"%s\" is no tensor",
                       info->name);
    }
    const Onnx__TypeProto__Tensor *type = info->type->tensor_type;
    rc = read_dims(&dims, type->shape, err);
    if (rc != TB_OK) {
        return tb_err_prefix(err, rc, "onnx: input \"%s\"", info->name);
    }
    tb_dtype dtype = tb_onnx_dtype(type->elem_type);
    if (tb_dtype_bytes(dtype) == 0) {
        return tb_fail(err, TB_E_UNSUPPORTED,
                       "onnx: input \"%s\" of element type %s (%d)", info->name,
                       tb_dtype_name(dtype), (int)type->elem_type);
    }
    return from_file(
        tb_graph_add_input(r->graph, &id, info->name, dtype, &dims, err), err);
}

/* data is empty afterwards, on TB_OK. */
static tb_rc add_data(reader *r, const char *name, tb_tensor *data, tb_err *err)
{
    tb_value_id id = TB_ID_NONE;
    r->total_bytes += tb_tensor_bytes(data);
    if (r->total_bytes > r->limits->total_bytes) {
        return tb_fail(err, TB_E_LIMIT, "onnx: initialisers over %zu bytes",
                       r->limits->total_bytes);
    }
    return from_file(
        tb_graph_take_data(r->graph, &id, name, TB_ROLE_CONST, data, err), err);
}

static tb_rc read_initialiser(reader *r, const Onnx__TensorProto *from,
                              tb_err *err)
{
    tb_tensor data = {0};
    tb_rc rc = check_name(r, from->name, "an initialiser", err);
    if (rc != TB_OK) {
        return rc;
    }
    rc = tb_onnx_tensor_read(&data, from, r->source, err);
    if (rc != TB_OK) {
        return tb_err_prefix(err, rc, "onnx: initialiser \"%s\"", from->name);
    }
    rc = add_data(r, from->name, &data, err);
    tb_tensor_release(&data);
    return rc;
}

/* --- nodes ---------------------------------------------------------------- */

static bool is_constant(const Onnx__NodeProto *node)
{
    return strcmp(node->op_type, "Constant") == 0 &&
           tb_onnx_default_domain(node->domain);
}

static tb_rc check_node(const reader *r, const Onnx__NodeProto *node,
                        tb_err *err)
{
    tb_rc rc = check_name(r, node->op_type, "an operator", err);
    if (rc == TB_OK) {
        rc = check_label(r, node->name, "a node", err);
    }
    if (rc == TB_OK) {
        rc = check_label(r, node->domain, "a domain", err);
    }
    if (rc == TB_OK) {
        rc = check_count(node->n_input, r->limits->list, "inputs of a node",
                         err);
    }
    if (rc == TB_OK) {
        rc = check_count(node->n_output, r->limits->list, "outputs of a node",
                         err);
    }
    return rc == TB_OK ? check_count(node->n_attribute, r->limits->list,
                                     "attributes of a node", err)
                       : rc;
}

/* A Constant node becomes a CONST value. */
static tb_rc read_constant(reader *r, const Onnx__NodeProto *node, tb_err *err)
{
    tb_tensor data = {0};
    if (node->n_attribute != 1 || node->n_output != 1 || node->n_input != 0) {
        return tb_fail(err, TB_E_MALFORMED,
                       "onnx: Constant (node \"%s\") needs one attribute and "
                       "one output",
                       tb_onnx_text(node->name));
    }
    tb_rc rc = check_name(r, node->output[0], "a constant", err);
    if (rc == TB_OK) {
        rc = tb_onnx_constant_read(&data, node->attribute[0], r->source, err);
        if (rc != TB_OK) {
            return tb_err_prefix(err, rc, "onnx: Constant \"%s\"",
                                 node->output[0]);
        }
    }
    if (rc == TB_OK) {
        rc = add_data(r, node->output[0], &data, err);
    }
    tb_tensor_release(&data);
    return rc;
}

/* Declares what a node makes, so that any node may read it. */
static tb_rc declare_outputs(reader *r, const Onnx__NodeProto *node,
                             tb_err *err)
{
    tb_rc rc = check_node(r, node, err);
    if (rc == TB_OK && is_constant(node)) {
        return read_constant(r, node, err);
    }
    for (size_t i = 0; rc == TB_OK && i < node->n_output; i++) {
        tb_value_id id = TB_ID_NONE;
        if (node->output[i][0] == '\0') {
            continue;
        }
        rc = check_name(r, node->output[i], "a node's output", err);
        if (rc == TB_OK) {
            rc = from_file(
                tb_graph_add_temp(r->graph, &id, node->output[i], NULL, err),
                err);
        }
    }
    if (rc == TB_OK) {
        rc = check_count(r->graph->n_values, r->limits->values, "values", err);
    }
    return rc;
}

/* Names to ids; an empty name is an omitted end. */
static tb_rc find_ends(tb_value_id *ids, const reader *r, char *const *names,
                       size_t n, const Onnx__NodeProto *node, tb_err *err)
{
    for (size_t i = 0; i < n; i++) {
        ids[i] = TB_ID_NONE;
        if (names[i][0] == '\0') {
            continue;
        }
        tb_rc rc = check_name(r, names[i], "a node's input", err);
        if (rc != TB_OK) {
            return rc;
        }
        ids[i] = tb_graph_find(r->graph, names[i]);
        if (ids[i] == TB_ID_NONE) {
            return tb_fail(err, TB_E_MALFORMED,
                           "onnx: %s (node \"%s\") reads \"%s\", which "
                           "nothing makes",
                           node->op_type, tb_onnx_text(node->name), names[i]);
        }
    }
    return TB_OK;
}

/* Whether Dropout drops is the user's choice (training or not), so the input
 * that would fix it in the file is left out. */
static void leave_mode_open(tb_node_spec *spec)
{
    if (strcmp(spec->op, "Dropout") == 0 && spec->n_in == 3) {
        spec->n_in = 2;
    }
}

static void trim_omitted(tb_node_spec *spec)
{
    while (spec->n_in > 0 && spec->in[spec->n_in - 1] == TB_ID_NONE) {
        spec->n_in--;
    }
    while (spec->n_out > 1 && spec->out[spec->n_out - 1] == TB_ID_NONE) {
        spec->n_out--;
    }
}

static tb_rc add_node(reader *r, const tb_node_spec *spec, tb_err *err)
{
    tb_node_id id = TB_ID_NONE;
    const tb_op *op = NULL;
    const tb_value *made =
        spec->n_out > 0 ? tb_graph_value(r->graph, spec->out[0]) : NULL;
    tb_rc rc = tb_graph_add_node(r->graph, &id, spec, err);
    if (rc == TB_OK && (strcmp(spec->domain, TB_DOMAIN_GRAD) == 0 ||
                        strcmp(spec->domain, TB_DOMAIN_FUSED) == 0)) {
        rc = tb_fail(err, TB_E_UNSUPPORTED, "%s.%s is no operator of ONNX",
                     spec->domain, spec->op);
    }
    if (rc == TB_OK) {
        rc = tb_op_of(&op, r->graph, r->graph->nodes[id], err);
    }
    if (rc == TB_OK) {
        rc = tb_op_check(op, r->graph->nodes[id], err);
    }
    if (rc == TB_OK && spec->n_out > op->out_max) {
        rc = tb_fail(err, TB_E_MALFORMED, "%s: %zu outputs, at most %u",
                     op->name, spec->n_out, op->out_max);
    }
    return rc == TB_OK ? rc
                       : tb_err_prefix(err, rc, "onnx: making \"%s\"",
                                       made != NULL ? made->name : "");
}

static tb_rc read_node(reader *r, const Onnx__NodeProto *node, tb_err *err)
{
    tb_attr *attrs = NULL;
    tb_value_id *ends = NULL;
    if (is_constant(node)) {
        return TB_OK;
    }
    tb_node_spec spec = {.name = tb_onnx_text(node->name),
                         .domain = tb_onnx_default_domain(node->domain)
                                       ? TB_DOMAIN_ONNX
                                       : node->domain,
                         .op = node->op_type,
                         .n_attrs = node->n_attribute,
                         .n_in = node->n_input,
                         .n_out = node->n_output};
    tb_rc rc = tb_onnx_attrs_read(&attrs, node, r->source, err);
    if (rc != TB_OK) {
        return tb_err_prefix(err, rc, "onnx: %s (node \"%s\", opset %d)",
                             node->op_type, spec.name, r->graph->opset);
    }
    ends = tb_mem_array(spec.n_in + spec.n_out, sizeof *ends);
    if (ends == NULL) {
        rc = tb_fail(err, TB_E_NOMEM, "onnx: node \"%s\"", spec.name);
        goto done;
    }
    spec.attrs = attrs;
    spec.in = ends;
    spec.out = ends + spec.n_in;
    rc = find_ends(ends, r, node->input, node->n_input, node, err);
    if (rc == TB_OK) {
        rc = find_ends(ends + spec.n_in, r, node->output, node->n_output, node,
                       err);
    }
    if (rc == TB_OK) {
        leave_mode_open(&spec);
        trim_omitted(&spec);
        rc = add_node(r, &spec, err);
    }
done:
    tb_mem_free(ends);
    tb_onnx_attrs_free(attrs, node->n_attribute);
    return rc;
}

/* --- the whole ------------------------------------------------------------ */

static tb_rc read_outputs(reader *r, tb_err *err)
{
    tb_rc rc = TB_OK;
    if (r->from->n_output == 0) {
        return tb_fail(err, TB_E_MALFORMED, "onnx: the graph has no output");
    }
    for (size_t i = 0; rc == TB_OK && i < r->from->n_output; i++) {
        const char *name = r->from->output[i]->name;
        rc = check_name(r, name, "an output", err);
        if (rc != TB_OK) {
            return rc;
        }
        tb_value_id id = tb_graph_find(r->graph, name);
        if (id == TB_ID_NONE || tb_graph_is_output(r->graph, id)) {
            return tb_fail(
                err, TB_E_MALFORMED, "onnx: output \"%s\" is %s", name,
                id == TB_ID_NONE ? "made by nothing" : "listed twice");
        }
        rc = tb_graph_add_output(r->graph, id, err);
    }
    return rc;
}

static tb_rc read_graph(reader *r, tb_err *err)
{
    const Onnx__GraphProto *from = r->from;
    tb_rc rc = check_count(from->n_input, r->limits->list, "inputs", err);
    if (rc == TB_OK) {
        rc = check_count(from->n_output, r->limits->list, "outputs", err);
    }
    if (rc == TB_OK) {
        rc = check_count(from->n_initializer, r->limits->values, "initialisers",
                         err);
    }
    for (size_t i = 0; rc == TB_OK && i < from->n_initializer; i++) {
        rc = read_initialiser(r, from->initializer[i], err);
    }
    for (size_t i = 0; rc == TB_OK && i < from->n_input; i++) {
        rc = read_input(r, from->input[i], err);
    }
    for (size_t i = 0; rc == TB_OK && i < from->n_node; i++) {
        rc = declare_outputs(r, from->node[i], err);
    }
    for (size_t i = 0; rc == TB_OK && i < from->n_node; i++) {
        rc = read_node(r, from->node[i], err);
    }
    if (rc == TB_OK) {
        rc = read_outputs(r, err);
    }
    if (rc == TB_OK) {
        tb_node_id *order = NULL; /* made to find cycles in any corner */
        size_t n = 0;
        rc = tb_graph_order(&order, &n, r->graph, err);
        tb_mem_free(order);
        if (rc != TB_OK) {
            return tb_err_prefix(err, rc, "onnx");
        }
    }
    if (rc == TB_OK) {
        rc = tb_graph_sweep(r->graph, err);
    }
    if (rc == TB_OK) {
        rc = tb_graph_unshare(r->graph, err);
    }
    return rc == TB_OK ? tb_params_assign(r->graph, NULL, err) : rc;
}

/* What decoding may take beside the bytes themselves. */
static size_t decoding_budget(size_t len)
{
    const size_t slack = (size_t)64 << 20;
    return ((size_t)1 << 20) + (len < slack / 14 ? 16 * len : 2 * len + slack);
}

static tb_rc decode(Onnx__ModelProto **out, tb_onnx_budget *budget,
                    const uint8_t *bytes, size_t len,
                    const tb_onnx_limits *limits, tb_err *err)
{
    if (len == 0 || len > limits->bytes) {
        return len == 0
                   ? tb_fail(err, TB_E_MALFORMED, "onnx: no bytes")
                   : tb_fail(err, TB_E_LIMIT, "onnx: %zu bytes, at most %zu",
                             len, limits->bytes);
    }
    tb_rc rc = tb_onnx_guard_scan(&onnx__model_proto__descriptor, bytes, len,
                                  limits->depth, err);
    if (rc != TB_OK) {
        return tb_err_prefix(err, rc, "onnx: not a model, or a damaged one");
    }
    *out = onnx__model_proto__unpack(&budget->allocator, len, bytes);
    if (*out != NULL) {
        return TB_OK;
    }
    if (budget->refused != TB_OK) {
        return tb_fail(err, budget->refused,
                       "onnx: decoding %zu bytes takes too much memory", len);
    }
    return tb_fail(err, TB_E_MALFORMED, "onnx: not an ONNX model");
}

tb_rc tb_onnx_read(tb_graph **out, const uint8_t *bytes, size_t len,
                   const tb_onnx_limits *limits, tb_err *err)
{
    const tb_onnx_source source = {
        .limits = limits != NULL ? limits : &tb_onnx_limits_default};
    return tb_onnx_read_source(out, bytes, len, &source, err);
}

tb_rc tb_onnx_read_source(tb_graph **out, const uint8_t *bytes, size_t len,
                          const tb_onnx_source *source, tb_err *err)
{
    reader r = {.source = source, .limits = source->limits};
    Onnx__ModelProto *model = NULL;
    tb_onnx_budget budget;
    *out = NULL;
    tb_onnx_budget_init(&budget, decoding_budget(len));
    tb_rc rc = decode(&model, &budget, bytes, len, r.limits, err);
    if (model == NULL) {
        return rc;
    }
    rc = read_header(&r, model, err);
    if (rc == TB_OK) {
        rc = read_graph(&r, err);
    }
    if (rc == TB_OK) {
        *out = r.graph;
        r.graph = NULL;
    }
    tb_graph_free(&r.graph);
    onnx__model_proto__free_unpacked(model, &budget.allocator);
    return rc;
}
