/* core/host/watchdog.h - what libzmq does not bound: the bytes that it has
 * taken from a connection and not delivered yet (an endless multipart message
 * grows memory unseen: limits of libzmq count frames and whole messages). The
 * kernel says what was received, the messages what was delivered; beyond the
 * credit the socket is shut down. Of transport.c only. */
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
    uint64_t delivered;   /* bytes on the wire of messages that came out */
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
    uint64_t resident_bytes; /* of the process, when all were looked at last */
} tb_watchdog;

/* Frees the table; connections stay as they are. */
void tb_watchdog_release(tb_watchdog *dog) TB_NONNULL(1);

/* A connection was accepted. libzmq may tell so late, after its first message
 * or even its end: one that is known already or has ended is fine. Errors:
 * LIMIT (over n_max, or no memory): it was shut down. */
tb_rc tb_watchdog_accepted(tb_watchdog *dog, int fd, tb_door door,
                           int64_t now_ms, size_t n_max) TB_NONNULL(1);

/* A connection ended; returns what it was, or an empty one. */
tb_link tb_watchdog_closed(tb_watchdog *dog, int fd) TB_NONNULL(1);

/* The open connection of this descriptor, or NULL. */
tb_link *tb_watchdog_link(tb_watchdog *dog, int fd) TB_NONNULL(1);

/* The open connection with this serial, or NULL. */
tb_link *tb_watchdog_find(tb_watchdog *dog, uint64_t serial) TB_NONNULL(1);

/* Shuts the connection down, if the descriptor is still that connection;
 * libzmq then closes it. */
void tb_watchdog_shut(tb_watchdog *dog, int fd) TB_NONNULL(1);

/* Counts a delivered frame of this size. */
void tb_watchdog_delivered(tb_link *link, size_t frame_bytes) TB_NONNULL(1);

/* Looks at some connections, at all of them when the process has grown since,
 * and shuts down those beyond their credit or their time. True: it has grown.
 */
bool tb_watchdog_sweep(tb_watchdog *dog, int64_t now_ms) TB_NONNULL(1);

#endif
