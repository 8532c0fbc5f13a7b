#include "host/sieve.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "support/check.h"

#define NOW     1000000 /* ms; any */
#define MANY    800     /* attempts; by chance some 12 of them get in */
#define FEW     100
#define WAIT_MS 10000 /* for what must come */

/* The tables are large for a stack. */
static tb_sources sources;
static tb_sieve sieve;

/* --- sockets --- */

typedef union endpoint {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
    struct sockaddr_storage room;
} endpoint;

static endpoint endpoint_of(const char *address, in_port_t port)
{
    endpoint e = {.v4 = {.sin_family = AF_INET, .sin_port = port}};
    if (inet_pton(AF_INET, address, &e.v4.sin_addr) != 1) {
        e.v6 =
            (struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_port = port};
        CHECK(inet_pton(AF_INET6, address, &e.v6.sin6_addr) == 1);
    }
    return e;
}

static socklen_t size_of(const endpoint *e)
{
    return e->any.sa_family == AF_INET ? sizeof e->v4 : sizeof e->v6;
}

/* A door there; its port, as the kernel wants it, to *port. */
static int new_door(const char *address, in_port_t *port)
{
    endpoint at = endpoint_of(address, 0);
    socklen_t len = sizeof at;
    int off = 0;
    int fd = socket(at.any.sa_family, SOCK_STREAM, 0);
    (void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
    CHECK(bind(fd, &at.any, size_of(&at)) == 0);
    CHECK(listen(fd, 4096) == 0);
    CHECK(getsockname(fd, &at.any, &len) == 0);
    *port = at.any.sa_family == AF_INET ? at.v4.sin_port : at.v6.sin6_port;
    return fd;
}

/* Begins to connect, and does not wait. */
static int dial(const char *from, const char *to, in_port_t port)
{
    endpoint ours = endpoint_of(from, 0);
    endpoint theirs = endpoint_of(to, port);
    int fd = socket(ours.any.sa_family, SOCK_STREAM | SOCK_NONBLOCK, 0);
    CHECK(fd >= 0 && bind(fd, &ours.any, size_of(&ours)) == 0);
    (void)!connect(fd, &theirs.any, size_of(&theirs));
    return fd;
}

static bool is_open(int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLOUT};
    return poll(&p, 1, WAIT_MS) == 1 && (p.revents & POLLOUT) != 0;
}

/* How many of n attempts have got in once at least so many have. */
static int got_in(const char *from, const char *to, in_port_t port, int n,
                  int least)
{
    struct pollfd p[MANY];
    int in = 0;
    for (int i = 0; i < n; i++) {
        p[i] = (struct pollfd){.fd = dial(from, to, port), .events = POLLOUT};
    }
    while (in < least && poll(p, (nfds_t)n, WAIT_MS) > 0) {
        for (int i = 0; i < n; i++) {
            if ((p[i].revents & POLLOUT) != 0) {
                in++;
                p[i].events = 0;
            }
        }
    }
    for (int i = 0; i < n; i++) {
        (void)close(p[i].fd);
    }
    return in;
}

/* --- sources --- */

static uint64_t net_of(const char *address)
{
    struct sockaddr_in v4 = {.sin_family = AF_INET};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6};
    bool is_v4 = inet_pton(AF_INET, address, &v4.sin_addr) == 1;
    CHECK(is_v4 || inet_pton(AF_INET6, address, &v6.sin6_addr) == 1);
    uint64_t net =
        tb_source_of(is_v4 ? (struct sockaddr *)&v4 : (struct sockaddr *)&v6);
    CHECK(net != 0);
    return net;
}

/* This address comes until it is turned away. */
static void overdo(const char *address)
{
    int n = 0;
    while (tb_sources_admit(&sources, net_of(address), 0, NOW)) {
        n++;
    }
    CHECK(n > 0);
}

static void begin(uint64_t seed)
{
    sources = (tb_sources){.seed = seed};
    sieve = (tb_sieve){0};
}

static void attach(int door)
{
    tb_err err;
    CHECK_OK(tb_sieve_attach(&sieve, door, &err), err);
}

/* --- tests --- */

static void who_overdoes_it_gets_in_by_chance_and_others_always(void **state)
{
    (void)state;
    static const struct {
        const char *door, *at, *held, *other, *other_at;
    } cases[] = {
        {"127.0.0.1", "127.0.0.1", "127.0.0.2", "127.0.0.3", "127.0.0.1"},
        {"::", "127.0.0.1", "127.0.0.2", "127.0.0.3", "127.0.0.1"},
        {"::", "127.0.0.1", "127.0.0.2", "::1", "::1"},
        {"::", "::1", "::1", "127.0.0.2", "127.0.0.1"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        in_port_t port;
        int door = new_door(cases[i].door, &port);
        begin(i);
        overdo(cases[i].held);
        CHECK(tb_sieve_make(&sieve, &sources, NOW));
        attach(door);
        int n = got_in(cases[i].held, cases[i].at, port, MANY, 1);
        CHECK(n > 0 && n < MANY / 8);
        CHECK(got_in(cases[i].other, cases[i].other_at, port, FEW, FEW) == FEW);
        (void)close(door);
    }
}

static void while_many_overdo_it_known_addresses_get_in(void **state)
{
    (void)state;
    char text[INET_ADDRSTRLEN];
    in_port_t port;
    int door = new_door("::", &port);
    begin(7);
    tb_sources_clear(&sources, net_of("127.0.0.2"), NOW);
    tb_sources_clear(&sources, net_of("127.0.0.4"), NOW);
    tb_sources_clear(&sources, net_of("::1"), NOW);
    overdo("127.0.0.4");
    for (unsigned i = 0; i < 2000; i++) {
        struct in_addr from = {htonl(0xc0000200u + i)};
        CHECK(inet_ntop(AF_INET, &from, text, sizeof text) != NULL);
        (void)!tb_sources_admit(&sources, net_of(text), 0, NOW);
    }
    CHECK(tb_sieve_make(&sieve, &sources, NOW));
    attach(door);
    CHECK(got_in("127.0.0.2", "127.0.0.1", port, FEW, FEW) == FEW);
    CHECK(got_in("::1", "::1", port, FEW, FEW) == FEW);
    int n = got_in("127.0.0.3", "127.0.0.1", port, MANY, 1); /* never seen */
    CHECK(n > 0 && n < MANY / 8);
    n = got_in("127.0.0.4", "127.0.0.1", port, MANY,
               1); /* known, and too many */
    CHECK(n > 0 && n < MANY / 8);
    (void)close(door);
}

/* One that got in by chance. */
static int lucky(const char *from, const char *to, in_port_t port)
{
    struct pollfd p = {.events = POLLOUT};
    for (int i = 0; i < 4 * MANY; i++) {
        p.fd = dial(from, to, port);
        if (poll(&p, 1, 0) == 1) {
            return p.fd;
        }
        (void)close(p.fd);
    }
    return -1;
}

static void carries(int from, int to)
{
    char byte = 'a';
    struct pollfd p = {.fd = to, .events = POLLIN};
    for (int i = 0; i < 20; i++) {
        CHECK(send(from, &byte, 1, 0) == 1);
        CHECK(poll(&p, 1, WAIT_MS) == 1 && recv(to, &byte, 1, 0) == 1);
    }
}

static void connections_that_are_open_go_on(void **state)
{
    (void)state;
    int none = 0;
    in_port_t port;
    int door = new_door("127.0.0.1", &port);
    int before = dial("127.0.0.2", "127.0.0.1", port);
    CHECK(is_open(before));
    begin(8);
    overdo("127.0.0.2");
    CHECK(tb_sieve_make(&sieve, &sources, NOW));
    attach(door);
    int first = accept(door, NULL, NULL);
    carries(before, first);
    int after = lucky("127.0.0.2", "127.0.0.1", port);
    CHECK(after >= 0);
    int second = accept(door, NULL, NULL); /* it has the program now */
    carries(after, second);
    tb_sieve_detach(second);
    CHECK(setsockopt(second, SOL_SOCKET, SO_DETACH_FILTER, &none,
                     sizeof none) != 0); /* there is none */
    carries(after, second);
    (void)close(first);
    (void)close(second);
    (void)close(before);
    (void)close(after);
    (void)close(door);
}

/* Its debt falls: time is what the owner says it is. */
static void the_kernel_lets_them_in_again_when_their_time_has_come(void **state)
{
    (void)state;
    in_port_t port;
    int door = new_door("127.0.0.1", &port);
    begin(9);
    CHECK(!tb_sieve_make(&sieve, &sources, NOW)); /* nobody is held */
    overdo("127.0.0.2");
    CHECK(tb_sieve_make(&sieve, &sources, NOW));
    overdo("127.0.0.3");
    CHECK(!tb_sieve_make(&sieve, &sources, NOW + 9)); /* too early */
    CHECK(tb_sieve_make(&sieve, &sources, NOW + 10));
    CHECK(!tb_sieve_make(&sieve, &sources, NOW + 99)); /* it is the same */
    attach(door);
    CHECK(got_in("127.0.0.2", "127.0.0.1", port, MANY, 1) < MANY / 8);
    CHECK(tb_sieve_make(&sieve, &sources, NOW + 109));
    attach(door);
    CHECK(got_in("127.0.0.2", "127.0.0.1", port, FEW, FEW) == FEW);
    CHECK(tb_sources_admit(&sources, net_of("127.0.0.2"), 0, NOW + 109));
    (void)close(door);
}

/* As many as the table can hold, each of them in the program. */
static void a_full_table_fits(void **state)
{
    (void)state;
    char text[INET6_ADDRSTRLEN];
    in_port_t port;
    int door = new_door("127.0.0.1", &port);
    begin(10);
    sources.held_until_ms = NOW + 1;
    for (size_t i = 0; i < TB_SOURCES_SETS * TB_SOURCES_WAYS; i++) {
        (void)snprintf(text, sizeof text,
                       i % 2 ? "2001:db8:%zx::" : "10.0.%zu.1", i / 4);
        sources.slots[i / TB_SOURCES_WAYS][i % TB_SOURCES_WAYS] =
            (tb_source){.net = net_of(text), .held_until_ms = NOW + 1};
    }
    for (size_t i = 0; i < TB_SOURCES_SETS; i += TB_SOURCES_SETS - 1) {
        tb_source *s = &sources.slots[i][i != 0 ? TB_SOURCES_WAYS - 1 : 0];
        s->net = net_of(i != 0 ? "127.0.0.3" : "127.0.0.2"); /* first, last */
    }
    CHECK(tb_sieve_make(&sieve, &sources, NOW));
    CHECK(sieve.n_code > 1024 && sieve.n_code <= TB_SIEVE_CODE_MAX);
    attach(door);
    attach(door); /* in place of itself: both have room */
    CHECK(got_in("127.0.0.2", "127.0.0.1", port, MANY, 1) < MANY / 8);
    CHECK(got_in("127.0.0.3", "127.0.0.1", port, MANY, 1) < MANY / 8);
    CHECK(got_in("127.0.0.4", "127.0.0.1", port, FEW, FEW) == FEW);
    (void)close(door);
}

static void
a_kernel_that_takes_no_program_is_told_and_does_no_harm(void **state)
{
    (void)state;
    tb_err err;
    int yes = 1;
    in_port_t port;
    int door = new_door("127.0.0.1", &port);
    CHECK(setsockopt(door, SOL_SOCKET, SO_LOCK_FILTER, &yes, sizeof yes) == 0);
    begin(11);
    overdo("127.0.0.2");
    CHECK(tb_sieve_make(&sieve, &sources, NOW));
    CHECK_ERR(tb_sieve_attach(&sieve, door, &err), TB_E_IO, err,
              "telling the kernel whom to turn away");
    CHECK(got_in("127.0.0.2", "127.0.0.1", port, FEW, FEW) == FEW);
    (void)close(door);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_overdoes_it_gets_in_by_chance_and_others_always),
        cmocka_unit_test(while_many_overdo_it_known_addresses_get_in),
        cmocka_unit_test(connections_that_are_open_go_on),
        cmocka_unit_test(
            the_kernel_lets_them_in_again_when_their_time_has_come),
        cmocka_unit_test(a_full_table_fits),
        cmocka_unit_test(
            a_kernel_that_takes_no_program_is_told_and_does_no_harm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
