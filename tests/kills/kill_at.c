/* tests/kills/kill_at.c - preloaded into a program under test (LD_PRELOAD):
 * counts every call that changes something below one folder, over all threads,
 * and kills the program with SIGKILL before the n-th of them. The environment
 * says which:
 *   KILL_DIR   the folder, an absolute path
 *   KILL_AT    n; 0 or unset: never
 *   KILL_HALF  set: when the n-th call is a write, half of it is made first
 *   KILL_LOG   file that gets a line "n call path" for each call counted, or
 *              (KILL_AT set) for the one that killed */
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

#include "real.h"

#define PATH_BYTES 4096

static atomic_ulong n_calls;

/* What stands in the place of half a write. */
typedef struct half {
    int fd;
    const void *bytes;
    size_t len;
    off_t offset; /* -1: where the file stands */
} half;

static void note(unsigned long n, const char *call, const char *path)
{
    char line[PATH_BYTES + 64];
    (void)snprintf(line, sizeof line, "%lu %s %s\n", n, call, path);
    append_to(getenv("KILL_LOG"), line);
}

static void die(const half *torn)
{
    if (torn != NULL && getenv("KILL_HALF") != NULL) {
        if (torn->offset < 0) {
            (void)!syscall(SYS_write, torn->fd, torn->bytes, torn->len / 2);
        } else {
            (void)!syscall(SYS_pwrite64, torn->fd, torn->bytes, torn->len / 2,
                           torn->offset);
        }
    }
    for (;;) {
        (void)kill(getpid(), SIGKILL);
    }
}

/* One call on path: counted when it is below the folder. */
static void count(const char *call, const char *path, const half *torn)
{
    const char *dir = getenv("KILL_DIR");
    const char *at = getenv("KILL_AT");
    size_t len = dir != NULL ? strlen(dir) : 0;
    if (len == 0 || strncmp(path, dir, len) != 0 ||
        (path[len] != '/' && path[len] != '\0')) {
        return;
    }
    unsigned long n = atomic_fetch_add(&n_calls, 1) + 1;
    unsigned long want = at != NULL ? strtoul(at, NULL, 10) : 0;
    if (want == 0 || n == want) {
        note(n, call, path + len);
    }
    if (want != 0 && n == want) {
        die(torn);
    }
}

static void count_fd(const char *call, int fd, const half *torn)
{
    char link[64];
    char path[PATH_BYTES];
    (void)snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, sizeof path - 1);
    if (n > 0) {
        path[n] = '\0';
        count(call, path, torn);
    }
}

/* A path below an open folder. */
static void count_at(const char *call, int dir, const char *name)
{
    char link[64];
    char path[PATH_BYTES];
    if (dir == AT_FDCWD || name[0] == '/') {
        count(call, name, NULL);
        return;
    }
    (void)snprintf(link, sizeof link, "/proc/self/fd/%d", dir);
    ssize_t n = readlink(link, path, sizeof path / 2);
    if (n > 0) {
        (void)snprintf(path + n, sizeof path - (size_t)n, "/%s", name);
        count(call, path, NULL);
    }
}

typedef int truncate_fn(int, off_t);
typedef int unlinkat_fn(int, const char *, int);

ssize_t write(int fd, const void *bytes, size_t len)
{
    NEXT(write_fn, "write")
    count_fd("write", fd, &(half){fd, bytes, len, -1});
    return real(fd, bytes, len);
}

ssize_t writev(int fd, const struct iovec *parts, int n)
{
    NEXT(writev_fn, "writev")
    count_fd("writev", fd, NULL);
    return real(fd, parts, n);
}

ssize_t pwrite(int fd, const void *bytes, size_t len, off_t offset)
{
    NEXT(pwrite_fn, "pwrite")
    count_fd("pwrite", fd, &(half){fd, bytes, len, offset});
    return real(fd, bytes, len, offset);
}

ssize_t pwrite64(int fd, const void *bytes, size_t len, off_t offset)
{
    NEXT(pwrite_fn, "pwrite64")
    count_fd("pwrite64", fd, &(half){fd, bytes, len, offset});
    return real(fd, bytes, len, offset);
}

int fsync(int fd)
{
    NEXT(fd_fn, "fsync")
    count_fd("fsync", fd, NULL);
    return real(fd);
}

int fdatasync(int fd)
{
    NEXT(fd_fn, "fdatasync")
    count_fd("fdatasync", fd, NULL);
    return real(fd);
}

int ftruncate(int fd, off_t len)
{
    NEXT(truncate_fn, "ftruncate")
    count_fd("ftruncate", fd, NULL);
    return real(fd, len);
}

int ftruncate64(int fd, off_t len)
{
    NEXT(truncate_fn, "ftruncate64")
    count_fd("ftruncate64", fd, NULL);
    return real(fd, len);
}

int rename(const char *from, const char *to)
{
    NEXT(rename_fn, "rename")
    count("rename", to, NULL);
    return real(from, to);
}

int unlink(const char *path)
{
    NEXT(path_fn, "unlink")
    count("unlink", path, NULL);
    return real(path);
}

int rmdir(const char *path)
{
    NEXT(path_fn, "rmdir")
    count("rmdir", path, NULL);
    return real(path);
}

int unlinkat(int dir, const char *path, int flags)
{
    NEXT(unlinkat_fn, "unlinkat")
    count_at("unlinkat", dir, path);
    return real(dir, path, flags);
}
