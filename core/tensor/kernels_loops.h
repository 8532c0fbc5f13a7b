/* core/tensor/kernels_loops.h - the loops of kernels.h as plain C, included by
 * one .c file an instruction set, which the compiler vectorises for that set.
 * Every float operation is written out, so all sets give the same bits.
 * The includer defines TB_K_SET, TB_K_NAME (a text) and TB_K_USABLE. */
#include "tensor/kernels_priv.h"

#include <math.h>
#include <string.h>

#define LANES 16

static bool usable(void)
{
    return TB_K_USABLE;
}

static void add(float *y, const float *a, const float *b, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        y[i] = a[i] + b[i];
    }
}

static void sub(float *y, const float *a, const float *b, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        y[i] = a[i] - b[i];
    }
}

static void mul(float *y, const float *a, const float *b, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        y[i] = a[i] * b[i];
    }
}

static void quotient(float *y, const float *a, const float *b, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        y[i] = a[i] / b[i];
    }
}

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

static void sum_rows(float *restrict row, const float *restrict x,
                     size_t n_rows, size_t n_cols, float alpha, float beta)
{
    float sum[4 * LANES];
    for (size_t from = 0; from < n_cols; from += 4 * LANES) {
        size_t left = n_cols - from;
        size_t n = left < 4 * LANES ? left : 4 * LANES;
        memset(sum, 0, sizeof sum);
        for (size_t r = 0; r < n_rows; r++) {
            const float *at = x + r * n_cols + from;
            for (size_t c = 0; c < n; c++) {
                sum[c] = sum[c] + at[c];
            }
        }
        for (size_t c = 0; c < n; c++) {
            float old = beta == 0.0f ? 0.0f : beta * row[from + c];
            row[from + c] = alpha * sum[c] + old;
        }
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

static inline float power_of_two(int32_t n)
{
    int32_t bits = (n + 127) * (1 << 23);
    float out;
    memcpy(&out, &bits, sizeof out);
    return out;
}

/* exp(r + n log 2) = 2^n exp(r), |r| <= log(2) / 2, with the polynomial of
 * Cephes' expf and log 2 in two parts. */
static inline float exp_of(float x)
{
    const float shift = 12582912.0f; /* 1.5 * 2^23: rounds to an integer */
    float c = x < -87.3f ? -87.3f : x;
    c = c > 88.73f ? 88.73f : c;
    float shifted = c * 1.44269504088896341f + shift;
    float n = shifted - shift;
    float r = (c - n * 0.693359375f) + n * 2.12194440e-4f;
    float p = 1.9875691500e-4f;
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = (p * (r * r) + r) + 1.0f;
    int32_t bits, shift_bits;
    memcpy(&bits, &shifted, sizeof bits);
    memcpy(&shift_bits, &shift, sizeof shift_bits);
    int32_t e = bits - shift_bits;
    e = e < -126 ? -126 : e; /* bounds for NaN, whose bits are any */
    e = e > 128 ? 128 : e;
    float y = p * power_of_two(e >> 1) * power_of_two(e - (e >> 1));
    return x < -87.3f ? 0.0f : y;
}

static void exp_all(float *y, const float *x, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        y[i] = exp_of(x[i]);
    }
}

static void sigmoid(float *y, const float *x, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        y[i] = 1.0f / (1.0f + exp_of(-x[i]));
    }
}

/* Cephes' tanhf: a polynomial near 0, else (1 - e) / (1 + e),
 * e = exp(-2|x|). */
static inline float tanh_of(float x)
{
    float z = x * x;
    float p = -5.70498872745e-3f;
    p = p * z + 2.06390887954e-2f;
    p = p * z - 5.37397155531e-2f;
    p = p * z + 1.33314422036e-1f;
    p = p * z - 3.33332819422e-1f;
    float near = (p * z) * x + x;
    float e = exp_of(-2.0f * fabsf(x));
    float far = copysignf((1.0f - e) / (1.0f + e), x);
    return fabsf(x) < 0.625f ? near : far;
}

static void tanh_all(float *y, const float *x, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        y[i] = tanh_of(x[i]);
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

static void softmax(float *y, const float *x, size_t n_rows, size_t n_cols)
{
    for (size_t r = 0; r < n_rows; r++, x += n_cols, y += n_cols) {
        float max = largest(x, n_cols);
        for (size_t c = 0; c < n_cols; c++) {
            y[c] = exp_of(x[c] - max);
        }
        float scale = 1.0f / sum(y, n_cols);
        for (size_t c = 0; c < n_cols; c++) {
            y[c] = y[c] * scale;
        }
    }
}

static void log_softmax(float *y, const float *x, size_t n_rows, size_t n_cols)
{
    float part[4 * LANES];
    for (size_t r = 0; r < n_rows; r++, x += n_cols, y += n_cols) {
        float max = largest(x, n_cols);
        float total = 0.0f;
        for (size_t from = 0; from < n_cols; from += 4 * LANES) {
            size_t left = n_cols - from;
            size_t n = left < 4 * LANES ? left : 4 * LANES;
            for (size_t c = 0; c < n; c++) {
                part[c] = exp_of(x[from + c] - max);
            }
            total = total + sum(part, n);
        }
        float log_total = logf(total);
        for (size_t c = 0; c < n_cols; c++) {
            y[c] = (x[c] - max) - log_total;
        }
    }
}

static void from_u8(float *restrict y, const uint8_t *restrict x, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        y[i] = (float)x[i];
    }
}

const tb_k_set TB_K_SET = {
    .name = TB_K_NAME,
    .usable = usable,
    .add = add,
    .sub = sub,
    .mul = mul,
    .div = quotient,
    .affine = affine,
    .axpy = axpy,
    .axpby = axpby,
    .add_row = add_row,
    .sum_rows = sum_rows,
    .relu = relu,
    .relu_grad = relu_grad,
    .exp = exp_all,
    .sigmoid = sigmoid,
    .tanh = tanh_all,
    .sigmoid_grad = sigmoid_grad,
    .tanh_grad = tanh_grad,
    .sum = sum,
    .dot = dot,
    .max = largest,
    .softmax = softmax,
    .log_softmax = log_softmax,
    .from_u8 = from_u8,
};
