#include "base/stop.h"

#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

static int stop_fd = -1;
static int reload_fd = -1;
static unsigned patience_s; /* 0: for ever */

static void on_signal(int number)
{
    const uint64_t one = 1;
    int kept = errno;
    if (number != SIGHUP && patience_s > 0) {
        (void)alarm(patience_s);
    }
    (void)!write(number == SIGHUP ? reload_fd : stop_fd, &one, sizeof one);
    errno = kept;
}

static void on_alarm(int number)
{
    (void)number;
    _exit(0);
}

static tb_rc open_event(int *fd, tb_err *err)
{
    if (*fd < 0) {
        *fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    }
    return *fd >= 0 ? TB_OK : tb_fail_errno(err, errno, "eventfd");
}

tb_rc tb_stop_open(int *fd, tb_err *err)
{
    struct sigaction action = {.sa_handler = on_signal,
                               .sa_flags = (int)(SA_RESTART | SA_RESETHAND)};
    tb_rc rc = open_event(&stop_fd, err);
    if (rc != TB_OK) {
        return rc;
    }
    (void)sigemptyset(&action.sa_mask);
    if (sigaction(SIGTERM, &action, NULL) != 0 ||
        sigaction(SIGINT, &action, NULL) != 0 ||
        signal(SIGPIPE, SIG_IGN) == SIG_ERR) {
        return tb_fail_errno(err, errno, "cannot handle signals");
    }
    *fd = stop_fd;
    return TB_OK;
}

tb_rc tb_stop_within(unsigned seconds, tb_err *err)
{
    struct sigaction action = {.sa_handler = on_alarm};
    (void)sigemptyset(&action.sa_mask);
    if (sigaction(SIGALRM, &action, NULL) != 0) {
        return tb_fail_errno(err, errno, "cannot handle SIGALRM");
    }
    patience_s = seconds;
    return TB_OK;
}

tb_rc tb_reload_open(int *fd, tb_err *err)
{
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    tb_rc rc = open_event(&reload_fd, err);
    if (rc != TB_OK) {
        return rc;
    }
    (void)sigemptyset(&action.sa_mask);
    if (sigaction(SIGHUP, &action, NULL) != 0) {
        return tb_fail_errno(err, errno, "cannot handle SIGHUP");
    }
    *fd = reload_fd;
    return TB_OK;
}

bool tb_reload_take(int fd)
{
    uint64_t count = 0;
    return read(fd, &count, sizeof count) == (ssize_t)sizeof count;
}
