/* tests/sim/fleet.h - a federation whose clients "train" by a formula: the
 * difference of client c is a tenth of the way from the model to its own target
 * vector. The fleet keeps every model by its hash, watches each journal row and
 * each step, and checks what must hold in every schedule:
 * - an update is accepted at most once for a round and client;
 * - a client that holds a receipt is in the journal, durably, with the very
 *   update that the receipt is for;
 * - its round is then committed once or abandoned with a reason, not both, and
 *   no reason is that the disk forgot what was synced;
 * - a round has one configuration and, when committed, one result: nothing is
 *   published twice with different bytes, and each round starts from the
 *   result of the one before;
 * - a committed model is, to the bit, what a naive sum over exactly its
 *   accepted updates gives, so the last one is that of a run without faults
 *   over the same sets;
 * - no model is worked with before it is durable;
 * - a run that waits says for what;
 * - payload that the coordinator holds stays within its pool, and memory within
 *   a bound that follows from the parameters. */
#ifndef TB_TESTS_SIM_FLEET_H
#define TB_TESTS_SIM_FLEET_H

#include <pthread.h>

#include "sim/sim.h"
#include "support/check.h"

#define FLEET_MAX      16
#define FLEET_RUNS_MAX 8

typedef struct fleet_model {
    tb_hash hash;
    float *values; /* owned [n_params] */
    bool durable;
} fleet_model;

/* A run, as durable rows tell it. */
typedef struct fleet_track {
    tb_run_id id;
    tb_hash model; /* what its next round starts from */
    bool ended;
} fleet_track;

typedef struct fleet_round {
    tb_round_config config;
    tb_hash hash;
    bool in[FLEET_MAX];       /* accepted clients */
    bool purged[FLEET_MAX];   /* who had been, and was taken out again */
    bool received[FLEET_MAX]; /* clients that hold a receipt */
    tb_hash update[FLEET_MAX];
    uint32_t n_in, n_expelled;
    bool closed, committed, abandoned;
    tb_model_ref result;
    char why[TB_TEXT_BYTES];
} fleet_round;

/* An accepted update of an asynchronous run. */
typedef struct fleet_update {
    size_t client;
    size_t own; /* number of the round that it was trained from */
    uint32_t weight, full, staleness;
    size_t in;      /* number of the round that it counts in */
    bool in_closed; /* it is known: that round has closed, or is over */
    bool left_over;
    bool purged;
} fleet_update;

typedef struct fleet {
    tb_sim_params params;
    tb_name names[FLEET_MAX];
    tb_run_params run;
    tb_sim *sim;
    pthread_mutex_t lock; /* of the models */
    fleet_model *models;  /* owned */
    size_t n_models;
    fleet_round *rounds; /* owned; all that were opened */
    size_t n_rounds;
    fleet_track tracks[FLEET_RUNS_MAX];
    size_t n_tracks;
    size_t n_params;                /* of the model */
    bool over;                      /* no run lives */
    size_t most_bytes, bound_bytes; /* of memory, at any step */
    fleet_update *updates; /* owned; of an asynchronous run, in order */
    size_t n_updates;
    uint64_t n_rows;
    uint32_t kinds[TB_REC_KIND_END]; /* rows of each kind */
    tb_rec_run_ended ended;
    tb_rec_run_ended ends[FLEET_RUNS_MAX]; /* of all runs that are over */
    size_t n_ends;
    /* faults, set by a test before it starts */
    int flip_bit_of; /* client whose blocks get a flipped bit; -1: none */
    int nan_of;      /* client whose training diverges */
    int decline_of;  /* client whose work fails for good */
    uint32_t flip_from_block;
    uint32_t fail_aggregates; /* the next ones fail as an I/O error */
    uint32_t fail_finish;     /* rc of FINISH; 0: fine */
    double accuracy[64];      /* of round r, for early stopping; 0: rising */
} fleet;

/* n clients, `rounds` rounds of all of them, a quiet world. */
void fleet_init(fleet *f, size_t n_clients, uint32_t rounds, uint64_t seed);
void fleet_release(fleet *f);

/* Run n (2, 3, ...) of the same clients: as f->run, but of another model. */
tb_run_params fleet_run(const fleet *f, uint8_t n);

/* How the run ended; outcome 0: it has not. */
tb_rec_run_ended fleet_end(const fleet *f, const tb_run_params *run);

/* A model of so many parameters, before the start. */
void fleet_size(fleet *f, size_t n_params);

/* Makes the federation and starts the run. */
void fleet_start(fleet *f);

/* Until the run is over; fails the test after until_ms of virtual time. */
void fleet_finish(fleet *f, int64_t until_ms);

/* Lets ms of virtual time pass; the run need not be over. */
void fleet_pass(fleet *f, int64_t ms);

/* Lets time pass until the condition holds, in steps of 1 ms. */
typedef bool fleet_condition(const fleet *f);
void fleet_until(fleet *f, fleet_condition *condition, int64_t until_ms);

/* Where the oldest run stands. */
tb_run_status fleet_status(const fleet *f);

/* The round that was opened last. */
const fleet_round *fleet_newest(const fleet *f);

/* Inside of the fleet: values of a model, the update that a client makes, the
 * round of a configuration, a client's number, a run. */
const float *fleet_find_model(fleet *f, const tb_hash *hash);
void fleet_make_update(fleet *f, size_t c, const tb_round_config *config,
                       float *values);
fleet_round *fleet_round_of(fleet *f, const tb_hash *hash);
size_t fleet_client_of(const fleet *f, const tb_name *name);
fleet_track *fleet_track_of(fleet *f, const tb_run_id *id);

/* What must hold at the end of any schedule. */
void fleet_check(const fleet *f);

#endif
