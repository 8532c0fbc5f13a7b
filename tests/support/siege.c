/* tests/support/siege.c - strangers before the coordinator's doors, until they
 * are killed; each says how much it has done when SIGTERM ends it:
 *   siege PORT half N     keeps N connections in the middle of a greeting
 *   siege PORT knock      connects, says some noise, is gone, again and again
 *   siege PORT trickle N  N connections that send a byte now and then */
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

static volatile sig_atomic_t over;

static void end(int signal)
{
    (void)signal;
    over = 1;
}

static int dial(unsigned port)
{
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&to, sizeof to) != 0) {
        (void)close(fd);
        fd = -1;
    }
    return fd;
}

static unsigned long knock(unsigned port)
{
    static const char noise[64] = "GET / HTTP/1.1\r\n";
    struct linger reset = {1, 0};
    unsigned long n = 0;
    while (!over) {
        int fd = dial(port);
        if (fd < 0) {
            (void)poll(NULL, 0, 10);
            continue;
        }
        (void)!send(fd, noise, sizeof noise, MSG_NOSIGNAL);
        (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
        (void)close(fd);
        n++;
    }
    return n;
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

int main(int argc, char **argv)
{
    struct sigaction act = {.sa_handler = end};
    struct rlimit files;
    if (argc < 3) {
        (void)fprintf(stderr, "usage: siege PORT half N|knock|trickle N\n");
        return 2;
    }
    (void)sigaction(SIGTERM, &act, NULL);
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &files);
    }
    unsigned port = (unsigned)strtoul(argv[1], NULL, 10);
    size_t many = argc > 3 ? strtoul(argv[3], NULL, 10) : 1;
    many = many < MANY_MAX ? many : MANY_MAX;
    unsigned long n = strcmp(argv[2], "knock") == 0
                          ? knock(port)
                          : hold(port, many, strcmp(argv[2], "trickle") == 0);
    (void)printf("%s: %lu connections\n", argv[2], n);
    return 0;
}
