#include "inspect.h"

#include <string.h>

#include "base/mem.h"
#include "base/text.h"
#include "model/params.h"

#define BATCH_MAX ((size_t)1 << 16)

const char *initialiser_kind_name(initialiser_kind kind)
{
    static const char *const names[] = {"trained", "frozen", "statistic",
                                        "constant", ""};
    return names[kind];
}

const char *inspected_name(const tb_graph *graph, const tb_node *node)
{
    for (size_t i = 0; node->name[0] == '\0' && i < node->n_out; i++) {
        const tb_value *value = tb_graph_value(graph, node->out[i]);
        if (value != NULL) {
            return value->name;
        }
    }
    return node->name;
}

/* --- initialisers --------------------------------------------------------- */

static bool is_initialiser(const tb_value *value)
{
    return value != NULL && value->data.data != NULL;
}

/* Frozen is what the rule alone holds. */
static tb_rc find_kinds(inspection *in, tb_graph *graph,
                        const tb_params_rule *rule, tb_err *err)
{
    tb_rc rc = tb_params_assign(graph, NULL, err);
    for (size_t i = 0; rc == TB_OK && i < graph->n_values; i++) {
        const tb_value *value = graph->values[i];
        bool param = value != NULL && value->role == TB_ROLE_PARAM;
        in->kinds[i] = param ? KIND_FROZEN : KIND_CONSTANT;
    }
    if (rc == TB_OK) {
        rc = tb_params_assign(graph, rule, err);
    }
    for (size_t i = 0; rc == TB_OK && i < graph->n_values; i++) {
        const tb_value *value = graph->values[i];
        if (!is_initialiser(value)) {
            continue;
        }
        if (value->role == TB_ROLE_PARAM) {
            in->kinds[i] = KIND_TRAINED;
        } else if (value->role == TB_ROLE_BUFFER) {
            in->kinds[i] = KIND_STATISTIC;
        }
        in->n_of[in->kinds[i]]++;
        in->in_each[in->kinds[i]] += tb_tensor_count(&value->data);
        in->data_bytes += tb_tensor_bytes(&value->data);
    }
    return rc;
}

/* --- nodes ---------------------------------------------------------------- */

/* Numbers of weights that no node before has read; marks them in seen. */
static size_t count_own(const inspection *in, const tb_node *node,
                        uint8_t *seen)
{
    size_t n = 0;
    for (size_t i = 0; i < node->n_in; i++) {
        tb_value_id id = node->in[i];
        const tb_value *value = tb_graph_value(in->graph, id);
        if (is_initialiser(value) && !seen[id] &&
            in->kinds[id] != KIND_CONSTANT) {
            seen[id] = 1;
            n += tb_tensor_count(&value->data);
        }
    }
    return n;
}

/* Arithmetic of each node, from a binding of one row. */
static void count_flops(inspection *in, const tb_bound *bound)
{
    for (size_t i = 0; i < in->n_nodes; i++) {
        in->nodes[i].folded = true;
    }
    for (size_t i = 0; i < bound->n_calls; i++) {
        tb_node_id id = bound->call_nodes[i];
        if (id < in->graph->n_nodes && in->number_of[id] > 0) {
            inspected_node *node = &in->nodes[in->number_of[id] - 1];
            node->folded = false;
            node->flops = tb_op_flops(&bound->calls[i]);
        }
    }
}

static tb_rc list_nodes(inspection *in, tb_err *err)
{
    const tb_graph *graph = in->graph;
    tb_bound *bound = NULL;
    tb_node_id *order = NULL;
    uint8_t *seen = tb_mem_array(graph->n_values, 1);
    tb_rc rc = tb_graph_order(&order, &in->n_nodes, graph, err);
    if (rc == TB_OK) {
        rc = tb_bind_new(&bound, graph, &(tb_bind_options){.batch = 1}, err);
    }
    if (rc != TB_OK) {
        goto done;
    }
    in->nodes = tb_mem_array(in->n_nodes, sizeof in->nodes[0]);
    in->number_of = tb_mem_array(graph->n_nodes, sizeof in->number_of[0]);
    if (seen == NULL || in->nodes == NULL || in->number_of == NULL) {
        rc = tb_fail(err, TB_E_NOMEM, "model of %zu nodes", graph->n_nodes);
        goto done;
    }
    for (size_t i = 0; i < in->n_nodes; i++) {
        const tb_node *node = graph->nodes[order[i]];
        in->nodes[i] = (inspected_node){.id = order[i],
                                        .number = i + 1,
                                        .n_own = count_own(in, node, seen)};
        in->number_of[order[i]] = i + 1;
    }
    count_flops(in, bound);
done:
    tb_bind_free(&bound);
    tb_mem_free(order);
    tb_mem_free(seen);
    return rc;
}

/* --- training ------------------------------------------------------------- */

/* A step of batch rows, in pieces of piece; no cost when it fails. */
static tb_rc measure(tb_trainer_cost *out, const inspection *in,
                     const inspect_options *o, size_t batch, size_t piece,
                     tb_err *err)
{
    tb_trainer_options options = o->trainer;
    options.batch = batch;
    options.micro_batch = piece;
    return tb_trainer_measure(out, in->graph, &options, err);
}

/* The largest n in [1, most] whose step fits the budget, or 0; as pieces of
 * the batch, or as batches of their own. Planned memory grows with n. */
static size_t largest_fit(const inspection *in, const inspect_options *o,
                          size_t most, bool as_pieces)
{
    size_t fits = 0;
    size_t over = most + 1;
    size_t n = 1;
    while (fits + 1 < over) {
        tb_trainer_cost cost;
        tb_rc rc = measure(&cost, in, o, as_pieces ? in->batch : n, n, NULL);
        if (rc == TB_OK && cost.bytes <= o->budget) {
            fits = n;
        } else {
            over = n;
        }
        n = over > most ? 2 * fits : fits + (over - fits) / 2;
        n = n < over ? n : over - 1;
    }
    return fits;
}

static tb_rc fit_budget(inspection *in, const inspect_options *o, tb_err *err)
{
    in->budget = o->budget;
    in->largest = largest_fit(in, o, BATCH_MAX, false);
    in->piece = in->largest >= in->batch
                    ? in->batch
                    : largest_fit(in, o, in->batch - 1, true);
    if (in->piece > 0) {
        return measure(&in->in_pieces, in, o, in->batch, in->piece, err);
    }
    if (in->largest > 0) {
        return TB_OK; /* what pieces need beside them is what is too much */
    }
    char needed[32];
    char given[32];
    tb_rc rc = measure(&in->in_pieces, in, o, 1, 0, err);
    tb_text_bytes(in->in_pieces.bytes, needed, sizeof needed);
    tb_text_bytes(o->budget, given, sizeof given);
    return rc != TB_OK ? rc
                       : tb_fail(err, TB_E_LIMIT,
                                 "a budget of %s: training needs %s (%zu "
                                 "bytes) even for one row",
                                 given, needed, in->in_pieces.bytes);
}

/* A model that cannot be trained is no error here, unless a budget asks. */
static tb_rc find_costs(inspection *in, const inspect_options *o, tb_err *err)
{
    tb_rc rc = tb_exec_measure_new(&in->one, in->graph, 1, err);
    if (rc == TB_OK) {
        rc = tb_exec_measure_new(&in->many, in->graph, in->batch, err);
    }
    if (rc != TB_OK) {
        return rc;
    }
    rc = measure(&in->training, in, o, in->batch, 0, &in->why_not);
    if (rc == TB_E_NOMEM) {
        return tb_fail(err, rc, "%s", in->why_not.text);
    }
    in->trains = rc == TB_OK;
    if (o->budget == 0) {
        return TB_OK;
    }
    return in->trains
               ? fit_budget(in, o, err)
               : tb_fail(err, rc, "it cannot be trained: %s", in->why_not.text);
}

tb_rc inspect(inspection *out, tb_graph *graph, const inspect_options *options,
              tb_err *err)
{
    *out = (inspection){.graph = graph, .batch = options->trainer.batch};
    out->kinds = tb_mem_array(graph->n_values, sizeof out->kinds[0]);
    tb_rc rc =
        out->kinds != NULL
            ? find_kinds(out, graph, options->rule, err)
            : tb_fail(err, TB_E_NOMEM, "model of %zu values", graph->n_values);
    if (rc == TB_OK) {
        rc = tb_bind_types(&out->types, graph, err);
    }
    if (rc == TB_OK) {
        rc = list_nodes(out, err);
    }
    return rc == TB_OK ? find_costs(out, options, err) : rc;
}

void inspection_release(inspection *what)
{
    tb_mem_free(what->types);
    tb_mem_free(what->kinds);
    tb_mem_free(what->nodes);
    tb_mem_free(what->number_of);
    *what = (inspection){0};
}
