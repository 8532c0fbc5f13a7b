/* fuzz: any bytes as one opened block of an update: the first byte chooses the
 * codec, the second head or values, the rest is the block. It is refused, or it
 * adds to a sum and can be taken back without a trace. */
#include <stdlib.h>

#include "fed/update.h"

static void take_head(const tb_round_config *config, const uint8_t *bytes,
                      size_t len)
{
    uint32_t weight = 0;
    if (tb_update_head_decode(config, bytes, len, &weight, NULL) == TB_OK &&
        (weight == 0 || weight > config->max_weight)) {
        abort();
    }
}

static void take_values(const tb_round_config *config, const uint8_t *bytes,
                        size_t len)
{
    static float scratch[TB_BLOCK_VALUES];
    tb_sum *sum = NULL;
    if (tb_sum_new(&sum, config, 4, NULL) != TB_OK) {
        abort(); /* the configuration is ours */
    }
    tb_hash empty = tb_sum_hash(sum);
    tb_update_sink sink = {config, sum, scratch};
    if (tb_update_block_add(&sink, 1, bytes, len, 3, NULL) == TB_OK &&
        tb_update_block_subtract(&sink, 1, bytes, len, 3, NULL) != TB_OK) {
        abort();
    }
    tb_hash after = tb_sum_hash(sum);
    if (!tb_hash_equal(&empty, &after)) {
        abort();
    }
    tb_sum_free(&sum);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    tb_round_config config = {.fraction_bits = 30,
                              .max_abs = 8.0F,
                              .max_weight = 1000,
                              .n_sections = 1};
    config.sections[0] = (tb_section){.n_values = 10, .weighted = true};
    if (size < 2 ||
        !tb_name_set(&config.codec, (data[0] & 1) != 0 ? "q8" : "f32")) {
        return 0;
    }
    if (data[1] == 0) {
        take_head(&config, data + 2, size - 2);
    } else {
        take_values(&config, data + 2, size - 2);
    }
    return 0;
}
