/* label and revoke: what the operator says of a member. */
#include <stdio.h>

#include "ask.h"
#include "verbs.h"

/* A request about the client that the first argument names. */
static tb_rc about(tb_control_request *request, const char *verb,
                   const tb_cli_call *call, tb_err *err)
{
    tb_rc rc = tb_control_request_init(request, verb, err);
    return rc == TB_OK
               ? tb_control_arg_add(request, "client", call->args[0], err)
               : rc;
}

static tb_rc run_label(tb_cli_call *call, tb_err *err)
{
    tb_json *reply = NULL;
    tb_control_request request = {0};
    tb_rc rc = about(&request, "label", call, err);
    if (rc == TB_OK) {
        rc = tb_ask_labels(&request, (const char *const *)&call->args[1],
                           (size_t)call->n_args - 1, err);
    }
    if (rc == TB_OK) {
        rc = tb_ask_once(&reply, call->values[0], &request, err);
    }
    if (rc == TB_OK) {
        (void)printf("%s: %s\n", call->args[0],
                     tb_json_text(reply, "labels", ""));
    }
    tb_json_free(&reply);
    tb_control_request_release(&request);
    return rc;
}

typedef struct revoke_options {
    tb_dir_settings at;
    bool purge;
} revoke_options;

static const tb_setting revoke_rows[] = {
    {.key = "dir",
     .help = "the coordinator's folder",
     .value = "DIR",
     .preset = ".",
     .type = TB_SETTING_PATH,
     TB_FIELD(revoke_options, at.dir)},
    {.key = "purge",
     .help = "take its update out of the round that is open, too",
     .type = TB_SETTING_BOOL,
     TB_FIELD(revoke_options, purge)}};

static const tb_setting_table revoke_table = {.env = "TRIBUTARY_",
                                              .rows = revoke_rows,
                                              .n_rows = sizeof revoke_rows /
                                                        sizeof *revoke_rows,
                                              .bytes = sizeof(revoke_options)};

static void print_revoked(const tb_json *reply, const char *client, bool purge)
{
    const char *update = tb_json_text(reply, "purged", NULL) != NULL
                             ? ": its update was taken out of the open round"
                             : ": no update of it was in an open round";
    (void)printf("revoked %s%s\n", client, purge ? update : "");
}

static tb_rc run_revoke(tb_cli_call *call, tb_err *err)
{
    const revoke_options *o = call->values[0];
    tb_json *reply = NULL;
    tb_control_request request = {0};
    tb_rc rc = about(&request, "revoke", call, err);
    if (rc == TB_OK && o->purge) {
        rc = tb_control_arg_add(&request, "purge", "true", err);
    }
    if (rc == TB_OK) {
        rc = tb_ask_once(&reply, &o->at, &request, err);
    }
    if (rc == TB_OK) {
        print_revoked(reply, call->args[0], o->purge);
    }
    tb_json_free(&reply);
    tb_control_request_release(&request);
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
    .examples = "tributaryd revoke --dir fleet kitchen\n"
                "tributaryd revoke --dir fleet kitchen --purge\n",
    .notes = "What the client has had acknowledged stays, unless --purge is "
             "given while the round\nis open; later the sum is closed, and "
             "--purge is refused. To let the client in again,\ninvite it "
             "anew.\n",
    .tables = {&revoke_table},
    .run = run_revoke,
};
