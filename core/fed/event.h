/* core/fed/event.h - what goes into and comes out of the coordinator machine.
 * Payload never enters: the driver keeps each payload frame under a handle of
 * its own, and the machine names handles.
 *
 * The driver's duties:
 * - Carry actions out in their order. An action with after_seq != 0 waits until
 *   journal row after_seq is durable (later actions that wait for less may
 *   overtake it, but not actions to the same client).
 * - Complete what the machine cannot know before it sends: OFFER (config and
 *   signature: tb_coordinator_round; drop the OFFER when the hash in
 *   action.config is of no open round), RECEIPT (head = chain hash of
 *   row `sequence`; signature), WELCOME (certificate).
 * - Run orders on any thread; hand each verdict back once, as an event. Orders
 *   that are out at the same time may run side by side.
 * - Call tb_coordinator_step with a TICK at tb_coordinator_next_ms. */
#ifndef TB_FED_EVENT_H
#define TB_FED_EVENT_H

#include "fed/record.h"

/* One upload of one client, as orders name it. */
typedef struct tb_upload_ref {
    uint64_t key;   /* unique while the process lives, never 0 */
    tb_hash config; /* hash of the round's configuration */
    tb_name client;
    tb_upload_id upload;
    /* Zero for ADD_STORED and DROP_STORED: it lies in the spool. */
    uint8_t header[TB_UPLOAD_HEADER_BYTES];
    uint32_t n_blocks;
} tb_upload_ref;

typedef enum tb_order_kind {
    /* An empty sum for the open round (and, after a restart, the run's key).
     * upload.config names it, as in all orders of a round. Verdict: rc. */
    TB_ORDER_OPEN_ROUND = 1,
    /* How many blocks, from the first one on, lie whole in the spool under this
     * very upload: id, client, header and n_blocks are the same. What a restart
     * has left of it. Verdict: rc, n_blocks. */
    TB_ORDER_FIND_BLOCKS,
    /* Append sealed block `index` (payload) to the spool under the upload; or
     * read it there (payload 0: FIND_BLOCKS found it). Feed the update's hash;
     * open it; block 0: read the number of samples; else decode and add it with
     * order.weight (deferred: check it only). Blocks of an upload come in order
     * from 0 and one at a time; index 0 starts it anew, whatever the spool has
     * of it. Verdict: rc, weight (index 0: samples), refusal (SEAL, VALUES,
     * WEIGHT, SIZE, HASH). The order owns the payload, also when it fails. */
    TB_ORDER_ADD_BLOCK,
    /* Compare the hash of header and blocks with `update`, check the client's
     * signature of it, count the update (with order.weight and full; deferred:
     * not yet), sync the spool. Verdict: rc, refusal (HASH, IDENTITY). After a
     * refusal nothing is counted. */
    TB_ORDER_END_UPLOAD,
    /* Subtract blocks 1 .. index-1 (read back from the spool) with
     * order.weight (deferred: nothing) and forget the upload. Verdict: rc. */
    TB_ORDER_DROP_UPLOAD,
    /* Read an accepted update from the spool, compare its hash with `update`,
     * add all of it with order.weight to the sum of round `into`, and count it.
     * After a restart; and how every update of an asynchronous run is added.
     * Verdict: rc, weight (samples). */
    TB_ORDER_ADD_STORED,
    /* Subtract all of an accepted update (read back from the spool) with
     * order.weight and take back its count. Verdict: rc. */
    TB_ORDER_DROP_STORED,
    /* The sum becomes a result, durable in the blob store. TRAIN: strategy over
     * `model` -> new model (masked: zeros kept; gradual pruning of the round);
     * metrics.train_loss. EVALUATE: metrics only. CALIBRATE: the ranges as a
     * blob. Verdict: rc, result, metrics. */
    TB_ORDER_AGGREGATE,
    /* Measure `model` on the coordinator's file. Verdict: rc, metrics. */
    TB_ORDER_EVALUATE,
    /* Compress, guard, sign and register `model` as version `sequence`;
     * `ranges` come from the calibration round (zero: none). Verdict: rc
     * (REFUSED: the guard), version (manifest hash), why. */
    TB_ORDER_FINISH,
    TB_ORDER_KIND_END
} tb_order_kind;

typedef struct tb_order {
    uint64_t id; /* unique while the process lives */
    tb_order_kind kind;
    tb_run_id run;
    tb_upload_ref upload; /* of the upload orders; config: of all that are
                           * about a round */
    uint32_t index;       /* ADD_BLOCK: which; DROP_UPLOAD: blocks to undo */
    uint32_t weight;      /* in the sum */
    uint32_t full;        /* END_UPLOAD, ADD_STORED: what the mean divides by */
    bool deferred;        /* of the upload orders but the STORED ones: the sum
                           * is left alone, since it is not known yet which */
    tb_hash into;         /* ADD_, DROP_STORED: hash of the configuration */
    uint64_t payload;     /* ADD_BLOCK: handle; 0: it lies in the spool */
    size_t payload_bytes; /* ADD_BLOCK: its length, checked */
    tb_hash update;       /* END_UPLOAD, ADD_STORED */
    uint8_t signature[TB_SIGNATURE_BYTES]; /* END_UPLOAD */
    uint32_t round;                        /* AGGREGATE, EVALUATE, FINISH */
    tb_task task;                          /* AGGREGATE */
    tb_model_ref model;                    /* AGGREGATE, EVALUATE, FINISH */
    tb_model_ref ranges;                   /* FINISH */
    tb_metrics metrics;                    /* FINISH: of the model */
    uint64_t sequence;                     /* FINISH */
    uint32_t epoch;                        /* FINISH */
} tb_order;

/* What came of an order. rc: OK; FULL, NOMEM, BUSY, TIMEOUT: the host lacks
 * something now, the machine waits and orders again; anything else: it failed
 * (an upload order with `refusal` set: by the client's fault). */
typedef struct tb_verdict {
    uint64_t order; /* id */
    tb_rc rc;
    tb_refusal refusal; /* 0: none */
    uint32_t weight;
    uint32_t n_blocks; /* FIND_BLOCKS */
    tb_model_ref result;
    tb_metrics metrics;
    tb_hash manifest;        /* FINISH */
    char why[TB_TEXT_BYTES]; /* when rc is not OK */
} tb_verdict;

typedef enum tb_event_kind {
    TB_EV_TICK = 1,
    TB_EV_MESSAGE, /* from an enrolled client: its key was checked */
    TB_EV_GONE,    /* the client's connection is lost */
    TB_EV_VERDICT,
    TB_EV_START,  /* a new run; refused while one of its name lives */
    TB_EV_CANCEL, /* end `run`: why */
    TB_EV_PAUSE,  /* no new round of `run`: why, since unix_s */
    TB_EV_RESUME, /* `run` goes on */
    TB_EV_PURGE,  /* take the update of `client` out of its open round */
    /* A fact from outside to be journalled: INVITED, ENROLLED, ROTATED,
     * REVOKED, LABELLED,
     * COORDINATOR_KEY or VERSION. The JOURNAL action tells its sequence. */
    TB_EV_RECORD,
    TB_EV_KIND_END
} tb_event_kind;

typedef struct tb_event {
    tb_event_kind kind;
    tb_name client;              /* MESSAGE, GONE, PURGE */
    const tb_msg *msg;           /* MESSAGE; borrowed. The driver itself serves
                           * MODEL_GET, PREDICT and ENROL */
    uint64_t payload;            /* MESSAGE: handle; 0: no payload */
    size_t payload_bytes;        /* MESSAGE */
    const tb_verdict *verdict;   /* VERDICT; borrowed */
    const tb_run_params *params; /* START; borrowed */
    const tb_record *record;     /* RECORD; borrowed */
    tb_run_id run;               /* CANCEL, PAUSE, RESUME */
    const char *why;             /* CANCEL, PAUSE; borrowed; NULL: none */
    uint64_t unix_s;             /* PAUSE: now, by the calendar */
} tb_event;

typedef enum tb_action_kind {
    TB_ACT_JOURNAL = 1, /* append `record` as row `seq`: rows come in order */
    TB_ACT_SEND,        /* msg to client */
    TB_ACT_CHUNK,   /* read `length` bytes of `blob` at `offset`, send CHUNK, or
                     * REFUSE NOT_FOUND */
    TB_ACT_ORDER,   /* run `order` */
    TB_ACT_DISCARD, /* free `payload` */
    TB_ACT_FORGET,  /* the round `config` is over: free its sum, delete its
                     * spool */
    TB_ACT_SUMMED,  /* its sum is not wanted any more; its spool still is */
    TB_ACT_CUT,     /* close the client's connection */
    TB_ACT_RUN_ENDED, /* destroy the run's key; `run` */
    TB_ACT_KIND_END
} tb_action_kind;

typedef struct tb_action {
    tb_action_kind kind;
    uint64_t after_seq; /* durable first; 0: at once */
    tb_name client;     /* SEND, CHUNK, CUT */
    union {
        struct {
            uint64_t seq;
            tb_record_kind kind;
            tb_buf body; /* owned */
        } journal;
        tb_msg *msg; /* SEND; owned */
        struct {
            tb_hash blob;
            uint64_t offset;
            uint32_t length;
        } chunk;
        tb_order *order;  /* owned */
        uint64_t payload; /* DISCARD */
        tb_run_id run;    /* RUN_ENDED, FORGET, SUMMED: whose */
    } u;
    tb_hash config; /* FORGET, SUMMED; SEND of an OFFER */
} tb_action;

/* A list that a step appends to. Start with zeros. */
typedef struct tb_actions {
    tb_action *at; /* owned */
    size_t n, cap;
} tb_actions;

/* Frees all actions that are left; the list is empty again. */
void tb_actions_release(tb_actions *actions) TB_NONNULL(1);

/* Takes what a single action owns (msg, order, body), so that the driver can
 * keep it; *action is zeroed in the list. */
void tb_action_take(tb_action *out, tb_action *from) TB_NONNULL(1, 2);

/* Frees what one action owns. */
void tb_action_release(tb_action *action) TB_NONNULL(1);

/* A short stable name of what is ordered. */
const char *tb_order_kind_name(tb_order_kind kind);

#endif
