/* core/host/control_request.h - a request to the daemon and its bytes. JSON
 * stays inside the .c file; uses no sockets.
 *
 * A request: "TBQ1" | JSON bytes u32le | attachments u32le | their sizes
 * u64le[4] (unused ones 0); then the JSON {"verb": "...", "args": {"key":
 * "value", ...}} and the attachments. A reply: "TBR1" | code u32le | more
 * u32le | JSON bytes u32le; then the JSON. */
#ifndef TB_HOST_CONTROL_REQUEST_H
#define TB_HOST_CONTROL_REQUEST_H

#include <stdbool.h>

#include "base/buf.h"
#include "wire/name.h"

#define TB_CONTROL_JSON_BYTES_MAX  65536u
#define TB_CONTROL_REPLY_BYTES_MAX (1u << 20)
#define TB_CONTROL_ATTACH_MAX      4u
#define TB_CONTROL_ATTACH_BYTES    ((size_t)1 << 30) /* together */
#define TB_CONTROL_ARGS_MAX        32u

/* One argument: a name and its text (numbers and flags as text too). */
typedef struct tb_control_arg {
    tb_name key;
    char *value; /* owned by the request; NUL-terminated */
} tb_control_arg;

typedef struct tb_control_request {
    uint64_t id;  /* server: of the connection, to reply to */
    tb_name verb; /* "start", "watch", ... */
    size_t n_args;
    tb_control_arg args[TB_CONTROL_ARGS_MAX];
    size_t n_attachments;
    tb_buf attachments[TB_CONTROL_ATTACH_MAX]; /* may be taken */
} tb_control_request;

/* The text of an argument, or NULL. */
const char *tb_control_arg_get(const tb_control_request *request,
                               const char *key) TB_NONNULL(1, 2);

/* Adds an argument (value is copied). Errors: USAGE (key), LIMIT, NOMEM. */
tb_rc tb_control_arg_add(tb_control_request *request, const char *key,
                         const char *value, tb_err *err)
    TB_NONNULL(1, 2, 3) TB_MUST_CHECK;

/* An empty request; release frees what one owns (safe twice). */
tb_rc tb_control_request_init(tb_control_request *request, const char *verb,
                              tb_err *err) TB_NONNULL(1, 2) TB_MUST_CHECK;
void tb_control_request_release(tb_control_request *request) TB_NONNULL(1);

#define TB_CONTROL_HEAD_BYTES  44
#define TB_CONTROL_REPLY_BYTES 16

/* The sizes of what follows the head of a request. */
typedef struct tb_control_head {
    uint32_t json_bytes;
    uint32_t n_attachments;
    uint64_t attachment_bytes[TB_CONTROL_ATTACH_MAX];
} tb_control_head;

/* The head of a reply. */
typedef struct tb_control_reply_head {
    tb_rc rc;
    bool more;
    uint32_t json_bytes;
} tb_control_reply_head;

/* Appends head and JSON of a request, without its attachments. Errors: LIMIT,
 * NOMEM. */
tb_rc tb_control_request_encode(const tb_control_request *request, tb_buf *out,
                                tb_err *err) TB_NONNULL(1, 2) TB_MUST_CHECK;

/* Read untrusted bytes. Errors: MALFORMED, LIMIT. */
tb_rc tb_control_head_decode(tb_control_head *out,
                             const uint8_t in[static TB_CONTROL_HEAD_BYTES],
                             tb_err *err) TB_NONNULL(1, 2) TB_MUST_CHECK;
tb_rc tb_control_reply_decode(tb_control_reply_head *out,
                              const uint8_t in[static TB_CONTROL_REPLY_BYTES],
                              tb_err *err) TB_NONNULL(1, 2) TB_MUST_CHECK;

/* Reads the untrusted JSON of a request into *out, which is set up here and
 * released by the caller; empty on failure. Errors: MALFORMED, LIMIT, NOMEM. */
tb_rc tb_control_json_decode(tb_control_request *out, const uint8_t *json,
                             size_t len, tb_err *err)
    TB_NONNULL(1, 2) TB_MUST_CHECK;

/* Writes the head of a reply. */
void tb_control_reply_encode(const tb_control_reply_head *head,
                             uint8_t out[static TB_CONTROL_REPLY_BYTES])
    TB_NONNULL(1, 2);

#endif
