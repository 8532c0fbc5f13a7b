/* core/model/ops/matmul.c - Gemm, MatMul over batches, and MatMulT, a product
 * for its gradients, whose operands are transposed on the way. */
#include <string.h>

#include "model/ops/matmul.h"
#include "model/ops/op_priv.h"
#include "tensor/gemm.h"
#include "tensor/kernels.h"

/* BLAS counts in int; the kernel relies on this bound. */
#define EXTENT_MAX ((size_t)INT32_MAX)

static tb_rc check_extents(const tb_gemm_shape *s, tb_err *err)
{
    if (s->m > EXTENT_MAX || s->n > EXTENT_MAX || s->k > EXTENT_MAX) {
        return tb_fail(err, TB_E_LIMIT, "matrix of %zu x %zu x %zu", s->m, s->n,
                       s->k);
    }
    return TB_OK;
}

static tb_rc inner_mismatch(const tb_call *call, tb_err *err)
{
    char a[TB_SHAPE_TEXT_BYTES];
    char b[TB_SHAPE_TEXT_BYTES];
    return tb_fail(err, TB_E_MISMATCH, "inner extents of %s and %s differ",
                   tb_shape_text(&call->in[0].shape, a),
                   tb_shape_text(&call->in[1].shape, b));
}

/* --- Gemm ----------------------------------------------------------------- */

typedef struct gemm_state {
    tb_gemm_shape shape;
    float alpha;
    float beta;
    bool has_c;
    size_t c_row; /* strides of C seen as [m, n]; 0: it is stretched */
    size_t c_col;
    bool relu; /* see matmul.h */
    bool gated;
} gemm_state;

static tb_rc gemm_infer_c(tb_call *call, gemm_state *state, tb_err *err)
{
    const tb_shape y = TB_SHAPE(state->shape.m, state->shape.n);
    size_t stride[TB_RANK_MAX];
    tb_shape both;
    tb_rc rc = tb_shape_broadcast(&both, &call->in[2].shape, &y, err);
    if (rc == TB_OK && !tb_shape_equal(&both, &y)) {
        char c[TB_SHAPE_TEXT_BYTES];
        char t[TB_SHAPE_TEXT_BYTES];
        rc =
            tb_fail(err, TB_E_MISMATCH, "C %s does not stretch to %s",
                    tb_shape_text(&call->in[2].shape, c), tb_shape_text(&y, t));
    }
    if (rc == TB_OK) {
        tb_shape_strides(stride, &call->in[2].shape, &y);
        state->c_row = stride[0];
        state->c_col = stride[1];
    }
    return rc;
}

static tb_rc gemm_infer(tb_call *call, tb_err *err)
{
    gemm_state *state = TB_OP_STATE(gemm_state, call);
    const tb_shape *a = &call->in[0].shape;
    const tb_shape *b = &call->in[1].shape;
    bool ta = tb_node_int(call->node, "transA", 0) != 0;
    bool tb = tb_node_int(call->node, "transB", 0) != 0;
    tb_rc rc = tb_op_need_f32(call, 3, err);
    if (rc != TB_OK) {
        return rc;
    }
    if (a->rank != 2 || b->rank != 2) {
        char text[TB_SHAPE_TEXT_BYTES];
        return tb_fail(err, TB_E_MISMATCH,
                       "operand of shape %s, two dimensions expected",
                       tb_shape_text(a->rank != 2 ? a : b, text));
    }
    if (a->dim[!ta] != b->dim[tb]) {
        return inner_mismatch(call, err);
    }
    *state = (gemm_state){
        .shape = tb_gemm_dense(ta, tb, a->dim[ta], b->dim[!tb], a->dim[!ta]),
        .alpha = tb_node_float(call->node, "alpha", 1.0f),
        .beta = tb_node_float(call->node, "beta", 1.0f),
        .has_c = tb_op_has(call, 2)};
    rc = check_extents(&state->shape, err);
    if (rc == TB_OK && state->has_c) {
        rc = gemm_infer_c(call, state, err);
    }
    call->out[0] =
        tb_tensor_view(TB_F32, &TB_SHAPE(state->shape.m, state->shape.n), NULL);
    return rc;
}

/* y [m, n] = alpha op(a) [m, k] op(b) [k, n] + beta c, c stretched to [m, n] */
static void gemm_run(const tb_call *call)
{
    const gemm_state *state = TB_OP_CONST_STATE(gemm_state, call);
    tb_gemm_tail tail = {.from_row = state->c_row,
                         .from_col = state->c_col,
                         .relu = state->relu};
    tail.from = state->has_c ? tb_op_f32(call, 2) : NULL;
    tail.gate = state->gated ? tb_op_f32(call, 2) : NULL;
    tb_gemm_with(&state->shape, state->alpha, tb_op_f32(call, 0),
                 tb_op_f32(call, 1), state->has_c ? state->beta : 0.0f,
                 tb_op_f32_out(call), &tail);
}

static double gemm_flops(const tb_call *call)
{
    const tb_gemm_shape *s = &TB_OP_CONST_STATE(gemm_state, call)->shape;
    return 2.0 * (double)s->m * (double)s->n * (double)s->k;
}

static tb_value_id emit_gemm(tb_grad *g, tb_value_id a, bool ta, tb_value_id b,
                             bool tb)
{
    const tb_value_id in[2] = {a, b};
    const tb_attr attrs[3] = {
        TB_ATTR_F("alpha", tb_node_float(g->node, "alpha", 1.0f)),
        TB_ATTR_I("transA", ta), TB_ATTR_I("transB", tb)};
    return tb_grad_emit(g, &(tb_node_spec){.op = "Gemm",
                                           .attrs = attrs,
                                           .n_attrs = TB_COUNT(attrs),
                                           .in = in,
                                           .n_in = 2});
}

/* y = alpha A' B' + beta C, ' being the transposition that its flag asks for:
 * dA' = alpha dy B'^T, dB' = alpha A'^T dy, dC = beta dy summed to C */
static void gemm_backward(tb_grad *g)
{
    const tb_value_id *in = g->node->in;
    tb_value_id dy = g->dy[0];
    bool ta = tb_node_int(g->node, "transA", 0) != 0;
    bool tb = tb_node_int(g->node, "transB", 0) != 0;
    if (g->wants[0]) {
        g->dx[0] = ta ? emit_gemm(g, in[1], tb, dy, true)
                      : emit_gemm(g, dy, false, in[1], !tb);
    }
    if (g->wants[1]) {
        g->dx[1] = tb ? emit_gemm(g, dy, true, in[0], ta)
                      : emit_gemm(g, in[0], !ta, dy, false);
    }
    if (g->node->n_in > 2 && g->wants[2]) {
        g->dx[2] =
            tb_grad_reduce(g, dy, in[2], tb_node_float(g->node, "beta", 1.0f));
    }
}

/* --- MatMul --------------------------------------------------------------- */

typedef struct matmul_state {
    tb_gemm_shape shape; /* of one product */
    size_t a_floats;     /* of one matrix */
    size_t b_floats;
    bool adds;    /* several products go to one matrix of y */
    tb_walk walk; /* of a, b and y over the leading dimensions, counted in
                   * matrices */
    bool bias;    /* see matmul.h */
    bool relu;
} matmul_state;

/* Two operands as matrices, whatever they were: op(a) [..., m, k],
 * op(b) [..., k, n]. */
typedef struct operands {
    bool ta;
    bool tb;
    tb_shape a;
    tb_shape b;
    bool drop_m; /* these extents of 1 are not the result's */
    bool drop_n;
} operands;

/* An extent of 1 more: the last, or the last but one. */
static void add_extent(tb_shape *shape, bool last)
{
    size_t d = shape->rank++;
    shape->dim[d] = 1;
    if (!last && d > 0) {
        shape->dim[d] = shape->dim[d - 1];
        shape->dim[d - 1] = 1;
    }
}

/* As numpy has it: a vector is a row on the left, and a column on the right. */
static void widen(operands *o)
{
    o->drop_m = o->a.rank == 1;
    o->drop_n = o->b.rank == 1;
    if (o->drop_m) {
        add_extent(&o->a, false);
    }
    if (o->drop_n) {
        add_extent(&o->b, true);
    }
}

/* da = dy B^T: a is dy here. It lacks a dimension where A or B was a vector,
 * and then has fewer than B, if that is a matrix. */
static void widen_da(operands *o)
{
    bool vector = o->b.rank == 1;
    o->drop_m = vector && o->a.rank == 0;
    if (vector) {
        add_extent(&o->b, true);
        add_extent(&o->a, true);
    } else if (o->a.rank < o->b.rank) {
        add_extent(&o->a, false);
    }
    if (o->a.rank < 2) {
        add_extent(&o->a, false);
    }
}

/* db = A^T dy: b is dy here, and the same holds with A. */
static void widen_db(operands *o)
{
    bool vector = o->a.rank == 1;
    o->drop_n =
        (vector && o->b.rank == 0) || (!vector && o->b.rank < o->a.rank);
    if (vector) {
        add_extent(&o->a, false);
        add_extent(&o->b, false);
    } else if (o->drop_n) {
        add_extent(&o->b, true);
    }
    if (o->b.rank < 2) {
        add_extent(&o->b, true);
    }
}

/* The shape without its last two dimensions. */
static tb_shape leading(const tb_shape *shape)
{
    tb_shape out = *shape;
    out.rank -= 2;
    out.dim[out.rank] = 0;
    out.dim[out.rank + 1] = 0;
    return out;
}

/* All rows of a shape as one matrix. */
static void flatten(tb_shape *shape)
{
    *shape = TB_SHAPE(tb_shape_product(shape, 0, shape->rank - 1),
                      shape->dim[shape->rank - 1]);
}

/* Plans the products. *lead: the leading dimensions to which both broadcast;
 * y: those of the result, fewer or the same. */
static void plan_products(matmul_state *state, const operands *o,
                          const tb_shape *lead, const tb_shape *y)
{
    const size_t *a = o->a.dim + o->a.rank - 2;
    const size_t *b = o->b.dim + o->b.rank - 2;
    const tb_shape lead_a = leading(&o->a);
    const tb_shape lead_b = leading(&o->b);
    const tb_shape none = {0};
    const tb_shape *const leads[3] = {&lead_a, &lead_b, y};
    const tb_shape *const nothing[3] = {&none, &none, &none};
    size_t m = a[o->ta];
    tb_walk_plan(&state->walk, leads, 3, lead);
    if (o->b.rank == 2 && !o->ta) { /* one product over all rows of a */
        m = tb_shape_product(&o->a, 0, o->a.rank - 1);
        tb_walk_plan(&state->walk, nothing, 3, &none);
    }
    state->shape = tb_gemm_dense(o->ta, o->tb, m, b[!o->tb], a[!o->ta]);
    state->a_floats = m * state->shape.k;
    state->b_floats = state->shape.n * state->shape.k;
    state->adds =
        state->walk.n_outer * state->walk.n > tb_shape_product(y, 0, y->rank);
}

/* The leading dimensions to which both operands broadcast. */
static tb_rc find_lead(tb_shape *lead, const tb_call *call, const operands *o,
                       tb_err *err)
{
    const tb_shape lead_a = leading(&o->a);
    const tb_shape lead_b = leading(&o->b);
    if (o->a.dim[o->a.rank - 2 + !o->ta] != o->b.dim[o->b.rank - 2 + o->tb]) {
        return inner_mismatch(call, err);
    }
    return tb_shape_broadcast(lead, &lead_a, &lead_b, err);
}

static tb_rc matmul_infer(tb_call *call, tb_err *err)
{
    operands o = {.a = call->in[0].shape, .b = call->in[1].shape};
    tb_rc rc = tb_op_need_f32(call, 2, err);
    if (rc == TB_OK && (o.a.rank == 0 || o.b.rank == 0)) {
        rc = tb_fail(err, TB_E_MISMATCH, "an operand without dimensions");
    }
    if (rc != TB_OK) {
        return rc;
    }
    matmul_state *state = TB_OP_STATE(matmul_state, call);
    tb_shape y;
    widen(&o);
    rc = find_lead(&y, call, &o, err);
    if (rc != TB_OK) {
        return rc;
    }
    plan_products(state, &o, &y, &y);
    if (!o.drop_m) {
        y.dim[y.rank++] = o.a.dim[o.a.rank - 2];
    }
    if (!o.drop_n) {
        y.dim[y.rank++] = o.b.dim[o.b.rank - 1];
    }
    call->out[0] = tb_tensor_view(TB_F32, &y, NULL);
    return check_extents(&state->shape, err);
}

/* y [..., m, n] = op(a) [..., m, k] op(b) [..., k, n], or their sum */
static void matmul_run(const tb_call *call)
{
    const matmul_state *state = TB_OP_CONST_STATE(matmul_state, call);
    const tb_walk *walk = &state->walk;
    size_t y_floats = state->shape.m * state->shape.n;
    float *y = tb_op_f32_out(call);
    tb_walk_at at = {0};
    tb_gemm_tail tail = {.from_col = 1, .relu = state->relu};
    tail.from = state->bias ? tb_op_f32(call, 2) : NULL;
    if (state->adds && tb_tensor_count(&call->out[0]) > 0) {
        memset(y, 0, tb_tensor_bytes(&call->out[0]));
    }
    for (size_t i = 0; i < walk->n_outer; i++) {
        for (size_t j = 0; j < walk->n; j++) {
            size_t a = at.at[0] + j * walk->step[0];
            size_t b = at.at[1] + j * walk->step[1];
            size_t c = at.at[2] + j * walk->step[2];
            tb_gemm_with(&state->shape, 1.0f,
                         tb_op_f32(call, 0) + a * state->a_floats,
                         tb_op_f32(call, 1) + b * state->b_floats,
                         state->adds || state->bias ? 1.0f : 0.0f,
                         y + c * y_floats, &tail);
        }
        tb_walk_next(&at, walk);
    }
}

static double matmul_flops(const tb_call *call)
{
    const matmul_state *state = TB_OP_CONST_STATE(matmul_state, call);
    const tb_gemm_shape *s = &state->shape;
    return 2.0 * (double)(state->walk.n_outer * state->walk.n) * (double)s->m *
           (double)s->n * (double)s->k;
}

/* MatMulT(a, b, like), products summed to the shape of like. */
static tb_value_id emit_matmul(tb_grad *g, tb_value_id a, bool ta,
                               tb_value_id b, tb_value_id like)
{
    const tb_value_id in[3] = {a, b, like};
    const tb_attr attrs[2] = {TB_ATTR_I("transA", ta),
                              TB_ATTR_I("transB", !ta)};
    return tb_grad_emit(g, &(tb_node_spec){.domain = TB_DOMAIN_GRAD,
                                           .op = "MatMulT",
                                           .attrs = attrs,
                                           .n_attrs = TB_COUNT(attrs),
                                           .in = in,
                                           .n_in = 3});
}

/* y = A B: dA = dy B^T, dB = A^T dy, summed over stretched batches */
static void matmul_backward(tb_grad *g)
{
    const tb_value_id *in = g->node->in;
    if (g->wants[0]) {
        g->dx[0] = emit_matmul(g, g->dy[0], false, in[1], in[0]);
    }
    if (g->wants[1]) {
        g->dx[1] = emit_matmul(g, in[0], true, g->dy[0], in[1]);
    }
}

/* dy, B, A -> dy B^T; or with transA A, dy, B -> A^T dy, which is one product
 * over all rows where B is a matrix. The data of `like` is not read. */
static tb_rc matmul_t_infer(tb_call *call, tb_err *err)
{
    const tb_shape *like = &call->in[2].shape;
    operands o = {.ta = tb_node_int(call->node, "transA", 0) != 0,
                  .a = call->in[0].shape,
                  .b = call->in[1].shape};
    o.tb = !o.ta;
    tb_rc rc = tb_op_need_f32(call, 2, err);
    const tb_shape *known = o.ta ? &o.a : &o.b;
    const tb_shape *dy = o.ta ? &o.b : &o.a;
    if (rc == TB_OK && (known->rank == 0 || dy->rank + 2 > TB_RANK_MAX)) {
        rc = tb_fail(err, TB_E_MISMATCH, "no gradient of a product");
    }
    if (rc != TB_OK) {
        return rc;
    }
    matmul_state *state = TB_OP_STATE(matmul_state, call);
    const tb_shape y = like->rank > 2 ? leading(like) : (tb_shape){0};
    tb_shape lead;
    tb_shape both;
    if (o.ta) {
        widen_db(&o);
    } else {
        widen_da(&o);
    }
    if (o.ta && like->rank <= 2 && o.a.rank == o.b.rank && o.a.rank > 2) {
        flatten(&o.a);
        flatten(&o.b);
    }
    rc = find_lead(&lead, call, &o, err);
    if (rc == TB_OK) {
        rc = tb_shape_broadcast(&both, &y, &lead, err);
    }
    if (rc != TB_OK) {
        return rc;
    }
    plan_products(state, &o, &lead, &y);
    size_t rows = tb_shape_product(&y, 0, y.rank);
    rows = state->walk.rank == 0 && state->walk.n == 1 ? 1 : rows;
    if (!tb_shape_equal(&both, &lead) ||
        rows * state->shape.m * state->shape.n !=
            tb_shape_product(like, 0, like->rank)) {
        return tb_fail(err, TB_E_MISMATCH, "a gradient of another shape");
    }
    call->out[0] = tb_tensor_view(TB_F32, like, NULL);
    return check_extents(&state->shape, err);
}

/* --- what fusion may add -------------------------------------------------- */

/* One product, not several. */
static bool is_single(const tb_call *call)
{
    const matmul_state *state = TB_OP_CONST_STATE(matmul_state, call);
    return state->walk.n_outer == 1 && state->walk.n == 1 && !state->adds;
}

bool tb_op_matmul_bias(tb_call *call, const tb_shape *row)
{
    matmul_state *state = TB_OP_STATE(matmul_state, call);
    if (call->op != &tb_op_matmul || !is_single(call) || state->bias ||
        row->rank != 1 || row->dim[0] != state->shape.n) {
        return false;
    }
    state->bias = true;
    return true;
}

bool tb_op_product_relu(tb_call *call)
{
    bool *relu = NULL;
    if (call->op == &tb_op_gemm) {
        relu = &TB_OP_STATE(gemm_state, call)->relu;
    } else if (call->op == &tb_op_matmul && is_single(call)) {
        relu = &TB_OP_STATE(matmul_state, call)->relu;
    }
    if (relu == NULL || *relu) {
        return false;
    }
    *relu = true;
    return true;
}

bool tb_op_gemm_gate(tb_call *call)
{
    gemm_state *state = TB_OP_STATE(gemm_state, call);
    if (call->op != &tb_op_gemm || state->has_c || state->gated ||
        call->n_in != 2) {
        return false;
    }
    state->gated = true;
    return true;
}

/* --- the table ------------------------------------------------------------ */

static const tb_attr_decl gemm_attrs[] = {{"alpha", TB_ATTR_FLOAT, false},
                                          {"beta", TB_ATTR_FLOAT, false},
                                          {"transA", TB_ATTR_INT, false},
                                          {"transB", TB_ATTR_INT, false}};

const tb_op tb_op_gemm = {.domain = TB_DOMAIN_ONNX,
                          .name = "Gemm",
                          .since = 7,
                          .until = TB_OPSET_ANY,
                          .in_min = 2,
                          .in_max = 3,
                          .out_min = 1,
                          .out_max = 1,
                          .attrs = gemm_attrs,
                          .n_attrs = TB_COUNT(gemm_attrs),
                          .trains = 7,
                          .types = TB_TYPES_F32,
                          .flops = gemm_flops,
                          .infer = gemm_infer,
                          .run = gemm_run,
                          .backward = gemm_backward};

const tb_op tb_op_matmul = {.domain = TB_DOMAIN_ONNX,
                            .name = "MatMul",
                            .since = 1,
                            .until = TB_OPSET_ANY,
                            .in_min = 2,
                            .in_max = 2,
                            .out_min = 1,
                            .out_max = 1,
                            .trains = 3,
                            .types = TB_TYPES_F32,
                            .flops = matmul_flops,
                            .infer = matmul_infer,
                            .run = matmul_run,
                            .backward = matmul_backward};

const tb_op tb_op_matmul_t = {.domain = TB_DOMAIN_GRAD,
                              .name = "MatMulT",
                              .since = 1,
                              .until = TB_OPSET_ANY,
                              .in_min = 3,
                              .in_max = 3,
                              .out_min = 1,
                              .out_max = 1,
                              .attrs = gemm_attrs + 2,
                              .n_attrs = 2,
                              .shape_only = 4,
                              .flops = matmul_flops,
                              .infer = matmul_t_infer,
                              .run = matmul_run};
