/* core/model/ops/reduce.c - ReduceSum, ReduceMean, ReduceMax and their kin over
 * any axes. float32 runs in fixed lanes; 16-bit floats and float64 are summed
 * in double, integers in 64 bits modulo 2^64. Of no elements: 0 (sums), 1
 * (products), the least or largest number (ReduceMax, ReduceMin). */
#include <math.h>
#include <string.h>

#include "model/ops/folds.h"
#include "model/ops/op_priv.h"
#include "tensor/kernels.h"

#define LANES 16
#define WIDE  32 /* lanes of extremes, which know no order */

/* --- float32: one row to a number, rows to a row -------------------------- */

/* NaN wins. */
static inline float larger(float a, float b)
{
    float c = b > a ? b : a;
    return b == b ? c : b;
}

static inline float smaller(float a, float b)
{
    float c = b < a ? b : a;
    return b == b ? c : b;
}

static inline float plus(float a, float b)
{
    return a + b;
}

static inline float times(float a, float b)
{
    return a * b;
}

static inline float plus_abs(float a, float b)
{
    return a + fabsf(b);
}

static inline float plus_square(float a, float b)
{
    return a + b * b;
}

/* take(a, x) takes an element in; join(a, b) joins two lanes. */
#define FOLD(name, lanes, start, take, join)                                   \
    static float name##_row(const float *x, size_t n)                          \
    {                                                                          \
        float lane[lanes];                                                     \
        size_t i = 0;                                                          \
        for (size_t j = 0; j < lanes; j++) {                                   \
            lane[j] = start;                                                   \
        }                                                                      \
        for (; i + lanes <= n; i += lanes) {                                   \
            for (size_t j = 0; j < lanes; j++) {                               \
                lane[j] = take(lane[j], x[i + j]);                             \
            }                                                                  \
        }                                                                      \
        for (size_t j = 0; i + j < n; j++) {                                   \
            lane[j] = take(lane[j], x[i + j]);                                 \
        }                                                                      \
        for (size_t w = lanes / 2; w > 0; w /= 2) {                            \
            for (size_t j = 0; j < w; j++) {                                   \
                lane[j] = join(lane[j], lane[j + w]);                          \
            }                                                                  \
        }                                                                      \
        return lane[0];                                                        \
    }                                                                          \
    static void name##_block(float *y, const float *x, const tb_fold_walk *w)  \
    {                                                                          \
        if (w->rows) {                                                         \
            for (size_t k = 0; k < w->n_kept; k++) {                           \
                y[k] = join(y[k],                                              \
                            name##_row(x + k * w->n_reduced, w->n_reduced));   \
            }                                                                  \
            return;                                                            \
        }                                                                      \
        for (size_t r = 0; r < w->n_reduced; r++, x += w->n_kept) {            \
            for (size_t k = 0; k < w->n_kept; k++) {                           \
                y[k] = take(y[k], x[k]);                                       \
            }                                                                  \
        }                                                                      \
    }

FOLD(sum, LANES, 0.0f, plus, plus)
FOLD(max, WIDE, -INFINITY, larger, larger)
FOLD(min, WIDE, INFINITY, smaller, smaller)
FOLD(prod, LANES, 1.0f, times, times)
FOLD(l1, LANES, 0.0f, plus_abs, plus)
FOLD(square, LANES, 0.0f, plus_square, plus)

/* The lanes are those of tb_k_sum, which is for rows that are worth a call. */
static void sum_fast(float *y, const float *x, const tb_fold_walk *w)
{
    if (!w->rows) {
        tb_k_sum_rows(y, x, w->n_reduced, w->n_kept, 1.0f, 1.0f);
        return;
    }
    if (w->n_reduced < 4 * LANES) {
        sum_block(y, x, w);
        return;
    }
    for (size_t k = 0; k < w->n_kept; k++) {
        y[k] = y[k] + tb_k_sum(x + k * w->n_reduced, w->n_reduced);
    }
}

/* sum += exp(x - max), max being finite */
static void exp_row(float *sum, const float *x, const float *max, bool one,
                    size_t n)
{
    float part[4 * LANES];
    for (size_t from = 0; from < n; from += 4 * LANES) {
        size_t m = n - from < 4 * LANES ? n - from : 4 * LANES;
        for (size_t i = 0; i < m; i++) {
            part[i] = x[from + i] - (one ? *max : max[from + i]);
        }
        tb_k_exp(part, part, m);
        if (one) {
            *sum = *sum + tb_k_sum(part, m);
        } else {
            tb_k_add(sum + from, sum + from, part, m);
        }
    }
}

typedef struct fold_run {
    const tb_fold_state *s;
    const tb_call *call;
    float *sum; /* [count of y], of ReduceLogSumExp */
} fold_run;

static void exp_visit(void *context, size_t y, size_t x)
{
    const fold_run *f = context;
    const tb_fold_walk *w = &f->s->walk;
    const float *from = tb_op_f32(f->call, 0) + x;
    const float *max = tb_op_f32_out(f->call) + y;
    float *sum = f->sum + y;
    size_t n_rows = w->rows ? w->n_kept : w->n_reduced;
    size_t n = w->rows ? w->n_reduced : w->n_kept;
    for (size_t r = 0; r < n_rows; r++, from += n) {
        size_t at = w->rows ? r : 0;
        exp_row(sum + at, from, max + at, w->rows, n);
    }
}

static void f32_visit(void *context, size_t y, size_t x)
{
    typedef void block_fn(float *y, const float *x, const tb_fold_walk *w);
    static block_fn *const blocks[] = {
        [TB_FOLD_SUM] = sum_fast,     [TB_FOLD_MEAN] = sum_fast,
        [TB_FOLD_MAX] = max_block,    [TB_FOLD_MIN] = min_block,
        [TB_FOLD_PROD] = prod_block,  [TB_FOLD_L1] = l1_block,
        [TB_FOLD_L2] = square_block,  [TB_FOLD_SUM_SQUARE] = square_block,
        [TB_FOLD_LOG_SUM] = sum_fast, [TB_FOLD_LOG_SUM_EXP] = max_block,
    };
    const fold_run *f = context;
    blocks[f->s->kind](tb_op_f32_out(f->call) + y, tb_op_f32(f->call, 0) + x,
                       &f->s->walk);
}

/* What y is before any element: nothing was folded in. */
static double start_of(tb_fold_kind kind)
{
    bool max = kind == TB_FOLD_MAX || kind == TB_FOLD_LOG_SUM_EXP;
    return max                    ? -INFINITY
           : kind == TB_FOLD_MIN  ? INFINITY
           : kind == TB_FOLD_PROD ? 1.0
                                  : 0.0;
}

static void f32_finish(const fold_run *f, float *y, size_t n)
{
    float count = (float)f->s->n;
    for (size_t k = 0; k < n; k++) {
        if (f->s->kind == TB_FOLD_MEAN) {
            y[k] = y[k] / count;
        } else if (f->s->kind == TB_FOLD_L2) {
            y[k] = sqrtf(y[k]);
        } else if (f->s->kind == TB_FOLD_LOG_SUM) {
            y[k] = logf(y[k]);
        } else if (f->s->kind == TB_FOLD_LOG_SUM_EXP) {
            y[k] = y[k] + logf(f->sum[k]);
        }
    }
}

static void f32_run(fold_run *f)
{
    float *y = tb_op_f32_out(f->call);
    size_t n = tb_tensor_count(&f->call->out[0]);
    bool some = tb_tensor_count(&f->call->in[0]) > 0;
    float start = (float)start_of(f->s->kind);
    for (size_t k = 0; k < n; k++) {
        y[k] = start;
    }
    if (some) {
        tb_fold_blocks(&f->s->walk, f32_visit, f);
    }
    if (f->s->kind == TB_FOLD_LOG_SUM_EXP) {
        for (size_t k = 0; k < n; k++) {
            y[k] = isfinite(y[k]) ? y[k] : 0.0f;
            f->sum[k] = 0.0f;
        }
        if (some) {
            tb_fold_blocks(&f->s->walk, exp_visit, f);
        }
    }
    if (f->s->kind != TB_FOLD_SUM) {
        f32_finish(f, y, n);
    }
}

/* --- the other types: an element at a time -------------------------------- */

/* A number of a rare type; integers count as such. */
typedef union number {
    double f;
    int64_t i;
} number;

static double take_f64(tb_fold_kind kind, double a, double x)
{
    switch (kind) {
    case TB_FOLD_MAX:
        return x > a || isnan(x) ? x : a;
    case TB_FOLD_MIN:
        return x < a || isnan(x) ? x : a;
    case TB_FOLD_PROD:
        return a * x;
    case TB_FOLD_L1:
        return a + fabs(x);
    case TB_FOLD_L2:
    case TB_FOLD_SUM_SQUARE:
        return a + x * x;
    case TB_FOLD_LOG_SUM_EXP:
        return a + exp(x);
    case TB_FOLD_SUM:
    case TB_FOLD_MEAN:
    case TB_FOLD_LOG_SUM:
        break;
    }
    return a + x;
}

static double finish_f64(tb_fold_kind kind, double a, size_t n)
{
    bool log_of = kind == TB_FOLD_LOG_SUM || kind == TB_FOLD_LOG_SUM_EXP;
    return kind == TB_FOLD_MEAN ? a / (double)n
           : kind == TB_FOLD_L2 ? sqrt(a)
           : log_of             ? log(a)
                                : a;
}

/* Modulo 2^64; flip turns the order of u64 into that of i64. */
static int64_t take_i64(tb_fold_kind kind, int64_t a, int64_t x, uint64_t flip)
{
    int64_t a_rank = (int64_t)((uint64_t)a ^ flip);
    int64_t x_rank = (int64_t)((uint64_t)x ^ flip);
    uint64_t size = x < 0 && flip == 0 ? 0 - (uint64_t)x : (uint64_t)x;
    switch (kind) {
    case TB_FOLD_MAX:
        return x_rank > a_rank ? x : a;
    case TB_FOLD_MIN:
        return x_rank < a_rank ? x : a;
    case TB_FOLD_PROD:
        return (int64_t)((uint64_t)a * (uint64_t)x);
    case TB_FOLD_L1:
        return (int64_t)((uint64_t)a + size);
    case TB_FOLD_SUM_SQUARE:
        return (int64_t)((uint64_t)a + size * size);
    case TB_FOLD_SUM:
    case TB_FOLD_MEAN:
    case TB_FOLD_L2:
    case TB_FOLD_LOG_SUM:
    case TB_FOLD_LOG_SUM_EXP:
        break;
    }
    return (int64_t)((uint64_t)a + (uint64_t)x);
}

/* Whether a kind of an integer type is computed in integers. */
static bool is_whole(const tb_fold_state *s, tb_dtype dtype)
{
    return !tb_dtype_in(dtype, TB_TYPES_FLOAT) && s->kind != TB_FOLD_L2 &&
           s->kind != TB_FOLD_LOG_SUM && s->kind != TB_FOLD_LOG_SUM_EXP &&
           s->kind != TB_FOLD_MEAN;
}

static void rare_visit(void *context, size_t y, size_t x)
{
    const fold_run *f = context;
    const tb_fold_walk *w = &f->s->walk;
    const tb_tensor *in = &f->call->in[0];
    number *acc = (number *)f->call->work + y;
    bool whole = is_whole(f->s, in->dtype);
    uint64_t flip = in->dtype == TB_U64 ? UINT64_C(1) << 63 : 0;
    for (size_t k = 0; k < w->n_kept; k++) {
        for (size_t r = 0; r < w->n_reduced; r++) {
            size_t i = x + (w->rows ? k * w->n_reduced + r : r * w->n_kept + k);
            if (whole) {
                acc[k].i = take_i64(f->s->kind, acc[k].i,
                                    tb_tensor_i64_at(in, i), flip);
            } else {
                acc[k].f =
                    take_f64(f->s->kind, acc[k].f, tb_tensor_f64_at(in, i));
            }
        }
    }
}

/* The least (or largest) number of an integer type, to begin with. */
static int64_t far_end(tb_dtype dtype, bool least)
{
    int bits = (int)tb_dtype_bytes(dtype) * 8;
    if (dtype == TB_BOOL) {
        return !least;
    }
    if (tb_dtype_in(dtype, TB_TYPES_UNSIGNED)) {
        return least ? 0 : (int64_t)(UINT64_MAX >> (64 - bits));
    }
    int64_t most = (int64_t)(UINT64_MAX >> (65 - bits));
    return least ? -most - 1 : most;
}

static void rare_run(fold_run *f)
{
    const tb_tensor *out = &f->call->out[0];
    tb_fold_kind kind = f->s->kind;
    size_t n = tb_tensor_count(out);
    number *acc = f->call->work;
    bool whole = is_whole(f->s, out->dtype);
    double start = kind == TB_FOLD_LOG_SUM_EXP ? 0.0 : start_of(kind);
    for (size_t k = 0; k < n; k++) {
        if (!whole) {
            acc[k].f = start;
        } else if (kind == TB_FOLD_MAX || kind == TB_FOLD_MIN) {
            acc[k].i = far_end(out->dtype, kind == TB_FOLD_MAX);
        } else {
            acc[k].i = kind == TB_FOLD_PROD;
        }
    }
    if (tb_tensor_count(&f->call->in[0]) > 0) {
        tb_fold_blocks(&f->s->walk, rare_visit, f);
    }
    for (size_t k = 0; k < n; k++) {
        if (whole) {
            tb_tensor_put_i64(out, k, acc[k].i);
        } else {
            tb_tensor_put_f64(out, k, finish_f64(kind, acc[k].f, f->s->n));
        }
    }
}

/* --- the operator --------------------------------------------------------- */

static tb_rc infer(tb_call *call, tb_err *err)
{
    tb_dtype dtype = call->in[0].dtype;
    tb_shape y;
    bool same = false;
    size_t n = 0;
    tb_rc rc = tb_fold_plan(&y, &same, call, &call->in[0].shape, 1, err);
    if (rc == TB_OK) {
        rc = tb_shape_count(&n, &y, err);
    }
    if (rc != TB_OK) {
        return rc;
    }
    const tb_fold_state *s = TB_OP_CONST_STATE(tb_fold_state, call);
    call->view_of = same ? 0 : -1;
    if (dtype != TB_F32) {
        call->work_bytes = n * sizeof(number);
    } else if (s->kind == TB_FOLD_LOG_SUM_EXP) {
        call->work_bytes = n * sizeof(float);
    }
    call->out[0] = tb_tensor_view(dtype, &y, NULL);
    return TB_OK;
}

/* y[k] = fold of x[k, r] over r */
static void run(const tb_call *call)
{
    fold_run f = {.s = TB_OP_CONST_STATE(tb_fold_state, call),
                  .call = call,
                  .sum = call->work};
    if (call->view_of == 0) {
        tb_op_run_view(call);
    } else if (call->in[0].dtype == TB_F32) {
        f32_run(&f);
    } else {
        rare_run(&f);
    }
}

static double flops(const tb_call *call)
{
    return (double)tb_tensor_count(&call->in[0]);
}

/* Emits <name>Grad(dy, x, y, axes). */
static void backward(tb_grad *g)
{
    static const char *const names[] = {
        "ReduceSumGrad",    "ReduceMeanGrad",      "ReduceMaxGrad",
        "ReduceMinGrad",    "ReduceL1Grad",        "ReduceL2Grad",
        "ReduceLogSumGrad", "ReduceSumSquareGrad", "ReduceLogSumExpGrad"};
    const tb_node *node = g->node;
    const tb_value_id in[4] = {g->dy[0], node->in[0], node->out[0],
                               node->n_in > 1 ? node->in[1] : TB_ID_NONE};
    for (size_t i = 0; g->wants[0] && i < TB_COUNT(names); i++) {
        size_t n = strlen(node->op);
        if (strlen(names[i]) == n + 4 && memcmp(names[i], node->op, n) == 0) {
            g->dx[0] = tb_grad_emit(g, &(tb_node_spec){.domain = TB_DOMAIN_GRAD,
                                                       .op = names[i],
                                                       .attrs = node->attrs,
                                                       .n_attrs = node->n_attrs,
                                                       .in = in,
                                                       .n_in = 4});
        }
    }
}

/* --- the table ------------------------------------------------------------ */

static const tb_attr_decl attrs_1[] = {{"axes", TB_ATTR_INTS, false},
                                       {"keepdims", TB_ATTR_INT, false}};
static const tb_attr_decl attrs_in[] = {
    {"noop_with_empty_axes", TB_ATTR_INT, false},
    {"keepdims", TB_ATTR_INT, false}};

#define REDUCE(text, first, last, max, decls, mask, back)                      \
    {                                                                          \
        .domain = TB_DOMAIN_ONNX, .name = text, .since = first, .until = last, \
        .in_min = 1, .in_max = max, .out_min = 1, .out_max = 1,                \
        .attrs = decls, .n_attrs = TB_COUNT(decls), .types = mask,             \
        .flops = flops, .infer = infer, .run = run, .backward = back           \
    }

/* Axes are an attribute before opset `first`, and an input from then on. */
#define BOTH(op, text, first, mask, back)                                      \
    const tb_op tb_op_##op##_1 =                                               \
        REDUCE(text, 1, first - 1, 1, attrs_1, mask, back);                    \
    const tb_op tb_op_##op =                                                   \
        REDUCE(text, first, TB_OPSET_ANY, 2, attrs_in, mask, back)

BOTH(reduce_sum, "ReduceSum", 13, TB_TYPES_NUMBER, backward);
BOTH(reduce_mean, "ReduceMean", 18, TB_TYPES_NUMBER, backward);
BOTH(reduce_max, "ReduceMax", 18, TB_TYPES_ANY, backward);
BOTH(reduce_min, "ReduceMin", 18, TB_TYPES_ANY, backward);
BOTH(reduce_prod, "ReduceProd", 18, TB_TYPES_NUMBER, NULL);
BOTH(reduce_l1, "ReduceL1", 18, TB_TYPES_NUMBER, backward);
BOTH(reduce_l2, "ReduceL2", 18, TB_TYPES_NUMBER, backward);
BOTH(reduce_log_sum, "ReduceLogSum", 18, TB_TYPES_NUMBER, backward);
BOTH(reduce_log_sum_exp, "ReduceLogSumExp", 18, TB_TYPES_NUMBER, backward);
BOTH(reduce_sum_square, "ReduceSumSquare", 18, TB_TYPES_NUMBER, backward);
