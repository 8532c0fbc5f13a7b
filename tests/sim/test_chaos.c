/* Random schedules: messages lost, doubled and out of order, clients and the
 * coordinator killed, connections cut, bits flipped, the disk full. Whatever
 * comes, the run ends, each accepted update is in exactly one committed sum or
 * its round was abandoned with a reason (fleet.h), and nothing leaks. */
#include "fleet.h"

#include <stdlib.h>

#include "base/stream.h"

#define SCHEDULES 240

static uint64_t below(tb_stream *s, uint64_t n)
{
    return tb_stream_below(s, n);
}

static void trouble(fleet *f, tb_stream *s)
{
    tb_err err = {0};
    size_t c = (size_t)below(s, f->params.n_clients);
    switch (below(s, 8)) {
    case 0:
        CHECK_OK(tb_sim_kill_coordinator(f->sim, below(s, 500), &err), err);
        break;
    case 1:
        CHECK_OK(tb_sim_kill_client(f->sim, c, below(s, 2000), &err), err);
        break;
    case 2:
    case 3:
        CHECK_OK(tb_sim_cut(f->sim, c, &err), err);
        break;
    case 4:
        tb_sim_disk_full(f->sim, tb_sim_now(f->sim) + (int64_t)below(s, 3000));
        break;
    case 5:
        f->fail_aggregates = (uint32_t)below(s, 2);
        break;
    case 6:
        tb_sim_kill_at_row(f->sim, f->n_rows + 1 + below(s, 4), below(s, 2));
        break;
    default:
        break;
    }
}

static void one_schedule(uint64_t seed)
{
    fleet f;
    tb_stream s;
    tb_stream_init(&s, seed, 0, "chaos", "");
    fleet_init(&f, 3 + (size_t)below(&s, 4), 2, seed);
    tb_sim_world *w = &f.params.world;
    w->jitter_ms = below(&s, 60);
    w->fifo = below(&s, 2) == 0;
    w->drop = 0.05 * (double)below(&s, 3);
    w->duplicate = 0.05 * (double)below(&s, 3);
    w->sync_ms = below(&s, 20);
    w->order_ms = below(&s, 5);
    w->work_ms = below(&s, 300);
    f.params.n_workers = 1 + (size_t)below(&s, 2);
    f.params.coordinator.window_blocks = 1 + (uint32_t)below(&s, 4);
    f.params.coordinator.pool_bytes =
        (1 + (size_t)below(&s, 8)) * TB_PAYLOAD_BYTES_MAX;
    f.params.coordinator.stall_ms = 2000;
    f.params.client.answer_ms = 500 + below(&s, 3000);
    f.run.target = (uint32_t)(f.params.n_clients - below(&s, 2));
    f.run.minimum = 1 + (uint32_t)below(&s, 2);
    f.run.over_selection = 1.0 + 0.25 * (double)below(&s, 3);
    f.run.deadline_ms = 4000 + below(&s, 20000);
    f.run.lost_ms = below(&s, 2) * 2500;
    f.run.max_attempts = 20;
    f.run.evaluate = (tb_where)below(&s, TB_WHERE_COUNT);
    f.flip_bit_of = below(&s, 4) == 0 ? 0 : -1;
    f.flip_from_block = (uint32_t)below(&s, 3);
    fleet_start(&f);
    fleet_pass(&f, 30); /* the start is durable */
    for (uint64_t n = below(&s, 12); n > 0 && f.ended.outcome == 0; n--) {
        trouble(&f, &s);
        fleet_pass(&f, 1 + (int64_t)below(&s, 400));
    }
    if (f.ended.outcome == 0) {
        tb_sim_kill_at_row(f.sim, 0, false);
        fleet_finish(&f, 4000000);
    }
    fleet_check(&f);
    fleet_release(&f);
}

static void every_schedule_ends_and_counts_each_update_once(void **state)
{
    (void)state;
    const char *only = getenv("TB_CHAOS_SEED");
    uint64_t first = only != NULL ? strtoull(only, NULL, 10) : 1;
    uint64_t last = only != NULL ? first : SCHEDULES;
    for (uint64_t seed = first; seed <= last; seed++) {
        print_message("seed %llu\n", (unsigned long long)seed);
        one_schedule(seed);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_schedule_ends_and_counts_each_update_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
