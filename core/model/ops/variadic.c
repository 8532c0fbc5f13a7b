/* core/model/ops/variadic.c - Min, Max, Sum and Mean of one or more operands
 * that broadcast, folded from the first to the last. */
#include <string.h>

#include "model/ops/op_priv.h"

#define OPERANDS_MAX 32

/* --- forward -------------------------------------------------------------- */

static tb_rc infer(tb_call *call, tb_err *err)
{
    tb_shape shape = call->in[0].shape;
    tb_rc rc = tb_op_need_same_type(call, 0, call->n_in, err);
    for (size_t i = 1; i < call->n_in && rc == TB_OK; i++) {
        tb_shape both = shape;
        if (!tb_op_has(call, i)) {
            return tb_fail(err, TB_E_MALFORMED, "operand %zu is missing", i);
        }
        rc = tb_shape_broadcast(&both, &shape, &call->in[i].shape, err);
        shape = both;
    }
    call->out[0] = tb_tensor_view(call->in[0].dtype, &shape, NULL);
    return rc;
}

static double real_min(double a, double b)
{
    return a < b || a != a ? a : b;
}

static double real_max(double a, double b)
{
    return a > b || a != a ? a : b;
}

static double real_sum(double a, double b)
{
    return a + b;
}

static int64_t whole_min(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int64_t whole_max(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static uint64_t natural_min(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static uint64_t natural_max(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

static const tb_op_binary smallest = {TB_K_MIN, real_min, whole_min,
                                      natural_min};
static const tb_op_binary largest = {TB_K_MAX, real_max, whole_max,
                                     natural_max};
static const tb_op_binary total = {TB_K_ADD, real_sum, NULL, NULL};

/* y = a over the shape of y: f of a number with itself is the number. */
static void spread(const tb_tensor *y, const tb_tensor *a)
{
    const tb_shape *const operands[2] = {&a->shape, &a->shape};
    tb_walk walk;
    tb_walk_plan(&walk, operands, 2, &y->shape);
    tb_op_walk_binary(&walk, y, a, a, &largest);
}

static void fold(const tb_call *call, const tb_op_binary *f)
{
    const tb_tensor *y = &call->out[0];
    if (call->n_in == 1) {
        spread(y, &call->in[0]);
    }
    for (size_t i = 1; i < call->n_in; i++) {
        const tb_tensor *so_far = i == 1 ? &call->in[0] : y;
        const tb_shape *const operands[2] = {&so_far->shape,
                                             &call->in[i].shape};
        tb_walk walk;
        tb_walk_plan(&walk, operands, 2, &y->shape);
        tb_op_walk_binary(&walk, y, so_far, &call->in[i], f);
    }
}

static void min_run(const tb_call *call)
{
    fold(call, &smallest);
}

static void max_run(const tb_call *call)
{
    fold(call, &largest);
}

static void sum_run(const tb_call *call)
{
    fold(call, &total);
}

/* y = sum / n */
static void mean_run(const tb_call *call)
{
    const tb_tensor *y = &call->out[0];
    size_t n = tb_tensor_count(y);
    fold(call, &total);
    if (y->dtype == TB_F32) {
        tb_k_affine(y->data, y->data, n, 1.0f / (float)call->n_in, 0.0f);
        return;
    }
    for (size_t i = 0; i < n; i++) {
        tb_tensor_put_f64(y, i, tb_tensor_f64_at(y, i) / (double)call->n_in);
    }
}

/* --- backward ------------------------------------------------------------- */

/* Every operand gets dy times scale. */
static void share(tb_grad *g, float scale)
{
    for (size_t i = 0; i < g->node->n_in; i++) {
        if (g->wants[i]) {
            g->dx[i] = tb_grad_reduce(g, g->dy[0], g->node->in[i], scale);
        }
    }
}

static void sum_backward(tb_grad *g)
{
    share(g, 1.0f);
}

static void mean_backward(tb_grad *g)
{
    share(g, 1.0f / (float)g->node->n_in);
}

/* dy, y, all operands -> what operand `of` gets: dy where it is the result,
 * shared evenly with the others that are */
static void extreme_backward(tb_grad *g)
{
    tb_value_id in[OPERANDS_MAX] = {g->dy[0], g->node->out[0]};
    size_t n = g->node->n_in;
    if (n + 2 > OPERANDS_MAX) {
        return; /* "no gradient" says the caller */
    }
    memcpy(in + 2, g->node->in, n * sizeof in[0]);
    for (size_t i = 0; i < n; i++) {
        const tb_attr of = TB_ATTR_I("of", (int64_t)i);
        if (g->wants[i]) {
            tb_value_id d =
                tb_grad_emit(g, &(tb_node_spec){.domain = TB_DOMAIN_GRAD,
                                                .op = "ExtremeGrad",
                                                .attrs = &of,
                                                .n_attrs = 1,
                                                .in = in,
                                                .n_in = n + 2});
            g->dx[i] = tb_grad_reduce(g, d, in[2 + i], 1.0f);
        }
    }
}

typedef struct extreme_state {
    size_t of;
} extreme_state;

static tb_rc extreme_infer(tb_call *call, tb_err *err)
{
    extreme_state *state = TB_OP_STATE(extreme_state, call);
    int64_t of = tb_node_int(call->node, "of", 0);
    tb_rc rc = infer(call, err);
    if (rc == TB_OK &&
        (of < 0 || of >= (int64_t)call->n_in - 2 ||
         !tb_shape_equal(&call->out[0].shape, &call->in[0].shape) ||
         !tb_shape_equal(&call->in[1].shape, &call->in[0].shape))) {
        rc = tb_fail(err, TB_E_MISMATCH, "operands larger than the gradient");
    }
    state->of = 2 + (size_t)of;
    return rc;
}

/* dx (+)= 1 where x is y; or dx = x is y ? dy / dx : 0. */
static void compare_walk(const tb_call *call, size_t i, bool last)
{
    const tb_tensor *dx = &call->out[0];
    const tb_tensor *x = &call->in[i];
    const tb_shape *const operands[1] = {&x->shape};
    tb_walk walk;
    tb_walk_at at = {0};
    tb_walk_plan(&walk, operands, 1, &dx->shape);
    for (size_t o = 0; o < walk.n_outer; o++) {
        for (size_t j = 0; j < walk.n; j++) {
            size_t k = o * walk.n + j;
            bool same = tb_tensor_f64_at(&call->in[1], k) ==
                        tb_tensor_f64_at(x, at.at[0] + j * walk.step[0]);
            double n = tb_tensor_f64_at(dx, k);
            double whole = last ? tb_tensor_f64_at(&call->in[0], k) / n : n + 1;
            tb_tensor_put_f64(dx, k, same ? whole : (last ? 0 : n));
        }
        tb_walk_next(&at, &walk);
    }
}

/* dx counts the operands that are y before it becomes the gradient. */
static void extreme_run(const tb_call *call)
{
    memset(call->out[0].data, 0, tb_tensor_bytes(&call->out[0]));
    for (size_t i = 2; i < call->n_in; i++) {
        compare_walk(call, i, false);
    }
    compare_walk(call, TB_OP_CONST_STATE(extreme_state, call)->of, true);
}

/* --- the table ------------------------------------------------------------ */

static double flops(const tb_call *call)
{
    return (double)(call->n_in - 1) * (double)tb_tensor_count(&call->out[0]);
}

#define VARIADIC(text, mask)                                                   \
    .domain = TB_DOMAIN_ONNX, .name = text, .since = 8, .until = TB_OPSET_ANY, \
    .in_min = 1, .in_max = OPERANDS_MAX, .out_min = 1, .out_max = 1,           \
    .types = mask, .flops = flops, .infer = infer

const tb_op tb_op_min = {VARIADIC("Min", TB_TYPES_NUMBER), .run = min_run,
                         .backward = extreme_backward};
const tb_op tb_op_max = {VARIADIC("Max", TB_TYPES_NUMBER), .run = max_run,
                         .backward = extreme_backward};
const tb_op tb_op_sum = {VARIADIC("Sum", TB_TYPES_FLOAT), .run = sum_run,
                         .backward = sum_backward};
const tb_op tb_op_mean = {VARIADIC("Mean", TB_TYPES_FLOAT), .run = mean_run,
                          .backward = mean_backward};

static const tb_attr_decl extreme_attrs[] = {{"of", TB_ATTR_INT, true}};

const tb_op tb_op_extreme_grad = {.domain = TB_DOMAIN_GRAD,
                                  .name = "ExtremeGrad",
                                  .since = 1,
                                  .until = TB_OPSET_ANY,
                                  .in_min = 3,
                                  .in_max = OPERANDS_MAX,
                                  .out_min = 1,
                                  .out_max = 1,
                                  .attrs = extreme_attrs,
                                  .n_attrs = TB_COUNT(extreme_attrs),
                                  .types = TB_TYPES_FLOAT,
                                  .flops = flops,
                                  .infer = extreme_infer,
                                  .run = extreme_run};
