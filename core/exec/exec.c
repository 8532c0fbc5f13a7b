#include "exec/exec.h"

#include <string.h>

#include "base/mem.h"
#include "exec/fuse.h"
#include "exec/plan.h"
#include "exec/quantized.h"
#include "model/params.h"

/* A pointer that follows the parameter vector or an input. */
typedef struct patch {
    void **at;
    void *own;     /* the graph's own data, or the executor's */
    size_t offset; /* in the vector, in floats */
    size_t input;  /* which one; PARAMS: none */
} patch;

#define PARAMS SIZE_MAX

struct tb_exec {
    tb_graph
        *fused; /* owned: the graph that was bound, or NULL: the caller's */
    tb_bound *bound; /* owned; every data pointer in it is set */
    tb_plan plan;
    uint8_t *block; /* owned: [plan.n_bytes] */
    patch *patches; /* owned */
    size_t n_patches;
    tb_data_fault fault;
};

/* Parameters are read through tensors whose data is not const; no kernel
 * writes an input. */
static void *unconst(const void *p)
{
    void *q = NULL;
    memcpy(&q, &p, sizeof q);
    return q;
}

/* Where the bytes of value v are; NULL: not computed. */
static void *find_data(const tb_exec *e, const tb_exec_place *places,
                       size_t n_places, tb_value_id v)
{
    tb_value_id root = e->plan.root[v];
    if (e->plan.offset[root] != TB_PLAN_NOWHERE) {
        return e->block + e->plan.offset[root];
    }
    for (size_t i = 0; i < n_places; i++) {
        if (places[i].value == root) {
            return places[i].data;
        }
    }
    if (e->bound->values[root].data != NULL) {
        return e->bound->values[root].data;
    }
    const tb_value *value = tb_graph_value(e->bound->graph, root);
    return value == NULL ? NULL : value->data.data;
}

static void add_patch(tb_exec *e, const tb_slots *slots, tb_tensor *t,
                      tb_value_id v)
{
    const tb_graph *graph = e->bound->graph;
    tb_value_id id = e->plan.root[v];
    const tb_value *root = tb_graph_value(graph, id);
    patch p = {.at = &t->data, .own = t->data, .input = PARAMS};
    if (root == NULL) {
        return;
    }
    for (size_t i = 0; root->role == TB_ROLE_INPUT && i < graph->n_inputs;
         i++) {
        if (graph->inputs[i] == id) {
            p.input = i;
            e->patches[e->n_patches++] = p;
        }
    }
    for (size_t s = 0; root->role == TB_ROLE_PARAM && s < slots->n; s++) {
        if (slots->slot[s].value == id) {
            p.offset = slots->slot[s].offset;
            e->patches[e->n_patches++] = p;
        }
    }
}

/* Sets every pointer, and notes which follow parameters or inputs. */
static void resolve(tb_exec *e, const tb_exec_place *places, size_t n_places,
                    const tb_chance *chance, const tb_slots *slots)
{
    tb_bound *b = e->bound;
    for (size_t v = 0; v < b->n_values; v++) {
        if (b->values[v].dtype != TB_DTYPE_NONE && b->values[v].data == NULL) {
            b->values[v].data = find_data(e, places, n_places, (tb_value_id)v);
            add_patch(e, slots, &b->values[v], (tb_value_id)v);
        }
    }
    for (size_t i = 0; i < b->n_calls; i++) {
        tb_call *call = &b->calls[i];
        const tb_node *node = call->node;
        for (size_t j = 0; j < call->n_in; j++) {
            if (node->in[j] != TB_ID_NONE) {
                call->in[j].data = b->values[node->in[j]].data;
                add_patch(e, slots, &call->in[j], node->in[j]);
            }
        }
        for (size_t j = 0; j < call->n_out; j++) {
            if (node->out[j] != TB_ID_NONE) {
                call->out[j].data = b->values[node->out[j]].data;
                add_patch(e, slots, &call->out[j], node->out[j]);
            }
        }
        bool works = e->plan.work[i] != TB_PLAN_NOWHERE;
        call->work = e->block + (works ? e->plan.work[i] : 0);
        call->chance = chance;
        call->fault = &e->fault;
    }
}

static size_t max_patches(const tb_bound *b)
{
    size_t n = b->n_values;
    for (size_t i = 0; i < b->n_calls; i++) {
        n += b->calls[i].n_in + b->calls[i].n_out;
    }
    return n;
}

/* Plans all values but those that have a place of their own. */
static tb_rc plan_around(tb_plan *out, const tb_bound *bound,
                         const tb_exec_place *places, size_t n_places,
                         size_t max_bytes, tb_err *err)
{
    bool *elsewhere = tb_mem_array(bound->n_values, sizeof elsewhere[0]);
    if (elsewhere == NULL) {
        return tb_fail(err, TB_E_NOMEM, "exec: %zu values", bound->n_values);
    }
    for (size_t i = 0; i < n_places; i++) {
        elsewhere[places[i].value] = true;
    }
    tb_rc rc = tb_plan_init(out, bound, elsewhere, max_bytes, err);
    tb_mem_free(elsewhere);
    return rc;
}

tb_rc tb_exec_measure(tb_exec_cost *out, const tb_bound *bound,
                      const tb_exec_place *places, size_t n_places, tb_err *err)
{
    tb_plan plan = {0};
    *out = (tb_exec_cost){0};
    tb_rc rc = plan_around(&plan, bound, places, n_places, SIZE_MAX, err);
    if (rc == TB_OK) {
        out->bytes = plan.n_bytes;
        out->bytes_unshared = plan.n_bytes_unshared;
        for (size_t i = 0; i < bound->n_calls; i++) {
            out->flops += tb_op_flops(&bound->calls[i]);
        }
    }
    tb_plan_release(&plan);
    return rc;
}

tb_rc tb_exec_from(tb_exec **out, tb_bound **bound_take,
                   const tb_exec_place *places, size_t n_places,
                   const tb_chance *chance, tb_err *err)
{
    *out = NULL;
    tb_bound *bound = *bound_take;
    tb_slots slots = {0};
    tb_exec *e = tb_mem_array(1, sizeof *e);
    tb_rc rc = TB_OK;
    if (e == NULL) {
        rc = tb_fail(err, TB_E_NOMEM, "exec: %zu values", bound->n_values);
        goto done;
    }
    rc = plan_around(&e->plan, bound, places, n_places, TB_EXEC_MAX_BYTES, err);
    if (rc == TB_OK) {
        rc = tb_params_slots(&slots, bound->graph, err);
    }
    if (rc != TB_OK) {
        goto done;
    }
    e->block = tb_mem_aligned(e->plan.n_bytes, 1);
    e->patches = tb_mem_array(max_patches(bound), sizeof e->patches[0]);
    if (e->block == NULL || e->patches == NULL) {
        rc = tb_fail(err, TB_E_NOMEM, "exec: %zu bytes of activations",
                     e->plan.n_bytes);
        goto done;
    }
    e->bound = bound;
    *bound_take = NULL;
    resolve(e, places, n_places, chance, &slots);
    *out = e;
    e = NULL;
done:
    tb_slots_release(&slots);
    tb_exec_free(&e);
    return rc;
}

/* Fuses what can be, and binds: *fused (perhaps NULL) must outlive *bound. */
static tb_rc prepare(tb_bound **bound, tb_graph **fused, const tb_graph *graph,
                     size_t batch, tb_err *err)
{
    tb_bind_options options = {.batch = batch};
    tb_rc rc = tb_quantized_fuse(fused, graph, err);
    if (rc == TB_OK) {
        rc = tb_bind_new(bound, *fused != NULL ? *fused : graph, &options, err);
    }
    return rc == TB_OK ? tb_fuse_calls(*bound, err) : rc;
}

tb_rc tb_exec_new(tb_exec **out, const tb_graph *graph, size_t batch,
                  tb_err *err)
{
    *out = NULL;
    tb_bound *bound = NULL;
    tb_graph *fused = NULL;
    tb_rc rc = prepare(&bound, &fused, graph, batch, err);
    if (rc == TB_OK) {
        rc = tb_exec_from(out, &bound, NULL, 0, NULL, err);
    }
    if (rc == TB_OK) {
        (*out)->fused = fused;
        fused = NULL;
    }
    tb_bind_free(&bound);
    tb_graph_free(&fused);
    return rc;
}

tb_rc tb_exec_measure_new(tb_exec_cost *out, const tb_graph *graph,
                          size_t batch, tb_err *err)
{
    tb_bound *bound = NULL;
    tb_graph *fused = NULL;
    *out = (tb_exec_cost){0};
    tb_rc rc = prepare(&bound, &fused, graph, batch, err);
    if (rc == TB_OK) {
        rc = tb_exec_measure(out, bound, NULL, 0, err);
    }
    tb_bind_free(&bound);
    tb_graph_free(&fused);
    return rc;
}

void tb_exec_free(tb_exec **exec)
{
    tb_exec *e = *exec;
    if (e == NULL) {
        return;
    }
    tb_bind_free(&e->bound);
    tb_plan_release(&e->plan);
    tb_mem_free(e->block);
    tb_mem_free(e->patches);
    tb_graph_free(&e->fused);
    tb_mem_free(e);
    *exec = NULL;
}

void tb_exec_set_params(tb_exec *exec, const float *params)
{
    for (size_t i = 0; i < exec->n_patches; i++) {
        const patch *p = &exec->patches[i];
        if (p->input == PARAMS) {
            *p->at = params == NULL ? p->own : unconst(params + p->offset);
        }
    }
}

void tb_exec_set_input(tb_exec *exec, size_t i, const void *data)
{
    for (size_t k = 0; k < exec->n_patches; k++) {
        const patch *p = &exec->patches[k];
        if (p->input == i) {
            *p->at = data == NULL ? p->own : unconst(data);
        }
    }
}

const tb_tensor *tb_exec_input(tb_exec *exec, size_t i)
{
    return &exec->bound->values[exec->bound->graph->inputs[i]];
}

const tb_tensor *tb_exec_output(const tb_exec *exec, size_t i)
{
    return &exec->bound->values[exec->bound->graph->outputs[i]];
}

const tb_tensor *tb_exec_value(const tb_exec *exec, tb_value_id id)
{
    return &exec->bound->values[id];
}

size_t tb_exec_n_calls(const tb_exec *exec)
{
    return exec->bound->n_calls;
}

void tb_exec_run_part(tb_exec *exec, size_t from, size_t to)
{
    for (size_t i = from; i < to; i++) {
        const tb_call *call = &exec->bound->calls[i];
        if (call->view_of < 0 ||
            call->in[call->view_of].data != call->out[0].data) {
            call->op->run(call);
        }
    }
}

void tb_exec_run(tb_exec *exec)
{
    tb_exec_run_part(exec, 0, exec->bound->n_calls);
}

tb_rc tb_exec_fault(tb_exec *exec, tb_err *err)
{
    return tb_data_fault_error(&exec->fault, err);
}

size_t tb_exec_bytes(const tb_exec *exec)
{
    return exec->plan.n_bytes;
}

size_t tb_exec_bytes_unshared(const tb_exec *exec)
{
    return exec->plan.n_bytes_unshared;
}

tb_rc tb_exec_predict(tb_exec *exec, const void *x, size_t n_rows, void *y,
                      tb_err *err)
{
    const tb_graph *graph = exec->bound->graph;
    const tb_tensor *in = tb_exec_input(exec, 0);
    const tb_tensor *out = tb_exec_output(exec, 0);
    size_t batch = in->shape.dim[0];
    if (graph->n_inputs != 1 || in->shape.rank == 0 || out->shape.rank == 0 ||
        batch == 0 || out->shape.dim[0] != batch) {
        return tb_fail(err, TB_E_MISMATCH,
                       "exec: rows can only be fed to a model with one input "
                       "whose first dimension, and that of its output, is the "
                       "batch");
    }
    size_t in_bytes = tb_tensor_bytes(in) / batch;
    size_t out_bytes = tb_tensor_bytes(out) / batch;
    for (size_t from = 0; from < n_rows; from += batch) {
        size_t left = n_rows - from;
        size_t n = left < batch ? left : batch;
        memcpy(in->data, (const uint8_t *)x + from * in_bytes, n * in_bytes);
        memset((uint8_t *)in->data + n * in_bytes, 0, (batch - n) * in_bytes);
        tb_exec_run(exec);
        tb_rc rc = tb_exec_fault(exec, err);
        if (rc != TB_OK) {
            return rc;
        }
        memcpy((uint8_t *)y + from * out_bytes, out->data, n * out_bytes);
    }
    return TB_OK;
}
