/* core/tensor/kernels_loops.h - the loops of kernels.h as plain C, included by
 * one .c file an instruction set, which the compiler vectorises for that set.
 * Every float operation is written out, so all sets give the same bits.
 * The includer defines TB_K_SET, TB_K_NAME (a text) and TB_K_USABLE. */
#include "tensor/kernels_priv.h"

#include <math.h>
#include <string.h>

#include "tensor/kernels_math.h"

#define LANES 16

static bool usable(void)
{
    return TB_K_USABLE;
}

/* y = a op b, where each operand moves by 0 or 1: with both standing still y is
 * one value n times. */
#define ARITH(name, value)                                                     \
    static void name(float *y, const float *a, size_t step_a, const float *b,  \
                     size_t step_b, size_t n)                                  \
    {                                                                          \
        if (step_a == 1 && step_b == 1) {                                      \
            for (size_t i = 0; i < n; i++) {                                   \
                const float l = a[i], r = b[i];                                \
                y[i] = value;                                                  \
            }                                                                  \
        } else if (step_a == 1) {                                              \
            const float r = b[0];                                              \
            for (size_t i = 0; i < n; i++) {                                   \
                const float l = a[i];                                          \
                y[i] = value;                                                  \
            }                                                                  \
        } else {                                                               \
            const float l = a[0];                                              \
            for (size_t i = 0; i < n; i++) {                                   \
                const float r = b[i * step_b];                                 \
                y[i] = value;                                                  \
            }                                                                  \
        }                                                                      \
    }

ARITH(add, l + r)
ARITH(sub, l - r)
ARITH(mul, l *r)
ARITH(quotient, l / r)
/* NaN on either side wins, as with NumPy. */
ARITH(smaller_of, l < r || l != l ? l : r)
ARITH(larger_of, l > r || l != l ? l : r)

static void affine(float *y, const float *x, size_t n, float alpha, float beta)
{
    for (size_t i = 0; i < n; i++) {
        y[i] = alpha * x[i] + beta;
    }
}

static void axpy(float *restrict y, const float *restrict x, size_t n,
                 float alpha)
{
    for (size_t i = 0; i < n; i++) {
        y[i] = y[i] + alpha * x[i];
    }
}

static void axpby(float *restrict y, const float *restrict x, size_t n,
                  float alpha, float beta)
{
    for (size_t i = 0; i < n; i++) {
        y[i] = beta * y[i] + alpha * x[i];
    }
}

static void add_row(float *restrict y, const float *restrict row, size_t n_rows,
                    size_t n_cols)
{
    for (size_t r = 0; r < n_rows; r++) {
        float *at = y + r * n_cols;
        for (size_t c = 0; c < n_cols; c++) {
            at[c] = at[c] + row[c];
        }
    }
}

/* Sums of columns [0, n) of width; lanes behind n hold the sums of what lies
 * there, which is read only where a whole block may be. width is a constant at
 * each call. */
static inline void sum_block(float *restrict out, const float *restrict x,
                             size_t n_rows, size_t n_cols, size_t n,
                             const size_t width)
{
    size_t whole = n_rows;
    while (whole > 0 && (n_rows - whole) * n_cols + n < width) {
        whole--; /* a block from this row on would pass the end */
    }
    float sum[4 * LANES] = {0};
    for (size_t r = 0; r < whole; r++) {
        for (size_t c = 0; c < width; c++) {
            sum[c] = sum[c] + x[r * n_cols + c];
        }
    }
    for (size_t r = whole; r < n_rows; r++) {
        for (size_t c = 0; c < n; c++) {
            sum[c] = sum[c] + x[r * n_cols + c];
        }
    }
    memcpy(out, sum, width * sizeof sum[0]);
}

static void sum_rows(float *restrict row, const float *restrict x,
                     size_t n_rows, size_t n_cols, float alpha, float beta)
{
    float sum[4 * LANES];
    for (size_t from = 0; from < n_cols;) {
        size_t n = n_cols - from;
        if (n >= 4 * LANES) {
            n = 4 * LANES;
            sum_block(sum, x + from, n_rows, n_cols, n, 4 * LANES);
        } else {
            n = n < 2 * LANES ? n : 2 * LANES;
            sum_block(sum, x + from, n_rows, n_cols, n, 2 * LANES);
        }
        for (size_t c = 0; c < n; c++) {
            float old = beta == 0.0f ? 0.0f : beta * row[from + c];
            row[from + c] = alpha * sum[c] + old;
        }
        from += n;
    }
}

static void relu(float *y, const float *x, size_t n, float slope)
{
    if (slope == 0.0f) {
        for (size_t i = 0; i < n; i++) {
            y[i] = x[i] <= 0.0f ? 0.0f : x[i];
        }
        return;
    }
    for (size_t i = 0; i < n; i++) {
        y[i] = x[i] <= 0.0f ? slope * x[i] : x[i];
    }
}

static void relu_grad(float *dx, const float *x, const float *dy, size_t n,
                      float slope)
{
    for (size_t i = 0; i < n; i++) {
        dx[i] = x[i] > 0.0f ? dy[i] : slope * dy[i];
    }
}

static void sigmoid_grad(float *dx, const float *y, const float *dy, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        dx[i] = dy[i] * (y[i] * (1.0f - y[i]));
    }
}

static void tanh_grad(float *dx, const float *y, const float *dy, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        dx[i] = dy[i] * (1.0f - y[i] * y[i]);
    }
}

/* y = min(max(x, low), high); NaN stays. */
static void clip(float *y, const float *x, size_t n, float low, float high)
{
    for (size_t i = 0; i < n; i++) {
        float at = x[i] < low ? low : x[i];
        y[i] = at > high ? high : at;
    }
}

static void clip_grad(float *dx, const float *x, const float *dy, size_t n,
                      float low, float high)
{
    for (size_t i = 0; i < n; i++) {
        dx[i] = x[i] >= low && x[i] <= high ? dy[i] : 0.0f;
    }
}

static float fold_sum(float lane[static LANES])
{
    for (size_t w = LANES / 2; w > 0; w /= 2) {
        for (size_t j = 0; j < w; j++) {
            lane[j] = lane[j] + lane[j + w];
        }
    }
    return lane[0];
}

static float sum(const float *x, size_t n)
{
    float lane[LANES] = {0};
    size_t i = 0;
    for (; i + LANES <= n; i += LANES) {
        for (size_t j = 0; j < LANES; j++) {
            lane[j] = lane[j] + x[i + j];
        }
    }
    for (size_t j = 0; i + j < n; j++) {
        lane[j] = lane[j] + x[i + j];
    }
    return fold_sum(lane);
}

static float dot(const float *a, const float *b, size_t n)
{
    float lane[LANES] = {0};
    size_t i = 0;
    for (; i + LANES <= n; i += LANES) {
        for (size_t j = 0; j < LANES; j++) {
            lane[j] = lane[j] + a[i + j] * b[i + j];
        }
    }
    for (size_t j = 0; i + j < n; j++) {
        lane[j] = lane[j] + a[i + j] * b[i + j];
    }
    return fold_sum(lane);
}

static inline float larger(float a, float b)
{
    return b > a ? b : a;
}

static float largest(const float *x, size_t n)
{
    float lane[LANES];
    for (size_t j = 0; j < LANES; j++) {
        lane[j] = x[0];
    }
    size_t i = 0;
    for (; i + LANES <= n; i += LANES) {
        for (size_t j = 0; j < LANES; j++) {
            lane[j] = larger(lane[j], x[i + j]);
        }
    }
    for (size_t j = 0; i + j < n; j++) {
        lane[j] = larger(lane[j], x[i + j]);
    }
    for (size_t j = 1; j < LANES; j++) {
        lane[0] = larger(lane[0], lane[j]);
    }
    return lane[0];
}

#include "tensor/kernels_norm.h"
#include "tensor/kernels_softmax.h"

static void from_u8(float *restrict y, const uint8_t *restrict x, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        y[i] = (float)x[i];
    }
}

/* The finaliser of SplitMix64 (Steele, Lea and Flood 2014). */
static inline uint64_t mixed(uint64_t x)
{
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

static inline uint32_t drawn(uint64_t start, size_t i)
{
    return (uint32_t)(mixed(start + 0x9e3779b97f4a7c15u * (uint64_t)(i + 1)) >>
                      32);
}

static void drop(float *y, const float *x, size_t n, const tb_k_drop *d)
{
    const uint64_t start = d->start;
    const uint32_t threshold = d->threshold;
    const float scale = d->scale;
    for (size_t i = 0; i < n; i++) {
        y[i] = drawn(start, i) >= threshold ? x[i] * scale : 0.0f;
    }
}

static void drop_mask(uint8_t *mask, size_t n, const tb_k_drop *d)
{
    for (size_t i = 0; i < n; i++) {
        mask[i] = drawn(d->start, i) >= d->threshold;
    }
}

const tb_k_set TB_K_SET = {
    .name = TB_K_NAME,
    .usable = usable,
    .arith =
        {
            [TB_K_ADD] = add,
            [TB_K_SUB] = sub,
            [TB_K_MUL] = mul,
            [TB_K_DIV] = quotient,
            [TB_K_MIN] = smaller_of,
            [TB_K_MAX] = larger_of,
        },
    .affine = affine,
    .axpy = axpy,
    .axpby = axpby,
    .add_row = add_row,
    .sum_rows = sum_rows,
    .relu = relu,
    .relu_grad = relu_grad,
    .map =
        {
#define TB_K_MAP(NAME, name) [TB_K_##NAME] = map_##name,
#include "tensor/kernels_maps.def"
#undef TB_K_MAP
        },
    .map_grad =
        {
#define TB_K_MAP(NAME, name) [TB_K_##NAME] = map_##name##_grad,
#include "tensor/kernels_maps.def"
#undef TB_K_MAP
        },
    .clip = clip,
    .clip_grad = clip_grad,
    .sigmoid_grad = sigmoid_grad,
    .tanh_grad = tanh_grad,
    .sum = sum,
    .dot = dot,
    .softmax = softmax,
    .log_softmax = log_softmax,
    .softmax_grad = softmax_grad,
    .log_softmax_grad = log_softmax_grad,
    .softmax_cols = softmax_cols,
    .log_softmax_cols = log_softmax_cols,
    .softmax_grad_cols = softmax_grad_cols,
    .log_softmax_grad_cols = log_softmax_grad_cols,
    .from_u8 = from_u8,
    .drop = drop,
    .drop_mask = drop_mask,
    .moments = moments,
    .grad_sums = grad_sums,
    .line_of = line_of,
    .plane_of = plane_of,
    .row_line = row_line,
    .row_grad_sums = row_grad_sums,
    .row_plane = row_plane,
    .row_params = row_params,
    .col_moments = col_moments,
    .col_grad_sums = col_grad_sums,
    .col_line = col_line,
    .col_plane = col_plane,
};
