#include "base/spare.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>

/* Under the lock; `users` calls have the whole limit at this moment. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static rlim_t whole, kept;
static unsigned users;

static bool set_soft(rlim_t soft)
{
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) != 0) {
        return false;
    }
    files.rlim_cur = soft < files.rlim_max ? soft : files.rlim_max;
    return setrlimit(RLIMIT_NOFILE, &files) == 0;
}

tb_rc tb_spare_keep(uint64_t limit, uint64_t spare, tb_err *err)
{
    tb_rc rc = TB_OK;
    (void)pthread_mutex_lock(&lock);
    whole = (rlim_t)limit;
    kept = (rlim_t)(spare < limit ? spare : 0);
    if (users == 0 && !set_soft(whole - kept)) {
        rc = tb_fail_errno(err, errno, "the limit of open files");
    }
    (void)pthread_mutex_unlock(&lock);
    return rc;
}

/* Whether trying once more may help: then the limit is whole until give_back.
 * errno is as it was. */
static bool lend(void)
{
    int why = errno;
    bool lent = false;
    if (why != EMFILE) {
        return false;
    }
    (void)pthread_mutex_lock(&lock);
    if (kept > 0 && (users > 0 || set_soft(whole))) {
        users++;
        lent = true;
    }
    (void)pthread_mutex_unlock(&lock);
    errno = why;
    return lent;
}

static void give_back(void)
{
    int why = errno;
    (void)pthread_mutex_lock(&lock);
    if (--users == 0) {
        (void)set_soft(whole - kept);
    }
    (void)pthread_mutex_unlock(&lock);
    errno = why;
}

int tb_spare_openat(int dir, const char *path, int flags, mode_t mode)
{
    int fd = openat(dir, path, flags, mode);
    if (fd < 0 && lend()) {
        fd = openat(dir, path, flags, mode);
        give_back();
    }
    return fd;
}

int tb_spare_open(const char *path, int flags, mode_t mode)
{
    return tb_spare_openat(AT_FDCWD, path, flags, mode);
}

int tb_spare_temporary(char *path)
{
    static const char unset[] = "XXXXXX";
    int fd = mkostemp(path, O_CLOEXEC);
    if (fd < 0 && lend()) {
        memcpy(path + strlen(path) - strlen(unset), unset, strlen(unset));
        fd = mkostemp(path, O_CLOEXEC);
        give_back();
    }
    return fd;
}

DIR *tb_spare_opendir(const char *path)
{
    DIR *dir = opendir(path);
    if (dir == NULL && lend()) {
        dir = opendir(path);
        give_back();
    }
    return dir;
}

int tb_spare_accept(int fd, int flags)
{
    int peer = accept4(fd, NULL, NULL, flags);
    if (peer < 0 && lend()) {
        peer = accept4(fd, NULL, NULL, flags);
        give_back();
    }
    return peer;
}
