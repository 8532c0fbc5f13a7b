/* What every operator of the list must hold: its gradient is the slope of its
 * forward kernel (central differences), it refuses shapes and types it cannot
 * take, running in place or as a view changes nothing. That forward kernels are
 * right is shown by the golden models. */
#include "support/check.h"

#include <math.h>
#include <string.h>

#include "model/op.h"
#include "support/graph_run.h"

#define N_IN_MAX 3

/* --- cases ---------------------------------------------------------------- */

/* One node. Inputs with `data` are constants, the others are drawn. */
typedef struct op_input {
    tb_dtype dtype;
    tb_shape shape;
    const void *data;
} op_input;

typedef struct op_case {
    const char *op;
    int opset; /* 0: 17 */
    tb_attr attrs[4];
    size_t n_attrs;
    op_input in[N_IN_MAX];
    size_t n_in;
    bool training;
} op_case;

#define F32(...)                                                               \
    {                                                                          \
        TB_F32, {.rank = COUNT(__VA_ARGS__), .dim = {__VA_ARGS__}}, NULL       \
    }
#define SCALAR                                                                 \
    {                                                                          \
        TB_F32, {0}, NULL                                                      \
    }
#define COUNT(...) (sizeof((size_t[]){__VA_ARGS__}) / sizeof(size_t))
#define CONST(type, values, ...)                                               \
    {                                                                          \
        type, {.rank = COUNT(__VA_ARGS__), .dim = {__VA_ARGS__}}, values       \
    }
#define INT(nm, v)                                                             \
    {                                                                          \
        .name = nm, .kind = TB_ATTR_INT, .i = v                                \
    }
#define FLOAT(nm, v)                                                           \
    {                                                                          \
        .name = nm, .kind = TB_ATTR_FLOAT, .f = v                              \
    }
#define INTS(nm, v)                                                            \
    {                                                                          \
        .name = nm, .kind = TB_ATTR_INTS, .ints = v, .n = COUNT_OF(v)          \
    }
#define COUNT_OF(a) (sizeof(a) / sizeof((a)[0]))

static const int64_t shape_4_6[] = {4, 6};
static const int64_t shape_open[] = {0, -1};
static const int64_t shape_wrong[] = {5, -1};
static const int64_t perm_3[] = {2, 0, 1};
static const int64_t perm_twice[] = {0, 0, 1};
static const int64_t perm_short[] = {1, 0};
static const int64_t axes_0_2[] = {0, -1};
static const int64_t axes_1[] = {1};
static const int64_t axes_twice[] = {1, 1};
static const int64_t index_far[] = {3};
static const float ratio_40[] = {0.4f};
static const float ratio_1[] = {1.0f};
static const float one_scale[] = {0.5f};
static const float two_scales[] = {0.5f, 0.25f};

/* Every operator with a gradient stands here at least once. */
static const op_case grads[] = {
    {"Add", 0, {{0}}, 0, {F32(2, 3), F32(2, 3)}, 2, false},
    {"Add", 0, {{0}}, 0, {F32(2, 3, 4), F32(4)}, 2, false},
    {"Sub", 0, {{0}}, 0, {F32(2, 1, 4), F32(3, 1)}, 2, false},
    {"Sub", 0, {{0}}, 0, {F32(3), F32(2, 3)}, 2, false},
    {"Mul", 0, {{0}}, 0, {F32(2, 3, 4), F32(3, 1)}, 2, false},
    {"Mul", 0, {{0}}, 0, {SCALAR, F32(2, 3)}, 2, false},
    {"Div", 0, {{0}}, 0, {F32(2, 3), F32(2, 3)}, 2, false},
    {"Div", 0, {{0}}, 0, {F32(2, 3, 2), F32(1, 3, 1)}, 2, false},
    {"Gemm", 0, {{0}}, 0, {F32(3, 4), F32(4, 2), F32(2)}, 3, false},
    {"Gemm", 0, {INT("transB", 1)}, 1, {F32(3, 4), F32(2, 4)}, 2, false},
    {"Gemm",
     0,
     {INT("transA", 1)},
     1,
     {F32(4, 3), F32(4, 2), SCALAR},
     3,
     false},
    {"Gemm",
     0,
     {INT("transA", 1), INT("transB", 1), FLOAT("alpha", 0.5f),
      FLOAT("beta", -2.0f)},
     4,
     {F32(4, 3), F32(2, 4), F32(3, 1)},
     3,
     false},
    {"MatMul", 0, {{0}}, 0, {F32(3, 4), F32(4, 2)}, 2, false},
    {"MatMul", 0, {{0}}, 0, {F32(2, 3, 4), F32(4, 2)}, 2, false},
    {"MatMul", 0, {{0}}, 0, {F32(2, 1, 3, 4), F32(3, 4, 2)}, 2, false},
    {"MatMul", 0, {{0}}, 0, {F32(3, 4), F32(2, 4, 2)}, 2, false},
    {"Relu", 0, {{0}}, 0, {F32(3, 5)}, 1, false},
    {"LeakyRelu", 0, {FLOAT("alpha", 0.3f)}, 1, {F32(3, 5)}, 1, false},
    {"LeakyRelu", 0, {{0}}, 0, {F32(15)}, 1, false},
    {"Sigmoid", 0, {{0}}, 0, {F32(3, 5)}, 1, false},
    {"Tanh", 0, {{0}}, 0, {F32(3, 5)}, 1, false},
    {"Softmax", 0, {{0}}, 0, {F32(3, 5)}, 1, false},
    {"Softmax", 0, {INT("axis", 1)}, 1, {F32(2, 3, 4)}, 1, false},
    {"Softmax", 11, {{0}}, 0, {F32(2, 3, 4)}, 1, false},
    {"LogSoftmax", 0, {{0}}, 0, {F32(3, 5)}, 1, false},
    {"LogSoftmax", 0, {INT("axis", 0)}, 1, {F32(2, 3, 4)}, 1, false},
    {"LogSoftmax", 11, {INT("axis", 2)}, 1, {F32(2, 3, 4)}, 1, false},
    {"Identity", 0, {{0}}, 0, {F32(3, 5)}, 1, false},
    {"Flatten", 0, {INT("axis", 2)}, 1, {F32(2, 3, 4)}, 1, false},
    {"Reshape",
     0,
     {{0}},
     0,
     {F32(2, 3, 4), CONST(TB_I64, shape_4_6, 2)},
     2,
     false},
    {"Unsqueeze",
     0,
     {{0}},
     0,
     {F32(2, 3), CONST(TB_I64, axes_0_2, 2)},
     2,
     false},
    {"Unsqueeze", 11, {INTS("axes", axes_1)}, 1, {F32(2, 3)}, 1, false},
    {"Squeeze",
     0,
     {{0}},
     0,
     {F32(2, 1, 3), CONST(TB_I64, axes_1, 1)},
     2,
     false},
    {"Squeeze", 11, {{0}}, 0, {F32(1, 3, 1)}, 1, false},
    {"Transpose", 0, {INTS("perm", perm_3)}, 1, {F32(2, 3, 4)}, 1, false},
    {"Transpose", 0, {{0}}, 0, {F32(2, 3, 4)}, 1, false},
    {"Dropout", 0, {{0}}, 0, {F32(4, 5), CONST(TB_F32, ratio_40, 1)}, 2, true},
    {"Dropout", 0, {{0}}, 0, {F32(4, 5)}, 1, false},
    {"Dropout", 11, {FLOAT("ratio", 0.4f)}, 1, {F32(4, 5)}, 1, true},
    {"Cast", 0, {INT("to", TB_F64)}, 1, {F32(3, 5)}, 1, false},
};

/* Operators through which no gradient passes (yet). */
static const char *const without_gradient[] = {"Shape", "Gather", "Concat"};

/* Straight-through operators: their slope is zero almost everywhere. */
static const char *const straight_through[] = {"QuantizeLinear",
                                               "DequantizeLinear"};

#define I32(...)                                                               \
    {                                                                          \
        TB_I32, {.rank = COUNT(__VA_ARGS__), .dim = {__VA_ARGS__}}, NULL       \
    }

/* What each operator refuses; Identity and Shape take anything. */
static const op_case refused[] = {
    {"Add", 0, {{0}}, 0, {F32(2, 3), F32(2)}, 2, false},
    {"Add", 0, {{0}}, 0, {F32(2, 3), I32(3)}, 2, false},
    {"Sub", 0, {{0}}, 0, {F32(2, 3), F32(3, 2)}, 2, false},
    {"Mul", 0, {{0}}, 0, {F32(4), F32(5)}, 2, false},
    {"Div", 0, {{0}}, 0, {I32(2), I32(2)}, 2, false},
    {"Gemm", 0, {{0}}, 0, {F32(3, 4), F32(3, 2)}, 2, false},
    {"Gemm", 0, {{0}}, 0, {F32(3, 4, 1), F32(4, 2)}, 2, false},
    {"Gemm", 0, {{0}}, 0, {F32(3, 4), F32(4, 2), F32(3)}, 3, false},
    {"Gemm", 0, {{0}}, 0, {F32(3, 4), F32(4, 2), F32(1, 3, 2)}, 3, false},
    {"MatMul", 0, {{0}}, 0, {F32(3, 4), F32(3, 4)}, 2, false},
    {"MatMul", 0, {{0}}, 0, {F32(2, 3, 4), F32(3, 4, 2)}, 2, false},
    {"MatMul", 0, {{0}}, 0, {F32(4), F32(4, 2)}, 2, false},
    {"Relu", 0, {{0}}, 0, {I32(3)}, 1, false},
    {"LeakyRelu", 0, {{0}}, 0, {I32(3)}, 1, false},
    {"Sigmoid", 0, {{0}}, 0, {I32(3)}, 1, false},
    {"Tanh", 0, {{0}}, 0, {I32(3)}, 1, false},
    {"Softmax", 0, {INT("axis", 2)}, 1, {F32(3, 5)}, 1, false},
    {"Softmax", 0, {{0}}, 0, {SCALAR}, 1, false},
    {"Softmax", 11, {INT("axis", 3)}, 1, {F32(3, 5)}, 1, false},
    {"LogSoftmax", 0, {INT("axis", -3)}, 1, {F32(3, 5)}, 1, false},
    {"LogSoftmax", 11, {{0}}, 0, {I32(3, 5)}, 1, false},
    {"Flatten", 0, {INT("axis", 4)}, 1, {F32(2, 3, 4)}, 1, false},
    {"Reshape",
     0,
     {{0}},
     0,
     {F32(2, 3, 4), CONST(TB_I64, shape_wrong, 2)},
     2,
     false},
    {"Reshape", 0, {{0}}, 0, {SCALAR, CONST(TB_I64, shape_open, 2)}, 2, false},
    {"Reshape", 0, {{0}}, 0, {F32(2), F32(2)}, 2, false},
    {"Unsqueeze",
     0,
     {{0}},
     0,
     {F32(2), CONST(TB_I64, axes_twice, 2)},
     2,
     false},
    {"Unsqueeze", 11, {{0}}, 0, {F32(2)}, 1, false},
    {"Squeeze", 0, {{0}}, 0, {F32(1, 2), CONST(TB_I64, axes_1, 1)}, 2, false},
    {"Squeeze", 11, {INTS("axes", axes_1)}, 1, {F32(2)}, 1, false},
    {"Gather", 0, {{0}}, 0, {F32(3, 2), CONST(TB_I64, index_far, 1)}, 2, false},
    {"Gather", 0, {{0}}, 0, {F32(3, 2), I32(1)}, 2, false},
    {"Concat", 0, {INT("axis", 0)}, 1, {F32(3, 2), F32(3, 3)}, 2, false},
    {"Concat", 0, {INT("axis", 0)}, 1, {F32(3, 2), I32(3, 2)}, 2, false},
    {"Transpose", 0, {INTS("perm", perm_twice)}, 1, {F32(2, 3, 4)}, 1, false},
    {"Transpose", 0, {INTS("perm", perm_short)}, 1, {F32(2, 3, 4)}, 1, false},
    {"Dropout", 0, {{0}}, 0, {F32(4), CONST(TB_F32, ratio_1, 1)}, 2, true},
    {"Dropout", 0, {{0}}, 0, {F32(4), F32(1)}, 2, true},
    {"Dropout", 11, {FLOAT("ratio", -0.1f)}, 1, {F32(4)}, 1, false},
    {"Cast", 0, {INT("to", TB_STRING)}, 1, {F32(3)}, 1, false},
    {"QuantizeLinear",
     0,
     {{0}},
     0,
     {I32(3), CONST(TB_F32, one_scale, 1)},
     2,
     false},
    {"QuantizeLinear",
     0,
     {{0}},
     0,
     {F32(3, 5), CONST(TB_F32, two_scales, 2)},
     2,
     false},
    {"DequantizeLinear",
     0,
     {{0}},
     0,
     {F32(3), CONST(TB_F32, one_scale, 1)},
     2,
     false},
    {"DequantizeLinear",
     0,
     {INT("axis", 5)},
     1,
     {I32(3, 2), CONST(TB_F32, two_scales, 2)},
     2,
     false},
};

/* --- a graph of one case -------------------------------------------------- */

typedef struct case_graph {
    tb_graph *graph;
    tb_node_id node;
    tb_value_id in[N_IN_MAX];
    tb_value_id y;
} case_graph;

static tb_dims dims_of(const tb_shape *shape)
{
    tb_dims dims = {.rank = (int)shape->rank};
    for (size_t i = 0; i < shape->rank; i++) {
        dims.dim[i] = (int64_t)shape->dim[i];
    }
    return dims;
}

static void add_input(case_graph *g, const op_case *c, size_t i)
{
    const char *const names[N_IN_MAX] = {"a", "b", "c"};
    const op_input *in = &c->in[i];
    tb_dims dims = dims_of(&in->shape);
    tb_tensor data =
        tb_tensor_view(in->dtype, &in->shape, (void *)(uintptr_t)in->data);
    tb_err err;
    if (in->data != NULL) {
        CHECK_OK(tb_graph_add_data(g->graph, &g->in[i], names[i], TB_ROLE_CONST,
                                   &data, &err),
                 err);
    } else {
        CHECK_OK(tb_graph_add_input(g->graph, &g->in[i], names[i], in->dtype,
                                    &dims, &err),
                 err);
    }
}

static case_graph build(const op_case *c)
{
    case_graph g = {0};
    tb_err err;
    CHECK_OK(tb_graph_new(&g.graph, "case", c->opset > 0 ? c->opset : 17, &err),
             err);
    for (size_t i = 0; i < c->n_in; i++) {
        add_input(&g, c, i);
    }
    CHECK_OK(tb_graph_apply(g.graph, &g.y,
                            &(tb_node_spec){.name = "node",
                                            .op = c->op,
                                            .attrs = c->attrs,
                                            .n_attrs = c->n_attrs,
                                            .in = g.in,
                                            .n_in = c->n_in},
                            &err),
             err);
    g.node = g.graph->values[g.y]->producer;
    CHECK_OK(tb_graph_add_output(g.graph, g.y, &err), err);
    return g;
}

/* Numbers away from 0 (kinks, poles), the same at every call. */
static void draw(const tb_tensor *t, unsigned seed)
{
    for (size_t i = 0; i < tb_tensor_count(t); i++) {
        seed = seed * 1103515245u + 12345u;
        double u = (double)((seed >> 8) & 0xffff) / 65536;
        double x = 0.15 + 0.85 * u;
        x = (seed >> 24 & 1) != 0 ? x : -x;
        if (t->dtype == TB_F64) {
            ((double *)t->data)[i] = x;
        } else {
            ((float *)t->data)[i] = (float)x;
        }
    }
}

static const tb_chance chance = {.key = 77, .step = 3};

static bool listed_op(const tb_op *op, const op_case *c)
{
    int opset = c->opset > 0 ? c->opset : 17;
    return strcmp(op->domain, TB_DOMAIN_ONNX) == 0 &&
           strcmp(op->name, c->op) == 0 && opset >= op->since &&
           opset <= op->until;
}

/* --- gradients ------------------------------------------------------------ */

/* sum of dy * y */
static double weighted_sum(const tb_tensor *y, const tb_tensor *dy)
{
    double sum = 0;
    for (size_t i = 0; i < tb_tensor_count(y); i++) {
        sum += tb_tensor_f64_at(y, i) * tb_tensor_f64_at(dy, i);
    }
    return sum;
}

/* Compares dx with the slope of sum(dy * y) at every element of x. */
static void check_slopes(graph_run *run, const case_graph *g, tb_value_id x_id,
                         tb_value_id dx_id, const tb_tensor *dy)
{
    const tb_tensor *y = &run->values[g->y];
    const double step = 1.0 / 128;
    tb_tensor dx;
    tb_tensor *x = &run->values[x_id];
    float *at = x->data;
    tb_err err;
    graph_run_go(run, &chance);
    CHECK_OK(tb_tensor_copy(&dx, &run->values[dx_id], &err), err);
    CHECK(tb_shape_equal(&dx.shape, &x->shape));
    for (size_t i = 0; i < tb_tensor_count(x); i++) {
        float was = at[i];
        at[i] = (float)((double)was + step);
        double up = (double)at[i];
        graph_run_go(run, &chance);
        double high = weighted_sum(y, dy);
        at[i] = (float)((double)was - step);
        double down = (double)at[i];
        graph_run_go(run, &chance);
        double slope = (high - weighted_sum(y, dy)) / (up - down);
        at[i] = was;
        double got = tb_tensor_f64_at(&dx, i);
        if (!(fabs(got - slope) <= 2e-3 * (0.1 + fabs(slope)))) {
            fail_msg("%s: element %zu of input %u: gradient %g, slope %g",
                     g->graph->nodes[g->node]->op, i, x_id, got, slope);
        }
    }
    tb_tensor_release(&dx);
}

/* Adds dy as an input and the backward nodes; their results are outputs. */
static void add_backward(case_graph *g, const op_case *c, tb_value_id *dy,
                         tb_value_id dx[N_IN_MAX])
{
    tb_bound *bound = NULL;
    bool wants[N_IN_MAX] = {false};
    const tb_op *op = NULL;
    tb_err err;
    CHECK_OK(tb_bind_new(
                 &bound, g->graph,
                 &(tb_bind_options){.batch = 1, .training = c->training}, &err),
             err);
    tb_dims dims = dims_of(&bound->values[g->y].shape);
    CHECK_OK(tb_graph_add_input(g->graph, dy, "dy", bound->values[g->y].dtype,
                                &dims, &err),
             err);
    tb_bind_free(&bound);
    for (size_t i = 0; i < c->n_in; i++) {
        wants[i] = c->in[i].data == NULL;
        dx[i] = TB_ID_NONE;
    }
    tb_grad grad = {.graph = g->graph,
                    .node = g->graph->nodes[g->node],
                    .dy = dy,
                    .wants = wants,
                    .dx = dx,
                    .err = &err};
    CHECK_OK(tb_op_of(&op, g->graph, grad.node, &err), err);
    CHECK_OK(tb_op_backward(&grad, op), err);
    for (size_t i = 0; i < c->n_in; i++) {
        if (wants[i]) {
            CHECK_OK(tb_graph_add_output(g->graph, dx[i], &err), err);
        }
    }
}

static void every_gradient_is_the_slope(void **state)
{
    (void)state;
    for (size_t k = 0; k < COUNT_OF(grads); k++) {
        const op_case *c = &grads[k];
        case_graph g = build(c);
        tb_value_id dy = TB_ID_NONE;
        tb_value_id dx[N_IN_MAX];
        graph_run run;
        tb_err err;
        add_backward(&g, c, &dy, dx);
        CHECK_OK(graph_run_init(
                     &run, g.graph,
                     &(tb_bind_options){.batch = 1, .training = c->training},
                     &err),
                 err);
        draw(&run.values[dy], 5);
        for (size_t i = 0; i < c->n_in; i++) {
            if (c->in[i].data == NULL) {
                draw(&run.values[g.in[i]], (unsigned)i + 1);
            }
        }
        for (size_t i = 0; i < c->n_in; i++) {
            if (dx[i] != TB_ID_NONE) {
                check_slopes(&run, &g, g.in[i], dx[i], &run.values[dy]);
            }
        }
        graph_run_release(&run);
        tb_graph_free(&g.graph);
    }
    CHECK(tb_mem_live() == 0);
}

static void every_operator_is_examined(void **state)
{
    (void)state;
    for (size_t i = 0; tb_op_list[i] != NULL; i++) {
        const tb_op *op = tb_op_list[i];
        bool slope = false;
        bool refuses = strcmp(op->name, "Identity") == 0 ||
                       strcmp(op->name, "Shape") == 0; /* take anything */
        bool special = strcmp(op->domain, TB_DOMAIN_GRAD) == 0;
        bool none = special;
        for (size_t k = 0; k < COUNT_OF(without_gradient); k++) {
            none = none || strcmp(op->name, without_gradient[k]) == 0;
        }
        slope = none;
        for (size_t k = 0; k < COUNT_OF(grads); k++) {
            slope = slope || listed_op(op, &grads[k]);
        }
        for (size_t k = 0; k < COUNT_OF(straight_through); k++) {
            slope = slope || strcmp(op->name, straight_through[k]) == 0;
        }
        for (size_t k = 0; k < COUNT_OF(refused); k++) {
            refuses = refuses || listed_op(op, &refused[k]);
        }
        if (!special && !(slope && refuses)) {
            fail_msg("%s from opset %d: %s", op->name, op->since,
                     slope ? "nothing refused" : "no gradient checked");
        }
        CHECK(op->infer != NULL && op->run != NULL);
        CHECK(none == (op->backward == NULL));
        CHECK(op->in_max <= 32 && op->in_min <= op->in_max);
        CHECK(op->out_min >= 1 && op->out_min <= op->out_max);
    }
}

static void two_operators_never_claim_the_same_name_and_opset(void **state)
{
    (void)state;
    for (size_t i = 0; tb_op_list[i] != NULL; i++) {
        for (size_t k = 0; k < i; k++) {
            const tb_op *a = tb_op_list[i];
            const tb_op *b = tb_op_list[k];
            CHECK(strcmp(a->name, b->name) != 0 ||
                  strcmp(a->domain, b->domain) != 0 || a->until < b->since ||
                  b->until < a->since);
        }
    }
}

/* --- refusals ------------------------------------------------------------- */

static void every_operator_refuses_what_it_cannot_take(void **state)
{
    (void)state;
    for (size_t k = 0; k < COUNT_OF(refused); k++) {
        const op_case *c = &refused[k];
        case_graph g = build(c);
        tb_bound *bound = NULL;
        tb_err err = {0};
        tb_rc rc = tb_bind_new(
            &bound, g.graph,
            &(tb_bind_options){.batch = 1, .training = c->training}, &err);
        if (rc == TB_OK) {
            fail_msg("%s: refused case %zu was taken", c->op, k);
        }
        CHECK(tb_rc_fault(rc) == TB_FAULT_PEER);
        CHECK(strstr(err.text, c->op) != NULL);
        CHECK(strstr(err.text, "node") != NULL);
        tb_graph_free(&g.graph);
    }
    CHECK(tb_mem_live() == 0);
}

/* --- memory --------------------------------------------------------------- */

/* Runs a call with out[0] laid over in[i]; the result must be want. */
static void check_in_place(tb_call *call, size_t i, const tb_tensor *want)
{
    tb_tensor copy;
    tb_tensor kept[N_IN_MAX + 1];
    tb_tensor out = call->out[0];
    tb_err err;
    CHECK(call->n_in <= COUNT_OF(kept));
    memcpy(kept, call->in, call->n_in * sizeof kept[0]);
    CHECK_OK(tb_tensor_copy(&copy, &call->in[i], &err), err);
    for (size_t k = 0; k < call->n_in; k++) { /* the same value twice */
        if (call->in[k].data == kept[i].data) {
            call->in[k].data = copy.data;
        }
    }
    call->out[0].data = copy.data;
    call->op->run(call);
    if (memcmp(copy.data, want->data, tb_tensor_bytes(want)) != 0) {
        fail_msg("%s: another result in place of input %zu", call->op->name, i);
    }
    memcpy(call->in, kept, call->n_in * sizeof kept[0]);
    call->out[0] = out;
    tb_tensor_release(&copy);
}

static void check_memory_hints(tb_call *call)
{
    tb_tensor want;
    tb_err err;
    CHECK_OK(tb_tensor_copy(&want, &call->out[0], &err), err);
    if (call->view_of >= 0) {
        const tb_tensor *in = &call->in[call->view_of];
        CHECK(tb_tensor_bytes(in) == tb_tensor_bytes(&want));
        CHECK(memcmp(in->data, want.data, tb_tensor_bytes(in)) == 0);
        check_in_place(call, (size_t)call->view_of, &want);
    }
    for (size_t i = 0; i < call->n_in; i++) {
        if ((call->op->in_place >> i & 1) != 0 &&
            tb_tensor_bytes(&call->in[i]) == tb_tensor_bytes(&want)) {
            check_in_place(call, i, &want);
        }
        if ((call->op->shape_only >> i & 1) != 0) {
            void *data = call->in[i].data;
            call->in[i].data = NULL; /* not read: nothing to fall over */
            call->op->run(call);
            CHECK(memcmp(call->out[0].data, want.data,
                         tb_tensor_bytes(&want)) == 0);
            call->in[i].data = data;
        }
    }
    tb_tensor_release(&want);
}

static void memory_hints_are_true_forward_and_backward(void **state)
{
    (void)state;
    for (size_t k = 0; k < COUNT_OF(grads); k++) {
        const op_case *c = &grads[k];
        case_graph g = build(c);
        tb_value_id dy = TB_ID_NONE;
        tb_value_id dx[N_IN_MAX];
        graph_run run;
        tb_err err;
        add_backward(&g, c, &dy, dx);
        CHECK_OK(graph_run_init(
                     &run, g.graph,
                     &(tb_bind_options){.batch = 1, .training = c->training},
                     &err),
                 err);
        draw(&run.values[dy], 5);
        for (size_t i = 0; i < c->n_in; i++) {
            if (c->in[i].data == NULL) {
                draw(&run.values[g.in[i]], (unsigned)i + 1);
            }
        }
        graph_run_go(&run, &chance);
        for (size_t i = 0; i < run.bound->n_calls; i++) {
            check_memory_hints(&run.bound->calls[i]);
        }
        graph_run_release(&run);
        tb_graph_free(&g.graph);
    }
}

/* --- straight-through ----------------------------------------------------- */

/* x = -1 and 200 lie outside u8 at scale 0.5, zero 0: by hand. */
static void a_quantised_pair_passes_the_gradient_inside_its_range(void **state)
{
    static const op_case c = {"QuantizeLinear",
                              0,
                              {{0}},
                              0,
                              {F32(4), CONST(TB_F32, one_scale, 1)},
                              2,
                              false};
    const float x[4] = {-1.0f, 0.25f, 127.5f, 200.0f};
    const uint8_t q[4] = {0, 0, 255, 255}; /* 0.5 goes to even */
    const float grad[4] = {1, 2, 3, 4};
    const float want[4] = {0, 2, 3, 0};
    case_graph g = build(&c);
    tb_value_id dy = TB_ID_NONE;
    tb_value_id dx[N_IN_MAX] = {TB_ID_NONE, TB_ID_NONE, TB_ID_NONE};
    const bool wants[N_IN_MAX] = {true, false, false};
    const tb_dims dims = {.rank = 1, .dim = {4}};
    graph_run run;
    tb_err err;
    (void)state;
    CHECK_OK(tb_graph_add_input(g.graph, &dy, "dy", TB_F32, &dims, &err), err);
    tb_grad grads_of = {.graph = g.graph,
                        .node = g.graph->nodes[g.node],
                        .dy = &dy,
                        .wants = wants,
                        .dx = dx,
                        .err = &err};
    CHECK_OK(tb_op_backward(&grads_of, tb_op_find("", "QuantizeLinear", 17)),
             err);
    CHECK_OK(tb_graph_add_output(g.graph, dx[0], &err), err);
    CHECK_OK(
        graph_run_init(&run, g.graph, &(tb_bind_options){.batch = 1}, &err),
        err);
    memcpy(run.values[g.in[0]].data, x, sizeof x);
    memcpy(run.values[dy].data, grad, sizeof grad);
    graph_run_go(&run, NULL);
    CHECK(memcmp(run.values[g.y].data, q, sizeof q) == 0);
    CHECK(memcmp(run.values[dx[0]].data, want, sizeof want) == 0);
    graph_run_release(&run);
    tb_graph_free(&g.graph);
}

/* --- Dropout -------------------------------------------------------------- */

/* Kept share and scale of a mask at ratio 0.4 over many elements. */
static void dropout_keeps_its_share_and_changes_with_the_step(void **state)
{
    static const op_case c = {
        "Dropout", 0,   {{0}}, 0, {F32(100000), CONST(TB_F32, ratio_40, 1)},
        2,         true};
    case_graph g = build(&c);
    graph_run run;
    tb_err err;
    size_t kept[2] = {0, 0};
    size_t both = 0;
    (void)state;
    static uint8_t first[100000];
    CHECK_OK(graph_run_init(&run, g.graph,
                            &(tb_bind_options){.batch = 1, .training = true},
                            &err),
             err);
    float *x = run.values[g.in[0]].data;
    for (size_t i = 0; i < 100000; i++) {
        x[i] = 3;
    }
    for (size_t step = 0; step < 2; step++) {
        graph_run_go(&run, &(tb_chance){.key = 9, .step = step});
        const float *y = run.values[g.y].data;
        for (size_t i = 0; i < 100000; i++) {
            CHECK(y[i] == 0 || fabsf(y[i] - 5) < 1e-5f); /* 3 / (1 - 0.4) */
            kept[step] += y[i] != 0;
            both += step == 1 && y[i] != 0 && first[i] != 0;
            first[i] = y[i] != 0;
        }
    }
    /* Expected 60,000 and 36,000; five standard deviations are about 800. */
    CHECK(kept[0] > 59200 && kept[0] < 60800);
    CHECK(kept[1] > 59200 && kept[1] < 60800);
    CHECK(both > 35200 && both < 36800);
    graph_run_release(&run);
    tb_graph_free(&g.graph);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_operator_is_examined),
        cmocka_unit_test(two_operators_never_claim_the_same_name_and_opset),
        cmocka_unit_test(every_gradient_is_the_slope),
        cmocka_unit_test(every_operator_refuses_what_it_cannot_take),
        cmocka_unit_test(memory_hints_are_true_forward_and_backward),
        cmocka_unit_test(a_quantised_pair_passes_the_gradient_inside_its_range),
        cmocka_unit_test(dropout_keeps_its_share_and_changes_with_the_step),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
