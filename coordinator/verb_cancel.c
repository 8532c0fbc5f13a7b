/* cancel: ends the run that lives. */
#include <stdio.h>

#include "ask.h"
#include "verbs.h"

static tb_rc run(tb_cli_call *call, tb_err *err)
{
    tb_json *reply = NULL;
    tb_control_request request;
    tb_rc rc = tb_control_request_init(&request, "cancel", err);
    if (rc == TB_OK) {
        rc = tb_ask_once(&reply, call->values[0], &request, err);
        tb_control_request_release(&request);
    }
    if (rc == TB_OK) {
        (void)printf("cancelled %s\n", tb_json_text(reply, "cancelled", "?"));
    }
    tb_json_free(&reply);
    return rc;
}

const tb_verb verb_cancel = {
    .name = "cancel",
    .min_args = 0,
    .max_args = 0,
    .help = "end the run that is going on",
    .examples = "tributaryd cancel --dir fleet\n",
    .notes = "Nothing of it is published; the clients check in again.\n",
    .tables = {&tb_dir_table},
    .run = run,
};
