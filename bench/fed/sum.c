/* bench/fed/sum.c - how fast updates are added: the exact sum against a plain
 * float32 accumulate, in values of one update a second, in a cache (0.2 M
 * values) and from memory (32 M values). Prints medians of alternating rounds.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/mem.h"
#include "fed/sum.h"

#define ROUNDS 9

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *v)
{
    qsort(v, ROUNDS, sizeof *v, by_value);
    return v[ROUNDS / 2];
}

static void plain(float *acc, const float *x, size_t n, float weight)
{
    for (size_t i = 0; i < n; i++) {
        acc[i] += weight * x[i];
    }
}

/* In blocks, as updates come. */
static void exact(tb_sum *sum, const float *x, size_t n)
{
    for (size_t at = 0; at < n; at += TB_BLOCK_VALUES) {
        size_t m = n - at < TB_BLOCK_VALUES ? n - at : TB_BLOCK_VALUES;
        if (tb_sum_add(sum, at, x + at, m, 6000, NULL) != TB_OK) {
            abort();
        }
    }
}

static void compare(size_t n, int repeats)
{
    tb_round_config config = {.max_abs = 16.0F,
                              .max_weight = 60000,
                              .fraction_bits = 20,
                              .n_sections = 1};
    config.sections[0] = (tb_section){.n_values = n, .weighted = true};
    tb_sum *sum = NULL;
    float *x = tb_mem_aligned(n, sizeof *x);
    float *acc = tb_mem_aligned(n, sizeof *acc);
    double ours[ROUNDS];
    double theirs[ROUNDS];
    if (x == NULL || acc == NULL ||
        tb_sum_new(&sum, &config, 1000, NULL) != 0) {
        (void)fprintf(stderr, "no memory\n");
        exit(1);
    }
    for (size_t i = 0; i < n; i++) {
        x[i] = (float)(i % 1000) * 0.001F;
    }
    for (int r = 0; r < ROUNDS; r++) {
        int64_t t0 = tb_clock_ns();
        for (int k = 0; k < repeats; k++) {
            plain(acc, x, n, 6000.0F);
        }
        int64_t t1 = tb_clock_ns();
        for (int k = 0; k < repeats; k++) {
            exact(sum, x, n);
        }
        int64_t t2 = tb_clock_ns();
        theirs[r] = (double)n * repeats / (double)(t1 - t0);
        ours[r] = (double)n * repeats / (double)(t2 - t1);
    }
    double a = median(theirs);
    double b = median(ours);
    (void)printf("%10zu values: float32 %5.2f, exact %5.2f G values/s "
                 "(%.1f and %.1f GB/s of update), ratio %.2f; acc %g\n",
                 n, a, b, 4 * a, 4 * b, b / a, (double)acc[n / 2]);
    tb_sum_free(&sum);
    tb_mem_free(x);
    tb_mem_free(acc);
}

int main(void)
{
    compare(200000, 100);
    compare(32u << 20, 1);
    return 0;
}
