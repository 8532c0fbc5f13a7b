/* core/fed/update.h - an update as plain blocks, before sealing and after
 * opening; no I/O. Block 0 is the head; block i >= 1 holds values
 * [(i-1) * TB_BLOCK_VALUES, ...) of the sections one after the other, in the
 * round's codec. Each block decodes alone.
 *
 * Head (64 bytes, little-endian): "TBUH" | version u32 = 1 | weight u32 |
 * n_blocks u32 | n_values u64 | 0 (40 bytes, reserved). */
#ifndef TB_FED_UPDATE_H
#define TB_FED_UPDATE_H

#include "fed/codec.h"
#include "fed/sum.h"
#include "wire/config.h"
#include "wire/msg.h"

#define TB_UPDATE_HEAD_BYTES 64

/* Values in block index (0 for the head), and where they lie. index must be
 * under tb_round_config_blocks. */
size_t tb_update_block_values(const tb_round_config *config, uint32_t index)
    TB_NONNULL(1);
size_t tb_update_block_offset(uint32_t index);

/* Plain bytes of block index in the round's codec; 0 when the codec is not
 * known. A sealed block is TB_SEAL_TAG_BYTES longer. */
size_t tb_update_block_bytes(const tb_round_config *config, uint32_t index)
    TB_NONNULL(1);

/* Writes plain block index to out [tb_update_block_bytes]. values: all
 * sections, one after the other [tb_round_config_values]; weight: number of
 * samples, 1 to max_weight. Errors: UNSUPPORTED (codec), MALFORMED (a value is
 * not finite), LIMIT (weight, |value| over max_abs). */
tb_rc tb_update_block_encode(const tb_round_config *config, uint32_t index,
                             const float *values, uint32_t weight, uint8_t *out,
                             tb_err *err) TB_NONNULL(1, 3, 5) TB_MUST_CHECK;

/* Reads the untrusted head. Errors: MALFORMED, UNSUPPORTED (version), MISMATCH
 * (it does not fit the round), LIMIT (weight). */
tb_rc tb_update_head_decode(const tb_round_config *config, const uint8_t *bytes,
                            size_t len, uint32_t *weight, tb_err *err)
    TB_NONNULL(1, 4) TB_MUST_CHECK;

/* Where a block goes. */
typedef struct tb_update_sink {
    const tb_round_config *config; /* borrowed */
    tb_sum *sum;                   /* borrowed */
    float *scratch;                /* borrowed [TB_BLOCK_VALUES] */
} tb_update_sink;

/* Decodes untrusted plain block index >= 1 and adds it with this weight; on
 * failure the sum is unchanged. Errors: MISMATCH (length, index), MALFORMED
 * (not finite), LIMIT (over max_abs, weight), UNSUPPORTED (codec). */
tb_rc tb_update_block_add(const tb_update_sink *sink, uint32_t index,
                          const uint8_t *bytes, size_t len, uint32_t weight,
                          tb_err *err) TB_NONNULL(1) TB_MUST_CHECK;

/* The same checks, but adds nothing: sink->sum may be NULL. */
tb_rc tb_update_block_check(const tb_update_sink *sink, uint32_t index,
                            const uint8_t *bytes, size_t len, tb_err *err)
    TB_NONNULL(1) TB_MUST_CHECK;

/* Takes back a block that was added before, from the same bytes. */
tb_rc tb_update_block_subtract(const tb_update_sink *sink, uint32_t index,
                               const uint8_t *bytes, size_t len,
                               uint32_t weight, tb_err *err)
    TB_NONNULL(1) TB_MUST_CHECK;

/* The refusal that fits a failure of head_decode (index 0) or block_add; 0 when
 * it is not the client's fault. */
tb_refusal tb_update_refusal(uint32_t index, tb_rc rc);

#endif
