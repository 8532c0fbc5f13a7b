#include "host/watchdog.h"

#include <fcntl.h>
#include <inttypes.h>
#include <linux/sockios.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/spare.h"
#include "host/zsock.h"

/* What a peer that keeps to the rules may have in libzmq: the whole messages of
 * its high-water mark, one that is being handed over, one that is on its way;
 * and the handshake. */
#define MESSAGE_BYTES                                                          \
    ((uint64_t)TB_ENVELOPE_BYTES_MAX + TB_PAYLOAD_BYTES_MAX + 256)
#define CREDIT_BYTES                                                           \
    ((TB_ZSOCK_RECEIVE_HWM + 2) * MESSAGE_BYTES + ((uint64_t)64 << 10))
#define HEARTBEAT_BYTES_A_SECOND 16 /* PING and PONG are never delivered */

/* Around a frame: command name, nonce, tag, flags (CurveZMQ, RFC 26), then the
 * frame header (ZMTP, RFC 23): 2 bytes, or 9 when over 255. */
#define CURVE_BYTES       33
#define SHORT_FRAME_BYTES 255

#define ENROL_TIME_MS     10000
#define SWEEP_LINKS       256
#define GROWTH_BYTES      ((uint64_t)8 << 20)
#define FIRST_LINKS       64

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
                           int64_t now_ms, size_t n_max)
{
    uint64_t cookie = cookie_of(fd);
    const tb_link *known = tb_watchdog_link(dog, fd);
    if (cookie == 0 || (known != NULL && known->cookie == cookie)) {
        return TB_OK;
    }
    if (dog->n_open >= n_max || !reserve(dog, fd)) {
        (void)shutdown(fd, SHUT_RDWR);
        return TB_E_LIMIT;
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

void tb_watchdog_delivered(tb_link *link, size_t frame_bytes)
{
    size_t n = frame_bytes + CURVE_BYTES;
    link->delivered += n + (n > SHORT_FRAME_BYTES ? 9 : 2);
}

/* Bytes that the kernel has received; 0 when that is not known. */
static uint64_t received(int fd)
{
    struct tcp_info info;
    socklen_t len = sizeof info;
    memset(&info, 0, sizeof info);
    return getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len) == 0
               ? info.tcpi_bytes_received
               : 0;
}

/* Those of them that libzmq has taken from the socket. What still lies in the
 * kernel is asked for second: what arrives in between makes the answer too
 * small, never too large. */
static uint64_t taken(int fd, uint64_t bytes)
{
    int waiting = 0;
    if (ioctl(fd, SIOCINQ, &waiting) != 0) {
        return 0;
    }
    uint64_t kernel = (uint64_t)(waiting > 0 ? waiting : 0);
    return bytes > kernel ? bytes - kernel : 0;
}

/* Whether the connection is beyond its credit or its time. Nearly all are not,
 * and one call tells. */
static bool is_over(const tb_link *link, int fd, int64_t now_ms)
{
    if (tb_door_is_enrol(link->door) &&
        now_ms - link->since_ms > ENROL_TIME_MS) {
        return true;
    }
    uint64_t age_s = (uint64_t)(now_ms - link->since_ms) / 1000;
    uint64_t most =
        link->delivered + CREDIT_BYTES + age_s * HEARTBEAT_BYTES_A_SECOND;
    uint64_t bytes = received(fd);
    return bytes > most && taken(fd, bytes) > most;
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
    size_t n = grown ? dog->cap : SWEEP_LINKS; /* find who makes us grow now */
    if (grown || resident < dog->resident_bytes) {
        dog->resident_bytes = resident;
    }
    for (size_t i = 0; i < n && i < dog->cap; i++) {
        size_t fd = dog->sweep_at < dog->cap ? dog->sweep_at : 0;
        tb_link *link = &dog->links[fd];
        dog->sweep_at = fd + 1;
        if (link->open && is_over(link, (int)fd, now_ms) &&
            cookie_of((int)fd) == link->cookie) {
            tb_log(TB_LOG_WARN,
                   "event=cut connection=%" PRIu64
                   " reason=%s delivered_bytes=%" PRIu64,
                   link->serial,
                   tb_door_is_enrol(link->door) ? "enrolment_time_or_credit"
                                                : "credit",
                   link->delivered);
            (void)shutdown((int)fd, SHUT_RDWR);
            dog->n_cut++;
        }
    }
    return grown;
}
