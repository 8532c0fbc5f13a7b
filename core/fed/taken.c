/* What became of the updates of an asynchronous run, by configuration and
 * client; and how many of them stand how. An event costs what it touches, not
 * the size of the buffer. */
#include <string.h>

#include "base/mem.h"
#include "fed/coordinator_priv.h"

#define FIRST_CAP 16 /* a power of two, as all others then are */

/* FNV-1a of the name, from the configuration's hash on: nobody chooses both. */
static size_t start_of(const tb_async *a, const tb_hash *config,
                       const tb_name *client)
{
    uint64_t h = tb_le64_get(config->bytes);
    for (const char *c = client->text; *c != '\0'; c++) {
        h = (h ^ (uint8_t)*c) * 0x100000001b3u;
    }
    return (size_t)(h ^ h >> 32) & (a->n_slots - 1);
}

tb_taken *tb_co_taken(const tb_run *run, const tb_hash *config,
                      const tb_name *client)
{
    const tb_async *a = run->async;
    if (a->n_taken == 0) {
        return NULL;
    }
    size_t at = start_of(a, config, client);
    for (; a->slots[at] != 0; at = (at + 1) & (a->n_slots - 1)) {
        tb_taken *c = &a->taken[a->slots[at] - 1];
        if (tb_name_equal(&c->record.client, client) &&
            tb_hash_equal(&c->record.config, config)) {
            return c;
        }
    }
    return NULL;
}

static void insert(const tb_async *a, size_t i)
{
    const tb_rec_accepted *r = &a->taken[i].record;
    size_t at = start_of(a, &r->config, &r->client);
    while (a->slots[at] != 0) {
        at = (at + 1) & (a->n_slots - 1);
    }
    a->slots[at] = (uint32_t)i + 1;
}

static void index_all(const tb_async *a)
{
    if (a->n_slots > 0) {
        memset(a->slots, 0, a->n_slots * sizeof *a->slots);
    }
    for (size_t i = 0; i < a->n_taken; i++) {
        insert(a, i);
    }
}

tb_rc tb_co_taken_reserve(tb_async *a, tb_err *err)
{
    if (a->n_taken < a->cap_taken) {
        return TB_OK;
    }
    size_t cap = a->cap_taken == 0 ? FIRST_CAP : 2 * a->cap_taken;
    uint32_t *slots = tb_mem_array(2 * cap, sizeof *slots);
    tb_taken *taken =
        slots == NULL ? NULL : tb_mem_resize(a->taken, cap, sizeof *taken);
    if (taken == NULL) {
        tb_mem_free(slots);
        return tb_fail(err, TB_E_NOMEM, "coordinator: %zu updates", cap);
    }
    tb_mem_free(a->slots);
    a->slots = slots;
    a->n_slots = 2 * cap;
    a->taken = taken;
    a->cap_taken = cap;
    index_all(a);
    return TB_OK;
}

void tb_co_taken_add(tb_async *a, const tb_taken *taken)
{
    a->taken[a->n_taken] = *taken;
    insert(a, a->n_taken);
    a->n_taken++;
    a->n_waiting += taken->state == TB_TAKEN_WAITS;
    tb_co_taken_look(a, &a->taken[a->n_taken - 1]);
}

void tb_co_taken_look(tb_async *a, const tb_taken *taken)
{
    size_t i = (size_t)(taken - a->taken);
    a->look_from = i < a->look_from ? i : a->look_from;
}

void tb_co_taken_recount(tb_async *a)
{
    index_all(a);
    a->n_waiting = 0;
    a->n_in_sum = 0;
    a->look_from = 0;
    for (size_t i = 0; i < a->n_taken; i++) {
        const tb_taken *c = &a->taken[i];
        a->n_waiting += c->state == TB_TAKEN_WAITS;
        a->n_in_sum += c->added || c->order != 0;
    }
}

tb_taken *tb_co_taken_by_order(tb_async *a, uint64_t order)
{
    for (size_t i = 0; i < a->n_taken; i++) {
        size_t at = (a->verdict_at + i) % a->n_taken;
        if (a->taken[at].order == order) {
            a->verdict_at = at + 1; /* they come back as they went, about */
            return &a->taken[at];
        }
    }
    return NULL;
}
