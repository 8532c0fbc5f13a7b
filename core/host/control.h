/* core/host/control.h - how a command line talks to the daemon of a folder: a
 * Unix socket of mode 0600 that serves only its own user (SO_PEERCRED). One
 * request, then one reply or a stream of them; JSON with a few attachments of
 * raw bytes. JSON stays inside. One owner at a time; nothing blocks on the
 * server's side. Format: docs/formats.md. */
#ifndef TB_HOST_CONTROL_H
#define TB_HOST_CONTROL_H

#include <stdbool.h>

#include "host/control_request.h"

#define TB_CONTROL_CONNECTIONS_MAX 16u

/* --- the daemon's side --- */
typedef struct tb_control tb_control;

/* Listens at path; a socket left over by a dead daemon is replaced (the
 * caller holds the folder's lock). Errors: IO, NOMEM. */
tb_rc tb_control_open(tb_control **out, const char *path, tb_err *err)
    TB_NONNULL(1, 2) TB_MUST_CHECK;

/* Ends all connections, removes the socket, nulls *control. NULL is fine. */
void tb_control_close(tb_control **control) TB_NONNULL(1);

/* Readable when tb_control_next has work to do. For poll(2). */
int tb_control_fd(const tb_control *control) TB_NONNULL(1);

/* Does what the sockets allow without blocking. Returns true with the next
 * whole request in *out, for the caller to release; false when there is none.
 * Call until false. Bad peers are answered or cut here. */
bool tb_control_next(tb_control *control, tb_control_request *out)
    TB_NONNULL(1, 2);

/* Queues one reply: rc and a JSON text (or "" ). more: further ones follow. A
 * peer that is gone is fine; NOT_FOUND says so (end a stream then). Errors:
 * NOT_FOUND, FULL (the peer does not read: it was cut), LIMIT, NOMEM. */
tb_rc tb_control_reply(tb_control *control, uint64_t id, tb_rc rc,
                       const char *json, bool more, tb_err *err)
    TB_NONNULL(1, 4) TB_MUST_CHECK;

/* Whether the asker of this id still waits for a reply. */
bool tb_control_waits(const tb_control *control, uint64_t id) TB_NONNULL(1);

/* --- the command line's side --- */

/* One reply: rc, its text, and whether further ones follow. Another code than
 * TB_OK ends the call and is returned. */
typedef tb_rc tb_control_reply_fn(void *arg, tb_rc rc, const char *json,
                                  bool more, tb_err *err);

/* Sends the request to the daemon that listens at path and calls fn for each
 * reply; returns after the last. timeout_ms: between two signs of life; < 0:
 * for ever. A reply with a code other than TB_OK is given to fn as well, not
 * returned. Errors: NOT_FOUND (no daemon runs there), DENIED (of another user),
 * TIMEOUT, MALFORMED, LIMIT, IO, NOMEM, and fn's own. */
tb_rc tb_control_call(const char *path, const tb_control_request *request,
                      int timeout_ms, tb_control_reply_fn *fn, void *arg,
                      tb_err *err) TB_NONNULL(1, 2, 4) TB_MUST_CHECK;

#endif
