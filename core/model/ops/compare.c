/* core/model/ops/compare.c - Equal, Less, Greater and their kin, And, Or, Xor,
 * Not, and Where, with broadcasting. */
#include <string.h>

#include "model/ops/op_priv.h"

/* --- comparisons ---------------------------------------------------------- */

typedef bool real_test(double a, double b);
typedef bool whole_test(int64_t a, int64_t b);
typedef bool natural_test(uint64_t a, uint64_t b);

static tb_rc infer(tb_call *call, tb_err *err)
{
    tb_rc rc = tb_op_infer_binary(call, err);
    call->out[0].dtype = TB_BOOL;
    return rc;
}

static bool test_at(const tb_op_pair *p, real_test *real, whole_test *whole,
                    natural_test *natural)
{
    if (tb_dtype_in(p->a->dtype, TB_TYPES_FLOAT)) {
        return real(tb_tensor_f64_at(p->a, p->at_a),
                    tb_tensor_f64_at(p->b, p->at_b));
    }
    if (p->a->dtype == TB_U64) {
        return natural(((const uint64_t *)p->a->data)[p->at_a],
                       ((const uint64_t *)p->b->data)[p->at_b]);
    }
    return whole(tb_tensor_i64_at(p->a, p->at_a),
                 tb_tensor_i64_at(p->b, p->at_b));
}

static void run(const tb_call *call, real_test *real, whole_test *whole,
                natural_test *natural)
{
    const tb_walk *walk = TB_OP_CONST_STATE(tb_walk, call);
    uint8_t *y = call->out[0].data;
    tb_walk_at at = {0};
    for (size_t i = 0; i < walk->n_outer; i++) {
        tb_op_pair p = {.a = &call->in[0],
                        .b = &call->in[1],
                        .at_a = at.at[0],
                        .at_b = at.at[1]};
        for (size_t j = 0; j < walk->n; j++) {
            *y++ = test_at(&p, real, whole, natural);
            p.at_a += walk->step[0];
            p.at_b += walk->step[1];
        }
        tb_walk_next(&at, walk);
    }
}

/* y = verdict, which speaks of a and b */
#define TEST(id, text, first, mask, verdict)                                   \
    static bool id##_real(double a, double b)                                  \
    {                                                                          \
        return verdict;                                                        \
    }                                                                          \
    static bool id##_whole(int64_t a, int64_t b)                               \
    {                                                                          \
        return verdict;                                                        \
    }                                                                          \
    static bool id##_natural(uint64_t a, uint64_t b)                           \
    {                                                                          \
        return verdict;                                                        \
    }                                                                          \
    static void id##_run(const tb_call *call)                                  \
    {                                                                          \
        run(call, id##_real, id##_whole, id##_natural);                        \
    }                                                                          \
    const tb_op tb_op_##id = {.domain = TB_DOMAIN_ONNX,                        \
                              .name = text,                                    \
                              .since = first,                                  \
                              .until = TB_OPSET_ANY,                           \
                              .in_min = 2,                                     \
                              .in_max = 2,                                     \
                              .out_min = 1,                                    \
                              .out_max = 1,                                    \
                              .types = mask,                                   \
                              .stops_gradient = true,                          \
                              .flops_each = 1,                                 \
                              .infer = infer,                                  \
                              .run = id##_run}

TEST(equal, "Equal", 7, TB_TYPES_ANY, a == b);
TEST(less, "Less", 7, TB_TYPES_NUMBER, a < b);
TEST(greater, "Greater", 7, TB_TYPES_NUMBER, a > b);
TEST(less_or_equal, "LessOrEqual", 12, TB_TYPES_NUMBER, a <= b);
TEST(greater_or_equal, "GreaterOrEqual", 12, TB_TYPES_NUMBER, a >= b);
TEST(and, "And", 7, TB_TYPES_BOOL, a != 0 && b != 0);
TEST(or, "Or", 7, TB_TYPES_BOOL, a != 0 || b != 0);
TEST(xor, "Xor", 7, TB_TYPES_BOOL, a != b);

/* --- Not ------------------------------------------------------------------ */

static void not_run(const tb_call *call)
{
    const uint8_t *x = call->in[0].data;
    uint8_t *y = call->out[0].data;
    for (size_t i = 0; i < tb_tensor_count(&call->out[0]); i++) {
        y[i] = x[i] == 0;
    }
}

const tb_op tb_op_not = {.domain = TB_DOMAIN_ONNX,
                         .name = "Not",
                         .since = 1,
                         .until = TB_OPSET_ANY,
                         .in_min = 1,
                         .in_max = 1,
                         .out_min = 1,
                         .out_max = 1,
                         .in_place = 1,
                         .types = TB_TYPES_BOOL,
                         .stops_gradient = true,
                         .flops_each = 1,
                         .infer = tb_op_infer_same,
                         .run = not_run};

/* --- Where ---------------------------------------------------------------- */

static tb_rc where_infer(tb_call *call, tb_err *err)
{
    tb_shape shape;
    tb_rc rc = tb_op_need_same_type(call, 1, 3, err);
    if (rc == TB_OK && call->in[0].dtype != TB_BOOL) {
        rc = tb_fail(err, TB_E_MISMATCH, "a condition of type %s",
                     tb_dtype_name(call->in[0].dtype));
    }
    if (rc == TB_OK) {
        rc = tb_op_plan_walk(TB_OP_STATE(tb_walk, call), &shape, call, err);
    }
    if (rc == TB_OK) {
        call->out[0] = tb_tensor_view(call->in[1].dtype, &shape, NULL);
    }
    return rc;
}

/* One row of elements of one size; steps of c, a, b are 0 or 1. */
#define SELECT(type)                                                           \
    static void select_##type(void *y, const uint8_t *c, const void *a,        \
                              const void *b, const size_t *step, size_t n)     \
    {                                                                          \
        type *to = y;                                                          \
        const type *x = a;                                                     \
        const type *z = b;                                                     \
        for (size_t i = 0; i < n; i++) {                                       \
            to[i] = c[i * step[0]] != 0 ? x[i * step[1]] : z[i * step[2]];     \
        }                                                                      \
    }

SELECT(uint8_t)
SELECT(uint16_t)
SELECT(uint32_t)
SELECT(uint64_t)

typedef void select_fn(void *y, const uint8_t *c, const void *a, const void *b,
                       const size_t *step, size_t n);

static select_fn *select_of(size_t bytes)
{
    switch (bytes) {
    case 1:
        return select_uint8_t;
    case 2:
        return select_uint16_t;
    case 4:
        return select_uint32_t;
    default:
        return select_uint64_t;
    }
}

/* y = condition ? a : b */
static void where_run(const tb_call *call)
{
    const tb_walk *walk = TB_OP_CONST_STATE(tb_walk, call);
    size_t bytes = tb_dtype_bytes(call->out[0].dtype);
    select_fn *row = select_of(bytes);
    const uint8_t *a = call->in[1].data;
    const uint8_t *b = call->in[2].data;
    uint8_t *y = call->out[0].data;
    tb_walk_at at = {0};
    for (size_t i = 0; i < walk->n_outer; i++) {
        row(y, (const uint8_t *)call->in[0].data + at.at[0],
            a + at.at[1] * bytes, b + at.at[2] * bytes, walk->step, walk->n);
        y += walk->n * bytes;
        tb_walk_next(&at, walk);
    }
}

/* da = condition ? dy : 0, db = condition ? 0 : dy */
static void where_backward(tb_grad *g)
{
    const tb_value_id *in = g->node->in;
    const tb_value_id ends[2] = {in[0], g->dy[0]};
    const tb_value_id of[2] = {in[1], in[2]};
    for (size_t i = 0; i < 2; i++) {
        const tb_attr second = TB_ATTR_I("second", (int64_t)i);
        if (g->wants[1 + i]) {
            tb_value_id d =
                tb_grad_emit(g, &(tb_node_spec){.domain = TB_DOMAIN_GRAD,
                                                .op = "WhereGrad",
                                                .attrs = &second,
                                                .n_attrs = 1,
                                                .in = ends,
                                                .n_in = 2});
            g->dx[1 + i] = tb_grad_reduce(g, d, of[i], 1.0f);
        }
    }
}

typedef struct where_state {
    tb_walk walk;
    bool second;
} where_state;

static tb_rc where_grad_infer(tb_call *call, tb_err *err)
{
    where_state *state = TB_OP_STATE(where_state, call);
    tb_shape shape;
    tb_rc rc = tb_op_plan_walk(&state->walk, &shape, call, err);
    if (rc == TB_OK && (!tb_shape_equal(&shape, &call->in[1].shape) ||
                        call->in[0].dtype != TB_BOOL)) {
        rc = tb_fail(err, TB_E_MISMATCH, "a condition that does not fit");
    }
    state->second = tb_node_int(call->node, "second", 0) != 0;
    call->out[0] = tb_tensor_view(call->in[1].dtype, &call->in[1].shape, NULL);
    return rc;
}

static void where_grad_run(const tb_call *call)
{
    static const uint64_t zero = 0;
    const where_state *state = TB_OP_CONST_STATE(where_state, call);
    const tb_walk *walk = &state->walk;
    size_t bytes = tb_dtype_bytes(call->out[0].dtype);
    select_fn *row = select_of(bytes);
    const size_t first[3] = {walk->step[0], 1, 0};
    const size_t second[3] = {walk->step[0], 0, 1};
    const uint8_t *dy = call->in[1].data;
    uint8_t *dx = call->out[0].data;
    tb_walk_at at = {0};
    for (size_t i = 0; i < walk->n_outer; i++) {
        size_t skip = i * walk->n * bytes;
        const uint8_t *c = (const uint8_t *)call->in[0].data + at.at[0];
        if (state->second) {
            row(dx + skip, c, &zero, dy + skip, second, walk->n);
        } else {
            row(dx + skip, c, dy + skip, &zero, first, walk->n);
        }
        tb_walk_next(&at, walk);
    }
}

const tb_op tb_op_where = {.domain = TB_DOMAIN_ONNX,
                           .name = "Where",
                           .since = 9,
                           .until = TB_OPSET_ANY,
                           .in_min = 3,
                           .in_max = 3,
                           .out_min = 1,
                           .out_max = 1,
                           .types = TB_TYPES_ANY,
                           .typed_by = 1,
                           .in_place = 6,
                           .infer = where_infer,
                           .run = where_run,
                           .backward = where_backward};

static const tb_attr_decl where_attrs[] = {{"second", TB_ATTR_INT, true}};

const tb_op tb_op_where_grad = {.domain = TB_DOMAIN_GRAD,
                                .name = "WhereGrad",
                                .since = 1,
                                .until = TB_OPSET_ANY,
                                .in_min = 2,
                                .in_max = 2,
                                .out_min = 1,
                                .out_max = 1,
                                .attrs = where_attrs,
                                .n_attrs = TB_COUNT(where_attrs),
                                .types = TB_TYPES_FLOAT,
                                .typed_by = 1,
                                .in_place = 2,
                                .infer = where_grad_infer,
                                .run = where_grad_run};
