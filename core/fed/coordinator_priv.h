/* core/fed/coordinator_priv.h - the inside of the coordinator machine, for its
 * own files: coordinator.c (doors), emit.c (what goes out), apply.c (records
 * into state), roster.c (members), runs.c (the list of runs), session.c
 * (messages), ingest.c (uploads), upload_orders.c (what they have computed),
 * round.c (phases), cohort.c (selection), round_orders.c (what a round has
 * computed), waits.c (time, and what is waited for in words); of asynchronous
 * runs: buffer.c (what was accepted, and where it counts), flight.c (clients
 * that train). */
#ifndef TB_FED_COORDINATOR_PRIV_H
#define TB_FED_COORDINATOR_PRIV_H

#include "fed/coordinator.h"

#define TB_WINDOW_MAX   16u    /* blocks that one upload may have granted */
#define TB_PAST_ROUNDS  64u    /* closed rounds that are known by their hash */
#define TB_STRIKES_MAX  3u     /* bad updates of a client in one run */
#define TB_ORDERS_KNOWN 16384u /* a power of two */

struct tb_seat;
struct tb_run;

/* Bad updates of a client in one run that lives. */
typedef struct tb_strikes {
    const struct tb_run *run;
    uint32_t n;
} tb_strikes;

/* One member of the federation; lives as long as the machine. */
typedef struct tb_row {
    tb_name name;
    uint8_t invite[16];
    uint8_t sign_key[TB_SIGN_PUBLIC_BYTES];
    uint8_t curve_key[TB_CURVE_PUBLIC_BYTES];
    uint64_t since_s;                 /* the keys are valid from then on */
    tb_old_keys old[TB_OLD_KEYS_MAX]; /* the keys before, the newest first */
    uint32_t n_old;
    bool old_curve_in; /* the newest old transport key is let in, too */
    tb_labels labels;  /* by the operator */
    bool revoked;
    bool connected;    /* said HELLO, and its connection lives */
    bool ready;        /* checked in, waits for an offer */
    int64_t ready_ms;  /* since when it waits */
    int64_t again_ms;  /* when it was told to check in again */
    int64_t hello_ms;  /* when its next HELLO is due, at the steady pace */
    int64_t active_ms; /* last check-in, or end of a round it sat in */
    int64_t away_ms;   /* since when not connected */
    uint32_t n_data_sets;
    tb_name *data_sets;  /* owned; NULL while away */
    tb_labels reported;  /* by the client; "" while away */
    tb_strikes *strikes; /* [n_strikes], owned: runs with any */
    uint32_t n_strikes;
    uint32_t n_accepted, n_expelled;
    uint32_t n_missed; /* rounds in a row that it sat in and gave nothing to */
    bool resumed;      /* an upload, and has sent nothing since */
    tb_hash passed;    /* newest buffer that it declined or spoilt */
    tb_rec_accepted last; /* last acceptance; n_blocks 0: none */
    uint64_t last_seq;    /* its journal row */
    struct tb_seat *seat; /* in the open round, or NULL */
} tb_row;

typedef enum tb_seat_state {
    TB_SEAT_ASKED,
    TB_SEAT_TAKEN, /* accepted the offer */
    TB_SEAT_DONE,  /* its update is accepted */
    TB_SEAT_OUT    /* declined, or expelled */
} tb_seat_state;

typedef struct tb_held { /* a block that came and waits for its turn */
    uint64_t payload;
    size_t bytes;
} tb_held;

/* An upload. Blocks: 0 <= done <= received <= until <= ref.n_blocks, and found
 * <= received: those lie in the spool, not in memory. */
typedef struct tb_upload {
    bool live;
    bool asks;     /* what the spool holds of it is not known yet */
    bool dropping; /* to be subtracted, then forgotten */
    bool counted;  /* it had been accepted: dropped as a whole */
    bool has_end;
    bool ended; /* in flight: whole, proven and synced, but not accepted yet */
    tb_upload_ref ref;
    uint32_t done;               /* in the sum and the spool */
    uint32_t found;              /* in the spool before it began */
    uint32_t received;           /* done, or found, or held */
    uint32_t until;              /* granted */
    uint32_t samples;            /* that its head tells */
    uint32_t weight;             /* in the sum */
    uint32_t full;               /* of one that was accepted */
    tb_held held[TB_WINDOW_MAX]; /* block b at b % TB_WINDOW_MAX */
    uint64_t order;              /* out for this upload; 0: none */
    tb_order_kind order_kind;
    tb_hash update; /* claimed by UPLOAD_END */
    uint8_t signature[TB_SIGNATURE_BYTES];
    int64_t retry_ms; /* no order before this time */
    bool trial;       /* the one block that its idle seat was granted is out */
} tb_upload;

/* One client of the cohort; or one in flight, which trains for an asynchronous
 * run whatever round is open. */
typedef struct tb_seat {
    tb_row *row;
    struct tb_run *run; /* whose round it is */
    tb_hash config;     /* of that round */
    bool flight;
    bool leaving; /* in flight: it goes as soon as no order is out */
    size_t place; /* in flight: in the run's list */
    tb_seat_state state;
    tb_refusal code; /* why OUT; 0: declined */
    bool stored;     /* DONE before a restart: not yet in the new sum */
    bool unwanted;   /* purged while its update is proven: it shall not count */
    bool began;      /* an upload; beginning another one is no progress */
    bool idle; /* a grant was not used: one block at a time, until it is */
    int64_t moved_ms; /* last progress */
    tb_upload upload;
} tb_seat;

typedef struct tb_round {
    bool open;
    bool closed;   /* CLOSED is journalled: nothing more is accepted */
    bool sum_open; /* OPEN_ROUND was answered */
    bool doomed;   /* will be abandoned, as soon as no order is out */
    char why[TB_TEXT_BYTES]; /* doomed, or closed */
    tb_round_config *config; /* owned; reused */
    tb_buf bytes;            /* canonical */
    tb_hash hash;
    uint64_t seq; /* journal row that opened it */
    tb_seat *seats;
    uint32_t n_seats, n_accepted;
    bool look_all;       /* any seat may have something to order */
    uint32_t hopeful_at; /* seat that was hopeful, or not quiet, last */
    uint64_t weight;
    uint64_t left_ms;    /* of the deadline, as journalled */
    int64_t deadline_ms; /* up-time */
    uint64_t order;      /* out for the round itself; 0: none */
    int64_t retry_ms;    /* no such order before this time */
    tb_model_ref result; /* of AGGREGATE */
    tb_metrics metrics;
} tb_round;

typedef enum tb_taken_state {
    TB_TAKEN_WAITS,  /* in the open buffer, or for the next one */
    TB_TAKEN_CLOSED, /* its buffer has closed */
    TB_TAKEN_OVER,   /* its buffer is committed or abandoned */
    TB_TAKEN_REFUSED /* expelled, or purged: it does not count */
} tb_taken_state;

/* What became of a client's update of one configuration. */
typedef struct tb_taken {
    tb_rec_accepted record; /* REFUSED: config and client only */
    uint64_t seq;           /* its journal row */
    tb_taken_state state;
    tb_refusal code; /* REFUSED */
    bool added;      /* in the open sum */
    uint64_t order;  /* ADD_STORED that is out; 0: none */
    int64_t retry_ms;
} tb_taken;

/* A configuration that updates may still come for. */
typedef struct tb_known {
    tb_hash config;
    uint32_t round;
} tb_known;

/* A client that waits for a flight, since then. */
typedef struct tb_waiting {
    tb_row *row;
    int64_t ready_ms;
} tb_waiting;

/* What an asynchronous run has besides. Not journalled: the flights. */
typedef struct tb_async {
    tb_round_config *config; /* owned; of the newest training round */
    tb_known *known;         /* owned; oldest first */
    size_t n_known, cap_known;
    tb_hash *expired; /* owned [cap_known]; of the last commit */
    size_t n_expired;
    tb_taken *taken; /* owned; all of the known configurations */
    size_t n_taken, cap_taken;
    uint32_t *slots; /* owned [n_slots], by configuration and client: place in
                      * taken + 1, or 0 */
    size_t n_slots;  /* a power of two */
    uint32_t n_waiting; /* of taken */
    uint32_t n_in_sum;  /* of taken: in the sum, or on their way into or out of
                         * it; it has room for a buffer */
    size_t look_from;   /* first of taken that may want an order */
    size_t verdict_at, quiet_at, counts_at; /* of taken: where a search
                                             * begins */
    tb_seat **flights; /* owned [cap_flights]: n_flights that are in use, of
                        * them n_leaving at the end; then spare ones. A seat
                        * stays where it is, its pointer moves */
    size_t n_flights, n_leaving, n_made, cap_flights;
    bool look_all;     /* any flight may have something to order */
    bool left;         /* clients waited for a flight, at the last look */
    tb_waiting *queue; /* owned [cap_queue]; who they were when all members
                         * were looked at: n_queue, those before queue_at are
                         * through */
    size_t queue_at, n_queue, cap_queue;
    tb_hash queue_of;   /* the round that was open then */
    size_t airborne_at; /* row that could send an update, at the last look */
    size_t grant_from;  /* flight to begin with */
    uint64_t census;    /* of the machine, at the last look for clients */
} tb_async;

/* A run, from its start to its end: where it stands, and its open round. */
typedef struct tb_run {
    tb_run_params *params; /* owned */
    tb_async *async;       /* owned; NULL: a synchronous run */
    tb_round round;
    tb_phase phase;
    int64_t since_ms;  /* in this phase */
    int64_t sweep_ms;  /* next look at stalls and losses */
    int64_t gather_ms; /* selecting: since when others may still come */
    uint64_t census;   /* of the machine, at which to count its clients again */
    uint64_t opened;   /* journal row of its newest round; 0: none yet */
    bool late;         /* selecting: select_ms are over, as last counted */
    bool blocked;      /* selecting: others hold the clients that it lacks */
    bool claims;       /* selecting: clients that are free wait for it */
    int64_t count_ms;  /* selecting: when its claim is looked at again */
    uint32_t number;   /* of the training round: the open or the next one */
    uint32_t attempt;  /* of it */
    tb_task task;      /* of the open or next exchange */
    bool finishing;    /* all rounds are over */
    bool registered;   /* its VERSION is journalled: only its end is missing */
    bool cancelled;
    bool paused;
    bool has_turn;     /* it may open rounds: not queued, not paused */
    bool ended;        /* RUN_ENDED is journalled: it leaves the list */
    uint32_t failures; /* abandoned attempts of this exchange */
    tb_model_ref model, best, ranges;
    tb_metrics metrics, best_metrics; /* of model and best */
    uint32_t best_round;
    double mark;           /* accuracy, or -loss, of the last gain */
    uint32_t without_gain; /* evaluated rounds since then */
    uint64_t seq;          /* journal row that a next order depends on */
    uint64_t sequence;     /* of the version that FINISH was ordered for */
    uint32_t grant_from;   /* seat to begin with, for fairness */
    uint64_t paused_s;     /* unix seconds */
    char paused_why[TB_TEXT_BYTES];
    char why[TB_TEXT_BYTES];
    char host_why[TB_TEXT_BYTES]; /* what the host lacked last; "" when well */
} tb_run;

typedef struct tb_invite_row {
    tb_rec_invited invite;
    bool used;
} tb_invite_row;

typedef struct tb_version_row {
    tb_name model;
    uint64_t sequence;
} tb_version_row;

struct tb_coordinator {
    tb_coordinator_params params;
    uint64_t seq;      /* last journal row */
    uint64_t replayed; /* last row of the lives before this one */
    tb_row **rows;     /* by name */
    size_t n_rows, cap_rows;
    tb_invite_row *invites;
    size_t n_invites, cap_invites;
    tb_rec_coordinator_key key; /* the last one; step 0: never changed */
    tb_version_row *versions;
    size_t n_versions, cap_versions;
    tb_run *runs[TB_RUNS_MAX];  /* that live, owned, in order of start */
    tb_run *turns[TB_RUNS_MAX]; /* the same; the one whose last round opened
                                 * the longest ago comes first */
    size_t n_runs;
    uint64_t census;       /* counts what changes who is ready, and for whom: by
                            * one for each client */
    tb_rec_restored epoch; /* the one we are in; number 0: never restored */
    uint64_t epoch_row;    /* its row */
    tb_hash past[TB_PAST_ROUNDS]; /* closed rounds, as a ring */
    bool aged[TB_PAST_ROUNDS];    /* by max_staleness, not by its end */
    uint32_t n_past;
    uint64_t next_key, next_order;
    uint32_t pool_blocks; /* granted blocks that are not done */
    uint32_t pool_max;
    uint32_t n_trials;  /* of them those of idle seats: at most half the pool */
    bool starving;      /* some upload waits for the pool */
    tb_seat **by_order; /* [TB_ORDERS_KNOWN] whose order was given last under
                         * id % TB_ORDERS_KNOWN; NULL: nobody's */
    size_t grant_from;  /* run to begin with, for fairness */
    bool stirred;       /* from outside: step soon */
    uint64_t bytes_in, bytes_out;
    uint32_t n_refused[TB_REFUSE_END];

    /* of the step that runs; the first failure sticks */
    tb_actions *out;
    tb_err *err;
    tb_rc rc;
    int64_t now;
    tb_row *greeted;     /* checked in by this step: WAIT unless offered */
    tb_seat *touched;    /* what this step's event was about */
    tb_action no_action; /* what a failed step writes to */
    tb_msg no_msg;
    tb_order no_order;
};

/* emit.c: each adds one action to the step; after: the row that must be
 * durable first. Failures stick in co->rc. */
void tb_co_fail(tb_coordinator *co, tb_rc rc, const char *what)
    TB_NONNULL(1, 3);
/* Journals the record and applies it; returns its row. */
uint64_t tb_co_journal(tb_coordinator *co, const tb_record *record)
    TB_NONNULL(1, 2);
/* A message to fill, to a client; never NULL (a dummy after a failure). */
tb_msg *tb_co_send(tb_coordinator *co, const tb_name *to, tb_msg_kind kind,
                   uint64_t after) TB_NONNULL(1, 2);
/* Refuses a message of a client and counts it; the caller may set the round
 * that it is about. */
tb_msg_refuse *tb_co_refuse(tb_coordinator *co, const tb_name *to,
                            tb_msg_kind about, tb_refusal code,
                            uint64_t retry_ms, const char *why)
    TB_NONNULL(1, 2, 6);
/* An order of a run to fill, with its id; never NULL. */
tb_order *tb_co_order(tb_coordinator *co, const tb_run *run, tb_order_kind kind,
                      uint64_t after) TB_NONNULL(1, 2);
void tb_co_discard(tb_coordinator *co, uint64_t payload) TB_NONNULL(1);
/* An action of one of the small kinds; never NULL. */
tb_action *tb_co_action(tb_coordinator *co, tb_action_kind kind, uint64_t after)
    TB_NONNULL(1);
/* Copies text, with control characters made harmless. */
void tb_co_text(char out[static TB_TEXT_BYTES], const char *text)
    TB_NONNULL(1, 2);

/* apply.c: takes a record into the state; emits nothing. Errors: MALFORMED (it
 * cannot follow), EXISTS, MISMATCH, NOT_FOUND, NOMEM; the state is unchanged
 * then. */
tb_rc tb_co_apply(tb_coordinator *co, const tb_record *record, uint64_t seq,
                  tb_err *err) TB_NONNULL(1, 2) TB_MUST_CHECK;

/* roster.c */
tb_row *tb_co_find(const tb_coordinator *co, const tb_name *name)
    TB_NONNULL(1, 2);
tb_rc tb_co_apply_member(tb_coordinator *co, const tb_record *record,
                         tb_err *err) TB_NONNULL(1, 2) TB_MUST_CHECK;
void tb_co_free_roster(tb_coordinator *co) TB_NONNULL(1);
/* Whether a client could take part in the run now. */
bool tb_co_eligible(const tb_run *run, const tb_row *row) TB_NONNULL(1, 2);
/* One bad update more. Errors: NOMEM. */
tb_rc tb_co_strike(tb_row *row, const tb_run *run, tb_err *err)
    TB_NONNULL(1, 2) TB_MUST_CHECK;
/* The run is over: its strikes are forgotten. */
void tb_co_forgive(tb_coordinator *co, const tb_run *run) TB_NONNULL(1, 2);

/* runs.c. A new run at the end of the list, with a copy of the parameters.
 * Errors: BUSY (too many), NOMEM. */
tb_rc tb_co_add_run(tb_coordinator *co, const tb_run_params *params,
                    tb_err *err) TB_NONNULL(1, 2) TB_MUST_CHECK;
/* The run that lives under this id, or whose open round this is; or NULL. */
tb_run *tb_co_find_run(const tb_coordinator *co, const tb_run_id *id)
    TB_NONNULL(1, 2);
tb_run *tb_co_find_round(const tb_coordinator *co, const tb_hash *config)
    TB_NONNULL(1, 2);
/* The run that lives under this name of its model, or NULL. */
tb_run *tb_co_find_name(const tb_coordinator *co, const tb_name *name)
    TB_NONNULL(1, 2);
/* It has opened a round: all others have their turn before it. */
void tb_co_turn_over(tb_coordinator *co, tb_run *run) TB_NONNULL(1, 2);
/* Says which runs may open rounds: the oldest that are not paused. */
void tb_co_deal_turns(tb_coordinator *co) TB_NONNULL(1);
/* Its place in the queue, from 1; 0: it has its turn, or is paused. */
uint32_t tb_co_queued(const tb_coordinator *co, const tb_run *run)
    TB_NONNULL(1, 2);
/* Seats are about to be freed: nothing kept for a quick look may name one. */
void tb_co_forget_seats(tb_coordinator *co) TB_NONNULL(1);
/* Takes the runs that have ended out of the list and frees them. */
void tb_co_reap(tb_coordinator *co) TB_NONNULL(1);
void tb_co_free_runs(tb_coordinator *co) TB_NONNULL(1);

/* session.c */
void tb_co_message(tb_coordinator *co, const tb_event *event) TB_NONNULL(1, 2);
void tb_co_gone(tb_coordinator *co, tb_row *row) TB_NONNULL(1, 2);
/* Offers the round that the client sits in. */
void tb_co_offer(tb_coordinator *co, tb_row *row) TB_NONNULL(1, 2);
/* The longest that a client is told to wait. */
uint64_t tb_co_pace_max(const tb_coordinator *co) TB_NONNULL(1);
/* Sends WAIT to the client that checked in, when it got no offer. */
void tb_co_greet(tb_coordinator *co) TB_NONNULL(1);

/* ingest.c */
void tb_co_upload_begin(tb_coordinator *co, tb_row *row,
                        const tb_msg_upload_begin *msg) TB_NONNULL(1, 2, 3);
/* True when the payload is held; else the caller discards it. */
bool tb_co_block(tb_coordinator *co, tb_row *row, const tb_msg_block *msg,
                 uint64_t payload, size_t payload_bytes) TB_NONNULL(1, 2, 3);
/* The answer of the spool to a BEGIN: so many blocks, from the first one on,
 * need not be sent. */
void tb_co_upload_found(tb_coordinator *co, tb_seat *seat, uint32_t n_blocks)
    TB_NONNULL(1, 2);
void tb_co_upload_end(tb_coordinator *co, tb_row *row,
                      const tb_msg_upload_end *msg) TB_NONNULL(1, 2, 3);
/* Takes a verdict on an upload order; false when it is none of ours. */
bool tb_co_upload_verdict(tb_coordinator *co, const tb_verdict *verdict)
    TB_NONNULL(1, 2);
/* Orders what can be ordered in all runs, and grants what the pool has. */
void tb_co_pump(tb_coordinator *co) TB_NONNULL(1);
/* Whether this seat has made no progress for so long that a grant goes back. */
bool tb_co_stalled(const tb_coordinator *co, const tb_seat *seat)
    TB_NONNULL(1, 2);
/* Takes back what is granted and has not come. */
void tb_co_ungrant(tb_coordinator *co, tb_seat *seat) TB_NONNULL(1, 2);
/* Takes the client's accepted update out of the round that is open, for good.
 * Errors, in co->rc: NOT_FOUND, REFUSED (the round has closed). */
void tb_co_purge(tb_coordinator *co, const tb_name *client) TB_NONNULL(1, 2);
/* Marks an upload to be subtracted and forgotten. */
void tb_co_drop(tb_coordinator *co, tb_seat *seat) TB_NONNULL(1, 2);
/* Whether no upload order is out and no accepted update is missing. */
bool tb_co_quiet(tb_run *run) TB_NONNULL(1);

/* Whether an order of this kind is out for the upload. */
static inline bool tb_co_order_is(const tb_upload *upload, tb_order_kind kind)
{
    return upload->order != 0 && upload->order_kind == kind;
}

/* ingest.c: the upload is of no use any more. */
void tb_co_forget_upload(tb_upload *upload) TB_NONNULL(1);
/* Blocks from `keep` on are neither held nor granted any more. */
void tb_co_trim(tb_coordinator *co, tb_upload *upload, uint32_t keep)
    TB_NONNULL(1, 2);
/* The client's update was bad: it is out of its round. */
void tb_co_expel(tb_coordinator *co, tb_seat *seat, tb_msg_kind about,
                 tb_refusal code, const char *why) TB_NONNULL(1, 2, 5);
/* Grants what window and pool allow, and says so; true when it was more. */
bool tb_co_grant(tb_coordinator *co, tb_seat *seat) TB_NONNULL(1, 2);
/* Refuses what a client says of the round of its seat. */
void tb_co_refuse_seat(tb_coordinator *co, const tb_seat *seat,
                       tb_msg_kind about, tb_refusal code, const char *why)
    TB_NONNULL(1, 2, 5);
void tb_co_receipt(tb_coordinator *co, const tb_rec_accepted *of, uint64_t seq)
    TB_NONNULL(1, 2);

/* buffer.c. The asynchronous run that knows this configuration, or NULL. */
tb_run *tb_co_find_known(const tb_coordinator *co, const tb_hash *config)
    TB_NONNULL(1, 2);
/* What became of a client's update of a configuration; NULL: nothing yet. */
tb_taken *tb_co_taken(const tb_run *run, const tb_hash *config,
                      const tb_name *client) TB_NONNULL(1, 2, 3);
/* Room for one more. Errors: NOMEM. */
tb_rc tb_co_taken_reserve(tb_async *a, tb_err *err) TB_NONNULL(1) TB_MUST_CHECK;
/* Puts one more at the end, which has room and none of its client. */
void tb_co_taken_add(tb_async *a, const tb_taken *taken) TB_NONNULL(1, 2);
/* This one of them may want an order. */
void tb_co_taken_look(tb_async *a, const tb_taken *taken) TB_NONNULL(1, 2);
/* Many have changed, or gone: any of them may want an order. */
void tb_co_taken_recount(tb_async *a) TB_NONNULL(1);
/* The one that this order is out for, or NULL. */
tb_taken *tb_co_taken_by_order(tb_async *a, uint64_t order) TB_NONNULL(1);
/* Whether training goes on in buffers: the open round is one. */
bool tb_co_buffered(const tb_run *run) TB_NONNULL(1);
typedef enum tb_gate {
    TB_GATE_OPEN,
    TB_GATE_HELD, /* not now */
    TB_GATE_OVER  /* never again */
} tb_gate;
/* Whether an update can be accepted now, and for which training round. */
tb_gate tb_co_gate(const tb_run *run, uint32_t *round) TB_NONNULL(1, 2);
/* Accepts the whole update of a client in flight, refuses it as late, or leaves
 * it for another time. */
void tb_co_count(tb_coordinator *co, tb_seat *seat) TB_NONNULL(1, 2);
/* Orders what is missing in the open sum, and takes the verdicts; false: none
 * of ours. */
void tb_co_pump_buffer(tb_coordinator *co, tb_run *run) TB_NONNULL(1, 2);
bool tb_co_buffer_verdict(tb_coordinator *co, const tb_verdict *verdict)
    TB_NONNULL(1, 2);
/* Whether no such order is out and, unless doomed, nothing is missing. */
bool tb_co_buffer_quiet(const tb_run *run) TB_NONNULL(1);
/* What records do to it; errors leave all as it was. */
tb_rc tb_co_buffer_opened(tb_run *run, const tb_round_config *config,
                          const tb_hash *hash, tb_err *err)
    TB_NONNULL(1, 2, 3) TB_MUST_CHECK;
tb_rc tb_co_buffer_accepted(const tb_coordinator *co, tb_run *run,
                            const tb_rec_accepted *record, uint64_t seq,
                            tb_err *err) TB_NONNULL(1, 2, 3) TB_MUST_CHECK;
tb_rc tb_co_buffer_expelled(const tb_coordinator *co, tb_run *run,
                            const tb_rec_expelled *record, tb_err *err)
    TB_NONNULL(1, 2, 3) TB_MUST_CHECK;
tb_rc tb_co_buffer_purged(const tb_coordinator *co, tb_run *run,
                          const tb_rec_accepted *record, uint64_t seq,
                          tb_err *err) TB_NONNULL(1, 2, 3) TB_MUST_CHECK;
void tb_co_buffer_closed(tb_run *run) TB_NONNULL(1);
void tb_co_buffer_over(tb_coordinator *co, tb_run *run, bool committed)
    TB_NONNULL(1, 2);
tb_rc tb_co_buffer_left_over(const tb_coordinator *co,
                             const tb_rec_left_over *record, tb_err *err)
    TB_NONNULL(1, 2) TB_MUST_CHECK;
void tb_co_buffer_forgotten(tb_run *run) TB_NONNULL(1);
/* Whether this very update belongs into the open buffer. */
bool tb_co_buffer_counts(const tb_run *run, const tb_name *client,
                         const tb_hash *update) TB_NONNULL(1, 2, 3);
/* Journals that what a client has in the open buffer, or in the next one, is
 * taken out; false: it has nothing there. */
bool tb_co_buffer_purge(tb_coordinator *co, tb_run *run, const tb_name *client)
    TB_NONNULL(1, 2, 3);
/* Updates that wait for a buffer, or are in the open one. */
uint32_t tb_co_waiting(const tb_run *run) TB_NONNULL(1);
tb_async *tb_co_async_new(void);
void tb_co_async_free(tb_async **async) TB_NONNULL(1);

/* flight.c. Seats a client that trains for a configuration; NULL: no memory,
 * or it sits elsewhere. */
tb_seat *tb_co_fly(tb_coordinator *co, tb_run *run, tb_row *row,
                   const tb_hash *config) TB_NONNULL(1, 2, 3, 4);
/* Offers the open buffer to those who are ready, up to the target. */
void tb_co_launch(tb_coordinator *co, tb_run *run) TB_NONNULL(1, 2);
/* Counts that a client is not ready any more: of a run that is alone, nobody
 * else can fly for that. */
void tb_co_one_less(tb_coordinator *co) TB_NONNULL(1);
/* Clients from whom an update may still come while this buffer is open; and
 * whether there is one. */
uint32_t tb_co_airborne(const tb_coordinator *co, const tb_run *run)
    TB_NONNULL(1, 2);
bool tb_co_any_airborne(const tb_coordinator *co, tb_run *run) TB_NONNULL(1, 2);
/* A client in flight has nothing in hand any more. */
void tb_co_land(tb_coordinator *co, tb_seat *seat) TB_NONNULL(1, 2);
/* Lands who was lost, and whose configuration is too old now. */
void tb_co_land_lost(tb_coordinator *co, tb_run *run) TB_NONNULL(1, 2);
/* Takes away the seats of those who have landed. */
void tb_co_clear_flights(tb_coordinator *co, tb_run *run) TB_NONNULL(1, 2);
/* Lands all; true when no order is out for any of them. */
bool tb_co_ground(tb_coordinator *co, tb_run *run) TB_NONNULL(1, 2);

/* All that the run has may be ordered, or put off no longer. */
static inline void tb_co_look_all(tb_run *run)
{
    run->round.look_all = true;
    if (run->async != NULL) {
        run->async->look_all = true;
        run->async->look_from = 0;
    }
}

/* round.c. Moves every run as far as it can go now. */
void tb_co_advance(tb_coordinator *co) TB_NONNULL(1);
void tb_co_set_phase(tb_coordinator *co, tb_run *run, tb_phase next)
    TB_NONNULL(1, 2);
/* Decides to abandon the open round; the first reason stays. */
void tb_co_doom(tb_run *run, const char *why) TB_NONNULL(1, 2);
/* After a restart: the phases that the records lead to. */
void tb_co_resume(tb_coordinator *co) TB_NONNULL(1);
/* Clients of the cohort from whom an update may still come. */
uint32_t tb_co_hopeful(const tb_coordinator *co, const tb_run *run)
    TB_NONNULL(1, 2);

/* cohort.c. Whether a run that has its turn before this one waits for the
 * client. */
bool tb_co_claimed(const tb_coordinator *co, const tb_run *run,
                   const tb_row *row) TB_NONNULL(1, 2, 3);
/* Opens a round when enough clients are ready and free; true when it
 * did. Runs are asked in the order of their turns. */
bool tb_co_select(tb_coordinator *co, tb_run *run) TB_NONNULL(1, 2);
/* In words, for which clients it waits. */
void tb_co_waits_clients(const tb_coordinator *co, const tb_run *run,
                         char out[static TB_TEXT_BYTES]) TB_NONNULL(1, 2, 3);

/* round_orders.c: each gives one order of the round itself. */
void tb_co_order_sum(tb_coordinator *co, tb_run *run) TB_NONNULL(1, 2);
void tb_co_order_aggregate(tb_coordinator *co, tb_run *run) TB_NONNULL(1, 2);
void tb_co_order_evaluate(tb_coordinator *co, tb_run *run) TB_NONNULL(1, 2);
void tb_co_order_finish(tb_coordinator *co, tb_run *run) TB_NONNULL(1, 2);
/* Takes a verdict on such an order; false when it is none of them. */
bool tb_co_round_verdict(tb_coordinator *co, const tb_verdict *verdict)
    TB_NONNULL(1, 2);
/* Journals the end of a run. */
void tb_co_end_run(tb_coordinator *co, tb_run *run, tb_outcome outcome,
                   const char *why) TB_NONNULL(1, 2, 4);

/* waits.c */
static inline int64_t tb_co_later(int64_t now, uint64_t ms)
{
    return now + (int64_t)ms;
}
/* What time brings to open rounds: unused grants, the clock's rows. */
void tb_co_sweep(tb_coordinator *co) TB_NONNULL(1);
/* When the next sweep of a run that has just opened its sum is due. */
void tb_co_sweep_later(const tb_coordinator *co, tb_run *run) TB_NONNULL(1, 2);
/* Notes that the host lacks something, and when to try again. */
int64_t tb_co_lack(const tb_coordinator *co, tb_run *run,
                   const tb_verdict *verdict) TB_NONNULL(1, 2, 3);
/* In words, for what a run waits. */
void tb_co_waits(const tb_coordinator *co, const tb_run *run,
                 char out[static TB_TEXT_BYTES]) TB_NONNULL(1, 2, 3);
/* When to look again; INT64_MAX: not before another event. */
int64_t tb_co_due(const tb_coordinator *co) TB_NONNULL(1);

/* roundconfig.c: the configuration of the run's next exchange. */
tb_rc tb_co_configure(const tb_coordinator *co, const tb_run *run,
                      tb_round_config *out, tb_err *err)
    TB_NONNULL(1, 2, 3) TB_MUST_CHECK;
/* The model that will be published, as far as is known. */
const tb_model_ref *tb_co_chosen(const tb_run *run) TB_NONNULL(1);

#endif
