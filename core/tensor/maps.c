/* core/tensor/maps.c - the functions of kernels_maps.def and their slopes in
 * double, by libm. */
#include <math.h>

#include "tensor/kernels.h"

#define SQRT_HALF       0.70710678118654752440
#define SQRT_2_OVER_PI  0.79788456080286535588
#define GELU_CUBE       0.044715 /* Hendrycks and Gimpel 2016 */
#define TWO_OVER_SQRTPI 1.12837916709551257390
#define DENSITY_AT_0    0.39894228040143267794 /* 1 / sqrt(2 pi) */

static double logistic(double x)
{
    return 1 / (1 + exp(-x));
}

static double softplus(double x)
{
    return (x > 0 ? x : 0) + log1p(exp(-fabs(x)));
}

static double between_0_and_1(double x)
{
    return x < 0 ? 0 : (x > 1 ? 1 : x);
}

static double gelu_tanh_inner(double x)
{
    return SQRT_2_OVER_PI * (x + GELU_CUBE * x * x * x);
}

double tb_k_map_f64(tb_k_map_of f, double x, double p, double q)
{
    switch (f) {
    case TB_K_NEG:
        return -x;
    case TB_K_ABS:
        return fabs(x);
    case TB_K_SQRT:
        return sqrt(x);
    case TB_K_RECIPROCAL:
        return 1 / x;
    case TB_K_EXP:
        return exp(x);
    case TB_K_LOG:
        return log(x);
    case TB_K_ERF:
        return erf(x);
    case TB_K_RELU:
        return x <= 0 ? p * x : x;
    case TB_K_ELU:
        return x > 0 ? x : p * expm1(x);
    case TB_K_SELU:
        return q * (x > 0 ? x : p * expm1(x));
    case TB_K_CELU:
        return x > 0 ? x : p * expm1(x * q);
    case TB_K_SIGMOID:
        return logistic(x);
    case TB_K_TANH:
        return tanh(x);
    case TB_K_HARD_SIGMOID:
        return between_0_and_1(p * x + q);
    case TB_K_HARD_SWISH:
        return x * between_0_and_1(x / 6 + 0.5);
    case TB_K_GELU:
        return 0.5 * x * erfc(-x * SQRT_HALF);
    case TB_K_GELU_TANH:
        return 0.5 * x * (1 + tanh(gelu_tanh_inner(x)));
    case TB_K_SOFTPLUS:
        return softplus(x);
    case TB_K_SOFTSIGN:
        return x / (1 + fabs(x));
    case TB_K_MISH:
        return x * tanh(softplus(x));
    case TB_K_THRESHOLDED:
        return x > p ? x : 0;
    case TB_K_MAP_COUNT:
    default:
        return NAN;
    }
}

static double slope_gelu_tanh(double x)
{
    double t = tanh(gelu_tanh_inner(x));
    double du = SQRT_2_OVER_PI * (1 + 3 * GELU_CUBE * x * x);
    return 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * du;
}

static double slope_mish(double x)
{
    double t = tanh(softplus(x));
    return t + x * (1 - t * t) * logistic(x);
}

static double slope_tanh(double x)
{
    double y = tanh(x);
    return 1 - y * y;
}

double tb_k_slope_f64(tb_k_map_of f, double x, double p, double q)
{
    switch (f) {
    case TB_K_NEG:
        return -1;
    case TB_K_ABS:
        return x > 0 ? 1 : (x < 0 ? -1 : 0);
    case TB_K_SQRT:
        return 0.5 / sqrt(x);
    case TB_K_RECIPROCAL:
        return -1 / (x * x);
    case TB_K_EXP:
        return exp(x);
    case TB_K_LOG:
        return 1 / x;
    case TB_K_ERF:
        return TWO_OVER_SQRTPI * exp(-x * x);
    case TB_K_RELU:
        return x > 0 ? 1 : p;
    case TB_K_ELU:
        return x > 0 ? 1 : p * exp(x);
    case TB_K_SELU:
        return q * (x > 0 ? 1 : p * exp(x));
    case TB_K_CELU:
        return x > 0 ? 1 : exp(x * q);
    case TB_K_SIGMOID:
        return logistic(x) * logistic(-x);
    case TB_K_TANH:
        return slope_tanh(x);
    case TB_K_HARD_SIGMOID:
        return p * x + q > 0 && p * x + q < 1 ? p : 0;
    case TB_K_HARD_SWISH:
        return x < -3 ? 0 : (x > 3 ? 1 : x / 3 + 0.5);
    case TB_K_GELU:
        return 0.5 * erfc(-x * SQRT_HALF) +
               x * DENSITY_AT_0 * exp(-0.5 * x * x);
    case TB_K_GELU_TANH:
        return slope_gelu_tanh(x);
    case TB_K_SOFTPLUS:
        return logistic(x);
    case TB_K_SOFTSIGN:
        return 1 / ((1 + fabs(x)) * (1 + fabs(x)));
    case TB_K_MISH:
        return slope_mish(x);
    case TB_K_THRESHOLDED:
        return x > p ? 1 : 0;
    case TB_K_MAP_COUNT:
    default:
        return NAN;
    }
}
