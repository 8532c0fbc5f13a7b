#include "fed/fetch.h"

void tb_fetch_init(tb_fetch *fetch, const tb_hash *blob, uint64_t total,
                   uint64_t have, uint64_t window_bytes)
{
    *fetch = (tb_fetch){.blob = *blob,
                        .total = total,
                        .have = have,
                        .asked = have,
                        .window_bytes = window_bytes};
}

bool tb_fetch_next(tb_fetch *fetch, tb_msg *out)
{
    uint64_t left = fetch->total - fetch->asked;
    uint64_t length = left < TB_FETCH_BYTES_MAX ? left : TB_FETCH_BYTES_MAX;
    bool first = fetch->asked == fetch->have; /* one always fits the window */
    if (length == 0 ||
        (!first && fetch->asked + length - fetch->have > fetch->window_bytes)) {
        return false;
    }
    *out = (tb_msg){.kind = TB_MSG_FETCH,
                    .u.fetch = {.blob = fetch->blob,
                                .offset = fetch->asked,
                                .length = (uint32_t)length}};
    fetch->asked += length;
    return true;
}

bool tb_fetch_take(tb_fetch *fetch, const tb_msg_chunk *chunk,
                   size_t payload_bytes)
{
    if (!tb_hash_equal(&chunk->blob, &fetch->blob) ||
        chunk->total != fetch->total || chunk->offset != fetch->have ||
        payload_bytes == 0 || payload_bytes > fetch->asked - fetch->have) {
        return false;
    }
    fetch->have += payload_bytes;
    return true;
}

void tb_fetch_again(tb_fetch *fetch)
{
    fetch->asked = fetch->have;
}

bool tb_fetch_done(const tb_fetch *fetch)
{
    return fetch->have == fetch->total;
}
