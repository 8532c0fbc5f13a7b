/* coordinator/ask.h - how a verb gets its answer: from the daemon of a folder,
 * or, when none runs and the verb only reads, from the folder itself. */
#ifndef TB_COORDINATOR_ASK_H
#define TB_COORDINATOR_ASK_H

#include "host/control.h"
#include "host/json.h"
#include "settings.h"

/* What becomes of the replies. */
typedef struct tb_asker {
    /* Called with each good reply, parsed and borrowed. */
    tb_rc (*fn)(void *arg, const tb_json *reply, tb_err *err);
    void *arg;
    bool answered; /* a daemon was there: set by tb_ask */
} tb_asker;

/* Sends the request to the daemon of `at` and calls asker->fn for each reply.
 * timeout_ms: as tb_control_call. Errors: NOT_FOUND (says how to start a
 * daemon; asker->answered is false), what the daemon answered, those of
 * tb_control_call and of fn. */
tb_rc tb_ask(const tb_dir_settings *at, const tb_control_request *request,
             int timeout_ms, tb_asker *asker, tb_err *err)
    TB_NONNULL(1, 2, 4) TB_MUST_CHECK;

/* One request, one reply, which the caller frees. */
tb_rc tb_ask_once(tb_json **out, const tb_dir_settings *at,
                  const tb_control_request *request, tb_err *err)
    TB_NONNULL(1, 2, 3) TB_MUST_CHECK;

/* The same of what may take long, as data are read or models packed for it: the
 * daemon gives a start up whose asker has gone. */
tb_rc tb_ask_long(tb_json **out, const tb_dir_settings *at,
                  const tb_control_request *request, tb_err *err)
    TB_NONNULL(1, 2, 3) TB_MUST_CHECK;

/* Adds labels, each "key=value", as one argument. Errors: LIMIT, NOMEM. */
tb_rc tb_ask_labels(tb_control_request *request, const char *const *labels,
                    size_t n, tb_err *err) TB_NONNULL(1) TB_MUST_CHECK;

/* "status", "clients", "jobs" or "models": from the daemon, or from the folder.
 */
tb_rc tb_ask_report(tb_json **out, const tb_dir_settings *at, const char *what,
                    tb_err *err) TB_NONNULL(1, 2, 3) TB_MUST_CHECK;

#endif
