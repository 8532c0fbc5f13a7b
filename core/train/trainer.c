#include "train/trainer.h"

#include <string.h>

#include "base/mem.h"
#include "exec/exec.h"
#include "model/reverse.h"
#include "tensor/kernels.h"
#include "train/fuse.h"
#include "train/head.h"

/* One planned step: forward calls, (the loss), backward calls. */
typedef struct program {
    tb_exec *exec;
    size_t n_forward;   /* calls before the loss */
    bool *fused;        /* [n slots] its call moves the parameter itself */
    float *grads;       /* gradients of the slots that are not fused */
    size_t *grad_at;    /* [n slots] where in grads */
    tb_tensor in, dout; /* borrowed views */
    const float *out;
    size_t batch; /* rows it was made for */
} program;

/* A running statistic: the graph's own data is read and written in place. */
typedef struct carried {
    tb_value_id next; /* the output that is its next value */
    float *data;      /* borrowed from the graph */
} carried;

struct tb_trainer {
    tb_trainer_options options;
    tb_graph *graph;        /* owned: forward and backward nodes */
    size_t n_forward_nodes; /* node ids under this are forward */
    tb_slots slots;
    tb_value_id *grad_ids; /* [slots.n] gradient of each, or TB_ID_NONE */
    float *params;         /* [slots.n_floats] */
    float *states[TB_OPT_STATES_MAX];
    size_t n_states;
    void *y; /* [batch] targets, for callers that gather */
    tb_loss_layout layout;
    carried *carried; /* [n_carried] */
    size_t n_carried;
    bool fuses;        /* steps are linear: products move parameters */
    bool couples_rows; /* rows of zeros as padding would count */
    uint64_t step;     /* steps done */
    tb_chance chance;
    tb_fuse_rates rates;
    program train; /* what steps run */
    program tail;  /* the same for fewer rows, where rows are coupled; made
                    * when first needed */
    program full;  /* every gradient kept; made when first asked for */
    const uint8_t *keep;
    const float *anchor;
    float mu;
    const float *offset;
};

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
        carried *c = &t->carried[t->n_carried++];
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
    tb_value_id dy = TB_ID_NONE;
    tb_dims any = {.rank = TB_RANK_UNKNOWN};
    tb_bound *bound = NULL;
    tb_bind_options bind = {.batch = t->options.batch, .training = true};
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
    rc = tb_head_layout(&t->layout, graph, t->options.loss, t->options.n_labels,
                        &ends, err);
    if (rc == TB_OK) {
        rc = tb_loss_options_check(t->options.loss, &t->options.loss_options,
                                   t->layout.n_cols, err);
    }
    if (rc != TB_OK) {
        goto done;
    }
    any.rank = (int)out->shape.rank;
    for (size_t i = 0; i < out->shape.rank; i++) {
        any.dim[i] = i == 0 ? TB_DIM_ANY : (int64_t)out->shape.dim[i];
    }
    char *name = tb_graph_fresh_name(t->graph, "loss_gradient");
    rc = name == NULL
             ? tb_fail(err, TB_E_NOMEM, "trainer: a name")
             : tb_graph_add_input(t->graph, &dy, name, TB_F32, &any, err);
    tb_mem_free(name);
    t->n_forward_nodes = t->graph->n_nodes;
    t->grad_ids = tb_mem_array(t->slots.n, sizeof t->grad_ids[0]);
    if (rc == TB_OK && t->grad_ids == NULL) {
        rc = tb_fail(err, TB_E_NOMEM, "trainer: %zu slots", t->slots.n);
    }
    if (rc == TB_OK) {
        rc = tb_reverse(t->graph, t->graph->outputs[0], dy, &t->slots,
                        t->grad_ids, err);
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
static tb_rc place_grads(tb_trainer *t, program *p, tb_exec_place *places,
                         size_t *n_places, tb_err *err)
{
    size_t n = 0;
    for (size_t s = 0; s < t->slots.n; s++) {
        p->grad_at[s] = n;
        n += p->fused[s] ? 0 : t->slots.slot[s].n;
    }
    p->grads = tb_mem_aligned(n, sizeof p->grads[0]);
    if (p->grads == NULL) {
        return tb_fail(err, TB_E_NOMEM, "trainer: %zu gradients", n);
    }
    *n_places = 0;
    for (size_t s = 0; s < t->slots.n; s++) {
        if (t->grad_ids[s] != TB_ID_NONE) {
            places[(*n_places)++] = (tb_exec_place){
                t->grad_ids[s], p->fused[s]
                                    ? t->params + t->slots.slot[s].offset
                                    : p->grads + p->grad_at[s]};
        }
    }
    return TB_OK;
}

/* Calls in front of the loss; they must come first. */
static tb_rc count_forward(const tb_trainer *t, const tb_bound *bound,
                           size_t *n, tb_err *err)
{
    *n = 0;
    for (size_t i = 0; i < bound->n_calls; i++) {
        if (bound->call_nodes[i] < t->n_forward_nodes) {
            if (*n != i) {
                return tb_fail(err, TB_E_BUG,
                               "trainer: forward call %zu behind the loss", i);
            }
            (*n)++;
        }
    }
    return TB_OK;
}

/* batch: rows; fuse: gradients that can move their parameter at once do. */
static tb_rc make_program(tb_trainer *t, program *p, size_t batch, bool fuse,
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
        rc = count_forward(t, bound, &p->n_forward, err);
    }
    if (rc != TB_OK) {
        goto done;
    }
    if (fuse) {
        tb_fuse_updates(bound, &t->slots, t->grad_ids, &t->rates, p->fused);
    }
    rc = place_grads(t, p, places, &n_places, err);
    for (size_t i = 0; i < t->n_carried; i++) {
        places[n_places++] =
            (tb_exec_place){t->carried[i].next, t->carried[i].data};
    }
    if (rc == TB_OK) {
        rc = tb_exec_from(&p->exec, &bound, places, n_places, &t->chance, err);
    }
    if (rc != TB_OK) {
        goto done;
    }
    tb_exec_set_params(p->exec, t->params);
    p->in = *tb_exec_input(p->exec, 0);
    p->dout = *tb_exec_input(p->exec, 1);
    p->out = tb_exec_output(p->exec, 0)->data;
    p->batch = batch;
done:
    tb_bind_free(&bound);
    tb_mem_free(places);
    return rc;
}

static void release_program(program *p)
{
    tb_exec_free(&p->exec);
    tb_mem_free(p->fused);
    tb_mem_free(p->grads);
    tb_mem_free(p->grad_at);
    *p = (program){0};
}

static tb_rc make_vectors(tb_trainer *t, tb_err *err)
{
    size_t n = t->slots.n_floats;
    const tb_loss *loss = t->options.loss;
    size_t y_cols =
        loss->target == TB_TARGET_CLASS ? t->layout.n_labels : t->layout.n_cols;
    size_t n_y = 0;
    if (tb_mem_mul(&n_y, y_cols, t->options.batch) != 0) {
        return tb_fail(err, TB_E_LIMIT, "trainer: batch %zu", t->options.batch);
    }
    t->n_states = t->options.optimiser->n_states(&t->options.config);
    t->params = tb_mem_aligned(n, sizeof t->params[0]);
    t->y = tb_mem_aligned(n_y, sizeof(float));
    bool ok = t->params != NULL && t->y != NULL;
    for (size_t i = 0; i < t->n_states; i++) {
        t->states[i] = tb_mem_aligned(n, sizeof(float));
        ok = ok && t->states[i] != NULL;
    }
    if (!ok) {
        return tb_fail(err, TB_E_NOMEM, "trainer: %zu parameters", n);
    }
    return tb_params_get(t->graph, t->params, n, err);
}

tb_rc tb_trainer_new(tb_trainer **out, const tb_graph *graph,
                     const tb_trainer_options *options, tb_err *err)
{
    *out = NULL;
    tb_rc rc = options->optimiser->check(&options->config, err);
    if (rc != TB_OK) {
        return rc;
    }
    if (options->batch == 0) {
        return tb_fail(err, TB_E_USAGE, "trainer: batch 0: must be 1 or more");
    }
    tb_trainer *t = tb_mem_array(1, sizeof *t);
    if (t == NULL) {
        return tb_fail(err, TB_E_NOMEM, "trainer");
    }
    t->options = *options;
    t->chance.key = options->chance_seed;
    rc = make_graph(t, graph, err);
    if (rc == TB_OK) {
        rc = make_vectors(t, err);
    }
    if (rc == TB_OK) {
        t->fuses = options->optimiser->linear(&options->config, &t->rates.keep,
                                              &t->rates.rate);
        rc = make_program(t, &t->train, options->batch, t->fuses, err);
    }
    if (rc == TB_OK) {
        *out = t;
        t = NULL;
    }
    tb_trainer_free(&t);
    return rc;
}

void tb_trainer_free(tb_trainer **trainer)
{
    tb_trainer *t = *trainer;
    if (t == NULL) {
        return;
    }
    release_program(&t->train);
    release_program(&t->tail);
    release_program(&t->full);
    tb_mem_free(t->carried);
    tb_slots_release(&t->slots);
    tb_graph_free(&t->graph);
    tb_mem_free(t->grad_ids);
    tb_mem_free(t->params);
    tb_mem_free(t->y);
    for (size_t i = 0; i < TB_OPT_STATES_MAX; i++) {
        tb_mem_free(t->states[i]);
    }
    tb_mem_free(t);
    *trainer = NULL;
}

/* --- a step --------------------------------------------------------------- */

typedef struct feed {
    const void *x;
    const void *y;
    size_t n;
} feed;

/* Fills the input, pads it, runs forward, loss and backward. */
static tb_rc run_program(tb_trainer *t, program *p, const feed *rows,
                         tb_score *score, tb_err *err)
{
    size_t n_rows = rows->n;
    size_t batch = p->batch;
    tb_loss_batch b = {.out = p->out,
                       .y = rows->y,
                       .n_rows = n_rows,
                       .n_padded = batch,
                       .layout = t->layout,
                       .options = &t->options.loss_options,
                       .grad = p->dout.data};
    tb_rc rc = t->options.loss->check(&b, err);
    if (rc != TB_OK) {
        return rc;
    }
    size_t row_bytes = tb_tensor_bytes(&p->in) / batch;
    uint8_t *in = p->in.data;
    if (rows->x != in) {
        memcpy(in, rows->x, n_rows * row_bytes);
    }
    memset(in + n_rows * row_bytes, 0, (batch - n_rows) * row_bytes);
    tb_exec_run_part(p->exec, 0, p->n_forward);
    rc = tb_exec_fault(p->exec, err);
    if (rc != TB_OK) {
        return rc;
    }
    t->options.loss->run(&b, score);
    tb_exec_run_part(p->exec, p->n_forward, tb_exec_n_calls(p->exec));
    return TB_OK;
}

/* The program for n_rows rows: the one asked for, or one of just as many rows
 * when padding would count. */
static tb_rc choose_program(tb_trainer *t, program **p, size_t n_rows,
                            tb_err *err)
{
    if (n_rows == 0 || n_rows > t->options.batch) {
        return tb_fail(err, TB_E_MISMATCH, "%zu rows in a step of 1 to %zu",
                       n_rows, t->options.batch);
    }
    if (!t->couples_rows || n_rows == (*p)->batch) {
        return TB_OK;
    }
    bool fuse = *p == &t->train;
    program *other = fuse ? &t->tail : *p;
    tb_rc rc = TB_OK;
    if (other->batch != n_rows) {
        release_program(other);
        rc = make_program(t, other, n_rows, fuse && t->fuses, err);
        if (rc != TB_OK) {
            release_program(other);
        }
    }
    *p = other;
    return rc;
}

/* w = keep w - rate (g + offset) + rate mu anchor; a fused slot has done its
 * part of it. keep already holds the pull of mu. */
static void move_linear(tb_trainer *t, const tb_slot *slot, const float *g)
{
    float *w = t->params + slot->offset;
    if (g != NULL) {
        tb_k_axpby(w, g, slot->n, -t->rates.rate, t->rates.keep);
    }
    if (t->offset != NULL) {
        tb_k_axpy(w, t->offset + slot->offset, slot->n, -t->rates.rate);
    }
    if (t->anchor != NULL) {
        tb_k_axpy(w, t->anchor + slot->offset, slot->n, t->rates.rate * t->mu);
    }
}

/* Adds what the hooks say to g: mu (w - anchor) + offset. */
static void add_hooks(const tb_trainer *t, const tb_slot *slot, float *g)
{
    if (t->anchor != NULL) {
        tb_k_axpy(g, t->params + slot->offset, slot->n, t->mu);
        tb_k_axpy(g, t->anchor + slot->offset, slot->n, -t->mu);
    }
    if (t->offset != NULL) {
        tb_k_axpy(g, t->offset + slot->offset, slot->n, 1.0f);
    }
}

static void move_by_gradient(tb_trainer *t, const tb_slot *slot, float *g)
{
    float *state[TB_OPT_STATES_MAX] = {0};
    for (size_t i = 0; i < t->n_states; i++) {
        state[i] = t->states[i] + slot->offset;
    }
    add_hooks(t, slot, g);
    t->options.optimiser->update(&t->options.config, t->step,
                                 t->params + slot->offset, g, state, slot->n);
}

static void apply_mask(const tb_trainer *t)
{
    for (size_t i = 0; i < t->slots.n_floats; i++) {
        t->params[i] = t->keep[i] != 0 ? t->params[i] : 0.0f;
    }
}

tb_rc tb_trainer_step(tb_trainer *t, const void *x, const void *y,
                      size_t n_rows, tb_score *score, tb_err *err)
{
    const tb_optimiser *opt = t->options.optimiser;
    bool linear =
        opt->linear(&t->options.config, &t->rates.keep, &t->rates.rate);
    if (t->anchor != NULL) {
        t->rates.keep -= t->rates.rate * t->mu;
    }
    t->chance.step = t->step;
    tb_score unread = {0};
    program *p = &t->train;
    tb_rc rc = choose_program(t, &p, n_rows, err);
    if (rc == TB_OK) {
        rc = run_program(t, p, &(feed){x, y, n_rows},
                         score != NULL ? score : &unread, err);
    }
    if (rc != TB_OK) {
        return rc;
    }
    t->step++;
    for (size_t s = 0; s < t->slots.n; s++) {
        if (t->grad_ids[s] == TB_ID_NONE) {
            continue; /* the loss does not depend on it */
        }
        float *g = p->fused[s] ? NULL : p->grads + p->grad_at[s];
        if (linear) {
            move_linear(t, &t->slots.slot[s], g);
        } else {
            move_by_gradient(t, &t->slots.slot[s], g);
        }
    }
    if (t->keep != NULL) {
        apply_mask(t);
    }
    return TB_OK;
}

tb_rc tb_trainer_gradient(tb_trainer *t, const void *x, const void *y,
                          size_t n_rows, float *grad, tb_err *err)
{
    program *p = &t->full;
    tb_rc rc = TB_OK;
    if (p->exec == NULL) {
        rc = make_program(t, p, t->options.batch, false, err);
        if (rc != TB_OK) {
            release_program(p);
            return rc;
        }
    }
    t->chance.step = t->step;
    tb_score unread = {0};
    rc = choose_program(t, &p, n_rows, err);
    if (rc == TB_OK) {
        rc = run_program(t, p, &(feed){x, y, n_rows}, &unread, err);
    }
    for (size_t s = 0; s < t->slots.n && rc == TB_OK; s++) {
        const tb_slot *slot = &t->slots.slot[s];
        memset(grad + slot->offset, 0, slot->n * sizeof grad[0]);
        if (t->grad_ids[s] != TB_ID_NONE) {
            memcpy(grad + slot->offset, t->full.grads + t->full.grad_at[s],
                   slot->n * sizeof grad[0]);
        }
    }
    return rc;
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
    return &t->train.in;
}

const tb_loss_layout *tb_trainer_layout(const tb_trainer *t)
{
    return &t->layout;
}

const tb_loss *tb_trainer_loss(const tb_trainer *t)
{
    return t->options.loss;
}

void *tb_trainer_x(tb_trainer *t)
{
    return t->train.in.data;
}

void *tb_trainer_y(tb_trainer *t)
{
    return t->y;
}

void tb_trainer_reset(tb_trainer *t, uint64_t chance_seed)
{
    t->step = 0;
    t->chance.key = chance_seed;
    for (size_t i = 0; i < t->n_states; i++) {
        memset(t->states[i], 0, t->slots.n_floats * sizeof(float));
    }
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
    return tb_exec_bytes(t->train.exec) + n_grads * sizeof(float);
}
