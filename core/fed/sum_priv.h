/* core/fed/sum_priv.h - the inner loops of the exact sum, for sum.c, its tests
 * and its bench. */
#ifndef TB_FED_SUM_PRIV_H
#define TB_FED_SUM_PRIV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"

/* One instruction set's loops. All give the same integers. */
typedef struct tb_sum_kernel {
    const char *name;
    bool (*usable)(void); /* on this CPU */

    /* Whether all |x| <= max_abs, which is finite and over 0 (so also: all are
     * finite). */
    bool (*fits)(const float *x, size_t n, float max_abs);

    /* acc[i] += weight * round-half-even(x[i] * scale), modulo 2^64. scale is a
     * power of two, and |x * scale| < TB_SUM_NEAR for all of x. */
    void (*axpy)(int64_t *acc, const float *x, size_t n, double scale,
                 int64_t weight);
} tb_sum_kernel;

#define TB_SUM_NEAR 0x1p51

/* The loops for any scale; slower. */
void tb_sum_axpy_far(int64_t *acc, const float *x, size_t n, double scale,
                     int64_t weight) TB_NONNULL(1, 2);

/* The fastest first; the last one runs anywhere; NULL behind it. */
const tb_sum_kernel *tb_sum_kernel_at(size_t i);

/* The first that this CPU can run. */
const tb_sum_kernel *tb_sum_kernel_best(void);

#endif
