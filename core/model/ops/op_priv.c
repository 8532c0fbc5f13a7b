#include "model/ops/op_priv.h"

#include <string.h>

tb_rc tb_op_need_f32(const tb_call *call, size_t n, tb_err *err)
{
    for (size_t i = 0; i < n && i < call->n_in; i++) {
        if (tb_op_has(call, i) && call->in[i].dtype != TB_F32) {
            return tb_fail(err, TB_E_UNSUPPORTED,
                           "input %zu is %s, only f32 can be computed here", i,
                           tb_dtype_name(call->in[i].dtype));
        }
    }
    return TB_OK;
}

tb_rc tb_op_axis(size_t *out, int64_t axis, size_t rank, bool end, tb_err *err)
{
    int64_t r = (int64_t)rank;
    if (axis < -r || axis > (end ? r : r - 1)) {
        return tb_fail(err, TB_E_MISMATCH, "axis %lld of %zu dimensions",
                       (long long)axis, rank);
    }
    *out = (size_t)(axis < 0 ? axis + r : axis);
    return TB_OK;
}

tb_rc tb_op_infer_same(tb_call *call, tb_err *err)
{
    call->out[0] = call->in[0];
    call->out[0].data = NULL;
    return tb_op_need_same_type(call, 0, call->n_in, err);
}

tb_rc tb_op_infer_grad(tb_call *call, tb_err *err)
{
    tb_rc rc = tb_op_infer_same(call, err);
    if (rc == TB_OK &&
        !tb_shape_equal(&call->in[0].shape, &call->in[1].shape)) {
        char a[TB_SHAPE_TEXT_BYTES];
        char b[TB_SHAPE_TEXT_BYTES];
        rc = tb_fail(err, TB_E_MISMATCH, "gradient %s of %s",
                     tb_shape_text(&call->in[0].shape, a),
                     tb_shape_text(&call->in[1].shape, b));
    }
    return rc;
}

void tb_op_run_view(const tb_call *call)
{
    size_t bytes = tb_tensor_bytes(&call->out[0]);
    if (bytes > 0 && call->out[0].data != call->in[0].data) {
        memcpy(call->out[0].data, call->in[0].data, bytes);
    }
}

tb_value_id tb_grad_reduce(tb_grad *g, tb_value_id a, tb_value_id like,
                           float scale)
{
    const tb_value_id in[2] = {a, like};
    const tb_attr attr = TB_ATTR_F("scale", scale);
    return tb_grad_emit(g, &(tb_node_spec){.domain = TB_DOMAIN_GRAD,
                                           .op = "ReduceToLike",
                                           .attrs = &attr,
                                           .n_attrs = 1,
                                           .in = in,
                                           .n_in = 2});
}

void tb_grad_emit_norm(tb_grad *g, const tb_node_spec *spec)
{
    tb_value_id dx = tb_grad_emit(g, spec);
    for (size_t i = 0; g->rc == TB_OK && i < 3 && i < g->node->n_in; i++) {
        if (g->wants[i]) {
            tb_node_id node = g->graph->values[dx]->producer;
            g->rc = tb_graph_want_output(g->graph, &g->dx[i], node, i, g->err);
        }
    }
}
