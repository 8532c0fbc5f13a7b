/* jobs, pause, resume, cancel: the runs of a coordinator, and what an operator
 * asks of one. */
#include <stdio.h>

#include "ask.h"
#include "host/table.h"
#include "verbs.h"

typedef struct why_flags {
    char why[256];
} why_flags;

static const tb_setting why_rows[] = {
    {.key = "why",
     .help = "a reason, for the journal and for `status`",
     .value = "TEXT",
     .type = TB_SETTING_TEXT,
     TB_FIELD(why_flags, why)}};

static const tb_setting_table why_table = {.env = "TRIBUTARY_",
                                           .rows = why_rows,
                                           .n_rows = 1,
                                           .bytes = sizeof(why_flags)};

static tb_rc run_jobs(tb_cli_call *call, tb_err *err)
{
    static const tb_column columns[] = {
        {"job", "JOB", TB_CELL_TEXT, 0},     {"run", "RUN", TB_CELL_TEXT, 0},
        {"state", "STATE", TB_CELL_TEXT, 0}, {"round", "ROUND", TB_CELL_INT, 0},
        {"rounds", "OF", TB_CELL_INT, 0},    {"why", "WHY", TB_CELL_TEXT, 0}};
    tb_json *report = NULL;
    tb_rc rc = tb_ask_report(&report, call->values[0], "jobs", err);
    if (rc == TB_OK) {
        rc = call->json
                 ? tb_json_print(report, err)
                 : tb_table_print(columns, sizeof columns / sizeof *columns,
                                  report, err);
    }
    tb_json_free(&report);
    return rc;
}

/* Asks the verb of the daemon and says what came of it. */
static tb_rc change(tb_cli_call *call, const char *verb, const char *why,
                    const char *done, tb_err *err)
{
    tb_json *reply = NULL;
    tb_control_request request;
    tb_rc rc = tb_control_request_init(&request, verb, err);
    if (rc != TB_OK) {
        return rc;
    }
    if (call->n_args == 1) {
        rc = tb_control_arg_add(&request, "run", call->args[0], err);
    }
    if (rc == TB_OK && why != NULL && why[0] != '\0') {
        rc = tb_control_arg_add(&request, "why", why, err);
    }
    if (rc == TB_OK) {
        rc = tb_ask_once(&reply, call->values[0], &request, err);
    }
    if (rc == TB_OK && call->json) {
        rc = tb_json_print(reply, err);
    } else if (rc == TB_OK) {
        (void)printf("%s %s\n", done, tb_json_text(reply, done, "?"));
    }
    tb_json_free(&reply);
    tb_control_request_release(&request);
    return rc;
}

static tb_rc run_pause(tb_cli_call *call, tb_err *err)
{
    const why_flags *flags = call->values[1];
    return change(call, "pause", flags->why, "paused", err);
}

static tb_rc run_resume(tb_cli_call *call, tb_err *err)
{
    return change(call, "resume", NULL, "resumed", err);
}

static tb_rc run_cancel(tb_cli_call *call, tb_err *err)
{
    const why_flags *flags = call->values[1];
    return change(call, "cancel", flags->why, "cancelled", err);
}

const tb_verb verb_jobs = {
    .name = "jobs",
    .min_args = 0,
    .max_args = 0,
    .help = "list the jobs: queued, running, paused, ended",
    .examples = "tributaryd jobs --dir fleet\n",
    .notes = "Up to `jobs.running` run side by side; further ones wait in the "
             "order of their start.\n",
    .json = true,
    .tables = {&tb_dir_table},
    .run = run_jobs,
};

const tb_verb verb_pause = {
    .name = "pause",
    .args = "[RUN|NAME]",
    .min_args = 0,
    .max_args = 1,
    .help = "open no further round of a run until `resume`",
    .examples = "tributaryd pause --dir fleet fashion --why \"new disks\"\n",
    .notes = "A round that is open goes on to its end. The pause outlives "
             "restarts, and gives\nthe run's place to the next job in the "
             "queue.\n",
    .json = true,
    .tables = {&tb_dir_table, &why_table},
    .run = run_pause,
};

const tb_verb verb_resume = {
    .name = "resume",
    .args = "[RUN|NAME]",
    .min_args = 0,
    .max_args = 1,
    .help = "let a paused run go on",
    .examples = "tributaryd resume --dir fleet fashion\n",
    .json = true,
    .tables = {&tb_dir_table},
    .run = run_resume,
};

const tb_verb verb_cancel = {
    .name = "cancel",
    .args = "[RUN|NAME]",
    .min_args = 0,
    .max_args = 1,
    .help = "end a run that is queued, running or paused",
    .examples = "tributaryd cancel --dir fleet fashion\n",
    .notes = "Nothing of it is published; its clients check in again.\n",
    .json = true,
    .tables = {&tb_dir_table, &why_table},
    .run = run_cancel,
};
