/* core/model/onnx_lift.c - a model's message without the bytes of its tensors,
 * out of a stream and into one. Knows of ONNX's schema only the numbers of the
 * fields on the way to an initialiser's bytes; whether the rest is a model is
 * for the decoder. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "model/onnx_external.h"

#define WINDOW_BYTES  ((size_t)64 << 10)
#define VARINT_BYTES  10
#define NAME_BYTES    1025
#define ENTRY_BYTES   64 /* of one of ours, at most */
#define FIELD(number) ((uint64_t)(number) << 3 | WIRE_BYTES)

enum { WIRE_VARINT = 0, WIRE_64 = 1, WIRE_BYTES = 2, WIRE_32 = 5 };
enum { MODEL, GRAPH, TENSOR }; /* where in the message */

static const uint64_t inner[] = {[MODEL] = FIELD(7),  /* graph */
                                 [GRAPH] = FIELD(5)}; /* initializer */
#define NAME     FIELD(8)
#define RAW_DATA FIELD(9)
#define EXTERNAL FIELD(13)
#define LOCATION ((uint64_t)14 << 3 | WIRE_VARINT)

/* --- out of a file -------------------------------------------------------- */

typedef struct stream {
    int fd;
    uint64_t at;
    uint8_t *window; /* [WINDOW_BYTES] owned: bytes from window_at on */
    uint64_t window_at;
    size_t in_window;
    size_t min;
    tb_onnx_locate_fn *each; /* may be NULL */
    void *arg;
    char name[NAME_BYTES];  /* of the tensor at hand */
    uint64_t raw_at, n_raw; /* where its raw data lie */
} stream;

/* Bytes of the file from s->at on, at least one and as many as the window has:
 * 0 when there are none. */
static size_t look(stream *s, const uint8_t **out, tb_err *err, tb_rc *rc)
{
    if (s->at < s->window_at || s->at >= s->window_at + s->in_window) {
        ssize_t n;
        do {
            n = pread(s->fd, s->window, WINDOW_BYTES, (off_t)s->at);
        } while (n < 0 && errno == EINTR);
        if (n <= 0) {
            *rc = n < 0 ? tb_fail_errno(err, errno, "reading a model")
                        : tb_fail(err, TB_E_MALFORMED, "onnx: cut off");
            return 0;
        }
        s->window_at = s->at;
        s->in_window = (size_t)n;
    }
    *out = s->window + (s->at - s->window_at);
    return s->in_window - (size_t)(s->at - s->window_at);
}

static tb_rc copy(stream *s, tb_buf *out, uint64_t n, tb_err *err)
{
    tb_rc rc = TB_OK;
    while (rc == TB_OK && n > 0) {
        const uint8_t *from = NULL;
        size_t some = look(s, &from, err, &rc);
        some = some < n ? some : (size_t)n;
        if (rc == TB_OK) {
            rc = tb_buf_put(out, from, some, err);
            s->at += some;
            n -= some;
        }
    }
    return rc;
}

static tb_rc take_varint(stream *s, uint64_t end, uint64_t *out, tb_err *err)
{
    uint8_t byte = 0x80;
    tb_rc rc = TB_OK;
    *out = 0;
    for (unsigned shift = 0; rc == TB_OK && (byte & 0x80) != 0; shift += 7) {
        const uint8_t *from = NULL;
        if (shift > 63 || s->at >= end) {
            return tb_fail(err, TB_E_MALFORMED, "onnx: a number is cut off");
        }
        if (look(s, &from, err, &rc) > 0) {
            byte = *from;
            *out |= (uint64_t)(byte & 0x7f) << shift;
            s->at++;
        }
    }
    return rc;
}

/* How many bytes it took. */
static size_t encode_varint(uint8_t bytes[static VARINT_BYTES], uint64_t v)
{
    size_t n = 0;
    while (v > 0x7f) {
        bytes[n++] = (uint8_t)(v | 0x80);
        v >>= 7;
    }
    bytes[n++] = (uint8_t)v;
    return n;
}

static tb_rc put_varint(tb_buf *out, uint64_t v, tb_err *err)
{
    uint8_t bytes[VARINT_BYTES];
    return tb_buf_put(out, bytes, encode_varint(bytes, v), err);
}

/* TensorProto.external_data: {"key", "value"}. */
static tb_rc put_entry(tb_buf *out, const char *key, const char *value,
                       tb_err *err)
{
    uint8_t entry[ENTRY_BYTES];
    size_t n_key = strlen(key);
    size_t n_value = strlen(value);
    uint8_t *at = entry;
    *at++ = (uint8_t)EXTERNAL;
    *at++ = (uint8_t)(n_key + n_value + 4);
    *at++ = (uint8_t)FIELD(1);
    *at++ = (uint8_t)n_key;
    memcpy(at, key, n_key);
    at += n_key;
    *at++ = (uint8_t)FIELD(2);
    *at++ = (uint8_t)n_value;
    memcpy(at, value, n_value);
    return tb_buf_put(out, entry, n_key + n_value + 6, err);
}

static tb_rc put_number(tb_buf *out, const char *key, uint64_t v, tb_err *err)
{
    char digits[24];
    (void)snprintf(digits, sizeof digits, "%llu", (unsigned long long)v);
    return put_entry(out, key, digits, err);
}

/* In the place of n bytes of raw data: where they lie. */
static tb_rc leave_out(stream *s, tb_buf *out, uint64_t n, tb_err *err)
{
    static const uint8_t external[] = {LOCATION, 1};
    tb_rc rc = put_entry(out, "location", TB_ONNX_EXTERNAL_SELF, err);
    if (rc == TB_OK) {
        rc = put_number(out, "offset", s->at, err);
    }
    if (rc == TB_OK) {
        rc = put_number(out, "length", n, err);
    }
    if (rc == TB_OK) {
        rc = tb_buf_put(out, external, sizeof external, err);
    }
    s->raw_at = s->at;
    s->n_raw = n;
    s->at += n;
    return rc;
}

static tb_rc lift_message(stream *s, tb_buf *out, int level, uint64_t end,
                          tb_err *err);

/* A message within the message, which gets shorter. */
static tb_rc lift_inner(stream *s, tb_buf *out, int level, uint64_t n,
                        tb_err *err)
{
    tb_buf body;
    tb_buf_init(&body, out->max);
    s->name[0] = '\0';
    s->n_raw = 0;
    tb_rc rc = lift_message(s, &body, level + 1, s->at + n, err);
    if (rc == TB_OK && level == GRAPH && s->each != NULL) {
        rc = s->each(s->arg, s->name, s->raw_at, s->n_raw, err);
    }
    if (rc == TB_OK) {
        rc = put_varint(out, inner[level], err);
    }
    if (rc == TB_OK) {
        rc = put_varint(out, body.len, err);
    }
    if (rc == TB_OK) {
        rc = tb_buf_put(out, body.data, body.len, err);
    }
    tb_buf_release(&body);
    return rc;
}

/* A field with a length, which was read. */
static tb_rc lift_bytes(stream *s, tb_buf *out, int level, uint64_t key,
                        uint64_t n, tb_err *err)
{
    if (level < TENSOR && key == inner[level]) {
        return lift_inner(s, out, level, n, err);
    }
    if (level == TENSOR && key == RAW_DATA && n >= s->min) {
        return leave_out(s, out, n, err);
    }
    tb_rc rc = put_varint(out, key, err);
    if (rc == TB_OK) {
        rc = put_varint(out, n, err);
    }
    if (rc == TB_OK) {
        rc = copy(s, out, n, err);
    }
    if (rc == TB_OK && level == TENSOR && key == NAME && n < NAME_BYTES) {
        memcpy(s->name, out->data + out->len - n, n);
        s->name[n] = '\0';
    }
    return rc;
}

static tb_rc lift_message(stream *s, tb_buf *out, int level, uint64_t end,
                          tb_err *err)
{
    tb_rc rc = TB_OK;
    while (rc == TB_OK && s->at < end) {
        uint64_t key = 0;
        uint64_t n = 0;
        rc = take_varint(s, end, &key, err);
        unsigned wire = key & 7;
        if (rc == TB_OK && (wire == WIRE_VARINT || wire == WIRE_BYTES)) {
            rc = take_varint(s, end, &n, err);
        }
        if (rc != TB_OK) {
            return rc;
        }
        uint64_t size = wire == WIRE_64 ? 8 : wire == WIRE_32 ? 4 : n;
        if (wire != WIRE_VARINT && size > end - s->at) {
            return tb_fail(err, TB_E_MALFORMED, "onnx: a field is cut off");
        }
        if (wire == WIRE_BYTES) {
            rc = lift_bytes(s, out, level, key, n, err);
            continue;
        }
        rc = put_varint(out, key, err);
        if (rc == TB_OK && wire == WIRE_VARINT) {
            rc = put_varint(out, n, err);
        } else if (rc == TB_OK && (wire == WIRE_64 || wire == WIRE_32)) {
            rc = copy(s, out, size, err);
        } else if (rc == TB_OK) {
            rc = tb_fail(err, TB_E_MALFORMED, "onnx: wire type %u", wire);
        }
    }
    return rc;
}

static tb_rc lift(stream *s, tb_buf *out, tb_err *err)
{
    struct stat st;
    size_t before = out->len;
    if (fstat(s->fd, &st) != 0) {
        return tb_fail_errno(err, errno, "reading a model");
    }
    s->window = tb_mem_array(WINDOW_BYTES, 1);
    tb_rc rc = s->window != NULL
                   ? lift_message(s, out, MODEL, (uint64_t)st.st_size, err)
                   : tb_fail(err, TB_E_NOMEM, "reading a model");
    if (rc != TB_OK) {
        out->len = before;
    }
    tb_mem_free(s->window);
    return rc;
}

tb_rc tb_onnx_lift(tb_buf *out, int fd, size_t min, tb_err *err)
{
    stream s = {.fd = fd, .min = min};
    return lift(&s, out, err);
}

tb_rc tb_onnx_locate(int fd, tb_onnx_locate_fn *each, void *arg, tb_err *err)
{
    tb_buf rest;
    stream s = {.fd = fd, .min = 1, .each = each, .arg = arg};
    tb_buf_init(&rest, tb_onnx_limits_local.bytes);
    tb_rc rc = lift(&s, &rest, err);
    tb_buf_release(&rest);
    return rc;
}

/* --- into a file ---------------------------------------------------------- */

/* A message whose tensors are external, on its way to be whole again. */
typedef struct writer {
    int fd;                    /* -1: only counts */
    tb_buf wait;               /* what is not written yet */
    uint64_t n;                /* bytes so far */
    const tb_file_part *parts; /* of the layout: a gap and bytes a tensor */
    size_t next;               /* tensor */
} writer;

static tb_rc flush(writer *w, tb_err *err)
{
    size_t n = w->wait.len;
    w->wait.len = 0;
    return n > 0 ? tb_file_write_fd(w->fd, w->wait.data, n, err) : TB_OK;
}

static tb_rc put(writer *w, const void *bytes, size_t n, tb_err *err)
{
    tb_rc rc = TB_OK;
    w->n += n;
    if (w->fd < 0) {
        return TB_OK;
    }
    if (n > w->wait.max - w->wait.len) {
        rc = flush(w, err);
    }
    if (rc != TB_OK) {
        return rc;
    }
    return n > w->wait.max ? tb_file_write_fd(w->fd, bytes, n, err)
                           : tb_buf_put(&w->wait, bytes, n, err);
}

static tb_rc put_head(writer *w, uint64_t key, uint64_t n, tb_err *err)
{
    uint8_t bytes[2 * VARINT_BYTES];
    size_t at = encode_varint(bytes, key);
    at += encode_varint(bytes + at, n);
    return put(w, bytes, at, err);
}

static tb_rc fill_message(writer *w, tb_cursor body, int level, tb_err *err);

/* A message within the message, which gets longer. */
static tb_rc fill_inner(writer *w, tb_cursor body, int level, tb_err *err)
{
    writer count = {.fd = -1, .parts = w->parts, .next = w->next};
    tb_rc rc = fill_message(&count, body, level + 1, err);
    if (rc == TB_OK) {
        rc = put_head(w, inner[level], count.n, err);
    }
    return rc == TB_OK ? fill_message(w, body, level + 1, err) : rc;
}

static uint64_t next_varint(tb_cursor *c)
{
    uint64_t v = 0;
    unsigned shift = 0;
    do {
        v |= (uint64_t)(*c->at & 0x7f) << shift;
        shift += 7;
        c->left--;
    } while ((*c->at++ & 0x80) != 0);
    return v;
}

/* Our own writer's bytes: they are sound. */
static tb_rc fill_message(writer *w, tb_cursor body, int level, tb_err *err)
{
    bool external = false;
    tb_rc rc = TB_OK;
    while (rc == TB_OK && body.left > 0) {
        const uint8_t *from = body.at;
        uint64_t key = next_varint(&body);
        uint64_t n = (key & 7) == WIRE_64   ? 8
                     : (key & 7) == WIRE_32 ? 4
                                            : next_varint(&body);
        tb_cursor field = {body.at, (key & 7) == WIRE_VARINT ? 0 : (size_t)n};
        body.at += field.left;
        body.left -= field.left;
        if (level < TENSOR && key == inner[level]) {
            rc = fill_inner(w, field, level, err);
        } else if (level == TENSOR && (key == EXTERNAL || key == LOCATION)) {
            external = true;
        } else {
            rc = put(w, from, (size_t)(body.at - from), err);
        }
    }
    if (rc == TB_OK && external) {
        const tb_file_part *part = &w->parts[2 * w->next + 1];
        w->next++;
        rc = put_head(w, RAW_DATA, part->len, err);
        if (rc == TB_OK) {
            rc = put(w, part->bytes, part->len, err);
        }
    }
    return rc;
}

tb_rc tb_onnx_write_fd(int fd, const tb_graph *graph, tb_err *err)
{
    tb_buf message;
    tb_onnx_layout layout = {
        .location = TB_ONNX_EXTERNAL_SELF,
        .parts = tb_mem_array(2 * graph->n_values, sizeof layout.parts[0])};
    writer w = {.fd = fd, .parts = layout.parts};
    tb_buf_init(&message, tb_onnx_limits_local.bytes);
    tb_buf_init(&w.wait, WINDOW_BYTES);
    tb_rc rc = layout.parts != NULL
                   ? tb_onnx_write_layout(&message, graph, &layout, err)
                   : tb_fail(err, TB_E_NOMEM, "writing a model");
    if (rc == TB_OK) {
        const tb_cursor body = {message.data, message.len};
        rc = fill_message(&w, body, MODEL, err);
    }
    if (rc == TB_OK) {
        rc = flush(&w, err);
    }
    tb_buf_release(&w.wait);
    tb_buf_release(&message);
    tb_mem_free(layout.parts);
    return rc;
}
