/* Encoding and decoding walk over the table of kinds (msg_kinds.c); only
 * HELLO's list of data sets and the rules between fields are code. */
#include <assert.h>
#include <string.h>

#include "base/mem.h"
#include "generated/tributary.pb-c.h"
#include "wire/msg_priv.h"

/* Memory for the generated struct of any kind, to encode from. */
typedef union any_pb {
    ProtobufCMessage base;
    Tributary__Hello hello;
    Tributary__UploadBegin upload_begin;
    Tributary__Refuse refuse;
    Tributary__Enrol enrol;
    uint8_t room[256];
} any_pb;

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
    if (msg->kind == TB_MSG_HELLO && !tb_labels_valid(hello->labels.text)) {
        return tb_fail(err, TB_E_MALFORMED, "labels: not in their one form");
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
    const tb_msg_row *row = tb_msg_row_of(msg->kind);
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
    const tb_msg_row *row = tb_msg_row_of(msg->kind);
    assert(row->schema->sizeof_message <= sizeof *body);
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
    const tb_msg_row *row = tb_msg_row_of(msg->kind);
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
    if (tb_msg_row_of(msg->kind) == NULL) {
        return tb_fail(err, TB_E_BUG, "message of kind %d", (int)msg->kind);
    }
    tb_rc rc = check(msg, err);
    if (rc == TB_OK) {
        lend(&envelope, &body, data_sets, msg);
        rc = tb_pb_pack(&envelope.base, TB_ENVELOPE_BYTES_MAX, out, err);
    }
    if (rc != TB_OK) {
        return tb_err_prefix(err, rc, "%s to send",
                             tb_msg_kind_name(msg->kind));
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
    const tb_msg_row *row = tb_msg_row_of(out->kind);
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
    const tb_msg_row *row = tb_msg_row_of(out->kind);
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
    if (rc == TB_OK && !tb_msg_row_of(out->kind)->open) {
        rc = check_encoding(out, bytes, len, err);
    }
    if (rc == TB_OK) {
        rc = check_payload(out, payload_bytes, err);
    }
    if (rc != TB_OK) {
        rc = tb_err_prefix(err, rc, "%s", tb_msg_kind_name(out->kind));
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
