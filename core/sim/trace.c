/* What happens, in lines that repeat with the seed: no address, no time of day,
 * no thread is in them. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "sim/sim_priv.h"

#define LINE_BYTES 160

static const char *kind_name(tb_sim_kind kind)
{
    static const char *const names[] = {[TB_SIM_TO_COORDINATOR] = "to_co",
                                        [TB_SIM_TO_CLIENT] = "to_client",
                                        [TB_SIM_CONNECTED] = "connected",
                                        [TB_SIM_WORKED] = "worked",
                                        [TB_SIM_ORDERED] = "ordered",
                                        [TB_SIM_STORED] = "stored",
                                        [TB_SIM_DURABLE] = "durable",
                                        [TB_SIM_COORDINATOR_UP] = "co_up",
                                        [TB_SIM_CLIENT_UP] = "client_up",
                                        [TB_SIM_WAKE_COORDINATOR] = "co_tick",
                                        [TB_SIM_WAKE_CLIENT] = "client_tick"};
    return names[kind];
}

/* Of the bytes of a message, as they came. */
static void print_message(char *out, size_t room, const tb_sim_item *item)
{
    tb_hasher hasher;
    tb_hasher_init(&hasher);
    tb_hasher_add(&hasher, item->envelope.data, item->envelope.len);
    if (item->payload_bytes > 0) {
        tb_hasher_add(&hasher, item->payload, item->payload_bytes);
    }
    tb_hash hash = tb_hasher_end(&hasher);
    (void)snprintf(out, room, "%zu+%zu %016" PRIx64, item->envelope.len,
                   item->payload_bytes, tb_le64_get(hash.bytes));
}

void tb_sim_tell(const tb_sim *sim, const tb_sim_item *item)
{
    char line[LINE_BYTES];
    char what[LINE_BYTES / 2] = "";
    switch (item->kind) {
    case TB_SIM_TO_COORDINATOR:
    case TB_SIM_TO_CLIENT:
        print_message(what, sizeof what, item);
        break;
    case TB_SIM_ORDERED:
        (void)snprintf(what, sizeof what, "%s %u of %s",
                       tb_order_kind_name(item->order->kind),
                       item->order->index, item->order->upload.client.text);
        break;
    case TB_SIM_DURABLE:
        (void)snprintf(what, sizeof what, "row %" PRIu64, item->seq);
        break;
    case TB_SIM_CONNECTED:
    case TB_SIM_WORKED:
    case TB_SIM_STORED:
    case TB_SIM_COORDINATOR_UP:
    case TB_SIM_CLIENT_UP:
    case TB_SIM_WAKE_COORDINATOR:
    case TB_SIM_WAKE_CLIENT:
        break;
    }
    (void)snprintf(line, sizeof line, "%" PRId64 " %s %zu life %" PRIu64 " %s",
                   sim->now, kind_name(item->kind), item->client, item->life,
                   what);
    sim->jobs.trace(sim->jobs.arg, line);
}
