#include "model/bind.h"

#include <string.h>

#include "base/mem.h"
#include "model/expand.h"

/* A binding in the making. */
typedef struct tb_binder {
    tb_bound *bound;
    const tb_bind_options *options;
    size_t max_bytes;
    size_t folded_bytes;
    double folded_work;
    tb_node_id *order;
    size_t n_order;
    uint8_t *needed; /* [n_nodes] */
    size_t n_slots;  /* of bound->slots in use */
    void *work;      /* scratch memory of folding */
    size_t n_work;
} tb_binder;

/* --- what is needed ------------------------------------------------------- */

/* Marks every node that some output needs; counts them and their ends. */
static tb_rc find_needed(tb_binder *b, size_t *n_calls, size_t *n_ends,
                         tb_err *err)
{
    const tb_graph *graph = b->bound->graph;
    tb_rc rc = tb_graph_order(&b->order, &b->n_order, graph, err);
    if (rc != TB_OK) {
        return rc;
    }
    b->needed = tb_mem_array(graph->n_nodes, 1);
    if (b->needed == NULL) {
        return tb_fail(err, TB_E_NOMEM, "model: %zu nodes", graph->n_nodes);
    }
    for (size_t i = 0; i < graph->n_outputs; i++) {
        tb_node_id id = graph->values[graph->outputs[i]]->producer;
        if (id != TB_ID_NONE) {
            b->needed[id] = 1;
        }
    }
    for (size_t i = b->n_order; i-- > 0;) {
        const tb_node *node = graph->nodes[b->order[i]];
        if (!b->needed[b->order[i]]) {
            continue;
        }
        *n_calls += 1;
        *n_ends += node->n_in + node->n_out;
        for (size_t k = 0; k < node->n_in; k++) {
            const tb_value *value = tb_graph_value(graph, node->in[k]);
            if (value != NULL && value->producer != TB_ID_NONE) {
                b->needed[value->producer] = 1;
            }
        }
    }
    return TB_OK;
}

/* --- values that no node makes -------------------------------------------- */

/* Every value that an operator sees has a size in bytes that can be held. */
static tb_rc check_size(const tb_binder *b, const tb_tensor *t, tb_err *err)
{
    size_t n = 0;
    size_t bytes = 0;
    tb_rc rc = tb_shape_count(&n, &t->shape, err);
    if (rc == TB_OK && tb_dtype_bytes(t->dtype) == 0) {
        return tb_fail(err, TB_E_UNSUPPORTED, "element type %s",
                       tb_dtype_name(t->dtype));
    }
    if (rc == TB_OK && (tb_mem_mul(&bytes, n, tb_dtype_bytes(t->dtype)) != 0 ||
                        bytes > b->max_bytes)) {
        char text[TB_SHAPE_TEXT_BYTES];
        rc = tb_fail(err, TB_E_LIMIT, "%s of %s is over %zu bytes",
                     tb_shape_text(&t->shape, text), tb_dtype_name(t->dtype),
                     b->max_bytes);
    }
    return rc;
}

static tb_rc bind_input(tb_binder *b, tb_value_id id, tb_err *err)
{
    const tb_value *value = b->bound->graph->values[id];
    tb_tensor t = {.dtype = value->dtype};
    if (value->dims.rank == TB_RANK_UNKNOWN) {
        return tb_fail(err, TB_E_UNSUPPORTED,
                       "input \"%s\" has no declared shape", value->name);
    }
    t.shape.rank = (size_t)value->dims.rank;
    for (size_t i = 0; i < t.shape.rank; i++) {
        int64_t dim = value->dims.dim[i];
        if (dim == TB_DIM_ANY && i > 0) {
            return tb_fail(err, TB_E_UNSUPPORTED,
                           "input \"%s\": dimension %zu is open; only the "
                           "first may be: export the model with fixed sizes "
                           "behind it",
                           value->name, i);
        }
        t.shape.dim[i] = dim == TB_DIM_ANY ? b->options->batch : (size_t)dim;
    }
    tb_rc rc = check_size(b, &t, err);
    if (rc != TB_OK) {
        return tb_err_prefix(err, rc, "input \"%s\"", value->name);
    }
    b->bound->values[id] = t;
    return TB_OK;
}

static tb_rc bind_leaves(tb_binder *b, tb_err *err)
{
    const tb_graph *graph = b->bound->graph;
    tb_rc rc = TB_OK;
    for (size_t i = 0; rc == TB_OK && i < graph->n_values; i++) {
        const tb_value *value = graph->values[i];
        if (value == NULL) {
            continue;
        }
        if (value->role == TB_ROLE_INPUT) {
            rc = bind_input(b, (tb_value_id)i, err);
        } else if (value->data.data != NULL) {
            bool constant = value->role == TB_ROLE_CONST;
            b->bound->values[i] =
                tb_tensor_view(value->dtype, &value->data.shape,
                               constant ? value->data.data : NULL);
        }
    }
    return rc;
}

/* --- nodes ---------------------------------------------------------------- */

/* The tensors of a call: its inputs as known so far, its outputs empty. */
static tb_rc set_ends(tb_binder *b, tb_call *call, tb_err *err)
{
    const tb_node *node = call->node;
    call->in = b->bound->slots + b->n_slots;
    call->out = call->in + node->n_in;
    call->n_in = node->n_in;
    call->n_out = node->n_out;
    for (size_t i = 0; i < node->n_in; i++) {
        call->in[i] = (tb_tensor){0};
        if (node->in[i] == TB_ID_NONE) {
            continue;
        }
        call->in[i] = b->bound->values[node->in[i]];
        call->in[i].owns = false;
        if (call->in[i].dtype == TB_DTYPE_NONE) {
            return tb_fail(err, TB_E_MALFORMED,
                           "input %zu (\"%s\") is made by nothing", i,
                           call->graph->values[node->in[i]]->name);
        }
    }
    for (size_t i = 0; i < node->n_out; i++) {
        call->out[i] = (tb_tensor){0};
    }
    return TB_OK;
}

/* Whether the result is known now: every input that run reads is constant. */
static bool foldable(const tb_call *call)
{
    if (call->training && call->op->random) {
        return false;
    }
    for (size_t i = 0; i < call->n_in; i++) {
        bool read = i >= 32 || (call->op->shape_only >> i & 1) == 0;
        if (read && call->in[i].dtype != TB_DTYPE_NONE &&
            call->in[i].data == NULL) {
            return false;
        }
    }
    for (size_t i = 0; i < call->n_out; i++) {
        if (tb_graph_is_output(call->graph, call->node->out[i])) {
            return false;
        }
    }
    return true;
}

/* Whether folding a call stays within its bounds; counts it if so. */
static bool afford(tb_binder *b, const tb_call *call)
{
    size_t out = 0;
    double in = (double)call->work_bytes;
    for (size_t i = 0; i < call->n_out; i++) {
        out += call->node->out[i] != TB_ID_NONE ? tb_tensor_bytes(&call->out[i])
                                                : 0;
    }
    for (size_t i = 0; i < call->n_in; i++) {
        bool read = i >= 32 || (call->op->shape_only >> i & 1) == 0;
        in += read ? (double)tb_tensor_bytes(&call->in[i]) : 0;
    }
    double work = tb_op_flops(call) + in + (double)out;
    size_t most =
        b->max_bytes < TB_BIND_FOLD_BYTES ? b->max_bytes : TB_BIND_FOLD_BYTES;
    if (out > most - b->folded_bytes || call->work_bytes > most ||
        work > TB_BIND_FOLD_WORK - b->folded_work) {
        return false;
    }
    b->folded_bytes += out;
    b->folded_work += work;
    return true;
}

static tb_rc fold(tb_binder *b, tb_call *call, tb_err *err)
{
    tb_rc rc = TB_OK;
    if (call->work_bytes > b->n_work || b->work == NULL) {
        void *work = tb_mem_aligned(call->work_bytes, 1);
        if (work == NULL) {
            return tb_fail(err, TB_E_NOMEM, "%zu bytes", call->work_bytes);
        }
        tb_mem_free(b->work);
        b->work = work;
        b->n_work = call->work_bytes;
    }
    for (size_t i = 0; rc == TB_OK && i < call->n_out; i++) {
        if (call->node->out[i] == TB_ID_NONE) {
            continue;
        }
        tb_tensor *value = &b->bound->values[call->node->out[i]];
        rc =
            tb_tensor_init(value, call->out[i].dtype, &call->out[i].shape, err);
        call->out[i].data = value->data;
    }
    if (rc == TB_OK) {
        tb_data_fault fault = {0};
        call->work = b->work;
        call->fault = &fault;
        call->op->run(call);
        call->fault = NULL;
        rc = tb_data_fault_error(&fault, err);
    }
    return rc;
}

/* The type of the input that stands for all (tb_op.types). */
static tb_rc check_type(const tb_call *call, tb_err *err)
{
    const tb_op *op = call->op;
    tb_dtype dtype = op->typed_by < call->n_in ? call->in[op->typed_by].dtype
                                               : TB_DTYPE_NONE;
    if (op->types == 0 || dtype == TB_DTYPE_NONE ||
        tb_dtype_in(dtype, op->types)) {
        return TB_OK;
    }
    char text[128];
    return tb_fail(err, TB_E_UNSUPPORTED, "input %u is %s, not one of: %s",
                   op->typed_by, tb_dtype_name(dtype),
                   tb_dtype_names(op->types, text));
}

static tb_rc infer_call(tb_binder *b, tb_call *call, tb_err *err)
{
    tb_rc rc = set_ends(b, call, err);
    if (rc == TB_OK) {
        rc = check_type(call, err);
    }
    if (rc == TB_OK) {
        rc = call->op->infer(call, err);
    }
    for (size_t i = 0; rc == TB_OK && i < call->n_out; i++) {
        rc = check_size(b, &call->out[i], err);
    }
    if (rc == TB_OK && call->work_bytes > b->max_bytes) {
        rc = tb_fail(err, TB_E_LIMIT, "%zu bytes of scratch memory",
                     call->work_bytes);
    }
    return rc;
}

static tb_rc bind_node(tb_binder *b, tb_node_id id, tb_err *err)
{
    tb_bound *bound = b->bound;
    tb_call *call = &bound->calls[bound->n_calls];
    const tb_node *node = bound->graph->nodes[id];
    *call = (tb_call){.graph = bound->graph,
                      .node = node,
                      .training = b->options->training,
                      .view_of = -1};
    tb_rc rc = tb_op_of(&call->op, bound->graph, node, err);
    if (rc == TB_OK) {
        rc = tb_op_check(call->op, node, err);
    }
    if (rc != TB_OK) {
        return rc; /* these name the node themselves */
    }
    rc = infer_call(b, call, err);
    bool folds = rc == TB_OK && foldable(call) && afford(b, call);
    if (folds) {
        rc = fold(b, call, err);
    }
    if (rc != TB_OK) {
        const tb_value *out = tb_graph_value(bound->graph, node->out[0]);
        const char *made = out != NULL ? out->name : "";
        return tb_err_prefix(err, rc, "%s (node \"%s\")", node->op,
                             node->name[0] != '\0' ? node->name : made);
    }
    if (folds) {
        return TB_OK;
    }
    for (size_t i = 0; i < node->n_out; i++) {
        if (node->out[i] != TB_ID_NONE) {
            bound->values[node->out[i]] = call->out[i];
        }
    }
    b->n_slots += node->n_in + node->n_out;
    bound->call_nodes[bound->n_calls++] = id;
    return TB_OK;
}

/* Gives back the folded values that only folded nodes read. */
static tb_rc drop_unread(const tb_binder *b, tb_err *err)
{
    const tb_bound *bound = b->bound;
    uint8_t *read = tb_mem_array(bound->n_values, 1);
    if (read == NULL) {
        return tb_fail(err, TB_E_NOMEM, "model: %zu values", bound->n_values);
    }
    for (size_t i = 0; i < bound->n_calls; i++) {
        const tb_node *node = bound->graph->nodes[bound->call_nodes[i]];
        for (size_t k = 0; k < node->n_in; k++) {
            if (node->in[k] != TB_ID_NONE) {
                read[node->in[k]] = 1;
            }
        }
    }
    for (size_t v = 0; v < bound->n_values; v++) {
        tb_tensor *value = &bound->values[v];
        if (value->owns && !read[v]) {
            tb_tensor kept = tb_tensor_view(value->dtype, &value->shape, NULL);
            tb_tensor_release(value);
            *value = kept;
        }
    }
    tb_mem_free(read);
    return TB_OK;
}

/* --- faults --------------------------------------------------------------- */

tb_rc tb_data_fault_error(tb_data_fault *fault, tb_err *err)
{
    const tb_call *call = fault->call;
    if (call == NULL) {
        return TB_OK;
    }
    fault->call = NULL;
    return tb_fail(err, TB_E_MISMATCH,
                   "the data has the index %lld where %s (node \"%s\") takes "
                   "-%zu to %zu",
                   (long long)fault->value, call->op->name,
                   call->node != NULL ? call->node->name : "", fault->limit,
                   fault->limit > 0 ? fault->limit - 1 : 0);
}

/* --- life ----------------------------------------------------------------- */

/* What a value may take: a gradient is as large as what it is of. */
static size_t most_bytes(const tb_graph *graph)
{
    size_t most = TB_BIND_MAX_BYTES;
    for (size_t i = 0; i < graph->n_values; i++) {
        const tb_value *value = graph->values[i];
        if (value != NULL && value->data.data != NULL &&
            tb_tensor_bytes(&value->data) > most) {
            most = tb_tensor_bytes(&value->data);
        }
    }
    return most;
}

static tb_rc binder_new(tb_binder *b, const tb_graph *graph,
                        const tb_bind_options *options, tb_err *err)
{
    *b = (tb_binder){.options = options,
                     .max_bytes = options->max_bytes > 0 ? options->max_bytes
                                                         : most_bytes(graph)};
    if (options->batch == 0) {
        return tb_fail(err, TB_E_USAGE, "model: a batch of 0 rows");
    }
    b->bound = tb_mem_array(1, sizeof *b->bound);
    if (b->bound == NULL) {
        return tb_fail(err, TB_E_NOMEM, "model");
    }
    tb_rc rc = tb_expand(&b->bound->expanded, graph, err);
    if (rc != TB_OK) {
        return rc;
    }
    graph = b->bound->expanded != NULL ? b->bound->expanded : graph;
    b->bound->graph = graph;
    size_t n_calls = 0;
    size_t n_ends = 0;
    rc = find_needed(b, &n_calls, &n_ends, err);
    if (rc != TB_OK) {
        return rc;
    }
    b->bound->values = tb_mem_array(graph->n_values, sizeof(tb_tensor));
    b->bound->calls = tb_mem_array(n_calls, sizeof(tb_call));
    b->bound->call_nodes = tb_mem_array(n_calls, sizeof(tb_node_id));
    b->bound->slots = tb_mem_array(n_ends, sizeof(tb_tensor));
    if (b->bound->values == NULL || b->bound->calls == NULL ||
        b->bound->call_nodes == NULL || b->bound->slots == NULL) {
        return tb_fail(err, TB_E_NOMEM, "model of %zu nodes", n_calls);
    }
    b->bound->n_values = graph->n_values;
    return TB_OK;
}

tb_rc tb_bind_new(tb_bound **out, const tb_graph *graph,
                  const tb_bind_options *options, tb_err *err)
{
    tb_binder b;
    *out = NULL;
    tb_rc rc = binder_new(&b, graph, options, err);
    if (rc == TB_OK) {
        rc = bind_leaves(&b, err);
    }
    for (size_t i = 0; rc == TB_OK && i < b.n_order; i++) {
        if (b.needed[b.order[i]]) {
            rc = bind_node(&b, b.order[i], err);
        }
    }
    for (size_t i = 0; rc == TB_OK && i < graph->n_outputs; i++) {
        if (b.bound->values[graph->outputs[i]].dtype == TB_DTYPE_NONE) {
            rc =
                tb_fail(err, TB_E_MALFORMED, "output \"%s\" is made by nothing",
                        graph->values[graph->outputs[i]]->name);
        }
    }
    if (rc == TB_OK) {
        rc = drop_unread(&b, err);
    }
    if (rc == TB_OK) {
        *out = b.bound;
        b.bound = NULL;
    }
    tb_mem_free(b.order);
    tb_mem_free(b.needed);
    tb_mem_free(b.work);
    tb_bind_free(&b.bound);
    return rc;
}

void tb_bind_free(tb_bound **bound)
{
    tb_bound *b = *bound;
    if (b == NULL) {
        return;
    }
    for (size_t i = 0; i < b->n_values; i++) {
        tb_tensor_release(&b->values[i]);
    }
    tb_mem_free(b->values);
    tb_mem_free(b->calls);
    tb_mem_free(b->call_nodes);
    tb_mem_free(b->fused);
    tb_mem_free(b->slots);
    tb_graph_free(&b->expanded);
    tb_mem_free(b);
    *bound = NULL;
}

tb_rc tb_bind_types(tb_value_type **out, const tb_graph *graph, tb_err *err)
{
    tb_bound *two = NULL;
    tb_bound *three = NULL;
    *out = NULL;
    tb_value_type *types = tb_mem_array(graph->n_values, sizeof *types);
    tb_rc rc = types != NULL ? TB_OK
                             : tb_fail(err, TB_E_NOMEM, "model: %zu values",
                                       graph->n_values);
    if (rc == TB_OK) {
        rc = tb_bind_new(&two, graph, &(tb_bind_options){.batch = 2}, err);
    }
    if (rc == TB_OK) {
        rc = tb_bind_new(&three, graph, &(tb_bind_options){.batch = 3}, err);
    }
    for (size_t i = 0; rc == TB_OK && i < graph->n_values; i++) {
        const tb_shape *a = &two->values[i].shape;
        const tb_shape *b = &three->values[i].shape;
        types[i].dtype = two->values[i].dtype;
        types[i].dims.rank = (int)a->rank;
        for (size_t k = 0; k < a->rank; k++) {
            bool open = a->dim[k] != b->dim[k];
            types[i].dims.dim[k] = open ? TB_DIM_ANY : (int64_t)a->dim[k];
        }
    }
    if (rc == TB_OK) {
        *out = types;
        types = NULL;
    }
    tb_mem_free(types);
    tb_bind_free(&two);
    tb_bind_free(&three);
    return rc;
}
