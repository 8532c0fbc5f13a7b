#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "base/mem.h"
#include "host/control.h"
#include "host/control_socket.h"

static tb_rc set_timeout(int fd, int timeout_ms, tb_err *err)
{
    if (timeout_ms < 0) {
        return TB_OK;
    }
    struct timeval limit = {.tv_sec = timeout_ms / 1000,
                            .tv_usec = (timeout_ms % 1000) * 1000};
    if (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit) != 0 ||
        setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit) != 0) {
        return tb_fail_errno(err, errno, "control: setting a timeout");
    }
    return TB_OK;
}

/* A daemon that does not listen to the end has said why: its reply is read
 * then, so an end of the connection is no error here. */
static tb_rc send_all(int fd, const uint8_t *bytes, size_t len, tb_err *err)
{
    while (len > 0) {
        ssize_t n = send(fd, bytes, len, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0 && (errno == EPIPE || errno == ECONNRESET)) {
            return TB_OK;
        }
        if (n < 0 && errno == EAGAIN) {
            return tb_fail(err, TB_E_TIMEOUT,
                           "control: the daemon does not "
                           "read");
        }
        if (n < 0) {
            return tb_fail_errno(err, errno, "control");
        }
        bytes += n;
        len -= (size_t)n;
    }
    return TB_OK;
}

static tb_rc send_request(int fd, const tb_control_request *request,
                          tb_err *err)
{
    tb_buf bytes;
    tb_buf_init(&bytes, TB_CONTROL_HEAD_BYTES + TB_CONTROL_JSON_BYTES_MAX);
    tb_rc rc = tb_control_request_encode(request, &bytes, err);
    if (rc == TB_OK) {
        rc = send_all(fd, bytes.data, bytes.len, err);
    }
    for (size_t i = 0; i < request->n_attachments && rc == TB_OK; i++) {
        const tb_buf *a = &request->attachments[i];
        rc = send_all(fd, a->data, a->len, err);
    }
    tb_buf_release(&bytes);
    return rc;
}

static tb_rc receive_all(int fd, uint8_t *bytes, size_t len, tb_err *err)
{
    while (len > 0) {
        ssize_t n = recv(fd, bytes, len, 0);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n == 0 || (n < 0 && errno == ECONNRESET)) {
            return tb_fail(err, TB_E_IO,
                           "control: the daemon has ended the "
                           "connection");
        }
        if (n < 0 && errno == EAGAIN) {
            return tb_fail(err, TB_E_TIMEOUT,
                           "control: the daemon does not "
                           "answer");
        }
        if (n < 0) {
            return tb_fail_errno(err, errno, "control");
        }
        bytes += n;
        len -= (size_t)n;
    }
    return TB_OK;
}

/* Reads one reply and gives it to fn; *more: further ones follow. */
static tb_rc receive_reply(int fd, tb_control_reply_fn *fn, void *arg,
                           bool *more, tb_err *err)
{
    uint8_t bytes[TB_CONTROL_REPLY_BYTES];
    tb_control_reply_head head;
    tb_rc rc = receive_all(fd, bytes, sizeof bytes, err);
    if (rc == TB_OK) {
        rc = tb_control_reply_decode(&head, bytes, err);
    }
    if (rc != TB_OK) {
        return rc;
    }
    char *json = tb_mem_array((size_t)head.json_bytes + 1, 1);
    if (json == NULL) {
        return tb_fail(err, TB_E_NOMEM, "control: a reply of %u bytes",
                       head.json_bytes);
    }
    rc = receive_all(fd, (uint8_t *)json, head.json_bytes, err);
    if (rc == TB_OK) {
        *more = head.more;
        rc = fn(arg, head.rc, json, head.more, err);
    }
    tb_mem_free(json);
    return rc;
}

tb_rc tb_control_call(const char *path, const tb_control_request *request,
                      int timeout_ms, tb_control_reply_fn *fn, void *arg,
                      tb_err *err)
{
    int fd = -1;
    bool more = true;
    tb_rc rc = tb_control_socket(&fd, path, false, err);
    if (rc != TB_OK) {
        return rc;
    }
    if (!tb_control_peer_is_us(fd)) {
        rc = tb_fail(err, TB_E_DENIED, "%s: belongs to another user", path);
    }
    if (rc == TB_OK) {
        rc = set_timeout(fd, timeout_ms, err);
    }
    if (rc == TB_OK) {
        rc = send_request(fd, request, err);
    }
    while (rc == TB_OK && more) {
        rc = receive_reply(fd, fn, arg, &more, err);
    }
    (void)close(fd);
    return rc;
}
