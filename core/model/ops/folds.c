#include "model/ops/folds.h"

#include <string.h>

#include "model/ops/known.h"
#include "model/ops/op_priv.h"

static const char *const names[] = {
    [TB_FOLD_SUM] = "ReduceSum",
    [TB_FOLD_MEAN] = "ReduceMean",
    [TB_FOLD_MAX] = "ReduceMax",
    [TB_FOLD_MIN] = "ReduceMin",
    [TB_FOLD_PROD] = "ReduceProd",
    [TB_FOLD_L1] = "ReduceL1",
    [TB_FOLD_L2] = "ReduceL2",
    [TB_FOLD_SUM_SQUARE] = "ReduceSumSquare",
    [TB_FOLD_LOG_SUM] = "ReduceLogSum",
    [TB_FOLD_LOG_SUM_EXP] = "ReduceLogSumExp",
};

/* The kind behind "ReduceSum", or "ReduceSumGrad". */
static tb_fold_kind kind_of(const char *name)
{
    size_t n = strlen(name);
    n -= n > 4 && strcmp(name + n - 4, "Grad") == 0 ? 4 : 0;
    for (size_t i = 0; i < TB_COUNT(names); i++) {
        if (strlen(names[i]) == n && memcmp(names[i], name, n) == 0) {
            return (tb_fold_kind)i;
        }
    }
    return TB_FOLD_SUM;
}

/* Merges the dimensions of x, all being kept but those of axes, and makes the
 * last one or two a block. */
static void plan_walk(tb_fold_walk *walk, const tb_shape *x, uint32_t axes)
{
    bool reduced[TB_RANK_MAX] = {false};
    *walk = (tb_fold_walk){.n_kept = 1, .n_reduced = 1};
    for (size_t d = 0; d < x->rank; d++) {
        bool this = (axes >> d & 1) != 0;
        if (x->dim[d] == 1) {
            continue;
        }
        if (walk->rank > 0 && reduced[walk->rank - 1] == this) {
            walk->dim[walk->rank - 1] *= x->dim[d];
        } else {
            reduced[walk->rank] = this;
            walk->dim[walk->rank++] = x->dim[d];
        }
    }
    size_t to = 1;
    size_t from = 1;
    for (size_t d = walk->rank; d-- > 0;) {
        walk->to[d] = reduced[d] ? 0 : to;
        walk->from[d] = from;
        to *= reduced[d] ? 1 : walk->dim[d];
        from *= walk->dim[d];
    }
    walk->rows = walk->rank > 0 && reduced[walk->rank - 1];
    for (size_t k = 0; k < 2 && walk->rank > 0; k++) {
        walk->rank--;
        if (reduced[walk->rank]) {
            walk->n_reduced = walk->dim[walk->rank];
        } else {
            walk->n_kept = walk->dim[walk->rank];
        }
    }
}

static tb_rc read_axes(uint32_t *axes, bool *same, const tb_call *call,
                       size_t rank, size_t axes_in, tb_err *err)
{
    tb_known list;
    tb_rc rc = tb_known_read(&list, call, "axes", axes_in, err);
    if (rc == TB_OK) {
        rc = tb_known_axes(axes, &list, rank, err);
    }
    *same = false;
    if (rc == TB_OK && list.n == 0) {
        *same = tb_node_int(call->node, "noop_with_empty_axes", 0) != 0;
        *axes = *same ? 0 : (UINT32_C(1) << rank) - 1;
    }
    return rc;
}

tb_rc tb_fold_plan(tb_shape *y, bool *same, tb_call *call, const tb_shape *x,
                   size_t axes_in, tb_err *err)
{
    tb_fold_state *s = TB_OP_STATE(tb_fold_state, call);
    bool keep = tb_node_int(call->node, "keepdims", 1) != 0;
    uint32_t axes = 0;
    *y = (tb_shape){0};
    tb_rc rc = read_axes(&axes, same, call, x->rank, axes_in, err);
    if (rc != TB_OK) {
        return rc;
    }
    s->kind = kind_of(call->op->name);
    s->n = 1;
    for (size_t d = 0; d < x->rank; d++) {
        bool reduced = (axes >> d & 1) != 0;
        s->n *= reduced ? x->dim[d] : 1;
        if (!reduced || keep) {
            y->dim[y->rank++] = reduced ? 1 : x->dim[d];
        }
    }
    *same = *same || (s->n == 1 && s->kind <= TB_FOLD_PROD);
    plan_walk(&s->walk, x, axes);
    return TB_OK;
}

void tb_fold_blocks(const tb_fold_walk *walk, tb_fold_visit *visit,
                    void *context)
{
    size_t index[TB_RANK_MAX] = {0};
    size_t y = 0;
    size_t x = 0;
    size_t d = 0;
    do {
        visit(context, y, x);
        for (d = walk->rank; d > 0; d--) {
            size_t i = d - 1;
            y += walk->to[i];
            x += walk->from[i];
            if (++index[i] < walk->dim[i]) {
                break;
            }
            y -= walk->to[i] * walk->dim[i];
            x -= walk->from[i] * walk->dim[i];
            index[i] = 0;
        }
    } while (d > 0);
}
