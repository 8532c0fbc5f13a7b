/* core/host/door.h - a listening socket of the coordinator: where it listens,
 * under which key, and how large what comes through it may be. A door is never
 * open without its key. Of the listener only. */
#ifndef TB_HOST_DOOR_H
#define TB_HOST_DOOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "wire/msg.h"
#include "wire/zmtp.h"

/* Two pairs: while the coordinator changes its keys both are open. */
typedef enum tb_door_at {
    TB_DOOR_MAIN,
    TB_DOOR_ENROL,
    TB_DOOR_MAIN_2,
    TB_DOOR_ENROL_2,
    TB_DOORS
} tb_door_at;

/* Zeroes are a closed one. */
typedef struct tb_door {
    bool open;
    bool enrols; /* strangers may knock here */
    int fd;
    tb_curve_door *curve;
    const tb_zmtp_limits *limits;
    char endpoint[TB_ENDPOINT_BYTES]; /* with the port that it got; "" */
} tb_door;

/* Listens at tcp://HOST:PORT; HOST is an address, one of IPv6 in brackets, or *
 * for all of this machine; PORT 0 or *: the system chooses. No names: to find
 * one could take long. What is accepted there has the settings of every
 * connection. Errors: USAGE, BUSY (in
 * use), NOMEM, IO; the door is then closed. */
tb_rc tb_door_open(tb_door *door, bool enrols, const char *endpoint,
                   const uint8_t secret[static TB_CURVE_KEY_BYTES], tb_err *err)
    TB_NONNULL(1, 3, 4) TB_MUST_CHECK;

/* Once no connection of it is left. A closed one is fine. */
void tb_door_close(tb_door *door) TB_NONNULL(1);

#define TB_DOOR_ADDRESS_BYTES 46 /* INET6_ADDRSTRLEN */

/* The address of a connection's peer as text; "": it is not known any more. */
void tb_door_peer_address(int fd, char out[static TB_DOOR_ADDRESS_BYTES])
    TB_NONNULL(2);

#endif
