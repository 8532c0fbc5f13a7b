/* Any bytes: decode refuses them, or encode gives the same bytes back. */
#include <stdlib.h>
#include <string.h>

#include "wire/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static tb_round_config config;
    tb_buf back;
    if (tb_round_config_decode(&config, data, size, NULL) != TB_OK) {
        return 0;
    }
    tb_buf_init(&back, TB_CONFIG_BYTES_MAX);
    if (tb_round_config_encode(&config, &back, NULL) != TB_OK ||
        back.len != size || memcmp(back.data, data, size) != 0 ||
        tb_round_config_blocks(&config) > TB_BLOCKS_MAX) {
        abort();
    }
    tb_buf_release(&back);
    return 0;
}
