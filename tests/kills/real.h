/* tests/kills/real.h - for libraries that are preloaded into a program under
 * test: the functions that theirs stand before, and their log. */
#ifndef TB_TESTS_KILLS_REAL_H
#define TB_TESTS_KILLS_REAL_H

#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

/* A line at the end of a file (NULL: nowhere), past all functions of ours. */
static void append_to(const char *file, const char *line)
{
    int fd =
        file == NULL
            ? -1
            : (int)syscall(SYS_openat, AT_FDCWD, file,
                           O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (fd >= 0) {
        (void)!syscall(SYS_write, fd, line, strlen(line));
        (void)close(fd);
    }
}

static void *next_of(const char *name)
{
    void *f = dlsym(RTLD_NEXT, name);
    if (f == NULL) {
        abort();
    }
    return f;
}

/* Puts the next one of that name into a variable of the function's type,
 * without a cast that ISO C does not know. */
#define FIND(variable, name)                                                   \
    do {                                                                       \
        void *found = next_of(name);                                           \
        memcpy(&(variable), &found, sizeof found);                             \
    } while (0)

/* In a function of ours: the next one of that name is `real`. */
#define NEXT(type, name)                                                       \
    static type *real;                                                         \
    if (real == NULL) {                                                        \
        FIND(real, name);                                                      \
    }

typedef ssize_t write_fn(int, const void *, size_t);
typedef ssize_t pwrite_fn(int, const void *, size_t, off_t);
typedef ssize_t writev_fn(int, const struct iovec *, int);
typedef int fd_fn(int);
typedef int path_fn(const char *);
typedef int rename_fn(const char *, const char *);

#endif
