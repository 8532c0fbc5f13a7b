#include "registry.h"

#include "base/mem.h"

tb_rc tb_registry_add(tb_registry *registry, const tb_rec_version *version,
                      tb_err *err)
{
    if (registry->n == registry->cap) {
        size_t cap = registry->cap > 0 ? 2 * registry->cap : 16;
        tb_rec_version *at =
            tb_mem_resize(registry->at, cap, sizeof *registry->at);
        if (at == NULL) {
            return tb_fail(err, TB_E_NOMEM, "%zu model versions", cap);
        }
        registry->at = at;
        registry->cap = cap;
    }
    registry->at[registry->n++] = *version;
    return TB_OK;
}

void tb_registry_sweep(tb_registry *registry, const tb_rec_swept *swept)
{
    size_t n = 0;
    for (size_t i = 0; i < registry->n; i++) {
        bool goes = false;
        for (uint32_t k = 0; k < swept->n_blobs && !goes; k++) {
            goes = tb_hash_equal(&registry->at[i].manifest, &swept->blobs[k]);
        }
        if (!goes) {
            registry->at[n++] = registry->at[i];
        }
    }
    registry->n = n;
}

const tb_rec_version *tb_registry_find(const tb_registry *registry,
                                       const tb_name *model, uint64_t sequence)
{
    for (size_t i = registry->n; i > 0; i--) {
        const tb_rec_version *v = &registry->at[i - 1];
        if (tb_name_equal(&v->model, model) &&
            (sequence == 0 || v->sequence == sequence)) {
            return v;
        }
    }
    return NULL;
}

void tb_registry_release(tb_registry *registry)
{
    tb_mem_free(registry->at);
    *registry = (tb_registry){0};
}
