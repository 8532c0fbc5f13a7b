/* invite: lets one client become a member, once. */
#include <stdio.h>

#include "ask.h"
#include "verbs.h"
#include "wire/labels.h"

typedef struct options {
    tb_dir_settings at;
    uint64_t expires;
    tb_text_list labels;
} options;

static const tb_setting rows[] = {{.key = "dir",
                                   .help = "the coordinator's folder",
                                   .value = "DIR",
                                   .preset = ".",
                                   .type = TB_SETTING_PATH,
                                   TB_FIELD(options, at.dir)},
                                  {.key = "expires",
                                   .help = "how long the invite may be used",
                                   .value = "TIME",
                                   .preset = "1d",
                                   .min = 1000,
                                   .max = 365.0 * 24 * 3600 * 1000,
                                   .type = TB_SETTING_DURATION,
                                   TB_FIELD(options, expires)},
                                  {.key = "label",
                                   .help = "a label of the client, for jobs "
                                           "to choose by; again for more",
                                   .value = "KEY=VALUE",
                                   .check = tb_label_check,
                                   .type = TB_SETTING_TEXTS,
                                   TB_FIELD(options, labels)}};

static const tb_setting_table table = {.env = "TRIBUTARY_",
                                       .rows = rows,
                                       .n_rows = sizeof rows / sizeof *rows,
                                       .bytes = sizeof(options)};

static tb_rc run(tb_cli_call *call, tb_err *err)
{
    const options *o = call->values[0];
    tb_json *reply = NULL;
    tb_control_request request;
    char seconds[32];
    (void)snprintf(seconds, sizeof seconds, "%llu",
                   (unsigned long long)(o->expires / 1000));
    tb_rc rc = tb_control_request_init(&request, "invite", err);
    if (rc == TB_OK) {
        rc = tb_control_arg_add(&request, "client", call->args[0], err);
    }
    if (rc == TB_OK) {
        rc = tb_control_arg_add(&request, "valid_s", seconds, err);
    }
    if (rc == TB_OK) {
        rc = tb_ask_labels(&request, (const char *const *)o->labels.at,
                           o->labels.n, err);
    }
    if (rc == TB_OK) {
        rc = tb_ask_once(&reply, &o->at, &request, err);
    }
    if (rc == TB_OK) {
        (void)printf("%s\n", tb_json_text(reply, "invite", ""));
    }
    tb_json_free(&reply);
    tb_control_request_release(&request);
    return rc;
}

const tb_verb verb_invite = {
    .name = "invite",
    .args = "NAME",
    .min_args = 1,
    .max_args = 1,
    .help = "print a one-time invite for a client of this name",
    .examples = "tributaryd invite --dir fleet kitchen\n"
                "tributaryd invite --dir fleet kitchen --label site=lyon "
                "--expires 2h\n"
                "tributaryd invite --dir fleet kitchen --expires 7d | ssh "
                "kitchen tributary join -\n",
    .notes = "Whoever holds the invite can become this client, once: pass it "
             "on in private.\n",
    .tables = {&table},
    .run = run,
};
