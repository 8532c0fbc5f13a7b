/* core/fed/sum.h - the exact sum of the updates of a round. A value x becomes
 * the integer round-half-even(x * 2^f), is multiplied by an integer weight and
 * added in int64. So no order of arrival, number of threads or shape of a tree
 * of sums can change the result, and a subtracted update leaves no trace.
 * Not thread-safe: one owner at a time.
 *
 * Serialised, little-endian: "TBSM" | version u32 = 2 | layout: fraction_bits
 * u32, max_abs f32, max_weight u32, max_updates u32, n_sections u32, then per
 * section n_values u64 and weighted u8 | weight u64 | full u64 | n_updates u32
 * | int64 [n_values] | BLAKE2b-256 of all before it. */
#ifndef TB_FED_SUM_H
#define TB_FED_SUM_H

#include "base/buf.h"
#include "wire/config.h"

typedef struct tb_sum tb_sum;

/* The largest f with max_updates * max_weight * max_abs * 2^f <= 2^62:
 * f = 62 - ceil(log2(product)), at most 62. Errors: LIMIT (f under
 * TB_FRACTION_BITS_MIN: says which of the three to lower), USAGE (a bound of 0,
 * or not finite). */
tb_rc tb_sum_fraction_bits(uint32_t *out, uint32_t max_updates,
                           uint32_t max_weight, float max_abs, tb_err *err)
    TB_NONNULL(1) TB_MUST_CHECK;

/* An empty sum for the sections and bounds of a round that adds at most
 * max_updates updates, of weights up to its sum_weight. Errors: LIMIT (config's
 * f is too large for its bounds: a sum could overflow; or too many values),
 * NOMEM. */
tb_rc tb_sum_new(tb_sum **out, const tb_round_config *config,
                 uint32_t max_updates, tb_err *err)
    TB_NONNULL(1, 2) TB_MUST_CHECK;

/* Frees and nulls. NULL is fine. */
void tb_sum_free(tb_sum **sum) TB_NONNULL(1);

/* Values of all sections, one after the other. */
size_t tb_sum_values(const tb_sum *sum) TB_NONNULL(1);

/* Adds (or subtracts, exactly what was added) x [n] at values [offset,
 * offset + n). Sections that are not weighted count with weight 1. All of x is
 * checked before the first is added: on failure the sum is unchanged. Errors:
 * MALFORMED (not finite), LIMIT (|x| over max_abs, weight 0 or over
 * max_weight), MISMATCH (outside the sum). */
tb_rc tb_sum_add(tb_sum *sum, size_t offset, const float *x, size_t n,
                 uint32_t weight, tb_err *err) TB_NONNULL(1) TB_MUST_CHECK;
tb_rc tb_sum_subtract(tb_sum *sum, size_t offset, const float *x, size_t n,
                      uint32_t weight, tb_err *err) TB_NONNULL(1) TB_MUST_CHECK;

/* Whether x [n] could be added to a sum with this bound. Errors: MALFORMED,
 * LIMIT, as tb_sum_add. */
tb_rc tb_sum_check_values(float max_abs, const float *x, size_t n, tb_err *err)
    TB_NONNULL(2) TB_MUST_CHECK;

/* Counts one whole update of this weight, or takes it back. Errors: LIMIT
 * (more than max_updates, weight out of bounds, none to take back). */
tb_rc tb_sum_count(tb_sum *sum, uint32_t weight, tb_err *err)
    TB_NONNULL(1) TB_MUST_CHECK;
tb_rc tb_sum_uncount(tb_sum *sum, uint32_t weight, tb_err *err)
    TB_NONNULL(1) TB_MUST_CHECK;

/* The same for an update that was added with a weight below its full one: the
 * mean divides by the full weights. Errors: also a weight over full. */
tb_rc tb_sum_count_damped(tb_sum *sum, uint32_t weight, uint32_t full,
                          tb_err *err) TB_NONNULL(1) TB_MUST_CHECK;
tb_rc tb_sum_uncount_damped(tb_sum *sum, uint32_t weight, uint32_t full,
                            tb_err *err) TB_NONNULL(1) TB_MUST_CHECK;

/* Weights (as added, and full) and number of the counted updates. */
uint64_t tb_sum_weight(const tb_sum *sum) TB_NONNULL(1);
uint64_t tb_sum_full(const tb_sum *sum) TB_NONNULL(1);
uint32_t tb_sum_updates(const tb_sum *sum) TB_NONNULL(1);

/* into += from. Errors: MISMATCH (another layout or other bounds), LIMIT (more
 * than max_updates together). */
tb_rc tb_sum_merge(tb_sum *into, const tb_sum *from, tb_err *err)
    TB_NONNULL(1, 2) TB_MUST_CHECK;

/* Means of values [offset, offset + n) into out [n]: the integer, as a double,
 * divided by the total full weight (weighted sections) or by the number of
 * updates, times 2^-f, rounded to float32. Errors: MISMATCH (outside, or
 * nothing was counted). */
tb_rc tb_sum_mean(const tb_sum *sum, size_t offset, float *out, size_t n,
                  tb_err *err) TB_NONNULL(1) TB_MUST_CHECK;

/* Values [offset, offset + n) as they are, int64 little-endian, out of the sum
 * or into one whose counts the caller restores: for a checkpoint, piece by
 * piece. Errors: MISMATCH (outside). */
tb_rc tb_sum_values_get(const tb_sum *sum, size_t offset, uint8_t *out,
                        size_t n, tb_err *err) TB_NONNULL(1, 3) TB_MUST_CHECK;
tb_rc tb_sum_values_put(tb_sum *sum, size_t offset, const uint8_t *bytes,
                        size_t n, tb_err *err) TB_NONNULL(1, 3) TB_MUST_CHECK;

/* Empties it. */
void tb_sum_clear(tb_sum *sum) TB_NONNULL(1);

/* Hash of layout, counts and values: equal sums, equal hashes. */
tb_hash tb_sum_hash(const tb_sum *sum) TB_NONNULL(1);

/* Appends the bytes described at the head. Errors: LIMIT, NOMEM. */
tb_rc tb_sum_encode(const tb_sum *sum, tb_buf *out, tb_err *err)
    TB_NONNULL(1, 2) TB_MUST_CHECK;

/* Reads a sum of exactly this layout and these bounds. Errors: MALFORMED (cut,
 * altered, counts that cannot be), MISMATCH (another layout), UNSUPPORTED
 * (version), NOMEM. */
tb_rc tb_sum_decode(tb_sum **out, const tb_round_config *config,
                    uint32_t max_updates, const uint8_t *bytes, size_t len,
                    tb_err *err) TB_NONNULL(1, 2) TB_MUST_CHECK;

#endif
