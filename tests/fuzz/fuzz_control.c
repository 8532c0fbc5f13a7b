/* Any bytes as the JSON of a request: refused, or encode gives the same request
 * again; and as the heads of requests and replies. */
#include <stdlib.h>
#include <string.h>

#include "host/control_request.h"

static void check_json(const uint8_t *data, size_t size)
{
    tb_control_request r;
    tb_control_request again;
    tb_control_head head;
    tb_buf bytes;
    tb_buf_init(&bytes, (size_t)8 << 20);
    if (tb_control_json_decode(&r, data, size, NULL) != TB_OK) {
        return;
    }
    tb_rc rc = tb_control_request_encode(&r, &bytes, NULL);
    if (rc == TB_OK) {
        if (tb_control_head_decode(&head, bytes.data, NULL) != TB_OK ||
            tb_control_json_decode(&again, bytes.data + TB_CONTROL_HEAD_BYTES,
                                   head.json_bytes, NULL) != TB_OK ||
            again.n_args != r.n_args ||
            strcmp(again.verb.text, r.verb.text) != 0) {
            abort();
        }
        for (size_t i = 0; i < r.n_args; i++) {
            const char *value = tb_control_arg_get(&again, r.args[i].key.text);
            if (value == NULL || strcmp(value, r.args[i].value) != 0) {
                abort();
            }
        }
        tb_control_request_release(&again);
    }
    tb_buf_release(&bytes);
    tb_control_request_release(&r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    tb_control_head head;
    tb_control_reply_head reply;
    if (size >= TB_CONTROL_HEAD_BYTES &&
        tb_control_head_decode(&head, data, NULL) == TB_OK &&
        head.json_bytes > TB_CONTROL_JSON_BYTES_MAX) {
        abort();
    }
    if (size >= TB_CONTROL_REPLY_BYTES &&
        tb_control_reply_decode(&reply, data, NULL) == TB_OK &&
        reply.json_bytes > TB_CONTROL_REPLY_BYTES_MAX) {
        abort();
    }
    check_json(data, size);
    return 0;
}
