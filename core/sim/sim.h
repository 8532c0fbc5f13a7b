/* core/sim/sim.h - a whole federation in one process: the coordinator machine
 * and n client machines of core/fed on a virtual network, disk and clock. What
 * they compute comes from callbacks, so that a simulated run and a real one
 * share their code. Client work runs on a pool of threads; everything else, and
 * every decision, in the caller's thread, so the number of workers changes
 * nothing. All chance comes from one seed.
 *
 * Updates are not sealed; a keyed check stands in the place of the tag, so that
 * a flipped bit is still found. */
#ifndef TB_SIM_SIM_H
#define TB_SIM_SIM_H

#include "fed/client.h"
#include "fed/coordinator.h"
#include "fed/sum.h"

typedef struct tb_sim tb_sim;

/* Faults and delays of the network and the disk; all virtual milliseconds. */
typedef struct tb_sim_world {
    uint64_t seed;
    uint64_t latency_ms;    /* of a message, least */
    uint64_t jitter_ms;     /* added, uniform; reorders unless fifo */
    bool fifo;              /* messages of one direction stay in order */
    double drop, duplicate; /* chances, per message */
    uint64_t work_ms;  /* least time of a client's work, up to twice that */
    uint64_t order_ms; /* time of an order of the coordinator */
    uint64_t sync_ms;  /* until a journal row is durable */
    uint64_t blob_ms;  /* until the result of an order is */
    /* A kill keeps any first part of what was not synced: rows of the journal,
     * blocks of an upload. Else it takes all of it. */
    bool torn;
    bool kept; /* of the spool it takes nothing: the process dies, the machine
                * does not; not with torn */
    uint64_t reconnect_ms; /* from CONNECT to CONNECTED */
} tb_sim_world;

/* A quiet network: 1 ms, nothing lost. */
tb_sim_world tb_sim_world_quiet(void);

/* The task of one round for one client. */
typedef struct tb_sim_work {
    size_t worker;                 /* its thread, under n_workers */
    size_t client;                 /* its number */
    const tb_round_config *config; /* borrowed */
    float *values;   /* of its sections [tb_round_config_values], zeroed */
    uint32_t weight; /* its number of samples */
} tb_sim_work;

typedef struct tb_sim_jobs {
    void *arg;

    /* Fills work->values and weight. Runs on a thread of the pool, for several
     * clients at a time; the code goes to the client's machine. */
    tb_rc (*work)(void *arg, tb_sim_work *work, tb_err *err);

    /* TB_ORDER_AGGREGATE, EVALUATE and FINISH, as event.h says: fills result,
     * metrics, manifest. order->model is what to start from. The codes go to
     * the machine. */
    tb_rc (*aggregate)(void *arg, const tb_order *order,
                       const tb_round_config *config, const tb_sum *sum,
                       tb_verdict *out, tb_err *err);
    tb_rc (*evaluate)(void *arg, const tb_order *order, tb_verdict *out,
                      tb_err *err);
    tb_rc (*finish)(void *arg, const tb_order *order, tb_verdict *out,
                    tb_err *err);

    /* Each journal row when it is durable; may be NULL. */
    void (*row)(void *arg, const tb_record *record, uint64_t seq,
                int64_t now_ms);

    /* The result of AGGREGATE or FINISH is durable; its verdict goes out after
     * this. May be NULL. */
    void (*stored)(void *arg, const tb_hash *blob);

    /* After each event, and what it was, in one line that repeats with the
     * seed; both may be NULL. */
    void (*step)(void *arg, const tb_sim *sim);
    void (*trace)(void *arg, const char *line);

    /* The coordinator lets a receipt out; may be NULL. */
    void (*receipt)(void *arg, size_t client, const tb_msg_receipt *receipt);

    /* A client heard the end of its update of a round; may be NULL. */
    void (*settled)(void *arg, size_t client, const tb_hash *config,
                    bool accepted);

    /* May change a block on its way (a fault of the test); may be NULL. */
    void (*tamper)(void *arg, size_t client, uint32_t index, uint8_t *bytes,
                   size_t len);
} tb_sim_jobs;

typedef struct tb_sim_params {
    tb_sim_world world;
    tb_sim_jobs jobs;
    tb_coordinator_params coordinator;
    tb_client_params client; /* data sets and times; the name is set */
    const tb_name *names;    /* [n_clients], copied */
    size_t n_clients;
    size_t n_workers; /* threads for work; at least 1 */
} tb_sim_params;

/* A federation whose members are enrolled and connect at time 0. */
tb_rc tb_sim_new(tb_sim **out, const tb_sim_params *params, tb_err *err)
    TB_NONNULL(1, 2) TB_MUST_CHECK;

/* Stops the threads, frees and nulls. NULL is fine. */
void tb_sim_free(tb_sim **sim) TB_NONNULL(1);

/* Starts a run: like tributaryd start. Errors: of TB_EV_START. */
tb_rc tb_sim_start(tb_sim *sim, const tb_run_params *run, tb_err *err)
    TB_NONNULL(1, 2) TB_MUST_CHECK;

/* Handles events up to until_ms, or until no run lives: the last one's last
 * record goes to *ended and *over is true. Errors: of the machines (a bug),
 * TIMEOUT (until_ms came first). */
tb_rc tb_sim_run(tb_sim *sim, int64_t until_ms, bool *over,
                 tb_rec_run_ended *ended, tb_err *err)
    TB_NONNULL(1, 3, 4) TB_MUST_CHECK;

/* The clock, and what is alive now: NULL while it is down. Borrowed until the
 * next call that runs or kills something. */
int64_t tb_sim_now(const tb_sim *sim) TB_NONNULL(1);
const tb_coordinator *tb_sim_coordinator(const tb_sim *sim) TB_NONNULL(1);
const tb_client *tb_sim_client(const tb_sim *sim, size_t i) TB_NONNULL(1);

/* Payload of messages that the coordinator holds now. */
size_t tb_sim_held_bytes(const tb_sim *sim) TB_NONNULL(1);

/* --- faults.c ------------------------------------------------------------- */

/* kill -9 of the coordinator, or a power cut: rows and spool that are not
 * durable are lost, connections break; it starts again after down_ms from its
 * journal. */
tb_rc tb_sim_kill_coordinator(tb_sim *sim, uint64_t down_ms, tb_err *err)
    TB_NONNULL(1) TB_MUST_CHECK;

/* Kills it as soon as journal row seq is written (durable: and synced, but
 * nothing that waited for it has gone out). 0: not any more. */
void tb_sim_kill_at_row(tb_sim *sim, uint64_t seq, bool durable) TB_NONNULL(1);

/* kill -9 of a client: its work is lost, its saved state is not. down_ms: until
 * it starts again; UINT64_MAX: never. */
tb_rc tb_sim_kill_client(tb_sim *sim, size_t i, uint64_t down_ms, tb_err *err)
    TB_NONNULL(1) TB_MUST_CHECK;

/* Cuts the connection of a client; it comes back by itself. */
tb_rc tb_sim_cut(tb_sim *sim, size_t i, tb_err *err)
    TB_NONNULL(1) TB_MUST_CHECK;

/* For ms nothing passes between a client and the coordinator, and neither is
 * told; new connections fail. */
void tb_sim_part(tb_sim *sim, size_t i, uint64_t ms) TB_NONNULL(1);

/* From now on work of a client takes `factor` times as long, and so does each
 * of its messages. */
void tb_sim_slow(tb_sim *sim, size_t i, uint32_t factor) TB_NONNULL(1);

/* The process is stopped for ms (SIGSTOP, a suspended machine): all that comes
 * for it waits, and then comes at once, its timers late. */
void tb_sim_suspend_coordinator(tb_sim *sim, uint64_t ms) TB_NONNULL(1);
void tb_sim_suspend_client(tb_sim *sim, size_t i, uint64_t ms) TB_NONNULL(1);

/* The clock of all jumps ahead: what was due in between comes late. */
void tb_sim_jump(tb_sim *sim, uint64_t ms) TB_NONNULL(1);

/* Spool writes fail with FULL until this time. */
void tb_sim_disk_full(tb_sim *sim, int64_t until_ms) TB_NONNULL(1);

/* Gives the coordinator a message of a client as it is, at once (a fault of the
 * test); payload may be NULL. */
tb_rc tb_sim_inject(tb_sim *sim, size_t client, const tb_msg *msg,
                    const uint8_t *payload, size_t len, tb_err *err)
    TB_NONNULL(1, 3) TB_MUST_CHECK;

/* Revokes a member; purge: its accepted update leaves the open round. Errors:
 * of TB_EV_PURGE (nothing changed), NOT_FOUND. */
tb_rc tb_sim_revoke(tb_sim *sim, size_t client, bool purge, tb_err *err)
    TB_NONNULL(1) TB_MUST_CHECK;

/* Cancels, pauses or resumes a run. Errors: NOT_FOUND, EXISTS. */
tb_rc tb_sim_cancel(tb_sim *sim, const tb_run_id *run, const char *why,
                    tb_err *err) TB_NONNULL(1, 2, 3) TB_MUST_CHECK;
tb_rc tb_sim_pause(tb_sim *sim, const tb_run_id *run, tb_err *err)
    TB_NONNULL(1, 2) TB_MUST_CHECK;
tb_rc tb_sim_resume(tb_sim *sim, const tb_run_id *run, tb_err *err)
    TB_NONNULL(1, 2) TB_MUST_CHECK;

#endif
