/* Any bytes as a client's saved state: refused, or a machine goes on from them,
 * steps, and saves the same bytes. The closing hash is made to fit too, so that
 * the rest is reached. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "fed/client_priv.h"

static void go_on(const uint8_t *bytes, size_t len)
{
    tb_client_params params = tb_client_defaults();
    uint8_t back[TB_CLIENT_STATE_BYTES_MAX];
    tb_client *cl = NULL;
    tb_cactions out = {0};
    if (!tb_name_set(&params.name, "anna") ||
        tb_client_new(&cl, &params, bytes, len, NULL) != TB_OK) {
        return;
    }
    size_t n = tb_cl_state_encode(cl, back);
    tb_client *again = NULL;
    if (tb_client_new(&again, &params, back, n, NULL) != TB_OK ||
        tb_client_step(cl, &(tb_cevent){.kind = TB_CEV_TICK}, 1, &out, NULL) !=
            TB_OK) {
        abort(); /* what it saves, it takes */
    }
    tb_cactions_release(&out);
    tb_client_free(&again);
    tb_client_free(&cl);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t copy[TB_CLIENT_STATE_BYTES_MAX];
    size_t live = tb_mem_live();
    go_on(data, size);
    if (size > TB_HASH_BYTES && size <= sizeof copy) {
        memcpy(copy, data, size);
        tb_hash hash = tb_hash_of(data, size - TB_HASH_BYTES);
        memcpy(copy + size - TB_HASH_BYTES, hash.bytes, TB_HASH_BYTES);
        go_on(copy, size);
    }
    if (tb_mem_live() != live) {
        abort();
    }
    return 0;
}
