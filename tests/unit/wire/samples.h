/* tests/unit/wire/samples.h - one valid message of each kind, one round
 * configuration, one manifest: what the tests of this room start from. */
#ifndef TB_TESTS_UNIT_WIRE_SAMPLES_H
#define TB_TESTS_UNIT_WIRE_SAMPLES_H

#include <string.h>

#include "support/check.h"
#include "wire/config.h"
#include "wire/manifest.h"
#include "wire/msg.h"

#define FILL(array, with) memset((array), (with), sizeof(array))

static const uint8_t sample_bytes[TB_CERTIFICATE_BYTES] = {1, 2, 3, 4, 5};

static inline void sample_text(char *out, size_t cap, const char *text)
{
    size_t len = strlen(text);
    CHECK(len < cap);
    memcpy(out, text, len + 1);
}

/* The first kinds: before a round's model has come. */
static inline void sample_opening(tb_msg *m)
{
    switch ((int)m->kind) {
    case TB_MSG_HELLO:
        m->u.hello.protocol_min = 1;
        m->u.hello.protocol_max = 3;
        CHECK(tb_name_set(&m->u.hello.client, "edge-01"));
        sample_text(m->u.hello.software, TB_NAME_BYTES, "tributary 0.1.0");
        m->u.hello.n_data_sets = 2;
        CHECK(tb_name_set(&m->u.hello.data_sets[0], "fashion"));
        CHECK(tb_name_set(&m->u.hello.data_sets[1], "digits"));
        sample_text(m->u.hello.labels.text, TB_LABELS_BYTES,
                    "cpus=4 memory=512MB");
        break;
    case TB_MSG_WELCOME:
        m->u.welcome.protocol = 1;
        m->u.welcome.certificate = (tb_span){sample_bytes, sizeof sample_bytes};
        m->u.welcome.spread_ms = 40000;
        break;
    case TB_MSG_WAIT:
        m->u.wait.retry_ms = 5000;
        sample_text(m->u.wait.why, TB_TEXT_BYTES, "no run now");
        break;
    case TB_MSG_OFFER:
        m->u.offer.config = (tb_span){sample_bytes, 77};
        FILL(m->u.offer.signature, 0x51);
        break;
    case TB_MSG_ACCEPT:
    case TB_MSG_DECLINE:
        FILL(m->u.answer.config.bytes, 0x52);
        sample_text(m->u.answer.why, TB_TEXT_BYTES, "no \xc3\xa9nergie");
        break;
    case TB_MSG_FETCH:
        FILL(m->u.fetch.blob.bytes, 0x53);
        m->u.fetch.offset = 1ull << 40;
        m->u.fetch.length = TB_FETCH_BYTES_MAX;
        break;
    case TB_MSG_CHUNK:
        FILL(m->u.chunk.blob.bytes, 0x54);
        m->u.chunk.offset = 100;
        m->u.chunk.total = 110;
        break;
    default:
        break;
    }
}

/* The kinds of an upload. */
static inline void sample_upload(tb_msg *m)
{
    switch ((int)m->kind) {
    case TB_MSG_UPLOAD_BEGIN:
        FILL(m->u.upload_begin.config.bytes, 0x55);
        FILL(m->u.upload_begin.upload.bytes, 0x56);
        FILL(m->u.upload_begin.header, 0x57);
        m->u.upload_begin.n_blocks = TB_BLOCKS_MAX;
        break;
    case TB_MSG_CREDIT:
        FILL(m->u.credit.upload.bytes, 0x58);
        m->u.credit.next = 4;
        m->u.credit.until = 12;
        break;
    case TB_MSG_BLOCK:
        FILL(m->u.block.upload.bytes, 0x59);
        m->u.block.index = TB_BLOCKS_MAX - 1;
        break;
    case TB_MSG_UPLOAD_END:
        FILL(m->u.upload_end.upload.bytes, 0x5a);
        FILL(m->u.upload_end.update.bytes, 0x5b);
        FILL(m->u.upload_end.signature, 0x5c);
        break;
    case TB_MSG_RECEIPT:
        FILL(m->u.receipt.config.bytes, 0x5d);
        FILL(m->u.receipt.update.bytes, 0x5e);
        FILL(m->u.receipt.head.bytes, 0x5f);
        FILL(m->u.receipt.signature, 0x60);
        m->u.receipt.sequence = UINT64_MAX;
        break;
    case TB_MSG_REFUSE:
        m->u.refuse.code = TB_REFUSE_LATE;
        m->u.refuse.about = TB_MSG_UPLOAD_END;
        m->u.refuse.retry_ms = 7;
        sample_text(m->u.refuse.why, TB_TEXT_BYTES, "round 3 has closed");
        break;
    default:
        break;
    }
}

/* The kinds of models, predictions and enrolment. */
static inline void sample_rest(tb_msg *m)
{
    switch ((int)m->kind) {
    case TB_MSG_MODEL_GET:
        CHECK(tb_name_set(&m->u.model_get.model, "fashion"));
        m->u.model_get.known_sequence = 2;
        break;
    case TB_MSG_MANIFEST:
        m->u.manifest.manifest = (tb_span){sample_bytes, 66};
        FILL(m->u.manifest.signature, 0x61);
        break;
    case TB_MSG_PREDICT:
        m->u.predict.request = 9;
        CHECK(tb_name_set(&m->u.predict.model, "fashion"));
        m->u.predict.n_rows = 2;
        break;
    case TB_MSG_PREDICTION:
        m->u.prediction.request = 9;
        m->u.prediction.sequence = 1;
        FILL(m->u.prediction.model.bytes, 0x62);
        m->u.prediction.n_rows = 2;
        m->u.prediction.n_outputs = 5;
        break;
    case TB_MSG_ENROL:
        FILL(m->u.enrol.invite, 0x63);
        FILL(m->u.enrol.sign_key, 0x64);
        FILL(m->u.enrol.curve_key, 0x65);
        FILL(m->u.enrol.proof, 0x66);
        FILL(m->u.enrol.signature, 0x67);
        break;
    case TB_MSG_ENROLLED:
        CHECK(tb_name_set(&m->u.enrolled.client, "edge-01"));
        sample_text(m->u.enrolled.endpoint, TB_ENDPOINT_BYTES,
                    "tcp://10.0.0.1:4712");
        m->u.enrolled.certificate =
            (tb_span){sample_bytes, sizeof sample_bytes};
        break;
    case TB_MSG_ROTATE:
        FILL(m->u.rotate.sign_key, 0x68);
        FILL(m->u.rotate.curve_key, 0x69);
        FILL(m->u.rotate.by_old, 0x6a);
        FILL(m->u.rotate.by_new, 0x6b);
        break;
    case TB_MSG_ROTATED:
        FILL(m->u.rotated.sign_key, 0x6c);
        FILL(m->u.rotated.curve_key, 0x6d);
        break;
    case TB_MSG_MOVE:
        m->u.move.move = (tb_span){sample_bytes, 66};
        break;
    default:
        break;
    }
}

static inline tb_msg sample_msg(tb_msg_kind kind)
{
    tb_msg m = {.kind = kind};
    sample_opening(&m);
    sample_upload(&m);
    sample_rest(&m);
    return m;
}

/* Bytes of the payload that goes with the sample of a kind. */
static inline size_t sample_payload(tb_msg_kind kind)
{
    return kind == TB_MSG_CHUNK        ? 10
           : kind == TB_MSG_BLOCK      ? 1000
           : kind == TB_MSG_PREDICT    ? 16
           : kind == TB_MSG_PREDICTION ? 40
                                       : 0;
}

static inline void sample_config(tb_round_config *c)
{
    static const char job[] = "loss=softmax_cross_entropy\nbatch=32\n";
    memset(c, 0, sizeof *c);
    c->protocol = 1;
    FILL(c->federation.bytes, 1);
    FILL(c->job.bytes, 2);
    FILL(c->run.bytes, 3);
    c->round = 1;
    c->attempt = 1;
    c->task = TB_TASK_EVALUATE;
    FILL(c->model.bytes, 4);
    c->model_bytes = 700000;
    FILL(c->model_stored.bytes, 5);
    c->model_stored_bytes = 600000;
    FILL(c->aggregation_key, 6);
    CHECK(tb_name_set(&c->codec, "f32"));
    c->fraction_bits = 30;
    c->max_abs = 8;
    c->max_weight = 65536;
    c->seed = 42;
    c->deadline_ms = 60000;
    CHECK(tb_name_set(&c->data_set, "fashion"));
    c->masked = true;
    c->n_sections = 2;
    CHECK(tb_name_set(&c->sections[0].name, "parameters"));
    c->sections[0].n_values = 199210;
    c->sections[0].weighted = true;
    CHECK(tb_name_set(&c->sections[1].name, "loss_sum"));
    c->sections[1].n_values = 1;
    c->n_job = sizeof job - 1;
    memcpy(c->job_text, job, sizeof job);
    c->epoch = 2;
    FILL(c->epoch_id, 7);
    c->epoch_row = 1u << 20;
}

static inline void sample_manifest(tb_manifest *m, tb_class_name *classes)
{
    memset(m, 0, sizeof *m);
    CHECK(tb_name_set(&m->name, "fashion"));
    m->sequence = 3;
    FILL(m->federation.bytes, 1);
    FILL(m->job.bytes, 2);
    FILL(m->run.bytes, 3);
    m->created_s = 1800000000;
    sample_text(m->software, TB_NAME_BYTES, "tributary 0.1.0");
    m->metrics.loss = 0.375F;
    m->metrics.n_samples = 2000;
    m->input.dtype = TB_INPUT_U8;
    m->input.rank = 2;
    m->input.dims[0] = 28;
    m->input.dims[1] = 28;
    m->output.n_values = 2;
    m->output.softmax = true;
    m->output.n_classes = 2;
    m->output.classes = classes;
    sample_text(classes[0].text, TB_CLASS_BYTES, "T-shirt/top");
    sample_text(classes[1].text, TB_CLASS_BYTES, "\xc3\x89t\xc3\xa9");
    m->served = true;
    m->standard = TB_ARTEFACT_INT8;
    m->n_artefacts = 2;
    for (uint32_t i = 0; i < 2; i++) {
        tb_artefact *a = &m->artefacts[i];
        a->role = i == 0 ? TB_ARTEFACT_FP32 : TB_ARTEFACT_INT8;
        FILL(a->raw.bytes, (int)(16 + i));
        a->raw_bytes = 700000 + i;
        FILL(a->stored.bytes, (int)(32 + i));
        a->stored_bytes = 600000 + i;
        a->accuracy = 0.875F;
        a->sparsity = 0.5F;
    }
}

#endif
