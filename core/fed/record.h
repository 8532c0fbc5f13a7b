/* core/fed/record.h - the rows of the journal: plain structs <-> bytes. What
 * the coordinator knows is exactly what its records say in order; the store
 * (core/host) numbers the rows from 1 and chains their hashes.
 *
 * A body is: version u8 = 1, then the fields of its kind in the order of the
 * struct, little-endian; texts as length u32 and bytes; a float as its bits. */
#ifndef TB_FED_RECORD_H
#define TB_FED_RECORD_H

#include "base/buf.h"
#include "fed/run.h"
#include "wire/labels.h"
#include "wire/msg.h"

#define TB_RECORD_BYTES_MAX (8u << 20)

typedef enum tb_record_kind {
    TB_REC_INVITED = 1,
    TB_REC_ENROLLED,
    TB_REC_REVOKED,
    TB_REC_RUN_STARTED,
    TB_REC_ROUND_OPENED,
    TB_REC_CLOCK,
    TB_REC_ACCEPTED,
    TB_REC_EXPELLED,
    TB_REC_CLOSED,
    TB_REC_COMMITTED,
    TB_REC_ABANDONED,
    TB_REC_VERSION,
    TB_REC_RUN_ENDED,
    TB_REC_RUN_PAUSED = 14,
    TB_REC_RUN_RESUMED = 15,
    TB_REC_RUN_CANCELLED = 16,
    TB_REC_LEFT_OVER = 17,
    TB_REC_RESTORED = 18,
    TB_REC_ROTATED = 19,
    TB_REC_COORDINATOR_KEY = 20,
    TB_REC_PURGED = 21,
    TB_REC_LABELLED = 22,
    TB_REC_SWEPT = 24,
    TB_REC_KIND_END
} tb_record_kind;

typedef struct tb_rec_invited {
    uint8_t invite[16];
    uint8_t public_key[32]; /* of the invite; its secret is not kept */
    tb_name client;
    uint64_t expires_s; /* unix seconds */
    tb_labels labels;   /* that its client will have */
} tb_rec_invited;

typedef struct tb_rec_enrolled {
    uint8_t invite[16]; /* zeros: none, taken over from another coordinator */
    tb_name client;
    uint8_t sign_key[TB_SIGN_PUBLIC_BYTES];
    uint8_t curve_key[TB_CURVE_PUBLIC_BYTES];
    uint64_t at_s; /* unix seconds: its keys are valid from then on */
} tb_rec_enrolled;

/* A client's keys take the place of others in two steps: from the first on
 * both transport keys are let in, from the second on the new one alone. Updates
 * that the old sign key signed count until the time is over. */
typedef enum tb_rotation_step {
    TB_ROTATION_PROVEN = 1, /* the client has shown that it has both */
    TB_ROTATION_IN_USE,     /* and has connected under the new one */
    TB_ROTATION_STEP_END
} tb_rotation_step;

typedef struct tb_rec_rotated {
    tb_name client;
    tb_rotation_step step;
    uint8_t sign_key[TB_SIGN_PUBLIC_BYTES]; /* the new ones */
    uint8_t curve_key[TB_CURVE_PUBLIC_BYTES];
    uint64_t at_s;        /* unix seconds */
    uint64_t old_until_s; /* of the keys before */
} tb_rec_rotated;

/* The coordinator's own keys, in two steps as well: from the first on clients
 * are told where and under which keys it is to be found now, from the second on
 * the doors before are closed. */
typedef struct tb_rec_coordinator_key {
    tb_rotation_step step;
    tb_move move;     /* by the root key */
    uint64_t until_s; /* the old doors close then, at the latest */
    char listen[TB_ENDPOINT_BYTES]; /* what the new doors are bound to */
    char enrol[TB_ENDPOINT_BYTES];
} tb_rec_coordinator_key;

typedef struct tb_rec_revoked {
    tb_name client;
    char why[TB_TEXT_BYTES];
} tb_rec_revoked;

/* All labels that the operator gives a client from here on. */
typedef struct tb_rec_labelled {
    tb_name client;
    tb_labels labels;
} tb_rec_labelled;

typedef struct tb_rec_round_opened {
    tb_run_id run;
    uint32_t round, attempt;
    tb_task task;
    tb_span config; /* canonical tb_round_config */
    uint32_t n_clients;
    tb_name *clients; /* the cohort, sorted */
} tb_rec_round_opened;

typedef struct tb_rec_clock {
    tb_hash config;
    uint64_t left_ms; /* of the round's deadline */
} tb_rec_clock;

/* The unique insert: (config, client) -> update. It counts in the round that is
 * open; in an asynchronous run `config` is what the client trained from, and
 * the update counts in the first buffer that is open, and not CLOSED, at this
 * row or after it. */
typedef struct tb_rec_accepted {
    tb_hash config; /* federation, job, run, round, attempt, task, model */
    tb_name client;
    tb_upload_id upload; /* its header and blocks lie in the spool under it */
    tb_hash update;
    uint32_t n_blocks;
    uint32_t weight;    /* in the sum */
    uint32_t full;      /* what the mean divides by: weight, unless damped */
    uint32_t staleness; /* buffers that its model is older than the round */
} tb_rec_accepted;

/* A client of the cohort whose update was bad: out of this round. */
typedef struct tb_rec_expelled {
    tb_hash config;
    tb_name client;
    tb_refusal code;
} tb_rec_expelled;

typedef struct tb_rec_closed {
    tb_hash config;
    uint32_t n_accepted;
    char why[TB_TEXT_BYTES];
} tb_rec_closed;

typedef struct tb_rec_committed {
    tb_hash config;
    tb_task task;
    uint32_t round;
    tb_model_ref result; /* TRAIN: the model; CALIBRATE: the ranges */
    tb_metrics metrics;
    uint32_t n_clients;
    uint64_t weight;
} tb_rec_committed;

typedef struct tb_rec_abandoned {
    tb_hash config;
    char why[TB_TEXT_BYTES];
} tb_rec_abandoned;

/* The current version of a model; a rollback is one with a new sequence. */
typedef struct tb_rec_version {
    tb_name model;
    uint64_t sequence;
    tb_hash manifest; /* hash of the canonical manifest */
    tb_run_id run;    /* that made it; zero: from outside */
} tb_rec_version;

typedef struct tb_rec_run_ended {
    tb_run_id run;
    tb_outcome outcome;
    tb_model_ref model; /* that was or would have been published */
    char why[TB_TEXT_BYTES];
} tb_rec_run_ended;

/* No new round opens until it is resumed. */
typedef struct tb_rec_run_paused {
    tb_run_id run;
    uint64_t paused_s; /* unix seconds */
    char why[TB_TEXT_BYTES];
} tb_rec_run_paused;

typedef struct tb_rec_run_resumed {
    tb_run_id run;
} tb_rec_run_resumed;

/* It ends as soon as what it has ordered is back. */
typedef struct tb_rec_run_cancelled {
    tb_run_id run;
    char why[TB_TEXT_BYTES];
} tb_rec_run_cancelled;
/* Updates of an asynchronous run that were accepted for a buffer which never
 * came, since the run ends. */
typedef struct tb_rec_left_over {
    tb_run_id run;
    uint32_t n_updates;
    char why[TB_TEXT_BYTES];
} tb_rec_left_over;

/* The folder was restored from a backup: the first row of a new epoch. Rounds
 * that were open in the backup are over, and so is all that came after it. */
typedef struct tb_rec_restored {
    uint32_t epoch;                /* 1, or the one before and more */
    uint8_t id[TB_EPOCH_ID_BYTES]; /* random */
    uint64_t restored_s;           /* unix seconds */
} tb_rec_restored;

#define TB_SWEPT_MAX 4096u /* blobs, or runs, of one record */

/* What is absent on purpose from here on: written before it is deleted. */
typedef struct tb_rec_swept {
    uint32_t n_blobs, n_runs;
    tb_hash *blobs;  /* raw hashes */
    tb_run_id *runs; /* whose key and spool go */
} tb_rec_swept;

typedef struct tb_record {
    tb_record_kind kind;
    union {
        tb_rec_invited invited;
        tb_rec_enrolled enrolled;
        tb_rec_revoked revoked;
        tb_run_params *run_started; /* owned when decoded, else borrowed */
        tb_rec_round_opened round_opened;
        tb_rec_clock clock;
        tb_rec_accepted accepted;
        tb_rec_expelled expelled;
        tb_rec_closed closed;
        tb_rec_committed committed;
        tb_rec_abandoned abandoned;
        tb_rec_version version;
        tb_rec_run_ended run_ended;
        tb_rec_run_paused run_paused;
        tb_rec_run_resumed run_resumed;
        tb_rec_run_cancelled run_cancelled;
        tb_rec_left_over left_over;
        tb_rec_restored restored;
        tb_rec_swept swept;
        tb_rec_rotated rotated;
        tb_rec_coordinator_key coordinator_key;
        tb_rec_accepted purged; /* taken out of its open round again */
        tb_rec_labelled labelled;
    } u;
    void *owned; /* what pointers of a decoded record point into */
} tb_record;

/* Appends the body. Errors: LIMIT, NOMEM. */
tb_rc tb_record_encode(const tb_record *record, tb_buf *out, tb_err *err)
    TB_NONNULL(1, 2) TB_MUST_CHECK;

/* Reads a body of this kind and checks lengths, names, texts and enums; the
 * whole of it must be used. On TB_OK the caller releases *out; otherwise it is
 * empty. Errors: MALFORMED, LIMIT, UNSUPPORTED (kind, version), NOMEM. */
tb_rc tb_record_decode(tb_record *out, uint32_t kind, const uint8_t *bytes,
                       size_t len, tb_err *err) TB_NONNULL(1) TB_MUST_CHECK;

/* Frees what a decoded record owns; safe twice and on a zeroed record. */
void tb_record_release(tb_record *record) TB_NONNULL(1);

/* "round_opened", ...; "unknown" outside the enum. */
const char *tb_record_kind_name(uint32_t kind);

#endif
