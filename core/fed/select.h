/* core/fed/select.h - the seeded choice of a cohort. */
#ifndef TB_FED_SELECT_H
#define TB_FED_SELECT_H

#include <stddef.h>
#include <stdint.h>

#include "wire/name.h"

/* Clients to ask so that `target` are likely to answer:
 * ceil(target * over_selection), at most TB_COHORT_MAX. */
uint32_t tb_select_wanted(uint32_t target, double over_selection);

/* Chooses n of n_all clients, who stand in the order of their names: their
 * positions into index [n], rising. Equal arguments, equal choice: the order of
 * arrival cannot matter. n <= n_all. Stream: purpose "selection"; from the
 * second attempt on, the attempt in the place of a client's name. */
void tb_select(uint32_t *index, uint32_t n, uint32_t n_all, uint64_t seed,
               uint32_t round, uint32_t attempt);

#endif
