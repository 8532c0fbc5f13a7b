#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "host/watchdog.h"
#include "support/check.h"

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

/* Whether the watchdog has shut our end down. */
static bool is_shut(const ends *e)
{
    struct pollfd p = {.fd = e->ours, .events = POLLRDHUP};
    return poll(&p, 1, 0) == 1 && (p.revents & POLLRDHUP) != 0;
}

static void an_enrolment_that_takes_too_long_is_ended(void **state)
{
    (void)state;
    tb_watchdog dog = {0};
    ends e = connect_pair();
    CHECK(tb_watchdog_accepted(&dog, e.ours, TB_DOOR_ENROL, 0) == TB_OK);
    tb_watchdog_sweep(&dog, 9999);
    CHECK(!is_shut(&e));
    tb_watchdog_sweep(&dog, 10001);
    CHECK(is_shut(&e));
    close_pair(&e);
    tb_watchdog_release(&dog);
}

/* libzmq tells of an acceptance after it has handed the connection on: the
 * first message, and even the end, may overtake it. */
static void an_acceptance_that_is_told_late_changes_nothing(void **state)
{
    (void)state;
    tb_watchdog dog = {0};
    ends e = connect_pair();
    CHECK(tb_watchdog_accepted(&dog, e.ours, TB_DOOR_MAIN, 0) == TB_OK);
    uint64_t serial = tb_watchdog_link(&dog, e.ours)->serial;
    CHECK(tb_watchdog_accepted(&dog, e.ours, TB_DOOR_MAIN, 5) == TB_OK);
    CHECK(tb_watchdog_link(&dog, e.ours)->serial == serial);
    CHECK(dog.n_open == 1);
    (void)tb_watchdog_closed(&dog, e.ours);
    close_pair(&e);
    CHECK(tb_watchdog_accepted(&dog, e.ours, TB_DOOR_MAIN, 6) == TB_OK);
    CHECK(tb_watchdog_link(&dog, e.ours) == NULL && dog.n_open == 0);
    tb_watchdog_release(&dog);
}

static void a_later_connection_of_the_same_descriptor_is_spared(void **state)
{
    (void)state;
    tb_watchdog dog = {0};
    ends old = connect_pair();
    CHECK(tb_watchdog_accepted(&dog, old.ours, TB_DOOR_ENROL, 0) == TB_OK);
    tb_link was = *tb_watchdog_link(&dog, old.ours);
    uint64_t serial = was.serial;
    CHECK(tb_watchdog_was(&dog, old.ours, was.cookie) != NULL);
    ends new = connect_pair();
    CHECK(dup2(new.ours, old.ours) == old.ours); /* the number lives on */
    ends reused = {.peer = new.peer, .ours = old.ours};
    tb_watchdog_shut(&dog, old.ours);
    tb_watchdog_sweep(&dog, 10001);
    CHECK(!is_shut(&reused) && dog.n_cut == 0);
    CHECK(tb_watchdog_accepted(&dog, old.ours, TB_DOOR_MAIN, 0) == TB_OK);
    CHECK(tb_watchdog_link(&dog, old.ours)->serial > serial);
    CHECK(tb_watchdog_find(&dog, serial) == NULL && dog.n_open == 1);
    CHECK(tb_watchdog_was(&dog, old.ours, was.cookie) == NULL);
    (void)close(old.peer);
    (void)close(old.ours);
    close_pair(&new);
    tb_watchdog_release(&dog);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_enrolment_that_takes_too_long_is_ended),
        cmocka_unit_test(an_acceptance_that_is_told_late_changes_nothing),
        cmocka_unit_test(a_later_connection_of_the_same_descriptor_is_spared),
    };
    tb_log_set_level(TB_LOG_OFF);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
