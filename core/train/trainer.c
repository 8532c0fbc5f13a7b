#include "train/trainer.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "exec/fuse.h"
#include "model/reverse.h"
#include "train/head.h"
#include "train/trainer_priv.h"

/* --- making --------------------------------------------------------------- */

/* Asks a node for the next values of what it carries on. */
static tb_rc carry_node(tb_trainer *t, tb_node_id id, const tb_op *op,
                        tb_err *err)
{
    tb_rc rc = TB_OK;
    for (size_t i = 0; i < op->n_carry && rc == TB_OK; i++) {
        const tb_node *node = t->graph->nodes[id];
        const tb_value *value =
            op->carry[i].in < node->n_in
                ? tb_graph_value(t->graph, node->in[op->carry[i].in])
                : NULL;
        if (value == NULL || value->role != TB_ROLE_BUFFER) {
            continue; /* frozen, or computed */
        }
        tb_carried *c = &t->carried[t->n_carried++];
        c->data = value->data.data;
        rc =
            tb_graph_want_output(t->graph, &c->next, id, op->carry[i].out, err);
    }
    return rc;
}

static tb_rc find_carried(tb_trainer *t, tb_err *err)
{
    size_t n_nodes = t->graph->n_nodes;
    t->carried = tb_mem_array(2 * n_nodes, sizeof t->carried[0]);
    tb_rc rc = t->carried != NULL
                   ? TB_OK
                   : tb_fail(err, TB_E_NOMEM, "trainer: %zu nodes", n_nodes);
    for (size_t i = 0; i < n_nodes && rc == TB_OK; i++) {
        const tb_op *op = NULL;
        if (t->graph->nodes[i] == NULL) {
            continue;
        }
        rc = tb_op_of(&op, t->graph, t->graph->nodes[i], err);
        if (rc == TB_OK) {
            t->couples_rows = t->couples_rows || op->couples_rows;
            rc = carry_node(t, (tb_node_id)i, op, err);
        }
    }
    return rc;
}

static tb_rc make_graph(tb_trainer *t, const tb_graph *graph, tb_err *err)
{
    tb_value_id y = TB_ID_NONE;
    tb_value_id dy = TB_ID_NONE;
    tb_bound *bound = NULL;
    tb_bind_options bind = {.batch = t->rows, .training = true};
    tb_rc rc = tb_head_new(&t->graph, graph, t->options.loss, err);
    if (rc == TB_OK) {
        rc = tb_params_slots(&t->slots, t->graph, err);
    }
    if (rc == TB_OK && t->slots.n_floats == 0) {
        rc = tb_fail(err, TB_E_MISMATCH, "the model has nothing to train");
    }
    if (rc == TB_OK) {
        rc = find_carried(t, err);
    }
    if (rc == TB_OK) {
        rc = tb_bind_new(&bound, t->graph, &bind, err);
    }
    if (rc != TB_OK) {
        goto done;
    }
    const tb_tensor *out = &bound->values[t->graph->outputs[0]];
    const tb_head_ends ends = {&bound->values[t->graph->inputs[0]], out};
    rc = tb_head_layout(&t->head.layout, graph, t->options.loss,
                        t->options.n_labels, &ends, err);
    if (rc == TB_OK) {
        rc = tb_loss_options_check(t->options.loss, &t->options.loss_options,
                                   t->head.layout.n_cols, err);
    }
    if (rc != TB_OK) {
        goto done;
    }
    t->n_forward_nodes = t->graph->n_nodes;
    rc = tb_head_append(t->graph, t->options.loss, &t->head.layout, &y, &dy,
                        err);
    t->grad_ids = tb_mem_array(t->slots.n, sizeof t->grad_ids[0]);
    if (rc == TB_OK && t->grad_ids == NULL) {
        rc = tb_fail(err, TB_E_NOMEM, "trainer: %zu slots", t->slots.n);
    }
    if (rc == TB_OK) {
        rc = tb_reverse(t->graph, y, dy, &t->slots, t->grad_ids, err);
    }
    for (size_t s = 0; s < t->slots.n && rc == TB_OK; s++) {
        if (t->grad_ids[s] != TB_ID_NONE) {
            rc = tb_graph_add_output(t->graph, t->grad_ids[s], err);
        }
    }
done:
    tb_bind_free(&bound);
    return rc;
}

/* Memory for the gradients that are kept, and where each value of a gradient
 * lies: there, or on its parameter. */
static tb_rc place_grads(tb_trainer *t, tb_program *p, tb_exec_place *places,
                         size_t *n_places, tb_err *err)
{
    size_t n = 0;
    for (size_t s = 0; s < t->slots.n; s++) {
        p->grad_at[s] = n;
        n += p->fused[s] ? 0 : t->slots.slot[s].n;
    }
    p->grads = t->cost == NULL ? tb_mem_aligned(n, sizeof p->grads[0]) : NULL;
    if (t->cost == NULL && p->grads == NULL) {
        return tb_fail(err, TB_E_NOMEM, "trainer: %zu gradients", n);
    }
    *n_places = 0;
    for (size_t s = 0; s < t->slots.n; s++) {
        if (t->grad_ids[s] == TB_ID_NONE) {
            continue;
        }
        tb_exec_place *place = &places[(*n_places)++];
        *place = (tb_exec_place){.value = t->grad_ids[s]};
        if (t->cost == NULL) {
            place->data = p->fused[s] ? t->params + t->slots.slot[s].offset
                                      : p->grads + p->grad_at[s];
        }
    }
    if (t->cost != NULL) {
        t->cost->gradient_bytes = n * sizeof p->grads[0];
    }
    return TB_OK;
}

/* Measures instead of making. */
static tb_rc measure(const tb_trainer *t, const tb_bound *bound,
                     const tb_exec_place *places, size_t n_places, tb_err *err)
{
    tb_exec_cost cost;
    tb_rc rc = tb_exec_measure(&cost, bound, places, n_places, err);
    t->cost->activation_bytes = cost.bytes;
    return rc;
}

/* Puts the loss into its call, and counts the calls up to it: all forward ones
 * must be among them. */
static tb_rc place_loss(const tb_trainer *t, tb_program *p, tb_bound *bound,
                        tb_err *err)
{
    size_t loss = tb_head_install(bound, &t->head);
    for (size_t i = loss; i < bound->n_calls; i++) {
        if (bound->call_nodes[i] < t->n_forward_nodes) {
            return tb_fail(err, TB_E_BUG,
                           "trainer: forward call %zu behind the loss", i);
        }
    }
    p->n_first = loss + 1;
    return loss < bound->n_calls
               ? TB_OK
               : tb_fail(err, TB_E_BUG, "trainer: the loss is gone");
}

tb_rc tb_program_make(tb_trainer *t, tb_program *p, size_t batch, bool fuse,
                      tb_err *err)
{
    tb_bound *bound = NULL;
    tb_bind_options bind = {.batch = batch, .training = true};
    size_t n_places = 0;
    tb_exec_place *places =
        tb_mem_array(t->slots.n + t->n_carried, sizeof places[0]);
    p->fused = tb_mem_array(t->slots.n, sizeof p->fused[0]);
    p->grad_at = tb_mem_array(t->slots.n, sizeof p->grad_at[0]);
    tb_rc rc = TB_OK;
    if (places == NULL || p->fused == NULL || p->grad_at == NULL) {
        rc = tb_fail(err, TB_E_NOMEM, "trainer: %zu slots", t->slots.n);
        goto done;
    }
    rc = tb_bind_new(&bound, t->graph, &bind, err);
    if (rc == TB_OK) {
        rc = tb_fuse_calls(bound, err);
    }
    if (rc == TB_OK) {
        rc = place_loss(t, p, bound, err);
    }
    if (rc != TB_OK) {
        goto done;
    }
    for (size_t i = 0; t->cost != NULL && i < bound->n_calls; i++) {
        t->cost->flops += tb_op_flops(&bound->calls[i]);
    }
    if (fuse) {
        tb_fuse_updates(bound, &t->slots, t->grad_ids, &t->rates, p->fused);
    }
    rc = place_grads(t, p, places, &n_places, err);
    /* Looking at a gradient is no step: it moves no running statistics. */
    for (size_t i = 0; i < t->n_carried && p != &t->full; i++) {
        places[n_places++] =
            (tb_exec_place){t->carried[i].next, t->carried[i].data};
    }
    if (rc == TB_OK && t->cost != NULL) {
        p->in = bound->values[t->graph->inputs[0]];
        rc = measure(t, bound, places, n_places, err);
        goto done;
    }
    if (rc == TB_OK) {
        rc = tb_exec_from(&p->exec, &bound, places, n_places, &t->chance, err);
    }
    if (rc != TB_OK) {
        goto done;
    }
    tb_exec_set_params(p->exec, t->params);
    p->in = *tb_exec_input(p->exec, 0);
    p->y = *tb_exec_input(p->exec, 1);
    p->batch = batch;
done:
    tb_bind_free(&bound);
    tb_mem_free(places);
    return rc;
}

void tb_program_release(tb_program *p)
{
    tb_exec_free(&p->exec);
    tb_mem_free(p->fused);
    tb_mem_free(p->grads);
    tb_mem_free(p->grad_at);
    *p = (tb_program){0};
}

/* Bytes of the initialisers that are no parameters. */
static size_t constant_bytes(const tb_graph *graph)
{
    size_t n = 0;
    for (size_t i = 0; i < graph->n_values; i++) {
        const tb_value *value = graph->values[i];
        if (value != NULL && value->role != TB_ROLE_PARAM) {
            n += tb_tensor_bytes(&value->data);
        }
    }
    return n;
}

static tb_rc make_vectors(tb_trainer *t, tb_err *err)
{
    size_t n = t->slots.n_floats;
    t->n_states = t->options.optimiser->n_states(&t->options.config);
    if (t->cost != NULL) {
        t->cost->parameter_bytes = n * sizeof t->params[0];
        t->cost->constant_bytes = constant_bytes(t->graph);
        t->cost->state_bytes = t->n_states * n * sizeof t->params[0];
        return TB_OK;
    }
    t->params = tb_mem_aligned(n, sizeof t->params[0]);
    bool ok = t->params != NULL;
    for (size_t i = 0; i < t->n_states; i++) {
        t->states[i] = tb_mem_aligned(n, sizeof(float));
        ok = ok && t->states[i] != NULL;
    }
    if (!ok) {
        return tb_fail(err, TB_E_NOMEM, "trainer: %zu parameters", n);
    }
    return tb_params_get(t->graph, t->params, n, err);
}

/* What a batch that runs in pieces needs beside them. */
static tb_rc make_pieces(tb_trainer *t, tb_err *err)
{
    size_t bytes = 0;
    size_t n_y = 0;
    const tb_loss_layout *layout = &t->head.layout;
    t->y_cols = t->options.loss->target == TB_TARGET_CLASS ? layout->n_labels
                                                           : layout->n_cols;
    t->input = t->train.in;
    t->input.data = NULL;
    t->input.shape.dim[0] = t->options.batch;
    if (t->rows == t->options.batch) {
        return TB_OK;
    }
    if (tb_mem_mul(&bytes, tb_tensor_bytes(&t->train.in) / t->rows,
                   t->options.batch) != 0 ||
        tb_mem_mul(&n_y, t->y_cols, t->options.batch) != 0) {
        return tb_fail(err, TB_E_LIMIT, "trainer: batch %zu", t->options.batch);
    }
    if (t->cost != NULL) {
        t->cost->batch_bytes = bytes + n_y * sizeof(float);
        t->cost->gradient_bytes += t->slots.n_floats * sizeof t->sum[0];
        t->cost->flops *= ceil((double)t->options.batch / (double)t->rows);
        return TB_OK;
    }
    t->x = tb_mem_aligned(bytes, 1);
    t->y = tb_mem_aligned(n_y, sizeof(float));
    t->sum = tb_mem_aligned(t->slots.n_floats, sizeof t->sum[0]);
    return t->x != NULL && t->y != NULL && t->sum != NULL
               ? TB_OK
               : tb_fail(err, TB_E_NOMEM, "trainer: a batch of %zu rows",
                         t->options.batch);
}

static tb_rc check_options(const tb_trainer_options *o, tb_err *err)
{
    tb_rc rc = o->optimiser->check(&o->config, err);
    if (rc == TB_OK && o->batch == 0) {
        rc = tb_fail(err, TB_E_USAGE, "trainer: batch 0: must be 1 or more");
    }
    return rc == TB_OK ? tb_clip_check(&o->clip, err) : rc;
}

/* All of a trainer; or, with cost, what it would take. */
static tb_rc make(tb_trainer **out, const tb_graph *graph,
                  const tb_trainer_options *options, tb_trainer_cost *cost,
                  tb_err *err)
{
    *out = NULL;
    tb_rc rc = check_options(options, err);
    if (rc != TB_OK) {
        return rc;
    }
    tb_trainer *t = tb_mem_array(1, sizeof *t);
    if (t == NULL) {
        return tb_fail(err, TB_E_NOMEM, "trainer");
    }
    t->options = *options;
    t->cost = cost;
    t->rows = options->micro_batch > 0 && options->micro_batch < options->batch
                  ? options->micro_batch
                  : options->batch;
    t->chance.key = options->chance_seed;
    t->head.loss = t->options.loss;
    t->head.options = &t->options.loss_options;
    rc = make_graph(t, graph, err);
    if (rc == TB_OK) {
        rc = make_vectors(t, err);
    }
    if (rc == TB_OK) {
        t->fuses = options->optimiser->linear(&options->config, &t->rates.keep,
                                              &t->rates.rate) &&
                   options->clip.value == 0.0 && options->clip.norm == 0.0 &&
                   t->rows == options->batch;
        rc = tb_program_make(t, &t->train, t->rows, t->fuses, err);
    }
    if (rc == TB_OK) {
        rc = make_pieces(t, err);
    }
    if (rc == TB_OK) {
        *out = t;
        t = NULL;
    }
    tb_trainer_free(&t);
    return rc;
}

tb_rc tb_trainer_new(tb_trainer **out, const tb_graph *graph,
                     const tb_trainer_options *options, tb_err *err)
{
    return make(out, graph, options, NULL, err);
}

tb_rc tb_trainer_measure(tb_trainer_cost *out, const tb_graph *graph,
                         const tb_trainer_options *options, tb_err *err)
{
    tb_trainer *t = NULL;
    tb_trainer_cost cost = {0};
    tb_rc rc = make(&t, graph, options, &cost, err);
    tb_trainer_free(&t);
    cost.bytes = cost.activation_bytes + cost.gradient_bytes +
                 cost.parameter_bytes + cost.constant_bytes + cost.state_bytes +
                 cost.batch_bytes;
    *out = rc == TB_OK ? cost : (tb_trainer_cost){0};
    return rc;
}

void tb_trainer_free(tb_trainer **trainer)
{
    tb_trainer *t = *trainer;
    if (t == NULL) {
        return;
    }
    tb_program_release(&t->train);
    tb_program_release(&t->tail);
    tb_program_release(&t->full);
    tb_mem_free(t->carried);
    tb_slots_release(&t->slots);
    tb_graph_free(&t->graph);
    tb_mem_free(t->grad_ids);
    tb_mem_free(t->params);
    tb_mem_free(t->x);
    tb_mem_free(t->y);
    tb_mem_free(t->sum);
    for (size_t i = 0; i < TB_OPT_STATES_MAX; i++) {
        tb_mem_free(t->states[i]);
    }
    tb_mem_free(t);
    *trainer = NULL;
}

/* --- the rest ------------------------------------------------------------- */

float *tb_trainer_params(tb_trainer *t)
{
    return t->params;
}

size_t tb_trainer_n_params(const tb_trainer *t)
{
    return t->slots.n_floats;
}

const tb_slots *tb_trainer_slots(const tb_trainer *t)
{
    return &t->slots;
}

const tb_tensor *tb_trainer_input(const tb_trainer *t)
{
    return &t->input;
}

const tb_loss_layout *tb_trainer_layout(const tb_trainer *t)
{
    return &t->head.layout;
}

const tb_loss *tb_trainer_loss(const tb_trainer *t)
{
    return t->options.loss;
}

void *tb_trainer_x(tb_trainer *t)
{
    return t->x != NULL ? t->x : t->train.in.data;
}

void *tb_trainer_y(tb_trainer *t)
{
    return t->y != NULL ? t->y : t->train.y.data;
}

void tb_trainer_reset(tb_trainer *t, uint64_t chance_seed)
{
    t->step = 0;
    t->chance.key = chance_seed;
    for (size_t i = 0; i < t->n_states; i++) {
        memset(t->states[i], 0, t->slots.n_floats * sizeof(float));
    }
}

void tb_trainer_resume(tb_trainer *t, uint64_t steps, uint64_t chance_seed)
{
    t->step = steps;
    t->chance.key = chance_seed;
}

void tb_trainer_set_lr(tb_trainer *t, double lr)
{
    t->options.config.lr = lr;
}

float *const *tb_trainer_states(tb_trainer *t, size_t *n)
{
    *n = t->n_states;
    return t->states;
}

void tb_trainer_set_mask(tb_trainer *t, const uint8_t *keep)
{
    t->keep = keep;
}

void tb_trainer_set_prox(tb_trainer *t, float mu, const float *anchor)
{
    t->mu = mu;
    t->anchor = anchor;
}

void tb_trainer_set_offset(tb_trainer *t, const float *offset)
{
    t->offset = offset;
}

const tb_graph *tb_trainer_graph(const tb_trainer *t)
{
    return t->graph;
}

tb_rc tb_trainer_set_buffers(tb_trainer *t, const float *from, size_t n,
                             tb_err *err)
{
    return tb_buffers_set(t->graph, from, n, err);
}

size_t tb_trainer_bytes(const tb_trainer *t)
{
    size_t n_grads = 0;
    for (size_t s = 0; s < t->slots.n; s++) {
        n_grads += t->train.fused[s] ? 0 : t->slots.slot[s].n;
    }
    n_grads += t->sum != NULL ? t->slots.n_floats : 0;
    return tb_exec_bytes(t->train.exec) + n_grads * sizeof(float);
}
