/* watch: one line a round, from the first to the last of a run. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "ask.h"
#include "base/text.h"
#include "host/term.h"
#include "report.h"
#include "verbs.h"

typedef struct watcher {
    tb_term term;
    bool json;
} watcher;

/* "0.8712", or "-" where nobody measured. */
static void fixed(char out[static 16], const tb_json *line, const char *key)
{
    double v = tb_json_float(line, key, NAN);
    if (isnan(v)) {
        (void)snprintf(out, 16, "%6s", "-");
    } else {
        (void)snprintf(out, 16, "%.4f", v);
    }
}

static void print_round(watcher *w, const tb_json *line)
{
    char accuracy[16], loss[16], up[32], down[32];
    fixed(accuracy, line, "accuracy");
    fixed(loss, line, "loss");
    tb_text_bytes((uint64_t)tb_json_int(line, "bytes_up", 0), up, sizeof up);
    tb_text_bytes((uint64_t)tb_json_int(line, "bytes_down", 0), down,
                  sizeof down);
    tb_term_line(&w->term,
                 "round %3lld/%lld  accuracy %s  loss %s  in %lld/%lld  net "
                 "up %s down %s  %.2f s",
                 (long long)tb_json_int(line, "round", 0),
                 (long long)tb_json_int(line, "rounds", 0), accuracy, loss,
                 (long long)tb_json_int(line, "in", 0),
                 (long long)tb_json_int(line, "asked", 0), up, down,
                 tb_json_float(line, "seconds", 0.0));
}

static tb_rc print_line(watcher *w, const tb_json *line, tb_err *err)
{
    tb_buf text;
    tb_buf_init(&text, TB_JSON_BYTES_MAX);
    tb_rc rc = tb_json_write(line, false, &text, err);
    if (rc == TB_OK) {
        (void)printf("%.*s\n", (int)text.len, (const char *)text.data);
        (void)fflush(stdout);
    }
    tb_buf_release(&text);
    (void)w;
    return rc;
}

static tb_rc take(void *arg, const tb_json *reply, tb_err *err)
{
    watcher *w = arg;
    bool round = strcmp(tb_json_text(reply, "event", ""), "round") == 0;
    if (w->json) {
        tb_rc rc = print_line(w, reply, err);
        if (rc != TB_OK || round) {
            return rc;
        }
    } else if (round) {
        print_round(w, reply);
        return TB_OK;
    }
    const char *outcome = tb_json_text(reply, "outcome", "");
    const char *why = tb_json_text(reply, "why", "");
    if (strcmp(outcome, "done") != 0) {
        return tb_fail(err,
                       strcmp(outcome, "cancelled") == 0 ? TB_E_CANCELLED
                                                         : TB_E_REFUSED,
                       "the run was not finished (%s): %s", outcome, why);
    }
    if (!w->json) {
        const char *job = tb_json_text(reply, "job", "?");
        tb_term_line(&w->term,
                     "done: %s is registered: see `tributaryd "
                     "models %s`",
                     job, job);
    }
    return TB_OK;
}

/* The rounds as the folder tells them, when no daemon runs. */
static tb_rc read_folder(watcher *w, const tb_dir_settings *at,
                         const char *name, tb_err *err)
{
    tb_state state;
    tb_rc rc = tb_state_open(&state, at->dir, TB_FOLDER_READ, err);
    if (rc != TB_OK) {
        return rc;
    }
    tb_run_history *h = tb_history_newest(&state.history);
    if (name != NULL) {
        rc = tb_history_named(&h, &state.history, name, err);
    } else if (h == NULL) {
        rc = tb_fail(err, TB_E_NOT_FOUND,
                     "no run yet, and no daemon runs in %s", at->dir);
    }
    for (size_t i = 0; rc == TB_OK && i <= h->n; i++) {
        tb_json *line = NULL;
        if (i == h->n && !h->ended) {
            rc = tb_fail(err, TB_E_NOT_FOUND,
                         "the run goes on when the daemon does: "
                         "`tributaryd run --dir %s`",
                         at->dir);
            break;
        }
        rc = i < h->n ? tb_report_round(&line, h, i, err)
                      : tb_report_end(&line, h, err);
        if (rc == TB_OK) {
            rc = take(w, line, err);
        }
        tb_json_free(&line);
    }
    tb_state_close(&state);
    return rc;
}

static tb_rc run(tb_cli_call *call, tb_err *err)
{
    watcher w = {.json = call->json};
    tb_asker asker = {.fn = take, .arg = &w};
    tb_control_request request;
    tb_term_init(&w.term, stdout);
    const char *name = call->n_args == 1 ? call->args[0] : NULL;
    tb_rc rc = tb_control_request_init(&request, "watch", err);
    if (rc == TB_OK) {
        if (name != NULL) {
            rc = tb_control_arg_add(&request, "run", name, err);
        }
        if (rc == TB_OK) {
            rc = tb_ask(call->values[0], &request, -1, &asker, err);
        }
        tb_control_request_release(&request);
    }
    return rc == TB_E_NOT_FOUND && !asker.answered
               ? read_folder(&w, call->values[0], name, err)
               : rc;
}

const tb_verb verb_watch = {
    .name = "watch",
    .args = "[RUN|NAME]",
    .min_args = 0,
    .max_args = 1,
    .help = "show a run round by round, until it ends",
    .examples = "tributaryd watch --dir fleet\n"
                "tributaryd watch --dir fleet fashion\n"
                "tributaryd watch --dir fleet --json | jq .accuracy\n",
    .notes = "The run that was started last, unless its model's name or the "
             "first digits of\nits id say another one. Ends with 0 when the "
             "model is registered. --json: one object\na line. net up, down: "
             "all that the network carried while the round was open, of\nall "
             "runs and clients together.\n",
    .json = true,
    .tables = {&tb_dir_table},
    .run = run,
};
