/* Any bytes as the head of a spool record and, behind it, the body of an
 * announcement: refused, or encode gives the same bytes back. */
#include <stdlib.h>
#include <string.h>

#include "host/spool_record.h"

static void check_announce(const tb_spool_record *r, const uint8_t *body)
{
    uint8_t back[TB_SPOOL_ANNOUNCE_BYTES];
    tb_spool_upload upload;
    tb_spool_upload again;
    if (tb_spool_announce_decode(&upload, r, body, NULL) != TB_OK) {
        return;
    }
    tb_spool_announce_encode(&upload, back);
    if (tb_spool_announce_decode(&again, r, back, NULL) != TB_OK ||
        memcmp(&again, &upload, sizeof upload) != 0) {
        abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t back[TB_SPOOL_RECORD_BYTES];
    tb_spool_record r;
    if (size < TB_SPOOL_RECORD_BYTES ||
        tb_spool_record_decode(&r, data, NULL) != TB_OK ||
        r.body_bytes > size - TB_SPOOL_RECORD_BYTES) {
        return 0;
    }
    const uint8_t *body = data + TB_SPOOL_RECORD_BYTES;
    if (r.kind == TB_SPOOL_ANNOUNCE) {
        check_announce(&r, body);
    }
    if (tb_spool_record_check(&r, data, body)) {
        tb_hash hash = tb_hash_of(body, r.body_bytes);
        tb_spool_record_encode(&r, &hash, back);
        if (memcmp(back, data, sizeof back) != 0) {
            abort();
        }
    }
    return 0;
}
