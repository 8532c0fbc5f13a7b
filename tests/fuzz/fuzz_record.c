/* fuzz: a kind byte and any bytes: decode refuses them, or encode gives the
 * same bytes back. */
#include <stdlib.h>
#include <string.h>

#include "fed/record.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    tb_record record;
    tb_buf back;
    if (size == 0 ||
        tb_record_decode(&record, data[0], data + 1, size - 1, NULL) != TB_OK) {
        return 0;
    }
    tb_buf_init(&back, TB_RECORD_BYTES_MAX);
    if (tb_record_encode(&record, &back, NULL) != TB_OK ||
        back.len != size - 1 || memcmp(back.data, data + 1, back.len) != 0) {
        abort();
    }
    tb_buf_release(&back);
    tb_record_release(&record);
    return 0;
}
