/* Any bytes as stored bytes of a blob that somebody signed: unpacked to exactly
 * the named bytes, or refused, and never into more memory than was named. */
#include <stdlib.h>

#include <zstd.h>

#include "host/blob.h"

#define RAW_BYTES_MAX 65536u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    tb_buf out;
    unsigned long long raw = ZSTD_getFrameContentSize(data, size);
    tb_blob_ref ref = {.stored = tb_hash_of(data, size),
                       .stored_bytes = size,
                       .raw_bytes = raw};
    tb_buf_init(&out, RAW_BYTES_MAX);
    tb_rc rc = tb_blob_unpack(data, size, &ref, &out, NULL);
    if (rc == TB_OK || out.len != 0 || out.cap > RAW_BYTES_MAX) {
        abort(); /* nobody can name bytes whose hash is all zero */
    }
    tb_buf_release(&out);
    return 0;
}
