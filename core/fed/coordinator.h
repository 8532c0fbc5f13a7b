/* core/fed/coordinator.h - the coordinator as a pure machine: sessions, runs
 * and their rounds. No thread, clock, file, socket or chance: time and
 * events come in, actions go out (event.h says what the driver owes). Crash
 * only: when a step fails, stop the process and replay the journal.
 *
 * Life: new -> replay of every journal row in order -> resume -> step ... */
#ifndef TB_FED_COORDINATOR_H
#define TB_FED_COORDINATOR_H

#include "fed/event.h"

typedef struct tb_coordinator tb_coordinator;

typedef struct tb_coordinator_params {
    tb_hash federation;
    size_t pool_bytes;      /* of granted blocks, all clients: 8 MB */
    uint32_t window_blocks; /* granted to one upload at a time: 4 */
    uint64_t wait_ms;       /* between check-ins while there is no work */
    uint32_t per_second;    /* check-ins, and clients that come back after a
                             * restart: what a fleet is spread over */
    uint64_t stall_ms;      /* a grant unused so long is taken back */
    uint64_t retry_ms;      /* after the host lacked something */
    uint32_t running;       /* runs that open rounds side by side: 4. What was
                             * journalled under another number is replayed all
                             * the same */
} tb_coordinator_params;

/* Defaults for all but the federation. */
tb_coordinator_params tb_coordinator_defaults(void);

/* An empty machine. Errors: USAGE, NOMEM. */
tb_rc tb_coordinator_new(tb_coordinator **out,
                         const tb_coordinator_params *params, tb_err *err)
    TB_NONNULL(1, 2) TB_MUST_CHECK;

/* Frees and nulls. NULL is fine. */
void tb_coordinator_free(tb_coordinator **co) TB_NONNULL(1);

/* Takes one journal row; rows come in order from 1. Errors: MALFORMED (a record
 * that cannot follow the ones before it), NOMEM. */
tb_rc tb_coordinator_replay(tb_coordinator *co, const tb_record *record,
                            uint64_t seq, tb_err *err)
    TB_NONNULL(1, 2) TB_MUST_CHECK;

/* After the last row (also of an empty journal), once: orders what rebuilds the
 * open round, and goes on in it. */
tb_rc tb_coordinator_resume(tb_coordinator *co, int64_t now_ms, tb_actions *out,
                            tb_err *err) TB_NONNULL(1, 3) TB_MUST_CHECK;

/* Takes one event at now_ms (milliseconds of up-time, never falling) and
 * appends actions. A bad message is never an error here: its sender is
 * refused. Errors: USAGE, LIMIT, BUSY (START only: the run was not started,
 * nothing changed), NOT_FOUND (CANCEL, PAUSE, RESUME: no such run; PURGE: no
 * such update), REFUSED (PURGE: the round has closed), MISMATCH, EXISTS
 * (RECORD; CANCEL, PAUSE, RESUME: it is so already); nothing changed then;
 * NOMEM and BUG (stop the process). */
tb_rc tb_coordinator_step(tb_coordinator *co, const tb_event *event,
                          int64_t now_ms, tb_actions *out, tb_err *err)
    TB_NONNULL(1, 2, 4) TB_MUST_CHECK;

/* When to step next with a TICK; INT64_MAX: not before another event. */
int64_t tb_coordinator_next_ms(const tb_coordinator *co) TB_NONNULL(1);

/* An open round; all that it points at is borrowed until the next step. */
typedef struct tb_open {
    const tb_run_params *run; /* whose round it is */
    const tb_round_config *config;
    tb_span bytes; /* of the configuration, canonical */
    tb_hash hash;  /* of those bytes */
    uint32_t n_clients;
} tb_open;

/* The open round of this configuration hash; false when there is none. */
bool tb_coordinator_round(const tb_coordinator *co, const tb_hash *config,
                          tb_open *out) TB_NONNULL(1, 2, 3);

/* Another number of runs side by side, from the next step on; at least 1. */
void tb_coordinator_set_running(tb_coordinator *co, uint32_t running)
    TB_NONNULL(1);

#define TB_RUNS_MAX 64u /* that live at a time, queued ones among them */
/* The same for every round that updates may still come for: an open one, or one
 * of an asynchronous run that clients have trained from not too long ago. Of
 * such a one only hash and run are its own: bytes is empty, and config is that
 * of the newest training round, which has the same sections and bounds. */
bool tb_coordinator_known(const tb_coordinator *co, const tb_hash *config,
                          tb_open *out) TB_NONNULL(1, 2, 3);

/* After a replay: configuration k of run i, an asynchronous one, for which
 * updates may still come or came until its last buffer was committed; false
 * past the end. */
bool tb_coordinator_earlier(const tb_coordinator *co, size_t i, size_t k,
                            tb_hash *out) TB_NONNULL(1, 4);

/* Whether this update of the client counts in the open round. */
bool tb_coordinator_counts(const tb_coordinator *co, const tb_hash *config,
                           const tb_name *client, const tb_hash *update)
    TB_NONNULL(1, 2, 3, 4);

/* Runs that live: they are counted from 0 in the order of their start. */
size_t tb_coordinator_runs(const tb_coordinator *co) TB_NONNULL(1);

/* Parameters of run i, borrowed until the next step; NULL past the end. */
const tb_run_params *tb_coordinator_run(const tb_coordinator *co, size_t i)
    TB_NONNULL(1);

typedef enum tb_phase {
    TB_PHASE_IDLE,
    TB_PHASE_SELECTING,
    TB_PHASE_TRAINING,
    TB_PHASE_CLOSING,
    TB_PHASE_AGGREGATING,
    TB_PHASE_EVALUATING,
    TB_PHASE_COMMITTED,
    TB_PHASE_ABANDONED,
    TB_PHASE_FINISHING, /* after the last round */
    TB_PHASE_COUNT
} tb_phase;

/* A short stable name such as "training". */
const char *tb_phase_name(tb_phase phase);

/* Where a run stands. */
typedef struct tb_run_status {
    tb_run_id run;
    tb_name name; /* of its model */
    tb_phase phase;
    tb_task task;
    uint32_t round, rounds, attempt;
    bool cancelled;    /* it ends as soon as its orders are back */
    uint32_t queued;   /* its place in the queue, from 1; 0: it has its turn */
    bool paused;       /* by the operator: */
    uint64_t paused_s; /* since, unix seconds */
    char paused_why[TB_TEXT_BYTES];
    bool open;           /* a round is open: */
    tb_hash config;      /* its hash */
    int64_t since_ms;    /* when this phase began, up-time */
    int64_t deadline_ms; /* of the round, up-time; INT64_MAX: none */
    bool buffered;       /* a buffer: n_asked are those who train for it now */
    uint32_t n_asked, n_accepted, n_wanted, n_minimum; /* of the round */
    tb_model_ref model; /* the newest committed one */
    tb_metrics metrics; /* of the last committed round */
    tb_model_ref best;
    tb_metrics best_metrics;
    uint32_t best_round;
    char waits_for[TB_TEXT_BYTES]; /* in words, and which setting helps */
} tb_run_status;

/* Fills *out for run i; false when i is past the end. */
bool tb_coordinator_run_status(const tb_coordinator *co, size_t i,
                               tb_run_status *out) TB_NONNULL(1, 3);

/* What concerns no run alone. */
typedef struct tb_status {
    uint32_t n_runs;
    uint32_t n_enrolled, n_connected, n_ready;
    uint64_t bytes_in;  /* payload of uploads, since the process started */
    uint64_t bytes_out; /* chunks asked for */
    uint32_t n_refused[TB_REFUSE_END]; /* refusals sent, by code */
} tb_status;

/* Fills *out. */
void tb_coordinator_status(const tb_coordinator *co, tb_status *out)
    TB_NONNULL(1, 2);

#define TB_OLD_KEYS_MAX 2u /* of one client that are remembered */

/* Keys that a client has had. */
typedef struct tb_old_keys {
    uint8_t sign_key[TB_SIGN_PUBLIC_BYTES];
    uint8_t curve_key[TB_CURVE_PUBLIC_BYTES];
    uint64_t since_s, until_s; /* unix seconds; until is exclusive */
} tb_old_keys;

/* One client, for lists. */
typedef struct tb_member {
    tb_name client;
    uint8_t sign_key[TB_SIGN_PUBLIC_BYTES];
    uint8_t curve_key[TB_CURVE_PUBLIC_BYTES];
    uint64_t since_s; /* the keys are valid from then on; unix seconds */
    tb_old_keys old[TB_OLD_KEYS_MAX]; /* the newest first */
    uint32_t n_old;
    bool old_curve_in; /* the newest old transport key is let in, too, until its
                        * time is over */
    tb_labels labels, reported; /* by the operator; by the client itself */
    bool revoked, connected, ready;
    uint32_t n_accepted; /* updates, over all runs */
    uint32_t n_expelled;
} tb_member;

/* Member i in the order of names; false when i is past the end. */
bool tb_coordinator_member(const tb_coordinator *co, size_t i, tb_member *out)
    TB_NONNULL(1, 3);
/* The member of this name; false when there is none. */
bool tb_coordinator_find(const tb_coordinator *co, const tb_name *client,
                         tb_member *out) TB_NONNULL(1, 2, 3);

/* An invite that was made: found by its id, used or not; false: unknown. */
bool tb_coordinator_invite(const tb_coordinator *co, const uint8_t id[16],
                           tb_rec_invited *out, bool *used)
    TB_NONNULL(1, 2, 3, 4);

/* How often this coordinator was restored from a backup. */
uint32_t tb_coordinator_epoch(const tb_coordinator *co) TB_NONNULL(1);

/* The coordinator's last change of keys; false: there was none. */
bool tb_coordinator_key(const tb_coordinator *co, tb_rec_coordinator_key *out)
    TB_NONNULL(1, 2);

/* Highest sequence of a model's versions; 0: none. */
uint64_t tb_coordinator_version(const tb_coordinator *co, const tb_name *model)
    TB_NONNULL(1, 2);

#endif
