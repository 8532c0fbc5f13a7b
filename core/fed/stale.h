/* core/fed/stale.h - by how much an old update is damped, as integers only:
 * 1 / sqrt(1 + s) for one whose model is s buffers old (FedBuff: Nguyen et al.
 * 2022, "Federated Learning with Buffered Asynchronous Aggregation"). */
#ifndef TB_FED_STALE_H
#define TB_FED_STALE_H

#include <stdint.h>

#define TB_STALE_ONE     65536u /* the factor of a fresh update, Q16 */
#define TB_STALENESS_MAX 1000u

/* round(65536 / sqrt(1 + staleness)), at least 1. */
uint32_t tb_stale_factor(uint32_t staleness);

#endif
