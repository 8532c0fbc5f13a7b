#include "base/stop.h"

#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

static int stop_fd = -1;

static void on_signal(int number)
{
    const uint64_t one = 1;
    int kept = errno;
    (void)number;
    (void)!write(stop_fd, &one, sizeof one);
    errno = kept;
}

tb_rc tb_stop_open(int *fd, tb_err *err)
{
    struct sigaction action = {.sa_handler = on_signal,
                               .sa_flags = (int)(SA_RESTART | SA_RESETHAND)};
    if (stop_fd < 0) {
        stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    }
    if (stop_fd < 0) {
        return tb_fail_errno(err, errno, "eventfd");
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
