#include "host/shared.h"

#include <stdatomic.h>

#include "base/mem.h"

struct tb_shared {
    atomic_size_t owners;
    uint8_t *data;
    size_t len;
};

tb_rc tb_shared_new(tb_shared **out, tb_buf *take, tb_err *err)
{
    *out = NULL;
    tb_shared *s = tb_mem_array(1, sizeof *s);
    if (s == NULL) {
        return tb_fail(err, TB_E_NOMEM, "shared bytes");
    }
    atomic_init(&s->owners, 1);
    s->data = take->data;
    s->len = take->len;
    tb_buf_init(take, take->max);
    *out = s;
    return TB_OK;
}

tb_shared *tb_shared_ref(tb_shared *shared)
{
    (void)atomic_fetch_add(&shared->owners, 1);
    return shared;
}

void tb_shared_free(tb_shared **shared)
{
    tb_shared *s = *shared;
    *shared = NULL;
    if (s != NULL && atomic_fetch_sub(&s->owners, 1) == 1) {
        tb_mem_free(s->data);
        tb_mem_free(s);
    }
}

const uint8_t *tb_shared_data(const tb_shared *shared)
{
    return shared->data;
}

size_t tb_shared_bytes(const tb_shared *shared)
{
    return shared->len;
}
