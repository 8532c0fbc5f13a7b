/* Any bytes as JSON, as a client reads replies of a daemon: refused, or what is
 * written of it reads back and is written the same again. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "host/json.h"

static void write_twice(const tb_json *json, bool indent)
{
    tb_json *again = NULL;
    tb_buf first, second;
    tb_buf_init(&first, 4 * TB_JSON_BYTES_MAX);
    tb_buf_init(&second, 4 * TB_JSON_BYTES_MAX);
    if (tb_json_write(json, indent, &first, NULL) == TB_OK &&
        (tb_json_parse(&again, (const char *)first.data, first.len, NULL) !=
             TB_OK ||
         tb_json_write(again, indent, &second, NULL) != TB_OK ||
         first.len != second.len ||
         memcmp(first.data, second.data, first.len) != 0)) {
        abort();
    }
    tb_json_free(&again);
    tb_buf_release(&first);
    tb_buf_release(&second);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    tb_json *json = NULL;
    if (tb_json_parse(&json, (const char *)data, size, NULL) == TB_OK) {
        write_twice(json, false);
        write_twice(json, true);
    }
    tb_json_free(&json);
    return 0;
}
