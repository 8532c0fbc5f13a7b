/* Signals as a descriptor. */
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/stop.h"
#include "support/check.h"

static bool readable(int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    return poll(&p, 1, 0) == 1;
}

static void *take_signal(void *arg)
{
    (void)arg;
    (void)raise(SIGTERM); /* to this very thread */
    return NULL;
}

static void a_signal_to_any_thread_makes_it_readable(void **state)
{
    (void)state;
    tb_err err;
    int fd = -1;
    pthread_t thread;
    CHECK_OK(tb_stop_open(&fd, &err), err);
    CHECK(!readable(fd));
    CHECK(pthread_create(&thread, NULL, take_signal, NULL) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
    CHECK(readable(fd));
}

static void opening_again_gives_the_same_one(void **state)
{
    (void)state;
    tb_err err;
    int first = -1;
    int second = -2;
    CHECK_OK(tb_stop_open(&first, &err), err);
    CHECK_OK(tb_stop_open(&second, &err), err);
    CHECK(first == second);
}

static void a_process_that_hangs_ends_all_the_same(void **state)
{
    (void)state;
    tb_err err;
    int fd = -1;
    int status = -1;
    pid_t child = fork();
    if (child == 0) {
        if (tb_stop_open(&fd, &err) != TB_OK ||
            tb_stop_within(1, &err) != TB_OK || raise(SIGTERM) != 0) {
            _exit(9);
        }
        for (;;) {
            (void)pause();
        }
    }
    CHECK(child > 0 && waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void each_hang_up_is_told_once(void **state)
{
    (void)state;
    tb_err err;
    int fd = -1;
    CHECK_OK(tb_reload_open(&fd, &err), err);
    for (int i = 0; i < 2; i++) {
        CHECK(!readable(fd) && !tb_reload_take(fd));
        CHECK(raise(SIGHUP) == 0);
        CHECK(readable(fd) && tb_reload_take(fd));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_process_that_hangs_ends_all_the_same),
        cmocka_unit_test(each_hang_up_is_told_once),
        cmocka_unit_test(a_signal_to_any_thread_makes_it_readable),
        cmocka_unit_test(opening_again_gives_the_same_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
