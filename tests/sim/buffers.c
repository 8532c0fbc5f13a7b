#include "buffers.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

static size_t number_of(fleet *f, const tb_hash *config)
{
    return (size_t)(fleet_round_of(f, config) - f->rounds);
}

static bool is_buffer(const fleet *f, size_t round, const tb_run_id *run)
{
    const tb_round_config *config = &f->rounds[round].config;
    return config->task == TB_TASK_TRAIN &&
           memcmp(config->run.bytes, run->bytes, sizeof run->bytes) == 0;
}

/* The training round of a run that is open and has not closed, or SIZE_MAX. */
static size_t open_buffer(const fleet *f, const tb_run_id *run)
{
    for (size_t i = f->n_rounds; i > 0; i--) {
        const fleet_round *r = &f->rounds[i - 1];
        if (is_buffer(f, i - 1, run)) {
            return r->closed || r->committed || r->abandoned ? SIZE_MAX : i - 1;
        }
    }
    return SIZE_MAX;
}

/* Round number that an update accepted now is for. */
static uint32_t round_now(const fleet *f, const tb_run_id *run)
{
    uint32_t round = 1;
    for (size_t i = 0; i < f->n_rounds; i++) {
        const fleet_round *r = &f->rounds[i];
        if (is_buffer(f, i, run)) {
            bool over = r->closed && !r->abandoned;
            round = r->config.round + over;
        }
    }
    return round;
}

static void accepted(fleet *f, const tb_rec_accepted *r)
{
    size_t own = number_of(f, &r->config);
    fleet_round *round = &f->rounds[own];
    size_t c = fleet_client_of(f, &r->client);
    CHECK(!round->in[c]);
    round->in[c] = true;
    round->update[c] = r->update;
    CHECK(r->staleness ==
          round_now(f, &round->config.run) - round->config.round);
    CHECK(r->staleness <= f->run.max_staleness);
    CHECK(r->full == 65536);
    CHECK(r->weight == (uint32_t)llround(65536.0 / sqrt(1.0 + r->staleness)));
    fleet_update *updates =
        tb_mem_resize(f->updates, f->n_updates + 1, sizeof *updates);
    CHECK(updates != NULL);
    f->updates = updates;
    f->updates[f->n_updates++] =
        (fleet_update){.client = c,
                       .own = own,
                       .weight = r->weight,
                       .full = r->full,
                       .staleness = r->staleness,
                       .in = open_buffer(f, &round->config.run)};
}

/* Whether an update of this run is in no buffer yet. */
static bool waits(const fleet *f, size_t i, const tb_run_id *run)
{
    const fleet_update *u = &f->updates[i];
    return u->in == SIZE_MAX && !u->left_over && !u->purged &&
           is_buffer(f, u->own, run);
}

/* What was accepted before a buffer opened is in it. */
static void opened(fleet *f)
{
    const tb_run_id *run = &f->rounds[f->n_rounds - 1].config.run;
    for (size_t i = 0; i < f->n_updates; i++) {
        if (waits(f, i, run)) {
            f->updates[i].in = f->n_rounds - 1;
        }
    }
}

static uint32_t members(const fleet *f, size_t round)
{
    uint32_t n = 0;
    for (size_t i = 0; i < f->n_updates; i++) {
        n += f->updates[i].in == round;
    }
    return n;
}

/* The naive twin: one update after the other, as integers. */
static void check_model(fleet *f, size_t number)
{
    const fleet_round *round = &f->rounds[number];
    const float *before = fleet_find_model(f, &round->config.model);
    const float *after = fleet_find_model(f, &round->result.raw);
    float *values = tb_mem_array(f->n_params + 1, sizeof *values);
    int64_t *total = tb_mem_array(f->n_params, sizeof *total);
    double scale = exp2((double)round->config.fraction_bits);
    double full = 0;
    if (values == NULL || total == NULL) {
        abort();
    }
    for (size_t u = 0; u < f->n_updates; u++) {
        const fleet_update *one = &f->updates[u];
        if (one->in != number) {
            continue;
        }
        fleet_make_update(f, one->client, &f->rounds[one->own].config, values);
        full += one->full;
        for (size_t i = 0; i < f->n_params; i++) {
            total[i] += llrint((double)values[i] * scale) * one->weight;
        }
    }
    for (size_t i = 0; i < f->n_params; i++) {
        float mean = (float)((double)total[i] / full / scale);
        CHECK(after[i] == (float)((double)before[i] + (double)mean));
    }
    tb_mem_free(values);
    tb_mem_free(total);
}

static void over(fleet *f, size_t number)
{
    for (size_t i = 0; i < f->n_updates; i++) {
        if (f->updates[i].in == number) {
            CHECK(!f->updates[i].in_closed);
            f->updates[i].in_closed = true;
        }
    }
}

static void committed(fleet *f, const tb_rec_committed *r)
{
    size_t number = number_of(f, &r->config);
    fleet_round *round = &f->rounds[number];
    CHECK(round->closed && !round->committed && !round->abandoned);
    CHECK(r->n_clients == members(f, number));
    CHECK(r->n_clients >= f->run.minimum && r->n_clients <= f->run.buffer);
    round->committed = true;
    round->result = r->result;
    round->n_in = r->n_clients;
    fleet_track_of(f, &round->config.run)->model = r->result.raw;
    check_model(f, number);
    over(f, number);
}

static void abandoned(fleet *f, const tb_rec_abandoned *r)
{
    size_t number = number_of(f, &r->config);
    fleet_round *round = &f->rounds[number];
    CHECK(!round->committed && !round->abandoned);
    round->abandoned = true;
    memcpy(round->why, r->why, sizeof round->why);
    over(f, number);
}

static void left_over(fleet *f, const tb_rec_left_over *r)
{
    uint32_t n = 0;
    for (size_t i = 0; i < f->n_updates; i++) {
        bool left = waits(f, i, &r->run);
        f->updates[i].left_over = f->updates[i].left_over || left;
        n += left;
    }
    CHECK(n == r->n_updates && r->why[0] != '\0');
}

static void purged(fleet *f, const tb_rec_accepted *r)
{
    size_t own = number_of(f, &r->config);
    size_t c = fleet_client_of(f, &r->client);
    size_t n = 0;
    for (size_t i = 0; i < f->n_updates; i++) {
        fleet_update *u = &f->updates[i];
        if (u->own == own && u->client == c) {
            CHECK(!u->in_closed && !u->left_over && !u->purged);
            CHECK(u->in == SIZE_MAX || !f->rounds[u->in].closed);
            u->purged = true;
            u->in = SIZE_MAX;
            n++;
        }
    }
    CHECK(n == 1);
    f->rounds[own].in[c] = false;
    f->rounds[own].purged[c] = true;
}

static bool trains(fleet *f, const tb_hash *config)
{
    return fleet_round_of(f, config)->config.task == TB_TASK_TRAIN;
}

bool buffers_row(fleet *f, const tb_record *record)
{
    if (record->kind == TB_REC_ROUND_OPENED &&
        record->u.round_opened.task == TB_TASK_TRAIN) {
        opened(f);
    } else if (record->kind == TB_REC_ACCEPTED &&
               trains(f, &record->u.accepted.config)) {
        accepted(f, &record->u.accepted);
    } else if (record->kind == TB_REC_PURGED &&
               trains(f, &record->u.purged.config)) {
        purged(f, &record->u.purged);
    } else if (record->kind == TB_REC_CLOSED) {
        fleet_round_of(f, &record->u.closed.config)->closed = true;
    } else if (record->kind == TB_REC_COMMITTED &&
               trains(f, &record->u.committed.config)) {
        committed(f, &record->u.committed);
    } else if (record->kind == TB_REC_ABANDONED &&
               trains(f, &record->u.abandoned.config)) {
        abandoned(f, &record->u.abandoned);
    } else if (record->kind == TB_REC_LEFT_OVER) {
        left_over(f, &record->u.left_over);
    } else {
        return false;
    }
    return true;
}

void buffers_check(const fleet *f)
{
    for (size_t i = 0; i < f->n_updates; i++) {
        const fleet_update *u = &f->updates[i];
        CHECK(u->in_closed + u->left_over + u->purged == 1);
    }
}

tb_hash buffers_order(const fleet *f)
{
    tb_hasher hasher;
    tb_hasher_init(&hasher);
    for (size_t i = 0; i < f->n_updates; i++) {
        const fleet_update *u = &f->updates[i];
        const size_t row[] = {u->client, u->own, u->in};
        tb_hasher_add(&hasher, row, sizeof row);
    }
    return tb_hasher_end(&hasher);
}
