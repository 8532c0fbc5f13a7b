/* core/fed/sum_priv.h - the inner loops of the exact sum, for sum.c, its tests
 * and its bench. */
#ifndef TB_FED_SUM_PRIV_H
#define TB_FED_SUM_PRIV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"

/* Whether all |x| <= max_abs (so also: all are finite). */
bool tb_sum_fits(const float *x, size_t n, float max_abs) TB_NONNULL(1);

/* acc[i] += weight * round-half-even(x[i] * scale), modulo 2^64. scale is a
 * power of two; |x * scale| <= limit for all of x. */
void tb_sum_axpy(int64_t *acc, const float *x, size_t n, double scale,
                 double limit, int64_t weight) TB_NONNULL(1, 2);

#endif
