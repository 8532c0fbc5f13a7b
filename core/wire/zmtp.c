#include "wire/zmtp.h"

#include <assert.h>
#include <string.h>
#include <strings.h>

#include "base/mem.h"

#define SIGNATURE_BYTES    10
#define GREETING_BYTES     64
#define AT_VERSION         10
#define AT_MECHANISM       12
#define AT_AS_SERVER       32
#define MECHANISM_BYTES    20
#define INITIATE_BYTES_MAX 1024
#define PING_BYTES_MAX     23         /* "\4PING" | ttl 2 | context 16 */
#define FRAME_BYTES_MAX    (1u << 30) /* of any limit */
#define GAP_BYTES_MIN      8192 /* less is cheaper to copy than to ask for */

/* Bits of a frame's flags. */
#define FLAG_LONG    0x02
#define FLAG_COMMAND 0x04

enum { GREETING, HELLO, INITIATE, JUDGE, TRAFFIC, OVER };

static const char mechanism[MECHANISM_BYTES] = "CURVE";

static const char our_metadata[] = "\x0bSocket-Type\0\0\0\x06ROUTER"
                                   "\x08Identity\0\0\0";
/* The NUL that closes the text is the last byte of the identity's size. */
_Static_assert(2 + TB_CURVE_READY_BYTES_MIN + sizeof our_metadata <=
                   TB_ZMTP_ANSWER_BYTES_MAX,
               "READY");
_Static_assert(2 + TB_CURVE_WELCOME_BYTES <= TB_ZMTP_ANSWER_BYTES_MAX,
               "WELCOME");
_Static_assert(GREETING_BYTES <= TB_ZMTP_ANSWER_BYTES_MAX, "greeting");

void tb_zmtp_init(tb_zmtp *z, tb_curve_door *door, const tb_zmtp_limits *limits)
{
    assert(limits->n_frames == 1 || limits->n_frames == 2);
    assert(limits->frame_bytes[0] <= FRAME_BYTES_MAX);
    assert(limits->frame_bytes[1] <= FRAME_BYTES_MAX);
    *z = (tb_zmtp){.door = door, .limits = limits, .state = GREETING};
}

static void drop_body(tb_zmtp *z)
{
    tb_mem_free(z->body);
    z->body = NULL;
    z->body_bytes = 0;
    z->body_room = 0;
    z->body_have = 0;
}

void tb_zmtp_release(tb_zmtp *z)
{
    drop_body(z);
    tb_curve_release(&z->curve);
    z->state = OVER;
}

static tb_rc malformed(tb_err *err, const char *what)
{
    return tb_fail(err, TB_E_MALFORMED, "%s", what);
}

/* What is wrong with this byte at this place of a greeting, or NULL. */
static const char *greeting_fault(size_t at, uint8_t byte)
{
    if ((at == 0 && byte != 0xff) ||
        (at == SIGNATURE_BYTES - 1 && byte != 0x7f)) {
        return "the greeting is not one of ZMTP";
    }
    if (at == AT_VERSION && byte < 3) {
        return "the greeting is of a ZMTP older than 3";
    }
    if (at >= AT_MECHANISM && at < AT_AS_SERVER &&
        byte != (uint8_t)mechanism[at - AT_MECHANISM]) {
        return "the greeting does not ask for CURVE";
    }
    if (at == AT_AS_SERVER && byte != 0) {
        return "the greeting is a server's";
    }
    return NULL; /* padding, the minor version, and what is yet to be defined */
}

static void answer_greeting(tb_zmtp_event *out)
{
    memset(out->answer, 0, GREETING_BYTES);
    out->answer[0] = 0xff;
    out->answer[SIGNATURE_BYTES - 2] = 1;
    out->answer[SIGNATURE_BYTES - 1] = 0x7f;
    out->answer[AT_VERSION] = 3;
    out->answer[AT_VERSION + 1] = 1;
    memcpy(out->answer + AT_MECHANISM, mechanism, sizeof mechanism);
    out->answer[AT_AS_SERVER] = 1;
    out->n_answer = GREETING_BYTES;
    out->kind = TB_ZMTP_ANSWER;
}

static tb_rc read_greeting(tb_zmtp *z, const uint8_t *bytes, size_t n,
                           size_t *used, tb_zmtp_event *out, tb_err *err)
{
    for (*used = 0; *used < n && out->kind == TB_ZMTP_NOTHING &&
                    z->head_have < GREETING_BYTES;
         (*used)++) {
        const char *fault = greeting_fault(z->head_have, bytes[*used]);
        if (fault != NULL) {
            return malformed(err, fault);
        }
        z->head_have++;
        if (z->head_have == SIGNATURE_BYTES) {
            answer_greeting(out);
        }
    }
    if (z->head_have == GREETING_BYTES) {
        z->head_have = 0;
        z->state = HELLO;
    }
    return TB_OK;
}

/* The handshake is made of commands; a box of the traffic says itself what it
 * holds, and libzmq calls its frame none. */
static bool flags_fit(const tb_zmtp *z, uint8_t flags)
{
    return z->state == TRAFFIC ? (flags & ~(FLAG_LONG | FLAG_COMMAND)) == 0
                               : (flags & ~FLAG_LONG) == FLAG_COMMAND;
}

static uint64_t size_in(const uint8_t *head)
{
    if ((head[0] & FLAG_LONG) == 0) {
        return head[1];
    }
    uint64_t size = 0;
    for (size_t i = 1; i < TB_ZMTP_HEADER_BYTES_MAX; i++) {
        size = size << 8 | head[i];
    }
    return size;
}

/* The size of a frame against what may come next, before it sizes memory. */
static tb_rc check_size(const tb_zmtp *z, uint64_t size, tb_err *err)
{
    uint64_t least = TB_CURVE_MESSAGE_BYTES_MIN;
    uint64_t most = z->limits->frame_bytes[z->frame] + least;
    if (z->state == HELLO) {
        least = most = TB_CURVE_HELLO_BYTES;
    } else if (z->state == INITIATE) {
        least = TB_CURVE_INITIATE_BYTES_MIN;
        most = INITIATE_BYTES_MAX;
    }
    if (size < least) {
        return malformed(err, "a frame is too short to be what must come");
    }
    if (size > most) {
        return tb_fail(err, TB_E_LIMIT, "a frame of %llu bytes, over %llu",
                       (unsigned long long)size, (unsigned long long)most);
    }
    return TB_OK;
}

/* Bytes of the head of a frame, as far as is known. */
static size_t head_bytes(const tb_zmtp *z)
{
    bool is_long = z->head_have > 0 && (z->head[0] & FLAG_LONG) != 0;
    return is_long ? TB_ZMTP_HEADER_BYTES_MAX : 2;
}

/* Memory for so many bytes of the body. Not zeroed: what nothing has come for
 * stays untouched. */
static bool make_room(tb_zmtp *z, size_t n)
{
    uint8_t *body = n > z->body_room ? tb_mem_resize(z->body, n, 1) : z->body;
    if (body != NULL) {
        z->body = body;
        z->body_room = n > z->body_room ? (uint32_t)n : z->body_room;
    }
    return body != NULL;
}

static tb_rc no_memory(const tb_zmtp *z, tb_err *err)
{
    return tb_fail(err, TB_E_NOMEM, "no memory for a frame of %lu bytes",
                   (unsigned long)z->body_bytes);
}

/* Reads a frame's flags and size, and makes room for the begin of its body. */
static tb_rc read_head(tb_zmtp *z, const uint8_t *bytes, size_t n, size_t *used,
                       tb_err *err)
{
    for (*used = 0; *used < n && z->head_have < head_bytes(z); (*used)++) {
        z->head[z->head_have++] = bytes[*used];
        if (!flags_fit(z, z->head[0])) {
            return malformed(err, "a frame's flags are not those of what "
                                  "must come");
        }
    }
    if (z->head_have < head_bytes(z)) {
        return TB_OK;
    }
    uint64_t size = size_in(z->head);
    tb_rc rc = check_size(z, size, err);
    if (rc != TB_OK) {
        return rc;
    }
    z->body_bytes = (uint32_t)size;
    z->body_have = 0;
    z->head_have = 0;
    return make_room(z, size < TB_ZMTP_FIRST_BYTES ? (size_t)size
                                                   : TB_ZMTP_FIRST_BYTES)
               ? TB_OK
               : no_memory(z, err);
}

/* Whether a peer with this kind of socket may talk to a ROUTER. */
static bool talks_to_router(const uint8_t *type, size_t n)
{
    static const char *const kinds[] = {"DEALER", "REQ", "ROUTER"};
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        if (n == strlen(kinds[i]) && memcmp(type, kinds[i], n) == 0) {
            return true;
        }
    }
    return false;
}

/* Takes n bytes from the front of what is left, or returns NULL. */
static const uint8_t *take(const uint8_t **at, size_t *left, size_t n)
{
    const uint8_t *taken = *at;
    if (n > *left) {
        return NULL;
    }
    *at += n;
    *left -= n;
    return taken;
}

/* Properties are: size 1 | name | size 4, big-endian | value. Names we do not
 * know mean nothing to us. */
static tb_rc check_metadata(const uint8_t *at, size_t left, tb_err *err)
{
    static const char name_of_type[] = "Socket-Type";
    bool named = false;
    while (left > 0) {
        size_t n_name = *take(&at, &left, 1);
        const uint8_t *name = take(&at, &left, n_name);
        const uint8_t *size = name != NULL ? take(&at, &left, 4) : NULL;
        if (n_name == 0 || size == NULL) {
            return malformed(err, "INITIATE has broken metadata");
        }
        size_t n = (size_t)size[0] << 24 | (size_t)size[1] << 16 |
                   (size_t)size[2] << 8 | size[3];
        const uint8_t *value = take(&at, &left, n);
        if (value == NULL) {
            return malformed(err, "INITIATE has broken metadata");
        }
        if (n_name == sizeof name_of_type - 1 &&
            strncasecmp((const char *)name, name_of_type, n_name) == 0) {
            if (named || !talks_to_router(value, n)) {
                return malformed(err, "the peer's socket is not a DEALER");
            }
            named = true;
        }
    }
    return named ? TB_OK : malformed(err, "INITIATE names no Socket-Type");
}

/* Puts a frame's head before a body of at most 255 bytes. */
static size_t put_command(uint8_t *out, size_t n_body)
{
    out[0] = FLAG_COMMAND;
    out[1] = (uint8_t)n_body;
    return 2 + n_body;
}

static tb_rc take_hello(tb_zmtp *z, tb_zmtp_event *out, tb_err *err)
{
    tb_rc rc = tb_curve_hello(&z->curve, z->door, z->body, z->body_bytes,
                              out->answer + 2, err);
    if (rc == TB_OK) {
        out->n_answer = put_command(out->answer, TB_CURVE_WELCOME_BYTES);
        out->kind = TB_ZMTP_ANSWER;
        z->state = INITIATE;
        drop_body(z);
    }
    return rc;
}

static tb_rc take_initiate(tb_zmtp *z, tb_zmtp_event *out, tb_err *err)
{
    tb_curve_proof proof;
    tb_rc rc = tb_curve_initiate(&z->curve, z->door, z->body, z->body_bytes,
                                 &proof, err);
    if (rc == TB_OK) {
        rc = check_metadata(proof.metadata, proof.n_metadata, err);
    }
    if (rc == TB_OK) {
        memcpy(out->key, proof.key, sizeof out->key);
        out->kind = TB_ZMTP_KEY;
        z->state = JUDGE;
        drop_body(z);
    }
    return rc;
}

static tb_rc take_message(tb_zmtp *z, tb_zmtp_event *out, tb_err *err)
{
    tb_curve_words in;
    tb_rc rc = tb_curve_open(&z->curve, z->body, z->body_bytes, &in, err);
    if (rc != TB_OK) {
        return rc;
    }
    if (in.flags == TB_CURVE_FLAG_COMMAND && in.n_data <= PING_BYTES_MAX) {
        drop_body(z); /* a heartbeat: nobody who asks for one connects here */
        return TB_OK;
    }
    if ((in.flags & ~TB_CURVE_FLAG_MORE) != 0) {
        return malformed(err, "a MESSAGE's flags are unknown");
    }
    out->more = in.flags == TB_CURVE_FLAG_MORE;
    if (out->more && z->frame + 1u >= z->limits->n_frames) {
        return tb_fail(err, TB_E_LIMIT, "a message of more than %u frames",
                       z->limits->n_frames);
    }
    z->frame = out->more ? (uint8_t)(z->frame + 1) : 0;
    out->kind = TB_ZMTP_FRAME;
    out->memory = z->body;
    out->data = in.data;
    out->n_data = in.n_data;
    z->body = NULL; /* the caller owns it from here */
    drop_body(z);
    return TB_OK;
}

static tb_rc take_body(tb_zmtp *z, tb_zmtp_event *out, tb_err *err)
{
    return z->state == HELLO      ? take_hello(z, out, err)
           : z->state == INITIATE ? take_initiate(z, out, err)
                                  : take_message(z, out, err);
}

/* n more bytes of the body are there. */
static tb_rc grow_body(tb_zmtp *z, size_t n, tb_zmtp_event *out, tb_err *err)
{
    z->body_have += (uint32_t)n;
    return z->body_have == z->body_bytes ? take_body(z, out, err) : TB_OK;
}

static tb_rc read_body(tb_zmtp *z, const uint8_t *bytes, size_t n, size_t *used,
                       tb_zmtp_event *out, tb_err *err)
{
    size_t rest = z->body_bytes - z->body_have;
    *used = n < rest ? n : rest;
    if (z->body_have + *used > z->body_room && !make_room(z, z->body_bytes)) {
        return no_memory(z, err);
    }
    memcpy(z->body + z->body_have, bytes, *used);
    return grow_body(z, *used, out, err);
}

static tb_rc read_some(tb_zmtp *z, const uint8_t *bytes, size_t n, size_t *used,
                       tb_zmtp_event *out, tb_err *err)
{
    if (z->state == OVER) {
        return malformed(err, "the connection has ended");
    }
    if (z->state == GREETING) {
        return read_greeting(z, bytes, n, used, out, err);
    }
    return z->body == NULL ? read_head(z, bytes, n, used, err)
                           : read_body(z, bytes, n, used, out, err);
}

static void clear(tb_zmtp_event *out)
{
    out->kind = TB_ZMTP_NOTHING;
    out->n_answer = 0;
    out->memory = NULL;
    out->data = NULL;
    out->n_data = 0;
    out->more = false;
}

tb_rc tb_zmtp_read(tb_zmtp *z, const uint8_t *bytes, size_t n, size_t *used,
                   tb_zmtp_event *out, tb_err *err)
{
    tb_rc rc = TB_OK;
    clear(out);
    *used = 0;
    while (rc == TB_OK && out->kind == TB_ZMTP_NOTHING && *used < n &&
           z->state != JUDGE) {
        size_t some = 0;
        rc = read_some(z, bytes + *used, n - *used, &some, out, err);
        *used += some;
    }
    if (rc != TB_OK) {
        tb_zmtp_release(z);
    }
    return rc;
}

size_t tb_zmtp_rest(const tb_zmtp *z)
{
    size_t rest = z->body_bytes - z->body_have;
    return z->state == TRAFFIC && rest >= GAP_BYTES_MIN ? rest : 0;
}

size_t tb_zmtp_gap(tb_zmtp *z, uint8_t **at)
{
    size_t rest = tb_zmtp_rest(z);
    *at = NULL;
    if (rest == 0 || !make_room(z, z->body_bytes)) {
        return 0; /* without memory tb_zmtp_read will say so */
    }
    *at = z->body + z->body_have;
    return rest;
}

tb_rc tb_zmtp_filled(tb_zmtp *z, size_t n, tb_zmtp_event *out, tb_err *err)
{
    assert(z->body != NULL && n <= z->body_bytes - z->body_have);
    clear(out);
    tb_rc rc = grow_body(z, n, out, err);
    if (rc != TB_OK) {
        tb_zmtp_release(z);
    }
    return rc;
}

size_t tb_zmtp_held(const tb_zmtp *z)
{
    return z->body_have;
}

bool tb_zmtp_is_ready(const tb_zmtp *z)
{
    return z->state == TRAFFIC;
}

size_t tb_zmtp_accept(tb_zmtp *z,
                      uint8_t answer[static TB_ZMTP_ANSWER_BYTES_MAX])
{
    assert(z->state == JUDGE);
    z->state = TRAFFIC;
    tb_curve_ready(&z->curve, (const uint8_t *)our_metadata,
                   sizeof our_metadata, answer + 2);
    return put_command(answer, TB_CURVE_READY_BYTES_MIN + sizeof our_metadata);
}

size_t tb_zmtp_refuse(tb_zmtp *z, const char status[static 4],
                      uint8_t answer[static TB_ZMTP_ANSWER_BYTES_MAX])
{
    assert(z->state == JUDGE);
    tb_zmtp_release(z);
    if (status[0] == '3') {
        return 0;
    }
    memcpy(answer + 2,
           "\x05"
           "ERROR\x03",
           7);
    memcpy(answer + 9, status, 3);
    return put_command(answer, 10);
}

uint64_t tb_zmtp_next_nonce(tb_zmtp *z)
{
    return tb_curve_next_nonce(&z->curve);
}

size_t tb_zmtp_seal(const tb_zmtp *z, uint64_t nonce, bool more,
                    const uint8_t *data, size_t n, uint8_t *out)
{
    size_t size = TB_CURVE_MESSAGE_BYTES_MIN + n;
    size_t n_head = 2;
    out[0] = 0;
    out[1] = (uint8_t)size;
    if (size > UINT8_MAX) {
        out[0] = FLAG_LONG;
        n_head = TB_ZMTP_HEADER_BYTES_MAX;
        uint64_t left = size;
        for (size_t i = n_head - 1; i > 0; i--, left >>= 8) {
            out[i] = (uint8_t)left;
        }
    }
    tb_curve_seal(&z->curve, nonce, more ? TB_CURVE_FLAG_MORE : 0, data, n,
                  out + n_head);
    return n_head + size;
}
