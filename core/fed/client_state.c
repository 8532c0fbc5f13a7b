#include <string.h>

#include "fed/client_priv.h"

#define STATE_VERSION 1u
#define HAS_SEALED    1u
#define HAS_RECEIPT   2u

static const char magic[4] = {'T', 'B', 'C', 'S'};

/* Copies between the state's bytes and the machine's fields, in one order. */
typedef struct walk {
    uint8_t *out;      /* writing, or NULL */
    const uint8_t *in; /* reading */
    size_t at;
} walk;

static void raw(walk *w, void *field, size_t n)
{
    if (w->out != NULL) {
        memcpy(w->out + w->at, field, n);
    } else {
        memcpy(field, w->in + w->at, n);
    }
    w->at += n;
}

static void u32(walk *w, uint32_t *v)
{
    uint8_t bytes[4];
    tb_le32_put(bytes, *v);
    raw(w, bytes, sizeof bytes);
    *v = tb_le32_get(bytes);
}

static void u64(walk *w, uint64_t *v)
{
    uint8_t bytes[8];
    tb_le64_put(bytes, *v);
    raw(w, bytes, sizeof bytes);
    *v = tb_le64_get(bytes);
}

typedef struct state {
    char magic[4];
    uint32_t version, flags;
    tb_hash sealed_for;
    tb_sealed sealed;
    tb_msg_receipt receipt;
    uint32_t epoch;
    uint8_t epoch_id[TB_EPOCH_ID_BYTES];
} state;

static void fields(walk *w, state *s)
{
    raw(w, s->magic, sizeof s->magic);
    u32(w, &s->version);
    u32(w, &s->flags);
    raw(w, s->sealed_for.bytes, TB_HASH_BYTES);
    raw(w, s->sealed.upload.bytes, TB_UPLOAD_ID_BYTES);
    raw(w, s->sealed.header, sizeof s->sealed.header);
    u32(w, &s->sealed.n_blocks);
    raw(w, s->sealed.update.bytes, TB_HASH_BYTES);
    raw(w, s->sealed.signature, sizeof s->sealed.signature);
    raw(w, s->receipt.config.bytes, TB_HASH_BYTES);
    raw(w, s->receipt.update.bytes, TB_HASH_BYTES);
    u64(w, &s->receipt.sequence);
    raw(w, s->receipt.head.bytes, TB_HASH_BYTES);
    raw(w, s->receipt.signature, sizeof s->receipt.signature);
    u32(w, &s->epoch);
    raw(w, s->epoch_id, sizeof s->epoch_id);
}

#define FIELDS_BYTES                                                           \
    (4 + 4 + 4 + 32 + TB_UPLOAD_ID_BYTES + TB_UPLOAD_HEADER_BYTES + 4 + 32 +   \
     TB_SIGNATURE_BYTES + 32 + 32 + 8 + 32 + TB_SIGNATURE_BYTES + 4 +          \
     TB_EPOCH_ID_BYTES)
_Static_assert(FIELDS_BYTES + TB_HASH_BYTES <= TB_CLIENT_STATE_BYTES_MAX,
               "the state fits");

size_t tb_cl_state_encode(const tb_client *cl,
                          uint8_t out[static TB_CLIENT_STATE_BYTES_MAX])
{
    state s = {
        .version = STATE_VERSION, .receipt = cl->receipt, .epoch = cl->epoch};
    memcpy(s.magic, magic, sizeof magic);
    memcpy(s.epoch_id, cl->epoch_id, sizeof s.epoch_id);
    if (cl->has_sealed) {
        s.flags |= HAS_SEALED;
        s.sealed_for = cl->sealed_for;
        s.sealed = cl->sealed;
    }
    if (cl->receipt.sequence > 0) {
        s.flags |= HAS_RECEIPT;
    }
    walk w = {.out = out};
    fields(&w, &s);
    tb_hash hash = tb_hash_of(out, FIELDS_BYTES);
    memcpy(out + FIELDS_BYTES, hash.bytes, TB_HASH_BYTES);
    return FIELDS_BYTES + TB_HASH_BYTES;
}

static tb_rc read_fields(state *s, const uint8_t *bytes, size_t len,
                         tb_err *err)
{
    static const char mend[] = "remove it: an update that was not sent yet is "
                               "made again";
    if (len != FIELDS_BYTES + TB_HASH_BYTES) {
        return tb_fail(err, TB_E_MALFORMED, "client state: %zu bytes; %s", len,
                       mend);
    }
    tb_hash hash = tb_hash_of(bytes, FIELDS_BYTES);
    walk w = {.in = bytes};
    fields(&w, s);
    if (memcmp(hash.bytes, bytes + FIELDS_BYTES, TB_HASH_BYTES) != 0 ||
        memcmp(s->magic, magic, sizeof magic) != 0) {
        return tb_fail(err, TB_E_MALFORMED, "client state: altered; %s", mend);
    }
    if (s->version != STATE_VERSION ||
        (s->flags & ~(HAS_SEALED | HAS_RECEIPT)) != 0) {
        return tb_fail(err, TB_E_UNSUPPORTED, "client state: version %u; %s",
                       s->version, mend);
    }
    return TB_OK;
}

tb_rc tb_cl_state_decode(tb_client *cl, const uint8_t *bytes, size_t len,
                         tb_err *err)
{
    state s;
    tb_rc rc = read_fields(&s, bytes, len, err);
    if (rc != TB_OK) {
        return rc;
    }
    cl->has_sealed = (s.flags & HAS_SEALED) != 0;
    cl->sealed_for = s.sealed_for;
    cl->sealed = s.sealed;
    cl->receipt = s.receipt;
    cl->epoch = s.epoch;
    memcpy(cl->epoch_id, s.epoch_id, sizeof cl->epoch_id);
    return TB_OK;
}

tb_rc tb_client_past_read(tb_client_past *out, const uint8_t *bytes, size_t len,
                          tb_err *err)
{
    state s;
    tb_rc rc = read_fields(&s, bytes, len, err);
    if (rc == TB_OK) {
        *out = (tb_client_past){.receipt = s.receipt, .epoch = s.epoch};
        memcpy(out->epoch_id, s.epoch_id, sizeof out->epoch_id);
    }
    return rc;
}
