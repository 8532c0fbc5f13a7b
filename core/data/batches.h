/* core/data/batches.h - the order in which a client sees its rows: a fresh
 * seeded shuffle each epoch, cut into batches. One owner at a time. */
#ifndef TB_DATA_BATCHES_H
#define TB_DATA_BATCHES_H

#include "base/err.h"
#include "base/stream.h"

typedef struct tb_batches tb_batches;

/* Batches of batch_rows over n_rows rows; the last one of an epoch may be
 * smaller. The order comes from the stream (seed, round, "batches", client).
 * Errors: USAGE (batch_rows 0, no rows), NOMEM. */
tb_rc tb_batches_new(tb_batches **out, size_t n_rows, size_t batch_rows,
                     uint64_t seed, uint32_t round, const char *client,
                     tb_err *err) TB_NONNULL(1, 6) TB_MUST_CHECK;
void tb_batches_free(tb_batches **b) TB_NONNULL(1);

/* Row numbers of the next batch, *n of them (1 to batch_rows), borrowed until
 * the next call; NULL once at the end of each epoch, after which the next call
 * begins a new one with a new order. Allocates nothing. */
const uint32_t *tb_batches_next(tb_batches *b, size_t *n) TB_NONNULL(1, 2);

/* Batches in one epoch. */
size_t tb_batches_per_epoch(const tb_batches *b) TB_NONNULL(1);

#endif
