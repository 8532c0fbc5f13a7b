/* core/model/ops/op_walk.c - operators over one to three operands, element by
 * element: walking broadcast shapes, and running any element type. float32 goes
 * through fast loops; the other float types are computed in double, integers in
 * 64 bits, and rounded or cut to their type when they are stored. */
#include <assert.h>

#include "model/ops/op_priv.h"

/* --- walking -------------------------------------------------------------- */

/* Whether each operand moves or stands in dimension d just as the innermost run
 * does so far. */
static bool joins_run(const tb_walk *walk, size_t (*stride)[TB_RANK_MAX],
                      size_t d)
{
    for (size_t k = 0; k < walk->n_operands; k++) {
        if ((stride[k][d] != 0) != (walk->step[k] != 0)) {
            return false;
        }
    }
    return true;
}

void tb_walk_plan(tb_walk *walk, const tb_shape *const *operands, size_t n,
                  const tb_shape *to)
{
    size_t stride[TB_WALK_MAX][TB_RANK_MAX];
    assert(n <= TB_WALK_MAX);
    *walk = (tb_walk){.n_operands = n, .n = 1, .n_outer = 1};
    for (size_t k = 0; k < n; k++) {
        tb_shape_strides(stride[k], operands[k], to);
        walk->step[k] = 1;
    }
    size_t d = to->rank;
    for (bool fresh = true; d > 0; d--) {
        if (to->dim[d - 1] == 1) {
            continue;
        }
        if (!fresh && !joins_run(walk, stride, d - 1)) {
            break;
        }
        for (size_t k = 0; fresh && k < n; k++) {
            walk->step[k] = stride[k][d - 1] != 0;
        }
        walk->n *= to->dim[d - 1];
        fresh = false;
    }
    walk->rank = d;
    for (size_t i = 0; i < d; i++) {
        walk->dim[i] = to->dim[i];
        walk->n_outer *= to->dim[i];
        for (size_t k = 0; k < n; k++) {
            walk->stride[k][i] = stride[k][i];
        }
    }
    if (walk->n == 0) { /* nothing there, perhaps not even an address */
        walk->n_outer = 0;
    }
}

void tb_walk_next(tb_walk_at *at, const tb_walk *walk)
{
    for (size_t d = walk->rank; d > 0; d--) {
        size_t i = d - 1;
        bool carry = ++at->index[i] == walk->dim[i];
        for (size_t k = 0; k < walk->n_operands; k++) {
            at->at[k] += walk->stride[k][i];
            at->at[k] -= carry ? walk->stride[k][i] * walk->dim[i] : 0;
        }
        if (!carry) {
            return;
        }
        at->index[i] = 0;
    }
}

/* --- infer ---------------------------------------------------------------- */

tb_rc tb_op_need_same_type(const tb_call *call, size_t from, size_t to,
                           tb_err *err)
{
    for (size_t i = from + 1; i < to && i < call->n_in; i++) {
        if (tb_op_has(call, i) && call->in[i].dtype != call->in[from].dtype) {
            return tb_fail(err, TB_E_MISMATCH, "input %zu is %s, input %zu %s",
                           from, tb_dtype_name(call->in[from].dtype), i,
                           tb_dtype_name(call->in[i].dtype));
        }
    }
    return TB_OK;
}

tb_rc tb_op_plan_walk(tb_walk *walk, tb_shape *to, const tb_call *call,
                      tb_err *err)
{
    const tb_shape *operands[TB_WALK_MAX] = {0};
    *to = call->in[0].shape;
    for (size_t i = 0; i < call->n_in; i++) {
        tb_shape both = *to;
        operands[i] = &call->in[i].shape;
        tb_rc rc = tb_shape_broadcast(&both, to, operands[i], err);
        if (rc != TB_OK) {
            return rc;
        }
        *to = both;
    }
    tb_walk_plan(walk, operands, call->n_in, to);
    return TB_OK;
}

tb_rc tb_op_infer_binary(tb_call *call, tb_err *err)
{
    tb_shape shape;
    tb_rc rc = tb_op_need_same_type(call, 0, 2, err);
    if (rc == TB_OK) {
        rc = tb_op_plan_walk(TB_OP_STATE(tb_walk, call), &shape, call, err);
    }
    if (rc == TB_OK) {
        call->out[0] = tb_tensor_view(call->in[0].dtype, &shape, NULL);
    }
    return rc;
}

/* --- run ------------------------------------------------------------------ */

static void row_of_f32(const tb_op_pair *p, const tb_op_binary *f, size_t n)
{
    float *y = p->y->data;
    const float *a = p->a->data;
    const float *b = p->b->data;
    tb_k_arith(f->f32, y + p->at_y, a + p->at_a, p->step_a, b + p->at_b,
               p->step_b, n);
}

static void row_of_any(const tb_op_pair *p, const tb_op_binary *f, size_t n)
{
    bool real = tb_dtype_in(p->a->dtype, TB_TYPES_FLOAT);
    bool natural = p->a->dtype == TB_U64;
    for (size_t i = 0; i < n; i++) {
        size_t a = p->at_a + i * p->step_a;
        size_t b = p->at_b + i * p->step_b;
        if (real) {
            tb_tensor_put_f64(
                p->y, p->at_y + i,
                f->real(tb_tensor_f64_at(p->a, a), tb_tensor_f64_at(p->b, b)));
        } else if (natural) {
            ((uint64_t *)p->y->data)[p->at_y + i] =
                f->natural(((const uint64_t *)p->a->data)[a],
                           ((const uint64_t *)p->b->data)[b]);
        } else {
            tb_tensor_put_i64(
                p->y, p->at_y + i,
                f->whole(tb_tensor_i64_at(p->a, a), tb_tensor_i64_at(p->b, b)));
        }
    }
}

void tb_op_walk_binary(const tb_walk *walk, const tb_tensor *y,
                       const tb_tensor *a, const tb_tensor *b,
                       const tb_op_binary *f)
{
    tb_walk_at at = {0};
    tb_op_pair p = {.y = y,
                    .a = a,
                    .b = b,
                    .step_a = walk->step[0],
                    .step_b = walk->step[1]};
    bool fast = a->dtype == TB_F32;
    for (size_t i = 0; i < walk->n_outer; i++) {
        p.at_y = i * walk->n;
        p.at_a = at.at[0];
        p.at_b = at.at[1];
        (fast ? row_of_f32 : row_of_any)(&p, f, walk->n);
        tb_walk_next(&at, walk);
    }
}

void tb_op_run_binary(const tb_call *call, const tb_op_binary *f)
{
    tb_op_walk_binary(TB_OP_CONST_STATE(tb_walk, call), &call->out[0],
                      &call->in[0], &call->in[1], f);
}

void tb_op_walk_each(const tb_call *call, const tb_walk *walk, tb_op_each *f,
                     double p)
{
    const tb_tensor *y = &call->out[0];
    tb_walk_at at = {0};
    double x[TB_WALK_MAX] = {0};
    for (size_t i = 0; i < walk->n_outer; i++) {
        for (size_t j = 0; j < walk->n; j++) {
            for (size_t k = 0; k < walk->n_operands; k++) {
                x[k] = tb_tensor_f64_at(&call->in[k],
                                        at.at[k] + j * walk->step[k]);
            }
            tb_tensor_put_f64(y, i * walk->n + j, f(x, p));
        }
        tb_walk_next(&at, walk);
    }
}

void tb_op_run_map(const tb_call *call, tb_k_map_of f, float p, float q)
{
    const tb_tensor *x = &call->in[0];
    const tb_tensor *y = &call->out[0];
    size_t n = tb_tensor_count(y);
    if (x->dtype == TB_F32) {
        tb_k_map(f, y->data, x->data, n, p, q);
        return;
    }
    for (size_t i = 0; i < n; i++) {
        double at = tb_tensor_f64_at(x, i);
        tb_tensor_put_f64(y, i, tb_k_map_f64(f, at, (double)p, (double)q));
    }
}
