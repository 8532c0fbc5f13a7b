/* core/host/spool_index.c - which uploads a segment has, and where each of
 * their blocks lies: in memory, made anew when it is opened. */
#include <string.h>

#include "base/mem.h"
#include "host/spool_priv.h"

/* Ids are random: any eight bytes of one tell where to look. */
static size_t slot_of(const tb_spool *s, const tb_upload_id *id)
{
    uint64_t low;
    memcpy(&low, id->bytes, sizeof low);
    return (size_t)low & (s->n_slots - 1);
}

tb_spool_entry *tb_spool_index_find(const tb_spool *s, const tb_upload_id *id)
{
    if (s->n_slots == 0) {
        return NULL;
    }
    size_t at = slot_of(s, id);
    for (; s->slots[at] != 0; at = (at + 1) & (s->n_slots - 1)) {
        tb_spool_entry *u = &s->uploads[s->slots[at] - 1];
        if (memcmp(u->info.id.bytes, id->bytes, TB_UPLOAD_ID_BYTES) == 0) {
            return u;
        }
    }
    return NULL;
}

static void insert(tb_spool *s, size_t index)
{
    size_t at = slot_of(s, &s->uploads[index].info.id);
    while (s->slots[at] != 0) {
        at = (at + 1) & (s->n_slots - 1);
    }
    s->slots[at] = (uint32_t)index + 1;
}

/* A larger table of slots, filled anew. */
static tb_rc spread(tb_spool *s, size_t n_slots, tb_err *err)
{
    uint32_t *slots = tb_mem_array(n_slots, sizeof *slots);
    if (slots == NULL) {
        return tb_fail(err, TB_E_NOMEM, "spool: %zu uploads", s->n);
    }
    tb_mem_free(s->slots);
    s->slots = slots;
    s->n_slots = n_slots;
    for (size_t i = 0; i < s->n; i++) {
        insert(s, i);
    }
    return TB_OK;
}

tb_rc tb_spool_index_reserve(tb_spool *s, uint32_t n_blocks, uint64_t **at,
                             tb_err *err)
{
    if (s->n == s->cap) {
        size_t cap = s->cap > 0 ? s->cap * 2 : 16;
        tb_spool_entry *more = tb_mem_resize(s->uploads, cap, sizeof *more);
        if (more == NULL) {
            return tb_fail(err, TB_E_NOMEM, "spool: %zu uploads", cap);
        }
        s->uploads = more;
        s->cap = cap;
    }
    tb_rc rc = 2 * (s->n + 1) > s->n_slots ? spread(s, 4 * s->cap, err) : TB_OK;
    if (rc != TB_OK) {
        return rc;
    }
    *at = tb_mem_array(n_blocks, sizeof **at);
    return *at != NULL ? TB_OK
                       : tb_fail(err, TB_E_NOMEM, "spool: %u blocks", n_blocks);
}

void tb_spool_index_upload(tb_spool *s, const tb_spool_upload *info,
                           uint64_t *at)
{
    s->uploads[s->n] = (tb_spool_entry){.info = *info, .at = at};
    insert(s, s->n++);
}

void tb_spool_index_block(tb_spool_entry *u, uint32_t index, uint64_t offset)
{
    u->at[index] = offset;
    while (u->next < u->info.n_blocks && u->at[u->next] != 0) {
        u->next++;
    }
}

void tb_spool_index_release(tb_spool *s)
{
    for (size_t i = 0; i < s->n; i++) {
        tb_mem_free(s->uploads[i].at);
    }
    tb_mem_free(s->uploads);
    tb_mem_free(s->slots);
}
