/* core/host/shared.h - immutable bytes with a count of owners: one copy of a
 * blob goes out to any number of peers. Safe from any thread. */
#ifndef TB_HOST_SHARED_H
#define TB_HOST_SHARED_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

typedef struct tb_shared tb_shared;

/* Takes the bytes of *take, which is empty afterwards (and only on TB_OK).
 * Errors: NOMEM. */
tb_rc tb_shared_new(tb_shared **out, tb_buf *take, tb_err *err)
    TB_NONNULL(1, 2) TB_MUST_CHECK;

/* One more owner; returns shared itself. */
tb_shared *tb_shared_ref(tb_shared *shared) TB_NONNULL(1);

/* One owner less; the last one frees the bytes. Nulls *shared; NULL is fine. */
void tb_shared_free(tb_shared **shared) TB_NONNULL(1);

/* The bytes, borrowed, and how many. */
const uint8_t *tb_shared_data(const tb_shared *shared) TB_NONNULL(1);
size_t tb_shared_bytes(const tb_shared *shared) TB_NONNULL(1);

#endif
