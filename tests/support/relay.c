/* tests/support/relay.c - a wire that can be held:
 *   relay ENDPOINT BYTES
 * prints its own endpoint and carries connections to ENDPOINT, one at a time.
 * Once BYTES have gone that way in one connection it says "held" and carries
 * no more of them; SIGUSR1 lets them go on, for good. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

static volatile sig_atomic_t released;

static void release(int number)
{
    (void)number;
    released = 1;
}

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static struct sockaddr_in loopback(unsigned port)
{
    return (struct sockaddr_in){.sin_family = AF_INET,
                                .sin_port = htons((uint16_t)port),
                                .sin_addr = {htonl(INADDR_LOOPBACK)}};
}

/* Carries what is there from one end to the other; false: an end is gone. */
static bool carry(int from, int to, uint64_t *n)
{
    uint8_t bytes[16384];
    ssize_t got = read(from, bytes, sizeof bytes);
    for (ssize_t done = 0; done < got;) {
        ssize_t put = write(to, bytes + done, (size_t)(got - done));
        if (put <= 0) {
            return false;
        }
        done += put;
    }
    *n += got > 0 ? (uint64_t)got : 0;
    return got > 0;
}

/* Until one end hangs up. */
static void connect_both(int client, int server, uint64_t limit)
{
    uint64_t up = 0;
    uint64_t down = 0;
    bool open = true;
    bool told = false;
    while (open) {
        bool held = up >= limit && !released;
        if (held && !told) {
            (void)puts("held");
            told = true;
        }
        struct pollfd p[] = {
            {.fd = client, .events = held ? POLLRDHUP : POLLIN},
            {.fd = server, .events = POLLIN}};
        if (poll(p, 2, 1000) < 0) {
            continue; /* the signal */
        }
        if (held && p[0].revents != 0) {
            open = false;
        } else if (p[0].revents != 0) {
            open = carry(client, server, &up);
        }
        if (open && p[1].revents != 0) {
            open = carry(server, client, &down);
        }
    }
}

int main(int argc, char **argv)
{
    unsigned port = 0;
    if (argc != 3 || sscanf(argv[1], "tcp://127.0.0.1:%u", &port) != 1) {
        (void)fputs("usage: relay tcp://127.0.0.1:PORT BYTES\n", stderr);
        return 2;
    }
    uint64_t limit = strtoull(argv[2], NULL, 10);
    struct sockaddr_in to = loopback(port);
    struct sockaddr_in at = loopback(0);
    socklen_t n = sizeof at;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (listener < 0 || bind(listener, (struct sockaddr *)&at, n) != 0 ||
        listen(listener, 16) != 0 ||
        getsockname(listener, (struct sockaddr *)&at, &n) != 0) {
        die("listen");
    }
    struct sigaction action = {.sa_handler = release};
    (void)sigaction(SIGUSR1, &action, NULL);
    (void)signal(SIGPIPE, SIG_IGN);
    (void)setvbuf(stdout, NULL, _IOLBF, 0);
    (void)printf("tcp://127.0.0.1:%u\n", ntohs(at.sin_port));
    for (;;) {
        int client = accept(listener, NULL, NULL);
        int server = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (client >= 0 && server >= 0 &&
            connect(server, (struct sockaddr *)&to, sizeof to) == 0) {
            connect_both(client, server, limit);
        }
        (void)close(client);
        (void)close(server);
    }
}
