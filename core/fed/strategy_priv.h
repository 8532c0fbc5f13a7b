/* core/fed/strategy_priv.h - the members of the strategy table, one file each
 * in strategies/, and what they share. For strategy.c and those files only. */
#ifndef TB_FED_STRATEGY_PRIV_H
#define TB_FED_STRATEGY_PRIV_H

#include "fed/strategy.h"

extern const tb_strategy tb_strategy_fedavg;

/* A section by its parts; name must be a name. */
tb_section tb_section_of(const char *name, uint64_t n_values, bool weighted)
    TB_NONNULL(1);

#endif
