/* What the coordinator computes in the simulator, and its spool in memory. */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "sim/sim_priv.h"

#define TAG_BYTES 16

void tb_sim_tag(uint8_t tag[static 16], const tb_hash *config,
                const tb_name *client, const tb_upload_id *id, uint32_t index,
                const tb_buf *plain)
{
    tb_hasher hasher;
    uint8_t number[4];
    tb_le32_put(number, index);
    tb_hasher_init(&hasher);
    tb_hasher_add(&hasher, config->bytes, sizeof config->bytes);
    tb_hasher_add(&hasher, client->text, strlen(client->text) + 1);
    tb_hasher_add(&hasher, id->bytes, sizeof id->bytes);
    tb_hasher_add(&hasher, number, sizeof number);
    tb_hasher_add(&hasher, plain->data, plain->len);
    tb_hash hash = tb_hasher_end(&hasher);
    memcpy(tag, hash.bytes, TAG_BYTES);
}

tb_hash tb_sim_update_hash(const uint8_t header[static TB_UPLOAD_HEADER_BYTES],
                           const tb_buf *blocks, uint32_t n)
{
    tb_hasher hasher;
    tb_hasher_init(&hasher);
    tb_hasher_add(&hasher, header, TB_UPLOAD_HEADER_BYTES);
    for (uint32_t i = 0; i < n; i++) {
        tb_hash hash = tb_hash_of(blocks[i].data, blocks[i].len);
        tb_hasher_add(&hasher, hash.bytes, sizeof hash.bytes);
    }
    return tb_hasher_end(&hasher);
}

/* spool */

static void free_upload(tb_sim_upload *u)
{
    for (uint32_t i = 0; i < u->n_blocks; i++) {
        tb_buf_release(&u->blocks[i]);
    }
    tb_mem_free(u->blocks);
    tb_mem_free(u);
}

void tb_sim_spool_drop(tb_sim *sim, const tb_hash *config)
{
    tb_sim_upload **at = &sim->spool;
    while (*at != NULL) {
        tb_sim_upload *u = *at;
        if (tb_hash_equal(&u->config, config)) {
            *at = u->next;
            free_upload(u);
        } else {
            at = &u->next;
        }
    }
}

/* What is left on the disk is durable from here on; a record that is torn ends
 * an upload, as in the spool of the host. */
void tb_sim_spool_crash(tb_sim *sim)
{
    tb_sim_upload **at = &sim->spool;
    while (*at != NULL) {
        tb_sim_upload *u = *at;
        uint32_t loose = u->n_held - u->n_synced;
        uint32_t keep = sim->world.kept ? u->n_held : u->n_synced;
        if (sim->world.torn && loose > 0) {
            keep +=
                (uint32_t)tb_stream_below(&sim->chance, (uint64_t)loose + 1);
        }
        while (u->n_held > keep) {
            tb_buf_release(&u->blocks[--u->n_held]);
        }
        u->n_synced = keep;
        if (keep == 0) {
            *at = u->next;
            free_upload(u);
        } else {
            at = &u->next;
        }
    }
}

static tb_sim_upload *find(const tb_sim *sim, const tb_upload_ref *ref)
{
    tb_sim_upload *u = sim->spool;
    while (u != NULL &&
           (memcmp(u->id.bytes, ref->upload.bytes, sizeof u->id.bytes) != 0 ||
            !tb_hash_equal(&u->config, &ref->config))) {
        u = u->next;
    }
    return u;
}

static void forget(tb_sim *sim, const tb_upload_ref *ref)
{
    tb_sim_upload *u = find(sim, ref);
    tb_sim_upload **at = &sim->spool;
    while (u != NULL && *at != u) {
        at = &(*at)->next;
    }
    if (u != NULL) {
        *at = u->next;
        free_upload(u);
    }
}

static tb_sim_upload *begin(tb_sim *sim, const tb_upload_ref *ref, tb_err *err)
{
    forget(sim, ref);
    tb_sim_upload *u = tb_mem_array(1, sizeof *u);
    tb_buf *blocks = tb_mem_array(ref->n_blocks, sizeof *blocks);
    if (u == NULL || blocks == NULL) {
        tb_mem_free(u);
        tb_mem_free(blocks);
        (void)tb_fail(err, TB_E_NOMEM, "simulator: an upload");
        return NULL;
    }
    *u = (tb_sim_upload){.next = sim->spool,
                         .config = ref->config,
                         .client = ref->client,
                         .id = ref->upload,
                         .n_blocks = ref->n_blocks,
                         .blocks = blocks};
    memcpy(u->header, ref->header, sizeof u->header);
    sim->spool = u;
    return u;
}

/* orders of an upload */

void tb_sim_discard(tb_sim *sim, uint64_t payload)
{
    tb_sim_payload *p = sim->payloads;
    while (p != NULL && (uint64_t)(uintptr_t)p != payload) {
        p = p->next;
    }
    if (p == NULL) {
        return;
    }
    if (p->previous != NULL) {
        p->previous->next = p->next;
    } else {
        sim->payloads = p->next;
    }
    if (p->next != NULL) {
        p->next->previous = p->previous;
    }
    tb_mem_free(p->bytes);
    tb_mem_free(p);
}

static const tb_sim_payload *payload_of(const tb_sim *sim, uint64_t handle)
{
    const tb_sim_payload *p = sim->payloads;
    while (p != NULL && (uint64_t)(uintptr_t)p != handle) {
        p = p->next;
    }
    return p;
}

static tb_sim_round *round_of(const tb_sim *sim, const tb_hash *config)
{
    tb_sim_round *r = sim->rounds;
    while (r != NULL && !tb_hash_equal(&r->hash, config)) {
        r = r->next;
    }
    return r;
}

static tb_update_sink sink_of(tb_sim *sim, const tb_sim_round *round)
{
    return (tb_update_sink){round->config, round->sum, sim->scratch};
}

/* An order on the blocks of an upload, and where they go. */
typedef struct work {
    const tb_order *order;
    tb_update_sink sink;
} work;

static tb_rc blame(tb_verdict *v, tb_refusal refusal, tb_rc rc)
{
    v->refusal = refusal;
    return rc;
}

/* Checks the tag and adds what is in the block; block 0 tells the samples. */
static tb_rc add(const work *w, const tb_sim_upload *u, uint32_t index,
                 tb_verdict *v, tb_err *err)
{
    const tb_buf *block = &u->blocks[index];
    uint8_t tag[TAG_BYTES];
    tb_buf plain = {.data = block->data, .len = block->len - TAG_BYTES};
    tb_sim_tag(tag, &u->config, &u->client, &u->id, index, &plain);
    if (memcmp(tag, block->data + plain.len, TAG_BYTES) != 0) {
        return blame(
            v, TB_REFUSE_SEAL,
            tb_fail(err, TB_E_DENIED, "block %u does not open", index));
    }
    tb_rc rc = TB_OK;
    if (index == 0) {
        rc = tb_update_head_decode(w->sink.config, plain.data, plain.len,
                                   &v->weight, err);
    } else if (w->order->deferred) {
        rc = tb_update_block_check(&w->sink, index, plain.data, plain.len, err);
    } else {
        rc = tb_update_block_add(&w->sink, index, plain.data, plain.len,
                                 w->order->weight, err);
    }
    return rc == TB_OK ? rc : blame(v, tb_update_refusal(index, rc), rc);
}

/* What a crash has left of this very upload. */
static void find_blocks(const tb_sim *sim, const tb_order *o, tb_verdict *v)
{
    const tb_sim_upload *u = find(sim, &o->upload);
    bool same = u != NULL && tb_name_equal(&u->client, &o->upload.client) &&
                u->n_blocks == o->upload.n_blocks &&
                memcmp(u->header, o->upload.header, sizeof u->header) == 0;
    v->n_blocks = same ? u->n_held : 0;
}

/* A block that lies in the spool already. */
static tb_rc add_found(tb_sim *sim, const tb_sim_round *round,
                       const tb_order *o, tb_verdict *v, tb_err *err)
{
    const work w = {o, sink_of(sim, round)};
    const tb_sim_upload *u = find(sim, &o->upload);
    if (u == NULL || o->index >= u->n_held) {
        return tb_fail(err, TB_E_BUG, "simulator: block %u was not found",
                       o->index);
    }
    return add(&w, u, o->index, v, err);
}

static tb_rc add_block(tb_sim *sim, const tb_sim_round *round,
                       const tb_order *o, tb_verdict *v, tb_err *err)
{
    if (o->payload == 0) {
        return add_found(sim, round, o, v, err);
    }
    if (sim->now < sim->full_until_ms) {
        return tb_fail(err, TB_E_FULL, "no space under the spool");
    }
    const work w = {o, sink_of(sim, round)};
    const tb_sim_payload *p = payload_of(sim, o->payload);
    tb_sim_upload *u =
        o->index == 0 ? begin(sim, &o->upload, err) : find(sim, &o->upload);
    if (u == NULL || p == NULL || u->n_held != o->index) {
        return tb_fail(err, TB_E_BUG, "simulator: block %u out of order",
                       o->index);
    }
    tb_buf *block = &u->blocks[o->index];
    tb_buf_init(block, p->len);
    tb_rc rc = tb_buf_put(block, p->bytes, p->len, err);
    if (rc != TB_OK) {
        tb_buf_release(block);
        return rc;
    }
    u->n_held++; /* whatever is in it */
    return add(&w, u, o->index, v, err);
}

static tb_rc end_upload(tb_sim *sim, const tb_sim_round *round,
                        const tb_order *o, tb_verdict *v, tb_err *err)
{
    tb_sim_upload *u = find(sim, &o->upload);
    if (u == NULL || u->n_held != u->n_blocks) {
        return tb_fail(err, TB_E_BUG, "simulator: an upload is not whole");
    }
    tb_hash hash = tb_sim_update_hash(u->header, u->blocks, u->n_blocks);
    if (!tb_hash_equal(&hash, &o->update)) {
        return blame(v, TB_REFUSE_HASH,
                     tb_fail(err, TB_E_MISMATCH, "blocks and hash disagree"));
    }
    tb_rc rc = o->deferred
                   ? TB_OK
                   : tb_sum_count_damped(round->sum, o->weight, o->full, err);
    if (rc == TB_OK) {
        u->n_synced = u->n_held;
    }
    return rc;
}

static tb_rc drop_upload(tb_sim *sim, const tb_sim_round *round,
                         const tb_order *o, tb_err *err)
{
    tb_sim_upload *u = find(sim, &o->upload);
    tb_update_sink sink = sink_of(sim, round);
    tb_rc rc = TB_OK;
    for (uint32_t b = 1; rc == TB_OK && !o->deferred && b < o->index; b++) {
        if (u == NULL || b >= u->n_held) {
            return tb_fail(err, TB_E_BUG, "simulator: nothing to subtract");
        }
        rc = tb_update_block_subtract(&sink, b, u->blocks[b].data,
                                      u->blocks[b].len - TAG_BYTES, o->weight,
                                      err);
    }
    forget(sim, &o->upload);
    return rc;
}

static tb_rc add_stored(tb_sim *sim, const tb_sim_round *round,
                        const tb_order *o, tb_verdict *v, tb_err *err)
{
    tb_sim_upload *u = find(sim, &o->upload);
    if (u == NULL || u->n_held != u->n_blocks) {
        return tb_fail(err, TB_E_NOT_FOUND,
                       "an accepted update of %s is not in the spool",
                       o->upload.client.text);
    }
    tb_hash hash = tb_sim_update_hash(u->header, u->blocks, u->n_blocks);
    if (!tb_hash_equal(&hash, &o->update)) {
        return tb_fail(err, TB_E_MISMATCH, "the spool was altered");
    }
    const work w = {o, sink_of(sim, round)};
    tb_rc rc = TB_OK;
    for (uint32_t b = 0; rc == TB_OK && b < u->n_blocks; b++) {
        rc = add(&w, u, b, v, err);
    }
    if (rc == TB_OK) {
        rc = tb_sum_count_damped(round->sum, o->weight, o->full, err);
    }
    return rc;
}

static tb_rc drop_stored(tb_sim *sim, const tb_sim_round *round,
                         const tb_order *o, tb_err *err)
{
    tb_order whole = *o;
    whole.index = o->upload.n_blocks;
    tb_rc rc = drop_upload(sim, round, &whole, err);
    return rc == TB_OK
               ? tb_sum_uncount_damped(round->sum, o->weight, o->full, err)
               : rc;
}

/* orders of a round */

static void free_round(tb_sim_round *r)
{
    tb_sum_free(&r->sum);
    tb_mem_free(r->config);
    tb_mem_free(r);
}

void tb_sim_sum_drop(tb_sim *sim, const tb_hash *config)
{
    tb_sim_round **at = &sim->rounds;
    while (*at != NULL) {
        tb_sim_round *r = *at;
        if (config == NULL || tb_hash_equal(&r->hash, config)) {
            *at = r->next;
            free_round(r);
        } else {
            at = &r->next;
        }
    }
}

void tb_sim_summed(tb_sim *sim, const tb_hash *config)
{
    tb_sim_round *r = round_of(sim, config);
    if (r != NULL) {
        tb_sum_free(&r->sum);
    }
}

/* A round that takes updates, without a sum: the one that is there already, or
 * a new one. NULL: there can be none. */
static tb_sim_round *know_round(tb_sim *sim, const tb_hash *config, tb_err *err)
{
    tb_open open;
    tb_sim_round *r = round_of(sim, config);
    if (r != NULL) {
        return r;
    }
    if (!tb_coordinator_known(sim->co, config, &open)) {
        (void)tb_fail(err, TB_E_CANCELLED, "the round is over");
        return NULL;
    }
    r = tb_mem_array(1, sizeof *r);
    if (r == NULL || (r->config = tb_mem_array(1, sizeof *r->config)) == NULL) {
        tb_mem_free(r);
        (void)tb_fail(err, TB_E_NOMEM, "simulator: a round");
        return NULL;
    }
    *r->config = *open.config;
    r->hash = open.hash;
    r->next = sim->rounds;
    sim->rounds = r;
    return r;
}

static tb_rc open_round(tb_sim *sim, const tb_order *o, tb_err *err)
{
    tb_open open;
    tb_sim_round *r = know_round(sim, &o->upload.config, err);
    if (r == NULL || !tb_coordinator_round(sim->co, &o->upload.config, &open)) {
        return tb_fail(err, TB_E_BUG, "simulator: the round is not open");
    }
    tb_sum_free(&r->sum);
    return tb_sum_new(&r->sum, r->config,
                      tb_run_updates_max(open.run, open.config->task), err);
}

/* What is done with the sum of a round. */
static tb_rc of_round(tb_sim *sim, const tb_order *o, tb_verdict *v,
                      tb_err *err)
{
    const tb_hash *hash =
        o->kind == TB_ORDER_ADD_STORED || o->kind == TB_ORDER_DROP_STORED
            ? &o->into
            : &o->upload.config;
    const tb_sim_round *round =
        o->deferred ? know_round(sim, hash, err) : round_of(sim, hash);
    if (round == NULL && o->deferred) {
        return TB_E_CANCELLED;
    }
    if (round == NULL || (round->sum == NULL && !o->deferred)) {
        return tb_fail(err, TB_E_BUG, "simulator: no sum of this round");
    }
    if (o->kind == TB_ORDER_FIND_BLOCKS) {
        find_blocks(sim, o, v);
        return TB_OK;
    }
    if (o->kind == TB_ORDER_ADD_BLOCK) {
        return add_block(sim, round, o, v, err);
    }
    if (o->kind == TB_ORDER_END_UPLOAD) {
        return end_upload(sim, round, o, v, err);
    }
    if (o->kind == TB_ORDER_DROP_UPLOAD) {
        return drop_upload(sim, round, o, err);
    }
    if (o->kind == TB_ORDER_DROP_STORED) {
        return drop_stored(sim, round, o, err);
    }
    if (o->kind == TB_ORDER_ADD_STORED) {
        return add_stored(sim, round, o, v, err);
    }
    return sim->jobs.aggregate(sim->jobs.arg, o, round->config, round->sum, v,
                               err);
}

static tb_rc carry_out(tb_sim *sim, const tb_order *o, tb_verdict *v,
                       tb_err *err)
{
    switch (o->kind) {
    case TB_ORDER_OPEN_ROUND:
        return open_round(sim, o, err);
    case TB_ORDER_FIND_BLOCKS:
    case TB_ORDER_ADD_BLOCK:
    case TB_ORDER_END_UPLOAD:
    case TB_ORDER_DROP_UPLOAD:
    case TB_ORDER_ADD_STORED:
    case TB_ORDER_DROP_STORED:
    case TB_ORDER_AGGREGATE:
        return of_round(sim, o, v, err);
    case TB_ORDER_EVALUATE:
        return sim->jobs.evaluate(sim->jobs.arg, o, v, err);
    case TB_ORDER_FINISH:
        return sim->jobs.finish(sim->jobs.arg, o, v, err);
    case TB_ORDER_KIND_END:
        break;
    }
    return tb_fail(err, TB_E_BUG, "simulator: an order without a kind");
}

static tb_rc tell(tb_sim *sim, const tb_verdict *verdict, tb_err *err)
{
    tb_event event = {.kind = TB_EV_VERDICT, .verdict = verdict};
    return tb_sim_coordinator_step(sim, &event, err);
}

tb_rc tb_sim_stored(tb_sim *sim, const tb_verdict *verdict, tb_err *err)
{
    if (sim->jobs.stored != NULL) {
        sim->jobs.stored(sim->jobs.arg, &verdict->result.raw);
    }
    return tell(sim, verdict, err);
}

/* The verdict goes out when the result is durable. */
static tb_rc store(tb_sim *sim, const tb_verdict *verdict, tb_err *err)
{
    tb_sim_item item = {.kind = TB_SIM_STORED,
                        .life = sim->life,
                        .verdict = tb_mem_array(1, sizeof *item.verdict)};
    if (item.verdict == NULL) {
        return tb_fail(err, TB_E_NOMEM, "simulator: a verdict");
    }
    *item.verdict = *verdict;
    return tb_sim_push(sim, &item, sim->world.blob_ms, err);
}

tb_rc tb_sim_ordered(tb_sim *sim, const tb_order *order, tb_err *err)
{
    tb_err why = {0};
    tb_verdict v = {.order = order->id, .metrics = tb_metrics_none()};
    v.rc = carry_out(sim, order, &v, &why);
    if (v.rc == TB_E_BUG) {
        *err = why;
        return v.rc;
    }
    (void)snprintf(v.why, sizeof v.why, "%.*s", (int)sizeof v.why - 1,
                   why.text);
    if (order->kind == TB_ORDER_ADD_BLOCK) {
        tb_sim_discard(sim, order->payload);
    }
    return v.rc == TB_OK && order->kind == TB_ORDER_AGGREGATE
               ? store(sim, &v, err)
               : tell(sim, &v, err);
}
