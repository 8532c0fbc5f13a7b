#include "host/control.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/spare.h"
#include "host/control_socket.h"

#define BACKLOG         16
#define READ_STEP_BYTES 65536u
#define READ_STEPS      64 /* of one connection before others get a turn */
#define OUT_BYTES_MAX   ((size_t)4 << 20) /* replies that a peer has not read */
#define STALE_MS        5000 /* a half request this old gives its place up */

/* The life of a connection. */
typedef enum state {
    FREE,    /* no connection in this place */
    HEAD,    /* its head is being read -> JSON, CLOSING */
    JSON,    /* -> ATTACH, READY, CLOSING */
    ATTACH,  /* -> READY, FREE (cut) */
    READY,   /* a whole request waits for the owner -> SERVED */
    SERVED,  /* the owner replies -> CLOSING (last reply), FREE (gone) */
    CLOSING, /* what is queued leaves -> FREE */
} state;

typedef struct caller {
    state state;
    int fd;
    uint64_t id;
    int64_t since_ms; /* last byte that came */
    uint8_t head_bytes[TB_CONTROL_HEAD_BYTES];
    size_t n_head;
    tb_control_head head;
    size_t attachment; /* the one that is being read */
    tb_buf json;
    tb_control_request request;
    tb_buf out;
    size_t sent; /* bytes of out that have left */
} caller;

struct tb_control {
    char *path;
    int fd;
    int epoll;
    uint64_t last_id;
    caller links[TB_CONTROL_CONNECTIONS_MAX];
};

/* --- connections --- */

static void end(caller *l)
{
    if (l->fd >= 0) {
        (void)close(l->fd); /* epoll forgets it */
    }
    tb_control_request_release(&l->request);
    tb_buf_release(&l->json);
    tb_buf_release(&l->out);
    *l = (caller){.state = FREE, .fd = -1};
}

static tb_rc watch(tb_control *c, caller *l, uint32_t events, int op)
{
    struct epoll_event e = {.events = events,
                            .data.u64 = (uint64_t)(l - c->links) + 1};
    return epoll_ctl(c->epoll, op, l->fd, &e) == 0 ? TB_OK : TB_E_IO;
}

/* Writes what the peer takes; the rest waits for it. */
static void flush(tb_control *c, caller *l)
{
    while (l->sent < l->out.len) {
        ssize_t n = send(l->fd, l->out.data + l->sent, l->out.len - l->sent,
                         MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0 && errno == EAGAIN &&
            watch(c, l, EPOLLIN | EPOLLOUT, EPOLL_CTL_MOD) == TB_OK) {
            return;
        }
        if (n < 0) {
            end(l);
            return;
        }
        l->sent += (size_t)n;
    }
    l->out.len = 0;
    l->sent = 0;
    if (l->state == CLOSING || watch(c, l, EPOLLIN, EPOLL_CTL_MOD) != TB_OK) {
        end(l);
    }
}

static tb_rc queue_reply(caller *l, tb_rc code, const char *json, bool more,
                         tb_err *err)
{
    uint8_t head[TB_CONTROL_REPLY_BYTES];
    size_t len = strlen(json);
    size_t before = l->out.len;
    if (len > TB_CONTROL_REPLY_BYTES_MAX) {
        return tb_fail(err, TB_E_LIMIT, "control: a reply of %zu bytes", len);
    }
    tb_control_reply_encode(
        &(tb_control_reply_head){
            .rc = code, .more = more, .json_bytes = (uint32_t)len},
        head);
    tb_rc rc = tb_buf_put(&l->out, head, sizeof head, err);
    if (rc == TB_OK) {
        rc = tb_buf_put(&l->out, json, len, err);
    }
    if (rc != TB_OK) {
        l->out.len = before;
    }
    return rc;
}

/* Answers a bad request with its error and closes. */
static void refuse(tb_control *c, caller *l, tb_rc code)
{
    l->state = CLOSING;
    if (queue_reply(l, code, "", false, NULL) != TB_OK) {
        end(l);
        return;
    }
    flush(c, l);
}

/* --- accepting --- */

/* A place for a new connection: a free one, or that of the stalest half
 * request. NULL: all are at work. */
static caller *find_place(tb_control *c, int64_t now_ms)
{
    caller *stalest = NULL;
    for (size_t i = 0; i < TB_CONTROL_CONNECTIONS_MAX; i++) {
        caller *l = &c->links[i];
        if (l->state == FREE) {
            return l;
        }
        if (l->state != READY && l->state != SERVED &&
            now_ms - l->since_ms > STALE_MS &&
            (stalest == NULL || l->since_ms < stalest->since_ms)) {
            stalest = l;
        }
    }
    if (stalest != NULL) {
        end(stalest);
    }
    return stalest;
}

static void accept_all(tb_control *c)
{
    int fd;
    while ((fd = tb_spare_accept(c->fd, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        int64_t now = tb_clock_ms();
        caller *l = tb_control_peer_is_us(fd) ? find_place(c, now) : NULL;
        if (l == NULL) {
            (void)close(fd);
            continue;
        }
        l->fd = fd;
        l->state = HEAD;
        l->id = ++c->last_id;
        l->since_ms = now;
        tb_buf_init(&l->json, TB_CONTROL_JSON_BYTES_MAX);
        tb_buf_init(&l->out, OUT_BYTES_MAX);
        if (watch(c, l, EPOLLIN, EPOLL_CTL_ADD) != TB_OK) {
            end(l);
        }
    }
}

/* --- reading --- */

/* Takes what has come, at most want bytes, into at. False: none now, or the
 * connection has ended. */
static bool take(caller *l, uint8_t *at, size_t want, size_t *got)
{
    ssize_t n = recv(l->fd, at, want, MSG_DONTWAIT);
    if (n <= 0) {
        if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
            end(l);
        }
        return false;
    }
    l->since_ms = tb_clock_ms();
    *got = (size_t)n;
    return true;
}

/* Reads into a buffer until it holds want bytes; memory grows with what has
 * come, not with what was announced. */
static bool take_into(caller *l, tb_buf *buf, size_t want)
{
    size_t left = want - buf->len;
    size_t step = left < READ_STEP_BYTES ? left : READ_STEP_BYTES;
    size_t got = 0;
    if (tb_buf_reserve(buf, step, NULL) != TB_OK) {
        end(l);
        return false;
    }
    if (!take(l, buf->data + buf->len, step, &got)) {
        return false;
    }
    buf->len += got;
    return true;
}

static void start_attachments(caller *l)
{
    l->request.n_attachments = l->head.n_attachments;
    for (size_t i = 0; i < l->head.n_attachments; i++) {
        tb_buf_init(&l->request.attachments[i],
                    (size_t)l->head.attachment_bytes[i]);
    }
    l->attachment = 0;
    l->state = ATTACH;
}

/* One step in the life of a connection that is being read. False: it waits for
 * bytes, or for the owner, or is no more. */
static bool advance(tb_control *c, caller *l)
{
    size_t got = 0;
    tb_rc rc = TB_OK;
    if (l->state == HEAD && l->n_head < sizeof l->head_bytes) {
        bool some = take(l, l->head_bytes + l->n_head,
                         sizeof l->head_bytes - l->n_head, &got);
        l->n_head += some ? got : 0;
        return some;
    }
    if (l->state == HEAD) {
        rc = tb_control_head_decode(&l->head, l->head_bytes, NULL);
        l->state = JSON;
    } else if (l->state == JSON && l->json.len < l->head.json_bytes) {
        return take_into(l, &l->json, l->head.json_bytes);
    } else if (l->state == JSON) {
        const uint8_t *json =
            l->json.len > 0 ? l->json.data : (const uint8_t *)"";
        rc = tb_control_json_decode(&l->request, json, l->json.len, NULL);
        if (rc == TB_OK) {
            start_attachments(l);
        }
    } else if (l->state == ATTACH && l->attachment < l->head.n_attachments) {
        tb_buf *buf = &l->request.attachments[l->attachment];
        if (buf->len < buf->max) {
            return take_into(l, buf, buf->max);
        }
        l->attachment++;
    } else if (l->state == ATTACH) {
        l->request.id = l->id;
        l->state = READY;
        return false;
    } else {
        uint8_t stray[1]; /* the peer leaves, or says more than it may */
        if (take(l, stray, sizeof stray, &got)) {
            end(l);
        }
        return false;
    }
    if (rc != TB_OK) {
        refuse(c, l, rc);
        return false;
    }
    return true;
}

static void serve_events(tb_control *c)
{
    struct epoll_event events[TB_CONTROL_CONNECTIONS_MAX + 1];
    int n = epoll_wait(c->epoll, events, TB_CONTROL_CONNECTIONS_MAX + 1, 0);
    for (int i = 0; i < n; i++) {
        if (events[i].data.u64 == 0) {
            accept_all(c);
            continue;
        }
        caller *l = &c->links[events[i].data.u64 - 1];
        if (l->state != FREE && (events[i].events & EPOLLOUT) != 0) {
            flush(c, l);
        }
        for (int k = 0; k < READ_STEPS && l->state != FREE; k++) {
            if (!advance(c, l)) {
                break;
            }
        }
    }
}

bool tb_control_next(tb_control *control, tb_control_request *out)
{
    serve_events(control);
    for (size_t i = 0; i < TB_CONTROL_CONNECTIONS_MAX; i++) {
        caller *l = &control->links[i];
        if (l->state == READY) {
            *out = l->request;
            l->request = (tb_control_request){0};
            l->state = SERVED;
            return true;
        }
    }
    return false;
}

tb_rc tb_control_reply(tb_control *control, uint64_t id, tb_rc rc,
                       const char *json, bool more, tb_err *err)
{
    for (size_t i = 0; i < TB_CONTROL_CONNECTIONS_MAX; i++) {
        caller *l = &control->links[i];
        if (l->state != SERVED || l->id != id) {
            continue;
        }
        tb_rc queued = queue_reply(l, rc, json, more, err);
        if (queued == TB_OK) {
            l->state = more ? SERVED : CLOSING;
            flush(control, l);
        } else if (strlen(json) <= TB_CONTROL_REPLY_BYTES_MAX) {
            queued = queued == TB_E_LIMIT ? TB_E_FULL : queued;
            end(l); /* it does not read */
        }
        return queued;
    }
    return tb_fail(err, TB_E_NOT_FOUND, "control: the asker has gone");
}

bool tb_control_waits(const tb_control *control, uint64_t id)
{
    for (size_t i = 0; i < TB_CONTROL_CONNECTIONS_MAX; i++) {
        const caller *l = &control->links[i];
        if (l->state == SERVED && l->id == id) {
            return true;
        }
    }
    return false;
}

/* --- opening and closing --- */

tb_rc tb_control_open(tb_control **out, const char *path, tb_err *err)
{
    *out = NULL;
    tb_control *c = tb_mem_array(1, sizeof *c);
    if (c == NULL || (c->path = tb_mem_text(path)) == NULL) {
        tb_mem_free(c);
        return tb_fail(err, TB_E_NOMEM, "%s", path);
    }
    c->fd = -1;
    for (size_t i = 0; i < TB_CONTROL_CONNECTIONS_MAX; i++) {
        c->links[i].fd = -1;
    }
    struct epoll_event listen_event = {.events = EPOLLIN, .data.u64 = 0};
    tb_rc rc = TB_OK;
    c->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (c->epoll < 0) {
        rc = tb_fail_errno(err, errno, "epoll");
        goto done;
    }
    (void)unlink(path);
    rc = tb_control_socket(&c->fd, path, true, err);
    if (rc != TB_OK) {
        goto done;
    }
    if (chmod(path, 0600) != 0 || listen(c->fd, BACKLOG) != 0 ||
        epoll_ctl(c->epoll, EPOLL_CTL_ADD, c->fd, &listen_event) != 0) {
        rc = tb_fail_errno(err, errno, "%s", path);
        goto done;
    }
    *out = c;
    c = NULL;
done:
    tb_control_close(&c);
    return rc;
}

void tb_control_close(tb_control **control)
{
    tb_control *c = *control;
    *control = NULL;
    if (c == NULL) {
        return;
    }
    for (size_t i = 0; i < TB_CONTROL_CONNECTIONS_MAX; i++) {
        end(&c->links[i]);
    }
    if (c->fd >= 0) {
        (void)close(c->fd);
        (void)unlink(c->path);
    }
    if (c->epoll >= 0) {
        (void)close(c->epoll);
    }
    tb_mem_free(c->path);
    tb_mem_free(c);
}

int tb_control_fd(const tb_control *control)
{
    return control->epoll;
}
