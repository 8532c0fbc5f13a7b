#include "host/notify.h"

#include <errno.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/text.h"

#define MESSAGE_BYTES (TB_NOTIFY_STATUS_BYTES + 64)

/* "/path", or "@name" for an abstract one. */
static tb_rc open_socket(tb_notify *out, const char *name, tb_err *err)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    size_t n = strlen(name);
    if ((name[0] != '/' && name[0] != '@') || n < 2 ||
        n >= sizeof at.sun_path) {
        return tb_fail(err, TB_E_USAGE, "NOTIFY_SOCKET: \"%.64s\" is no socket",
                       name);
    }
    memcpy(at.sun_path, name, n);
    if (name[0] == '@') {
        at.sun_path[0] = '\0';
    }
    /* A manager that does not read must not stop us for long. */
    const struct timeval patience = {.tv_sec = 1};
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    socklen_t len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n +
                                (name[0] == '/'));
    if (fd < 0 ||
        setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience) ||
        connect(fd, (const struct sockaddr *)&at, len) != 0) {
        tb_rc rc = tb_fail_errno(err, errno, "NOTIFY_SOCKET %s", name);
        if (fd >= 0) {
            (void)close(fd);
        }
        return rc;
    }
    out->fd = fd;
    return TB_OK;
}

static tb_rc read_watchdog(tb_notify *out, const char *usec, const char *pid,
                           tb_err *err)
{
    uint64_t n = 0;
    tb_rc rc = pid != NULL ? tb_text_u64(pid, &n, err) : TB_OK;
    if (rc != TB_OK || (pid != NULL && n != (uint64_t)getpid())) {
        return rc; /* meant for another process */
    }
    rc = tb_text_u64(usec, &n, err);
    if (rc == TB_OK && (n < 1000 || n / 1000 > INT32_MAX)) {
        rc = tb_fail(err, TB_E_USAGE, "WATCHDOG_USEC: %" PRIu64 " us", n);
    }
    out->watchdog_ms = rc == TB_OK ? (int64_t)(n / 1000) : 0;
    return rc;
}

tb_rc tb_notify_open(tb_notify *out, tb_err *err)
{
    const char *name = getenv("NOTIFY_SOCKET");
    const char *usec = getenv("WATCHDOG_USEC");
    *out = (tb_notify){.fd = -1};
    tb_rc rc = name != NULL ? open_socket(out, name, err) : TB_OK;
    if (rc == TB_OK && out->fd >= 0 && usec != NULL) {
        rc = read_watchdog(out, usec, getenv("WATCHDOG_PID"), err);
    }
    (void)unsetenv("NOTIFY_SOCKET");
    (void)unsetenv("WATCHDOG_USEC");
    (void)unsetenv("WATCHDOG_PID");
    return rc;
}

void tb_notify_close(tb_notify *n)
{
    if (n->fd >= 0) {
        (void)close(n->fd);
    }
    *n = (tb_notify){.fd = -1};
}

static void tell(const tb_notify *n, const char *message)
{
    ssize_t sent = -1;
    do {
        sent = n->fd >= 0 ? send(n->fd, message, strlen(message), MSG_NOSIGNAL)
                          : 0;
    } while (sent < 0 && errno == EINTR);
}

void tb_notify_ready(tb_notify *n)
{
    tell(n, "READY=1");
}

void tb_notify_reloading(tb_notify *n)
{
    char message[MESSAGE_BYTES];
    (void)snprintf(message, sizeof message,
                   "RELOADING=1\nMONOTONIC_USEC=%" PRId64,
                   tb_clock_ns() / 1000);
    tell(n, message);
}

void tb_notify_stopping(tb_notify *n)
{
    tell(n, "STOPPING=1");
}

void tb_notify_status(tb_notify *n, const char *text)
{
    char message[MESSAGE_BYTES];
    char status[TB_NOTIFY_STATUS_BYTES];
    if (n->fd < 0) {
        return;
    }
    (void)snprintf(status, sizeof status, "%.*s", (int)sizeof status - 1, text);
    status[strcspn(status, "\n")] = '\0';
    if (strcmp(status, n->status) != 0) {
        memcpy(n->status, status, sizeof status);
        (void)snprintf(message, sizeof message, "STATUS=%s", status);
        tell(n, message);
    }
}

static int64_t due_ms(const tb_notify *n)
{
    return n->alive_ms + n->watchdog_ms / 3;
}

void tb_notify_turn(tb_notify *n, int64_t now_ms)
{
    if (n->watchdog_ms > 0 && now_ms >= due_ms(n)) {
        n->alive_ms = now_ms;
        tell(n, "WATCHDOG=1");
    }
}

int64_t tb_notify_wait_ms(const tb_notify *n, int64_t now_ms)
{
    if (n->watchdog_ms == 0) {
        return INT64_MAX;
    }
    return due_ms(n) > now_ms ? due_ms(n) - now_ms : 0;
}
