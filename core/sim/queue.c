/* What happens when: a binary heap by time, then by order of arrival. */
#include <string.h>

#include "base/mem.h"
#include "sim/sim_priv.h"

static bool before(const tb_sim_item *a, const tb_sim_item *b)
{
    return a->at_ms != b->at_ms ? a->at_ms < b->at_ms : a->turn < b->turn;
}

static void swap(tb_sim_item *a, tb_sim_item *b)
{
    tb_sim_item c = *a;
    *a = *b;
    *b = c;
}

tb_rc tb_sim_push(tb_sim *sim, tb_sim_item *item, uint64_t in_ms, tb_err *err)
{
    tb_sim_queue *q = &sim->queue;
    if (q->n == q->cap) {
        size_t cap = q->cap == 0 ? 64 : 2 * q->cap;
        tb_sim_item *heap = tb_mem_resize(q->heap, cap, sizeof *heap);
        if (heap == NULL) {
            tb_sim_item_release(item);
            return tb_fail(err, TB_E_NOMEM, "simulator: %zu events", cap);
        }
        q->heap = heap;
        q->cap = cap;
    }
    item->at_ms = sim->now + (int64_t)in_ms;
    item->turn = q->turn++;
    size_t i = q->n++;
    q->heap[i] = *item;
    memset(item, 0, sizeof *item);
    for (; i > 0 && before(&q->heap[i], &q->heap[(i - 1) / 2]);
         i = (i - 1) / 2) {
        swap(&q->heap[i], &q->heap[(i - 1) / 2]);
    }
    return TB_OK;
}

bool tb_sim_pop(tb_sim *sim, int64_t until_ms, tb_sim_item *out)
{
    tb_sim_queue *q = &sim->queue;
    if (q->n == 0 || q->heap[0].at_ms > until_ms) {
        return false;
    }
    *out = q->heap[0];
    q->heap[0] = q->heap[--q->n];
    for (size_t i = 0;;) {
        size_t least = i;
        for (size_t c = 2 * i + 1; c <= 2 * i + 2 && c < q->n; c++) {
            least = before(&q->heap[c], &q->heap[least]) ? c : least;
        }
        if (least == i) {
            return true;
        }
        swap(&q->heap[i], &q->heap[least]);
        i = least;
    }
}

void tb_sim_item_release(tb_sim_item *item)
{
    tb_buf_release(&item->envelope);
    tb_mem_free(item->payload);
    tb_mem_free(item->order);
    tb_mem_free(item->verdict);
    tb_sim_task_free(&item->task);
    memset(item, 0, sizeof *item);
}

void tb_sim_queue_release(tb_sim_queue *queue)
{
    for (size_t i = 0; i < queue->n; i++) {
        tb_sim_item_release(&queue->heap[i]);
    }
    tb_mem_free(queue->heap);
    *queue = (tb_sim_queue){0};
}
