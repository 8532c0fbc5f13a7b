#include "host/gate.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/spare.h"
#include "support/check.h"
#include "wire/msg.h"

/* Four messages, each with 256 bytes around it, and the handshake. */
#define CREDIT                                                                 \
    ((uint64_t)4 * (TB_ENVELOPE_BYTES_MAX + TB_PAYLOAD_BYTES_MAX + 256) + 65536)

static struct sockaddr_in at;

static int new_door(void)
{
    socklen_t len = sizeof at;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    at = (struct sockaddr_in){.sin_family = AF_INET,
                              .sin_addr = {htonl(INADDR_LOOPBACK)}};
    CHECK(bind(fd, (struct sockaddr *)&at, sizeof at) == 0);
    CHECK(listen(fd, 4096) == 0);
    CHECK(getsockname(fd, (struct sockaddr *)&at, &len) == 0);
    return fd;
}

static tb_gate *new_gate(size_t n_max, int door)
{
    tb_err err;
    tb_gate *gate = NULL;
    CHECK_OK(tb_gate_new(&gate, n_max, &err), err);
    tb_gate_hold();
    tb_gate_open(gate, door);
    return gate;
}

/* A peer of this address of the loopback: 127.0.0.x; with SOCK_NONBLOCK it may
 * not be connected yet. */
static int dial_as(unsigned x, int flags)
{
    struct sockaddr_in from = {.sin_family = AF_INET,
                               .sin_addr = {htonl(0x7f000000u + x)}};
    int fd = socket(AF_INET, SOCK_STREAM | flags, 0);
    CHECK(bind(fd, (struct sockaddr *)&from, sizeof from) == 0);
    CHECK(connect(fd, (struct sockaddr *)&at, sizeof at) == 0 ||
          errno == EINPROGRESS);
    return fd;
}

static int dial(unsigned x)
{
    return dial_as(x, 0);
}

/* As libzmq does; -1: nobody was let in. */
static int take(int door)
{
    struct sockaddr_storage from;
    socklen_t len = sizeof from;
    return accept4(door, (struct sockaddr *)&from, &len, SOCK_CLOEXEC);
}

static tb_gate_counts counts(tb_gate *gate)
{
    tb_gate_counts c;
    tb_gate_counts_get(gate, &c);
    return c;
}

static uint64_t cookie_of(int fd)
{
    uint64_t cookie = 0;
    socklen_t len = sizeof cookie;
    CHECK(getsockopt(fd, SOL_SOCKET, SO_COOKIE, &cookie, &len) == 0);
    return cookie;
}

/* The peer sends for as long as we take; returns what was taken. */
static uint64_t pour(int peer, int ours, uint64_t most)
{
    static uint8_t bytes[65536];
    uint64_t taken = 0;
    for (ssize_t n = 1; n > 0 && taken < most; taken += (uint64_t)n) {
        CHECK(send(peer, bytes, sizeof bytes, MSG_DONTWAIT | MSG_NOSIGNAL) >
                  0 ||
              errno == EAGAIN);
        n = recv(ours, bytes, sizeof bytes, 0);
        CHECK(n >= 0);
    }
    return taken;
}

static void bytes_that_are_not_delivered_are_not_taken(void **state)
{
    (void)state;
    tb_gate_cut cut;
    int door = new_door();
    tb_gate *gate = new_gate(9, door);
    int peer = dial(1);
    int ours = take(door);
    CHECK(ours >= 0 && !tb_gate_next_cut(gate, &cut));
    uint64_t taken = pour(peer, ours, CREDIT / 2);
    CHECK(taken >= CREDIT / 2);
    tb_gate_delivered(gate, ours, cookie_of(ours), CREDIT / 4, true);
    uint64_t more = CREDIT + CREDIT / 4 + 42; /* CURVE and ZMTP: 33 and 9 */
    taken += pour(peer, ours, 9 * CREDIT);
    CHECK(taken == more);
    CHECK(tb_gate_next_cut(gate, &cut) && !tb_gate_next_cut(gate, &cut));
    CHECK(cut.fd == ours && cut.cookie == cookie_of(ours));
    CHECK(cut.taken - cut.delivered == CREDIT);
    CHECK(strcmp(cut.address, "127.0.0.1") == 0);
    CHECK(counts(gate).cut == 1);
    uint8_t byte;
    CHECK(recv(ours, &byte, 1, 0) == 0); /* for good */
    (void)close(ours);
    (void)close(peer);
    (void)close(door);
    CHECK(counts(gate).open == 0);
    tb_gate_free(&gate);
}

static void a_full_house_shows_its_oldest_stranger_out(void **state)
{
    (void)state;
    int door = new_door();
    tb_gate *gate = new_gate(3, door);
    int peers[5];
    int ours[5];
    for (int i = 0; i < 3; i++) {
        peers[i] = dial(1);
        ours[i] = take(door);
        CHECK(ours[i] >= 0);
    }
    tb_gate_delivered(gate, ours[0], cookie_of(ours[0]), 1, true);
    CHECK(counts(gate).strangers == 2);
    peers[3] = dial(1);
    ours[3] = take(door);
    CHECK(ours[3] >= 0 && counts(gate).evicted == 1);
    uint8_t byte;
    CHECK(recv(ours[1], &byte, 1, 0) == 0); /* it was him */
    CHECK(recv(ours[0], &byte, 1, MSG_DONTWAIT) < 0 && errno == EAGAIN);
    CHECK(close(ours[1]) == 0 && counts(gate).open == 3);
    for (int i = 2; i < 4; i++) {
        tb_gate_delivered(gate, ours[i], cookie_of(ours[i]), 1, true);
    }
    peers[4] = dial(1); /* nobody is a stranger: the newcomer goes */
    ours[4] = take(door);
    CHECK(ours[4] < 0 && errno == EAGAIN && counts(gate).refused == 1);
    CHECK(recv(peers[4], &byte, 1, 0) <= 0);
    for (int i = 0; i < 5; i++) {
        (void)close(peers[i]);
        if (i != 1 && i != 4) {
            (void)close(ours[i]);
        }
    }
    CHECK(counts(gate).open == 0 && counts(gate).strangers == 0);
    (void)close(door);
    tb_gate_free(&gate);
}

/* Who is beyond his budget is turned away, first by us, then by the kernel. */
static void one_address_cannot_keep_another_out(void **state)
{
    (void)state;
    enum { MANY = 1000 };
    int door = new_door();
    tb_gate *gate = new_gate(MANY, door);
    int n_in = 0;
    for (int i = 0; i < MANY; i++) {
        int peer = dial_as(2, SOCK_NONBLOCK);
        int ours = take(door);
        n_in += ours >= 0;
        (void)close(peer);
        if (ours >= 0) {
            (void)close(ours);
        }
    }
    CHECK(n_in >= 256 && n_in < MANY); /* its burst, and some with time */
    CHECK(counts(gate).refused > 0);
    CHECK(counts(gate).refused < (uint64_t)(MANY - n_in) / 2);
    int peer = dial(3);
    int ours = take(door);
    CHECK(ours >= 0 && counts(gate).open == 1);
    (void)close(ours);
    (void)close(peer);
    (void)close(door);
    tb_gate_free(&gate);
}

/* The kernel, which has been told, is told again when it is over. */
static void who_was_turned_away_comes_in_again(void **state)
{
    (void)state;
    int door = new_door();
    tb_gate *gate = new_gate(9, door);
    while (counts(gate).refused == 0) {
        int peer = dial_as(2, SOCK_NONBLOCK);
        int ours = take(door);
        (void)close(peer);
        if (ours >= 0) {
            (void)close(ours);
        }
    }
    int ours = -1;
    struct pollfd p = {.fd = dial_as(2, SOCK_NONBLOCK), .events = POLLOUT};
    for (int i = 0; i < 1000 && ours < 0; i++) { /* its kernel goes on trying */
        if (poll(&p, 1, 20) == 1 && (ours = take(door)) < 0) {
            (void)close(p.fd); /* by chance, and too early */
            p.fd = dial_as(2, SOCK_NONBLOCK);
        }
        (void)counts(gate);
    }
    CHECK(ours >= 0);
    (void)close(ours);
    (void)close(p.fd);
    (void)close(door);
    tb_gate_free(&gate);
}

/* A listener that polls would spin for as long as the peer waits. */
static void without_a_descriptor_the_peer_is_turned_away(void **state)
{
    (void)state;
    tb_err err;
    struct rlimit files;
    int door = new_door();
    tb_gate *gate = new_gate(9, door);
    int peer = dial(1);
    int next = dup(0);
    CHECK(next >= 0 && close(next) == 0);
    CHECK(getrlimit(RLIMIT_NOFILE, &files) == 0);
    CHECK_OK(tb_spare_keep((uint64_t)next + 4, 4, &err), err);
    CHECK(take(door) < 0 && errno == EAGAIN && counts(gate).refused == 1);
    CHECK_OK(tb_spare_keep(files.rlim_cur, 0, &err), err);
    struct pollfd p = {.fd = peer, .events = POLLIN};
    CHECK(poll(&p, 1, 0) == 1); /* its end was told */
    (void)close(peer);
    (void)close(door);
    tb_gate_free(&gate);
}

static void other_sockets_go_through_unchanged(void **state)
{
    (void)state;
    int ours = new_door();
    int peer = dial(1);
    int fd = take(ours); /* no gate at all */
    CHECK(fd >= 0);
    CHECK(pour(peer, fd, 9 * CREDIT) >= 9 * CREDIT);
    (void)close(fd);
    (void)close(peer);
    tb_gate *gate = new_gate(0, ours); /* lets nobody in */
    peer = dial(1);
    CHECK(take(ours) < 0 && counts(gate).refused == 1);
    (void)close(peer);
    (void)close(ours); /* the number of a door that was closed is a door no
                          more */
    int again = new_door();
    CHECK(again == ours);
    peer = dial(1);
    fd = take(again);
    CHECK(fd >= 0 && counts(gate).refused == 1);
    (void)close(fd);
    (void)close(peer);
    (void)close(again);
    tb_gate_free(&gate);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_that_are_not_delivered_are_not_taken),
        cmocka_unit_test(a_full_house_shows_its_oldest_stranger_out),
        cmocka_unit_test(one_address_cannot_keep_another_out),
        cmocka_unit_test(who_was_turned_away_comes_in_again),
        cmocka_unit_test(without_a_descriptor_the_peer_is_turned_away),
        cmocka_unit_test(other_sockets_go_through_unchanged),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
