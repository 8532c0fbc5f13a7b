/* tests/support/graph_run.h - runs a graph the plain way: every value gets its
 * own memory, nothing is shared or fused. For tests of operators and as the
 * oracle of cleverer executors. */
#ifndef TB_TESTS_SUPPORT_GRAPH_RUN_H
#define TB_TESTS_SUPPORT_GRAPH_RUN_H

#include "base/mem.h"
#include "model/bind.h"
#include "model/params.h"

typedef struct graph_run {
    tb_bound *bound;
    tb_tensor *values; /* [n_values] own memory, or borrowed from the graph */
    void *work;
} graph_run;

static inline void graph_run_release(graph_run *run)
{
    for (size_t i = 0; run->values != NULL && i < run->bound->n_values; i++) {
        tb_tensor_release(&run->values[i]);
    }
    tb_mem_free(run->values);
    tb_mem_free(run->work);
    tb_bind_free(&run->bound);
}

/* Points the ends of all calls at the values' memory. */
static inline void graph_run_wire(graph_run *run)
{
    for (size_t c = 0; c < run->bound->n_calls; c++) {
        tb_call *call = &run->bound->calls[c];
        for (size_t i = 0; i < call->n_in; i++) {
            if (call->node->in[i] != TB_ID_NONE) {
                call->in[i].data = run->values[call->node->in[i]].data;
            }
        }
        for (size_t i = 0; i < call->n_out; i++) {
            if (call->node->out[i] != TB_ID_NONE) {
                call->out[i].data = run->values[call->node->out[i]].data;
            }
        }
        call->work = run->work;
    }
}

/* Binds graph, which must outlive the run, and gives every value memory. */
static inline tb_rc graph_run_init(graph_run *run, const tb_graph *graph,
                                   const tb_bind_options *options, tb_err *err)
{
    size_t work = 0;
    *run = (graph_run){0};
    tb_rc rc = tb_bind_new(&run->bound, graph, options, err);
    if (rc != TB_OK) {
        return rc;
    }
    graph = run->bound->graph; /* perhaps expanded */
    run->values = tb_mem_array(graph->n_values, sizeof(tb_tensor));
    for (size_t i = 0; rc == TB_OK && i < graph->n_values; i++) {
        const tb_tensor *value = &run->bound->values[i];
        if (graph->values[i] != NULL && graph->values[i]->data.data != NULL) {
            run->values[i] = graph->values[i]->data;
            run->values[i].owns = false;
        } else if (value->data != NULL) {
            run->values[i] = *value;
            run->values[i].owns = false;
        } else if (value->dtype != TB_DTYPE_NONE) {
            rc = tb_tensor_init(&run->values[i], value->dtype, &value->shape,
                                err);
        }
    }
    for (size_t c = 0; c < run->bound->n_calls; c++) {
        size_t bytes = run->bound->calls[c].work_bytes;
        work = bytes > work ? bytes : work;
    }
    run->work = tb_mem_aligned(work, 1);
    graph_run_wire(run);
    return rc;
}

/* Runs every call in order. */
static inline void graph_run_go(graph_run *run, const tb_chance *chance)
{
    for (size_t c = 0; c < run->bound->n_calls; c++) {
        run->bound->calls[c].chance = chance;
        run->bound->calls[c].op->run(&run->bound->calls[c]);
    }
}

#endif
