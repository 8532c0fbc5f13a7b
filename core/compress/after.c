#include "compress/after.h"

#include <math.h>
#include <string.h>

/* The initialiser behind the second operand of a linear node, straight or
 * through DequantizeLinear, or NULL. */
static const tb_tensor *weight_of(const tb_graph *graph, const tb_node *node)
{
    if ((strcmp(node->op, "Gemm") != 0 && strcmp(node->op, "MatMul") != 0 &&
         strcmp(node->op, "Conv") != 0) ||
        node->n_in < 2) {
        return NULL;
    }
    const tb_value *v = tb_graph_value(graph, node->in[1]);
    if (v != NULL && v->role == TB_ROLE_TEMP) {
        const tb_node *from = tb_graph_node(graph, v->producer);
        v = from != NULL && strcmp(from->op, "DequantizeLinear") == 0
                ? tb_graph_value(graph, from->in[0])
                : NULL;
    }
    return v != NULL && v->data.data != NULL ? &v->data : NULL;
}

double tb_sparsity(const tb_graph *graph)
{
    size_t n = 0;
    size_t n_zero = 0;
    for (size_t i = 0; i < graph->n_nodes; i++) {
        const tb_node *node = graph->nodes[i];
        const tb_tensor *w = node != NULL ? weight_of(graph, node) : NULL;
        size_t count = w != NULL ? tb_tensor_count(w) : 0;
        for (size_t k = 0; k < count; k++) {
            n_zero += tb_tensor_f64_at(w, k) == 0.0;
        }
        n += count;
    }
    return n > 0 ? (double)n_zero / (double)n : 0.0;
}

/* Appends a stage, measured; *graph is taken. */
static tb_rc add_stage(tb_after *out, const char *name, tb_graph **graph_take,
                       const tb_after_options *options, tb_err *err)
{
    tb_stage *s = &out->stage[out->n++];
    *s =
        (tb_stage){.name = name, .graph = *graph_take, .accuracy = (double)NAN};
    *graph_take = NULL;
    s->sparsity = tb_sparsity(s->graph);
    return options->accuracy == NULL
               ? TB_OK
               : options->accuracy(options->arg, s->graph, &s->accuracy, err);
}

/* Whether the newest stage is good enough. */
static tb_rc guard(const tb_after *out, const tb_after_options *options,
                   tb_err *err)
{
    const tb_stage *s = &out->stage[out->n - 1];
    double drop = out->stage[0].accuracy - s->accuracy;
    if (options->accuracy == NULL || drop <= options->max_drop) {
        return TB_OK;
    }
    return tb_fail(err, TB_E_REFUSED,
                   "%s: accuracy fell by %.4f, from %.4f to %.4f; at most %.4f "
                   "is allowed: prune less, train longer with a gradual "
                   "schedule, or allow a larger drop",
                   s->name, drop, out->stage[0].accuracy, s->accuracy,
                   options->max_drop);
}

static tb_rc find_ranges(tb_ranges *ranges, const tb_graph *graph,
                         const tb_after_options *options, tb_err *err)
{
    tb_rc rc = tb_ranges_init(ranges, graph, err);
    if (rc != TB_OK) {
        return rc;
    }
    if (options->ranges != NULL) {
        return options->ranges(options->arg, ranges, graph, err);
    }
    if (options->calibrate == NULL) {
        return tb_fail(err, TB_E_USAGE,
                       "quantising to int8 needs data to calibrate with");
    }
    return tb_calibrate(ranges, graph, options->calibrate, options->percentile,
                        err);
}

static tb_rc hand_on(tb_after *out, const tb_after_options *options,
                     tb_err *err)
{
    return options->stage == NULL
               ? TB_OK
               : options->stage(options->arg, &out->stage[out->n - 1], err);
}

/* One pass over the newest stage. */
static tb_rc run_pass(tb_after *out, const char *pass_name, const char *name,
                      const tb_after_options *options, tb_err *err)
{
    const tb_graph *from = out->stage[out->n - 1].graph;
    const tb_pass *pass = NULL;
    tb_ranges ranges = {0};
    tb_graph *to = NULL;
    tb_rc rc = tb_pass_find(&pass, pass_name, err);
    if (rc == TB_OK && pass->needs_ranges) {
        rc = find_ranges(&ranges, from, options, err);
    }
    if (rc == TB_OK) {
        const tb_pass_options o = {.scope = options->scope,
                                   .norm = options->norm,
                                   .amount = options->amount,
                                   .bits = options->bits,
                                   .ranges = &ranges};
        rc = tb_pass_run(&to, pass, from, &o, err);
    }
    if (rc == TB_OK && options->stage != NULL) { /* it has been handed on */
        tb_graph_free(&out->stage[out->n - 1].graph);
    }
    if (rc == TB_OK) {
        rc =
            add_stage(out, name != NULL ? name : pass->name, &to, options, err);
    }
    tb_graph_free(&to);
    tb_ranges_release(&ranges);
    if (rc == TB_OK) {
        rc = guard(out, options, err);
    }
    return rc == TB_OK ? hand_on(out, options, err) : rc;
}

tb_rc tb_after_run(tb_after *out, tb_graph **graph_take,
                   const tb_after_options *options, tb_err *err)
{
    *out = (tb_after){.n = 0};
    tb_rc rc = add_stage(out, "fp32", graph_take, options, err);
    if (rc == TB_OK) {
        rc = hand_on(out, options, err);
    }
    if (rc == TB_OK && options->prune != NULL) {
        rc = run_pass(out, options->prune, "pruned", options, err);
    }
    if (rc == TB_OK && options->quantise != NULL) {
        rc = run_pass(out, options->quantise, NULL, options, err);
    }
    if (rc != TB_OK && rc != TB_E_REFUSED) {
        tb_after_release(out);
    }
    return rc;
}

void tb_after_release(tb_after *after)
{
    for (size_t i = 0; i < after->n; i++) {
        tb_graph_free(&after->stage[i].graph);
    }
    *after = (tb_after){.n = 0};
}
