/* Random schedules: messages lost, late, doubled and out of order, partitions,
 * slow, suspended and dying clients, the coordinator killed at any time and at
 * any row, with any first part of what was not synced left, the clock jumping,
 * the disk full, bits flipped, clients revoked, several runs at once, some of
 * them cancelled. Each seed is one schedule. Whatever comes, fleet.h's checks
 * hold after every step, every run ends in a time that follows from the
 * parameters, and nothing leaks.
 *
 *   sim.chaos                 the seeds 1 to TB_SEEDS
 *   sim.chaos FIRST [LAST]    these; one seed alone prints its trace
 *   sim.chaos --minutes N     from seed FIRST=1000001 on, and seeds an hour
 */
#include "fleet.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/stream.h"

#define SOAK_FIRST 1000001
#define RUNS_MAX   4

/* Seeds from here on are of asynchronous runs. */
#define ASYNC_FIRST UINT64_C(1000000000)

static uint64_t first_seed = 1;
static uint64_t last_seed = TB_SEEDS;
static uint64_t now_at; /* the seed that runs */

static uint64_t below(tb_stream *s, uint64_t n)
{
    return tb_stream_below(s, n);
}

/* Clients that are gone for good: enough must be left. */
typedef struct chaos {
    fleet f;
    tb_stream s;
    size_t n_gone;
    bool gone[FLEET_MAX];
    tb_run_id runs[RUNS_MAX]; /* that were started, the first one included */
    size_t n_runs;
} chaos;

static bool may_go(const chaos *c, size_t i)
{
    return !c->gone[i] && c->f.params.n_clients - c->n_gone > c->f.run.minimum;
}

static void lose_client(chaos *c, size_t i)
{
    tb_err err = {0};
    if (!may_go(c, i)) {
        return;
    }
    c->gone[i] = true;
    c->n_gone++;
    if (below(&c->s, 2) == 0) {
        CHECK_OK(tb_sim_kill_client(c->f.sim, i, UINT64_MAX, &err), err);
        return;
    }
    /* A purge may come too late for the round; the revocation does not. */
    if (tb_sim_revoke(c->f.sim, i, below(&c->s, 2) == 0, &err) != TB_OK) {
        CHECK_OK(tb_sim_revoke(c->f.sim, i, false, &err), err);
    }
}

/* A message of a round that is over, or that never was. */
static void stale_message(chaos *c, size_t i)
{
    fleet *f = &c->f;
    tb_err err = {0};
    tb_msg msg = {.kind = TB_MSG_UPLOAD_BEGIN,
                  .u.upload_begin = {.n_blocks = 3}};
    if (f->n_rounds > 0) {
        msg.u.upload_begin.config = f->rounds[below(&c->s, f->n_rounds)].hash;
    }
    msg.u.upload_begin.upload.bytes[0] = 99;
    CHECK_OK(tb_sim_inject(f->sim, i, &msg, NULL, 0, &err), err);
}

static void part_some(chaos *c)
{
    uint64_t set = below(&c->s, 1u << c->f.params.n_clients);
    uint64_t ms = below(&c->s, 6000);
    for (size_t i = 0; i < c->f.params.n_clients; i++) {
        if (set >> i & 1) {
            tb_sim_part(c->f.sim, i, ms);
        }
    }
}

static void start_another(chaos *c)
{
    tb_err err = {0};
    tb_run_params run = fleet_run(&c->f, (uint8_t)(c->n_runs + 1));
    run.rounds = 1 + (uint32_t)below(&c->s, 2);
    CHECK_OK(tb_sim_start(c->f.sim, &run, &err), err);
    c->runs[c->n_runs++] = run.run;
}

/* To the coordinator, its disk and its runs. */
static void trouble_at_home(chaos *c)
{
    fleet *f = &c->f;
    tb_stream *s = &c->s;
    tb_err err = {0};
    switch (below(s, 9)) {
    case 0:
    case 1:
        CHECK_OK(tb_sim_kill_coordinator(f->sim, below(s, 500), &err), err);
        break;
    case 2:
    case 3:
        tb_sim_kill_at_row(f->sim, f->n_rows + 1 + below(s, 6), below(s, 2));
        break;
    case 4:
        tb_sim_disk_full(f->sim, tb_sim_now(f->sim) + (int64_t)below(s, 3000));
        break;
    case 5:
        f->fail_aggregates = (uint32_t)below(s, 2);
        break;
    case 6:
        tb_sim_suspend_coordinator(f->sim, below(s, 2 * f->run.deadline_ms));
        break;
    case 7:
        if (c->n_runs < RUNS_MAX && tb_sim_coordinator(f->sim) != NULL) {
            start_another(c);
        }
        break;
    default: { /* NOT_FOUND: it is over, or lost */
        const tb_run_id *run = &c->runs[below(s, c->n_runs)];
        if (below(s, 4) == 0) {
            (void)!tb_sim_cancel(f->sim, run, "no more", &err);
        } else if (below(s, 3) == 0) {
            (void)!tb_sim_resume(f->sim, run, &err);
        } else {
            (void)!tb_sim_pause(f->sim, run, &err);
        }
        break;
    }
    }
}

/* An operator lets all go on. */
static void resume_all(chaos *c)
{
    tb_err err = {0};
    for (size_t i = 0; i < c->n_runs; i++) {
        (void)!tb_sim_resume(c->f.sim, &c->runs[i], &err);
    }
}

/* To clients and the network. */
static void trouble_abroad(chaos *c)
{
    fleet *f = &c->f;
    tb_stream *s = &c->s;
    tb_err err = {0};
    size_t i = (size_t)below(s, f->params.n_clients);
    switch (below(s, 10)) {
    case 0:
    case 1:
        if (!c->gone[i]) {
            CHECK_OK(tb_sim_kill_client(f->sim, i, below(s, 2000), &err), err);
        }
        break;
    case 2:
    case 3:
        CHECK_OK(tb_sim_cut(f->sim, i, &err), err);
        break;
    case 4:
        part_some(c);
        break;
    case 5:
        tb_sim_slow(f->sim, i, 1 + (uint32_t)below(s, 40));
        break;
    case 6:
        tb_sim_suspend_client(f->sim, i, below(s, 20000));
        break;
    case 7:
        tb_sim_jump(f->sim, below(s, 20000));
        break;
    case 8:
        lose_client(c, i);
        break;
    default:
        stale_message(c, i);
        break;
    }
}

static void draw_world(chaos *c)
{
    tb_sim_world *w = &c->f.params.world;
    tb_stream *s = &c->s;
    w->jitter_ms = below(s, 60);
    w->fifo = below(s, 2) == 0;
    w->drop = 0.05 * (double)below(s, 3);
    w->duplicate = 0.05 * (double)below(s, 3);
    w->sync_ms = below(s, 20);
    w->blob_ms = below(s, 30);
    w->order_ms = below(s, 5);
    w->work_ms = below(s, 300);
    w->torn = below(s, 4) != 0;
}

static void draw_run(chaos *c)
{
    fleet *f = &c->f;
    tb_stream *s = &c->s;
    static const size_t sizes[] = {1, 7, 300, 5000};
    /* One in eight is a head and two blocks; blocks are 65,536 values. */
    fleet_size(f, below(s, 8) == 0 ? 70000 : sizes[below(s, 4)]);
    f->params.n_workers = 1 + (size_t)below(s, 2);
    f->params.coordinator.window_blocks = 1 + (uint32_t)below(s, 4);
    f->params.coordinator.pool_bytes =
        (1 + (size_t)below(s, 8)) * TB_PAYLOAD_BYTES_MAX;
    f->params.coordinator.stall_ms = 2000;
    f->params.client.answer_ms = 500 + below(s, 3000);
    f->run.target = (uint32_t)(f->params.n_clients - below(s, 2));
    f->run.minimum = 1 + (uint32_t)below(s, 2);
    f->run.over_selection = 1.0 + 0.25 * (double)below(s, 3);
    f->run.deadline_ms = 4000 + below(s, 20000);
    f->run.lost_ms = below(s, 2) * 2500;
    f->run.max_attempts = 20;
    f->run.evaluate = (tb_where)below(s, TB_WHERE_COUNT);
    f->flip_bit_of = below(s, 4) == 0 ? 0 : -1;
    f->flip_from_block = (uint32_t)below(s, 3);
    if (f->flip_bit_of == 0) { /* it will be expelled, and not asked again */
        c->gone[0] = true;
        c->n_gone++;
    }
}

/* The same run in buffers, with clients of all speeds. */
static void draw_async(chaos *c)
{
    fleet *f = &c->f;
    tb_stream *s = &c->s;
    uint32_t n = (uint32_t)f->params.n_clients;
    f->run.mode = TB_MODE_ASYNC;
    f->run.weights = TB_WEIGHTS_UNIFORM;
    f->run.rounds += 2;
    f->run.target = 1 + (uint32_t)below(s, n);
    f->run.buffer = 1 + (uint32_t)below(s, n);
    if (f->run.minimum > f->run.buffer) {
        f->run.minimum = f->run.buffer;
    }
    f->run.max_staleness = (uint32_t)below(s, 4);
    f->run.max_attempts = 60;
}

/* By when all is over, after the last fault: each attempt of each round takes a
 * deadline and a selection, with evaluation twice as many; and before it
 * clients come back from the longest of their pauses. */
static int64_t patience(const chaos *c)
{
    const fleet *f = &c->f;
    uint64_t rounds = c->n_runs * (2 * f->run.rounds + 1);
    return (int64_t)(rounds * f->run.max_attempts *
                         (f->run.deadline_ms + f->run.select_ms) +
                     10 * f->params.client.backoff_max_ms +
                     3 * f->run.deadline_ms + 60000);
}

/* The one reason for a run to fail is that clients were too slow, each time. */
static void check_ends(const chaos *c)
{
    for (size_t i = 0; i < c->f.n_ends; i++) {
        const tb_rec_run_ended *end = &c->f.ends[i];
        if (end->outcome != TB_OUTCOME_DONE &&
            end->outcome != TB_OUTCOME_CANCELLED &&
            strstr(end->why, "updates came") == NULL) {
            print_error("%s\n", end->why);
            fail();
        }
    }
}

static void one_schedule(uint64_t seed, void (*trace)(void *, const char *))
{
    chaos c = {.n_gone = 0};
    fleet *f = &c.f;
    now_at = seed;
    tb_stream_init(&c.s, seed, 0, "chaos", "");
    fleet_init(f, 3 + (size_t)below(&c.s, 4), 1 + (uint32_t)below(&c.s, 3),
               seed);
    f->params.jobs.trace = trace;
    draw_world(&c);
    draw_run(&c);
    if (seed >= ASYNC_FIRST) {
        draw_async(&c);
    }
    c.runs[c.n_runs++] = f->run.run;
    fleet_start(f);
    fleet_pass(f, 30); /* the start is durable */
    for (uint64_t n = below(&c.s, 16); n > 0 && !f->over; n--) {
        if (below(&c.s, 2) == 0) {
            trouble_at_home(&c);
        } else {
            trouble_abroad(&c);
        }
        fleet_pass(f, 1 + (int64_t)below(&c.s, below(&c.s, 4) ? 100 : 2000));
    }
    if (!f->over) {
        tb_sim_kill_at_row(f->sim, 0, false);
        fleet_pass(f, 1000); /* whatever was down is up again */
        resume_all(&c);
    }
    if (!f->over) {
        fleet_finish(f, tb_sim_now(f->sim) + patience(&c));
    }
    fleet_check(f);
    check_ends(&c);
    fleet_release(f);
}

static void every_schedule_ends_and_counts_each_update_once(void **state)
{
    (void)state;
    for (uint64_t seed = first_seed; seed <= last_seed; seed++) {
        one_schedule(seed, NULL);
    }
    now_at = 0;
}

static void every_asynchronous_schedule_counts_each_update_once(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < TB_SEEDS / 10; seed++) {
        one_schedule(ASYNC_FIRST + seed, NULL);
    }
    now_at = 0;
}

/* The trace of a schedule, as one hash and a number of lines. */
static tb_hasher lines;
static uint64_t n_lines;

static void keep_line(void *arg, const char *line)
{
    (void)arg;
    n_lines++;
    tb_hasher_add(&lines, line, strlen(line) + 1);
}

static tb_hash trace_of(uint64_t seed, uint64_t *n)
{
    tb_hasher_init(&lines);
    n_lines = 0;
    one_schedule(seed, keep_line);
    *n = n_lines;
    return tb_hasher_end(&lines);
}

static void a_seed_replays_to_the_byte(void **state)
{
    (void)state;
    tb_hash before = {0};
    for (uint64_t seed = 1; seed <= 24; seed++) {
        uint64_t n[2];
        tb_hash first = trace_of(seed, &n[0]);
        tb_hash second = trace_of(seed, &n[1]);
        CHECK(n[0] > 10 && n[0] == n[1]);
        CHECK(tb_hash_equal(&first, &second));
        CHECK(!tb_hash_equal(&first, &before)); /* another seed is another */
        before = first;
    }
    now_at = 0;
}

/* Says which seed it was, whatever ended the test. */
static int say_seed(void **state)
{
    (void)state;
    if (now_at != 0) {
        (void)fprintf(stderr,
                      "seed %" PRIu64 " fails; again, with its trace: "
                      "sim.chaos %" PRIu64 "\n",
                      now_at, now_at);
    }
    return 0;
}

static void on_abort(int number)
{
    (void)number;
    (void)say_seed(NULL);
}

static void print_line(void *arg, const char *line)
{
    (void)arg;
    (void)puts(line);
}

static void one_seed_with_its_trace(void **state)
{
    (void)state;
    one_schedule(first_seed, print_line);
    now_at = 0;
}

static void seeds_for_a_while(void **state)
{
    (void)state;
    int64_t start = tb_clock_ms();
    int64_t end = start + (int64_t)last_seed * 60000;
    uint64_t n = 0;
    while (tb_clock_ms() < end) {
        one_schedule(first_seed + n, NULL);
        n++;
    }
    now_at = 0;
    (void)printf("seeds %" PRIu64 " to %" PRIu64 ": all hold; %.0f an hour\n",
                 first_seed, first_seed + n - 1,
                 (double)n * 3600000.0 / (double)(tb_clock_ms() - start));
}

static uint64_t number(const char *text)
{
    return strtoull(text, NULL, 10);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(
            every_schedule_ends_and_counts_each_update_once, say_seed),
        cmocka_unit_test_teardown(
            every_asynchronous_schedule_counts_each_update_once, say_seed),
        cmocka_unit_test_teardown(a_seed_replays_to_the_byte, say_seed),
    };
    const struct CMUnitTest one[] = {
        cmocka_unit_test_teardown(one_seed_with_its_trace, say_seed)};
    const struct CMUnitTest some[] = {cmocka_unit_test_teardown(
        every_schedule_ends_and_counts_each_update_once, say_seed)};
    const struct CMUnitTest soak[] = {
        cmocka_unit_test_teardown(seeds_for_a_while, say_seed)};
    (void)signal(SIGABRT, on_abort);
    if (argc == 1) {
        return cmocka_run_group_tests(tests, NULL, NULL);
    }
    if (strcmp(argv[1], "--minutes") == 0 && argc >= 3) {
        last_seed = number(argv[2]);
        first_seed = argc > 3 ? number(argv[3]) : SOAK_FIRST;
        return cmocka_run_group_tests(soak, NULL, NULL);
    }
    first_seed = number(argv[1]);
    last_seed = argc > 2 ? number(argv[2]) : first_seed;
    return argc > 2 ? cmocka_run_group_tests(some, NULL, NULL)
                    : cmocka_run_group_tests(one, NULL, NULL);
}
