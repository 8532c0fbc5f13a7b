/* core/model/ops/reduce_grad.c - gradients of the reductions: dx = w h(x, y),
 * where w = dy times what is the same for all elements behind one of y:
 *   ReduceSum        w = dy          h = 1
 *   ReduceMean       w = dy / n      h = 1
 *   ReduceL1         w = dy          h = sign(x)
 *   ReduceL2         w = dy / y      h = x      (0 where y is 0)
 *   ReduceSumSquare  w = 2 dy        h = x
 *   ReduceLogSum     w = dy exp(-y)  h = 1
 *   ReduceLogSumExp  w = dy          h = exp(x - y)
 *   ReduceMax, Min   w = dy / ties   h = 1 where x = y, else 0 */
#include <math.h>
#include <string.h>

#include "model/ops/folds.h"
#include "model/ops/op_priv.h"
#include "tensor/kernels.h"
#include "tensor/strided.h"

/* dy, x, y, axes -> dx */
static tb_rc infer(tb_call *call, tb_err *err)
{
    const tb_shape *x = &call->in[1].shape;
    tb_shape y;
    bool same = false;
    tb_rc rc = tb_op_need_f32(call, 1, err);
    if (rc == TB_OK) {
        rc = tb_fold_plan(&y, &same, call, x, 3, err);
    }
    if (rc == TB_OK && !tb_shape_equal(&y, &call->in[0].shape)) {
        rc = tb_fail(err, TB_E_MISMATCH, "gradient of another shape");
    }
    call->work_bytes = tb_tensor_bytes(&call->in[0]);
    call->out[0] = tb_tensor_view(TB_F32, x, NULL);
    call->view_of = rc == TB_OK && same ? 0 : -1;
    return rc;
}

static bool is_extreme(const tb_call *call)
{
    tb_fold_kind kind = TB_OP_CONST_STATE(tb_fold_state, call)->kind;
    return kind == TB_FOLD_MAX || kind == TB_FOLD_MIN;
}

/* ties[k] += how many x[k, r] are y[k] */
static void count_visit(void *context, size_t y_at, size_t x_at)
{
    const tb_call *call = context;
    const tb_fold_walk *w = &TB_OP_CONST_STATE(tb_fold_state, call)->walk;
    const float *x = tb_op_f32(call, 1) + x_at;
    const float *y = tb_op_f32(call, 2) + y_at;
    float *ties = (float *)call->work + y_at;
    for (size_t k = 0; w->rows && k < w->n_kept; k++, x += w->n_reduced) {
        uint32_t n = 0;
        for (size_t r = 0; r < w->n_reduced; r++) {
            n += x[r] == y[k];
        }
        ties[k] = ties[k] + (float)n;
    }
    for (size_t r = 0; !w->rows && r < w->n_reduced; r++, x += w->n_kept) {
        for (size_t k = 0; k < w->n_kept; k++) {
            ties[k] = ties[k] + (x[k] == y[k] ? 1.0f : 0.0f);
        }
    }
}

static void find_weights(const tb_call *call)
{
    const tb_fold_state *s = TB_OP_CONST_STATE(tb_fold_state, call);
    const float *dy = tb_op_f32(call, 0);
    const float *y = tb_op_f32(call, 2);
    float *w = call->work;
    size_t n = tb_tensor_count(&call->in[0]);
    for (size_t k = 0; k < n; k++) {
        switch (s->kind) {
        case TB_FOLD_MEAN:
            w[k] = dy[k] / (float)s->n;
            break;
        case TB_FOLD_L2:
            w[k] = y[k] != 0.0f ? dy[k] / y[k] : 0.0f;
            break;
        case TB_FOLD_SUM_SQUARE:
            w[k] = 2.0f * dy[k];
            break;
        case TB_FOLD_LOG_SUM:
            w[k] = dy[k] * expf(-y[k]);
            break;
        case TB_FOLD_MAX:
        case TB_FOLD_MIN:
            w[k] = w[k] > 0.0f ? dy[k] / w[k] : 0.0f;
            break;
        case TB_FOLD_SUM:
        case TB_FOLD_PROD:
        case TB_FOLD_L1:
        case TB_FOLD_LOG_SUM_EXP:
            w[k] = dy[k];
            break;
        }
    }
}

/* A run of elements of x, with the w and y of one result or of as many. */
typedef struct stretch {
    float *dx;
    const float *x;
    const float *y;
    const float *w;
    bool one;
    size_t n;
} stretch;

/* dx[i] = formula of x[i], y[k] and w[k], k being 0 or i */
#define STRETCH(formula)                                                       \
    if (s->one) {                                                              \
        const size_t k = 0;                                                    \
        for (size_t i = 0; i < n; i++) {                                       \
            dx[i] = formula;                                                   \
        }                                                                      \
    } else {                                                                   \
        for (size_t i = 0, k = 0; i < n; i++, k++) {                           \
            dx[i] = formula;                                                   \
        }                                                                      \
    }

static void run_stretch(tb_fold_kind kind, const stretch *s)
{
    float *restrict dx = s->dx;
    const float *x = s->x;
    const float *y = s->y;
    const float *w = s->w;
    const size_t n = s->n;
    switch (kind) {
    case TB_FOLD_L1:
        STRETCH(w[k] *
                ((x[i] > 0.0f ? 1.0f : 0.0f) - (x[i] < 0.0f ? 1.0f : 0.0f)))
        break;
    case TB_FOLD_L2:
    case TB_FOLD_SUM_SQUARE:
        STRETCH(w[k] * x[i])
        break;
    case TB_FOLD_MAX:
    case TB_FOLD_MIN:
        STRETCH(x[i] == y[k] ? w[k] : 0.0f)
        break;
    case TB_FOLD_LOG_SUM_EXP:
        STRETCH(x[i] - y[k])
        tb_k_exp(dx, dx, n);
        STRETCH(w[k] * dx[i])
        break;
    case TB_FOLD_SUM:
    case TB_FOLD_MEAN:
    case TB_FOLD_PROD:
    case TB_FOLD_LOG_SUM:
        if (s->one) {
            tb_strided_fill(dx, sizeof dx[0], n, w);
        } else {
            memcpy(dx, w, n * sizeof dx[0]);
        }
        break;
    }
}

static void grad_visit(void *context, size_t y_at, size_t x_at)
{
    const tb_call *call = context;
    const tb_fold_state *s = TB_OP_CONST_STATE(tb_fold_state, call);
    const tb_fold_walk *w = &s->walk;
    size_t n_rows = w->rows ? w->n_kept : w->n_reduced;
    size_t n = w->rows ? w->n_reduced : w->n_kept;
    const float *x = call->in[1].data; /* NULL where it is not read */
    const float *y = call->in[2].data;
    for (size_t r = 0; r < n_rows; r++) {
        size_t at = y_at + (w->rows ? r : 0);
        size_t from = x_at + r * n;
        run_stretch(s->kind, &(stretch){.dx = tb_op_f32_out(call) + from,
                                        .x = x != NULL ? x + from : NULL,
                                        .y = y != NULL ? y + at : NULL,
                                        .w = (const float *)call->work + at,
                                        .one = w->rows,
                                        .n = n});
    }
}

static void run(const tb_call *call)
{
    const tb_fold_state *s = TB_OP_CONST_STATE(tb_fold_state, call);
    tb_call copy = *call; /* contexts are not const */
    if (call->view_of == 0) {
        tb_op_run_view(call);
        return;
    }
    if (tb_tensor_count(&call->out[0]) == 0) {
        return;
    }
    if (is_extreme(call)) {
        float *ties = call->work;
        for (size_t k = 0; k < tb_tensor_count(&call->in[0]); k++) {
            ties[k] = 0.0f;
        }
        tb_fold_blocks(&s->walk, count_visit, &copy);
    }
    find_weights(call);
    tb_fold_blocks(&s->walk, grad_visit, &copy);
}

static const tb_attr_decl attrs[] = {
    {"axes", TB_ATTR_INTS, false},
    {"keepdims", TB_ATTR_INT, false},
    {"noop_with_empty_axes", TB_ATTR_INT, false}};

/* unread: bit 1 for x, bit 2 for y, where only their shapes count. */
#define GRAD(op, text, unread)                                                 \
    const tb_op tb_op_##op##_grad = {.domain = TB_DOMAIN_GRAD,                 \
                                     .name = text "Grad",                      \
                                     .since = 1,                               \
                                     .until = TB_OPSET_ANY,                    \
                                     .in_min = 3,                              \
                                     .in_max = 4,                              \
                                     .out_min = 1,                             \
                                     .out_max = 1,                             \
                                     .attrs = attrs,                           \
                                     .n_attrs = TB_COUNT(attrs),               \
                                     .flops_each = 1,                          \
                                     .shape_only = unread,                     \
                                     .infer = infer,                           \
                                     .run = run}

GRAD(reduce_sum, "ReduceSum", 6);
GRAD(reduce_mean, "ReduceMean", 6);
GRAD(reduce_max, "ReduceMax", 0);
GRAD(reduce_min, "ReduceMin", 0);
GRAD(reduce_l1, "ReduceL1", 4);
GRAD(reduce_l2, "ReduceL2", 0);
GRAD(reduce_log_sum, "ReduceLogSum", 2);
GRAD(reduce_log_sum_exp, "ReduceLogSumExp", 0);
GRAD(reduce_sum_square, "ReduceSumSquare", 4);
