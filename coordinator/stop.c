/* SIGTERM: nobody is heard any more, what is at work gets a short while to
 * end, what came of it is made durable, and the sums of open rounds are sealed.
 * Never waits for a round. */
#include <poll.h>

#include "base/clock.h"
#include "base/log.h"
#include "daemon.h"

#define ORDERS_MS 1500 /* for orders at work */
#define SEAL_MS   3000 /* for checkpoints, both from the signal on */

/* Takes verdicts until no order is out. What the machine orders now is not
 * begun (tb_daemon_order): the next start orders it again. */
static tb_rc finish_orders(tb_daemon *d, int64_t deadline_ms, tb_err *err)
{
    tb_rc rc = TB_OK;
    int64_t left = deadline_ms - tb_clock_ms();
    while (rc == TB_OK && d->meters.orders_out > 0 && left > 0) {
        struct pollfd fd = {.fd = tb_mailbox_fd(d->mailbox), .events = POLLIN};
        bool took = true;
        (void)poll(&fd, 1, (int)left);
        while (rc == TB_OK && took) {
            rc = tb_daemon_verdict(d, &took, err);
        }
        if (rc == TB_OK) {
            rc = tb_daemon_flush(d, err);
        }
        left = deadline_ms - tb_clock_ms();
    }
    return rc;
}

tb_rc tb_daemon_wind_down(tb_daemon *d, tb_err *err)
{
    int64_t from = tb_clock_ms();
    tb_notify_stopping(&d->notify);
    tb_rc rc = tb_daemon_flush(d, err);
    if (rc == TB_OK) {
        rc = finish_orders(d, from + ORDERS_MS, err);
    }
    if (rc == TB_OK && d->meters.orders_out == 0 && !d->stalled) {
        tb_daemon_seal(d, from + SEAL_MS);
    } else if (rc == TB_OK) {
        tb_log(TB_LOG_WARN, "event=stop orders=%llu why=\"%s\"",
               (unsigned long long)d->meters.orders_out,
               d->stalled ? "the disk is full: no checkpoint"
                          : "still at work: no checkpoint");
    }
    tb_log(TB_LOG_INFO, "event=stop row=%llu",
           (unsigned long long)d->durable_seq);
    return rc;
}
