/* Against the description in sd_notify(3): a socket of our own plays the
 * service manager. */
#include "host/notify.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "support/check.h"
#include "support/folder.h"

static int listen_at(const char *path)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    CHECK(fd >= 0 && strlen(path) < sizeof at.sun_path);
    memcpy(at.sun_path, path, strlen(path) + 1);
    CHECK(bind(fd, (const struct sockaddr *)&at, sizeof at) == 0);
    CHECK(setenv("NOTIFY_SOCKET", path, 1) == 0);
    return fd;
}

/* The next datagram; "": none. */
static const char *heard(int fd)
{
    static char text[1024];
    ssize_t n = recv(fd, text, sizeof text - 1, 0);
    text[n > 0 ? n : 0] = '\0';
    return text;
}

static void nothing_is_told_where_nobody_asks(void **state)
{
    tb_err err = {0};
    tb_notify n;
    (void)state;
    (void)unsetenv("NOTIFY_SOCKET");
    CHECK(setenv("WATCHDOG_USEC", "1000000", 1) == 0);
    CHECK_OK(tb_notify_open(&n, &err), err);
    CHECK(n.fd < 0 && tb_notify_wait_ms(&n, 0) == INT64_MAX);
    tb_notify_ready(&n);
    tb_notify_status(&n, "well");
    tb_notify_turn(&n, 1000000);
    tb_notify_close(&n);
}

static void states_go_out_as_sd_notify_writes_them(void **state)
{
    tb_err err = {0};
    tb_notify n;
    int fd = listen_at(tb_test_folder_path(*state, "socket"));
    CHECK_OK(tb_notify_open(&n, &err), err);
    CHECK(getenv("NOTIFY_SOCKET") == NULL);
    tb_notify_ready(&n);
    CHECK(strcmp(heard(fd), "READY=1") == 0);
    tb_notify_status(&n, "round 1\nMAINPID=1");
    CHECK(strcmp(heard(fd), "STATUS=round 1") == 0);
    tb_notify_status(&n, "round 1");
    CHECK(strcmp(heard(fd), "") == 0); /* told already */
    tb_notify_reloading(&n);
    CHECK(strncmp(heard(fd), "RELOADING=1\nMONOTONIC_USEC=", 27) == 0);
    tb_notify_stopping(&n);
    CHECK(strcmp(heard(fd), "STOPPING=1") == 0);
    tb_notify_close(&n);
    CHECK(close(fd) == 0);
}

static void signs_of_life_come_thrice_in_the_allowed_silence(void **state)
{
    tb_err err = {0};
    tb_notify n;
    char pid[32];
    int fd = listen_at(tb_test_folder_path(*state, "socket"));
    (void)snprintf(pid, sizeof pid, "%ld", (long)getpid());
    CHECK(setenv("WATCHDOG_USEC", "30000000", 1) == 0);
    CHECK(setenv("WATCHDOG_PID", pid, 1) == 0);
    CHECK_OK(tb_notify_open(&n, &err), err);
    tb_notify_turn(&n, 50000);
    CHECK(strcmp(heard(fd), "WATCHDOG=1") == 0);
    CHECK(tb_notify_wait_ms(&n, 50000) == 10000);
    tb_notify_turn(&n, 59999);
    CHECK(strcmp(heard(fd), "") == 0);
    tb_notify_turn(&n, 60000);
    CHECK(strcmp(heard(fd), "WATCHDOG=1") == 0);
    tb_notify_close(&n);
    CHECK(close(fd) == 0);
}

static void a_watchdog_of_another_process_is_not_ours(void **state)
{
    tb_err err = {0};
    tb_notify n;
    int fd = listen_at(tb_test_folder_path(*state, "socket"));
    CHECK(setenv("WATCHDOG_USEC", "30000000", 1) == 0);
    CHECK(setenv("WATCHDOG_PID", "1", 1) == 0);
    CHECK_OK(tb_notify_open(&n, &err), err);
    CHECK(n.watchdog_ms == 0 && n.fd >= 0);
    tb_notify_close(&n);
    CHECK(close(fd) == 0);
}

static void a_socket_that_cannot_be_is_refused_and_told_nothing(void **state)
{
    static const char *const names[] = {"here", "/", "vsock:2:1234",
                                        "/no/such/socket"};
    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        tb_err err = {0};
        tb_notify n;
        CHECK(setenv("NOTIFY_SOCKET", names[i], 1) == 0);
        CHECK(tb_notify_open(&n, &err) != TB_OK && n.fd < 0);
        CHECK(strstr(err.text, "NOTIFY_SOCKET") != NULL);
        tb_notify_ready(&n);
    }
}

#define IN_FOLDER(test)                                                        \
    cmocka_unit_test_setup_teardown(test, tb_test_folder_setup,                \
                                    tb_test_folder_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_told_where_nobody_asks),
        IN_FOLDER(states_go_out_as_sd_notify_writes_them),
        IN_FOLDER(signs_of_life_come_thrice_in_the_allowed_silence),
        IN_FOLDER(a_watchdog_of_another_process_is_not_ours),
        cmocka_unit_test(a_socket_that_cannot_be_is_refused_and_told_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
