#include "fleet.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/stream.h"
#include "buffers.h"
#include "fed/strategy.h"

#define N_PARAMS 70000 /* unless the test says so: a head and two blocks */
#define WAVE     1000

/* Memory that a test cannot do without. */
static void *must(void *p)
{
    if (p == NULL) {
        abort();
    }
    return p;
}

static float *new_values(size_t n)
{
    return must(tb_mem_array(n, sizeof(float)));
}

static tb_model_ref keep_model(fleet *f, float *values_take)
{
    size_t bytes = f->n_params * sizeof *values_take;
    tb_hash hash = tb_hash_of(values_take, bytes);
    size_t i = 0;
    (void)pthread_mutex_lock(&f->lock);
    while (i < f->n_models && !tb_hash_equal(&f->models[i].hash, &hash)) {
        i++;
    }
    if (i < f->n_models) {
        tb_mem_free(values_take);
    } else {
        f->models =
            must(tb_mem_resize(f->models, f->n_models + 1, sizeof *f->models));
        f->models[f->n_models++] =
            (fleet_model){.hash = hash, .values = values_take};
    }
    (void)pthread_mutex_unlock(&f->lock);
    return (tb_model_ref){
        .raw = hash, .raw_bytes = bytes, .stored = hash, .stored_bytes = bytes};
}

/* Any thread: clients work while the coordinator makes models. */
const float *fleet_find_model(fleet *f, const tb_hash *hash)
{
    const float *values = NULL;
    (void)pthread_mutex_lock(&f->lock);
    for (size_t i = 0; i < f->n_models; i++) {
        if (f->models[i].durable && tb_hash_equal(&f->models[i].hash, hash)) {
            values = f->models[i].values;
        }
    }
    (void)pthread_mutex_unlock(&f->lock);
    if (values == NULL) {
        abort(); /* a model that nobody made, or that is not durable yet */
    }
    return values;
}

static void stored(void *arg, const tb_hash *blob)
{
    fleet *f = arg;
    (void)pthread_mutex_lock(&f->lock);
    for (size_t i = 0; i < f->n_models; i++) {
        f->models[i].durable =
            f->models[i].durable || tb_hash_equal(&f->models[i].hash, blob);
    }
    (void)pthread_mutex_unlock(&f->lock);
}

/* The target of client c at value i: small, and different for all. */
static float target(size_t c, size_t i)
{
    return sinf((float)(i % WAVE) * 0.01F + (float)c);
}

static uint32_t weight_of(size_t c)
{
    return 10 + 7 * (uint32_t)c;
}

/* The whole update of one client, in the order of the sections. */
void fleet_make_update(fleet *f, size_t c, const tb_round_config *config,
                       float *values)
{
    const float *model = fleet_find_model(f, &config->model);
    if (config->task != TB_TASK_TRAIN) {
        uint64_t n = tb_round_config_values(config);
        for (uint64_t i = 0; i < n; i++) {
            values[i] = 0.25F + 0.01F * (float)c;
        }
        return;
    }
    float wave[WAVE];
    for (size_t i = 0; i < WAVE && i < f->n_params; i++) {
        wave[i] = target(c, i);
    }
    for (size_t i = 0; i < f->n_params; i++) {
        values[i] = 0.1F * (wave[i % WAVE] - model[i]);
    }
    values[f->n_params] = 1.0F / (1.0F + (float)config->round);
}

static tb_rc work(void *arg, tb_sim_work *todo, tb_err *err)
{
    fleet *f = arg;
    if ((int)todo->client == f->decline_of) {
        return tb_fail(err, TB_E_UNSUPPORTED, "this device has no memory");
    }
    fleet_make_update(f, todo->client, todo->config, todo->values);
    todo->weight = weight_of(todo->client);
    return TB_OK;
}

static tb_rc aggregate(void *arg, const tb_order *order,
                       const tb_round_config *config, const tb_sum *sum,
                       tb_verdict *out, tb_err *err)
{
    fleet *f = arg;
    if (f->fail_aggregates > 0) {
        f->fail_aggregates--;
        return tb_fail(err, TB_E_FULL, "no space under the blobs");
    }
    out->metrics.loss = tb_strategy_metric(config, sum, TB_SECTION_LOSS);
    out->metrics.accuracy =
        tb_strategy_metric(config, sum, TB_SECTION_ACCURACY);
    if (order->task != TB_TASK_TRAIN) {
        out->result.raw = tb_sum_hash(sum);
        return TB_OK;
    }
    float *model = new_values(f->n_params);
    memcpy(model, fleet_find_model(f, &order->model.raw),
           f->n_params * sizeof *model);
    tb_strategy_settings settings = {.server_lr = 1.0};
    tb_rc rc = tb_strategy_find("fedavg")->aggregate(&settings, sum, model,
                                                     f->n_params, NULL, err);
    CHECK(rc == TB_OK);
    out->metrics.train_loss = out->metrics.loss;
    out->result = keep_model(f, model);
    return TB_OK;
}

static tb_rc evaluate(void *arg, const tb_order *order, tb_verdict *out,
                      tb_err *err)
{
    const fleet *f = arg;
    (void)err;
    double given = order->round < 64 ? f->accuracy[order->round] : 0.0;
    out->metrics.accuracy = given > 0.0 ? given : 0.01 * order->round;
    out->metrics.loss = 1.0 - out->metrics.accuracy;
    out->metrics.samples = 100;
    return TB_OK;
}

static tb_rc finish(void *arg, const tb_order *order, tb_verdict *out,
                    tb_err *err)
{
    fleet *f = arg;
    out->manifest = order->model.raw;
    if (f->fail_finish != 0) {
        return tb_fail(err, (tb_rc)f->fail_finish, "accuracy fell by 0.2");
    }
    return TB_OK;
}

size_t fleet_client_of(const fleet *f, const tb_name *name)
{
    size_t i = 0;
    while (i < f->params.n_clients && !tb_name_equal(&f->names[i], name)) {
        i++;
    }
    CHECK(i < f->params.n_clients);
    return i;
}

fleet_round *fleet_round_of(fleet *f, const tb_hash *hash)
{
    for (size_t i = 0; i < f->n_rounds; i++) {
        if (tb_hash_equal(&f->rounds[i].hash, hash)) {
            return &f->rounds[i];
        }
    }
    abort(); /* a record of a round that was not opened */
}

static bool is_run(const tb_run_id *a, const tb_run_id *b)
{
    return memcmp(a->bytes, b->bytes, sizeof a->bytes) == 0;
}

/* A run that was started. */
fleet_track *fleet_track_of(fleet *f, const tb_run_id *id)
{
    size_t i = 0;
    while (i < f->n_tracks && !is_run(&f->tracks[i].id, id)) {
        i++;
    }
    CHECK(i < f->n_tracks);
    return &f->tracks[i];
}

static void run_started(fleet *f, const tb_run_params *params)
{
    CHECK(f->n_tracks < FLEET_RUNS_MAX);
    for (size_t i = 0; i < f->n_tracks; i++) {
        CHECK(!is_run(&f->tracks[i].id, &params->run));
    }
    f->tracks[f->n_tracks++] =
        (fleet_track){.id = params->run, .model = params->model.raw};
}

static void run_ended(fleet *f, const tb_rec_run_ended *r)
{
    fleet_track *track = fleet_track_of(f, &r->run);
    CHECK(!track->ended);
    track->ended = true;
    CHECK(f->n_ends < FLEET_RUNS_MAX);
    f->ends[f->n_ends++] = *r;
}

/* A round comes once, when the one before is over, and from its result. */
static void check_opened(fleet *f, const fleet_round *round)
{
    const tb_round_config *c = &round->config;
    const fleet_track *track = fleet_track_of(f, &c->run);
    CHECK(!track->ended);
    bool known = tb_hash_equal(&c->model, &track->model);
    for (const fleet_round *r = f->rounds; r < round; r++) {
        if (is_run(&r->config.run, &c->run)) {
            known = known || (c->task != TB_TASK_TRAIN &&
                              tb_hash_equal(&c->model, &r->result.raw));
            CHECK(r->committed || r->abandoned);
            CHECK(r->config.round != c->round || r->config.task != c->task ||
                  r->config.attempt != c->attempt);
            CHECK(!r->committed || r->config.round != c->round ||
                  r->config.task != c->task);
        }
    }
    CHECK(known); /* the result before it, or the one to be calibrated */
}

static void opened(fleet *f, const tb_rec_round_opened *r)
{
    f->rounds =
        must(tb_mem_resize(f->rounds, f->n_rounds + 1, sizeof *f->rounds));
    fleet_round *round = &f->rounds[f->n_rounds++];
    tb_err err = {0};
    memset(round, 0, sizeof *round);
    CHECK_OK(tb_round_config_decode(&round->config, r->config.data,
                                    r->config.len, &err),
             err);
    round->hash = tb_hash_of(r->config.data, r->config.len);
    check_opened(f, round);
}

static void seen_accepted(fleet *f, const tb_rec_accepted *r)
{
    fleet_round *round = fleet_round_of(f, &r->config);
    size_t c = fleet_client_of(f, &r->client);
    CHECK(!round->in[c]);
    CHECK(!round->closed && !round->committed && !round->abandoned);
    CHECK(r->weight == weight_of(c));
    round->in[c] = true;
    round->update[c] = r->update;
    round->n_in++;
}

static void seen_purged(fleet *f, const tb_rec_accepted *r)
{
    fleet_round *round = fleet_round_of(f, &r->config);
    size_t c = fleet_client_of(f, &r->client);
    CHECK(round->in[c] && tb_hash_equal(&round->update[c], &r->update));
    CHECK(!round->closed && !round->committed && !round->abandoned);
    round->in[c] = false;
    round->purged[c] = true;
    round->n_in--;
}

/* The naive twin: one value after the other, one client after the other. */
static void check_committed(fleet *f, const fleet_round *round)
{
    const tb_round_config *config = &round->config;
    if (config->task != TB_TASK_TRAIN) {
        return;
    }
    const float *before = fleet_find_model(f, &config->model);
    const float *after = fleet_find_model(f, &round->result.raw);
    float *update = new_values(f->n_params + 1);
    double *total = must(tb_mem_array(f->n_params, sizeof *total));
    double scale = exp2((double)config->fraction_bits);
    double weights = 0;
    for (size_t c = 0; c < f->params.n_clients; c++) {
        if (round->in[c]) {
            fleet_make_update(f, c, config, update);
            weights += weight_of(c);
            for (size_t i = 0; i < f->n_params; i++) {
                /* all below 2^53: the sum of doubles is exact */
                total[i] += rint((double)update[i] * scale) * weight_of(c);
            }
        }
    }
    for (size_t i = 0; i < f->n_params; i++) {
        CHECK(fabs(total[i]) < 0x1p53);
        float mean = (float)(total[i] / weights / scale);
        CHECK(after[i] == (float)((double)before[i] + (double)mean));
    }
    tb_mem_free(update);
    tb_mem_free(total);
}

static void abandoned(fleet *f, const tb_rec_abandoned *r)
{
    fleet_round *round = fleet_round_of(f, &r->config);
    CHECK(!round->committed && !round->abandoned);
    CHECK(r->why[0] != '\0');
    if (strstr(r->why, "spool") != NULL) {
        print_error("%s\n", r->why);
        fail(); /* what was synced stays */
    }
    round->abandoned = true;
    memcpy(round->why, r->why, sizeof round->why);
}

static void committed(fleet *f, const tb_rec_committed *r)
{
    fleet_round *round = fleet_round_of(f, &r->config);
    CHECK(round->closed && !round->committed && !round->abandoned);
    CHECK(r->n_clients == round->n_in);
    round->committed = true;
    round->result = r->result;
    check_committed(f, round);
    if (r->task == TB_TASK_TRAIN) {
        fleet_track_of(f, &round->config.run)->model = r->result.raw;
    }
}

static void row(void *arg, const tb_record *record, uint64_t seq,
                int64_t now_ms)
{
    fleet *f = arg;
    (void)now_ms;
    CHECK(seq == f->n_rows + 1);
    f->n_rows = seq;
    f->kinds[record->kind]++;
    if (record->kind == TB_REC_RUN_STARTED) {
        run_started(f, record->u.run_started);
    } else if (record->kind == TB_REC_RUN_ENDED) {
        run_ended(f, &record->u.run_ended);
    } else if (record->kind == TB_REC_ROUND_OPENED) {
        opened(f, &record->u.round_opened);
    }
    if (f->run.mode == TB_MODE_ASYNC && buffers_row(f, record)) {
        return;
    }
    if (record->kind == TB_REC_ACCEPTED) {
        seen_accepted(f, &record->u.accepted);
    } else if (record->kind == TB_REC_PURGED) {
        seen_purged(f, &record->u.purged);
    } else if (record->kind == TB_REC_EXPELLED) {
        fleet_round_of(f, &record->u.expelled.config)->n_expelled++;
    } else if (record->kind == TB_REC_CLOSED) {
        fleet_round_of(f, &record->u.closed.config)->closed = true;
    } else if (record->kind == TB_REC_ABANDONED) {
        abandoned(f, &record->u.abandoned);
    } else if (record->kind == TB_REC_COMMITTED) {
        committed(f, &record->u.committed);
    }
}

/* A receipt goes out for what is in the journal, durably, and nothing else. */
static void sent_receipt(void *arg, size_t client,
                         const tb_msg_receipt *receipt)
{
    fleet *f = arg;
    const fleet_round *round = fleet_round_of(f, &receipt->config);
    CHECK(round->in[client] || round->purged[client]);
    CHECK(tb_hash_equal(&round->update[client], &receipt->update));
    CHECK(receipt->sequence > 0 && receipt->sequence <= f->n_rows);
}

/* So does who holds one. */
static void settled(void *arg, size_t client, const tb_hash *config,
                    bool accepted)
{
    fleet *f = arg;
    if (accepted) {
        fleet_round *round = fleet_round_of(f, config);
        CHECK(round->in[client] || round->purged[client]);
        round->received[client] = true;
    }
}

/* Rounds of an asynchronous run that updates may still come for. */
static size_t older_rounds(const fleet *f)
{
    return f->run.mode == TB_MODE_ASYNC ? f->run.max_staleness + 2 : 0;
}

/* What the parameters allow: models, and for each run its sum and a cohort's
 * updates in the spool; for each client an update on its disk, one in the
 * making, and a window of it in flight, twice with duplicates. And what this
 * file remembers itself. */
static size_t memory_bound(const fleet *f)
{
    size_t model = f->n_params * sizeof(float);
    size_t update = model + (2u << 10);
    size_t clients = f->params.n_clients;
    return (4u << 20) + (f->n_models + FLEET_RUNS_MAX) * model +
           f->n_tracks * (6 * update + 3 * clients * update) +
           f->n_tracks * older_rounds(f) *
               (sizeof(tb_round_config) + clients * update) +
           f->n_rounds * sizeof *f->rounds + f->n_updates * sizeof *f->updates +
           clients * (8 * update + (64u << 10));
}

static void step(void *arg, const tb_sim *sim)
{
    fleet *f = arg;
    size_t bytes = tb_mem_bytes();
    f->most_bytes = bytes > f->most_bytes ? bytes : f->most_bytes;
    f->bound_bytes = memory_bound(f);
    CHECK(bytes <= f->bound_bytes);
    CHECK(tb_sim_held_bytes(sim) <= f->params.coordinator.pool_bytes);
    const tb_coordinator *co = tb_sim_coordinator(sim);
    tb_run_status s;
    for (size_t i = 0; co != NULL && tb_coordinator_run_status(co, i, &s);
         i++) {
        CHECK(s.waits_for[0] != '\0');
    }
}

static void tamper(void *arg, size_t client, uint32_t index, uint8_t *bytes,
                   size_t len)
{
    const fleet *f = arg;
    if ((int)client == f->flip_bit_of && index >= f->flip_from_block) {
        bytes[len / 2] ^= 0x10;
    }
}

static void set_run(fleet *f, uint32_t rounds, uint64_t seed)
{
    tb_run_params *run = &f->run;
    uint32_t n = (uint32_t)f->params.n_clients;
    run->federation = f->params.coordinator.federation;
    run->run.bytes[0] = 1;
    CHECK(tb_name_set(&run->name, "demo"));
    CHECK(tb_name_set(&run->data_set, "numbers"));
    CHECK(tb_name_set(&run->codec, "f32"));
    CHECK(tb_name_set(&run->strategy, "fedavg"));
    run->n_observed = 3;
    run->seed = seed;
    run->rounds = rounds;
    run->target = n;
    run->minimum = 1;
    run->over_selection = 1.0;
    run->server_lr = 1.0;
    run->max_abs = 16.0F;
    run->calibrate_max_abs = 1024.0F;
    run->max_weight = 4096;
    run->deadline_ms = 60000;
    run->select_ms = 5000;
    run->max_attempts = 5;
    run->publish = TB_PUBLISH_LAST;
}

void fleet_init(fleet *f, size_t n_clients, uint32_t rounds, uint64_t seed)
{
    memset(f, 0, sizeof *f);
    (void)pthread_mutex_init(&f->lock, NULL);
    CHECK(n_clients <= FLEET_MAX);
    for (size_t i = 0; i < n_clients; i++) {
        (void)snprintf(f->names[i].text, TB_NAME_BYTES, "client-%02zu", i);
    }
    f->flip_bit_of = -1;
    f->decline_of = -1;
    f->params.world = tb_sim_world_quiet();
    f->params.world.seed = seed;
    f->params.coordinator = tb_coordinator_defaults();
    f->params.coordinator.window_blocks = 1; /* uploads take some time */
    f->params.coordinator.federation.bytes[0] = 7;
    f->params.client = tb_client_defaults();
    f->params.client.n_data_sets = 1;
    CHECK(tb_name_set(&f->params.client.data_sets[0], "numbers"));
    f->params.names = f->names;
    f->params.n_clients = n_clients;
    f->params.n_workers = 1;
    f->params.jobs = (tb_sim_jobs){.arg = f,
                                   .work = work,
                                   .aggregate = aggregate,
                                   .evaluate = evaluate,
                                   .finish = finish,
                                   .row = row,
                                   .stored = stored,
                                   .step = step,
                                   .receipt = sent_receipt,
                                   .settled = settled,
                                   .tamper = tamper};
    set_run(f, rounds, seed);
    fleet_size(f, N_PARAMS);
}

void fleet_size(fleet *f, size_t n_params)
{
    f->n_params = n_params;
    f->run.n_params = n_params;
    f->run.model = keep_model(f, new_values(n_params));
    stored(f, &f->run.model.raw);
}

void fleet_release(fleet *f)
{
    tb_sim_free(&f->sim);
    for (size_t i = 0; i < f->n_models; i++) {
        tb_mem_free(f->models[i].values);
    }
    tb_mem_free(f->models);
    tb_mem_free(f->rounds);
    tb_mem_free(f->updates);
    (void)pthread_mutex_destroy(&f->lock);
    assert_int_equal(tb_mem_live(), 0);
}

tb_run_params fleet_run(const fleet *f, uint8_t n)
{
    tb_run_params run = f->run;
    run.run.bytes[0] = n;
    run.seed += n;
    (void)snprintf(run.name.text, TB_NAME_BYTES, "demo-%u", n);
    return run;
}

tb_rec_run_ended fleet_end(const fleet *f, const tb_run_params *run)
{
    for (size_t i = 0; i < f->n_ends; i++) {
        if (memcmp(f->ends[i].run.bytes, run->run.bytes, TB_RUN_ID_BYTES) ==
            0) {
            return f->ends[i];
        }
    }
    return (tb_rec_run_ended){0};
}

void fleet_start(fleet *f)
{
    tb_err err = {0};
    CHECK_OK(tb_sim_new(&f->sim, &f->params, &err), err);
    CHECK_OK(tb_sim_start(f->sim, &f->run, &err), err);
}

void fleet_finish(fleet *f, int64_t until_ms)
{
    tb_err err = {0};
    bool over = false;
    tb_rc rc = tb_sim_run(f->sim, until_ms, &over, &f->ended, &err);
    if (rc != TB_OK) {
        tb_run_status s;
        const tb_coordinator *co = tb_sim_coordinator(f->sim);
        for (size_t i = 0; co != NULL && tb_coordinator_run_status(co, i, &s);
             i++) {
            print_error("%s: phase %s, waits for %s\n", s.name.text,
                        tb_phase_name(s.phase), s.waits_for);
        }
        for (size_t i = 0; i < f->params.n_clients; i++) {
            tb_client_status cs;
            if (tb_sim_client(f->sim, i) != NULL) {
                tb_client_status_get(tb_sim_client(f->sim, i), &cs);
                print_error("%s: %s, %s\n", f->names[i].text,
                            tb_cphase_name(cs.phase), cs.last_why);
            }
        }
    }
    CHECK_OK(rc, err);
    CHECK(over);
    f->over = over;
    fleet_check(f);
}

void fleet_pass(fleet *f, int64_t ms)
{
    tb_err err = {0};
    tb_rc rc =
        tb_sim_run(f->sim, tb_sim_now(f->sim) + ms, &f->over, &f->ended, &err);
    if (rc != TB_E_TIMEOUT) {
        CHECK_OK(rc, err);
    }
}

void fleet_until(fleet *f, fleet_condition *condition, int64_t until_ms)
{
    while (!condition(f)) {
        CHECK(tb_sim_now(f->sim) < until_ms && f->ended.outcome == 0);
        fleet_pass(f, 1);
    }
}

tb_run_status fleet_status(const fleet *f)
{
    tb_run_status status;
    CHECK(tb_coordinator_run_status(tb_sim_coordinator(f->sim), 0, &status));
    return status;
}

const fleet_round *fleet_newest(const fleet *f)
{
    CHECK(f->n_rounds > 0);
    return &f->rounds[f->n_rounds - 1];
}

void fleet_check(const fleet *f)
{
    buffers_check(f);
    for (size_t i = 0; i < f->n_rounds; i++) {
        const fleet_round *r = &f->rounds[i];
        CHECK(r->committed != r->abandoned);
        CHECK(!r->abandoned || r->why[0] != '\0');
        for (size_t c = 0; c < FLEET_MAX; c++) {
            CHECK(!r->received[c] || r->in[c] || r->purged[c]);
        }
    }
}
