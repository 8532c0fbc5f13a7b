#include "sim/sim.h"

#include <string.h>

#include "base/mem.h"
#include "sim/sim_priv.h"

tb_sim_world tb_sim_world_quiet(void)
{
    return (tb_sim_world){.latency_ms = 1,
                          .fifo = true,
                          .work_ms = 20,
                          .order_ms = 1,
                          .sync_ms = 1,
                          .reconnect_ms = 1};
}

static tb_rc record(tb_sim *sim, const tb_record *r, tb_err *err)
{
    tb_event event = {.kind = TB_EV_RECORD, .record = r};
    return tb_sim_coordinator_step(sim, &event, err);
}

/* Every client is invited and enrolled, under keys made of its number. */
static tb_rc enrol(tb_sim *sim, size_t i, tb_err *err)
{
    const tb_name *name = &sim->devices[i].name;
    tb_record invited = {.kind = TB_REC_INVITED,
                         .u.invited = {.client = *name}};
    tb_record enrolled = {.kind = TB_REC_ENROLLED,
                          .u.enrolled = {.client = *name}};
    tb_le64_put(invited.u.invited.invite, i + 1);
    tb_le64_put(enrolled.u.enrolled.invite, i + 1);
    tb_le64_put(enrolled.u.enrolled.sign_key, i + 1);
    tb_le64_put(enrolled.u.enrolled.curve_key, i + 1);
    tb_rc rc = record(sim, &invited, err);
    return rc == TB_OK ? record(sim, &enrolled, err) : rc;
}

static tb_rc start_devices(tb_sim *sim, const tb_sim_params *params,
                           tb_err *err)
{
    tb_rc rc = TB_OK;
    for (size_t i = 0; rc == TB_OK && i < params->n_clients; i++) {
        sim->devices[i].name = params->names[i];
        rc = enrol(sim, i, err);
    }
    for (size_t i = 0; rc == TB_OK && i < params->n_clients; i++) {
        rc = tb_sim_device_up(sim, i, err);
    }
    return rc;
}

tb_rc tb_sim_new(tb_sim **out, const tb_sim_params *params, tb_err *err)
{
    *out = NULL;
    tb_sim *sim = tb_mem_array(1, sizeof *sim);
    if (sim == NULL) {
        return tb_fail(err, TB_E_NOMEM, "simulator");
    }
    sim->world = params->world;
    sim->jobs = params->jobs;
    sim->coordinator_params = params->coordinator;
    sim->client_params = params->client;
    sim->n_devices = params->n_clients;
    sim->life = 1;
    tb_stream_init(&sim->chance, params->world.seed, 0, "world", "");
    (void)pthread_mutex_init(&sim->lock, NULL);
    (void)pthread_cond_init(&sim->done, NULL);
    sim->devices = tb_mem_array(params->n_clients, sizeof *sim->devices);
    sim->scratch = tb_mem_array(TB_BLOCK_VALUES, sizeof *sim->scratch);
    sim->busy = tb_mem_array(params->n_workers, sizeof *sim->busy);
    tb_rc rc = TB_OK;
    if (sim->devices == NULL || sim->scratch == NULL || sim->busy == NULL) {
        rc = tb_fail(err, TB_E_NOMEM, "simulator: %zu clients",
                     params->n_clients);
    }
    if (rc == TB_OK) {
        rc = tb_pool_new(&sim->pool, params->n_workers, err);
    }
    if (rc == TB_OK) {
        rc = tb_sim_coordinator_up(sim, err);
    }
    if (rc == TB_OK) {
        rc = start_devices(sim, params, err);
    }
    if (rc == TB_OK) {
        *out = sim;
    } else {
        tb_sim_free(&sim);
    }
    return rc;
}

void tb_sim_free(tb_sim **sim)
{
    tb_sim *s = *sim;
    if (s == NULL) {
        return;
    }
    tb_sim_queue_release(&s->queue); /* waits for work that runs */
    tb_pool_free(&s->pool);
    tb_sim_coordinator_drop(s);
    while (s->spool != NULL) {
        tb_hash config = s->spool->config;
        tb_sim_spool_drop(s, &config);
    }
    for (size_t i = 0; s->devices != NULL && i < s->n_devices; i++) {
        tb_sim_device_release(&s->devices[i]);
    }
    for (size_t i = 0; i < s->n_rows; i++) {
        tb_buf_release(&s->rows[i].body);
    }
    tb_mem_free(s->rows);
    tb_mem_free(s->blobs);
    tb_mem_free(s->devices);
    tb_mem_free(s->scratch);
    tb_mem_free(s->busy);
    (void)pthread_mutex_destroy(&s->lock);
    (void)pthread_cond_destroy(&s->done);
    tb_mem_free(s);
    *sim = NULL;
}

tb_rc tb_sim_start(tb_sim *sim, const tb_run_params *run, tb_err *err)
{
    tb_event event = {.kind = TB_EV_START, .params = run};
    sim->over = false;
    return tb_sim_coordinator_step(sim, &event, err);
}

tb_rc tb_sim_revoke(tb_sim *sim, size_t client, bool purge, tb_err *err)
{
    const tb_name *name = &sim->devices[client].name;
    tb_event event = {.kind = TB_EV_PURGE, .client = *name};
    tb_record revoked = {.kind = TB_REC_REVOKED,
                         .u.revoked = {.client = *name}};
    tb_rc rc = purge ? tb_sim_coordinator_step(sim, &event, err) : TB_OK;
    return rc == TB_OK ? record(sim, &revoked, err) : rc;
}

tb_rc tb_sim_cancel(tb_sim *sim, const tb_run_id *run, const char *why,
                    tb_err *err)
{
    tb_event event = {.kind = TB_EV_CANCEL, .run = *run, .why = why};
    return tb_sim_coordinator_step(sim, &event, err);
}

tb_rc tb_sim_pause(tb_sim *sim, const tb_run_id *run, tb_err *err)
{
    tb_event event = {.kind = TB_EV_PAUSE, .run = *run};
    return tb_sim_coordinator_step(sim, &event, err);
}

tb_rc tb_sim_resume(tb_sim *sim, const tb_run_id *run, tb_err *err)
{
    tb_event event = {.kind = TB_EV_RESUME, .run = *run};
    return tb_sim_coordinator_step(sim, &event, err);
}

static tb_rc connected(tb_sim *sim, const tb_sim_item *item, tb_err *err)
{
    tb_sim_device *d = &sim->devices[item->client];
    if (d->machine == NULL || d->life != item->life || d->connected ||
        d->link != item->link) {
        return TB_OK;
    }
    tb_cevent event = {.kind = TB_CEV_CONNECTED};
    tb_member member;
    if (sim->co == NULL || sim->now < d->parted_until_ms ||
        (tb_coordinator_find(sim->co, &d->name, &member) && member.revoked)) {
        event.kind = TB_CEV_DISCONNECTED; /* nobody answers */
    } else {
        d->connected = true;
        d->last_in_ms = sim->now;
        d->last_out_ms = sim->now;
    }
    return tb_sim_device_step(sim, item->client, &event, NULL, err);
}

static tb_rc wake_client(tb_sim *sim, const tb_sim_item *item, tb_err *err)
{
    tb_sim_device *d = &sim->devices[item->client];
    if (d->life != item->life || d->wake_ms > sim->now) {
        return TB_OK;
    }
    d->wake_ms = INT64_MAX;
    tb_cevent tick = {.kind = TB_CEV_TICK};
    return tb_sim_device_step(sim, item->client, &tick, NULL, err);
}

static tb_rc wake_coordinator(tb_sim *sim, tb_err *err)
{
    if (sim->co_wake_ms > sim->now) {
        return TB_OK;
    }
    sim->co_wake_ms = INT64_MAX;
    tb_event tick = {.kind = TB_EV_TICK};
    return tb_sim_coordinator_step(sim, &tick, err);
}

static tb_rc happen(tb_sim *sim, tb_sim_item *item, tb_err *err)
{
    bool alive = sim->co != NULL && item->life == sim->life;
    switch (item->kind) {
    case TB_SIM_TO_COORDINATOR:
    case TB_SIM_TO_CLIENT:
        return tb_sim_arrive(sim, item, err);
    case TB_SIM_CONNECTED:
        return connected(sim, item, err);
    case TB_SIM_WORKED:
        return tb_sim_worked(sim, item, err);
    case TB_SIM_ORDERED:
        return alive ? tb_sim_ordered(sim, item->order, err) : TB_OK;
    case TB_SIM_STORED:
        return alive ? tb_sim_stored(sim, item->verdict, err) : TB_OK;
    case TB_SIM_DURABLE:
        return alive ? tb_sim_durable(sim, item->seq, err) : TB_OK;
    case TB_SIM_COORDINATOR_UP:
        return sim->co == NULL ? tb_sim_coordinator_up(sim, err) : TB_OK;
    case TB_SIM_CLIENT_UP:
        return sim->devices[item->client].machine == NULL
                   ? tb_sim_device_up(sim, item->client, err)
                   : TB_OK;
    case TB_SIM_WAKE_COORDINATOR:
        return alive ? wake_coordinator(sim, err) : TB_OK;
    case TB_SIM_WAKE_CLIENT:
        return wake_client(sim, item, err);
    }
    return tb_fail(err, TB_E_BUG, "simulator: an event without a kind");
}

/* When the process that an item is for runs again. */
static int64_t asleep_until(const tb_sim *sim, const tb_sim_item *item)
{
    switch (item->kind) {
    case TB_SIM_TO_COORDINATOR:
    case TB_SIM_ORDERED:
    case TB_SIM_STORED:
    case TB_SIM_DURABLE:
    case TB_SIM_WAKE_COORDINATOR:
        return sim->asleep_until_ms;
    case TB_SIM_TO_CLIENT:
    case TB_SIM_CONNECTED:
    case TB_SIM_WORKED:
    case TB_SIM_WAKE_CLIENT:
        return sim->devices[item->client].asleep_until_ms;
    case TB_SIM_COORDINATOR_UP:
    case TB_SIM_CLIENT_UP:
        break;
    }
    return INT64_MIN;
}

static tb_rc handle(tb_sim *sim, tb_sim_item *item, tb_err *err)
{
    int64_t awake = asleep_until(sim, item);
    if (awake > sim->now) {
        return tb_sim_push(sim, item, (uint64_t)(awake - sim->now), err);
    }
    if (sim->jobs.trace != NULL) {
        tb_sim_tell(sim, item);
    }
    tb_rc rc = happen(sim, item, err);
    if (rc == TB_OK && sim->jobs.step != NULL) {
        sim->jobs.step(sim->jobs.arg, sim);
    }
    return rc;
}

tb_rc tb_sim_run(tb_sim *sim, int64_t until_ms, bool *over,
                 tb_rec_run_ended *ended, tb_err *err)
{
    tb_sim_item item;
    tb_rc rc = TB_OK;
    while (rc == TB_OK && !sim->over && tb_sim_pop(sim, until_ms, &item)) {
        sim->now = item.at_ms > sim->now ? item.at_ms : sim->now;
        rc = handle(sim, &item, err);
        tb_sim_item_release(&item);
    }
    *over = sim->over;
    *ended = sim->ended;
    if (rc == TB_OK && !sim->over) {
        sim->now = until_ms > sim->now ? until_ms : sim->now;
        rc = tb_fail(err, TB_E_TIMEOUT, "simulator: not over at %lld ms",
                     (long long)until_ms);
    }
    return rc;
}

int64_t tb_sim_now(const tb_sim *sim)
{
    return sim->now;
}

const tb_coordinator *tb_sim_coordinator(const tb_sim *sim)
{
    return sim->co;
}

const tb_client *tb_sim_client(const tb_sim *sim, size_t i)
{
    return sim->devices[i].machine;
}

size_t tb_sim_held_bytes(const tb_sim *sim)
{
    size_t n = 0;
    for (const tb_sim_payload *p = sim->payloads; p != NULL; p = p->next) {
        n += p->len;
    }
    return n;
}

tb_rc tb_sim_inject(tb_sim *sim, size_t client, const tb_msg *msg,
                    const uint8_t *payload, size_t len, tb_err *err)
{
    uint8_t *copy = NULL;
    if (payload != NULL) {
        copy = tb_mem_array(len, 1);
        if (copy == NULL) {
            return tb_fail(err, TB_E_NOMEM, "simulator: a payload");
        }
        memcpy(copy, payload, len);
    }
    return tb_sim_heard(sim, client, msg, copy, len, err);
}
