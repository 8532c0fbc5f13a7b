/* core/fed/client.h - the client as a pure machine: hello, check in, wait,
 * accept, fetch the model, train, upload with credit and resume, receipt, and
 * again. No thread, clock, file, socket or chance.
 *
 * The driver's duties:
 * - Connection: it opens the transport at CONNECT (again, when one fails or is
 *   open), and reports CONNECTED, and DISCONNECTED when it failed or broke: the
 *   machine closes it then, and says when to try again.
 * - It proves what came in: `genuine` of a MESSAGE is the verdict on the
 *   certificate of a WELCOME (against the pinned root) and on the signatures of
 *   OFFER and RECEIPT; true for all other kinds.
 * - It carries actions out in their order, each finished before the next
 *   (SAVE is durable before what follows it). WORK runs on a thread.
 * - MANIFEST, PREDICTION and their requests are the driver's own.
 * - It steps with a TICK at tb_client_next_ms. */
#ifndef TB_FED_CLIENT_H
#define TB_FED_CLIENT_H

#include "fed/fetch.h"
#include "wire/config.h"

#define TB_CLIENT_STATE_BYTES_MAX 1024u

typedef struct tb_client tb_client;

typedef struct tb_client_params {
    tb_name name;
    tb_hash federation;
    char software[TB_NAME_BYTES];
    uint32_t n_data_sets;
    tb_name data_sets[TB_DATA_SETS_MAX];
    tb_labels labels;        /* that HELLO reports */
    uint64_t answer_ms;      /* without an answer: say it again */
    uint64_t backoff_ms;     /* first pause before connecting again */
    uint64_t backoff_max_ms; /* pauses double up to this */
    uint64_t window_bytes;   /* of a download */
} tb_client_params;

/* Defaults of `software` and of the four numbers at the end. */
tb_client_params tb_client_defaults(void);

/* A sealed update as it lies on the client's disk. */
typedef struct tb_sealed {
    tb_upload_id upload;
    uint8_t header[TB_UPLOAD_HEADER_BYTES];
    uint32_t n_blocks;
    tb_hash update;
    uint8_t signature[TB_SIGNATURE_BYTES];
} tb_sealed;

typedef enum tb_cevent_kind {
    TB_CEV_TICK = 1,
    TB_CEV_CONNECTED,
    TB_CEV_DISCONNECTED,
    TB_CEV_MESSAGE,
    TB_CEV_FOUND,  /* answer to FIND: `have` bytes of the blob are held */
    TB_CEV_WORKED, /* answer to WORK */
    TB_CEV_LOST,   /* answer to BLOCK or at start: the sealed file is gone */
    TB_CEV_STOP,   /* say goodbye; the state stays */
    TB_CEV_KIND_END
} tb_cevent_kind;

typedef struct tb_cevent {
    tb_cevent_kind kind;
    const tb_msg *msg;    /* MESSAGE; borrowed */
    bool genuine;         /* MESSAGE */
    size_t payload_bytes; /* MESSAGE: of CHUNK */
    tb_hash config;       /* FOUND, WORKED: as in the action */
    uint64_t have;        /* FOUND */
    /* WORKED: OK; NOT_FOUND, MISMATCH, MALFORMED: the model's bytes are bad
     * (fetch them again); UNSUPPORTED, DENIED, REFUSED: decline; host's fault:
     * try again later. */
    tb_rc rc;
    tb_sealed sealed; /* WORKED, OK */
    const char *why;  /* WORKED, not OK; borrowed */
} tb_cevent;

typedef enum tb_caction_kind {
    TB_CACT_CONNECT = 1, /* open the connection (after a pause) */
    TB_CACT_CLOSE,       /* close it; no DISCONNECTED answers this */
    TB_CACT_SEND,        /* msg */
    TB_CACT_FIND, /* how many bytes of blob `model.stored` are here? -> FOUND */
    TB_CACT_STORE, /* append the payload of the CHUNK that this step was about
                    * to `blob` at `offset` */
    /* Check and unpack the model, do the round's task on the own data, encode
     * and seal the update, sync it to disk -> WORKED. `round` is borrowed until
     * the next step: copy it. */
    TB_CACT_WORK,
    TB_CACT_WORK_STOP, /* WORK is no longer wanted; a WORKED still comes */
    TB_CACT_BLOCK,     /* send BLOCK `index` of the sealed update `upload` */
    TB_CACT_SAVE,      /* write `bytes` durably as the machine's state */
    /* The round is over for this client. accepted: what training changed on the
     * client's side becomes permanent; else it is thrown away. Either way the
     * sealed file goes. */
    TB_CACT_SETTLE,
    TB_CACT_KIND_END
} tb_caction_kind;

typedef struct tb_caction {
    tb_caction_kind kind;
    tb_hash config; /* FIND, WORK, WORK_STOP, BLOCK, SETTLE */
    tb_msg *msg;    /* SEND; owned */
    tb_hash blob;   /* FIND, STORE */
    uint64_t offset;
    const tb_round_config *round;             /* WORK */
    tb_upload_id upload;                      /* BLOCK */
    uint32_t index;                           /* BLOCK */
    bool accepted;                            /* SETTLE */
    size_t n_bytes;                           /* SAVE */
    uint8_t bytes[TB_CLIENT_STATE_BYTES_MAX]; /* SAVE */
} tb_caction;

typedef struct tb_cactions {
    tb_caction *at; /* owned */
    size_t n, cap;
} tb_cactions;

/* Frees all actions; the list is empty again. */
void tb_cactions_release(tb_cactions *actions) TB_NONNULL(1);

/* A machine that goes on from saved state (NULL, 0: none). Errors: MALFORMED
 * (the state; says which file to remove), USAGE, NOMEM. */
tb_rc tb_client_new(tb_client **out, const tb_client_params *params,
                    const uint8_t *state, size_t n_state, tb_err *err)
    TB_NONNULL(1, 2) TB_MUST_CHECK;

/* What a client's saved state says of its coordinator. */
typedef struct tb_client_past {
    tb_msg_receipt receipt; /* the last one; sequence 0: none */
    uint32_t epoch;
    uint8_t epoch_id[TB_EPOCH_ID_BYTES];
} tb_client_past;

/* Reads it. On failure *out is unchanged. Errors: MALFORMED, UNSUPPORTED. */
tb_rc tb_client_past_read(tb_client_past *out, const uint8_t *state,
                          size_t n_state, tb_err *err)
    TB_NONNULL(1, 2) TB_MUST_CHECK;

/* Frees and nulls. NULL is fine. */
void tb_client_free(tb_client **client) TB_NONNULL(1);

/* Takes one event; the first may be a TICK, which connects. A bad message is
 * counted, never an error. Errors: NOMEM, BUG. */
tb_rc tb_client_step(tb_client *client, const tb_cevent *event, int64_t now_ms,
                     tb_cactions *out, tb_err *err)
    TB_NONNULL(1, 2, 4) TB_MUST_CHECK;

/* When to step next with a TICK; INT64_MAX: not before another event. */
int64_t tb_client_next_ms(const tb_client *client) TB_NONNULL(1);

/* The round whose sealed update the machine still needs, or false: any other
 * such file is left over from a crash. */
bool tb_client_sealed(const tb_client *client, tb_hash *config)
    TB_NONNULL(1, 2);

typedef enum tb_cphase {
    TB_CPHASE_OFFLINE,
    TB_CPHASE_HELLO,    /* connected, waits for WELCOME */
    TB_CPHASE_CHECKING, /* waits for WAIT or OFFER */
    TB_CPHASE_WAITING,  /* told to wait */
    TB_CPHASE_FETCHING,
    TB_CPHASE_WORKING,
    TB_CPHASE_BEGINNING, /* waits for the first CREDIT */
    TB_CPHASE_UPLOADING,
    TB_CPHASE_ENDING, /* waits for RECEIPT */
    TB_CPHASE_STOPPED,
    TB_CPHASE_COUNT
} tb_cphase;

/* A short stable name such as "training". */
const char *tb_cphase_name(tb_cphase phase);

typedef struct tb_client_status {
    tb_cphase phase;
    bool connected;
    uint32_t round; /* 0: none */
    tb_run_id run;
    uint64_t n_receipts; /* updates that count, over the machine's life */
    uint64_t n_refused;
    uint64_t blocks_sent;
    tb_refusal last_refusal;      /* 0: none, or last_why is of this machine */
    char last_why[TB_TEXT_BYTES]; /* "": nothing went wrong */
    uint32_t epoch; /* of the coordinator: how often it was restored */
    char epoch_note[TB_TEXT_BYTES]; /* what its last restore meant; "": none */
} tb_client_status;

/* A copy of what the machine counts. */
void tb_client_status_get(const tb_client *client, tb_client_status *out)
    TB_NONNULL(1, 2);

#endif
