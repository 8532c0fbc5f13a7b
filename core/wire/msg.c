/* The kinds of messages as one table: name, schema, fields with their ranges,
 * and what payload goes with each. Encoding and decoding walk over it; only
 * HELLO's list of data sets and rules between fields are code. */
#include "wire/msg.h"

#include <string.h>

#include "base/mem.h"
#include "generated/tributary.pb-c.h"
#include "wire/pb_priv.h"

#define SEALED_MIN (TB_SEAL_TAG_BYTES + 1)

_Static_assert(sizeof(tb_refusal) == 4 && sizeof(tb_msg_kind) == 4,
               "an enum travels as u32");

#define OURS tb_msg_hello
#define PB   Tributary__Hello
static const tb_field hello_fields[] = {
    TB_U32(protocol_min, 1, UINT32_MAX),
    TB_U32(protocol_max, 1, UINT32_MAX),
    TB_NAME(client),
    TB_TEXT(software, 1),
};
#undef OURS
#undef PB

#define OURS tb_msg_welcome
#define PB   Tributary__Welcome
static const tb_field welcome_fields[] = {
    TB_U32(protocol, 1, UINT32_MAX),
    TB_SPAN(certificate, TB_CERTIFICATE_BYTES, TB_CERTIFICATE_BYTES),
};
#undef OURS
#undef PB

#define OURS tb_msg_wait
#define PB   Tributary__Wait
static const tb_field wait_fields[] = {
    TB_U64(retry_ms, 0, UINT64_MAX),
    TB_TEXT(why, 0),
};
#undef OURS
#undef PB

#define OURS tb_msg_offer
#define PB   Tributary__Offer
static const tb_field offer_fields[] = {
    TB_SPAN(config, 1, TB_CONFIG_BYTES_MAX),
    TB_FIXED(signature),
};
#undef OURS
#undef PB

#define OURS tb_msg_answer
#define PB   Tributary__Answer
static const tb_field answer_fields[] = {
    TB_FIXED(config),
    TB_TEXT(why, 0),
};
#undef OURS
#undef PB

#define OURS tb_msg_fetch
#define PB   Tributary__Fetch
static const tb_field fetch_fields[] = {
    TB_FIXED(blob),
    TB_U64(offset, 0, UINT64_MAX),
    TB_U32(length, 1, TB_FETCH_BYTES_MAX),
};
#undef OURS
#undef PB

#define OURS tb_msg_chunk
#define PB   Tributary__Chunk
static const tb_field chunk_fields[] = {
    TB_FIXED(blob),
    TB_U64(offset, 0, UINT64_MAX),
    TB_U64(total, 1, UINT64_MAX),
};
#undef OURS
#undef PB

#define OURS tb_msg_upload_begin
#define PB   Tributary__UploadBegin
static const tb_field upload_begin_fields[] = {
    TB_FIXED(config),
    TB_FIXED(upload),
    TB_U32(n_blocks, 1, TB_BLOCKS_MAX),
    TB_FIXED(header),
};
#undef OURS
#undef PB

#define OURS tb_msg_credit
#define PB   Tributary__Credit
static const tb_field credit_fields[] = {
    TB_FIXED(upload),
    TB_U32(next, 0, TB_BLOCKS_MAX),
    TB_U32(until, 0, TB_BLOCKS_MAX),
};
#undef OURS
#undef PB

#define OURS tb_msg_block
#define PB   Tributary__Block
static const tb_field block_fields[] = {
    TB_FIXED(upload),
    TB_U32(index, 0, TB_BLOCKS_MAX - 1),
};
#undef OURS
#undef PB

#define OURS tb_msg_upload_end
#define PB   Tributary__UploadEnd
static const tb_field upload_end_fields[] = {
    TB_FIXED(upload),
    TB_FIXED(update),
    TB_FIXED(signature),
};
#undef OURS
#undef PB

#define OURS tb_msg_receipt
#define PB   Tributary__Receipt
static const tb_field receipt_fields[] = {
    TB_FIXED(config), TB_FIXED(update),    TB_U64(sequence, 1, UINT64_MAX),
    TB_FIXED(head),   TB_FIXED(signature),
};
#undef OURS
#undef PB

#define OURS tb_msg_refuse
#define PB   Tributary__Refuse
static const tb_field refuse_fields[] = {
    TB_U32(code, 1, TB_REFUSE_END - 1),
    TB_U32(about, 0, TB_MSG_KIND_END - 1),
    TB_FIXED(config),
    TB_U64(retry_ms, 0, UINT64_MAX),
    TB_TEXT(why, 0),
};
#undef OURS
#undef PB

#define OURS tb_msg_model_get
#define PB   Tributary__ModelGet
static const tb_field model_get_fields[] = {
    TB_NAME(model),
    TB_U64(known_sequence, 0, UINT64_MAX),
};
#undef OURS
#undef PB

#define OURS tb_msg_manifest
#define PB   Tributary__SignedManifest
static const tb_field manifest_fields[] = {
    TB_SPAN(manifest, 1, TB_MANIFEST_BYTES_MAX),
    TB_FIXED(signature),
};
#undef OURS
#undef PB

#define OURS tb_msg_predict
#define PB   Tributary__Predict
static const tb_field predict_fields[] = {
    TB_U64(request, 0, UINT64_MAX),
    TB_NAME(model),
    TB_U64(sequence, 0, UINT64_MAX),
    TB_U32(n_rows, 1, TB_PREDICT_ROWS_MAX),
};
#undef OURS
#undef PB

#define OURS tb_msg_prediction
#define PB   Tributary__Prediction
static const tb_field prediction_fields[] = {
    TB_U64(request, 0, UINT64_MAX),
    TB_U64(sequence, 1, UINT64_MAX),
    TB_FIXED(model),
    TB_U32(n_rows, 1, TB_PREDICT_ROWS_MAX),
    TB_U32(n_outputs, 1, UINT32_MAX),
};
#undef OURS
#undef PB

#define OURS tb_msg_enrol
#define PB   Tributary__Enrol
static const tb_field enrol_fields[] = {
    TB_FIXED(invite), TB_FIXED(sign_key),  TB_FIXED(curve_key),
    TB_FIXED(proof),  TB_FIXED(signature),
};
#undef OURS
#undef PB

#define OURS tb_msg_enrolled
#define PB   Tributary__Enrolled
static const tb_field enrolled_fields[] = {
    TB_NAME(client),
    TB_TEXT(endpoint, 1),
    TB_SPAN(certificate, TB_CERTIFICATE_BYTES, TB_CERTIFICATE_BYTES),
};
#undef OURS
#undef PB

typedef struct kind_row {
    const char *name;
    const ProtobufCMessageDescriptor *schema;
    const tb_field *fields;
    size_t n_fields;
    size_t payload_min, payload_max; /* bytes; 0, 0: no payload frame */
    bool open;                       /* may hold fields of a newer version */
} kind_row;

#define N(table) (table), sizeof(table) / sizeof(table)[0]

static const kind_row kinds[TB_MSG_KIND_END] = {
    [TB_MSG_HELLO] = {"hello", &tributary__hello__descriptor, N(hello_fields),
                      .open = true},
    [TB_MSG_WELCOME] = {"welcome", &tributary__welcome__descriptor,
                        N(welcome_fields), .open = true},
    [TB_MSG_CHECK_IN] = {"check_in", &tributary__empty__descriptor, NULL, 0},
    [TB_MSG_WAIT] = {"wait", &tributary__wait__descriptor, N(wait_fields)},
    [TB_MSG_OFFER] = {"offer", &tributary__offer__descriptor, N(offer_fields)},
    [TB_MSG_ACCEPT] = {"accept", &tributary__answer__descriptor,
                       N(answer_fields)},
    [TB_MSG_DECLINE] = {"decline", &tributary__answer__descriptor,
                        N(answer_fields)},
    [TB_MSG_FETCH] = {"fetch", &tributary__fetch__descriptor, N(fetch_fields)},
    [TB_MSG_CHUNK] = {"chunk", &tributary__chunk__descriptor, N(chunk_fields),
                      1, TB_FETCH_BYTES_MAX},
    [TB_MSG_UPLOAD_BEGIN] = {"upload_begin",
                             &tributary__upload_begin__descriptor,
                             N(upload_begin_fields)},
    [TB_MSG_CREDIT] = {"credit", &tributary__credit__descriptor,
                       N(credit_fields)},
    [TB_MSG_BLOCK] = {"block", &tributary__block__descriptor, N(block_fields),
                      SEALED_MIN, TB_PAYLOAD_BYTES_MAX},
    [TB_MSG_UPLOAD_END] = {"upload_end", &tributary__upload_end__descriptor,
                           N(upload_end_fields)},
    [TB_MSG_RECEIPT] = {"receipt", &tributary__receipt__descriptor,
                        N(receipt_fields)},
    [TB_MSG_REFUSE] = {"refuse", &tributary__refuse__descriptor,
                       N(refuse_fields), .open = true},
    [TB_MSG_MODEL_GET] = {"model_get", &tributary__model_get__descriptor,
                          N(model_get_fields)},
    [TB_MSG_MANIFEST] = {"manifest", &tributary__signed_manifest__descriptor,
                         N(manifest_fields)},
    [TB_MSG_PREDICT] = {"predict", &tributary__predict__descriptor,
                        N(predict_fields), 1, TB_PAYLOAD_BYTES_MAX},
    [TB_MSG_PREDICTION] = {"prediction", &tributary__prediction__descriptor,
                           N(prediction_fields), 1, TB_PAYLOAD_BYTES_MAX},
    [TB_MSG_ENROL] = {"enrol", &tributary__enrol__descriptor, N(enrol_fields)},
    [TB_MSG_ENROLLED] = {"enrolled", &tributary__enrolled__descriptor,
                         N(enrolled_fields)},
    [TB_MSG_BYE] = {"bye", &tributary__empty__descriptor, NULL, 0},
};

static const char *const refusal_names[TB_REFUSE_END] = {
    [TB_REFUSE_MALFORMED] = "malformed",
    [TB_REFUSE_PROTOCOL] = "protocol",
    [TB_REFUSE_IDENTITY] = "identity",
    [TB_REFUSE_NOT_SELECTED] = "not-selected",
    [TB_REFUSE_WRONG_ROUND] = "wrong-round",
    [TB_REFUSE_LATE] = "late",
    [TB_REFUSE_DUPLICATE] = "duplicate",
    [TB_REFUSE_SEAL] = "seal",
    [TB_REFUSE_VALUES] = "values",
    [TB_REFUSE_WEIGHT] = "weight",
    [TB_REFUSE_SIZE] = "size",
    [TB_REFUSE_HASH] = "hash",
    [TB_REFUSE_NOT_FOUND] = "not-found",
    [TB_REFUSE_NOT_SERVED] = "not-served",
    [TB_REFUSE_RATE] = "rate",
    [TB_REFUSE_FULL] = "full",
    [TB_REFUSE_INVITE] = "invite",
    [TB_REFUSE_STATE] = "state",
};

/* Memory for the generated struct of any kind, to encode from. */
typedef union any_pb {
    ProtobufCMessage base;
    Tributary__Hello hello;
    Tributary__UploadBegin upload_begin;
    Tributary__Refuse refuse;
    Tributary__Enrol enrol;
    uint8_t room[256];
} any_pb;

static bool known(tb_msg_kind kind)
{
    return kind > 0 && kind < TB_MSG_KIND_END;
}

bool tb_msg_has_payload(tb_msg_kind kind)
{
    return known(kind) && kinds[kind].payload_max > 0;
}

const char *tb_msg_kind_name(tb_msg_kind kind)
{
    return known(kind) ? kinds[kind].name : "unknown";
}

const char *tb_refusal_name(tb_refusal code)
{
    return code > 0 && code < TB_REFUSE_END ? refusal_names[code] : "unknown";
}

/* Rules between the fields of one message. */
static tb_rc check_rules(const tb_msg *msg, tb_err *err)
{
    const tb_msg_hello *hello = &msg->u.hello;
    if (msg->kind == TB_MSG_HELLO &&
        hello->protocol_min > hello->protocol_max) {
        return tb_fail(err, TB_E_MALFORMED, "protocol_min over protocol_max");
    }
    if (msg->kind == TB_MSG_HELLO && hello->n_data_sets > TB_DATA_SETS_MAX) {
        return tb_fail(err, TB_E_LIMIT, "%u data sets, at most %u",
                       hello->n_data_sets, TB_DATA_SETS_MAX);
    }
    if (msg->kind == TB_MSG_CREDIT &&
        msg->u.credit.next > msg->u.credit.until) {
        return tb_fail(err, TB_E_MALFORMED, "next over until");
    }
    return TB_OK;
}

/* What a payload of n bytes must fit. */
static tb_rc check_payload(const tb_msg *msg, size_t n, tb_err *err)
{
    const kind_row *row = &kinds[msg->kind];
    if (n < row->payload_min || n > row->payload_max) {
        return tb_fail(err, n > row->payload_max ? TB_E_LIMIT : TB_E_MALFORMED,
                       "payload of %zu bytes, must be %zu to %zu", n,
                       row->payload_min, row->payload_max);
    }
    const tb_msg_chunk *chunk = &msg->u.chunk;
    if (msg->kind == TB_MSG_CHUNK &&
        (chunk->offset > chunk->total || n > chunk->total - chunk->offset)) {
        return tb_fail(err, TB_E_MALFORMED, "chunk passes the blob's end");
    }
    const tb_msg_prediction *p = &msg->u.prediction;
    if (msg->kind == TB_MSG_PREDICTION &&
        ((uint64_t)p->n_rows * p->n_outputs > TB_PAYLOAD_BYTES_MAX / 4 ||
         (size_t)p->n_rows * p->n_outputs * 4 != n)) {
        return tb_fail(err, TB_E_MALFORMED, "payload does not fit its shape");
    }
    return TB_OK;
}

/* Lends the message to the generated structs: *body is its own part. */
static void lend(Tributary__Envelope *envelope, any_pb *body, char **data_sets,
                 const tb_msg *msg)
{
    const kind_row *row = &kinds[msg->kind];
    protobuf_c_message_init(row->schema, body);
    if (row->n_fields > 0) {
        tb_fields_lend(body, &msg->u, row->fields, row->n_fields);
    }
    if (msg->kind == TB_MSG_HELLO) {
        const tb_msg_hello *hello = &msg->u.hello;
        for (uint32_t i = 0; i < hello->n_data_sets; i++) {
            const char *name = hello->data_sets[i].text;
            memcpy(&data_sets[i], &name, sizeof name);
        }
        body->hello.n_data_sets = hello->n_data_sets;
        body->hello.data_sets = data_sets;
    }
    tributary__envelope__init(envelope);
    envelope->kind_case = (Tributary__Envelope__KindCase)msg->kind;
    envelope->hello = &body->hello; /* one of a union of pointers */
}

static tb_rc check(const tb_msg *msg, tb_err *err)
{
    const kind_row *row = &kinds[msg->kind];
    tb_rc rc = TB_OK;
    if (row->n_fields > 0) {
        rc = tb_fields_check(&msg->u, row->fields, row->n_fields, err);
    }
    if (rc == TB_OK) {
        rc = check_rules(msg, err);
    }
    for (uint32_t i = 0; rc == TB_OK && msg->kind == TB_MSG_HELLO &&
                         i < msg->u.hello.n_data_sets;
         i++) {
        if (!tb_name_valid(msg->u.hello.data_sets[i].text)) {
            rc = tb_fail(err, TB_E_MALFORMED, "data_sets: not a name");
        }
    }
    return rc;
}

tb_rc tb_msg_encode(const tb_msg *msg, tb_buf *out, tb_err *err)
{
    Tributary__Envelope envelope;
    any_pb body;
    char *data_sets[TB_DATA_SETS_MAX];
    if (!known(msg->kind)) {
        return tb_fail(err, TB_E_BUG, "message of kind %d", (int)msg->kind);
    }
    tb_rc rc = check(msg, err);
    if (rc == TB_OK) {
        lend(&envelope, &body, data_sets, msg);
        rc = tb_pb_pack(&envelope.base, TB_ENVELOPE_BYTES_MAX, out, err);
    }
    if (rc != TB_OK) {
        return tb_err_prefix(err, rc, "%s to send", kinds[msg->kind].name);
    }
    return TB_OK;
}

static tb_rc take_data_sets(tb_msg_hello *out, const Tributary__Hello *pb,
                            tb_err *err)
{
    if (pb->n_data_sets > TB_DATA_SETS_MAX) {
        return tb_fail(err, TB_E_LIMIT, "%zu data sets, at most %u",
                       pb->n_data_sets, TB_DATA_SETS_MAX);
    }
    for (size_t i = 0; i < pb->n_data_sets; i++) {
        if (!tb_name_set(&out->data_sets[i], pb->data_sets[i])) {
            return tb_fail(err, TB_E_MALFORMED, "data_sets: not a name");
        }
    }
    out->n_data_sets = (uint32_t)pb->n_data_sets;
    return TB_OK;
}

/* Moves the bytes that the message's span points to (no kind has two) out of
 * the generated struct, so that the message owns them. */
static void take_span(tb_msg *out, Tributary__Envelope *pb)
{
    const kind_row *row = &kinds[out->kind];
    for (size_t i = 0; i < row->n_fields; i++) {
        if (row->fields[i].kind == TB_FIELD_SPAN) {
            uint8_t *at = (uint8_t *)pb->hello + row->fields[i].pb_at;
            ProtobufCBinaryData *bytes = (ProtobufCBinaryData *)(void *)at;
            out->owned = bytes->data;
            bytes->data = NULL;
        }
    }
}

static tb_rc take(tb_msg *out, Tributary__Envelope *pb, tb_err *err)
{
    const kind_row *row = &kinds[out->kind];
    tb_rc rc = TB_OK;
    if (row->n_fields > 0) {
        rc =
            tb_fields_take(&out->u, pb->hello, row->fields, row->n_fields, err);
    }
    if (rc == TB_OK && out->kind == TB_MSG_HELLO) {
        rc = take_data_sets(&out->u.hello, pb->hello, err);
    }
    if (rc == TB_OK) {
        rc = check_rules(out, err);
    }
    return rc;
}

/* The one encoding of this message is the one that came. */
static tb_rc check_encoding(const tb_msg *msg, const uint8_t *bytes, size_t len,
                            tb_err *err)
{
    Tributary__Envelope envelope;
    any_pb body;
    char *data_sets[TB_DATA_SETS_MAX];
    lend(&envelope, &body, data_sets, msg);
    if (!tb_pb_same(&envelope.base, bytes, len)) {
        return tb_fail(err, TB_E_MALFORMED,
                       "unknown, repeated or badly encoded fields");
    }
    return TB_OK;
}

static tb_rc check_kind(const Tributary__Envelope *pb, tb_err *err)
{
    if (pb->kind_case != TRIBUTARY__ENVELOPE__KIND__NOT_SET) {
        return TB_OK;
    }
    if (pb->base.n_unknown_fields > 0) {
        return tb_fail(err, TB_E_UNSUPPORTED,
                       "message of kind %u, of a newer protocol",
                       pb->base.unknown_fields[0].tag);
    }
    return tb_fail(err, TB_E_MALFORMED, "message without a kind");
}

tb_rc tb_msg_decode(tb_msg *out, const uint8_t *bytes, size_t len,
                    size_t payload_bytes, tb_err *err)
{
    ProtobufCMessage *base = NULL;
    memset(out, 0, sizeof *out);
    tb_rc rc = tb_pb_unpack(&base, &tributary__envelope__descriptor, bytes, len,
                            TB_ENVELOPE_BYTES_MAX, err);
    if (rc != TB_OK) {
        return rc;
    }
    Tributary__Envelope *pb = (Tributary__Envelope *)base;
    rc = check_kind(pb, err);
    if (rc != TB_OK) {
        goto done;
    }
    out->kind = (tb_msg_kind)pb->kind_case;
    rc = take(out, pb, err);
    if (rc == TB_OK && !kinds[out->kind].open) {
        rc = check_encoding(out, bytes, len, err);
    }
    if (rc == TB_OK) {
        rc = check_payload(out, payload_bytes, err);
    }
    if (rc != TB_OK) {
        rc = tb_err_prefix(err, rc, "%s", kinds[out->kind].name);
        goto done;
    }
    take_span(out, pb);
done:
    tb_pb_free(&base);
    if (rc != TB_OK) {
        memset(out, 0, sizeof *out);
    }
    return rc;
}

void tb_msg_release(tb_msg *msg)
{
    tb_mem_free(msg->owned);
    memset(msg, 0, sizeof *msg);
}
