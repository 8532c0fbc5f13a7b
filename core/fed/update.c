#include "fed/update.h"

#include <math.h>
#include <string.h>

#define HEAD_VERSION 1u
#define HEAD_USED    24 /* the rest is reserved and zero */

static const char magic[4] = {'T', 'B', 'U', 'H'};

size_t tb_update_block_offset(uint32_t index)
{
    return index == 0 ? 0 : (size_t)(index - 1) * TB_BLOCK_VALUES;
}

size_t tb_update_block_values(const tb_round_config *config, uint32_t index)
{
    uint64_t n = tb_round_config_values(config);
    uint64_t at = tb_update_block_offset(index);
    if (index == 0 || at >= n) {
        return 0;
    }
    return n - at < TB_BLOCK_VALUES ? (size_t)(n - at) : TB_BLOCK_VALUES;
}

size_t tb_update_block_bytes(const tb_round_config *config, uint32_t index)
{
    const tb_codec *codec = tb_codec_find(config->codec.text);
    if (index == 0) {
        return TB_UPDATE_HEAD_BYTES;
    }
    return codec == NULL ? 0
                         : codec->bytes(tb_update_block_values(config, index));
}

static tb_rc find_codec(const tb_codec **out, const tb_round_config *config,
                        tb_err *err)
{
    *out = tb_codec_find(config->codec.text);
    if (*out == NULL) {
        return tb_fail(err, TB_E_UNSUPPORTED, "update: codec \"%s\"",
                       config->codec.text);
    }
    return TB_OK;
}

static tb_rc check_weight(const tb_round_config *config, uint32_t weight,
                          tb_err *err)
{
    if (weight == 0 || weight > config->max_weight) {
        return tb_fail(err, TB_E_LIMIT, "update: weight %u is not in 1 to %u",
                       weight, config->max_weight);
    }
    return TB_OK;
}

static void put_head(const tb_round_config *config, uint32_t weight,
                     uint8_t *out)
{
    memset(out, 0, TB_UPDATE_HEAD_BYTES);
    memcpy(out, magic, sizeof magic);
    tb_le32_put(out + 4, HEAD_VERSION);
    tb_le32_put(out + 8, weight);
    tb_le32_put(out + 12, tb_round_config_blocks(config));
    tb_le64_put(out + 16, tb_round_config_values(config));
}

tb_rc tb_update_block_encode(const tb_round_config *config, uint32_t index,
                             const float *values, uint32_t weight, uint8_t *out,
                             tb_err *err)
{
    const tb_codec *codec = NULL;
    tb_rc rc = find_codec(&codec, config, err);
    if (rc == TB_OK) {
        rc = check_weight(config, weight, err);
    }
    if (rc != TB_OK) {
        return rc;
    }
    if (index == 0) {
        put_head(config, weight, out);
        return TB_OK;
    }
    size_t offset = tb_update_block_offset(index);
    size_t n = tb_update_block_values(config, index);
    for (size_t i = offset; i < offset + n; i++) {
        if (isfinite(values[i]) && fabsf(values[i]) > config->max_abs) {
            return tb_fail(err, TB_E_LIMIT,
                           "update: value %zu is %g, over max_abs %g", i,
                           (double)values[i], (double)config->max_abs);
        }
    }
    return codec->encode(values + offset, n, out, err);
}

tb_rc tb_update_head_decode(const tb_round_config *config, const uint8_t *bytes,
                            size_t len, uint32_t *weight, tb_err *err)
{
    static const uint8_t zero[TB_UPDATE_HEAD_BYTES];
    if (len != TB_UPDATE_HEAD_BYTES ||
        memcmp(bytes, magic, sizeof magic) != 0) {
        return tb_fail(err, TB_E_MALFORMED, "update: block 0 is no head");
    }
    if (tb_le32_get(bytes + 4) != HEAD_VERSION) {
        return tb_fail(err, TB_E_UNSUPPORTED, "update: head version %u",
                       tb_le32_get(bytes + 4));
    }
    if (memcmp(bytes + HEAD_USED, zero, TB_UPDATE_HEAD_BYTES - HEAD_USED) !=
        0) {
        return tb_fail(err, TB_E_MALFORMED,
                       "update: reserved bytes of the "
                       "head are not 0");
    }
    if (tb_le32_get(bytes + 12) != tb_round_config_blocks(config) ||
        tb_le64_get(bytes + 16) != tb_round_config_values(config)) {
        return tb_fail(err, TB_E_MISMATCH,
                       "update: %u blocks of %llu values, the round has %u of "
                       "%llu",
                       tb_le32_get(bytes + 12),
                       (unsigned long long)tb_le64_get(bytes + 16),
                       tb_round_config_blocks(config),
                       (unsigned long long)tb_round_config_values(config));
    }
    uint32_t w = tb_le32_get(bytes + 8);
    tb_rc rc = check_weight(config, w, err);
    if (rc == TB_OK) {
        *weight = w;
    }
    return rc;
}

/* The values of a block, in the scratch or where they lie. Unless they were
 * decoded nobody has looked at them. */
typedef struct values {
    const float *x; /* [n] */
    size_t n;
} values;

static tb_rc decode(const tb_update_sink *sink, uint32_t index,
                    const uint8_t *bytes, size_t len, values *v, tb_err *err)
{
    const tb_codec *codec = NULL;
    tb_rc rc = find_codec(&codec, sink->config, err);
    if (rc != TB_OK) {
        return rc;
    }
    v->n = tb_update_block_values(sink->config, index);
    if (v->n == 0 || len != codec->bytes(v->n)) {
        return tb_fail(err, TB_E_MISMATCH,
                       "update: block %u has %zu bytes, not %zu", index, len,
                       v->n == 0 ? 0 : codec->bytes(v->n));
    }
    v->x = codec->view != NULL ? codec->view(bytes) : NULL;
    if (v->x != NULL) {
        return TB_OK;
    }
    v->x = sink->scratch;
    return codec->decode(sink->scratch, v->n, bytes, err);
}

tb_rc tb_update_block_add(const tb_update_sink *sink, uint32_t index,
                          const uint8_t *bytes, size_t len, uint32_t weight,
                          tb_err *err)
{
    values v = {NULL, 0};
    tb_rc rc = decode(sink, index, bytes, len, &v, err);
    return rc == TB_OK ? tb_sum_add(sink->sum, tb_update_block_offset(index),
                                    v.x, v.n, weight, err)
                       : rc;
}

tb_rc tb_update_block_check(const tb_update_sink *sink, uint32_t index,
                            const uint8_t *bytes, size_t len, tb_err *err)
{
    values v = {NULL, 0};
    tb_rc rc = decode(sink, index, bytes, len, &v, err);
    return rc == TB_OK
               ? tb_sum_check_values(sink->config->max_abs, v.x, v.n, err)
               : rc;
}

tb_rc tb_update_block_subtract(const tb_update_sink *sink, uint32_t index,
                               const uint8_t *bytes, size_t len,
                               uint32_t weight, tb_err *err)
{
    values v = {NULL, 0};
    tb_rc rc = decode(sink, index, bytes, len, &v, err);
    return rc == TB_OK
               ? tb_sum_subtract(sink->sum, tb_update_block_offset(index), v.x,
                                 v.n, weight, err)
               : rc;
}

tb_refusal tb_update_refusal(uint32_t index, tb_rc rc)
{
    if (tb_rc_fault(rc) != TB_FAULT_PEER) {
        return 0;
    }
    if (rc == TB_E_MISMATCH) {
        return TB_REFUSE_SIZE;
    }
    if (rc == TB_E_UNSUPPORTED) {
        return TB_REFUSE_PROTOCOL;
    }
    if (index == 0) {
        return rc == TB_E_LIMIT ? TB_REFUSE_WEIGHT : TB_REFUSE_MALFORMED;
    }
    return TB_REFUSE_VALUES;
}
