/* core/model/ops/arg.c - ArgMax and ArgMin: the first (or last) place of an
 * extreme along one axis. NaN wins over all numbers. No gradient. */
#include <math.h>
#include <string.h>

#include "model/ops/op_priv.h"

typedef struct arg_state {
    size_t n_outer; /* x is [n_outer, n, n_inner] */
    size_t n;
    size_t n_inner;
    bool least; /* ArgMin */
    bool last;  /* of equal ones the last counts */
} arg_state;

static tb_rc infer(tb_call *call, tb_err *err)
{
    arg_state *s = TB_OP_STATE(arg_state, call);
    const tb_shape *x = &call->in[0].shape;
    bool keep = tb_node_int(call->node, "keepdims", 1) != 0;
    size_t axis = 0;
    tb_shape y = {0};
    tb_rc rc = tb_op_axis(&axis, tb_node_int(call->node, "axis", 0), x->rank,
                          false, err);
    if (rc == TB_OK && x->dim[axis] == 0) {
        rc = tb_fail(err, TB_E_MISMATCH, "no elements along the axis");
    }
    if (rc != TB_OK) {
        return rc;
    }
    *s = (arg_state){.n_outer = tb_shape_product(x, 0, axis),
                     .n = x->dim[axis],
                     .n_inner = tb_shape_product(x, axis + 1, x->rank),
                     .least = strcmp(call->op->name, "ArgMin") == 0,
                     .last =
                         tb_node_int(call->node, "select_last_index", 0) != 0};
    for (size_t d = 0; d < x->rank; d++) {
        if (d != axis || keep) {
            y.dim[y.rank++] = d == axis ? 1 : x->dim[d];
        }
    }
    call->out[0] = tb_tensor_view(TB_I64, &y, NULL);
    return TB_OK;
}

/* Whether b takes the place of a, which came before it. */
static inline bool beats(const arg_state *s, double a, double b)
{
    bool same = a == b || (isnan(a) && isnan(b));
    if (same || isnan(a)) {
        return same && s->last;
    }
    return isnan(b) || (s->least ? b < a : b > a);
}

static size_t best_f32(const arg_state *s, const float *x)
{
    size_t best = 0;
    for (size_t i = 1; i < s->n; i++) {
        if (beats(s, (double)x[best * s->n_inner], (double)x[i * s->n_inner])) {
            best = i;
        }
    }
    return best;
}

/* Whole numbers are compared as such: a double does not hold all of them. */
static size_t best_rare(const arg_state *s, const tb_tensor *x, size_t at)
{
    bool whole = !tb_dtype_is_float(x->dtype);
    /* As signed ones, unsigned numbers of 64 bits keep their order so. */
    uint64_t flip = x->dtype == TB_U64 ? UINT64_C(1) << 63 : 0;
    size_t best = 0;
    for (size_t i = 1; i < s->n; i++) {
        size_t a = at + best * s->n_inner;
        size_t b = at + i * s->n_inner;
        bool wins = false;
        if (whole) {
            int64_t old = (int64_t)((uint64_t)tb_tensor_i64_at(x, a) ^ flip);
            int64_t new = (int64_t)((uint64_t)tb_tensor_i64_at(x, b) ^ flip);
            wins = old == new ? s->last : s->least ? new < old : new > old;
        } else {
            wins = beats(s, tb_tensor_f64_at(x, a), tb_tensor_f64_at(x, b));
        }
        best = wins ? i : best;
    }
    return best;
}

/* y[o, i] = the k for which x[o, k, i] is largest (or smallest) */
static void run(const tb_call *call)
{
    const arg_state *s = TB_OP_CONST_STATE(arg_state, call);
    const tb_tensor *x = &call->in[0];
    int64_t *y = call->out[0].data;
    for (size_t o = 0; o < s->n_outer; o++) {
        for (size_t i = 0; i < s->n_inner; i++) {
            size_t at = o * s->n * s->n_inner + i;
            *y++ = (int64_t)(x->dtype == TB_F32
                                 ? best_f32(s, (const float *)x->data + at)
                                 : best_rare(s, x, at));
        }
    }
}

static double flops(const tb_call *call)
{
    return (double)tb_tensor_count(&call->in[0]);
}

static const tb_attr_decl attrs[] = {{"axis", TB_ATTR_INT, false},
                                     {"keepdims", TB_ATTR_INT, false},
                                     {"select_last_index", TB_ATTR_INT, false}};

#define ARG(text)                                                              \
    {                                                                          \
        .domain = TB_DOMAIN_ONNX, .name = text, .since = 1,                    \
        .until = TB_OPSET_ANY, .in_min = 1, .in_max = 1, .out_min = 1,         \
        .out_max = 1, .attrs = attrs, .n_attrs = TB_COUNT(attrs),              \
        .types = TB_TYPES_NUMBER, .stops_gradient = true, .flops = flops,      \
        .infer = infer, .run = run                                             \
    }

const tb_op tb_op_arg_max = ARG("ArgMax");
const tb_op tb_op_arg_min = ARG("ArgMin");
