#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "host/watchdog.h"
#include "support/check.h"

#define MB ((size_t)1 << 20)

typedef struct ends {
    int peer, ours;
} ends;

/* A TCP connection over the loopback. */
static ends connect_pair(void)
{
    struct sockaddr_in at = {.sin_family = AF_INET,
                             .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t len = sizeof at;
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    ends e = {.peer = socket(AF_INET, SOCK_STREAM, 0)};
    CHECK(bind(listener, (struct sockaddr *)&at, sizeof at) == 0);
    CHECK(listen(listener, 1) == 0);
    CHECK(getsockname(listener, (struct sockaddr *)&at, &len) == 0);
    CHECK(connect(e.peer, (struct sockaddr *)&at, sizeof at) == 0);
    e.ours = accept(listener, NULL, NULL);
    CHECK(e.ours >= 0);
    (void)close(listener);
    return e;
}

static void close_pair(ends *e)
{
    (void)close(e->peer);
    (void)close(e->ours);
}

/* The peer sends n bytes and we take them, as libzmq would. */
static void pass(const ends *e, size_t n)
{
    static uint8_t bytes[65536];
    while (n > 0) {
        ssize_t sent = send(e->peer, bytes, sizeof bytes, 0);
        CHECK(sent > 0);
        for (ssize_t got = 0; got < sent;) {
            ssize_t k = recv(e->ours, bytes, sizeof bytes, 0);
            CHECK(k > 0);
            got += k;
        }
        n -= (size_t)sent < n ? (size_t)sent : n;
    }
}

/* Whether the watchdog has shut our end down. */
static bool is_shut(const ends *e)
{
    struct pollfd p = {.fd = e->ours, .events = POLLRDHUP};
    return poll(&p, 1, 0) == 1 && (p.revents & POLLRDHUP) != 0;
}

static void bytes_that_are_not_delivered_end_a_connection(void **state)
{
    (void)state;
    tb_watchdog dog = {0};
    ends honest = connect_pair();
    ends rogue = connect_pair();
    CHECK(tb_watchdog_accepted(&dog, honest.ours, TB_DOOR_MAIN, 0, 9) == TB_OK);
    CHECK(tb_watchdog_accepted(&dog, rogue.ours, TB_DOOR_MAIN, 0, 9) == TB_OK);
    pass(&honest, MB);
    pass(&rogue, MB);
    tb_watchdog_sweep(&dog, 0);
    CHECK(!is_shut(&honest) && !is_shut(&rogue)); /* within the credit */
    tb_watchdog_delivered(tb_watchdog_link(&dog, honest.ours), 3 * MB);
    pass(&honest, 2 * MB);
    pass(&rogue, 2 * MB);
    tb_watchdog_sweep(&dog, 0);
    CHECK(!is_shut(&honest) && is_shut(&rogue) && dog.n_cut == 1);
    close_pair(&honest);
    close_pair(&rogue);
    tb_watchdog_release(&dog);
}

static void heartbeats_of_a_year_do_not_end_a_connection(void **state)
{
    (void)state;
    int64_t year_ms = 365LL * 24 * 3600 * 1000;
    tb_watchdog dog = {0};
    ends e = connect_pair();
    CHECK(tb_watchdog_accepted(&dog, e.ours, TB_DOOR_MAIN, 0, 9) == TB_OK);
    pass(&e, 3 * MB); /* as much as some weeks of them */
    tb_watchdog_sweep(&dog, year_ms);
    CHECK(!is_shut(&e));
    close_pair(&e);
    tb_watchdog_release(&dog);
}

static void an_enrolment_that_takes_too_long_is_ended(void **state)
{
    (void)state;
    tb_watchdog dog = {0};
    ends e = connect_pair();
    CHECK(tb_watchdog_accepted(&dog, e.ours, TB_DOOR_ENROL, 0, 9) == TB_OK);
    tb_watchdog_sweep(&dog, 9999);
    CHECK(!is_shut(&e));
    tb_watchdog_sweep(&dog, 10001);
    CHECK(is_shut(&e));
    close_pair(&e);
    tb_watchdog_release(&dog);
}

static void a_connection_too_many_is_shut_at_once(void **state)
{
    (void)state;
    tb_watchdog dog = {0};
    ends one = connect_pair();
    ends two = connect_pair();
    CHECK(tb_watchdog_accepted(&dog, one.ours, TB_DOOR_MAIN, 0, 1) == TB_OK);
    CHECK(tb_watchdog_accepted(&dog, two.ours, TB_DOOR_MAIN, 0, 1) ==
          TB_E_LIMIT);
    CHECK(!is_shut(&one) && is_shut(&two));
    CHECK(tb_watchdog_closed(&dog, one.ours).open && dog.n_open == 0);
    close_pair(&one);
    close_pair(&two);
    tb_watchdog_release(&dog);
}

/* libzmq tells of an acceptance after it has handed the connection on: the
 * first message, and even the end, may overtake it. */
static void an_acceptance_that_is_told_late_changes_nothing(void **state)
{
    (void)state;
    tb_watchdog dog = {0};
    ends e = connect_pair();
    CHECK(tb_watchdog_accepted(&dog, e.ours, TB_DOOR_MAIN, 0, 9) == TB_OK);
    uint64_t serial = tb_watchdog_link(&dog, e.ours)->serial;
    CHECK(tb_watchdog_accepted(&dog, e.ours, TB_DOOR_MAIN, 5, 9) == TB_OK);
    CHECK(tb_watchdog_link(&dog, e.ours)->serial == serial);
    CHECK(dog.n_open == 1);
    (void)tb_watchdog_closed(&dog, e.ours);
    close_pair(&e);
    CHECK(tb_watchdog_accepted(&dog, e.ours, TB_DOOR_MAIN, 6, 9) == TB_OK);
    CHECK(tb_watchdog_link(&dog, e.ours) == NULL && dog.n_open == 0);
    tb_watchdog_release(&dog);
}

static void a_later_connection_of_the_same_descriptor_is_spared(void **state)
{
    (void)state;
    tb_watchdog dog = {0};
    ends old = connect_pair();
    CHECK(tb_watchdog_accepted(&dog, old.ours, TB_DOOR_MAIN, 0, 9) == TB_OK);
    uint64_t serial = tb_watchdog_link(&dog, old.ours)->serial;
    ends new = connect_pair();
    CHECK(dup2(new.ours, old.ours) == old.ours); /* the number lives on */
    ends reused = {.peer = new.peer, .ours = old.ours};
    tb_watchdog_shut(&dog, old.ours);
    pass(&reused, 3 * MB);
    tb_watchdog_sweep(&dog, 0);
    CHECK(!is_shut(&reused) && dog.n_cut == 0);
    CHECK(tb_watchdog_accepted(&dog, old.ours, TB_DOOR_MAIN, 0, 9) == TB_OK);
    CHECK(tb_watchdog_link(&dog, old.ours)->serial > serial);
    CHECK(tb_watchdog_find(&dog, serial) == NULL && dog.n_open == 1);
    (void)close(old.peer);
    (void)close(old.ours);
    close_pair(&new);
    tb_watchdog_release(&dog);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_that_are_not_delivered_end_a_connection),
        cmocka_unit_test(heartbeats_of_a_year_do_not_end_a_connection),
        cmocka_unit_test(an_enrolment_that_takes_too_long_is_ended),
        cmocka_unit_test(a_connection_too_many_is_shut_at_once),
        cmocka_unit_test(an_acceptance_that_is_told_late_changes_nothing),
        cmocka_unit_test(a_later_connection_of_the_same_descriptor_is_spared),
    };
    tb_log_set_level(TB_LOG_OFF);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
