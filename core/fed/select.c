#include "fed/select.h"

#include <math.h>
#include <stdio.h>

#include "base/stream.h"

uint32_t tb_select_wanted(uint32_t target, double over_selection)
{
    double wanted = ceil((double)target * over_selection);
    return wanted < (double)TB_COHORT_MAX ? (uint32_t)wanted : TB_COHORT_MAX;
}

/* Selection sampling (Knuth, TAOCP 2, 3.4.2, algorithm S): each subset of size
 * n with equal chance, in the order of the names. */
void tb_select(uint32_t *index, uint32_t n, uint32_t n_all, uint64_t seed,
               uint32_t round, uint32_t attempt)
{
    char again[16] = "";
    if (attempt > 1) {
        (void)snprintf(again, sizeof again, "%u", attempt);
    }
    tb_stream stream;
    tb_stream_init(&stream, seed, round, "selection", again);
    uint32_t chosen = 0;
    for (uint32_t i = 0; i < n_all && chosen < n; i++) {
        if (tb_stream_below(&stream, n_all - i) < n - chosen) {
            index[chosen++] = i;
        }
    }
}
