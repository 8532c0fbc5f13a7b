/* tests/support/gzip.h - packs bytes for tests, by zlib. */
#ifndef TB_TESTS_SUPPORT_GZIP_H
#define TB_TESTS_SUPPORT_GZIP_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <zlib.h>

/* window: 31 for gzip, -15 for bare deflate. Returns the packed length. */
static inline size_t tb_test_deflate(const void *bytes, size_t len,
                                     uint8_t *out, size_t out_bytes, int window)
{
    z_stream z;
    memset(&z, 0, sizeof z);
    if (deflateInit2(&z, 9, Z_DEFLATED, window, 8, Z_DEFAULT_STRATEGY) !=
        Z_OK) {
        return 0;
    }
    uint8_t copy[65536];
    memcpy(copy, bytes, len);
    z.next_in = copy;
    z.avail_in = (uInt)len;
    z.next_out = out;
    z.avail_out = (uInt)out_bytes;
    int rc = deflate(&z, Z_FINISH);
    (void)deflateEnd(&z);
    return rc == Z_STREAM_END ? z.total_out : 0;
}

#endif
