#include "host/doctor.h"

#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/text.h"
#include "crypto/crypto.h"

#define TEXT_BYTES  4096
#define SOON_S      (30ll * 24 * 3600) /* a certificate that ends so soon */
#define SLACK_S     120                /* of two clocks, or of a file system */
#define CONNECT_MS  5000
#define SODIUM_LAST 18 /* 1.0.18, the oldest that is kept in repair */

static void say(const char *word, const char *what, const char *fmt,
                va_list args) TB_PRINTF(3, 0);

static void say(const char *word, const char *what, const char *fmt,
                va_list args)
{
    char text[TEXT_BYTES];
    (void)vsnprintf(text, sizeof text, fmt, args);
    (void)printf("%-8s %s: %s\n", word, what, text);
}

void tb_doctor_passed(tb_doctor *d, const char *what, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    say("passed", what, fmt, args);
    va_end(args);
    d->n_passed++;
}

void tb_doctor_problem(tb_doctor *d, const char *what, const char *fix,
                       const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    say("problem", what, fmt, args);
    va_end(args);
    (void)printf("         fix: %s\n", fix);
    d->n_problems++;
}

tb_rc tb_doctor_end(const tb_doctor *d, tb_err *err)
{
    (void)printf("%u passed, %u problem%s\n", d->n_passed, d->n_problems,
                 d->n_problems == 1 ? "" : "s");
    return d->n_problems == 0
               ? TB_OK
               : tb_fail(err, TB_E_REFUSED, "%u problem%s to fix",
                         d->n_problems, d->n_problems == 1 ? "" : "s");
}

/* --- the machine ---------------------------------------------------------- */

static void look_at_disk(tb_doctor *d, const char *dir, uint64_t need)
{
    struct statvfs disk;
    char have[32], want[32];
    if (statvfs(dir, &disk) != 0) {
        tb_doctor_problem(d, "disk", "make the folder reachable", "%s: %s", dir,
                          strerror(errno));
        return;
    }
    uint64_t bytes = (uint64_t)disk.f_bavail * disk.f_frsize;
    tb_text_bytes(bytes, have, sizeof have);
    tb_text_bytes(need, want, sizeof want);
    if (bytes < need) {
        tb_doctor_problem(d, "disk", "free some, or move the folder",
                          "%s left, less than %s", have, want);
    } else if (disk.f_favail < 1000) {
        tb_doctor_problem(d, "disk", "delete files, or move the folder",
                          "no more than %llu files can be made",
                          (unsigned long long)disk.f_favail);
    } else {
        tb_doctor_passed(d, "disk", "%s left", have);
    }
}

static void look_at_limits(tb_doctor *d, uint64_t n_files)
{
    struct rlimit files = {0, 0};
    struct rlimit none = {0, 0};
    (void)getrlimit(RLIMIT_NOFILE, &files);
    if (files.rlim_cur < n_files) {
        tb_doctor_problem(d, "descriptors",
                          "raise it: ulimit -n, or LimitNOFILE= of the unit",
                          "%llu may be open, less than %llu",
                          (unsigned long long)files.rlim_cur,
                          (unsigned long long)n_files);
    } else {
        tb_doctor_passed(d, "descriptors", "%llu may be open",
                         (unsigned long long)files.rlim_cur);
    }
    /* What the daemons do at their start, tried here. */
    if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) == 0 &&
        prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) == 0 &&
        setrlimit(RLIMIT_CORE, &none) == 0) {
        tb_doctor_passed(d, "core dumps", "can be turned off");
    } else {
        tb_doctor_problem(d, "core dumps",
                          "allow prctl and setrlimit, or set LimitCORE=0",
                          "cannot be turned off: keys could reach a disk");
    }
}

static void look_at_sodium(tb_doctor *d)
{
    unsigned a = 0, b = 0, c = 0;
    const char *version = tb_crypto_library();
    bool read = sscanf(version, "%u.%u.%u", &a, &b, &c) == 3;
    if (read && (a > 1 || b > 0 || c >= SODIUM_LAST)) {
        tb_doctor_passed(d, "libsodium", "%s", version);
    } else {
        tb_doctor_problem(d, "libsodium", "install 1.0.18 or newer",
                          "%s is too old", version);
    }
}

void tb_doctor_machine(tb_doctor *d, const char *dir, uint64_t disk_bytes,
                       uint64_t n_files)
{
    look_at_disk(d, dir, disk_bytes);
    look_at_limits(d, n_files);
    look_at_sodium(d);
}

/* --- files ---------------------------------------------------------------- */

/* As one word of a command line, that can be copied. */
static void shell_word(const char *path, char *out, size_t out_bytes)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyz"
                                "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-+,:@";
    bool quoted = path[0] == '\0' || path[strspn(path, plain)] != '\0';
    const char *dash = path[0] == '-' ? "./" : "";
    size_t n =
        (size_t)snprintf(out, out_bytes, "%s%s", quoted ? "'" : "", dash);
    for (; *path != '\0' && n + 6 < out_bytes; path++) {
        n += (size_t)snprintf(out + n, out_bytes - n, "%.*s",
                              *path == '\'' ? 4 : 1,
                              *path == '\'' ? "'\\''" : path);
    }
    (void)snprintf(out + n, out_bytes - n, "%s", quoted ? "'" : "");
}

void tb_doctor_keys(tb_doctor *d, tb_rc rc, const char *fix, const tb_err *err)
{
    tb_doctor_problem(d, "keys",
                      d->n_modes > 0 && rc == TB_E_DENIED
                          ? "as said above, then look again"
                          : fix,
                      "%s", err->text);
}

void tb_doctor_mode(tb_doctor *d, const char *what, const char *path)
{
    struct stat st;
    char fix[TEXT_BYTES];
    char word[TEXT_BYTES - 64];
    unsigned before = d->n_problems;
    shell_word(path, word, sizeof word);
    if (lstat(path, &st) != 0) {
        tb_doctor_problem(d, what, "restore it from a backup", "%s: %s", path,
                          strerror(errno));
        return;
    }
    unsigned mode = st.st_mode & 07777;
    if (S_ISLNK(st.st_mode)) {
        tb_doctor_problem(d, what, "put the file itself there",
                          "%s is a symbolic link", path);
    } else if (st.st_uid != geteuid()) {
        (void)snprintf(fix, sizeof fix, "chown -R %u %s, or run as user %u",
                       (unsigned)geteuid(), word, (unsigned)st.st_uid);
        tb_doctor_problem(d, what, fix, "%s belongs to user %u", path,
                          (unsigned)st.st_uid);
    } else if ((mode & 077) != 0) {
        (void)snprintf(fix, sizeof fix, "chmod go= %s", word);
        tb_doctor_problem(d, what, fix, "%s can be used by others (mode %04o)",
                          path, mode);
    } else {
        tb_doctor_passed(d, what, "%s is its owner's alone", path);
    }
    d->n_modes += d->n_problems - before;
}

void tb_doctor_modes(tb_doctor *d, const tb_folder *folder,
                     const tb_folder_item *items, size_t n_items)
{
    struct stat st;
    tb_doctor_mode(d, "permissions", tb_folder_dir(folder));
    for (size_t i = 0; i < n_items; i++) {
        const char *path = tb_folder_path(folder, items[i]);
        if (lstat(path, &st) == 0) {
            tb_doctor_mode(d, "permissions", path);
        }
    }
}

/* --- time ----------------------------------------------------------------- */

void tb_doctor_dates(tb_doctor *d, const tb_certificate *c, const char *newest)
{
    struct stat st = {0};
    int64_t now = tb_clock_unix_s();
    int64_t from = (int64_t)c->valid_from;
    int64_t until = (int64_t)c->valid_until;
    bool behind = now + SLACK_S < from ||
                  (stat(newest, &st) == 0 && now + SLACK_S < st.st_mtime);
    if (behind) {
        tb_doctor_problem(d, "clock", "set it, and keep it set (NTP)",
                          "it is behind what was written here before");
    } else {
        tb_doctor_passed(d, "clock", "not behind what was written here");
    }
    if (now >= until) {
        tb_doctor_problem(
            d, "certificate", "sign new working keys with the root key",
            "it ended %lld days ago", (long long)(now - until) / 86400);
    } else if (until - now < SOON_S) {
        tb_doctor_problem(
            d, "certificate", "sign new working keys with the root key",
            "it ends in %lld days", (long long)(until - now) / 86400);
    } else {
        tb_doctor_passed(d, "certificate", "%lld days are left",
                         (long long)(until - now) / 86400);
    }
}

/* --- the network ---------------------------------------------------------- */

/* 0, or an errno. */
static int connect_to(const struct addrinfo *a)
{
    int why = 0;
    socklen_t n = sizeof why;
    int fd =
        socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        return errno;
    }
    struct pollfd p = {.fd = fd, .events = POLLOUT};
    if (connect(fd, a->ai_addr, a->ai_addrlen) != 0) {
        why = errno;
        if (why == EINPROGRESS) {
            why = poll(&p, 1, CONNECT_MS) == 1 ? 0 : ETIMEDOUT;
        }
        if (why == 0 && getsockopt(fd, SOL_SOCKET, SO_ERROR, &why, &n) != 0) {
            why = errno;
        }
    }
    (void)close(fd);
    return why;
}

static bool connect_any(tb_doctor *d, const char *endpoint,
                        const struct addrinfo *list)
{
    int why = EADDRNOTAVAIL;
    for (const struct addrinfo *a = list; a != NULL && why != 0;
         a = a->ai_next) {
        why = connect_to(a);
    }
    if (why == 0) {
        tb_doctor_passed(d, "port", "%s takes connections", endpoint);
    } else {
        tb_doctor_problem(d, "port",
                          "start the coordinator there, or let the firewall "
                          "pass it",
                          "%s: %s", endpoint, strerror(why));
    }
    return why == 0;
}

bool tb_doctor_reach(tb_doctor *d, const char *endpoint)
{
    static const char scheme[] = "tcp://";
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    struct addrinfo *list = NULL;
    char host[TEXT_BYTES] = "";
    const char *colon = strrchr(endpoint, ':');
    bool read = strncmp(endpoint, scheme, sizeof scheme - 1) == 0 &&
                colon != NULL && colon > endpoint + sizeof scheme - 1;
    const char *from = endpoint + (sizeof scheme - 1);
    size_t n = read ? (size_t)(colon - from) : 0;
    if (read && n >= 2 && from[0] == '[' && from[n - 1] == ']') {
        from++;
        n -= 2;
    }
    (void)snprintf(host, sizeof host, "%.*s", (int)n, from);
    int found = read ? getaddrinfo(host, colon + 1, &hints, &list) : EAI_NONAME;
    if (found != 0) {
        tb_doctor_problem(d, "name", "mend the name, or the resolver", "%s: %s",
                          endpoint, gai_strerror(found));
        return false;
    }
    tb_doctor_passed(d, "name", "%s is known", host);
    bool reached = connect_any(d, endpoint, list);
    freeaddrinfo(list);
    return reached;
}
