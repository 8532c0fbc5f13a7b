/* core/base/stop.h - SIGTERM, SIGINT and SIGHUP as something to poll. Handlers
 * and not a blocked mask: a library may have started threads before main, and
 * those would take the signal and end the process. For the main of a daemon. */
#ifndef TB_BASE_STOP_H
#define TB_BASE_STOP_H

#include <stdbool.h>

#include "base/err.h"

/* From now on the first SIGTERM or SIGINT makes *fd readable, and a second one
 * ends the process at once; SIGPIPE is ignored. The same descriptor each time,
 * never closed. Errors: IO. */
tb_rc tb_stop_open(int *fd, tb_err *err) TB_NONNULL(1) TB_MUST_CHECK;

/* The process ends, with code 0, so many seconds after that signal at the
 * latest, whatever it does then: for a daemon whose state is on disk at any
 * moment. Call it after tb_stop_open. Errors: IO. */
tb_rc tb_stop_within(unsigned seconds, tb_err *err) TB_MUST_CHECK;

/* From now on each SIGHUP makes *fd readable. Otherwise as tb_stop_open. */
tb_rc tb_reload_open(int *fd, tb_err *err) TB_NONNULL(1) TB_MUST_CHECK;

/* Whether there was a SIGHUP since the last call. */
bool tb_reload_take(int fd) TB_MUST_CHECK;

#endif
