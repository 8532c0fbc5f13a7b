/* What goes wrong: processes die or are stopped, connections break or go
 * silent, the disk fills up or forgets what was not synced. */
#include <string.h>

#include "base/mem.h"
#include "sim/sim_priv.h"

tb_rc tb_sim_kill_coordinator(tb_sim *sim, uint64_t down_ms, tb_err *err)
{
    if (sim->co == NULL) {
        return TB_OK;
    }
    tb_sim_coordinator_drop(sim);
    uint64_t loose = sim->n_rows - sim->durable;
    if (sim->world.torn && loose > 0) {
        sim->durable += tb_stream_below(&sim->chance, loose + 1);
    }
    while (sim->n_rows > sim->durable) {
        tb_buf_release(&sim->rows[--sim->n_rows].body);
    }
    tb_sim_spool_crash(sim);
    sim->asleep_until_ms = 0;
    tb_rc rc = TB_OK;
    for (size_t i = 0; rc == TB_OK && i < sim->n_devices; i++) {
        rc = tb_sim_break(sim, i, true, err);
    }
    tb_sim_item up = {.kind = TB_SIM_COORDINATOR_UP};
    return rc == TB_OK ? tb_sim_push(sim, &up, down_ms, err) : rc;
}

void tb_sim_kill_at_row(tb_sim *sim, uint64_t seq, bool durable)
{
    sim->kill_row = seq;
    sim->kill_durable = durable;
}

tb_rc tb_sim_kill_client(tb_sim *sim, size_t i, uint64_t down_ms, tb_err *err)
{
    tb_sim_device *d = &sim->devices[i];
    if (d->machine == NULL) {
        return TB_OK;
    }
    d->life++;
    d->asleep_until_ms = 0;
    tb_client_free(&d->machine);
    tb_rc rc = tb_sim_break(sim, i, false, err);
    if (rc == TB_OK && down_ms != UINT64_MAX) {
        tb_sim_item up = {.kind = TB_SIM_CLIENT_UP, .client = i};
        rc = tb_sim_push(sim, &up, down_ms, err);
    }
    return rc;
}

tb_rc tb_sim_cut(tb_sim *sim, size_t i, tb_err *err)
{
    return tb_sim_break(sim, i, true, err);
}

void tb_sim_disk_full(tb_sim *sim, int64_t until_ms)
{
    sim->full_until_ms = until_ms;
}

void tb_sim_part(tb_sim *sim, size_t i, uint64_t ms)
{
    sim->devices[i].parted_until_ms = sim->now + (int64_t)ms;
}

void tb_sim_slow(tb_sim *sim, size_t i, uint32_t factor)
{
    sim->devices[i].slow = factor;
}

void tb_sim_suspend_coordinator(tb_sim *sim, uint64_t ms)
{
    if (sim->co != NULL) {
        sim->asleep_until_ms = sim->now + (int64_t)ms;
    }
}

void tb_sim_suspend_client(tb_sim *sim, size_t i, uint64_t ms)
{
    if (sim->devices[i].machine != NULL) {
        sim->devices[i].asleep_until_ms = sim->now + (int64_t)ms;
    }
}

void tb_sim_jump(tb_sim *sim, uint64_t ms)
{
    sim->now += (int64_t)ms;
}
