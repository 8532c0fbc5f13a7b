/* coordinator/registry.h - the versions of models that the journal knows. A
 * version is a manifest: a blob whose raw hash stands in the journal; it is
 * signed anew whenever it is sent (Ed25519 gives the same bytes). One owner. */
#ifndef TB_COORDINATOR_REGISTRY_H
#define TB_COORDINATOR_REGISTRY_H

#include "fed/record.h"

typedef struct tb_registry {
    tb_rec_version *at; /* in the order of the journal; owned */
    size_t n, cap;
} tb_registry;

/* Takes the next row of the journal. Errors: NOMEM. */
tb_rc tb_registry_add(tb_registry *registry, const tb_rec_version *version,
                      tb_err *err) TB_NONNULL(1, 2) TB_MUST_CHECK;

/* Forgets versions whose manifest goes. */
void tb_registry_sweep(tb_registry *registry, const tb_rec_swept *swept)
    TB_NONNULL(1, 2);

/* The version of that sequence (0: the current one, which is the newest row),
 * borrowed; NULL: there is none. */
const tb_rec_version *tb_registry_find(const tb_registry *registry,
                                       const tb_name *model, uint64_t sequence)
    TB_NONNULL(1, 2);

void tb_registry_release(tb_registry *registry) TB_NONNULL(1);

#endif
