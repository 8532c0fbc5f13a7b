#include "fed/stale.h"

#include <stdbool.h>

/* The largest q with q - 1/2 <= 65536 / sqrt(n), that is
 * (2q - 1)^2 * n <= 2^34. */
uint32_t tb_stale_factor(uint32_t staleness)
{
    uint64_t bound = (UINT64_C(1) << 34) / (1 + (uint64_t)staleness);
    uint64_t low = 1;
    uint64_t high = TB_STALE_ONE;
    while (low < high) {
        uint64_t q = (low + high + 1) / 2;
        bool fits = (2 * q - 1) * (2 * q - 1) <= bound;
        low = fits ? q : low;
        high = fits ? high : q - 1;
    }
    return (uint32_t)low;
}
