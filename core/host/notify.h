/* core/host/notify.h - tells a service manager how we are, by the protocol of
 * sd_notify(3): datagrams to the socket that NOTIFY_SOCKET names. Where there
 * is none every call does nothing, so that programs run alike without systemd.
 * Thread rule: one owner. */
#ifndef TB_HOST_NOTIFY_H
#define TB_HOST_NOTIFY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

#define TB_NOTIFY_STATUS_BYTES 256

typedef struct tb_notify {
    int fd;              /* -1: nobody wants to know */
    int64_t watchdog_ms; /* a sign of life is due so often; 0: never */
    int64_t alive_ms;    /* of the last sign */
    char status[TB_NOTIFY_STATUS_BYTES]; /* as told last */
} tb_notify;

/* Reads NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID, and takes them out of
 * the environment. Errors: USAGE (they cannot be meant), IO; then *out tells
 * nobody, which is fine to go on with. */
tb_rc tb_notify_open(tb_notify *out, tb_err *err) TB_NONNULL(1) TB_MUST_CHECK;
void tb_notify_close(tb_notify *n) TB_NONNULL(1);

/* READY=1: started, or reloaded. */
void tb_notify_ready(tb_notify *n) TB_NONNULL(1);
/* RELOADING=1 with the time: READY follows. */
void tb_notify_reloading(tb_notify *n) TB_NONNULL(1);
/* STOPPING=1. */
void tb_notify_stopping(tb_notify *n) TB_NONNULL(1);

/* STATUS=, one line in words; told when it is not what was told last. */
void tb_notify_status(tb_notify *n, const char *text) TB_NONNULL(1, 2);

/* For the loop of the program, once a turn: WATCHDOG=1 when a third of the
 * allowed silence is over. */
void tb_notify_turn(tb_notify *n, int64_t now_ms) TB_NONNULL(1);

/* How long the loop may wait before its next turn; INT64_MAX: for ever. */
int64_t tb_notify_wait_ms(const tb_notify *n, int64_t now_ms) TB_NONNULL(1);

#endif
