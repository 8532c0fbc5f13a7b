/* core/fed/select.h - the seeded choice of a cohort. */
#ifndef TB_FED_SELECT_H
#define TB_FED_SELECT_H

#include <stddef.h>
#include <stdint.h>

#include "wire/name.h"

/* Clients to ask so that `target` are likely to answer:
 * ceil(target * over_selection), at most TB_COHORT_MAX. */
uint32_t tb_select_wanted(uint32_t target, double over_selection);

/* Chooses n of the names [n_names], which are sorted and differ, into
 * index [n] in rising order (n <= n_names; index has room for n_names). Equal
 * names, seed, round and attempt: equal choice, whatever the order of arrival
 * was. Streams: purpose "selection", client "" or the attempt from 2 on. */
void tb_select(uint32_t *index, uint32_t n, const tb_name *const *names,
               uint32_t n_names, uint64_t seed, uint32_t round,
               uint32_t attempt) TB_NONNULL(1, 3);

#endif
