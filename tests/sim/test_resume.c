/* Uploads that a restart of the coordinator cut: what its spool has kept is not
 * sent again, and the sum is the same to the bit. */
#include "fleet.h"

#include <string.h>

#define N_BLOCKS 7u /* head, five of parameters, one of the loss */
#define WINDOW   2u /* blocks on their way, or not yet in the spool */

#define FIRST_MS 27 /* before the first block */

/* A fleet, and what of its blocks leaves the clients. */
typedef struct wire {
    fleet f; /* first: the jobs know it as this */
    bool killed;
    uint32_t n_sent[FLEET_MAX];  /* blocks, ever */
    uint32_t at_kill[FLEET_MAX]; /* of them */
    uint32_t before[FLEET_MAX];  /* of the upload that the kill met */
    uint32_t first[FLEET_MAX];   /* block after it; N_BLOCKS: none */
} wire;

static void (*flip)(void *arg, size_t client, uint32_t index, uint8_t *bytes,
                    size_t len);

static void watch(void *arg, size_t client, uint32_t index, uint8_t *bytes,
                  size_t len)
{
    wire *w = arg;
    w->n_sent[client]++;
    if (!w->killed) {
        w->before[client] = (index + 1) % N_BLOCKS;
    } else if (w->first[client] == N_BLOCKS) {
        w->first[client] = index;
    }
    flip(arg, client, index, bytes, len);
}

static void set_up(wire *w)
{
    *w = (wire){.killed = false};
    fleet_init(&w->f, 3, 1, 11);
    fleet_size(&w->f, (N_BLOCKS - 2) * TB_BLOCK_VALUES);
    w->f.params.coordinator.window_blocks = WINDOW;
    w->f.params.world.kept = true;
    flip = w->f.params.jobs.tamper;
    w->f.params.jobs.tamper = watch;
    for (size_t i = 0; i < FLEET_MAX; i++) {
        w->first[i] = N_BLOCKS;
    }
}

/* A bad block of client-02 in the middle of its update. */
static void spoil(wire *w)
{
    w->f.flip_bit_of = 2;
    w->f.flip_from_block = 4;
    w->f.run.minimum = 2;
}

/* Buffers of two, of clients that train all the time. */
static void make_async(wire *w)
{
    w->f.run.mode = TB_MODE_ASYNC;
    w->f.run.weights = TB_WEIGHTS_UNIFORM;
    w->f.run.rounds = 3;
    w->f.run.buffer = 2;
    w->f.run.minimum = 2;
    w->f.run.max_staleness = 5;
}

/* The run, killed at this time (0: never); its end. False: it was over. */
static bool run(wire *w, int64_t kill_ms)
{
    tb_err err = {0};
    fleet *f = &w->f;
    CHECK_OK(tb_sim_new(&f->sim, &f->params, &err), err);
    fleet_pass(f, 10);
    CHECK_OK(tb_sim_start(f->sim, &f->run, &err), err);
    fleet_pass(f, kill_ms);
    bool in_time = f->ended.outcome == 0;
    if (in_time) {
        w->killed = kill_ms > 0;
        if (w->killed) {
            memcpy(w->at_kill, w->n_sent, sizeof w->at_kill);
            CHECK_OK(tb_sim_kill_coordinator(f->sim, 3, &err), err);
        }
        fleet_finish(f, 120000);
    }
    CHECK(f->ended.outcome == TB_OUTCOME_DONE);
    CHECK(f->kinds[TB_REC_ABANDONED] == 0);
    return in_time;
}

static tb_hash reference(void (*change)(wire *w))
{
    wire w;
    set_up(&w);
    if (change != NULL) {
        change(&w);
    }
    (void)run(&w, 0);
    tb_hash hash = w.f.ended.model.raw;
    fleet_release(&w.f);
    return hash;
}

/* What was sent up to the kill is not sent again, but for what was on its way
 * then. Returns the uploads that went on in their middle. */
static uint32_t check_resumed(const wire *w)
{
    uint32_t n_resumed = 0;
    for (size_t i = 0; i < w->f.params.n_clients; i++) {
        uint32_t first = w->first[i];
        if (w->killed && w->before[i] > 0 && first < N_BLOCKS) {
            CHECK(first + WINDOW >= w->before[i] && first <= w->before[i]);
            n_resumed += first > 0;
        }
    }
    return n_resumed;
}

static void a_killed_coordinator_asks_for_the_rest_only(void **state)
{
    tb_hash model = reference(NULL);
    uint32_t n_resumed = 0;
    bool again = true;
    (void)state;
    for (int64_t at = FIRST_MS; again; at += 2) {
        wire w;
        set_up(&w);
        again = run(&w, at);
        n_resumed += check_resumed(&w);
        for (size_t i = 0; i < 3; i++) {
            CHECK(w.n_sent[i] <= N_BLOCKS + WINDOW);
        }
        CHECK(tb_hash_equal(&w.f.ended.model.raw, &model));
        fleet_release(&w.f);
    }
    CHECK(n_resumed >= N_BLOCKS);
}

static void after_a_power_cut_it_asks_for_what_was_lost(void **state)
{
    tb_hash model = reference(NULL);
    uint32_t n_again = 0, n_cut = 0;
    bool again = true;
    (void)state;
    for (int64_t at = FIRST_MS; again; at += 2) {
        wire w;
        set_up(&w);
        w.f.params.world.kept = false;
        w.f.params.world.torn = true;
        again = run(&w, at);
        for (size_t i = 0; i < 3; i++) {
            if (w.first[i] < N_BLOCKS) { /* it was cut */
                n_cut += w.at_kill[i];
                n_again += w.n_sent[i] - N_BLOCKS;
            }
        }
        CHECK(tb_hash_equal(&w.f.ended.model.raw, &model));
        fleet_release(&w.f);
    }
    /* any first part is left, so about half of what was cut is sent again */
    CHECK(n_again > 0 && n_again < n_cut * 3 / 4);
}

static void a_bad_block_that_lay_in_the_spool_is_refused_again(void **state)
{
    tb_hash model = reference(spoil);
    bool again = true;
    (void)state;
    for (int64_t at = FIRST_MS; again; at += 3) {
        wire w;
        set_up(&w);
        spoil(&w);
        again = run(&w, at);
        CHECK(w.f.kinds[TB_REC_EXPELLED] == 1);
        CHECK(w.f.rounds[0].n_in == 2 && !w.f.rounds[0].in[2]);
        CHECK(tb_hash_equal(&w.f.ended.model.raw, &model));
        fleet_release(&w.f);
    }
}

static void so_do_uploads_of_an_asynchronous_run(void **state)
{
    uint32_t n_resumed = 0;
    bool again = true;
    (void)state;
    for (int64_t at = FIRST_MS; again; at += 3) {
        wire w;
        set_up(&w);
        make_async(&w);
        again = run(&w, at);
        n_resumed += check_resumed(&w);
        fleet_release(&w.f);
    }
    CHECK(n_resumed >= N_BLOCKS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_killed_coordinator_asks_for_the_rest_only),
        cmocka_unit_test(after_a_power_cut_it_asks_for_what_was_lost),
        cmocka_unit_test(a_bad_block_that_lay_in_the_spool_is_refused_again),
        cmocka_unit_test(so_do_uploads_of_an_asynchronous_run),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
