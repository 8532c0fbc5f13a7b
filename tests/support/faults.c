/* Takes the place of libc's calls in a test program: see faults.h. */
#undef _FORTIFY_SOURCE
#include "support/faults.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

static struct {
    bool armed, for_ever, fired;
    tb_fault_call call;
    long left; /* calls until it happens */
} state;

const char *tb_fault_name(tb_fault_call call)
{
    static const char *const names[TB_FAULT_COUNT] = {
        "EINTR", "SHORT", "ENOSPC", "EIO", "EMFILE"};
    return (unsigned)call < TB_FAULT_COUNT ? names[call] : "?";
}

void tb_faults_arm(tb_fault_call call, long n, bool for_ever)
{
    state.call = call;
    state.left = n;
    state.for_ever = for_ever;
    state.fired = false;
    state.armed = true;
}

bool tb_faults_disarm(void)
{
    state.armed = false;
    return state.fired;
}

/* Classes of calls. */
enum { OPEN = 1, CREATE = 2, READ = 4, WRITE = 8, SYNC = 16, NAME = 32 };

static const struct {
    unsigned classes;
    int number;
} faults[TB_FAULT_COUNT] = {
    [TB_FAULT_EINTR] = {OPEN | READ | WRITE | SYNC, EINTR},
    [TB_FAULT_SHORT] = {READ | WRITE, 0},
    [TB_FAULT_ENOSPC] = {CREATE | WRITE | SYNC | NAME, ENOSPC},
    [TB_FAULT_EIO] = {OPEN | READ | WRITE | SYNC | NAME, EIO},
    [TB_FAULT_EMFILE] = {OPEN, EMFILE}};

/* Whether this call fails; errno is set then. */
static bool fails(unsigned classes)
{
    if (!state.armed || (faults[state.call].classes & classes) == 0) {
        return false;
    }
    if (state.left > 0) {
        state.left--;
        return false;
    }
    if (state.fired && !state.for_ever) {
        return false;
    }
    state.fired = true;
    errno = faults[state.call].number;
    return true;
}

/* How much of a read or write is done: all, half, or none (-1). */
static ssize_t share(unsigned class, size_t len)
{
    if (!fails(class)) {
        return (ssize_t)len;
    }
    return state.call != TB_FAULT_SHORT ? -1
           : len > 1                    ? (ssize_t)(len / 2)
                                        : (ssize_t)len;
}

/* Prototypes of what the headers hide or inline. */
int open64(const char *path, int flags, ...);
int openat64(int dir, const char *path, int flags, ...);
int __open_2(const char *path, int flags);
int __open64_2(const char *path, int flags);
ssize_t pread64(int fd, void *to, size_t len, off_t at);
ssize_t pwrite64(int fd, const void *from, size_t len, off_t at);
int ftruncate64(int fd, off_t len);
ssize_t __read_chk(int fd, void *to, size_t len, size_t room);
ssize_t __pread_chk(int fd, void *to, size_t len, off_t at, size_t room);
ssize_t __pread64_chk(int fd, void *to, size_t len, off_t at, size_t room);

static int open_any(int dir, const char *path, int flags, mode_t mode)
{
    unsigned classes = OPEN | ((flags & O_CREAT) != 0 ? CREATE : 0u);
    return fails(classes) ? -1
                          : (int)syscall(SYS_openat, dir, path, flags, mode);
}

static mode_t mode_of(int flags, va_list args)
{
    return (flags & (O_CREAT | O_TMPFILE)) != 0 ? va_arg(args, mode_t) : 0;
}

#define DEFINE_OPEN(name)                                                      \
    int name(const char *path, int flags, ...)                                 \
    {                                                                          \
        va_list args;                                                          \
        va_start(args, flags);                                                 \
        mode_t mode = mode_of(flags, args);                                    \
        va_end(args);                                                          \
        return open_any(AT_FDCWD, path, flags, mode);                          \
    }
DEFINE_OPEN(open)
DEFINE_OPEN(open64)

#define DEFINE_OPENAT(name)                                                    \
    int name(int dir, const char *path, int flags, ...)                        \
    {                                                                          \
        va_list args;                                                          \
        va_start(args, flags);                                                 \
        mode_t mode = mode_of(flags, args);                                    \
        va_end(args);                                                          \
        return open_any(dir, path, flags, mode);                               \
    }
DEFINE_OPENAT(openat)
DEFINE_OPENAT(openat64)

int __open_2(const char *path, int flags)
{
    return open_any(AT_FDCWD, path, flags, 0);
}

int __open64_2(const char *path, int flags)
{
    return open_any(AT_FDCWD, path, flags, 0);
}

ssize_t read(int fd, void *to, size_t len)
{
    ssize_t n = share(READ, len);
    return n < 0 ? -1 : syscall(SYS_read, fd, to, (size_t)n);
}

ssize_t __read_chk(int fd, void *to, size_t len, size_t room)
{
    (void)room;
    return read(fd, to, len);
}

ssize_t pread64(int fd, void *to, size_t len, off_t at)
{
    ssize_t n = share(READ, len);
    return n < 0 ? -1 : syscall(SYS_pread64, fd, to, (size_t)n, at);
}

ssize_t pread(int fd, void *to, size_t len, off_t at)
{
    return pread64(fd, to, len, at);
}

ssize_t __pread_chk(int fd, void *to, size_t len, off_t at, size_t room)
{
    (void)room;
    return pread64(fd, to, len, at);
}

ssize_t __pread64_chk(int fd, void *to, size_t len, off_t at, size_t room)
{
    (void)room;
    return pread64(fd, to, len, at);
}

ssize_t write(int fd, const void *from, size_t len)
{
    ssize_t n = fd > 2 ? share(WRITE, len) : (ssize_t)len;
    return n < 0 ? -1 : syscall(SYS_write, fd, from, (size_t)n);
}

ssize_t pwrite64(int fd, const void *from, size_t len, off_t at)
{
    ssize_t n = share(WRITE, len);
    return n < 0 ? -1 : syscall(SYS_pwrite64, fd, from, (size_t)n, at);
}

ssize_t pwrite(int fd, const void *from, size_t len, off_t at)
{
    return pwrite64(fd, from, len, at);
}

int fsync(int fd)
{
    (void)fd;
    return fails(SYNC) ? -1 : 0;
}

int fdatasync(int fd)
{
    (void)fd;
    return fails(SYNC) ? -1 : 0;
}

int ftruncate64(int fd, off_t len)
{
    return fails(WRITE) && state.call != TB_FAULT_SHORT
               ? -1
               : (int)syscall(SYS_ftruncate, fd, len);
}

int ftruncate(int fd, off_t len)
{
    return ftruncate64(fd, len);
}

int rename(const char *from, const char *to)
{
    return fails(NAME)
               ? -1
               : (int)syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0u);
}

int unlink(const char *path)
{
    return fails(NAME) ? -1 : (int)syscall(SYS_unlinkat, AT_FDCWD, path, 0);
}

int unlinkat(int dir, const char *path, int flags)
{
    return fails(NAME) ? -1 : (int)syscall(SYS_unlinkat, dir, path, flags);
}

int mkdir(const char *path, mode_t mode)
{
    return fails(NAME) ? -1 : (int)syscall(SYS_mkdirat, AT_FDCWD, path, mode);
}
