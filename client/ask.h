/* client/ask.h - how a verb gets something from the coordinator: through the
 * `tributary run` that holds the folder, or over a connection of its own when
 * none does. */
#ifndef TB_CLIENT_ASK_H
#define TB_CLIENT_ASK_H

#include "request.h"

/* Does the request; *out is its result (request_result), for tb_json_free.
 * Errors: as home_open, agent_run and tb_control_call, and the request's. */
tb_rc ask(const char *home_dir, request *r, tb_json **out,
          tb_err *err) TB_MUST_CHECK;

/* Rotates the keys of a folder, through its agent when one runs. Errors: as
 * ask; REFUSED (by the coordinator). */
tb_rc ask_rotate(const char *home_dir, tb_err *err) TB_MUST_CHECK;

/* Asks the running agent of an open folder for its status. Errors: NOT_FOUND
 * (none runs). */
tb_rc ask_status(const home *h, tb_json **out, tb_err *err) TB_MUST_CHECK;

#endif
