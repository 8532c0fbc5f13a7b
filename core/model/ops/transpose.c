/* core/model/ops/transpose.c - Transpose, of any element type. */
#include "model/ops/op_priv.h"
#include "tensor/strided.h"

/* The permutation; reversed dimensions when the node has none. */
static tb_rc read_perm(size_t perm[TB_RANK_MAX], const tb_node *node,
                       size_t rank, tb_err *err)
{
    const tb_attr *attr = tb_node_attr(node, "perm");
    bool seen[TB_RANK_MAX] = {false};
    if (attr != NULL && attr->n != rank) {
        return tb_fail(err, TB_E_MISMATCH, "perm of %zu for %zu dimensions",
                       attr->n, rank);
    }
    for (size_t i = 0; i < rank; i++) {
        int64_t axis = attr != NULL ? attr->ints[i] : (int64_t)(rank - 1 - i);
        if (axis < 0 || axis >= (int64_t)rank || seen[axis]) {
            return tb_fail(err, TB_E_MALFORMED, "perm is no permutation");
        }
        seen[axis] = true;
        perm[i] = (size_t)axis;
    }
    return TB_OK;
}

static tb_rc infer(tb_call *call, tb_err *err)
{
    tb_strided *plan = TB_OP_STATE(tb_strided, call);
    const tb_shape *x = &call->in[0].shape;
    size_t perm[TB_RANK_MAX];
    ptrdiff_t stride[TB_RANK_MAX];
    ptrdiff_t to[TB_RANK_MAX];
    tb_shape y = {.rank = x->rank};
    tb_rc rc = read_perm(perm, call->node, x->rank, err);
    if (rc != TB_OK) {
        return rc;
    }
    for (size_t i = 0; i < x->rank; i++) {
        y.dim[i] = x->dim[perm[i]];
    }
    tb_strided_dense(stride, x);
    tb_strided_dense(to, &y);
    *plan = (tb_strided){0};
    for (size_t i = 0; i < x->rank; i++) {
        tb_strided_push(plan, y.dim[i], to[i], stride[perm[i]]);
    }
    /* as long as only extents of 1 move */
    bool same = plan->rank == 0 || (plan->rank == 1 && plan->from[0] == 1);
    call->view_of = same ? 0 : -1;
    call->out[0] = tb_tensor_view(call->in[0].dtype, &y, NULL);
    return TB_OK;
}

/* y[i0, i1, ...] = x[i at perm] */
static void run(const tb_call *call)
{
    if (call->view_of == 0) {
        tb_op_run_view(call);
        return;
    }
    tb_strided_copy(TB_OP_CONST_STATE(tb_strided, call),
                    tb_dtype_bytes(call->in[0].dtype), call->out[0].data,
                    call->in[0].data);
}

/* dx = dy moved back: the inverse permutation */
static void backward(tb_grad *g)
{
    const tb_attr *perm = tb_node_attr(g->node, "perm");
    int64_t back[TB_RANK_MAX] = {0};
    tb_attr attr = {.name = "perm", .kind = TB_ATTR_INTS, .ints = back};
    if (perm != NULL) {
        attr.n = perm->n < TB_RANK_MAX ? perm->n : TB_RANK_MAX;
        for (size_t i = 0; i < attr.n; i++) {
            if (perm->ints[i] >= 0 && perm->ints[i] < (int64_t)attr.n) {
                back[perm->ints[i]] = (int64_t)i;
            }
        }
    }
    g->dx[0] = tb_grad_emit(g, &(tb_node_spec){.op = "Transpose",
                                               .attrs = &attr,
                                               .n_attrs = perm != NULL,
                                               .in = g->dy,
                                               .n_in = 1});
}

static const tb_attr_decl attrs[] = {{"perm", TB_ATTR_INTS, false}};

const tb_op tb_op_transpose = {.domain = TB_DOMAIN_ONNX,
                               .name = "Transpose",
                               .since = 1,
                               .until = TB_OPSET_ANY,
                               .in_min = 1,
                               .in_max = 1,
                               .out_min = 1,
                               .out_max = 1,
                               .attrs = attrs,
                               .n_attrs = TB_COUNT(attrs),
                               .types = TB_TYPES_ANY,
                               .infer = infer,
                               .run = run,
                               .backward = backward};
