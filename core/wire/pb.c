/* Unpacking needs memory that the sender's bytes decide on (a field of two
 * bytes costs protobuf-c some fifty), so it gets a budget of its own. */
#include "wire/pb_priv.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"

#define BUDGET_PER_BYTE   8u
#define BUDGET_BASE_BYTES 16384u

typedef struct budget {
    size_t left;
    bool exceeded;
    bool no_memory;
} budget;

static void *budget_alloc(void *data, size_t size)
{
    budget *b = data;
    if (size > b->left) {
        b->exceeded = true;
        return NULL;
    }
    void *p = tb_mem_array(size, 1);
    if (p == NULL) {
        b->no_memory = true;
        return NULL;
    }
    b->left -= size;
    return p;
}

static void budget_free(void *data, void *p)
{
    (void)data; /* what was given back is not spent again */
    tb_mem_free(p);
}

tb_rc tb_pb_unpack(ProtobufCMessage **out,
                   const ProtobufCMessageDescriptor *descriptor,
                   const uint8_t *bytes, size_t len, size_t len_max,
                   tb_err *err)
{
    *out = NULL;
    if (len > len_max) {
        return tb_fail(err, TB_E_LIMIT, "%s: %zu bytes, at most %zu",
                       descriptor->short_name, len, len_max);
    }
    budget b = {BUDGET_BASE_BYTES + BUDGET_PER_BYTE * len, false, false};
    ProtobufCAllocator allocator = {budget_alloc, budget_free, &b};
    *out = protobuf_c_message_unpack(descriptor, &allocator, len, bytes);
    if (*out != NULL) {
        return TB_OK;
    }
    if (b.no_memory) {
        return tb_fail(err, TB_E_NOMEM, "%s: no memory for %zu bytes",
                       descriptor->short_name, len);
    }
    if (b.exceeded) {
        return tb_fail(err, TB_E_LIMIT, "%s: too many fields in %zu bytes",
                       descriptor->short_name, len);
    }
    return tb_fail(err, TB_E_MALFORMED, "%s: not a protobuf message",
                   descriptor->short_name);
}

void tb_pb_free(ProtobufCMessage **msg)
{
    ProtobufCAllocator allocator = {budget_alloc, budget_free, NULL};
    if (*msg != NULL) {
        protobuf_c_message_free_unpacked(*msg, &allocator);
        *msg = NULL;
    }
}

tb_rc tb_pb_pack(const ProtobufCMessage *msg, size_t len_max, tb_buf *out,
                 tb_err *err)
{
    size_t size = protobuf_c_message_get_packed_size(msg);
    if (size > len_max) {
        return tb_fail(err, TB_E_LIMIT, "%s: %zu bytes, at most %zu",
                       msg->descriptor->short_name, size, len_max);
    }
    tb_rc rc = tb_buf_reserve(out, size, err);
    if (rc == TB_OK && size > 0) {
        out->len += protobuf_c_message_pack(msg, out->data + out->len);
    }
    return rc;
}

/* A ProtobufCBuffer that compares instead of storing. */
typedef struct compare {
    ProtobufCBuffer base;
    const uint8_t *at;
    size_t left;
    bool differs;
} compare;

static void compare_append(ProtobufCBuffer *buffer, size_t len,
                           const uint8_t *data)
{
    compare *c = (compare *)buffer;
    if (c->differs || len > c->left ||
        (len > 0 && memcmp(c->at, data, len) != 0)) {
        c->differs = true;
        return;
    }
    c->at += len;
    c->left -= len;
}

bool tb_pb_same(const ProtobufCMessage *msg, const uint8_t *bytes, size_t len)
{
    compare c = {{compare_append}, bytes, len, false};
    (void)protobuf_c_message_pack_to_buffer(msg, &c.base);
    return !c.differs && c.left == 0;
}

/* Length of the UTF-8 sequence at s (RFC 3629), or 0 when it is none. */
static size_t utf8_length(const unsigned char *s)
{
    if (s[0] < 0x80) {
        return 1;
    }
    size_t n = s[0] >= 0xf0 ? 4 : s[0] >= 0xe0 ? 3 : 2;
    uint32_t code = s[0] & (0x7fu >> n);
    if (s[0] < 0xc2 || s[0] > 0xf4) {
        return 0;
    }
    for (size_t i = 1; i < n; i++) { /* the closing NUL ends this too */
        if ((s[i] & 0xc0) != 0x80) {
            return 0;
        }
        code = code << 6 | (s[i] & 0x3fu);
    }
    bool overlong = (n == 3 && code < 0x800) || (n == 4 && code < 0x10000);
    bool surrogate = code >= 0xd800 && code < 0xe000;
    bool control = code < 0xa0; /* C1; C0 and DEL are the caller's */
    return overlong || surrogate || control || code > 0x10ffff ? 0 : n;
}

bool tb_pb_text_clean(const char *text, size_t cap, bool lines)
{
    if (memchr(text, '\0', cap) == NULL) {
        return false;
    }
    for (const unsigned char *s = (const unsigned char *)text; *s != '\0';) {
        bool control = *s < 0x20 || *s == 0x7f;
        size_t n = utf8_length(s);
        if (n == 0 || (control && !(lines && (*s == '\n' || *s == '\t')))) {
            return false;
        }
        s += n;
    }
    return true;
}

static tb_rc check_number(const tb_field *f, uint64_t value, tb_err *err)
{
    if (value < f->min || value > f->max) {
        return tb_fail(err, TB_E_LIMIT, "%s=%llu outside %llu to %llu", f->name,
                       (unsigned long long)value, (unsigned long long)f->min,
                       (unsigned long long)f->max);
    }
    return TB_OK;
}

static tb_rc check_text(const tb_field *f, const char *text, tb_err *err)
{
    if (!tb_pb_text_clean(text, f->size, false)) {
        return tb_fail(err, TB_E_MALFORMED,
                       "%s: not UTF-8 text without control characters",
                       f->name);
    }
    if (strlen(text) < f->min) {
        return tb_fail(err, TB_E_MALFORMED, "%s: empty", f->name);
    }
    return TB_OK;
}

static tb_rc check_field(const tb_field *f, const uint8_t *at, tb_err *err)
{
    uint32_t u32 = 0;
    uint64_t u64 = 0;
    float f32 = 0;
    tb_span span = {0};
    switch (f->kind) {
    case TB_FIELD_U32:
        memcpy(&u32, at, sizeof u32);
        return check_number(f, u32, err);
    case TB_FIELD_U64:
        memcpy(&u64, at, sizeof u64);
        return check_number(f, u64, err);
    case TB_FIELD_F32:
        memcpy(&f32, at, sizeof f32);
        if (!isfinite(f32) || f32 < 0) {
            return tb_fail(err, TB_E_MALFORMED, "%s: not a number from 0 on",
                           f->name);
        }
        return TB_OK;
    case TB_FIELD_NAME:
        if (memchr(at, '\0', TB_NAME_BYTES) == NULL ||
            !tb_name_valid((const char *)at)) {
            return tb_fail(err, TB_E_MALFORMED, "%s: not a name", f->name);
        }
        return TB_OK;
    case TB_FIELD_TEXT:
        return check_text(f, (const char *)at, err);
    case TB_FIELD_SPAN:
        memcpy(&span, at, sizeof span);
        return check_number(f, span.len, err);
    case TB_FIELD_BOOL:
    case TB_FIELD_FIXED:
        break;
    }
    return TB_OK;
}

tb_rc tb_fields_check(const void *plain, const tb_field *fields, size_t n,
                      tb_err *err)
{
    for (size_t i = 0; i < n; i++) {
        const uint8_t *at = (const uint8_t *)plain + fields[i].at;
        tb_rc rc = check_field(&fields[i], at, err);
        if (rc != TB_OK) {
            return rc;
        }
    }
    return TB_OK;
}

static void lend_bytes(uint8_t *pb, tb_span span)
{
    ProtobufCBinaryData bytes = {.len = span.len};
    memcpy(&bytes.data, &span.data, sizeof span.data); /* only read */
    memcpy(pb, &bytes, sizeof bytes);
}

static void lend_field(uint8_t *pb, const uint8_t *at, const tb_field *f)
{
    protobuf_c_boolean truth = 0;
    tb_span span = {0};
    switch (f->kind) {
    case TB_FIELD_BOOL:
        truth = *(const bool *)at;
        memcpy(pb, &truth, sizeof truth);
        break;
    case TB_FIELD_NAME:
    case TB_FIELD_TEXT:
        memcpy(pb, &at, sizeof at); /* a char * that nobody writes through */
        break;
    case TB_FIELD_SPAN:
        memcpy(&span, at, sizeof span);
        lend_bytes(pb, span);
        break;
    case TB_FIELD_FIXED:
        lend_bytes(pb, (tb_span){at, f->size});
        break;
    case TB_FIELD_U32:
    case TB_FIELD_U64:
    case TB_FIELD_F32:
        memcpy(pb, at, f->size);
        break;
    }
}

void tb_fields_lend(void *pb, const void *plain, const tb_field *fields,
                    size_t n)
{
    for (size_t i = 0; i < n; i++) {
        lend_field((uint8_t *)pb + fields[i].pb_at,
                   (const uint8_t *)plain + fields[i].at, &fields[i]);
    }
}

static tb_rc take_text(uint8_t *at, const uint8_t *pb, const tb_field *f,
                       tb_err *err)
{
    const char *text = NULL;
    memcpy(&text, pb, sizeof text);
    size_t len = strlen(text);
    if (len >= f->size) {
        return tb_fail(err, TB_E_LIMIT, "%s: %zu bytes, at most %zu", f->name,
                       len, f->size - 1);
    }
    memcpy(at, text, len + 1);
    return TB_OK;
}

static tb_rc take_fixed(uint8_t *at, const uint8_t *pb, const tb_field *f,
                        tb_err *err)
{
    ProtobufCBinaryData bytes;
    memcpy(&bytes, pb, sizeof bytes);
    if (bytes.len != f->size) {
        return tb_fail(err, TB_E_MALFORMED, "%s: %zu bytes instead of %zu",
                       f->name, bytes.len, f->size);
    }
    memcpy(at, bytes.data, f->size);
    return TB_OK;
}

static tb_rc take_field(uint8_t *at, const uint8_t *pb, const tb_field *f,
                        tb_err *err)
{
    protobuf_c_boolean truth = 0;
    ProtobufCBinaryData bytes = {0};
    tb_span span = {0};
    switch (f->kind) {
    case TB_FIELD_BOOL:
        memcpy(&truth, pb, sizeof truth);
        *(bool *)at = truth != 0;
        return TB_OK;
    case TB_FIELD_NAME:
    case TB_FIELD_TEXT:
        return take_text(at, pb, f, err);
    case TB_FIELD_FIXED:
        return take_fixed(at, pb, f, err);
    case TB_FIELD_SPAN:
        memcpy(&bytes, pb, sizeof bytes);
        span = (tb_span){bytes.data, bytes.len};
        memcpy(at, &span, sizeof span);
        return TB_OK;
    case TB_FIELD_U32:
    case TB_FIELD_U64:
    case TB_FIELD_F32:
        memcpy(at, pb, f->size);
        break;
    }
    return TB_OK;
}

tb_rc tb_fields_take(void *plain, const void *pb, const tb_field *fields,
                     size_t n, tb_err *err)
{
    for (size_t i = 0; i < n; i++) {
        tb_rc rc =
            take_field((uint8_t *)plain + fields[i].at,
                       (const uint8_t *)pb + fields[i].pb_at, &fields[i], err);
        if (rc != TB_OK) {
            return rc;
        }
    }
    return tb_fields_check(plain, fields, n, err);
}
