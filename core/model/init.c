#include "model/init.h"

#include <math.h>
#include <string.h>

#include "base/stream.h"
#include "model/op.h"
#include "model/roles.h"

#define MAX_STEPS   16 /* of a walk between a parameter and its reader */
#define PRELU_SLOPE 0.25f

static bool is(const tb_node *node, const char *op)
{
    return node != NULL && strcmp(node->op, op) == 0;
}

static bool is_one_of(const tb_node *node, const char *const *ops)
{
    bool found = false;
    for (; *ops != NULL; ops++) {
        found = found || is(node, *ops);
    }
    return found;
}

/* --- values --------------------------------------------------------------- */

static void fill(tb_value *value, float with)
{
    float *to = value->data.data;
    for (size_t i = 0; i < tb_tensor_count(&value->data); i++) {
        to[i] = with;
    }
}

/* Uniform in +-1/sqrt(n_in), from the parameter's own stream. */
static void draw_uniform(tb_value *value, size_t n_in, uint64_t seed)
{
    tb_stream stream;
    float *to = value->data.data;
    double bound = n_in > 0 ? 1 / sqrt((double)n_in) : 0;
    tb_stream_init(&stream, seed, 0, "init", value->name);
    for (size_t i = 0; i < tb_tensor_count(&value->data); i++) {
        to[i] = (float)((2 * tb_stream_uniform(&stream) - 1) * bound);
    }
}

static void draw_normal(tb_value *value, uint64_t seed)
{
    tb_stream stream;
    float *to = value->data.data;
    tb_stream_init(&stream, seed, 0, "init", value->name);
    for (size_t i = 0; i < tb_tensor_count(&value->data); i++) {
        to[i] = (float)tb_stream_normal(&stream);
    }
}

/* --- readers -------------------------------------------------------------- */

/* What reads a value for its numbers, and as which input. */
typedef struct reader {
    const tb_node *node; /* NULL: nothing */
    size_t at;
} reader;

static reader reader_of(const tb_graph *graph, tb_value_id id)
{
    reader r = {0};
    for (size_t i = 0; i < MAX_STEPS; i++) {
        r.node = tb_graph_node(graph, tb_graph_first_use(graph, id));
        if (r.node == NULL) {
            return r;
        }
        for (r.at = 0; r.node->in[r.at] != id;) {
            r.at++;
        }
        if (!tb_roles_hands_on(r.node) || r.node->out[0] == TB_ID_NONE) {
            return r;
        }
        id = r.node->out[0];
    }
    return (reader){0};
}

/* The initialiser at the beginning of what only moves numbers; or NULL. */
static const tb_value *data_behind(const tb_graph *graph, tb_value_id id)
{
    const tb_value *value = tb_graph_value(graph, id);
    for (size_t i = 0; i < MAX_STEPS && value != NULL; i++) {
        const tb_node *node = tb_graph_node(graph, value->producer);
        if (node == NULL) {
            return value->data.data != NULL ? value : NULL;
        }
        value = tb_roles_hands_on(node) && node->n_in > 0
                    ? tb_graph_value(graph, node->in[0])
                    : NULL;
    }
    return NULL;
}

/* --- how many numbers flow into one output -------------------------------- */

/* Of a matrix at input `at` of a product, as it lies in its file. */
static size_t into_product(const tb_node *node, const tb_value *weight,
                           size_t at, bool turned)
{
    const tb_shape *shape = &weight->data.shape;
    if (shape->rank < 2) {
        return tb_tensor_count(&weight->data);
    }
    bool trans = tb_node_int(node, at == 0 ? "transA" : "transB", 0) != 0;
    bool columns = (at == 0) != (trans != turned); /* what is summed over */
    return shape->dim[shape->rank - (columns ? 1 : 2)];
}

/* Of the weight at input `at` of a node. */
static size_t into(const tb_graph *graph, const tb_node *node, size_t at)
{
    const tb_value *weight =
        at < node->n_in ? data_behind(graph, node->in[at]) : NULL;
    size_t n = weight != NULL ? tb_tensor_count(&weight->data) : 0;
    if (n == 0) {
        return 0;
    }
    if (is(node, "Conv") || is(node, "ConvTranspose")) {
        return n / weight->data.shape.dim[0];
    }
    const tb_node *maker =
        tb_graph_node(graph, tb_graph_value(graph, node->in[at])->producer);
    return into_product(node, weight, at, is(maker, "Transpose"));
}

/* Of the weight beside a bias, on whichever side of the product it stands. */
static size_t into_either(const tb_graph *graph, const tb_node *node)
{
    size_t n = into(graph, node, 1);
    return n > 0 ? n : into(graph, node, 0);
}

/* Of the product whose bias an Add is; 0: it is none. */
static size_t into_added(const tb_graph *graph, const reader *r)
{
    const tb_value *other = tb_graph_value(graph, r->node->in[1 - r->at]);
    const tb_node *node =
        other != NULL ? tb_graph_node(graph, other->producer) : NULL;
    return is(node, "MatMul") ? into_either(graph, node) : 0;
}

static size_t hidden_size(const tb_graph *graph, const tb_node *node)
{
    const tb_value *r = node->n_in > 2 ? data_behind(graph, node->in[2]) : NULL;
    int64_t said = tb_node_int(node, "hidden_size", 0);
    if (said > 0) {
        return (size_t)said;
    }
    return r != NULL && r->data.shape.rank > 0
               ? r->data.shape.dim[r->data.shape.rank - 1]
               : 1;
}

/* --- all ------------------------------------------------------------------ */

static void draw_param(const tb_graph *graph, tb_value_id id, uint64_t seed)
{
    static const char *const norms[] = {
        "BatchNormalization", "InstanceNormalization", "GroupNormalization",
        "LayerNormalization", NULL};
    static const char *const recurrent[] = {"LSTM", "GRU", "RNN", NULL};
    tb_value *value = graph->values[id];
    const reader r = reader_of(graph, id);
    size_t n_in = 0;
    if (is_one_of(r.node, norms) || is(r.node, "Mul")) {
        fill(value, r.at == 1 || is(r.node, "Mul") ? 1.0f : 0.0f);
        return;
    }
    if (is(r.node, "PRelu")) {
        fill(value, PRELU_SLOPE);
        return;
    }
    if (is(r.node, "Gather")) {
        draw_normal(value, seed);
        return;
    }
    if (is(r.node, "Add")) {
        n_in = into_added(graph, &r);
        if (n_in == 0) { /* the shift behind a normalisation */
            fill(value, 0.0f);
            return;
        }
    } else if (is_one_of(r.node, recurrent)) {
        n_in = hidden_size(graph, r.node);
    } else if (r.node != NULL) {
        n_in =
            r.at == 2 ? into_either(graph, r.node) : into(graph, r.node, r.at);
    }
    draw_uniform(value, n_in > 0 ? n_in : tb_tensor_count(&value->data), seed);
}

/* Running mean and variance, which their operator names in this order. */
static void reset_statistics(tb_graph *graph, const tb_node *node)
{
    const tb_op *op = tb_op_find(node->domain, node->op, graph->opset);
    for (size_t i = 0; op != NULL && i < op->n_carry; i++) {
        tb_value *value = op->carry[i].in < node->n_in
                              ? tb_graph_value(graph, node->in[op->carry[i].in])
                              : NULL;
        if (value != NULL && value->role == TB_ROLE_BUFFER) {
            fill(value, i == 0 ? 0.0f : 1.0f);
        }
    }
}

tb_rc tb_init_fresh(tb_graph *graph, uint64_t seed, tb_err *err)
{
    size_t n = 0;
    for (size_t i = 0; i < graph->n_values; i++) {
        const tb_value *value = graph->values[i];
        if (value != NULL && value->role == TB_ROLE_PARAM) {
            draw_param(graph, (tb_value_id)i, seed);
            n++;
        }
    }
    for (size_t i = 0; i < graph->n_nodes; i++) {
        if (graph->nodes[i] != NULL) {
            reset_statistics(graph, graph->nodes[i]);
        }
    }
    return n > 0 ? TB_OK
                 : tb_fail(err, TB_E_MISMATCH,
                           "the model has no parameter to train");
}
