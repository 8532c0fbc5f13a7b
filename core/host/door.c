#include "host/door.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "host/packet.h"

#define SCHEME     "tcp://"
#define BACKLOG    4096
#define PORT_BYTES 6

/* A peer whose machine or network is gone is found by the kernel. */
#define KEEPALIVE_IDLE_S 15
#define KEEPALIVE_EACH_S 5
#define KEEPALIVE_COUNT  3
#define UNANSWERED_MS    30000

static const tb_zmtp_limits of_clients = {
    2, {TB_ENVELOPE_BYTES_MAX, TB_PAYLOAD_BYTES_MAX}};
static const tb_zmtp_limits of_strangers = {1, {TB_ENROL_FRAME_BYTES}};

/* An endpoint in its parts. */
typedef struct place {
    char host[TB_ENDPOINT_BYTES]; /* "": any */
    char port[PORT_BYTES];
    int family;
} place;

static bool copy(char *out, size_t room, const char *from, size_t n)
{
    if (n >= room) {
        return false;
    }
    memcpy(out, from, n);
    out[n] = '\0';
    return true;
}

static bool read_port(place *out, const char *text)
{
    size_t n = strlen(text);
    if (strcmp(text, "*") == 0) {
        return copy(out->port, sizeof out->port, "0", 1);
    }
    return n > 0 && strspn(text, "0123456789") == n &&
           copy(out->port, sizeof out->port, text, n) &&
           (n < PORT_BYTES - 1 || strcmp(text, "65535") <= 0);
}

static bool read_endpoint(place *out, const char *text)
{
    const char *host = text + strlen(SCHEME);
    const char *colon = strrchr(text, ':');
    if (strncmp(text, SCHEME, strlen(SCHEME)) != 0 || colon < host) {
        return false;
    }
    size_t n = (size_t)(colon - host);
    bool v6 = n > 2 && host[0] == '[' && host[n - 1] == ']';
    bool any = n == 1 && host[0] == '*';
    out->family = v6 ? AF_INET6 : AF_INET;
    return n > 0 && read_port(out, colon + 1) &&
           copy(out->host, sizeof out->host, v6 ? host + 1 : host,
                any  ? 0
                : v6 ? n - 2
                     : n);
}

static tb_rc fail_call(tb_err *err, const char *what, int code)
{
    tb_rc rc = code == EADDRINUSE                              ? TB_E_BUSY
               : code == EADDRNOTAVAIL || code == EAFNOSUPPORT ? TB_E_USAGE
               : code == ENOMEM || code == ENOBUFS             ? TB_E_NOMEM
                                                               : TB_E_IO;
    return tb_fail(err, rc, "%s: %s", what, strerror(code));
}

static tb_rc find_address(const char *endpoint, struct addrinfo **out,
                          tb_err *err)
{
    place at = {.host = ""};
    if (!read_endpoint(&at, endpoint)) {
        return tb_fail(err, TB_E_USAGE,
                       "listen: '%s' is not an endpoint like "
                       "tcp://0.0.0.0:7700",
                       endpoint);
    }
    struct addrinfo hints = {.ai_family = at.family,
                             .ai_socktype = SOCK_STREAM,
                             .ai_flags =
                                 AI_PASSIVE | AI_NUMERICHOST | AI_NUMERICSERV};
    int code =
        getaddrinfo(at.host[0] != '\0' ? at.host : NULL, at.port, &hints, out);
    if (code == 0) {
        return TB_OK;
    }
    return code == EAI_MEMORY
               ? tb_fail(err, TB_E_NOMEM, "%s", endpoint)
               : tb_fail(err, TB_E_USAGE,
                         "%s: what is listened at is an address of this "
                         "machine, or *",
                         endpoint);
}

/* Connections have from the kernel what their listening socket has. */
static bool set_all(int fd, int family)
{
    static const struct {
        int level, option, value;
    } options[] = {
        {SOL_SOCKET, SO_REUSEADDR, 1},
        {SOL_SOCKET, SO_KEEPALIVE, 1},
        {IPPROTO_TCP, TCP_KEEPIDLE, KEEPALIVE_IDLE_S},
        {IPPROTO_TCP, TCP_KEEPINTVL, KEEPALIVE_EACH_S},
        {IPPROTO_TCP, TCP_KEEPCNT, KEEPALIVE_COUNT},
        {IPPROTO_TCP, TCP_USER_TIMEOUT, UNANSWERED_MS},
        {IPPROTO_TCP, TCP_NODELAY, 1},
    };
    for (size_t i = 0; i < sizeof options / sizeof *options; i++) {
        if (setsockopt(fd, options[i].level, options[i].option,
                       &options[i].value, sizeof options[i].value) != 0) {
            return false;
        }
    }
    int both = 0; /* an IPv6 socket takes IPv4 peers, too */
    return family != AF_INET6 ||
           setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &both, sizeof both) == 0;
}

/* Address and port as they are bound; false: see errno. */
static bool write_endpoint(tb_door *door)
{
    struct sockaddr_storage bound;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
    char address[TB_DOOR_ADDRESS_BYTES] = "";
    socklen_t len = sizeof bound;
    if (getsockname(door->fd, (struct sockaddr *)&bound, &len) != 0) {
        return false;
    }
    memcpy(&v4, &bound, sizeof v4);
    memcpy(&v6, &bound, sizeof v6);
    bool is_v6 = bound.ss_family == AF_INET6;
    const void *from =
        is_v6 ? (const void *)&v6.sin6_addr : (const void *)&v4.sin_addr;
    if (inet_ntop(bound.ss_family, from, address, sizeof address) == NULL) {
        return false;
    }
    (void)snprintf(door->endpoint, sizeof door->endpoint,
                   is_v6 ? SCHEME "[%s]:%u" : SCHEME "%s:%u", address,
                   (unsigned)ntohs(is_v6 ? v6.sin6_port : v4.sin_port));
    return true;
}

static bool listen_at(tb_door *door, const struct addrinfo *at)
{
    door->fd =
        socket(at->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    return door->fd >= 0 && set_all(door->fd, at->ai_family) &&
           bind(door->fd, at->ai_addr, at->ai_addrlen) == 0 &&
           listen(door->fd, BACKLOG) == 0 && write_endpoint(door);
}

tb_rc tb_door_open(tb_door *door, bool enrols, const char *endpoint,
                   const uint8_t secret[static TB_CURVE_KEY_BYTES], tb_err *err)
{
    struct addrinfo *at = NULL;
    *door = (tb_door){.open = true,
                      .enrols = enrols,
                      .fd = -1,
                      .limits = enrols ? &of_strangers : &of_clients};
    tb_rc rc = find_address(endpoint, &at, err);
    if (rc == TB_OK) {
        rc = tb_curve_door_new(&door->curve, secret, err);
    }
    if (rc == TB_OK && !listen_at(door, at)) {
        rc = fail_call(err, endpoint, errno);
    }
    if (at != NULL) {
        freeaddrinfo(at);
    }
    if (rc != TB_OK) {
        tb_door_close(door);
    }
    return rc;
}

void tb_door_close(tb_door *door)
{
    if (door->open && door->fd >= 0) {
        (void)close(door->fd);
    }
    tb_curve_door_free(&door->curve);
    door->open = false;
    door->endpoint[0] = '\0';
}

void tb_door_peer_address(int fd, char out[static TB_DOOR_ADDRESS_BYTES])
{
    struct sockaddr_storage peer;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
    socklen_t len = sizeof peer;
    out[0] = '\0';
    if (getpeername(fd, (struct sockaddr *)&peer, &len) != 0) {
        return;
    }
    memcpy(&v4, &peer, sizeof v4);
    memcpy(&v6, &peer, sizeof v6);
    const void *address = peer.ss_family == AF_INET
                              ? (const void *)&v4.sin_addr
                              : (const void *)&v6.sin6_addr;
    if (inet_ntop(peer.ss_family, address, out, TB_DOOR_ADDRESS_BYTES) ==
        NULL) {
        out[0] = '\0';
    }
}
