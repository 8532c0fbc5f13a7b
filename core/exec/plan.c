#include "exec/plan.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

#define FOREVER SIZE_MAX

/* Some bytes that live from call `first` to call `last`, inclusive. */
typedef struct item {
    size_t bytes;
    size_t first;
    size_t last;
    size_t *offset; /* where the answer goes */
    size_t rank;    /* in the list; breaks ties */
} item;

typedef struct planner {
    const tb_bound *bound;
    tb_plan *plan;
    const bool *elsewhere;
    size_t *last; /* [n_values] last call that needs a root's bytes */
    item *items;  /* [n_values + n_calls] */
    item *placed; /* [n_values + n_calls] by offset */
    size_t n_items;
} planner;

static const tb_node *node_of(const tb_bound *b, size_t call)
{
    return b->calls[call].node;
}

/* Whether the block must hold this value, if nothing else's bytes serve. */
static bool is_ours(const planner *p, tb_value_id v)
{
    if (v == TB_ID_NONE || p->elsewhere[v]) {
        return false;
    }
    const tb_tensor *t = &p->bound->values[v];
    tb_role role = p->bound->graph->values[v]->role;
    return t->dtype != TB_DTYPE_NONE && t->data == NULL &&
           (role == TB_ROLE_TEMP || role == TB_ROLE_INPUT);
}

static tb_value_id root_of(const tb_plan *plan, tb_value_id v)
{
    while (plan->root[v] != v) {
        v = plan->root[v];
    }
    return v;
}

static void follow_views(planner *p)
{
    const tb_bound *b = p->bound;
    for (size_t i = 0; i < b->n_calls; i++) {
        tb_value_id out = node_of(b, i)->out[0];
        int from = b->calls[i].view_of;
        if (from >= 0 && is_ours(p, out)) {
            p->plan->root[out] = root_of(p->plan, node_of(b, i)->in[from]);
        }
    }
}

static void find_last_uses(planner *p)
{
    const tb_bound *b = p->bound;
    for (size_t i = 0; i < b->n_calls; i++) {
        const tb_call *call = &b->calls[i];
        const tb_node *node = node_of(b, i);
        for (size_t j = 0; j < call->n_out; j++) {
            if (node->out[j] != TB_ID_NONE) {
                p->last[root_of(p->plan, node->out[j])] = i;
            }
        }
        for (size_t j = 0; j < call->n_in; j++) {
            bool read = j >= 32 || (call->op->shape_only >> j & 1U) == 0;
            if (node->in[j] != TB_ID_NONE && read) {
                p->last[root_of(p->plan, node->in[j])] = i;
            }
        }
    }
    for (size_t i = 0; i < b->graph->n_outputs; i++) {
        p->last[root_of(p->plan, b->graph->outputs[i])] = FOREVER;
    }
    for (size_t i = 0; i < b->graph->n_inputs; i++) {
        p->last[b->graph->inputs[i]] = FOREVER;
    }
}

/* Whether out may be written over input j of call i: that input dies here, has
 * as many bytes, and no other input looks at the same bytes another way. */
static bool may_overlay(const planner *p, size_t i, size_t j, tb_value_id out)
{
    const tb_node *node = node_of(p->bound, i);
    const tb_call *call = &p->bound->calls[i];
    if (j >= call->n_in || node->in[j] == TB_ID_NONE) {
        return false;
    }
    tb_value_id root = root_of(p->plan, node->in[j]);
    if (!is_ours(p, root) || p->last[root] != i ||
        tb_tensor_bytes(&p->bound->values[root]) !=
            tb_tensor_bytes(&p->bound->values[out])) {
        return false;
    }
    for (size_t k = 0; k < call->n_in; k++) {
        if (node->in[k] != TB_ID_NONE && node->in[k] != node->in[j] &&
            root_of(p->plan, node->in[k]) == root) {
            return false;
        }
    }
    return true;
}

static void overlay(planner *p)
{
    const tb_bound *b = p->bound;
    for (size_t i = 0; i < b->n_calls; i++) {
        tb_value_id out = node_of(b, i)->out[0];
        if (!is_ours(p, out) || root_of(p->plan, out) != out) {
            continue;
        }
        for (size_t j = 0; j < 32; j++) {
            if ((b->calls[i].op->in_place >> j & 1U) != 0 &&
                may_overlay(p, i, j, out)) {
                tb_value_id root = root_of(p->plan, node_of(b, i)->in[j]);
                p->last[root] = p->last[out];
                p->plan->root[out] = root;
                break;
            }
        }
    }
}

/* A value or scratch memory; only what `offset` is given for must be placed. */
static tb_rc add_item(planner *p, size_t bytes, size_t first, size_t last,
                      size_t *offset, tb_err *err)
{
    size_t *all = &p->plan->n_bytes_unshared;
    size_t gap = (0 - bytes) % TB_PLAN_ALIGN_BYTES;
    size_t padded = 0;
    if (tb_mem_add(&padded, bytes, gap) != 0 ||
        tb_mem_add(all, *all, padded) != 0 || *all > SIZE_MAX / 2) {
        return tb_fail(err, TB_E_LIMIT, "plan: activations pass 2^63 bytes");
    }
    if (offset != NULL) {
        p->items[p->n_items] = (item){padded, first, last, offset, p->n_items};
        p->n_items++;
    }
    return TB_OK;
}

static tb_rc add_value(planner *p, tb_value_id v, size_t first, tb_err *err)
{
    if (!is_ours(p, v)) {
        return TB_OK;
    }
    bool placed = p->plan->root[v] == v;
    return add_item(p, tb_tensor_bytes(&p->bound->values[v]), first, p->last[v],
                    placed ? &p->plan->offset[v] : NULL, err);
}

static tb_rc list_items(planner *p, tb_err *err)
{
    const tb_bound *b = p->bound;
    tb_rc rc = TB_OK;
    for (size_t i = 0; i < b->graph->n_inputs && rc == TB_OK; i++) {
        rc = add_value(p, b->graph->inputs[i], 0, err);
    }
    for (size_t i = 0; i < b->n_calls && rc == TB_OK; i++) {
        const tb_node *node = node_of(b, i);
        if (b->calls[i].work_bytes > 0) {
            rc = add_item(p, b->calls[i].work_bytes, i, i, &p->plan->work[i],
                          err);
        }
        for (size_t j = 0; j < node->n_out && rc == TB_OK; j++) {
            rc = add_value(p, node->out[j], i, err);
        }
    }
    return rc;
}

static int by_size(const void *a, const void *b)
{
    const item *x = a;
    const item *y = b;
    if (x->bytes != y->bytes) {
        return x->bytes > y->bytes ? -1 : 1;
    }
    return x->rank < y->rank ? -1 : 1;
}

/* The tightest gap between items that live at the same time, else the end. */
static size_t find_gap(const item *placed, size_t n, const item *it)
{
    size_t end = 0;
    size_t best = SIZE_MAX;
    size_t at = SIZE_MAX;
    for (size_t i = 0; i < n; i++) {
        const item *o = &placed[i];
        if (o->first > it->last || it->first > o->last) {
            continue;
        }
        if (*o->offset > end && *o->offset - end >= it->bytes &&
            *o->offset - end < best) {
            best = *o->offset - end;
            at = end;
        }
        size_t o_end = *o->offset + o->bytes;
        end = o_end > end ? o_end : end;
    }
    return at != SIZE_MAX ? at : end;
}

static void place_items(planner *p)
{
    qsort(p->items, p->n_items, sizeof p->items[0], by_size);
    for (size_t i = 0; i < p->n_items; i++) {
        const item *it = &p->items[i];
        size_t at = find_gap(p->placed, i, it);
        *it->offset = at;
        size_t k = i;
        for (; k > 0 && *p->placed[k - 1].offset > at; k--) {
            p->placed[k] = p->placed[k - 1];
        }
        p->placed[k] = *it;
        if (at + it->bytes > p->plan->n_bytes) {
            p->plan->n_bytes = at + it->bytes;
        }
    }
}

static tb_rc allocate(planner *p, tb_err *err)
{
    tb_plan *plan = p->plan;
    size_t n_values = p->bound->n_values;
    size_t n_items = n_values + p->bound->n_calls;
    plan->n_values = n_values;
    plan->root = tb_mem_array(n_values, sizeof plan->root[0]);
    plan->offset = tb_mem_array(n_values, sizeof plan->offset[0]);
    plan->work = tb_mem_array(p->bound->n_calls, sizeof plan->work[0]);
    p->last = tb_mem_array(n_values, sizeof p->last[0]);
    p->items = tb_mem_array(n_items, sizeof p->items[0]);
    p->placed = tb_mem_array(n_items, sizeof p->placed[0]);
    if (plan->root == NULL || plan->offset == NULL || plan->work == NULL ||
        p->last == NULL || p->items == NULL || p->placed == NULL) {
        return tb_fail(err, TB_E_NOMEM, "plan: %zu values", n_values);
    }
    for (size_t v = 0; v < n_values; v++) {
        plan->root[v] = (tb_value_id)v;
        plan->offset[v] = TB_PLAN_NOWHERE;
    }
    for (size_t i = 0; i < p->bound->n_calls; i++) {
        plan->work[i] = TB_PLAN_NOWHERE;
    }
    return TB_OK;
}

tb_rc tb_plan_init(tb_plan *out, const tb_bound *bound, const bool *elsewhere,
                   size_t max_bytes, tb_err *err)
{
    tb_plan plan = {0};
    planner p = {.bound = bound, .plan = &plan, .elsewhere = elsewhere};
    *out = plan;
    tb_rc rc = allocate(&p, err);
    if (rc != TB_OK) {
        goto done;
    }
    follow_views(&p);
    find_last_uses(&p);
    overlay(&p);
    rc = list_items(&p, err);
    if (rc != TB_OK) {
        goto done;
    }
    place_items(&p);
    if (plan.n_bytes > max_bytes) {
        rc = tb_fail(err, TB_E_LIMIT,
                     "plan: activations need %zu bytes, at most %zu: take a "
                     "smaller batch",
                     plan.n_bytes, max_bytes);
        goto done;
    }
    for (size_t v = 0; v < plan.n_values; v++) {
        plan.root[v] = root_of(&plan, (tb_value_id)v);
    }
    *out = plan;
    plan = (tb_plan){0};
done:
    tb_mem_free(p.last);
    tb_mem_free(p.items);
    tb_mem_free(p.placed);
    tb_plan_release(&plan);
    return rc;
}

void tb_plan_release(tb_plan *plan)
{
    tb_mem_free(plan->root);
    tb_mem_free(plan->offset);
    tb_mem_free(plan->work);
    *plan = (tb_plan){0};
}
