/* fuzz: any bytes: a sum of two sections is decoded from them and gives the
 * same bytes back, or they are refused. The closing hash is made to fit, so
 * that the rest is reached. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "fed/sum.h"

static void round_trip(const tb_round_config *config, const uint8_t *bytes,
                       size_t len)
{
    tb_sum *sum = NULL;
    tb_buf back;
    if (tb_sum_decode(&sum, config, 4, bytes, len, NULL) != TB_OK) {
        return;
    }
    tb_buf_init(&back, 4096);
    if (tb_sum_encode(sum, &back, NULL) != TB_OK || back.len != len ||
        memcmp(back.data, bytes, len) != 0) {
        abort();
    }
    tb_buf_release(&back);
    tb_sum_free(&sum);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    tb_round_config config = {.fraction_bits = 30,
                              .max_abs = 8.0F,
                              .max_weight = 1000,
                              .n_sections = 2};
    config.sections[0] = (tb_section){.n_values = 8, .weighted = true};
    config.sections[1] = (tb_section){.n_values = 1};
    round_trip(&config, data, size);
    if (size > TB_HASH_BYTES) {
        uint8_t *copy = tb_mem_array(size, 1);
        if (copy == NULL) {
            return 0;
        }
        memcpy(copy, data, size);
        tb_hash hash = tb_hash_of(data, size - TB_HASH_BYTES);
        memcpy(copy + size - TB_HASH_BYTES, hash.bytes, TB_HASH_BYTES);
        round_trip(&config, copy, size);
        tb_mem_free(copy);
    }
    return 0;
}
