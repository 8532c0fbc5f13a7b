/* core/wire/msg.h - every message of the protocol as a plain struct, and its
 * one decoder. A message is an envelope frame (protobuf Envelope of
 * proto/tributary.proto) and at most one payload frame of raw bytes, which is
 * never inside the envelope. protobuf-c types stay inside msg.c.
 *
 *   client                           coordinator
 *   HELLO            ->
 *                    <-  WELCOME | REFUSE
 *   CHECK_IN         ->
 *                    <-  WAIT | OFFER
 *   ACCEPT | DECLINE ->
 *   FETCH            ->
 *                    <-  CHUNK + payload | REFUSE     (again until whole)
 *   UPLOAD_BEGIN     ->
 *                    <-  CREDIT (next, until) | REFUSE | RECEIPT (if known)
 *   BLOCK + payload  ->                               (next up to until)
 *                    <-  CREDIT
 *   UPLOAD_END       ->
 *                    <-  RECEIPT | REFUSE
 *   MODEL_GET        ->
 *                    <-  MANIFEST | REFUSE
 *   PREDICT + payload ->
 *                    <-  PREDICTION + payload | REFUSE
 *   ROTATE           ->
 *                    <-  ROTATED | REFUSE
 *                    <-  MOVE                          (at any time)
 *   BYE              <->
 * On the enrolment listener: ENROL -> , <- ENROLLED | REFUSE. */
#ifndef TB_WIRE_MSG_H
#define TB_WIRE_MSG_H

#include "base/buf.h"
#include "base/hash.h"
#include "crypto/cert.h"
#include "crypto/rotate.h"
#include "crypto/seal.h" /* sizes of keys, signatures, upload header */
#include "wire/labels.h"
#include "wire/name.h"

typedef enum tb_msg_kind {
    TB_MSG_HELLO = 1,
    TB_MSG_WELCOME,
    TB_MSG_CHECK_IN,
    TB_MSG_WAIT,
    TB_MSG_OFFER,
    TB_MSG_ACCEPT,
    TB_MSG_DECLINE,
    TB_MSG_FETCH,
    TB_MSG_CHUNK,
    TB_MSG_UPLOAD_BEGIN,
    TB_MSG_CREDIT,
    TB_MSG_BLOCK,
    TB_MSG_UPLOAD_END,
    TB_MSG_RECEIPT,
    TB_MSG_REFUSE,
    TB_MSG_MODEL_GET,
    TB_MSG_MANIFEST,
    TB_MSG_PREDICT,
    TB_MSG_PREDICTION,
    TB_MSG_ENROL,
    TB_MSG_ENROLLED,
    TB_MSG_BYE,
    TB_MSG_ROTATE,
    TB_MSG_ROTATED,
    TB_MSG_MOVE,
    TB_MSG_KIND_END
} tb_msg_kind;

/* Why something was refused: stable numbers, counted in metrics. */
typedef enum tb_refusal {
    TB_REFUSE_MALFORMED = 1,
    TB_REFUSE_PROTOCOL,     /* no common protocol version */
    TB_REFUSE_IDENTITY,     /* name, key or signature does not fit */
    TB_REFUSE_NOT_SELECTED, /* no part in this round */
    TB_REFUSE_WRONG_ROUND,  /* another run, round or configuration */
    TB_REFUSE_LATE,         /* the round has closed */
    TB_REFUSE_DUPLICATE,    /* another update of this client counts already */
    TB_REFUSE_SEAL,         /* a block does not open */
    TB_REFUSE_VALUES,       /* not finite, or over max_abs */
    TB_REFUSE_WEIGHT,       /* zero, or over max_weight */
    TB_REFUSE_SIZE,         /* blocks, lengths or indexes are off */
    TB_REFUSE_HASH,         /* bytes and their hash disagree */
    TB_REFUSE_NOT_FOUND,    /* no such blob or model */
    TB_REFUSE_NOT_SERVED,   /* prediction is off for this model */
    TB_REFUSE_RATE,         /* too many requests; retry_ms says when */
    TB_REFUSE_FULL,         /* the coordinator has no room now; retry_ms */
    TB_REFUSE_INVITE,       /* unknown, used, expired or altered invite */
    TB_REFUSE_STATE,        /* a message that does not fit the exchange */
    TB_REFUSE_END
} tb_refusal;

typedef struct tb_msg_hello {
    uint32_t protocol_min, protocol_max;
    tb_name client;
    char software[TB_NAME_BYTES];
    uint32_t n_data_sets;
    tb_name data_sets[TB_DATA_SETS_MAX];
    tb_labels labels; /* what the client says of itself */
} tb_msg_hello;

typedef struct tb_msg_welcome {
    uint32_t protocol;
    tb_span certificate; /* tb_certificate, signed by the root key */
    uint64_t spread_ms;  /* over which a lost fleet comes back */
} tb_msg_welcome;

typedef struct tb_msg_wait {
    uint64_t retry_ms; /* check in again after this time */
    char why[TB_TEXT_BYTES];
} tb_msg_wait;

typedef struct tb_msg_offer {
    tb_span config; /* canonical tb_round_config */
    uint8_t signature[TB_SIGNATURE_BYTES];
} tb_msg_offer;

typedef struct tb_msg_answer { /* ACCEPT, DECLINE */
    tb_hash config;
    char why[TB_TEXT_BYTES]; /* DECLINE only */
} tb_msg_answer;

typedef struct tb_msg_fetch {
    tb_hash blob; /* hash of stored bytes */
    uint64_t offset;
    uint32_t length; /* 1 to TB_FETCH_BYTES_MAX */
} tb_msg_fetch;

typedef struct tb_msg_chunk { /* payload: the bytes */
    tb_hash blob;
    uint64_t offset;
    uint64_t total; /* size of the whole blob */
} tb_msg_chunk;

typedef struct tb_msg_upload_begin {
    tb_hash config;
    tb_upload_id upload;
    uint32_t n_blocks;
    uint8_t header[TB_UPLOAD_HEADER_BYTES]; /* of the seal: ephemeral key */
} tb_msg_upload_begin;

typedef struct tb_msg_credit {
    tb_upload_id upload;
    uint32_t next;  /* first block that the coordinator does not hold */
    uint32_t until; /* blocks below this may be sent */
} tb_msg_credit;

typedef struct tb_msg_block { /* payload: the sealed block */
    tb_upload_id upload;
    uint32_t index;
} tb_msg_block;

typedef struct tb_msg_upload_end {
    tb_upload_id upload;
    tb_hash update; /* of header and sealed blocks */
    uint8_t signature[TB_SIGNATURE_BYTES];
} tb_msg_upload_end;

typedef struct tb_msg_receipt {
    tb_hash config;
    tb_hash update;
    uint64_t sequence; /* journal row of the acceptance */
    tb_hash head;      /* journal chain after that row */
    uint8_t signature[TB_SIGNATURE_BYTES];
} tb_msg_receipt;

typedef struct tb_msg_refuse {
    tb_refusal code;
    tb_msg_kind about; /* kind of the refused message */
    tb_hash config;    /* round it was about; zero if none */
    uint64_t retry_ms; /* 0: do not try again */
    char why[TB_TEXT_BYTES];
} tb_msg_refuse;

typedef struct tb_msg_model_get {
    tb_name model;
    uint64_t known_sequence; /* highest that the client has seen; 0: none */
} tb_msg_model_get;

typedef struct tb_msg_manifest {
    tb_span manifest; /* canonical tb_manifest */
    uint8_t signature[TB_SIGNATURE_BYTES];
} tb_msg_manifest;

typedef struct tb_msg_predict { /* payload: raw rows, as the input spec says */
    uint64_t request;           /* echoed in the answer */
    tb_name model;
    uint64_t sequence; /* version; 0: the current one */
    uint32_t n_rows;
} tb_msg_predict;

typedef struct tb_msg_prediction { /* payload: float32 [n_rows, n_outputs] */
    uint64_t request;
    uint64_t sequence;
    tb_hash model; /* raw hash of the blob that answered */
    uint32_t n_rows;
    uint32_t n_outputs;
} tb_msg_prediction;

typedef struct tb_msg_enrol {
    uint8_t invite[16];
    uint8_t sign_key[TB_SIGN_PUBLIC_BYTES];
    uint8_t curve_key[TB_CURVE_PUBLIC_BYTES];
    uint8_t proof[TB_SIGNATURE_BYTES];     /* by the invite's key */
    uint8_t signature[TB_SIGNATURE_BYTES]; /* by sign_key, over the same */
} tb_msg_enrol;

typedef struct tb_msg_enrolled {
    tb_name client;
    char endpoint[TB_ENDPOINT_BYTES]; /* of the main listener */
    tb_span certificate; /* tb_certificate, signed by the root key */
} tb_msg_enrolled;

typedef struct tb_msg_rotate { /* as in tb_rotation */
    uint8_t sign_key[TB_SIGN_PUBLIC_BYTES];
    uint8_t curve_key[TB_CURVE_PUBLIC_BYTES];
    uint8_t by_old[TB_SIGNATURE_BYTES];
    uint8_t by_new[TB_SIGNATURE_BYTES];
} tb_msg_rotate;

typedef struct tb_msg_rotated { /* these are the client's keys now */
    uint8_t sign_key[TB_SIGN_PUBLIC_BYTES];
    uint8_t curve_key[TB_CURVE_PUBLIC_BYTES];
} tb_msg_rotated;

typedef struct tb_msg_move {
    tb_span move; /* tb_move, signed by the root key */
} tb_msg_move;

typedef struct tb_msg {
    tb_msg_kind kind;
    void *owned; /* what the spans of a decoded message point into */
    union {      /* CHECK_IN and BYE have no fields */
        tb_msg_hello hello;
        tb_msg_welcome welcome;
        tb_msg_wait wait;
        tb_msg_offer offer;
        tb_msg_answer answer; /* ACCEPT, DECLINE */
        tb_msg_fetch fetch;
        tb_msg_chunk chunk;
        tb_msg_upload_begin upload_begin;
        tb_msg_credit credit;
        tb_msg_block block;
        tb_msg_upload_end upload_end;
        tb_msg_receipt receipt;
        tb_msg_refuse refuse;
        tb_msg_model_get model_get;
        tb_msg_manifest manifest;
        tb_msg_predict predict;
        tb_msg_prediction prediction;
        tb_msg_enrol enrol;
        tb_msg_enrolled enrolled;
        tb_msg_rotate rotate;
        tb_msg_rotated rotated;
        tb_msg_move move;
    } u;
} tb_msg;

/* Bytes of a message of this kind that are used, from its start: a message to a
 * whole fleet needs no room for the largest kind. */
size_t tb_msg_bytes(tb_msg_kind kind);

/* Appends the envelope frame. Errors: MALFORMED, LIMIT (a value that decode
 * would refuse), NOMEM. */
tb_rc tb_msg_encode(const tb_msg *msg, tb_buf *out, tb_err *err)
    TB_NONNULL(1, 2) TB_MUST_CHECK;

/* Reads one untrusted envelope frame; payload_bytes is the size of the second
 * frame (0: none), checked against what the kind allows. On TB_OK the caller
 * releases *out; otherwise it is empty. Errors: MALFORMED, LIMIT,
 * UNSUPPORTED (a kind of a newer protocol), NOMEM. */
tb_rc tb_msg_decode(tb_msg *out, const uint8_t *bytes, size_t len,
                    size_t payload_bytes, tb_err *err)
    TB_NONNULL(1, 2) TB_MUST_CHECK;

/* Frees what a decoded message owns; safe twice and on a zeroed message. */
void tb_msg_release(tb_msg *msg) TB_NONNULL(1);

/* Whether a payload frame goes with this kind. */
bool tb_msg_has_payload(tb_msg_kind kind);

/* Stable names for logs and metrics: "upload_begin", "wrong-round". */
const char *tb_msg_kind_name(tb_msg_kind kind);
const char *tb_refusal_name(tb_refusal code);

#endif
