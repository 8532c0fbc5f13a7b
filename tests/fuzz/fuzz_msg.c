/* Any bytes: decode refuses them, or what it gives encodes again, and what
 * that decodes to encodes to the same bytes. */
#include <stdlib.h>
#include <string.h>

#include "wire/msg.h"

static void encode(tb_buf *out, const tb_msg *msg)
{
    tb_buf_init(out, TB_ENVELOPE_BYTES_MAX);
    if (tb_msg_encode(msg, out, NULL) != TB_OK) {
        abort();
    }
}

/* The first two bytes are the size of the payload frame. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    tb_msg msg;
    tb_msg again;
    tb_buf once;
    tb_buf twice;
    if (size < 2) {
        return 0;
    }
    size_t payload = (size_t)data[0] | (size_t)data[1] << 8;
    const uint8_t *bytes = data + 2;
    size_t len = size - 2;
    if (tb_msg_decode(&msg, bytes, len, payload, NULL) != TB_OK) {
        return 0;
    }
    encode(&once, &msg);
    bool open = msg.kind == TB_MSG_HELLO || msg.kind == TB_MSG_WELCOME ||
                msg.kind == TB_MSG_REFUSE;
    if (!open && (once.len != len || memcmp(once.data, bytes, len) != 0)) {
        abort();
    }
    if (tb_msg_decode(&again, once.data, once.len, payload, NULL) != TB_OK) {
        abort();
    }
    encode(&twice, &again);
    if (once.len != twice.len || memcmp(once.data, twice.data, once.len) != 0) {
        abort();
    }
    tb_msg_release(&msg);
    tb_msg_release(&again);
    tb_buf_release(&once);
    tb_buf_release(&twice);
    return 0;
}
