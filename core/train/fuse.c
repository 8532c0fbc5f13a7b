#include "train/fuse.h"

#include <string.h>

#include "model/op.h"
#include "model/ops/conv.h"
#include "tensor/gemm.h"
#include "tensor/kernels.h"

/* --- products ------------------------------------------------------------- */

typedef struct update_state {
    tb_gemm_shape shape;
    float alpha;
    const tb_fuse_rates *rates;
} update_state;

_Static_assert(sizeof(update_state) <= TB_OP_STATE_BYTES, "state too large");

/* w = keep * w - rate * alpha * op(a) op(b); out[0] is the parameter. */
static void update_run(const tb_call *call)
{
    update_state s;
    memcpy(&s, call->state.bytes, sizeof s);
    tb_gemm(&s.shape, -s.rates->rate * s.alpha, call->in[0].data,
            call->in[1].data, s.rates->keep, call->out[0].data);
}

static const tb_op update_op = {.domain = TB_DOMAIN_GRAD,
                                .name = "GemmUpdate",
                                .in_min = 2,
                                .in_max = 3,
                                .out_min = 1,
                                .out_max = 1,
                                .shape_only = 4, /* of MatMulT */
                                .run = update_run};

static const tb_node *node_of(const tb_bound *b, size_t call)
{
    return b->calls[call].node;
}

/* Whether v is an output of the call; *out: which. */
static bool makes(const tb_node *node, tb_value_id v, size_t *out)
{
    for (*out = 0; *out < node->n_out; (*out)++) {
        if (node->out[*out] == v) {
            return true;
        }
    }
    return false;
}

/* The call that makes v, as its output *out; or n_calls. */
static size_t find_maker(const tb_bound *b, tb_value_id v, size_t *out)
{
    size_t i = 0;
    while (i < b->n_calls && !makes(node_of(b, i), v, out)) {
        i++;
    }
    return i;
}

/* Gemm of two matrices and nothing else. */
static bool is_gemm(const tb_bound *b, size_t call)
{
    const tb_node *node = node_of(b, call);
    return b->calls[call].n_in == 2 && strcmp(node->op, "Gemm") == 0 &&
           strcmp(node->domain, TB_DOMAIN_ONNX) == 0;
}

/* A^T dy over all rows, for a matrix by which MatMul multiplies. */
static bool is_matmul_t(const tb_bound *b, size_t call)
{
    const tb_node *node = node_of(b, call);
    const tb_shape *a = &b->calls[call].in[0].shape;
    const tb_shape *dy = &b->calls[call].in[1].shape;
    return strcmp(node->op, "MatMulT") == 0 &&
           strcmp(node->domain, TB_DOMAIN_GRAD) == 0 &&
           tb_node_int(node, "transA", 0) != 0 && a->rank == dy->rank &&
           a->rank >= 2 && b->calls[call].out[0].shape.rank == 2;
}

/* Whether v is read behind `call`, or somewhere handed on as a view, so that
 * its readers are not known. */
static bool is_read_later(const tb_bound *b, tb_value_id v, size_t call)
{
    for (size_t i = 0; i < b->n_calls; i++) {
        for (size_t j = 0; j < b->calls[i].n_in; j++) {
            bool view = b->calls[i].view_of == (int)j;
            if (node_of(b, i)->in[j] == v && (i > call || view)) {
                return true;
            }
        }
    }
    return false;
}

static void rewrite_product(tb_call *call, const tb_node *node,
                            const tb_fuse_rates *rates)
{
    bool ta = tb_node_int(node, "transA", 0) != 0;
    bool tb = tb_node_int(node, "transB", 0) != 0;
    const tb_shape *y = &call->out[0].shape;
    size_t terms =
        y->dim[0] > 0 ? tb_tensor_count(&call->in[0]) / y->dim[0] : 0;
    update_state s = {.shape =
                          tb_gemm_dense(ta, tb, y->dim[0], y->dim[1], terms),
                      .alpha = tb_node_float(node, "alpha", 1.0f),
                      .rates = rates};
    memcpy(call->state.bytes, &s, sizeof s);
    call->op = &update_op;
    call->view_of = -1;
    call->work_bytes = 0;
}

/* --- rows of an embedding ------------------------------------------------- */

typedef struct rows_state {
    size_t n;     /* the parameter is [n, width] */
    size_t width; /* in floats */
    size_t n_index;
    const tb_fuse_rates *rates;
} rows_state;

_Static_assert(sizeof(rows_state) <= TB_OP_STATE_BYTES, "state too large");

/* w[index[i]] -= rate * dy[i]; where w decays, all of it does so first. An
 * index out of range was a fault of the forward pass: none gets here. */
static void rows_run(const tb_call *call)
{
    rows_state s;
    memcpy(&s, call->state.bytes, sizeof s);
    const float *dy = call->in[0].data;
    float *w = call->out[0].data;
    if (s.rates->keep != 1.0f) {
        tb_k_affine(w, w, s.n * s.width, s.rates->keep, 0.0f);
    }
    for (size_t i = 0; i < s.n_index; i++, dy += s.width) {
        int64_t at = tb_tensor_i64_at(&call->in[1], i);
        at = at < 0 ? at + (int64_t)s.n : at;
        if (at >= 0 && at < (int64_t)s.n) {
            tb_k_axpy(w + (size_t)at * s.width, dy, s.width, -s.rates->rate);
        }
    }
}

static const tb_op rows_op = {.domain = TB_DOMAIN_GRAD,
                              .name = "RowsUpdate",
                              .in_min = 3,
                              .in_max = 3,
                              .out_min = 1,
                              .out_max = 1,
                              .shape_only = 4,
                              .run = rows_run};

/* The gradient of a Gather of rows. */
static bool is_rows(const tb_bound *b, size_t call)
{
    const tb_node *node = node_of(b, call);
    return strcmp(node->op, "GatherGrad") == 0 &&
           strcmp(node->domain, TB_DOMAIN_GRAD) == 0 &&
           tb_node_int(node, "axis", 0) == 0;
}

static void rewrite_rows(tb_call *call, const tb_fuse_rates *rates)
{
    const tb_shape *w = &call->out[0].shape;
    rows_state s = {.n = w->dim[0],
                    .width = tb_shape_product(w, 1, w->rank),
                    .n_index = tb_tensor_count(&call->in[1]),
                    .rates = rates};
    memcpy(call->state.bytes, &s, sizeof s);
    call->op = &rows_op;
}

/* --- all ------------------------------------------------------------------ */

/* Rewrites the call that makes a gradient as its output `out`, if it can. */
static bool rewrite(tb_bound *bound, size_t maker, size_t out,
                    const tb_fuse_rates *rates)
{
    tb_call *call = &bound->calls[maker];
    if (out == 0 && (is_gemm(bound, maker) || is_matmul_t(bound, maker))) {
        rewrite_product(call, node_of(bound, maker), rates);
        return true;
    }
    if (out == 0 && is_rows(bound, maker)) {
        rewrite_rows(call, rates);
        return true;
    }
    return tb_op_conv_step(call, out, &rates->keep, &rates->rate);
}

void tb_fuse_updates(tb_bound *bound, const tb_slots *slots,
                     const tb_value_id *grads, const tb_fuse_rates *rates,
                     bool *fused)
{
    for (size_t s = 0; s < slots->n; s++) {
        size_t out = 0;
        size_t maker = grads[s] == TB_ID_NONE
                           ? bound->n_calls
                           : find_maker(bound, grads[s], &out);
        fused[s] = maker < bound->n_calls &&
                   tb_graph_n_uses(bound->graph, grads[s]) == 0 &&
                   !is_read_later(bound, slots->slot[s].value, maker) &&
                   rewrite(bound, maker, out, rates);
    }
}
