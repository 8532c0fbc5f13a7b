/* coordinator/orders_priv.h - between orders.c (the driver's side of an order),
 * order_work.c (its work) and lives.c (what it works with). */
#ifndef TB_COORDINATOR_ORDERS_PRIV_H
#define TB_COORDINATOR_ORDERS_PRIV_H

#include "daemon.h"

typedef struct tb_order_task {
    tb_errand errand; /* first: the driver knows it as this */
    tb_verdict verdict;
    tb_daemon *daemon;
    tb_order *order;      /* owned */
    tb_inbound *payload;  /* owned; NULL: none */
    tb_open_round *round; /* counted; NULL: not of a round */
    tb_open_round *into;  /* counted; of the two STORED ones */
    tb_live *live;        /* counted; NULL: no run */
    uint8_t sign_key[TB_SIGN_PUBLIC_BYTES]; /* of the order's client */
    tb_unnamed put;                         /* what it put into the blobs */
    int64_t took_ns;                        /* at work */
} tb_order_task;

/* Carries a task (tb_order_task *) out and posts it to the daemon's mailbox;
 * its payload is freed. On a thread of the pool. */
void tb_order_run(void *arg) TB_NONNULL(1);

/* rc, and why, as a verdict. */
void tb_order_tell(tb_verdict *v, tb_rc rc, const tb_err *err) TB_NONNULL(1, 3);

/* A round that updates may come for: a spool segment, and no sum yet. Errors:
 * CANCELLED (it is over), and as tb_spool_open. */
tb_rc tb_daemon_know_round(tb_daemon *d, const tb_order *order,
                           const tb_hash *config, tb_open_round **out,
                           tb_err *err) TB_NONNULL(1, 2, 3, 4) TB_MUST_CHECK;

/* The open round, with an empty sum. Errors: as above; LIMIT, NOMEM. */
tb_rc tb_daemon_open_round(tb_daemon *d, const tb_order *order, tb_err *err)
    TB_NONNULL(1, 2) TB_MUST_CHECK;

/* One user less, who may be the last one. NULL is fine. */
void tb_daemon_leave_round(tb_open_round *round);

#endif
