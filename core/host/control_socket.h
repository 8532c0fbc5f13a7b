/* core/host/control_socket.h - Unix sockets at paths of any length, and who is
 * at the other end. Of control.c and control_call.c only. */
#ifndef TB_HOST_CONTROL_SOCKET_H
#define TB_HOST_CONTROL_SOCKET_H

#include <stdbool.h>

#include "base/err.h"

/* A stream socket that is bound to path (server, non-blocking) or connected to
 * it. Errors: NOT_FOUND (nobody listens there), DENIED, IO. */
tb_rc tb_control_socket(int *out, const char *path, bool server, tb_err *err)
    TB_NONNULL(1, 2) TB_MUST_CHECK;

/* Whether the other end belongs to our own user, or to root. */
bool tb_control_peer_is_us(int fd);

#endif
