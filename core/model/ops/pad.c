/* core/model/ops/pad.c - Pad in all its modes, of any element type (a negative
 * pad cuts off), and PadGrad. */
#include <string.h>

#include "base/mem.h"
#include "model/ops/known.h"
#include "model/ops/op_priv.h"
#include "tensor/kernels.h"
#include "tensor/strided.h"

typedef enum pad_mode {
    PAD_CONSTANT,
    PAD_REFLECT,
    PAD_EDGE,
    PAD_WRAP
} pad_mode;

typedef struct pad_state {
    pad_mode mode;
    float value;           /* of the attribute, before opset 11 */
    size_t rank;           /* up to the last dimension that is padded */
    size_t block;          /* elements of the dimensions behind */
    size_t x[TB_RANK_MAX]; /* extents */
    size_t y[TB_RANK_MAX];
    int64_t begin[TB_RANK_MAX]; /* y[i] is x[i - begin] */
} pad_state;

/* --- what is padded ------------------------------------------------------- */

static tb_rc read_mode(pad_state *s, const tb_node *node, tb_err *err)
{
    static const char *const names[] = {"constant", "reflect", "edge", "wrap"};
    const tb_attr *attr = tb_node_attr(node, "mode");
    for (size_t i = 0; i < TB_COUNT(names); i++) {
        if (strcmp(attr != NULL ? attr->s : "constant", names[i]) == 0) {
            s->mode = (pad_mode)i;
            return TB_OK;
        }
    }
    return tb_fail(err, TB_E_MALFORMED, "mode \"%s\"", attr->s);
}

/* Begin and end of each dimension of x, which is input i. */
static tb_rc read_pads(int64_t begin[TB_RANK_MAX], int64_t end[TB_RANK_MAX],
                       const tb_call *call, size_t i, tb_err *err)
{
    size_t rank = call->in[i].shape.rank;
    tb_known pads;
    tb_known axes;
    uint32_t seen = 0;
    tb_rc rc = tb_known_read(&pads, call, "pads", i + 1, err);
    if (rc == TB_OK) {
        rc = tb_known_read(&axes, call, "axes", i + 3, err);
    }
    if (rc == TB_OK && axes.given) {
        rc = tb_known_axes(&seen, &axes, rank, err);
    }
    size_t n = rc == TB_OK && axes.given ? axes.n : rank;
    if (rc == TB_OK && pads.n != 2 * n) {
        rc = tb_fail(err, TB_E_MISMATCH, "%zu pads for %zu dimensions", pads.n,
                     n);
    }
    for (size_t k = 0; rc == TB_OK && k < n; k++) {
        size_t d = k;
        if (axes.given) {
            rc = tb_op_axis(&d, tb_known_at(&axes, k), rank, false, err);
        }
        if (rc == TB_OK) {
            begin[d] = tb_known_at(&pads, k);
            end[d] = tb_known_at(&pads, n + k);
        }
    }
    return rc;
}

/* The extent of one dimension; limits keep sums far from overflow. */
static tb_rc pad_dim(size_t *out, const pad_state *s, size_t n, int64_t begin,
                     int64_t end, tb_err *err)
{
    const int64_t far = INT64_C(1) << 60;
    if (begin < -far || begin > far || end < -far || end > far ||
        n > (size_t)far) {
        return tb_fail(err, TB_E_LIMIT, "pads of %lld and %lld",
                       (long long)begin, (long long)end);
    }
    int64_t extent = (int64_t)n + begin + end;
    if (extent < 0) {
        return tb_fail(err, TB_E_MISMATCH, "%lld and %lld of %zu cut off",
                       (long long)-begin, (long long)-end, n);
    }
    if (n == 0 && extent > 0 && s->mode != PAD_CONSTANT) {
        return tb_fail(err, TB_E_MISMATCH, "nothing to pad with");
    }
    *out = (size_t)extent;
    return TB_OK;
}

/* Fills the state and gives the shape of y; x is input i. */
static tb_rc plan(tb_shape *y, tb_call *call, size_t i, tb_err *err)
{
    pad_state *s = TB_OP_STATE(pad_state, call);
    const tb_shape *x = &call->in[i].shape;
    int64_t begin[TB_RANK_MAX] = {0};
    int64_t end[TB_RANK_MAX] = {0};
    *s = (pad_state){.value = tb_node_float(call->node, "value", 0.0f)};
    tb_rc rc = read_mode(s, call->node, err);
    if (rc == TB_OK) {
        rc = read_pads(begin, end, call, i, err);
    }
    *y = *x;
    for (size_t d = 0; rc == TB_OK && d < x->rank; d++) {
        rc = pad_dim(&y->dim[d], s, x->dim[d], begin[d], end[d], err);
        s->x[d] = x->dim[d];
        s->y[d] = y->dim[d];
        s->begin[d] = begin[d];
        s->rank = begin[d] != 0 || end[d] != 0 ? d + 1 : s->rank;
    }
    size_t n = 0;
    if (rc == TB_OK) {
        rc = tb_shape_count(&n, y, err);
    }
    s->block = rc == TB_OK ? tb_shape_product(x, s->rank, x->rank) : 0;
    return rc;
}

/* --- where elements come from --------------------------------------------- */

/* The index in [0, n) behind position i of the endless continuation of x;
 * n > 0. */
static size_t source(int64_t i, size_t n, pad_mode mode)
{
    int64_t len = (int64_t)n;
    if (i >= 0 && i < len) {
        return (size_t)i;
    }
    if (mode == PAD_EDGE || len == 1) {
        return i < 0 ? 0 : n - 1;
    }
    int64_t period = mode == PAD_WRAP ? len : 2 * (len - 1);
    int64_t at = i % period;
    at = at < 0 ? at + period : at;
    return (size_t)(at < len ? at : period - at);
}

/* A row of y, along the last padded dimension: where its x row begins, counted
 * in blocks, and whether there is one. */
typedef struct row {
    size_t index[TB_RANK_MAX];
    size_t base;
    bool inside;
} row;

static void find_row(row *r, const pad_state *s)
{
    size_t last = s->rank - 1;
    r->base = 0;
    r->inside = true;
    for (size_t d = 0; d < last; d++) {
        int64_t i = (int64_t)r->index[d] - s->begin[d];
        bool in = i >= 0 && i < (int64_t)s->x[d];
        r->inside = r->inside && (in || s->mode != PAD_CONSTANT);
        r->base *= s->x[d];
        r->base += r->inside ? source(i, s->x[d], s->mode) : 0;
    }
    r->base *= s->x[last];
}

/* To the next row; false behind the last. */
static bool next_row(row *r, const pad_state *s)
{
    for (size_t d = s->rank - 1; d-- > 0;) {
        if (++r->index[d] < s->y[d]) {
            return true;
        }
        r->index[d] = 0;
    }
    return false;
}

/* The part [*low, *high) of a row of y that lies within x. */
static void find_core(size_t *low, size_t *high, const pad_state *s)
{
    size_t last = s->rank - 1;
    int64_t n = (int64_t)s->y[last];
    int64_t from = s->begin[last] < 0 ? 0 : s->begin[last];
    int64_t to = (int64_t)s->x[last] + s->begin[last];
    to = to > n ? n : to;
    from = from > n ? n : from;
    *low = (size_t)from;
    *high = (size_t)(to > from ? to : from);
}

/* --- Pad ------------------------------------------------------------------ */

static tb_rc pad_infer(tb_call *call, tb_err *err)
{
    tb_shape y;
    tb_rc rc = plan(&y, call, 0, err);
    if (rc == TB_OK && tb_op_has(call, 2) &&
        (call->in[2].dtype != call->in[0].dtype ||
         tb_tensor_count(&call->in[2]) != 1)) {
        rc = tb_fail(err, TB_E_MISMATCH,
                     "the value must be one number of the type of the input");
    }
    const pad_state *s = TB_OP_CONST_STATE(pad_state, call);
    call->view_of = s->rank == 0 ? 0 : -1;
    call->out[0] = tb_tensor_view(call->in[0].dtype, &y, NULL);
    return rc;
}

/* The part [from, to) of a row that lies outside x. */
static void pad_outside(uint8_t *y, const uint8_t *x, const pad_state *s,
                        size_t from, size_t to, size_t bytes)
{
    size_t last = s->rank - 1;
    size_t size = s->block * bytes;
    for (size_t i = from; i < to; i++) {
        size_t at = source((int64_t)i - s->begin[last], s->x[last], s->mode);
        memcpy(y + i * size, x + at * size, size);
    }
}

static void pad_row(uint8_t *y, const uint8_t *x, const pad_state *s,
                    const void *value, size_t bytes)
{
    size_t last = s->rank - 1;
    size_t low = 0;
    size_t high = 0;
    find_core(&low, &high, s);
    if (s->mode == PAD_CONSTANT) {
        tb_strided_fill(y, bytes, low * s->block, value);
        tb_strided_fill(y + high * s->block * bytes, bytes,
                        (s->y[last] - high) * s->block, value);
    } else {
        pad_outside(y, x, s, 0, low, bytes);
        pad_outside(y, x, s, high, s->y[last], bytes);
    }
    if (high > low) {
        size_t at = (size_t)((int64_t)low - s->begin[last]);
        memcpy(y + low * s->block * bytes, x + at * s->block * bytes,
               (high - low) * s->block * bytes);
    }
}

/* y[i] = x[i - begin], and outside of x what the mode says */
static void pad_run(const tb_call *call)
{
    const pad_state *s = TB_OP_CONST_STATE(pad_state, call);
    static const uint64_t zero = 0; /* of any type */
    size_t bytes = tb_dtype_bytes(call->in[0].dtype);
    const void *value = tb_op_has(call, 2)            ? call->in[2].data
                        : call->in[0].dtype == TB_F32 ? (const void *)&s->value
                                                      : (const void *)&zero;
    const uint8_t *x = call->in[0].data;
    uint8_t *y = call->out[0].data;
    row r = {0};
    if (call->view_of == 0) {
        tb_op_run_view(call);
        return;
    }
    if (tb_tensor_count(&call->out[0]) == 0) {
        return;
    }
    size_t n = s->y[s->rank - 1] * s->block;
    do {
        find_row(&r, s);
        if (r.inside) {
            pad_row(y, x + r.base * s->block * bytes, s, value, bytes);
        } else {
            tb_strided_fill(y, bytes, n, value);
        }
        y += n * bytes;
    } while (next_row(&r, s));
}

/* --- PadGrad -------------------------------------------------------------- */

/* dx[k] = sum of dy over all places that x[k] was copied to */
static void pad_backward(tb_grad *g)
{
    if (g->wants[0]) {
        g->dx[0] = tb_grad_mirror(g, "PadGrad");
    }
}

/* dy, x, pads, value, axes -> dx; the data of x is not read */
static tb_rc pad_grad_infer(tb_call *call, tb_err *err)
{
    tb_shape y;
    tb_rc rc = tb_op_need_f32(call, 1, err);
    if (rc == TB_OK) {
        rc = plan(&y, call, 1, err);
    }
    if (rc == TB_OK && !tb_shape_equal(&y, &call->in[0].shape)) {
        rc = tb_fail(err, TB_E_MISMATCH, "gradient of another shape");
    }
    call->out[0] = tb_tensor_view(TB_F32, &call->in[1].shape, NULL);
    return rc;
}

static void pad_grad_row(float *dx, const float *dy, const pad_state *s)
{
    size_t last = s->rank - 1;
    size_t low = 0;
    size_t high = 0;
    find_core(&low, &high, s);
    for (size_t i = 0; i < s->y[last] && s->mode != PAD_CONSTANT; i++) {
        i = i == low ? high : i; /* over the core, which follows */
        if (i < s->y[last]) {
            float *to = dx + s->block * source((int64_t)i - s->begin[last],
                                               s->x[last], s->mode);
            tb_k_add(to, to, dy + i * s->block, s->block);
        }
    }
    if (high > low) {
        float *to = dx + (size_t)((int64_t)low - s->begin[last]) * s->block;
        tb_k_add(to, to, dy + low * s->block, (high - low) * s->block);
    }
}

static void pad_grad_run(const tb_call *call)
{
    const pad_state *s = TB_OP_CONST_STATE(pad_state, call);
    const float *dy = tb_op_f32(call, 0);
    float *dx = tb_op_f32_out(call);
    size_t bytes = tb_tensor_bytes(&call->out[0]);
    row r = {0};
    if (s->rank == 0) {
        memcpy(dx, dy, bytes);
        return;
    }
    if (bytes > 0) {
        memset(dx, 0, bytes);
    }
    if (bytes == 0 || tb_tensor_count(&call->in[0]) == 0) {
        return;
    }
    do {
        find_row(&r, s);
        if (r.inside) {
            pad_grad_row(dx + r.base * s->block, dy, s);
        }
        dy += s->y[s->rank - 1] * s->block;
    } while (next_row(&r, s));
}

/* --- the table ------------------------------------------------------------ */

static const tb_attr_decl attrs_2[] = {{"mode", TB_ATTR_STRING, false},
                                       {"pads", TB_ATTR_INTS, true},
                                       {"value", TB_ATTR_FLOAT, false}};
static const tb_attr_decl attrs_grad[] = {{"mode", TB_ATTR_STRING, false},
                                          {"pads", TB_ATTR_INTS, false},
                                          {"value", TB_ATTR_FLOAT, false}};

#define PAD(first, last, min, max, decls, n)                                   \
    {                                                                          \
        .domain = TB_DOMAIN_ONNX, .name = "Pad", .since = first,               \
        .until = last, .in_min = min, .in_max = max, .out_min = 1,             \
        .out_max = 1, .attrs = decls, .n_attrs = n, .infer = pad_infer,        \
        .run = pad_run, .backward = pad_backward, .types = TB_TYPES_ANY        \
    }

const tb_op tb_op_pad_2 = PAD(2, 10, 1, 1, attrs_2, 3);
const tb_op tb_op_pad_11 = PAD(11, 17, 2, 3, attrs_2, 1);
const tb_op tb_op_pad = PAD(18, TB_OPSET_ANY, 2, 4, attrs_2, 1);

const tb_op tb_op_pad_grad = {.domain = TB_DOMAIN_GRAD,
                              .name = "PadGrad",
                              .since = 1,
                              .until = TB_OPSET_ANY,
                              .in_min = 2,
                              .in_max = 5,
                              .out_min = 1,
                              .out_max = 1,
                              .attrs = attrs_grad,
                              .n_attrs = TB_COUNT(attrs_grad),
                              .shape_only = 2,
                              .infer = pad_grad_infer,
                              .run = pad_grad_run};
