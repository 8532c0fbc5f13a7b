/* label and revoke: what the operator says of a member. */
#include <stdio.h>

#include "ask.h"
#include "verbs.h"

/* Asks for verb on the client that the first argument names, with the labels
 * of the others; the caller frees *reply. */
static tb_rc ask_about(tb_json **reply, const tb_cli_call *call,
                       const tb_dir_settings *at, const char *verb, tb_err *err)
{
    tb_control_request request;
    tb_rc rc = tb_control_request_init(&request, verb, err);
    if (rc != TB_OK) {
        return rc;
    }
    rc = tb_control_arg_add(&request, "client", call->args[0], err);
    if (rc == TB_OK && call->n_args > 1) {
        rc = tb_ask_labels(&request, (const char *const *)&call->args[1],
                           (size_t)call->n_args - 1, err);
    }
    if (rc == TB_OK) {
        rc = tb_ask_once(reply, at, &request, err);
    }
    tb_control_request_release(&request);
    return rc;
}

static tb_rc run_label(tb_cli_call *call, tb_err *err)
{
    tb_json *reply = NULL;
    tb_rc rc = ask_about(&reply, call, call->values[0], "label", err);
    if (rc == TB_OK) {
        (void)printf("%s: %s\n", call->args[0],
                     tb_json_text(reply, "labels", ""));
    }
    tb_json_free(&reply);
    return rc;
}

static tb_rc run_revoke(tb_cli_call *call, tb_err *err)
{
    tb_json *reply = NULL;
    tb_rc rc = ask_about(&reply, call, call->values[0], "revoke", err);
    if (rc == TB_OK) {
        (void)printf("revoked %s\n", tb_json_text(reply, "revoked", "?"));
    }
    tb_json_free(&reply);
    return rc;
}

const tb_verb verb_label = {
    .name = "label",
    .args = "NAME KEY=VALUE...",
    .min_args = 2,
    .max_args = -1,
    .help = "change labels of a member, for jobs to choose by",
    .examples = "tributaryd label --dir fleet kitchen site=paris\n"
                "tributaryd label --dir fleet kitchen tag=beta tag=gpu "
                "memory=\n",
    .notes = "All values of a key that is named are replaced; KEY= takes it "
             "away.\n",
    .tables = {&tb_dir_table},
    .run = run_label,
};

const tb_verb verb_revoke = {
    .name = "revoke",
    .args = "NAME",
    .min_args = 1,
    .max_args = 1,
    .help = "end a membership: its connection is shut, its keys are refused",
    .examples = "tributaryd revoke --dir fleet kitchen\n",
    .notes = "What the client has had acknowledged stays. To let it in again, "
             "invite it anew.\n",
    .tables = {&tb_dir_table},
    .run = run_revoke,
};
