/* coordinator/report.h - what the reading verbs show, as JSON from a state:
 * by the daemon for its control socket, or by a verb when no daemon runs. */
#ifndef TB_COORDINATOR_REPORT_H
#define TB_COORDINATOR_REPORT_H

#include "host/json.h"
#include "state.h"

/* What only a running daemon can tell; all zero otherwise. */
typedef struct tb_report_live {
    bool running;
    const char *endpoint;
    const char *enrol_endpoint;
    uint64_t bytes_in, bytes_out, messages_in;
    uint64_t connections, denied, dropped, cut;
    int64_t now_ms;
    bool stalled; /* the disk is full */
} tb_report_live;

/* status: an object. Errors: NOMEM. */
tb_rc tb_report_status(tb_json **out, const tb_state *state,
                       const tb_report_live *live, tb_err *err)
    TB_NONNULL(1, 2, 3) TB_MUST_CHECK;

/* clients: an array of objects. */
tb_rc tb_report_clients(tb_json **out, const tb_state *state, tb_err *err)
    TB_NONNULL(1, 2) TB_MUST_CHECK;

/* models: an array, one object a version, newest last. */
tb_rc tb_report_models(tb_json **out, tb_state *state, tb_err *err)
    TB_NONNULL(1, 2) TB_MUST_CHECK;

/* jobs: an array of objects, those that have ended first. */
tb_rc tb_report_jobs(tb_json **out, const tb_state *state, bool running,
                     tb_err *err) TB_NONNULL(1, 2) TB_MUST_CHECK;

/* One line of a run, and its end. */
tb_rc tb_report_round(tb_json **out, const tb_run_history *run, size_t i,
                      tb_err *err) TB_NONNULL(1, 2) TB_MUST_CHECK;
tb_rc tb_report_end(tb_json **out, const tb_run_history *run, tb_err *err)
    TB_NONNULL(1, 2) TB_MUST_CHECK;

#endif
