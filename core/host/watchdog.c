#include "host/watchdog.h"

#include <fcntl.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/spare.h"

#define ENROL_TIME_MS 10000
#define SWEEP_LINKS   256
#define GROWTH_BYTES  ((uint64_t)8 << 20)
#define FIRST_LINKS   64

void tb_watchdog_release(tb_watchdog *dog)
{
    tb_mem_free(dog->links);
    *dog = (tb_watchdog){0};
}

/* The kernel's number of a TCP socket; 0: the descriptor is not one now. */
static uint64_t cookie_of(int fd)
{
    uint64_t cookie = 0;
    int protocol = 0;
    socklen_t cookie_len = sizeof cookie;
    socklen_t protocol_len = sizeof protocol;
    if (getsockopt(fd, SOL_SOCKET, SO_COOKIE, &cookie, &cookie_len) != 0 ||
        getsockopt(fd, SOL_SOCKET, SO_PROTOCOL, &protocol, &protocol_len) !=
            0 ||
        protocol != IPPROTO_TCP) {
        return 0;
    }
    return cookie;
}

tb_link *tb_watchdog_link(tb_watchdog *dog, int fd)
{
    if (fd < 0 || (size_t)fd >= dog->cap || !dog->links[fd].open) {
        return NULL;
    }
    return &dog->links[fd];
}

tb_link *tb_watchdog_was(tb_watchdog *dog, int fd, uint64_t cookie)
{
    return fd >= 0 && (size_t)fd < dog->cap && dog->links[fd].cookie == cookie
               ? &dog->links[fd]
               : NULL;
}

tb_link *tb_watchdog_find(tb_watchdog *dog, uint64_t serial)
{
    for (size_t i = 0; i < dog->cap; i++) {
        if (dog->links[i].open && dog->links[i].serial == serial) {
            return &dog->links[i];
        }
    }
    return NULL;
}

/* Descriptors are small numbers that the kernel bounds (RLIMIT_NOFILE). */
static bool reserve(tb_watchdog *dog, int fd)
{
    size_t cap = dog->cap > 0 ? dog->cap : FIRST_LINKS;
    while (cap <= (size_t)fd) {
        cap *= 2;
    }
    if (cap > dog->cap) {
        tb_link *more = tb_mem_resize(dog->links, cap, sizeof *more);
        if (more == NULL) {
            return false;
        }
        memset(more + dog->cap, 0, (cap - dog->cap) * sizeof *more);
        dog->links = more;
        dog->cap = cap;
    }
    return true;
}

tb_rc tb_watchdog_accepted(tb_watchdog *dog, int fd, tb_door door,
                           int64_t now_ms)
{
    uint64_t cookie = cookie_of(fd);
    const tb_link *known = tb_watchdog_link(dog, fd);
    if (cookie == 0 || (known != NULL && known->cookie == cookie)) {
        return TB_OK;
    }
    if (!reserve(dog, fd)) {
        (void)shutdown(fd, SHUT_RDWR);
        return TB_E_NOMEM;
    }
    (void)tb_watchdog_closed(dog, fd); /* should its end have been missed */
    dog->links[fd] = (tb_link){.open = true,
                               .door = door,
                               .cookie = cookie,
                               .serial = ++dog->serial,
                               .since_ms = now_ms};
    dog->n_open++;
    return TB_OK;
}

tb_link tb_watchdog_closed(tb_watchdog *dog, int fd)
{
    tb_link *link = tb_watchdog_link(dog, fd);
    tb_link was = {0};
    if (link != NULL) {
        was = *link;
        link->open = false;
        dog->n_open--;
    }
    return was;
}

void tb_watchdog_shut(tb_watchdog *dog, int fd)
{
    const tb_link *link = tb_watchdog_link(dog, fd);
    if (link != NULL && link->cookie != 0 && cookie_of(fd) == link->cookie) {
        (void)shutdown(fd, SHUT_RDWR);
    }
}

static uint64_t resident_bytes(void)
{
    char text[128] = {0};
    uint64_t pages = 0;
    int fd = tb_spare_open("/proc/self/statm", O_RDONLY | O_CLOEXEC, 0);
    if (fd < 0) {
        return 0;
    }
    if (read(fd, text, sizeof text - 1) > 0 &&
        sscanf(text, "%*u %" SCNu64, &pages) != 1) {
        pages = 0;
    }
    (void)close(fd);
    return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

bool tb_watchdog_sweep(tb_watchdog *dog, int64_t now_ms)
{
    uint64_t resident = resident_bytes();
    bool grown = resident > dog->resident_bytes + GROWTH_BYTES;
    if (grown || resident < dog->resident_bytes) {
        dog->resident_bytes = resident;
    }
    for (size_t i = 0; i < SWEEP_LINKS && i < dog->cap; i++) {
        size_t fd = dog->sweep_at < dog->cap ? dog->sweep_at : 0;
        const tb_link *link = &dog->links[fd];
        dog->sweep_at = fd + 1;
        if (link->open && tb_door_is_enrol(link->door) &&
            now_ms - link->since_ms > ENROL_TIME_MS &&
            cookie_of((int)fd) == link->cookie) {
            (void)shutdown((int)fd, SHUT_RDWR);
            dog->n_cut++;
        }
    }
    return grown;
}
