/* core/host/watchdog.h - the connections that the listener knows of, by
 * descriptor, as libzmq tells of them: late, and maybe after their end. Ends
 * enrolments that take too long. Of the listener only. */
#ifndef TB_HOST_WATCHDOG_H
#define TB_HOST_WATCHDOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

/* Two pairs: while the coordinator changes its keys both are open. */
typedef enum tb_door {
    TB_DOOR_MAIN,
    TB_DOOR_ENROL,
    TB_DOOR_MAIN_2,
    TB_DOOR_ENROL_2,
    TB_DOORS
} tb_door;

/* Whether strangers may knock at this door. */
static inline bool tb_door_is_enrol(tb_door door)
{
    return door == TB_DOOR_ENROL || door == TB_DOOR_ENROL_2;
}

/* One accepted connection. */
typedef struct tb_link {
    bool open;
    tb_door door;
    uint64_t cookie; /* of the socket: tells it from a later one of this fd */
    uint64_t serial; /* rises with each connection */
    int64_t since_ms;
    bool routed;          /* a message has come */
    uint32_t routing;     /* its routing number */
    struct tb_peer *peer; /* whose it is, once that is known; borrowed */
} tb_link;

typedef struct tb_watchdog {
    tb_link *links; /* by descriptor */
    size_t cap;
    size_t n_open;
    size_t sweep_at; /* next descriptor to look at */
    uint64_t serial; /* of the newest */
    uint64_t n_cut;
    uint64_t resident_bytes; /* of the process, when it had grown last */
} tb_watchdog;

/* Frees the table; connections stay as they are. */
void tb_watchdog_release(tb_watchdog *dog) TB_NONNULL(1);

/* A connection was accepted. libzmq may tell so late, after its first message
 * or even its end: one that is known already or has ended is fine. Errors:
 * NOMEM: it was shut down. */
tb_rc tb_watchdog_accepted(tb_watchdog *dog, int fd, tb_door door,
                           int64_t now_ms) TB_NONNULL(1);

/* A connection ended; returns what it was, or an empty one. */
tb_link tb_watchdog_closed(tb_watchdog *dog, int fd) TB_NONNULL(1);

/* The open connection of this descriptor, or NULL. */
tb_link *tb_watchdog_link(tb_watchdog *dog, int fd) TB_NONNULL(1);

/* The connection of this socket, open or just ended, or NULL. */
tb_link *tb_watchdog_was(tb_watchdog *dog, int fd, uint64_t cookie)
    TB_NONNULL(1);

/* The open connection with this serial, or NULL. */
tb_link *tb_watchdog_find(tb_watchdog *dog, uint64_t serial) TB_NONNULL(1);

/* Shuts the connection down, if the descriptor is still that connection;
 * libzmq then closes it. */
void tb_watchdog_shut(tb_watchdog *dog, int fd) TB_NONNULL(1);

/* Looks at some connections, and shuts down enrolments that take too long.
 * True: the process has grown. */
bool tb_watchdog_sweep(tb_watchdog *dog, int64_t now_ms) TB_NONNULL(1);

#endif
