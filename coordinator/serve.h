/* coordinator/serve.h - answers predictions in a worker of its own: one thread
 * with a bounded queue, models kept ready, a rate per client. The driver asks
 * and sends the answers; only the worker runs models. */
#ifndef TB_COORDINATOR_SERVE_H
#define TB_COORDINATOR_SERVE_H

#include "base/mailbox.h"
#include "fed/record.h"
#include "host/packet.h"
#include "state.h"

#define TB_SERVE_QUEUE_MAX 64

typedef struct tb_serve tb_serve;

typedef struct tb_serve_limits {
    uint32_t max_rows;   /* of one request */
    uint32_t per_second; /* requests of one client, in the long run */
} tb_serve_limits;

typedef struct tb_answer {
    tb_letter letter;
    tb_name client;
    tb_msg msg;        /* PREDICTION or REFUSE */
    tb_shared *values; /* owned; float32le of a PREDICTION */
} tb_answer;

/* Starts the worker. state is shared: only its blobs are used. Errors: NOMEM,
 * IO. */
tb_rc tb_serve_start(tb_serve **out, tb_state *state,
                     const tb_serve_limits *limits, tb_err *err)
    TB_NONNULL(1, 2, 3) TB_MUST_CHECK;

/* Ends what is queued, joins, nulls. NULL is fine. */
void tb_serve_stop(tb_serve **serve) TB_NONNULL(1);

/* Other limits from now on. */
void tb_serve_limit(tb_serve *serve, const tb_serve_limits *limits)
    TB_NONNULL(1, 2);

/* Queues a request; version: of the registry. in (its payload) is taken on
 * TB_OK. Errors: USAGE (rows), LIMIT (this client's rate), FULL (queue),
 * NOMEM. */
tb_rc tb_serve_ask(tb_serve *serve, const tb_msg_predict *request,
                   const tb_rec_version *version, int64_t now_ms,
                   tb_inbound **in_take, tb_err *err)
    TB_NONNULL(1, 2, 3, 5) TB_MUST_CHECK;

/* The next answer, for tb_answer_free; NULL: none. */
tb_answer *tb_serve_take(tb_serve *serve) TB_NONNULL(1);
void tb_answer_free(tb_answer **answer) TB_NONNULL(1);

/* Readable while there may be answers. For poll(2). */
int tb_serve_fd(const tb_serve *serve) TB_NONNULL(1);

#endif
