/* core/model/onnx_write.c - a graph to ONNX bytes. Messages are built in a pile
 * of memory that is thrown away at once; tensors are borrowed, not copied. */
#include <stdio.h>
#include <string.h>

#include <generated/onnx.pb-c.h>

#include "base/mem.h"
#include "model/bind.h"
#include "model/onnx_external.h"
#include "model/onnx_opset.h"

#define OPEN_DIM "N" /* the name of every open dimension */

/* Blocks of memory with one life. */
typedef struct pile {
    struct pile_block *last;
    bool failed; /* some block could not be had */
} pile;

typedef struct pile_block {
    struct pile_block *before;
    _Alignas(16) unsigned char bytes[];
} pile_block;

/* n zeroed elements; NULL, now and ever after, when memory runs out. */
static void *take(pile *p, size_t n, size_t size)
{
    size_t bytes = 0;
    pile_block *block = NULL;
    if (!p->failed && tb_mem_mul(&bytes, n, size) == 0) {
        block = tb_mem_array(1, sizeof *block + bytes);
    }
    if (block == NULL) {
        p->failed = true;
        return NULL;
    }
    block->before = p->last;
    p->last = block;
    return block->bytes;
}

static void throw_away(pile *p)
{
    while (p->last != NULL) {
        pile_block *before = p->last->before;
        tb_mem_free(p->last);
        p->last = before;
    }
}

/* protobuf-c's structs take char *, but packing only reads. */
static char *text(const char *from)
{
    return (char *)(uintptr_t)from;
}

static ProtobufCBinaryData bytes_of(const void *from, size_t len)
{
    return (ProtobufCBinaryData){len, (uint8_t *)(uintptr_t)from};
}

/* A list of n pointers to messages of a type, each initialised. */
#define TAKE_LIST(list, p, n, type, init)                                      \
    do {                                                                       \
        type *each = take(p, n, sizeof *each);                                 \
        list = take(p, n, sizeof *(list));                                     \
        for (size_t i_ = 0; !(p)->failed && i_ < (n); i_++) {                  \
            init(&each[i_]);                                                   \
            (list)[i_] = &each[i_];                                            \
        }                                                                      \
    } while (0)

/* --- tensors, types and attributes ---------------------------------------- */

static void put_entry(pile *p, Onnx__StringStringEntryProto *to,
                      const char *key, const char *value)
{
    size_t n = strlen(value) + 1;
    to->key = text(key);
    to->value = take(p, n, 1);
    if (to->value != NULL) {
        memcpy(to->value, value, n);
    }
}

/* The same as entry "key" with a number. */
static void put_number(pile *p, Onnx__StringStringEntryProto *to,
                       const char *key, size_t value)
{
    char digits[32];
    (void)snprintf(digits, sizeof digits, "%zu", value);
    put_entry(p, to, key, digits);
}

/* Puts a tensor's bytes at the end of the layout's file. */
static void put_outside(pile *p, Onnx__TensorProto *to, const tb_tensor *from,
                        tb_onnx_layout *layout)
{
    size_t bytes = tb_tensor_bytes(from);
    size_t gap = (0 - layout->bytes) % TB_ONNX_EXTERNAL_ALIGN;
    to->has_data_location = 1;
    to->data_location = ONNX__TENSOR_PROTO__DATA_LOCATION__EXTERNAL;
    to->n_external_data = 3;
    TAKE_LIST(to->external_data, p, to->n_external_data,
              Onnx__StringStringEntryProto,
              onnx__string_string_entry_proto__init);
    if (p->failed) {
        return;
    }
    put_entry(p, to->external_data[0], "location", layout->location);
    put_number(p, to->external_data[1], "offset", layout->bytes + gap);
    put_number(p, to->external_data[2], "length", bytes);
    layout->parts[layout->n_parts++] = (tb_file_part){NULL, gap};
    layout->parts[layout->n_parts++] = (tb_file_part){from->data, bytes};
    layout->bytes += gap + bytes;
}

/* layout may be NULL: the bytes go into the message. */
static void put_tensor(pile *p, Onnx__TensorProto *to, const tb_tensor *from,
                       tb_onnx_layout *layout)
{
    to->n_dims = from->shape.rank;
    to->dims = take(p, to->n_dims, sizeof *to->dims);
    for (size_t i = 0; !p->failed && i < to->n_dims; i++) {
        to->dims[i] = (int64_t)from->shape.dim[i];
    }
    to->has_data_type = 1;
    to->data_type = (int32_t)from->dtype;
    if (layout != NULL && tb_tensor_bytes(from) >= TB_ONNX_EXTERNAL_MIN) {
        put_outside(p, to, from, layout);
        return;
    }
    to->has_raw_data = 1;
    to->raw_data = bytes_of(from->data, tb_tensor_bytes(from));
}

static void put_type(pile *p, Onnx__ValueInfoProto *to, const char *name,
                     tb_dtype dtype, const tb_dims *dims)
{
    Onnx__TypeProto *type = take(p, 1, sizeof *type);
    Onnx__TypeProto__Tensor *tensor = take(p, 1, sizeof *tensor);
    Onnx__TensorShapeProto *shape = take(p, 1, sizeof *shape);
    if (p->failed) {
        return;
    }
    onnx__type_proto__init(type);
    onnx__type_proto__tensor__init(tensor);
    onnx__tensor_shape_proto__init(shape);
    to->name = text(name);
    to->type = type;
    type->value_case = ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE;
    type->tensor_type = tensor;
    tensor->has_elem_type = 1;
    tensor->elem_type = (int32_t)dtype;
    if (dims->rank == TB_RANK_UNKNOWN) {
        return;
    }
    tensor->shape = shape;
    shape->n_dim = (size_t)dims->rank;
    TAKE_LIST(shape->dim, p, shape->n_dim, Onnx__TensorShapeProto__Dimension,
              onnx__tensor_shape_proto__dimension__init);
    for (size_t i = 0; !p->failed && i < shape->n_dim; i++) {
        if (dims->dim[i] == TB_DIM_ANY) {
            shape->dim[i]->value_case =
                ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_PARAM;
            shape->dim[i]->dim_param = text(OPEN_DIM);
        } else {
            shape->dim[i]->value_case =
                ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_VALUE;
            shape->dim[i]->dim_value = dims->dim[i];
        }
    }
}

static void put_texts(pile *p, Onnx__AttributeProto *to, const tb_attr *from)
{
    to->n_strings = from->n;
    to->strings = take(p, from->n, sizeof *to->strings);
    for (size_t i = 0; !p->failed && i < from->n; i++) {
        to->strings[i] = bytes_of(from->strings[i], strlen(from->strings[i]));
    }
}

static void put_attr(pile *p, Onnx__AttributeProto *to, const tb_attr *from)
{
    static const Onnx__AttributeProto__AttributeType types[] = {
        [TB_ATTR_FLOAT] = ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__FLOAT,
        [TB_ATTR_INT] = ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INT,
        [TB_ATTR_STRING] = ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__STRING,
        [TB_ATTR_TENSOR] = ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__TENSOR,
        [TB_ATTR_FLOATS] = ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__FLOATS,
        [TB_ATTR_INTS] = ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INTS,
        [TB_ATTR_STRINGS] = ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__STRINGS,
    };
    to->name = text(from->name);
    to->has_type = 1;
    to->type = types[from->kind];
    if (from->kind == TB_ATTR_FLOAT) {
        to->has_f = 1;
        to->f = from->f;
    } else if (from->kind == TB_ATTR_INT) {
        to->has_i = 1;
        to->i = from->i;
    } else if (from->kind == TB_ATTR_STRING) {
        to->has_s = 1;
        to->s = bytes_of(from->s, strlen(from->s));
    } else if (from->kind == TB_ATTR_FLOATS) {
        to->n_floats = from->n;
        to->floats = (float *)(uintptr_t)from->floats;
    } else if (from->kind == TB_ATTR_INTS) {
        to->n_ints = from->n;
        to->ints = (int64_t *)(uintptr_t)from->ints;
    } else if (from->kind == TB_ATTR_STRINGS) {
        put_texts(p, to, from);
    } else {
        to->t = take(p, 1, sizeof *to->t);
        if (to->t != NULL) {
            onnx__tensor_proto__init(to->t);
            put_tensor(p, to->t, &from->t, NULL);
        }
    }
}

/* --- nodes and values ----------------------------------------------------- */

static char **put_ends(pile *p, const tb_graph *graph, const tb_value_id *ids,
                       size_t n)
{
    char **names = take(p, n, sizeof *names);
    for (size_t i = 0; !p->failed && i < n; i++) {
        const tb_value *value = tb_graph_value(graph, ids[i]);
        names[i] = text(value != NULL ? value->name : "");
    }
    return names;
}

/* A BatchNormalization whose next statistics nobody in the graph reads is
 * written as one for inference, whatever mode it was exported in: whether it
 * trains is the user's choice, and so any runtime takes the file. */
static bool drops_mode(const tb_graph *graph, const tb_node *node)
{
    if (strcmp(node->op, "BatchNormalization") != 0) {
        return false;
    }
    for (size_t i = 1; i < node->n_out; i++) {
        if (node->out[i] != TB_ID_NONE &&
            (tb_graph_n_uses(graph, node->out[i]) > 0 ||
             tb_graph_is_output(graph, node->out[i]))) {
            return false;
        }
    }
    return true;
}

static void put_node(pile *p, Onnx__NodeProto *to, const tb_graph *graph,
                     const tb_node *from)
{
    bool inference = drops_mode(graph, from);
    to->name = from->name[0] != '\0' ? text(from->name) : NULL;
    to->op_type = text(from->op);
    to->domain = from->domain[0] != '\0' ? text(from->domain) : NULL;
    to->n_input = from->n_in;
    to->input = put_ends(p, graph, from->in, from->n_in);
    to->n_output = inference ? 1 : from->n_out;
    to->output = put_ends(p, graph, from->out, to->n_output);
    TAKE_LIST(to->attribute, p, from->n_attrs, Onnx__AttributeProto,
              onnx__attribute_proto__init);
    for (size_t i = 0; !p->failed && i < from->n_attrs; i++) {
        if (!inference || strcmp(from->attrs[i].name, "training_mode") != 0) {
            put_attr(p, to->attribute[to->n_attribute++], &from->attrs[i]);
        }
    }
}

static void put_initialisers(pile *p, Onnx__GraphProto *to,
                             const tb_graph *graph, tb_onnx_layout *layout)
{
    size_t n = 0;
    for (size_t i = 0; i < graph->n_values; i++) {
        n += graph->values[i] != NULL && graph->values[i]->data.data != NULL;
    }
    TAKE_LIST(to->initializer, p, n, Onnx__TensorProto,
              onnx__tensor_proto__init);
    for (size_t i = 0; !p->failed && i < graph->n_values; i++) {
        const tb_value *value = graph->values[i];
        if (value != NULL && value->data.data != NULL) {
            Onnx__TensorProto *tensor = to->initializer[to->n_initializer++];
            tensor->name = text(value->name);
            put_tensor(p, tensor, &value->data, layout);
        }
    }
}

static void put_inputs(pile *p, Onnx__GraphProto *to, const tb_graph *graph)
{
    to->n_input = graph->n_inputs;
    TAKE_LIST(to->input, p, to->n_input, Onnx__ValueInfoProto,
              onnx__value_info_proto__init);
    for (size_t i = 0; !p->failed && i < to->n_input; i++) {
        const tb_value *value = graph->values[graph->inputs[i]];
        put_type(p, to->input[i], value->name, value->dtype, &value->dims);
    }
}

static void put_outputs(pile *p, Onnx__GraphProto *to, const tb_graph *graph,
                        const tb_value_type *types)
{
    to->n_output = graph->n_outputs;
    TAKE_LIST(to->output, p, to->n_output, Onnx__ValueInfoProto,
              onnx__value_info_proto__init);
    for (size_t i = 0; !p->failed && i < to->n_output; i++) {
        tb_value_id id = graph->outputs[i];
        put_type(p, to->output[i], graph->values[id]->name, types[id].dtype,
                 &types[id].dims);
    }
}

static tb_rc put_graph(pile *p, Onnx__GraphProto *to, const tb_graph *graph,
                       const tb_value_type *types, tb_onnx_layout *layout,
                       tb_err *err)
{
    tb_node_id *order = NULL;
    size_t n = 0;
    tb_rc rc = tb_graph_order(&order, &n, graph, err);
    if (rc != TB_OK) {
        return rc;
    }
    to->name = text(graph->name[0] != '\0' ? graph->name : "model");
    to->n_node = n;
    TAKE_LIST(to->node, p, n, Onnx__NodeProto, onnx__node_proto__init);
    for (size_t i = 0; !p->failed && i < n; i++) {
        put_node(p, to->node[i], graph, graph->nodes[order[i]]);
    }
    put_initialisers(p, to, graph, layout);
    put_inputs(p, to, graph);
    put_outputs(p, to, graph, types);
    tb_mem_free(order);
    return TB_OK;
}

/* --- the whole ------------------------------------------------------------ */

static tb_rc check_operators(const tb_graph *graph, tb_err *err)
{
    tb_rc rc = TB_OK;
    for (size_t i = 0; rc == TB_OK && i < graph->n_nodes; i++) {
        const tb_node *node = graph->nodes[i];
        const tb_op *op = NULL;
        if (node == NULL) {
            continue;
        }
        rc = tb_op_of(&op, graph, node, err);
        if (rc == TB_OK && strcmp(node->domain, TB_DOMAIN_ONNX) != 0 &&
            strcmp(node->domain, TB_DOMAIN_TRAINING) != 0) {
            rc = tb_fail(err, TB_E_UNSUPPORTED,
                         "onnx: %s.%s is no operator of ONNX", node->domain,
                         node->op);
        }
    }
    return rc;
}

/* Which versions of which domains the nodes are of. */
static void put_versions(pile *p, Onnx__ModelProto *to, const tb_graph *graph,
                         int opset)
{
    bool training = false;
    for (size_t i = 0; i < graph->n_nodes; i++) {
        const tb_node *node = graph->nodes[i];
        training = training || (node != NULL &&
                                strcmp(node->domain, TB_DOMAIN_TRAINING) == 0);
    }
    to->n_opset_import = training ? 2 : 1;
    TAKE_LIST(to->opset_import, p, to->n_opset_import, Onnx__OperatorSetIdProto,
              onnx__operator_set_id_proto__init);
    for (size_t i = 0; !p->failed && i < to->n_opset_import; i++) {
        to->opset_import[i]->domain = text(i == 0 ? "" : TB_DOMAIN_TRAINING);
        to->opset_import[i]->has_version = 1;
        to->opset_import[i]->version = i == 0 ? opset : 1;
    }
    to->has_ir_version = 1;
    to->ir_version = tb_onnx_ir(opset);
}

static tb_rc pack(tb_buf *out, const Onnx__ModelProto *model, tb_err *err)
{
    size_t bytes = onnx__model_proto__get_packed_size(model);
    if (bytes > INT32_MAX) {
        return tb_fail(err, TB_E_LIMIT,
                       "onnx: %zu bytes in one model, which ends at 2 GB: its "
                       "data need a file of their own",
                       bytes);
    }
    tb_rc rc = tb_buf_reserve(out, bytes, err);
    if (rc == TB_OK && bytes > 0) {
        out->len += onnx__model_proto__pack(model, out->data + out->len);
    }
    return rc;
}

static void put_meta(pile *p, Onnx__ModelProto *to, const tb_graph *graph)
{
    to->n_metadata_props = graph->n_meta;
    TAKE_LIST(to->metadata_props, p, graph->n_meta,
              Onnx__StringStringEntryProto,
              onnx__string_string_entry_proto__init);
    for (size_t i = 0; !p->failed && i < graph->n_meta; i++) {
        to->metadata_props[i]->key = graph->meta[i].key;
        to->metadata_props[i]->value = graph->meta[i].value;
    }
}

tb_rc tb_onnx_write(tb_buf *out, const tb_graph *graph, tb_err *err)
{
    return tb_onnx_write_layout(out, graph, NULL, err);
}

tb_rc tb_onnx_write_layout(tb_buf *out, const tb_graph *graph,
                           tb_onnx_layout *layout, tb_err *err)
{
    pile p = {0};
    Onnx__ModelProto model = ONNX__MODEL_PROTO__INIT;
    Onnx__GraphProto body = ONNX__GRAPH_PROTO__INIT;
    tb_value_type *types = NULL;
    tb_rc rc = check_operators(graph, err);
    if (rc == TB_OK) {
        rc = tb_bind_types(&types, graph, err);
    }
    if (rc == TB_OK) {
        rc = put_graph(&p, &body, graph, types, layout, err);
    }
    if (rc == TB_OK) {
        put_versions(&p, &model, graph, tb_onnx_opset(graph, types));
        put_meta(&p, &model, graph);
    }
    if (rc == TB_OK && p.failed) {
        rc = tb_fail(err, TB_E_NOMEM, "onnx: writing \"%s\"", graph->name);
    }
    if (rc == TB_OK) {
        model.producer_name = text("tributary");
        model.graph = &body;
        rc = pack(out, &model, err);
    }
    tb_mem_free(types);
    throw_away(&p);
    return rc;
}
