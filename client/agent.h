/* client/agent.h - the one thread that owns the client's machine: turns the
 * connection, the worker's results, control requests and timers into events,
 * and carries the machine's actions out. Pulls and remote predictions go over
 * the same connection. */
#ifndef TB_CLIENT_AGENT_H
#define TB_CLIENT_AGENT_H

#include "home.h"
#include "host/json.h"
#include "host/log_settings.h"
#include "request.h"
#include "worker.h"

typedef struct agent agent;

typedef struct agent_options {
    home *home;           /* locked; borrowed; its keys may change */
    const data_set *sets; /* [n_sets], borrowed; none: no rounds */
    size_t n_sets;
    bool control;             /* listen on the folder's control socket */
    uint64_t rotate_after_ms; /* age at which keys are rotated; 0: never */
    bool rotate;              /* rotate the keys, then end */
    request *request; /* borrowed: do this, then end; NULL: run until told */
    /* Read again at SIGHUP, borrowed; NULL: neither that nor a service manager
     * is for us. */
    tb_settings *settings;
    const tb_log_settings *log; /* of the settings */
    /* Bytes a second, each way; 0: no limit. Borrowed: it may change at SIGHUP.
     * NULL: no limit. */
    const uint64_t *bandwidth;
} agent_options;

/* Runs until SIGTERM or SIGINT, or until the request is done. Errors: IO, FULL,
 * NOMEM, BUG; DENIED (the coordinator's certificate), the request's own. */
tb_rc agent_run(const agent_options *options, tb_err *err) TB_MUST_CHECK;

/* Reads the counters that the last agent left behind. Errors: NOT_FOUND. */
tb_rc agent_saved_status(const home *h, tb_json **out,
                         tb_err *err) TB_MUST_CHECK;

#endif
