/* tests/support/siege.c - strangers before the coordinator's doors, until they
 * are killed; each says how much it has done when SIGTERM ends it:
 *   siege PORT half N FROM     keeps N connections in the middle of a greeting
 *   siege PORT knock N FROM    connects, says some noise, is gone, and again
 *   siege PORT swarm N FROM    the same N at a time, without a wait for the
 *                              answer to any
 *   siege PORT hello N FROM    connects, greets as libzmq does and begins a
 *                              CURVE handshake that leads nowhere
 *   siege PORT trickle N FROM  N connections that send a byte now and then
 *   siege PORT replay 1 FROM   listens on a port that it prints, carries one
 *                              connection to PORT, and then says what came by
 *                              there again and again
 * They come from the addresses FROM to FROM + 7 of the loopback. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define MANY_MAX 4096
#define SOURCES  8

static volatile sig_atomic_t over;

static void end(int signal)
{
    (void)signal;
    over = 1;
}

static in_addr_t first_source; /* in our byte order */

/* Comes from one address after the other. With SOCK_NONBLOCK it may not be
 * connected yet. */
static int dial_as(unsigned port, int flags)
{
    static unsigned n;
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct sockaddr_in from = {.sin_family = AF_INET,
                               .sin_addr.s_addr =
                                   htonl(first_source + n++ % SOURCES)};
    int late = 1; /* the port is chosen when it connects */
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | flags, 0);
    (void)setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &late,
                     sizeof late);
    if (fd >= 0 && (bind(fd, (struct sockaddr *)&from, sizeof from) != 0 ||
                    (connect(fd, (struct sockaddr *)&to, sizeof to) != 0 &&
                     errno != EINPROGRESS))) {
        (void)close(fd);
        fd = -1;
    }
    return fd;
}

static int dial(unsigned port)
{
    return dial_as(port, 0);
}

/* Says it, and is gone with a reset, so that no port stays taken. */
static void say(int fd, const void *bytes, size_t n, int wait_ms)
{
    struct linger reset = {1, 0};
    struct pollfd p = {.fd = fd, .events = POLLRDHUP};
    (void)!send(fd, bytes, n, MSG_NOSIGNAL);
    (void)poll(&p, 1, wait_ms);
    (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    (void)close(fd);
}

/* Connects, says the same, is gone, again and again. */
static unsigned long repeat(unsigned port, const void *bytes, size_t n,
                            int wait_ms)
{
    unsigned long done = 0;
    while (!over) {
        int fd = dial(port);
        if (fd < 0) {
            (void)poll(NULL, 0, 10);
            continue;
        }
        say(fd, bytes, n, wait_ms);
        done++;
    }
    return done;
}

static unsigned long knock(unsigned port)
{
    static const char noise[64] = "GET / HTTP/1.1\r\n";
    return repeat(port, noise, sizeof noise, 0);
}

/* Who was not let in within a turn is given up, and another takes its place. */
static unsigned long swarm(unsigned port, size_t many)
{
    static int fds[MANY_MAX];
    static const char noise[64] = "GET / HTTP/1.1\r\n";
    unsigned long n = 0;
    while (!over) {
        for (size_t i = 0; i < many; i++) {
            if (fds[i] > 0) {
                say(fds[i], noise, sizeof noise, 0);
                n++;
            }
            fds[i] = dial_as(port, SOCK_NONBLOCK);
        }
        (void)poll(NULL, 0, 1);
    }
    return n;
}

/* A greeting (ZMTP, RFC 23) and a HELLO (CurveZMQ, RFC 26) whose box is no box:
 * the coordinator has to try its key on it to know. */
static unsigned long hello(unsigned port)
{
    static unsigned char bytes[64 + 2 + 200] = {
        [0] = 0xff, [9] = 0x7f, [10] = 3};
    memcpy(bytes + 12, "CURVE", 5);
    bytes[64] = 4; /* a command */
    bytes[65] = 200;
    memcpy(bytes + 66, "\5HELLO\1", 7);
    memset(bytes + 66 + 80, 0x5a, 120); /* key, nonce, box */
    return repeat(port, bytes, sizeof bytes, 20);
}

/* Whether the other side has closed it. */
static int is_closed(int fd)
{
    char bytes[64];
    ssize_t n = recv(fd, bytes, sizeof bytes, MSG_DONTWAIT);
    return n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR);
}

/* Keeps many connections open: each begins with the first bytes of a greeting
 * (ZMTP, RFC 23), and with trickle goes on one byte at a time. */
static unsigned long hold(unsigned port, size_t many, int trickle)
{
    static int fds[MANY_MAX];
    static const unsigned char greeting[10] = {0xff, 0, 0, 0, 0,
                                               0,    0, 0, 1, 0x7f};
    unsigned long n = 0;
    for (size_t i = 0; i < many; i++) {
        fds[i] = -1;
    }
    while (!over) {
        for (size_t i = 0; i < many && !over; i++) {
            if (fds[i] >= 0 && is_closed(fds[i])) {
                (void)close(fds[i]);
                fds[i] = -1;
            }
            if (fds[i] < 0 && (fds[i] = dial(port)) >= 0) {
                (void)!send(fds[i], greeting, sizeof greeting, MSG_NOSIGNAL);
                n++;
            } else if (fds[i] >= 0 && trickle) {
                (void)!send(fds[i], greeting, 1, MSG_NOSIGNAL);
            }
        }
        (void)poll(NULL, 0, 20);
    }
    return n;
}

/* Carries one connection there, and keeps what went that way. */
static size_t record(int client, int server, unsigned char *bytes, size_t most)
{
    struct pollfd p[2] = {{.fd = client, .events = POLLIN},
                          {.fd = server, .events = POLLIN}};
    unsigned char back[16384];
    size_t n = 0;
    ssize_t got = 1;
    while (!over && got > 0 && n < most) {
        (void)poll(p, 2, 1000);
        if (p[0].revents != 0) {
            got = recv(client, bytes + n, most - n, 0);
            got = got > 0 ? send(server, bytes + n, (size_t)got, MSG_NOSIGNAL)
                          : got;
            n += got > 0 ? (size_t)got : 0;
        }
        if (p[1].revents != 0 && got > 0) {
            got = recv(server, back, sizeof back, 0);
            got = got > 0 ? send(client, back, (size_t)got, MSG_NOSIGNAL) : got;
        }
    }
    (void)close(client);
    (void)close(server);
    return n;
}

static unsigned long replay(unsigned port)
{
    static unsigned char bytes[1 << 16];
    struct sockaddr_in at = {.sin_family = AF_INET,
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof at;
    int door = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (bind(door, (struct sockaddr *)&at, len) != 0 || listen(door, 1) != 0 ||
        getsockname(door, (struct sockaddr *)&at, &len) != 0) {
        return 0;
    }
    (void)printf("%u\n", ntohs(at.sin_port));
    int client = accept(door, NULL, NULL);
    size_t n = record(client, dial(port), bytes, sizeof bytes);
    (void)close(door);
    (void)printf("recorded %zu bytes\n", n);
    return repeat(port, bytes, n, 20);
}

int main(int argc, char **argv)
{
    struct sigaction act = {.sa_handler = end};
    struct rlimit files;
    if (argc < 3) {
        (void)fprintf(stderr,
                      "usage: siege PORT half|knock|swarm|hello|trickle "
                      "N FROM | siege PORT replay 1 FROM\n");
        return 2;
    }
    (void)setvbuf(stdout, NULL, _IOLBF, 0);
    (void)sigaction(SIGTERM, &act, NULL);
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &files);
    }
    const char *what = argv[2];
    unsigned port = (unsigned)strtoul(argv[1], NULL, 10);
    size_t many = argc > 3 ? strtoul(argv[3], NULL, 10) : 1;
    many = many < MANY_MAX ? many : MANY_MAX;
    first_source = ntohl(inet_addr(argc > 4 ? argv[4] : "127.0.0.1"));
    unsigned long n = strcmp(what, "knock") == 0   ? knock(port)
                      : strcmp(what, "swarm") == 0 ? swarm(port, many)
                      : strcmp(what, "hello") == 0 ? hello(port)
                      : strcmp(what, "replay") == 0
                          ? replay(port)
                          : hold(port, many, strcmp(what, "trickle") == 0);
    (void)printf("%s: %lu connections\n", what, n);
    return 0;
}
