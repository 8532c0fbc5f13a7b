#include "support/raw_member.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define LIMIT_S        120
#define GREETING_BYTES 64
#define LITTLE_BYTES   4096

int raw_dial(const char *endpoint, unsigned from, int how)
{
    unsigned port = 0;
    int room = LITTLE_BYTES;
    int late = 1; /* the port is chosen when it connects */
    bool wait = (how & RAW_NO_WAIT) == 0;
    struct timeval limit = {.tv_sec = LIMIT_S};
    struct sockaddr_in at = {.sin_family = AF_INET,
                             .sin_addr = {htonl(0x7f000000u + from)}};
    int fd = socket(AF_INET,
                    SOCK_STREAM | SOCK_CLOEXEC | (wait ? 0 : SOCK_NONBLOCK), 0);
    if (fd < 0 || sscanf(endpoint, "tcp://127.0.0.1:%u", &port) != 1 ||
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit) != 0 ||
        setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &late,
                   sizeof late) != 0 ||
        ((how & RAW_LITTLE) != 0 &&
         setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &room, sizeof room) != 0) ||
        bind(fd, (struct sockaddr *)&at, sizeof at) != 0) {
        return -1;
    }
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    at.sin_port = htons((uint16_t)port);
    if (connect(fd, (struct sockaddr *)&at, sizeof at) != 0 &&
        (wait || errno != EINPROGRESS)) {
        (void)close(fd);
        fd = -1;
    }
    return fd;
}

bool raw_is_closed(int fd)
{
    uint8_t bytes[512];
    ssize_t n = 1;
    while (n > 0) {
        n = recv(fd, bytes, sizeof bytes, 0);
    }
    return n == 0 || errno == ECONNRESET;
}

void raw_member_init(raw_member *m, const uint8_t server[static 32])
{
    m->fd = -1;
    curve_client_init(&m->c, server);
}

void raw_member_leave(raw_member *m)
{
    if (m->fd >= 0) {
        (void)close(m->fd);
        m->fd = -1;
    }
}

bool raw_member_send(const raw_member *m, const uint8_t *bytes, size_t n)
{
    ssize_t sent = 1;
    for (size_t at = 0; at < n && sent > 0; at += (size_t)sent) {
        sent = send(m->fd, bytes + at, n - at, MSG_NOSIGNAL);
    }
    return sent > 0;
}

static bool read_all(const raw_member *m, uint8_t *out, size_t n)
{
    return recv(m->fd, out, n, MSG_WAITALL) == (ssize_t)n;
}

static size_t put_head(uint8_t *out, uint8_t flags, size_t n)
{
    size_t head = n > 255 ? 9 : 2;
    out[0] = (uint8_t)(flags | (n > 255 ? 2 : 0));
    for (size_t i = 1; i < head; i++) {
        out[i] = (uint8_t)((uint64_t)n >> 8 * (head - 1 - i));
    }
    return head;
}

/* Reads a frame; returns the bytes of its body, 0: there is none. */
static size_t read_frame(const raw_member *m, uint8_t *body)
{
    uint8_t head[9];
    size_t n = 0;
    if (!read_all(m, head, 2)) {
        return 0;
    }
    if ((head[0] & 2) == 0) {
        n = head[1];
    } else if (read_all(m, head + 2, 7)) {
        for (size_t i = 1; i < 9; i++) {
            n = n << 8 | head[i];
        }
    }
    return n <= RAW_FRAME_BYTES_MAX && read_all(m, body, n) ? n : 0;
}

static bool shake_hands(raw_member *m)
{
    static const uint8_t zeroes[64];
    uint8_t bytes[GREETING_BYTES + 2 + 200] = {0xff};
    uint8_t proof[CURVE_PROOF_BYTES];
    uint8_t initiate[1024];
    uint8_t body[GREETING_BYTES + 1024];
    uint8_t out[1024];
    uint64_t nonce = 0;
    m->c.nonce = 1;
    bytes[8] = 1;
    bytes[9] = 0x7f;
    bytes[10] = 3;
    memcpy(bytes + 12, "CURVE", 5);
    (void)put_head(bytes + GREETING_BYTES, 4, 200);
    curve_client_hello(&m->c, zeroes, bytes + GREETING_BYTES + 2);
    if (!raw_member_send(m, bytes, sizeof bytes) ||
        !read_all(m, body, GREETING_BYTES) || read_frame(m, body) != 168 ||
        !curve_client_welcome(&m->c, body)) {
        return false;
    }
    curve_client_prove(&m->c, proof);
    size_t n = curve_client_initiate(&m->c, proof, curve_client_dealer,
                                     curve_client_dealer_bytes, body);
    size_t head = put_head(initiate, 4, n);
    memcpy(initiate + head, body, n);
    if (!raw_member_send(m, initiate, head + n)) {
        return false;
    }
    n = read_frame(m, body);
    return n > 0 && curve_client_ready(&m->c, body, n, out, &nonce);
}

bool raw_member_meet(raw_member *m, const char *endpoint, bool little)
{
    m->fd = raw_dial(endpoint, 1, little ? RAW_LITTLE : 0);
    bool in = m->fd >= 0 && shake_hands(m);
    if (!in) {
        raw_member_leave(m);
    }
    return in;
}

size_t raw_member_frame(raw_member *m, uint8_t flags, const uint8_t *data,
                        size_t n, uint8_t *out)
{
    size_t head = put_head(out, 0, 33 + n);
    curve_client_message(&m->c, flags, data, n, out + head);
    return head + 33 + n;
}

size_t raw_member_receive(raw_member *m, uint8_t *out)
{
    static uint8_t body[RAW_FRAME_BYTES_MAX];
    uint64_t nonce = 0;
    size_t n = read_frame(m, body);
    return n > 0 && curve_client_open(&m->c, body, n, out, &nonce) ? n - 32 : 0;
}
