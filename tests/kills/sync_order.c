/* tests/kills/sync_order.c - preloaded into a program under test (LD_PRELOAD):
 * follows every call that writes below one folder, and says where the order in
 * which things become durable is broken. What holds is what a power cut needs:
 *
 *   - a file that takes the place of another was synced after its last write,
 *     and so was all in a folder that gets its name
 *   - who renames a file or makes a folder syncs the folder above before it
 *     writes, renames or makes anything else
 *   - a segment of the spool is written only when its folder names it for good
 *   - HEAD is written only when the journal's log is synced
 *   - a RECEIPT leaves only when HEAD is synced with its row in it, and nothing
 *     in the spool is unsynced (so clients must upload one after the other)
 *   - at the end of the program nothing is unsynced
 *
 * ORDER_DIR is the folder, an absolute path; ORDER_LOG gets a line for each
 * break, and "checked N receipts, N heads, N renames" at the end. */
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

#include "real.h"

#define PATH_BYTES  4096
#define N_THINGS    4096
#define RECEIPT_TAG 0x72 /* field 14 of an envelope, with a length */

/* What is not durable yet: bytes of a file, or a name in a folder. */
typedef struct thing {
    bool used, is_name;
    dev_t dev;
    ino_t ino;       /* of the file, or of the folder that holds the name */
    pthread_t maker; /* of a name */
    char path[PATH_BYTES];
} thing;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static thing things[N_THINGS];
static uint64_t head_written, head_durable;
static unsigned long n_receipts, n_heads, n_renames;

static void say(const char *format, ...) __attribute__((format(printf, 1, 2)));

static void say(const char *format, ...)
{
    char line[2 * PATH_BYTES];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(line, sizeof line, format, args);
    va_end(args);
    append_to(getenv("ORDER_LOG"), line);
}

static bool ends(const char *path, const char *with)
{
    size_t n = strlen(path);
    size_t m = strlen(with);
    return n >= m && strcmp(path + n - m, with) == 0;
}

/* Below the folder, and something that a power cut must not take. */
static bool counts(const char *path)
{
    const char *dir = getenv("ORDER_DIR");
    size_t n = dir != NULL ? strlen(dir) : 0;
    return n > 0 && strncmp(path, dir, n) == 0 && path[n] == '/' &&
           !ends(path, "-shm") && !ends(path, "/LOCK") &&
           !ends(path, "/control");
}

static bool path_of(int fd, char path[static PATH_BYTES])
{
    char link[64];
    (void)snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, PATH_BYTES - 1);
    path[n > 0 ? n : 0] = '\0';
    return n > 0 && counts(path);
}

static thing *find(bool is_name, const struct stat *st, const char *path)
{
    for (size_t i = 0; i < N_THINGS; i++) {
        thing *t = &things[i];
        if (t->used && t->is_name == is_name &&
            (is_name ? strcmp(t->path, path) == 0
                     : t->dev == st->st_dev && t->ino == st->st_ino)) {
            return t;
        }
    }
    return NULL;
}

static void add(bool is_name, const struct stat *st, const char *path)
{
    thing *t = find(is_name, st, path);
    for (size_t i = 0; i < N_THINGS && t == NULL; i++) {
        t = things[i].used ? NULL : &things[i];
    }
    if (t == NULL) {
        say("too many unsynced files\n");
        return;
    }
    *t = (thing){.used = true,
                 .is_name = is_name,
                 .dev = st->st_dev,
                 .ino = st->st_ino,
                 .maker = pthread_self()};
    (void)snprintf(t->path, sizeof t->path, "%s", path);
}

/* The folder above holds a new name. */
static void add_name(const char *path)
{
    char dir[PATH_BYTES];
    struct stat st;
    (void)snprintf(dir, sizeof dir, "%s", path);
    *strrchr(dir, '/') = '\0';
    if (stat(dir, &st) == 0) {
        add(true, &st, path);
    }
}

static void forget_name(const char *path)
{
    thing *t = find(true, NULL, path);
    if (t != NULL) {
        t->used = false;
    }
}

/* Names that this thread made and did not sync. */
static void look_at_names(const char *call, const char *path)
{
    for (size_t i = 0; i < N_THINGS; i++) {
        thing *t = &things[i];
        if (t->used && t->is_name && pthread_equal(t->maker, pthread_self()) &&
            strcmp(t->path, path) != 0 && strstr(t->path, "/spool/") == NULL) {
            say("%s of %s: the folder of %s is not synced\n", call, path,
                t->path);
            t->used = false;
        }
    }
}

static bool any_bytes(const char *part, const char *when)
{
    bool any = false;
    for (size_t i = 0; i < N_THINGS; i++) {
        const thing *t = &things[i];
        if (t->used && !t->is_name && strstr(t->path, part) != NULL) {
            say("%s: %s is not synced\n", when, t->path);
            any = true;
        }
    }
    return any;
}

/* --- files ---------------------------------------------------------------- */

static void wrote(const char *call, int fd, const void *bytes, size_t len)
{
    char path[PATH_BYTES];
    struct stat st;
    if (!path_of(fd, path) || fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
        return;
    }
    (void)pthread_mutex_lock(&lock);
    look_at_names(call, path);
    if (strstr(path, "/spool/") != NULL && find(true, NULL, path) != NULL &&
        strstr(path, ".partial/") == NULL) { /* half a copy counts nothing */
        say("%s: the folder of %s is not synced\n", call, path);
        forget_name(path);
    }
    if (ends(path, "/HEAD") && len >= 16 && memcmp(bytes, "TBHD", 4) == 0) {
        n_heads++;
        (void)any_bytes("/journal.sqlite-wal", "HEAD is written");
        memcpy(&head_written, (const char *)bytes + 8, sizeof head_written);
    }
    add(false, &st, path);
    (void)pthread_mutex_unlock(&lock);
}

/* Before the call: what is written while it runs is not synced by it. */
static void syncs(int fd)
{
    struct stat st;
    char path[PATH_BYTES];
    if (fstat(fd, &st) != 0) {
        return;
    }
    (void)pthread_mutex_lock(&lock);
    for (size_t i = 0; i < N_THINGS; i++) {
        thing *t = &things[i];
        if (t->used && t->dev == st.st_dev && t->ino == st.st_ino) {
            t->used = false;
        }
    }
    if (path_of(fd, path) && ends(path, "/HEAD")) {
        head_durable = head_written;
    }
    (void)pthread_mutex_unlock(&lock);
}

/* All below a folder that gets its name now. */
static void look_below(const char *dir)
{
    size_t n = strlen(dir);
    for (size_t i = 0; i < N_THINGS; i++) {
        thing *t = &things[i];
        if (t->used && strncmp(t->path, dir, n) == 0 && t->path[n] == '/' &&
            access(t->path, F_OK) == 0) {
            say("rename: %s%s is not synced\n",
                t->is_name ? "the folder of " : "", t->path);
            t->used = false;
        }
    }
}

static void renames(const char *from, const char *to)
{
    struct stat st;
    if (!counts(to) || stat(from, &st) != 0) {
        return;
    }
    (void)pthread_mutex_lock(&lock);
    n_renames++;
    look_at_names("rename", from);
    if (S_ISREG(st.st_mode) && find(false, &st, from) != NULL) {
        say("rename: %s is not synced\n", from);
        find(false, &st, from)->used = false;
    }
    look_below(from);
    forget_name(from);
    (void)pthread_mutex_unlock(&lock);
}

static void made(const char *path)
{
    if (counts(path)) {
        (void)pthread_mutex_lock(&lock);
        add_name(path);
        (void)pthread_mutex_unlock(&lock);
    }
}

static void removes(const char *path)
{
    struct stat st;
    if (counts(path) && lstat(path, &st) == 0) {
        (void)pthread_mutex_lock(&lock);
        thing *t = find(false, &st, path);
        if (t != NULL && st.st_nlink == 1) {
            t->used = false;
        }
        forget_name(path);
        (void)pthread_mutex_unlock(&lock);
    }
}

/* --- messages ------------------------------------------------------------- */

/* The row that a receipt names: field 3 of field 14. 0: it is no receipt. */
static uint64_t row_of(const uint8_t *b, size_t len)
{
    size_t at = 1;
    uint64_t row = 0;
    if (len < 100 || len > 400 || b[0] != RECEIPT_TAG) {
        return 0;
    }
    while (at < len && (b[at++] & 0x80) != 0) {
    }
    while (at + 1 < len && (b[at] & 7) == 2) { /* config, update */
        at += 2 + (size_t)b[at + 1];
    }
    if (at >= len || b[at] != (3 << 3)) {
        return 0;
    }
    at++;
    for (int shift = 0; at < len && shift < 64; shift += 7) {
        row |= (uint64_t)(b[at] & 0x7f) << shift;
        if ((b[at++] & 0x80) == 0) {
            break;
        }
    }
    return row;
}

static void sends(const uint8_t *bytes, size_t len)
{
    uint64_t row = row_of(bytes, len);
    if (row == 0) {
        return;
    }
    (void)pthread_mutex_lock(&lock);
    n_receipts++;
    if (row > head_durable) {
        say("a receipt of row %llu: HEAD is durable to row %llu\n",
            (unsigned long long)row, (unsigned long long)head_durable);
    }
    (void)any_bytes("/spool/", "a receipt");
    (void)pthread_mutex_unlock(&lock);
}

__attribute__((destructor)) static void at_the_end(void)
{
    if (getenv("ORDER_DIR") == NULL) {
        return;
    }
    for (size_t i = 0; i < N_THINGS; i++) {
        const thing *t = &things[i];
        if (t->used && access(t->path, F_OK) == 0 &&
            strstr(t->path, "/incoming-") == NULL) {
            say("the end: %s%s is not synced\n",
                t->is_name ? "the folder of " : "", t->path);
        }
    }
    say("checked %lu receipts, %lu heads, %lu renames\n", n_receipts, n_heads,
        n_renames);
}

/* --- in the place of the C library's and libsodium's ---------------------- */

typedef int mkdir_fn(const char *, mode_t);
typedef int open_fn(const char *, int, ...);
typedef int seal_fn(uint8_t *, const uint8_t *, unsigned long long,
                    const uint8_t *, const uint8_t *);

ssize_t write(int fd, const void *bytes, size_t len)
{
    NEXT(write_fn, "write")
    wrote("write", fd, bytes, len);
    return real(fd, bytes, len);
}

ssize_t writev(int fd, const struct iovec *parts, int n)
{
    NEXT(writev_fn, "writev")
    wrote("writev", fd, parts[0].iov_base, n > 0 ? parts[0].iov_len : 0);
    return real(fd, parts, n);
}

ssize_t pwrite(int fd, const void *bytes, size_t len, off_t offset)
{
    NEXT(pwrite_fn, "pwrite")
    wrote("pwrite", fd, bytes, len);
    return real(fd, bytes, len, offset);
}

ssize_t pwrite64(int fd, const void *bytes, size_t len, off_t offset)
{
    NEXT(pwrite_fn, "pwrite64")
    wrote("pwrite64", fd, bytes, len);
    return real(fd, bytes, len, offset);
}

int fsync(int fd)
{
    NEXT(fd_fn, "fsync")
    syncs(fd);
    return real(fd);
}

int fdatasync(int fd)
{
    NEXT(fd_fn, "fdatasync")
    syncs(fd);
    return real(fd);
}

int rename(const char *from, const char *to)
{
    NEXT(rename_fn, "rename")
    renames(from, to);
    int result = real(from, to);
    if (result == 0) {
        made(to);
    }
    return result;
}

int mkdir(const char *path, mode_t mode)
{
    NEXT(mkdir_fn, "mkdir")
    int result = real(path, mode);
    if (result == 0) {
        made(path);
    }
    return result;
}

int unlink(const char *path)
{
    NEXT(path_fn, "unlink")
    removes(path);
    return real(path);
}

/* New segments of the spool; other new files are renamed, or SQLite's. */
static bool is_new_segment(const char *path, int flags)
{
    return (flags & O_CREAT) != 0 && counts(path) &&
           strstr(path, "/spool/") != NULL && strstr(path, ".tmp-") == NULL &&
           access(path, F_OK) != 0;
}

#define OPEN(name)                                                             \
    int name(const char *path, int flags, ...)                                 \
    {                                                                          \
        va_list args;                                                          \
        NEXT(open_fn, #name)                                                   \
        va_start(args, flags);                                                 \
        mode_t mode = (flags & O_CREAT) != 0 ? va_arg(args, mode_t) : 0;       \
        va_end(args);                                                          \
        bool is_new = is_new_segment(path, flags);                             \
        int fd = real(path, flags, mode);                                      \
        if (is_new && fd >= 0) {                                               \
            made(path);                                                        \
        }                                                                      \
        return fd;                                                             \
    }
OPEN(open)
OPEN(open64)

/* A frame leaves as soon as it is sealed (core/crypto/curve.h): before its data
 * stand its flags. */
int crypto_box_easy_afternm(uint8_t *box, const uint8_t *plain,
                            unsigned long long len, const uint8_t *nonce,
                            const uint8_t *key);

int crypto_box_easy_afternm(uint8_t *box, const uint8_t *plain,
                            unsigned long long len, const uint8_t *nonce,
                            const uint8_t *key)
{
    NEXT(seal_fn, "crypto_box_easy_afternm")
    if (len > 0) {
        sends(plain + 1, (size_t)len - 1);
    }
    return real(box, plain, len, nonce, key);
}
