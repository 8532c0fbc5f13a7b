#include "generated/tributary.pb-c.h"
#include "wire/msg_priv.h"

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
    TB_FIELD(TB_FIELD_TEXT, char *, labels.text, labels, 0, 0),
};
#undef OURS
#undef PB

#define OURS tb_msg_welcome
#define PB   Tributary__Welcome
static const tb_field welcome_fields[] = {
    TB_U32(protocol, 1, UINT32_MAX),
    TB_SPAN(certificate, TB_CERTIFICATE_BYTES, TB_CERTIFICATE_BYTES),
    TB_U64(spread_ms, 0, UINT64_MAX),
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

#define OURS tb_msg_rotate
#define PB   Tributary__Rotate
static const tb_field rotate_fields[] = {
    TB_FIXED(sign_key),
    TB_FIXED(curve_key),
    TB_FIXED(by_old),
    TB_FIXED(by_new),
};
#undef OURS
#undef PB

#define OURS tb_msg_rotated
#define PB   Tributary__Rotated
static const tb_field rotated_fields[] = {
    TB_FIXED(sign_key),
    TB_FIXED(curve_key),
};
#undef OURS
#undef PB

#define OURS tb_msg_move
#define PB   Tributary__Move
static const tb_field move_fields[] = {
    TB_SPAN(move, 1, TB_MOVE_BYTES_MAX),
};
#undef OURS
#undef PB

#define N(table) .fields = (table), .n_fields = sizeof(table) / sizeof(table)[0]

static const tb_msg_row kinds[TB_MSG_KIND_END] = {
    [TB_MSG_HELLO] = {.name = "hello",
                      .schema = &tributary__hello__descriptor,
                      N(hello_fields),
                      .open = true},
    [TB_MSG_WELCOME] = {.name = "welcome",
                        .schema = &tributary__welcome__descriptor,
                        N(welcome_fields),
                        .open = true},
    [TB_MSG_CHECK_IN] = {.name = "check_in",
                         .schema = &tributary__empty__descriptor,
                         .fields = NULL},
    [TB_MSG_WAIT] = {.name = "wait",
                     .schema = &tributary__wait__descriptor,
                     N(wait_fields)},
    [TB_MSG_OFFER] = {.name = "offer",
                      .schema = &tributary__offer__descriptor,
                      N(offer_fields)},
    [TB_MSG_ACCEPT] = {.name = "accept",
                       .schema = &tributary__answer__descriptor,
                       N(answer_fields)},
    [TB_MSG_DECLINE] = {.name = "decline",
                        .schema = &tributary__answer__descriptor,
                        N(answer_fields)},
    [TB_MSG_FETCH] = {.name = "fetch",
                      .schema = &tributary__fetch__descriptor,
                      N(fetch_fields)},
    [TB_MSG_CHUNK] = {.name = "chunk",
                      .schema = &tributary__chunk__descriptor,
                      N(chunk_fields),
                      .payload_min = 1,
                      .payload_max = TB_FETCH_BYTES_MAX},
    [TB_MSG_UPLOAD_BEGIN] = {.name = "upload_begin",
                             .schema = &tributary__upload_begin__descriptor,
                             N(upload_begin_fields)},
    [TB_MSG_CREDIT] = {.name = "credit",
                       .schema = &tributary__credit__descriptor,
                       N(credit_fields)},
    [TB_MSG_BLOCK] = {.name = "block",
                      .schema = &tributary__block__descriptor,
                      N(block_fields),
                      .payload_min = SEALED_MIN,
                      .payload_max = TB_PAYLOAD_BYTES_MAX},
    [TB_MSG_UPLOAD_END] = {.name = "upload_end",
                           .schema = &tributary__upload_end__descriptor,
                           N(upload_end_fields)},
    [TB_MSG_RECEIPT] = {.name = "receipt",
                        .schema = &tributary__receipt__descriptor,
                        N(receipt_fields)},
    [TB_MSG_REFUSE] = {.name = "refuse",
                       .schema = &tributary__refuse__descriptor,
                       N(refuse_fields),
                       .open = true},
    [TB_MSG_MODEL_GET] = {.name = "model_get",
                          .schema = &tributary__model_get__descriptor,
                          N(model_get_fields)},
    [TB_MSG_MANIFEST] = {.name = "manifest",
                         .schema = &tributary__signed_manifest__descriptor,
                         N(manifest_fields)},
    [TB_MSG_PREDICT] = {.name = "predict",
                        .schema = &tributary__predict__descriptor,
                        N(predict_fields),
                        .payload_min = 1,
                        .payload_max = TB_PAYLOAD_BYTES_MAX},
    [TB_MSG_PREDICTION] = {.name = "prediction",
                           .schema = &tributary__prediction__descriptor,
                           N(prediction_fields),
                           .payload_min = 1,
                           .payload_max = TB_PAYLOAD_BYTES_MAX},
    [TB_MSG_ENROL] = {.name = "enrol",
                      .schema = &tributary__enrol__descriptor,
                      N(enrol_fields)},
    [TB_MSG_ENROLLED] = {.name = "enrolled",
                         .schema = &tributary__enrolled__descriptor,
                         N(enrolled_fields)},
    [TB_MSG_BYE] = {.name = "bye",
                    .schema = &tributary__empty__descriptor,
                    .fields = NULL},
    [TB_MSG_ROTATE] = {.name = "rotate",
                       .schema = &tributary__rotate__descriptor,
                       N(rotate_fields)},
    [TB_MSG_ROTATED] = {.name = "rotated",
                        .schema = &tributary__rotated__descriptor,
                        N(rotated_fields)},
    [TB_MSG_MOVE] = {.name = "move",
                     .schema = &tributary__move__descriptor,
                     N(move_fields)},
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

const tb_msg_row *tb_msg_row_of(tb_msg_kind kind)
{
    return kind > 0 && kind < TB_MSG_KIND_END ? &kinds[kind] : NULL;
}

size_t tb_msg_bytes(tb_msg_kind kind)
{
#define BYTES(member)                                                          \
    (offsetof(tb_msg, u.member) + sizeof(((tb_msg *)0)->u.member))
    static const size_t bytes[TB_MSG_KIND_END] = {
        [TB_MSG_WELCOME] = BYTES(welcome), [TB_MSG_WAIT] = BYTES(wait),
        [TB_MSG_OFFER] = BYTES(offer),     [TB_MSG_CREDIT] = BYTES(credit),
        [TB_MSG_RECEIPT] = BYTES(receipt), [TB_MSG_REFUSE] = BYTES(refuse)};
#undef BYTES
    /* No fleet is sent the others. */
    return kind < TB_MSG_KIND_END && bytes[kind] > 0 ? bytes[kind]
                                                     : sizeof(tb_msg);
}

bool tb_msg_has_payload(tb_msg_kind kind)
{
    const tb_msg_row *row = tb_msg_row_of(kind);
    return row != NULL && row->payload_max > 0;
}

const char *tb_msg_kind_name(tb_msg_kind kind)
{
    const tb_msg_row *row = tb_msg_row_of(kind);
    return row != NULL ? row->name : "unknown";
}

const char *tb_refusal_name(tb_refusal code)
{
    return code > 0 && code < TB_REFUSE_END ? refusal_names[code] : "unknown";
}
