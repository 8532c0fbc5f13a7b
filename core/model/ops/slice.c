/* core/model/ops/slice.c - Slice with steps of either sign, of any element
 * type, and SliceGrad, which puts a gradient back where it came from. */
#include <string.h>

#include "model/ops/known.h"
#include "model/ops/op_priv.h"
#include "tensor/strided.h"

typedef struct slice_state {
    tb_strided plan; /* from dense y to x, or back: see fill_plan */
    ptrdiff_t begin; /* of the first element in x */
} slice_state;

/* What is taken of one dimension. */
typedef struct range {
    size_t n;
    ptrdiff_t begin;
    ptrdiff_t step;
} range;

static int64_t clamp(int64_t x, int64_t low, int64_t high)
{
    return x < low ? low : x > high ? high : x;
}

/* [start, end) of n elements: counted from the end below 0, then cut to what
 * is there, as numpy does. step is not 0. */
static range range_of(int64_t start, int64_t end, int64_t step, size_t n)
{
    int64_t len = (int64_t)n;
    int64_t last = step > 0 ? len : len - 1; /* where a walk may stand */
    int64_t first = step > 0 ? 0 : -1;
    range r = {0};
    step = clamp(step, -len - 1, len + 1); /* no step goes further */
    start = clamp(start < 0 ? start + len : start, first < 0 ? 0 : first, last);
    end = clamp(end < 0 ? end + len : end, first, last);
    int64_t span = step > 0 ? end - start : start - end;
    int64_t size = step > 0 ? step : -step;
    if (n > 0 && span > 0) {
        r.n = (size_t)((span - 1) / size + 1);
        r.begin = (ptrdiff_t)start;
    }
    r.step = (ptrdiff_t)step;
    return r;
}

typedef struct slice_lists {
    tb_known starts;
    tb_known ends;
    tb_known axes;
    tb_known steps;
} slice_lists;

/* The lists stand behind input i. */
static tb_rc read_lists(slice_lists *out, const tb_call *call, size_t i,
                        tb_err *err)
{
    tb_rc rc = tb_known_read(&out->starts, call, "starts", i + 1, err);
    if (rc == TB_OK) {
        rc = tb_known_read(&out->ends, call, "ends", i + 2, err);
    }
    if (rc == TB_OK) {
        rc = tb_known_read(&out->axes, call, "axes", i + 3, err);
    }
    if (rc == TB_OK) {
        rc = tb_known_read(&out->steps, call, "steps", i + 4, err);
    }
    size_t n = out->starts.n;
    if (rc == TB_OK &&
        (out->ends.n != n || (out->axes.given && out->axes.n != n) ||
         (out->steps.given && out->steps.n != n))) {
        rc = tb_fail(err, TB_E_MISMATCH, "lists of different lengths");
    }
    return rc;
}

/* What is taken of each dimension of x, which is input i. */
static tb_rc read_ranges(range ranges[TB_RANK_MAX], const tb_call *call,
                         size_t i, tb_err *err)
{
    const tb_shape *x = &call->in[i].shape;
    slice_lists lists = {0};
    uint32_t seen = 0;
    tb_rc rc = read_lists(&lists, call, i, err);
    if (rc == TB_OK && lists.axes.given) {
        rc = tb_known_axes(&seen, &lists.axes, x->rank, err);
    } else if (rc == TB_OK && lists.starts.n > x->rank) {
        rc = tb_fail(err, TB_E_MISMATCH, "%zu ranges of %zu dimensions",
                     lists.starts.n, x->rank);
    }
    for (size_t d = 0; d < TB_RANK_MAX; d++) {
        ranges[d] = (range){.n = x->dim[d], .step = 1};
    }
    for (size_t k = 0; rc == TB_OK && k < lists.starts.n; k++) {
        size_t axis = k;
        int64_t step = lists.steps.given ? tb_known_at(&lists.steps, k) : 1;
        if (lists.axes.given) {
            rc = tb_op_axis(&axis, tb_known_at(&lists.axes, k), x->rank, false,
                            err);
        }
        if (rc == TB_OK && step == 0) {
            rc = tb_fail(err, TB_E_MALFORMED, "a step of 0");
        }
        if (rc == TB_OK) {
            ranges[axis] =
                range_of(tb_known_at(&lists.starts, k),
                         tb_known_at(&lists.ends, k), step, x->dim[axis]);
        }
    }
    return rc;
}

/* Plans the copy y = x[ranges], or with back set the other way round, and
 * gives the shape of y. x is input i. */
static tb_rc fill_plan(tb_shape *y, tb_call *call, size_t i, bool back,
                       tb_err *err)
{
    slice_state *s = TB_OP_STATE(slice_state, call);
    const tb_shape *x = &call->in[i].shape;
    range ranges[TB_RANK_MAX];
    ptrdiff_t x_stride[TB_RANK_MAX];
    ptrdiff_t y_stride[TB_RANK_MAX];
    tb_rc rc = read_ranges(ranges, call, i, err);
    if (rc != TB_OK) {
        return rc;
    }
    *s = (slice_state){0};
    *y = (tb_shape){.rank = x->rank};
    for (size_t d = 0; d < x->rank; d++) {
        y->dim[d] = ranges[d].n;
    }
    if (tb_shape_product(x, 0, x->rank) == 0) {
        return TB_OK; /* nothing will be copied */
    }
    tb_strided_dense(x_stride, x);
    tb_strided_dense(y_stride, y);
    for (size_t d = 0; d < x->rank; d++) {
        ptrdiff_t step = ranges[d].step * x_stride[d];
        s->begin += ranges[d].begin * x_stride[d];
        tb_strided_push(&s->plan, y->dim[d], back ? step : y_stride[d],
                        back ? y_stride[d] : step);
    }
    return TB_OK;
}

static tb_rc slice_infer(tb_call *call, tb_err *err)
{
    tb_shape y;
    tb_rc rc = fill_plan(&y, call, 0, false, err);
    if (rc == TB_OK) {
        const slice_state *s = TB_OP_CONST_STATE(slice_state, call);
        bool dense =
            s->plan.rank == 0 || (s->plan.rank == 1 && s->plan.from[0] == 1);
        call->view_of =
            dense && tb_shape_equal(&y, &call->in[0].shape) ? 0 : -1;
        call->out[0] = tb_tensor_view(call->in[0].dtype, &y, NULL);
    }
    return rc;
}

/* y[i] = x[start + i step], in each dimension */
static void slice_run(const tb_call *call)
{
    const slice_state *s = TB_OP_CONST_STATE(slice_state, call);
    size_t bytes = tb_dtype_bytes(call->in[0].dtype);
    if (call->view_of == 0) {
        tb_op_run_view(call);
        return;
    }
    if (tb_tensor_count(&call->out[0]) > 0) {
        tb_strided_copy(&s->plan, bytes, call->out[0].data,
                        (const uint8_t *)call->in[0].data +
                            s->begin * (ptrdiff_t)bytes);
    }
}

/* dx[start + i step] = dy[i], and 0 elsewhere */
static void slice_backward(tb_grad *g)
{
    if (g->wants[0]) {
        g->dx[0] = tb_grad_mirror(g, "SliceGrad");
    }
}

/* dy, x, lists -> dx; the data of x is not read */
static tb_rc slice_grad_infer(tb_call *call, tb_err *err)
{
    tb_shape y;
    tb_rc rc = fill_plan(&y, call, 1, true, err);
    if (rc == TB_OK && !tb_shape_equal(&y, &call->in[0].shape)) {
        rc = tb_fail(err, TB_E_MISMATCH, "gradient of another shape");
    }
    call->out[0] = tb_tensor_view(call->in[0].dtype, &call->in[1].shape, NULL);
    return rc;
}

static void slice_grad_run(const tb_call *call)
{
    const slice_state *s = TB_OP_CONST_STATE(slice_state, call);
    size_t bytes = tb_dtype_bytes(call->in[0].dtype);
    size_t all = tb_tensor_bytes(&call->out[0]);
    if (all > 0) {
        memset(call->out[0].data, 0, all);
    }
    if (tb_tensor_count(&call->in[0]) > 0) {
        tb_strided_copy(&s->plan, bytes,
                        (uint8_t *)call->out[0].data +
                            s->begin * (ptrdiff_t)bytes,
                        call->in[0].data);
    }
}

static const tb_attr_decl lists_1[] = {{"starts", TB_ATTR_INTS, true},
                                       {"ends", TB_ATTR_INTS, true},
                                       {"axes", TB_ATTR_INTS, false}};
static const tb_attr_decl lists_grad[] = {{"starts", TB_ATTR_INTS, false},
                                          {"ends", TB_ATTR_INTS, false},
                                          {"axes", TB_ATTR_INTS, false}};

#define SLICE(first, last, min, max)                                           \
    .domain = TB_DOMAIN_ONNX, .name = "Slice", .since = first, .until = last,  \
    .in_min = min, .in_max = max, .out_min = 1, .out_max = 1,                  \
    .types = TB_TYPES_ANY, .infer = slice_infer, .run = slice_run,             \
    .backward = slice_backward

const tb_op tb_op_slice = {SLICE(10, TB_OPSET_ANY, 3, 5)};
const tb_op tb_op_slice_1 = {SLICE(1, 9, 1, 1), .attrs = lists_1,
                             .n_attrs = TB_COUNT(lists_1)};

const tb_op tb_op_slice_grad = {.domain = TB_DOMAIN_GRAD,
                                .name = "SliceGrad",
                                .since = 1,
                                .until = TB_OPSET_ANY,
                                .in_min = 2,
                                .in_max = 6,
                                .out_min = 1,
                                .out_max = 1,
                                .attrs = lists_grad,
                                .n_attrs = TB_COUNT(lists_grad),
                                .shape_only = 2,
                                .infer = slice_grad_infer,
                                .run = slice_grad_run};
