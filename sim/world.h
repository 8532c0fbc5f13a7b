/* sim/world.h - what a simulated run computes with: the job's own code
 * (core/work), the clients' samples, and models in memory by their hash. The
 * simulator's machines call it through world_jobs. */
#ifndef TB_SIM_PROGRAM_WORLD_H
#define TB_SIM_PROGRAM_WORLD_H

#include <stdatomic.h>

#include "fleet.h"
#include "host/json.h"
#include "host/term.h"
#include "own.h"
#include "sim/sim.h"

/* Bytes of a model or of ranges, by their hash. */
typedef struct blob {
    struct blob *next;
    tb_hash raw;
    tb_buf bytes; /* owned */
} blob;

typedef struct world {
    const tb_job *job;
    tb_run_params params;
    fleet fleet;
    tb_dataset *evaluate, *calibrate, *guard; /* owned; NULL: not asked for */
    _Atomic(blob *) blobs; /* newest first; the caller of the simulator adds
                            * while threads read */
    own own;               /* of the clients */
    tb_term term;
    tb_json *lines; /* a round each, for --json; NULL: text lines */
    int64_t began_ms;
    tb_buf manifest; /* of the finished run */
} world;

/* Reads the job's data at the coordinator, finds the clients below the folder
 * and makes the model to start from. w: zeroed, but for lines. Errors: as
 * fleet_open, tb_work_prepare, tb_work_dataset. */
tb_rc world_open(world *w, const tb_job *job, const char *clients,
                 tb_err *err) TB_MUST_CHECK;
void world_close(world *w);

/* What the simulator calls; w must outlive it. */
tb_sim_jobs world_jobs(world *w);

/* Bytes of a model, borrowed until the world is closed. Errors: BUG. */
tb_rc world_find(world *w, const tb_hash *raw, const tb_buf **out,
                 tb_err *err) TB_MUST_CHECK;

#endif
