#include "model/ops/known.h"

#include "model/ops/op_priv.h"

tb_rc tb_known_read(tb_known *out, const tb_call *call, const char *name,
                    size_t i, tb_err *err)
{
    const tb_attr *attr = tb_node_attr(call->node, name);
    *out = (tb_known){0};
    if (attr != NULL) {
        *out = (tb_known){.given = true, .n = attr->n, .ints = attr->ints};
        return TB_OK;
    }
    if (!tb_op_has(call, i)) {
        return TB_OK;
    }
    const tb_tensor *in = &call->in[i];
    if (!tb_dtype_in(in->dtype, TB_TYPES_INDEX) || in->shape.rank > 1) {
        return tb_fail(err, TB_E_MISMATCH, "the %s must be a list of i64",
                       name);
    }
    size_t n = tb_tensor_count(in);
    if (in->data == NULL && n > 0) {
        return tb_fail(err, TB_E_UNSUPPORTED,
                       "the %s are computed from data; export the model with "
                       "constant ones",
                       name);
    }
    *out = (tb_known){.given = true, .n = n, .in = in};
    return TB_OK;
}

int64_t tb_known_at(const tb_known *list, size_t k)
{
    return list->ints != NULL ? list->ints[k] : tb_tensor_i64_at(list->in, k);
}

tb_rc tb_known_axes(uint32_t *out, const tb_known *list, size_t rank,
                    tb_err *err)
{
    *out = 0;
    for (size_t k = 0; k < list->n; k++) {
        size_t axis = 0;
        tb_rc rc = tb_op_axis(&axis, tb_known_at(list, k), rank, false, err);
        if (rc == TB_OK && (*out >> axis & 1) != 0) {
            rc = tb_fail(err, TB_E_MALFORMED, "axis %zu twice", axis);
        }
        if (rc != TB_OK) {
            return rc;
        }
        *out |= UINT32_C(1) << axis;
    }
    return TB_OK;
}

tb_rc tb_known_shape(tb_shape *out, const tb_known *list, tb_err *err)
{
    int64_t dim[TB_RANK_MAX] = {0};
    *out = (tb_shape){0};
    for (size_t k = 0; k < list->n && k < TB_RANK_MAX; k++) {
        dim[k] = tb_known_at(list, k);
    }
    return tb_shape_from(out, dim, list->n, err);
}

tb_rc tb_known_index(const tb_tensor *index, size_t n, tb_err *err)
{
    if (!tb_dtype_in(index->dtype, TB_TYPES_INDEX)) {
        return tb_fail(err, TB_E_UNSUPPORTED, "indexes of %s",
                       tb_dtype_name(index->dtype));
    }
    size_t n_index = index->data != NULL ? tb_tensor_count(index) : 0;
    for (size_t i = 0; i < n_index; i++) {
        int64_t at = tb_tensor_i64_at(index, i);
        if (at < -(int64_t)n || at >= (int64_t)n) {
            return tb_fail(err, TB_E_MISMATCH, "index %lld of %zu",
                           (long long)at, n);
        }
    }
    return TB_OK;
}

tb_value_id tb_grad_mirror(tb_grad *g, const char *op)
{
    tb_value_id in[16] = {g->dy[0]};
    size_t n = 1;
    for (size_t i = 0; i < g->node->n_in && n < TB_COUNT(in); i++) {
        in[n++] = g->node->in[i];
    }
    return tb_grad_emit(g, &(tb_node_spec){.domain = TB_DOMAIN_GRAD,
                                           .op = op,
                                           .attrs = g->node->attrs,
                                           .n_attrs = g->node->n_attrs,
                                           .in = in,
                                           .n_in = n});
}
