#include "web/http.h"

#include <errno.h>
#include <netdb.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <microhttpd.h>

#include "base/mem.h"

#define CONNECTION_BYTES 16384u /* of headers, in libmicrohttpd */
#define BACKLOG          16

struct tb_http {
    struct MHD_Daemon *daemon;
    int epoll; /* of the daemon */
    char address[TB_HTTP_ADDRESS_BYTES];
    char type[128];
    tb_http_page_fn *page;
    void *arg;
};

/* --- listening ------------------------------------------------------------ */

typedef struct place {
    char host[256];
    char port[16];
} place;

/* "HOST:PORT" taken apart; an empty host is loopback, not every address. */
static tb_rc read_address(place *out, const char *address, tb_err *err)
{
    const char *colon = strrchr(address, ':');
    size_t host = colon != NULL ? (size_t)(colon - address) : 0;
    size_t port = colon != NULL ? strlen(colon + 1) : 0;
    bool brackets = host >= 2 && address[0] == '[' && address[host - 1] == ']';
    if (colon == NULL || port == 0 || port >= sizeof out->port ||
        host >= sizeof out->host || strspn(colon + 1, "0123456789") != port) {
        return tb_fail(err, TB_E_USAGE,
                       "\"%.64s\" is no HOST:PORT, such as 127.0.0.1:9464",
                       address);
    }
    (void)snprintf(out->host, sizeof out->host, "%.*s",
                   (int)(brackets ? host - 2 : host),
                   brackets ? address + 1 : address);
    if (host == 0) {
        (void)snprintf(out->host, sizeof out->host, "127.0.0.1");
    }
    memcpy(out->port, colon + 1, port + 1);
    return TB_OK;
}

/* A listening socket on the first of the host's addresses that can be bound. */
static int listen_on(const struct addrinfo *list, int *why)
{
    for (const struct addrinfo *a = list; a != NULL; a = a->ai_next) {
        const int yes = 1;
        int fd =
            socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (fd < 0) {
            *why = errno;
            continue;
        }
        (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
        if (bind(fd, a->ai_addr, a->ai_addrlen) == 0 &&
            listen(fd, BACKLOG) == 0) {
            return fd;
        }
        *why = errno;
        (void)close(fd);
    }
    return -1;
}

static tb_rc name_socket(tb_http *h, int fd, tb_err *err)
{
    struct sockaddr_storage at;
    socklen_t len = sizeof at;
    place p;
    if (getsockname(fd, (struct sockaddr *)&at, &len) != 0 ||
        getnameinfo((const struct sockaddr *)&at, len, p.host, sizeof p.host,
                    p.port, sizeof p.port,
                    NI_NUMERICHOST | NI_NUMERICSERV) != 0) {
        return tb_fail(err, TB_E_IO, "the address that was bound has no name");
    }
    (void)snprintf(h->address, sizeof h->address,
                   at.ss_family == AF_INET6 ? "[%s]:%s" : "%s:%s", p.host,
                   p.port);
    return TB_OK;
}

static tb_rc bind_socket(tb_http *h, const char *address, int *fd, tb_err *err)
{
    place p;
    struct addrinfo *list = NULL;
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM,
                                   .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
    int why = EADDRNOTAVAIL;
    *fd = -1;
    tb_rc rc = read_address(&p, address, err);
    if (rc != TB_OK) {
        return rc;
    }
    int found = getaddrinfo(p.host, p.port, &hints, &list);
    if (found != 0) {
        return tb_fail(err, TB_E_USAGE, "%s: %s", address, gai_strerror(found));
    }
    *fd = listen_on(list, &why);
    freeaddrinfo(list);
    if (*fd < 0) {
        return why == EADDRINUSE
                   ? tb_fail(err, TB_E_BUSY, "%s is in use already", address)
                   : tb_fail_errno(err, why, "cannot listen on %s", address);
    }
    return name_socket(h, *fd, err);
}

/* --- answers -------------------------------------------------------------- */

static enum MHD_Result answer(struct MHD_Connection *connection,
                              unsigned status, const char *type, void *bytes,
                              size_t len, enum MHD_ResponseMemoryMode mode)
{
    struct MHD_Response *response =
        MHD_create_response_from_buffer(len, bytes, mode);
    if (response == NULL) {
        return MHD_NO;
    }
    (void)MHD_add_response_header(response, "Content-Type", type);
    (void)MHD_add_response_header(response, "Cache-Control", "no-store");
    if (status == MHD_HTTP_METHOD_NOT_ALLOWED) {
        (void)MHD_add_response_header(response, "Allow", "GET, HEAD");
    }
    enum MHD_Result queued = MHD_queue_response(connection, status, response);
    MHD_destroy_response(response);
    return queued;
}

static enum MHD_Result say(struct MHD_Connection *connection, unsigned status,
                           const char *text)
{
    char copy[128];
    (void)snprintf(copy, sizeof copy, "%s\n", text);
    return answer(connection, status, "text/plain; charset=utf-8", copy,
                  strlen(copy), MHD_RESPMEM_MUST_COPY);
}

static enum MHD_Result on_request(void *arg, struct MHD_Connection *connection,
                                  const char *url, const char *method,
                                  const char *version, const char *upload,
                                  size_t *upload_bytes, void **state)
{
    tb_http *h = arg;
    tb_buf page;
    tb_err err = {0};
    (void)version;
    (void)upload;
    if (strcmp(method, MHD_HTTP_METHOD_GET) != 0 &&
        strcmp(method, MHD_HTTP_METHOD_HEAD) != 0) {
        return say(connection, MHD_HTTP_METHOD_NOT_ALLOWED, "GET only");
    }
    if (*state == NULL) { /* the first call has the headers only */
        *state = h;
        return MHD_YES;
    }
    if (*upload_bytes > 0) { /* a body that nobody asked for */
        *upload_bytes = 0;
        return MHD_YES;
    }
    if (strcmp(url, "/metrics") != 0) {
        return say(connection, MHD_HTTP_NOT_FOUND, "see /metrics");
    }
    tb_buf_init(&page, TB_HTTP_PAGE_BYTES_MAX);
    enum MHD_Result queued =
        h->page(h->arg, &page, &err) == TB_OK
            ? answer(connection, MHD_HTTP_OK, h->type, page.data, page.len,
                     MHD_RESPMEM_MUST_COPY)
            : say(connection, MHD_HTTP_INTERNAL_SERVER_ERROR,
                  "the page could not be made");
    tb_buf_release(&page);
    return queued;
}

/* --- life ----------------------------------------------------------------- */

static tb_rc start_daemon(tb_http *h, int fd, tb_err *err)
{
    const union MHD_DaemonInfo *info = NULL;
    h->daemon = MHD_start_daemon(
        MHD_USE_EPOLL, 0, NULL, NULL, on_request, h, MHD_OPTION_LISTEN_SOCKET,
        (MHD_socket)fd, MHD_OPTION_CONNECTION_LIMIT, TB_HTTP_CONNECTIONS_MAX,
        MHD_OPTION_CONNECTION_TIMEOUT, TB_HTTP_PATIENCE_S,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)CONNECTION_BYTES,
        MHD_OPTION_END);
    if (h->daemon != NULL) {
        info = MHD_get_daemon_info(h->daemon, MHD_DAEMON_INFO_EPOLL_FD);
    }
    if (info == NULL) {
        return tb_fail(err, TB_E_IO, "the HTTP server would not start");
    }
    h->epoll = info->epoll_fd;
    return TB_OK;
}

tb_rc tb_http_open(tb_http **out, const char *address, const char *type,
                   tb_http_page_fn *page, void *arg, tb_err *err)
{
    int fd = -1;
    *out = NULL;
    tb_http *h = tb_mem_array(1, sizeof *h);
    if (h == NULL) {
        return tb_fail(err, TB_E_NOMEM, "the HTTP server");
    }
    h->page = page;
    h->arg = arg;
    (void)snprintf(h->type, sizeof h->type, "%s", type);
    tb_rc rc = bind_socket(h, address, &fd, err);
    if (rc == TB_OK) {
        rc = start_daemon(h, fd, err);
    }
    if (rc != TB_OK) {
        if (fd >= 0 && h->daemon == NULL) {
            (void)close(fd); /* else the daemon's */
        }
        tb_http_close(&h);
    }
    *out = h;
    return rc;
}

void tb_http_close(tb_http **http)
{
    if (*http == NULL) {
        return;
    }
    if ((*http)->daemon != NULL) {
        MHD_stop_daemon((*http)->daemon);
    }
    tb_mem_free(*http);
    *http = NULL;
}

const char *tb_http_address(const tb_http *http)
{
    return http->address;
}

int tb_http_fd(const tb_http *http)
{
    return http->epoll;
}

int64_t tb_http_wait_ms(const tb_http *http)
{
    MHD_UNSIGNED_LONG_LONG ms = 0;
    return MHD_get_timeout(http->daemon, &ms) == MHD_YES ? (int64_t)ms
                                                         : INT64_MAX;
}

void tb_http_serve(tb_http *http)
{
    (void)MHD_run(http->daemon);
}
