/* Messages on the virtual network: through the real encoder and decoder, late,
 * lost, twice or out of order as the world says. */
#include <string.h>

#include "base/mem.h"
#include "sim/sim_priv.h"

/* One copy of a message on its way. */
static tb_rc launch(tb_sim *sim, const tb_sim_item *from, tb_err *err)
{
    tb_sim_item item = *from;
    item.payload = NULL;
    tb_buf_init(&item.envelope, TB_ENVELOPE_BYTES_MAX);
    tb_rc rc = tb_buf_put(&item.envelope, from->envelope.data,
                          from->envelope.len, err);
    if (rc == TB_OK && from->payload != NULL) {
        item.payload = tb_mem_array(from->payload_bytes, 1);
        if (item.payload == NULL) {
            rc = tb_fail(err, TB_E_NOMEM, "simulator: a payload");
        } else {
            memcpy(item.payload, from->payload, from->payload_bytes);
        }
    }
    if (rc != TB_OK) {
        tb_sim_item_release(&item);
        return rc;
    }
    tb_sim_device *d = &sim->devices[item.client];
    uint64_t jitter = sim->world.jitter_ms;
    uint64_t in_ms = sim->world.latency_ms +
                     (jitter > 0 ? tb_stream_below(&sim->chance, jitter) : 0);
    int64_t *last =
        item.kind == TB_SIM_TO_COORDINATOR ? &d->last_out_ms : &d->last_in_ms;
    in_ms *= d->slow > 0 ? d->slow : 1;
    if (sim->world.fifo && sim->now + (int64_t)in_ms < *last) {
        in_ms = (uint64_t)(*last - sim->now);
    }
    *last = sim->now + (int64_t)in_ms;
    return tb_sim_push(sim, &item, in_ms, err);
}

static bool by_chance(tb_sim *sim, double p)
{
    return p > 0.0 && tb_stream_uniform(&sim->chance) < p;
}

tb_rc tb_sim_send(tb_sim *sim, size_t client, bool to_coordinator,
                  const tb_msg *msg, tb_span payload, tb_err *err)
{
    tb_sim_device *d = &sim->devices[client];
    if (!d->connected || sim->now < d->parted_until_ms ||
        by_chance(sim, sim->world.drop)) {
        return TB_OK;
    }
    uint8_t *bytes = NULL;
    tb_sim_item item = {.kind = to_coordinator ? TB_SIM_TO_COORDINATOR
                                               : TB_SIM_TO_CLIENT,
                        .client = client,
                        .link = d->link,
                        .payload_bytes = payload.len};
    tb_buf_init(&item.envelope, TB_ENVELOPE_BYTES_MAX);
    tb_rc rc = tb_msg_encode(msg, &item.envelope, err);
    if (rc == TB_OK && payload.len > 0) {
        bytes = tb_mem_array(payload.len, 1);
        if (bytes == NULL) {
            rc = tb_fail(err, TB_E_NOMEM, "simulator: a payload");
        } else {
            memcpy(bytes, payload.data, payload.len);
        }
    }
    item.payload = bytes;
    if (rc == TB_OK) {
        rc = launch(sim, &item, err);
    }
    if (rc == TB_OK && by_chance(sim, sim->world.duplicate)) {
        rc = launch(sim, &item, err);
    }
    tb_sim_item_release(&item);
    return rc;
}

tb_rc tb_sim_arrive(tb_sim *sim, tb_sim_item *item, tb_err *err)
{
    tb_sim_device *d = &sim->devices[item->client];
    if (!d->connected || d->link != item->link ||
        sim->now < d->parted_until_ms) {
        return TB_OK; /* lost with its connection */
    }
    tb_msg msg;
    tb_rc rc = tb_msg_decode(&msg, item->envelope.data, item->envelope.len,
                             item->payload_bytes, err);
    if (rc != TB_OK) {
        return tb_err_prefix(err, TB_E_BUG, "a message of ours");
    }
    if (item->kind == TB_SIM_TO_COORDINATOR) {
        uint8_t *payload = item->payload;
        item->payload = NULL;
        d->known = true;
        rc = tb_sim_heard(sim, item->client, &msg, payload, item->payload_bytes,
                          err);
    } else {
        tb_cevent event = {.kind = TB_CEV_MESSAGE,
                           .msg = &msg,
                           .genuine = true,
                           .payload_bytes = item->payload_bytes};
        rc = tb_sim_device_step(sim, item->client, &event, item->payload, err);
    }
    tb_msg_release(&msg);
    return rc;
}

tb_rc tb_sim_break(tb_sim *sim, size_t client, bool tell, tb_err *err)
{
    tb_sim_device *d = &sim->devices[client];
    if (!d->connected) {
        return TB_OK;
    }
    bool known = d->known;
    d->connected = false;
    d->known = false;
    d->link++;
    tb_rc rc = TB_OK;
    if (known && sim->co != NULL) {
        tb_event gone = {.kind = TB_EV_GONE, .client = d->name};
        rc = tb_sim_coordinator_step(sim, &gone, err);
    }
    if (rc == TB_OK && tell && d->machine != NULL) {
        tb_cevent lost = {.kind = TB_CEV_DISCONNECTED};
        rc = tb_sim_device_step(sim, client, &lost, NULL, err);
    }
    return rc;
}
