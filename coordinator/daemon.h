/* coordinator/daemon.h - the daemon's parts, for the files that make it up. One
 * thread (the driver) owns all of it; orders run on the pool with what they
 * were given and report through the inbox. */
#ifndef TB_COORDINATOR_DAEMON_H
#define TB_COORDINATOR_DAEMON_H

#include "base/mailbox.h"
#include "base/pool.h"
#include "host/control.h"
#include "host/json.h"
#include "host/notify.h"
#include "host/transport.h"
#include "keys.h"
#include "live.h"
#include "meters.h"
#include "serve.h"
#include "settings.h"
#include "state.h"
#include "work/intake.h"

#define TB_WATCHERS_MAX 12 /* further callers of the control socket get in */
#define TB_PAYLOADS_MAX 4096

/* A round whose updates come together. */
typedef struct tb_open_round {
    struct tb_open_round *next;
    tb_hash config; /* hash of its configuration */
    tb_intake *intake;
    uint32_t users; /* orders that work with it */
    bool forgotten; /* no longer in the daemon's list: the last user frees it */
} tb_open_round;

struct tb_daemon;

/* Work that a thread of the pool does for the driver: what becomes of it when
 * it is back, or when nobody waits for it any more. */
typedef struct tb_errand {
    tb_letter letter; /* first: the mailbox gives it back as this */
    tb_rc (*back)(struct tb_daemon *d, struct tb_errand *errand, tb_err *err);
    void (*drop)(struct tb_errand *errand);
} tb_errand;

/* Who watches which run. */
typedef struct tb_watcher {
    uint64_t id; /* control connection, or one that was; 0: free */
    tb_run_id run;
    size_t told; /* lines */
} tb_watcher;

/* A payload frame that the machine knows by its handle. */
typedef struct tb_payload {
    uint64_t handle; /* 0: free slot */
    tb_inbound *in;
} tb_payload;

typedef struct tb_daemon {
    tb_settings *source;                /* of the settings, to read again */
    const tb_daemon_settings *settings; /* LIVE ones change at SIGHUP */
    tb_notify notify;
    int64_t told_ms; /* when the service manager heard of our state */
    int64_t started_s;
    tb_meters meters;
    tb_state state;
    tb_keys keys;
    tb_transport *net;
    char endpoint[TB_ENDPOINT_BYTES];       /* as clients are told */
    char enrol_endpoint[TB_ENDPOINT_BYTES]; /* as invites name it */
    tb_control *control;
    tb_pool *pool;
    tb_mailbox *mailbox;   /* verdicts of orders */
    tb_serve *serve;       /* prediction worker */
    tb_live *lives;        /* runs, in order of start */
    tb_open_round *rounds; /* the open ones, and those not yet forgotten */
    tb_payload payloads[TB_PAYLOADS_MAX];
    uint64_t next_payload;
    tb_shared *offer;      /* envelope of the newest offer; NULL: none yet */
    tb_hash offer_of;      /* the round that it is of */
    tb_actions actions;    /* not yet carried out, oldest first */
    uint64_t durable_seq;  /* last row of the store */
    size_t pair;           /* of doors, under the keys of now */
    struct {               /* a change of the coordinator's own keys */
        tb_sign_key *sign; /* offered, not yet ours; owned */
        tb_box_key *curve; /* the same */
        uint8_t bytes[TB_MOVE_BYTES_MAX]; /* what clients are told */
        size_t n_bytes;                   /* 0: nothing */
        uint64_t until_s;                 /* the old doors; 0: closed */
    } move;
    int64_t keys_look_ms; /* next look for keys whose time is over */
    bool stalled;         /* the last append failed for want of room */
    int64_t retry_ms;     /* when to try it again */
    tb_watcher watchers[TB_WATCHERS_MAX];
    uint32_t n_starting; /* jobs whose data and model are being read */
    bool
        broken; /* a step of the machine failed: the journal must be replayed */
    bool collect_due;   /* a row may have let files go */
    bool leftovers_due; /* and the whole folder is worth a look */
    bool stopping;
} tb_daemon;

/* --- driver.c: events in, actions out ------------------------------------- */

/* Steps the machine with one event. Errors: those of the machine. */
tb_rc tb_daemon_event(tb_daemon *d, const tb_event *event, tb_err *err)
    TB_NONNULL(1, 2) TB_MUST_CHECK;

/* Makes rows durable and carries out every action that may go. Errors: what the
 * daemon cannot go on after. */
tb_rc tb_daemon_flush(tb_daemon *d, tb_err *err) TB_NONNULL(1) TB_MUST_CHECK;

/* Sends a message, with payload_bytes of payload (may be NULL) from offset. A
 * client that is gone or does not read is no error. */
typedef struct tb_part {
    tb_shared *bytes;
    size_t offset;
    size_t len;
} tb_part;
void tb_daemon_send(tb_daemon *d, const tb_name *client, const tb_msg *msg,
                    const tb_part *payload) TB_NONNULL(1, 2, 3);

/* Ends the connection of a client that breaks the rules of talking, and logs
 * why; not again for what still comes of it. */
void tb_daemon_cut(tb_daemon *d, const tb_name *client, const char *why)
    TB_NONNULL(1, 2, 3);

/* The run is over: destroys its key and spool, or marks that they are kept. */
void tb_daemon_settle(tb_daemon *d, const tb_run_id *run) TB_NONNULL(1, 2);

/* Refuses a request that the machine does not see. */
void tb_daemon_refuse(tb_daemon *d, const tb_name *client, tb_msg_kind about,
                      tb_refusal code, const char *why) TB_NONNULL(1, 2, 5);

/* The open round of this configuration hash, or NULL. */
tb_open_round *tb_daemon_round(tb_daemon *d, const tb_hash *config)
    TB_NONNULL(1, 2);

/* The payload behind a handle, which the caller then owns; NULL: unknown. */
tb_inbound *tb_daemon_take_payload(tb_daemon *d, uint64_t handle) TB_NONNULL(1);

/* --- orders.c, lives.c ---------------------------------------------------- */

/* Runs an order (taken) on the pool. Its verdict comes through the mailbox.
 * Errors: NOMEM. */
tb_rc tb_daemon_order(tb_daemon *d, tb_order **order_take, tb_err *err)
    TB_NONNULL(1, 2) TB_MUST_CHECK;

/* Takes one errand that is back: an order steps the machine with its verdict
 * and frees what it held. false: there was none. Errors: as tb_daemon_event. */
tb_rc tb_daemon_verdict(tb_daemon *d, bool *took, tb_err *err)
    TB_NONNULL(1, 2) TB_MUST_CHECK;

/* Frees what errands held that nobody waits for any more: for the end, when
 * none is out. */
void tb_daemon_drop_verdicts(tb_daemon *d) TB_NONNULL(1);

/* The round, or the run, is over: frees it when its last order is back. */
void tb_daemon_forget(tb_daemon *d, const tb_hash *config) TB_NONNULL(1, 2);
/* Frees the round's sum: it is in a model now, or abandoned. */
void tb_daemon_summed(tb_daemon *d, const tb_hash *config) TB_NONNULL(1, 2);
void tb_daemon_end_run(tb_daemon *d, const tb_run_id *run) TB_NONNULL(1, 2);

/* Puts a run (taken) at the end of the list of those that live. */
void tb_daemon_add_live(tb_daemon *d, tb_live **live_take) TB_NONNULL(1, 2);

/* The run that lives under this id, or NULL. */
tb_live *tb_daemon_live(const tb_daemon *d, const tb_run_id *run)
    TB_NONNULL(1, 2);

/* --- inbound.c, listen.c -------------------------------------------------- */

/* Takes one event of the transport; *in_take is nulled when its payload is
 * kept. Errors: as tb_daemon_event, tb_daemon_enrol; IO (the net failed). */
tb_rc tb_daemon_inbound(tb_daemon *d, tb_inbound **in_take, tb_err *err)
    TB_NONNULL(1, 2) TB_MUST_CHECK;

/* Binds both listeners and remembers where: as asked or, where a port was left
 * open, where the last start was. Errors: as tb_transport_start, USAGE, IO. */
tb_rc tb_daemon_listen(tb_daemon *d, tb_err *err) TB_NONNULL(1) TB_MUST_CHECK;

/* Both advertised endpoints of the pair of now, and the advertised form of one
 * that was bound. Errors: USAGE. */
tb_rc tb_daemon_advertise(tb_daemon *d, tb_err *err)
    TB_NONNULL(1) TB_MUST_CHECK;
tb_rc tb_daemon_advertised(const tb_daemon *d, const char *bound,
                           char out[static TB_ENDPOINT_BYTES], tb_err *err)
    TB_NONNULL(1, 2) TB_MUST_CHECK;

/* Writes down where the doors are bound from now on, for the next start.
 * Errors: FULL, IO. */
tb_rc tb_daemon_remember_doors(const tb_daemon *d, const char *listen,
                               const char *enrol, tb_err *err)
    TB_NONNULL(1, 2, 3) TB_MUST_CHECK;

/* --- enrol.c, requests.c -------------------------------------------------- */

/* Answers a stranger at the enrolment door. Errors: as tb_daemon_flush. */
tb_rc tb_daemon_enrol(tb_daemon *d, const tb_inbound *in, tb_err *err)
    TB_NONNULL(1, 2) TB_MUST_CHECK;

/* Answers one request of the command line. Errors: as tb_daemon_flush; what is
 * wrong with the request is answered. */
tb_rc tb_daemon_request(tb_daemon *d, tb_control_request *request, tb_err *err)
    TB_NONNULL(1, 2) TB_MUST_CHECK;

/* Answers a request: rc and, on TB_OK, the value (taken), else why's text. */
void tb_daemon_answer(tb_daemon *d, uint64_t id, tb_rc rc, tb_json **value_take,
                      const tb_err *why) TB_NONNULL(1);

/* Why what was asked for is not durable yet. what: "the run begins". Returns
 * FULL. */
tb_rc tb_daemon_say_full(tb_err *why, const char *what) TB_NONNULL(1, 2);

/* The same of a good value, with more to come. */
void tb_daemon_tell(tb_daemon *d, uint64_t id, tb_json **value_take)
    TB_NONNULL(1, 3);

/* Answers what failed in a request. Errors: rc, when the daemon cannot go on
 * after it. */
tb_rc tb_daemon_answer_failed(tb_daemon *d, uint64_t id, tb_rc rc,
                              const tb_err *why, tb_err *err)
    TB_NONNULL(1, 4) TB_MUST_CHECK;

/* Tells the watchers what is new in the history. */
void tb_daemon_tell_watchers(tb_daemon *d) TB_NONNULL(1);

/* --- collect.c ------------------------------------------------------------ */

/* What a durable row says of blobs. */
void tb_daemon_note_blobs(tb_daemon *d, const tb_record *record)
    TB_NONNULL(1, 2);

/* No row will name what the last order of the run put: the next collection
 * takes it. Nothing put: nothing is done. */
void tb_daemon_let_go(tb_daemon *d, tb_live *live) TB_NONNULL(1, 2);

/* The same of one blob. */
void tb_daemon_let_blob_go(tb_daemon *d, const tb_hash *raw) TB_NONNULL(1, 2);

/* Collects when rows gave reason to. Errors: as tb_daemon_flush. */
tb_rc tb_daemon_collect(tb_daemon *d, tb_err *err) TB_NONNULL(1) TB_MUST_CHECK;

/* Answers the request of that name. Errors: as tb_daemon_flush. */
tb_rc tb_daemon_gc(tb_daemon *d, const tb_control_request *r, tb_err *err)
    TB_NONNULL(1, 2) TB_MUST_CHECK;

/* --- metrics.c ------------------------------------------------------------ */

/* Appends the page of metrics. Errors: LIMIT, NOMEM. */
tb_rc tb_daemon_metrics(const tb_daemon *d, tb_buf *out, tb_err *err)
    TB_NONNULL(1, 2) TB_MUST_CHECK;

/* Listens for scrapers, when the settings say where, and prints it. Errors: as
 * tb_http_open. */
tb_rc tb_daemon_open_metrics(tb_daemon *d, tb_err *err)
    TB_NONNULL(1) TB_MUST_CHECK;

/* --- checkpoints.c, stop.c ------------------------------------------------ */

/* Seals the sum of each open round; no order may be out. */
void tb_daemon_seal(tb_daemon *d, int64_t deadline_ms) TB_NONNULL(1);

/* Fills the empty sum of a round from its checkpoint, where that fits; says in
 * the log what came of it. */
void tb_daemon_unseal(tb_daemon *d, tb_open_round *round) TB_NONNULL(1, 2);

/* The round is over: its checkpoint goes. */
void tb_daemon_drop_checkpoint(tb_daemon *d, const tb_hash *config)
    TB_NONNULL(1, 2);

/* At the start: deletes checkpoints of rounds that are not open. */
void tb_daemon_sweep_checkpoints(tb_daemon *d) TB_NONNULL(1);

/* After the last turn of the loop, before all is closed. Errors: as
 * tb_daemon_flush. */
tb_rc tb_daemon_wind_down(tb_daemon *d, tb_err *err)
    TB_NONNULL(1) TB_MUST_CHECK;

/* --- start.c, jobs.c ------------------------------------------------------ */

/* Begins a start: reads what the job needs on the pool, and answers when it is
 * queued or running. Takes the attachments. Errors: as tb_daemon_request. */
tb_rc tb_daemon_start(tb_daemon *d, tb_control_request *request, tb_err *err)
    TB_NONNULL(1, 2) TB_MUST_CHECK;

/* Pauses, resumes or cancels the run that the request names: answered when its
 * row is durable. Errors: as tb_daemon_request. */
tb_rc tb_daemon_pause(tb_daemon *d, const tb_control_request *r, tb_err *err)
    TB_NONNULL(1, 2) TB_MUST_CHECK;
tb_rc tb_daemon_resume(tb_daemon *d, const tb_control_request *r, tb_err *err)
    TB_NONNULL(1, 2) TB_MUST_CHECK;
tb_rc tb_daemon_cancel(tb_daemon *d, const tb_control_request *r, tb_err *err)
    TB_NONNULL(1, 2) TB_MUST_CHECK;

/* Streams the rounds of a run. Errors: as tb_daemon_request. */
tb_rc tb_daemon_watch(tb_daemon *d, const tb_control_request *r, tb_err *err)
    TB_NONNULL(1, 2) TB_MUST_CHECK;

/* --- reload.c ------------------------------------------------------------- */

/* Reads the settings again, opens the log file again, and says what came of
 * it. */
void tb_daemon_reload(tb_daemon *d) TB_NONNULL(1);

/* --- rotate.c: new keys of members ---------------------------------------- */

/* Lets a member in, under all keys that are good now. Errors: as
 * tb_transport_allow. */
tb_rc tb_daemon_admit(tb_daemon *d, const tb_member *m, tb_err *err)
    TB_NONNULL(1, 2) TB_MUST_CHECK;

/* Answers ROTATE. Errors: as tb_daemon_flush. */
tb_rc tb_daemon_rotate(tb_daemon *d, const tb_name *client,
                       const tb_msg_rotate *msg, tb_err *err)
    TB_NONNULL(1, 2, 3) TB_MUST_CHECK;

/* Notes under which key a HELLO came. Errors: as tb_daemon_event. */
tb_rc tb_daemon_seen_key(tb_daemon *d, const tb_inbound *in, tb_err *err)
    TB_NONNULL(1, 2) TB_MUST_CHECK;

/* The row is durable. Errors: as tb_transport_rotate. */
tb_rc tb_daemon_note_rotated(tb_daemon *d, const tb_rec_rotated *r, tb_err *err)
    TB_NONNULL(1, 2) TB_MUST_CHECK;

/* Refuses old keys whose time is over; looks once a minute. */
void tb_daemon_expire_keys(tb_daemon *d) TB_NONNULL(1);

/* The key of the member that signed this update, if any that counts did. */
const uint8_t *tb_daemon_signer(const tb_member *m, const tb_order *order)
    TB_NONNULL(1, 2);

/* --- move.c: the coordinator's own new keys ------------------------------- */

/* At the start: opens both pairs of doors again, if a change is open. Errors:
 * as tb_keys_read_next, tb_transport_open_pair. */
tb_rc tb_daemon_take_up_move(tb_daemon *d, tb_err *err)
    TB_NONNULL(1) TB_MUST_CHECK;

/* Brings keys, certificate and doors in the folder to those of a finished
 * change, unless they are. Errors: FULL, IO, MALFORMED. */
tb_rc tb_daemon_settle_move(tb_daemon *d, const tb_rec_coordinator_key *r,
                            tb_err *err) TB_NONNULL(1, 2) TB_MUST_CHECK;

/* Tells a client where the coordinator is to be found, if that is news. */
void tb_daemon_tell_move(tb_daemon *d, const tb_name *client) TB_NONNULL(1, 2);

/* The row is durable. Errors: IO. */
tb_rc tb_daemon_note_move(tb_daemon *d, const tb_rec_coordinator_key *r,
                          tb_err *err) TB_NONNULL(1, 2) TB_MUST_CHECK;

/* Closes the old doors when their time is over. Errors: as tb_daemon_event. */
tb_rc tb_daemon_expire_doors(tb_daemon *d, tb_err *err)
    TB_NONNULL(1) TB_MUST_CHECK;

/* Each answers one request. Errors: as tb_daemon_request. */
tb_rc tb_daemon_offer_keys(tb_daemon *d, const tb_control_request *r,
                           tb_err *err) TB_NONNULL(1, 2) TB_MUST_CHECK;
tb_rc tb_daemon_commit_keys(tb_daemon *d, const tb_control_request *r,
                            tb_err *err) TB_NONNULL(1, 2) TB_MUST_CHECK;
tb_rc tb_daemon_finish_keys(tb_daemon *d, const tb_control_request *r,
                            tb_err *err) TB_NONNULL(1, 2) TB_MUST_CHECK;

/* --- members.c: requests about members ------------------------------------ */

/* Journals a record from outside and answers {key: text} once its row is
 * durable. Errors: as tb_daemon_flush. */
tb_rc tb_daemon_record(tb_daemon *d, uint64_t id, const tb_record *record,
                       const char *key, const char *text, tb_err *err)
    TB_NONNULL(1, 3, 4, 5) TB_MUST_CHECK;

/* Each answers one request. Errors: as tb_daemon_request. */
tb_rc tb_daemon_invite(tb_daemon *d, const tb_control_request *r, tb_err *err)
    TB_NONNULL(1, 2) TB_MUST_CHECK;
tb_rc tb_daemon_label(tb_daemon *d, const tb_control_request *r, tb_err *err)
    TB_NONNULL(1, 2) TB_MUST_CHECK;
tb_rc tb_daemon_import(tb_daemon *d, const tb_control_request *r, tb_err *err)
    TB_NONNULL(1, 2) TB_MUST_CHECK;
tb_rc tb_daemon_revoke(tb_daemon *d, const tb_control_request *r, tb_err *err)
    TB_NONNULL(1, 2) TB_MUST_CHECK;

/* --- daemon.c ------------------------------------------------------------- */

/* Opens everything in the settings' folder, serves until SIGTERM or SIGINT, and
 * closes it. settings: of tb_daemon_table. Errors: what it could not go on
 * after. */
tb_rc tb_daemon_run(tb_settings *settings, tb_err *err)
    TB_NONNULL(1) TB_MUST_CHECK;

#endif
