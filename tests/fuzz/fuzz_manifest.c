/* Any bytes: decode refuses them, or encode gives the same bytes back. */
#include <stdlib.h>
#include <string.h>

#include "wire/manifest.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    tb_manifest manifest;
    tb_buf back;
    if (tb_manifest_decode(&manifest, data, size, NULL) != TB_OK) {
        return 0;
    }
    tb_buf_init(&back, TB_MANIFEST_BYTES_MAX);
    if (tb_manifest_encode(&manifest, &back, NULL) != TB_OK ||
        back.len != size || memcmp(back.data, data, size) != 0) {
        abort();
    }
    tb_manifest_release(&manifest);
    tb_buf_release(&back);
    return 0;
}
