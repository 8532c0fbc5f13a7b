/* bench/load/update.h - a sealed update of fixed values, made as a client's
 * worker makes it, but kept in memory. */
#ifndef TB_BENCH_LOAD_UPDATE_H
#define TB_BENCH_LOAD_UPDATE_H

#include "fed/client.h"
#include "wire/config.h"

typedef struct load_update {
    tb_hash config; /* its round */
    tb_sealed sealed;
    uint8_t *bytes; /* owned: all sealed blocks, one after the other */
    size_t *at;     /* owned [n_blocks + 1]: where each begins */
} load_update;

/* Seals and signs for the round whose canonical bytes have this hash. Errors:
 * as tb_sealer_new, NOMEM. */
tb_rc load_update_make(load_update *out, const tb_round_config *config,
                       const tb_hash *hash, uint32_t client, tb_err *err)
    TB_NONNULL(1, 2, 3) TB_MUST_CHECK;

/* Safe twice. */
void load_update_release(load_update *update) TB_NONNULL(1);

#endif
