/* A client's driver: its machine's actions on a virtual disk and network, its
 * work on the pool. */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "sim/sim_priv.h"

static void drop_update(tb_sim_device *d)
{
    for (uint32_t i = 0; d->blocks != NULL && i < d->sealed.n_blocks; i++) {
        tb_buf_release(&d->blocks[i]);
    }
    tb_mem_free(d->blocks);
    d->blocks = NULL;
    d->has_update = false;
}

void tb_sim_device_release(tb_sim_device *device)
{
    tb_client_free(&device->machine);
    drop_update(device);
}

void tb_sim_task_free(tb_sim_task **task)
{
    tb_sim_task *t = *task;
    if (t == NULL) {
        return;
    }
    (void)pthread_mutex_lock(&t->sim->lock);
    while (!t->done) {
        (void)pthread_cond_wait(&t->sim->done, &t->sim->lock);
    }
    (void)pthread_mutex_unlock(&t->sim->lock);
    tb_mem_free(t->config);
    tb_mem_free(t->work.values);
    tb_mem_free(t);
    *task = NULL;
}

/* Which worker runs an item is not known to a pool's task, so each task takes a
 * number that is free. */
static void run_task(void *arg)
{
    tb_sim_task *t = arg;
    tb_sim *sim = t->sim;
    (void)pthread_mutex_lock(&sim->lock);
    size_t worker = 0;
    while (sim->busy[worker]) {
        worker++;
    }
    sim->busy[worker] = true;
    (void)pthread_mutex_unlock(&sim->lock);
    t->work.worker = worker;
    t->rc = sim->jobs.work(sim->jobs.arg, &t->work, &t->err);
    (void)pthread_mutex_lock(&sim->lock);
    sim->busy[worker] = false;
    t->done = true;
    (void)pthread_cond_broadcast(&sim->done);
    (void)pthread_mutex_unlock(&sim->lock);
}

static tb_rc start_work(tb_sim *sim, size_t i, const tb_caction *action,
                        tb_err *err)
{
    const tb_round_config *config = action->round;
    tb_sim_task *t = tb_mem_array(1, sizeof *t);
    if (t == NULL) {
        return tb_fail(err, TB_E_NOMEM, "simulator: work");
    }
    t->sim = sim;
    t->work.client = i;
    t->done = true; /* until it runs */
    t->config = tb_mem_array(1, sizeof *t->config);
    t->work.config = t->config;
    t->work.values = tb_mem_array((size_t)tb_round_config_values(config),
                                  sizeof *t->work.values);
    if (t->config == NULL || t->work.values == NULL) {
        tb_sim_task_free(&t);
        return tb_fail(err, TB_E_NOMEM, "simulator: work");
    }
    *t->config = *config;
    t->done = false;
    tb_rc rc = tb_pool_submit(sim->pool, run_task, t, err);
    if (rc != TB_OK) {
        t->done = true;
        tb_sim_task_free(&t);
        return rc;
    }
    uint64_t ms = sim->world.work_ms;
    ms += ms > 0 ? tb_stream_below(&sim->chance, ms) : 0;
    ms *= sim->devices[i].slow > 0 ? sim->devices[i].slow : 1;
    tb_sim_item item = {.kind = TB_SIM_WORKED,
                        .client = i,
                        .life = sim->devices[i].life,
                        .task = t};
    return tb_sim_push(sim, &item, ms, err);
}

/* An id that repeats in each run of the simulator. */
static void draw_upload(tb_sim_device *d, const tb_hash *config)
{
    tb_hasher hasher;
    tb_hasher_init(&hasher);
    tb_hasher_add(&hasher, d->name.text, strlen(d->name.text) + 1);
    tb_hasher_add(&hasher, config->bytes, sizeof config->bytes);
    tb_hasher_add(&hasher, &d->works, sizeof d->works);
    tb_hash hash = tb_hasher_end(&hasher);
    memcpy(d->sealed.upload.bytes, hash.bytes, TB_UPLOAD_ID_BYTES);
    memset(d->sealed.header, 0, sizeof d->sealed.header);
    memcpy(d->sealed.header, hash.bytes, TB_HASH_BYTES);
    d->works++;
}

/* Encodes an update as plain blocks, each with its tag, onto the disk. */
static tb_rc seal(tb_sim_device *d, const tb_hash *hash, const tb_sim_task *t,
                  tb_err *err)
{
    const tb_round_config *config = t->config;
    drop_update(d);
    draw_upload(d, hash);
    d->sealed.n_blocks = tb_round_config_blocks(config);
    d->blocks = tb_mem_array(d->sealed.n_blocks, sizeof *d->blocks);
    if (d->blocks == NULL) {
        return tb_fail(err, TB_E_NOMEM, "simulator: an update");
    }
    tb_rc rc = TB_OK;
    for (uint32_t b = 0; rc == TB_OK && b < d->sealed.n_blocks; b++) {
        tb_buf *block = &d->blocks[b];
        size_t n = tb_update_block_bytes(config, b);
        uint8_t tag[16];
        tb_buf_init(block, n + sizeof tag);
        rc = tb_buf_reserve(block, n + sizeof tag, err);
        if (rc == TB_OK) {
            rc = tb_update_block_encode(config, b, t->work.values,
                                        t->work.weight, block->data, err);
        }
        if (rc == TB_OK) {
            block->len = n;
            tb_sim_tag(tag, hash, &d->name, &d->sealed.upload, b, block);
            rc = tb_buf_put(block, tag, sizeof tag, err);
        }
    }
    if (rc == TB_OK) {
        d->sealed.update =
            tb_sim_update_hash(d->sealed.header, d->blocks, d->sealed.n_blocks);
        d->sealed_for = *hash;
        d->has_update = true;
    } else {
        drop_update(d);
    }
    return rc;
}

tb_rc tb_sim_worked(tb_sim *sim, tb_sim_item *item, tb_err *err)
{
    tb_sim_device *d = &sim->devices[item->client];
    tb_sim_task *t = item->task;
    (void)pthread_mutex_lock(&sim->lock);
    while (!t->done) {
        (void)pthread_cond_wait(&sim->done, &sim->lock);
    }
    (void)pthread_mutex_unlock(&sim->lock);
    if (d->machine == NULL || d->life != item->life) {
        return TB_OK; /* it was killed */
    }
    tb_buf bytes;
    tb_buf_init(&bytes, TB_CONFIG_BYTES_MAX);
    tb_rc rc = tb_round_config_encode(t->config, &bytes, err);
    tb_hash hash = tb_hash_of(bytes.data, bytes.len);
    tb_buf_release(&bytes);
    if (rc != TB_OK) {
        return rc;
    }
    if (t->rc == TB_OK) {
        t->rc = seal(d, &hash, t, &t->err);
    }
    tb_cevent event = {.kind = TB_CEV_WORKED,
                       .config = hash,
                       .rc = t->rc,
                       .sealed = d->sealed,
                       .why = t->err.text};
    return tb_sim_device_step(sim, item->client, &event, NULL, err);
}

static tb_rc send_block(tb_sim *sim, size_t i, const tb_caction *action,
                        tb_err *err)
{
    tb_sim_device *d = &sim->devices[i];
    if (!d->has_update || action->index >= d->sealed.n_blocks) {
        return tb_fail(err, TB_E_BUG, "simulator: a block that is not there");
    }
    const tb_buf *block = &d->blocks[action->index];
    tb_msg msg = {
        .kind = TB_MSG_BLOCK,
        .u.block = {.upload = action->upload, .index = action->index}};
    if (sim->jobs.tamper == NULL) {
        return tb_sim_send(sim, i, true, &msg,
                           (tb_span){block->data, block->len}, err);
    }
    uint8_t *copy = tb_mem_array(block->len, 1);
    if (copy == NULL) {
        return tb_fail(err, TB_E_NOMEM, "simulator: a block");
    }
    memcpy(copy, block->data, block->len);
    sim->jobs.tamper(sim->jobs.arg, i, action->index, copy, block->len);
    tb_rc rc =
        tb_sim_send(sim, i, true, &msg, (tb_span){copy, block->len}, err);
    tb_mem_free(copy);
    return rc;
}

static tb_rc answer_find(tb_sim *sim, size_t i, const tb_caction *action,
                         tb_err *err)
{
    tb_sim_device *d = &sim->devices[i];
    if (!tb_hash_equal(&d->blob, &action->blob)) {
        d->blob = action->blob;
        d->have = 0;
    }
    tb_cevent found = {
        .kind = TB_CEV_FOUND, .config = action->config, .have = d->have};
    return tb_sim_device_step(sim, i, &found, NULL, err);
}

static tb_rc connect(tb_sim *sim, size_t i, tb_err *err)
{
    tb_sim_device *d = &sim->devices[i];
    tb_sim_item item = {.kind = TB_SIM_CONNECTED,
                        .client = i,
                        .life = d->life,
                        .link = ++d->link};
    return tb_sim_push(sim, &item, sim->world.reconnect_ms, err);
}

static tb_rc carry_out(tb_sim *sim, size_t i, const tb_caction *action,
                       size_t payload_bytes, tb_err *err)
{
    tb_sim_device *d = &sim->devices[i];
    switch (action->kind) {
    case TB_CACT_CONNECT:
        return connect(sim, i, err);
    case TB_CACT_CLOSE:
        return tb_sim_break(sim, i, false, err);
    case TB_CACT_SEND:
        return tb_sim_send(sim, i, true, action->msg, (tb_span){0}, err);
    case TB_CACT_FIND:
        return answer_find(sim, i, action, err);
    case TB_CACT_STORE:
        d->have = action->offset + payload_bytes;
        return TB_OK;
    case TB_CACT_WORK:
        return start_work(sim, i, action, err);
    case TB_CACT_BLOCK:
        return send_block(sim, i, action, err);
    case TB_CACT_SAVE:
        memcpy(d->state, action->bytes, action->n_bytes);
        d->n_state = action->n_bytes;
        return TB_OK;
    case TB_CACT_SETTLE:
        if (sim->jobs.settled != NULL) {
            sim->jobs.settled(sim->jobs.arg, i, &action->config,
                              action->accepted);
        }
        if (d->has_update && tb_hash_equal(&d->sealed_for, &action->config)) {
            drop_update(d);
        }
        return TB_OK;
    case TB_CACT_WORK_STOP:
    case TB_CACT_KIND_END:
        break;
    }
    return TB_OK;
}

tb_rc tb_sim_device_step(tb_sim *sim, size_t i, tb_cevent *event,
                         const uint8_t *payload, tb_err *err)
{
    (void)payload; /* blobs are counted, not kept */
    tb_sim_device *d = &sim->devices[i];
    if (d->machine == NULL) {
        return TB_OK;
    }
    uint64_t life = d->life;
    tb_cactions out = {0};
    tb_rc rc = tb_client_step(d->machine, event, sim->now, &out, err);
    for (size_t a = 0; rc == TB_OK && a < out.n && d->life == life; a++) {
        rc = carry_out(sim, i, &out.at[a], event->payload_bytes, err);
    }
    tb_cactions_release(&out);
    if (rc != TB_OK || d->machine == NULL) {
        return rc;
    }
    int64_t next = tb_client_next_ms(d->machine);
    if (next < d->wake_ms) { /* an earlier one steps, and asks again */
        d->wake_ms = next;
        tb_sim_item wake = {
            .kind = TB_SIM_WAKE_CLIENT, .client = i, .life = d->life};
        uint64_t in_ms = next > sim->now ? (uint64_t)(next - sim->now) : 0;
        rc = tb_sim_push(sim, &wake, in_ms, err);
    }
    return rc;
}

tb_rc tb_sim_device_up(tb_sim *sim, size_t i, tb_err *err)
{
    tb_sim_device *d = &sim->devices[i];
    tb_client_params params = sim->client_params;
    params.name = d->name;
    params.federation = sim->coordinator_params.federation;
    d->life++;
    d->wake_ms = INT64_MAX;
    tb_rc rc = tb_client_new(&d->machine, &params, d->state, d->n_state, err);
    if (rc == TB_OK) {
        tb_cevent tick = {.kind = TB_CEV_TICK};
        rc = tb_sim_device_step(sim, i, &tick, NULL, err);
    }
    return rc;
}
