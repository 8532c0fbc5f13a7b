/* core/train/clip.h - keeps gradients from being too large, as PyTorch's
 * clip_grad_norm_ and clip_grad_value_ do. Pure; any thread. */
#ifndef TB_TRAIN_CLIP_H
#define TB_TRAIN_CLIP_H

#include <stddef.h>

#include "base/err.h"

typedef struct tb_clip {
    double value; /* each in [-value, value]; 0: any */
    double norm;  /* then the norm of all together at most this; 0: any */
} tb_clip;

/* Whether both are finite and 0 or more. Errors: USAGE. */
tb_rc tb_clip_check(const tb_clip *clip, tb_err *err)
    TB_NONNULL(1) TB_MUST_CHECK;

/* g[i] = min(max(g[i], -limit), limit); NaN stays. */
void tb_clip_value(float *g, size_t n, double limit) TB_NONNULL(1);

/* Sum of squares, in float64 lanes; vectors add up. */
double tb_clip_squares(const float *g, size_t n) TB_NONNULL(1);

/* What gradients of that norm are multiplied by: min(1, limit / (norm +
 * 1e-6)). */
double tb_clip_factor(double norm, double limit);

#endif
